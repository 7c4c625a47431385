//! Regenerates the seeds: `cargo run --example make_seeds`. The random parts of the real messages
//! change each time.

use std::{fs, path::PathBuf, sync::Arc};

use base64::{Engine, prelude::BASE64_STANDARD};
use sealwax::{
    AlgorithmSuite, Client, ClientBuilder, CommitmentPolicy, ContentType, EncryptedDataKey, HeaderDecoder,
    MessageVersion,
    crypto::{AwsLcRs, CryptoProvider, RustCrypto, SignatureAlgorithm},
    keyring::{BoxFuture, Keyring, UnwrapRequest, Unwrapped, WrapRequest, Wrapped},
};
use sealwax_fuzz::{
    crypto::{Permissive, REFUSED},
    decrypt,
    keyring::{FixedKey, KEY_BYTE},
    providers, round_trip,
    s3ec::FILE,
};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Byte by byte; in small and medium pieces; all at once.
const PATTERNS: [[u8; 4]; 3] = [[0; 4], [2, 40, 15, 0x80], [0xff; 4]];

fn main() -> Outcome<()> {
    header_seeds()?;
    decrypt_seeds()?;
    round_trip_seeds()?;
    provider_seeds()?;
    s3ec_seeds()
}

/// Writes a seed of a target, given in parts.
fn write(target: &str, name: &str, parts: &[&[u8]]) -> Outcome<()> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    fs::create_dir_all(&folder)?;
    Ok(fs::write(folder.join(name), parts.concat())?)
}

fn real() -> ClientBuilder {
    Client::builder()
}

fn permissive() -> ClientBuilder {
    Client::builder_with_provider(Permissive)
}

/// Wraps as [`FixedKey`] does, but several times.
struct Several;

impl Keyring for Several {
    fn label(&self) -> Arc<str> {
        FixedKey.label()
    }

    fn on_encrypt<'a>(&'a self, request: WrapRequest<'a>) -> BoxFuture<'a, sealwax::Result<Wrapped>> {
        Box::pin(async move {
            let mut wrapped = FixedKey.on_encrypt(request).await?;
            wrapped.encrypted_data_keys.extend([
                EncryptedDataKey::new("aws-kms", "arn:aws:kms:eu-west-1:0:key/1", [9; 20]),
                EncryptedDataKey::new("", [], []),
            ]);
            Ok(wrapped)
        })
    }

    fn on_decrypt<'a>(&'a self, request: UnwrapRequest<'a>) -> BoxFuture<'a, sealwax::Result<Unwrapped>> {
        FixedKey.on_decrypt(request)
    }
}

/// Returns a message, with the expected context if requested.
fn message(
    client: ClientBuilder,
    keyring: &dyn Keyring,
    suite: AlgorithmSuite,
    frame_length: u32,
    plaintext: &[u8],
    with_context: bool,
) -> Outcome<Vec<u8>> {
    let policy = if suite.is_committing() {
        CommitmentPolicy::RequireEncryptRequireDecrypt
    } else {
        CommitmentPolicy::ForbidEncryptAllowDecrypt
    };
    let client = client.commitment_policy(policy).build();
    let encrypt = client.encrypt(keyring).suite(suite).frame_length(frame_length);
    let encrypt = if with_context { encrypt.context([("a", "b"), decrypt::EXPECTED]) } else { encrypt };
    Ok(encrypt.bytes(plaintext).wait()?.message)
}

fn header_length(message: &[u8]) -> Outcome<usize> {
    Ok(HeaderDecoder::new().decode(message)?.0.header().length())
}

/// Turns the header at the front of a framed message into that of an unframed one, and removes the
/// body.
fn unframed_header(message: &[u8], suite: AlgorithmSuite) -> Outcome<Vec<u8>> {
    let mut header = message[..header_length(message)?].to_vec();
    // The content type, then what follows it: in version 1 also a reserved field and the IV length.
    let (from_end, frame_length) = match suite.version() {
        MessageVersion::V1 => (1 + 4 + 1 + 4 + 12 + 16, 1 + 4 + 1),
        MessageVersion::V2 => (1 + 4 + 32 + 16, 1),
    };
    let at = header.len() - from_end;
    header[at] = 1;
    header[at + frame_length..][..4].fill(0);
    assert_eq!(HeaderDecoder::new().decode(&header)?.0.header().content_type(), ContentType::Unframed);
    Ok(header)
}

