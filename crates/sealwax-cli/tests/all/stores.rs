//! Stores that are refused or cannot be written, and the passphrases of backups.

use std::fs;
#[cfg(unix)]
use std::{path::PathBuf, process::Command};

use crate::keys::{Place, stderr};
#[cfg(unix)]
use crate::place::without_configuration;

#[test]
fn each_refusal_of_a_store_has_its_exit_code() {
    let place = Place::new();
    fs::write(place.path("phrase"), b"correct horse\n").unwrap();
    place.ok(&["keys", "create", "--alias", "main"]);
    let old = fs::read(place.path("store/store.bin")).unwrap();
    place.ok(&["keys", "disable", "main"]);
    let new = fs::read(place.path("store/store.bin")).unwrap();
    fs::write(place.path("store/store.bin"), old).unwrap();
    place.refused(&["keys", "list"], 3, "is older than its audit log");
    fs::write(place.path("store/store.bin"), new).unwrap();
    fs::write(place.path("backup"), b"no backup").unwrap();
    place.refused(&["keys", "import", "backup", "--backup-passphrase-file", "phrase"], 3, "backup is damaged");
    #[cfg(unix)]
    {
        fs::rename(place.path("store/audit.log"), place.path("log")).unwrap();
        std::os::unix::fs::symlink("../log", place.path("store/audit.log")).unwrap();
        place.refused(&["keys", "list"], 5, "audit.log is refused: it is a symbolic link");
        fs::rename(place.path("log"), place.path("store/audit.log")).unwrap();
    }
    // The header of a store is not authenticated before its passphrase is stretched.
    place.ok(&["keys", "rotate-root", "--new-passphrase-file", "phrase"]);
    let passphrase = ["--passphrase-file", "phrase"];
    let mut store = fs::read(place.path("store/store.bin")).unwrap();
    let at = store.windows(6).position(|window| window == b"passes").unwrap() + 6;
    assert_eq!(store[at], 3);
    store[at] = 20;
    fs::write(place.path("store/store.bin"), store).unwrap();
    let list = |more: &[&str]| place.run(&[&["keys", "list"], &passphrase[..], more].concat());
    let output = list(&[]);
    assert_eq!(output.status.code(), Some(5));
    assert!(stderr(&output).ends_with("(use --max-passphrase-cost 64,20,4 to allow it)\n"), "{}", stderr(&output));
    // With it the passphrase is tried; here it is another one at this cost.
    assert_eq!(list(&["--max-passphrase-cost", "64,20,4"]).status.code(), Some(4));
    assert_eq!(list(&["--max-passphrase-cost", "64,19,4"]).status.code(), Some(5));
    assert_eq!(list(&["--max-passphrase-cost", "64"]).status.code(), Some(2));
}

#[test]
fn the_passphrase_of_a_backup_is_generated_or_long_enough() {
    let place = Place::new();
    fs::write(place.path("short"), b"short\n").unwrap();
    place.ok(&["keys", "create", "--alias", "main"]);
    let short = ["keys", "export", "-o", "weak", "--backup-passphrase-file", "short"];
    place.refused(&short, 2, "at least 12 characters (use --allow-short-passphrase to accept it)");
    place.ok(&[&short[..], &["--allow-short-passphrase"]].concat());

    let made = place.json(&["keys", "export", "-o", "backup", "--generate-passphrase"]);
    let passphrase = made["passphrase"].as_str().unwrap();
    assert_eq!((passphrase.len(), passphrase.split('-').count()), (29, 5), "{passphrase}");
    let import = |passphrase: &str| {
        fs::write(place.path("phrase"), passphrase).unwrap();
        place.json(&["keys", "import", "backup", "--backup-passphrase-file", "phrase"])
    };
    assert_eq!(import(passphrase)["unchanged"].as_array().unwrap().len(), 1);
    let text = place.ok(&["keys", "export", "-o", "other", "--generate-passphrase"]);
    let (done, other) = text.trim_end().split_once("\npassphrase ").unwrap();
    assert!(done == "backup written" && other != passphrase && other.len() == 29, "{text}");
    // Standard output has the backup, and nothing else.
    let piped = place.run(&["keys", "export", "-o", "-", "--generate-passphrase"]);
    let said = stderr(&piped);
    let passphrase = said.trim_end().strip_prefix("sealwax: the passphrase of the backup is ").unwrap();
    fs::write(place.path("backup"), &piped.stdout).unwrap();
    assert_eq!(import(passphrase)["unchanged"].as_array().unwrap().len(), 1);
}

/// As another user, who has no permission to write, even if the tests run as root.
#[cfg(unix)]
#[test]
fn a_store_that_cannot_be_written_decrypts_and_verifies() {
    use std::os::unix::{fs::PermissionsExt, process::CommandExt};

    let place = Place::new();
    fs::write(place.path("plain"), b"text").unwrap();
    place.ok(&["encrypt", "--create-store", "-o", "sealed", "plain"]);
    // The program may be in a directory that the other user cannot read.
    fs::copy(env!("CARGO_BIN_EXE_sealwax"), place.path("sealwax")).unwrap();
    let chmod = |path: PathBuf, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    chmod(place.0.path().to_owned(), 0o755);
    chmod(place.path("sealwax"), 0o755);
    for entry in fs::read_dir(place.path("store")).unwrap() {
        chmod(entry.unwrap().path(), 0o444);
    }
    chmod(place.path("store"), 0o555);
    let is_root = || {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        status.lines().any(|line| line.starts_with("Uid:\t0\t"))
    };
    let state = || ["store.bin", "audit.log", "lock"].map(|name| fs::read(place.path("store").join(name)).unwrap());
    let before = state();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(place.path("sealwax"));
        command.args(arguments).current_dir(place.0.path()).env("SEALWAX_STORE", place.path("store"));
        without_configuration(&mut command, place.0.path());
        if is_root() {
            command.uid(65_534).gid(65_534);
        }
        command.output().unwrap()
    };
    for arguments in [&["decrypt", "-o", "-", "sealed"][..], &["verify", "sealed"], &["keys", "list"]] {
        let output = run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains("is read-only; its audit log does not record decryptions"));
    }
    assert_eq!(run(&["decrypt", "--quiet", "-o", "-", "sealed"]).stdout, b"text");
    for arguments in [&["encrypt", "-o", "-", "plain"][..], &["keys", "create"], &["keys", "disable", "default"]] {
        let output = run(arguments);
        assert!(matches!(output.status.code(), Some(1 | 4)), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains("is read-only: it can decrypt and verify"), "{}", stderr(&output));
    }
    assert!(state() == before && fs::read_dir(place.path("store")).unwrap().count() == 4);
    chmod(place.path("store"), 0o755);
}
