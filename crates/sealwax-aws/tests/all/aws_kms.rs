//! The AWS KMS keyrings over real servers, and the official Python SDK on the same server.
//!
//! The tests assert only what a server does as AWS does: moto decrypts with disabled keys and has
//! no replicas, fakecloud does not separate regions and has no policies.

use std::{error::Error as _, sync::Arc};

use aws_sdk_kms::types::{KeySpec, KeyUsageType};
use sealwax::{
    AlgorithmSuite, Client, EncryptionContext, Error, UnwrapReason,
    keyring::{
        DeriveSharedSecret, GenerateDataKey, GetPublicKey, Keyring, KmsApi, KmsDecrypt, KmsEncrypt, KmsError,
        KmsErrorKind, KmsKeyUsage,
    },
};
use sealwax_aws::{AwsKmsDiscoveryKeyring, AwsKmsKeyring, AwsKmsMultiKeyrings, AwsSdkKms, DiscoveryFilter};
use serde_json::json;

use crate::{
    kms_support::{config, servers::Server},
    support::{self, client_for, from_base64, pattern, reading_client, say, suite_name, to_base64},
};

const HERE: &str = "us-east-1";
const THERE: &str = "eu-west-1";

/// The account of both servers.
const ACCOUNT: &str = "123456789012";

/// With and without commitment, signature and key derivation.
const SUITES: [AlgorithmSuite; 5] = [
    AlgorithmSuite::Aes256GcmHkdfSha512CommitKey,
    AlgorithmSuite::Aes256GcmHkdfSha512CommitKeyEcdsaP384,
    AlgorithmSuite::Aes256GcmIv12Tag16HkdfSha384EcdsaP384,
    AlgorithmSuite::Aes192GcmIv12Tag16HkdfSha256,
    AlgorithmSuite::Aes128GcmIv12Tag16NoKdf,
];

fn contexts() -> [EncryptionContext; 3] {
    [
        EncryptionContext::new(),
        EncryptionContext::from([("tenant", "blue")]),
        EncryptionContext::from([
            ("a", "1"),
            ("Z", "2"),
            ("\u{e9}\u{10002}", "\u{ff61}"),
            ("purpose", "every kind of"),
        ]),
    ]
}

async fn seal(keyring: &dyn Keyring, suite: AlgorithmSuite, context: &EncryptionContext, text: &[u8]) -> Vec<u8> {
    let client = client_for(suite);
    let sealed = client.encrypt(keyring).suite(suite).context(context.clone()).frame_length(128).bytes(text).await;
    sealed.unwrap_or_else(|error| panic!("{suite}: {error}, {:?}", error.source())).message
}

async fn open(keyring: &dyn Keyring, message: &[u8]) -> Result<Vec<u8>, Error> {
    Ok(reading_client().decrypt(keyring).bytes(message).await?.plaintext)
}

/// Returns the kinds of error that the attempts to unwrap a data key met; `None` for a keyring that
/// found no data key of its own.
fn kinds(outcome: Result<Vec<u8>, Error>) -> Vec<Option<KmsErrorKind>> {
    let Err(Error::NotUnwrapped(failure)) = outcome else { panic!("{}", support::outcome(&outcome)) };
    let kind = |reason: &UnwrapReason| match reason {
        UnwrapReason::NoMatch => None,
        UnwrapReason::NotAuthentic => Some(KmsErrorKind::InvalidCiphertext),
        UnwrapReason::Failed(cause) => Some(cause.downcast_ref::<KmsError>().expect("an error of AWS KMS").kind()),
        other => panic!("{other:?}"),
    };
    failure.attempts().iter().map(|attempt| kind(&attempt.reason)).collect()
}

fn strict(key: &str, kms: Arc<AwsSdkKms>) -> AwsKmsKeyring {
    AwsKmsKeyring::new(key, kms).expect("a keyring")
}

fn discovery(kms: Arc<AwsSdkKms>) -> AwsKmsDiscoveryKeyring {
    AwsKmsDiscoveryKeyring::new(kms)
}

// moto.

