//! sealwax and the primitives that it uses, as a participant of `benches/compare/run.py`, which
//! times it beside others.
//!
//! Prints its cases, then runs the case whose index it receives and answers with the seconds it
//! took.

use std::{
    hint::black_box,
    io::{self, BufRead, Write},
    rc::Rc,
    sync::Arc,
    thread,
    time::Instant,
};

use sealwax::{
    AlgorithmSuite, Client,
    crypto::{CryptoProvider, HashAlgorithm, RustCrypto},
    keyring::RawAesKeyring,
};

struct Case {
    who: String,
    what: String,
    /// Whether the case is a primitive alone.
    bound: bool,
    run: Box<dyn Fn()>,
}

const SUITES: [(&str, AlgorithmSuite); 2] = [
    ("unsigned", AlgorithmSuite::Aes256GcmHkdfSha512CommitKey),
    ("signed", AlgorithmSuite::Aes256GcmHkdfSha512CommitKeyEcdsaP384),
];

fn main() {
    // `cargo test` may run a benchmark only to see that it works.
    let size = std::env::args().filter_map(|argument| argument.parse().ok()).next();
    let plaintext: Rc<[u8]> = (0..size.unwrap_or(1 << 16)).map(|at| (at * 31 % 251) as u8).collect();
    let mut cases = Vec::new();
    let mut providers: Vec<(&str, Arc<dyn CryptoProvider>)> = vec![("RustCrypto", Arc::new(RustCrypto))];
    #[cfg(feature = "aws-lc-rs")]
    providers.push(("AWS-LC", Arc::new(sealwax::crypto::AwsLcRs)));
    for (name, provider) in &providers {
        primitives(&mut cases, name, provider, &plaintext);
    }
    let cores = thread::available_parallelism().map_or(1, usize::from);
    for (name, provider) in &providers {
        for threads in if cores > 1 { vec![1, cores] } else { vec![1] } {
            messages(&mut cases, name, provider, threads, &plaintext);
        }
    }
    if size.is_some() { answer(&cases, plaintext.len()) } else { cases.iter().for_each(|case| (case.run)()) }
}

fn answer(cases: &[Case], size: usize) {
    for Case { who, what, bound, .. } in cases {
        println!(r#"{{"who": "{who}", "what": "{what}", "bytes": {size}, "bound": {bound}}}"#);
    }
    println!("ready");
    for line in io::stdin().lock().lines() {
        let index: usize = line.expect("a line").trim().parse().expect("an index");
        let start = Instant::now();
        (cases[index].run)();
        println!("{}", start.elapsed().as_secs_f64());
        io::stdout().flush().expect("somebody who reads");
    }
}

/// AES-GCM in a bare loop over frames, followed by SHA-384 where a message is signed.
fn primitives(cases: &mut Vec<Case>, name: &str, provider: &Arc<dyn CryptoProvider>, plaintext: &Rc<[u8]>) {
    if cases.is_empty() {
        let plaintext = plaintext.clone();
        let run = Box::new(move || drop(black_box(plaintext.to_vec())));
        cases.push(Case { who: "memcpy".into(), what: "encrypt unsigned, 4 KiB".into(), bound: true, run });
    }
    for kib in [4, 64] {
        let (provider, plaintext, frame) = (provider.clone(), plaintext.clone(), kib << 10);
        let run = Box::new(move || {
            let key = provider.aes_gcm(&[9; 32]).expect("a key");
            let mut out = vec![0; frame];
            for text in plaintext.chunks(frame) {
                black_box(key.seal(&[1; 12], &[0; 78], text, &mut out[..text.len()]).expect("a tag"));
            }
        });
        let who = format!("AES-256-GCM alone, one frame reused, {name}");
        cases.push(Case { who, what: format!("encrypt unsigned, {kib} KiB"), bound: true, run });
    }
    let (provider, plaintext) = (provider.clone(), plaintext.clone());
    let run = Box::new(move || {
        let mut digest = provider.digest(HashAlgorithm::Sha384);
        plaintext.chunks(4096).for_each(|frame| digest.update(frame));
        black_box(digest.finish());
    });
    cases.push(Case { who: format!("SHA-384 alone, {name}"), what: "encrypt signed, 4 KiB".into(), bound: true, run });
}

fn messages(
    cases: &mut Vec<Case>,
    name: &str,
    provider: &Arc<dyn CryptoProvider>,
    threads: usize,
    plaintext: &Rc<[u8]>,
) {
    let client = Client::builder_with_provider(provider.clone()).threads(threads).build();
    let keyring = Rc::new(RawAesKeyring::new("bench", "key", vec![7; 32]).expect("a key"));
    let who = format!("sealwax, {name}, {threads} thread{}", if threads == 1 { "" } else { "s" });
    for kib in [4_u32, 64] {
        for (kind, suite) in SUITES {
            let frame = kib << 10;
            let encrypt = client.encrypt(&*keyring).suite(suite).frame_length(frame);
            let message: Rc<[u8]> = encrypt.bytes(plaintext).wait().expect("a message").message.into();
            let mut add = |how: &str, what: String, run: Box<dyn Fn()>| {
                cases.push(Case { who: format!("{who}{how}"), what, bound: false, run });
            };
            let (client, keyring, plaintext) = (client.clone(), keyring.clone(), plaintext.clone());
            let (encrypting, decrypting) = (format!("encrypt {kind}, {kib} KiB"), format!("decrypt {kind}, {kib} KiB"));

            let (c, k, p) = (client.clone(), keyring.clone(), plaintext.clone());
            let run = move || {
                drop(black_box(c.encrypt(&*k).suite(suite).frame_length(frame).bytes(&p).wait().expect("a message")))
            };
            add("", encrypting.clone(), Box::new(run));
            let (c, k, m) = (client.clone(), keyring.clone(), message.clone());
            let run = move || drop(black_box(c.decrypt(&*k).bytes(&m).wait().expect("a plaintext")));
            add("", decrypting.clone(), Box::new(run));

            let (c, k, p) = (client.clone(), keyring.clone(), plaintext.clone());
            let run = move || {
                let encrypt = c.encrypt(&*k).suite(suite).frame_length(frame);
                drop(encrypt.copy(&p[..], io::sink()).expect("a message"));
            };
            add(", stream", encrypting, Box::new(run));
            let run = move || {
                drop(
                    client
                        .decrypt(&*keyring)
                        .release_unverified()
                        .open(&message[..])
                        .expect("a plaintext")
                        .copy_to(io::sink())
                        .expect("a plaintext"),
                )
            };
            add(", stream", decrypting, Box::new(run));
        }
    }
}
