//! Live exchanges with the official Python and Node SDKs, which `tests/peers/setup.sh` installs.
//! Without them these tests are skipped, unless SEALWAX_REQUIRE_PEERS=1.

use std::{collections::BTreeSet, time::Instant};

use sealwax::{
    AlgorithmSuite, ContentType, EncryptedDataKey, EncryptionContext, Error, PUBLIC_KEY_ENTRY, Result,
    keyring::{BoxFuture, MultiKeyring, RawAesKeyring},
    materials::{
        DecryptionMaterials, DecryptionRequest, DefaultMaterialsManager, EncryptionMaterials, EncryptionRequest,
        MaterialsManager,
    },
};

use crate::support::{
    WrappingKey, client_for, pattern,
    peer::{Peer, PeerOpening, Refused, Sdk, ToWrite},
    readers::{WAYS, Way, open_every_way, refuse_every_way},
    reading_client, say, suite_name,
    writers::{Sealing, Writing},
};

/// The ways to write that the matrix covers.
const WRITINGS: [Writing; 3] = [Writing::Bytes, Writing::Reader, Writing::Writer];

const UNSIGNED: AlgorithmSuite = AlgorithmSuite::Aes256GcmHkdfSha512CommitKey;
const SIGNED: AlgorithmSuite = AlgorithmSuite::Aes256GcmHkdfSha512CommitKeyEcdsaP384;

/// One suite of each kind: without commitment and with it, unsigned and signed.
const FOUR_SUITES: [AlgorithmSuite; 4] = [
    AlgorithmSuite::Aes256GcmIv12Tag16HkdfSha256,
    AlgorithmSuite::Aes256GcmIv12Tag16HkdfSha384EcdsaP384,
    UNSIGNED,
    SIGNED,
];

/// Returns the plaintext lengths around the limits of frames of this length.
fn lengths_around(frame_length: u32) -> BTreeSet<usize> {
    let frame = frame_length as usize;
    BTreeSet::from([0, 1, frame - 1, frame, frame + 1, 3 * frame + 5])
}

/// What varies between the exchanges of a matrix, besides suite and lengths.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Turn {
    context: usize,
    key_length: u8,
    arrangement: Arrangement,
}

/// The position of the key that opens a message among those that wrap it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Arrangement {
    Alone,
    First,
    Second,
}

const CONTEXTS: usize = 4;
const KEY_LENGTHS: [u8; 3] = [16, 24, 32];
const ARRANGEMENTS: [Arrangement; 3] = [Arrangement::Alone, Arrangement::First, Arrangement::Second];

/// Returns every combination in turn, repeatedly.
fn turns() -> impl Iterator<Item = Turn> {
    let mut all = Vec::new();
    for context in 0..CONTEXTS {
        for key_length in KEY_LENGTHS {
            all.extend(ARRANGEMENTS.map(|arrangement| Turn { context, key_length, arrangement }));
        }
    }
    // In steps of 7, which is coprime to their number, so that more than one thing changes each
    // time.
    (0..).map(move |at| all[at * 7 % all.len()].clone())
}

impl Turn {
    fn context(&self) -> EncryptionContext {
        match self.context {
            0 => EncryptionContext::new(),
            1 => [("tenant", "blue")].into(),
            // U+FF61 is before U+10002 in UTF-8 and after it in UTF-16; "B" is before "a", but not
            // in a dictionary.
            2 => [
                ("\u{ff61}", "halfwidth"),
                ("\u{10002}", "linear b"),
                ("a", "\u{442}\u{435}\u{441}\u{442}"),
                ("B", "=&\"\\ \0 \n"),
                ("\u{e9}t\u{e9}", "\u{590f} \u{1f31e}"),
            ]
            .into(),
            _ => [("long", "sealwax ".repeat(1024)), ("short", "s".to_owned())].into(),
        }
    }

    /// Returns the key that opens the message.
    fn key(&self) -> WrappingKey {
        WrappingKey::new("sealwax-test", "the key", self.key_length)
    }

    /// Returns the keys that wrap, the generating one first.
    fn keys(&self) -> Vec<WrappingKey> {
        let other = WrappingKey::new("sealwax-other", "\u{e4}ndere", 48 - self.key_length);
        match self.arrangement {
            Arrangement::Alone => vec![self.key()],
            Arrangement::First => vec![self.key(), other],
            Arrangement::Second => vec![other, self.key()],
        }
    }
}

fn multi_keyring(keys: &[WrappingKey]) -> MultiKeyring {
    let (first, others) = keys.split_first().expect("a key");
    others.iter().fold(MultiKeyring::new(first.keyring()), |keyring, key| keyring.child(key.keyring()))
}

