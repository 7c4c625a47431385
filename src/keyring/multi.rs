//! The multi-keyring.

use std::sync::Arc;

use super::{BoxFuture, KeyReport, Keyring, UnwrapRequest, Unwrapped, WrapRequest, Wrapped};
use crate::{
    error::{Error, Result, UnwrapFailure, UnwrapReason},
    secret::SecretBytes,
};

/// Several keyrings as one: a message that any of them can open.
///
/// The generator makes the data key and wraps it; the children wrap the same key. On decrypt the generator is asked
/// first, then the children in their order, until one succeeds.
///
/// Specification: framework/multi-keyring.
///
/// ```
/// use sealwax::{Client, keyring::{MultiKeyring, RawAesKeyring}};
///
/// let main = RawAesKeyring::new("example", "main", vec![1; 32])?;
/// let recovery = RawAesKeyring::new("example", "recovery", vec![2; 32])?;
/// let both = MultiKeyring::new(main).child(recovery);
///
/// let client = Client::new();
/// let sealed = client.encrypt(&both).bytes(b"text").wait()?;
/// let recovery = RawAesKeyring::new("example", "recovery", vec![2; 32])?;
/// assert_eq!(client.decrypt(&recovery).bytes(&sealed.message).wait()?.plaintext, b"text");
/// # Ok::<(), sealwax::Error>(())
/// ```
pub struct MultiKeyring {
    generator: Option<Arc<dyn Keyring>>,
    children: Vec<Arc<dyn Keyring>>,
    /// How many of the children must wrap; all, if nothing is said.
    required: Option<usize>,
}

impl MultiKeyring {
    /// A multi-keyring in which `generator` makes the data keys.
    ///
    /// ```
    /// # use sealwax::keyring::{MultiKeyring, RawAesKeyring};
    /// let keyring = MultiKeyring::new(RawAesKeyring::new("example", "key-1", vec![7; 32])?);
    /// # let _ = keyring;
    /// # Ok::<(), sealwax::Error>(())
    /// ```
    pub fn new(generator: impl Keyring + 'static) -> Self {
        Self { generator: Some(Arc::new(generator)), children: Vec::new(), required: None }
    }

    /// A multi-keyring without generator, to read with, or to wrap a data key that exists already.
    ///
    /// ```
    /// # use sealwax::keyring::{MultiKeyring, RawAesKeyring};
    /// let keyring = MultiKeyring::without_generator(RawAesKeyring::new("example", "key-1", vec![7; 32])?);
    /// # let _ = keyring;
    /// # Ok::<(), sealwax::Error>(())
    /// ```
    pub fn without_generator(first_child: impl Keyring + 'static) -> Self {
        Self { generator: None, children: vec![Arc::new(first_child)], required: None }
    }

    /// Adds a keyring that wraps the same data key.
    ///
    /// ```
    /// # use sealwax::keyring::{MultiKeyring, RawAesKeyring};
    /// let keyring = MultiKeyring::new(RawAesKeyring::new("example", "key-1", vec![7; 32])?)
    ///     .child(RawAesKeyring::new("example", "key-2", vec![8; 32])?);
    /// # let _ = keyring;
    /// # Ok::<(), sealwax::Error>(())
    /// ```
    #[must_use]
    pub fn child(mut self, keyring: impl Keyring + 'static) -> Self {
        self.children.push(Arc::new(keyring));
        self
    }

    /// Sets how many of all the children must wrap the data key, those added later included; the others may fail, and
    /// are reported in the [`KeyReport`](super::KeyReport) of the message. Without a quorum every child must wrap. The
    /// generator always must.
    ///
    /// A keyring that returns no encrypted data key has wrapped nothing, and counts as one that failed.
    ///
    /// Encryption fails with [`Error::Configuration`] if the quorum is more than there are children.
    ///
    /// ```
    /// # use sealwax::keyring::{MultiKeyring, RawAesKeyring};
    /// let keyring = MultiKeyring::new(RawAesKeyring::new("example", "main", vec![7; 32])?)
    ///     .child(RawAesKeyring::new("example", "here", vec![8; 32])?)
    ///     .child(RawAesKeyring::new("example", "there", vec![9; 32])?)
    ///     .require(1);
    /// # let _ = keyring;
    /// # Ok::<(), sealwax::Error>(())
    /// ```
    #[must_use]
    pub fn require(mut self, children: usize) -> Self {
        self.required = Some(children);
        self
    }

