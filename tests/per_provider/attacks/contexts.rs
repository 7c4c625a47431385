//! Reserved encryption context keys, which come from the message alone. A reader pins the signer of
//! a message by expecting its `aws-crypto-public-key`. An unsigned message must not pass as a
//! signed one by authenticating that pair without storing it.

use std::time::Duration;

#[cfg(feature = "fs")]
use sealwax::io::Overwrite;
use sealwax::materials::{CachingManager, MemoryCache, OpenedBy, RequiredContextManager};

use super::{
    super::support::readers::{PARTS_WAYS, WAYS},
    *,
};

const FORGED: &[u8] = b"pay 9999 to Mallory";
const TENANT: (&str, &str) = ("tenant", "blue");
/// A reserved key that has no meaning.
const OTHER_RESERVED: &str = "aws-crypto-other";
const UNSIGNED: u16 = 0x0478;

fn keyring() -> RawAesKeyring {
    RawAesKeyring::new("example", "key", vec![7; 32]).unwrap()
}

/// Returns a signed message of [`TEXT`] in the context [`TENANT`], and the public key in it.
fn honest() -> (Vec<u8>, String) {
    let sealed = new_client().encrypt(&keyring()).context([TENANT]).bytes(TEXT).wait().unwrap();
    (sealed.message, sealed.header.context().get(PUBLIC_KEY).unwrap().to_owned())
}

/// Returns what an attacker who can unwrap the data key of the honest message can write: an
/// unsigned message that authenticates this public key without storing it.
fn forged(honest: &[u8], public_key: &str) -> Vec<u8> {
    Forge::under_the_key_of(honest, &keyring(), UNSIGNED, &[TENANT], &[(PUBLIC_KEY, public_key)]).message(FORGED)
}

/// Returns a message of this suite that stores [`TENANT`], and authenticates this pair without
/// storing it.
fn authenticating(suite: u16, pair: (&str, &str)) -> Vec<u8> {
    let mut forge = Forge::new(suite);
    let mut whole = EncryptionContext::from([TENANT, pair]);
    if pair.0 == PUBLIC_KEY {
        forge.context = serialize_context(&[TENANT]);
    } else if let Some(curve) = forge.signs() {
        whole.insert(PUBLIC_KEY, BASE64_STANDARD.encode(curve.public_key()));
    }
    forge.required = serialize_context(&[pair]);
    forge.wrap_with(&keyring(), &whole);
    forge.message(FORGED)
}

fn pinned(public_key: &str) -> EncryptionContext {
    [TENANT, (PUBLIC_KEY, public_key)].into()
}

fn is_context(expected: ContextError) -> impl Fn(&Error) -> bool {
    move |error| matches!(error, Error::Context(found) if *found == expected)
}

fn is_materials(error: &Error) -> bool {
    matches!(error, Error::Materials(_))
}

/// Returns a caching manager over another one.
fn caching<M: MaterialsManager>(inner: M) -> CachingManager<M> {
    let cache = Arc::new(MemoryCache::new(10).unwrap());
    CachingManager::builder(inner, cache, Duration::from_secs(60)).build().unwrap()
}

/// Returns the managers of the library, each with a name.
fn managers() -> Vec<(&'static str, Box<dyn MaterialsManager>)> {
    let default = || DefaultMaterialsManager::new(keyring());
    vec![
        ("default", Box::new(default())),
        ("caching", Box::new(caching(default()))),
        ("required", Box::new(RequiredContextManager::new(["tenant"], default()).unwrap())),
        ("caching over required", Box::new(caching(RequiredContextManager::new(["tenant"], default()).unwrap()))),
        ("required over caching", Box::new(RequiredContextManager::new(["tenant"], caching(default())).unwrap())),
    ]
}

/// A custom manager that reproduces whatever the caller expects, including reserved keys, and
/// checks nothing.
struct Reproducing<W> {
    keyring: RawAesKeyring,
    /// Changes the materials at the end.
    work: W,
}

fn reproducing() -> impl MaterialsManager {
    reproducing_and(|_| {})
}

fn reproducing_and(work: impl Fn(&mut DecryptionMaterials) + Send + Sync) -> impl MaterialsManager {
    Reproducing { keyring: keyring(), work }
}

impl<W: Fn(&mut DecryptionMaterials) + Send + Sync> MaterialsManager for Reproducing<W> {
    fn encryption_materials<'a>(&'a self, _: EncryptionRequest<'a>) -> BoxFuture<'a, Result<EncryptionMaterials>> {
        unreachable!("only reads")
    }