/// Returns an unframed message that the permissive provider opens.
fn unframed_permissive(suite: AlgorithmSuite, content: &[u8]) -> Outcome<Vec<u8>> {
    let framed = message(permissive(), &FixedKey, suite, 64, b"", false)?;
    let mut unframed = unframed_header(&framed, suite)?;
    unframed.extend_from_slice(&[0; 12]);
    unframed.extend_from_slice(&(content.len() as u64).to_be_bytes());
    unframed.extend_from_slice(content);
    unframed.extend_from_slice(&[0x77; 16]);
    if let Some(algorithm) = suite.signature() {
        let length = u16::try_from(algorithm.signature_length())?;
        unframed.extend_from_slice(&length.to_be_bytes());
        unframed.extend(std::iter::repeat_n(0x30, length.into()));
    }
    Ok(unframed)
}

/// Returns an unframed message with real cryptography. The suite uses the data key directly.
fn unframed_real(content: &[u8]) -> Outcome<Vec<u8>> {
    let suite = AlgorithmSuite::Aes256GcmIv12Tag16NoKdf;
    let framed = message(real(), &FixedKey, suite, 64, b"", false)?;
    let mut unframed = unframed_header(&framed, suite)?;
    let key = RustCrypto.aes_gcm(&vec![KEY_BYTE; suite.data_key_length()])?;
    let (body, tag) = (unframed.len() - 28, unframed.len() - 16);
    let header_tag = key.seal_in_place(&[0; 12], &unframed[..body], &mut [])?;
    unframed[tag..].copy_from_slice(&header_tag);

    let mut aad = HeaderDecoder::new().decode(&unframed)?.0.header().message_id().to_vec();
    let length = (content.len() as u64).to_be_bytes();
    aad.extend_from_slice(b"AWSKMSEncryptionClient Single Block\0\0\0\x01");
    aad.extend_from_slice(&length);
    let (iv, mut text) = ([3; 12], content.to_vec());
    let content_tag = key.seal_in_place(&iv, &aad, &mut text)?;
    for part in [&iv[..], &length, &text, &content_tag] {
        unframed.extend_from_slice(part);
    }
    Ok(unframed)
}

fn header_seeds() -> Outcome<()> {
    let put = |name: &str, options: u8, pattern: usize, bytes: &[u8]| {
        write("header", name, &[&[options], &PATTERNS[pattern], bytes])
    };
    for (index, suite) in AlgorithmSuite::ALL.into_iter().enumerate() {
        let keyring: &dyn Keyring = if index % 2 == 0 { &FixedKey } else { &Several };
        let whole = message(real(), keyring, suite, 4096, b"body", index % 3 == 0)?;
        put(&format!("framed-{:04x}", suite.id()), 0, index % 3, &whole)?;
    }
    for suite in [AlgorithmSuite::Aes128GcmIv12Tag16NoKdf, AlgorithmSuite::Aes256GcmHkdfSha512CommitKey] {
        let name = format!("{:04x}", suite.id());
        let several = message(permissive(), &Several, suite, 4096, b"", true)?;
        let one = message(permissive(), &FixedKey, suite, 256, b"", false)?;
        put(&format!("unframed-{name}"), 0, 1, &unframed_header(&one, suite)?)?;
        put(&format!("small-limits-{name}"), 1, 1, &one)?;
        put(&format!("small-limits-keys-{name}"), 1, 0, &several)?;
        put(&format!("truncated-{name}"), 0, 1, &one[..header_length(&one)? - 1])?;
    }
    let long = Client::builder().build();
    let long = long.encrypt(&FixedKey).context([("k", "v".repeat(300))]).bytes(b"").wait()?.message;
    put("small-limits-length", 1, 1, &long)?;
    put("base64", 0, 2, b"AgV4AAAA")?;
    put("unknown-suite", 0, 2, &[1, 0x80, 0xff, 0xff])?;
    put("wrong-version", 0, 2, &[1, 0x80, 0x04, 0x78])
}

