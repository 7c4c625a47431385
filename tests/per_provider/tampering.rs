//! Every small change to a message is refused: to each bit, each length, and the order of its
//! frames.
//!
//! There are no exceptions. Every byte of a message is checked or authenticated: the header body by
//! the tag of the header; number, kind, length and content of a frame by its own tag; and
//! everything by the signature. A signature has another valid form (with s negated), but none that
//! is one bit or one byte away in the one DER form that is read.

use std::ops::Range;

use sealwax::{
    AlgorithmSuite, EncryptionContext, SecretBytes,
    keyring::{Keyring, RawAesKeyring, WrapRequest},
};

use super::{
    forge::{
        Forge, PUBLIC_KEY,
        ways::{Outcome, Reading, reads_all, writes_v1},
    },
    support::{new_client, provider},
};

/// Three frames of five bytes and a partial one of two.
const TEXT: &[u8] = b"0123456789abcdefg";
const FRAME: usize = 5;
/// The length of a regular frame with its number, IV and tag.
const SEALED_FRAME: usize = 4 + 12 + FRAME + 16;
const PAIR: (&str, &str) = ("tenant", "blue");

/// A message, with the positions of its parts.
struct Target {
    message: Vec<u8>,
    /// The frames, the final one last; an unframed body counts as a final frame.
    frames: Vec<Range<usize>>,
    /// Whether the last frame is held until the signature after it is verified.
    signed: bool,
}

fn keyring() -> RawAesKeyring {
    RawAesKeyring::new("example", "key-1", vec![7; 32]).unwrap()
}

fn framed(suite: u16) -> Target {
    let suite = AlgorithmSuite::from_id(suite).unwrap();
    let client = if suite.is_committing() { new_client() } else { writes_v1() };
    let keyring = keyring();
    let encrypt = client.encrypt(&keyring).suite(suite).context([PAIR]).frame_length(FRAME as u32);
    let sealed = encrypt.bytes(TEXT).wait().unwrap();
    let start = sealed.header.length();
    let mut frames: Vec<_> =
        (0..3).map(|index| start + index * SEALED_FRAME..start + (index + 1) * SEALED_FRAME).collect();
    let last = frames[2].end;
    frames.push(last..last + 24 + 2 + 16);
    Target { message: sealed.message, frames, signed: suite.is_signed() }
}

fn unframed(suite: u16) -> Target {
    let mut forge = Forge { content_type: 1, frame_length: 0, ..Forge::new(suite) };
    // The data key is wrapped for the same keyring as those of the other messages.
    let mut context = EncryptionContext::from([PAIR]);
    if let Some(curve) = forge.signs() {
        use base64::{Engine, prelude::BASE64_STANDARD};
        context.insert(PUBLIC_KEY, BASE64_STANDARD.encode(curve.public_key()));
    }
    let data_key = SecretBytes::from(forge.data_key.as_slice());
    let suite = AlgorithmSuite::from_id(suite).unwrap();
    let request = WrapRequest::new(provider(), suite, &context);
    let operation = async { keyring().on_encrypt(request.for_key(&data_key)).await };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let key = runtime.block_on(operation).unwrap().encrypted_data_keys.remove(0);
    forge.keys = vec![[key.provider_id().into(), key.provider_info().to_vec(), key.ciphertext().to_vec()]];
    let start = forge.header().len();
    let body = start..start + 12 + 8 + TEXT.len() + 16;
    Target { message: forge.unframed_message(TEXT), frames: vec![body], signed: suite.is_signed() }
}

impl Target {
    /// Returns how much plaintext may be released from a message whose first fault is at this byte.
    fn released_before(&self, fault: usize) -> usize {
        let whole = self.frames.iter().filter(|frame| frame.end <= fault).count();
        if whole < self.frames.len() {
            whole * FRAME
        } else if self.signed {
            (whole - 1) * FRAME
        } else {
            TEXT.len()
        }
    }

