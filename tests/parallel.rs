//! Several threads, through the public interface and with batches of the real size: the same bytes,
//! the same errors, bounded memory, and no thread left. What small batches can show is in
//! `src/message/parallel/tests/`.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

#[cfg(feature = "tokio")]
use sealwax::io::Tokio;
#[cfg(all(feature = "tokio", feature = "futures"))]
use sealwax::io::{Futures, Pieces};
use sealwax::{
    AlgorithmSuite, Client, CommitmentPolicy, Error, Result,
    crypto::{
        AeadKey, CryptoProvider, Digest, Expand, HashAlgorithm, Iv, RustCrypto, SignatureAlgorithm, SigningKey, Tag,
        VerifyingKey,
    },
    keyring::RawAesKeyring,
};

use crate::{
    alone,
    heap::cost,
    support::{OddReader, OddWriter, pattern},
};

const UNSIGNED: AlgorithmSuite = AlgorithmSuite::Aes256GcmHkdfSha512CommitKey;
const SIGNED: AlgorithmSuite = AlgorithmSuite::Aes256GcmHkdfSha512CommitKeyEcdsaP384;
/// The size of a batch, in bytes of sealed frames.
const BATCH: usize = 64 * 1024;

/// The usual primitives with known random bytes, one signing key, and the same signature for the
/// same digest. Counts frames, and fails where it is told to.
#[derive(Clone, Debug, Default)]
struct Steady(Arc<State>);

#[derive(Default)]
struct State {
    signer: Mutex<BTreeMap<usize, Arc<dyn SigningKey>>>,
    frames: AtomicUsize,
    /// The number of the frame at which it panics, if any.
    panics_at: AtomicUsize,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("State")
    }
}

struct SteadyKey(Box<dyn AeadKey>, Steady);

impl SteadyKey {
    fn meet(&self, iv: &Iv) {
        let number = u32::from_be_bytes(iv[8..].try_into().unwrap()) as usize;
        self.1.0.frames.fetch_add(1, Ordering::Relaxed);
        assert!(self.1.0.panics_at.load(Ordering::Relaxed) != number.max(1), "frame {number}");
    }
}

impl AeadKey for SteadyKey {
    fn seal_in_place(&self, iv: &Iv, aad: &[u8], text: &mut [u8]) -> Result<Tag> {
        self.0.seal_in_place(iv, aad, text)
    }

    fn open_in_place(&self, iv: &Iv, aad: &[u8], text: &mut [u8], tag: &Tag) -> Result<()> {
        self.0.open_in_place(iv, aad, text, tag)
    }

    fn seal(&self, iv: &Iv, aad: &[u8], plaintext: &[u8], out: &mut [u8]) -> Result<Tag> {
        self.meet(iv);
        self.0.seal(iv, aad, plaintext, out)
    }

    fn open(&self, iv: &Iv, aad: &[u8], ciphertext: &[u8], tag: &Tag, out: &mut [u8]) -> Result<()> {
        self.meet(iv);
        self.0.open(iv, aad, ciphertext, tag, out)
    }
}

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
        if !signatures.contains_key(digest) {
            signatures.insert(digest.to_vec(), self.key.sign_digest(digest)?);
        }
        Ok(signatures[digest].clone())
    }
}

impl CryptoProvider for Steady {
    fn random(&self, out: &mut [u8]) -> Result<()> {
        out.fill(0x1d);
        Ok(())
    }

    fn aes_gcm(&self, key: &[u8]) -> Result<Box<dyn AeadKey>> {
        Ok(Box::new(SteadyKey(RustCrypto.aes_gcm(key)?, self.clone())))
    }