fn decrypt_seeds() -> Outcome<()> {
    use decrypt::{PERMISSIVE, SMALL_LIMITS, WITH_CONTEXT};
    let put = |name: &str, options: u8, pattern: usize, bytes: &[u8]| {
        write("decrypt", name, &[&[options], &PATTERNS[pattern % 3], &PATTERNS[(pattern + 1) % 3], bytes])
    };
    let text = b"some text that is longer than a frame is";
    for (index, suite) in AlgorithmSuite::ALL.into_iter().enumerate() {
        let id = format!("{:04x}", suite.id());
        // Only the final frame; whole frames; frames and a partial one.
        let (frame_length, text) = [(100, &text[..]), (20, &text[..]), (7, &text[..]), (9, &[])][index % 4];
        let with_context = index % 2 == 1;
        let options = if with_context { WITH_CONTEXT } else { 0 };
        let sealed = message(real(), &FixedKey, suite, frame_length, text, with_context)?;
        put(&format!("real-{id}"), options, index, &sealed)?;
        let open = message(permissive(), &FixedKey, suite, frame_length, text, with_context)?;
        put(&format!("open-{id}"), options | PERMISSIVE, index + 1, &open)?;
    }
    put("real-unframed", 0, 1, &unframed_real(text)?)?;
    for suite in [
        AlgorithmSuite::Aes128GcmIv12Tag16NoKdf,
        AlgorithmSuite::Aes128GcmIv12Tag16HkdfSha256EcdsaP256,
        AlgorithmSuite::Aes256GcmHkdfSha512CommitKey,
        AlgorithmSuite::Aes256GcmHkdfSha512CommitKeyEcdsaP384,
    ] {
        let id = format!("{:04x}", suite.id());
        let framed = message(permissive(), &FixedKey, suite, 7, text, false)?;
        let unframed = unframed_permissive(suite, text)?;
        let body = header_length(&framed)?;
        put(&format!("open-unframed-{id}"), PERMISSIVE, 1, &unframed)?;
        put(&format!("open-reproduced-context-{id}"), PERMISSIVE | WITH_CONTEXT, 2, &framed)?;
        put(&format!("open-trailing-{id}"), PERMISSIVE, 0, &[&framed[..], b"more"].concat())?;
        put(&format!("open-truncated-{id}"), PERMISSIVE, 1, &framed[..framed.len() - 10])?;

        let changed = |at: usize, byte: u8| {
            let mut changed = framed.clone();
            changed[at] = byte;
            changed
        };
        // Regular frames have 4 + 12 + 7 + 16 bytes, and there are five before the final one.
        let (second, last) = (body + 39, body + 5 * 39);
        put(&format!("open-sequence-{id}"), PERMISSIVE, 1, &changed(second + 3, 7))?;
        put(&format!("open-refused-tag-{id}"), PERMISSIVE, 0, &changed(second + 4 + 12 + 7, REFUSED))?;
        put(&format!("open-long-final-frame-{id}"), PERMISSIVE, 1, &changed(last + 4 + 4 + 12 + 3, 8))?;
        if suite.is_signed() {
            let footer = last + 24 + 5 + 16;
            put(&format!("open-refused-signature-{id}"), PERMISSIVE, 1, &changed(footer + 2, REFUSED))?;
            put(&format!("open-long-signature-{id}"), PERMISSIVE, 1, &changed(footer, 2))?;
        }
    }
    let suite = AlgorithmSuite::Aes256GcmHkdfSha512CommitKey;
    let mut long = unframed_permissive(suite, &[7; 65])?;
    put("open-small-limits-unframed", PERMISSIVE | SMALL_LIMITS, 1, &long)?;
    let length = header_length(&long)? + 12;
    long[length..length + 8].fill(REFUSED);
    put("open-unframed-length", PERMISSIVE, 1, &long)?;
    let long = message(permissive(), &FixedKey, suite, 64, &[8; 600], false)?;
    put("open-small-limits", PERMISSIVE | SMALL_LIMITS, 2, &long)
}

fn round_trip_seeds() -> Outcome<()> {
    use round_trip::{ADDED, FAKE_SIGNATURES, IN_FRAMES, LONG, PERMISSIVE};
    let (minus_one, plus_none, plus_one) = (0, 1 << ADDED, 2 << ADDED);
    // The frame length, the length of the plaintext, and the unit of that length.
    let shapes: [(u16, u32, u8); 6] = [
        (1, 20, plus_none),
        (4096, 0, plus_none),
        (16, 4, IN_FRAMES | plus_none),
        (16, 4, IN_FRAMES | minus_one),
        (16, 4, IN_FRAMES | plus_one),
        (5000, 139_000, LONG | plus_none),
    ];
    let contexts = ["", "tenant=blue\0purpose=backup", "\u{e9}=\u{1f511}"];
    for (index, suite) in (0..u8::try_from(AlgorithmSuite::ALL.len())?).zip(AlgorithmSuite::ALL) {
        for (provider, options, shift) in [("real", 0, 0), ("fake", FAKE_SIGNATURES, 1), ("open", PERMISSIVE, 3)] {
            let slow = [
                AlgorithmSuite::Aes192GcmIv12Tag16HkdfSha384EcdsaP384,
                AlgorithmSuite::Aes256GcmIv12Tag16HkdfSha384EcdsaP384,
            ];
            if provider == "real" && slow.contains(&suite) {
                continue;
            }
            let number = usize::from(index) + shift;
            let (frame_length, length, shape) = shapes[number % shapes.len()];
            let parts: [&[u8]; 7] = [
                &[index, shape | options],
                &(frame_length - 1).to_le_bytes(),
                &length.to_le_bytes(),
                &[number as u8],
                // Splitting this many bytes one by one would be too slow for a seed.
                &PATTERNS[if length > 1000 { 2 } else { number % 3 }],
                &PATTERNS[if length > 1000 { 2 } else { number / 2 % 3 }],
                contexts[number % 3].as_bytes(),
            ];
            write("round_trip", &format!("{provider}-{:04x}", suite.id()), &parts)?;
        }
    }
    Ok(())
}

