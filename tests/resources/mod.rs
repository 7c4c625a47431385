//! The cost of messages: no memory for what they only declare, none for each frame, and no stack.

use std::{
    io::{Read, Write},
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};

use sealwax::{
    AlgorithmSuite, Client, CommitmentPolicy, Encrypt, EncryptionContext, Error, FormatError, HeaderDecoder,
    LimitError, Result, SecretBytes,
    keyring::{BoxFuture, RawAesKeyring},
    materials::{
        CachingManager, DecryptionMaterials, DecryptionRequest, EncryptionMaterials, EncryptionRequest,
        MaterialsManager, MemoryCache,
    },
    message::{Decryptor, Encryptor},
};

use super::{
    forge::{FINAL_MARK, Forge, iv_of, ways::reads_all},
    support::{client_builder, new_client, provider},
};
use crate::{
    alone,
    heap::{Cost, cost},
};

const UNSIGNED: AlgorithmSuite = AlgorithmSuite::Aes256GcmHkdfSha512CommitKey;
const SIGNED: AlgorithmSuite = AlgorithmSuite::Aes256GcmHkdfSha512CommitKeyEcdsaP384;
const FRAME: usize = 100;

fn keyring() -> RawAesKeyring {
    RawAesKeyring::new("example", "key-1", vec![7; 32]).unwrap()
}

fn encrypt<'a>(client: &'a Client, keyring: &'a RawAesKeyring, suite: AlgorithmSuite) -> Encrypt<'a> {
    client.encrypt(keyring).suite(suite).frame_length(FRAME as u32)
}

/// Reads to the end without keeping anything.
fn exhaust(mut reader: impl Read) -> usize {
    let (mut buffer, mut total) = ([0; 4096], 0);
    loop {
        match reader.read(&mut buffer).unwrap() {
            0 => return total,
            count => total += count,
        }
    }
}

fn drain_encryptor(mut machine: Encryptor, text: &[u8]) {
    for piece in text.chunks(1000) {
        machine.push(piece).unwrap();
        machine.consume(machine.output().len());
    }
    machine.finish().unwrap();
}

fn drain_decryptor(mut machine: Decryptor, body: &[u8]) {
    for piece in body.chunks(1000) {
        machine.push(piece).unwrap();
        machine.consume(machine.output().len());
    }
    machine.finish().unwrap();
}

/// Returns the costs of all ways to write and to read a message of this many frames.
fn costs(suite: AlgorithmSuite, frames: usize) -> Vec<(&'static str, Cost)> {
    let (client, keyring) = (new_client(), keyring());
    let text = vec![b'x'; frames * FRAME];
    let message = encrypt(&client, &keyring, suite).bytes(&text).wait().unwrap().message;
    let decrypt = || client.decrypt(&keyring);
    vec![
        ("encrypt bytes", cost(|| encrypt(&client, &keyring, suite).bytes(&text).wait().unwrap())),
        ("encrypt reader", cost(|| exhaust(encrypt(&client, &keyring, suite).reader(&text[..]).wait().unwrap()))),
        (
            "encrypt writer",
            cost(|| {
                let mut writer = encrypt(&client, &keyring, suite).writer(std::io::sink()).wait().unwrap();
                writer.write_all(&text).unwrap();
                writer.finish().unwrap()
            }),
        ),
        (
            "encrypt machine",
            cost(|| drain_encryptor(encrypt(&client, &keyring, suite).machine().wait().unwrap(), &text)),
        ),
        ("encrypt copy", cost(|| encrypt(&client, &keyring, suite).copy(&text[..], std::io::sink()).unwrap())),
        ("decrypt bytes", cost(|| decrypt().bytes(&message).wait().unwrap())),
        (
            "decrypt reader",
            cost(|| exhaust(decrypt().release_unverified().open(&message[..]).unwrap().into_reader().unwrap())),
        ),
        (
            "decrypt writer",
            cost(|| {
                let mut writer = decrypt().release_unverified().writer(std::io::sink());
                writer.write_all(&message).unwrap();
                writer.finish().unwrap();
            }),
        ),
        (
            "decrypt machine",
            cost(|| {
                let (received, body) = client.header_decoder().decode(&message).unwrap();
                drain_decryptor(decrypt().release_unverified().machine(received).wait().unwrap(), body);
            }),
        ),
        (
            "decrypt copy",
            cost(|| decrypt().release_unverified().open(&message[..]).unwrap().copy_to(std::io::sink()).unwrap()),
        ),
    ]
}

