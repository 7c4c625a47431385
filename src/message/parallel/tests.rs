//! Small batches, so that every boundary is cheap to come to: the threads write and read what one thread does, byte for byte and error for
//! error.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread::{self, ThreadId},
    time::{Duration, Instant},
};

use proptest::{
    collection::vec,
    prelude::{Just, ProptestConfig, any},
    prop_assert_eq, proptest,
    strategy::Strategy,
};

use super::Plan;
use crate::{
    context::{EncryptionContext, PUBLIC_KEY_ENTRY},
    crypto::{
        AeadKey, CryptoProvider, Digest, Expand, HashAlgorithm, Iv, RustCrypto, SignatureAlgorithm, SigningKey, Tag,
        VerifyingKey,
    },
    error::{Error, Result},
    format::{EncryptedDataKey, HeaderDecoder, MAX_FRAMES},
    keyring::KeyReport,
    limits::Limits,
    materials::{DecryptionMaterials, EncryptionMaterials, OpenedBy},
    message::{
        Decryptor, Encryptor, Machine, OpenParameters, StartParameters, Started, VerifiedHeader, open_all, seal_all,
        start, verify_header,
    },
    secret::SecretBytes,
    suite::{AlgorithmSuite, CommitmentPolicy},
};

/// What goes wrong with a frame.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Panic,
    Error,
}

/// The usual primitives with known random bytes and signatures, and faults where they are wanted.
#[derive(Clone, Debug)]
struct Steady {
    /// At which frame what goes wrong.
    fault: Option<(u32, Fault)>,
    /// How long each frame takes.
    delay: Duration,
    seen: Arc<Seen>,
}

/// What was seen of the frames; held by everything that may work on them.
#[derive(Debug, Default)]
struct Seen {
    threads: Mutex<BTreeSet<String>>,
    frames: AtomicU32,
}

impl Steady {
    fn new() -> Self {
        Self { fault: None, delay: Duration::ZERO, seen: Arc::default() }
    }

    fn failing(frame: u32, fault: Fault) -> Self {
        Self { fault: Some((frame, fault)), ..Self::new() }
    }

    /// Nothing that works on frames is left: no thread, and nothing that waits for one.
    #[track_caller]
    fn is_alone(&self) {
        assert_eq!(Arc::strong_count(&self.seen), 1, "a thread is left");
    }
}

struct SteadyKey {
    key: Box<dyn AeadKey>,
    provider: Steady,
}

impl SteadyKey {
    fn meet(&self, iv: &Iv) -> Result<()> {
        let number = u32::from_be_bytes(iv[8..].try_into().unwrap());
        let Steady { fault, delay, seen } = &self.provider;
        seen.threads.lock().unwrap().insert(name(thread::current().id()));
        seen.frames.fetch_add(1, Ordering::Relaxed);
        thread::sleep(*delay);
        match fault {
            Some((frame, Fault::Panic)) if *frame == number => panic!("frame {frame}"),
            Some((frame, Fault::Error)) if *frame == number => Err(Error::Provider("a fault")),
            _ => Ok(()),
        }
    }
}

fn name(thread: ThreadId) -> String {
    format!("{thread:?}")
}

impl AeadKey for SteadyKey {
    fn seal_in_place(&self, iv: &Iv, aad: &[u8], text: &mut [u8]) -> Result<Tag> {
        self.key.seal_in_place(iv, aad, text)
    }

    fn open_in_place(&self, iv: &Iv, aad: &[u8], text: &mut [u8], tag: &Tag) -> Result<()> {
        self.key.open_in_place(iv, aad, text, tag)
    }

    fn seal(&self, iv: &Iv, aad: &[u8], plaintext: &[u8], out: &mut [u8]) -> Result<Tag> {
        self.meet(iv)?;
        self.key.seal(iv, aad, plaintext, out)
    }

    fn open(&self, iv: &Iv, aad: &[u8], ciphertext: &[u8], tag: &Tag, out: &mut [u8]) -> Result<()> {
        self.meet(iv)?;
        self.key.open(iv, aad, ciphertext, tag, out)
    }
}

