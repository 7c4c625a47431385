//! Panics, dropped readers, slow sinks and memory: no thread is left, and no output piles up.

use super::*;

#[test]
fn a_panic_in_a_worker_is_one_error_and_leaves_no_thread() {
    let _alone = alone();
    let (provider, keyring) = (Steady::default(), keyring());
    let plaintext = pattern(3_000_000);
    for suite in [UNSIGNED, SIGNED] {
        let client = client(&provider, suite, 3);
        provider.0.panics_at.store(0, Ordering::Relaxed);
        let message = client.encrypt(&keyring).suite(suite).bytes(&plaintext).wait().unwrap().message;
        // In batches well past that length, and well before the final frame.
        for frame in [100, 333, 600] {
            provider.0.panics_at.store(frame, Ordering::Relaxed);
            let encrypt = || client.encrypt(&keyring).suite(suite);
            let ends = [
                encrypt().bytes(&plaintext).wait().map(|_| ()),
                encrypt().copy(&plaintext[..], io::sink()).map(|_| ()),
                client.decrypt(&keyring).bytes(&message).wait().map(|_| ()),
                client
                    .decrypt(&keyring)
                    .release_unverified()
                    .open(&message[..])
                    .and_then(|message| message.copy_to(io::sink()))
                    .map(|_| ()),
            ];
            for end in ends {
                assert!(matches!(end, Err(Error::Provider("a worker thread panicked"))), "{end:?}");
            }
            no_worker_is_left();
        }
    }
}

#[test]
fn a_reader_that_is_dropped_half_way_leaves_no_thread() {
    let _alone = alone();
    let (provider, keyring) = (Steady::default(), keyring());
    let client = client(&provider, SIGNED, 4);
    let mut reader = client.encrypt(&keyring).suite(SIGNED).reader(io::repeat(1)).wait().unwrap();
    let mut some = vec![0; 2_000_000];
    reader.read_exact(&mut some).unwrap();
    assert!(!cfg!(target_os = "linux") || workers() > 0, "there was no thread");
    drop(reader);
    no_worker_is_left();
}

/// A slow sink, which records the furthest that the frames were ahead of it.
struct Slow {
    provider: Steady,
    written: usize,
    most_ahead: usize,
}

impl Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        thread::sleep(Duration::from_millis(2));
        self.written += bytes.len();
        let sealed = self.provider.0.frames.load(Ordering::Relaxed) * (4096 + 32);
        self.most_ahead = self.most_ahead.max(sealed.saturating_sub(self.written));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_slow_sink_holds_the_threads_back() {
    let _alone = alone();
    let (provider, keyring) = (Steady::default(), keyring());
    for threads in [2, 4] {
        let provider = Steady(Arc::new(State::default()));
        let client = client(&provider, UNSIGNED, threads);
        let mut sink = Slow { provider, written: 0, most_ahead: 0 };
        let encrypt = client.encrypt(&keyring).suite(UNSIGNED);
        encrypt.copy(io::repeat(1).take(12_000_000), &mut sink).unwrap();
        // Three batches for each thread and three more, and what was about to be written.
        let bound = (3 * (threads + 1) + 2) * BATCH;
        assert!(sink.most_ahead < bound, "{} ahead with {threads} threads", sink.most_ahead);
        assert!(sink.written > 12_000_000);
    }
    drop(provider);
}

#[test]
fn memory_does_not_grow_with_the_message() {
    let _alone = alone();
    let keyring = keyring();
    let client = Client::builder().threads(2).build();
    for (suite, slack) in [(UNSIGNED, 40), (SIGNED, 250)] {
        let of = |length: u64| {
            let message =
                client.encrypt(&keyring).suite(suite).bytes(&vec![1; length as usize]).wait().unwrap().message;
            let sealing = cost(|| {
                let encrypt = client.encrypt(&keyring).suite(suite);
                encrypt.copy(io::repeat(1).take(length), io::sink()).unwrap();
            });
            let opening = cost(|| {
                client.decrypt(&keyring).release_unverified().open(&message[..]).unwrap().copy_to(io::sink()).unwrap();
            });
            [sealing, opening]
        };
        let (once, twice) = (of(8 << 20), of(16 << 20));
        for (once, twice) in once.into_iter().zip(twice) {
            // The number of batches in progress varies, and a signature is retried until it has the
            // right length; but 2048 frames and 128 batches more must not add to it.
            assert!(twice.blocks <= once.blocks + slack, "{once:?} but {twice:?}");
            assert!(twice.most < 3 << 20, "{twice:?}");
        }
    }
}