#[test]
fn no_allocation_is_made_for_each_frame() {
    let _alone = alone();
    for (suite, slack) in [(UNSIGNED, 0), (SIGNED, 200)] {
        // Enough frames that every buffer has its full size.
        let (once, twice) = (costs(suite, 4000), costs(suite, 8000));
        for ((way, once), (_, twice)) in once.into_iter().zip(twice) {
            // A signature is retried until it has the one length that all SDKs write, so the count
            // varies.
            assert!(twice.blocks <= once.blocks + slack, "{way}: {once:?} but {twice:?}");
            if !way.contains("bytes") {
                // The harness may allocate or free a little meanwhile; a byte for each frame is
                // more.
                assert!(twice.most < once.most + 1000 + 64 * slack as usize, "{way}: {once:?} but {twice:?}");
                assert!(twice.most < 1 << 20, "{way}: {twice:?}");
            } else {
                // One buffer, of the size of the output.
                let out = 8000 * (FRAME + 32);
                assert!(twice.most < out + 64 * 1024, "{way}: {twice:?}");
            }
        }
    }
}

/// Returns a client without limits below those of the format.
fn takes_all() -> Client {
    client_builder()
        .commitment_policy(CommitmentPolicy::RequireEncryptAllowDecrypt)
        .max_encrypted_data_keys(65_535)
        .max_header_length(usize::MAX)
        .max_frame_length(u32::MAX)
        .build()
}

/// Reads the start of a message in every way, each of which must report it as truncated, and
/// returns the costs.
#[track_caller]
fn cost_of_start(client: &Client, forge: &Forge, start: &[u8]) -> usize {
    let keyring = forge.keyring();
    let is_cut_off = |error: Error| assert!(matches!(error, Error::Format(FormatError::Truncated)), "{error:?}");
    let by_bytes = cost(|| is_cut_off(client.decrypt(&keyring).bytes(start).wait().unwrap_err()));
    let by_reader = cost(|| {
        let reader =
            client.decrypt(&keyring).release_unverified().open(start).and_then(|message| message.into_reader());
        let outcome = reader.and_then(|mut reader| Ok(reader.read_to_end(&mut Vec::new())?));
        is_cut_off(outcome.unwrap_err());
    });
    let by_writer = cost(|| {
        let mut writer = client.decrypt(&keyring).release_unverified().writer(std::io::sink());
        writer.write_all(start).unwrap();
        is_cut_off(writer.finish().map(|_| ()).unwrap_err());
    });
    let by_machine = cost(|| {
        let mut decoder = client.header_decoder();
        if let (taken, Some(received)) = decoder.push(start).unwrap() {
            let mut machine = client.decrypt(&keyring).release_unverified().machine(received).wait().unwrap();
            for byte in &start[taken..] {
                machine.push(&[*byte]).unwrap();
            }
            is_cut_off(machine.finish().map(|_| ()).unwrap_err());
        }
    });
    [by_bytes, by_reader, by_writer, by_machine].into_iter().map(|cost| cost.most).max().unwrap()
}

#[test]
fn a_declared_length_allocates_nothing() {
    let _alone = alone();
    let client = takes_all();
    for suite in [0x0178, 0x0478, 0x0578] {
        // A frame of 4 GiB, regular and final.
        let forge = Forge { frame_length: u32::MAX, ..Forge::new(suite) };
        let regular = [&forge.header()[..], &1_u32.to_be_bytes(), &iv_of(1), b"some"].concat();
        let last = [&forge.header()[..], &FINAL_MARK, &1_u32.to_be_bytes(), &iv_of(1), &[0xff; 4], b"some"];
        for start in [regular, last.concat()] {
            let most = cost_of_start(&client, &forge, &start);
            assert!(most < 256 * 1024, "{suite:#x}: {most} bytes");
        }
        // An unframed body of the greatest length that the limit allows.
        let forge = Forge { content_type: 1, frame_length: 0, ..Forge::new(suite) };
        let declared = u64::from(u32::MAX).to_be_bytes();
        let start = [&forge.header()[..], &iv_of(1), &declared, b"some"].concat();
        let most = cost_of_start(&client, &forge, &start);
        assert!(most < 256 * 1024, "{suite:#x}: {most} bytes");
        // The longest possible unframed body, which exceeds every limit.
        let declared = ((1_u64 << 36) - 32).to_be_bytes();
        let start = [&forge.header()[..], &iv_of(1), &declared, b"some"].concat();
        let keyring = forge.keyring();
        let spent = cost(|| {
            let refused = client.decrypt(&keyring).bytes(&start).wait();
            assert!(matches!(refused, Err(Error::Limit(LimitError::FrameLength { .. }))));
        });
        assert!(spent.most < 64 * 1024, "{suite:#x}: {spent:?}");
    }
}

