//! Backups with invalid fields, and imports that would contradict the store.

use std::time::SystemTime;

use super::{super::seal::random_hex, *};
use crate::PassphraseCost;

const CHEAP: PassphraseCost = PassphraseCost { memory_kib: 8, passes: 1, lanes: 1 };
const PASSPHRASE: &[u8] = b"correct horse battery staple";

fn passphrase() -> Root {
    Root::passphrase_with_cost(PASSPHRASE, CHEAP)
}

/// A store with the keys main and other, and a backup of it.
struct Fixture {
    directory: tempfile::TempDir,
    kms: LocalKms,
    file: PathBuf,
    keys: [String; 2],
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let kms = LocalKms::create(directory.path().join("store")).unwrap();
        let keys = ["main", "other"].map(|alias| kms.create_key_with_alias(alias, alias).unwrap().key_id);
        kms.rotate_key("main").unwrap();
        kms.enable_key_rotation("main", 90).unwrap();
        let file = directory.path().join("backup");
        kms.export(&file, None, passphrase()).wait().unwrap();
        Self { directory, kms, file, keys }
    }

    /// Returns the error of importing the backup after a change that its tag covers, into a
    /// store that has none of the keys or into the one that has all.
    fn error(&self, into_own: bool, change: impl Fn(&mut Contents, &SecretBytes, &[String; 2])) -> Option<String> {
        let bytes = std::fs::read(&self.file).unwrap();
        let backup = Unverified::parse(&self.file, &bytes).unwrap();
        let (nowhere, Header { store_id, root, .. }) = (Path::new(""), &backup.header);
        let key = sealwax::Operation::new(passphrase().acquire(&self.file, nowhere, store_id, root)).wait().unwrap();
        let mut contents = backup.open(&key).unwrap();
        change(&mut contents, &key, &self.keys);
        let forged = self.directory.path().join("forged");
        let Header { store_id, root, .. } = &contents.header;
        contents.header.check = root_check(&key, store_id, root).unwrap();
        std::fs::write(&forged, encode(&contents, &key).unwrap()).unwrap();

        let directory = tempfile::tempdir().unwrap();
        let kms = if into_own { self.kms.clone() } else { LocalKms::create(directory.path()).unwrap() };
        kms.create_key_with_alias("", "default").ok();
        let state = || (kms.list_keys().unwrap(), kms.list_aliases().unwrap());
        let before = state();
        let error = kms.import_backup(&forged, passphrase()).wait().err()?;
        assert_eq!(state(), before, "nothing was imported: {error}");
        assert!(matches!(error, LocalKmsError::InvalidBackup { .. } | LocalKmsError::Damaged { .. }), "{error}");
        let text = error.to_string();
        assert_eq!(sealwax::Escaped(&text).to_string(), text);
        assert!(text.contains("forged") && text.len() < 1000, "{text}");
        Some(text)
    }
}

/// Gives a key another id, and its material with it.
fn rename(contents: &mut Contents, root: &SecretBytes, from: &str, to: &str) {
    let mut key = contents.keys.remove(from).unwrap();
    for backing in &mut key.backing {
        let material = backing.open(root, from).unwrap();
        backing.seal(root, to, &material).unwrap();
    }
    key.id = to.to_owned();
    contents.aliases.values_mut().filter(|id| *id == from).for_each(|id| to.clone_into(id));
    contents.keys.insert(to.to_owned(), key);
}

#[test]
fn every_field_of_a_backup_is_checked() {
    let fixture = Fixture::new();
    assert_eq!(fixture.error(false, |_, _, _| ()), None);
    type Change = Box<dyn Fn(&mut Contents, &SecretBytes, &[String; 2])>;
    let on_main = |change: fn(&mut KeyRecord)| -> Change {
        Box::new(move |contents, _, [main, _]| change(contents.keys.get_mut(main).unwrap()))
    };
    let named =
        |id: &'static str| -> Change { Box::new(move |contents, root, [main, _]| rename(contents, root, main, id)) };
    let aliased = |alias: &'static str| -> Change {
        Box::new(move |contents, _, [main, _]| drop(contents.aliases.insert(alias.into(), main.clone())))
    };
    let invalid = "its records are malformed";
    let cases: Vec<(&str, Change)> = vec![
        (invalid, named("alias/default")),
        (invalid, named("")),
        (invalid, named("local:x/key/y")),
        (invalid, named("local:0123456789abcdef0123456789abcdef/key/01234567-0123-0123-0123-01234567\u{1b}[2J")),
        (invalid, named("local:0123456789abcdef0123456789abcdef/key/01234567-0123-0123-0123-0123456789AB")),
        (invalid, named("local:0123456789abcdef0123456789abcdef/key/01234567-0123-0123-0123-0123456789ab-")),
        ("at most 8192 bytes", on_main(|key| key.description = "x".repeat(8193))),
        ("control characters", on_main(|key| key.description = "a\u{1b}[2J".into())),
        ("control characters", on_main(|key| key.description = "a\u{9b}2J".into())),
        ("control characters", on_main(|key| key.description = "a\u{202e}b".into())),
        ("after the year 9999", on_main(|key| key.created = Timestamp(u64::MAX))),
        ("after the year 9999", on_main(|key| key.deletion = Some(Timestamp(253_402_300_800_000)))),
        ("after the year 9999", on_main(|key| key.backing[1].created = Timestamp(u64::MAX))),
        ("1 to 2,560 days", on_main(|key| key.rotation_days = Some(0))),
        ("1 to 2,560 days", on_main(|key| key.rotation_days = Some(2561))),
        ("0 generations", on_main(|key| key.backing.clear())),
        ("generations is invalid", on_main(|key| key.backing[0].id = "\u{1b}".into())),
        ("generations is invalid", on_main(|key| key.backing[0].id.make_ascii_uppercase())),
        ("generations is invalid", on_main(|key| key.backing[0].id = String::new())),
        ("is not unique", on_main(|key| key.backing.extend_from_within(..1))),
        (
            "is not unique",
            Box::new(|contents, root, [main, other]| {
                let id = contents.keys[main].backing[0].id.clone();
                let backing = &mut contents.keys.get_mut(other).unwrap().backing[0];
                let material = backing.open(root, other).unwrap();
                backing.id = id;
                backing.seal(root, other, &material).unwrap();
            }),
        ),
        ("does not have 32 bytes", on_main(|key| key.backing[0].sealed.0.truncate(79))),
        (
            "does not have 32 bytes",
            Box::new(|contents, root, [main, _]| {
                let short = SecretBytes::from([7; 31]);
                contents.keys.get_mut(main).unwrap().backing[0].seal(root, main, &short).unwrap();
            }),
        ),
        ("the name is invalid", aliased("default")),
        ("the name is invalid", aliased("alias/")),
        ("the name is invalid", aliased("alias/\u{1b}[2J")),
        (
            "points to is missing",
            Box::new(|contents, _, _| drop(contents.aliases.insert("alias/x".into(), "alias/y".into()))),
        ),
        ("store id is invalid", Box::new(|contents, _, _| contents.header.store_id = "\u{1b}".into())),
    ];
    for (position, (expected, change)) in cases.iter().enumerate() {
        for into_own in [false, true] {
            let text = fixture.error(into_own, change).unwrap_or_else(|| panic!("{position}, {expected}: imported"));
            assert!(text.contains(expected), "{position}, {expected}: {text}");
        }
    }
}

