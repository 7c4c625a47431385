//! Every way to write and to read a message, with each provider.

use std::{
    fs,
    io::{self, Read, Write},
    sync::Arc,
    time::Duration,
};

use sealwax::{
    AlgorithmSuite, Client,
    crypto::CryptoProvider,
    keyring::RawAesKeyring,
    materials::{CachingManager, DefaultMaterialsManager, MemoryCache},
};
use tempfile::TempDir;
use zeroize::{Zeroize, Zeroizing};

use super::{
    cases::{Cases, SIGNED, Telling, UNSIGNED, WRAPPING_KEY, leaked, plaintext, text_and_wrapping_key},
    scanner::Kind,
};

/// A piece length that is on no boundary of a frame.
const PIECE: usize = 777;

/// What a step works with. Text and message are never freed; the client and the keyring are created
/// and dropped in the case.
struct Setting<'a> {
    client: Client,
    keyring: RawAesKeyring,
    suite: AlgorithmSuite,
    text: &'static [u8],
    message: &'static [u8],
    /// The directory: the text is in its file `text`, and the message in its file `message`.
    #[cfg_attr(not(feature = "fs"), allow(dead_code, reason = "only files need it"))]
    folder: &'a TempDir,
}

type Step = (&'static str, fn(&Setting<'_>));

/// Reads to the end, into a buffer that is wiped.
fn drain(mut reader: impl Read) {
    let mut buffer = Zeroizing::new(vec![0; 10_000]);
    while reader.read(&mut buffer).unwrap() > 0 {}
}

/// Reads some pieces, more than the header of a message, and drops the reader.
fn read_some(mut reader: impl Read) {
    let mut buffer = Zeroizing::new([0; 1000]);
    for _ in 0..3 {
        assert!(reader.read(&mut buffer[..]).is_ok());
    }
}

fn in_pieces(writer: &mut impl Write, bytes: &[u8]) {
    bytes.chunks(PIECE).for_each(|piece| writer.write_all(piece).unwrap());
}

fn half(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len() / 2]
}

const ENCRYPTIONS: &[Step] = &[
    ("encrypt bytes", |s| drop(s.client.encrypt(&s.keyring).suite(s.suite).bytes(s.text).wait().unwrap())),
    ("encrypt reader", |s| drain(s.client.encrypt(&s.keyring).suite(s.suite).reader(s.text).wait().unwrap())),
    ("encrypt reader, dropped half-way", |s| {
        read_some(s.client.encrypt(&s.keyring).suite(s.suite).reader(s.text).wait().unwrap());
    }),
    ("encrypt writer", |s| {
        let mut writer = s.client.encrypt(&s.keyring).suite(s.suite).writer(io::sink()).wait().unwrap();
        in_pieces(&mut writer, s.text);
        writer.finish().unwrap();
    }),
    ("encrypt writer, dropped half-way", |s| {
        let mut writer = s.client.encrypt(&s.keyring).suite(s.suite).writer(io::sink()).wait().unwrap();
        in_pieces(&mut writer, half(s.text));
    }),
    ("encrypt machine, dropped with its output", |s| {
        let mut machine = s.client.encrypt(&s.keyring).suite(s.suite).machine().wait().unwrap();
        s.text.chunks(PIECE).for_each(|piece| machine.push(piece).unwrap());
    }),
    ("encrypt copy", |s| {
        s.client.encrypt(&s.keyring).suite(s.suite).copy(s.text, io::sink()).unwrap();
    }),
    #[cfg(feature = "fs")]
    ("encrypt file", |s| {
        let (source, target) = (s.folder.path().join("text"), s.folder.path().join("new"));
        s.client.encrypt(&s.keyring).suite(s.suite).file(&source, &target, sealwax::io::Overwrite::Replace).unwrap();
    }),
];

