//! Which files of a directory are processed: patterns, updates, checks; and the commands that
//! process messages in place or show them.

use std::time::SystemTime;

use super::*;

/// Sets the modification time of a file.
fn set_modified(place: &Place, name: &str, time: SystemTime) {
    fs::File::options().write(true).open(place.path(name)).unwrap().set_modified(time).unwrap();
}

fn modified(place: &Place, name: &str) -> SystemTime {
    fs::metadata(place.path(name)).unwrap().modified().unwrap()
}

/// Returns the names of the files in a directory.
fn names(place: &Place, directory: &str) -> Vec<String> {
    let files = tree(&place.path(directory)).into_iter().filter(|(_, content)| content.is_some());
    files.map(|(path, _)| path.to_str().unwrap().to_owned()).collect()
}

#[test]
fn an_update_encrypts_what_is_newer_than_its_message() {
    let place = place_with_directory();
    assert_eq!(code(&encrypt(&place, &[])), 0);
    let past = SystemTime::now() - Duration::from_secs(100);
    for name in ["empty", "a", "a.sealed", "deep/er/still/b", "deep/.hidden"] {
        set_modified(&place, &format!("in/{name}"), past);
    }
    let before = tree(&place.path("out"));
    put(&place, "in/a", b"newer");
    put(&place, "in/new", b"new");
    set_modified(&place, "in/a", SystemTime::now() + Duration::from_secs(100));
    // A file of the same time may have changed after it was read.
    set_modified(&place, "in/deep/.hidden", modified(&place, "out/deep/.hidden.sealed"));
    set_modified(&place, "in/deep/name with space, ü and \u{1b}[31m", past);
    assert_done(&encrypt(&place, &["--update"]), "encrypted 3 files, 14 B; 4 skipped because they exist\n");
    let after = tree(&place.path("out"));
    let changed: Vec<_> = after.iter().filter(|(path, content)| before.get(*path) != Some(content)).collect();
    let changed: Vec<_> = changed.into_iter().map(|(path, _)| path.to_str().unwrap()).collect();
    assert_eq!(changed, ["a.sealed", "deep/.hidden.sealed", "new.sealed"]);
    assert_eq!(code(&decrypt(&place, &[])), 0);
    assert!(tree(&place.path("back")) == tree(&place.path("in")));
    // What is no message is not replaced.
    put(&place, "out/a.sealed", b"another file");
    set_modified(&place, "out/a.sealed", past);
    assert_eq!(code(&encrypt(&place, &["-u"])), 6);
    place.refused(&["encrypt", "-r", "-k", &place.key, "--update", "--force", "in", "-o", "out"], 2, "--force");
}

#[test]
fn an_update_of_single_files_encrypts_what_is_newer() {
    let place = Place::new();
    let update = ["encrypt", "-u", "-k", &place.key, "plain"];
    place.write("plain", b"text");
    place.ok(&update);
    let first = place.read("plain.sealed");
    set_modified(&place, "plain", SystemTime::now() - Duration::from_secs(100));
    assert_eq!(stderr(&place.run(&update)), "plain.sealed: up to date\n");
    assert!(place.read("plain.sealed") == first);
    place.write("plain", b"newer");
    set_modified(&place, "plain", SystemTime::now() + Duration::from_secs(100));
    place.ok(&update);
    assert_eq!(place.ok(&["decrypt", "-k", &place.key, "-o", "-", "plain.sealed"]), b"newer");
    place.write("plain.sealed", b"no message");
    place.refused(&update, 6, "not a message");
    place.refused(&["encrypt", "-u", "-k", &place.key, "-o", "-", "plain"], 2, "--update needs an output file");
}

