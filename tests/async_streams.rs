//! The asynchronous shells: the same results as the synchronous ones, whatever they wait for, and
//! nothing lost or left behind.

use std::{
    future::poll_fn,
    io,
    pin::{Pin, pin},
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use proptest::{prelude::*, sample::select};
use sealwax::{
    AlgorithmSuite, Client, Error, FormatError, Result,
    io::{Pieces, Tokio},
    keyring::{BoxFuture, Keyring, RawAesKeyring, UnwrapRequest, Unwrapped, WrapRequest, Wrapped},
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::{
    forge::{
        Forge,
        ways::{reads_all, writes_v1},
    },
    support::{
        asynchronous::{Family, SHELLS, Shell, decrypt_through, encrypt_through},
        patient::{Moods, PatientSink, PatientSource, drive},
        pattern,
    },
};

mod ends;
mod pressure;

const UNSIGNED: AlgorithmSuite = AlgorithmSuite::Aes256GcmHkdfSha512CommitKey;
const SIGNED: AlgorithmSuite = AlgorithmSuite::Aes256GcmHkdfSha512CommitKeyEcdsaP384;
const SUITES: [u16; 5] = [0x0178, 0x0214, 0x0378, 0x0478, 0x0578];

fn keyring() -> RawAesKeyring {
    RawAesKeyring::new("example", "key-1", vec![7; 32]).unwrap()
}

fn unsigned(text: &[u8], frame_length: u32) -> Vec<u8> {
    let client = Client::new();
    client.encrypt(&keyring()).suite(UNSIGNED).frame_length(frame_length).bytes(text).wait().unwrap().message
}

/// A sink that accepts a limited number of bytes, then stays pending, and sets a flag when it is
/// dropped.
struct Full {
    room: usize,
    _alive: Arc<()>,
}

impl AsyncWrite for Full {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let count = bytes.len().min(self.room);
        self.room -= count;
        if count == 0 { Poll::Pending } else { Poll::Ready(Ok(count)) }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

/// Returns how much a writer accepts before it is pending.
fn taken_before_waiting(writer: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> usize {
    let (mut taken, mut context) = (0, Context::from_waker(Waker::noop()));
    while let Poll::Ready(count) = Pin::new(&mut *writer).poll_write(&mut context, &bytes[taken..]) {
        taken += count.unwrap();
        assert!(taken < bytes.len(), "it takes everything");
    }
    taken
}

/// A source that is always ready, and counts what is read in a counter that the test can see.
struct Counted<'a> {
    rest: &'a [u8],
    taken: Arc<AtomicUsize>,
}

impl<'a> Counted<'a> {
    fn new(bytes: &'a [u8]) -> (Self, Weak<AtomicUsize>) {
        let taken = Arc::new(AtomicUsize::new(0));
        let watch = Arc::downgrade(&taken);
        (Self { rest: bytes, taken }, watch)
    }

    fn cut(&mut self, room: usize) -> &'a [u8] {
        let (now, rest) = self.rest.split_at(room.min(self.rest.len()));
        self.rest = rest;
        self.taken.fetch_add(now.len(), Ordering::Relaxed);
        now
    }
}

impl AsyncRead for Counted<'_> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let room = buffer.remaining();
        buffer.put_slice(self.cut(room));
        Poll::Ready(Ok(()))
    }
}

impl<'a> Stream for Counted<'a> {
    type Item = io::Result<&'a [u8]>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let piece = self.cut(10_000);
        Poll::Ready(Some(Ok(piece)).filter(|_| !piece.is_empty()))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_one_writes_another_reads(
        shell in select(&SHELLS[..]),
        suite in select(&SUITES[..]),
        length in prop_oneof![0_usize..40, 0_usize..300_000],
        frame_length in prop_oneof![1_u32..20, 100_u32..200_000],
        most in prop_oneof![1_usize..40, 1000_usize..200_000],
        seed in any::<u64>(),
    ) {
        // More tiny frames than this would test nothing more.
        let length = length.min(frame_length as usize * 2000);
        let suite = AlgorithmSuite::from_id(suite).unwrap();
        let (text, moods, keyring) = (pattern(length), Moods::new(seed, most), keyring());
        let client = if suite.is_committing() { Client::new() } else { writes_v1() };
        let encrypt = client.encrypt(&keyring).suite(suite).frame_length(frame_length);
        let message = encrypt_through(shell, encrypt, &text, &moods).unwrap();
        let reads = reads_all();
        prop_assert!(reads.decrypt(&keyring).bytes(&message).wait().unwrap().plaintext == text);
        let opening = decrypt_through(shell, reads.decrypt(&keyring), true, &message, &moods, &mut Vec::new());
        prop_assert!(opening.unwrap().plaintext == text);
        if suite.is_signed() {
            let mut released = Vec::new();
            let refused = decrypt_through(shell, reads.decrypt(&keyring), false, &message, &moods, &mut released);
            prop_assert!(matches!(refused.err(), Some(Error::SignedStream)));
            prop_assert!(released.is_empty());
        }
    }
}

