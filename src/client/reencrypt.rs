//! Setting up a re-encryption.

use std::io;
#[cfg(feature = "fs")]
use std::{fs::File, path::Path};

use super::{Decrypt, Encrypt, Opened, Sealed, decrypt::Release};
#[cfg(feature = "fs")]
use crate::io::PendingFile;
use crate::{
    blocking::wait,
    context::{EncryptionContext, PUBLIC_KEY_ENTRY},
    error::{ContextError, Error, Result},
    format::Header,
    io::{DecryptingReader, copy_encrypting},
    message::Encryptor,
};

/// A re-encryption being set up: [`Decrypt::reencrypt`] makes it of how the old message is read and how the new one is
/// written.
///
/// This is how a message gets other wrapping keys, another suite, frame length or encryption context. It gets a new data
/// key and message id with them, and every frame is sealed anew: encrypted data keys are never exchanged under a data key that
/// stays, since two headers under one key give away what authenticates the message. The plaintext passes through memory, in
/// frames, and goes nowhere else.
///
/// The final frame of the new message is written only once the whole of the old one is verified, its signature included.
///
/// ```
/// use sealwax::{Client, keyring::RawAesKeyring};
///
/// let (old, new) = (RawAesKeyring::new("example", "2023", vec![1; 32])?, RawAesKeyring::new("example", "2024", vec![2; 32])?);
/// let client = Client::new();
/// let message = client.encrypt(&old).context([("tenant", "blue")]).bytes(b"text").wait()?.message;
///
/// let mut moved = Vec::new();
/// client.decrypt(&old).reencrypt(client.encrypt(&new)).keep_context().copy(&message[..], &mut moved)?;
/// let opened = client.decrypt(&new).context([("tenant", "blue")]).bytes(&moved).wait()?;
/// assert_eq!(opened.plaintext, b"text");
/// # Ok::<(), sealwax::Error>(())
/// ```
#[must_use = "nothing is re-encrypted until it is said what"]
pub struct Reencrypt<'a> {
    decrypt: Decrypt<'a>,
    encrypt: Encrypt<'a>,
    keep_context: bool,
}

/// A message that was re-encrypted. [`Reencrypt`] has an example.
#[derive(Debug)]
#[non_exhaustive]
pub struct Reencrypted {
    /// The old message, verified.
    pub opened: Opened,
    /// The new one.
    pub sealed: Sealed,
}

impl<'a> Reencrypt<'a> {
    pub(super) fn new(decrypt: Decrypt<'a>, encrypt: Encrypt<'a>) -> Self {
        Self { decrypt, encrypt, keep_context: false }
    }

    /// Takes the encryption context of the old message over, its public key excepted. A pair that is given for the new message
    /// goes before one of the old.
    ///
    /// What the old message authenticates without storing it, and the expected context gives, is taken over too: the
    /// materials manager of the new one must [require](crate::materials::RequiredContextManager) it, so that it is not stored.
    pub fn keep_context(mut self) -> Self {
        self.keep_context = true;
        self
    }

    /// Re-encrypts a source into a sink.
    ///
    /// # Errors
    /// As [`Decrypt::bytes`] and [`Encrypt::bytes`], [`Error::Io`](crate::Error::Io), and [`ContextError::WouldBeStored`] if a
    /// pair of a context that is kept would be stored and was not. What the sink has got by then is a message that is cut off, which no reader accepts as
    /// whole. Its frames may be those of a signed message whose signature does not hold, so that a sink should not be
    /// seen before this succeeds; `file` (feature `fs`) sees to that.
    pub fn copy(self, mut source: impl io::Read, sink: impl io::Write) -> Result<Reencrypted> {
        let Self { decrypt, mut encrypt, keep_context } = self;
        // Nothing is released early: the new message ends only once the old signature is verified.
        let (machine, ahead) = decrypt.start_from(&mut source, Release::Unverified)?;
        let hidden = machine.hidden_context().clone();
        let mut plaintext = DecryptingReader::new(source, machine, &ahead)?;
        let machine = if keep_context {
            let kept = kept_context(plaintext.header(), &hidden);
            encrypt.context = kept.iter().chain(encrypt.context.iter()).collect();
            let machine = wait(encrypt.start_machine())?;
            check_kept(&kept, &hidden, &machine)?;
            machine
        } else {
            wait(encrypt.start_machine())?
        };
        let sealed = Sealed::of(&machine);
        copy_encrypting(&mut plaintext, sink, machine)?;
        let opened = Opened { header: plaintext.header().clone(), opened_by: plaintext.opened_by().clone() };
        Ok(Reencrypted { opened, sealed })
    }

    /// Re-encrypts a file into another, or into itself: [`Encrypt::overwrite`] lets the target be replaced, at one stroke and only
    /// once the source is verified.
    ///
    /// # Errors
    /// As [`copy`](Self::copy). The target is then as it was.
    ///
    /// ```
    /// # use sealwax::{Client, keyring::RawAesKeyring};
    /// # let old = RawAesKeyring::new("example", "2023", vec![1; 32])?;
    /// # let new = RawAesKeyring::new("example", "2024", vec![2; 32])?;
    /// # let folder = tempfile::tempdir()?;
    /// # let file = folder.path().join("report.sealed");
    /// # let client = Client::new();
    /// # std::fs::write(&file, client.encrypt(&old).bytes(b"text").wait()?.message)?;
    /// client.decrypt(&old).reencrypt(client.encrypt(&new).overwrite()).keep_context().file(&file, &file)?;
    /// # assert_eq!(client.decrypt(&new).bytes(&std::fs::read(&file)?).wait()?.plaintext, b"text");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "fs")]
    pub fn file(self, source: impl AsRef<Path>, target: impl AsRef<Path>) -> Result<Reencrypted> {
        let source = File::open(source)?;
        let mut target = PendingFile::create(target, self.encrypt.overwrite)?;
        let done = self.copy(source, &mut target)?;
        target.commit()?;
        Ok(done)
    }
}

/// Returns the whole context of the old message, without the public key, which belongs to the old
/// signature.
fn kept_context(old: &Header, hidden: &EncryptionContext) -> EncryptionContext {
    old.context().iter().chain(hidden.iter()).filter(|(key, _)| *key != PUBLIC_KEY_ENTRY).collect()
}

/// Checks that the new message authenticates every pair that is kept, and does not store a pair
/// that the old one did not store.
fn check_kept(kept: &EncryptionContext, hidden: &EncryptionContext, new: &Encryptor) -> Result<()> {
    for (key, _) in kept {
        let stored = new.header().context().contains_key(key);
        if stored && hidden.contains_key(key) {
            return Err(ContextError::WouldBeStored.into());
        }
        if !stored && !new.hidden_context_keys().contains(key) {
            return Err(Error::Materials("the materials lack a pair of the encryption context that is to be kept"));
        }
    }
    Ok(())
}