/// Checks what a peer read from our message.
fn check_peer_opening(opening: &PeerOpening, suite: AlgorithmSuite, stored: &EncryptionContext, plaintext: &[u8]) {
    assert_eq!(opening.suite, suite);
    assert!(opening.plaintext == plaintext, "the peer read another plaintext");
    let mut context = opening.context.clone();
    assert_eq!(context.remove(PUBLIC_KEY_ENTRY).is_some(), suite.is_signed());
    assert!(context == *stored, "the peer read another context");
}

/// The peer reads what we write. Returns the number of messages.
fn peer_reads(peer: &mut Peer, suites: &[AlgorithmSuite], frame_lengths: &[u32]) -> usize {
    let mut turns = turns();
    let (mut count, mut seen) = (0, BTreeSet::new());
    for &suite in suites {
        for &frame_length in frame_lengths {
            for length in lengths_around(frame_length) {
                let (turn, plaintext) = (turns.next().expect("endless"), pattern(length));
                // In step neither with the lengths nor with the turns.
                let writing = WRITINGS[(count + count / 6 + count / 36) % WRITINGS.len()];
                let what = format!("{}, {length} in {frame_length}, {turn:?}, {writing:?}", suite_name(suite));
                let (keyring, context) = (multi_keyring(&turn.keys()), turn.context());
                let sealing = Sealing { keyring: &keyring, suite, frame_length, context: &context };
                let message = sealing.seal(writing, &plaintext).expect(&what);
                // With the one key or with all of them.
                let opened_with = if count % 4 == 0 { turn.keys() } else { vec![turn.key()] };
                match peer.decrypt(&opened_with, &context, &message) {
                    Ok(opening) => check_peer_opening(&opening, suite, &context, &plaintext),
                    Err(refused) => panic!("{what}: {refused:?}"),
                }
                seen.insert((turn, format!("{writing:?}")));
                count += 1;
            }
        }
    }
    assert_all_turns(seen.iter().map(|(turn, _)| turn));
    assert_eq!(seen.iter().map(|(_, writing)| writing).collect::<BTreeSet<_>>().len(), WRITINGS.len());
    count
}

/// We read what the peer writes: every message in one piece, and in one of the other ways. Returns
/// the number of messages.
fn we_read(peer: &mut Peer, suites: &[AlgorithmSuite], frames: &[(u32, Vec<usize>)]) -> usize {
    let client = reading_client();
    let mut turns = turns();
    let others = |signed: bool| WAYS[1..].iter().copied().filter(move |way| !(signed && way.refuses_signed()));
    let (mut unsigned_ways, mut signed_ways) =
        (others(false).collect::<Vec<_>>().into_iter().cycle(), others(true).collect::<Vec<_>>().into_iter().cycle());
    let (mut count, mut seen, mut seen_ways) = (0, BTreeSet::new(), BTreeSet::new());
    for &suite in suites {
        for (frame_length, lengths) in frames {
            for &length in lengths {
                let (turn, plaintext) = (turns.next().expect("endless"), pattern(length));
                let way =
                    if suite.is_signed() { &mut signed_ways } else { &mut unsigned_ways }.next().expect("endless");
                let what = format!("{}, {length} in {frame_length}, {turn:?}, {way:?}", suite_name(suite));
                let mut context = turn.context();
                if turn.context == 2 {
                    // We write no empty values, but read them.
                    context.insert("empty", "");
                }
                let request = ToWrite {
                    keys: &turn.keys(),
                    suite,
                    frame_length: *frame_length,
                    context: &context,
                    required: &[],
                    plaintext: &plaintext,
                };
                let message = peer.encrypt(&request).unwrap_or_else(|refused| panic!("{what}: {refused:?}"));
                let keyring = turn.key().keyring();
                for way in [Way::Bytes, way] {
                    let opening = way.open(&client, &keyring, &context, &message).expect(&what);
                    let header = &opening.header;
                    assert!(opening.plaintext == plaintext, "{what}: another plaintext");
                    assert_eq!(header.suite(), suite, "{what}");
                    let framed = ContentType::Framed { frame_length: *frame_length };
                    let expected = if *frame_length == 0 { ContentType::Unframed } else { framed };
                    assert_eq!(header.content_type(), expected, "{what}");
                    let mut stored = header.context().clone();
                    assert_eq!(stored.remove(PUBLIC_KEY_ENTRY).is_some(), suite.is_signed(), "{what}");
                    assert!(stored == context, "{what}: another context");
                    assert_eq!(header.encrypted_data_keys().len(), turn.keys().len(), "{what}");
                    assert_eq!(&*opening.opened_by.keyring, "raw-aes://sealwax-test/the key", "{what}");
                }
                seen.insert(turn);
                seen_ways.insert(format!("{way:?}"));
                count += 1;
            }
        }
    }
    assert_all_turns(seen.iter());
    assert_eq!(seen_ways.len(), WAYS.len() - 1, "{seen_ways:?}");
    count
}

