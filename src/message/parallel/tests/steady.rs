//! A deterministic crypto provider that records which threads process frames and can inject faults.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread::{self, ThreadId},
    time::Duration,
};

use crate::{
    crypto::{
        AeadKey, CryptoProvider, Digest, Expand, HashAlgorithm, Iv, RustCrypto, SignatureAlgorithm, SigningKey, Tag,
        VerifyingKey,
    },
    error::{Error, Result},
};

/// The fault to inject at a frame.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    Panic,
    Error,
}

/// The RustCrypto primitives with fixed random bytes and optional faults.
#[derive(Clone, Debug)]
pub(super) struct Steady {
    /// The sequence number of the frame to fail at, and the fault.
    pub(super) fault: Option<(u32, Fault)>,
    /// The time that each frame takes.
    pub(super) delay: Duration,
    pub(super) seen: Arc<Seen>,
}

/// A record of the frames processed. Everything that can process frames holds a reference to it.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) threads: Mutex<BTreeSet<String>>,
    pub(super) frames: AtomicU32,
}

impl Steady {
    pub(super) fn new() -> Self {
        Self { fault: None, delay: Duration::ZERO, seen: Arc::default() }
    }

    pub(super) fn failing(frame: u32, fault: Fault) -> Self {
        Self { fault: Some((frame, fault)), ..Self::new() }
    }

    /// Asserts that nothing that can process frames is left: no thread, and no queue.
    #[track_caller]
    pub(super) fn is_alone(&self) {
        assert_eq!(Arc::strong_count(&self.seen), 1, "a thread is left");
    }
}

struct SteadyKey {
    key: Box<dyn AeadKey>,
    provider: Steady,
}

impl SteadyKey {
    fn meet(&self, iv: &Iv) -> Result<()> {
        let number = u32::from_be_bytes(iv[8..].try_into().unwrap());
        let Steady { fault, delay, seen } = &self.provider;
        seen.threads.lock().unwrap().insert(name(thread::current().id()));
        seen.frames.fetch_add(1, Ordering::Relaxed);
        thread::sleep(*delay);
        match fault {
            Some((frame, Fault::Panic)) if *frame == number => panic!("frame {frame}"),
            Some((frame, Fault::Error)) if *frame == number => Err(Error::Provider("a fault")),
            _ => Ok(()),
        }
    }
}

pub(super) fn name(thread: ThreadId) -> String {
    format!("{thread:?}")
}

impl AeadKey for SteadyKey {
    fn seal_in_place(&self, iv: &Iv, aad: &[u8], text: &mut [u8]) -> Result<Tag> {
        self.key.seal_in_place(iv, aad, text)
    }

    fn open_in_place(&self, iv: &Iv, aad: &[u8], text: &mut [u8], tag: &Tag) -> Result<()> {
        self.key.open_in_place(iv, aad, text, tag)
    }

    fn seal(&self, iv: &Iv, aad: &[u8], plaintext: &[u8], out: &mut [u8]) -> Result<Tag> {
        self.meet(iv)?;
        self.key.seal(iv, aad, plaintext, out)
    }

    fn open(&self, iv: &Iv, aad: &[u8], ciphertext: &[u8], tag: &Tag, out: &mut [u8]) -> Result<()> {
        self.meet(iv)?;
        self.key.open(iv, aad, ciphertext, tag, out)
    }
}

impl CryptoProvider for Steady {
    fn random(&self, out: &mut [u8]) -> Result<()> {
        out.fill(0x1d);
        Ok(())
    }

    fn aes_gcm(&self, key: &[u8]) -> Result<Box<dyn AeadKey>> {
        Ok(Box::new(SteadyKey { key: RustCrypto.aes_gcm(key)?, provider: self.clone() }))
    }

    fn hkdf(&self, hash: HashAlgorithm, salt: &[u8], key: &[u8], outputs: &mut [Expand<'_>]) -> Result<()> {
        RustCrypto.hkdf(hash, salt, key, outputs)
    }

    fn digest(&self, hash: HashAlgorithm) -> Box<dyn Digest> {
        RustCrypto.digest(hash)
    }

    fn generate_signing_key(&self, algorithm: SignatureAlgorithm) -> Result<Arc<dyn SigningKey>> {
        RustCrypto.generate_signing_key(algorithm)
    }

    fn verifying_key(&self, algorithm: SignatureAlgorithm, compressed: &[u8]) -> Result<Arc<dyn VerifyingKey>> {
        RustCrypto.verifying_key(algorithm, compressed)
    }
}

/// A signing key that always returns the same signature for the same digest, so that equal
/// signatures mean equal digests.
pub(super) struct SteadySigner {
    pub(super) key: Arc<dyn SigningKey>,
    pub(super) signatures: Mutex<BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl SigningKey for SteadySigner {
    fn algorithm(&self) -> SignatureAlgorithm {
        self.key.algorithm()
    }

    fn public_key(&self) -> &[u8] {
        self.key.public_key()
    }

    fn sign_digest(&self, digest: &[u8]) -> Result<Vec<u8>> {
        let mut signatures = self.signatures.lock().unwrap();
        if let Some(signature) = signatures.get(digest) {
            return Ok(signature.clone());
        }
        let signature = self.key.sign_digest(digest)?;
        signatures.insert(digest.to_vec(), signature.clone());
        Ok(signature)
    }
}
