//! What a message must be refused for, attack by attack, and what implementers of the format get
//! wrong, item by item.
//!
//! The hostile messages come from a second writer that shares no code with the crate, and are
//! authentic except for the fault in question.

mod contexts;
mod frames;
mod header;
mod keyrings;
mod limits;
mod materials;
mod release;
mod signatures;
mod sources;
mod wrong;

use std::{
    collections::{BTreeSet, HashSet},
    io::{Read, Write},
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use sealwax::{
    AlgorithmSuite, Client, CommitmentPolicy, ContextError, Decrypted, Direction, EncryptedDataKey, EncryptionContext,
    Error, FormatError, Header, HeaderDecoder, LimitError, Result, SecretBytes, UnwrapFailure, UnwrapReason,
    crypto::{HashAlgorithm, SignatureAlgorithm},
    io::GetRange,
    keyring::{BoxFuture, Keyring, MultiKeyring, RawAesKeyring, UnwrapRequest, Unwrapped, WrapRequest, Wrapped},
    materials::{
        DecryptionMaterials, DecryptionRequest, DefaultMaterialsManager, EncryptionMaterials, EncryptionRequest,
        MaterialsManager,
    },
};

use super::{
    forge::{
        Curve, FINAL_LABEL, FINAL_MARK, Fixed, Forge, PROVIDER_ID, PUBLIC_KEY, REGULAR_LABEL, UNFRAMED_LABEL, Unasked,
        der, footer, iv_of, serialize_context,
        ways::{Outcome, Reading, reads_all, writes_v1},
    },
    support::{
        client_builder, new_client, provider,
        provider::{Derived, Fronted},
        readers::ready,
    },
};

/// Three frames of five bytes and a partial one of two.
const TEXT: &[u8] = b"0123456789abcdefg";
/// The part that may be released before the final frame.
const REGULAR: &[u8] = b"0123456789abcde";
/// Versions 1 and 2, unsigned and signed.
const FOUR: [u16; 4] = [0x0178, 0x0378, 0x0478, 0x0578];
const SIGNED: [u16; 4] = [0x0214, 0x0346, 0x0378, 0x0578];
const NO_CONTEXT: &EncryptionContext = &EncryptionContext::new();

/// Returns a reading with the right data key and any policy that reads.
fn reading<'a>(client: &'a Client, keyring: &'a dyn Keyring) -> Reading<'a> {
    Reading { client, keyring, context: NO_CONTEXT }
}

#[track_caller]
fn accepts(forge: &Forge, message: &[u8], plaintext: &[u8]) {
    reading(&reads_all(), &forge.keyring()).accepts(message, plaintext);
}

#[track_caller]
fn refuses(forge: &Forge, message: &[u8], before: &[u8], expected: impl Fn(&Error) -> bool) {
    reading(&reads_all(), &forge.keyring()).refuses(message, before, expected);
}

/// Asserts that the message is refused before any keyring is called.
#[track_caller]
fn refuses_unasked(message: &[u8], expected: impl Fn(&Error) -> bool) {
    reading(&reads_all(), &Unasked).refuses(message, b"", expected);
}

fn is_integrity(error: &Error) -> bool {
    matches!(error, Error::Integrity)
}

fn is_format(expected: FormatError) -> impl Fn(&Error) -> bool {
    move |error| matches!(error, Error::Format(found) if *found == expected)
}

fn is_limit(expected: LimitError) -> impl Fn(&Error) -> bool {
    move |error| matches!(error, Error::Limit(found) if *found == expected)
}

#[test]
fn the_second_writer_agrees_with_the_library() {
    for suite in AlgorithmSuite::ALL {
        let forge = Forge::new(suite.id());
        for length in [0, 1, 4, 5, 6, 10, 17] {
            accepts(&forge, &forge.message(&TEXT[..length]), &TEXT[..length]);
        }
        accepts(&forge, &forge.unframed_message(TEXT), TEXT);
        accepts(&forge, &forge.unframed_message(b""), b"");
    }
}

/// Returns the message with one bit of its signature changed.
fn with_a_bad_signature(mut message: Vec<u8>) -> Vec<u8> {
    *message.last_mut().unwrap() ^= 1;
    message
}

/// Returns a data key wrapped by a keyring of the library.
fn wrapped(keyring: &dyn Keyring, context: &EncryptionContext, data_key: &[u8]) -> [Vec<u8>; 3] {
    let (suite, key) = (AlgorithmSuite::Aes256GcmHkdfSha512CommitKey, SecretBytes::from(data_key));
    let request = WrapRequest::new(provider(), suite, context).for_key(&key);
    let encrypted = ready(keyring.on_encrypt(request)).unwrap().encrypted_data_keys.remove(0);
    let provider_id = encrypted.provider_id().as_bytes().to_vec();
    [provider_id, encrypted.provider_info().to_vec(), encrypted.ciphertext().to_vec()]
}

fn with_keys(mut forge: Forge, keys: Vec<[Vec<u8>; 3]>) -> Forge {
    forge.key_count = keys.len() as u16;
    forge.keys = keys;
    forge
}

fn failure(refused: Result<Decrypted>) -> UnwrapFailure {
    match refused {
        Err(Error::NotUnwrapped(failure)) => failure,
        other => panic!("not a failure to unwrap: {other:?}"),
    }
}

/// Returns whether the only attempt found no match: no encrypted data key is for this keyring.
fn is_no_match(failure: &UnwrapFailure) -> bool {
    matches!(failure.attempts(), [attempt] if matches!(attempt.reason, UnwrapReason::NoMatch))
}

#[test]
fn an_outcome_names_its_way() {
    let forge = Forge::new(0x0478);
    let outcomes = reading(&new_client(), &forge.keyring()).every_way(&forge.message(TEXT));
    let ways: BTreeSet<_> = outcomes.iter().map(|Outcome { way, .. }| way).collect();
    assert_eq!(ways.len(), outcomes.len());
}