impl CryptoProvider for Steady {
    fn random(&self, out: &mut [u8]) -> Result<()> {
        out.fill(0x1d);
        Ok(())
    }

    fn aes_gcm(&self, key: &[u8]) -> Result<Box<dyn AeadKey>> {
        Ok(Box::new(SteadyKey { key: RustCrypto.aes_gcm(key)?, provider: self.clone() }))
    }

    fn hkdf(&self, hash: HashAlgorithm, salt: &[u8], key: &[u8], outputs: &mut [Expand<'_>]) -> Result<()> {
        RustCrypto.hkdf(hash, salt, key, outputs)
    }

    fn digest(&self, hash: HashAlgorithm) -> Box<dyn Digest> {
        RustCrypto.digest(hash)
    }

    fn generate_signing_key(&self, algorithm: SignatureAlgorithm) -> Result<Arc<dyn SigningKey>> {
        RustCrypto.generate_signing_key(algorithm)
    }

    fn verifying_key(&self, algorithm: SignatureAlgorithm, compressed: &[u8]) -> Result<Arc<dyn VerifyingKey>> {
        RustCrypto.verifying_key(algorithm, compressed)
    }
}

/// A signing key that signs the same digest the same way: where signatures are equal, digests were.
struct SteadySigner {
    key: Arc<dyn SigningKey>,
    signatures: Mutex<BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl SigningKey for SteadySigner {
    fn algorithm(&self) -> SignatureAlgorithm {
        self.key.algorithm()
    }

    fn public_key(&self) -> &[u8] {
        self.key.public_key()
    }

    fn sign_digest(&self, digest: &[u8]) -> Result<Vec<u8>> {
        let mut signatures = self.signatures.lock().unwrap();
        if let Some(signature) = signatures.get(digest) {
            return Ok(signature.clone());
        }
        let signature = self.key.sign_digest(digest)?;
        signatures.insert(digest.to_vec(), signature.clone());
        Ok(signature)
    }
}

/// Messages of one suite and frame length, under one data key and signing key.
struct Bench {
    suite: AlgorithmSuite,
    frame_length: u32,
    signer: Option<Arc<SteadySigner>>,
}

const UNSIGNED: AlgorithmSuite = AlgorithmSuite::Aes256GcmHkdfSha512CommitKey;
const SIGNED: AlgorithmSuite = AlgorithmSuite::Aes256GcmHkdfSha512CommitKeyEcdsaP384;

/// Batches of a few hundred bytes, from the first of them on.
fn small(threads: usize) -> Plan {
    Plan { threads, batch: 300, pays_from: 1 }
}

impl Bench {
    fn new(suite: AlgorithmSuite, frame_length: u32) -> Self {
        let signer = suite.signature().map(|algorithm| {
            let key = RustCrypto.generate_signing_key(algorithm).unwrap();
            Arc::new(SteadySigner { key, signatures: Mutex::default() })
        });
        Self { suite, frame_length, signer }
    }

    fn context(&self) -> EncryptionContext {
        let mut context = EncryptionContext::new();
        if let Some(signer) = &self.signer {
            let key: &dyn SigningKey = &**signer;
            context.insert(PUBLIC_KEY_ENTRY, key.public_key_entry());
        }
        context
    }

    fn data_key(&self) -> SecretBytes {
        SecretBytes::zeroed(self.suite.data_key_length())
    }

    fn start(&self, provider: &Steady) -> Started {
        let policy = match self.suite.is_committing() {
            true => CommitmentPolicy::default(),
            false => CommitmentPolicy::ForbidEncryptAllowDecrypt,
        };
        let parameters =
            StartParameters { provider, policy, limits: Limits::default(), frame_length: self.frame_length };
        let materials = EncryptionMaterials {
            suite: self.suite,
            context: self.context(),
            required_context_keys: Default::default(),
            data_key: self.data_key(),
            encrypted_data_keys: vec![EncryptedDataKey::new("test", "key", [])],
            signing_key: self.signer.clone().map(|signer| signer as _),
            key_report: KeyReport::default(),
        };
        start(&parameters, materials).unwrap()
    }

