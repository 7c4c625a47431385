//! What a name, a description, a caller or a line of the log can print.

use std::{error, fs, iter};

use proptest::prelude::*;
use sealwax::{
    Client, EncryptionContext, Escaped,
    keyring::{KmsApi, KmsDecrypt, KmsEncrypt},
};
use sealwax_kms::{LocalKms, LocalKmsError, Root};

use super::*;

/// Text that is likely to act on a terminal.
fn hostile() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        "[\u{0}-\u{1f}\u{7f}-\u{9f}]",
        "[\u{61c}\u{200e}\u{200f}\u{2028}-\u{202e}\u{2066}-\u{2069}]",
        "[a-z/*_-]{1,4}",
        "\\PC",
        Just("alias/".to_owned()),
        Just("\u{1b}]0;title\u{7}".to_owned()),
    ];
    prop::collection::vec(part, 1..8).prop_map(|parts| parts.concat())
}

/// Fails if an error, or a cause of it, shows a character that acts on a terminal.
fn check(error: &(dyn error::Error + 'static)) {
    for error in iter::successors(Some(error), |error| error.source()) {
        check_text(&error.to_string());
    }
}

fn check_text(text: &str) {
    assert_eq!(text, Escaped(text).to_string());
}

fn check_all<T>(outcomes: impl IntoIterator<Item = Result<T, LocalKmsError>>) {
    outcomes.into_iter().filter_map(Result::err).for_each(|error| check(&error));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_error_or_report_shows_a_name_as_it_is(name in hostile(), other in hostile(), line in prop::collection::vec(any::<u8>(), 0..64)) {
        let place = Place::new();
        let key = place.key("main");
        let kms = builder(place.path(), &place.seconds).identity(&*name).open().wait().unwrap();
        let context = EncryptionContext::from([(&*name, &*other)]);

        check_all([
            kms.describe_key(&name),
            kms.create_key(&name),
            kms.create_key_with_alias(&name, &other),
            kms.import_key(vec![7; 32], &name),
            kms.update_key_description(&key, &name),
            kms.update_key_description(&name, &other),
            kms.rotate_key(&name),
            kms.disable_key(&name),
            kms.enable_key_rotation(&name, 1),
        ]);
        check_all([kms.create_alias(&name, &key), kms.create_alias("a", &name), kms.update_alias(&name, &other)]);
        check_all([kms.delete_alias(&name), kms.keyring(&name).map(drop)]);
        check_all([kms.encrypt(&name, b"", &context).map(drop), kms.decrypt(name.as_bytes(), &context).map(drop)]);

        // Through the interface of key services, and as a client shows it.
        let client = Client::new();
        let operation = |name: &str| {
            let request = KmsEncrypt::new(name, b"", &context);
            sealwax::Operation::new(async {
                Ok::<_, Error>(KmsApi::encrypt(&kms, request).await.err())
            }).wait().unwrap()
        };
        check(&operation(&name).expect("no such key"));
        let decrypted = sealwax::Operation::new(async {
            Ok::<_, Error>(KmsApi::decrypt(&kms, KmsDecrypt::new(&name, b"", &context)).await.err())
        });
        check(&decrypted.wait().unwrap().expect("no such key"));
        let relabelled = |message: Vec<u8>, to: &str| {
            let mut message = message;
            let at = message.windows(key.len()).position(|window| window == key.as_bytes()).unwrap();
            let bytes: Vec<u8> = to.bytes().chain(iter::repeat(b'x')).take(key.len()).collect();
            message[at..at + key.len()].copy_from_slice(&bytes);
            message
        };
        let message = relabelled(seal(&kms, "main", b"text"), &name);
        for keyring in [kms.discovery_keyring(), kms.keyring("main").unwrap()] {
            check(&client.decrypt(&keyring).bytes(&message).wait().expect_err("relabelled"));
        }

        // The log, with a line of anything.
        let log = place.path().join("audit.log");
        let whole = fs::read(&log).unwrap();
        check_text(&String::from_utf8(whole.clone()).unwrap().replace('\n', ""));
        fs::write(&log, [&whole, &line[..], b"\n"].concat()).unwrap();
        let report = kms.verify_audit_log().unwrap();
        prop_assert!(!report.faults.is_empty());
        report.faults.iter().for_each(|fault| check_text(&fault.to_string()));
    }

    #[test]
    fn no_error_shows_a_path_as_it_is(name in hostile()) {
        let name: String = name.chars().filter(|letter| !matches!(letter, '/' | '\0')).chain(['x']).collect();
        let elsewhere = tempfile::tempdir().unwrap();
        let [folder, file] = ["store", "file"].map(|kind| elsewhere.path().join(format!("{kind}{name}")));
        let passphrase = || Root::passphrase_with_cost(*b"correct horse", CHEAP);
        check(&LocalKms::open(&folder).err().unwrap());
        let kms = LocalKms::create(&folder).unwrap();
        fs::write(&file, [7; 32]).unwrap();
        check_all([
            kms.export(&file, None, passphrase()).wait(),
            kms.import_backup(&file, passphrase()).wait().map(drop),
            kms.import_backup(elsewhere.path().join(format!("missing{name}")), passphrase()).wait().map(drop),
            LocalKms::create(&folder).map(drop),
            LocalKms::builder(&folder).root(passphrase()).open().wait().map(drop),
            LocalKms::builder(&folder).root(Root::key_file(&file)).open().wait().map(drop),
        ]);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;

            fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
            let warnings = kms.warnings().unwrap();
            prop_assert_eq!(warnings.len(), 1);
            check_text(&warnings[0].to_string());
        }
        fs::write(folder.join("store.bin"), b"x").unwrap();
        check(&LocalKms::open(&folder).err().unwrap());
        check_all([kms.list_keys()]);
    }
}
