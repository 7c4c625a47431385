//! Keys on the three curves: reading them, making them, and agreeing on a secret.

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

/// The curve of a [`RawEcdhKeyring`](super::RawEcdhKeyring): one of those of NIST.
///
/// ```
/// use sealwax::keyring::EcdhCurve;
///
/// assert_eq!(EcdhCurve::P384.to_string(), "P-384");
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
    /// All of them.
    ///
    /// ```
    /// assert_eq!(sealwax::keyring::EcdhCurve::ALL.len(), 3);
    /// ```
    pub const ALL: [Self; 3] = [Self::P256, Self::P384, Self::P521];

    /// What the key derivation is told, and what labels show.
    pub(super) const fn spec(self) -> &'static str {
        match self {
            Self::P256 => "p256",
            Self::P384 => "p384",
            Self::P521 => "p521",
        }
    }

    /// The length of a coordinate, of a private key and of a shared secret, in bytes.
    pub(in crate::keyring) const fn field_length(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    /// The length of a public key in its compressed form, in bytes.
    pub(super) const fn public_key_length(self) -> usize {
        1 + self.field_length()
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

/// What the three curves have in common for the functions below.
trait NistCurve:
    CurveArithmetic<AffinePoint: FromSec1Point<Self> + ToSec1Point<Self>, FieldBytesSize: ModulusSize> + AssociatedOid
{
}

impl NistCurve for NistP256 {}
impl NistCurve for NistP384 {}
impl NistCurve for NistP521 {}

/// Calls a generic function for a curve that is known only at run time.
macro_rules! on_curve {
    ($curve:expr, $function:ident($($argument:expr),*)) => {
        match $curve {
            EcdhCurve::P256 => $function::<NistP256>($($argument),*),
            EcdhCurve::P384 => $function::<NistP384>($($argument),*),
            EcdhCurve::P521 => $function::<NistP521>($($argument),*),
        }
    };
}

/// A private key and its public half.
pub(super) struct KeyPair {
    curve: EcdhCurve,
    scalar: SecretBytes,
    public_key: Vec<u8>,
}

impl KeyPair {
    /// Reads a private key in PKCS#8, as PEM.
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
            Some(b"PUBLIC KEY") => return Err(unusable("a public key was given where the private key belongs")),
            None => return Err(unusable("the private key is not PEM text (-----BEGIN PRIVATE KEY-----)")),
            Some(_) => return Err(unusable("the private key is PEM text of something else than PRIVATE KEY")),
        }
        let der = decode_pem("the private key", pem_text)?;
        let info = PrivateKeyInfoRef::try_from(der.as_bytes())
            .map_err(|_| unusable("the private key is malformed: it is not PKCS#8"))?;
        check_algorithm("the private key", curve, &info.algorithm)?;
        on_curve!(curve, read_private_key(curve, info))
    }

    /// A new key pair. A source of randomness that works needs a second try once in 2^32 times at most.
    pub(super) fn generate(curve: EcdhCurve, provider: &dyn CryptoProvider) -> Result<Self> {
        for _ in 0..8 {
            let mut scalar = provider.random_key(curve.field_length())?;
            if curve == EcdhCurve::P521 {
                // 66 bytes have 528 bits, of which no private key uses more than 521.
                scalar.as_mut()[0] &= 1;
            }
            if let Some(public_key) = on_curve!(curve, public_half(&scalar)) {
                return Ok(Self { curve, scalar, public_key });
            }
        }
        Err(Error::Provider("the random bytes make no private key"))
    }

    /// The public half in its compressed form.
    pub(super) fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// The secret shared with the holder of another key, whose compressed public half this is.
    ///
    /// # Errors
    /// [`Error::Integrity`] for anything that is no point of the curve in compressed form.
    pub(super) fn agree(&self, public_key: &[u8]) -> Result<SecretBytes> {
        if public_key.len() != self.curve.public_key_length() {
            return Err(Error::Integrity);
        }
        on_curve!(self.curve, agree(&self.scalar, public_key)).ok_or(Error::Integrity)
    }
}

