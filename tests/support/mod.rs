//! Helpers shared by the test programs of all crates, each of which uses only a part.
#![allow(dead_code, unreachable_pub)]
// The other crates have no such features, and include this file all the same.
#![allow(unexpected_cfgs)]

#[cfg(all(feature = "tokio", feature = "futures"))]
pub mod asynchronous;
pub mod json_peer;
pub mod official;
#[cfg(all(feature = "tokio", feature = "futures"))]
pub mod patient;
pub mod peer;
pub mod provider;
pub mod readers;
pub mod shipped;
pub mod writers;

use std::{
    env,
    io::{self, Read, Write},
    num::NonZero,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use base64::{Engine, prelude::BASE64_STANDARD};
#[allow(unused_imports, reason = "what the next two functions fall back to")]
use sealwax::crypto::RustCrypto as Provider;
use sealwax::{
    AlgorithmSuite, Client, ClientBuilder, CommitmentPolicy, EncryptionContext, Result, crypto::CryptoProvider,
    keyring::RawAesKeyring,
};

/// Returns the root of the repository, which has the test data.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().find(|folder| folder.join("tests/keys").is_dir()).expect("the root").to_owned()
}

/// Returns the directory that `tests/peers/setup.sh` installs into.
pub fn peers() -> PathBuf {
    env::var_os("SEALWAX_PEERS_DIR").map_or_else(|| root().join("target/peers"), PathBuf::from)
}

/// Returns these bytes in base64.
pub fn to_base64(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

/// Decodes a text from base64.
pub fn from_base64(text: &str) -> Vec<u8> {
    BASE64_STANDARD.decode(text).unwrap_or_else(|error| panic!("{error}: {text:.40}"))
}

/// Returns a plaintext of this length, the same for each call, in which frames do not repeat soon.
pub fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 % 251) as u8).collect()
}

/// Prints a line that is visible even if the test passes: the test harness captures only what the
/// macros print.
pub fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Reports that a test cannot run; fails instead if the environment variable `required` is 1.
pub fn skip(required: &str, why: &str) {
    assert!(env::var_os(required).is_none_or(|value| value != "1"), "{required}=1, but {why}");
    say(&format!("\nSKIPPED: {why} ({required}=1 makes this a failure)"));
}

/// Returns the crypto provider under test: the `Provider` of the enclosing module, which tests that
/// run once per provider define, or else RustCrypto.
pub fn provider() -> &'static dyn CryptoProvider {
    #[allow(unused_imports, reason = "not every module has a `Provider`")]
    use super::*;
    &Provider
}

/// Returns a builder for a client with the provider under test.
pub fn client_builder() -> ClientBuilder {
    #[allow(unused_imports, reason = "not every module has a `Provider`")]
    use super::*;
    Client::builder_with_provider(Provider)
}

/// Returns a client with the provider under test and the defaults.
pub fn new_client() -> Client {
    client_builder().build()
}

/// Returns a client that reads every suite, and writes the committing ones.
pub fn reading_client() -> Client {
    client_builder().commitment_policy(CommitmentPolicy::RequireEncryptAllowDecrypt).build()
}

/// Returns a client that may write this suite, and reads every suite.
pub fn client_for(suite: AlgorithmSuite) -> Client {
    let policy = if suite.is_committing() {
        CommitmentPolicy::RequireEncryptAllowDecrypt
    } else {
        CommitmentPolicy::ForbidEncryptAllowDecrypt
    };
    client_builder().commitment_policy(policy).build()
}

/// A raw AES wrapping key, as a value: a keyring cannot be copied.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WrappingKey {
    pub namespace: String,
    pub name: String,
    pub bytes: Vec<u8>,
}

impl WrappingKey {
    /// Creates a key of `length` different bytes.
    pub fn new(namespace: &str, name: &str, length: u8) -> Self {
        let bytes = (0..length).map(|at| at.wrapping_mul(7) ^ length).collect();
        Self { namespace: namespace.to_owned(), name: name.to_owned(), bytes }
    }

    /// Returns a keyring with this key.
    pub fn keyring(&self) -> RawAesKeyring {
        RawAesKeyring::new(&self.namespace, &self.name, self.bytes.clone()).expect("a usable wrapping key")
    }
}

/// Returns whether every pair of `part` is in `whole`.
pub fn contains_context(whole: &EncryptionContext, part: &EncryptionContext) -> bool {
    part.iter().all(|(key, value)| whole.get(key) == Some(value))
}

/// Returns piece sizes that do not stay aligned with the boundaries of a message.
pub fn odd_sizes() -> impl Iterator<Item = usize> {
    [1, 2, 3, 5, 7, 11, 13, 61, 127, 1021, 4093, 65_521].into_iter().cycle()
}

/// Returns these bytes in pieces of odd sizes.
pub fn in_pieces(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut rest, mut sizes) = (bytes, odd_sizes());
    std::iter::from_fn(move || {
        let (piece, after) = rest.split_at(sizes.next()?.min(rest.len()));
        rest = after;
        Some(piece).filter(|piece| !piece.is_empty())
    })
}

/// Reads from a slice in pieces of odd sizes, with an interruption before each.
pub struct OddReader<'a> {
    rest: &'a [u8],
    sizes: Box<dyn Iterator<Item = usize>>,
    interrupt: bool,
}

impl<'a> OddReader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, sizes: Box::new(odd_sizes()), interrupt: true }
    }
}

impl Read for OddReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.interrupt = !self.interrupt;
        if !self.interrupt {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let count = self.sizes.next().unwrap_or(1).min(self.rest.len()).min(buffer.len());
        let (now, rest) = self.rest.split_at(count);
        buffer[..count].copy_from_slice(now);
        self.rest = rest;
        Ok(count)
    }
}

/// Accepts bytes in pieces of odd sizes, however many it is offered.
pub struct OddWriter {
    pub bytes: Vec<u8>,
    sizes: Box<dyn Iterator<Item = usize> + Send>,
}

impl Default for OddWriter {
    fn default() -> Self {
        Self { bytes: Vec::new(), sizes: Box::new([3, 1, 70_001, 5, 997, 40_009].into_iter().cycle()) }
    }
}

impl Write for OddWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.sizes.next().unwrap_or(1).min(bytes.len());
        self.bytes.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Runs `work` for every item, on as many threads as the machine has.
pub fn in_parallel<T: Sync>(items: &[T], work: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    work(item);
                }
            });
        }
    });
}

/// Returns the suite with this id, such as `0x0478` or `0478`.
pub fn suite_of(text: &str) -> AlgorithmSuite {
    let id = u16::from_str_radix(text.trim_start_matches("0x"), 16).expect("a suite id");
    AlgorithmSuite::from_id(id).expect("a known suite")
}

/// Returns the id of a suite as the peers and the vectors write it.
pub fn suite_name(suite: AlgorithmSuite) -> String {
    format!("{:#06x}", suite.id())
}

/// Describes a `Result` without its value, for values that implement no `Debug`.
pub fn outcome<T>(result: &Result<T>) -> String {
    match result {
        Ok(_) => "success".to_owned(),
        Err(error) => error.to_string(),
    }
}
