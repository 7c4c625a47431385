//! What a message must be refused for, attack by attack, and what implementers of the format get wrong, line by line.
//!
//! The hostile messages come from a second writer that shares no code with the crate, and are authentic but for the
//! fault in question.
#![cfg(feature = "rustcrypto")]

mod forge;

use std::{
    collections::{BTreeSet, HashSet},
    io::{Read, Write},
    pin::pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use forge::{
    Curve, FINAL_LABEL, FINAL_MARK, Fixed, Forge, PROVIDER_ID, PUBLIC_KEY, REGULAR_LABEL, UNFRAMED_LABEL, Unasked, der,
    footer, iv_of, serialize_context,
    ways::{Outcome, Reading, reads_all, writes_v1},
};
use sealwax::{
    AlgorithmSuite, Client, CommitmentPolicy, ContextError, Decrypted, Direction, EncryptedDataKey, EncryptionContext,
    Error, FormatError, Header, HeaderDecoder, LimitError, Result, SecretBytes, UnwrapFailure, UnwrapReason,
    crypto::{
        AeadKey, CryptoProvider, Digest, Expand, HashAlgorithm, Iv, RustCrypto, SignatureAlgorithm, SigningKey, Tag,
        VerifyingKey,
    },
    keyring::{BoxFuture, Keyring, MultiKeyring, RawAesKeyring, UnwrapRequest, Unwrapped, WrapRequest, Wrapped},
    materials::{
        DecryptionMaterials, DecryptionRequest, DefaultMaterialsManager, EncryptionMaterials, EncryptionRequest,
        MaterialsManager,
    },
};

/// Three frames of five bytes and a rest of two.
const TEXT: &[u8] = b"0123456789abcdefg";
/// What of it may be released before the final frame.
const REGULAR: &[u8] = b"0123456789abcde";
/// Version 1 and 2, unsigned and signed.
const FOUR: [u16; 4] = [0x0178, 0x0378, 0x0478, 0x0578];
const SIGNED: [u16; 4] = [0x0214, 0x0346, 0x0378, 0x0578];
const NO_CONTEXT: &EncryptionContext = &EncryptionContext::new();

/// Reads with the right data key and any policy that reads.
fn reading<'a>(client: &'a Client, keyring: &'a dyn Keyring) -> Reading<'a> {
    Reading { client, keyring, context: NO_CONTEXT }
}

#[track_caller]
fn accepts(forge: &Forge, message: &[u8], plaintext: &[u8]) {
    reading(&reads_all(), &forge.keyring()).accepts(message, plaintext);
}

#[track_caller]
fn refuses(forge: &Forge, message: &[u8], before: &[u8], expected: impl Fn(&Error) -> bool) {
    reading(&reads_all(), &forge.keyring()).refuses(message, before, expected);
}

/// Refused before any keyring is asked.
#[track_caller]
fn refuses_unasked(message: &[u8], expected: impl Fn(&Error) -> bool) {
    reading(&reads_all(), &Unasked).refuses(message, b"", expected);
}

fn is_integrity(error: &Error) -> bool {
    matches!(error, Error::Integrity)
}

fn is_format(expected: FormatError) -> impl Fn(&Error) -> bool {
    move |error| matches!(error, Error::Format(found) if *found == expected)
}

fn is_limit(expected: LimitError) -> impl Fn(&Error) -> bool {
    move |error| matches!(error, Error::Limit(found) if *found == expected)
}

/// An operation that is ready at once.
fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a local operation was not ready at once"),
    }
}

#[test]
fn the_second_writer_agrees_with_the_library() {
    for suite in AlgorithmSuite::ALL {
        let forge = Forge::new(suite.id());
        for length in [0, 1, 4, 5, 6, 10, 17] {
            accepts(&forge, &forge.message(&TEXT[..length]), &TEXT[..length]);
        }
        accepts(&forge, &forge.unframed_message(TEXT), TEXT);
        accepts(&forge, &forge.unframed_message(b""), b"");
    }
}

// Watching the primitives.

/// Something that was sealed.
struct Sealed {
    key: Vec<u8>,
    iv: Iv,
    aad: Vec<u8>,
}

/// A call to HKDF.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Derived {
    hash: HashAlgorithm,
    salt: Vec<u8>,
    key: Vec<u8>,
    infos: Vec<Vec<u8>>,
}

#[derive(Default)]
struct Log {
    sealed: Vec<Sealed>,
    /// How often something was to be opened.
    opened: usize,
    derived: Vec<Derived>,
}

/// The usual primitives, with a record of how they were used.
#[derive(Clone, Default)]
struct Watched(Arc<Mutex<Log>>);

impl std::fmt::Debug for Watched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watched")
    }
}

struct WatchedKey {
    key: Vec<u8>,
    inner: Box<dyn AeadKey>,
    log: Watched,
}

impl AeadKey for WatchedKey {
    fn seal_in_place(&self, iv: &Iv, aad: &[u8], text: &mut [u8]) -> Result<Tag> {
        let sealed = Sealed { key: self.key.clone(), iv: *iv, aad: aad.to_vec() };
        self.log.0.lock().unwrap().sealed.push(sealed);
        self.inner.seal_in_place(iv, aad, text)
    }

    fn open_in_place(&self, iv: &Iv, aad: &[u8], text: &mut [u8], tag: &Tag) -> Result<()> {
        self.log.0.lock().unwrap().opened += 1;
        self.inner.open_in_place(iv, aad, text, tag)
    }
}

impl CryptoProvider for Watched {
    fn random(&self, out: &mut [u8]) -> Result<()> {
        RustCrypto.random(out)
    }

    fn aes_gcm(&self, key: &[u8]) -> Result<Box<dyn AeadKey>> {
        Ok(Box::new(WatchedKey { key: key.to_vec(), inner: RustCrypto.aes_gcm(key)?, log: self.clone() }))
    }

    fn hkdf(&self, hash: HashAlgorithm, salt: &[u8], key: &[u8], outputs: &mut [Expand<'_>]) -> Result<()> {
        let infos = outputs.iter().map(|output| output.info.concat()).collect();
        self.0.lock().unwrap().derived.push(Derived { hash, salt: salt.to_vec(), key: key.to_vec(), infos });
        RustCrypto.hkdf(hash, salt, key, outputs)
    }

    fn digest(&self, hash: HashAlgorithm) -> Box<dyn Digest> {
        RustCrypto.digest(hash)
    }

    fn generate_signing_key(&self, algorithm: SignatureAlgorithm) -> Result<Arc<dyn SigningKey>> {
        RustCrypto.generate_signing_key(algorithm)
    }

    fn verifying_key(&self, algorithm: SignatureAlgorithm, compressed: &[u8]) -> Result<Arc<dyn VerifyingKey>> {
        RustCrypto.verifying_key(algorithm, compressed)
    }
}

// Messages.

#[test]
fn attack_1_a_commitment_mismatch_is_refused_before_anything_is_opened() {
    for suite in [0x0478, 0x0578] {
        let forge = Forge::new(suite);
        let message = forge.message(TEXT);
        // A keyring that gives another key of the right length, as one of two recipients with different keys would get.
        let watched = Watched::default();
        let client = Client::builder_with_provider(watched.clone()).build();
        reading(&client, &Fixed(vec![0x43; 32])).refuses(&message, b"", is_integrity);
        assert_eq!(watched.0.lock().unwrap().opened, 0);

        // A commitment that is not that of the key, under a header tag that holds.
        let body = forge.header_body();
        let mut other = body.clone();
        *other.last_mut().unwrap() ^= 1;
        let tag = forge.seal([0; 12], &other, &[]);
        let altered = [&other[..], &tag, &message[body.len() + 16..]].concat();
        reading(&client, &forge.keyring()).refuses(&altered, b"", is_integrity);
        assert_eq!(watched.0.lock().unwrap().opened, 0);
        reading(&client, &forge.keyring()).accepts(&message, TEXT);
    }
}

#[test]
fn attack_2_a_message_without_commitment_is_refused_before_any_unwrapping() {
    for suite in AlgorithmSuite::ALL.into_iter().filter(|suite| !suite.is_committing()) {
        let message = Forge::new(suite.id()).message(TEXT);
        reading(&Client::new(), &Unasked).refuses(&message, b"", |error| {
            matches!(error, Error::Commitment { suite: found, operation: Direction::Decrypt, .. } if *found == suite)
        });
        // No manager is asked either.
        let refused = Client::new().decrypt_with(&UnaskedManager).bytes(&message).wait();
        assert!(matches!(refused, Err(Error::Commitment { operation: Direction::Decrypt, .. })), "{suite}");
    }
}

/// A manager that must not be asked.
struct UnaskedManager;

impl MaterialsManager for UnaskedManager {
    fn encryption_materials<'a>(&'a self, _: EncryptionRequest<'a>) -> BoxFuture<'a, Result<EncryptionMaterials>> {
        panic!("asked for materials to encrypt with")
    }

    fn decryption_materials<'a>(&'a self, _: DecryptionRequest<'a>) -> BoxFuture<'a, Result<DecryptionMaterials>> {
        panic!("asked for materials to decrypt with")
    }
}

/// A manager that alters what the default one gives.
struct Altered<E, D> {
    inner: DefaultMaterialsManager<Fixed>,
    encryption: E,
    decryption: D,
}

impl<E, D> MaterialsManager for Altered<E, D>
where
    E: Fn(&mut EncryptionMaterials) + Send + Sync,
    D: Fn(&mut DecryptionMaterials) + Send + Sync,
{
    fn encryption_materials<'a>(
        &'a self,
        request: EncryptionRequest<'a>,
    ) -> BoxFuture<'a, Result<EncryptionMaterials>> {
        Box::pin(async move {
            let mut materials = self.inner.encryption_materials(request).await?;
            (self.encryption)(&mut materials);
            Ok(materials)
        })
    }

    fn decryption_materials<'a>(
        &'a self,
        request: DecryptionRequest<'a>,
    ) -> BoxFuture<'a, Result<DecryptionMaterials>> {
        Box::pin(async move {
            let mut materials = self.inner.decryption_materials(request).await?;
            (self.decryption)(&mut materials);
            Ok(materials)
        })
    }
}

fn altered_decryption(forge: &Forge, work: impl Fn(&mut DecryptionMaterials) + Send + Sync) -> impl MaterialsManager {
    Altered { inner: DefaultMaterialsManager::new(forge.keyring()), encryption: |_: &mut _| {}, decryption: work }
}

