//! What a materials manager must not do: return another key than the committed one, another suite
//! than the message's, or less than the suite requires.

use super::*;

#[test]
fn attack_1_a_commitment_mismatch_is_refused_before_anything_is_opened() {
    for suite in [0x0478, 0x0578] {
        let forge = Forge::new(suite);
        let message = forge.message(TEXT);
        // A keyring that returns another key of the right length, as for one of two recipients with
        // different keys.
        let watched = Fronted::watched();
        let client = Client::builder_with_provider(watched.clone()).build();
        reading(&client, &Fixed(vec![0x43; 32])).refuses(&message, b"", is_integrity);
        assert_eq!(watched.log().opened, 0);

        // A commitment that does not belong to the key, under a valid header tag.
        let body = forge.header_body();
        let mut other = body.clone();
        *other.last_mut().unwrap() ^= 1;
        let tag = forge.seal([0; 12], &other, &[]);
        let altered = [&other[..], &tag, &message[body.len() + 16..]].concat();
        reading(&client, &forge.keyring()).refuses(&altered, b"", is_integrity);
        assert_eq!(watched.log().opened, 0);
        reading(&client, &forge.keyring()).accepts(&message, TEXT);
    }
}

#[test]
fn attack_2_a_message_without_commitment_is_refused_before_any_unwrapping() {
    for suite in AlgorithmSuite::ALL.into_iter().filter(|suite| !suite.is_committing()) {
        let message = Forge::new(suite.id()).message(TEXT);
        reading(&new_client(), &Unasked).refuses(&message, b"", |error| {
            matches!(error, Error::Commitment { suite: found, operation: Direction::Decrypt, .. } if *found == suite)
        });
        // No manager is called either.
        let refused = new_client().decrypt_with(&UnaskedManager).bytes(&message).wait();
        assert!(matches!(refused, Err(Error::Commitment { operation: Direction::Decrypt, .. })), "{suite}");
    }
}

/// A manager that must not be called.
struct UnaskedManager;

impl MaterialsManager for UnaskedManager {
    fn encryption_materials<'a>(&'a self, _: EncryptionRequest<'a>) -> BoxFuture<'a, Result<EncryptionMaterials>> {
        panic!("asked for materials to encrypt with")
    }

    fn decryption_materials<'a>(&'a self, _: DecryptionRequest<'a>) -> BoxFuture<'a, Result<DecryptionMaterials>> {
        panic!("asked for materials to decrypt with")
    }
}

/// A manager that alters what the default one returns.
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

pub(super) fn altered_encryption(
    forge: &Forge,
    work: impl Fn(&mut EncryptionMaterials) + Send + Sync,
) -> impl MaterialsManager {
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
        let refused = reads_all()
            .decrypt_with(&manager)
            .release_unverified()
            .open(&message[..])
            .and_then(|message| message.into_reader());
        assert!(matches!(refused, Err(Error::Materials(_))), "{found:#x} {given:#x}");
        let mut sink = Vec::new();
        let refused = reads_all().decrypt_with(&manager).release_unverified().writer(&mut sink).write_all(&message);
        assert!(matches!(refused.map_err(Error::from), Err(Error::Materials(_))), "{found:#x} {given:#x}");
        assert!(sink.is_empty());
    }

    // A suite that the policy forbids is not accepted from the materials either, in either
    // direction.
    let forge = Forge::new(0x0478);
    let message = forge.message(TEXT);
    let manager = altered_decryption(&forge, |materials| materials.suite = AlgorithmSuite::from_id(0x0178).unwrap());
    let refused = new_client().decrypt_with(&manager).bytes(&message).wait();
    assert!(matches!(refused, Err(Error::Commitment { operation: Direction::Decrypt, .. })));
    let manager = altered_encryption(&forge, |materials| materials.suite = AlgorithmSuite::from_id(0x0178).unwrap());
    let unsigned = AlgorithmSuite::Aes256GcmHkdfSha512CommitKey;
    let refused = new_client().encrypt_with(&manager).suite(unsigned).bytes(TEXT).wait();
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
    assert!(materials_error(new_client().decrypt_with(&short_key).bytes(&message).wait().map(|_| ())));
    assert!(materials_error(new_client().decrypt_with(&no_verifier).bytes(&message).wait().map(|_| ())));
    assert!(materials_error(new_client().decrypt_with(&stray_required).bytes(&message).wait().map(|_| ())));

    let short_key = altered_encryption(&forge, |materials| materials.data_key = SecretBytes::zeroed(16));
    let no_keys = altered_encryption(&forge, |materials| materials.encrypted_data_keys.clear());
    let no_signer = altered_encryption(&forge, |materials| materials.signing_key = None);
    let other_signer = altered_encryption(&forge, |materials| {
        materials.signing_key = Some(provider().generate_signing_key(SignatureAlgorithm::EcdsaP384).unwrap());
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
        assert!(materials_error(new_client().encrypt_with(manager).bytes(TEXT).wait().map(|_| ())), "{index}");
    }
}

