//! `sealwax keys` and `local:` keys, run as a user runs them.

use std::{
    fs,
    io::Write,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::place::without_configuration;

/// A directory for one test, with a store in it.
pub(crate) struct Place(pub(crate) TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run_in(&self, variables: &[(&str, &str)], arguments: &[&str], input: &[u8]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sealwax"));
        command.args(arguments).current_dir(self.0.path());
        without_configuration(&mut command, self.0.path());
        command.env("SEALWAX_STORE", self.path("store"));
        for (name, value) in variables {
            if value.is_empty() {
                command.env_remove(name)
            } else {
                command.env(name, value)
            };
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // A refusal may close the pipe before everything is written.
        let _ = child.stdin.take().unwrap().write_all(input);
        child.wait_with_output().unwrap()
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.run_in(&[], arguments, b"")
    }

    #[track_caller]
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        self.ok_with(&[], arguments, b"")
    }

    #[track_caller]
    fn ok_with(&self, variables: &[(&str, &str)], arguments: &[&str], input: &[u8]) -> String {
        let output = self.run_in(variables, arguments, input);
        assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.ok(&[arguments, &["--json"]].concat())).unwrap()
    }

    #[track_caller]
    pub(crate) fn refused(&self, arguments: &[&str], code: i32, text: &str) {
        let output = self.run(arguments);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(text), "{arguments:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_first_encryption_creates_the_store_and_warns() {
    let place = Place::new();
    fs::write(place.path("plain"), b"text").unwrap();
    place.refused(&["decrypt", "-o", "-", "plain"], 2, "no --key is given");
    // Without a terminal the warning may be read by nobody, and a container loses the store.
    place.refused(&["encrypt", "-o", "sealed", "plain"], 2, "--create-store");
    place.refused(&["reencrypt", "-o", "sealed", "plain"], 2, "no --key is given");
    // The output is checked before the store is created.
    place.refused(&["encrypt", "--create-store", "-o", "plain", "plain"], 6, "--force");
    place.refused(&["encrypt", "--create-store", "-o", "no/such/sealed", "plain"], 1, "no/such/sealed");
    fs::create_dir(place.path("in")).unwrap();
    place.refused(&["encrypt", "-r", "--create-store", "-o", "plain", "in"], 2, "plain: not a directory");
    assert!(!place.path("store").exists() && !place.path("sealed").exists());

    let first = place.run(&["encrypt", "--create-store", "--quiet", "-o", "sealed", "plain"]);
    assert!(first.status.success(), "{}", stderr(&first));
    let said = stderr(&first);
    let warned = said.contains("created a key store in ") && said.contains("WARNING") && said.contains("keys export");
    assert!(warned, "even with --quiet: {said:?}");
    let second = place.run(&["encrypt", "-o", "again", "plain"]);
    assert_eq!(stderr(&second), "", "it is said once");
    for arguments in [&["decrypt", "-o", "-", "sealed"][..], &["decrypt", "-o", "-", "-k", "local:default", "again"]] {
        assert_eq!(place.ok(arguments), "text");
    }
    assert_eq!(place.json(&["keys", "list"])["keys"].as_array().unwrap().len(), 1);
    let shown = place.ok(&["inspect", "sealed"]);
    assert!(shown.contains("sealwax-local"), "{shown}");
}

#[test]
fn a_tree_that_holds_the_store_is_not_encrypted_under_it_unnoticed() {
    let place = Place::new();
    fs::create_dir_all(place.path("in/deep")).unwrap();
    fs::write(place.path("in/deep/plain"), b"text").unwrap();
    let in_tree = [("SEALWAX_STORE", "in/deep/../keys")];
    let encrypt = ["encrypt", "-r", "--create-store", "--quiet", "-o", "out", "in"];
    let output = place.run_in(&in_tree, &encrypt, b"");
    assert!(output.status.success(), "{}", stderr(&output));
    let warning = "in/keys: skipped: the key store that encrypts these files; back it up with sealwax keys export\n";
    assert!(stderr(&output).contains(warning), "{}", stderr(&output));
    assert!(place.path("out/deep/plain.sealed").exists() && !place.path("out/keys").exists());
    // Below the store, everything belongs to it.
    let output = place.run_in(&in_tree, &["encrypt", "-r", "-o", "other", "in/keys"], b"");
    assert_eq!((output.status.code(), place.path("other").exists()), (Some(2), false), "{}", stderr(&output));
    assert!(stderr(&output).contains("inside the key store"), "{}", stderr(&output));
    // Another key can encrypt the store.
    let key = place.ok(&["keygen", "raw.key"]);
    place.ok_with(&in_tree, &["encrypt", "-r", "-k", key.trim(), "-o", "backup", "in"], b"");
    assert!(place.path("backup/keys/store.bin.sealed").exists());
}

#[test]
fn without_an_option_the_store_is_in_the_data_directory() {
    let place = Place::new();
    let home = place.path("home").into_os_string().into_string().unwrap();
    let variables = [("SEALWAX_STORE", ""), ("HOME", home.as_str()), ("XDG_DATA_HOME", "")];
    place.ok_with(&variables, &["keys", "create"], b"");
    if cfg!(unix) {
        assert!(place.path("home/.local/share/sealwax/keys/store.bin").exists());
    }
    place.ok_with(&variables, &["keys", "create", "--store", "elsewhere"], b"");
    assert!(place.path("elsewhere/store.bin").exists());
}

#[test]
fn the_life_of_a_key() {
    let place = Place::new();
    fs::write(place.path("plain"), b"text").unwrap();
    let made = place.json(&["keys", "create", "--alias", "main", "--description", "for tests"]);
    let id = made["key_id"].as_str().unwrap();
    assert_eq!((&made["aliases"][0], &made["state"]), (&Value::from("alias/main"), &Value::from("enabled")));
    place.ok(&["encrypt", "-k", "local:main", "-o", "sealed", "plain"]);
    place.ok(&["keys", "rotate", "main"]);
    // A key id is a key URI.
    assert_eq!(place.ok(&["decrypt", "-o", "-", "-k", id, "sealed"]), "text");
    assert_eq!(place.json(&["keys", "describe", "main"])["generations"], 2);
    assert_eq!(place.json(&["keys", "rotate", "main", "--every", "90"])["rotation_days"], 90);
    assert_eq!(place.json(&["keys", "rotate", "main", "--never"])["rotation_days"], Value::Null);

    assert!(place.ok(&["keys", "disable", "main"]).contains("disabled"));
    place.refused(&["decrypt", "-o", "-", "-k", "local:main", "sealed"], 4, "(run `sealwax keys enable local:");
    place.refused(&["encrypt", "-k", "local:main", "-o", "x", "plain"], 4, "the key is disabled");
    place.refused(&["keys", "disable", "none"], 2, "(`sealwax keys list` shows all keys)");
    place.ok(&["keys", "enable", "main"]);

    place.refused(&["keys", "delete", "main", "--days", "3"], 2, "--days must be 7 to 30; use --sooner for less");
    let long = place.run(&["keys", "delete", "main", "--days", "31"]);
    assert_eq!(stderr(&long), "sealwax: --days must be 7 to 30\n", "a longer period is not a sooner one");
    assert_eq!(place.json(&["keys", "delete", "main"])["state"], "pending deletion");
    place.refused(&["decrypt", "-o", "-", "-k", "local:main", "sealed"], 4, "(run `sealwax keys cancel-delete local:");
    assert_eq!(place.json(&["keys", "cancel-delete", "main"])["state"], "disabled");
    place.refused(&["keys", "cancel-delete", "main"], 4, "is not pending deletion");
    place.refused(&["keys", "delete", "main", "--sooner", "0s"], 2, "--yes");
    assert_eq!(place.json(&["keys", "describe", "main"])["state"], "disabled");
    place.ok(&["keys", "delete", "main", "--sooner", "0s", "--yes"]);
    place.refused(&["keys", "describe", "main"], 2, "no key main");
    place.refused(&["decrypt", "-o", "-", "-k", "local:main", "sealed"], 2, "no key main");
    assert!(place.ok(&["keys", "list"]).starts_with("ALIASES"));
}

#[test]
fn aliases_are_made_moved_and_listed() {
    let place = Place::new();
    let one = place.json(&["keys", "create", "--alias", "one"])["key_id"].as_str().unwrap().to_owned();
    let two = place.json(&["keys", "create"])["key_id"].as_str().unwrap().to_owned();
    place.ok(&["keys", "alias", "create", "two", &two]);
    place.refused(&["keys", "alias", "create", "two", &one], 2, "(use `sealwax keys alias update`)");
    place.ok(&["keys", "alias", "update", "two", &one]);
    // An alias may resemble a key id.
    place.ok(&["keys", "alias", "create", "a/key/b", &one]);
    place.ok_with(&[], &["encrypt", "-k", "local:a/key/b", "-o", "sealed", "-"], b"text");
    place.ok(&["keys", "alias", "delete", "a/key/b"]);
    let table = place.ok(&["keys", "alias", "list"]);
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows, [["ALIAS", "KEY"], ["alias/one", one.as_str()], ["alias/two", one.as_str()]]);
    place.ok(&["keys", "alias", "delete", "two"]);
    assert_eq!(place.json(&["keys", "alias", "list"])["aliases"].as_array().unwrap().len(), 1);
    // There is no default key unless one is created.
    fs::write(place.path("plain"), b"text").unwrap();
    place.refused(&["encrypt", "-o", "new", "plain"], 2, "keys alias create default");
}