fn provider_seeds() -> Outcome<()> {
    use providers::{MESSAGE, PRIMITIVES, SIGNATURE};
    for suite in AlgorithmSuite::ALL {
        let sealed = message(real(), &FixedKey, suite, 9, b"some text that is longer", suite.is_signed())?;
        write("providers", &format!("good-message-{:04x}", suite.id()), &[&[MESSAGE], &sealed])?;
    }
    let signers: [(&str, &dyn CryptoProvider); 2] = [("rustcrypto", &RustCrypto), ("aws-lc-rs", &AwsLcRs)];
    for (signer, provider) in signers {
        for (curve, algorithm) in [(0, SignatureAlgorithm::EcdsaP256), (1, SignatureAlgorithm::EcdsaP384)] {
            let key = provider.generate_signing_key(algorithm)?;
            let mut digest = provider.digest(algorithm.hash());
            digest.update(&[7]);
            let signature = key.sign_digest(&digest.finish())?;
            let put = |name: &str, public_key: &[u8], signature: &[u8]| {
                let name = format!("{name}-{signer}-{curve}");
                write("providers", &name, &[&[SIGNATURE, curve], public_key, &[7], signature])
            };
            put("good-signature", key.public_key(), &signature)?;
            put("bad-trailing", key.public_key(), &[&signature[..], &[0]].concat())?;
            put("bad-long-form", key.public_key(), &[&[0x30, 0x81], &signature[1..]].concat())?;
            put("bad-point", &vec![2; algorithm.public_key_length()], &signature)?;
        }
    }
    for (kind, length) in [(0_u8, 16), (1, 24), (2, 32)] {
        let (key, iv, aad, mut text) = (vec![KEY_BYTE; length], [3; 12], b"associated data", b"some text".to_vec());
        let tag = RustCrypto.aes_gcm(&key)?.seal_in_place(&iv, aad, &mut text)?;
        let lengths = [PRIMITIVES, kind, u8::try_from(aad.len())?];
        let put = |name: &str, tag: &[u8]| {
            write("providers", &format!("{name}-{length}"), &[&lengths, &key, &iv, tag, aad, &text])
        };
        put("good-aes", &tag)?;
        put("bad-aes", &[0; 16])?;
    }
    Ok(())
}

/// From the test vectors of `sealwax-object-store`.
fn s3ec_seeds() -> Outcome<()> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/s3ec.json");
    let vectors: Vec<serde_json::Value> = serde_json::from_slice(&fs::read(path)?)?;
    for vector in vectors.iter().filter(|vector| vector["kind"] == "aes") {
        let name = vector["name"].as_str().ok_or("a name")?;
        if !name.contains("256 bits") || name.contains("1000 bytes") {
            continue;
        }
        let file = vector["instruction"].as_object().map(|file| format!("{}\n\n", serde_json::json!(file)));
        let mut head = String::new();
        for (name, value) in vector["metadata"].as_object().ok_or("metadata")? {
            head.push_str(&format!("{name} {}\n", value.as_str().ok_or("a value")?));
        }
        let object = BASE64_STANDARD.decode(vector["object"].as_str().ok_or("an object")?)?;
        let options = [if file.is_some() { FILE } else { 0 }];
        let file = file.unwrap_or_default();
        let head = if head.is_empty() { "\n".to_owned() } else { head };
        let put = |kind: &str, object: &[u8]| {
            let name = name.replace([',', ' '], "");
            write("s3ec", &format!("{kind}-{name}"), &[&options, head.as_bytes(), b"\n", file.as_bytes(), object])
        };
        put("good", &object)?;
        if name.contains("17 bytes") {
            put("bad", &object[..object.len() - 1])?;
        }
    }
    Ok(())
}