fn altered_encryption(forge: &Forge, work: impl Fn(&mut EncryptionMaterials) + Send + Sync) -> impl MaterialsManager {
    Altered { inner: DefaultMaterialsManager::new(forge.keyring()), encryption: work, decryption: |_: &mut _| {} }
}

#[test]
fn attack_3_materials_of_another_suite_are_refused() {
    let pairs = [(0x0178, 0x0078), (0x0078, 0x0178), (0x0114, 0x0178), (0x0478, 0x0578), (0x0378, 0x0178)];
    for (found, given) in pairs {
        let forge = Forge::new(found);
        let message = forge.message(TEXT);
        let manager = altered_decryption(&forge, |materials| materials.suite = AlgorithmSuite::from_id(given).unwrap());
        let refused = reads_all().decrypt_with(&manager).bytes(&message).wait();
        assert!(matches!(refused, Err(Error::Materials(_))), "{found:#x} {given:#x}");
        let refused = reads_all().decrypt_with(&manager).reader_unverified(&message[..]).wait();
        assert!(matches!(refused, Err(Error::Materials(_))), "{found:#x} {given:#x}");
        let mut sink = Vec::new();
        let refused = reads_all().decrypt_with(&manager).writer_unverified(&mut sink).write_all(&message);
        assert!(matches!(refused.map_err(Error::from), Err(Error::Materials(_))), "{found:#x} {given:#x}");
        assert!(sink.is_empty());
    }

    // A suite that the policy forbids does not come in through the materials either, on either side.
    let forge = Forge::new(0x0478);
    let message = forge.message(TEXT);
    let manager = altered_decryption(&forge, |materials| materials.suite = AlgorithmSuite::from_id(0x0178).unwrap());
    let refused = Client::new().decrypt_with(&manager).bytes(&message).wait();
    assert!(matches!(refused, Err(Error::Commitment { operation: Direction::Decrypt, .. })));
    let manager = altered_encryption(&forge, |materials| materials.suite = AlgorithmSuite::from_id(0x0178).unwrap());
    let unsigned = AlgorithmSuite::Aes256GcmHkdfSha512CommitKey;
    let refused = Client::new().encrypt_with(&manager).suite(unsigned).bytes(TEXT).wait();
    assert!(matches!(refused, Err(Error::Commitment { operation: Direction::Encrypt, .. })));
}

#[test]
fn attack_3_materials_that_do_not_fit_are_refused() {
    let materials_error = |outcome: Result<_>| matches!(outcome, Err(Error::Materials(_)));
    let forge = Forge::new(0x0578);
    let message = forge.message(TEXT);
    let short_key = altered_decryption(&forge, |materials| materials.data_key = SecretBytes::zeroed(16));
    let no_verifier = altered_decryption(&forge, |materials| materials.verifying_key = None);
    let stray_required = altered_decryption(&forge, |materials| {
        materials.required_context_keys.insert("nowhere".into());
    });
    assert!(materials_error(Client::new().decrypt_with(&short_key).bytes(&message).wait().map(|_| ())));
    assert!(materials_error(Client::new().decrypt_with(&no_verifier).bytes(&message).wait().map(|_| ())));
    assert!(materials_error(Client::new().decrypt_with(&stray_required).bytes(&message).wait().map(|_| ())));

    let short_key = altered_encryption(&forge, |materials| materials.data_key = SecretBytes::zeroed(16));
    let no_keys = altered_encryption(&forge, |materials| materials.encrypted_data_keys.clear());
    let no_signer = altered_encryption(&forge, |materials| materials.signing_key = None);
    let other_signer = altered_encryption(&forge, |materials| {
        materials.signing_key = Some(RustCrypto.generate_signing_key(SignatureAlgorithm::EcdsaP384).unwrap());
    });
    let no_public_key = altered_encryption(&forge, |materials| {
        materials.context.remove(PUBLIC_KEY);
    });
    let stray_required = altered_encryption(&forge, |materials| {
        materials.required_context_keys.insert("nowhere".into());
    });
    let managers: [&dyn MaterialsManager; 6] =
        [&short_key, &no_keys, &no_signer, &other_signer, &no_public_key, &stray_required];
    for (index, manager) in managers.into_iter().enumerate() {
        assert!(materials_error(Client::new().encrypt_with(manager).bytes(TEXT).wait().map(|_| ())), "{index}");
    }
}

/// The message with one bit of its signature changed.
fn with_a_bad_signature(mut message: Vec<u8>) -> Vec<u8> {
    *message.last_mut().unwrap() ^= 1;
    message
}

#[test]
fn attack_4_the_final_frame_is_held_until_the_signature_holds() {
    for suite in SIGNED {
        let forge = Forge::new(suite);
        refuses(&forge, &with_a_bad_signature(forge.message(TEXT)), REGULAR, is_integrity);
        // An unframed body is held as a whole, and so is a message of a single frame.
        refuses(&forge, &with_a_bad_signature(forge.unframed_message(TEXT)), b"", is_integrity);
        refuses(&forge, &with_a_bad_signature(forge.message(&TEXT[..5])), b"", is_integrity);
        // A footer that is cut off or missing counts no more than a bad one.
        let message = forge.message(TEXT);
        let is_truncated = |error: &Error| matches!(error, Error::Format(FormatError::Truncated));
        refuses(&forge, &message[..message.len() - 1], REGULAR, is_truncated);
        let unsigned = [forge.header(), forge.frames(TEXT).concat()].concat();
        refuses(&forge, &unsigned, REGULAR, is_truncated);
    }
}

#[test]
fn attack_4_a_stream_of_a_signed_message_is_refused_before_any_unwrapping() {
    let client = reads_all();
    for suite in SIGNED {
        let forge = Forge::new(suite);
        for message in [forge.message(TEXT), forge.unframed_message(TEXT)] {
            let refused = client.decrypt(&Unasked).reader(&message[..]).wait().map(|_| ());
            assert!(matches!(refused, Err(Error::SignedStream)), "{suite:#x}");

            let mut sink = Vec::new();
            let mut writer = client.decrypt(&Unasked).writer(&mut sink);
            let refused = writer.write_all(&message).map_err(Error::from);
            assert!(matches!(refused, Err(Error::SignedStream)), "{suite:#x}");
            assert!(matches!(writer.write(b"x").map_err(Error::from), Err(Error::Ended)));
            assert!(matches!(writer.finish().map(|_| ()), Err(Error::Ended)));
            assert!(sink.is_empty());

            let (received, _) = HeaderDecoder::new().decode(&message).unwrap();
            let refused = client.decrypt(&Unasked).machine(received).wait().map(|_| ());
            assert!(matches!(refused, Err(Error::SignedStream)), "{suite:#x}");
        }
    }
    // The same calls take an unsigned one.
    let forge = Forge::new(0x0478);
    let (keyring, message) = (forge.keyring(), forge.message(TEXT));
    let mut text = Vec::new();
    client.decrypt(&keyring).reader(&message[..]).wait().unwrap().read_to_end(&mut text).unwrap();
    let mut writer = client.decrypt(&keyring).writer(Vec::new());
    writer.write_all(&message).unwrap();
    assert_eq!((&text[..], &writer.finish().unwrap().sink[..]), (TEXT, TEXT));
}

/// Signed messages below and above what a verified copy keeps in memory.
#[cfg(feature = "fs")]
fn signed_messages() -> Vec<(RawAesKeyring, Vec<u8>, Vec<u8>)> {
    [0, 1, 100_000, (1 << 20) + 300_000]
        .into_iter()
        .map(|length| {
            let plaintext: Vec<u8> = (0..length).map(|at: u32| (at % 251) as u8).collect();
            let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32]).unwrap();
            let message = Client::new().encrypt(&keyring).bytes(&plaintext).wait().unwrap().message;
            (keyring, plaintext, message)
        })
        .collect()
}

#[cfg(feature = "fs")]
#[test]
fn attack_4_a_copy_releases_nothing_of_a_signed_message_before_its_signature_holds() {
    let client = Client::new();
    for (keyring, plaintext, message) in signed_messages() {
        let mut sink = Vec::new();
        client.decrypt(&keyring).copy(&message[..], &mut sink).wait().unwrap();
        assert!(sink == plaintext);

        let cut = message[..message.len() - 1].to_vec();
        let longer = [&message[..], b"x"].concat();
        for bad in [with_a_bad_signature(message), cut, longer] {
            let mut sink = Vec::new();
            assert!(client.decrypt(&keyring).copy(&bad[..], &mut sink).wait().is_err());
            assert!(sink.is_empty(), "{} bytes were released", sink.len());
        }
    }
    // An unframed signed message takes the same way.
    let forge = Forge::new(0x0578);
    let message = forge.unframed_message(TEXT);
    let mut sink = Vec::new();
    client.decrypt(&forge.keyring()).copy(&message[..], &mut sink).wait().unwrap();
    assert_eq!(sink, TEXT);
    let bad = with_a_bad_signature(message);
    let mut sink = Vec::new();
    let refused = client.decrypt(&forge.keyring()).copy(&bad[..], &mut sink).wait();
    assert!(matches!(refused, Err(Error::Integrity)) && sink.is_empty());
}

#[cfg(not(feature = "fs"))]
#[test]
fn attack_4_without_temporary_files_a_copy_of_a_signed_message_is_refused() {
    let mut sink = Vec::new();
    let message = Forge::new(0x0578).message(TEXT);
    let refused = Client::new().decrypt(&Unasked).copy(&message[..], &mut sink).wait();
    assert!(matches!(refused, Err(Error::SignedStream)) && sink.is_empty());
}

