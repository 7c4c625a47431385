//! Measures what a second thread gains, and how far a message on one thread is from the primitives,
//! in one run.
//!
//!     cargo bench --bench threads
//!
//! The cases take turns. The table gives medians; ratios are medians of the ratios within a turn. A
//! bound is a loop that seals or opens each frame into the same buffer, SHA-384 alone, or both in
//! sequence. Arguments after `--`:
//!
//! - `quick` takes less time and is less precise;
//! - `threads=4` uses another number of threads than 2;
//! - `frame=65536` uses another frame length than 4096;
//! - `only=NAME` runs the cases whose names contain `NAME`.

use std::{hint::black_box, io, time::Instant};

use sealwax::{
    AlgorithmSuite, Client,
    crypto::{CryptoProvider, HashAlgorithm, RustCrypto},
    keyring::RawAesKeyring,
};

const MIB: usize = 1 << 20;
const UNSIGNED: AlgorithmSuite = AlgorithmSuite::Aes256GcmHkdfSha512CommitKey;
const SIGNED: AlgorithmSuite = AlgorithmSuite::Aes256GcmHkdfSha512CommitKeyEcdsaP384;

struct Case<'a> {
    name: String,
    run: Box<dyn FnMut() + 'a>,
    /// The seconds of each turn.
    times: Vec<f64>,
}