#[test]
fn header_fields_that_are_declared_allocate_nothing() {
    let _alone = alone();
    let client = takes_all();
    for suite in [0x0178, 0x0578] {
        let mut forge = Forge::new(suite);
        let fixed = forge.header_to_key_count();
        let context = &fixed[..fixed.len() - 2 - forge.context.len() - 2];
        forge.key_count = u16::MAX;
        let count = forge.header_to_key_count();
        let starts = [
            [context, &[0xff, 0xff], b"some"].concat(),
            [&count[..], &[0xff, 0xff], b"some"].concat(),
            [&count[..], &[0, 0, 0xff, 0xff], b"some"].concat(),
            [&count[..], &[0, 0, 0, 0, 0xff, 0xff], b"some"].concat(),
        ];
        for (index, start) in starts.iter().enumerate() {
            let most = cost_of_start(&client, &forge, start);
            assert!(most < 32 * 1024, "{suite:#x}, {index}: {most} bytes");
        }
        // A count of context pairs that exceeds the bytes.
        forge.context = [&[0xff, 0xff], &[0; 4][..]].concat();
        let start = forge.header_to_key_count();
        let spent = cost(|| {
            let refused = HeaderDecoder::new().push(&start).map(|_| ());
            assert!(matches!(refused, Err(Error::Format(FormatError::Context(_)))));
        });
        assert!(spent.most < 32 * 1024, "{suite:#x}: {spent:?}");
    }
}

#[test]
fn the_output_of_one_piece_is_sized_by_what_is_there() {
    let _alone = alone();
    // Short frames of a great declared length, and the reverse.
    let client = takes_all();
    for frame_length in [1, 5, 1000, 1 << 20, u32::MAX] {
        let forge = Forge { frame_length, ..Forge::new(0x0478) };
        let text = vec![b'x'; 1000];
        let (keyring, message) = (forge.keyring(), forge.message(&text));
        let spent = cost(|| assert_eq!(client.decrypt(&keyring).bytes(&message).wait().unwrap().plaintext, text));
        assert!(spent.most < message.len() + 16 * 1024, "{frame_length}: {spent:?} for {}", message.len());
    }
}

/// Runs on a thread with a small stack.
fn on_a_small_stack(work: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(256 * 1024).spawn(work).unwrap().join().unwrap();
}

#[test]
fn a_million_frames_take_no_stack() {
    let _alone = alone();
    on_a_small_stack(|| {
        let (client, keyring) = (new_client(), keyring());
        let text: Vec<u8> = (0..1_u32 << 20).map(|at| at as u8).collect();
        let tiny = || client.encrypt(&keyring).suite(UNSIGNED).frame_length(1);
        let message = tiny().bytes(&text).wait().unwrap().message;
        assert!(client.decrypt(&keyring).bytes(&message).wait().unwrap().plaintext == text);

        let mut streamed = Vec::new();
        tiny().reader(&text[..]).wait().unwrap().read_to_end(&mut streamed).unwrap();
        assert_eq!(streamed.len(), message.len());
        let mut read = Vec::new();
        client.decrypt(&keyring).open(&streamed[..]).unwrap().into_reader().unwrap().read_to_end(&mut read).unwrap();
        assert!(read == text);
        let mut writer = client.decrypt(&keyring).writer(Vec::new());
        writer.write_all(&message).unwrap();
        assert!(writer.finish().unwrap().plaintext == text);
    });
}

