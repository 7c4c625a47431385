//! The conformance suite for keyrings.

use std::slice;

use super::Violation;
use crate::{
    blocking::Operation,
    context::EncryptionContext,
    crypto::{CryptoProvider, RustCrypto},
    error::{Error, Result},
    format::EncryptedDataKey,
    keyring::{Keyring, UnwrapRequest, WrapRequest, Wrapped},
    secret::SecretBytes,
    suite::AlgorithmSuite,
};

/// The features of a keyring under test; by default all of them.
///
/// ```
/// use sealwax::conformance::KeyringTraits;
///
/// let read_only = KeyringTraits { encrypts: false, ..KeyringTraits::default() };
/// assert!(read_only.decrypts);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct KeyringTraits {
    /// The keyring wraps data keys. If false, wrapping must fail.
    pub encrypts: bool,
    /// The keyring unwraps what it wrapped. If false, unwrapping must fail.
    pub decrypts: bool,
    /// The keyring generates a data key if there is none.
    pub generates: bool,
    /// The keyring binds wrapped data keys to the encryption context, as every keyring that can do
    /// so should.
    pub binds_context: bool,
}

impl Default for KeyringTraits {
    fn default() -> Self {
        Self { encrypts: true, decrypts: true, generates: true, binds_context: true }
    }
}

/// Tests a keyring against the specification's keyring interface, with data keys of every length.
///
/// # Errors
/// [`Error::Keyring`] with the [`Violation`] as its source.
///
/// ```
/// use sealwax::{conformance, keyring::{MultiKeyring, RawAesKeyring}};
///
/// let keyring = MultiKeyring::new(RawAesKeyring::new("example", "main", vec![1; 32])?)
///     .child(RawAesKeyring::new("example", "recovery", vec![2; 16])?);
/// // Because `generates` is set, the suite gives the keyring no existing data key.
/// conformance::keyring(&keyring, conformance::KeyringTraits::default()).wait()?;
/// # Ok::<(), sealwax::Error>(())
/// ```
pub fn keyring(keyring: &dyn Keyring, traits: KeyringTraits) -> Operation<impl Future<Output = Result<()>> + Send> {
    Operation::new(async move {
        let outcome = match (traits.encrypts, traits.decrypts) {
            (true, _) => both_ways(keyring, traits).await,
            (false, _) => refuses_to_encrypt(keyring).await,
        };
        outcome.map_err(|violation| Error::keyring(keyring.label().to_string(), violation))
    })
}

type Outcome<T = ()> = Result<T, Violation>;

fn check(holds: bool, rule: &str) -> Outcome {
    if holds { Ok(()) } else { Err(Violation::new(rule)) }
}

const SUITES: [AlgorithmSuite; 4] = [
    AlgorithmSuite::Aes128GcmIv12Tag16HkdfSha256,
    AlgorithmSuite::Aes192GcmIv12Tag16HkdfSha256,
    AlgorithmSuite::Aes256GcmHkdfSha512CommitKey,
    AlgorithmSuite::Aes256GcmHkdfSha512CommitKeyEcdsaP384,
];

fn context() -> EncryptionContext {
    EncryptionContext::from([("conformance", "suite"), ("grüße", "\u{10002}")])
}

fn random_key(suite: AlgorithmSuite) -> Outcome<SecretBytes> {
    RustCrypto.random_key(suite.data_key_length()).map_err(|error| Violation::new(error.to_string()))
}

async fn refuses_to_encrypt(keyring: &dyn Keyring) -> Outcome {
    let context = context();
    let request = WrapRequest::new(&RustCrypto, SUITES[2], &context);
    check(keyring.on_encrypt(request).await.is_err(), "a keyring that does not encrypt must return an error")
}

async fn both_ways(keyring: &dyn Keyring, traits: KeyringTraits) -> Outcome {
    check(!keyring.label().is_empty(), "a keyring must have a label")?;
    for suite in SUITES {
        for context in [EncryptionContext::new(), context()] {
            let (data_key, keys) = wrap(keyring, traits, suite, &context).await?;
            if traits.decrypts {
                unwrap(keyring, traits, suite, &context, &data_key, &keys).await?;
            } else {
                let request = UnwrapRequest::new(&RustCrypto, suite, &context, &keys);
                check(
                    keyring.on_decrypt(request).await.is_err(),
                    "a keyring that does not decrypt must return an error",
                )?;
            }
        }
    }
    Ok(())
}