    fn encryptor(&self, provider: &Steady, plan: Plan) -> Encryptor {
        Encryptor::new(self.start(provider), None).with_plan(plan)
    }

    fn seal(&self, plaintext: &[u8], plan: Plan) -> Result<Vec<u8>> {
        Ok(seal_all(self.start(&Steady::new()), plaintext, plan)?.2)
    }

    /// The header verified, and the body.
    fn verified<'a>(&self, provider: &Steady, message: &'a [u8]) -> Result<(VerifiedHeader, &'a [u8])> {
        let (received, body) = HeaderDecoder::new().decode(message)?;
        let verifying_key = self
            .signer
            .as_ref()
            .map(|signer| RustCrypto.verifying_key(signer.algorithm(), signer.public_key()).unwrap());
        let materials = DecryptionMaterials {
            suite: self.suite,
            context: self.context(),
            required_context_keys: Default::default(),
            data_key: self.data_key(),
            verifying_key,
            opened_by: OpenedBy { keyring: "test".into(), encrypted_data_key: 0 },
        };
        let policy = CommitmentPolicy::RequireEncryptAllowDecrypt;
        let expected_context = &EncryptionContext::new();
        let parameters = OpenParameters { provider, policy, limits: Limits::default(), expected_context };
        Ok((verify_header(&parameters, received, materials)?, body))
    }

    fn open(&self, message: &[u8], plan: Plan) -> Result<Vec<u8>> {
        self.open_with(&Steady::new(), message, plan)
    }

    fn open_with(&self, provider: &Steady, message: &[u8], plan: Plan) -> Result<Vec<u8>> {
        let (verified, body) = self.verified(provider, message)?;
        Ok(open_all(verified.body, body, plan)?.to_vec())
    }

    /// Reads a message with a machine; also, what it has released before the end.
    fn read(&self, provider: &Steady, message: &[u8], plan: Plan, feed: Feed) -> (Vec<u8>, Result<()>) {
        let (verified, body) = match self.verified(provider, message) {
            Ok(verified) => verified,
            Err(error) => return (Vec::new(), Err(error)),
        };
        drive(Decryptor::new(verified).with_plan(plan), body, feed)
    }

    fn frames_of(&self, plaintext: usize) -> u32 {
        (plaintext.div_ceil(self.frame_length as usize)).max(1) as u32
    }
}

/// How bytes go into a machine.
#[derive(Clone, Debug)]
enum Feed {
    /// Pushed, in pieces of these lengths in turn.
    Push(Vec<usize>),
    /// Read into it, in pieces of these lengths in turn at the most.
    Read(Vec<usize>),
    /// Pushed one by one, everything that is whole put out after each.
    Settled,
}

/// Moves bytes through a machine. Gives what came out, before an error or in all, and how it ended.
fn drive<M: Machine + Push>(mut machine: M, input: &[u8], feed: Feed) -> (Vec<u8>, Result<()>) {
    let mut out = Vec::new();
    let (sizes, push) = match &feed {
        Feed::Push(sizes) => (&sizes[..], true),
        Feed::Read(sizes) => (&sizes[..], false),
        Feed::Settled => (&[1][..], true),
    };
    let (mut rest, mut sizes) = (input, sizes.iter().cycle());
    while !rest.is_empty() {
        let wanted = rest.len().min(*sizes.next().unwrap());
        let mut step = || {
            let taken = if push {
                machine.push_all(&rest[..wanted])?;
                wanted
            } else {
                let spare = machine.spare();
                let taken = spare.len().min(wanted);
                assert!(taken > 0, "no room");
                spare[..taken].copy_from_slice(&rest[..taken]);
                machine.advance(taken)?;
                taken
            };
            if matches!(feed, Feed::Settled) {
                machine.settle()?;
            }
            Ok(taken)
        };
        match step() {
            Ok(taken) => rest = &rest[taken..],
            Err(error) => {
                assert!(machine.output().is_empty(), "output was left after an error");
                assert!(matches!(machine.push_all(b"x"), Err(Error::Ended)), "a machine went on after an error");
                assert!(matches!(machine.finish(), Err(Error::Ended)), "a machine finished after an error");
                return (out, Err(error));
            }
        }
        while !machine.output().is_empty() {
            // Not always all of it, and not always at once.
            let count = machine.output().len().min(wanted.max(7));
            out.extend_from_slice(&machine.output()[..count]);
            machine.consume(count);
            if wanted % 3 == 0 && !matches!(feed, Feed::Settled) {
                break;
            }
        }
    }
    match machine.finish() {
        Ok(end) => {
            out.extend_from_slice(end.as_ref());
            (out, Ok(()))
        }
        Err(error) => (out, Err(error)),
    }
}

trait Push {
    fn push_all(&mut self, bytes: &[u8]) -> Result<()>;
}

impl Push for Encryptor {
    fn push_all(&mut self, bytes: &[u8]) -> Result<()> {
        self.push(bytes)
    }
}

impl Push for Decryptor {
    fn push_all(&mut self, bytes: &[u8]) -> Result<()> {
        self.push(bytes)
    }
}

fn text(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 131 / 7) as u8).collect()
}