#[test]
fn a_check_writes_nothing_and_finds_what_is_missing_or_differs() {
    let place = place_with_directory();
    let key = place.key.as_str();
    let check = ["encrypt", "-r", "--check", "-k", key, "in", "-o", "out"];
    let output = place.run(&check);
    assert_eq!(code(&output), 7, "{}", stderr(&output));
    assert!(stderr(&output).contains("sealwax: out/deep/er/still/b.sealed: does not exist\n"), "{}", stderr(&output));
    assert!(stderr(&output).ends_with("sealwax: checked 0 files, 0 B; 6 missing or different\n"));
    assert!(!place.path("out").exists());

    assert_eq!(code(&encrypt(&place, &[])), 0);
    let said = "checked 6 files, 293.01 KiB, of which 6 exist and are the same\n";
    assert_done(&place.run(&check), said);
    let check_back = ["decrypt", "-r", "--check", "-k", key, "out", "-o", "back"];
    assert_eq!(code(&place.run(&check_back)), 7);
    assert!(!place.path("back").exists());
    assert_eq!(code(&decrypt(&place, &[])), 0);
    assert_done(&place.run(&check_back), said);

    // Neither a size nor a time is what counts.
    let time = modified(&place, "in/deep/.hidden");
    for (changed, from) in [("in", "out/deep/.hidden.sealed"), ("back", "back/deep/.hidden")] {
        put(&place, Path::new(changed).join("deep/.hidden"), b"hiddex");
        set_modified(&place, &format!("{changed}/deep/.hidden"), time);
        let output = place.run(if changed == "in" { &check } else { &check_back });
        assert_eq!(code(&output), 7);
        let text = stderr(&output);
        assert!(text.starts_with(&format!("sealwax: {from}: differs from ")), "{text}");
        assert!(text.ends_with("of which 5 exist and are the same; 1 missing or different\n"), "{text}");
    }
    // A message that does not verify is another failure.
    let mut message = place.read("out/a.sealed");
    *message.last_mut().unwrap() ^= 1;
    put(&place, "out/a.sealed", &message);
    let before = tree(&place.path("out"));
    for command in [&check[..], &check_back] {
        let output = place.run(&[command, &["--json"]].concat());
        assert_eq!(code(&output), 1, "{}", stderr(&output));
        let last = json_lines(&output.stdout).pop().unwrap();
        assert_eq!((&last["to_do"], &last["failed"], &last["compared"]), (&1.into(), &1.into(), &4.into()));
    }
    assert!(tree(&place.path("out")) == before);
    place.refused(&["encrypt", "-r", "-k", key, "--check", "--force", "in", "-o", "out"], 2, "--force");
}

#[test]
fn a_check_of_single_files_finds_what_is_missing_or_differs() {
    let place = Place::new();
    let key = place.key.as_str();
    place.write("plain", b"text");
    let (check, check_back) =
        (["encrypt", "--check", "-k", key, "plain"], ["decrypt", "--check", "-k", key, "plain.sealed"]);
    place.refused(&check, 7, "plain.sealed: does not exist");
    place.ok(&["encrypt", "-k", key, "plain"]);
    place.ok(&check);
    place.ok(&check_back);
    place.write("plain", b"texx");
    place.refused(&check, 7, "plain.sealed: differs from plain");
    place.refused(&check_back, 7, "plain: differs from plain.sealed");
    fs::remove_file(place.path("plain")).unwrap();
    place.refused(&check_back, 7, "plain: does not exist");
    place.refused(&["decrypt", "--check", "-k", key, "-o", "-", "plain.sealed"], 2, "--check needs an output file");
}

#[test]
fn patterns_choose_files_and_leave_others_out() {
    let run = |patterns: &[&str]| {
        let place = place_with_directory();
        put(&place, "in/deep/log.tmp", b"");
        put(&place, "in/deep/er/log.tmp", b"");
        let output = encrypt(&place, patterns);
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        let directories = tree(&place.path("out")).into_iter().filter(|(_, content)| content.is_none()).count();
        let mut names = names(&place, "out");
        names.retain(|name| !name.contains("odd") && !name.contains("name with space"));
        (names.join(" ").replace(".sealed", ""), directories, stderr(&output))
    };
    let (names, directories, text) = run(&["--exclude", "*.tmp", "--exclude", "/deep/er/still/"]);
    assert_eq!((names.as_str(), directories), ("a a deep/.hidden empty", 4));
    assert!(text.ends_with("; 3 left out\n"), "{text}");
    assert_eq!(run(&["--exclude", "deep"]).0, "a a empty");
    assert_eq!(
        run(&["--exclude", "/er", "--exclude", "*.tmp", "--exclude", "!/deep/log.tmp"]).0,
        "a a deep/.hidden deep/er/still/b deep/log.tmp empty"
    );
    // Only directories that have one of the files are created.
    let (names, directories, _) = run(&["--include", "*.tmp"]);
    assert_eq!((names.as_str(), directories), ("deep/er/log.tmp deep/log.tmp", 2));
    assert_eq!(run(&["--include", "still/", "--include", "empty"]).0, "deep/er/still/b empty");
    assert_eq!(run(&["--include", "*.tmp", "--exclude", "deep/er/"]).0, "deep/log.tmp");

    let place = place_with_directory();
    assert_eq!(code(&encrypt(&place, &[])), 0);
    let verify = ["verify", "-r", "-k", &place.key, "out"];
    let said = "verified 1 file, 6 B; 5 left out\n";
    assert_done(
        &place
            .run(&[&verify[..], &["--include", ".hidden.sealed", "--exclude", "er", "--exclude", "[ae]*"]].concat())
            .clone(),
        said,
    );
    place.refused(
        &["encrypt", "-r", "-k", &place.key, "--exclude", "[z-a]", "in", "-o", "new"],
        2,
        "--exclude [z-a]: ",
    );
    place.refused(&["encrypt", "-k", &place.key, "--include", "a", "in/a"], 2, "--recursive");
}

