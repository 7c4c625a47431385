//! The AWS-LC crypto provider.

use std::sync::Arc;

use aws_lc_rs::{
    aead::{AES_128_GCM, AES_192_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    digest::{self, Context},
    encoding::{AsBigEndian, EcPublicKeyCompressedBin},
    hkdf::{self, KeyType, Salt},
    rand,
    signature::{
        ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_ASN1,
        ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, EcdsaVerificationAlgorithm, KeyPair,
        ParsedPublicKey,
    },
};

use super::{
    AeadKey, CryptoProvider, Digest, Expand, HashAlgorithm, Iv, SignatureAlgorithm, SigningKey, TAG_LENGTH, Tag,
    VerifyingKey,
};
use crate::error::{Error, Result};

/// A crypto provider that uses AWS-LC through the `aws-lc-rs` crate (feature `aws-lc-rs`).
///
/// It is compatible with the `RustCrypto` provider: each can read the messages that the other
/// writes. It is faster, but building it requires a C compiler. AES-GCM and the curves are
/// implemented in C and assembly. The implementation is selected for the processor at run time and
/// is designed to run in constant time. Random bytes come from AWS-LC's own generator, which is
/// seeded by the operating system.
///
/// Expanded AES keys and private signing keys are stored in memory that AWS-LC manages and
/// overwrites before freeing it. This crate cannot overwrite what AWS-LC leaves on the stack.
///
/// ```
/// use sealwax::{Client, crypto::AwsLcRs, keyring::RawAesKeyring};
///
/// let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
/// let client = Client::builder_with_provider(AwsLcRs).build();
/// let sealed = client.encrypt(&keyring).bytes(b"my secret").wait()?;
/// assert_eq!(client.decrypt(&keyring).bytes(&sealed.message).wait()?.plaintext, b"my secret");
/// # Ok::<(), sealwax::Error>(())
/// ```
/// ```toml
/// [dependencies]
/// sealwax = { version = "0.1", features = ["aws-lc-rs"] }
/// aws-lc-rs = { version = "1", default-features = false, features = ["fips"] }
/// ```
///
/// # FIPS
///
/// This crate has no feature for the FIPS module of AWS-LC, because building the module requires
/// CMake and Go. An application that needs the module enables it in its own manifest, and can check
/// with [`is_fips`](Self::is_fips) whether it is in use:
///
/// ```toml
/// [dependencies]
/// sealwax = { version = "0.1", features = ["aws-lc-rs"] }
/// aws-lc-rs = { version = "1", default-features = false, features = ["fips"] }
/// ```
///
/// The presence of the module does not make every use of it an approved one. According to
/// `aws-lc-rs`, the following are not approved: sealing with an externally supplied IV, which the
/// message format requires for frames; signing and verifying a digest that was computed separately;
/// and HKDF without a salt, which the suites without key commitment use.
#[derive(Clone, Copy, Debug, Default)]
pub struct AwsLcRs;

impl AwsLcRs {
    /// Returns `true` if AWS-LC is the [FIPS module](Self#fips) in this program.
    #[must_use]
    pub fn is_fips() -> bool {
        aws_lc_rs::try_fips_mode().is_ok()
    }
}

impl CryptoProvider for AwsLcRs {
    fn random(&self, out: &mut [u8]) -> Result<()> {
        rand::fill(out).map_err(|_| NO_RANDOMNESS)
    }

    fn aes_gcm(&self, key: &[u8]) -> Result<Box<dyn AeadKey>> {
        let algorithm = match key.len() {
            16 => &AES_128_GCM,
            24 => &AES_192_GCM,
            _ => &AES_256_GCM,
        };
        let key = UnboundKey::new(algorithm, key)
            .map_err(|_| Error::Provider("an AES key must be 16, 24 or 32 bytes long"))?;
        Ok(Box::new(Gcm(LessSafeKey::new(key))))
    }

    fn hkdf(&self, hash: HashAlgorithm, salt: &[u8], key: &[u8], outputs: &mut [Expand<'_>]) -> Result<()> {
        let algorithm = match hash {
            HashAlgorithm::Sha256 => hkdf::HKDF_SHA256,
            HashAlgorithm::Sha384 => hkdf::HKDF_SHA384,
            HashAlgorithm::Sha512 => hkdf::HKDF_SHA512,
        };
        // HMAC pads its key with zeros, so an empty salt is equivalent to a salt of zeros. AWS-LC
        // repeats the extraction for each output, which costs about a microsecond. Doing the
        // extraction here, with HMAC, would leave the pseudorandom key on the stack.
        let pseudorandom_key = Salt::new(algorithm, salt).extract(key);
        for Expand { info, out } in outputs {
            pseudorandom_key
                .expand(info, Length(out.len()))
                .and_then(|output| output.fill(out))
                .map_err(|_| Error::Provider("the requested output is too long for HKDF"))?;
        }
        Ok(())
    }

    fn digest(&self, hash: HashAlgorithm) -> Box<dyn Digest> {
        Box::new(Sha2(Context::new(sha2(hash))))
    }

    fn generate_signing_key(&self, algorithm: SignatureAlgorithm) -> Result<Arc<dyn SigningKey>> {
        Ok(Arc::new(Signing::generate(algorithm)?))
    }

    fn verifying_key(&self, algorithm: SignatureAlgorithm, compressed: &[u8]) -> Result<Arc<dyn VerifyingKey>> {
        // AWS-LC also accepts other encodings, such as uncompressed points and X.509.
        if compressed.len() != algorithm.public_key_length() || !matches!(compressed.first(), Some(2 | 3)) {
            return Err(Error::Integrity);
        }
        let key = ParsedPublicKey::new(curve(algorithm).verification, compressed).map_err(|_| Error::Integrity)?;
        Ok(Arc::new(Verifying { algorithm, key, compressed: compressed.to_vec() }))
    }
}

const NO_RANDOMNESS: Error = Error::Provider("the random number generator of AWS-LC failed");

struct Gcm(LessSafeKey);

impl AeadKey for Gcm {
    fn seal_in_place(&self, iv: &Iv, aad: &[u8], text: &mut [u8]) -> Result<Tag> {
        let mut tag = [0; TAG_LENGTH];
        self.0
            .seal_in_place_scatter(Nonce::assume_unique_for_key(*iv), Aad::from(aad), text, &[], &mut tag)
            .map_err(|_| TOO_LONG)?;
        Ok(tag)
    }

    fn open_in_place(&self, iv: &Iv, aad: &[u8], text: &mut [u8], tag: &Tag) -> Result<()> {
        self.0
            .open_in_place_separate_tag(Nonce::assume_unique_for_key(*iv), Aad::from(aad), tag, text)
            .map_err(|_| Error::Integrity)?;
        Ok(())
    }

    fn seal(&self, iv: &Iv, aad: &[u8], plaintext: &[u8], out: &mut [u8]) -> Result<Tag> {
        let mut tag = [0; TAG_LENGTH];
        let nonce = Nonce::assume_unique_for_key(*iv);
        self.0.seal_out_of_place_scatter(nonce, Aad::from(aad), plaintext, out, &[], &mut tag).map_err(|_| TOO_LONG)?;
        Ok(tag)
    }

    fn open(&self, iv: &Iv, aad: &[u8], ciphertext: &[u8], tag: &Tag, out: &mut [u8]) -> Result<()> {
        self.0
            .open_separate_gather(Nonce::assume_unique_for_key(*iv), Aad::from(aad), ciphertext, tag, out)
            .map_err(|_| Error::Integrity)
    }
}

const TOO_LONG: Error = Error::Provider("the input is too long for AES-GCM");

/// The output length of an HKDF expansion.
struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn sha2(hash: HashAlgorithm) -> &'static digest::Algorithm {
    match hash {
        HashAlgorithm::Sha256 => &digest::SHA256,
        HashAlgorithm::Sha384 => &digest::SHA384,
        HashAlgorithm::Sha512 => &digest::SHA512,
    }
}

struct Sha2(Context);

impl Digest for Sha2 {
    fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(self: Box<Self>) -> Vec<u8> {
        self.0.finish().as_ref().to_vec()
    }
}

/// The AWS-LC algorithms for a signature algorithm, and the parameters of its curve.
struct Curve {
    signing: &'static EcdsaSigningAlgorithm,
    verification: &'static EcdsaVerificationAlgorithm,
    /// The order of the group, in big-endian form.
    order: &'static [u8],
}

fn curve(algorithm: SignatureAlgorithm) -> &'static Curve {
    match algorithm {
        SignatureAlgorithm::EcdsaP256 => &P256,
        SignatureAlgorithm::EcdsaP384 => &P384,
    }
}

