//! Keys on the three curves: reading, generation and key agreement.

use std::fmt;

use p256::{
    NistP256,
    elliptic_curve::{
        ALGORITHM_OID, CurveArithmetic, NonZeroScalar, PublicKey, SecretKey, ecdh,
        sec1::{FromSec1Point, ModulusSize, ToSec1Point},
    },
    pkcs8::{
        AlgorithmIdentifierRef, AssociatedOid, ObjectIdentifier, PrivateKeyInfoRef, SubjectPublicKeyInfoRef,
        der::{
            Encode,
            asn1::{AnyRef, BitStringRef},
            pem,
        },
    },
};
use p384::NistP384;
use p521::NistP521;
use zeroize::Zeroizing;

use crate::{
    crypto::CryptoProvider,
    error::{Error, Result},
    secret::SecretBytes,
};

/// A NIST curve for a [`RawEcdhKeyring`](super::RawEcdhKeyring), or for an
/// [`EcdhAgreement`](super::EcdhAgreement).
///
/// ```
/// use sealwax::keyring::EcdhCurve;
///
/// let pem = "\
/// -----BEGIN PUBLIC KEY-----
/// MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEunbv142d6k911yo8XzpXmIWNE59z
/// IzuT+Q5ZYAGhuw3nFHoqOhsqAfhda32skwITeGO0y1BR9WP8T6bYsqhCJQ==
/// -----END PUBLIC KEY-----
/// ";
/// let compressed = EcdhCurve::P256.read_public_key("the recipient's public key", pem.as_bytes())?;
/// assert_eq!(compressed.len(), 33);
/// let der = EcdhCurve::P256.public_key_der(&compressed)?;
/// assert_eq!(EcdhCurve::P256.read_public_key("the same key", &der)?, compressed);
/// # Ok::<(), sealwax::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EcdhCurve {
    /// P-256, also known as secp256r1 and prime256v1.
    P256,
    /// P-384, also known as secp384r1.
    P384,
    /// P-521, also known as secp521r1.
    P521,
}

impl EcdhCurve {
    /// All curves.
    pub const ALL: [Self; 3] = [Self::P256, Self::P384, Self::P521];

    /// Returns the curve's name in the key derivation and in labels.
    pub(super) const fn spec(self) -> &'static str {
        match self {
            Self::P256 => "p256",
            Self::P384 => "p384",
            Self::P521 => "p521",
        }
    }

    /// Returns the length in bytes of a shared secret, which is also that of a private key and of a
    /// coordinate.
    #[must_use]
    pub const fn shared_secret_length(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    /// Returns the length in bytes of a compressed public key.
    pub(super) const fn public_key_length(self) -> usize {
        1 + self.shared_secret_length()
    }

    /// Reads a public key (SubjectPublicKeyInfo in DER or PEM) and returns its compressed form, which
    /// [`EcdhParties`](super::EcdhParties) have. Errors call the key by this name, such as `the
    /// recipient's public key`.
    ///
    /// # Errors
    /// [`Error::Configuration`] with the reason: the key has another form, is on another curve, or
    /// is not a point on the curve.
    pub fn read_public_key(self, name: &str, public_key: &[u8]) -> Result<Vec<u8>> {
        read_public_key(name, self, public_key)
    }

    /// Returns the SubjectPublicKeyInfo in DER, with both coordinates, of a compressed public key.
    ///
    /// # Errors
    /// [`Error::Integrity`] if `compressed` is not a point on the curve.
    pub fn public_key_der(self, compressed: &[u8]) -> Result<Vec<u8>> {
        public_key_der(self, compressed).ok_or(Error::Integrity)
    }

    const fn oid(self) -> ObjectIdentifier {
        match self {
            Self::P256 => NistP256::OID,
            Self::P384 => NistP384::OID,
            Self::P521 => NistP521::OID,
        }
    }
}

impl fmt::Display for EcdhCurve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
        })
    }
}

/// The traits that the functions below need of a curve.
trait NistCurve:
    CurveArithmetic<AffinePoint: FromSec1Point<Self> + ToSec1Point<Self>, FieldBytesSize: ModulusSize> + AssociatedOid
{
}

impl NistCurve for NistP256 {}
impl NistCurve for NistP384 {}
impl NistCurve for NistP521 {}

/// Calls a generic function with the curve's type.
macro_rules! on_curve {
    ($curve:expr, $function:ident($($argument:expr),*)) => {
        match $curve {
            EcdhCurve::P256 => $function::<NistP256>($($argument),*),
            EcdhCurve::P384 => $function::<NistP384>($($argument),*),
            EcdhCurve::P521 => $function::<NistP521>($($argument),*),
        }
    };
}

