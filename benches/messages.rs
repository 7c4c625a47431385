//! How fast messages are written and read, beside the primitives that they are made of, in one run.
//!
//!     cargo bench --bench messages
//!
//! Machines are noisy: the cases take turns, and the table gives medians and, for each case, its ratio to the primitive
//! that bounds it, from the same turns. `cargo bench --bench messages -- quick` takes less time and means less.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use sealwax::{
    AlgorithmSuite, Client,
    crypto::{CryptoProvider, HashAlgorithm, RustCrypto, SignatureAlgorithm},
    keyring::RawAesKeyring,
};

const MIB: usize = 1 << 20;

/// Something to be timed.
struct Case<'a> {
    name: &'static str,
    /// How many bytes or messages a run is about.
    count: usize,
    run: Box<dyn FnMut() + 'a>,
    times: Vec<f64>,
}

impl<'a> Case<'a> {
    fn new(name: &'static str, count: usize, run: impl FnMut() + 'a) -> Self {
        Self { name, count, run: Box::new(run), times: Vec::new() }
    }

    fn median(&self) -> f64 {
        let mut times = self.times.clone();
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    }
}

/// Runs the cases in turns, after one that does not count.
fn take_turns(cases: &mut [Case<'_>], rounds: usize) {
    for round in 0..=rounds {
        for case in &mut *cases {
            let start = Instant::now();
            (case.run)();
            if round > 0 {
                case.times.push(start.elapsed().as_secs_f64());
            }
        }
    }
}

/// The median over the turns of the ratio of a bound's time to a case's: 1 is as fast as the bound.
fn ratio(case: &Case<'_>, bound: impl Fn(usize) -> f64) -> f64 {
    let mut ratios: Vec<_> = case.times.iter().enumerate().map(|(turn, time)| bound(turn) / time).collect();
    ratios.sort_by(f64::total_cmp);
    ratios[ratios.len() / 2]
}

fn keyring() -> RawAesKeyring {
    RawAesKeyring::new("bench", "key", vec![7; 32]).unwrap()
}

fn large(rounds: usize, size: usize) {
    const FRAME: usize = 4096;
    let (keyring, client) = (keyring(), Client::new());
    let plaintext: Vec<u8> = (0..size).map(|at| (at * 31) as u8).collect();
    let (unsigned, signed) =
        (AlgorithmSuite::Aes256GcmHkdfSha512CommitKey, AlgorithmSuite::Aes256GcmHkdfSha512CommitKeyEcdsaP384);
    let seal = |suite| client.encrypt(&keyring).suite(suite).bytes(&plaintext).wait().unwrap().message;
    let (unsigned_message, signed_message) = (seal(unsigned), seal(signed));
    let key = RustCrypto.aes_gcm(&[9; 32]).unwrap();
    let aad = [0; 78];
    let tags: Vec<_> = {
        let mut out = vec![0; FRAME];
        plaintext.chunks_exact(FRAME).map(|frame| key.seal(&[1; 12], &aad, frame, &mut out).unwrap()).collect()
    };
    let sealed_frames: Vec<u8> = {
        let mut out = plaintext.clone();
        for frame in out.chunks_exact_mut(FRAME) {
            key.seal_in_place(&[1; 12], &aad, frame).unwrap();
        }
        out
    };

    let mut cases = [
        Case::new("memcpy", size, || drop(black_box(plaintext.to_vec()))),
        Case::new("AES-256-GCM encrypt, into new memory", size, || {
            let mut out = vec![0; size];
            for (frame, out) in plaintext.chunks_exact(FRAME).zip(out.chunks_exact_mut(FRAME)) {
                black_box(key.seal(&[1; 12], &aad, frame, out).unwrap());
            }
            black_box(out);
        }),
        Case::new("AES-256-GCM decrypt, into new memory", size, || {
            let mut out = vec![0; size];
            for ((frame, tag), out) in sealed_frames.chunks_exact(FRAME).zip(&tags).zip(out.chunks_exact_mut(FRAME)) {
                key.open(&[1; 12], &aad, frame, tag, out).unwrap();
            }
            black_box(out);
        }),
        Case::new("AES-256-GCM encrypt, into one frame", size, || {
            let mut out = [0; FRAME];
            for frame in plaintext.chunks_exact(FRAME) {
                black_box(key.seal(&[1; 12], &aad, frame, &mut out).unwrap());
            }
        }),
        Case::new("AES-256-GCM decrypt, into one frame", size, || {
            let mut out = [0; FRAME];
            for (frame, tag) in sealed_frames.chunks_exact(FRAME).zip(&tags) {
                key.open(&[1; 12], &aad, frame, tag, &mut out).unwrap();
            }
        }),
        Case::new("SHA-384 alone", size, || {
            let mut digest = RustCrypto.digest(HashAlgorithm::Sha384);
            plaintext.chunks(FRAME).for_each(|frame| digest.update(frame));
            black_box(digest.finish());
        }),
        Case::new("0x0478 encrypt, one-shot", size, || drop(black_box(seal(unsigned)))),
        Case::new("0x0478 decrypt, one-shot", size, || {
            drop(black_box(client.decrypt(&keyring).bytes(&unsigned_message).wait().unwrap()));
        }),
        Case::new("0x0578 encrypt, one-shot", size, || drop(black_box(seal(signed)))),
        Case::new("0x0578 decrypt, one-shot", size, || {
            drop(black_box(client.decrypt(&keyring).bytes(&signed_message).wait().unwrap()));
        }),
        Case::new("0x0478 encrypt, stream", size, || {
            let encrypt = client.encrypt(&keyring).suite(unsigned);
            encrypt.copy(&plaintext[..], std::io::sink()).wait().unwrap();
        }),
        Case::new("0x0478 decrypt, stream", size, || {
            client.decrypt(&keyring).copy_unverified(&unsigned_message[..], std::io::sink()).wait().unwrap();
        }),
        Case::new("0x0578 encrypt, stream", size, || {
            let encrypt = client.encrypt(&keyring).suite(signed);
            encrypt.copy(&plaintext[..], std::io::sink()).wait().unwrap();
        }),
        Case::new("0x0578 decrypt, stream", size, || {
            client.decrypt(&keyring).copy_unverified(&signed_message[..], std::io::sink()).wait().unwrap();
        }),
    ];
    take_turns(&mut cases, rounds);

    println!("\n{} MiB, frames of {FRAME} bytes, one thread, {rounds} turns\n", size / MIB);
    println!("| what | MB/s | of its bound | bound |");
    println!("|---|---:|---:|---|");
    let [_, new_encrypt, new_decrypt, hot_encrypt, hot_decrypt, sha, ..] = &cases;
    for case in &cases {
        let speed = case.count as f64 / case.median() / 1e6;
        // One-shot results are new memory, whose pages the system must first give; a stream reuses its buffers.
        let aead = match (case.name.contains("one-shot"), case.name.contains("decrypt")) {
            (true, false) => new_encrypt,
            (true, true) => new_decrypt,
            (false, false) => hot_encrypt,
            (false, true) => hot_decrypt,
        };
        if case.name.starts_with("0x0478") {
            let ratio = ratio(case, |turn| aead.times[turn]);
            println!("| {} | {speed:.0} | {ratio:.2} | {} |", case.name, aead.name);
        } else if case.name.starts_with("0x0578") {
            let ratio = ratio(case, |turn| aead.times[turn] + sha.times[turn]);
            println!("| {} | {speed:.0} | {ratio:.2} | that, then SHA-384 |", case.name);
        } else {
            println!("| {} | {speed:.0} | | |", case.name);
        }
    }
}

fn small(rounds: usize, messages: usize) {
    let (keyring, client) = (keyring(), Client::new());
    let plaintext = [5; 1024];
    let (unsigned, signed) =
        (AlgorithmSuite::Aes256GcmHkdfSha512CommitKey, AlgorithmSuite::Aes256GcmHkdfSha512CommitKeyEcdsaP384);
    let seal = |suite| client.encrypt(&keyring).suite(suite).bytes(&plaintext).wait().unwrap().message;
    let open = |message: &[u8]| client.decrypt(&keyring).bytes(message).wait().unwrap().plaintext;
    let (unsigned_message, signed_message) = (seal(unsigned), seal(signed));
    let algorithm = SignatureAlgorithm::EcdsaP384;
    let key = RustCrypto.generate_signing_key(algorithm).unwrap();
    let digest = [3; 48];
    let signature = key.sign_digest(&digest).unwrap();
    // Signing takes a hundred times as long as all the rest.
    let signatures = (messages / 100).max(10);

    let mut cases = [
        Case::new("0x0478 encrypt", messages, || (0..messages).for_each(|_| drop(black_box(seal(unsigned))))),
        Case::new("0x0478 decrypt", messages, || {
            (0..messages).for_each(|_| drop(black_box(open(&unsigned_message))));
        }),
        Case::new("0x0578 encrypt", signatures, || (0..signatures).for_each(|_| drop(black_box(seal(signed))))),
        Case::new("0x0578 decrypt", signatures, || {
            (0..signatures).for_each(|_| drop(black_box(open(&signed_message))));
        }),
        Case::new("P-384 alone: generate a key and sign", signatures, || {
            for _ in 0..signatures {
                let key = RustCrypto.generate_signing_key(algorithm).unwrap();
                black_box(key.sign_digest(&digest).unwrap());
            }
        }),
        Case::new("P-384 alone: read a key and verify", signatures, || {
            for _ in 0..signatures {
                let key = RustCrypto.verifying_key(algorithm, key.public_key()).unwrap();
                key.verify_digest(&digest, &signature).unwrap();
            }
        }),
    ];
    take_turns(&mut cases, rounds);

    println!("\nMessages of 1 KiB, raw AES keyring, one thread, {rounds} turns\n");
    println!("| what | a second | us each | of its bound |");
    println!("|---|---:|---:|---:|");
    let [.., sign, verify] = &cases;
    for case in &cases {
        let each = Duration::from_secs_f64(case.median() / case.count as f64);
        let bound = match case.name {
            "0x0578 encrypt" => format!("{:.2}", ratio(case, |turn| sign.times[turn])),
            "0x0578 decrypt" => format!("{:.2}", ratio(case, |turn| verify.times[turn])),
            _ => String::new(),
        };
        let (rate, micros) = (1.0 / each.as_secs_f64(), each.as_secs_f64() * 1e6);
        println!("| {} | {rate:.0} | {micros:.1} | {bound} |", case.name);
    }
}

fn main() {
    // `cargo test` and `cargo build --benches` may run a benchmark only to see that it works.
    let quick = std::env::args().any(|argument| argument == "quick" || argument == "--test");
    if quick {
        large(2, 4 * MIB);
        small(2, 200);
    } else {
        large(15, 100 * MIB);
        small(15, 20_000);
    }
}
