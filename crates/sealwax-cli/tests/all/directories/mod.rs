//! The command-line tool on whole directories, run as a user runs it.
//!
//! `SEALWAX_FULL_FOLDERS=1` tests 10,000 files and a file of 2 GiB.

mod scale;
mod selection;
#[cfg(unix)]
mod swaps;

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use crate::{
    place::{Place, code, inspect_json, json_lines, stderr},
    support,
};

/// Returns whether everything is tested at its full size.
fn full() -> bool {
    env::var_os("SEALWAX_FULL_FOLDERS").is_some_and(|value| value == "1")
}

/// Returns everything in a directory: files with their content, directories, and links with their
/// targets.
fn tree(directory: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    for entry in walkdir::WalkDir::new(directory).min_depth(1) {
        let entry = entry.unwrap();
        let content = entry.file_type().is_file().then(|| fs::read(entry.path()).unwrap());
        found.insert(entry.path().strip_prefix(directory).unwrap().to_owned(), content);
    }
    found
}

/// Creates a file and its parent directories.
fn put(place: &Place, path: impl AsRef<Path>, bytes: &[u8]) {
    let path = place.directory.path().join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Returns a place with a directory `in` that contains some of everything.
fn place_with_directory() -> Place {
    let place = Place::new();
    put(&place, "in/empty", b"");
    put(&place, "in/a", b"text a");
    put(&place, "in/a.sealed", b"no message, in spite of its name");
    put(&place, "in/deep/er/still/b", &support::pattern(300_000));
    put(&place, "in/deep/.hidden", b"hidden");
    put(&place, "in/deep/name with space, ü and \u{1b}[31m", b"odd");
    fs::create_dir_all(place.path("in/nothing/in here")).unwrap();
    place
}

/// Encrypts `in` into `out`, with more arguments.
fn encrypt(place: &Place, more: &[&str]) -> std::process::Output {
    place.run(&[&["encrypt", "-r", "-k", &place.key, "in", "-o", "out"], more].concat())
}

/// Decrypts `out` into `back`, with more arguments.
fn decrypt(place: &Place, more: &[&str]) -> std::process::Output {
    place.run(&[&["decrypt", "-r", "-k", &place.key, "out", "-o", "back"], more].concat())
}

#[track_caller]
fn assert_done(output: &std::process::Output, said: &str) {
    assert_eq!((code(output), stderr(output).as_str()), (0, said));
    assert!(output.stdout.is_empty());
}

#[test]
fn a_tree_goes_there_and_back() {
    for more in [&[][..], &["--suite", "0x0478"], &["--jobs", "1"], &["--suffix", ".aws+é"], &["--suffix", ""]] {
        let place = place_with_directory();
        let suffix = more.iter().position(|word| *word == "--suffix").map(|at| ["--suffix", more[at + 1]]);
        let suffix: &[&str] = suffix.as_ref().map_or(&[], |words| words);
        assert_done(&encrypt(&place, more), "encrypted 6 files, 293.01 KiB\n");
        for (path, content) in tree(&place.path("in")) {
            let mut sealed = place.path("out").join(&path).into_os_string();
            let Some(content) = content else {
                assert!(Path::new(&sealed).is_dir());
                continue;
            };
            sealed.push(suffix.get(1).unwrap_or(&".sealed"));
            assert!(
                place.ok(&["decrypt", "-o", "-", "-k", &place.key, sealed.to_str().unwrap()]) == content,
                "{path:?}"
            );
        }
        assert_done(
            &place.run(&[&["verify", "-r", "-k", &place.key, "out"], suffix].concat()),
            "verified 6 files, 293.01 KiB\n",
        );
        assert_done(&decrypt(&place, suffix), "decrypted and verified 6 files, 293.01 KiB\n");
        assert!(tree(&place.path("back")) == tree(&place.path("in")));
    }
}

/// File names are bytes here.
#[cfg(target_os = "linux")]
#[test]
fn names_that_are_not_utf8_are_kept() {
    use std::os::unix::ffi::OsStringExt;

    let place = Place::new();
    let names = [b"\xff\xfe".to_vec(), b"line\nbreak".to_vec(), b"directory\xff/\x80".to_vec()];
    for name in &names {
        put(&place, Path::new("in").join(OsString::from_vec(name.clone())), name);
    }
    assert_done(&encrypt(&place, &["--metadata", "log"]), "encrypted 3 files, 24 B\n");
    assert_done(&decrypt(&place, &[]), "decrypted and verified 3 files, 24 B\n");
    assert!(tree(&place.path("back")) == tree(&place.path("in")));
    assert_eq!(json_lines(&place.read("log")).len(), 3);
}

#[test]
fn files_share_a_data_key_unless_told_not_to() {
    let data_keys = |more: &[&str]| {
        let place = Place::new();
        for number in 0..10 {
            put(&place, format!("in/{number}"), b"text");
        }
        assert_eq!(code(&encrypt(&place, more)), 0);
        let mut keys: Vec<_> = (0..10)
            .map(|number| fs::read(place.path(&format!("out/{number}.sealed"))).unwrap())
            .map(|message| sealwax::Client::new().header_decoder().decode(&message).unwrap().0.header().clone())
            .map(|header| (header.encrypted_data_keys()[0].ciphertext().to_vec(), header.context().clone()))
            .map(|(key, context)| (key, context.get("aws-crypto-public-key").unwrap_or_default().to_owned()))
            .collect();
        keys.sort();
        keys.dedup();
        assert_eq!(code(&decrypt(&place, &[])), 0);
        keys.len()
    };
    assert_eq!(data_keys(&[]), 1);
    assert_eq!(data_keys(&["--cache-messages", "1"]), 10);
    // The trial at the start uses one of the five.
    assert_eq!(data_keys(&["--cache-messages", "5", "--jobs", "1"]), 3);
    assert_eq!(data_keys(&["--suite", "0x0478"]), 1);
}

#[cfg(unix)]
#[test]
fn links_and_special_files_are_said_and_skipped() {
    let place = place_with_directory();
    let link = std::os::unix::fs::symlink::<&str, PathBuf>;
    link("a", place.path("in/link")).unwrap();
    link("deep", place.path("in/directory link")).unwrap();
    link("..", place.path("in/deep/loop")).unwrap();
    assert!(Command::new("mkfifo").arg(place.path("in/pipe")).status().unwrap().success());
    let output = encrypt(&place, &[]);
    let text = stderr(&output);
    assert_eq!(code(&output), 0);
    for line in [
        "in/link: skipped: symbolic link\n",
        "in/directory link: skipped: symbolic link\n",
        "in/deep/loop: skipped: symbolic link\n",
        "in/pipe: skipped: not a regular file\n",
        "encrypted 6 files, 293.01 KiB; 4 skipped\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
    assert_eq!(tree(&place.path("out")).values().flatten().count(), 6);
    assert_done(&encrypt(&place, &["--force", "--quiet"]), "");
}

#[test]
fn what_is_there_is_skipped_unless_forced() {
    let place = place_with_directory();
    assert_eq!(code(&encrypt(&place, &[])), 0);
    let first = tree(&place.path("out"));
    assert_done(&encrypt(&place, &[]), "encrypted 0 files, 0 B; 6 skipped because they exist\n");
    assert!(tree(&place.path("out")) == first);

    put(&place, "in/new", b"new");
    fs::remove_file(place.path("out/deep/er/still/b.sealed")).unwrap();
    thread::sleep(Duration::from_millis(20));
    put(&place, "in/a", b"another text a");
    let said = "encrypted 2 files, 292.97 KiB; 5 skipped because they exist, of which 1 changed since (--update encrypts them again)\n";
    assert_done(&encrypt(&place, &[]), said);
    assert_done(&encrypt(&place, &["--force"]), "encrypted 7 files, 293.03 KiB\n");
    assert_done(&decrypt(&place, &[]), "decrypted and verified 7 files, 293.03 KiB\n");
    assert!(tree(&place.path("back")) == tree(&place.path("in")));
    // What exists is compared with the messages, so that success means that all of it is verified.
    let said = "decrypted and verified 7 files, 293.03 KiB, of which 7 exist and are the same\n";
    assert_done(&decrypt(&place, &[]), said);
}

#[test]
fn what_exists_is_not_taken_for_what_would_be_written() {
    let place = place_with_directory();
    assert_eq!(code(&encrypt(&place, &[])), 0);
    assert_eq!(code(&decrypt(&place, &[])), 0);
    let b = place.read("in/deep/er/still/b");
    put(&place, "back/a", b"another text");
    put(&place, "back/empty", b"x");
    put(&place, "back/deep/.hidden", b"hidde");
    put(&place, "back/deep/er/still/b", &[&b[..], b"x"].concat());
    let changed = tree(&place.path("back"));
    let output = decrypt(&place, &[]);
    assert_eq!(code(&output), 6, "{}", stderr(&output));
    for name in ["a", "empty", "deep/.hidden", "deep/er/still/b"] {
        let line =
            format!("sealwax: back/{name}: the file exists and differs from the message; use --force to replace it\n");
        assert!(stderr(&output).contains(&line), "{line:?}: {}", stderr(&output));
    }
    assert!(stderr(&output).contains(", of which 2 exist and are the same; 4 failed\n"), "{}", stderr(&output));
    assert!(tree(&place.path("back")) == changed);
    assert_eq!(code(&decrypt(&place, &["--force"])), 0);
    assert!(tree(&place.path("back")) == tree(&place.path("in")));

    // An existing file is compared with verified messages only.
    let mut damaged = place.read("out/a.sealed");
    *damaged.last_mut().unwrap() ^= 1;
    put(&place, "out/a.sealed", &damaged);
    assert_eq!(code(&decrypt(&place, &[])), 3);

    // Encryption leaves messages alone, which other files are not.
    put(&place, "out/a.sealed", b"");
    put(&place, "out/empty.sealed", b"not a message");
    let header = &place.read("out/deep/.hidden.sealed")[..100];
    put(&place, "out/deep/.hidden.sealed", header);
    let output = encrypt(&place, &[]);
    assert_eq!(code(&output), 6, "{}", stderr(&output));
    for name in ["a", "empty", "deep/.hidden"] {
        let line =
            format!("sealwax: out/{name}.sealed: the file exists and is not a message; use --force to replace it\n");
        assert!(stderr(&output).contains(&line), "{line:?}: {}", stderr(&output));
    }
    let output = decrypt(&place, &[]);
    assert_eq!(code(&output), 3);
    assert!(stderr(&output).contains("sealwax: out/a.sealed: the message is truncated"), "{}", stderr(&output));
}

#[test]
fn files_that_fail_are_named_and_the_others_go_on() {
    let place = place_with_directory();
    assert_eq!(code(&encrypt(&place, &[])), 0);
    let message = place.read("out/deep/er/still/b.sealed");
    let mut damaged = message.clone();
    *damaged.last_mut().unwrap() ^= 1;
    put(&place, "out/damaged.sealed", &damaged);
    put(&place, "out/deep/cut.sealed", &message[..message.len() / 2]);
    put(&place, "out/not a message", b"text");
    put(&place, "out/.sealed", &message);
    put(&place, "out/...sealed", &message);
    let output = decrypt(&place, &[]);
    let text = stderr(&output);
    assert_eq!(code(&output), 3);
    for line in [
        "sealwax: out/damaged.sealed: the message is not authentic",
        "sealwax: out/deep/cut.sealed: the message is truncated",
        "out/not a message: skipped: the name does not end in .sealed",
        "out/.sealed: skipped: ",
        "out/...sealed: skipped: ",
    ] {
        assert!(text.contains(line), "{text}");
    }
    assert!(text.ends_with("sealwax: decrypted and verified 6 files, 293.01 KiB; 3 skipped; 2 failed\n"), "{text}");
    assert!(
        tree(&place.path("back")) == tree(&place.path("in")),
        "the others are there, and nothing of those that failed"
    );

    let verify = place.run(&["verify", "-r", "-k", &place.key, "out"]);
    assert_eq!(code(&verify), 3);
    assert!(stderr(&verify).ends_with("sealwax: verified 6 files, 293.01 KiB; 3 skipped; 2 failed\n"));

    // Failures of several kinds have exit code 1, and are reported even with `--quiet`.
    fs::remove_dir_all(place.path("back")).unwrap();
    fs::create_dir_all(place.path("back/a")).unwrap();
    let output = decrypt(&place, &["--quiet"]);
    assert_eq!((code(&output), stderr(&output).lines().count()), (1, 4));
    assert!(stderr(&output).contains(
        "sealwax: back/a: a directory exists under this name; remove it or choose another output directory\n"
    ));

    let output = decrypt(&place, &["--json"]);
    let (lines, skipped): (Vec<_>, Vec<_>) = json_lines(&output.stdout)
        .into_iter()
        .partition(|line| line["skipped"].is_null() || line["failed"].is_number());
    assert_eq!(skipped.len(), 3);
    assert!(skipped.iter().any(|line| line["skipped"] == "out/not a message"));
    assert_eq!(lines.len(), 5 + 3 + 1);
    let summary = serde_json::json!({ "operation": "decrypt", "files": 5, "bytes": 300_041, "compared": 5, "finished": 0, "older": 0,
                                      "skipped": 3, "excluded": 0, "to_do": 0, "failed": 3, "stopped": false });
    assert_eq!(lines[8], summary);
    assert!(
        lines[..8]
            .iter()
            .any(|line| line["code"] == 3 && line["error"].as_str().unwrap().starts_with("out/damaged.sealed: "))
    );
}

#[cfg(unix)]
#[test]
fn a_file_that_cannot_be_read_is_named() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    let place = place_with_directory();
    if fs::metadata(place.directory.path()).unwrap().uid() == 0 {
        support::skip("SEALWAX_REQUIRE_USER", "modes keep nothing from root");
        return;
    }
    fs::set_permissions(place.path("in/a"), fs::Permissions::from_mode(0o000)).unwrap();
    fs::set_permissions(place.path("in/deep"), fs::Permissions::from_mode(0o000)).unwrap();
    let output = encrypt(&place, &[]);
    fs::set_permissions(place.path("in/deep"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("sealwax: in/a: permission denied"));
    assert!(stderr(&output).contains("sealwax: in/deep: permission denied"));
    assert!(stderr(&output).ends_with("; 2 failed\n"));
}

#[cfg(unix)]
#[test]
fn nothing_is_written_outside_of_the_output_directory() {
    let place = place_with_directory();
    assert_eq!(code(&encrypt(&place, &[])), 0);
    for outside in ["outside", "back"] {
        fs::create_dir(place.path(outside)).unwrap();
    }
    put(&place, "outside/file", b"precious");
    let link = std::os::unix::fs::symlink::<&str, PathBuf>;
    link("../outside", place.path("back/deep")).unwrap();
    link("../outside/file", place.path("back/a")).unwrap();
    link("nowhere", place.path("back/empty")).unwrap();
    for more in [&[][..], &["--force"]] {
        let output = decrypt(&place, more);
        let text = stderr(&output);
        assert_eq!(code(&output), 2);
        for line in [
            "sealwax: back/deep: a link or a file exists in place of this directory",
            "sealwax: back/a: a symbolic link exists under this name",
            "sealwax: back/empty: a symbolic link exists under this name",
            "; 3 failed\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
        assert_eq!(tree(&place.path("outside")), BTreeMap::from([("file".into(), Some(b"precious".to_vec()))]));
    }
    // The output directory itself may be a link, because the user named it.
    fs::create_dir(place.path("real")).unwrap();
    link("real", place.path("other")).unwrap();
    place.ok(&["decrypt", "-r", "-k", &place.key, "out", "-o", "other"]);
    assert!(tree(&place.path("real")) == tree(&place.path("in")));
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_written() {
    let place = place_with_directory();
    let key = place.key.as_str();
    let encrypt = |more: &[&'static str], code, text| {
        place.refused(&[&["encrypt", "-r", "-k", key], more].concat(), code, text);
    };
    encrypt(&["in"], 2, "-o DIR");
    encrypt(&["-", "-o", "out"], 2, "--recursive needs directories");
    encrypt(&["in", "-o", "in"], 2, "the output directory is inside the input directory");
    encrypt(&["in", "-o", "in/deep/out"], 2, "the output directory is inside the input directory");
    encrypt(&["in", "-o", "in/../in/new/out"], 2, "the output directory is inside the input directory");
    // Creating one directory would make the other reachable.
    encrypt(&["in", "-o", "new/../in/out"], 2, "the output directory is inside the input directory");
    encrypt(&["in/deep", "-o", "in"], 2, "the input directory is inside the output directory");
    encrypt(&["in/a", "-o", "out"], 2, "in/a: not a directory");
    encrypt(&["in", "-o", "in/a"], 2, "the output directory is inside the input directory");
    encrypt(&["in", "-o", "main.key"], 2, "main.key: not a directory");
    encrypt(&["missing", "-o", "out"], 1, "missing: no such file or directory");
    encrypt(&["in", "-o", "out", "--suffix", "/../x"], 2, "--suffix");
    encrypt(&["in", "-o", "out", "--jobs", "0"], 2, "--jobs");
    encrypt(&["in", "-o", "out", "--cache-messages", "0"], 2, "--cache-messages");
    // An error that affects every file is reported once.
    encrypt(&["in", "-o", "out", "--suite", "0x0178"], 5, "--commitment-policy");
    encrypt(&["in", "-o", "out", "-c", "=x"], 2, "empty");
    encrypt(&["in", "-o", "out", "-c", "tenant"], 2, "KEY=VALUE");
    encrypt(&["in", "-o", "out", "--metadata", "no/such/file"], 1, "no/such/file");
    place.refused(&["encrypt", "-k", key, "in", "-o", "out"], 2, "--recursive");
    place.refused(&["encrypt", "-k", key, "--jobs", "2", "in/a", "-o", "out"], 2, "--recursive");
    place.refused(
        &["decrypt", "-r", "-k", key, "in", "-o", "in/deep"],
        2,
        "the output directory is inside the input directory",
    );
    place.refused(&["decrypt", "-r", "-k", key, "--release-unverified", "in", "-o", "out"], 2, "--release-unverified");
}

#[test]
fn far_too_many_jobs_are_as_many_as_there_can_be() {
    let place = place_with_directory();
    assert_eq!(code(&encrypt(&place, &["--jobs", "18446744073709551615"])), 0);
    place.ok(&["decrypt", "-r", "-k", &place.key, "--jobs", "4000000", "out", "-o", "back"]);
    assert!(tree(&place.path("back")) == tree(&place.path("in")));
}

/// Limits the address space, so that there is no room for the stacks of so many threads.
#[cfg(target_os = "linux")]
#[test]
fn threads_that_cannot_be_started_are_an_error() {
    let place = place_with_directory();
    let script = "ulimit -v 1000000; exec \"$0\" encrypt -r -k \"$1\" --jobs 1024 in -o out";
    let output = Command::new("bash")
        .args(["-c", script, env!("CARGO_BIN_EXE_sealwax"), &place.key])
        .current_dir(place.directory.path())
        .output()
        .unwrap();
    place.check_refusal(&output, 1, "use --jobs with a smaller number");
    assert!(stderr(&output).starts_with("sealwax: cannot start 1024 threads: "), "{}", stderr(&output));
}

#[test]
fn a_partial_file_that_remained_is_not_encrypted() {
    let place = place_with_directory();
    put(&place, "in/deep/.sealwax-aB3xYz.partial", b"part of a plaintext");
    let output = encrypt(&place, &[]);
    let line = "in/deep/.sealwax-aB3xYz.partial: skipped: an incomplete file of an interrupted run; sealwax clean removes it\n";
    assert_eq!((code(&output), stderr(&output).contains(line)), (0, true), "{}", stderr(&output));
    assert!(tree(&place.path("out")).keys().all(|path| !path.to_string_lossy().contains(".partial")));
}

#[test]
fn metadata_has_a_line_for_each_file() {
    let place = place_with_directory();
    assert_eq!(code(&encrypt(&place, &["-c", "tenant=blue", "--metadata", "log", "--jobs", "4"])), 0);
    assert_eq!(code(&encrypt(&place, &["--metadata", "log"])), 0);
    let lines = json_lines(&place.read("log"));
    assert_eq!(lines.len(), 6, "what was done before has no new line");
    for line in lines {
        let (input, output) = (line["input"].as_str().unwrap(), line["output"].as_str().unwrap());
        assert_eq!(format!("{}.sealed", input.replacen("in", "out", 1)), output);
        assert_eq!(line["message_id"], inspect_json(&place, output)["message_id"]);
        assert_eq!(line["encryption_context"]["tenant"], "blue");
        assert_eq!(line["input_length"], fs::metadata(place.path(input)).unwrap().len());
        assert_eq!(line["output_length"], fs::metadata(place.path(output)).unwrap().len());
    }
}

#[cfg(unix)]
#[test]
fn modes_and_times_are_kept_if_asked_for() {
    use std::os::unix::fs::PermissionsExt;

    let place = place_with_directory();
    let time = std::time::UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789);
    let set = |name: &str, mode| {
        let file = fs::File::options().write(true).open(place.path(name)).unwrap();
        file.set_modified(time).unwrap();
        fs::set_permissions(place.path(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    let mode = |name: &str| fs::metadata(place.path(name)).unwrap().permissions().mode() & 0o7777;
    let modified = |name: &str| fs::metadata(place.path(name)).unwrap().modified().unwrap();
    set("in/a", 0o6751);
    set("in/deep/er/still/b", 0o600);
    fs::set_permissions(place.path("in/deep"), fs::Permissions::from_mode(0o700)).unwrap();

    assert_eq!(code(&encrypt(&place, &["--preserve"])), 0);
    let context = &inspect_json(&place, "out/a.sealed")["encryption_context"];
    assert_eq!((&context["sealwax-mode"], &context["sealwax-mtime"]), (&"0751".into(), &"1000000000.123456789".into()));
    assert_eq!(code(&decrypt(&place, &["--preserve"])), 0);
    // Set-user-ID bits are never restored.
    assert_eq!((mode("back/a"), modified("back/a")), (0o751, time));
    assert_eq!((mode("back/deep/er/still/b"), modified("back/deep/er/still/b")), (0o600, time));
    // Directories are as private as those they are made from, with and without `--preserve`.
    assert_eq!((mode("out/deep"), mode("back/deep")), (0o700, 0o700));

    // Without it, they are those of any new file.
    fs::remove_dir_all(place.path("back")).unwrap();
    assert_eq!(code(&decrypt(&place, &[])), 0);
    assert_ne!(modified("back/a"), time);
    assert_ne!(mode("back/deep/er/still/b"), 0o600);

    let key = place.key.as_str();
    place.ok(&["encrypt", "-k", key, "--preserve", "in/a", "-o", "one"]);
    place.ok(&["decrypt", "-k", key, "--preserve", "one", "-o", "one back"]);
    assert_eq!((mode("one back"), modified("one back")), (0o751, time));
    // A mode that another writer has stored.
    place.ok(&["encrypt", "-k", key, "-c", "sealwax-mode=7777", "in/a", "-o", "bits"]);
    place.ok(&["decrypt", "-k", key, "--preserve", "bits", "-o", "bits back"]);
    assert_eq!(mode("bits back"), 0o777);
    for (context, text) in [("sealwax-mode=rwx", "sealwax-mode"), ("sealwax-mtime=yesterday", "sealwax-mtime")] {
        place.ok(&["encrypt", "-k", key, "-c", context, "in/a", "-o", "odd", "--force"]);
        place.refused(&["decrypt", "-k", key, "--preserve", "odd", "-o", "new"], 3, text);
    }
    place.refused(&["decrypt", "-o", "-", "-k", key, "--preserve", "one"], 2, "--preserve");
    place.refused(&["encrypt", "-k", key, "--preserve", "-", "-o", "new"], 2, "--preserve");
    place.refused(&["encrypt", "-k", key, "--preserve", "-c", "sealwax-mode=1", "in/a", "-o", "new"], 2, "--preserve");
}