#[test]
fn a_named_key_opens_only_its_own_messages_and_a_star_those_of_any_key() {
    let place = Place::new();
    fs::write(place.path("plain"), b"text").unwrap();
    let id = place.json(&["keys", "create", "--alias", "a"])["key_id"].as_str().unwrap().to_owned();
    place.ok(&["keys", "create", "--alias", "b"]);
    place.ok(&["encrypt", "-k", "local:a", "-o", "sealed", "plain"]);
    let decrypt: &[&str] = &["decrypt", "-o", "-"];
    for command in [decrypt, &["verify"]] {
        for key in ["local:a", "local:*", &id] {
            place.ok(&[command, &["-k", key, "sealed"]].concat());
        }
        place.ok(&[command, &["sealed"]].concat());
        place.refused(&[command, &["-k", "local:b", "sealed"]].concat(), 4, "local:b");
    }
    place.ok(&["keys", "disable", "b"]);
    place.refused(&[decrypt, &["-k", "local:b", "sealed"]].concat(), 4, "local:b");
    place.ok(&["keys", "alias", "update", "a", "b"]);
    place.refused(&[decrypt, &["-k", "local:a", "sealed"]].concat(), 4, "local:a");
    place.refused(&["encrypt", "-k", "local:*", "-o", "x", "plain"], 2, "can only decrypt");
    assert!(!place.path("x").exists());
}