#[test]
fn memory_does_not_grow_with_the_message_where_it_is_verified_first() {
    let _alone = alone();
    let keyring = keyring();
    let client = Client::builder().threads(2).build();
    // Short frames, and frames for which a chunk of the source has more than one batch.
    for frame_length in [4096, 40_000] {
        let of = |length: usize| {
            let encrypt = client.encrypt(&keyring).suite(SIGNED).frame_length(frame_length);
            let message = encrypt.bytes(&vec![1; length]).wait().unwrap().message;
            let cost = cost(|| {
                client.decrypt(&keyring).open_at(&message[..]).unwrap().verify().unwrap().copy_to(io::sink()).unwrap();
            });
            cost.most
        };
        let (once, twice) = (of(6 << 20), of(18 << 20));
        assert!(twice < once + (1 << 19), "frames of {frame_length}: {once} but {twice}");
    }
}

#[test]
fn a_write_takes_at_most_one_chunk() {
    let _alone = alone();
    let (provider, keyring) = (Steady::default(), keyring());
    let plaintext = pattern(3_000_000);
    let message = client(&provider, UNSIGNED, 1).encrypt(&keyring).suite(UNSIGNED).bytes(&plaintext).wait().unwrap();
    // Returns what each call of `write` took.
    fn write_all(writer: &mut impl Write, mut bytes: &[u8]) -> Vec<usize> {
        let mut taken = Vec::new();
        while !bytes.is_empty() {
            taken.push(writer.write(bytes).unwrap());
            bytes = &bytes[taken[taken.len() - 1]..];
        }
        taken
    }
    for threads in [1, 2, 4] {
        let client = client(&provider, UNSIGNED, threads);
        let mut writer = client.encrypt(&keyring).suite(UNSIGNED).writer(Vec::new()).wait().unwrap();
        let sealing = write_all(&mut writer, &plaintext);
        assert!(writer.finish().unwrap() == message.message, "{threads} threads");
        let mut writer = client.decrypt(&keyring).writer(Vec::new());
        let opening = write_all(&mut writer, &message.message);
        assert!(writer.finish().unwrap().plaintext == plaintext, "{threads} threads");
        for taken in [sealing, opening] {
            let most = taken.iter().max().unwrap();
            assert!((1..=64 * 1024).contains(most), "{threads} threads: {most} at once");
            assert!(taken.iter().all(|taken| *taken > 0), "{threads} threads");
        }
    }
    no_worker_is_left();
}

#[test]
fn parts_of_a_message_have_every_full_frame_on_several_threads_too() {
    let _alone = alone();
    let (text, frame) = (pattern(5_000_000), 4096);
    let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32]).unwrap();
    for suite in [UNSIGNED, SIGNED] {
        for threads in [1, 2, 3] {
            let client = Client::builder().threads(threads).build();
            let encrypt = client.encrypt(&keyring).suite(suite).frame_length(frame as u32);
            let mut encryptor = encrypt.machine().wait().unwrap();
            let (mut message, mut pushed) = (Vec::new(), 0);
            let header = encryptor.header().length();
            for part in text.chunks(1_200_000) {
                encryptor.push(part).unwrap();
                pushed += part.len();
                message.extend(encryptor.take_part().unwrap());
                assert_eq!(message.len(), header + pushed / frame * (frame + 32), "{threads} threads");
            }
            message.extend(encryptor.finish().unwrap());
            assert!(client.decrypt(&keyring).bytes(&message).wait().unwrap().plaintext == text);
        }
    }
}