#[test]
fn an_import_does_not_contradict_what_the_store_has() {
    let fixture = Fixture::new();
    let other_material = fixture.error(true, |contents, root, [main, _]| {
        let material = SecretBytes::from([7; 32]);
        contents.keys.get_mut(main).unwrap().backing[0].seal(root, main, &material).unwrap();
    });
    assert!(other_material.unwrap().contains("other material with the same id"));
    // A new key that would take a generation of another over.
    let taken = fixture.error(true, |contents, root, [main, _]| {
        let id = format!("local:{}/key/00000000-0000-4000-a000-000000000000", random_hex::<16>().unwrap());
        rename(contents, root, main, &id);
    });
    assert!(taken.unwrap().contains("other material with the same id"));
}

#[test]
fn two_records_of_one_key_or_a_field_of_another_type_are_refused() {
    let fixture = Fixture::new();
    let bytes = std::fs::read(&fixture.file).unwrap();
    let whole = |from: &[u8], to: &[u8], count: usize| {
        assert_eq!(from.len(), to.len());
        let (mut bytes, mut changed) = (bytes.clone(), 0);
        while let Some(at) = bytes.windows(from.len()).position(|window| window == from) {
            bytes[at..at + to.len()].copy_from_slice(to);
            changed += 1;
        }
        assert!(changed >= count, "{changed}");
        bytes
    };
    let forge = |mut bytes: Vec<u8>| {
        let parsed = Unverified::parse(&fixture.file, &bytes).unwrap();
        let (nowhere, Header { store_id, root, .. }) = (Path::new(""), &parsed.header);
        let key = sealwax::Operation::new(passphrase().acquire(&fixture.file, nowhere, store_id, root)).wait();
        let end = bytes.len() - 32;
        let tag = super::super::seal::tag(&key.unwrap(), "store file", &bytes[..end]).unwrap();
        bytes[end..].copy_from_slice(tag.as_bytes());
        std::fs::write(&fixture.file, bytes).unwrap();
        let refused = fixture.kms.import_backup(&fixture.file, passphrase()).wait();
        matches!(refused, Err(LocalKmsError::Damaged { what, .. }) if what.contains("malformed"))
    };
    let [main, other] = &fixture.keys;
    assert!(!forge(bytes.clone()));
    assert!(forge(whole(other.as_bytes(), main.as_bytes(), 2)));
    // `imported` is a boolean.
    assert!(forge(whole(b"imported\xf4", b"imported\x07", 2)));
    assert!(forge(whole(b"imported\xf4", b"Imported\xf4", 2)));
}

#[test]
fn a_description_of_an_earlier_version_survives_a_backup() {
    let fixture = Fixture::new();
    let Fixture { kms, keys: [main, _], .. } = &fixture;
    let description = "two\nlines";
    assert!(matches!(kms.create_key(description), Err(LocalKmsError::InvalidRequest(_))));
    let changed = kms.store.session().unwrap().change(Event::new("Test"), |contents, _, _, _| {
        contents.key_mut(main)?.description = description.into();
        Ok(())
    });
    changed.unwrap();
    let file = fixture.directory.path().join("another");
    kms.export(&file, None, passphrase()).wait().unwrap();
    let other = LocalKms::create(fixture.directory.path().join("other")).unwrap();
    other.import_backup(&file, passphrase()).wait().unwrap();
    assert_eq!(other.describe_key(main).unwrap().description, r"two\u{a}lines");
    assert_eq!(kms.describe_key(main).unwrap().description, description);
    assert!(other.describe_key(main).unwrap().created <= SystemTime::now());
}