impl<'a> Case<'a> {
    fn new(name: impl Into<String>, run: impl FnMut() + 'a) -> Self {
        Self { name: name.into(), run: Box::new(run), times: Vec::new() }
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Encrypts or decrypts the frames of a message, as bytes in memory or as a stream.
fn run(
    provider: impl CryptoProvider + Clone + 'static,
    [threads, frame, size, rounds]: [usize; 4],
    only: Option<&str>,
) {
    let keyring = RawAesKeyring::new("bench", "key", vec![7; 32]).unwrap();
    let clients =
        [1, threads].map(|threads| (threads, Client::builder_with_provider(provider.clone()).threads(threads).build()));
    let plaintext: Vec<u8> = (0..size).map(|at| (at * 31) as u8).collect();
    let seal = |client: &Client, suite| {
        client.encrypt(&keyring).suite(suite).frame_length(frame as u32).bytes(&plaintext).wait().unwrap().message
    };
    let messages = [(UNSIGNED, seal(&clients[0].1, UNSIGNED)), (SIGNED, seal(&clients[0].1, SIGNED))];
    let key = provider.aes_gcm(&[9; 32]).unwrap();
    let aad = [0; 78];
    let mut buffer = vec![0; frame];
    let tags: Vec<_> =
        plaintext.chunks_exact(frame).map(|text| key.seal(&[1; 12], &aad, text, &mut buffer).unwrap()).collect();
    let mut sealed = plaintext.clone();
    for frame in sealed.chunks_exact_mut(frame) {
        key.seal_in_place(&[1; 12], &aad, frame).unwrap();
    }

    let part = size / frame / threads * frame;
    let mut cases = vec![
        Case::new("frame loop, encrypt", || {
            let mut out = vec![0; frame];
            for text in plaintext.chunks_exact(frame) {
                black_box(key.seal(&[1; 12], &aad, text, &mut out).unwrap());
            }
        }),
        Case::new("frame loop, decrypt", || {
            let mut out = vec![0; frame];
            for (text, tag) in sealed.chunks_exact(frame).zip(&tags) {
                key.open(&[1; 12], &aad, text, tag, &mut out).unwrap();
            }
        }),
        Case::new("SHA-384", || {
            let mut digest = provider.digest(HashAlgorithm::Sha384);
            plaintext.chunks(64 * 1024).for_each(|piece| digest.update(piece));
            black_box(digest.finish());
        }),
    ];
    // What the machine currently gives to several threads of any program.
    cases.push(Case::new(format!("frame loop, encrypt, {threads} threads"), || {
        std::thread::scope(|scope| {
            for part in plaintext.chunks_exact(part) {
                scope.spawn(|| {
                    let mut out = vec![0; frame];
                    for text in part.chunks_exact(frame) {
                        black_box(key.seal(&[1; 12], &aad, text, &mut out).unwrap());
                    }
                });
            }
        });
    }));
    let (keyring, plaintext, seal) = (&keyring, &plaintext, &seal);
    for (suite, message) in &messages {
        for way in ["memory", "machine", "stream"] {
            for (threads, client) in &clients {
                cases.push(Case::new(format!("{:#06x} encrypt {way} {threads}", suite.id()), move || match way {
                    "memory" => drop(black_box(seal(client, *suite))),
                    "machine" => {
                        let encrypt = client.encrypt(keyring).suite(*suite).frame_length(frame as u32);
                        let mut machine = encrypt.machine().wait().unwrap();
                        for piece in plaintext.chunks(64 * 1024) {
                            machine.push(piece).unwrap();
                            while !machine.output().is_empty() {
                                machine.consume(black_box(machine.output()).len());
                            }
                        }
                        black_box(machine.finish().unwrap());
                    }
                    _ => {
                        let encrypt = client.encrypt(keyring).suite(*suite).frame_length(frame as u32);
                        encrypt.copy(&plaintext[..], io::sink()).unwrap();
                    }
                }));
            }
            for (threads, client) in &clients {
                cases.push(Case::new(format!("{:#06x} decrypt {way} {threads}", suite.id()), move || match way {
                    "memory" => drop(black_box(client.decrypt(keyring).bytes(message).wait().unwrap())),
                    "machine" => {
                        let (received, body) = client.header_decoder().decode(message).unwrap();
                        let mut machine =
                            client.decrypt(keyring).release_unverified().machine(received).wait().unwrap();
                        for piece in body.chunks(64 * 1024) {
                            machine.push(piece).unwrap();
                            while !machine.output().is_empty() {
                                machine.consume(black_box(machine.output()).len());
                            }
                        }
                        black_box(machine.finish().unwrap());
                    }
                    _ => drop(
                        client
                            .decrypt(keyring)
                            .release_unverified()
                            .open(&message[..])
                            .unwrap()
                            .copy_to(io::sink())
                            .unwrap(),
                    ),
                }));
            }
        }
    }
    for round in 0..=rounds {
        for case in cases.iter_mut().filter(|case| only.is_none_or(|only| case.name.contains(only))) {
            let start = Instant::now();
            (case.run)();
            if round > 0 {
                case.times.push(start.elapsed().as_secs_f64());
            }
        }
    }

    if only.is_some() {
        for case in cases.iter().filter(|case| !case.times.is_empty()) {
            println!("{}: {:.0} MB/s", case.name, size as f64 / median(case.times.iter().copied()) / 1e6);
        }
        return;
    }
    println!("\n{provider:?}, {} MiB in frames of {frame} bytes, {rounds} turns\n", size / MIB);
    println!("| what | MB/s | MB/s, {threads} threads | times one | one, of its bound | {threads}, of SHA-384 |");
    println!("|---|---:|---:|---:|---:|---:|");
    let speed = |case: &Case<'_>| size as f64 / median(case.times.iter().copied()) / 1e6;
    let ratio = |of: &dyn Fn(usize) -> f64, case: &Case<'_>| {
        median(case.times.iter().enumerate().map(|(turn, time)| of(turn) / time))
    };
    let [encrypting, decrypting, sha, spread] = &cases[..4] else { return };
    for case in [encrypting, decrypting, sha] {
        println!("| {} | {:.0} | | | | |", case.name, speed(case));
    }
    let times_one = ratio(&|turn| encrypting.times[turn], spread);
    println!(
        "| frame loop on {threads} threads | {:.0} | {:.0} | {times_one:.2} | | |",
        speed(encrypting),
        speed(spread)
    );
    for pair in cases[4..].chunks_exact(2) {
        let [one, several] = pair else { return };
        let (name, _) = one.name.rsplit_once(' ').unwrap_or_default();
        let aead = if name.contains("encrypt") { encrypting } else { decrypting };
        let signed = name.starts_with("0x0578");
        let bound = |turn: usize| aead.times[turn] + if signed { sha.times[turn] } else { 0.0 };
        let of_sha = if signed { format!("{:.2}", ratio(&|turn| sha.times[turn], several)) } else { String::new() };
        let (times_one, of_bound) = (ratio(&|turn| one.times[turn], several), ratio(&bound, one));
        let (slow, fast) = (speed(one), speed(several));
        println!("| {name} | {slow:.0} | {fast:.0} | {times_one:.2} | {of_bound:.2} | {of_sha} |");
    }
}

fn main() {
    let arguments: Vec<_> = std::env::args().collect();
    let number = |name: &str| arguments.iter().find_map(|argument| argument.strip_prefix(name)?.parse().ok());
    let quick = arguments.iter().any(|argument| argument == "quick" || argument == "--test");
    let (threads, frame) = (number("threads=").unwrap_or(2), number("frame=").unwrap_or(4096));
    let (size, rounds) = if quick { (4, 2) } else { (64, 15) };
    let (size, rounds) = (number("size=").unwrap_or(size) * MIB, number("rounds=").unwrap_or(rounds));
    let only = arguments.iter().find_map(|argument| argument.strip_prefix("only="));
    run(RustCrypto, [threads, frame, size, rounds], only);
}