    /// Returns how many children may fail.
    fn may_fail(&self) -> Result<usize> {
        let there = self.children.len();
        let required = self.required.unwrap_or(there);
        there.checked_sub(required).ok_or_else(|| {
            Error::Configuration(format!("a quorum of {required} is more than the {there} child keyrings"))
        })
    }

    async fn wrap(&self, request: WrapRequest<'_>) -> Result<Wrapped> {
        let mut may_fail = self.may_fail()?;
        let mut all = Wrapped { data_key: None, encrypted_data_keys: Vec::new(), report: KeyReport::default() };
        if let Some(generator) = &self.generator {
            if request.data_key.is_some() {
                return Err(Error::Materials("a multi-keyring with a generator was given a data key"));
            }
            let mut wrapped = check_wrapped(generator.on_encrypt(request).await?, &**generator)?;
            all.report = wrapped.take_report(|| generator.label());
            let missing = Error::Materials("the generator keyring returned no data key");
            all.data_key = Some(wrapped.data_key.ok_or(missing)?);
            all.encrypted_data_keys = wrapped.encrypted_data_keys;
        }
        let key = all.data_key.as_ref().or(request.data_key);
        let key = key.ok_or(Error::Materials("a multi-keyring without generator was given no data key"))?;
        for child in &self.children {
            match wrap_with_child(child, request, key).await {
                Ok(mut wrapped) => {
                    all.report.append(wrapped.take_report(|| child.label()));
                    all.encrypted_data_keys.append(&mut wrapped.encrypted_data_keys);
                }
                Err(error) if may_fail == 0 => return Err(error),
                Err(error) => {
                    may_fail -= 1;
                    all.report.add_failed(child.label(), error);
                }
            }
        }
        // A quorum of zero and no generator: whatever wrapped nothing must not pass for a keyring that did.
        check_wrapped(all, self)
    }

    async fn unwrap(&self, request: UnwrapRequest<'_>) -> Result<Unwrapped> {
        let mut failure = UnwrapFailure::default();
        for keyring in self.generator.iter().chain(&self.children) {
            match keyring.on_decrypt(request).await {
                Ok(unwrapped) if unwrapped.data_key.len() == request.suite.data_key_length() => return Ok(unwrapped),
                Ok(unwrapped) => {
                    failure.add(unwrapped.keyring, Some(unwrapped.encrypted_data_key), UnwrapReason::NotAuthentic);
                }
                Err(error) => failure.merge(keyring.label(), error),
            }
        }
        Err(failure.into())
    }
}

async fn wrap_with_child(child: &Arc<dyn Keyring>, request: WrapRequest<'_>, key: &SecretBytes) -> Result<Wrapped> {
    let wrapped = child.on_encrypt(request.for_key(key)).await?;
    if wrapped.data_key.is_some() {
        return Err(Error::Materials("a child keyring returned a data key of its own"));
    }
    check_wrapped(wrapped, &**child)
}

/// Refuses the answer of a keyring that wrapped nothing. It would count towards a quorum, and the message could not be
/// opened with that keyring.
fn check_wrapped(wrapped: Wrapped, keyring: &dyn Keyring) -> Result<Wrapped> {
    if wrapped.encrypted_data_keys.is_empty() {
        return Err(Error::keyring(&*keyring.label(), "it returned no encrypted data key"));
    }
    Ok(wrapped)
}

impl Keyring for MultiKeyring {
    fn label(&self) -> Arc<str> {
        let labels: Vec<_> = self.generator.iter().chain(&self.children).map(|keyring| keyring.label()).collect();
        format!("multi({})", labels.join(", ")).into()
    }

    fn on_encrypt<'a>(&'a self, request: WrapRequest<'a>) -> BoxFuture<'a, Result<Wrapped>> {
        Box::pin(self.wrap(request))
    }

    fn on_decrypt<'a>(&'a self, request: UnwrapRequest<'a>) -> BoxFuture<'a, Result<Unwrapped>> {
        Box::pin(self.unwrap(request))
    }
}