#[tokio::test]
async fn every_keyring_goes_there_and_back() {
    let Some(server) = Server::moto() else { return };
    let (key, far_key) = (server.create_key(HERE).await, server.create_key(THERE).await);
    server.admin(HERE).create_alias().alias_name("alias/orders").target_key_id(&key).send().await.unwrap();
    let (kms, text) = (server.kms(HERE), pattern(300));
    let bare_id = key.rsplit('/').next().unwrap();
    let alias_arn = format!("arn:aws:kms:{HERE}:{ACCOUNT}:alias/orders");
    let keyrings = AwsKmsMultiKeyrings::new(server.regions());
    let multi = keyrings.strict(&*key, [&*far_key]).unwrap();
    let writers: [(&str, Box<dyn Keyring>); 6] = [
        ("by ARN", Box::new(strict(&key, kms.clone()))),
        ("by alias", Box::new(strict("alias/orders", kms.clone()))),
        ("by ARN of the alias", Box::new(strict(&alias_arn, kms.clone()))),
        ("by id", Box::new(strict(bare_id, kms.clone()))),
        ("for multi-Region keys", Box::new(AwsKmsKeyring::mrk_aware(&*key, kms.clone()).unwrap())),
        ("several", Box::new(multi)),
    ];
    let filter = || DiscoveryFilter::new("aws", [ACCOUNT, "111122223333"]).unwrap();
    let readers: [(&str, Box<dyn Keyring>); 5] = [
        ("by ARN", Box::new(strict(&key, kms.clone()))),
        ("for multi-Region keys", Box::new(AwsKmsKeyring::mrk_aware(&*key, kms.clone()).unwrap())),
        ("discovery", Box::new(discovery(kms.clone()))),
        ("discovery, filtered", Box::new(discovery(kms.clone()).filter(filter()))),
        ("discovery, of several regions", Box::new(keyrings.discovery([THERE, HERE], Some(filter())).unwrap())),
    ];
    let mut count = 0;
    for (suite, context) in SUITES.iter().zip(contexts().iter().cycle()) {
        for (writing, writer) in &writers {
            let message = seal(&**writer, *suite, context, &text).await;
            for (reading, reader) in &readers {
                let opened = open(&**reader, &message).await;
                let opened = opened.unwrap_or_else(|error| panic!("{suite}, {writing}, {reading}: {error}"));
                assert!(opened == text, "{suite}, {writing}, {reading}");
                count += 1;
            }
        }
    }
    assert_eq!(count, 5 * 6 * 5);

    // Each of several keys can open the message alone.
    let message = seal(&*writers[5].1, SUITES[0], &contexts()[1], &text).await;
    assert_eq!(open(&strict(&far_key, server.kms(THERE)), &message).await.unwrap(), text);
    // A key that the filter does not allow is not requested.
    for other in [DiscoveryFilter::new("aws-cn", [ACCOUNT]), DiscoveryFilter::new("aws", ["111122223333"])] {
        let reader = discovery(kms.clone()).filter(other.unwrap());
        assert_eq!(kinds(open(&reader, &message).await), [None]);
    }
}

#[tokio::test]
async fn another_context_opens_nothing() {
    let Some(server) = Server::moto() else { return };
    let (key, kms) = (server.create_key(HERE).await, server.kms(HERE));
    let right = EncryptionContext::from([("tenant", "blue"), ("purpose", "orders")]);
    let made = kms.generate_data_key(GenerateDataKey::new(&key, 32, &right)).await.unwrap();
    let encrypted = kms.encrypt(KmsEncrypt::new(&key, made.plaintext.as_bytes(), &right)).await.unwrap();
    assert_eq!((&made.key_id, &encrypted.key_id), (&key, &key));
    for ciphertext in [&made.ciphertext, &encrypted.ciphertext] {
        let opened = kms.decrypt(KmsDecrypt::new(&key, ciphertext, &right)).await.unwrap();
        assert!(opened.plaintext.ct_eq(made.plaintext.as_bytes()) && opened.key_id == key);
        let missing = EncryptionContext::new();
        let less = EncryptionContext::from([("tenant", "blue")]);
        let more = EncryptionContext::from([("tenant", "blue"), ("purpose", "orders"), ("x", "y")]);
        let other = EncryptionContext::from([("tenant", "green"), ("purpose", "orders")]);
        for wrong in [&missing, &less, &more, &other] {
            let Err(error) = kms.decrypt(KmsDecrypt::new(&key, ciphertext, wrong)).await else { panic!("it opened") };
            assert_eq!(error.kind(), KmsErrorKind::InvalidCiphertext, "{error}: {:?}", error.source());
        }
        let mut altered = ciphertext.clone();
        *altered.last_mut().unwrap() ^= 1;
        let Err(error) = kms.decrypt(KmsDecrypt::new(&key, &altered, &right)).await else { panic!("it opened") };
        assert_eq!(error.kind(), KmsErrorKind::InvalidCiphertext);
    }
    // Through a client: the service receives the context of the header.
    let keyring = strict(&key, kms);
    let mut message = seal(&keyring, SUITES[0], &right, b"text").await;
    let at = message.windows(4).position(|window| window == b"blue").unwrap();
    message[at] = b'g';
    assert_eq!(kinds(open(&keyring, &message).await), [Some(KmsErrorKind::InvalidCiphertext)]);
}

