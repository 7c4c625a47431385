//! Measures how fast messages are written and read with each crypto provider, beside the primitives
//! that they use, in one run.
//!
//!     cargo bench --all-features --bench messages
//!
//! Machines are noisy, so the cases take turns. The table gives medians and, for each case, its
//! ratio to the primitives of the same provider that bound it, from the same turns. Arguments after
//! `--`:
//!
//! - `quick` only tries the benchmark out;
//! - `busy` is for a machine that others use: short runs, of which the fastest counts;
//! - `rustcrypto` or `aws-lc-rs` selects one provider; by default all that are built in take part.

use std::{hint::black_box, sync::Arc};

use sealwax::{
    AlgorithmSuite, Client,
    crypto::{AeadKey, CryptoProvider, HashAlgorithm, SignatureAlgorithm},
    keyring::RawAesKeyring,
};

mod turns;

use turns::{Case, Typical, print_table, take_turns};

const MIB: usize = 1 << 20;
/// The number of bytes pushed into a machine at a time.
const PIECE: usize = 65_536;
const UNSIGNED: AlgorithmSuite = AlgorithmSuite::Aes256GcmHkdfSha512CommitKey;
const SIGNED: AlgorithmSuite = AlgorithmSuite::Aes256GcmHkdfSha512CommitKeyEcdsaP384;

/// A provider that is built in.
#[derive(Clone)]
struct Provider {
    name: &'static str,
    primitives: Arc<dyn CryptoProvider>,
    client: Client,
}

impl Provider {
    #[allow(dead_code, reason = "there may be none")]
    fn new(name: &'static str, primitives: impl CryptoProvider + Copy + 'static) -> Self {
        Self { name, primitives: Arc::new(primitives), client: Client::builder_with_provider(primitives).build() }
    }

    fn all() -> Vec<Self> {
        vec![
            #[cfg(feature = "rustcrypto")]
            Self::new("rustcrypto", sealwax::crypto::RustCrypto),
            #[cfg(feature = "aws-lc-rs")]
            Self::new("aws-lc-rs", sealwax::crypto::AwsLcRs),
        ]
    }

    fn seal(&self, keyring: &RawAesKeyring, suite: AlgorithmSuite, frame: usize, plaintext: &[u8]) -> Vec<u8> {
        let encrypt = self.client.encrypt(keyring).suite(suite).frame_length(frame as u32);
        encrypt.bytes(plaintext).wait().unwrap().message
    }

    fn open(&self, keyring: &RawAesKeyring, message: &[u8]) -> Vec<u8> {
        self.client.decrypt(keyring).bytes(message).wait().unwrap().plaintext
    }
}

fn keyring() -> RawAesKeyring {
    RawAesKeyring::new("bench", "key", vec![7; 32]).unwrap()
}

/// Long messages, whose plaintext is in memory, and the primitives on the same bytes.
fn large(providers: &[Provider], typical: Typical, rounds: usize, size: usize) {
    let plaintext: Vec<u8> = (0..size).map(|at| (at * 31) as u8).collect();
    let keyring = keyring();
    for frame in [4096, 65_536, MIB] {
        let mut cases = vec![Case::new("", "memcpy", size, || drop(black_box(plaintext.to_vec())))];
        for provider in providers {
            let first = cases.len();
            cases.extend(primitives(provider, &plaintext, frame));
            cases.extend(messages(provider, &keyring, &plaintext, frame, first));
        }
        take_turns(&mut cases, rounds);
        println!("\n{} MiB, frames of {frame} bytes, one thread, {rounds} turns\n", size / MIB);
        print_table(&cases, typical, "MB/s", |rate| format!("{:.0}", rate / 1e6));
    }
}

