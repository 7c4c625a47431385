//! Crypto providers for fuzzing.

use std::sync::Arc;

use sealwax::{
    Error, Result,
    crypto::{
        AeadKey, CryptoProvider, Digest, Expand, HashAlgorithm, Iv, RustCrypto, SignatureAlgorithm, SigningKey,
        TAG_LENGTH, Tag, VerifyingKey,
    },
};

/// The output of HKDF here, and so the commit key of every message.
const DERIVED_BYTE: u8 = 0x55;
/// Tags, signatures and public keys that start with this byte are refused, so that failures remain
/// reachable.
pub const REFUSED: u8 = 0xff;

/// A deterministic provider that checks nothing: ciphertext is plaintext, and everything counts as
/// authentic unless it starts with [`REFUSED`]. With it, mutated messages are read to their end.
#[derive(Debug)]
pub struct Permissive;

impl CryptoProvider for Permissive {
    fn random(&self, out: &mut [u8]) -> Result<()> {
        out.fill(0x11);
        Ok(())
    }

    fn aes_gcm(&self, key: &[u8]) -> Result<Box<dyn AeadKey>> {
        assert!([16, 24, 32].contains(&key.len()));
        Ok(Box::new(Nothing))
    }

    fn hkdf(&self, _: HashAlgorithm, _: &[u8], _: &[u8], outputs: &mut [Expand<'_>]) -> Result<()> {
        for output in outputs {
            output.out.fill(DERIVED_BYTE);
        }
        Ok(())
    }

    fn digest(&self, hash: HashAlgorithm) -> Box<dyn Digest> {
        RustCrypto.digest(hash)
    }

    fn generate_signing_key(&self, algorithm: SignatureAlgorithm) -> Result<Arc<dyn SigningKey>> {
        Ok(Arc::new(Signer { algorithm, public_key: vec![2; algorithm.public_key_length()] }))
    }

    fn verifying_key(&self, algorithm: SignatureAlgorithm, compressed: &[u8]) -> Result<Arc<dyn VerifyingKey>> {
        check(compressed)?;
        Ok(Arc::new(Verifier(algorithm, compressed.to_vec())))
    }
}

/// RustCrypto, except for the signatures, which are those of [`Permissive`].
#[derive(Debug)]
pub struct FakeSignatures;

impl CryptoProvider for FakeSignatures {
    fn random(&self, out: &mut [u8]) -> Result<()> {
        RustCrypto.random(out)
    }

    fn aes_gcm(&self, key: &[u8]) -> Result<Box<dyn AeadKey>> {
        RustCrypto.aes_gcm(key)
    }

    fn hkdf(&self, hash: HashAlgorithm, salt: &[u8], key: &[u8], outputs: &mut [Expand<'_>]) -> Result<()> {
        RustCrypto.hkdf(hash, salt, key, outputs)
    }

    fn digest(&self, hash: HashAlgorithm) -> Box<dyn Digest> {
        RustCrypto.digest(hash)
    }

    fn generate_signing_key(&self, algorithm: SignatureAlgorithm) -> Result<Arc<dyn SigningKey>> {
        Permissive.generate_signing_key(algorithm)
    }

    fn verifying_key(&self, algorithm: SignatureAlgorithm, compressed: &[u8]) -> Result<Arc<dyn VerifyingKey>> {
        Permissive.verifying_key(algorithm, compressed)
    }
}

fn check(claim: &[u8]) -> Result<()> {
    if claim.first() == Some(&REFUSED) { Err(Error::Integrity) } else { Ok(()) }
}

struct Nothing;

impl AeadKey for Nothing {
    fn seal_in_place(&self, _: &Iv, _: &[u8], _: &mut [u8]) -> Result<Tag> {
        Ok([0x77; TAG_LENGTH])
    }

    fn open_in_place(&self, _: &Iv, _: &[u8], _: &mut [u8], tag: &Tag) -> Result<()> {
        check(tag)
    }
}

struct Verifier(SignatureAlgorithm, Vec<u8>);

impl VerifyingKey for Verifier {
    fn algorithm(&self) -> SignatureAlgorithm {
        self.0
    }

    fn public_key(&self) -> &[u8] {
        &self.1
    }

    fn verify_digest(&self, _: &[u8], signature: &[u8]) -> Result<()> {
        check(signature)
    }
}

struct Signer {
    algorithm: SignatureAlgorithm,
    public_key: Vec<u8>,
}

impl SigningKey for Signer {
    fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    fn sign_digest(&self, digest: &[u8]) -> Result<Vec<u8>> {
        assert_eq!(digest.len(), self.algorithm.hash().output_length());
        Ok(vec![0x30; self.algorithm.signature_length()])
    }
}
