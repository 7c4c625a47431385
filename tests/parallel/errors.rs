//! Errors and faults, which every adapter reports after the output before them.

use super::*;

#[test]
fn a_broken_frame_is_refused_as_by_one_thread() {
    let _alone = alone();
    let (provider, keyring) = (Steady::default(), keyring());
    let plaintext = pattern(2_000_000);
    for suite in [UNSIGNED, SIGNED] {
        let encrypt = client(&provider, suite, 1).encrypt(&keyring).suite(suite).bytes(&plaintext).wait().unwrap();
        let (header, message) = (encrypt.header.length(), encrypt.message);
        for at in (header..message.len()).step_by(message.len() / 61) {
            let mut broken = message.clone();
            broken[at] ^= 4;
            let outcome = |threads, message: &[u8]| {
                let (client, mut released) = (client(&provider, suite, threads), Vec::new());
                let end = client
                    .decrypt(&keyring)
                    .release_unverified()
                    .open(message)
                    .and_then(|message| message.copy_to(&mut released))
                    .map(|_| ());
                let whole = client.decrypt(&keyring).bytes(message).wait().map(|_| ());
                (released, format!("{end:?}"), format!("{whole:?}"))
            };
            for message in [&broken[..], &message[..at]] {
                let (_, end, whole) = outcome(1, message);
                let before = (at - header) / (4096 + 32) * 4096;
                for threads in [2, 5] {
                    let (released, several_end, several_whole) = outcome(threads, message);
                    assert_eq!((&several_end, &several_whole), (&end, &whole), "byte {at}");
                    assert!(released.len() <= before && plaintext.starts_with(&released), "byte {at}");
                }
            }
        }
        no_worker_is_left();
    }
}

/// A source that fails at its end, however often it is read.
#[derive(Clone, Copy)]
struct Failing<'a>(&'a [u8]);

impl<'a> Failing<'a> {
    fn give(&mut self, room: usize) -> io::Result<&'a [u8]> {
        if self.0.is_empty() {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let (now, rest) = self.0.split_at(room.min(10_000).min(self.0.len()));
        self.0 = rest;
        Ok(now)
    }
}

impl Read for Failing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let now = self.give(buffer.len())?;
        buffer[..now.len()].copy_from_slice(now);
        Ok(now.len())
    }
}

/// What came out before an error, and the error.
type Outcome = (Vec<u8>, String);

/// Reads to the error of a reader.
fn read_out(mut reader: impl Read) -> Outcome {
    let mut out = Vec::new();
    let error = reader.read_to_end(&mut out).expect_err("an end");
    (out, format!("{:?}", Error::from(error)))
}

/// Encrypts a source that fails, through every adapter that reads.
fn encrypt_to_the_error(client: &Client, suite: AlgorithmSuite, plaintext: &[u8]) -> Vec<(&'static str, Outcome)> {
    let (keyring, source, mut copied) = (keyring(), Failing(plaintext), Vec::new());
    let encrypt = || client.encrypt(&keyring).suite(suite);
    let error = encrypt().copy(source, &mut copied).expect_err("an end");
    let outcomes = vec![
        ("reader", read_out(encrypt().reader(source).wait().unwrap())),
        ("copy", (copied, format!("{error:?}"))),
        #[cfg(all(feature = "tokio", feature = "futures"))]
        ("Tokio", asynchronous::read_tokio(encrypt().reader(Tokio(source)).wait().unwrap())),
        #[cfg(all(feature = "tokio", feature = "futures"))]
        ("futures", asynchronous::read_futures(encrypt().reader(Futures(source)).wait().unwrap())),
        #[cfg(all(feature = "tokio", feature = "futures"))]
        ("stream", asynchronous::read_stream(encrypt().reader(Pieces::new(source)).wait().unwrap())),
    ];
    outcomes
}

/// Decrypts a source that fails, through every adapter that reads.
fn decrypt_to_the_error(client: &Client, message: &[u8]) -> Vec<(&'static str, Outcome)> {
    let (keyring, source, mut copied) = (keyring(), Failing(message), Vec::new());
    let decrypt = || client.decrypt(&keyring).release_unverified();
    let error =
        decrypt().open(source).and_then(|message| message.copy_to(&mut copied)).map(|_| ()).expect_err("an end");
    let outcomes = vec![
        ("reader", read_out(decrypt().open(source).unwrap().into_reader().unwrap())),
        ("copy", (copied, format!("{error:?}"))),
        #[cfg(all(feature = "tokio", feature = "futures"))]
        ("Tokio", asynchronous::read_tokio(decrypt().open_async(Tokio(source)).wait().unwrap().into_reader().unwrap())),
        #[cfg(all(feature = "tokio", feature = "futures"))]
        (
            "futures",
            asynchronous::read_futures(decrypt().open_async(Futures(source)).wait().unwrap().into_reader().unwrap()),
        ),
        #[cfg(all(feature = "tokio", feature = "futures"))]
        (
            "stream",
            asynchronous::read_stream(decrypt().open_async(Pieces::new(source)).wait().unwrap().into_reader().unwrap()),
        ),
    ];
    outcomes
}

#[cfg(all(feature = "tokio", feature = "futures"))]
mod asynchronous {
    use std::{
        pin::Pin,
        task::{Context, Poll},
    };

