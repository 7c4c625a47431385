//! The RustCrypto crypto provider.

use std::sync::Arc;

use aes_gcm::{
    Aes128Gcm, Aes256Gcm, AesGcm, KeyInit,
    aead::{AeadInOut, consts::U12, inout::InOutBuf},
    aes::Aes192,
};
use rand::{TryRng, rngs::SysRng};
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use zeroize::Zeroize;

use super::{
    AeadKey, CryptoProvider, Digest, Expand, HashAlgorithm, Iv, SignatureAlgorithm, SigningKey, Tag, VerifyingKey,
};
use crate::error::{Error, Result};

/// A pure Rust crypto provider that uses the RustCrypto crates, with random bytes from the
/// operating system.
///
/// AES and GHASH use processor instructions if they are available (AES-NI and CLMUL, or the ARMv8
/// equivalents, detected at run time), and constant-time code otherwise.
///
/// ```
/// use sealwax::{Client, crypto::RustCrypto};
///
/// let client = Client::builder_with_provider(RustCrypto).build();
/// # let _ = client;
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct RustCrypto;

impl CryptoProvider for RustCrypto {
    fn random(&self, out: &mut [u8]) -> Result<()> {
        SysRng
            .try_fill_bytes(out)
            .map_err(|_| Error::Provider("the random number generator of the operating system failed"))
    }

    fn aes_gcm(&self, key: &[u8]) -> Result<Box<dyn AeadKey>> {
        let wrong_length = |_| Error::Provider("an AES key must be 16, 24 or 32 bytes long");
        Ok(match key.len() {
            16 => Box::new(Gcm(Aes128Gcm::new_from_slice(key).map_err(wrong_length)?)),
            24 => Box::new(Gcm(AesGcm::<Aes192, U12>::new_from_slice(key).map_err(wrong_length)?)),
            _ => Box::new(Gcm(Aes256Gcm::new_from_slice(key).map_err(wrong_length)?)),
        })
    }