#[test]
fn a_directory_is_reencrypted_in_place_and_again_after_an_interruption() {
    let place = place_with_directory();
    let (old, new) = (place.key.clone(), place.keygen("new.key"));
    assert_eq!(code(&encrypt(&place, &["-c", "tenant=blue"])), 0);
    let before = tree(&place.path("out"));
    let reencrypt = ["reencrypt", "-r", "--old-key", &old, "-k", &new, "out"];
    assert_done(&place.run(&reencrypt), "re-encrypted 6 files\n");
    let after = tree(&place.path("out"));
    assert!(after.keys().eq(before.keys()), "the names are the same");
    assert_eq!(inspect_json(&place, "out/a.sealed")["encryption_context"]["tenant"], "blue");
    place.ok(&["verify", "-r", "-k", &new, "-c", "tenant=blue", "out"]);
    let verify = place.run(&["verify", "-r", "-k", &old, "out"]);
    assert_eq!(code(&verify), 4);
    // Some are done and some are not.
    put(&place, "out/a.sealed", before[Path::new("a.sealed")].as_ref().unwrap());
    assert_done(&place.run(&reencrypt), "re-encrypted 6 files\n");
    place.ok(&["decrypt", "-r", "-k", &new, "out", "-o", "back"]);
    assert!(tree(&place.path("back")) == tree(&place.path("in")));

    // To another directory, where messages are not replaced.
    let to = ["reencrypt", "-r", "--old-key", &new, "-k", &old, "out", "-o", "other", "--exclude", "deep"];
    assert_done(&place.run(&to), "re-encrypted 3 files; 1 left out\n");
    assert_done(&place.run(&to), "re-encrypted 0 files; 3 skipped because they exist; 1 left out\n");
    place.ok(&["verify", "-r", "-k", &old, "other"]);
    assert_eq!(names(&place, "other"), ["a.sealed", "a.sealed.sealed", "empty.sealed"]);

    let mut damaged = place.read("out/a.sealed");
    *damaged.last_mut().unwrap() ^= 1;
    put(&place, "out/a.sealed", &damaged);
    let output = place.run(&reencrypt);
    assert_eq!(code(&output), 3);
    assert!(stderr(&output).ends_with("sealwax: re-encrypted 5 files; 1 failed\n"), "{}", stderr(&output));
    assert!(place.read("out/a.sealed") == damaged, "what does not verify is left alone");
    place.refused(&["reencrypt", "-r", "-k", &new, "out", "-o", "out/below"], 2, "inside the input directory");
    place.refused(&["reencrypt", "-r", "-k", &new, "out", "other"], 2, "one input directory");
}

#[test]
fn a_directory_is_inspected_in_order() {
    let place = place_with_directory();
    assert_eq!(code(&encrypt(&place, &["-c", "tenant=blue"])), 0);
    put(&place, "out/deep/cut.sealed", &place.read("out/a.sealed")[..200]);
    put(&place, "out/other", b"no message");
    let output = place.run(&["inspect", "-r", "out"]);
    assert_eq!(code(&output), 3, "{}", stderr(&output));
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(text.matches("tenant = blue").count(), 6, "{text}");
    let heads: Vec<_> = text.lines().filter_map(|line| line.strip_suffix(".sealed:")).collect();
    assert_eq!(
        heads,
        [
            "out/a",
            "out/a.sealed",
            "out/deep/.hidden",
            "out/deep/er/still/b",
            "out/deep/name with space, ü and \\u{1b}[31m",
            "out/empty"
        ]
    );
    assert!(stderr(&output).ends_with("sealwax: inspected 6 files, 293.01 KiB; 1 skipped; 1 failed\n"));
    assert!(stderr(&output).contains("sealwax: out/deep/cut.sealed: "), "{}", stderr(&output));

    let output = place.run(&["inspect", "-r", "--json", "--include", "a.sealed", "out"]);
    assert_eq!(code(&output), 0);
    let lines = json_lines(&output.stdout);
    assert_eq!((lines.len(), &lines[0]["input"]), (2, &"out/a.sealed".into()));
    assert_eq!((&lines[1]["operation"], &lines[1]["files"]), (&"inspect".into(), &1.into()));
    assert_eq!(lines[0]["message_id"], inspect_json(&place, "out/a.sealed")["message_id"]);
    place.refused(&["inspect", "-r", "missing"], 1, "missing");
    place.refused(&["inspect", "-r"], 2, "one input directory");
}