#[test]
fn small_texts_go_both_ways() {
    let place = Place::new();
    place.ok(&["keys", "create", "--alias", "main"]);
    let sealed = place.ok_with(&[], &["keys", "seal", "main", "-c", "for=database"], b"pass\0word\n");
    assert_eq!(sealed.lines().count(), 1);
    let opened = place.ok_with(&[], &["keys", "open", "-c", "for=database"], sealed.as_bytes());
    assert_eq!(opened, "pass\0word\n");
    let wrong = place.run_in(&[], &["keys", "open"], sealed.as_bytes());
    assert_eq!((wrong.status.code(), wrong.stdout.len()), (Some(3), 0));
    let long = place.run_in(&[], &["keys", "seal", "main"], &[b'x'; 4097]);
    assert!(stderr(&long).contains("4096"), "{}", stderr(&long));
    place.ok_with(&[], &["keys", "seal", "main"], &[b'x'; 4096]);
}

#[test]
fn a_backup_brings_everything_back() {
    let place = Place::new();
    fs::write(place.path("plain"), b"text").unwrap();
    fs::write(place.path("phrase"), b"correct horse\n").unwrap();
    fs::write(place.path("wrong"), b"wrong horse\n").unwrap();
    place.ok(&["encrypt", "--create-store", "-o", "sealed", "plain"]);
    place.ok(&["keys", "export", "-o", "backup", "--backup-passphrase-file", "phrase"]);
    place.refused(&["keys", "export", "-o", "backup", "--backup-passphrase-file", "phrase"], 6, "backup");
    fs::remove_dir_all(place.path("store")).unwrap();
    place.refused(&["decrypt", "-o", "-", "sealed"], 2, "no key store");
    // An import needs a store, which the creation of its first key makes.
    place.refused(&["keys", "import", "backup", "--backup-passphrase-file", "phrase"], 2, "no key store");
    place.ok(&["keys", "create"]);
    place.refused(
        &["keys", "import", "backup", "--backup-passphrase-file", "wrong"],
        4,
        "wrong key file, passphrase or keyring",
    );
    let report = place.json(&["keys", "import", "backup", "--backup-passphrase-file", "phrase"]);
    assert_eq!(report["added"].as_array().unwrap().len(), 1);
    assert_eq!(place.ok(&["decrypt", "-o", "-", "sealed"]), "text");

    fs::write(place.path("material"), [7; 32]).unwrap();
    let key = place.json(&["keys", "import", "--material", "material", "--alias", "outside"]);
    assert_eq!((&key["origin"], &key["aliases"][0]), (&Value::from("imported"), &Value::from("alias/outside")));
    // With an alias that cannot be created, no key stays.
    for alias in ["bad alias", "outside"] {
        let import = ["keys", "import", "--material", "material", "--alias", alias];
        place.refused(&import, 2, "alias");
        assert_eq!(place.json(&["keys", "list"])["keys"].as_array().unwrap().len(), 3, "{alias}");
    }
    fs::write(place.path("material"), [7; 33]).unwrap();
    place.refused(&["keys", "import", "--material", "material"], 2, "32 bytes");
}