#[test]
fn several_threads_give_the_same_through_every_shell() {
    let (keyring, text) = (keyring(), pattern(1_300_000));
    for (index, shell) in SHELLS.into_iter().enumerate() {
        for (suite, frame_length) in [(UNSIGNED, 4096), (SIGNED, 40_000), (SIGNED, 1000)] {
            let (threads, moods) = (2 + index, Moods::new(index as u64, 90_000));
            let client = Client::builder().threads(threads).build();
            let encrypt = client.encrypt(&keyring).suite(suite).frame_length(frame_length);
            let message = encrypt_through(shell, encrypt, &text, &moods).unwrap();
            let what = format!("{shell:?}, {threads} threads, frames of {frame_length}");
            assert!(Client::new().decrypt(&keyring).bytes(&message).wait().unwrap().plaintext == text, "{what}");
            let opening = decrypt_through(shell, client.decrypt(&keyring), true, &message, &moods, &mut Vec::new());
            assert!(opening.unwrap().plaintext == text, "{what}");

            let last = message.len() - 1;
            for at in [last, last - 200, 700_000] {
                let (mut altered, mut released) = (message.clone(), Vec::new());
                altered[at] ^= 1;
                let refused =
                    decrypt_through(shell, client.decrypt(&keyring), true, &altered, &moods, &mut released).err();
                assert!(matches!(refused, Some(Error::Integrity)), "{what}, byte {at}: {refused:?}");
                assert!(text.starts_with(&released) && released.len() < text.len(), "{what}, byte {at}");
                let refused =
                    decrypt_through(shell, client.decrypt(&keyring), true, &message[..at], &moods, &mut released);
                assert!(matches!(refused.err(), Some(Error::Format(FormatError::Truncated))), "{what}, up to {at}");
            }
        }
    }
}

#[test]
fn every_split_point_gives_the_same() {
    let (client, keyring, text) = (reads_all(), keyring(), pattern(23));
    let message = unsigned(&text, 5);
    for split in 0..=message.len() {
        let (first, second) = message.split_at(split);
        let pieces = stream::iter([io::Result::Ok(first), Ok(second)]);
        let opened = drive(client.decrypt(&keyring).open_async(Pieces::new(pieces)).into_future())
            .and_then(|message| message.into_reader())
            .unwrap();
        assert_eq!(drive(opened.try_collect::<Vec<_>>()).unwrap().concat(), text, "{split}");

        let source = AsyncReadExt::chain(first, second);
        let mut reader = drive(client.decrypt(&keyring).open_async(Tokio(source)).into_future())
            .and_then(|message| message.into_reader())
            .unwrap();
        let mut plaintext = Vec::new();
        drive(reader.read_to_end(&mut plaintext)).unwrap();
        assert_eq!(plaintext, text, "{split}");

        let mut writer = client.decrypt(&keyring).writer(Tokio(PatientSink::new(Moods::new(split as u64, 7))));
        drive(writer.write_all(first)).unwrap();
        drive(writer.flush()).unwrap();
        drive(writer.write_all(second)).unwrap();
        drive(writer.shutdown()).unwrap();
        assert_eq!(writer.into_decrypted().unwrap().plaintext.0.bytes, text, "{split}");
    }
    for split in 0..=text.len() {
        let (first, second) = text.split_at(split);
        let pieces = stream::iter([io::Result::Ok(first), Ok(second)]);
        let sealed = drive(client.encrypt(&keyring).frame_length(5).reader(Pieces::new(pieces)).into_future()).unwrap();
        let message = drive(sealed.try_collect::<Vec<_>>()).unwrap().concat();
        assert_eq!(client.decrypt(&keyring).bytes(&message).wait().unwrap().plaintext, text, "{split}");
    }
}