fn said<T>(outcome: &Result<T>) -> String {
    outcome.as_ref().err().map_or("done".into(), |error| format!("{error:?}"))
}

/// Lengths on both sides of every boundary of the first batches.
fn lengths(frame_length: usize) -> Vec<usize> {
    let frames = (300 / (frame_length + 32)).max(1);
    let batch = frames * frame_length;
    let mut lengths = vec![0, 1, 17 * batch + frame_length / 2];
    for batches in 1..6 {
        for frames in [0, 1] {
            let boundary = batches * batch + frames * frame_length;
            lengths.extend([boundary - 1, boundary, boundary + 1]);
        }
    }
    lengths
}

#[test]
fn the_bytes_are_those_of_one_thread() {
    for suite in AlgorithmSuite::ALL {
        for frame_length in [1, 16, 100, 500] {
            let bench = Bench::new(suite, frame_length);
            for (index, length) in lengths(frame_length as usize).into_iter().enumerate() {
                let plaintext = text(length);
                let message = bench.seal(&plaintext, Plan::default()).unwrap();
                let threads = 2 + index % 7;
                let (plan, what) = (small(threads), format!("{suite:?} {frame_length} {length} {threads}"));
                assert!(bench.seal(&plaintext, plan).unwrap() == message, "{what}");
                assert!(bench.open(&message, plan).unwrap() == plaintext, "{what}");
                for feed in [Feed::Push(vec![length.max(1)]), Feed::Read(vec![1000]), Feed::Push(vec![1, 50, 7])] {
                    let provider = Steady::new();
                    let (sealed, end) = drive(bench.encryptor(&provider, plan), &plaintext, feed.clone());
                    assert!(end.is_ok() && sealed == message, "{what} {feed:?}");
                    let (opened, end) = bench.read(&provider, &message, plan, feed.clone());
                    assert!(end.is_ok() && opened == plaintext, "{what} {feed:?}: {end:?}");
                    provider.is_alone();
                }
            }
        }
    }
}

fn feeds() -> impl Strategy<Value = Feed> {
    let sizes = vec(1_usize..700, 1..8);
    (sizes, any::<bool>()).prop_map(|(sizes, push)| if push { Feed::Push(sizes) } else { Feed::Read(sizes) })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_split_gives_the_same(
        length in 0_usize..6000,
        frame_length in 1_u32..400,
        threads in 1_usize..9,
        suite in proptest::sample::select(vec![UNSIGNED, SIGNED]),
        (sealing, opening) in (feeds(), feeds()),
        pays_from in proptest::prop_oneof![Just(1_usize), 1_usize..5000],
    ) {
        let (bench, plaintext) = (Bench::new(suite, frame_length), text(length));
        let plan = Plan { pays_from, ..small(threads) };
        let message = bench.seal(&plaintext, Plan::default()).unwrap();
        prop_assert_eq!(&bench.seal(&plaintext, plan).unwrap(), &message);
        let (sealed, end) = drive(bench.encryptor(&Steady::new(), plan), &plaintext, sealing);
        prop_assert_eq!(end.is_ok(), true);
        prop_assert_eq!(&sealed, &message);
        let (opened, end) = bench.read(&Steady::new(), &message, plan, opening);
        prop_assert_eq!(said(&end), "done");
        prop_assert_eq!(opened, plaintext);
    }
}

