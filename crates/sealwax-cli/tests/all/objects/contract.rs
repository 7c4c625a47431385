//! What scripts rely on, over S3.

use std::fs;

use serde_json::json;

use super::Bucket;
use crate::support::{
    WrappingKey, pattern,
    peer::{Peer, Sdk},
};

/// The key of the directory, as the SDKs know it.
fn wrapping_key(bucket: &Bucket) -> WrappingKey {
    let bytes = bucket.tool.place.read("main.key");
    WrappingKey { namespace: "sealwax".into(), name: "main".into(), bytes }
}

#[test]
fn objects_are_written_read_listed_and_opened_by_python() {
    let Some(mut bucket) = Bucket::new() else { return };
    let Some(mut peer) = Peer::start(Sdk::Python) else { return };
    peer.keyring = "mpl";
    let text = pattern(200_000);
    bucket.tool.place.write("big.bin", &text);
    bucket.tool.place.write("empty", b"");
    let tool = &bucket.tool;
    // The key is the literal text after the bucket.
    let key = "dir/a b%20?x=1#y+\u{e9}.bin";
    let url = format!("s3://lake/{key}");
    tool.with_key(&["encrypt", "-c", "tenant=blue", "big.bin", "-o", &url]);
    tool.with_key(&["encrypt", "empty", "-o", "s3://lake/empty"]);
    assert_eq!(tool.with_key(&["decrypt", &url, "-o", "-"]), text);
    tool.with_key(&["decrypt", "-c", "tenant=blue", &url, "-o", "back"]);
    assert_eq!(tool.place.read("back"), text);
    assert_eq!(tool.with_key(&["decrypt", "s3://lake/empty", "-o", "-"]), b"");
    tool.with_key(&["verify", &url, "s3://lake/empty"]);
    // Without -o nothing says where the plaintext goes, and it never goes to a store.
    tool.refused(&["decrypt", &url], 2, "-o OUT");
    tool.refused(&["decrypt", &url, "-o", "s3://lake/clear"], 2, "refusing to write plaintext");

    // True lengths, without a key.
    let listed = tool.json(&["ls", "-r", "s3://lake"]);
    let rows: Vec<_> = listed.iter().map(|row| (row["path"].clone(), row["plaintext_length"].clone())).collect();
    assert_eq!(rows, [(json!(key), json!(200_000)), (json!("empty"), json!(0))]);
    let level = String::from_utf8(tool.ok(&["ls", "s3://lake/"])).unwrap();
    assert_eq!(level.split_whitespace().collect::<Vec<_>>(), ["dir/", "0", "empty"]);
    assert!(String::from_utf8(tool.ok(&["ls", &url])).unwrap().trim().starts_with("200000 dir/"));
    let inspected = &tool.json(&["inspect", &url])[0];
    assert_eq!(inspected["required_encryption_context"], json!({"sealwax-path": key}));
    assert_eq!(inspected["encryption_context"], json!({"tenant": "blue"}));
    assert_eq!((&inspected["plaintext_length"], &inspected["frames"]), (&json!(200_000), &json!(4)));
    let shown = String::from_utf8(tool.ok(&["inspect", &url])).unwrap();
    assert!(shown.contains(&format!("required     sealwax-path = {key}\n")), "{shown}");

    // An ordinary message for the official SDK, given the context that `inspect` names.
    let key_of = wrapping_key(&bucket);
    assert_eq!(bucket.keys(), [key, "empty"]);
    let stored = bucket.stored(key);
    assert_eq!(inspected["message_length"], stored.len());
    let context = [("sealwax-path", key), ("tenant", "blue")].into();
    let opening =
        peer.decrypt(std::slice::from_ref(&key_of), &context, &stored).unwrap_or_else(|refused| panic!("{refused:?}"));
    assert_eq!(opening.plaintext, text);
    assert!(peer.decrypt(&[key_of], &[("tenant", "blue")].into(), &stored).is_err());
    // The frames that are read without the header follow from the length; a whole read agrees.
    fs::write(bucket.tool.place.path("copy"), &stored).unwrap();
    let whole = &bucket.tool.json(&["inspect", "copy"])[0];
    for field in ["frames", "body_length", "header_length", "plaintext_length", "message_length", "footer_length"] {
        assert_eq!(whole[field], inspected[field], "{field}");
    }
}