#[test]
fn a_store_under_a_passphrase_opens_with_it_alone() {
    let place = Place::new();
    fs::write(place.path("plain"), b"text").unwrap();
    fs::write(place.path("phrase"), b"correct horse").unwrap();
    place.ok(&["encrypt", "--create-store", "-o", "sealed", "plain"]);
    place.ok(&["keys", "rotate-root", "--new-passphrase-file", "phrase"]);
    let listed = place.ok(&["keys", "list", "--passphrase-file", "phrase"]);
    assert!(listed.contains("default"), "{listed}");
    assert_eq!(
        place.ok_with(&[("SEALWAX_PASSPHRASE", "correct horse")], &["decrypt", "-o", "-", "sealed"], b""),
        "text"
    );
    let wrong = place.run_in(&[("SEALWAX_PASSPHRASE", "wrong")], &["decrypt", "-o", "-", "sealed"], b"");
    assert_eq!(wrong.status.code(), Some(4));
    assert!(stderr(&wrong).contains("wrong key file, passphrase or keyring"), "{}", stderr(&wrong));

    // And back again, through a file elsewhere and another key.
    let key = place.ok(&["keygen", "root.raw"]);
    let variables = [("SEALWAX_PASSPHRASE", "correct horse")];
    place.ok_with(&variables, &["keys", "rotate-root", "--new-root-key", key.trim()], b"");
    place.refused(&["keys", "list"], 2, "--root-key");
    place.ok(&["keys", "list", "--root-key", key.trim()]);
    place.ok(&["keys", "rotate-root", "--root-key", key.trim(), "--new-root-key-file", "root.key"]);
    place.refused(&["keys", "list"], 2, "--root-key-file");
    place.ok(&["keys", "rotate-root", "--root-key-file", "root.key"]);
    assert_eq!(place.ok(&["decrypt", "-o", "-", "sealed"]), "text");
}

#[test]
fn a_store_that_asks_for_less_than_is_given_is_refused() {
    let place = Place::new();
    fs::write(place.path("phrase"), b"correct horse").unwrap();
    // What an attacker who can write to the directory can put in place of a store under a
    // passphrase or another key.
    place.ok(&["keys", "create", "--alias", "default"]);
    fs::write(place.path("plain"), b"text").unwrap();
    let key = place.ok(&["keygen", "root.raw"]);
    for given in [["--passphrase-file", "phrase"], ["--root-key", key.trim()]] {
        place.refused(&[&["keys", "list"], &given[..]].concat(), 4, "may have replaced the store");
    }
    let variables = [("SEALWAX_PASSPHRASE", "correct horse")];
    let refused = place.run_in(&variables, &["encrypt", "-o", "sealed", "plain"], b"");
    assert_eq!(refused.status.code(), Some(4), "{}", stderr(&refused));
    assert!(!place.path("sealed").exists());
    fs::write(place.path("other.key"), [7; 32]).unwrap();
    place.refused(&["keys", "list", "--root-key-file", "other.key"], 4, "wrong key file, passphrase or keyring");
    place.ok(&["keys", "list"]);

    let both = ["keys", "rotate-root", "--new-passphrase", "--new-root-key-file", "new.key"];
    assert_eq!(place.run(&both).status.code(), Some(2));
    assert!(!place.path("new.key").exists());
}