#[tokio::test]
async fn a_key_belongs_to_its_region() {
    let Some(server) = Server::moto() else { return };
    let key = server.create_key(HERE).await;
    let message = seal(&strict(&key, server.kms(HERE)), SUITES[0], &contexts()[1], b"text").await;
    let elsewhere = strict(&key, server.kms(THERE));
    let refused = Client::new().encrypt(&elsewhere).bytes(b"text").await;
    let Err(Error::Keyring { source, .. }) = refused else { panic!("{}", support::outcome(&refused)) };
    assert_eq!(source.downcast_ref::<KmsError>().unwrap().kind(), KmsErrorKind::NotFound);
    assert_eq!(kinds(open(&elsewhere, &message).await), [Some(KmsErrorKind::NotFound)]);
    assert_eq!(kinds(open(&discovery(server.kms(THERE)), &message).await), [Some(KmsErrorKind::NotFound)]);
    let both = AwsKmsMultiKeyrings::new(server.regions()).discovery([THERE, HERE], None).unwrap();
    assert_eq!(open(&both, &message).await.unwrap(), b"text");
    // A keyring for multi-Region keys calls its own region only, and only for keys there.
    let both = AwsKmsMultiKeyrings::new(server.regions()).mrk_aware().discovery([THERE, HERE], None).unwrap();
    assert_eq!(open(&both, &message).await.unwrap(), b"text");
    let mrk_there = AwsKmsDiscoveryKeyring::mrk_aware(THERE, server.kms(THERE)).unwrap();
    assert_eq!(kinds(open(&mrk_there, &message).await), [None]);
}

#[tokio::test]
async fn old_messages_open_after_a_rotation() {
    let Some(server) = Server::moto() else { return };
    let (key, admin) = (server.create_key(HERE).await, server.admin(HERE));
    let keyring = strict(&key, server.kms(HERE));
    let old = seal(&keyring, SUITES[0], &contexts()[1], b"old").await;
    admin.enable_key_rotation().key_id(&key).send().await.unwrap();
    admin.rotate_key_on_demand().key_id(&key).send().await.unwrap();
    let new = seal(&keyring, SUITES[0], &contexts()[1], b"new").await;
    assert_eq!(open(&keyring, &old).await.unwrap(), b"old");
    assert_eq!(open(&keyring, &new).await.unwrap(), b"new");
}

#[tokio::test]
async fn grants_are_passed_on() {
    let Some(server) = Server::moto() else { return };
    let key = server.create_key(HERE).await;
    let grant = server.admin(HERE).create_grant().key_id(&key).grantee_principal("arn:aws:iam::123456789012:user/x");
    let operations = ["GenerateDataKey", "Encrypt", "Decrypt"].map(Into::into).to_vec();
    let token = grant.set_operations(Some(operations)).send().await.unwrap().grant_token.unwrap();
    let keyring = strict(&key, server.kms(HERE)).grant_tokens([&*token]);
    let message = seal(&keyring, SUITES[1], &contexts()[1], b"text").await;
    assert_eq!(open(&keyring, &message).await.unwrap(), b"text");
    assert_eq!(open(&discovery(server.kms(HERE)).grant_tokens([&*token]), &message).await.unwrap(), b"text");
}

