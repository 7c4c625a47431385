//! The command-line tool on existing messages: `verify` and `reencrypt`, and the reports with
//! `--metadata` and `--quiet`.

use std::fs;

use sealwax::keyring::RawAesKeyring;

use crate::{
    forge::{Forge, PUBLIC_KEY},
    place::{Place, code, inspect_json, json_lines, snapshot, stderr},
    support,
};

/// Returns a place with a file `plain` and its message `sealed`, in the context tenant=blue.
fn place_with_message(length: usize, more: &[&str]) -> Place {
    let place = Place::new();
    place.write("plain", &support::pattern(length));
    place.ok(&[&["encrypt", "-k", &place.key, "-c", "tenant=blue", "-o", "sealed", "plain"], more].concat());
    place
}

#[test]
fn verify_says_yes_and_writes_no_plaintext() {
    for (length, more) in
        [(0, &[][..]), (100, &["--suite", "0x0478"]), (300_000, &[]), (300_000, &["--suite", "0x0478"])]
    {
        let place = place_with_message(length, more);
        let before = snapshot(place.directory.path());
        let output = place.run(&["verify", "-k", &place.key, "-c", "tenant=blue", "sealed"]);
        assert_eq!((code(&output), stderr(&output).as_str()), (0, "sealed: verified\n"));
        assert!(output.stdout.is_empty());
        let quiet = place.run(&["verify", "--quiet", "-k", &place.key, "sealed"]);
        assert_eq!((code(&quiet), stderr(&quiet).as_str()), (0, ""));
        let told = place.run(&["verify", "-k", &place.key, "--json", "sealed"]);
        let json: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
        assert_eq!((&json["operation"], &json["plaintext_length"]), (&"verify".into(), &length.into()));
        let piped = place.run_with_input(&["verify", "-k", &place.key, "-v", "-"], &place.read("sealed"));
        assert_eq!(stderr(&piped), "verified, decrypted by raw-aes://sealwax/main (encrypted data key 0)\n");
        assert!(snapshot(place.directory.path()) == before);
    }
}

#[test]
fn verify_refuses_with_the_exit_codes_of_decrypt() {
    let place = place_with_message(300_000, &[]);
    let (key, sealed) = (place.key.as_str(), place.read("sealed"));
    for (name, at) in [("header", 30), ("body", 150_000), ("signature", sealed.len() - 1)] {
        let mut damaged = sealed.clone();
        damaged[at] ^= 1;
        place.write(name, &damaged);
        let verify = place.run(&["verify", "-k", key, name]);
        let decrypt = place.run(&["decrypt", "-k", key, "-o", "out", name]);
        assert_ne!(code(&verify), 0);
        assert_eq!((code(&verify), stderr(&verify)), (code(&decrypt), stderr(&decrypt)));
    }
    place.write("cut", &sealed[..sealed.len() - 1]);
    place.refused(&["verify", "-k", key, "cut"], 3, "truncated");
    place.refused(&["verify", "-k", key, "-c", "tenant=green", "sealed"], 3, "expected encryption context");
    place.refused(&["verify", "-k", key, "--max-frame-length", "50", "sealed"], 5, "--max-frame-length");
    place.refused(&["verify", "-k", &place.keygen("other.key"), "sealed"], 4, "no encrypted data key matches this key");
    place.refused(&["verify", "-k", key, "missing"], 1, "missing: no such file");
    place.refused(&["verify", "sealed"], 2, "--key");
    place.write("old", b"");
    let old = ["--suite", "0x0378", "--commitment-policy", "forbid-encrypt-allow-decrypt"];
    place.ok(&[&["encrypt", "-k", key, "-o", "old", "--force", "plain"], &old[..]].concat());
    place.refused(&["verify", "-k", key, "old"], 5, "--commitment-policy require-encrypt-allow-decrypt");
}