#[test]
fn an_object_opens_only_where_it_is_bound() {
    let Some(mut bucket) = Bucket::new() else { return };
    bucket.tool.place.write("plain", b"text");
    let write = |bucket: &Bucket, name: &str, options: &[&str]| {
        let url = format!("s3://lake/{name}");
        bucket.tool.with_key(&[&["encrypt", "plain", "-o", &url], options].concat());
    };
    let named = ["--store-name", "lake"];
    let store = ["--bind", "store", "--store-name", "lake"];
    let none = ["--bind", "none"];
    write(&bucket, "path", &[]);
    write(&bucket, "named", &named);
    write(&bucket, "store", &store);
    write(&bucket, "none", &none);
    let all: [(&str, &[&str]); 4] = [("path", &[]), ("named", &named), ("store", &store), ("none", &none)];
    for (name, _) in all {
        for (other, options) in all {
            let url = format!("s3://lake/{name}");
            let arguments = [&["decrypt", &url, "-o", "-"], options].concat();
            if name == other {
                assert_eq!(bucket.tool.with_key(&arguments), b"text");
            } else {
                bucket.tool.refused(&arguments, 4, "see --bind and --store-name");
            }
        }
    }
    bucket.tool.refused(&["verify", "s3://lake/store", "--bind", "store"], 2, "--store-name");
    // The provider swaps two objects.
    let (one, other) = (bucket.stored("path"), bucket.stored("store"));
    bucket.store("moved", &one);
    bucket.store("also-moved", &other);
    bucket.tool.refused(&["decrypt", "s3://lake/moved", "-o", "out"], 4, "see --bind");
    assert!(!bucket.tool.place.path("out").exists());
    assert_eq!(bucket.tool.with_key(&[&["decrypt", "s3://lake/also-moved", "-o", "-"], &store[..]].concat()), b"text");
    let inspected = &bucket.tool.json(&["inspect", "s3://lake/named", "--store-name", "lake"])[0];
    let expected = json!({"sealwax-path": "named", "sealwax-store": "lake"});
    assert_eq!(inspected["required_encryption_context"], expected);
}

#[test]
fn ranges_are_those_of_the_plaintext() {
    let Some(mut bucket) = Bucket::new() else { return };
    let text = pattern(300_000);
    bucket.tool.place.write("plain", &text);
    bucket.tool.with_key(&["encrypt", "plain", "-o", "s3://lake/object"]);
    for (range, expected) in [
        ("0-0", 0..1),
        ("1000-2000", 1000..2001),
        ("65535-65536", 65_535..65_537),
        ("131071-262144", 131_071..262_145),
        ("299999-400000", 299_999..300_000),
        ("250000-", 250_000..300_000),
        ("-7", 299_993..300_000),
    ] {
        let found = bucket.tool.with_key(&["decrypt", "--range", range, "s3://lake/object", "-o", "-"]);
        assert!(found == text[expected], "{range}");
    }
    bucket.tool.with_key(&["decrypt", "--range", "5-9", "s3://lake/object", "-o", "part"]);
    assert_eq!(bucket.tool.place.read("part"), &text[5..10]);
    bucket.tool.refused(&["decrypt", "--range", "300000-300001", "s3://lake/object", "-o", "none"], 1, "300000 bytes");
    bucket.tool.refused(&["decrypt", "--range", "9-5", "s3://lake/object", "-o", "none"], 2, "A-B");
    // A frame that was altered is refused, and others are not touched by it.
    let mut altered = bucket.stored("object");
    altered[1024 + 70_000] ^= 1;
    bucket.store("object", &altered);
    let tool = &bucket.tool;
    tool.refused(&["decrypt", "--range", "70000-70010", "s3://lake/object", "-o", "none"], 3, "s3://lake/object");
    assert_eq!(tool.with_key(&["decrypt", "--range", "0-9", "s3://lake/object", "-o", "-"]), &text[..10]);
    tool.refused(&["decrypt", "s3://lake/object", "-o", "none"], 3, "s3://lake/object");
    tool.refused(&["verify", "s3://lake/object"], 3, "s3://lake/object");
    assert!(!tool.place.path("none").exists());

    // A signed message is verified before any range of it is released, unless it is named.
    tool.with_key(&["encrypt", "plain", "-o", "signed"]);
    let mut signed = tool.place.read("signed");
    for at in [signed.len() - 3, 100_000] {
        bucket.store("signed", &signed);
        let read = ["decrypt", "--bind", "none", "--range", "7-9", "s3://lake/signed", "-o", "-"];
        if at != 100_000 {
            assert_eq!(bucket.tool.with_key(&read), &text[7..10]);
        }
        signed[at] ^= 1;
        bucket.store("signed", &signed);
        bucket.tool.refused(&read, 3, "s3://lake/signed");
        let unverified = [&read[..], &["--release-unverified"]].concat();
        assert_eq!(bucket.tool.with_key(&unverified), &text[7..10]);
        signed[at] ^= 1;
    }
    // And so is one in a file.
    let read = ["decrypt", "--range", "4095-4096", "signed", "-o", "-"];
    assert_eq!(bucket.tool.with_key(&read), &text[4095..4097]);
    signed[100_000] ^= 1;
    bucket.tool.place.write("signed", &signed);
    bucket.tool.refused(&read, 3, "signed");
}

