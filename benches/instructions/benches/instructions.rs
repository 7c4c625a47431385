//! Counts the instructions of the hot paths with valgrind: the count is the same on every run,
//! whatever else the machine does.
//!
//! Each count has a limit, the stored figure plus five percent, above which the benchmark fails. A
//! change that makes a path longer for good reason updates the figure in the same commit.

use std::{hint::black_box, io};

use gungraun::{Callgrind, EventKind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main};
use sealwax::{AlgorithmSuite, Client, keyring::RawAesKeyring};

const UNSIGNED: AlgorithmSuite = AlgorithmSuite::Aes256GcmHkdfSha512CommitKey;

/// Fails above this many instructions plus five percent.
fn at_most(instructions: u64) -> LibraryBenchmarkConfig {
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(Callgrind::default().hard_limits([(EventKind::Ir, instructions * 105 / 100)]));
    config
}

struct Bench {
    client: Client,
    keyring: RawAesKeyring,
    plaintext: Vec<u8>,
    message: Vec<u8>,
}

fn bench(length: usize) -> Bench {
    let (client, keyring) = (Client::new(), RawAesKeyring::new("bench", "key", vec![7; 32]).expect("a key"));
    let plaintext: Vec<u8> = (0..length).map(|at| (at * 31 % 251) as u8).collect();
    let message = client.encrypt(&keyring).suite(UNSIGNED).bytes(&plaintext).wait().expect("a message").message;
    Bench { client, keyring, plaintext, message }
}

#[library_benchmark(setup = bench)]
#[bench::small(args = (1024,), config = at_most(SEAL_SMALL))]
#[bench::large(args = (1 << 20,), config = at_most(SEAL_LARGE))]
fn seal_in_memory(bench: Bench) -> (Bench, Vec<u8>) {
    let encrypt = bench.client.encrypt(&bench.keyring).suite(UNSIGNED);
    let message = black_box(encrypt.bytes(&bench.plaintext).wait().expect("a message").message);
    (bench, message)
}

#[library_benchmark(setup = bench)]
#[bench::small(args = (1024,), config = at_most(OPEN_SMALL))]
#[bench::large(args = (1 << 20,), config = at_most(OPEN_LARGE))]
fn open_in_memory(bench: Bench) -> (Bench, Vec<u8>) {
    let opened = bench.client.decrypt(&bench.keyring).bytes(&bench.message).wait();
    let plaintext = black_box(opened.expect("a plaintext").plaintext);
    (bench, plaintext)
}

#[library_benchmark(setup = bench)]
#[bench::large(args = (1 << 20,), config = at_most(SEAL_STREAM))]
fn seal_stream(bench: Bench) -> Bench {
    let encrypt = bench.client.encrypt(&bench.keyring).suite(UNSIGNED);
    drop(black_box(encrypt.copy(&bench.plaintext[..], io::sink()).expect("a message")));
    bench
}

#[library_benchmark(setup = bench)]
#[bench::large(args = (1 << 20,), config = at_most(OPEN_STREAM))]
fn open_stream(bench: Bench) -> Bench {
    let decrypt = bench.client.decrypt(&bench.keyring);
    let opened = decrypt.open(&bench.message[..]).and_then(|message| message.copy_to(io::sink()));
    drop(black_box(opened.expect("a plaintext")));
    bench
}

#[library_benchmark(setup = bench)]
#[bench::small(args = (1024,), config = at_most(HEADER))]
fn read_header(bench: Bench) -> Bench {
    black_box(bench.client.header_decoder().decode(&bench.message).expect("a header"));
    bench
}

// For RustCrypto on x86-64 as valgrind presents it: AES-NI and CLMUL, no AVX-512.
const SEAL_SMALL: u64 = 64_438;
const SEAL_LARGE: u64 = 4_363_822;
const OPEN_SMALL: u64 = 66_312;
const OPEN_LARGE: u64 = 4_374_102;
const SEAL_STREAM: u64 = 6_035_905;
const OPEN_STREAM: u64 = 6_291_658;
const HEADER: u64 = 3_303;

library_benchmark_group!(
    name = hot_paths,
    benchmarks = [seal_in_memory, open_in_memory, seal_stream, open_stream, read_header]
);

main!(library_benchmark_groups = hot_paths);
