//! Re-encryption of a directory that is killed at random instants, and what is left then.
//!
//! `SEALWAX_KILLS` sets how many are killed; the default is 25.

use std::{
    collections::BTreeSet,
    env, fs,
    io::Write,
    path::{Path, PathBuf},
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use crate::{
    place::{Place, code, stderr},
    support,
};

/// Returns the paths of the files in a directory.
fn files(directory: &Path) -> BTreeSet<PathBuf> {
    let entries = walkdir::WalkDir::new(directory).into_iter().map(Result::unwrap);
    entries.filter(|entry| entry.file_type().is_file()).map(walkdir::DirEntry::into_path).collect()
}

#[test]
fn killed_at_any_instant_reencryption_leaves_every_message_whole_and_nothing_for_good() {
    let kills: u64 = env::var("SEALWAX_KILLS").map_or(25, |value| value.parse().unwrap());
    let place = Place::new();
    let keys = [place.key.clone(), place.keygen("other.key")];
    for number in 0..40 {
        let path = place.path(&format!("in/{}/{number}", number % 5));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, support::pattern(number * 7_000)).unwrap();
    }
    place.ok(&["encrypt", "-r", "-k", &keys[0], "in", "-o", "vault"]);
    let all = files(&place.path("vault"));
    let reencrypt = |new: usize| ["reencrypt", "-r", "--old-key", &keys[1 - new], "-k", &keys[new], "vault"];
    let start = Instant::now();
    place.ok(&reencrypt(1));
    let whole = start.elapsed();

    let (mut instant, mut left) = (12_345_u64, 0);
    for kill in 0..kills {
        let mut child = place.command(&reencrypt(usize::try_from(kill % 2).unwrap())).spawn().unwrap();
        instant = instant.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        thread::sleep(whole.mul_f64((instant >> 40) as f64 / (1_u64 << 24) as f64));
        child.kill().unwrap();
        child.wait().unwrap();

        let found = files(&place.path("vault"));
        let others: Vec<_> = found.difference(&all).collect();
        left += others.len();
        assert!(others.iter().all(|path| path.to_string_lossy().ends_with(".partial")), "{others:?}");
        let verify = place.run(&["verify", "-r", "-q", "-k", &keys[0], "-k", &keys[1], "vault"]);
        assert_eq!(code(&verify), 0, "{}", stderr(&verify));
        let clean = place.run(&["clean", "vault"]);
        assert_eq!(code(&clean), 0);
        assert!(stderr(&clean).contains(&format!("removed {} incomplete file", others.len())), "{}", stderr(&clean));
        assert!(files(&place.path("vault")) == all);
    }
    support::say(&format!("{kills} kills within {whole:?} left {left} incomplete files"));
    // The next run finishes what was begun.
    place.ok(&reencrypt(0));
    place.ok(&["decrypt", "-r", "-k", &keys[0], "vault", "-o", "back"]);
    for path in files(&place.path("in")) {
        let back = place.path("back").join(path.strip_prefix(place.path("in")).unwrap());
        assert!(fs::read(&path).unwrap() == fs::read(back).unwrap(), "{path:?}");
    }
}

#[test]
fn only_abandoned_incomplete_files_are_cleaned_away() {
    let place = Place::new();
    let put = |name: &str| {
        let path = place.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"text").unwrap();
    };
    let (left, kept) = (
        ["d/.sealwax-aB3xYz.partial", "d/deep/.sealwax-000000.partial"],
        [
            "d/a.partial",
            "d/.sealwax-aB3xYz.partial.sealed",
            "d/.sealwax-my notes.partial",
            "d/.sealwax-aB3xY.partial",
            "d/.sealwax-aB3xY-.partial",
            "d/sealwax-aB3xYz.partial",
            "outside/.sealwax-aB3xYz.partial",
        ],
    );
    left.iter().chain(&kept).for_each(|name| put(name));
    fs::create_dir(place.path("d/.sealwax-subdir.partial")).unwrap();
    fs::create_dir(place.path("d/.sealwax-dirdir.partial")).unwrap();
    std::os::unix::fs::symlink("../outside", place.path("d/link")).unwrap();
    std::os::unix::fs::symlink("a.partial", place.path("d/.sealwax-linked.partial")).unwrap();
    std::os::unix::fs::symlink("a.partial", place.path("d/.sealwax-linkto.partial")).unwrap();

    // One that is being written.
    let encrypt = ["encrypt", "-k", &place.key, "-o", "d/written", "-"];
    let mut child = place.command(&encrypt).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&[3; 1_000_000]).unwrap();
    let before = files(&place.path("d"));
    assert_eq!(before.len(), 2 + 6 + 1, "{before:?}");

    let output = place.run(&["clean", "d"]);
    let text = stderr(&output);
    assert_eq!(code(&output), 0, "{text}");
    for name in left {
        assert!(text.contains(&format!("{name}: removed\n")), "{text}");
    }
    assert!(text.contains(": skipped: a running command is writing it\n"), "{text}");
    assert!(text.ends_with("removed 2 incomplete files, 8 B\n"), "{text}");
    assert!(kept.iter().all(|name| place.path(name).exists()));
    assert_eq!(files(&place.path("d")).len(), 6 + 1);
    assert_eq!(
        fs::read_dir(place.path("d"))
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_type().unwrap().is_symlink())
            .count(),
        3
    );
    drop(stdin);
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(0));
    place.ok(&["verify", "-k", &place.key, "d/written"]);
    thread::sleep(Duration::from_millis(1));
    assert_eq!(stderr(&place.run(&["clean", "d"])), "removed 0 incomplete files, 0 B\n");
    place.refused(&["clean"], 2, "<DIR>");
    let missing = place.run(&["clean", "missing", "d"]);
    assert_eq!(code(&missing), 1);
    assert!(stderr(&missing).starts_with("sealwax: missing: no such file or directory"), "{}", stderr(&missing));
}