    use futures_util::{Stream, StreamExt};

    use super::{Error, Failing, Outcome, Read, Result, io};
    use crate::support::patient::drive;

    impl tokio::io::AsyncRead for Failing<'_> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut tokio::io::ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let room = buffer.remaining();
            Poll::Ready(self.give(room).map(|now| buffer.put_slice(now)))
        }
    }

    impl futures_util::AsyncRead for Failing<'_> {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Read::read(&mut *self, buffer))
        }
    }

    impl<'a> Stream for Failing<'a> {
        type Item = io::Result<&'a [u8]>;

        fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            Poll::Ready(Some(self.give(usize::MAX)))
        }
    }

    pub(super) fn read_tokio(mut reader: impl tokio::io::AsyncRead + Unpin) -> Outcome {
        let mut out = Vec::new();
        let error = drive(tokio::io::AsyncReadExt::read_to_end(&mut reader, &mut out)).expect_err("an end");
        (out, format!("{:?}", Error::from(error)))
    }

    pub(super) fn read_futures(mut reader: impl futures_util::AsyncRead + Unpin) -> Outcome {
        let mut out = Vec::new();
        let error = drive(futures_util::AsyncReadExt::read_to_end(&mut reader, &mut out)).expect_err("an end");
        (out, format!("{:?}", Error::from(error)))
    }

    pub(super) fn read_stream<B: AsRef<[u8]>>(mut stream: impl Stream<Item = Result<B>> + Unpin) -> Outcome {
        let mut out = Vec::new();
        loop {
            match drive(stream.next()).expect("an error before the end") {
                Ok(piece) => out.extend_from_slice(piece.as_ref()),
                Err(error) => return (out, format!("{error:?}")),
            }
        }
    }
}

/// Checks what the adapters gave on one thread and on several. Prints lengths and not bytes.
#[track_caller]
fn on_any_number_of_threads(of: impl Fn(usize) -> Vec<(&'static str, Outcome)>, check: impl Fn(&[u8], &str, &str)) {
    for threads in [1, 3] {
        for (adapter, (out, error)) in of(threads) {
            check(&out, &error, &format!("{adapter}, {threads} threads"));
        }
    }
}

#[test]
fn an_error_of_the_source_comes_after_all_output_before_it() {
    let _alone = alone();
    let (provider, keyring) = (Steady::default(), keyring());
    let plaintext = pattern(1_500_000);
    let reset = format!("{:?}", Error::from(io::Error::from(io::ErrorKind::ConnectionReset)));
    let check = |expected: &[u8], out: &[u8], error: &str, what: &str| {
        assert_eq!(error, reset, "{what}");
        assert_eq!(out.len(), expected.len(), "{what}");
        assert!(out == expected, "{what}");
    };
    for suite in [UNSIGNED, SIGNED] {
        let sealed = client(&provider, suite, 1).encrypt(&keyring).suite(suite).bytes(&plaintext).wait().unwrap();
        let (header, message) = (sealed.header.length(), sealed.message);
        // Within the first stretch, at the end of a frame, and within batches.
        for (frames, more) in [(10, 1), (200, 0), (200, 1), (333, 0), (333, 1), (333, 4095)] {
            // A frame is regular, and is sealed, once there is a byte of the next one.
            let whole = if more == 0 { frames - 1 } else { frames };
            let expected = &message[..header + whole * (4096 + 32)];
            let text = &plaintext[..frames * 4096 + more];
            let of = |threads| encrypt_to_the_error(&client(&provider, suite, threads), suite, text);
            on_any_number_of_threads(of, |out, error, adapter| {
                check(expected, out, error, &format!("{suite}, {frames} frames and {more}, {adapter}"));
            });

            let expected = &plaintext[..frames * 4096];
            let part = &message[..header + frames * (4096 + 32) + more];
            let of = |threads| decrypt_to_the_error(&client(&provider, suite, threads), part);
            on_any_number_of_threads(of, |out, error, adapter| {
                check(expected, out, error, &format!("{suite}, {frames} sealed frames and {more}, {adapter}"));
            });
        }
        no_worker_is_left();
    }
}

#[test]
fn a_fault_before_an_error_of_the_source_takes_precedence() {
    let _alone = alone();
    let (provider, keyring) = (Steady::default(), keyring());
    let plaintext = pattern(1_500_000);
    for suite in [UNSIGNED, SIGNED] {
        let sealed = client(&provider, suite, 1).encrypt(&keyring).suite(suite).bytes(&plaintext).wait().unwrap();
        let (header, message) = (sealed.header.length(), sealed.message);
        // The last whole frame, one in the batches before it, and one in the first stretch.
        for fault in [332, 300, 10] {
            let mut broken = message[..header + 333 * (4096 + 32) + 5].to_vec();
            broken[header + fault * (4096 + 32) + 100] ^= 1;
            let of = |threads| decrypt_to_the_error(&client(&provider, suite, threads), &broken);
            on_any_number_of_threads(of, |out, error, adapter| {
                assert_eq!(error, "Integrity", "{suite}, frame {fault}, {adapter}");
                assert!(plaintext[..fault * 4096].starts_with(out), "{suite}, frame {fault}, {adapter}");
            });
        }
        no_worker_is_left();
    }
}