fn assert_all_turns<'a>(seen: impl Iterator<Item = &'a Turn>) {
    let seen: BTreeSet<_> = seen.collect();
    assert_eq!(seen.len(), CONTEXTS * KEY_LENGTHS.len() * ARRANGEMENTS.len(), "not every combination came up");
}

/// Returns frame lengths with the plaintext lengths around them.
fn with_lengths(frame_lengths: &[u32]) -> Vec<(u32, Vec<usize>)> {
    frame_lengths.iter().map(|&frame| (frame, lengths_around(frame).into_iter().collect())).collect()
}

fn report(what: &str, count: usize, start: Instant) {
    say(&format!("peers: {what}: {count} messages in {:.1} s", start.elapsed().as_secs_f64()));
}

const OUR_FRAME_LENGTHS: [u32; 6] = [1, 7, 127, 4096, 65_536, 65_537];

/// 4 lengths around frames of 1 byte and 6 around each of the five others, with each of the eleven
/// suites.
const OUR_MATRIX: usize = 11 * (4 + 5 * 6);

#[test]
fn python_reads_what_we_write() {
    let Some(mut peer) = Peer::start(Sdk::Python) else { return };
    let start = Instant::now();
    let count = peer_reads(&mut peer, &AlgorithmSuite::ALL, &OUR_FRAME_LENGTHS);
    report("Python reads ours", count, start);
    assert_eq!((count, peer.exchanges), (OUR_MATRIX, OUR_MATRIX));
}

#[test]
fn node_reads_what_we_write() {
    let Some(mut peer) = Peer::start(Sdk::Node) else { return };
    let start = Instant::now();
    let count = peer_reads(&mut peer, &AlgorithmSuite::ALL, &OUR_FRAME_LENGTHS);
    report("Node reads ours", count, start);
    assert_eq!((count, peer.exchanges), (OUR_MATRIX, OUR_MATRIX));
}

#[test]
fn we_read_what_python_writes() {
    let Some(mut peer) = Peer::start(Sdk::Python) else { return };
    let start = Instant::now();
    // The peer only writes frames of multiples of 128 bytes and, with a frame length of 0, unframed
    // messages.
    let mut frames = with_lengths(&[128, 256, 4096, 65_536]);
    frames.push((1 << 20, vec![5, (1 << 20) + 1]));
    frames.push((0, vec![0, 1, 300, 65_537]));
    let count = we_read(&mut peer, &AlgorithmSuite::ALL, &frames);
    report("we read Python's", count, start);
    assert_eq!((count, peer.exchanges), (11 * (4 * 6 + 2 + 4), 330));
}

#[test]
fn we_read_what_node_writes() {
    let Some(mut peer) = Peer::start(Sdk::Node) else { return };
    let start = Instant::now();
    let count = we_read(&mut peer, &AlgorithmSuite::ALL, &with_lengths(&OUR_FRAME_LENGTHS));
    report("we read Node's", count, start);
    assert_eq!((count, peer.exchanges), (OUR_MATRIX, OUR_MATRIX));
}

#[test]
fn pythons_material_providers_library_and_we_read_each_other() {
    let Some(mut peer) = Peer::start(Sdk::Python) else { return };
    peer.keyring = "mpl";
    let start = Instant::now();
    let ours = peer_reads(&mut peer, &FOUR_SUITES, &[7, 4096]);
    let theirs = we_read(&mut peer, &FOUR_SUITES, &with_lengths(&[128, 4096]));
    report("ours and the material providers library's", ours + theirs, start);
    assert_eq!((ours, theirs, peer.exchanges), (48, 48, 96));
}

// Context that is authenticated but not stored.

/// Alters the materials of each message that is written.
struct Altering<F>(DefaultMaterialsManager<RawAesKeyring>, F);

impl<F: Fn(&mut EncryptionMaterials) + Send + Sync> MaterialsManager for Altering<F> {
    fn encryption_materials<'a>(
        &'a self,
        request: EncryptionRequest<'a>,
    ) -> BoxFuture<'a, Result<EncryptionMaterials>> {
        Box::pin(async move {
            let mut materials = self.0.encryption_materials(request).await?;
            (self.1)(&mut materials);
            Ok(materials)
        })
    }

    fn decryption_materials<'a>(
        &'a self,
        request: DecryptionRequest<'a>,
    ) -> BoxFuture<'a, Result<DecryptionMaterials>> {
        self.0.decryption_materials(request)
    }
}

