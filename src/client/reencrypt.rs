//! Re-encryptions and their options.

use std::io;
#[cfg(feature = "fs")]
use std::{fs::File, path::Path};

use super::{Decrypt, Encrypt};
#[cfg(feature = "fs")]
use crate::io::{Overwrite, PendingFile};
use crate::{
    blocking::wait,
    context::{EncryptionContext, PUBLIC_KEY_ENTRY},
    error::{ContextError, Error, Result},
    format::Header,
    io::EncryptingReader,
    message::{Decrypted, Encrypted, Encryptor},
};

/// A builder of a re-encryption, which [`Decrypt::reencrypt`] makes from the settings of a
/// decryption and of an encryption.
///
/// A re-encryption gives a message other wrapping keys, or another suite, frame length or
/// encryption context. The new message also gets a new data key and message id, and every frame is
/// sealed anew. The encrypted data keys are never exchanged under an unchanged data key, because
/// two headers under one key reveal what authenticates the message. The plaintext passes through
/// memory frame by frame and is not stored anywhere.
///
/// The final frame of the new message is written only once the whole old message has been verified,
/// including its signature.
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
#[must_use = "nothing is re-encrypted until a method such as `copy` is called"]
pub struct Reencrypt<'a> {
    decrypt: Decrypt<'a>,
    encrypt: Encrypt<'a>,
    keep_context: bool,
}

/// A message that was re-encrypted.
#[derive(Debug)]
#[non_exhaustive]
pub struct Reencrypted {
    /// The old message, which was verified.
    pub opened: Decrypted<()>,
    /// The new message.
    pub sealed: Encrypted<()>,
}

impl<'a> Reencrypt<'a> {
    pub(super) fn new(decrypt: Decrypt<'a>, encrypt: Encrypt<'a>) -> Self {
        Self { decrypt, encrypt, keep_context: false }
    }

    /// Copies the encryption context of the old message to the new one, except its public key.
    /// Pairs that are set for the new message take precedence.
    ///
    /// Pairs of the expected context that the old message authenticates without storing them are
    /// copied too. The materials manager of the new message must
    /// [require](crate::materials::RequiredContextManager) them, so that they are not stored.
    pub fn keep_context(mut self) -> Self {
        self.keep_context = true;
        self
    }

    /// Re-encrypts a source into a sink. This reads and writes on the calling thread, where the
    /// materials managers and their keyrings complete too.
    ///
    /// # Errors
    /// The errors of [`Decrypt::bytes`] and [`Encrypt::bytes`], [`Error::Io`](crate::Error::Io) if
    /// the source or sink fails, [`Error::WouldBlockRuntime`] as for
    /// [`Operation::wait`](crate::Operation::wait), and [`ContextError::WouldBeStored`] if a kept
    /// pair that the old message does not store would be stored in the new one. What the sink
    /// received before an error is a truncated message, which no reader accepts as complete. Its
    /// frames may be those of a signed message with an invalid signature, so do not make the sink
    /// visible before this succeeds; `file` (feature `fs`) takes care of that.
    pub fn copy(self, mut source: impl io::Read, sink: impl io::Write) -> Result<Reencrypted> {
        let Self { decrypt, mut encrypt, keep_context } = self;
        // This releases nothing early: the new message ends only once the old signature has been
        // verified.
        let old = decrypt.release_unverified().open(&mut source)?;
        let hidden = old.hidden_context().clone();
        let mut plaintext = old.into_reader()?;
        let machine = if keep_context {
            let kept = kept_context(plaintext.header(), &hidden);
            let given = std::mem::take(&mut encrypt.context);
            encrypt.context = kept.iter().chain(given.iter()).collect();
            let machine = wait(encrypt.start_machine())?;
            check_kept(&kept, &given, &hidden, &machine)?;
            machine
        } else {
            wait(encrypt.start_machine())?
        };
        let (header, key_report) = EncryptingReader::new(&mut plaintext, machine).copy_to(sink)?;
        let sealed = Encrypted { message: (), header, key_report };
        let (header, opened_by) = (plaintext.header().clone(), plaintext.opened_by().clone());
        Ok(Reencrypted { opened: Decrypted { plaintext: (), header, opened_by }, sealed })
    }

    /// Re-encrypts a file into another file, or into itself. The target appears, or is replaced, in
    /// one step and only once the source has been verified.
    ///
    /// # Errors
    /// The errors of [`copy`](Self::copy). The target is then unchanged, except as described for
    /// [`PendingFile::commit`].
    ///
    /// ```
    /// # use sealwax::{Client, io::Overwrite, keyring::RawAesKeyring};
    /// # let old = RawAesKeyring::new("example", "2023", vec![1; 32])?;
    /// # let new = RawAesKeyring::new("example", "2024", vec![2; 32])?;
    /// # let directory = tempfile::tempdir()?;
    /// # let file = directory.path().join("report.sealed");
    /// # let client = Client::new();
    /// # std::fs::write(&file, client.encrypt(&old).bytes(b"text").wait()?.message)?;
    /// client.decrypt(&old).reencrypt(client.encrypt(&new)).keep_context().file(&file, &file, Overwrite::Replace)?;
    /// # assert_eq!(client.decrypt(&new).bytes(&std::fs::read(&file)?).wait()?.plaintext, b"text");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "fs")]
    pub fn file(self, source: impl AsRef<Path>, target: impl AsRef<Path>, overwrite: Overwrite) -> Result<Reencrypted> {
        let source = File::open(source)?;
        let mut target = PendingFile::create(target, overwrite)?;
        let done = self.copy(source, &mut target)?;
        target.commit()?;
        Ok(done)
    }
}

/// Returns the whole context of the old message, except the public key, which belongs to the old
/// signature.
fn kept_context(old: &Header, hidden: &EncryptionContext) -> EncryptionContext {
    old.context().iter().chain(hidden.iter()).filter(|(key, _)| *key != PUBLIC_KEY_ENTRY).collect()
}

/// Checks that the new message authenticates every pair that is kept, with its value, and does not
/// store a pair that the old one did not store. `given` has the values that the caller gave
/// instead.
fn check_kept(
    kept: &EncryptionContext,
    given: &EncryptionContext,
    hidden: &EncryptionContext,
    new: &Encryptor,
) -> Result<()> {
    for (key, value) in kept {
        let stored = new.header().context().get(key);
        if stored.is_some() && hidden.contains_key(key) {
            return Err(ContextError::WouldBeStored.into());
        }
        if stored.or(new.hidden_context().get(key)) != Some(given.get(key).unwrap_or(value)) {
            return Err(Error::Materials("the materials lack or change a pair of the encryption context that is kept"));
        }
    }
    Ok(())
}