#[test]
fn the_log_is_shown_and_checked() {
    let place = Place::new();
    place.ok(&["keys", "create", "--alias", "main", "--identity", "alice"]);
    place.ok(&["keys", "list"]);
    let table = place.ok(&["keys", "audit"]);
    assert!(table.contains("CreateKey") && table.contains("alice"), "{table}");
    assert_eq!(place.json(&["keys", "audit", "--last", "1"])["entries"].as_array().unwrap().len(), 1);
    let head = place.json(&["keys", "audit", "--verify"])["head"].as_str().unwrap().to_owned();
    place.ok(&["keys", "list"]);
    place.ok(&["keys", "audit", "--verify", "--head", &head]);
    let other = head.replace(':', ":0");
    place.refused(&["keys", "audit", "--verify", "--head", &other[..head.len()]], 3, "does not contain line");

    let log = place.path("store/audit.log");
    let text = fs::read_to_string(&log).unwrap();
    fs::write(&log, text.replace("alice", "malle")).unwrap();
    let output = place.run(&["keys", "audit", "--verify"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stdout).contains("line 2 was altered"));
    let lines: Vec<_> = text.lines().collect();
    fs::write(&log, lines[..1].join("\n") + "\n" + &lines[2..].join("\n") + "\n").unwrap();
    let output = place.run(&["keys", "audit", "--verify"]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("sequence number 2 is missing"));
}

#[test]
fn a_damaged_store_is_named_and_left_alone() {
    let place = Place::new();
    place.ok(&["keys", "create"]);
    let file = place.path("store/store.bin");
    let mut bytes = fs::read(&file).unwrap();
    let at = bytes.len() - 60;
    bytes[at] ^= 1;
    fs::write(&file, &bytes).unwrap();
    place.refused(&["keys", "list"], 3, "store.bin is damaged");
    place.refused(&["keys", "create"], 3, "store.bin is damaged");
    assert_eq!(fs::read(&file).unwrap(), bytes);
    fs::remove_file(&file).unwrap();
    place.refused(&["keys", "create"], 3, "it is missing, but there is an audit log");
}

#[test]
fn a_list_shows_short_ids_that_name_their_keys() {
    let place = Place::new();
    place.ok(&["keys", "create", "--alias", "main", "--description", "for tests"]);
    place.ok(&["keys", "create"]);
    let id = place.json(&["keys", "describe", "main"])["key_id"].as_str().unwrap().to_owned();
    let table = place.ok(&["keys", "list"]);
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["ALIASES", "KEY", "STATE", "CREATED", "DESCRIPTION"]);
    assert_eq!((rows[1][0], rows[1][2], rows[1][4]), ("main", "enabled", "for"));
    let short = rows[1][1];
    assert!(short.len() >= 8 && id.contains(&format!("/key/{short}")) && short.len() < 36, "{short}");
    assert!(place.ok(&["keys", "list", "--no-trunc"]).contains(&id));
    // It is accepted wherever a key is named.
    fs::write(place.path("plain"), b"text").unwrap();
    let uri = format!("local:{short}");
    place.ok(&["encrypt", "-k", &uri, "-o", "sealed", "plain"]);
    place.ok(&["verify", "-k", &uri, "sealed"]);
    place.ok(&["keys", "rotate", short]);
    place.ok(&["keys", "alias", "create", "other", short]);
    place.ok_with(&[], &["keys", "seal", short], b"text");
    assert_eq!(place.json(&["keys", "describe", short])["key_id"], id.as_str());
    place.refused(&["keys", "describe", &short[..3]], 2, "the store has no key");

    let described = place.json(&["keys", "describe", short, "--set-description", "changed"]);
    assert_eq!(described["description"], "changed");
    assert!(place.ok(&["keys", "describe", "main"]).contains("description    changed\n"));
    let path = place.ok(&["keys", "path"]);
    assert_eq!(path.trim_end(), place.path("store").to_str().unwrap());
}
