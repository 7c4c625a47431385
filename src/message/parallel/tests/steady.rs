//! A provider that gives the same bytes each time, sees who works on frames, and fails where it is told to.

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

/// What goes wrong with a frame.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    Panic,
    Error,
}

/// The usual primitives with known random bytes and signatures, and faults where they are wanted.
#[derive(Clone, Debug)]
pub(super) struct Steady {
    /// At which frame what goes wrong.
    pub(super) fault: Option<(u32, Fault)>,
    /// How long each frame takes.
    pub(super) delay: Duration,
    pub(super) seen: Arc<Seen>,
}

/// What was seen of the frames; held by everything that may work on them.
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

    /// Nothing that works on frames is left: no thread, and nothing that waits for one.
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

/// A signing key that signs the same digest the same way: where signatures are equal, digests were.
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