/// A manager that does not compare the context that the caller expects, and then alters its result.
struct Uncomparing<D> {
    inner: DefaultMaterialsManager<Fixed>,
    alter: D,
}

impl<D: Fn(&mut DecryptionMaterials) + Send + Sync> MaterialsManager for Uncomparing<D> {
    fn encryption_materials<'a>(&'a self, _: EncryptionRequest<'a>) -> BoxFuture<'a, Result<EncryptionMaterials>> {
        unreachable!("only reads")
    }

    fn decryption_materials<'a>(
        &'a self,
        mut request: DecryptionRequest<'a>,
    ) -> BoxFuture<'a, Result<DecryptionMaterials>> {
        Box::pin(async move {
            request.reproduced_context = NO_CONTEXT;
            let mut materials = self.inner.decryption_materials(request).await?;
            (self.alter)(&mut materials);
            Ok(materials)
        })
    }
}

#[test]
fn attack_14_the_expected_context_is_compared_whatever_the_manager_compares() {
    for suite in FOUR {
        // It stores tenant=blue, and authenticates stage=live without storing it.
        let forge = Forge { required: serialize_context(&[("stage", "live")]), ..Forge::new(suite) };
        let message = forge.message(TEXT);
        let claim = |key: &'static str, value: &'static str| {
            let alter = move |materials: &mut DecryptionMaterials| {
                materials.context.insert(key, value);
                materials.required_context_keys.insert(key.to_owned());
            };
            Uncomparing { inner: DefaultMaterialsManager::new(forge.keyring()), alter }
        };
        let open = |manager: &dyn MaterialsManager, expected: &[(&str, &str)]| {
            let expected: EncryptionContext = expected.iter().copied().collect();
            reads_all().decrypt_with(manager).context(expected).bytes(&message).wait()
        };
        let is_mismatch = |outcome: Result<Decrypted>| matches!(outcome, Err(Error::Context(ContextError::Mismatch)));

        let honest = claim("stage", "live");
        for right in [&[][..], &[("tenant", "blue")], &[("stage", "live")], &[("stage", "live"), ("tenant", "blue")]] {
            assert_eq!(open(&honest, right).unwrap().plaintext, TEXT, "{suite:#06x}, {right:?}");
        }
        // Another value of a stored pair, a key that does not exist, and another value of a pair
        // that is not stored.
        for wrong in [("tenant", "green"), ("tenant", ""), ("purpose", "test"), ("stage", "test")] {
            assert!(is_mismatch(open(&honest, &[wrong])), "{suite:#06x}, {wrong:?}");
            assert!(is_mismatch(open(&honest, &[("stage", "live"), wrong])), "{suite:#06x}, {wrong:?}");
        }
        // What the message stores counts, even if the manager claims another value for it.
        assert!(is_mismatch(open(&claim("tenant", "green"), &[("tenant", "green")])), "{suite:#06x}");
        // Nor may a manager claim that a stored pair is one that is not stored.
        for value in ["green", "blue"] {
            let refused = open(&claim("tenant", value), &[]);
            assert!(matches!(refused, Err(Error::Materials(_))), "{suite:#06x}, {value}");
        }
        // A pair that the manager adds without claiming that it is authenticated does not count.
        let alter = |materials: &mut DecryptionMaterials| {
            materials.context.insert("stage", "live");
        };
        let unclaimed = Uncomparing { inner: DefaultMaterialsManager::new(forge.keyring()), alter };
        assert!(is_mismatch(open(&unclaimed, &[("stage", "live")])), "{suite:#06x}");
    }
}

