//! A provider in front of the one under test, which records its calls or answers in its place.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard},
};

use sealwax::{
    Error, Result,
    crypto::{
        AeadKey, CryptoProvider, Digest, Expand, HashAlgorithm, Iv, SignatureAlgorithm, SigningKey, Tag, VerifyingKey,
    },
};

use super::provider;

/// A sealed text.
pub struct Sealed {
    pub key: Vec<u8>,
    pub iv: Iv,
    pub aad: Vec<u8>,
}

/// A call to HKDF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Derived {
    pub hash: HashAlgorithm,
    pub salt: Vec<u8>,
    pub key: Vec<u8>,
    pub infos: Vec<Vec<u8>>,
}

/// The calls to the primitives.
#[derive(Default)]
pub struct Log {
    pub sealed: Vec<Sealed>,
    /// How often something was to be opened.
    pub opened: usize,
    pub derived: Vec<Derived>,
}

/// The source of random bytes.
#[derive(Clone, Copy)]
enum Randomness {
    TheProviders,
    All(u8),
    Fails,
}

/// The provider under test, behind a front.
#[derive(Clone)]
pub struct Fronted {
    randomness: Randomness,
    log: Option<Arc<Mutex<Log>>>,
    hasty: Option<Hasty>,
}

/// What a key that writes before it verifies does with a tag that does not verify.
#[derive(Clone, Copy)]
enum Hasty {
    Fails,
    Panics,
}

impl Fronted {
    /// Returns a provider that records how the primitives are used. Its AES-GCM keys have only what
    /// every provider must have: they seal and open in place.
    pub fn watched() -> Self {
        Self { log: Some(Arc::default()), ..Self::plain() }
    }

    /// Returns a provider whose random bytes all have this value, so that two messages with the
    /// same plaintext are the same.
    pub fn with_random_bytes_of(byte: u8) -> Self {
        Self { randomness: Randomness::All(byte), ..Self::plain() }
    }

    /// Returns a provider whose random source fails.
    pub fn without_randomness() -> Self {
        Self { randomness: Randomness::Fails, ..Self::plain() }
    }

    /// Returns a provider whose AES-GCM keys decrypt before they verify: if the tag does not
    /// verify, the whole plaintext is left behind.
    pub fn writing_before_it_verifies() -> Self {
        Self { hasty: Some(Hasty::Fails), ..Self::plain() }
    }

    /// Returns the provider of [`writing_before_it_verifies`](Self::writing_before_it_verifies),
    /// but with keys that panic if the tag does not verify.
    pub fn panicking_after_it_wrote() -> Self {
        Self { hasty: Some(Hasty::Panics), ..Self::plain() }
    }

    fn plain() -> Self {
        Self { randomness: Randomness::TheProviders, log: None, hasty: None }
    }

    /// Returns the record so far.
    pub fn log(&self) -> MutexGuard<'_, Log> {
        self.log.as_ref().expect("a provider that is watched").lock().unwrap()
    }
}

impl fmt::Debug for Fronted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fronted")
    }
}

impl CryptoProvider for Fronted {
    fn random(&self, out: &mut [u8]) -> Result<()> {
        match self.randomness {
            Randomness::TheProviders => provider().random(out),
            Randomness::All(byte) => {
                out.fill(byte);
                Ok(())
            }
            Randomness::Fails => Err(Error::Provider("the well is dry")),
        }
    }

    fn aes_gcm(&self, key: &[u8]) -> Result<Box<dyn AeadKey>> {
        let inner = provider().aes_gcm(key)?;
        Ok(match (&self.log, self.hasty) {
            (Some(log), _) => Box::new(WatchedKey { key: key.to_vec(), inner, log: log.clone() }),
            (None, Some(hasty)) => Box::new(HastyKey { inner, hasty }),
            (None, None) => inner,
        })
    }

    fn hkdf(&self, hash: HashAlgorithm, salt: &[u8], key: &[u8], outputs: &mut [Expand<'_>]) -> Result<()> {
        if let Some(log) = &self.log {
            let infos = outputs.iter().map(|output| output.info.concat()).collect();
            let derived = Derived { hash, salt: salt.to_vec(), key: key.to_vec(), infos };
            log.lock().unwrap().derived.push(derived);
        }
        provider().hkdf(hash, salt, key, outputs)
    }

    fn digest(&self, hash: HashAlgorithm) -> Box<dyn Digest> {
        provider().digest(hash)
    }

    fn generate_signing_key(&self, algorithm: SignatureAlgorithm) -> Result<Arc<dyn SigningKey>> {
        provider().generate_signing_key(algorithm)
    }

    fn verifying_key(&self, algorithm: SignatureAlgorithm, compressed: &[u8]) -> Result<Arc<dyn VerifyingKey>> {
        provider().verifying_key(algorithm, compressed)
    }
}

struct WatchedKey {
    key: Vec<u8>,
    inner: Box<dyn AeadKey>,
    log: Arc<Mutex<Log>>,
}

impl AeadKey for WatchedKey {
    fn seal_in_place(&self, iv: &Iv, aad: &[u8], text: &mut [u8]) -> Result<Tag> {
        let sealed = Sealed { key: self.key.clone(), iv: *iv, aad: aad.to_vec() };
        self.log.lock().unwrap().sealed.push(sealed);
        self.inner.seal_in_place(iv, aad, text)
    }

    fn open_in_place(&self, iv: &Iv, aad: &[u8], text: &mut [u8], tag: &Tag) -> Result<()> {
        self.log.lock().unwrap().opened += 1;
        self.inner.open_in_place(iv, aad, text, tag)
    }
}

/// A key that writes before it verifies.
struct HastyKey {
    inner: Box<dyn AeadKey>,
    hasty: Hasty,
}

impl AeadKey for HastyKey {
    fn seal_in_place(&self, iv: &Iv, aad: &[u8], text: &mut [u8]) -> Result<Tag> {
        self.inner.seal_in_place(iv, aad, text)
    }

    fn open_in_place(&self, iv: &Iv, aad: &[u8], text: &mut [u8], tag: &Tag) -> Result<()> {
        let outcome = self.inner.open_in_place(iv, aad, &mut text.to_vec(), tag);
        // Counter mode is its own inverse, so sealing the ciphertext gives the plaintext.
        self.inner.seal_in_place(iv, aad, text)?;
        match self.hasty {
            Hasty::Fails => outcome,
            Hasty::Panics => {
                outcome.expect("a tag that verifies");
                Ok(())
            }
        }
    }
}
