//! Properties that hold for every plaintext, context, frame length and suite, however the bytes are
//! split.

use std::{
    cell::Cell,
    collections::BTreeMap,
    io::{self, Read, Write},
};

use proptest::{
    collection::{btree_map, vec},
    prelude::*,
    sample::{Index, select},
};
use sealwax::{
    AlgorithmSuite, Client, CommitmentPolicy, EncryptionContext, Error, HeaderDecoder, Result,
    message::{Decryptor, Encryptor},
};

use super::{
    forge::{
        Forge,
        ways::{reads_all, writes_v1},
    },
    support::{new_client, provider::Fronted},
};

fn cases(cases: u32) -> ProptestConfig {
    // The machines are deterministic: a failure is printed in full, and no file of it is kept.
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// What one call to a source or a sink does.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Moves at most this many bytes.
    Move(usize),
    /// Is interrupted by a signal.
    Interrupted,
    /// Must be retried later.
    WouldBlock,
}

impl Step {
    fn on(self, length: usize) -> io::Result<usize> {
        match self {
            Self::Move(count) => Ok(count.min(length)),
            Self::Interrupted => Err(io::ErrorKind::Interrupted.into()),
            Self::WouldBlock => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

/// Returns a repeating sequence of steps, at least one of which moves bytes.
fn steps(largest: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1..=largest).prop_map(Step::Move),
        2 => Just(Step::Move(1)),
        1 => Just(Step::Interrupted),
        1 => Just(Step::WouldBlock),
    ];
    (1..=largest, vec(step, 0..12)).prop_map(|(first, mut steps)| {
        steps.insert(0, Step::Move(first));
        steps
    })
}

/// Returns a repeating sequence of sizes.
fn sizes(largest: usize) -> impl Strategy<Value = Vec<usize>> {
    vec(prop_oneof![3 => 1..=largest, 1 => Just(1)], 1..12)
}

/// A source that follows the steps; before a certain position it does not block.
struct Source<'a> {
    bytes: &'a [u8],
    at: usize,
    calm_before: usize,
    steps: std::iter::Cycle<std::slice::Iter<'a, Step>>,
}

impl<'a> Source<'a> {
    fn new(bytes: &'a [u8], calm_before: usize, steps: &'a [Step]) -> Self {
        Self { bytes, at: 0, calm_before, steps: steps.iter().cycle() }
    }
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut step = self.steps.next().copied().unwrap();
        if self.at < self.calm_before && matches!(step, Step::WouldBlock) {
            step = Step::Interrupted;
        }
        let count = step.on(buffer.len().min(self.bytes.len() - self.at))?;
        buffer[..count].copy_from_slice(&self.bytes[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

/// A sink that follows the steps; while it is calm, it does not block.
struct Sink<'a> {
    bytes: Vec<u8>,
    calm: &'a Cell<bool>,
    steps: std::iter::Cycle<std::slice::Iter<'a, Step>>,
}

impl<'a> Sink<'a> {
    fn new(calm: &'a Cell<bool>, steps: &'a [Step]) -> Self {
        Self { bytes: Vec::new(), calm, steps: steps.iter().cycle() }
    }
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut step = self.steps.next().copied().unwrap();
        if self.calm.get() && matches!(step, Step::WouldBlock) {
            step = Step::Interrupted;
        }
        let count = step.on(bytes.len())?;
        self.bytes.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Retries until it would no longer block.
fn patiently<T>(mut work: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match work() {
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            outcome => return outcome,
        }
    }
}

fn read_all(mut reader: impl Read, sizes: &[usize]) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut sizes = sizes.iter().cycle();
    loop {
        let mut buffer = vec![0; *sizes.next().unwrap()];
        match patiently(|| reader.read(&mut buffer))? {
            0 => return Ok(out),
            count => out.extend_from_slice(&buffer[..count]),
        }
    }
}

fn write_all(writer: &mut impl Write, bytes: &[u8], sizes: &[usize]) -> io::Result<()> {
    let (mut rest, mut sizes) = (bytes, sizes.iter().cycle());
    while !rest.is_empty() {
        let piece = &rest[..rest.len().min(*sizes.next().unwrap())];
        let count = patiently(|| writer.write(piece))?;
        rest = &rest[count..];
    }
    Ok(())
}

/// Drives a machine: pushes pieces of some sizes and removes pieces of others.
macro_rules! drive {
    ($machine:expr, $bytes:expr, $pushes:expr, $takes:expr, $finish:expr) => {{
        let (mut machine, mut rest, mut out) = ($machine, $bytes, Vec::new());
        let (mut pushes, mut takes) = ($pushes.iter().cycle(), $takes.iter().cycle());
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.len().min(*pushes.next().unwrap()));
            machine.push(piece)?;
            rest = after;
            let ready = machine.output();
            let count = ready.len().min(*takes.next().unwrap());
            out.extend_from_slice(&ready[..count]);
            machine.consume(count);
        }
        out.extend_from_slice(&$finish(machine)?);
        Ok(out)
    }};
}

