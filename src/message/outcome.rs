//! What an operation returns about the message that it wrote or read.

use std::fmt;

use crate::{format::Header, keyring::KeyReport, materials::OpenedBy};

/// A message that was encrypted, or what is known of it if it was written elsewhere.
///
/// ```
/// # use sealwax::{Client, keyring::RawAesKeyring};
/// # let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
/// let sealed = Client::new().encrypt(&keyring).bytes(b"text").wait()?;
/// assert_eq!(sealed.message[..3], [2, 0x05, 0x78]);
/// # Ok::<(), sealwax::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Encrypted<M = Vec<u8>> {
    /// The message, or `()` if it was written to a sink or a file.
    pub message: M,
    /// The header of the message.
    pub header: Header,
    /// A report of the keyrings that wrapped the data key.
    pub key_report: KeyReport,
}

/// A message that was decrypted to its end and verified.
///
/// The plaintext is a plain vector: from here on it is the application's, which may wrap it in a
/// type that clears it. What this crate itself holds of a plaintext is cleared when it is dropped.
///
/// ```
/// # use sealwax::{Client, keyring::RawAesKeyring};
/// # let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
/// # let client = Client::new();
/// # let message = client.encrypt(&keyring).bytes(b"text").wait()?.message;
/// let opened = client.decrypt(&keyring).bytes(&message).wait()?;
/// println!("{} bytes under {}", opened.plaintext.len(), opened.opened_by.keyring);
/// # Ok::<(), sealwax::Error>(())
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct Decrypted<P = Vec<u8>> {
    /// The plaintext, or the sink of the writer that received it, or `()` if it was written to a
    /// sink or a file of the caller.
    pub plaintext: P,
    /// The verified header of the message.
    pub header: Header,
    /// The keyring that unwrapped the data key.
    pub opened_by: OpenedBy,
}

impl<P> fmt::Debug for Decrypted<P> {
    /// Formats everything except the plaintext.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { header, opened_by, .. } = self;
        f.debug_struct("Decrypted").field("header", header).field("opened_by", opened_by).finish_non_exhaustive()
    }
}