#[test]
fn every_change_is_refused_and_nothing_behind_it_released() {
    let text = b"0123456789abcdefg";
    for suite in [0x0478, 0x0378] {
        let forge = Forge::new(suite);
        let (client, keyring) = (reads_all(), forge.keyring());
        let message = forge.message(text);
        let start = forge.header().len();
        let frame = 4 + 12 + 5 + 16;
        // As in `tests/tampering.rs`: whole frames before the fault, and the last one of a signed
        // message only at the end.
        let refuses = |altered: &[u8], fault: usize, what: &str| {
            let whole = fault.saturating_sub(start) / frame;
            let before = match forge.signs() {
                None if fault >= message.len() => text.len(),
                _ => whole.min(3) * 5,
            };
            for shell in SHELLS {
                let (mut released, moods) = (Vec::new(), Moods::new(fault as u64, 50));
                let outcome = decrypt_through(shell, client.decrypt(&keyring), true, altered, &moods, &mut released);
                assert!(outcome.is_err(), "{suite:#06x}, {shell:?}, {what}");
                assert!(text[..before].starts_with(&released), "{suite:#06x}, {shell:?}, {what}: {released:?}");
            }
        };
        for at in 0..message.len() {
            for bit in (at % 3..8).step_by(3) {
                let mut altered = message.clone();
                altered[at] ^= 1 << bit;
                refuses(&altered, at, &format!("bit {bit} of byte {at}"));
            }
            refuses(&message[..at], at, &format!("the first {at} bytes"));
        }
        refuses(&[&message[..], b"x"].concat(), message.len(), "one byte more");
    }
}