fn read_private_key<C: NistCurve>(curve: EcdhCurve, info: PrivateKeyInfoRef<'_>) -> Result<KeyPair> {
    // This compares the public half with the private one, where the file has both.
    let key = SecretKey::<C>::try_from(info)
        .map_err(|_| unusable(format!("the private key is malformed: it is no key of {curve}")))?;
    let scalar = SecretBytes::from(Zeroizing::new(key.to_bytes()).as_slice());
    let public_key = compressed(&key.public_key());
    Ok(KeyPair { curve, scalar, public_key })
}

/// The public half of a private key; none if that is zero or not below the order of the curve.
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

/// Reads a public key and gives its compressed form: a SubjectPublicKeyInfo, in DER or as PEM.
pub(in crate::keyring) fn read_public_key(which: &str, curve: EcdhCurve, bytes: &[u8]) -> Result<Vec<u8>> {
    let malformed = || unusable(format!("{which} is malformed: it is no SubjectPublicKeyInfo in DER or PEM"));
    let decoded;
    let der = match pem_label(bytes) {
        None => bytes,
        Some(b"PUBLIC KEY") => {
            decoded = decode_pem(which, bytes)?;
            decoded.as_bytes()
        }
        Some(b"PRIVATE KEY" | b"ENCRYPTED PRIVATE KEY" | b"EC PRIVATE KEY") => {
            return Err(unusable(format!("a private key was given where {which} belongs")));
        }
        Some(_) => return Err(unusable(format!("{which} is PEM text of something else than PUBLIC KEY"))),
    };
    let info = SubjectPublicKeyInfoRef::try_from(der).map_err(|_| malformed())?;
    check_algorithm(which, curve, &info.algorithm)?;
    let point = info.subject_public_key.as_bytes().ok_or_else(malformed)?;
    if point == [0] {
        return Err(unusable(format!("{which} is the point at infinity")));
    }
    on_curve!(curve, compress(point)).ok_or_else(|| unusable(format!("{which} is no point of {curve}")))
}

/// A public key as SubjectPublicKeyInfo in DER, with both coordinates, from its compressed form.
pub(in crate::keyring) fn public_key_der(curve: EcdhCurve, compressed: &[u8]) -> Option<Vec<u8>> {
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

/// A point of the curve other than infinity, of two coordinates or compressed. The curve libraries read it from x alone,
/// too, which nobody writes here.
fn read_point<C: NistCurve>(bytes: &[u8]) -> Option<PublicKey<C>> {
    matches!(bytes.first(), Some(2..=4)).then(|| PublicKey::from_sec1_bytes(bytes).ok()).flatten()
}

/// What the first line of PEM in a text says that it is.
fn pem_label(text: &[u8]) -> Option<&[u8]> {
    const BEGIN: &[u8] = b"-----BEGIN ";
    let label = &text[text.windows(BEGIN.len()).position(|bytes| bytes == BEGIN)? + BEGIN.len()..];
    Some(&label[..label.windows(5).position(|bytes| bytes == b"-----")?])
}

/// What is in a PEM text. Lines of any one width will do, and text before it.
fn decode_pem(which: &str, text: &[u8]) -> Result<SecretBytes> {
    let broken = |error| unusable(format!("{which} is not a PEM text that can be read: {error}"));
    let mut decoder = pem::Decoder::new_detect_wrap(text.trim_ascii_end()).map_err(broken)?;
    let mut der = SecretBytes::zeroed(decoder.remaining_len());
    decoder.decode(der.as_mut()).map_err(broken)?;
    Ok(der)
}

fn check_algorithm(which: &str, curve: EcdhCurve, algorithm: &AlgorithmIdentifierRef<'_>) -> Result<()> {
    if algorithm.oid != ALGORITHM_OID {
        return Err(unusable(format!("{which} is no elliptic-curve key")));
    }
    let found = algorithm.parameters_oid().ok();
    match EcdhCurve::ALL.into_iter().find(|known| Some(known.oid()) == found) {
        Some(known) if known == curve => Ok(()),
        Some(other) => Err(unusable(format!("{which} is on {other}, and the keyring is for {curve}"))),
        None => Err(unusable(format!("{which} names none of the curves P-256, P-384 and P-521"))),
    }
}

fn unusable(why: impl Into<String>) -> Error {
    Error::Configuration(why.into())
}