/// Five cases: loops over frames with AES-GCM only, and a digest.
fn primitives<'a>(provider: &Provider, plaintext: &'a [u8], frame: usize) -> [Case<'a>; 5] {
    let (name, size) = (provider.name, plaintext.len());
    let key: Arc<dyn AeadKey> = provider.primitives.aes_gcm(&[9; 32]).unwrap().into();
    let keys = [key.clone(), key.clone(), key.clone(), key.clone()];
    let [seal_new, open_new, seal_hot, open_hot] = keys;
    let aad = [0; 78];
    let mut sealed = plaintext.to_vec();
    let tags: Vec<_> =
        sealed.chunks_exact_mut(frame).map(|frame| key.seal_in_place(&[1; 12], &aad, frame).unwrap()).collect();
    let sealed: Arc<[(Vec<u8>, _)]> = sealed.chunks_exact(frame).map(<[u8]>::to_vec).zip(tags).collect();
    let sealed_too = sealed.clone();
    let (mut out_seal, mut out_open) = (vec![0; frame], vec![0; frame]);
    let primitives = provider.primitives.clone();
    [
        Case::new(name, "AES-256-GCM encrypt, into new memory", size, move || {
            // As long as the message: the allocator treats other lengths differently.
            let mut out = vec![0; size + size / frame * 32 + 500];
            for (frame, out) in plaintext.chunks_exact(frame).zip(out.chunks_exact_mut(frame)) {
                black_box(seal_new.seal(&[1; 12], &aad, frame, out).unwrap());
            }
            black_box(out);
        }),
        Case::new(name, "AES-256-GCM decrypt, into new memory", size, move || {
            let mut out = vec![0; size];
            for ((text, tag), out) in sealed.iter().zip(out.chunks_exact_mut(frame)) {
                open_new.open(&[1; 12], &aad, text, tag, out).unwrap();
            }
            black_box(out);
        }),
        Case::new(name, "AES-256-GCM encrypt, into one frame", size, move || {
            for frame in plaintext.chunks_exact(frame) {
                black_box(seal_hot.seal(&[1; 12], &aad, frame, &mut out_seal).unwrap());
            }
        }),
        Case::new(name, "AES-256-GCM decrypt, into one frame", size, move || {
            for (text, tag) in sealed_too.iter() {
                open_hot.open(&[1; 12], &aad, text, tag, &mut out_open).unwrap();
            }
        }),
        Case::new(name, "SHA-384 alone", size, move || {
            let mut digest = primitives.digest(HashAlgorithm::Sha384);
            plaintext.chunks(frame).for_each(|frame| digest.update(frame));
            black_box(digest.finish());
        }),
    ]
}

/// Messages, bounded by the five primitives that start at index `first`. One-shot results are new
/// memory, whose pages the system must first provide. A machine seals and opens from where the text
/// is, and a stream first copies it from its source; both reuse their buffers.
fn messages<'a>(
    provider: &Provider,
    keyring: &'a RawAesKeyring,
    plaintext: &'a [u8],
    frame: usize,
    first: usize,
) -> Vec<Case<'a>> {
    let (name, size) = (provider.name, plaintext.len());
    let [seal_new, open_new, seal_hot, open_hot, sha] = [0, 1, 2, 3, 4].map(|index| first + index);
    let mut cases = Vec::new();
    for suite in [UNSIGNED, SIGNED] {
        let id = format!("{:#06x}", suite.id());
        let bounds = |aead| if suite.is_signed() { vec![aead, sha] } else { vec![aead] };
        let message: Arc<[u8]> = provider.seal(keyring, suite, frame, plaintext).into();
        let message_too = message.clone();
        let [one, two, three, four, five, six] = [(); 6].map(|()| provider.clone());
        let message_again = message.clone();
        cases.extend([
            Case::new(name, format!("{id} encrypt, one-shot"), size, move || {
                drop(black_box(one.seal(keyring, suite, frame, plaintext)));
            })
            .bounded(bounds(seal_new)),
            Case::new(name, format!("{id} decrypt, one-shot"), size, move || {
                drop(black_box(two.open(keyring, &message)));
            })
            .bounded(bounds(open_new)),
            Case::new(name, format!("{id} encrypt, stream"), size, move || {
                let encrypt = three.client.encrypt(keyring).suite(suite).frame_length(frame as u32);
                encrypt.copy(plaintext, std::io::sink()).unwrap();
            })
            .bounded(bounds(seal_hot)),
            Case::new(name, format!("{id} decrypt, stream"), size, move || {
                four.client
                    .decrypt(keyring)
                    .release_unverified()
                    .open(&message_too[..])
                    .unwrap()
                    .copy_to(std::io::sink())
                    .unwrap();
            })
            .bounded(bounds(open_hot)),
            Case::new(name, format!("{id} encrypt, machine"), size, move || {
                let encrypt = five.client.encrypt(keyring).suite(suite).frame_length(frame as u32);
                let mut machine = encrypt.machine().wait().unwrap();
                for piece in plaintext.chunks(PIECE) {
                    machine.push(piece).unwrap();
                    machine.consume(black_box(machine.output()).len());
                }
                black_box(machine.finish().unwrap());
            })
            .bounded(bounds(seal_hot)),
            Case::new(name, format!("{id} decrypt, machine"), size, move || {
                let (received, body) = six.client.header_decoder().decode(&message_again).unwrap();
                let mut machine = six.client.decrypt(keyring).release_unverified().machine(received).wait().unwrap();
                for piece in body.chunks(PIECE) {
                    machine.push(piece).unwrap();
                    machine.consume(black_box(machine.output()).len());
                }
                black_box(machine.finish().unwrap());
            })
            .bounded(bounds(open_hot)),
        ]);
    }
    cases
}