    /// Asserts that the message is refused, and releases at most the frames before the fault; one
    /// byte at a time, exactly these.
    fn refuses(&self, message: &[u8], fault: usize, what: &str) {
        let (client, keyring, context) = (reads_all(), keyring(), EncryptionContext::new());
        let reading = Reading { client: &client, keyring: &keyring, context: &context };
        let allowed = &TEXT[..self.released_before(fault)];
        let Outcome { released, end, .. } = reading.bytes(message);
        assert!(end.is_err(), "{what}: accepted in one piece");
        assert!(released.is_empty(), "{what}");
        for outcome in [reading.reader(message, message.len().max(1)), reading.machine(message, 1)] {
            let Outcome { way, released, end } = outcome;
            assert!(end.is_err(), "{what}: accepted by the {way}");
            assert!(allowed.starts_with(&released), "{what}: the {way} released {released:?}");
            assert!(way != "machine" || released == allowed, "{what}: {released:?}");
        }
    }

    fn is_refused_however_it_is_changed(&self) {
        let (client, keyring, context) = (reads_all(), keyring(), EncryptionContext::new());
        Reading { client: &client, keyring: &keyring, context: &context }.accepts(&self.message, TEXT);
        // Half of the bits on each of two threads.
        std::thread::scope(|scope| {
            for half in 0..2 {
                scope.spawn(move || self.bits(half));
            }
        });
        self.lengths();
        self.orders();
    }

    fn bits(&self, half: usize) {
        let mut message = self.message.clone();
        for at in (half..message.len()).step_by(2) {
            for bit in 0..8 {
                message[at] ^= 1 << bit;
                self.refuses(&message, at, &format!("bit {bit} of byte {at}"));
                message[at] ^= 1 << bit;
            }
        }
    }

    fn lengths(&self) {
        for length in 0..self.message.len() {
            self.refuses(&self.message[..length], length, &format!("the first {length} bytes"));
        }
        for byte in 0..=255 {
            let longer = [&self.message[..], &[byte]].concat();
            self.refuses(&longer, self.message.len(), &format!("{byte} at the end"));
        }
        for at in 0..self.message.len() {
            // Within a run of equal bytes the fault is visible only at its end.
            let same = self.message[at..].iter().take_while(|byte| **byte == self.message[at]).count();
            let mut message = self.message.clone();
            message.remove(at);
            self.refuses(&message, at + same - 1, &format!("without byte {at}"));
            let mut message = self.message.clone();
            message.insert(at, self.message[at]);
            self.refuses(&message, at + same, &format!("byte {at} twice"));
        }
    }

    fn orders(&self) {
        let (header, footer) = (&self.message[..self.frames[0].start], &self.message[self.frames_end()..]);
        let pieces: Vec<&[u8]> = self.frames.iter().map(|frame| &self.message[frame.clone()]).collect();
        let refuses = |pieces: &[&[u8]], fault: usize, what: &str| {
            let message = [header, &pieces.concat(), footer].concat();
            self.refuses(&message, fault, what);
        };
        for index in 0..pieces.len() {
            let start = self.frames[index].start;
            let mut dropped = pieces.clone();
            dropped.remove(index);
            refuses(&dropped, start, &format!("without frame {index}"));
            let mut doubled = pieces.clone();
            doubled.insert(index, pieces[index]);
            refuses(&doubled, self.frames[index].end, &format!("frame {index} twice"));
            for other in index + 1..pieces.len() {
                let mut swapped = pieces.clone();
                swapped.swap(index, other);
                refuses(&swapped, start, &format!("frames {index} and {other} swapped"));
            }
        }
        refuses(&pieces[..0], self.frames[0].start, "without body");
        let without_footer = &self.message[..self.frames_end()];
        if self.signed {
            self.refuses(without_footer, self.frames_end(), "without footer");
        }
    }

    fn frames_end(&self) -> usize {
        self.frames.last().unwrap().end
    }
}

#[test]
fn version_1_unsigned() {
    framed(0x0178).is_refused_however_it_is_changed();
}

#[test]
fn version_1_signed_with_p256() {
    framed(0x0214).is_refused_however_it_is_changed();
}

#[test]
fn version_1_signed_with_p384() {
    framed(0x0378).is_refused_however_it_is_changed();
}

#[test]
fn version_2_unsigned() {
    framed(0x0478).is_refused_however_it_is_changed();
}

#[test]
fn version_2_signed() {
    framed(0x0578).is_refused_however_it_is_changed();
}

#[test]
fn version_1_unframed() {
    unframed(0x0178).is_refused_however_it_is_changed();
}

#[test]
fn version_2_unframed_and_signed() {
    unframed(0x0578).is_refused_however_it_is_changed();
}