#[cfg(feature = "fs")]
#[test]
fn attack_4_a_file_appears_only_once_the_signature_holds() {
    let client = Client::new();
    for (keyring, plaintext, message) in signed_messages() {
        let folder = tempfile::tempdir().unwrap();
        let (sealed, target) = (folder.path().join("sealed"), folder.path().join("target"));
        let names = || {
            let entries = std::fs::read_dir(folder.path()).unwrap();
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<BTreeSet<_>>()
        };
        std::fs::write(&sealed, with_a_bad_signature(message.clone())).unwrap();
        let refused = client.decrypt(&keyring).file(&sealed, &target).wait();
        assert!(matches!(refused, Err(Error::Integrity)), "{refused:?}");
        assert_eq!(names(), BTreeSet::from(["sealed".to_owned()]));

        // An existing target is as it was.
        std::fs::write(&target, "before").unwrap();
        let refused = client.decrypt(&keyring).overwrite().file(&sealed, &target).wait();
        assert!(matches!(refused, Err(Error::Integrity)), "{refused:?}");
        assert_eq!(std::fs::read(&target).unwrap(), b"before");
        assert_eq!(names().len(), 2);

        std::fs::write(&sealed, &message).unwrap();
        client.decrypt(&keyring).overwrite().file(&sealed, &target).wait().unwrap();
        assert!(std::fs::read(&target).unwrap() == plaintext);
        assert_eq!(names().len(), 2);
    }
}

#[test]
fn attack_5_the_limit_on_encrypted_data_keys_acts_on_their_count() {
    for suite in FOUR {
        let mut forge = Forge::new(suite);
        forge.key_count = 65_535;
        // Nothing follows the count.
        let refused = HeaderDecoder::new().push(&forge.header_to_key_count()).map(|_| ());
        let expected =
            |error: &Error| matches!(error, Error::Limit(LimitError::EncryptedDataKeys { limit: 64, found: 65_535 }));
        assert!(expected(&refused.unwrap_err()));
        refuses_unasked(&forge.header_to_key_count(), expected);

        forge.key_count = 0;
        let refused = HeaderDecoder::new().push(&forge.header_to_key_count()).map(|_| ());
        assert!(matches!(refused, Err(Error::Format(FormatError::NoEncryptedDataKeys))));
        forge.keys.clear();
        refuses_unasked(&forge.message(TEXT), |error| matches!(error, Error::Format(FormatError::NoEncryptedDataKeys)));
    }
}

#[test]
fn attack_5_the_limit_on_encrypted_data_keys_is_the_clients() {
    let mut forge = Forge::new(0x0478);
    let key = forge.keys[0].clone();
    forge.keys = vec![key.clone(); 4];
    forge.key_count = 4;
    let message = forge.message(TEXT);
    let three = Client::builder().max_encrypted_data_keys(3).build();
    reading(&three, &Unasked).refuses(&message, b"", |error| {
        matches!(error, Error::Limit(LimitError::EncryptedDataKeys { limit: 3, found: 4 }))
    });
    let four = Client::builder().max_encrypted_data_keys(4).build();
    reading(&four, &forge.keyring()).accepts(&message, TEXT);

    // A header that another decoder has read.
    let (received, _) = HeaderDecoder::new().decode(&message).unwrap();
    let refused = three.decrypt(&Unasked).machine_unverified(received).wait().map(|_| ());
    assert!(matches!(refused, Err(Error::Limit(LimitError::EncryptedDataKeys { limit: 3, found: 4 }))));

    // All that the format has, where the caller wants it so.
    forge.keys = vec![Default::default(); 65_535];
    forge.keys[65_534] = key;
    forge.key_count = 65_535;
    let all = Client::builder().max_encrypted_data_keys(65_535).build();
    let opened = all.decrypt(&forge.keyring()).bytes(&forge.message(TEXT)).wait().unwrap();
    assert_eq!((&opened.plaintext[..], opened.opened_by.encrypted_data_key), (TEXT, 65_534));

    // On encrypt too.
    let raw = |name: &str| RawAesKeyring::new("example", name, vec![7; 32]).unwrap();
    let many = MultiKeyring::new(raw("1")).child(raw("2")).child(raw("3")).child(raw("4"));
    let refused = three.encrypt(&many).bytes(TEXT).wait();
    assert!(matches!(refused, Err(Error::Limit(LimitError::EncryptedDataKeys { limit: 3, found: 4 }))));
    assert!(four.encrypt(&many).bytes(TEXT).wait().is_ok());
}

#[test]
fn attack_6_signatures_that_are_none_are_refused() {
    for suite in [0x0214, 0x0578] {
        let forge = Forge::new(suite);
        let curve = forge.signs().unwrap();
        let unsigned = [forge.header(), forge.frames(TEXT).concat()].concat();
        let (r, s) = curve.sign(&unsigned);
        let (order, zero) = (curve.order(), vec![0]);
        let mut above = order.clone();
        *above.last_mut().unwrap() += 1;
        let all_ones = vec![0xff; curve.length()];
        let good = der(&r, &s);
        let mut bad = vec![
            der(&zero, &s),
            der(&r, &zero),
            der(&zero, &zero),
            der(&order, &s),
            der(&r, &order),
            der(&order, &order),
            der(&above, &s),
            der(&r, &above),
            der(&all_ones, &s),
            der(&r, &all_ones),
            der(&[1], &[1]),
            // The halves swapped.
            der(&s, &r),
            // Nothing, or no sequence of two integers.
            vec![],
            vec![0x30, 0],
            good[..good.len() - 1].to_vec(),
            [&[0x31], &good[1..]].concat(),
            [&[0x30, good[1], 3], &good[3..]].concat(),
        ];
        // A length in its long form, a leading zero too many, a byte after the end: not the one DER form.
        bad.push([&[0x30, 0x81], &good[1..]].concat());
        let padded_r = [&[2, r.len() as u8 + 2, 0, 0], &r[..]].concat();
        let s_alone = &good[2 + usize::from(good[3]) + 2..];
        bad.push([&[0x30, (padded_r.len() + s_alone.len()) as u8], &padded_r[..], s_alone].concat());
        bad.push([&good[..], &[0]].concat());
        bad.push([&[0x30, good[1] + 1], &good[2..], &[0]].concat());
        // Two plain numbers without DER.
        bad.push([&r[..], &s].concat());
        for (index, signature) in bad.iter().enumerate() {
            let message = [&unsigned[..], &footer(signature)].concat();
            refuses(&forge, &message, REGULAR, |error| match error {
                Error::Integrity => true,
                // More bytes than any signature of the curve has are refused by their number.
                Error::Format(FormatError::SignatureLength(found)) => {
                    usize::from(*found) == signature.len() && signature.len() > 2 * curve.length() + 8
                }
                other => panic!("{index}: {other:?}"),
            });
        }
        accepts(&forge, &[&unsigned[..], &footer(&good)].concat(), TEXT);
    }
}

#[test]
fn attack_6_high_s_and_shorter_der_are_accepted() {
    for suite in [0x0214, 0x0578] {
        let mut forge = Forge::new(suite);
        let curve = forge.signs().unwrap();
        let (mut lengths, full) = (BTreeSet::new(), 2 * curve.length() + 8);
        // Both forms of s, and both lengths of r.
        for id in 0.. {
            forge.message_id[0] = id;
            let unsigned = [forge.header(), forge.frames(TEXT).concat()].concat();
            let (r, s) = curve.sign(&unsigned);
            for s in [curve.negate(&s), s] {
                let signature = der(&r, &s);
                if lengths.insert(signature.len()) {
                    accepts(&forge, &[&unsigned[..], &footer(&signature)].concat(), TEXT);
                }
            }
            if [full - 2, full - 1, full].iter().all(|length| lengths.contains(length)) {
                break;
            }
        }
    }
}

#[test]
fn attack_7_frames_out_of_place_are_refused() {
    let number = |expected, found| is_format(FormatError::SequenceNumber { expected, found });
    for suite in FOUR {
        let forge = Forge::new(suite);
        let [a, b, c, last] = forge.frames(TEXT).try_into().unwrap();
        let body = |pieces: &[&Vec<u8>]| forge.with_body(&pieces.iter().copied().cloned().collect::<Vec<_>>());
        // Reordered, dropped, duplicated; the signature holds over each of these.
        refuses(&forge, &body(&[&b, &a, &c, &last]), b"", number(1, 2));
        refuses(&forge, &body(&[&a, &c, &b, &last]), &TEXT[..5], number(2, 3));
        refuses(&forge, &body(&[&b, &c, &last]), b"", number(1, 2));
        refuses(&forge, &body(&[&a, &b, &last]), &TEXT[..10], number(3, 4));
        refuses(&forge, &body(&[&last]), b"", number(1, 4));
        refuses(&forge, &body(&[&a, &a, &b, &c, &last]), &TEXT[..5], number(2, 1));
        refuses(&forge, &body(&[&a, &b, &c, &c, &last]), REGULAR, number(4, 3));
        // Numbers that the format does not have: frames count from 1.
        let zero = forge.regular(0, &TEXT[..5]);
        refuses(&forge, &body(&[&zero, &a, &b, &c, &last]), b"", number(1, 0));
        let far = forge.last(u32::MAX, &TEXT[15..]);
        refuses(&forge, &body(&[&a, &b, &c, &far]), REGULAR, number(4, u32::MAX));

        // Frame 2 under the number of frame 1.
        let mut renumbered = b.clone();
        renumbered[..4].copy_from_slice(&a[..4]);
        refuses(&forge, &body(&[&renumbered, &b, &c, &last]), b"", is_integrity);
        renumbered[4..16].copy_from_slice(&a[4..16]);
        refuses(&forge, &body(&[&renumbered, &b, &c, &last]), b"", is_integrity);

        // The same place of another message, of the same data key or of the same id.
        let mut other_id = forge.clone();
        other_id.message_id[0] ^= 1;
        let other_key = Forge { data_key: vec![0x43; 32], ..forge.clone() };
        for other in [other_id, other_key] {
            let [_, foreign, _, foreign_last] = other.frames(TEXT).try_into().unwrap();
            refuses(&forge, &body(&[&a, &foreign, &c, &last]), &TEXT[..5], is_integrity);
            refuses(&forge, &body(&[&a, &b, &c, &foreign_last]), REGULAR, is_integrity);
        }
    }
}