/// A private key and its public key.
pub(super) struct KeyPair {
    curve: EcdhCurve,
    scalar: SecretBytes,
    public_key: Vec<u8>,
}

impl KeyPair {
    /// Reads a PKCS#8 private key in PEM.
    pub(super) fn from_pem(curve: EcdhCurve, pem_text: &[u8]) -> Result<Self> {
        match pem_label(pem_text) {
            Some(b"PRIVATE KEY") => {}
            Some(b"ENCRYPTED PRIVATE KEY") => {
                return Err(unusable(
                    "the private key is encrypted with a password: decrypt it first (openssl pkcs8 -in KEY -out PLAIN)",
                ));
            }
            Some(b"EC PRIVATE KEY" | b"EC PARAMETERS") => {
                return Err(unusable(
                    "the private key is in the format of SEC1 (EC PRIVATE KEY): convert it to PKCS#8 first (openssl \
                     pkcs8 -topk8 -nocrypt -in KEY -out PKCS8)",
                ));
            }
            Some(b"PUBLIC KEY") => return Err(unusable("a public key was given instead of the private key")),
            None => return Err(unusable("the private key is not PEM text (-----BEGIN PRIVATE KEY-----)")),
            Some(_) => return Err(unusable("the private key is PEM of another type; expected PRIVATE KEY")),
        }
        let der = decode_pem("the private key", pem_text)?;
        let info = PrivateKeyInfoRef::try_from(der.as_bytes())
            .map_err(|_| unusable("the private key is malformed: it is not PKCS#8"))?;
        check_algorithm("the private key", curve, &info.algorithm)?;
        on_curve!(curve, read_private_key(curve, info))
    }

    /// Generates a key pair. With a working random source, the chance that a second attempt is
    /// needed is at most 1 in 2^32.
    pub(super) fn generate(curve: EcdhCurve, provider: &dyn CryptoProvider) -> Result<Self> {
        for _ in 0..8 {
            let mut scalar = provider.random_key(curve.shared_secret_length())?;
            if curve == EcdhCurve::P521 {
                // 66 bytes are 528 bits, and a private key has at most 521.
                scalar.as_mut()[0] &= 1;
            }
            if let Some(public_key) = on_curve!(curve, public_half(&scalar)) {
                return Ok(Self { curve, scalar, public_key });
            }
        }
        Err(Error::Provider("the random source produced no valid private key"))
    }

    /// Returns the compressed public key.
    pub(super) fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// Returns the secret shared with the owner of this compressed public key.
    ///
    /// # Errors
    /// [`Error::Integrity`] if `public_key` is not a compressed point on the curve.
    pub(super) fn agree(&self, public_key: &[u8]) -> Result<SecretBytes> {
        if public_key.len() != self.curve.public_key_length() {
            return Err(Error::Integrity);
        }
        on_curve!(self.curve, agree(&self.scalar, public_key)).ok_or(Error::Integrity)
    }
}

fn read_private_key<C: NistCurve>(curve: EcdhCurve, info: PrivateKeyInfoRef<'_>) -> Result<KeyPair> {
    // This also checks the public key against the private key, if the file contains both.
    let key = SecretKey::<C>::try_from(info)
        .map_err(|_| unusable(format!("the private key is malformed: it is not a {curve} key")))?;
    let scalar = SecretBytes::from(Zeroizing::new(key.to_bytes()).as_slice());
    let public_key = compressed(&key.public_key());
    Ok(KeyPair { curve, scalar, public_key })
}

/// Returns the public key of a private key, or `None` if that is zero or not below the order of the
/// curve.
fn public_half<C: NistCurve>(scalar: &SecretBytes) -> Option<Vec<u8>> {
    let scalar = Zeroizing::new(NonZeroScalar::<C>::try_from(scalar.as_bytes()).ok()?);
    Some(compressed(&PublicKey::from_secret_scalar(&scalar)))
}

fn agree<C: NistCurve>(scalar: &SecretBytes, public_key: &[u8]) -> Option<SecretBytes> {
    let public_key = read_point::<C>(public_key)?;
    let scalar = Zeroizing::new(NonZeroScalar::<C>::try_from(scalar.as_bytes()).ok()?);
    let scalar: &NonZeroScalar<C> = &scalar;
    let shared = ecdh::diffie_hellman(scalar, public_key.as_affine());
    Some(SecretBytes::from(shared.raw_secret_bytes().as_slice()))
}