#[tokio::test]
async fn the_actions_of_the_guide_are_enough_and_no_fewer_are() {
    let Some(mut server) = Server::moto() else { return };
    let key = server.create_key(HERE).await;
    let own = seal(&strict(&key, server.kms(HERE)), SUITES[0], &contexts()[1], b"text").await;
    let mut users = Vec::new();
    for (name, actions) in [
        ("both", json!(["kms:GenerateDataKey", "kms:Decrypt"])),
        ("writes", json!(["kms:GenerateDataKey"])),
        ("wraps", json!(["kms:Encrypt"])),
        ("reads", json!(["kms:Decrypt"])),
        ("nothing", json!(["kms:DescribeKey"])),
    ] {
        server.call("iam", "create_user", json!({"UserName": name}));
        // moto checks the actions of a policy, not its resources.
        let policy = json!({
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}],
        });
        let policy = json!({"UserName": name, "PolicyName": "kms", "PolicyDocument": policy.to_string()});
        server.call("iam", "put_user_policy", policy);
        let made = server.call("iam", "create_access_key", json!({"UserName": name}));
        users.push((name, made["AccessKey"].clone()));
    }
    server.ask(json!({"op": "enforce"})).unwrap();

    for (name, access) in users {
        let part = |part: &str| access[part].as_str().unwrap().to_owned();
        let credentials =
            aws_sdk_kms::config::Credentials::new(part("AccessKeyId"), part("SecretAccessKey"), None, None, "test");
        let config = config(&server.endpoint, std::time::Duration::from_secs(60)).credentials_provider(credentials);
        let kms = Arc::new(AwsSdkKms::new(config.build()));
        let may = |actions: &[&str]| actions.contains(&name);
        let keyring = strict(&key, kms.clone());

        let sealed = Client::new().encrypt(&keyring).context(contexts()[1].clone()).bytes(b"text").await;
        let why = sealed.as_ref().err().map(|error| format!("{error:?}"));
        assert_eq!(sealed.is_ok(), may(&["both", "writes"]), "{name}: {why:?}");
        let context = contexts()[1].clone();
        let wrapped = kms.encrypt(KmsEncrypt::new(&key, &[7; 32], &context)).await;
        assert_eq!(wrapped.is_ok(), may(&["wraps"]), "{name}");
        for opened in [open(&keyring, &own).await, open(&discovery(kms.clone()), &own).await] {
            if may(&["both", "reads"]) {
                assert_eq!(opened.unwrap(), b"text", "{name}");
            } else {
                assert_eq!(kinds(opened), [Some(KmsErrorKind::AccessDenied)], "{name}");
            }
        }
    }
    // Without credentials of a user, nothing is allowed.
    let config = config(&server.endpoint, std::time::Duration::from_secs(60));
    let stranger = strict(&key, Arc::new(AwsSdkKms::new(config.build())));
    assert_eq!(kinds(open(&stranger, &own).await), [Some(KmsErrorKind::AccessDenied)]);
}

// The official Python SDK at the same server.

#[tokio::test]
async fn the_python_sdk_and_we_read_each_other() {
    let Some(mut server) = Server::moto() else { return };
    let (key, far_key) = (server.create_key(HERE).await, server.create_key(THERE).await);
    let keys = [key.clone(), far_key.clone()];
    let keyrings = AwsKmsMultiKeyrings::new(server.regions());
    let (one, several) = (strict(&key, server.kms(HERE)), keyrings.strict(&*key, [&*far_key]).unwrap());
    let regions = keyrings.discovery([HERE, THERE], Some(DiscoveryFilter::new("aws", [ACCOUNT]).unwrap())).unwrap();
    let (far, text) = (strict(&far_key, server.kms(THERE)), pattern(300));
    let (mut read, mut written) = (0, 0);
    for suite in SUITES {
        for context in contexts() {
            let pairs: serde_json::Map<_, _> =
                context.iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
            // Messages that the SDK writes.
            for (way, count) in [("provider", 1), ("provider", 2), ("mpl", 1), ("mpl-multi", 2)] {
                let what = format!("{suite}, {way} with {count}");
                let request = json!({
                    "op": "encrypt", "way": way, "keys": keys[..count], "suite": suite_name(suite),
                    "frame_length": 128, "context": pairs, "plaintext": to_base64(&text),
                });
                let answer = server.ask(request).unwrap_or_else(|error| panic!("{what}: {error}"));
                let message = from_base64(answer["message"].as_str().unwrap());
                for reader in [&one as &dyn Keyring, &several, &regions] {
                    let opened = reading_client().decrypt(reader).context(context.clone()).bytes(&message).await;
                    let opened = opened.unwrap_or_else(|error| panic!("{what}: {error}"));
                    assert!(opened.plaintext == text, "{what}");
                }
                if count == 2 {
                    assert!(open(&far, &message).await.unwrap() == text, "{what}");
                }
                read += 1;
            }
            // Messages that this crate writes.
            for (writer, wrapped) in [(&one as &dyn Keyring, 1), (&several, 2)] {
                let message = to_base64(&seal(writer, suite, &context, &text).await);
                for way in ["provider", "provider-discovery", "mpl", "mpl-discovery"] {
                    for key in &keys[..wrapped] {
                        let what = format!("{suite}, {way}, {key}");
                        let request = json!({
                            "op": "decrypt", "way": way, "keys": [key], "context": pairs, "message": message,
                        });
                        let answer = server.ask(request).unwrap_or_else(|error| panic!("{what}: {error}"));
                        assert!(from_base64(answer["plaintext"].as_str().unwrap()) == text, "{what}");
                        assert_eq!(answer["suite"], suite_name(suite), "{what}");
                        assert!(context.iter().all(|(name, value)| answer["context"][name] == value), "{what}");
                        written += 1;
                    }
                }
            }
        }
    }
    say(&format!("with the Python SDK at one AWS KMS: {read} of its messages read, ours opened {written} times"));
    assert_eq!((read, written), (5 * 3 * 4, 5 * 3 * 4 * 3));
}