    fn hkdf(&self, hash: HashAlgorithm, salt: &[u8], key: &[u8], outputs: &mut [Expand<'_>]) -> Result<()> {
        RustCrypto.hkdf(hash, salt, key, outputs)
    }

    fn digest(&self, hash: HashAlgorithm) -> Box<dyn Digest> {
        RustCrypto.digest(hash)
    }

    fn generate_signing_key(&self, algorithm: SignatureAlgorithm) -> Result<Arc<dyn SigningKey>> {
        let mut signers = self.0.signer.lock().unwrap();
        if let Some(signer) = signers.get(&algorithm.public_key_length()) {
            return Ok(signer.clone());
        }
        let key = RustCrypto.generate_signing_key(algorithm)?;
        let signer = Arc::new(SteadySigner { key, signatures: Mutex::default() });
        signers.insert(algorithm.public_key_length(), signer.clone());
        Ok(signer)
    }

    fn verifying_key(&self, algorithm: SignatureAlgorithm, compressed: &[u8]) -> Result<Arc<dyn VerifyingKey>> {
        RustCrypto.verifying_key(algorithm, compressed)
    }
}

fn keyring() -> RawAesKeyring {
    RawAesKeyring::new("example", "key-1", vec![7; 32]).unwrap()
}

fn client(provider: &Steady, suite: AlgorithmSuite, threads: usize) -> Client {
    let policy = match suite.is_committing() {
        true => CommitmentPolicy::RequireEncryptAllowDecrypt,
        false => CommitmentPolicy::ForbidEncryptAllowDecrypt,
    };
    Client::builder_with_provider(provider.clone()).commitment_policy(policy).threads(threads).build()
}

/// Asserts that no thread that works on frames is left. A thread that has ended may be listed a
/// little longer; a waiting one remains.
#[track_caller]
fn no_worker_is_left() {
    let start = Instant::now();
    while workers() > 0 {
        assert!(start.elapsed() < Duration::from_secs(5), "{} threads are left", workers());
        thread::yield_now();
    }
}

/// Returns how many of this process's threads work on frames.
#[cfg(target_os = "linux")]
fn workers() -> usize {
    let name = |task: io::Result<std::fs::DirEntry>| std::fs::read_to_string(task.ok()?.path().join("comm")).ok();
    std::fs::read_dir("/proc/self/task").unwrap().filter_map(name).filter(|name| name.starts_with("sealwax-")).count()
}

#[cfg(not(target_os = "linux"))]
fn workers() -> usize {
    0
}

#[test]
fn every_suite_and_frame_length_gives_the_bytes_of_one_thread() {
    let _alone = alone();
    let provider = Steady::default();
    let keyring = keyring();
    for (index, suite) in AlgorithmSuite::ALL.into_iter().enumerate() {
        for frame_length in [1, 16, 4096, 65_536, 1 << 20] {
            let batch = (BATCH / (frame_length + 32)).max(1) * frame_length;
            // Past the length from which threads are used; the largest frames once per suite.
            let start = (4 * BATCH).div_ceil(frame_length) * frame_length;
            let lengths: &[usize] = match frame_length {
                1 => &[5 * BATCH],
                1_048_576 => &[3 * frame_length + 1],
                _ => &[start + batch - 1, start + batch, start + batch + 1, start + 3 * batch, start + 7 * batch + 17],
            };
            for (step, length) in lengths.iter().enumerate() {
                let plaintext = pattern(*length);
                let encrypt = |client: &Client| {
                    let encrypt = client.encrypt(&keyring).suite(suite).frame_length(frame_length as u32);
                    encrypt.bytes(&plaintext).wait().unwrap().message
                };
                let message = encrypt(&client(&provider, suite, 1));
                let threads = 2 + (index + step) % 7;
                let several = client(&provider, suite, threads);
                let what = format!("{suite:?}, frames of {frame_length}, {length} bytes, {threads} threads");
                assert!(encrypt(&several) == message, "{what}");
                assert!(several.decrypt(&keyring).bytes(&message).wait().unwrap().plaintext == plaintext, "{what}");
                if frame_length == 1 {
                    continue;
                }
                let mut sealed = OddWriter::default();
                let encrypt = several.encrypt(&keyring).suite(suite).frame_length(frame_length as u32);
                encrypt.copy(OddReader::new(&plaintext), &mut sealed).unwrap();
                assert!(sealed.bytes == message, "{what}: copy");
                let mut opened = OddWriter::default();
                several
                    .decrypt(&keyring)
                    .release_unverified()
                    .open(OddReader::new(&message))
                    .unwrap()
                    .copy_to(&mut opened)
                    .unwrap();
                assert!(opened.bytes == plaintext, "{what}: copy");
                no_worker_is_left();
            }
        }
    }
}

/// Every shell, in both directions.
#[test]
fn every_shell_gives_the_same_on_any_number_of_threads() {
    let _alone = alone();
    let (provider, keyring) = (Steady::default(), keyring());
    let plaintext = pattern(2_500_000);
    for suite in [UNSIGNED, SIGNED] {
        let one = client(&provider, suite, 1);
        let message = one.encrypt(&keyring).suite(suite).bytes(&plaintext).wait().unwrap().message;
        for threads in 1..=8 {
            let client = client(&provider, suite, threads);
            let encrypt = || client.encrypt(&keyring).suite(suite);
            let mut sealed = Vec::new();
            encrypt().reader(&plaintext[..]).wait().unwrap().read_to_end(&mut sealed).unwrap();
            assert!(sealed == message, "reader, {threads} threads");
            let mut writer = encrypt().writer(Vec::new()).wait().unwrap();
            writer.write_all(&plaintext).unwrap();
            assert!(writer.finish().unwrap() == message, "writer, {threads} threads");

            let decrypt = || client.decrypt(&keyring);
            let mut opened = Vec::new();
            decrypt()
                .release_unverified()
                .open(&message[..])
                .unwrap()
                .into_reader()
                .unwrap()
                .read_to_end(&mut opened)
                .unwrap();
            assert!(opened == plaintext, "reader, {threads} threads");
            let mut writer = decrypt().release_unverified().writer(Vec::new());
            writer.write_all(&message).unwrap();
            assert!(writer.finish().unwrap().plaintext == plaintext, "writer, {threads} threads");
            let mut opened = Vec::new();
            #[cfg(feature = "fs")]
            decrypt().open(&message[..]).unwrap().copy_to(&mut opened).unwrap();
            #[cfg(not(feature = "fs"))]
            decrypt().release_unverified().open(&message[..]).unwrap().copy_to(&mut opened).unwrap();
            assert!(opened == plaintext, "copy, {threads} threads");
        }
        no_worker_is_left();
    }
}

#[test]
fn a_flush_gives_out_every_whole_frame() {
    let _alone = alone();
    let (provider, keyring) = (Steady::default(), keyring());
    let client = client(&provider, UNSIGNED, 4);
    let plaintext = pattern(1_000_000);
    let encrypt = client.encrypt(&keyring).suite(UNSIGNED).frame_length(1000);
    let mut writer = encrypt.writer(Vec::new()).wait().unwrap();
    let header = writer.header().length();
    writer.write_all(&plaintext).unwrap();
    writer.flush().unwrap();
    let message = writer.finish().unwrap();

    let decrypting = Shared::default();
    let mut writer = client.decrypt(&keyring).writer(decrypting.clone());
    // All but the last byte of the five hundredth frame, and then that byte.
    let end = header + 500 * 1032;
    writer.write_all(&message[..end - 1]).unwrap();
    writer.flush().unwrap();
    assert!(decrypting.bytes() == plaintext[..499_000]);
    writer.write_all(&message[end - 1..end]).unwrap();
    writer.flush().unwrap();
    assert!(decrypting.bytes() == plaintext[..500_000]);
    writer.write_all(&message[end..]).unwrap();
    writer.finish().unwrap();
    assert!(decrypting.bytes() == plaintext);
}

#[cfg(feature = "tokio")]
#[test]
fn an_asynchronous_flush_gives_out_every_whole_frame() {
    let _alone = alone();
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(flush_asynchronously());
}

#[cfg(feature = "tokio")]
async fn flush_asynchronously() {
    use tokio::io::AsyncWriteExt;

    let plaintext = pattern(1_000_000);
    let (keyring, client) = (keyring(), Client::builder().threads(4).build());
    let encrypt = client.encrypt(&keyring).suite(UNSIGNED).frame_length(1000);
    let mut writer = encrypt.writer(Tokio(Vec::new())).await.unwrap();
    let header = writer.header().length();
    writer.write_all(&plaintext).await.unwrap();
    writer.flush().await.unwrap();
    // All but the frame that may be the final one.
    assert_eq!(writer.into_inner().0.len(), header + 999 * 1032);

    let message = client.encrypt(&keyring).suite(UNSIGNED).frame_length(1000).bytes(&plaintext).await.unwrap().message;
    let mut writer = client.decrypt(&keyring).writer(Tokio(Vec::new()));
    writer.write_all(&message[..header + 700 * 1032]).await.unwrap();
    writer.flush().await.unwrap();
    assert!(writer.into_inner().0 == plaintext[..700_000]);

    // A frame that does not open ends the writer, even if only a flush detects it.
    let mut broken = message.clone();
    broken[header + 699 * 1032 + 20] ^= 1;
    let mut writer = client.decrypt(&keyring).writer(Tokio(Vec::new()));
    let _ = writer.write_all(&broken[..header + 700 * 1032]).await;
    assert!(writer.flush().await.is_err());
    assert!(writer.write_all(&broken[header + 700 * 1032..]).await.is_err());
    assert!(plaintext.starts_with(&writer.into_inner().0));
}

/// A sink whose content can be inspected.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

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