#[test]
fn context_that_is_required_but_not_stored_goes_both_ways() {
    let Some(mut peer) = Peer::start(Sdk::Python) else { return };
    peer.keyring = "mpl";
    let start = Instant::now();
    let (client, key) = (reading_client(), WrappingKey::new("sealwax-test", "the key", 32));
    let context = EncryptionContext::from([("a", "1"), ("tenant", "blue"), ("\u{ff61}", "u"), ("\u{10002}", "v")]);
    let plaintext = pattern(700);
    let required_sets: [&[&str]; 3] =
        [&["tenant"], &["\u{10002}", "\u{ff61}"], &["a", "tenant", "\u{10002}", "\u{ff61}"]];
    let (mut count, mut refusals) = (0, 0);
    for suite in FOUR_SUITES {
        for required in required_sets {
            let what = format!("{}, {} required", suite_name(suite), required.len());
            let stored: EncryptionContext = context.iter().filter(|(name, _)| !required.contains(name)).collect();
            let only_required: EncryptionContext = context.iter().filter(|(name, _)| required.contains(name)).collect();
            let mut wrong = only_required.clone();
            wrong.insert(required[0], "another");
            let unusable = [EncryptionContext::new(), stored.clone(), wrong];

            let keys = [key.clone()];
            let request =
                ToWrite { keys: &keys, suite, frame_length: 256, context: &context, required, plaintext: &plaintext };
            let theirs = peer.encrypt(&request).unwrap_or_else(|refused| panic!("{what}: {refused:?}"));
            let keyring = key.keyring();
            for expected in [&context, &only_required] {
                let opening = open_every_way(&client, &keyring, expected, &theirs, &plaintext, &what);
                let mut found = opening.header.context().clone();
                found.remove(PUBLIC_KEY_ENTRY);
                assert!(found == stored, "{what}: another context is stored");
            }
            for expected in &unusable {
                let not_unwrapped = |error: &Error| matches!(error, Error::NotUnwrapped(_));
                refuse_every_way(&client, &keyring, expected, &theirs, not_unwrapped, &what);
            }

            let require = |materials: &mut EncryptionMaterials| {
                materials.required_context_keys = required.iter().map(|key| (*key).to_owned()).collect();
            };
            let manager = Altering(DefaultMaterialsManager::new(key.keyring()), require);
            let writer = client_for(suite);
            let encrypt = writer.encrypt_with(&manager).suite(suite).frame_length(100).context(context.clone());
            let ours = encrypt.bytes(&plaintext).wait().expect(&what).message;
            for expected in [&context, &only_required] {
                let opening = peer.decrypt(&keys, expected, &ours);
                let opening = opening.unwrap_or_else(|refused| panic!("{what}: {refused:?}"));
                check_peer_opening(&opening, suite, &stored, &plaintext);
            }
            for expected in &unusable {
                assert!(peer.decrypt(&keys, expected, &ours).is_err(), "{what}: the peer opened it");
                refusals += 1;
            }
            count += 1;
        }
    }
    report("with required context", count, start);
    assert_eq!((count, refusals, peer.exchanges), (12, 36, 12 * (1 + 2 + 3)));
}

// Long plaintexts.

fn five_mebibytes_go_both_ways(sdk: Sdk) {
    let Some(mut peer) = Peer::start(sdk) else { return };
    let start = Instant::now();
    let (client, plaintext) = (reading_client(), pattern(5 << 20));
    let keys = [WrappingKey::new("sealwax-test", "the key", 32)];
    let (keyring, context) = (keys[0].keyring(), EncryptionContext::from([("size", "5 MiB")]));
    for (suite, way, writing) in
        [(UNSIGNED, Way::Reader, Writing::Writer), (SIGNED, Way::WriterUnverified, Writing::Reader)]
    {
        let frame_length = 65_536;
        let sealing = Sealing { keyring: &keyring, suite, frame_length, context: &context };
        let ours = sealing.seal(writing, &plaintext).expect("a message");
        let opening = peer.decrypt(&keys, &context, &ours).unwrap_or_else(|refused| panic!("{refused:?}"));
        check_peer_opening(&opening, suite, &context, &plaintext);

        let request =
            ToWrite { keys: &keys, suite, frame_length, context: &context, required: &[], plaintext: &plaintext };
        let theirs = peer.encrypt(&request).unwrap_or_else(|refused| panic!("{refused:?}"));
        let opening = way.open(&client, &keyring, &context, &theirs).expect("it opens");
        assert!(opening.plaintext == plaintext, "another plaintext");
    }
    report(&format!("5 MiB with {sdk:?}"), peer.exchanges, start);
    assert_eq!(peer.exchanges, 4);
}