// fakecloud.

#[tokio::test]
async fn a_key_that_cannot_be_used_is_told_by_its_state() {
    let Some(server) = Server::fakecloud() else { return };
    let (key, admin) = (server.create_key(HERE).await, server.admin(HERE));
    let keyring = strict(&key, server.kms(HERE));
    let message = seal(&keyring, SUITES[0], &contexts()[1], b"text").await;
    assert_eq!(open(&keyring, &message).await.unwrap(), b"text");

    let check = async |kind: KmsErrorKind| {
        let refused = Client::new().encrypt(&keyring).bytes(b"text").await;
        let Err(Error::Keyring { source, .. }) = refused else { panic!("{}", support::outcome(&refused)) };
        assert_eq!(source.downcast_ref::<KmsError>().unwrap().kind(), kind);
        assert_eq!(kinds(open(&keyring, &message).await), [Some(kind)]);
    };
    admin.disable_key().key_id(&key).send().await.unwrap();
    check(KmsErrorKind::Disabled).await;
    admin.enable_key().key_id(&key).send().await.unwrap();
    assert_eq!(open(&keyring, &message).await.unwrap(), b"text");
    admin.schedule_key_deletion().key_id(&key).pending_window_in_days(7).send().await.unwrap();
    check(KmsErrorKind::InvalidState).await;
    admin.cancel_key_deletion().key_id(&key).send().await.unwrap();
    check(KmsErrorKind::Disabled).await;

    let unknown = strict(&key.replace(&key[key.len() - 4..], "0000"), server.kms(HERE));
    let refused = Client::new().encrypt(&unknown).bytes(b"text").await;
    let Err(Error::Keyring { source, .. }) = refused else { panic!("{}", support::outcome(&refused)) };
    assert_eq!(source.downcast_ref::<KmsError>().unwrap().kind(), KmsErrorKind::NotFound);
}

#[tokio::test]
async fn a_ciphertext_of_another_key_is_refused_by_the_service() {
    let Some(server) = Server::fakecloud() else { return };
    let (key, other, kms) = (server.create_key(HERE).await, server.create_key(HERE).await, server.kms(HERE));
    let context = EncryptionContext::new();
    let made = kms.generate_data_key(GenerateDataKey::new(&key, 32, &context)).await.unwrap();
    let Err(error) = kms.decrypt(KmsDecrypt::new(&other, &made.ciphertext, &context)).await else {
        panic!("it opened")
    };
    assert_eq!(error.kind(), KmsErrorKind::IncorrectKey, "{:?}", error.source());
    // The header names the key to use: if the name is changed there, the message does not open.
    let mut message = seal(&strict(&key, kms.clone()), SUITES[0], &context, b"text").await;
    let at = message.windows(key.len()).position(|window| window == key.as_bytes()).unwrap();
    message[at..at + key.len()].copy_from_slice(other.as_bytes());
    assert_eq!(kinds(open(&discovery(kms), &message).await), [Some(KmsErrorKind::IncorrectKey)]);
}