/// What one thread and several say of a message that may be broken: the same; and the latter release no more.
#[track_caller]
fn agree(bench: &Bench, message: &[u8], what: &str) {
    let one = Plan::default();
    // One byte at a time, so that everything is released that ever is.
    let (most, end) = bench.read(&Steady::new(), message, one, Feed::Settled);
    let whole = bench.open(message, one);
    for threads in [2, 3] {
        let provider = Steady::new();
        let plan = small(threads);
        assert_eq!(said(&bench.open(message, plan)), said(&whole), "{what}: in memory");
        let mut feeds = vec![Feed::Push(vec![message.len().max(1)]), Feed::Read(vec![100, 33])];
        feeds.extend((threads == 2).then_some(Feed::Settled));
        for feed in feeds {
            let (released, spread_end) = bench.read(&provider, message, plan, feed.clone());
            assert_eq!(said(&spread_end), said(&end), "{what}: {feed:?}");
            assert!(most.starts_with(&released), "{what}: {feed:?} released more");
            assert!(!matches!(feed, Feed::Settled) || released == most, "{what}: {feed:?} released less");
            provider.is_alone();
        }
    }
}

/// Five batches of three frames, a frame, and a rest.
fn broken(suite: AlgorithmSuite) -> (Bench, Vec<u8>, usize) {
    let bench = Bench::new(suite, 68);
    let message = bench.seal(&text(16 * 68 + 5), Plan::default()).unwrap();
    let header = bench.verified(&Steady::new(), &message).unwrap().0.header.length();
    (bench, message, header)
}

#[test]
fn every_truncation_is_refused_as_by_one_thread() {
    for suite in [UNSIGNED, SIGNED] {
        let (bench, message, header) = broken(suite);
        agree(&bench, &message, "whole");
        for length in header..message.len() {
            agree(&bench, &message[..length], &format!("{suite:?}: the first {length} bytes"));
        }
        agree(&bench, &[&message[..], b"x"].concat(), "a byte too many");
    }
}

#[test]
fn every_changed_byte_is_refused_as_by_one_thread() {
    for suite in [UNSIGNED, SIGNED] {
        let (bench, message, header) = broken(suite);
        for at in header..message.len() {
            let mut message = message.clone();
            message[at] ^= 1 << (at % 8);
            agree(&bench, &message, &format!("{suite:?}: byte {at}"));
            // The number of a frame that makes it the final one, and what is behind that.
            message[at] = 0xff;
            agree(&bench, &message, &format!("{suite:?}: byte {at} set"));
        }
    }
}

#[test]
fn the_first_of_two_faults_is_the_one_that_is_told() {
    let (bench, message, header) = broken(UNSIGNED);
    let frame = 68 + 32;
    for (earlier, later) in [(1, 2), (0, 9), (2, 15), (5, 6), (3, 16)] {
        let mut message = message.clone();
        // A tag that is wrong, then a number that is.
        message[header + earlier * frame + 20] ^= 1;
        message[header + later * frame + 3] ^= 0x40;
        agree(&bench, &message, &format!("frames {earlier} and {later}"));
        let (_, end) = bench.read(&Steady::new(), &message, small(2), Feed::Read(vec![1000]));
        assert_eq!(said(&end), "Integrity");
    }
}