/// Generates or wraps a data key and checks the result.
async fn wrap(
    keyring: &dyn Keyring,
    traits: KeyringTraits,
    suite: AlgorithmSuite,
    context: &EncryptionContext,
) -> Outcome<(SecretBytes, Vec<EncryptedDataKey>)> {
    let request = WrapRequest::new(&RustCrypto, suite, context);
    let failed = |error: Error| Violation::new(format!("wrapping failed: {error}"));
    let (data_key, wrapped) = if traits.generates {
        let mut wrapped = keyring.on_encrypt(request).await.map_err(failed)?;
        let again = keyring.on_encrypt(request).await.map_err(failed)?;
        let key = wrapped
            .data_key
            .take()
            .ok_or_else(|| Violation::new("a keyring must generate a data key if there is none"))?;
        let other = again.data_key.ok_or_else(|| Violation::new("a keyring must generate a data key every time"))?;
        check(
            key.len() == suite.data_key_length(),
            "a data key must have the length that the algorithm suite requires",
        )?;
        check(!key.ct_eq(other.as_bytes()), "two generated data keys must differ")?;
        (key, wrapped)
    } else {
        let key = random_key(suite)?;
        let wrapped = keyring.on_encrypt(request.for_key(&key)).await.map_err(failed)?;
        check(wrapped.data_key.is_none(), "an existing data key must not be replaced")?;
        (key, wrapped)
    };
    let Wrapped { encrypted_data_keys, .. } = wrapped;
    check(!encrypted_data_keys.is_empty(), "a keyring must return an encrypted data key")?;
    for key in &encrypted_data_keys {
        let plain = data_key.as_bytes();
        let leaks = |bytes: &[u8]| bytes.windows(plain.len()).any(|window| window == plain);
        check(
            !leaks(key.ciphertext()) && !leaks(key.provider_info()),
            "an encrypted data key must not contain the plaintext data key",
        )?;
        let longest = key.provider_id().len().max(key.provider_info().len()).max(key.ciphertext().len());
        check(longest <= usize::from(u16::MAX), "no field of an encrypted data key may be longer than 65,535 bytes")?;
    }
    Ok((data_key, encrypted_data_keys))
}

/// Unwraps the wrapped data key, and checks that nothing else unwraps.
async fn unwrap(
    keyring: &dyn Keyring,
    traits: KeyringTraits,
    suite: AlgorithmSuite,
    context: &EncryptionContext,
    data_key: &SecretBytes,
    keys: &[EncryptedDataKey],
) -> Outcome {
    let open = async |keys: &[EncryptedDataKey], context: &EncryptionContext| {
        keyring.on_decrypt(UnwrapRequest::new(&RustCrypto, suite, context, keys)).await
    };
    let expect_own = async |keys: &[EncryptedDataKey], rule: &str| -> Outcome {
        let unwrapped = open(keys, context).await.map_err(|error| Violation::new(format!("{rule}: {error}")))?;
        check(unwrapped.data_key.ct_eq(data_key.as_bytes()), rule)?;
        let ours = keys.get(unwrapped.encrypted_data_key).is_some_and(|key| key.provider_id() != STRANGER);
        check(ours, "the index of the encrypted data key must be the one in the request")
    };
    let foreign = EncryptedDataKey::new(STRANGER, "somebody's key", vec![0x5a; 64]);

    expect_own(keys, "a wrapped data key must unwrap to the same data key").await?;
    let mixed: Vec<_> = [slice::from_ref(&foreign), keys, slice::from_ref(&foreign)].concat();
    expect_own(&mixed, "encrypted data keys of other keyrings must be skipped").await?;
    let damaged: Vec<_> = keys.iter().map(|key| altered(key, 0)).collect();
    let damaged_first = [&damaged[..], keys].concat();
    expect_own(&damaged_first, "after an encrypted data key that does not unwrap, the next must be tried").await?;

    check(open(&[], context).await.is_err(), "unwrapping must fail without encrypted data keys")?;
    check(open(&[foreign], context).await.is_err(), "an encrypted data key of another keyring must not unwrap")?;
    let longest = keys.iter().map(|key| key.ciphertext().len()).max().unwrap_or(0);
    for at in 0..longest {
        let altered: Vec<_> = keys.iter().map(|key| altered(key, at)).collect();
        if let Ok(unwrapped) = open(&altered, context).await {
            let same = unwrapped.data_key.ct_eq(data_key.as_bytes());
            check(same, "an altered encrypted data key must not unwrap to another data key")?;
        }
    }
    let cut: Vec<_> = keys.iter().map(cut).collect();
    check(open(&cut, context).await.is_err(), "a truncated encrypted data key must not unwrap")?;
    if traits.binds_context {
        let mut other = context.clone();
        other.insert("conformance", "another value");
        check(open(keys, &other).await.is_err(), "a data key must not unwrap with another encryption context")?;
    }
    Ok(())
}

/// A key provider id that no keyring under test has.
const STRANGER: &str = "sealwax-conformance-stranger";

/// Returns the encrypted data key with one bit of its ciphertext flipped.
fn altered(key: &EncryptedDataKey, at: usize) -> EncryptedDataKey {
    let mut ciphertext = key.ciphertext().to_vec();
    if let Some(byte) = ciphertext.get_mut(at) {
        *byte ^= 1;
    }
    EncryptedDataKey::new(key.provider_id(), key.provider_info(), ciphertext)
}

/// Returns the encrypted data key without the last byte of its ciphertext.
fn cut(key: &EncryptedDataKey) -> EncryptedDataKey {
    let ciphertext = key.ciphertext().split_last().map_or(&[][..], |(_, rest)| rest);
    EncryptedDataKey::new(key.provider_id(), key.provider_info(), ciphertext)
}