// The orders are the values of n in NIST SP 800-186, sections 3.2.1.3 and 3.2.1.4.

static P256: Curve = Curve {
    signing: &ECDSA_P256_SHA256_FIXED_SIGNING,
    verification: &ECDSA_P256_SHA256_ASN1,
    order: b"\xff\xff\xff\xff\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\
        \xbc\xe6\xfa\xad\xa7\x17\x9e\x84\xf3\xb9\xca\xc2\xfc\x63\x25\x51",
};

static P384: Curve = Curve {
    signing: &ECDSA_P384_SHA384_FIXED_SIGNING,
    verification: &ECDSA_P384_SHA384_ASN1,
    order: b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\
        \xff\xff\xff\xff\xff\xff\xff\xff\xc7\x63\x4d\x81\xf4\x37\x2d\xdf\
        \x58\x1a\x0d\xb2\x48\xb0\xa7\x7a\xec\xec\x19\x6a\xcc\xc5\x29\x73",
};

struct Signing {
    algorithm: SignatureAlgorithm,
    key: EcdsaKeyPair,
    public_key: EcPublicKeyCompressedBin<'static>,
}

impl Signing {
    fn generate(algorithm: SignatureAlgorithm) -> Result<Self> {
        let key = EcdsaKeyPair::generate(curve(algorithm).signing).map_err(|_| NO_RANDOMNESS)?;
        let public_key = key.public_key().as_be_bytes().map_err(|_| FAILED)?;
        Ok(Self { algorithm, key, public_key })
    }
}