#[cfg(feature = "aws")]
#[test]
fn a_profile_has_credentials_region_and_endpoint() {
    let Some(mut bucket) = Bucket::new() else { return };
    let directory = bucket.tool.place.directory.path().to_owned();
    let profile = format!(
        "[profile far]\nregion = eu-west-1\naws_access_key_id = A\naws_secret_access_key = B\nendpoint_url = {}\n",
        bucket.server.endpoint
    );
    fs::write(directory.join("config"), profile).unwrap();
    fs::write(directory.join("plain"), b"text").unwrap();
    bucket.tool.environment = Vec::new();
    bucket.tool.with_key(&["encrypt", "--profile", "far", "plain", "-o", "s3://lake/a"]);
    bucket.tool.environment.push(("AWS_PROFILE", "far".to_owned()));
    assert_eq!(bucket.tool.with_key(&["decrypt", "s3://lake/a", "-o", "-"]), b"text");
    bucket.tool.environment.pop();
    bucket.tool.refused(&["verify", "s3://lake/a"], 1, "s3://lake/a");
}

#[test]
fn an_object_that_exists_is_replaced_only_with_force() {
    let Some(mut bucket) = Bucket::new() else { return };
    bucket.tool.place.write("plain", b"text");
    bucket.tool.place.write("long", &vec![7; 9 << 20]);
    for (file, name) in [("plain", "short"), ("long", "long")] {
        let url = format!("s3://lake/{name}");
        bucket.tool.with_key(&["encrypt", file, "-o", &url]);
        let before = bucket.stored(name);
        bucket.tool.refused(&["encrypt", file, "-o", &url], 6, "use --force");
        bucket.tool.refused(&["cp", file, &url], 6, "use --force");
        assert!(bucket.stored(name) == before);
        bucket.tool.with_key(&["encrypt", "--force", file, "-o", &url]);
        assert!(bucket.stored(name) != before);
        assert_eq!(bucket.tool.with_key(&["decrypt", &url, "-o", "-"]), bucket.tool.place.read(file));
    }
    assert_eq!(bucket.open_uploads(), 0);
    let listed = bucket.tool.json(&["ls", "s3://lake/long"]);
    assert_eq!(listed[0]["plaintext_length"], 9 << 20);
    for (arguments, text) in [
        (&["encrypt", "--suite", "0x0578", "plain", "-o", "s3://lake/x"][..], "--suite 0x0478"),
        (&["encrypt", "--frame-length", "4096", "plain", "-o", "s3://lake/x"], "65536"),
        (&["encrypt", "--update", "plain", "-o", "s3://lake/x"], "sealwax sync"),
        (&["encrypt", "-r", ".", "-o", "s3://lake/x"], "sealwax sync"),
        (&["encrypt", "plain", "-o", "s3://lake/a/../b"], "s3://lake/a/../b"),
        (&["encrypt", "plain", "-o", "s3://lake/a//b"], "empty segments"),
        (&["encrypt", "plain", "-o", "s3://lake/"], "names no object"),
        (&["encrypt", "plain", "-o", "s3://lake/a/"], "names no object"),
        (&["encrypt", "plain", "-o", "s3:///a"], "no bucket"),
        (&["encrypt", "plain", "-o", "file://a/b"], "file:///PATH"),
    ] {
        bucket.tool.refused(arguments, 2, text);
    }
    assert_eq!(bucket.keys(), ["long", "short"]);
}