fn encrypt_by_machine(machine: Encryptor, text: &[u8], pushes: &[usize], takes: &[usize]) -> Result<Vec<u8>> {
    drive!(machine, text, pushes, takes, Encryptor::finish)
}

fn decrypt_by_machine(machine: Decryptor, body: &[u8], pushes: &[usize], takes: &[usize]) -> Result<Vec<u8>> {
    let finish = |machine: Decryptor| machine.finish().map(|finished| finished.plaintext);
    drive!(machine, body, pushes, takes, finish)
}

/// A message to make, and how its bytes are split.
#[derive(Debug)]
struct Case {
    text: Vec<u8>,
    context: BTreeMap<String, String>,
    frame_length: u32,
    steps: Vec<Step>,
    sizes: Vec<usize>,
    takes: Vec<usize>,
}

fn case(longest: usize, longest_frame: u32, largest: usize) -> impl Strategy<Value = Case> {
    (
        vec(any::<u8>(), 0..=longest),
        btree_map("[^\\PC]{1,6}|[a-z]{1,20}", "\\PC{1,12}", 0..4),
        1..=longest_frame,
        steps(largest),
        sizes(largest),
        sizes(largest),
    )
        .prop_map(|(text, context, frame_length, steps, sizes, takes)| Case {
            text,
            context,
            frame_length,
            steps,
            sizes,
            takes,
        })
}

fn unsigned_suites() -> impl Strategy<Value = AlgorithmSuite> {
    select(AlgorithmSuite::ALL.into_iter().filter(|suite| !suite.is_signed()).collect::<Vec<_>>())
}

fn signed_suites() -> impl Strategy<Value = AlgorithmSuite> {
    select(AlgorithmSuite::ALL.into_iter().filter(|suite| suite.is_signed()).collect::<Vec<_>>())
}

