//! A keyring whose data key is always the same.

use std::sync::Arc;

use sealwax::{
    EncryptedDataKey, Result,
    keyring::{BoxFuture, Keyring, UnwrapRequest, Unwrapped, WrapRequest, Wrapped},
};

/// Every byte of every data key.
pub const KEY_BYTE: u8 = 0x42;

/// Accepts every encrypted data key, and returns a fixed data key of the suite's length for it.
pub struct FixedKey;

impl Keyring for FixedKey {
    fn label(&self) -> Arc<str> {
        "fixed".into()
    }

    fn on_encrypt<'a>(&'a self, request: WrapRequest<'a>) -> BoxFuture<'a, Result<Wrapped>> {
        let key = vec![KEY_BYTE; request.suite.data_key_length()];
        let wrapped = Wrapped::generated(key.into(), EncryptedDataKey::new("fuzz", "fixed", [1, 2, 3]));
        Box::pin(async { Ok(wrapped) })
    }

    fn on_decrypt<'a>(&'a self, request: UnwrapRequest<'a>) -> BoxFuture<'a, Result<Unwrapped>> {
        let key = vec![KEY_BYTE; request.suite.data_key_length()];
        let mut attempts = request.attempts(self.label());
        let unwrapped = attempts.record(0, Ok(key.into())).ok_or_else(|| attempts.into_error());
        Box::pin(async { unwrapped })
    }
}