    fn decryption_materials<'a>(
        &'a self,
        request: DecryptionRequest<'a>,
    ) -> BoxFuture<'a, Result<DecryptionMaterials>> {
        Box::pin(async move {
            let DecryptionRequest { provider, suite, encrypted_data_keys, .. } = request;
            let (mut context, mut required_context_keys) = (request.context.clone(), BTreeSet::new());
            for (key, value) in request.reproduced_context {
                if !context.contains_key(key) {
                    context.insert(key, value);
                    required_context_keys.insert(key.to_owned());
                }
            }
            let verifying_key = suite.signature().map(|algorithm| {
                let public_key = BASE64_STANDARD.decode(context.get(PUBLIC_KEY).unwrap()).unwrap();
                provider.verifying_key(algorithm, &public_key)
            });
            let unwrap = UnwrapRequest::new(provider, suite, &context, encrypted_data_keys);
            let Unwrapped { data_key, encrypted_data_key, keyring, .. } = self.keyring.on_decrypt(unwrap).await?;
            let mut materials = DecryptionMaterials {
                suite,
                context,
                required_context_keys,
                data_key,
                verifying_key: verifying_key.transpose()?,
                opened_by: OpenedBy { keyring, encrypted_data_key },
            };
            (self.work)(&mut materials);
            Ok(materials)
        })
    }
}

/// Asserts that every reader opens the message and reads this, except those that refuse all signed
/// messages.
#[track_caller]
fn opens_everywhere(manager: &dyn MaterialsManager, context: &EncryptionContext, message: &[u8], text: &[u8]) {
    let client = new_client();
    let decrypt = || client.decrypt_with(manager).context(context.clone());
    let signed = client.header_decoder().decode(message).unwrap().0.header().suite().is_signed();
    let outcomes =
        WAYS.iter().map(|way| (format!("{way:?}"), way.refuses_signed(), way.open_as(&client, decrypt(), message)));
    let parts =
        PARTS_WAYS.iter().map(|way| (format!("{way:?}"), way.refuses_signed(), way.open_as(decrypt(), message)));
    for (way, refuses_signed, outcome) in outcomes.chain(parts) {
        if signed && refuses_signed {
            assert!(matches!(outcome, Err(Error::SignedStream)), "{way}");
        } else {
            assert_eq!(outcome.unwrap_or_else(|error| panic!("{way}: {error:?}")).plaintext, text, "{way}");
        }
    }
}

/// Asserts that every reader, and re-encryption, refuses the message with such an error; nothing is
/// released or left behind.
#[track_caller]
fn refused_everywhere(
    what: &str,
    manager: &dyn MaterialsManager,
    context: &EncryptionContext,
    message: &[u8],
    expected: impl Fn(&Error) -> bool,
) {
    let client = new_client();
    let decrypt = || client.decrypt_with(manager).context(context.clone());
    let check = |way: &dyn std::fmt::Debug, outcome: Result<()>| match outcome {
        Ok(()) => panic!("{what}, {way:?}: opened"),
        Err(error) => assert!(expected(&error), "{what}, {way:?}: {error:?}"),
    };
    let signed = client.header_decoder().decode(message).unwrap().0.header().suite().is_signed();
    for way in WAYS.iter().filter(|way| !(signed && way.refuses_signed())) {
        check(way, way.open_as(&client, decrypt(), message).map(|_| ()));
    }
    for way in PARTS_WAYS.iter().filter(|way| !(signed && way.refuses_signed())) {
        check(way, way.open_as(decrypt(), message).map(|_| ()));
    }

    let mut sink = Vec::new();
    let mut writer = decrypt().release_unverified().writer(&mut sink);
    check(&"writer", writer.write_all(message).map_err(Error::from));
    drop(writer);
    check(
        &"copy",
        decrypt().release_unverified().open(message).and_then(|message| message.copy_to(&mut sink)).map(|_| ()),
    );
    check(
        &"copy_verified",
        decrypt()
            .open_at(message)
            .and_then(|message| message.verify())
            .and_then(|message| message.copy_to(&mut sink))
            .map(|_| ()),
    );
    for keep_context in [false, true] {
        let reencrypt = decrypt().reencrypt(client.encrypt(&Unasked));
        let reencrypt = if keep_context { reencrypt.keep_context() } else { reencrypt };
        check(&"reencrypt", reencrypt.copy(message, &mut sink).map(|_| ()));
    }
    assert!(sink.is_empty(), "{what}: something was released");

    #[cfg(feature = "fs")]
    {
        let folder = tempfile::tempdir().unwrap();
        let (source, target) = (folder.path().join("message"), folder.path().join("text"));
        std::fs::write(&source, message).unwrap();
        check(&"file", decrypt().file(&source, &target, Overwrite::Never).map(|_| ()));
        check(
            &"reencrypt",
            decrypt().reencrypt(client.encrypt(&Unasked)).file(&source, &target, Overwrite::Never).map(|_| ()),
        );
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "{what}: a file was made");
        assert_eq!(std::fs::read(&source).unwrap(), message, "{what}");
    }
}