#[test]
fn attack_8_a_message_ends_where_it_ends() {
    for suite in FOUR {
        let forge = Forge::new(suite);
        let signed = forge.signs().is_some();
        let frames = forge.frames(TEXT);
        let is_truncated = |error: &Error| matches!(error, Error::Format(FormatError::Truncated));
        // No final frame; where a footer would be, its bytes are a frame that does not end.
        let open = [forge.header(), frames[..3].concat()].concat();
        refuses(&forge, &open, REGULAR, is_truncated);
        refuses(&forge, &forge.header(), b"", is_truncated);
        refuses(&forge, &[&open[..], &FINAL_MARK].concat(), REGULAR, is_truncated);
        refuses(&forge, b"", b"", is_truncated);

        let held = if signed { REGULAR } else { TEXT };
        let is_trailing = |error: &Error| matches!(error, Error::Format(FormatError::TrailingBytes));
        let message = forge.message(TEXT);
        refuses(&forge, &[&message[..], &[0]].concat(), held, is_trailing);
        refuses(&forge, &[&message[..], &message].concat(), held, is_trailing);
        let unframed = forge.unframed_message(TEXT);
        refuses(&forge, &[&unframed[..], &[0]].concat(), if signed { b"" } else { TEXT }, is_trailing);

        // A second final frame, which is authentic, and signed if anything is.
        for second in [forge.last(5, b"more"), forge.last(4, b"more")] {
            let mut pieces = frames.clone();
            pieces.push(second);
            refuses(&forge, &forge.with_body(&pieces), held, |error| match error {
                Error::Format(FormatError::TrailingBytes) => !signed,
                // It starts with FF FF where the length of the signature stands.
                Error::Format(FormatError::SignatureLength(0xffff)) => signed,
                _ => false,
            });
        }
    }
}

#[test]
fn attack_9_the_kind_of_a_frame_is_authenticated() {
    for suite in FOUR {
        let forge = Forge::new(suite);
        let frames = forge.frames(TEXT);
        // A regular frame in the form of the final one, and cut short there: the text would lose its end.
        let regular = &frames[1];
        let as_final = [&FINAL_MARK[..], &regular[..16], &5_u32.to_be_bytes(), &regular[16..]].concat();
        refuses(&forge, &forge.with_body(&[frames[0].clone(), as_final]), &TEXT[..5], is_integrity);
        // A full final frame in the form of a regular one: the text would go on.
        let full = forge.last(1, &TEXT[..5]);
        let as_regular = [&full[4..20], &full[24..]].concat();
        let pieces = [as_regular, forge.last(2, b"more")];
        refuses(&forge, &forge.with_body(&pieces), b"", is_integrity);
        // An unframed body in the form of a final frame.
        let block = forge.unframed(&TEXT[..5]);
        let as_final =
            [&FINAL_MARK[..], &1_u32.to_be_bytes(), &block[..12], &5_u32.to_be_bytes(), &block[20..]].concat();
        refuses(&forge, &forge.with_body(&[as_final]), b"", is_integrity);
        // The length is authenticated with each piece.
        let aad = [&forge.message_id[..], FINAL_LABEL, &1_u32.to_be_bytes(), &6_u64.to_be_bytes()].concat();
        let sealed = forge.seal(iv_of(1), &aad, &TEXT[..5]);
        let other_length = [&FINAL_MARK[..], &1_u32.to_be_bytes(), &iv_of(1), &5_u32.to_be_bytes(), &sealed].concat();
        refuses(&forge, &forge.with_body(&[other_length]), b"", is_integrity);
    }
}

#[test]
fn attack_9_a_final_frame_longer_than_frames_is_refused_at_its_length() {
    for suite in FOUR {
        let forge = Forge::new(suite);
        let expected = |found| is_format(FormatError::FinalFrameLength { frame_length: 5, found });
        refuses(&forge, &forge.with_body(&[forge.last(1, &TEXT[..6])]), b"", expected(6));
        // Not a byte of content is needed to see it.
        let declared = [&FINAL_MARK[..], &1_u32.to_be_bytes(), &iv_of(1), &[0xff; 4]].concat();
        refuses(&forge, &[forge.header(), declared].concat(), b"", expected(u32::MAX));
    }
}

#[test]
fn attack_10_the_frame_length_goes_with_the_content_type() {
    for suite in FOUR {
        let is_frame_length =
            |found| move |error: &Error| matches!(error, Error::Format(FormatError::FrameLength(f)) if *f == found);
        let framed = Forge { frame_length: 0, ..Forge::new(suite) };
        refuses_unasked(&framed.with_body(&[framed.last(1, b"")]), is_frame_length(0));
        let unframed = Forge { content_type: 1, frame_length: 5, ..Forge::new(suite) };
        refuses_unasked(&unframed.with_body(&[unframed.unframed(&TEXT[..5])]), is_frame_length(5));
        for content_type in [0, 3, 0xff] {
            let unknown = Forge { content_type, ..Forge::new(suite) };
            refuses_unasked(
                &unknown.message(TEXT),
                |error| matches!(error, Error::Format(FormatError::ContentType(found)) if *found == content_type),
            );
        }
    }
}

#[test]
fn attack_10_an_unframed_body_longer_than_aes_gcm_carries_is_refused_first() {
    let most: u64 = (1 << 36) - 32;
    for suite in FOUR {
        let forge = Forge { content_type: 1, frame_length: 0, ..Forge::new(suite) };
        for length in [most + 1, u64::MAX] {
            let message = [&forge.header()[..], &iv_of(1), &length.to_be_bytes()].concat();
            refuses(
                &forge,
                &message,
                b"",
                |error| matches!(error, Error::Format(FormatError::UnframedLength(found)) if *found == length),
            );
        }
        // The longest there is exceeds the limit of the client, which acts on the declaration too.
        let message = [&forge.header()[..], &iv_of(1), &most.to_be_bytes()].concat();
        refuses(&forge, &message, b"", is_limit(LimitError::FrameLength { limit: 64 << 20, found: most }));
    }
}

#[test]
fn attack_11_the_callers_limit_acts_on_the_declared_frame_length() {
    for suite in FOUR {
        for found in [u32::MAX, (64 << 20) + 1] {
            let forge = Forge { frame_length: found, ..Forge::new(suite) };
            refuses_unasked(
                &forge.header(),
                is_limit(LimitError::FrameLength { limit: 64 << 20, found: found.into() }),
            );
            // The decoder itself says so.
            assert!(matches!(HeaderDecoder::new().push(&forge.header()), Err(Error::Limit(_))));
        }
        let small = Client::builder()
            .commitment_policy(CommitmentPolicy::RequireEncryptAllowDecrypt)
            .max_frame_length(4)
            .build();
        let forge = Forge::new(suite);
        let expected = |found| is_limit(LimitError::FrameLength { limit: 4, found });
        reading(&small, &Unasked).refuses(&forge.message(TEXT), b"", expected(5));
        reading(&small, &forge.keyring()).refuses(&forge.unframed_message(TEXT), b"", expected(17));
        // At the limit it is read.
        let five = Client::builder()
            .commitment_policy(CommitmentPolicy::RequireEncryptAllowDecrypt)
            .max_frame_length(5)
            .build();
        reading(&five, &forge.keyring()).accepts(&forge.message(TEXT), TEXT);
        reading(&five, &forge.keyring()).accepts(&forge.unframed_message(&TEXT[..5]), &TEXT[..5]);
        // A declaration that nothing follows ends like any other message that is cut off.
        let any = Client::builder()
            .commitment_policy(CommitmentPolicy::RequireEncryptAllowDecrypt)
            .max_frame_length(u32::MAX)
            .build();
        let forge = Forge { frame_length: u32::MAX, ..forge };
        let start = [&forge.header()[..], &1_u32.to_be_bytes(), &iv_of(1), b"some"].concat();
        reading(&any, &forge.keyring())
            .refuses(&start, b"", |error| matches!(error, Error::Format(FormatError::Truncated)));
        let whole = forge.message(TEXT);
        reading(&any, &forge.keyring()).accepts(&whole, TEXT);
    }
}

#[test]
fn attack_11_the_callers_limit_acts_on_the_header_length() {
    let forge = Forge::new(0x0478);
    let message = forge.message(TEXT);
    let length = forge.header().len();
    let exact = Client::builder().max_header_length(length).build();
    reading(&exact, &forge.keyring()).accepts(&message, TEXT);
    let short = Client::builder().max_header_length(length - 1).build();
    reading(&short, &Unasked).refuses(
        &message,
        b"",
        |error| matches!(error, Error::Limit(LimitError::HeaderLength { limit }) if *limit == length - 1),
    );
}

#[test]
fn attack_12_malformed_contexts_are_refused() {
    for suite in FOUR {
        let contexts: [(&[u8], &str); 9] = [
            (b"\0\x02\0\x01a\0\x01b\0\x01a\0\x01c", "a key stands twice"),
            (b"\0\x02\0\x01a\0\x01b\0\x01a\0\x01b", "a key stands twice"),
            (b"\0\0", "a count of zero with bytes"),
            (b"\0\0\0\x01a\0\x01b", "a count of zero with bytes"),
            (b"\0\x01\0\x01a\0\x01bx", "bytes are left over"),
            (b"\0\x01\0\x01\xff\0\x01b", "text that is not UTF-8"),
            (b"\0\x01\0\x01a\0\x02\xc3\x28", "text that is not UTF-8"),
            (b"\0\x02\0\x01a\0\x01b", "it ends too early"),
            (b"\0", "it ends too early"),
        ];
        for (context, why) in contexts {
            let forge = Forge { context: context.to_vec(), ..Forge::new(suite) };
            refuses_unasked(
                &forge.message(TEXT),
                |error| matches!(error, Error::Format(FormatError::Context(found)) if *found == why),
            );
        }
        let mut forge = Forge::new(suite);
        forge.keys[0][0] = vec![0xff];
        refuses_unasked(&forge.message(TEXT), |error| matches!(error, Error::Format(FormatError::ProviderId)));
    }
}