#[test]
fn reencrypt_changes_the_keys_in_place() {
    for (length, more) in [(0, &[][..]), (100, &["--suite", "0x0478"]), (300_000, &[])] {
        let place = place_with_message(length, more);
        let (old, new) = (place.key.clone(), place.keygen("new.key"));
        let before = inspect_json(&place, "sealed");
        #[cfg(unix)]
        fs::set_permissions(place.path("sealed"), std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
        place.ok(&["reencrypt", "--old-key", &old, "--key", &new, "sealed"]);
        assert!(place.ok(&["decrypt", "-o", "-", "-k", &new, "-c", "tenant=blue", "sealed"]) == place.read("plain"));
        place.refused(&["decrypt", "-k", &old, "-o", "out", "sealed"], 4, "no encrypted data key matches this key");
        let after = inspect_json(&place, "sealed");
        assert_ne!(before["message_id"], after["message_id"]);
        assert_eq!(after["suite"], "0x0578", "the suite is the default one");
        #[cfg(unix)]
        {
            let found = fs::metadata(place.path("sealed")).unwrap();
            assert_eq!(std::os::unix::fs::PermissionsExt::mode(&found.permissions()) & 0o777, 0o640);
        }
        // No other file is left in the directory: two keys, plain, sealed.
        assert_eq!(snapshot(place.directory.path()).len(), 4);
    }
}

#[test]
fn reencrypt_changes_suite_frames_and_context() {
    let place =
        place_with_message(100_000, &["--suite", "0x0378", "--commitment-policy", "forbid-encrypt-allow-decrypt"]);
    let key = place.key.as_str();
    place.refused(&["reencrypt", "-k", key, "sealed"], 5, "--commitment-policy require-encrypt-allow-decrypt");
    let allow = ["--commitment-policy", "require-encrypt-allow-decrypt"];
    let run = |more: &[&str], out: &str| {
        place.ok(&[&["reencrypt", "-k", key, "-o", out, "sealed"], &allow[..], more].concat());
        assert!(place.ok(&["decrypt", "-o", "-", "-k", key, out]) == place.read("plain"));
        let mut json = inspect_json(&place, out);
        json["encryption_context"].as_object_mut().unwrap().remove("aws-crypto-public-key");
        json
    };
    let sealed = place.read("sealed");
    let json = run(&["--suite", "0x0478", "--frame-length", "70000"], "one");
    assert_eq!((&json["suite"], &json["frame_length"]), (&"0x0478".into(), &70_000.into()));
    assert_eq!(json["encryption_context"], serde_json::json!({ "tenant": "blue" }));
    let json = run(&["-c", "stage=live"], "two");
    assert_eq!(json["encryption_context"], serde_json::json!({ "stage": "live" }));
    let json = run(&["--no-context"], "three");
    assert_eq!(json["encryption_context"], serde_json::json!({}));
    run(&["--expect-context", "tenant=blue"], "four");
    assert!(place.read("sealed") == sealed, "with -o the input stays");

    let refused = |more: &[&str], code, text| {
        place.refused(&[&["reencrypt", "-k", key, "-o", "out", "sealed"], &allow[..], more].concat(), code, text);
    };
    refused(&["--expect-context", "tenant=green"], 3, "expected encryption context");
    refused(&["--expect-context", "tenant"], 2, "--expect-context");
    refused(&["-c", "a=b", "--no-context"], 2, "--no-context");
    refused(&["--suite", "0x0178"], 5, "--suite");
    place.refused(&[&["reencrypt", "-k", key, "-o", "one", "sealed"], &allow[..]].concat(), 6, "--force");
}

#[test]
fn what_a_message_keeps_out_is_not_written_into_it_by_reencrypt() {
    let place = place_with_message(100, &["--require-context", "tenant"]);
    let key = place.key.as_str();
    let reencrypt = ["reencrypt", "-k", key, "sealed", "--expect-context", "tenant=blue"];
    place.refused(&reencrypt, 2, "--require-context");
    place.ok(&[&reencrypt[..], &["--require-context", "tenant"]].concat());
    assert!(inspect_json(&place, "sealed")["encryption_context"]["tenant"].is_null());
    place.refused(&["verify", "-k", key, "sealed"], 4, "could not be decrypted");
    place.ok(&["verify", "-k", key, "-c", "tenant=blue", "sealed"]);
}

#[test]
fn attack_29_a_pinned_signer_is_looked_for_in_the_message() {
    let place = place_with_message(100, &[]);
    let key = place.key.as_str();
    let json = inspect_json(&place, "sealed");
    let public_key = json["encryption_context"][PUBLIC_KEY].as_str().unwrap();
    // What an attacker who can unwrap the data key can write: an unsigned message that
    // authenticates the signer's public key without storing it.
    let keyring = RawAesKeyring::new("sealwax", "main", place.read("main.key")).unwrap();
    let (stored, required) = ([("tenant", "blue")], [(PUBLIC_KEY, public_key)]);
    let forge = Forge::under_the_key_of(&place.read("sealed"), &keyring, 0x0478, &stored, &required);
    place.write("forged", &forge.message(b"pay 9999 to Mallory"));
    place.ok(&["encrypt", "-k", key, "-c", "tenant=blue", "-o", "other", "plain"]);
    let other = inspect_json(&place, "other");
    let pin = |value: &str| format!("{PUBLIC_KEY}={value}");
    let (signer, other_signer) = (pin(public_key), pin(other["encryption_context"][PUBLIC_KEY].as_str().unwrap()));

    for tenant in [&["-c", "tenant=blue"][..], &[]] {
        let opened = place.ok(&[&["decrypt", "-o", "-", "-k", key, "-c", &signer], tenant, &["sealed"]].concat());
        assert!(opened == place.read("plain"));
        place.ok(&[&["verify", "-k", key, "-c", &signer], tenant, &["sealed"]].concat());
        for (expected, file, text) in [
            (&signer, "forged", "that the message does not store"),
            (&other_signer, "forged", "that the message does not store"),
            (&other_signer, "sealed", "expected encryption context"),
        ] {
            let expected = [&["-k", key, "-c", expected], tenant].concat();
            place.refused(&[&["decrypt"], &expected[..], &["-o", "out", file]].concat(), 3, text);
            place.refused(&[&["decrypt"], &expected[..], &["-o", "plain", "--force", file]].concat(), 3, text);
            place.refused(&[&["decrypt", "-o", "-"], &expected[..], &[file]].concat(), 3, text);
            place.refused(&[&["verify"], &expected[..], &[file]].concat(), 3, text);
            let piped = [&["decrypt", "-o", "-"], &expected[..], &["--release-unverified", "-"]].concat();
            place.check_refusal(&place.run_with_input(&piped, &place.read(file)), 3, text);
        }
    }
    place.refused(&["decrypt", "-k", key, "-o", "out", "forged"], 4, "could not be decrypted");

    for (expected, file, text) in [
        (&signer, "forged", "that the message does not store"),
        (&other_signer, "sealed", "expected encryption context"),
    ] {
        place.refused(&["reencrypt", "-k", key, "--expect-context", expected, "-o", "out", file], 3, text);
        place.refused(&["reencrypt", "-k", key, "--expect-context", expected, file], 3, text);
    }
    // The new message has a public key of its own, and the rest of the context.
    place.ok(&["reencrypt", "-k", key, "--expect-context", &signer, "-o", "moved", "sealed"]);
    let moved = inspect_json(&place, "moved");
    let own_key = moved["encryption_context"][PUBLIC_KEY].as_str().unwrap();
    assert_ne!(own_key, public_key);
    assert_eq!(moved["encryption_context"].as_object().unwrap().len(), 2);
    assert!(
        place.ok(&["decrypt", "-o", "-", "-k", key, "-c", &pin(own_key), "-c", "tenant=blue", "moved"])
            == place.read("plain")
    );
    place.refused(&["verify", "-k", key, "-c", &signer, "moved"], 3, "expected encryption context");
}

#[test]
fn reencrypt_leaves_what_it_does_not_verify() {
    let place = place_with_message(300_000, &[]);
    let (key, sealed) = (place.key.as_str(), place.read("sealed"));
    for (at, text) in [(150_000, "not authentic"), (sealed.len() - 1, "not authentic")] {
        let mut damaged = sealed.clone();
        damaged[at] ^= 1;
        place.write("damaged", &damaged);
        place.refused(&["reencrypt", "-k", key, "damaged"], 3, text);
        place.refused(&["reencrypt", "-k", key, "-o", "out", "damaged"], 3, text);
        // The same for standard output: the new message would contain a signed message's plaintext,
        // released before its signature is verified.
        let unsigned = ["reencrypt", "-k", key, "--suite", "0x0478", "-o", "-", "damaged"];
        place.refused(&unsigned, 3, text);
        place.check_refusal(&place.run_with_input(&["reencrypt", "-k", key, "-"], &damaged), 3, text);
    }
    place.refused(
        &["reencrypt", "-k", &place.keygen("other.key"), "sealed"],
        4,
        "no encrypted data key matches this key",
    );
    place.refused(&["reencrypt", "sealed"], 2, "--key");
    fs::create_dir(place.path("directory")).unwrap();
    place.refused(&["reencrypt", "-k", key, "directory"], 2, "directory: is a directory");

    let piped = place.run_with_input(&["reencrypt", "-k", key, "-"], &sealed);
    assert_eq!(code(&piped), 0, "{}", stderr(&piped));
    place.write("piped", &piped.stdout);
    assert!(place.ok(&["decrypt", "-o", "-", "-k", key, "piped"]) == place.read("plain"));
}

#[test]
fn metadata_is_a_line_for_each_message() {
    let place = place_with_message(5_000, &["--metadata", "log", "--quiet"]);
    let (key, new) = (place.key.as_str(), place.keygen("new.key"));
    let old_length = place.read("sealed").len();
    place.ok(&["reencrypt", "--old-key", key, "-k", &new, "--metadata", "log", "sealed"]);
    place.ok(&["verify", "-k", &new, "--metadata", "log", "sealed"]);
    place.ok(&["decrypt", "-k", &new, "--metadata", "log", "-o", "back", "sealed"]);
    place.refused(&["decrypt", "-k", key, "--metadata", "log", "-o", "out", "sealed"], 4, "no keyring");
    let lines = json_lines(&place.read("log"));
    let operations: Vec<_> = lines.iter().map(|line| line["operation"].as_str().unwrap()).collect();
    assert_eq!(operations, ["encrypt", "reencrypt", "verify", "decrypt"]);
    for line in &lines {
        assert_eq!((&line["suite"], &line["encryption_context"]["tenant"]), (&"0x0578".into(), &"blue".into()));
    }
    let sealed_length = place.read("sealed").len();
    assert_eq!((&lines[0]["input"], &lines[0]["output"]), (&"plain".into(), &"sealed".into()));
    assert_eq!((&lines[0]["input_length"], &lines[0]["output_length"]), (&5_000.into(), &old_length.into()));
    assert_eq!(lines[1]["opened_by"]["keyring"], "raw-aes://sealwax/main");
    assert_eq!(lines[1]["keys"][0]["keyring"], "raw-aes://sealwax/new");
    assert_eq!(lines[1]["message_id"], lines[3]["message_id"]);
    assert!(lines[2]["output"].is_null());
    assert_eq!((&lines[2]["input_length"], &lines[2]["plaintext_length"]), (&sealed_length.into(), &5_000.into()));
    assert_eq!(lines[3]["output_length"], 5_000);
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(place.path("log")).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600, "an encryption context may be private");
    }
    // The report as JSON has no context, because it may end up in any log.
    let told = place.run(&["verify", "-k", &new, "--json", "sealed"]);
    assert!(!told.stdout.is_empty() && !String::from_utf8_lossy(&told.stdout).contains("blue"));
    place.refused(&["verify", "-k", &new, "--metadata", "no/such/log", "sealed"], 1, "no/such/log");
}

/// Metadata that cannot be written is a failure, but completed work is kept.
#[cfg(target_os = "linux")]
#[test]
fn metadata_that_cannot_be_written_is_said() {
    let place = place_with_message(100, &[]);
    let output = place.run(&["decrypt", "-k", &place.key, "--metadata", "/dev/full", "-o", "back", "sealed"]);
    place.check_refusal(&output, 1, "its line of metadata could not be written");
    assert!(place.read("back") == place.read("plain"));
}
