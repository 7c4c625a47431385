//! The messages of a store, one by one.

use std::sync::Arc;

use sealwax::{
    Encrypt, EncryptionContext, Result,
    materials::{MaterialsManager, RequiredContextManager},
};

use crate::{
    binding::Binding,
    layout::{Layout, SUITE},
    padding::PaddingManager,
};

/// The length of the header of an object, unless another one is set.
pub(crate) const HEADER_LENGTH: u32 = 1024;
/// The number of plaintext bytes in a frame of an object, unless another one is set.
pub(crate) const FRAME_LENGTH: u32 = 64 << 10;

/// The form of the messages of a store, for programs that read and write single objects with a
/// [`Client`](sealwax::Client) and need no `SealedStore`.
///
/// What is written so is what a store with the same options writes, and the other way round.
///
/// ```
/// use sealwax::{Client, keyring::RawAesKeyring, materials::DefaultMaterialsManager};
/// use sealwax_object_store::{Binding, Messages};
///
/// let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
/// let messages = Messages::new(Binding::Path, Some("lake"))?;
/// let manager = messages.manager(DefaultMaterialsManager::new(keyring))?;
/// let (client, context) = (Client::new(), messages.context("reports/2026.csv"));
///
/// let sealed = messages.form(client.encrypt_with(&manager).context(context.clone())).bytes(b"text").wait()?.message;
/// assert_eq!(messages.plaintext_length(sealed.len() as u64), Some(4));
/// assert_eq!(client.decrypt_with(&manager).context(context).bytes(&sealed).wait()?.plaintext, b"text");
/// # Ok::<(), sealwax::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Messages {
    binding: Binding,
    store_name: Option<String>,
    header_length: u32,
}

impl Messages {
    /// Returns the form of messages that are bound so, with the default layout.
    ///
    /// # Errors
    /// [`Error::Configuration`](sealwax::Error::Configuration) if messages are bound to a store
    /// without a name, or to nothing although there is a name.
    pub fn new(binding: Binding, store_name: Option<&str>) -> Result<Self> {
        binding.check(store_name)?;
        Ok(Self { binding, store_name: store_name.map(str::to_owned), header_length: HEADER_LENGTH })
    }

    /// Sets the length of the header of every message.
    #[must_use]
    pub fn header_length(self, bytes: u32) -> Self {
        Self { header_length: bytes, ..self }
    }

    /// Returns the pairs of the encryption context that the message at a path is bound with. They
    /// are authenticated but not stored.
    pub fn context(&self, path: &str) -> EncryptionContext {
        let mut context = EncryptionContext::new();
        self.binding.bind(&mut context, self.store_name.as_deref(), path);
        context
    }

    /// Returns a materials manager for these messages, which gets the materials from another one.
    ///
    /// # Errors
    /// Those of [`RequiredContextManager::new`].
    pub fn manager<M: MaterialsManager + 'static>(&self, inner: M) -> Result<impl MaterialsManager + use<M>> {
        let mut inner: Arc<dyn MaterialsManager> = Arc::new(inner);
        let keys = self.binding.keys(self.store_name.as_deref());
        if !keys.is_empty() {
            inner = Arc::new(RequiredContextManager::new(keys, inner)?);
        }
        Ok(PaddingManager::new(inner, self.header_length as usize))
    }

    /// Sets the suite and the frame length of an encryption, which must have a
    /// [manager](Self::manager) for these messages.
    pub fn form<'a>(&self, encrypt: Encrypt<'a>) -> Encrypt<'a> {
        encrypt.suite(SUITE).frame_length(FRAME_LENGTH)
    }

    /// Returns the length of the header, and the number of plaintext bytes in a frame.
    pub fn layout(&self) -> (u64, u32) {
        (self.header_length.into(), FRAME_LENGTH)
    }

    /// Returns the length of the plaintext of an object of this length, or `None` if no message of
    /// this form has the length. It is a claim until the object is opened.
    pub fn plaintext_length(&self, object: u64) -> Option<u64> {
        Layout { header: self.header_length.into(), frame: FRAME_LENGTH }.plaintext_length(object)
    }
}