#[test]
fn five_mebibytes_go_both_ways_with_python() {
    five_mebibytes_go_both_ways(Sdk::Python);
}

#[test]
fn five_mebibytes_go_both_ways_with_node() {
    five_mebibytes_go_both_ways(Sdk::Node);
}

// Tampering.

/// A peer must refuse our message with one bit flipped in any of its bytes.
fn peer_refuses_flipped_bits(sdk: Sdk) {
    let Some(mut peer) = Peer::start(sdk) else { return };
    let start = Instant::now();
    let (keys, context) =
        ([WrappingKey::new("sealwax-test", "the key", 32)], EncryptionContext::from([("tenant", "blue")]));
    let (keyring, plaintext) = (keys[0].keyring(), pattern(40));
    let mut expected = 0;
    for suite in FOUR_SUITES {
        let sealing = Sealing { keyring: &keyring, suite, frame_length: 16, context: &context };
        let message = sealing.seal(Writing::Bytes, &plaintext).expect("a message");
        let opening = peer.decrypt(&keys, &context, &message).unwrap_or_else(|refused| panic!("{refused:?}"));
        check_peer_opening(&opening, suite, &context, &plaintext);
        for at in 0..message.len() {
            let mut flipped = message.clone();
            flipped[at] ^= 1 << (at % 8);
            let refused = peer.decrypt(&keys, &EncryptionContext::new(), &flipped);
            let what = || format!("{}: byte {at} of {}", suite_name(suite), message.len());
            let Err(Refused(why)) = refused else { panic!("{}: opened", what()) };
            assert!(!why.starts_with("BadRequest"), "{}: {why}", what());
        }
        expected += 1 + message.len();
    }
    report(&format!("{sdk:?} refuses flipped bits"), peer.exchanges, start);
    assert_eq!(peer.exchanges, expected);
    assert!(peer.exchanges > 1500, "{} exchanges", peer.exchanges);
}

#[test]
fn python_refuses_our_messages_with_a_flipped_bit() {
    peer_refuses_flipped_bits(Sdk::Python);
}

#[test]
fn node_refuses_our_messages_with_a_flipped_bit() {
    peer_refuses_flipped_bits(Sdk::Node);
}

/// An encrypted data key that is no key is added as `sealwax-object-store` does, to give headers a
/// fixed length (decision 048).
#[test]
fn peers_skip_an_encrypted_data_key_that_is_padding() {
    for (sdk, keyring) in [(Sdk::Python, "raw"), (Sdk::Python, "mpl"), (Sdk::Node, "raw")] {
        let Some(mut peer) = Peer::start(sdk) else { return };
        peer.keyring = keyring;
        let key = WrappingKey::new("sealwax-test", "the key", 32);
        let (plaintext, context) = (pattern(700), EncryptionContext::from([("tenant", "blue")]));
        let client = reading_client();
        let seal = |info, zeros| {
            let padding = |materials: &mut EncryptionMaterials| {
                materials.encrypted_data_keys.push(EncryptedDataKey::new("sealwax-pad", info, vec![0; zeros]));
            };
            let manager = Altering(DefaultMaterialsManager::new(key.keyring()), padding);
            let encryption = client.encrypt_with(&manager).unsigned().context(context.clone());
            let message = encryption.bytes(&plaintext).wait().unwrap().message;
            assert_eq!(client.decrypt_with(&manager).bytes(&message).wait().unwrap().plaintext, plaintext);
            message
        };
        for zeros in [1, 17, 700, 60_000] {
            let opening = peer.decrypt(std::slice::from_ref(&key), &context, &seal("zeros", zeros));
            let opening = opening.unwrap_or_else(|refused| panic!("{sdk:?}, {zeros} zeros: {refused:?}"));
            check_peer_opening(&opening, UNSIGNED, &context, &plaintext);
        }
        // This is why the padding has provider information, and at least one byte of ciphertext.
        for (info, zeros) in [("", 17), ("zeros", 0)] {
            let refused = peer.decrypt(std::slice::from_ref(&key), &context, &seal(info, zeros)).err();
            assert_eq!(refused.is_some(), sdk == Sdk::Node, "{sdk:?}, {zeros} zeros: {refused:?}");
        }
    }
}
