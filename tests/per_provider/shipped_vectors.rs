//! The test vectors of the project: messages that the official SDKs made
//! (tests/peers/make_vectors.py).

use std::collections::BTreeSet;

use sealwax::{ContextError, EncryptionContext, Error, PUBLIC_KEY_ENTRY, keyring::MultiKeyring};

use super::support::{
    WrappingKey, contains_context, in_parallel,
    readers::{open_every_way, refuse_every_way},
    reading_client, say,
    shipped::{Vector, load},
    writers::{Sealing, WRITINGS},
};

/// How much longer the peers' messages are if the plaintext is a nonzero multiple of the frame
/// length. The peers write every frame as a regular one (sequence number, IV, content, tag),
/// followed by an empty final frame (marker, sequence number, IV, length, tag). We make the last
/// frame the final one (marker, sequence number, IV, length, content, tag).
const EMPTY_FINAL_FRAME: usize = {
    let (mark, number, iv, length, tag) = (4, 4, 12, 4, 16);
    let theirs = (number + iv + tag) + (mark + number + iv + length + tag);
    let ours = mark + number + iv + length + tag;
    theirs - ours
};

fn multi_keyring(keys: &[WrappingKey]) -> MultiKeyring {
    let (first, others) = keys.split_first().expect("a key");
    others.iter().fold(MultiKeyring::new(first.keyring()), |keyring, key| keyring.child(key.keyring()))
}

/// Returns the context without empty values, which we read but do not write, and how many bytes
/// those add.
fn writable(context: &EncryptionContext) -> (EncryptionContext, usize) {
    let added = context.iter().filter(|(_, value)| value.is_empty()).count();
    let context = context.iter().map(|(key, value)| (key, if value.is_empty() { "-" } else { value })).collect();
    (context, added)
}

fn check_opening(vector: &Vector, key: &WrappingKey) {
    let (client, name) = (reading_client(), &vector.name);
    let keyring = key.keyring();
    let opening = open_every_way(&client, &keyring, &vector.context, &vector.message, &vector.plaintext, name);
    let header = &opening.header;
    assert_eq!(header.suite(), vector.suite, "{name}");
    assert_eq!(header.content_type().frame_length(), vector.frame_length, "{name}");
    assert!(contains_context(header.context(), &vector.context), "{name}: the context");
    let added = usize::from(header.suite().is_signed());
    assert_eq!(header.context().len(), vector.context.len() + added, "{name}");
    assert_eq!(header.context().contains_key(PUBLIC_KEY_ENTRY), header.suite().is_signed(), "{name}");
    assert_eq!(header.encrypted_data_keys().len(), vector.keys.len(), "{name}");
    let used = &header.encrypted_data_keys()[opening.opened_by.encrypted_data_key];
    assert_eq!((used.provider_id(), used.key_name()), (&*key.namespace, Some(&*key.name)), "{name}");
}

/// Checks what must be refused: another key of the same name, another context, an altered message,
/// and a truncated one.
fn check_refusals(vector: &Vector) {
    let (client, name, key) = (reading_client(), &vector.name, &vector.keys[0]);
    let no_context = EncryptionContext::new();
    let mut wrong = key.clone();
    wrong.bytes[0] ^= 1;
    let not_unwrapped = |error: &Error| matches!(error, Error::NotUnwrapped(_));
    refuse_every_way(&client, &wrong.keyring(), &no_context, &vector.message, not_unwrapped, name);
    let additional = EncryptionContext::from([("not in the message", "x")]);
    refuse_every_way(&client, &key.keyring(), &additional, &vector.message, not_unwrapped, name);
    if let Some((stored, value)) = vector.context.iter().next() {
        let other = EncryptionContext::from([(stored, format!("{value}?"))]);
        let mismatch = |error: &Error| matches!(error, Error::Context(ContextError::Mismatch));
        refuse_every_way(&client, &key.keyring(), &other, &vector.message, mismatch, name);
    }
    // The last byte belongs to a signature or a tag.
    let mut flipped = vector.message.clone();
    *flipped.last_mut().expect("a message") ^= 1;
    let integrity = |error: &Error| matches!(error, Error::Integrity);
    refuse_every_way(&client, &key.keyring(), &no_context, &flipped, integrity, name);
    let cut = &vector.message[..vector.message.len() - 1];
    let truncated = |error: &Error| matches!(error, Error::Format(sealwax::FormatError::Truncated));
    refuse_every_way(&client, &key.keyring(), &no_context, cut, truncated, name);
}

