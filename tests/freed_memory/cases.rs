//! Cases, and the crypto provider that reports the keys it is given to the scanner. The test
//! programs of other crates include this file.
#![allow(dead_code, reason = "not every program needs all of it")]

use std::sync::Arc;

use sealwax::{
    AlgorithmSuite, Result, SecretBytes,
    crypto::{AeadKey, CryptoProvider, Digest, Expand, HashAlgorithm, SignatureAlgorithm, SigningKey, VerifyingKey},
};

use super::scanner::{Kind, Scanner, Secret, Watched, learn, parts};

pub(crate) const UNSIGNED: AlgorithmSuite = AlgorithmSuite::Aes256GcmHkdfSha512CommitKey;
pub(crate) const SIGNED: AlgorithmSuite = AlgorithmSuite::Aes256GcmHkdfSha512CommitKeyEcdsaP384;

pub(crate) const WRAPPING_KEY: [u8; 32] = *b"the wrapping key, of 32 bytes :)";
const TEXT: &[u8; 32] = b"a plaintext that repeats itself.";

/// Returns a plaintext, which is never freed. Every 31 bytes of it contain a whole part that is
/// searched for.
pub(crate) fn plaintext(length: usize) -> &'static [u8] {
    leaked(TEXT.iter().copied().cycle().take(length).collect())
}

/// Returns bytes that are never freed.
pub(crate) fn leaked(bytes: Vec<u8>) -> &'static [u8] {
    Vec::leak(bytes)
}

/// Returns the secrets that all cases over [`WRAPPING_KEY`] and [`plaintext`] start with.
pub(crate) fn text_and_wrapping_key() -> Vec<Secret> {
    parts(Kind::Plaintext, TEXT).chain(parts(Kind::WrappingKey, &WRAPPING_KEY)).collect()
}

/// The cases of one test. Findings are collected, and fail the test at its end.
pub(crate) struct Cases {
    scanner: Scanner,
    failures: Vec<String>,
    count: usize,
}

impl Cases {
    pub(crate) fn new() -> Self {
        Self { scanner: Scanner::lock(), failures: Vec::new(), count: 0 }
    }

    /// Runs some work that must free no secret. It must have had secrets of all these kinds,
    /// including those it started with. Returns all of them.
    pub(crate) fn run(
        &mut self,
        name: &str,
        secrets: &[Secret],
        must_have: &[Kind],
        work: impl FnOnce(),
    ) -> Vec<Secret> {
        let Watched { secrets, findings, unseen } = self.scanner.watch(secrets, work);
        self.count += 1;
        let missing = must_have.iter().filter(|kind| !secrets.iter().any(|secret| secret.kind == **kind));
        self.failures.extend(missing.map(|kind| format!("{name}: there was no {kind:?} to look for")));
        self.failures
            .extend(unseen.iter().map(|Secret { kind, .. }| format!("{name}: the scanner is blind to {kind:?}")));
        self.failures.extend(findings.iter().map(|finding| format!("{name}: {finding}")));
        secrets
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }
}

impl Drop for Cases {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(self.failures.is_empty(), "secrets in freed memory:\n{}", self.failures.join("\n"));
        }
    }
}

/// A provider that reports every key that passes through it to the scanner.
#[derive(Debug)]
pub(crate) struct Telling<P>(pub(crate) P);

impl<P: CryptoProvider> CryptoProvider for Telling<P> {
    fn random(&self, out: &mut [u8]) -> Result<()> {
        self.0.random(out)
    }

    fn random_key(&self, length: usize) -> Result<SecretBytes> {
        let key = self.0.random_key(length)?;
        learn(Kind::GeneratedKey, key.as_bytes());
        Ok(key)
    }

    fn aes_gcm(&self, key: &[u8]) -> Result<Box<dyn AeadKey>> {
        learn(Kind::AesKey, key);
        self.0.aes_gcm(key)
    }

    fn hkdf(&self, hash: HashAlgorithm, salt: &[u8], key: &[u8], outputs: &mut [Expand<'_>]) -> Result<()> {
        learn(Kind::DataKey, key);
        self.0.hkdf(hash, salt, key, outputs)?;
        // The commit key is public: it is in the header of the message.
        for Expand { out, .. } in outputs.iter().filter(|output| output.info[0] != b"COMMITKEY") {
            learn(Kind::MessageKey, out);
        }
        Ok(())
    }

    fn digest(&self, hash: HashAlgorithm) -> Box<dyn Digest> {
        self.0.digest(hash)
    }

    fn generate_signing_key(&self, algorithm: SignatureAlgorithm) -> Result<Arc<dyn SigningKey>> {
        self.0.generate_signing_key(algorithm)
    }

    fn verifying_key(&self, algorithm: SignatureAlgorithm, compressed: &[u8]) -> Result<Arc<dyn VerifyingKey>> {
        self.0.verifying_key(algorithm, compressed)
    }
}