#[test]
fn frames_out_of_place_are_refused_as_by_one_thread() {
    let (bench, message, header) = broken(SIGNED);
    let frame = 68 + 32;
    let piece = |index: usize| header + index * frame..header + (index + 1) * frame;
    for index in 0..15 {
        let mut swapped = message.clone();
        swapped.copy_within(piece(index + 1), piece(index).start);
        swapped[piece(index + 1)].copy_from_slice(&message[piece(index)]);
        agree(&bench, &swapped, &format!("frames {index} and the next swapped"));
        let mut dropped = message.clone();
        dropped.drain(piece(index));
        agree(&bench, &dropped, &format!("without frame {index}"));
        let mut doubled = message.clone();
        doubled.splice(piece(index).end..piece(index).end, message[piece(index)].to_vec());
        agree(&bench, &doubled, &format!("frame {index} twice"));
    }
}

#[test]
fn an_error_in_a_worker_is_the_one_error() {
    for suite in [UNSIGNED, SIGNED] {
        let (bench, message, _) = broken(suite);
        let plaintext = text(16 * 68 + 5);
        for frame in 1..=bench.frames_of(plaintext.len()) {
            for (fault, expected) in
                [(Fault::Error, Error::Provider("a fault")), (Fault::Panic, Error::Provider("a worker thread failed"))]
            {
                // The first stretch and the final frame are the calling thread's, whose panic is its own.
                if matches!(fault, Fault::Panic) && (frame == 1 || frame == bench.frames_of(plaintext.len())) {
                    continue;
                }
                let (provider, plan) = (Steady::failing(frame, fault), small(4));
                let feeds = [Feed::Push(vec![plaintext.len()]), Feed::Read(vec![1, 67])];
                for feed in feeds {
                    let what = format!("{suite:?} frame {frame} {fault:?} {feed:?}");
                    let (sealed, end) = drive(bench.encryptor(&provider, plan), &plaintext, feed.clone());
                    assert_eq!(
                        said(&end),
                        said::<()>(&Err(match expected {
                            Error::Provider(text) => Error::Provider(text),
                            _ => unreachable!(),
                        })),
                        "{what}"
                    );
                    assert!(message.starts_with(&sealed), "{what}");
                    provider.is_alone();
                    let (opened, end) = bench.read(&provider, &message, plan, feed);
                    assert!(
                        matches!((&end, &expected), (Err(Error::Provider(a)), Error::Provider(b)) if a == b),
                        "{what}: {end:?}"
                    );
                    assert!(plaintext.starts_with(&opened), "{what}");
                    assert!(opened.len() <= (frame as usize - 1) * 68, "{what}: released {}", opened.len());
                    provider.is_alone();
                }
                let in_memory = [
                    seal_all(bench.start(&provider), &plaintext, plan).map(|_| ()),
                    bench.open_with(&provider, &message, plan).map(|_| ()),
                ];
                for end in in_memory {
                    assert!(
                        matches!((&end, &expected), (Err(Error::Provider(a)), Error::Provider(b)) if a == b),
                        "{end:?}"
                    );
                }
                provider.is_alone();
            }
        }
    }
}

#[test]
fn a_panic_of_the_calling_thread_leaves_no_thread() {
    let (bench, message, _) = broken(SIGNED);
    let last = bench.frames_of(16 * 68 + 5);
    let provider = Steady::failing(last, Fault::Panic);
    let outcome = catch_unwind(AssertUnwindSafe(|| bench.read(&provider, &message, small(3), Feed::Read(vec![500])).1));
    assert!(outcome.is_err());
    provider.is_alone();
}

#[test]
fn a_fault_stops_the_rest() {
    let bench = Bench::new(UNSIGNED, 68);
    let plaintext = text(300 * 68);
    let provider = Steady::failing(7, Fault::Error);
    let end = seal_all(bench.start(&provider), &plaintext, small(2)).map(|_| ());
    assert_eq!(said(&end), "Provider(\"a fault\")");
    // Those before it and the batches that others had by then.
    let frames = provider.seen.frames.load(Ordering::Relaxed);
    assert!((7..60).contains(&frames), "{frames} frames were sealed");
}