#[test]
fn a_signed_message_takes_no_stack() {
    let _alone = alone();
    on_a_small_stack(|| {
        let (client, keyring) = (new_client(), keyring());
        let text = vec![b'x'; 100_000];
        let message = client.encrypt(&keyring).suite(SIGNED).frame_length(1).bytes(&text).wait().unwrap().message;
        assert!(client.decrypt(&keyring).bytes(&message).wait().unwrap().plaintext == text);
        let mut sink = Vec::new();
        client.decrypt(&keyring).release_unverified().open(&message[..]).unwrap().copy_to(&mut sink).unwrap();
        assert!(sink == text);
    });
}

/// Whether a type has `Debug` or `Clone`: an inherent constant that requires the trait takes
/// precedence over one that every type has.
macro_rules! has {
    ($type:ty, $bound:path) => {{
        struct Probe<T: ?Sized>(std::marker::PhantomData<T>);
        #[allow(dead_code, reason = "found only where the trait is there")]
        impl<T: ?Sized + $bound> Probe<T> {
            const HAS: bool = true;
        }
        #[allow(dead_code, reason = "found only where the trait is not there")]
        trait Otherwise {
            const HAS: bool = false;
        }
        impl<T: ?Sized> Otherwise for Probe<T> {}
        <Probe<$type>>::HAS
    }};
}

#[test]
fn what_holds_secrets_is_neither_printed_nor_copied() {
    // Check the probe itself.
    const { assert!(has!(Vec<u8>, std::fmt::Debug) && has!(Vec<u8>, Clone)) };
    macro_rules! neither {
        ($($type:ty),* $(,)?) => {
            $(const { assert!(!has!($type, std::fmt::Debug) && !has!($type, Clone)) };)*
        };
    }
    neither!(
        SecretBytes,
        RawAesKeyring,
        Encryptor,
        Decryptor,
        sealwax::keyring::Wrapped,
        sealwax::keyring::Unwrapped,
        sealwax::keyring::PlaintextDataKey<'static>,
        EncryptionMaterials,
        DecryptionMaterials,
        sealwax::io::EncryptingReader<()>,
        sealwax::io::DecryptingReader<()>,
        sealwax::io::EncryptingWriter<()>,
        sealwax::io::DecryptingWriter<'static, ()>,
    );
}

#[test]
fn what_is_printed_of_a_decryption_is_not_its_plaintext() {
    let forge = Forge::new(0x0478);
    let opened = reads_all().decrypt(&forge.keyring()).bytes(&forge.message(b"PLAINTEXT")).wait().unwrap();
    let printed = format!("{opened:?}");
    assert!(!printed.contains("PLAINTEXT") && !printed.contains("80, 76"), "{printed}");
}

/// A manager that never answers.
struct Silent;

impl MaterialsManager for Silent {
    fn encryption_materials<'a>(&'a self, _: EncryptionRequest<'a>) -> BoxFuture<'a, Result<EncryptionMaterials>> {
        Box::pin(std::future::pending())
    }

    fn decryption_materials<'a>(&'a self, _: DecryptionRequest<'a>) -> BoxFuture<'a, Result<DecryptionMaterials>> {
        Box::pin(std::future::pending())
    }
}

#[test]
fn followers_that_give_up_leave_nothing_behind() {
    let _alone = alone();
    let context = EncryptionContext::new();
    let of = |followers: usize| {
        cost(|| {
            let cache = Arc::new(MemoryCache::new(1).unwrap());
            let manager = CachingManager::builder(Silent, cache, Duration::from_secs(1)).build().unwrap();
            let ask = || {
                let mut request = EncryptionRequest::new(provider(), CommitmentPolicy::default(), &context);
                request.max_plaintext_length = Some(1);
                manager.encryption_materials(request)
            };
            let poll = |future: &mut BoxFuture<'_, _>| {
                assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            };
            let mut leader = ask();
            poll(&mut leader);
            // One that stays, and others that come and go.
            let mut stays = ask();
            poll(&mut stays);
            for _ in 0..followers {
                poll(&mut ask());
            }
        })
        .most
    };
    // One byte for each of them would be more than the harness allocates or frees meanwhile.
    let (few, many) = (of(10), of(10_000));
    assert!(few.abs_diff(many) < 4000, "{few} but {many}");
}