#[test]
fn attack_29_an_unsigned_message_never_passes_for_one_of_a_pinned_signer() {
    let (message, public_key) = honest();
    let (forgery, pinned) = (forged(&message, &public_key), pinned(&public_key));
    for (name, manager) in managers() {
        // The honest message first, so that a cache could answer for the forged one.
        opens_everywhere(&*manager, &pinned, &message, TEXT);
        let refused = is_context(ContextError::ReservedNotStored);
        refused_everywhere(name, &*manager, &pinned, &forgery, refused);
        opens_everywhere(&*manager, &pinned, &message, TEXT);
    }
    // No keyring is called for the data key of such a message.
    let unasked = DefaultMaterialsManager::new(Unasked);
    refused_everywhere("unasked", &unasked, &pinned, &forgery, is_context(ContextError::ReservedNotStored));
    // It is authentic except for that pair: with a pair that is not reserved instead, every reader
    // opens it.
    let path = ("path", "/x");
    for (_, manager) in managers() {
        opens_everywhere(&*manager, &[TENANT, path].into(), &authenticating(UNSIGNED, path), FORGED);
    }
}

#[test]
fn attack_29_reserved_keys_that_a_manager_reproduces_are_refused() {
    let (message, public_key) = honest();
    let pinned = pinned(&public_key);
    opens_everywhere(&reproducing(), &pinned, &message, TEXT);
    let path = ("path", "/x");
    opens_everywhere(&reproducing(), &[TENANT, path].into(), &authenticating(UNSIGNED, path), FORGED);

    // An unsigned message, with the public key from the caller.
    let forgery = forged(&message, &public_key);
    let unexpected = || is_context(ContextError::PublicKeyUnexpected);
    refused_everywhere("reproducing", &reproducing(), &pinned, &forgery, unexpected());
    refused_everywhere("cached", &caching(reproducing()), &pinned, &forgery, unexpected());
    let required = RequiredContextManager::new(["tenant"], reproducing()).unwrap();
    refused_everywhere("required", &required, &pinned, &forgery, unexpected());
    // The same from a manager that adds the public key although the caller does not expect it, and
    // does not require it.
    let mut plain = Forge::new(UNSIGNED);
    plain.set_context(&[TENANT, path]);
    plain.wrap_with(&keyring(), &[TENANT, path].into());
    let adding = reproducing_and(|materials| {
        materials.context.insert(PUBLIC_KEY, public_key.as_str());
    });
    refused_everywhere("added", &adding, NO_CONTEXT, &plain.message(FORGED), unexpected());

    // A signed message, with the public key from the caller. The signature is valid under that key.
    let own_key = BASE64_STANDARD.encode(Curve::P384.public_key());
    let own_pair = (PUBLIC_KEY, own_key.as_str());
    let signed = authenticating(0x0578, own_pair);
    let missing = is_context(ContextError::PublicKeyMissing);
    refused_everywhere("signed", &reproducing(), &[TENANT, own_pair].into(), &signed, missing);
    // The materials have another public key than the message, which would be compared with the
    // expected one.
    let exchanging = reproducing_and(|materials| {
        materials.context.insert(PUBLIC_KEY, own_key.as_str());
    });
    refused_everywhere("exchanged", &exchanging, NO_CONTEXT, &message, is_materials);

    // Reserved keys without a meaning cannot be required either, whether they are stored or not.
    let other = (OTHER_RESERVED, "value");
    for suite in [UNSIGNED, 0x0578] {
        refused_everywhere(
            "other",
            &reproducing(),
            &[TENANT, other].into(),
            &authenticating(suite, other),
            is_materials,
        );
    }
    // Nor can the stored public key: this header authenticates it twice.
    let mut twice = Forge::new(0x0578);
    twice.required = serialize_context(&[own_pair]);
    twice.wrap_with(&keyring(), &[TENANT, own_pair].into());
    let requiring = reproducing_and(|materials| {
        materials.required_context_keys.insert(PUBLIC_KEY.into());
    });
    refused_everywhere("twice", &requiring, NO_CONTEXT, &twice.message(FORGED), is_materials);
}