#[test]
fn cp_moves_messages_between_files_and_stores() {
    let Some(mut bucket) = Bucket::new() else { return };
    bucket.server.call("s3", "create_bucket", json!({"Bucket": "other"}));
    let text = pattern(150_000);
    bucket.tool.place.write("plain", &text);
    let tool = &bucket.tool;
    tool.with_key(&["cp", "plain", "s3://lake/a"]);
    tool.with_key(&["cp", "-c", "x=y", "plain", "s3://lake/with-context"]);
    tool.with_key(&["cp", "s3://lake/a", "s3://lake/dir/b"]);
    tool.with_key(&["cp", "s3://lake/with-context", "s3://other/c"]);
    let local = format!("file://{}/store/d", tool.place.directory.path().canonicalize().unwrap().display());
    tool.with_key(&["cp", "s3://other/c", &local]);
    tool.with_key(&["cp", &local, "back"]);
    assert_eq!(tool.place.read("back"), text);
    // The stored context is kept.
    assert_eq!(tool.json(&["inspect", &local])[0]["encryption_context"], json!({"x": "y"}));
    for url in ["s3://lake/a", "s3://lake/dir/b", "s3://other/c"] {
        assert_eq!(tool.with_key(&["decrypt", url, "-o", "-"]), text, "{url}");
    }
    tool.refused(&["cp", "s3://lake/a", "s3://lake/dir/b"], 6, "use --force");
    tool.refused(&["cp", "s3://lake/a", "back"], 6, "use --force");
    tool.refused(&["cp", "plain", "back"], 2, "neither is the URL");
    assert_eq!(bucket.keys(), ["a", "dir/b", "with-context"]);

    // From an object to a file and back, as messages.
    let tool = &bucket.tool;
    tool.with_key(&["reencrypt", "s3://lake/with-context", "-o", "file.sealed"]);
    assert_eq!(tool.with_key(&["decrypt", "-c", "x=y", "file.sealed", "-o", "-"]), text);
    tool.with_key(&["reencrypt", "file.sealed", "-o", "s3://lake/again"]);
    assert_eq!(tool.with_key(&["decrypt", "-c", "x=y", "s3://lake/again", "-o", "-"]), text);
}

#[test]
fn everything_below_a_path_is_re_encrypted_in_place() {
    let Some(mut bucket) = Bucket::new() else { return };
    let new = bucket.tool.place.keygen("new.key");
    bucket.tool.place.write("plain", b"text");
    bucket.tool.place.write("long", &vec![7; 9 << 20]);
    for (name, file) in [("p/a", "plain"), ("p/dir/b", "plain"), ("p/long", "long"), ("q/c", "plain")] {
        bucket.tool.with_key(&["encrypt", "-c", "x=y", file, "-o", &format!("s3://lake/{name}")]);
    }
    bucket.tool.with_key(&["verify", "-r", "s3://lake/"]);
    let tool = &bucket.tool;
    let again = ["reencrypt", "-r", "-k", &new, "--old-key", &tool.place.key, "s3://lake/p", "--json"];
    for _ in 0..2 {
        let lines = crate::place::json_lines(&tool.ok(&again));
        assert_eq!(lines.last().unwrap()["files"], 3);
    }
    for name in ["p/a", "p/dir/b"] {
        let url = format!("s3://lake/{name}");
        assert_eq!(tool.ok(&["decrypt", "-k", &new, "-c", "x=y", &url, "-o", "-"]), b"text");
        tool.refused(&["verify", &url], 4, "");
    }
    tool.with_key(&["verify", "s3://lake/q/c"]);
    let listed = tool.json(&["ls", "-r", "s3://lake/p"]);
    assert!(listed.iter().all(|row| row["plaintext_length"] == 4 || row["plaintext_length"] == 9 << 20));
    // One object that fails is a failure of all, and the others are done.
    bucket.store("p/broken", b"no message");
    let output = bucket.tool.run(&["verify", "-r", "-k", &new, "s3://lake/p"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert_eq!(bucket.open_uploads(), 0);
}
