//! Encryption contexts compared with the official library: it and this crate must reach the same
//! verdict on every message, whichever pairs the message stores, which it only authenticates, and
//! what the reader expects.
//!
//! `tests/peers/setup.sh` installs the library. Without it these tests are skipped, unless
//! SEALWAX_REQUIRE_PEERS=1. SEALWAX_SEED repeats the cases of a failure, which names its seed.

use std::{
    env,
    hash::{BuildHasher, RandomState},
    time::{Duration, Instant},
};

use sealwax::{
    AlgorithmSuite, ContextError, Decrypted, EncryptionContext, Error, HeaderDecoder, PUBLIC_KEY_ENTRY, Result,
    materials::{DefaultMaterialsManager, MaterialsManager, RequiredContextManager},
};

use crate::{
    forge::{self, Forge},
    support::{
        self, WrappingKey, new_client, pattern,
        peer::{Peer, PeerOpening, Refused, Sdk, ToWrite},
        say,
    },
};

const UNSIGNED: AlgorithmSuite = AlgorithmSuite::Aes256GcmHkdfSha512CommitKey;
const SIGNED: AlgorithmSuite = AlgorithmSuite::Aes256GcmHkdfSha512CommitKeyEcdsaP384;
/// A reserved key that has no meaning.
const OTHER_RESERVED: &str = "aws-crypto-other";

/// The Python SDK with the managers of the material providers library.
fn library() -> Option<Peer> {
    let mut peer = Peer::start(Sdk::Python)?;
    peer.keyring = "mpl";
    Some(peer)
}

fn wrapping_key() -> WrappingKey {
    WrappingKey::new("sealwax-test", "the key", 32)
}

/// Returns the default manager or, over it, the one that requires these keys.
fn manager(required: &[&str]) -> Box<dyn MaterialsManager> {
    let default = DefaultMaterialsManager::new(wrapping_key().keyring());
    if required.is_empty() {
        return Box::new(default);
    }
    Box::new(RequiredContextManager::new(required.iter().copied(), default).expect("keys that can be required"))
}

/// Returns this crate's verdict on a message.
fn ours(required: &[&str], expected: &EncryptionContext, message: &[u8]) -> Result<Decrypted> {
    new_client().decrypt_with(&*manager(required)).context(expected.clone()).bytes(message).wait()
}

/// Returns the library's verdict on a message.
fn theirs(
    peer: &mut Peer,
    required: &[&str],
    expected: &EncryptionContext,
    message: &[u8],
) -> Result<PeerOpening, Refused> {
    let opening = peer.decrypt_requiring(required, &[wrapping_key()], expected, message);
    if let Err(Refused(why)) = &opening {
        // It must be a refusal of the library, and not a fault of the script in front of it.
        let faults = ["BadRequest", "TypeError", "KeyError", "AttributeError"];
        assert!(!faults.iter().any(|fault| why.starts_with(fault)), "{why}");
    }
    opening
}

fn stored_context(message: &[u8]) -> EncryptionContext {
    let (received, _) = HeaderDecoder::new().decode(message).expect("a header");
    received.header().context().clone()
}

/// Asserts that both open the message and read this.
#[track_caller]
fn both_open(peer: &mut Peer, expected: &EncryptionContext, message: &[u8], plaintext: &[u8]) {
    assert!(ours(&[], expected, message).expect("we open it").plaintext == plaintext);
    assert!(theirs(peer, &[], expected, message).expect("the library opens it").plaintext == plaintext);
}

/// Asserts that both refuse the message.
#[track_caller]
fn both_refuse(peer: &mut Peer, expected: &EncryptionContext, message: &[u8]) {
    assert!(ours(&[], expected, message).is_err(), "we open it");
    assert!(theirs(peer, &[], expected, message).is_err(), "the library opens it");
}

// Random splits.

#[derive(Clone, Copy, Debug, PartialEq)]
enum Writer {
    Sealwax,
    Library,
}