#[test]
fn attack_13_fields_that_are_fixed_are_checked() {
    for suite in FOUR {
        let right = Forge::new(suite);
        for version in [0, 3, 0x80, 0xff] {
            let forge = Forge { version, ..right.clone() };
            refuses_unasked(
                &forge.message(TEXT),
                |error| matches!(error, Error::Format(FormatError::Version(found)) if *found == version),
            );
        }
        for suite in [0, 0x0015, 0x0479, 0x7805, 0xffff] {
            let mut message = right.message(TEXT);
            let at = if right.version == 1 { 2 } else { 1 };
            message[at..at + 2].copy_from_slice(&u16::to_be_bytes(suite));
            refuses_unasked(
                &message,
                |error| matches!(error, Error::Format(FormatError::Suite(found)) if *found == suite),
            );
        }
        // The other version's layout around the same suite.
        let other = Forge { version: 3 - right.version, ..right.clone() };
        refuses_unasked(&other.message(TEXT), |error| {
            matches!(error, Error::Format(FormatError::SuiteVersion { suite: found, version })
                if found.id() == suite && *version == other.version)
        });
    }
    for suite in [0x0178, 0x0378] {
        for position in 0..4 {
            let mut forge = Forge::new(suite);
            forge.reserved[position] = 1;
            refuses_unasked(&forge.message(TEXT), |error| matches!(error, Error::Format(FormatError::Reserved)));
        }
        for iv_length in [0, 11, 13, 16, 0xff] {
            let forge = Forge { iv_length, ..Forge::new(suite) };
            refuses_unasked(
                &forge.message(TEXT),
                |error| matches!(error, Error::Format(FormatError::IvLength(found)) if *found == iv_length),
            );
        }
        for type_byte in [0, 1, 0x81, 0xff] {
            let forge = Forge { type_byte, ..Forge::new(suite) };
            refuses_unasked(
                &forge.message(TEXT),
                |error| matches!(error, Error::Format(FormatError::Type(found)) if *found == type_byte),
            );
        }
    }
}

#[test]
fn attack_14_the_public_key_goes_with_the_suite() {
    let is_missing = |error: &Error| matches!(error, Error::Context(ContextError::PublicKeyMissing));
    for suite in SIGNED {
        let mut forge = Forge::new(suite);
        let curve = forge.signs().unwrap();
        let good = curve.public_key();
        let off_curve = (0..=255)
            .map(|last| [&good[..good.len() - 1], &[last]].concat())
            .find(|bytes| RustCrypto.verifying_key(algorithm(curve), bytes).is_err())
            .expect("half of all numbers are no x of a point");
        let mut too_large = curve_prime_or_more(curve);
        too_large.insert(0, 2);
        let uncompressed = [&[4][..], &[1; 96][..2 * curve.length()]].concat();
        let infinity = vec![0];
        let padded_infinity = vec![0; good.len()];
        let hybrid = [&[6], &good[1..]].concat();
        let other_curve = if curve == Curve::P256 { Curve::P384 } else { Curve::P256 }.public_key();
        let longer = [&good[..], &[0]].concat();
        for (index, key) in
            [vec![], off_curve, too_large, uncompressed, infinity, padded_infinity, hybrid, other_curve, longer]
                .iter()
                .enumerate()
        {
            let value = BASE64_STANDARD.encode(key);
            forge.context = serialize_context(&[(PUBLIC_KEY, value.as_str())]);
            let message = forge.message(TEXT);
            reading(&reads_all(), &Unasked).refuses(&message, b"", |error| {
                assert!(is_missing(error), "{index}: {error:?}");
                true
            });
        }
        let text = BASE64_STANDARD.encode(&good);
        let unpadded = text.trim_end_matches('=').to_owned();
        let mut not_base64 = vec!["!".to_owned() + &text[1..], format!("{text}\n"), format!(" {text}")];
        if unpadded != text {
            not_base64.push(unpadded);
        }
        for value in &not_base64 {
            forge.context = serialize_context(&[(PUBLIC_KEY, value.as_str())]);
            refuses_unasked(&forge.message(TEXT), is_missing);
        }
        forge.context = serialize_context(&[("tenant", "blue")]);
        refuses_unasked(&forge.message(TEXT), is_missing);
        // It is missing in the message, even where the caller reproduces it.
        let context = EncryptionContext::from([(PUBLIC_KEY, text)]);
        let client = reads_all();
        let reading = Reading { client: &client, keyring: &Unasked, context: &context };
        reading.refuses(&forge.message(TEXT), b"", is_missing);
    }
    for suite in [0x0014, 0x0178, 0x0478] {
        let mut forge = Forge::new(suite);
        let value = BASE64_STANDARD.encode(Curve::P384.public_key());
        forge.context = serialize_context(&[(PUBLIC_KEY, value.as_str())]);
        refuses_unasked(&forge.message(TEXT), |error| {
            matches!(error, Error::Context(ContextError::PublicKeyUnexpected))
        });
    }
}

fn algorithm(curve: Curve) -> SignatureAlgorithm {
    match curve {
        Curve::P256 => SignatureAlgorithm::EcdsaP256,
        Curve::P384 => SignatureAlgorithm::EcdsaP384,
    }
}

/// An x that is not below the prime of the field.
fn curve_prime_or_more(curve: Curve) -> Vec<u8> {
    vec![0xff; curve.length()]
}

#[test]
fn attack_14_materials_without_the_check_are_checked_again() {
    // A manager of one's own that gives a verifying key for a message whose context carries none.
    let forge = Forge::new(0x0578);
    let mut bare = forge.clone();
    bare.context = Vec::new();
    let key = forge.signs().unwrap().public_key();
    struct Lenient(Vec<u8>, Vec<u8>);
    impl MaterialsManager for Lenient {
        fn encryption_materials<'a>(&'a self, _: EncryptionRequest<'a>) -> BoxFuture<'a, Result<EncryptionMaterials>> {
            unreachable!("only reads")
        }

        fn decryption_materials<'a>(
            &'a self,
            request: DecryptionRequest<'a>,
        ) -> BoxFuture<'a, Result<DecryptionMaterials>> {
            let verifying_key = RustCrypto.verifying_key(SignatureAlgorithm::EcdsaP384, &self.1);
            Box::pin(async move {
                Ok(DecryptionMaterials {
                    suite: request.suite,
                    context: request.context.clone(),
                    required_context_keys: BTreeSet::new(),
                    data_key: self.0.as_slice().into(),
                    verifying_key: Some(verifying_key?),
                    opened_by: sealwax::materials::OpenedBy { keyring: "lenient".into(), encrypted_data_key: 0 },
                })
            })
        }
    }
    let manager = Lenient(forge.data_key.clone(), key);
    assert!(Client::new().decrypt_with(&manager).bytes(&forge.message(TEXT)).wait().is_ok());
    let refused = Client::new().decrypt_with(&manager).bytes(&bare.message(TEXT)).wait().map(|_| ());
    assert!(matches!(refused, Err(Error::Context(ContextError::PublicKeyMissing))), "{refused:?}");
}

#[test]
fn attack_15_reserved_context_keys_are_refused_on_encrypt() {
    for key in [PUBLIC_KEY, "aws-crypto-", "aws-crypto-anything"] {
        let refused = Client::new().encrypt(&Unasked).context([(key, "value")]).bytes(TEXT).wait();
        assert!(matches!(refused, Err(Error::Context(ContextError::ReservedPrefix))), "{key}");
        let refused = Client::new().encrypt(&Unasked).context([(key, "value")]).machine().wait().map(|_| ());
        assert!(matches!(refused, Err(Error::Context(ContextError::ReservedPrefix))), "{key}");
        let refused = Client::new().encrypt(&Unasked).context([(key, "value")]).writer(Vec::new()).wait().map(|_| ());
        assert!(matches!(refused, Err(Error::Context(ContextError::ReservedPrefix))), "{key}");
    }
    let forge = Forge::new(0x0578);
    for key in ["aws-crypto", "Aws-crypto-public-key", "my-aws-crypto-key"] {
        assert!(Client::new().encrypt(&forge.keyring()).context([(key, "value")]).bytes(TEXT).wait().is_ok(), "{key}");
    }
}

#[test]
fn attack_16_a_frame_that_fails_releases_nothing() {
    for suite in FOUR {
        let forge = Forge::new(suite);
        let mut frames = forge.frames(TEXT);
        // The first byte of the content and the last of the tag, of a regular frame and of the final one.
        for (index, before) in [(1, &TEXT[..5]), (3, REGULAR)] {
            let length = frames[index].len();
            for at in [length - 16 - 1, length - 1] {
                frames[index][at] ^= 1;
                refuses(&forge, &forge.with_body(&frames), before, is_integrity);
                frames[index][at] ^= 1;
            }
        }
        let mut unframed = Forge { content_type: 1, frame_length: 0, ..forge.clone() }.unframed(TEXT);
        *unframed.last_mut().unwrap() ^= 1;
        let forge = Forge { content_type: 1, frame_length: 0, ..forge };
        refuses(&forge, &forge.with_body(&[unframed]), b"", is_integrity);
    }
}

#[test]
fn attack_16_what_was_not_taken_away_is_cleared() {
    let forge = Forge::new(0x0478);
    let mut frames = forge.frames(TEXT);
    frames[2][20] ^= 1;
    let message = forge.with_body(&frames);
    let (received, body) = HeaderDecoder::new().decode(&message).unwrap();
    let keyring = forge.keyring();
    let client = Client::new();
    let mut machine = client.decrypt(&keyring).machine(received).wait().unwrap();
    let two_frames = 2 * frames[0].len();
    machine.push(&body[..two_frames]).unwrap();
    assert_eq!(machine.output(), &TEXT[..10]);
    assert!(matches!(machine.push(&body[two_frames..]), Err(Error::Integrity)));
    assert!(machine.output().is_empty());
    assert!(matches!(machine.push(b""), Err(Error::Ended)));
    assert!(matches!(machine.finish().map(|_| ()), Err(Error::Ended)));
}

#[test]
fn attack_17_base64_text_is_refused_by_its_name() {
    for suite in AlgorithmSuite::ALL {
        let text = BASE64_STANDARD.encode(Forge::new(suite.id()).message(TEXT));
        refuses_unasked(text.as_bytes(), |error| matches!(error, Error::Format(FormatError::Base64)));
    }
    let hint = Error::from(FormatError::Base64).to_string();
    assert!(hint.contains("base64"), "{hint}");
}

// Keyrings.

/// A data key in wrapped form, by a keyring of the library.
fn wrapped(keyring: &dyn Keyring, context: &EncryptionContext, data_key: &[u8]) -> [Vec<u8>; 3] {
    let (suite, key) = (AlgorithmSuite::Aes256GcmHkdfSha512CommitKey, SecretBytes::from(data_key));
    let request = WrapRequest::new(&RustCrypto, suite, context).for_key(&key);
    let encrypted = ready(keyring.on_encrypt(request)).unwrap().encrypted_data_keys.remove(0);
    let provider_id = encrypted.provider_id().as_bytes().to_vec();
    [provider_id, encrypted.provider_info().to_vec(), encrypted.ciphertext().to_vec()]
}