#[tokio::test]
async fn a_replica_opens_what_a_multi_region_key_wrapped_elsewhere() {
    let Some(server) = Server::fakecloud() else { return };
    let admin = server.admin(HERE);
    let made = admin.create_key().multi_region(true).send().await.unwrap().key_metadata.unwrap();
    let primary = made.arn.unwrap();
    let replica = admin.replicate_key().key_id(&primary).replica_region(THERE).send().await.unwrap();
    let replica = replica.replica_key_metadata.and_then(|metadata| metadata.arn).unwrap();
    assert_eq!(replica, primary.replace(HERE, THERE));
    let filter = DiscoveryFilter::new("aws", [ACCOUNT]).unwrap();
    for (write, write_in, read, read_in) in [(&primary, HERE, &replica, THERE), (&replica, THERE, &primary, HERE)] {
        let message = seal(&strict(write, server.kms(write_in)), SUITES[0], &contexts()[1], b"text").await;
        let aware = AwsKmsKeyring::mrk_aware(&**read, server.kms(read_in)).unwrap();
        assert_eq!(open(&aware, &message).await.unwrap(), b"text");
        let any = AwsKmsDiscoveryKeyring::mrk_aware(read_in, server.kms(read_in)).unwrap().filter(filter.clone());
        assert_eq!(open(&any, &message).await.unwrap(), b"text");
        // A keyring that is not aware of replicas sees another key.
        assert_eq!(kinds(open(&strict(read, server.kms(read_in)), &message).await), [None]);
        // A replica in a third region does not match either.
        let third = AwsKmsDiscoveryKeyring::mrk_aware("ap-south-1", server.kms("ap-south-1")).unwrap();
        let third = kinds(open(&third, &message).await);
        assert!(third.len() == 1 && third[0].is_some(), "{third:?}");
    }
}

#[tokio::test]
async fn key_pairs_agree_on_a_secret() {
    let Some(server) = Server::fakecloud() else { return };
    let (admin, kms) = (server.admin(HERE), server.kms(HERE));
    for spec in [KeySpec::EccNistP256, KeySpec::EccNistP384] {
        let mut pairs = Vec::new();
        for _ in 0..2 {
            let made = admin.create_key().key_spec(spec.clone()).key_usage(KeyUsageType::KeyAgreement).send().await;
            let arn = made.unwrap().key_metadata.and_then(|metadata| metadata.arn).unwrap();
            let public = kms.get_public_key(GetPublicKey::new(&arn)).await.unwrap();
            assert_eq!((public.usage, &public.key_id), (Some(KmsKeyUsage::KeyAgreement), &arn));
            pairs.push((arn, public.public_key));
        }
        let agree = async |own: usize, other: usize| {
            let answer =
                kms.derive_shared_secret(DeriveSharedSecret::new(&pairs[own].0, &pairs[other].1)).await.unwrap();
            assert_eq!(answer.key_id, pairs[own].0);
            answer.shared_secret
        };
        let (one, same, another) = (agree(0, 1).await, agree(1, 0).await, agree(0, 0).await);
        assert!(one.len() >= 32 && one.ct_eq(same.as_bytes()) && !one.ct_eq(another.as_bytes()), "{spec:?}");
    }
}

#[cfg(feature = "ecdh")]
#[tokio::test]
async fn the_ecdh_keyrings_go_there_and_back() {
    use sealwax::keyring::EcdhCurve;
    use sealwax_aws::AwsKmsEcdhKeyring;

    let Some(server) = Server::fakecloud() else { return };
    let (admin, kms) = (server.admin(HERE), server.kms(HERE));
    for (spec, curve) in [(KeySpec::EccNistP256, EcdhCurve::P256), (KeySpec::EccNistP384, EcdhCurve::P384)] {
        let mut arns = Vec::new();
        for _ in 0..3 {
            let made = admin.create_key().key_spec(spec.clone()).key_usage(KeyUsageType::KeyAgreement).send().await;
            arns.push(made.unwrap().key_metadata.and_then(|metadata| metadata.arn).unwrap());
        }
        let keyring = async |own: usize, other: usize| {
            let public = kms.get_public_key(GetPublicKey::new(&arns[other])).await.unwrap().public_key;
            let builder = AwsKmsEcdhKeyring::static_keys(curve, &*arns[own], public, kms.clone()).unwrap();
            builder.build().await.unwrap()
        };
        let (alice, bob, eve) = (keyring(0, 1).await, keyring(1, 0).await, keyring(2, 0).await);
        let any = AwsKmsEcdhKeyring::discovery(curve, &*arns[1], kms.clone()).unwrap().build().await.unwrap();
        let message = seal(&alice, SUITES[1], &contexts()[1], b"for bob").await;
        for reader in [&alice, &bob, &any] {
            assert_eq!(open(reader, &message).await.unwrap(), b"for bob");
        }
        assert!(open(&eve, &message).await.is_err());
    }
}