#[test]
fn attack_29_a_pinned_signer_is_compared_with_what_the_message_stores() {
    let (message, public_key) = honest();
    let (_, another) = honest();
    let unsigned = AlgorithmSuite::from_id(UNSIGNED).unwrap();
    let unsigned = new_client().encrypt(&keyring()).suite(unsigned).context([TENANT]).bytes(TEXT).wait().unwrap();
    let mut stores_other = Forge::new(UNSIGNED);
    stores_other.set_context(&[(OTHER_RESERVED, "value"), TENANT]);
    stores_other.wrap_with(&keyring(), &[TENANT, (OTHER_RESERVED, "value")].into());
    let stores_other = stores_other.message(TEXT);
    for (name, manager) in managers() {
        opens_everywhere(&*manager, &pinned(&public_key), &message, TEXT);
        opens_everywhere(&*manager, &[TENANT].into(), &message, TEXT);
        let mismatch = || is_context(ContextError::Mismatch);
        let not_stored = || is_context(ContextError::ReservedNotStored);
        refused_everywhere(name, &*manager, &pinned(&another), &message, mismatch());
        refused_everywhere(name, &*manager, &pinned(""), &message, mismatch());
        refused_everywhere(name, &*manager, &pinned(&public_key), &unsigned.message, not_stored());
        // Other reserved keys in the same way.
        refused_everywhere(name, &*manager, &[TENANT, (OTHER_RESERVED, "value")].into(), &message, not_stored());
        opens_everywhere(&*manager, &[TENANT, (OTHER_RESERVED, "value")].into(), &stores_other, TEXT);
        refused_everywhere(name, &*manager, &[TENANT, (OTHER_RESERVED, "another")].into(), &stores_other, mismatch());
        for suite in [UNSIGNED, 0x0578] {
            let authenticated = authenticating(suite, (OTHER_RESERVED, "value"));
            let expected = [TENANT, (OTHER_RESERVED, "value")].into();
            refused_everywhere(name, &*manager, &expected, &authenticated, not_stored());
        }
    }
}

#[test]
fn attack_29_a_pinned_signature_is_verified_with_no_other_key() {
    let (message, public_key) = honest();
    // Anyone who can unwrap the data key can write this: it stores the pinned public key, but
    // another key signs it.
    let stored = [(PUBLIC_KEY, &*public_key), TENANT];
    let forge = Forge::under_the_key_of(&message, &keyring(), 0x0578, &stored, &[]);
    let forged = forge.message(FORGED);
    let verify_with = |public_key: Vec<u8>| {
        reproducing_and(move |materials| {
            let key = provider().verifying_key(SignatureAlgorithm::EcdsaP384, &public_key);
            materials.verifying_key = Some(key.unwrap());
        })
    };
    let forger = verify_with(forge.signs().unwrap().public_key());
    refused_everywhere("the forger's key", &forger, &pinned(&public_key), &forged, is_materials);
    refused_everywhere("the forger's key", &forger, NO_CONTEXT, &forged, is_materials);
    // The pinned key does open the honest message.
    let honest = verify_with(BASE64_STANDARD.decode(&public_key).unwrap());
    opens_everywhere(&honest, &pinned(&public_key), &message, TEXT);
    for (name, manager) in managers() {
        let refused = new_client().decrypt_with(&*manager).context(pinned(&public_key)).bytes(&forged).wait();
        assert!(matches!(refused, Err(Error::Integrity)), "{name}");
    }
}

#[test]
fn attack_29_a_pinned_message_is_reencrypted_under_a_public_key_of_its_own() {
    let (message, public_key) = honest();
    let client = new_client();
    let (old, new) = (keyring(), RawAesKeyring::new("example", "new", vec![8; 32]).unwrap());
    for suite in [0x0478, 0x0578].map(|id| AlgorithmSuite::from_id(id).unwrap()) {
        let mut moved = Vec::new();
        let decrypt = client.decrypt(&old).context(pinned(&public_key));
        let reencrypt = decrypt.reencrypt(client.encrypt(&new).suite(suite)).keep_context();
        let done = reencrypt.copy(&message[..], &mut moved).unwrap();
        assert_eq!(done.opened.header.context().get(PUBLIC_KEY), Some(public_key.as_str()));
        let mut kept = done.sealed.header.context().clone();
        let own_key = kept.remove(PUBLIC_KEY);
        assert_eq!(own_key.is_some(), suite.is_signed());
        assert_ne!(own_key.as_deref(), Some(public_key.as_str()));
        assert!(kept == [TENANT].into());

        let manager = DefaultMaterialsManager::new(&new);
        let expected = [TENANT].into_iter().chain(own_key.as_deref().map(|own_key| (PUBLIC_KEY, own_key)));
        opens_everywhere(&manager, &expected.collect(), &moved, TEXT);
        // The old signer did not sign it.
        let refused = if suite.is_signed() { ContextError::Mismatch } else { ContextError::ReservedNotStored };
        refused_everywhere("moved", &manager, &pinned(&public_key), &moved, is_context(refused));
    }
}