/// All ways to write and to read give the same results as those in one piece.
fn round_trips(suite: AlgorithmSuite, case: &Case) -> Result<(), TestCaseError> {
    let Case { text, frame_length, steps, sizes, takes, .. } = case;
    let policy = match suite.is_committing() {
        true => CommitmentPolicy::RequireEncryptRequireDecrypt,
        false => CommitmentPolicy::ForbidEncryptAllowDecrypt,
    };
    let client = Client::builder_with_provider(Fronted::with_random_bytes_of(0x1d)).commitment_policy(policy).build();
    let keyring = Forge::new(suite.id()).keyring();
    let context: EncryptionContext = case.context.clone().into_iter().collect();
    let encrypt = || client.encrypt(&keyring).suite(suite).context(context.clone()).frame_length(*frame_length);
    let fail = |error: &dyn std::fmt::Display| TestCaseError::fail(error.to_string());

    let whole = encrypt().bytes(text).wait().unwrap();
    let header_length = whole.header.length();
    let calm = Cell::new(false);
    let by_reader = read_all(encrypt().reader(Source::new(text, 0, steps)).wait().unwrap(), takes);
    let mut writer = encrypt().writer(Sink::new(&calm, steps)).wait().unwrap();
    write_all(&mut writer, text, sizes).map_err(|error| fail(&error))?;
    patiently(|| writer.flush()).map_err(|error| fail(&error))?;
    calm.set(true);
    let by_writer = writer.finish().map_err(|error| fail(&error))?.bytes;
    let by_machine = encrypt_by_machine(encrypt().machine().wait().unwrap(), text, sizes, takes);
    let mut by_copy = Vec::new();
    encrypt().copy(Source::new(text, usize::MAX, steps), &mut by_copy).map_err(|error| fail(&error))?;
    let messages = [
        by_reader.map_err(|error| fail(&error))?,
        by_writer,
        by_machine.map_err(|error| fail(&error))?,
        by_copy,
        whole.message,
    ];

    for message in &messages {
        // Each message has a new signing key; everything else is the same here.
        if !suite.is_signed() {
            prop_assert!(message == &messages[4]);
        }
        prop_assert_eq!(message.len(), messages[4].len());
        let decrypt = || client.decrypt(&keyring).context(context.clone());
        prop_assert!(&decrypt().bytes(message).wait().map_err(|error| fail(&error))?.plaintext == text);

        let source = Source::new(message, header_length, steps);
        let reader = decrypt()
            .release_unverified()
            .open(source)
            .and_then(|message| message.into_reader())
            .map_err(|error| fail(&error))?;
        prop_assert!(&read_all(reader, takes).map_err(|error| fail(&error))? == text);

        calm.set(true);
        let mut writer = decrypt().release_unverified().writer(Sink::new(&calm, steps));
        write_all(&mut writer, message, sizes).map_err(|error| fail(&error))?;
        prop_assert!(&writer.finish().map_err(|error| fail(&error))?.plaintext.bytes == text);

        let (received, body) = client.header_decoder().decode(message).map_err(|error| fail(&error))?;
        let machine = decrypt().release_unverified().machine(received).wait().map_err(|error| fail(&error))?;
        prop_assert!(&decrypt_by_machine(machine, body, sizes, takes).map_err(|error| fail(&error))? == text);

        let mut copied = Vec::new();
        let source = Source::new(message, usize::MAX, steps);
        decrypt()
            .release_unverified()
            .open(source)
            .and_then(|message| message.copy_to(&mut copied))
            .map_err(|error| fail(&error))?;
        prop_assert!(&copied == text);
        #[cfg(feature = "fs")]
        {
            let mut copied = Vec::new();
            let source = Source::new(message, usize::MAX, steps);
            decrypt().open(source).and_then(|message| message.copy_to(&mut copied)).map_err(|error| fail(&error))?;
            prop_assert!(&copied == text);
        }
    }
    Ok(())
}

/// Checks a decrypting writer over a sink that may block.
fn a_sink_may_block(suite: AlgorithmSuite, case: &Case) -> Result<(), TestCaseError> {
    let client = if suite.is_committing() { new_client() } else { writes_v1() };
    let keyring = Forge::new(suite.id()).keyring();
    let encrypt = client.encrypt(&keyring).suite(suite).frame_length(case.frame_length);
    let message = encrypt.bytes(&case.text).wait().unwrap().message;
    let calm = Cell::new(false);
    let mut writer = client.decrypt(&keyring).release_unverified().writer(Sink::new(&calm, &case.steps));
    let written = write_all(&mut writer, &message, &case.sizes).and_then(|()| patiently(|| writer.flush()));
    prop_assert!(written.is_ok(), "{written:?}");
    calm.set(true);
    prop_assert!(writer.finish().unwrap().plaintext.bytes == case.text);
    Ok(())
}

proptest! {
    #![proptest_config(cases(192))]

    #[test]
    fn any_split_gives_the_same_unsigned(suite in unsigned_suites(), case in case(3000, 600, 400)) {
        round_trips(suite, &case)?;
    }

    #[test]
    fn a_decrypting_writer_goes_on_after_its_sink_blocked(suite in unsigned_suites(), case in case(3000, 600, 400)) {
        a_sink_may_block(suite, &case)?;
    }
}

