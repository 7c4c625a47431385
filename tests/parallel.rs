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

mod bounds;
mod errors;

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
