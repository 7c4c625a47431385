//! Messages of every kind, written and read in pieces of every size.

use std::io::{Read, Write};

use arbitrary::{Arbitrary, Unstructured};
use sealwax::{AlgorithmSuite, Client, CommitmentPolicy, Decrypt, Encrypt, EncryptionContext, HeaderDecoder, Result};

use crate::{
    crypto::{FakeSignatures, Permissive},
    keyring::FixedKey,
    pieces::{PATTERN_LENGTH, Pieces, Source},
};

/// The longest frame.
const MAX_FRAME_LENGTH: u16 = 5000;
/// The most frames and the most bytes of a message, so that a run takes milliseconds.
const MAX_FRAMES: usize = 64;
const MAX_LENGTH: usize = 10_000;
/// The most bytes of the few messages that are longer than the buffers.
const MAX_LONG: usize = 140_000;

/// Bits of the second byte. Without any of the first three, signatures are real too.
pub const PERMISSIVE: u8 = 1;
pub const FAKE_SIGNATURES: u8 = 2 | 4;
/// If both bits are set, the message may be long.
pub const LONG: u8 = 8 | 16;
/// The length is a number of frames.
pub const IN_FRAMES: u8 = 32;
/// The bits from this one on hold what is added to the length, plus one.
pub const ADDED: u32 = 6;

/// How much of the cryptography is real.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Provider {
    Permissive,
    FakeSignatures,
    Real,
}

/// What is encrypted, and how. Any bytes make a case: the fields are read in order, each of a fixed
/// length, and the context is made of the rest.
#[derive(Debug)]
pub struct Case {
    suite: AlgorithmSuite,
    provider: Provider,
    frame_length: u16,
    plaintext_length: usize,
    /// What the plaintext is made of.
    fill: u8,
    input: Pieces,
    output: Pieces,
    context: EncryptionContext,
}

impl<'a> Arbitrary<'a> for Case {
    fn arbitrary(input: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let suite = AlgorithmSuite::ALL[usize::from(input.arbitrary::<u8>()?) % AlgorithmSuite::ALL.len()];
        let options = input.arbitrary::<u8>()?;
        let frame_length = 1 + input.arbitrary::<u16>()? % MAX_FRAME_LENGTH;
        let length = usize::try_from(input.arbitrary::<u32>()?).unwrap_or(usize::MAX);
        // Lengths of whole frames, and those next to them, are the interesting ones.
        let length = if options & IN_FRAMES == 0 { length } else { length.saturating_mul(frame_length.into()) };
        let length = length.saturating_add(usize::from(options >> ADDED)).saturating_sub(1);
        let most = if options & LONG == LONG { MAX_LONG } else { MAX_LENGTH };
        let plaintext_length = length % (most.min(MAX_FRAMES * usize::from(frame_length)) + 1);
        let provider = match options {
            _ if options & PERMISSIVE != 0 => Provider::Permissive,
            _ if options & FAKE_SIGNATURES != 0 => Provider::FakeSignatures,
            _ => Provider::Real,
        };
        let fill = input.arbitrary()?;
        let pieces = input.arbitrary::<[[u8; PATTERN_LENGTH]; 2]>()?.map(Pieces::new);
        let [input_pieces, output_pieces] = pieces;
        let rest = input.bytes(input.len())?;
        let context = String::from_utf8_lossy(rest).split('\0').filter_map(pair).collect();
        Ok(Self {
            suite,
            provider,
            frame_length,
            plaintext_length,
            fill,
            input: input_pieces,
            output: output_pieces,
            context,
        })
    }
}

/// Returns a pair that may be written: not empty, not reserved.
fn pair(text: &str) -> Option<(&str, &str)> {
    let (key, value) = text.split_once('=')?;
    (!key.is_empty() && !value.is_empty() && !key.starts_with("aws-crypto-")).then_some((key, value))
}

/// Encrypts and decrypts in every way.
///
/// # Panics
/// If the plaintext does not come back.
pub fn run(case: &Case) {
    let client = case.client();
    let plaintext: Vec<u8> = (0..case.plaintext_length).map(|at| case.fill.wrapping_add((at / 7) as u8)).collect();

    let whole = case.encrypt(&client).bytes(&plaintext).wait().expect("encrypts in one piece").message;
    let mut messages = vec![case.write_by_machine(&client, &plaintext).expect("encrypts by machine")];
    // Real signatures take a hundred times longer than everything else, so these go one way only.
    let every_way = !(case.provider == Provider::Real && case.suite.is_signed());
    if every_way {
        messages.push(case.write_by_reader(&client, &plaintext).expect("encrypts by reader"));
        messages.push(case.write_by_writer(&client, &plaintext).expect("encrypts by writer"));
    }
    for message in &messages {
        // The random parts differ between messages; their length does not.
        assert_eq!(message.len(), whole.len(), "messages of different lengths");
        assert!(case.provider != Provider::Permissive || *message == whole, "different messages");
        let opened = case.decrypt(&client).bytes(message).wait().expect("decrypts in one piece");
        assert!(opened.plaintext == plaintext, "another plaintext in one piece");
        assert_eq!(opened.header.suite(), case.suite);
        assert_eq!(opened.header.content_type().frame_length(), Some(case.frame_length.into()));
    }
    let mut read = vec![case.read_by_reader(&client, &whole).expect("decrypts by reader")];
    if every_way {
        read.push(case.read_by_machine(&client, &whole).expect("decrypts by machine"));
        read.push(case.read_by_writer(&client, &whole).expect("decrypts by writer"));
        read.push(case.read_by_copy(&client, &whole).expect("decrypts by copy"));
    }
    for found in &read {
        assert!(*found == plaintext, "another plaintext");
    }
}