#[test]
fn attack_15_reserved_keys_cannot_be_kept_out_of_a_message() {
    // A message without the public key of its signature could be read with another one instead.
    for (suite, key) in [(0x0578, PUBLIC_KEY), (0x0578, "aws-crypto-anything"), (0x0478, "aws-crypto-anything")] {
        let forge = Forge::new(suite);
        let claim = |context: &mut EncryptionContext, required: &mut BTreeSet<String>| {
            if !context.contains_key(key) {
                context.insert(key, "value");
            }
            required.insert(key.to_owned());
        };
        let manager = altered_encryption(&forge, |materials| {
            claim(&mut materials.context, &mut materials.required_context_keys);
        });
        let client = new_client();
        let encrypt = || client.encrypt_with(&manager).suite(AlgorithmSuite::from_id(suite).unwrap());
        let is_refused = |outcome: Result<_>| matches!(outcome, Err(Error::Materials(why)) if why.contains("reserved"));
        assert!(is_refused(encrypt().bytes(TEXT).wait().map(|_| ())), "{suite:#06x}, {key}");
        assert!(is_refused(encrypt().machine().wait().map(|_| ())), "{suite:#06x}, {key}");

        // Nor when it is read. The message has a valid header tag.
        let value = forge.signs().filter(|_| key == PUBLIC_KEY).map(|curve| BASE64_STANDARD.encode(curve.public_key()));
        let required = serialize_context(&[(key, value.as_deref().unwrap_or("value"))]);
        let forge = Forge { required, ..forge.clone() };
        let manager = altered_decryption(&forge, |materials| {
            claim(&mut materials.context, &mut materials.required_context_keys);
        });
        let refused = new_client().decrypt_with(&manager).bytes(&forge.message(TEXT)).wait().map(|_| ());
        assert!(is_refused(refused), "{suite:#06x}, {key}");
    }
}

#[test]
fn attack_14_materials_without_the_check_are_checked_again() {
    // A custom manager that returns a verifying key for a message whose context contains none.
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
            let verifying_key = provider().verifying_key(SignatureAlgorithm::EcdsaP384, &self.1);
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
    assert!(new_client().decrypt_with(&manager).bytes(&forge.message(TEXT)).wait().is_ok());
    let refused = new_client().decrypt_with(&manager).bytes(&bare.message(TEXT)).wait().map(|_| ());
    assert!(matches!(refused, Err(Error::Context(ContextError::PublicKeyMissing))), "{refused:?}");
}

#[test]
fn attack_15_reserved_context_keys_are_refused_on_encrypt() {
    for key in [PUBLIC_KEY, "aws-crypto-", "aws-crypto-anything"] {
        let refused = new_client().encrypt(&Unasked).context([(key, "value")]).bytes(TEXT).wait();
        assert!(matches!(refused, Err(Error::Context(ContextError::ReservedPrefix))), "{key}");
        let refused = new_client().encrypt(&Unasked).context([(key, "value")]).machine().wait().map(|_| ());
        assert!(matches!(refused, Err(Error::Context(ContextError::ReservedPrefix))), "{key}");
        let refused = new_client().encrypt(&Unasked).context([(key, "value")]).writer(Vec::new()).wait().map(|_| ());
        assert!(matches!(refused, Err(Error::Context(ContextError::ReservedPrefix))), "{key}");
    }
    let forge = Forge::new(0x0578);
    for key in ["aws-crypto", "Aws-crypto-public-key", "my-aws-crypto-key"] {
        assert!(new_client().encrypt(&forge.keyring()).context([(key, "value")]).bytes(TEXT).wait().is_ok(), "{key}");
    }
}