/// The fault in the pairs that are not reserved.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    /// The reader does not supply a pair that is not stored.
    Missing,
    /// The reader expects another value.
    Changed,
    /// The reader expects a pair that the message does not have.
    Additional,
    /// The reader's manager requires a key for which the reader gives no value.
    NotGiven,
}

/// The reserved keys that the reader expects.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Pin {
    None,
    /// The public key of the message, or of another message if it is unsigned.
    Signer,
    /// The public key of another message.
    OtherSigner,
    /// The key without a meaning, which the library lets a writer store.
    OtherReserved,
}

const WRITERS: [Writer; 2] = [Writer::Sealwax, Writer::Library];
/// No fault and no pin occur more often than the others, so that enough messages open.
const FAULTS: [Fault; 7] =
    [Fault::None, Fault::None, Fault::None, Fault::Missing, Fault::Changed, Fault::Additional, Fault::NotGiven];
const PINS: [Pin; 5] = [Pin::None, Pin::None, Pin::Signer, Pin::OtherSigner, Pin::OtherReserved];
const NAMES: [&str; 6] = ["a", "B", "tenant", "path", "\u{ff61}", "\u{10002}"];
const VALUES: [&str; 3] = ["1", "blue", "\u{442}\u{435}\u{441}\u{442}"];

/// One message and one reader of it.
#[derive(Debug)]
struct Case {
    writer: Writer,
    suite: AlgorithmSuite,
    fault: Fault,
    pin: Pin,
    /// The context that the writer gives.
    context: EncryptionContext,
    /// Its keys that are authenticated but not stored.
    required: Vec<&'static str>,
    /// The context that the reader expects, without the pinned pairs.
    expected: EncryptionContext,
    /// The keys that the reader's manager requires.
    reader_requires: Vec<&'static str>,
}

/// Numbers that follow from a seed.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

impl Case {
    /// Returns a random split of a random context that contains everything that the kind of case
    /// needs.
    fn new(writer: Writer, suite: AlgorithmSuite, fault: Fault, pin: Pin, numbers: &mut Numbers) -> Self {
        let mut names = NAMES;
        for end in (1..names.len()).rev() {
            names.swap(end, numbers.below(end + 1));
        }
        let [absent, stored, first, others @ ..] = names;
        let mut context = EncryptionContext::from([(stored, numbers.pick(&VALUES))]);
        let mut required = Vec::new();
        for name in [first].into_iter().chain(others) {
            let needed = name == first && fault == Fault::Missing;
            match numbers.below(4) {
                0 | 1 => required.push(name),
                _ if needed => required.push(name),
                2 => {}
                _ => continue,
            }
            context.insert(name, numbers.pick(&VALUES));
        }

        let mut expected = EncryptionContext::new();
        for (name, value) in context.iter() {
            let needed = required.contains(&name) || (name == stored && fault == Fault::Changed);
            if needed || numbers.one_in(2) {
                expected.insert(name, value);
            }
        }
        let given: Vec<_> = NAMES.into_iter().filter(|name| expected.contains_key(name)).collect();
        let mut reader_requires = Vec::new();
        if numbers.one_in(2) {
            reader_requires.extend(given.iter().filter(|_| numbers.one_in(2)));
        }
        match fault {
            Fault::None => {}
            Fault::Missing => {
                let missing = numbers.pick(&required);
                expected.remove(missing);
                // That would be another fault.
                reader_requires.retain(|name| *name != missing);
            }
            Fault::Changed => {
                expected.insert(numbers.pick(&given), "another");
            }
            Fault::Additional => {
                expected.insert(absent, numbers.pick(&VALUES));
            }
            Fault::NotGiven => reader_requires.push(absent),
        }
        // Only the library lets a writer set a reserved pair.
        if writer == Writer::Library && numbers.one_in(if pin == Pin::OtherReserved { 2 } else { 6 }) {
            context.insert(OTHER_RESERVED, "value");
        }
        Self { writer, suite, fault, pin, context, required, expected, reader_requires }
    }