impl Case {
    fn client(&self) -> Client {
        let policy = if self.suite.is_committing() {
            CommitmentPolicy::RequireEncryptRequireDecrypt
        } else {
            CommitmentPolicy::ForbidEncryptAllowDecrypt
        };
        let builder = match self.provider {
            Provider::Permissive => Client::builder_with_provider(Permissive),
            Provider::FakeSignatures => Client::builder_with_provider(FakeSignatures),
            Provider::Real => Client::builder(),
        };
        builder.commitment_policy(policy).build()
    }

    fn encrypt<'a>(&self, client: &'a Client) -> Encrypt<'a> {
        let encrypt = client.encrypt(&FixedKey).suite(self.suite).context(self.context.clone());
        encrypt.frame_length(self.frame_length.into())
    }

    fn decrypt<'a>(&self, client: &'a Client) -> Decrypt<'a> {
        client.decrypt(&FixedKey).context(self.context.clone())
    }

    fn source<'a>(&self, bytes: &'a [u8]) -> Source<'a> {
        Source { rest: bytes, pieces: self.input.clone() }
    }

    fn write_by_machine(&self, client: &Client, plaintext: &[u8]) -> Result<Vec<u8>> {
        let mut machine = self.encrypt(client).machine().wait()?;
        let (mut input, mut output) = (self.input.clone(), self.output.clone());
        let (mut rest, mut message) = (plaintext, Vec::new());
        while !rest.is_empty() {
            machine.push(input.next_piece(&mut rest))?;
            let count = output.next_length(machine.output().len());
            message.extend_from_slice(&machine.output()[..count]);
            machine.consume(count);
        }
        message.extend(machine.finish()?);
        Ok(message)
    }

    fn write_by_reader(&self, client: &Client, plaintext: &[u8]) -> Result<Vec<u8>> {
        self.drain(self.encrypt(client).reader(self.source(plaintext)).wait()?)
    }

    fn write_by_writer(&self, client: &Client, plaintext: &[u8]) -> Result<Vec<u8>> {
        let mut writer = self.encrypt(client).writer(Vec::new()).wait()?;
        self.fill(&mut writer, plaintext)?;
        writer.finish()
    }

    fn read_by_machine(&self, client: &Client, message: &[u8]) -> Result<Vec<u8>> {
        let (received, body) = HeaderDecoder::new().decode(message)?;
        let mut machine = self.decrypt(client).release_unverified().machine(received).wait()?;
        let (mut input, mut output) = (self.input.clone(), self.output.clone());
        let (mut rest, mut plaintext) = (body, Vec::new());
        while !rest.is_empty() {
            machine.push(input.next_piece(&mut rest))?;
            let count = output.next_length(machine.output().len());
            plaintext.extend_from_slice(&machine.output()[..count]);
            machine.consume(count);
        }
        plaintext.extend_from_slice(&machine.finish()?.plaintext);
        Ok(plaintext)
    }

    fn read_by_reader(&self, client: &Client, message: &[u8]) -> Result<Vec<u8>> {
        self.drain(self.decrypt(client).release_unverified().open(self.source(message))?.into_reader()?)
    }

    fn read_by_writer(&self, client: &Client, message: &[u8]) -> Result<Vec<u8>> {
        let mut writer = self.decrypt(client).release_unverified().writer(Vec::new());
        self.fill(&mut writer, message)?;
        Ok(writer.finish()?.plaintext)
    }

    fn read_by_copy(&self, client: &Client, message: &[u8]) -> Result<Vec<u8>> {
        let mut plaintext = Vec::new();
        self.decrypt(client).open(self.source(message))?.copy_to(&mut plaintext)?;
        Ok(plaintext)
    }

    /// Reads to the end in pieces.
    fn drain(&self, mut reader: impl Read) -> Result<Vec<u8>> {
        let mut output = self.output.clone();
        let (mut all, mut buffer) = (Vec::new(), [0; 9000]);
        loop {
            let room = output.next_length(buffer.len());
            match reader.read(&mut buffer[..room])? {
                0 => return Ok(all),
                count => all.extend_from_slice(&buffer[..count]),
            }
        }
    }

    /// Writes everything in pieces.
    fn fill(&self, writer: &mut impl Write, bytes: &[u8]) -> Result<()> {
        let (mut rest, mut pieces) = (bytes, self.input.clone());
        while !rest.is_empty() {
            writer.write_all(pieces.next_piece(&mut rest))?;
        }
        Ok(())
    }
}
