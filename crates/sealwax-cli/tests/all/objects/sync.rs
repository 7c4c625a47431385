//! Directories and objects that are kept the same.

use std::{fs, time::SystemTime};

use serde_json::Value;

use super::{Bucket, Tool};
use crate::{place::json_lines, support::pattern};

/// Runs `sync` and returns the last line of its JSON.
#[track_caller]
fn sync(tool: &Tool, arguments: &[&str]) -> Value {
    let lines = tool.with_key(&[&["sync"], arguments, &["--json"]].concat());
    json_lines(&lines).pop().unwrap()
}

#[track_caller]
fn counts(line: &Value, files: u64, unchanged: u64, deleted: u64) {
    let found = ["files", "unchanged", "deleted", "failed"].map(|name| line[name].as_u64().unwrap());
    assert_eq!(found, [files, unchanged, deleted, 0], "{line}");
}

fn make(tool: &Tool, name: &str, bytes: &[u8]) {
    let path = tool.place.path(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_directory_goes_there_and_back() {
    let Some(mut bucket) = Bucket::new() else { return };
    let tool = &bucket.tool;
    let long = pattern(9 << 20);
    make(tool, "from/a", b"one");
    make(tool, "from/dir/b c", b"two");
    make(tool, "from/dir/empty", b"");
    make(tool, "from/long", &long);
    make(tool, "from/.sealwax-a1B2c3.partial", b"left");
    #[cfg(unix)]
    std::os::unix::fs::symlink("/etc/hostname", tool.place.path("from/link")).unwrap();
    let up = ["-r", "from", "s3://lake/p"];
    counts(&sync(tool, &up), 4, 0, 0);
    counts(&sync(tool, &up), 0, 4, 0);
    // Another length, the same length at another time, and a file that is new.
    make(tool, "from/a", b"three");
    make(tool, "from/dir/b c", b"TWO");
    make(tool, "from/new", b"new");
    counts(&sync(tool, &up), 3, 2, 0);
    counts(&sync(tool, &up), 0, 5, 0);
    for (name, text) in [("a", &b"three"[..]), ("dir/b c", b"TWO"), ("dir/empty", b""), ("long", &long)] {
        assert!(tool.with_key(&["decrypt", &format!("s3://lake/p/{name}"), "-o", "-"]) == text, "{name}");
    }

    let down = ["s3://lake/p/", "to"];
    counts(&sync(tool, &down), 5, 0, 0);
    counts(&sync(tool, &down), 0, 5, 0);
    // What was copied is what it was, also for the way back.
    counts(&sync(tool, &["to", "s3://lake/p"]), 0, 5, 0);
    for name in ["a", "dir/b c", "dir/empty", "long", "new"] {
        assert!(tool.place.read(&format!("to/{name}")) == tool.place.read(&format!("from/{name}")), "{name}");
    }
    make(tool, "to/a", b"longer than it was");
    counts(&sync(tool, &down), 1, 4, 0);
    assert_eq!(tool.place.read("to/a"), b"three");

    // Nothing is deleted unless that is asked for.
    fs::remove_file(tool.place.path("from/new")).unwrap();
    make(tool, "to/extra", b"extra");
    counts(&sync(tool, &up), 0, 4, 0);
    counts(&sync(tool, &down), 0, 5, 0);
    counts(&sync(tool, &["--delete", "from", "s3://lake/p"]), 0, 4, 1);
    counts(&sync(tool, &["--delete", "s3://lake/p", "to"]), 0, 4, 2);
    assert!(!tool.place.path("to/extra").exists() && !tool.place.path("to/new").exists());
    assert_eq!(bucket.keys(), ["p/a", "p/dir/b c", "p/dir/empty", "p/long"]);
    assert_eq!(bucket.open_uploads(), 0);
}

#[test]
fn one_failure_is_a_failure_of_all_and_the_rest_is_done() {
    let Some(mut bucket) = Bucket::new() else { return };
    for name in ["a", "b", "c"] {
        make(&bucket.tool, &format!("from/{name}"), name.as_bytes());
    }
    sync(&bucket.tool, &["from", "s3://lake/p"]);
    // A broken object, one that is no message, and an empty one that some programs leave.
    let mut broken = bucket.stored("p/b");
    broken[1030] ^= 1;
    bucket.store("p/b", &broken);
    bucket.store("p/clear", b"clear");
    bucket.store("p/marker", b"");
    let output = bucket.tool.run(&["sync", "-k", &bucket.tool.place.key, "--delete", "s3://lake/p", "to", "--json"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let line = json_lines(&output.stdout).pop().unwrap();
    assert_eq!((&line["files"], &line["failed"], &line["skipped"]), (&2.into(), &2.into(), &1.into()));
    assert_eq!(bucket.tool.place.read("to/c"), b"c");
    let mut names: Vec<_> =
        fs::read_dir(bucket.tool.place.path("to")).unwrap().map(|one| one.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["a", "c"], "a broken object leaves no file");
}

#[cfg(unix)]
#[test]
fn nothing_is_written_outside_of_the_directory() {
    let Some(bucket) = Bucket::new() else { return };
    let tool = &bucket.tool;
    make(tool, "from/dir/a", b"text");
    make(tool, "from/b", b"text");
    sync(tool, &["from", "s3://lake/p"]);
    fs::create_dir_all(tool.place.path("outside")).unwrap();
    fs::create_dir_all(tool.place.path("to")).unwrap();
    std::os::unix::fs::symlink("../outside", tool.place.path("to/dir")).unwrap();
    std::os::unix::fs::symlink("../outside/b", tool.place.path("to/b")).unwrap();
    let output = tool.run(&["sync", "-k", &tool.place.key, "s3://lake/p", "to"]);
    assert_ne!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(fs::read_dir(tool.place.path("outside")).unwrap().count(), 0);
}

#[test]
fn an_older_file_is_replaced_and_a_newer_one_is_kept() {
    let Some(bucket) = Bucket::new() else { return };
    let tool = &bucket.tool;
    make(tool, "from/a", b"text");
    sync(tool, &["from", "s3://lake/p"]);
    make(tool, "to/a", b"TEXT");
    counts(&sync(tool, &["s3://lake/p", "to"]), 0, 1, 0);
    let file = fs::File::options().write(true).open(tool.place.path("to/a")).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    counts(&sync(tool, &["s3://lake/p", "to"]), 1, 0, 0);
    assert_eq!(tool.place.read("to/a"), b"text");
}