    /// Returns the verdict that both must reach.
    fn opens(&self) -> bool {
        let pinned = match self.pin {
            Pin::None => true,
            Pin::Signer => self.suite.is_signed(),
            Pin::OtherSigner => false,
            Pin::OtherReserved => self.context.contains_key(OTHER_RESERVED),
        };
        self.fault == Fault::None && pinned
    }

    fn write(&self, peer: &mut Peer, plaintext: &[u8]) -> Vec<u8> {
        let Self { suite, context, required, .. } = self;
        match self.writer {
            Writer::Sealwax => {
                let (client, manager) = (new_client(), manager(required));
                let encrypt = client.encrypt_with(&*manager).suite(*suite).context(context.clone());
                encrypt.bytes(plaintext).wait().expect("we write it").message
            }
            Writer::Library => {
                let keys = [wrapping_key()];
                let request = ToWrite { keys: &keys, suite: *suite, frame_length: 128, context, required, plaintext };
                peer.encrypt(&request).expect("the library writes it")
            }
        }
    }

    /// Returns everything that the reader of this message expects.
    fn expected(&self, message: &[u8], other_signer: &str) -> EncryptionContext {
        let stored = stored_context(message);
        let pinned = match self.pin {
            Pin::None => None,
            Pin::Signer => Some((PUBLIC_KEY_ENTRY, stored.get(PUBLIC_KEY_ENTRY).unwrap_or(other_signer))),
            Pin::OtherSigner => Some((PUBLIC_KEY_ENTRY, other_signer)),
            Pin::OtherReserved => Some((OTHER_RESERVED, "value")),
        };
        self.expected.iter().chain(pinned).collect()
    }
}