fn with_keys(mut forge: Forge, keys: Vec<[Vec<u8>; 3]>) -> Forge {
    forge.key_count = keys.len() as u16;
    forge.keys = keys;
    forge
}

fn failure(refused: Result<Decrypted>) -> UnwrapFailure {
    match refused {
        Err(Error::NotUnwrapped(failure)) => failure,
        other => panic!("not a failure to unwrap: {other:?}"),
    }
}

/// Whether the only attempt was none: no key is for this keyring.
fn is_no_match(failure: &UnwrapFailure) -> bool {
    matches!(failure.attempts(), [attempt] if matches!(attempt.reason, UnwrapReason::NoMatch))
}

#[test]
fn attack_18_a_data_key_of_the_wrong_length_is_no_match() {
    let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32]).unwrap();
    let forge = Forge::new(0x0478);
    let context = EncryptionContext::from([("tenant", "blue")]);
    let mut lengths = Vec::new();
    for length in [0, 16, 31, 33, 64] {
        lengths.push(wrapped(&keyring, &context, &vec![0x42; length]));
    }
    let all_wrong = with_keys(forge.clone(), lengths.clone());
    let failure = failure(Client::new().decrypt(&keyring).bytes(&all_wrong.message(TEXT)).wait());
    assert_eq!(failure.attempts().len(), 5);
    for (index, attempt) in failure.attempts().iter().enumerate() {
        // The reason is that of a key that does not authenticate: an attacker learns nothing from it.
        assert!(matches!(attempt.reason, UnwrapReason::NotAuthentic), "{attempt:?}");
        assert_eq!(attempt.encrypted_data_key, Some(index));
    }
    lengths.push(wrapped(&keyring, &context, &forge.data_key));
    let opened = Client::new().decrypt(&keyring).bytes(&with_keys(forge, lengths).message(TEXT)).wait().unwrap();
    assert_eq!((&opened.plaintext[..], opened.opened_by.encrypted_data_key), (TEXT, 5));
}

#[test]
fn attack_19_a_name_that_is_only_a_prefix_is_no_match() {
    let raw = |namespace: &str, name: &str| RawAesKeyring::new(namespace, name, vec![7; 32]).unwrap();
    let context = EncryptionContext::from([("tenant", "blue")]);
    let names = [("ns", "k2"), ("ns", "k"), ("ns2", "k"), ("n", "k"), ("ns", "K"), ("ns", "")];
    for (namespace, name) in &names[..5] {
        for (other_namespace, other_name) in &names[..5] {
            let forge = Forge::new(0x0478);
            let key = wrapped(&raw(namespace, name), &context, &forge.data_key);
            let message = with_keys(forge, vec![key]).message(TEXT);
            let keyring = raw(other_namespace, other_name);
            let outcome = Client::new().decrypt(&keyring).bytes(&message).wait();
            if (namespace, name) == (other_namespace, other_name) {
                assert_eq!(outcome.unwrap().plaintext, TEXT);
            } else {
                // The wrapping keys are all the same: it is the name alone that does not match.
                assert!(is_no_match(&failure(outcome)));
            }
        }
    }
    // A name that ends in what looks like the parameters of a shorter one.
    let odd = "k\0\0\0\u{80}\0\0\0\u{c}";
    let forge = Forge::new(0x0478);
    let message = with_keys(forge.clone(), vec![wrapped(&raw("ns", odd), &context, &forge.data_key)]).message(TEXT);
    assert!(Client::new().decrypt(&raw("ns", "k")).bytes(&message).wait().is_err());
    assert!(Client::new().decrypt(&raw("ns", odd)).bytes(&message).wait().is_ok());

    for namespace in ["aws-kms", "aws-kms-mrk", "aws-kms-hierarchy", "aws-kms2"] {
        let refused = RawAesKeyring::new(namespace, "k", vec![7; 32]).map(|_| ());
        assert!(matches!(refused, Err(Error::Configuration(_))), "{namespace}");
    }
}

/// A keyring that gives what it has, whatever the length.
struct Careless(Vec<u8>);

impl Keyring for Careless {
    fn label(&self) -> Arc<str> {
        "careless".into()
    }

    fn on_encrypt<'a>(&'a self, _: WrapRequest<'a>) -> BoxFuture<'a, Result<Wrapped>> {
        unreachable!("only reads")
    }

    fn on_decrypt<'a>(&'a self, _: UnwrapRequest<'a>) -> BoxFuture<'a, Result<Unwrapped>> {
        let data_key = self.0.as_slice().into();
        Box::pin(async { Ok(Unwrapped { data_key, encrypted_data_key: 0, keyring: self.label() }) })
    }
}

#[test]
fn attack_18_a_keyring_that_does_not_look_at_the_length_is_passed_over() {
    let forge = Forge::new(0x0478);
    let message = forge.message(TEXT);
    let refused = Client::new().decrypt(&Careless(vec![0x42; 16])).bytes(&message).wait();
    assert!(matches!(refused, Err(Error::Materials(_) | Error::NotUnwrapped(_))), "{refused:?}");
    let keyring = MultiKeyring::new(Careless(vec![0x42; 16])).child(forge.keyring());
    assert_eq!(Client::new().decrypt(&keyring).bytes(&message).wait().unwrap().plaintext, TEXT);
}

/// A keyring of a service that answers with an error.
struct Unreachable(&'static str);

impl Keyring for Unreachable {
    fn label(&self) -> Arc<str> {
        self.0.into()
    }

    fn on_encrypt<'a>(&'a self, _: WrapRequest<'a>) -> BoxFuture<'a, Result<Wrapped>> {
        Box::pin(async { Err(Error::keyring(self.0, "unreachable")) })
    }

    fn on_decrypt<'a>(&'a self, _: UnwrapRequest<'a>) -> BoxFuture<'a, Result<Unwrapped>> {
        Box::pin(async { Err(Error::keyring(self.0, "unreachable")) })
    }
}

#[test]
fn attack_20_errors_are_collected_and_the_next_key_is_tried() {
    let forge = Forge::new(0x0478);
    let message = forge.message(TEXT);
    let keyring = MultiKeyring::new(Unreachable("first")).child(Unreachable("second")).child(forge.keyring());
    assert_eq!(Client::new().decrypt(&keyring).bytes(&message).wait().unwrap().plaintext, TEXT);
    let other = RawAesKeyring::new("example", "key-1", vec![7; 32]).unwrap();
    let keyring = MultiKeyring::new(Unreachable("first")).child(other).child(Unreachable("second"));
    let failure = failure(Client::new().decrypt(&keyring).bytes(&message).wait());
    let labels: Vec<&str> = failure.attempts().iter().map(|attempt| &*attempt.keyring).collect();
    assert_eq!(labels, ["first", "raw-aes://example/key-1", "second"]);
}

/// A keyring that keeps what it is asked.
#[derive(Default)]
struct Asked(Mutex<Vec<(Vec<EncryptedDataKey>, EncryptionContext)>>);

impl Keyring for Asked {
    fn label(&self) -> Arc<str> {
        "asked".into()
    }

    fn on_encrypt<'a>(&'a self, _: WrapRequest<'a>) -> BoxFuture<'a, Result<Wrapped>> {
        unreachable!("only reads")
    }

    fn on_decrypt<'a>(&'a self, request: UnwrapRequest<'a>) -> BoxFuture<'a, Result<Unwrapped>> {
        self.0.lock().unwrap().push((request.encrypted_data_keys.to_vec(), request.context.clone()));
        Box::pin(async move { Err(request.attempts(self.label()).into_error()) })
    }
}

#[test]
fn attack_21_encrypted_data_keys_come_from_the_message_alone() {
    let forge = Forge::new(0x0478);
    let keys: Vec<[Vec<u8>; 3]> =
        (0..5).map(|at| [vec![b'a' + at], vec![at; usize::from(at)], vec![at; 300]]).collect();
    let expected: Vec<EncryptedDataKey> = keys
        .iter()
        .map(|[id, info, ciphertext]| {
            EncryptedDataKey::new(String::from_utf8(id.clone()).unwrap(), info.as_slice(), ciphertext.as_slice())
        })
        .collect();
    let message = with_keys(forge, keys).message(TEXT);
    let asked = Asked::default();
    let client = Client::new();
    let reproduced = EncryptionContext::from([("tenant", "blue"), ("extra", "1")]);
    // The same manager, asked for another message before and after.
    let manager = DefaultMaterialsManager::new(&asked);
    let other = Forge::new(0x0478).message(TEXT);
    for message in [&other, &message, &other] {
        let refused = client.decrypt_with(&manager).context(reproduced.clone()).bytes(message).wait();
        assert_eq!(failure(refused).attempts().len(), 1);
    }
    let asked = asked.0.into_inner().unwrap();
    assert_eq!(asked.len(), 3);
    assert!(asked[1].0 == expected && asked[0].0.len() == 1 && asked[2].0 == asked[0].0);
    // The context is whole: what the message stores and what the caller adds.
    assert!(asked.iter().all(|(_, context)| *context == reproduced));
}

// Ranges, retries and changing keys.

/// A source that fails now and then, and goes on where it was.
struct Faltering<'a>(&'a [u8], u32);

impl Read for Faltering<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.1 += 1;
        if !self.1.is_multiple_of(3) {
            return Err(std::io::ErrorKind::WouldBlock.into());
        }
        let count = buffer.len().min(7);
        self.0.read(&mut buffer[..count])
    }
}

#[test]
fn attack_26_and_27_no_key_seals_twice_under_one_iv() {
    let watched = Watched::default();
    let client = Client::builder_with_provider(watched.clone()).build();
    let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32]).unwrap();
    // The same plaintext again and again, one of the sources with failures that are retried.
    for _ in 0..3 {
        client.encrypt(&keyring).frame_length(5).bytes(TEXT).wait().unwrap();
        let mut reader = client.encrypt(&keyring).frame_length(5).reader(Faltering(TEXT, 0)).wait().unwrap();
        let mut message = Vec::new();
        while let Err(error) = reader.read_to_end(&mut message) {
            assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
        }
        assert_eq!(client.decrypt(&keyring).bytes(&message).wait().unwrap().plaintext, TEXT);
    }
    let log = watched.0.lock().unwrap();
    let pairs: HashSet<_> = log.sealed.iter().map(|sealed| (&sealed.key, sealed.iv)).collect();
    // Six messages, each with a wrapped key, a header and four frames.
    assert_eq!((pairs.len(), log.sealed.len()), (36, 36));
}