/// Many short messages.
fn small(providers: &[Provider], typical: Typical, rounds: usize, messages: usize) {
    let (keyring, plaintext) = (keyring(), [5; 1024]);
    let (keyring, plaintext) = (&keyring, &plaintext);
    let algorithm = SignatureAlgorithm::EcdsaP384;
    // Signing takes a hundred times as long as everything else.
    let signatures = messages.div_ceil(100);
    let mut cases = Vec::new();
    for provider in providers {
        let name = provider.name;
        let first = cases.len();
        let primitives = &provider.primitives;
        let key = primitives.generate_signing_key(algorithm).unwrap();
        let digest = [3; 48];
        let signature = key.sign_digest(&digest).unwrap();
        cases.extend([
            Case::new(name, "P-384 alone: generate a key and sign", signatures, move || {
                for _ in 0..signatures {
                    let key = primitives.generate_signing_key(algorithm).unwrap();
                    black_box(key.sign_digest(&digest).unwrap());
                }
            }),
            Case::new(name, "P-384 alone: read a key and verify", signatures, move || {
                for _ in 0..signatures {
                    let key = primitives.verifying_key(algorithm, key.public_key()).unwrap();
                    key.verify_digest(&digest, &signature).unwrap();
                }
            }),
        ]);
        for (suite, count) in [(UNSIGNED, messages), (SIGNED, signatures)] {
            let id = format!("{:#06x}", suite.id());
            let bounds = |p384| if suite.is_signed() { vec![p384] } else { vec![] };
            let message = provider.seal(keyring, suite, 4096, plaintext);
            cases.extend([
                Case::new(name, format!("{id} encrypt"), count, move || {
                    (0..count).for_each(|_| drop(black_box(provider.seal(keyring, suite, 4096, plaintext))));
                })
                .bounded(bounds(first)),
                Case::new(name, format!("{id} decrypt"), count, move || {
                    (0..count).for_each(|_| drop(black_box(provider.open(keyring, &message))));
                })
                .bounded(bounds(first + 1)),
            ]);
        }
    }
    take_turns(&mut cases, rounds);
    println!("\nMessages of 1 KiB, raw AES keyring, one thread, {rounds} turns\n");
    print_table(&cases, typical, "a second (us each)", |rate| format!("{rate:.0} ({:.1})", 1e6 / rate));
}

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    let mut providers = Provider::all();
    if providers.iter().any(|provider| has(provider.name)) {
        providers.retain(|provider| has(provider.name));
    }
    // `cargo test` and `cargo build --benches` may run a benchmark only to see that it works.
    if has("quick") || has("--test") {
        large(&providers, Typical::Median, 2, 4 * MIB);
        small(&providers, Typical::Median, 2, 1000);
    } else if has("busy") {
        large(&providers, Typical::Fastest, 60, 8 * MIB);
        small(&providers, Typical::Fastest, 1000, 50);
    } else {
        large(&providers, Typical::Median, 15, 100 * MIB);
        small(&providers, Typical::Median, 15, 20_000);
    }
}