#[test]
fn a_machine_that_is_dropped_half_way_leaves_no_thread() {
    for suite in [UNSIGNED, SIGNED] {
        let bench = Bench::new(suite, 68);
        let plaintext = text(400 * 68);
        let message = bench.seal(&plaintext, Plan::default()).unwrap();
        for threads in [2, 8] {
            for taken in [70, 700, 7000, 20_000] {
                // With as much on the way as may be, and nothing taken away.
                let provider = Steady { delay: Duration::from_micros(200), ..Steady::new() };
                let mut encryptor = bench.encryptor(&provider, small(threads));
                encryptor.push(&plaintext[..taken]).unwrap();
                let start = Instant::now();
                drop(encryptor);
                assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
                provider.is_alone();

                let (verified, body) = bench.verified(&provider, &message).unwrap();
                let mut decryptor = Decryptor::new(verified).with_plan(small(threads));
                decryptor.push(&body[..taken]).unwrap();
                let start = Instant::now();
                drop(decryptor);
                assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
                provider.is_alone();
            }
        }
    }
}

#[test]
fn threads_are_started_for_long_messages_only_and_only_if_asked_for() {
    let bench = Bench::new(UNSIGNED, 4096);
    let here = BTreeSet::from([name(thread::current().id())]);
    let threads = |length: usize, threads: usize| {
        let provider = Steady { delay: Duration::from_micros(50), ..Steady::new() };
        let plan = Plan::new(threads);
        seal_all(bench.start(&provider), &text(length), plan).unwrap();
        let (_, end) = drive(bench.encryptor(&provider, plan), &text(length), Feed::Read(vec![65_536]));
        end.unwrap();
        provider.seen.threads.lock().unwrap().clone()
    };
    assert_eq!(threads(200_000, 4), here);
    assert_eq!(threads(3_000_000, 1), here);
    assert_eq!(threads(3_000_000, 0), here);
    let several = threads(3_000_000, 4);
    assert!(several.len() > 1 && several.is_superset(&here), "{several:?}");
}

/// ATTACKS, Messages 16, on several threads: the frame counter stops at 2^32-1.
#[test]
fn attack_16_the_frame_counter_does_not_wrap_on_several_threads() {
    let bench = Bench::new(UNSIGNED, 68);
    for (left, frames) in [(7, 8), (7, 7), (9, 30), (1, 2), (6, 6)] {
        let start = |plan| {
            let mut started = bench.start(&Steady::new());
            started.sealer.next = MAX_FRAMES - left;
            Encryptor::new(started, None).with_plan(plan)
        };
        // The final frame may bear the last number: so many regular ones, and one more.
        let plaintext = text(frames * 68);
        let (expected, one) = drive(start(Plan::default()), &plaintext, Feed::Read(vec![100]));
        assert_eq!(one.is_ok(), frames <= left as usize + 1);
        for threads in [2, 3] {
            let (sealed, several) = drive(start(small(threads)), &plaintext, Feed::Read(vec![100]));
            assert_eq!(said(&several), said(&one), "{left} {frames}");
            assert!(one.is_err() || sealed == expected, "{left} {frames}");
        }
    }
}

#[test]
fn frames_that_are_too_long_to_buffer_stay_on_one_thread() {
    let cut = |frame_length: usize, threads| Plan::new(threads).cut(frame_length, super::BUDGET);
    for frame_length in [1, 4096, 65_536, 1 << 20, 3 << 20] {
        for threads in [2, 4, 64] {
            let cut = cut(frame_length, threads).unwrap();
            assert!(cut.helpers < threads && cut.helpers >= 1 && cut.in_flight > cut.helpers);
            assert!(cut.in_flight * cut.frames * (frame_length + 32) * 2 <= super::BUDGET);
        }
    }
    assert!(cut(8 << 20, 8).is_none());
    assert!(cut(usize::MAX, 8).is_none());
    assert!(cut(4096, 1).is_none());
}