const DECRYPTIONS: &[Step] = &[
    ("decrypt bytes", |s| {
        let mut opened = s.client.decrypt(&s.keyring).bytes(s.message).wait().unwrap();
        assert!(opened.plaintext == s.text);
        // The plaintext belongs to the caller.
        opened.plaintext.zeroize();
    }),
    ("decrypt bytes, the end altered", |s| {
        let mut message = s.message.to_vec();
        *message.last_mut().unwrap() ^= 1;
        assert!(s.client.decrypt(&s.keyring).bytes(&message).wait().is_err());
    }),
    ("decrypt bytes, the middle altered", |s| {
        let mut message = s.message.to_vec();
        // In small messages this is in the header.
        let middle = message.len() / 2;
        message[middle] ^= 1;
        assert!(s.client.decrypt(&s.keyring).bytes(&message).wait().is_err());
    }),
    ("decrypt reader", |s| {
        drain(s.client.decrypt(&s.keyring).release_unverified().open(s.message).unwrap().into_reader().unwrap())
    }),
    ("decrypt reader, dropped half-way", |s| {
        read_some(s.client.decrypt(&s.keyring).release_unverified().open(s.message).unwrap().into_reader().unwrap());
    }),
    ("decrypt reader, cut off", |s| {
        let cut = &s.message[..s.message.len() - 1];
        let mut reader = s.client.decrypt(&s.keyring).release_unverified().open(cut).unwrap().into_reader().unwrap();
        let mut buffer = Zeroizing::new(vec![0; 10_000]);
        while reader.read(&mut buffer).is_ok_and(|count| count > 0) {}
    }),
    ("decrypt writer", |s| {
        let mut writer = s.client.decrypt(&s.keyring).release_unverified().writer(io::sink());
        in_pieces(&mut writer, s.message);
        writer.finish().unwrap();
    }),
    ("decrypt writer, dropped half-way", |s| {
        let mut writer = s.client.decrypt(&s.keyring).release_unverified().writer(io::sink());
        in_pieces(&mut writer, &s.message[..s.message.len() - 1]);
    }),
    ("decrypt machine, finished with a backlog", |s| {
        let (header, body) = s.client.header_decoder().decode(s.message).unwrap();
        let mut machine = s.client.decrypt(&s.keyring).release_unverified().machine(header).wait().unwrap();
        body.chunks(PIECE).for_each(|piece| machine.push(piece).unwrap());
        drop(Zeroizing::new(machine.finish().unwrap().plaintext));
    }),
    ("decrypt machine, dropped with a backlog", |s| {
        let (header, body) = s.client.header_decoder().decode(s.message).unwrap();
        let mut machine = s.client.decrypt(&s.keyring).release_unverified().machine(header).wait().unwrap();
        body.chunks(PIECE).for_each(|piece| machine.push(piece).unwrap());
        machine.consume(machine.output().len() / 2);
    }),
    ("decrypt ranges", |s| {
        let ranges =
            s.client.decrypt(&s.keyring).release_unverified().open_at(s.message).unwrap().into_ranges().unwrap();
        let mut buffer = Zeroizing::new([0; 600]);
        for offset in (0..s.text.len()).step_by(1000) {
            assert!(ranges.read_at(offset as u64, &mut buffer[..]).unwrap() > 0);
        }
    }),
    ("decrypt ranges, verified", |s| {
        let ranges = s.client.decrypt(&s.keyring).open_at(s.message).unwrap().verify().unwrap().into_ranges().unwrap();
        let end = s.text.len() as u64;
        let mut bytes = ranges.read_range(end / 3..end).unwrap();
        assert!(bytes == s.text[s.text.len() / 3..]);
        bytes.zeroize();
        for piece in ranges.pieces(0..end) {
            piece.unwrap().zeroize();
        }
    }),
    ("decrypt reader, verified", |s| {
        drain(s.client.decrypt(&s.keyring).open_at(s.message).unwrap().verify().unwrap().into_reader().unwrap())
    }),
    ("decrypt reader, verified, dropped half-way", |s| {
        read_some(s.client.decrypt(&s.keyring).open_at(s.message).unwrap().verify().unwrap().into_reader().unwrap());
    }),
    ("decrypt copy, verified", |s| {
        s.client.decrypt(&s.keyring).open_at(s.message).unwrap().verify().unwrap().copy_to(io::sink()).unwrap();
    }),
    ("decrypt copy, unverified", |s| {
        s.client.decrypt(&s.keyring).release_unverified().open(s.message).unwrap().copy_to(io::sink()).unwrap();
    }),
    #[cfg(feature = "fs")]
    ("decrypt copy", |s| {
        s.client.decrypt(&s.keyring).open(s.message).unwrap().copy_to(io::sink()).unwrap();
    }),
    #[cfg(feature = "fs")]
    ("decrypt file", |s| {
        let (source, target) = (s.folder.path().join("message"), s.folder.path().join("new"));
        s.client.decrypt(&s.keyring).file(&source, &target, sealwax::io::Overwrite::Replace).unwrap();
    }),
    ("re-encrypt", |s| {
        let to = s.client.encrypt(&s.keyring).suite(s.suite);
        s.client.decrypt(&s.keyring).reencrypt(to).copy(s.message, io::sink()).unwrap();
    }),
    ("caching manager, cleared and dropped", |s| {
        let cache = Arc::new(MemoryCache::new(2).unwrap());
        let manager = DefaultMaterialsManager::new(&s.keyring);
        let caching = CachingManager::builder(manager, cache.clone(), Duration::from_secs(60));
        let caching = caching.max_messages(2).build().unwrap();
        // A data key is used for two messages, and the cache has room for two entries: some are
        // used up, some evicted.
        for round in 0..5 {
            let message = s.client.encrypt_with(&caching).suite(s.suite).bytes(&s.text[..50]).wait().unwrap().message;
            let mut opened = s.client.decrypt_with(&caching).bytes(&message).wait().unwrap();
            opened.plaintext.zeroize();
            if round == 3 {
                cache.clear();
            }
        }
    }),
];