proptest! {
    #![proptest_config(cases(32))]

    #[test]
    fn any_split_gives_the_same_signed(suite in signed_suites(), case in case(3000, 600, 400)) {
        round_trips(suite, &case)?;
    }

    /// Large enough to fill the output of the machines.
    #[test]
    fn any_split_gives_the_same_at_length(suite in unsigned_suites(), case in case(300_000, 100_000, 150_000)) {
        round_trips(suite, &case)?;
    }
}

/// Returns messages to damage.
fn sound_messages() -> impl Strategy<Value = Vec<u8>> {
    let suites = select(AlgorithmSuite::ALL.to_vec());
    (suites, 0..40_usize, any::<bool>()).prop_map(|(suite, length, framed)| {
        let forge = Forge::new(suite.id());
        let text = vec![b'x'; length];
        if framed { forge.message(&text) } else { forge.unframed_message(&text) }
    })
}

/// Returns messages with a few bytes changed, removed or inserted, so that the fault can be
/// anywhere.
fn damaged_messages() -> impl Strategy<Value = Vec<u8>> {
    let faults = vec((any::<Index>(), any::<u8>(), 0..4_u8), 0..4);
    (sound_messages(), faults).prop_map(|(mut message, faults)| {
        for (at, byte, kind) in faults {
            if message.is_empty() {
                break;
            }
            let at = at.index(message.len());
            match kind {
                0 => message[at] = byte,
                1 => message.insert(at, byte),
                2 => message.truncate(at),
                _ => drop(message.remove(at)),
            }
        }
        message
    })
}

fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    let start = select(vec![&b""[..], b"\x01\x80", b"\x02\x04\x78", b"\x02\x05\x78", b"\x01\x80\x03\x78", b"A"]);
    prop_oneof![
        1 => (start, vec(any::<u8>(), 0..400)).prop_map(|(start, rest)| [start, &rest[..]].concat()),
        3 => damaged_messages(),
    ]
}

/// How many bytes a decoder took, and what it decoded.
type Decoded = (usize, Option<(String, Vec<u8>)>);

/// Returns the outcome of a decoder after pieces of these sizes.
fn decode(bytes: &[u8], sizes: &[usize]) -> Result<Decoded, String> {
    let (mut decoder, mut at) = (HeaderDecoder::new(), 0);
    for size in sizes.iter().cycle() {
        let (taken, header) =
            decoder.push(&bytes[at..bytes.len().min(at + size)]).map_err(|error| error.to_string())?;
        at += taken;
        if let Some(received) = header {
            let header = received.header();
            assert_eq!(header.length(), at);
            assert!(matches!(decoder.push(b"more"), Err(Error::Ended)));
            return Ok((at, Some((format!("{header:?}"), header.message_id().to_vec()))));
        }
        if at == bytes.len() {
            break;
        }
    }
    Ok((at, None))
}

proptest! {
    #![proptest_config(cases(2000))]

    #[test]
    fn a_header_is_the_same_however_it_arrives(bytes in any_bytes(), sizes in sizes(64)) {
        let at_once = decode(&bytes, &[bytes.len().max(1)]);
        prop_assert_eq!(&decode(&bytes, &sizes), &at_once);
        prop_assert_eq!(&decode(&bytes, &[1]), &at_once);
    }

    #[test]
    fn no_bytes_make_a_decryption_panic(bytes in any_bytes(), sizes in sizes(64)) {
        for suite in [0x0014, 0x0046, 0x0478] {
            // One keyring for each length of data keys.
            let (client, keyring) = (reads_all(), Forge::new(suite).keyring());
            let at_once = client.decrypt(&keyring).bytes(&bytes).wait().map(|opened| opened.plaintext);
            let by_machine = client.header_decoder().decode(&bytes).and_then(|(received, body)| {
                let machine = client.decrypt(&keyring).release_unverified().machine(received).wait()?;
                decrypt_by_machine(machine, body, &sizes, &sizes)
            });
            match (at_once, by_machine) {
                (Ok(at_once), Ok(by_machine)) => prop_assert_eq!(at_once, by_machine),
                (Err(at_once), Err(by_machine)) => prop_assert_eq!(at_once.to_string(), by_machine.to_string()),
                (at_once, by_machine) => prop_assert!(false, "{at_once:?} but {by_machine:?}"),
            }
        }
    }
}