// What implementers of this format get wrong.

/// What the second writer makes of the same data key, message id and context, without footer.
fn rewritten(suite: AlgorithmSuite, header: &Header, context: &[(&str, &str)], frame_length: u32) -> Forge {
    let mut forge = Forge::new(suite.id());
    forge.message_id = header.message_id().to_vec();
    let mut pairs = context.to_vec();
    if let Some(key) = header.context().get(PUBLIC_KEY) {
        pairs.push((PUBLIC_KEY, key));
    }
    pairs.sort_unstable_by_key(|(key, _)| key.as_bytes());
    forge.context = serialize_context(&pairs);
    forge.frame_length = frame_length;
    forge
}

/// A message of the library under the data key of the second writer.
fn written(suite: AlgorithmSuite, context: &[(&str, &str)], frame_length: u32, text: &[u8]) -> (Header, Vec<u8>) {
    let client = if suite.is_committing() { Client::new() } else { writes_v1() };
    let keyring = Forge::new(suite.id()).keyring();
    let context: EncryptionContext = context.iter().copied().collect();
    let encrypt = client.encrypt(&keyring).suite(suite).context(context).frame_length(frame_length);
    let sealed = encrypt.bytes(text).wait().unwrap();
    (sealed.header, sealed.message)
}

#[test]
fn wrong_1_to_5_every_byte_is_that_of_a_second_writer() {
    for suite in AlgorithmSuite::ALL {
        for context in [&[][..], &[("tenant", "blue")], &[("b", "ä€𐀂"), ("ä", "2"), ("a", "1")]] {
            for length in [0, 1, 5, 6, 17] {
                let (header, message) = written(suite, context, 5, &TEXT[..length]);
                let forge = rewritten(suite, &header, context, 5);
                let expected = [forge.header(), forge.frames(&TEXT[..length]).concat()].concat();
                let (unsigned, footer) = message.split_at(expected.len());
                assert_eq!(unsigned, expected, "{suite} {length}");
                assert_eq!(footer.is_empty(), !suite.is_signed());
                assert_eq!(header.length(), forge.header().len());
            }
        }
    }
}

#[test]
fn wrong_1_the_iv_is_the_number_on_the_right_when_written_and_any_when_read() {
    let (header, message) = written(AlgorithmSuite::Aes256GcmIv12Tag16HkdfSha256, &[], 5, TEXT);
    assert_eq!(message[header.length() - 28..header.length() - 16], [0; 12]);
    let second = &message[header.length() + 37..];
    assert_eq!(second[..4], [0, 0, 0, 2]);
    assert_eq!(second[4..16], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    for suite in FOUR {
        let mut forge = Forge::new(suite);
        if forge.version == 1 {
            forge.header_iv = [0xa5; 12];
        }
        let frames = [
            forge.piece(REGULAR_LABEL, 1, [0x5a; 12], &TEXT[..5]),
            forge.piece(FINAL_LABEL, 2, [0xc3; 12], &TEXT[5..7]),
        ];
        accepts(&forge, &forge.with_body(&frames), &TEXT[..7]);
        let unframed = Forge { content_type: 1, frame_length: 0, ..forge };
        let block = unframed.piece(UNFRAMED_LABEL, 1, [0x5a; 12], TEXT);
        accepts(&unframed, &unframed.with_body(&[block]), TEXT);
    }
}

#[test]
fn wrong_2_header_authentication_and_message_id_by_version() {
    for suite in AlgorithmSuite::ALL {
        let (header, _) = written(suite, &[], 5, TEXT);
        let committing = suite.is_committing();
        assert_eq!(header.message_id().len(), if committing { 32 } else { 16 });
        let forge = rewritten(suite, &header, &[], 5);
        assert_eq!(header.length() - forge.header_body().len(), if committing { 16 } else { 28 });
    }
    // The id of version 2 is authenticated with each frame in its full length.
    let watched = Watched::default();
    let client = Client::builder_with_provider(watched.clone()).build();
    let sealed = client.encrypt(&Forge::new(0x0578).keyring()).frame_length(5).bytes(TEXT).wait().unwrap();
    let log = watched.0.lock().unwrap();
    assert_eq!(log.sealed.len(), 5);
    assert!(log.sealed[1..].iter().all(|piece| piece.aad.starts_with(sealed.header.message_id())));
}

#[test]
fn wrong_3_the_final_frame_has_a_mark_a_number_and_a_length() {
    let (header, message) = written(AlgorithmSuite::Aes256GcmHkdfSha512CommitKey, &[], 5, TEXT);
    let last = &message[header.length() + 3 * 37..];
    assert_eq!(last[..8], [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 4]);
    assert_eq!(last[8..20], iv_of(4));
    assert_eq!(last[20..24], [0, 0, 0, 2]);
    assert_eq!(last.len(), 24 + 2 + 16);
}

#[test]
fn wrong_4_what_goes_into_hkdf() {
    for suite in AlgorithmSuite::ALL {
        let watched = Watched::default();
        let policy = if suite.is_committing() {
            CommitmentPolicy::RequireEncryptRequireDecrypt
        } else {
            CommitmentPolicy::ForbidEncryptAllowDecrypt
        };
        let client = Client::builder_with_provider(watched.clone()).commitment_policy(policy).build();
        let forge = Forge::new(suite.id());
        let sealed = client.encrypt(&forge.keyring()).suite(suite).bytes(TEXT).wait().unwrap();
        client.decrypt(&forge.keyring()).bytes(&sealed.message).wait().unwrap();
        let id = sealed.header.message_id().to_vec();
        let suite_id = suite.id().to_be_bytes();
        let key = forge.data_key;
        let expected = match suite.id() {
            0x0014 | 0x0046 | 0x0078 => vec![],
            0x0478 | 0x0578 => {
                let infos = vec![[&suite_id[..], b"DERIVEKEY"].concat(), b"COMMITKEY".to_vec()];
                vec![Derived { hash: HashAlgorithm::Sha512, salt: id, key, infos }]
            }
            other => {
                let hash = if matches!(other, 0x0346 | 0x0378) { HashAlgorithm::Sha384 } else { HashAlgorithm::Sha256 };
                vec![Derived { hash, salt: vec![], key, infos: vec![[&suite_id[..], &id].concat()] }]
            }
        };
        let log = watched.0.lock().unwrap();
        assert_eq!(log.derived, [expected.clone(), expected].concat(), "{suite}");
    }
}

#[test]
fn wrong_5_the_header_is_authenticated_with_the_context_that_is_not_stored() {
    for suite in FOUR {
        let mut forge = Forge::new(suite);
        forge.required = serialize_context(&[("purpose", "backup"), ("region", "north")]);
        let message = forge.message(TEXT);
        let (client, keyring) = (reads_all(), forge.keyring());
        let read = |pairs: &[(&str, &str)], accepted: bool| {
            let context: EncryptionContext = pairs.iter().copied().collect();
            let reading = Reading { client: &client, keyring: &keyring, context: &context };
            if accepted { reading.accepts(&message, TEXT) } else { reading.refuses(&message, b"", is_integrity) }
        };
        read(&[("purpose", "backup"), ("region", "north")], true);
        // A pair that is stored too is compared, and not authenticated twice.
        read(&[("purpose", "backup"), ("region", "north"), ("tenant", "blue")], true);
        read(&[], false);
        read(&[("purpose", "backup")], false);
        read(&[("purpose", "backup"), ("region", "south")], false);
        read(&[("purpose", "backup"), ("region", "north"), ("stray", "1")], false);
        let context = EncryptionContext::from([("tenant", "green")]);
        Reading { client: &client, keyring: &Unasked, context: &context }
            .refuses(&message, b"", |error| matches!(error, Error::Context(ContextError::Mismatch)));
    }
    // Where nothing is left out, nothing is added: not even a count of zero.
    let mut forge = Forge::new(0x0478);
    forge.required = vec![0, 0];
    refuses(&forge, &forge.message(TEXT), b"", is_integrity);
}

#[test]
fn wrong_5_a_context_pair_that_is_not_stored_is_written_so() {
    let base = Forge::new(0x0478);
    let manager = altered_encryption(&base, |materials| {
        materials.required_context_keys.insert("tenant".into());
    });
    let suite = AlgorithmSuite::Aes256GcmHkdfSha512CommitKey;
    let context = [("tenant", "blue"), ("purpose", "backup")];
    let client = Client::new();
    let encrypt = client.encrypt_with(&manager).suite(suite).frame_length(5).context(context);
    let sealed = encrypt.bytes(TEXT).wait().unwrap();
    let mut forge = rewritten(suite, &sealed.header, &[("purpose", "backup")], 5);
    forge.required = serialize_context(&[("tenant", "blue")]);
    assert_eq!(sealed.message, forge.message(TEXT));
}

#[test]
fn wrong_6_and_8_an_unsorted_header_is_verified_as_it_was_received() {
    let pairs = [("z", "1"), ("\u{10002}", "2"), ("\u{ff61}", "3"), ("a", "4")];
    let context = EncryptionContext::from(pairs);
    for suite in FOUR {
        let mut forge = Forge::new(suite);
        forge.set_context(&pairs);
        accepts(&forge, &forge.message(TEXT), TEXT);
        // The tag of the sorted form is not the tag of this one.
        let mut sorted = pairs;
        sorted.sort_unstable();
        let mut other = forge.clone();
        other.set_context(&sorted);
        let mut message = forge.message(TEXT);
        let length = forge.header().len();
        message[length - 16..length].copy_from_slice(&other.header()[length - 16..]);
        refuses(&forge, &message, b"", is_integrity);
        // The keyring gets the one order.
        let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32]).unwrap();
        let mut whole = context.clone();
        if let Some(curve) = forge.signs() {
            whole.insert(PUBLIC_KEY, BASE64_STANDARD.encode(curve.public_key()));
        }
        let key = wrapped(&keyring, &whole, &forge.data_key);
        let message = with_keys(forge, vec![key]).message(TEXT);
        reading(&reads_all(), &keyring).accepts(&message, TEXT);
    }
}