    fn hkdf(&self, hash: HashAlgorithm, salt: &[u8], key: &[u8], outputs: &mut [Expand<'_>]) -> Result<()> {
        macro_rules! derive {
            ($hash:ty) => {{
                let (mut pseudorandom_key, hkdf) = hkdf::Hkdf::<$hash>::extract(Some(salt), key);
                pseudorandom_key.as_mut_slice().zeroize();
                outputs.iter_mut().try_for_each(|output| hkdf.expand_multi_info(&output.info, output.out))
            }};
        }
        match hash {
            HashAlgorithm::Sha256 => derive!(Sha256),
            HashAlgorithm::Sha384 => derive!(Sha384),
            HashAlgorithm::Sha512 => derive!(Sha512),
        }
        .map_err(|_| Error::Provider("the requested output is too long for HKDF"))
    }

    fn digest(&self, hash: HashAlgorithm) -> Box<dyn Digest> {
        match hash {
            HashAlgorithm::Sha256 => Box::new(Sha2(Sha256::new())),
            HashAlgorithm::Sha384 => Box::new(Sha2(Sha384::new())),
            HashAlgorithm::Sha512 => Box::new(Sha2(Sha512::new())),
        }
    }

    fn generate_signing_key(&self, algorithm: SignatureAlgorithm) -> Result<Arc<dyn SigningKey>> {
        Ok(match algorithm {
            SignatureAlgorithm::EcdsaP256 => Arc::new(ecdsa_p256::Signing::generate()?),
            SignatureAlgorithm::EcdsaP384 => Arc::new(ecdsa_p384::Signing::generate()?),
        })
    }

    fn verifying_key(&self, algorithm: SignatureAlgorithm, compressed: &[u8]) -> Result<Arc<dyn VerifyingKey>> {
        // The curve crates also accept other encodings: uncompressed points, x-only points and the
        // point at infinity.
        if compressed.len() != algorithm.public_key_length() || !matches!(compressed[0], 2 | 3) {
            return Err(Error::Integrity);
        }
        Ok(match algorithm {
            SignatureAlgorithm::EcdsaP256 => Arc::new(ecdsa_p256::Verifying::from_compressed(compressed)?),
            SignatureAlgorithm::EcdsaP384 => Arc::new(ecdsa_p384::Verifying::from_compressed(compressed)?),
        })
    }
}

struct Gcm<C>(C);

impl<C> AeadKey for Gcm<C>
where
    C: AeadInOut<NonceSize = U12, TagSize = aes_gcm::aead::consts::U16> + Send + Sync,
{
    fn seal_in_place(&self, iv: &Iv, aad: &[u8], text: &mut [u8]) -> Result<Tag> {
        let tag = self.0.encrypt_inout_detached(iv.into(), aad, text.into()).map_err(|_| TOO_LONG)?;
        Ok(tag.into())
    }

    fn open_in_place(&self, iv: &Iv, aad: &[u8], text: &mut [u8], tag: &Tag) -> Result<()> {
        self.0.decrypt_inout_detached(iv.into(), aad, text.into(), tag.into()).map_err(|_| Error::Integrity)
    }

    fn seal(&self, iv: &Iv, aad: &[u8], plaintext: &[u8], out: &mut [u8]) -> Result<Tag> {
        let both = InOutBuf::new(plaintext, out).map_err(|_| TOO_LONG)?;
        let tag = self.0.encrypt_inout_detached(iv.into(), aad, both).map_err(|_| TOO_LONG)?;
        Ok(tag.into())
    }

    fn open(&self, iv: &Iv, aad: &[u8], ciphertext: &[u8], tag: &Tag, out: &mut [u8]) -> Result<()> {
        let both = InOutBuf::new(ciphertext, out).map_err(|_| Error::Integrity)?;
        self.0.decrypt_inout_detached(iv.into(), aad, both, tag.into()).map_err(|_| Error::Integrity)
    }
}

const TOO_LONG: Error = Error::Provider("the input is too long for AES-GCM");

struct Sha2<D>(D);

impl<D: sha2::Digest + Send> Digest for Sha2<D> {
    fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(self: Box<Self>) -> Vec<u8> {
        self.0.finalize().to_vec()
    }
}

/// Implements ECDSA for one curve. A macro is used because the code for both curves is the same,
/// but the generic form would need a page of trait bounds.
macro_rules! ecdsa {
    ($module:ident, $curve:ident, $algorithm:expr) => {
        mod $module {
            use rand::rngs::SysRng;
            use $curve::ecdsa::{
                Signature, SigningKey as Key, VerifyingKey as PublicKey,
                signature::hazmat::{PrehashVerifier, RandomizedPrehashSigner},
            };
            use $curve::elliptic_curve::Generate;

            use crate::{
                crypto::{SignatureAlgorithm, SigningKey, VerifyingKey},
                error::{Error, Result},
            };

            const ALGORITHM: SignatureAlgorithm = $algorithm;

            pub(super) struct Signing {
                key: Key,
                public_key: Vec<u8>,
            }

            impl Signing {
                pub(super) fn generate() -> Result<Self> {
                    let key = Key::try_generate_from_rng(&mut SysRng)
                        .map_err(|_| Error::Provider("the random number generator of the operating system failed"))?;
                    let public_key = key.verifying_key().to_sec1_point(true).as_bytes().to_vec();
                    Ok(Self { key, public_key })
                }
            }

            impl SigningKey for Signing {
                fn algorithm(&self) -> SignatureAlgorithm {
                    ALGORITHM
                }

                fn public_key(&self) -> &[u8] {
                    &self.public_key
                }

                fn sign_digest(&self, digest: &[u8]) -> Result<Vec<u8>> {
                    const FAILED: Error = Error::Provider("signing failed");
                    // If (r, s) is a valid signature, then so is (r, -s). Exactly one of s and -s
                    // normally has its top bit set, so one of the two DER encodings has the
                    // constant length. If leading zero bytes shorten both encodings, sign again.
                    loop {
                        let first: Signature =
                            self.key.sign_prehash_with_rng(&mut SysRng, digest).map_err(|_| FAILED)?;
                        let second = Signature::from_scalars(*first.r(), -*first.s()).map_err(|_| FAILED)?;
                        for signature in [first, second] {
                            let der = signature.to_der();
                            if der.as_bytes().len() == ALGORITHM.signature_length() {
                                return Ok(der.as_bytes().to_vec());
                            }
                        }
                    }
                }
            }

            pub(super) struct Verifying {
                key: PublicKey,
                compressed: Vec<u8>,
            }

            impl Verifying {
                pub(super) fn from_compressed(bytes: &[u8]) -> Result<Self> {
                    let key = PublicKey::from_sec1_bytes(bytes).map_err(|_| Error::Integrity)?;
                    Ok(Self { key, compressed: bytes.to_vec() })
                }
            }

            impl VerifyingKey for Verifying {
                fn algorithm(&self) -> SignatureAlgorithm {
                    ALGORITHM
                }

                fn public_key(&self) -> &[u8] {
                    &self.compressed
                }

                fn verify_digest(&self, digest: &[u8], signature: &[u8]) -> Result<()> {
                    let signature = Signature::from_der(signature).map_err(|_| Error::Integrity)?;
                    self.key.verify_prehash(digest, &signature).map_err(|_| Error::Integrity)
                }
            }
        }
    };
}

ecdsa!(ecdsa_p256, p256, SignatureAlgorithm::EcdsaP256);
ecdsa!(ecdsa_p384, p384, SignatureAlgorithm::EcdsaP384);