/// Polls a new future each time, and drops it if it is pending.
fn insist<'a, T: 'a, M>(mut machine: M, mut attempt: impl FnMut(&mut M, &mut Context<'_>) -> Poll<T>) -> (M, T) {
    let mut cancelled = 0;
    loop {
        match attempt(&mut machine, &mut Context::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => return (machine, outcome),
            Poll::Pending => cancelled += 1,
        }
        assert!(cancelled < 1_000_000, "it never gets anywhere");
    }
}

#[test]
fn a_future_that_is_dropped_loses_nothing() {
    let (client, keyring, text) = (reads_all(), keyring(), pattern(50_000));
    let message = unsigned(&text, 700);
    for seed in 0..20 {
        let moods = Moods::new(seed, 900);
        let source = PatientSource::new(&message, moods.clone());
        let mut reader = drive(client.decrypt(&keyring).open_async(Tokio(source)).into_future())
            .and_then(|message| message.into_reader())
            .unwrap();
        let mut plaintext = Vec::new();
        loop {
            let mut buffer = [0; 333];
            let (back, outcome) = insist(reader, |reader, context| pin!(reader.read(&mut buffer)).poll(context));
            reader = back;
            match outcome.unwrap() {
                0 => break,
                count => plaintext.extend_from_slice(&buffer[..count]),
            }
        }
        assert!(plaintext == text, "{seed}");

        let source = PatientSource::new(&text, moods.clone());
        let mut sealed = drive(client.encrypt(&keyring).reader(Pieces::new(source)).into_future()).unwrap();
        let mut again = Vec::new();
        loop {
            let (back, piece) = insist(sealed, |sealed, context| pin!(sealed.next()).poll(context));
            sealed = back;
            match piece {
                None => break,
                Some(piece) => again.extend_from_slice(&piece.unwrap()),
            }
        }
        assert!(client.decrypt(&keyring).bytes(&again).wait().unwrap().plaintext == text, "{seed}");

        let mut writer = client.decrypt(&keyring).writer(Tokio(PatientSink::new(moods)));
        let mut rest = &message[..];
        while !rest.is_empty() {
            let piece = &rest[..rest.len().min(1234)];
            let (back, count) = insist(writer, |writer, context| pin!(writer.write(piece)).poll(context));
            writer = back;
            rest = &rest[count.unwrap()..];
        }
        let (back, flushed) = insist(writer, |writer, context| pin!(writer.flush()).poll(context));
        flushed.unwrap();
        let (back, closed) = insist(back, |writer, context| pin!(writer.shutdown()).poll(context));
        closed.unwrap();
        assert!(back.into_decrypted().unwrap().plaintext.0.bytes == text, "{seed}");
    }
}

/// A keyring that completes later, on another thread.
struct Remote(RawAesKeyring);

impl Remote {
    async fn travel(&self) {
        let mut sent = false;
        poll_fn(|context| {
            if std::mem::replace(&mut sent, true) {
                return Poll::Ready(());
            }
            let waker = context.waker().clone();
            std::thread::spawn(move || waker.wake());
            Poll::Pending
        })
        .await;
    }
}

impl Keyring for Remote {
    fn label(&self) -> Arc<str> {
        self.0.label()
    }

    fn on_encrypt<'a>(&'a self, request: WrapRequest<'a>) -> BoxFuture<'a, Result<Wrapped>> {
        Box::pin(async move {
            self.travel().await;
            self.0.on_encrypt(request).await
        })
    }

    fn on_decrypt<'a>(&'a self, request: UnwrapRequest<'a>) -> BoxFuture<'a, Result<Unwrapped>> {
        Box::pin(async move {
            self.travel().await;
            self.0.on_decrypt(request).await
        })
    }
}

#[tokio::test]
async fn a_keyring_is_awaited_and_readers_move_to_other_tasks() {
    let (client, keyring, text) = (reads_all(), Remote(keyring()), pattern(100_000));
    let mut writer = client.encrypt(&keyring).suite(UNSIGNED).writer(Tokio(Vec::new())).await.unwrap();
    writer.write_all(&text).await.unwrap();
    writer.shutdown().await.unwrap();
    let message = writer.into_inner().0;

    let mut reader = client
        .decrypt(&keyring)
        .open_async(Tokio(io::Cursor::new(message.clone())))
        .await
        .unwrap()
        .into_reader()
        .unwrap();
    let task = tokio::spawn(async move {
        let mut plaintext = Vec::new();
        reader.read_to_end(&mut plaintext).await.map(|_| plaintext)
    });
    assert!(task.await.unwrap().unwrap() == text);

    let mut writer = client.decrypt(&keyring).writer(Tokio(Vec::new()));
    writer.write_all(&message).await.unwrap();
    writer.shutdown().await.unwrap();
    assert!(writer.into_decrypted().unwrap().plaintext.0 == text);

    // The operation itself can be moved too.
    let owned: Arc<(Client, Remote, Vec<u8>)> = Arc::new((client, keyring, message));
    let task = tokio::spawn(async move {
        let (client, keyring, message) = &*owned;
        let pieces = stream::iter(message.chunks(777).map(io::Result::Ok));
        let opened = client.decrypt(keyring).open_async(Pieces::new(pieces)).await?.into_reader()?;
        opened.try_collect::<Vec<_>>().await
    });
    assert!(task.await.unwrap().unwrap().concat() == text);
}

#[test]
fn attack_4_no_asynchronous_shell_releases_the_end_of_a_message_whose_signature_does_not_hold() {
    let forge = Forge::new(0x0578);
    let (client, keyring) = (reads_all(), forge.keyring());
    let mut message = forge.message(b"0123456789abcdefg");
    let last = message.len() - 1;
    message[last] ^= 1;
    for shell in SHELLS {
        let moods = Moods::new(9, 20);
        let mut released = Vec::new();
        let refused = decrypt_through(shell, client.decrypt(&keyring), false, &message, &moods, &mut released);
        assert!(matches!(refused.err(), Some(Error::SignedStream)) && released.is_empty(), "{shell:?}");
        let refused = decrypt_through(shell, client.decrypt(&keyring), true, &message, &moods, &mut released);
        assert!(matches!(refused.err(), Some(Error::Integrity)), "{shell:?}");
        assert!(b"0123456789abcde".starts_with(&released[..]), "{shell:?}: {released:?}");
    }
    assert!(SHELLS.contains(&Shell::Writer(Family::Futures)));
}