/// Writes what the peer wrote, with the same parameters, in every way. Signatures of the Python SDK
/// have a constant length, as ours do; those of the Node SDK do not.
fn check_writing(vector: &Vector, frame_length: u32, signatures_are_constant: bool) {
    let (client, name) = (reading_client(), &vector.name);
    let keyring = multi_keyring(&vector.keys);
    let (context, added) = writable(&vector.context);
    let sealing = Sealing { keyring: &keyring, suite: vector.suite, frame_length, context: &context };
    if added > 0 {
        let refused = Sealing { context: &vector.context, ..sealing }.seal(WRITINGS[0], &vector.plaintext);
        assert!(matches!(refused, Err(Error::Context(ContextError::Empty))), "{name}");
    }
    let is_multiple = !vector.plaintext.is_empty() && vector.plaintext.len().is_multiple_of(frame_length as usize);
    let theirs = vector.message.len() + added - if is_multiple { EMPTY_FINAL_FRAME } else { 0 };
    for &writing in WRITINGS {
        let sealing = Sealing { keyring: &keyring, suite: vector.suite, frame_length, context: &context };
        let message = sealing.seal(writing, &vector.plaintext).expect(name);
        if !vector.suite.is_signed() || signatures_are_constant {
            assert_eq!(message.len(), theirs, "{name}, {writing:?}");
        }
        let opened = client.decrypt(&keyring).context(context.clone()).bytes(&message).wait().expect(name);
        assert!(opened.plaintext == vector.plaintext, "{name}, {writing:?}");
    }
}

/// Checks the vectors of one SDK.
fn check(file: &str, signatures_are_constant: bool, expected: [usize; 4]) {
    let vectors = load(file);
    assert!(vectors.len() >= 60, "{file} has {} vectors", vectors.len());
    let suites: BTreeSet<_> = vectors.iter().map(|vector| vector.suite).collect();
    assert_eq!(suites.len(), 11, "{file}: {suites:?}");
    let names: BTreeSet<_> = vectors.iter().map(|vector| &vector.name).collect();
    assert_eq!(names.len(), vectors.len(), "{file}: a name stands twice");

    in_parallel(&vectors, |vector| {
        vector.keys.iter().for_each(|key| check_opening(vector, key));
        check_refusals(vector);
        if let Some(frame_length) = vector.frame_length {
            check_writing(vector, frame_length, signatures_are_constant);
        }
    });
    let openings: usize = vectors.iter().map(|vector| vector.keys.len()).sum();
    let unframed = vectors.iter().filter(|vector| vector.frame_length.is_none()).count();
    let multiples = vectors.iter().filter(|vector| {
        let length = vector.plaintext.len();
        length > 0 && vector.frame_length.is_some_and(|frame| length.is_multiple_of(frame as usize))
    });
    let counts = [vectors.len(), openings, unframed, multiples.count()];
    let [all, openings, unframed, multiples] = counts;
    say(&format!(
        "shipped {file}: {all} vectors, {openings} opened with one key each; {} written again, {multiples} of them \
         without the empty final frame; {unframed} not framed",
        all - unframed
    ));
    assert_eq!(counts, expected);
}

#[test]
fn the_messages_of_the_python_sdk_open_and_ours_are_as_long() {
    assert_eq!(EMPTY_FINAL_FRAME, 32);
    check("python", true, [72, 81, 12, 3]);
}

#[test]
fn the_messages_of_the_node_sdk_open_and_ours_are_as_long() {
    check("node", false, [103, 107, 0, 18]);
}