#[test]
fn every_split_of_a_context_gets_the_same_verdict() {
    const ROUNDS: usize = 3;
    const ENOUGH: Duration = Duration::from_secs(30);
    let Some(mut peer) = library() else { return };
    let seed = env::var("SEALWAX_SEED")
        .map_or_else(|_| RandomState::new().hash_one(0), |text| text.parse().expect("SEALWAX_SEED is a number"));
    let (mut numbers, start) = (Numbers(seed), Instant::now());
    let another = new_client().encrypt(&wrapping_key().keyring()).bytes(b"").wait().expect("a message");
    let other_signer = another.header.context().get(PUBLIC_KEY_ENTRY).expect("it is signed").to_owned();
    let (mut opened, mut refused) = (0, 0);
    // The first round is always complete, so that every kind of case occurs.
    for round in 0..ROUNDS {
        if round > 0 && start.elapsed() > ENOUGH {
            break;
        }
        for (writer, suite, fault, pin) in WRITERS.into_iter().flat_map(|writer| {
            [UNSIGNED, SIGNED].into_iter().flat_map(move |suite| {
                FAULTS.into_iter().flat_map(move |fault| PINS.map(|pin| (writer, suite, fault, pin)))
            })
        }) {
            let case = Case::new(writer, suite, fault, pin, &mut numbers);
            let what = format!("SEALWAX_SEED={seed}, message {}: {case:?}", opened + refused);
            let plaintext = pattern(numbers.below(300));
            let message = case.write(&mut peer, &plaintext);
            let mut kept = stored_context(&message);
            kept.remove(PUBLIC_KEY_ENTRY);
            assert!(kept.iter().all(|(name, _)| !case.required.contains(&name)), "{what}: stored");
            assert_eq!(kept.len() + case.required.len(), case.context.len(), "{what}");

            let expected = case.expected(&message, &other_signer);
            let ours = ours(&case.reader_requires, &expected, &message);
            let theirs = theirs(&mut peer, &case.reader_requires, &expected, &message);
            match (ours, theirs) {
                (Ok(ours), Ok(theirs)) => {
                    assert!(case.opens(), "{what}: both open it");
                    assert!(ours.plaintext == plaintext && theirs.plaintext == plaintext, "{what}: another plaintext");
                    assert!(*ours.header.context() == theirs.context, "{what}: another context");
                    opened += 1;
                }
                (Err(_), Err(_)) => {
                    assert!(!case.opens(), "{what}: both refuse it");
                    refused += 1;
                }
                (Ok(_), Err(why)) => panic!("{what}: only we open it: {why:?}"),
                (Err(why), Ok(_)) => panic!("{what}: only the library opens it: {why:?}"),
            }
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    say(&format!("contexts: {opened} messages opened, {refused} refused, in {seconds:.1} s (SEALWAX_SEED={seed})"));
    // For each writer, those without a fault: both suites without a pin, and signed messages with
    // the right one.
    assert!(opened >= 2 * 3 * (2 + 2 + 1) && refused > opened, "{opened} opened, {refused} refused");
}

// Messages that no writer makes.

/// Returns a message of this suite that stores `tenant=blue`, and authenticates this pair without
/// storing it.
fn forged(suite: AlgorithmSuite, pair: (&str, &str)) -> Vec<u8> {
    let tenant = ("tenant", "blue");
    let mut forge = Forge::new(suite.id());
    let mut whole = EncryptionContext::from([tenant, pair]);
    if pair.0 == PUBLIC_KEY_ENTRY {
        forge.context = forge::serialize_context(&[tenant]);
    } else if let Some(curve) = forge.signs() {
        whole.insert(PUBLIC_KEY_ENTRY, support::to_base64(&curve.public_key()));
    }
    forge.required = forge::serialize_context(&[pair]);
    forge.wrap_with(&wrapping_key().keyring(), &whole);
    forge.message(b"forged")
}

#[test]
fn attack_29_both_refuse_an_unsigned_message_that_authenticates_a_pinned_public_key() {
    let Some(mut peer) = library() else { return };
    let (client, keyring) = (new_client(), wrapping_key().keyring());
    let sealed = client.encrypt(&keyring).context([("tenant", "blue")]).bytes(b"honest").wait().expect("a message");
    let public_key = sealed.header.context().get(PUBLIC_KEY_ENTRY).expect("it is signed");
    let pinned = EncryptionContext::from([("tenant", "blue"), (PUBLIC_KEY_ENTRY, public_key)]);
    both_open(&mut peer, &pinned, &sealed.message, b"honest");

    let stored = [("tenant", "blue")];
    let authenticated = [(PUBLIC_KEY_ENTRY, public_key)];
    let forge = Forge::under_the_key_of(&sealed.message, &keyring, UNSIGNED.id(), &stored, &authenticated);
    let only_pin = EncryptionContext::from(authenticated);
    for expected in [&pinned, &only_pin, &stored.into(), &EncryptionContext::new()] {
        both_refuse(&mut peer, expected, &forge.message(b"forged"));
    }
    // Stored as well as pinned, it does not make an unsigned message a signed one either.
    let stored = [(PUBLIC_KEY_ENTRY, public_key), ("tenant", "blue")];
    let forge = Forge::under_the_key_of(&sealed.message, &keyring, UNSIGNED.id(), &stored, &[]);
    both_refuse(&mut peer, &pinned, &forge.message(b"forged"));
    // Without a reserved key the same forgery is an ordinary message, so the refusals are due to
    // that key.
    let path = ("path", "/x");
    both_open(&mut peer, &[("tenant", "blue"), path].into(), &forged(UNSIGNED, path), b"forged");
    both_open(&mut peer, &[path].into(), &forged(SIGNED, path), b"forged");
}

/// All differences between the two, with their reasons. Each is something that the library accepts
/// and this crate refuses, and none concerns a message of one of our honest writers.
#[test]
fn the_library_alone_takes_reserved_pairs_from_the_reader() {
    let Some(mut peer) = library() else { return };
    let not_stored =
        |outcome: Result<Decrypted>| matches!(outcome, Err(Error::Context(ContextError::ReservedNotStored)));

    // 1. The public key of a *signed* message, authenticated and not stored. The library takes the
    // verifying key from stored and reproduced pairs alike. The signature is then verified with the
    // key that the reader pinned, so this is safe. No writer makes such messages: the library also
    // refuses to keep the public key out. This crate has one rule for reserved keys, independent of
    // the suite: they are read from the message.
    let forge = Forge::new(SIGNED.id());
    let public_key = support::to_base64(&forge.signs().expect("it signs").public_key());
    let pin = (PUBLIC_KEY_ENTRY, public_key.as_str());
    let message = forged(SIGNED, pin);
    let expected = EncryptionContext::from([pin]);
    assert_eq!(theirs(&mut peer, &[], &expected, &message).expect("it opens").plaintext, b"forged");
    let refused = ours(&[], &expected, &message);
    assert!(matches!(refused, Err(Error::Context(ContextError::PublicKeyMissing))), "{refused:?}");
    // Here the library relies on the signature: without a valid one it refuses too.
    let mut badly_signed = message;
    *badly_signed.last_mut().expect("a signature") ^= 1;
    both_refuse(&mut peer, &expected, &badly_signed);
    let keys = [wrapping_key()];
    let context = EncryptionContext::from([("tenant", "blue")]);
    let required = &[PUBLIC_KEY_ENTRY];
    let request =
        ToWrite { keys: &keys, suite: SIGNED, frame_length: 128, context: &context, required, plaintext: b"text" };
    assert!(peer.encrypt(&request).is_err(), "the library keeps the public key out");

    // 2. A reserved key other than the public key. The library reserves only that name; the
    // specification reserves the prefix, and so does this crate: a reader must not decide what such
    // a key will mean.
    let pair = (OTHER_RESERVED, "value");
    let context = EncryptionContext::from([("tenant", "blue"), pair]);
    for suite in [UNSIGNED, SIGNED] {
        let required = &[OTHER_RESERVED];
        let request =
            ToWrite { keys: &keys, suite, frame_length: 128, context: &context, required, plaintext: b"text" };
        let written = peer.encrypt(&request).expect("the library writes it");
        for (message, plaintext) in [(written, "text"), (forged(suite, pair), "forged")] {
            let expected = EncryptionContext::from([pair]);
            let opening = theirs(&mut peer, &[], &expected, &message).expect("it opens");
            assert_eq!(opening.plaintext, plaintext.as_bytes());
            assert!(not_stored(ours(&[], &expected, &message)));
        }
        let refused = new_client().encrypt_with(&*manager(&[])).suite(suite).context(context.clone()).bytes(b"").wait();
        assert!(matches!(refused, Err(Error::Context(ContextError::ReservedPrefix))));
    }

    // 3. A manager that requires a reserved key. The library makes one; such a manager reads signed
    // messages of a pinned signer. This crate refuses to make it, because it could not write
    // anything; for a reader, the pin alone has the same effect.
    let required = [PUBLIC_KEY_ENTRY];
    let refused = RequiredContextManager::new(required, DefaultMaterialsManager::new(keys[0].keyring()));
    assert!(matches!(refused, Err(Error::Context(ContextError::ReservedPrefix))));
    let sealed = new_client().encrypt(&keys[0].keyring()).bytes(b"text").wait().expect("a message");
    let pinned = sealed.header.context().clone();
    assert_eq!(theirs(&mut peer, &required, &pinned, &sealed.message).expect("it opens").plaintext, b"text");
    assert!(theirs(&mut peer, &required, &EncryptionContext::new(), &sealed.message).is_err());
    assert_eq!(ours(&[], &pinned, &sealed.message).expect("it opens").plaintext, b"text");
}