#[test]
fn wrong_7_an_empty_context_is_a_length_of_zero() {
    for suite in [AlgorithmSuite::Aes256GcmIv12Tag16HkdfSha256, AlgorithmSuite::Aes256GcmHkdfSha512CommitKey] {
        let (header, message) = written(suite, &[], 5, TEXT);
        let at = if suite.is_committing() { 3 + 32 } else { 4 + 16 };
        // The length, then the number of encrypted data keys, then the first of their fields.
        assert_eq!(message[at..at + 6], [0, 0, 0, 1, 0, PROVIDER_ID.len() as u8]);
        assert!(header.context().is_empty());
        let mut forge = Forge::new(suite.id());
        forge.set_context(&[]);
        accepts(&forge, &forge.message(TEXT), TEXT);
    }
}

#[test]
fn wrong_7_and_9_what_the_raw_aes_keyring_writes() {
    let wrapping_key = [7; 32];
    let keyring = RawAesKeyring::new("example", "key-1", wrapping_key.to_vec()).unwrap();
    let unsigned = AlgorithmSuite::Aes256GcmHkdfSha512CommitKey;
    for pairs in [&[][..], &[("a", "1"), ("b", "ä")]] {
        let context: EncryptionContext = pairs.iter().copied().collect();
        let sealed = Client::new().encrypt(&keyring).suite(unsigned).context(context).bytes(TEXT).wait().unwrap();
        let key = &sealed.header.encrypted_data_keys()[0];
        assert_eq!(key.provider_id(), "example");
        let (fixed, iv) = key.provider_info().split_last_chunk::<12>().unwrap();
        // The tag length is in bits, the IV length in bytes.
        assert_eq!(fixed, b"key-1\0\0\0\x80\0\0\0\x0c");
        // The AAD is the context without its length in front; an empty one is nothing.
        let (ciphertext, tag) = key.ciphertext().split_last_chunk::<16>().unwrap();
        let mut data_key = ciphertext.to_vec();
        let cipher = RustCrypto.aes_gcm(&wrapping_key).unwrap();
        cipher.open_in_place(iv, &serialize_context(pairs), &mut data_key, tag).unwrap();
        assert_eq!(data_key.len(), 32);
        let mut forge = rewritten(unsigned, &sealed.header, pairs, 4096);
        forge.keys = vec![[b"example".to_vec(), key.provider_info().to_vec(), key.ciphertext().to_vec()]];
        forge.data_key = data_key;
        assert_eq!(sealed.message, forge.message(TEXT));
    }
}

#[test]
fn wrong_9_other_parameters_of_a_raw_aes_key_are_no_match() {
    let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32]).unwrap();
    let context = EncryptionContext::from([("tenant", "blue")]);
    let forge = Forge::new(0x0478);
    let key = wrapped(&keyring, &context, &forge.data_key);
    let right = with_keys(forge.clone(), vec![key.clone()]).message(TEXT);
    assert!(Client::new().decrypt(&keyring).bytes(&right).wait().is_ok());
    let mut infos = Vec::new();
    for (at, value) in [(8, 16), (12, 96), (5, 1), (9, 1)] {
        let mut info = key[1].clone();
        info[at] = value;
        infos.push(info);
    }
    infos.push(key[1][..key[1].len() - 1].to_vec());
    infos.push([&key[1][..], &[0]].concat());
    infos.push(b"key-1".to_vec());
    for info in infos {
        let bad = [key[0].clone(), info.clone(), key[2].clone()];
        let message = with_keys(forge.clone(), vec![bad]).message(TEXT);
        assert!(is_no_match(&failure(Client::new().decrypt(&keyring).bytes(&message).wait())), "{info:?}");
    }
    // A ciphertext that is shorter than its tag, or does not authenticate, is no match either.
    let mut altered = key[2].clone();
    altered[0] ^= 1;
    for ciphertext in [vec![], key[2][..15].to_vec(), altered] {
        let bad = [key[0].clone(), key[1].clone(), ciphertext];
        let message = with_keys(forge.clone(), vec![bad.clone()]).message(TEXT);
        assert!(matches!(Client::new().decrypt(&keyring).bytes(&message).wait(), Err(Error::NotUnwrapped(_))));
        let message = with_keys(forge.clone(), vec![bad, key.clone()]).message(TEXT);
        assert_eq!(Client::new().decrypt(&keyring).bytes(&message).wait().unwrap().opened_by.encrypted_data_key, 1);
    }
}

#[test]
fn wrong_10_a_whole_number_of_frames_ends_in_either_way() {
    for suite in FOUR {
        let forge = Forge::new(suite);
        let full = [forge.regular(1, &TEXT[..5]), forge.last(2, &TEXT[5..10])];
        accepts(&forge, &forge.with_body(&full), &TEXT[..10]);
        let empty = [forge.regular(1, &TEXT[..5]), forge.regular(2, &TEXT[5..10]), forge.last(3, b"")];
        accepts(&forge, &forge.with_body(&empty), &TEXT[..10]);
    }
}

#[test]
fn wrong_11_and_12_signature_and_public_key_are_those_of_the_others() {
    let suites = [
        (AlgorithmSuite::Aes128GcmIv12Tag16HkdfSha256EcdsaP256, Curve::P256, 71),
        (AlgorithmSuite::Aes256GcmIv12Tag16HkdfSha384EcdsaP384, Curve::P384, 103),
        (AlgorithmSuite::Aes256GcmHkdfSha512CommitKeyEcdsaP384, Curve::P384, 103),
    ];
    for (suite, curve, length) in suites {
        for _ in 0..8 {
            let (header, message) = written(suite, &[("tenant", "blue")], 5, TEXT);
            let public_key = BASE64_STANDARD.decode(header.context().get(PUBLIC_KEY).unwrap()).unwrap();
            assert_eq!(public_key.len(), 1 + curve.length());
            assert!(matches!(public_key[0], 2 | 3));
            // Everything before the footer is signed.
            let (signed, footer) = message.split_at(message.len() - 2 - length);
            assert_eq!(footer[..2], (length as u16).to_be_bytes());
            assert!(curve.verifies(&public_key, signed, &footer[2..]));
            assert!(!curve.verifies(&public_key, &signed[1..], &footer[2..]));
        }
    }
}

#[test]
fn wrong_12_lengths_count_bytes() {
    let (header, message) = written(AlgorithmSuite::Aes256GcmHkdfSha512CommitKey, &[("ä", "€𐀂")], 5, TEXT);
    let serialized = b"\0\x0f\0\x01\0\x02\xc3\xa4\0\x07\xe2\x82\xac\xf0\x90\x80\x82";
    assert_eq!(message[35..35 + serialized.len()], serialized[..]);
    assert_eq!(header.context().get("ä"), Some("€𐀂"));
}

#[test]
fn wrong_13_the_default_suites() {
    let forge = Forge::new(0x0578);
    for (policy, id) in [
        (CommitmentPolicy::ForbidEncryptAllowDecrypt, 0x0378),
        (CommitmentPolicy::RequireEncryptAllowDecrypt, 0x0578),
        (CommitmentPolicy::RequireEncryptRequireDecrypt, 0x0578),
    ] {
        let client = Client::builder().commitment_policy(policy).build();
        let sealed = client.encrypt(&forge.keyring()).bytes(TEXT).wait().unwrap();
        assert_eq!(sealed.header.suite().id(), id);
        assert_eq!(client.decrypt(&forge.keyring()).bytes(&sealed.message).wait().unwrap().plaintext, TEXT);
    }
    // A suite that the policy forbids is refused before the keyring is asked.
    for suite in AlgorithmSuite::ALL {
        let client = if suite.is_committing() { writes_v1() } else { Client::new() };
        let refused = client.encrypt(&Unasked).suite(suite).bytes(TEXT).wait();
        assert!(matches!(refused, Err(Error::Commitment { operation: Direction::Encrypt, .. })), "{suite}");
    }
}

#[test]
fn wrong_14_what_not_every_sdk_reads_is_not_written() {
    let (client, forge) = (Client::new(), Forge::new(0x0478));
    let unsigned = AlgorithmSuite::Aes256GcmHkdfSha512CommitKey;
    let write = |value: String| {
        client.encrypt(&forge.keyring()).suite(unsigned).context([("k", value)]).bytes(TEXT).wait().map(|_| ())
    };
    write("v".repeat(32_767 - 7)).unwrap();
    for length in [32_768, 65_535, 70_000] {
        let refused = write("v".repeat(length - 7));
        let expected = matches!(
            refused,
            Err(Error::Context(ContextError::TooLong { limit: 32_767, found })) if found == length
        );
        assert!(expected, "{refused:?}");
    }
    // The public key counts too.
    let refused = client.encrypt(&forge.keyring()).context([("k", "v".repeat(32_760))]).bytes(TEXT).wait();
    assert!(matches!(refused, Err(Error::Context(ContextError::TooLong { .. }))));

    for pair in [("", "value"), ("key", "")] {
        let refused = client.encrypt(&Unasked).context([pair]).bytes(TEXT).wait();
        assert!(matches!(refused, Err(Error::Context(ContextError::Empty))));
    }
    for frame_length in [0, 1 << 31, u32::MAX] {
        let refused = client.encrypt(&Unasked).frame_length(frame_length).bytes(TEXT).wait();
        assert!(matches!(refused, Err(Error::Configuration(_))));
    }
    // What a client would not read it does not write.
    let refused = client.encrypt(&forge.keyring()).frame_length((64 << 20) + 1).bytes(TEXT).wait();
    assert!(matches!(refused, Err(Error::Limit(LimitError::FrameLength { limit: 0x0400_0000, found: 0x0400_0001 }))));
    let any = Client::builder().max_frame_length(u32::MAX).build();
    any.encrypt(&forge.keyring()).frame_length((1 << 31) - 1).bytes(TEXT).wait().unwrap();

    // What others write of this is read.
    let mut forge = forge;
    let long = "v".repeat(65_535 - 7);
    for pairs in [&[("", "")][..], &[("key", "")], &[("k", long.as_str())]] {
        forge.set_context(pairs);
        accepts(&forge, &forge.message(TEXT), TEXT);
    }
}

#[test]
fn an_outcome_names_its_way() {
    let forge = Forge::new(0x0478);
    let outcomes = reading(&Client::new(), &forge.keyring()).every_way(&forge.message(TEXT));
    let ways: BTreeSet<_> = outcomes.iter().map(|Outcome { way, .. }| way).collect();
    assert_eq!(ways.len(), outcomes.len());
}