/// Runs all steps with messages of one length, on this many threads.
fn run<P: CryptoProvider + Copy + 'static>(cases: &mut Cases, provider: P, length: usize, threads: usize) {
    const ALL: [Kind; 4] = [Kind::Plaintext, Kind::WrappingKey, Kind::DataKey, Kind::MessageKey];
    let text = plaintext(length);
    for suite in [UNSIGNED, SIGNED] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("text"), text).unwrap();
        let (mut message, mut secrets): (&[u8], _) = (&[], text_and_wrapping_key());
        let step = |name: &str| format!("{provider:?}, {length} bytes, {threads} threads, {suite:?}: {name}");
        let setting = |message| Setting {
            client: Client::builder_with_provider(Telling(provider)).threads(threads).build(),
            keyring: RawAesKeyring::new("example", "key-1", WRAPPING_KEY.to_vec()).unwrap(),
            suite,
            text,
            message,
            folder: &folder,
        };
        for (name, work) in ENCRYPTIONS {
            cases.run(&step(name), &secrets, &ALL, || work(&setting(&[])));
        }
        // The message to read was written in a case of its own, so that its keys are known before
        // they are unwrapped.
        secrets = cases.run(&step("write what is read"), &secrets, &ALL, || {
            let Setting { client, keyring, .. } = setting(&[]);
            message = leaked(client.encrypt(&keyring).suite(suite).bytes(text).wait().unwrap().message);
        });
        fs::write(folder.path().join("message"), message).unwrap();
        for (name, work) in DECRYPTIONS {
            cases.run(&step(name), &secrets, &ALL, || work(&setting(message)));
        }
    }
}

fn run_all<P: CryptoProvider + Copy + 'static>(provider: P) {
    let mut cases = Cases::new();
    run(&mut cases, provider, 100, 1);
    run(&mut cases, provider, 700_000, 1);
    run(&mut cases, provider, 700_000, 2);
    assert_eq!(cases.count(), 3 * 2 * (ENCRYPTIONS.len() + 1 + DECRYPTIONS.len()));
}

#[test]
fn messages_leave_no_secret_in_freed_memory_with_rustcrypto() {
    run_all(sealwax::crypto::RustCrypto);
}

#[cfg(feature = "aws-lc-rs")]
#[test]
fn messages_leave_no_secret_in_freed_memory_with_aws_lc_rs() {
    run_all(sealwax::crypto::AwsLcRs);
}