impl SigningKey for Signing {
    fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    fn public_key(&self) -> &[u8] {
        self.public_key.as_ref()
    }

    fn sign_digest(&self, digest: &[u8]) -> Result<Vec<u8>> {
        let digest = digest::Digest::import_less_safe(digest, sha2(self.algorithm.hash())).map_err(|_| FAILED)?;
        let order = curve(self.algorithm).order;
        // If (r, s) is a valid signature, then so is (r, n - s). Exactly one of s and n - s
        // normally has its top bit set, so one of the two DER encodings has the constant length. If
        // leading zero bytes shorten both encodings, sign again.
        loop {
            let signature = self.key.sign_digest(&digest).map_err(|_| FAILED)?;
            let (r, s) = signature.as_ref().split_at_checked(order.len()).ok_or(FAILED)?;
            for s in [s, &difference(order, s)] {
                let der = der(r, s);
                if der.len() == self.algorithm.signature_length() {
                    return Ok(der);
                }
            }
        }
    }
}

const FAILED: Error = Error::Provider("signing failed");

/// Subtracts `less` from `number`, which must be at least as large and of the same length. Both are
/// big-endian, and neither is secret.
fn difference(number: &[u8], less: &[u8]) -> Vec<u8> {
    let mut borrow = false;
    let mut digits: Vec<u8> = number
        .iter()
        .zip(less)
        .rev()
        .map(|(digit, less)| {
            let (digit, under) = digit.overflowing_sub(*less);
            let (digit, under_too) = digit.overflowing_sub(borrow.into());
            borrow = under || under_too;
            digit
        })
        .collect();
    digits.reverse();
    digits
}

/// Encodes a signature as DER. Both halves have at most 48 bytes, so every length fits into one
/// byte.
fn der(r: &[u8], s: &[u8]) -> Vec<u8> {
    const SEQUENCE: u8 = 0x30;
    const INTEGER: u8 = 2;
    let mut out = vec![SEQUENCE, 0];
    for number in [r, s] {
        let zeros = number.iter().take_while(|digit| **digit == 0).count();
        let digits = &number[zeros..];
        // DER integers are signed, so a number with its top bit set needs a leading zero byte.
        let sign: &[u8] = if digits.first().is_some_and(|first| first & 0x80 != 0) { &[0] } else { &[] };
        out.extend_from_slice(&[INTEGER, (sign.len() + digits.len()) as u8]);
        out.extend_from_slice(sign);
        out.extend_from_slice(digits);
    }
    out[1] = (out.len() - 2) as u8;
    out
}

struct Verifying {
    algorithm: SignatureAlgorithm,
    key: ParsedPublicKey,
    compressed: Vec<u8>,
}

impl VerifyingKey for Verifying {
    fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    fn public_key(&self) -> &[u8] {
        &self.compressed
    }

    fn verify_digest(&self, digest: &[u8], signature: &[u8]) -> Result<()> {
        // AWS-LC accepts only canonical DER, with r and s between 1 and n - 1.
        let digest =
            digest::Digest::import_less_safe(digest, sha2(self.algorithm.hash())).map_err(|_| Error::Integrity)?;
        self.key.verify_digest_sig(&digest, signature).map_err(|_| Error::Integrity)
    }
}