/// Reads a public key (SubjectPublicKeyInfo in DER or PEM) and returns its compressed form.
fn read_public_key(which: &str, curve: EcdhCurve, bytes: &[u8]) -> Result<Vec<u8>> {
    let malformed = || unusable(format!("{which} is malformed: it is not a SubjectPublicKeyInfo in DER or PEM"));
    let decoded;
    let der = match pem_label(bytes) {
        None => bytes,
        Some(b"PUBLIC KEY") => {
            decoded = decode_pem(which, bytes)?;
            decoded.as_bytes()
        }
        Some(b"PRIVATE KEY" | b"ENCRYPTED PRIVATE KEY" | b"EC PRIVATE KEY") => {
            return Err(unusable(format!("a private key was given instead of {which}")));
        }
        Some(_) => return Err(unusable(format!("{which} is PEM of another type; expected PUBLIC KEY"))),
    };
    let info = SubjectPublicKeyInfoRef::try_from(der).map_err(|_| malformed())?;
    check_algorithm(which, curve, &info.algorithm)?;
    let point = info.subject_public_key.as_bytes().ok_or_else(malformed)?;
    if point == [0] {
        return Err(unusable(format!("{which} is the point at infinity")));
    }
    on_curve!(curve, compress(point)).ok_or_else(|| unusable(format!("{which} is not a point on {curve}")))
}

/// Returns the DER SubjectPublicKeyInfo, with both coordinates, of a compressed public key.
fn public_key_der(curve: EcdhCurve, compressed: &[u8]) -> Option<Vec<u8>> {
    let oid = curve.oid();
    let point = on_curve!(curve, uncompress(compressed))?;
    let info = SubjectPublicKeyInfoRef {
        algorithm: AlgorithmIdentifierRef { oid: ALGORITHM_OID, parameters: Some(AnyRef::from(&oid)) },
        subject_public_key: BitStringRef::from_bytes(&point).ok()?,
    };
    info.to_der().ok()
}

fn uncompress<C: NistCurve>(point: &[u8]) -> Option<Vec<u8>> {
    read_point::<C>(point).map(|key| key.to_sec1_point(false).as_bytes().to_vec())
}

fn compress<C: NistCurve>(point: &[u8]) -> Option<Vec<u8>> {
    read_point::<C>(point).map(|key| compressed(&key))
}

fn compressed<C: NistCurve>(key: &PublicKey<C>) -> Vec<u8> {
    key.to_sec1_point(true).as_bytes().to_vec()
}

/// Reads a point other than infinity, either uncompressed or compressed. The curve libraries also
/// accept the compact form (x alone), which is not allowed here.
fn read_point<C: NistCurve>(bytes: &[u8]) -> Option<PublicKey<C>> {
    matches!(bytes.first(), Some(2..=4)).then(|| PublicKey::from_sec1_bytes(bytes).ok()).flatten()
}

/// Returns the label of the first PEM block in a text.
fn pem_label(text: &[u8]) -> Option<&[u8]> {
    const BEGIN: &[u8] = b"-----BEGIN ";
    let label = &text[text.windows(BEGIN.len()).position(|bytes| bytes == BEGIN)? + BEGIN.len()..];
    Some(&label[..label.windows(5).position(|bytes| bytes == b"-----")?])
}

/// Returns the content of a PEM text. Lines of any uniform width are accepted, and so is text
/// before it.
fn decode_pem(which: &str, text: &[u8]) -> Result<SecretBytes> {
    let broken = |error| unusable(format!("{which} is not valid PEM: {error}"));
    let mut decoder = pem::Decoder::new_detect_wrap(text.trim_ascii_end()).map_err(broken)?;
    let mut der = SecretBytes::zeroed(decoder.remaining_len());
    decoder.decode(der.as_mut()).map_err(broken)?;
    Ok(der)
}

fn check_algorithm(which: &str, curve: EcdhCurve, algorithm: &AlgorithmIdentifierRef<'_>) -> Result<()> {
    if algorithm.oid != ALGORITHM_OID {
        return Err(unusable(format!("{which} is not an elliptic-curve key")));
    }
    let found = algorithm.parameters_oid().ok();
    match EcdhCurve::ALL.into_iter().find(|known| Some(known.oid()) == found) {
        Some(known) if known == curve => Ok(()),
        Some(other) => Err(unusable(format!("{which} is on {other}, but the keyring is for {curve}"))),
        None => Err(unusable(format!("{which} is not on P-256, P-384 or P-521"))),
    }
}

fn unusable(why: impl Into<String>) -> Error {
    Error::Configuration(why.into())
}

#[cfg(test)]
mod wycheproof;
