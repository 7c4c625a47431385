//! The command-line tool, run as a user runs it.

use std::fs;

use crate::place::{Place, code, inspect_json, snapshot, stderr};

const UNSIGNED: [&str; 2] = ["--suite", "0x0478"];

#[test]
fn a_file_goes_there_and_back() {
    let place = Place::new();
    let text: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    place.write("plain", &text);
    place.ok(&["encrypt", "--key", &place.key, "-c", "tenant=blue", "-o", "sealed", "plain"]);
    place.ok(&["decrypt", "--key", &place.key, "-c", "tenant=blue", "-o", "back", "sealed"]);
    assert!(place.read("back") == text);
    assert!(place.ok(&["decrypt", "-o", "-", "--key", &place.key, "sealed"]) == text);
    assert_eq!(snapshot(place.directory.path()).len(), 4, "nothing but key, plain, sealed and back");
}

#[test]
fn pipes_work_at_both_ends() {
    let place = Place::new();
    for suite in ["0x0478", "0x0578"] {
        for length in [0, 1, 4096, 3_000_000] {
            let text = vec![7; length];
            let sealed = place.run_with_input(&["encrypt", "-k", &place.key, "--suite", suite, "-"], &text);
            assert_eq!(code(&sealed), 0, "{}", stderr(&sealed));
            let opened = place.run_with_input(&["decrypt", "-k", &place.key, "-o", "-", "-"], &sealed.stdout);
            assert_eq!(code(&opened), 0, "{}", stderr(&opened));
            assert!(opened.stdout == text, "{suite} {length}");
        }
    }
}

#[test]
fn any_of_several_keys_opens() {
    let place = Place::new();
    let second = place.keygen("second.key");
    place.write("plain", b"text");
    place.ok(&["encrypt", "-k", &place.key, "-k", &second, "-o", "sealed", "plain"]);
    for key in [&place.key, &second] {
        assert_eq!(place.ok(&["decrypt", "-o", "-", "-k", key, "sealed"]), b"text");
    }
    let other = place.keygen("other.key");
    assert_eq!(place.ok(&["decrypt", "-o", "-", "-k", &other, "-k", &second, "sealed"]), b"text");
    place.refused(&["decrypt", "-k", &other, "-o", "back", "sealed"], 4, "no encrypted data key matches this key");
}

#[test]
fn keygen_makes_a_private_file_and_never_replaces_one() {
    let place = Place::new();
    for (bits, length) in [("128", 16), ("192", 24), ("256", 32)] {
        let name = format!("k{bits}");
        let uri = place.ok(&["keygen", "--raw", "--bits", bits, "--namespace", "a/b c", "--name", "n?%é", &name]);
        assert_eq!(String::from_utf8(uri).unwrap(), format!("raw-aes://a%2Fb%20c/n%3F%25%C3%A9?file={name}\n"));
        assert_eq!(place.read(&name).len(), length);
        #[cfg(unix)]
        {
            let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(place.path(&name)).unwrap().permissions());
            assert_eq!(mode & 0o777, 0o600);
        }
    }
    // A key file knows its names, whatever the URI would have to be.
    for (bits, namespace, name) in [("128", "a/b c", "n?%é"), ("256", "sealwax", "k y")] {
        let file = format!("{bits} +.key");
        let uri = place.ok(&["keygen", "--bits", bits, "--namespace", namespace, "--name", name, &file]);
        let uri = String::from_utf8(uri).unwrap();
        assert_eq!(uri, format!("file:{bits}%20%2B.key\n"));
        place.write("plain", b"text");
        place.ok(&["encrypt", "-k", uri.trim(), "-f", "-o", "sealed", "plain"]);
        let key = &inspect_json(&place, "sealed")["encrypted_data_keys"][0];
        assert_eq!((&key["provider_id"], &key["key_name"]), (&namespace.into(), &name.into()));
        assert_eq!(place.ok(&["decrypt", "-o", "-", "-k", uri.trim(), "sealed"]), b"text");
    }
    for (uri, text) in [
        ("file:main.key", "names no key; use raw-aes://"),
        ("file:", "file:"),
        ("file:none.key", "none.key"),
        ("file:main.key?x=1", "no parameter x"),
        ("raw-aes://ns/name?file=256%20%2B.key", "use file:PATH"),
    ] {
        place.refused(&["verify", "-k", uri, "sealed"], 2, text);
    }
    place.refused(&["keygen", "main.key"], 6, "never replaced");
    place.refused(&["keygen", "--namespace", "aws-kms", "new.key"], 2, "aws-kms");
    place.refused(&["keygen", "no/such/directory/new.key"], 1, "no such file or directory");
    assert!(place.read("main.key") != place.read("k256"));
}

#[test]
fn a_key_uri_is_percent_encoded() {
    let place = Place::new();
    place.write("k e+y%.bin", &[9; 32]);
    place.write("plain", b"text");
    let uri = "raw-aes://name%20space/n%2Fame?file=k%20e+y%25.bin";
    place.ok(&["encrypt", "-k", uri, "-o", "sealed", "plain"]);
    let json = inspect_json(&place, "sealed");
    assert_eq!(json["encrypted_data_keys"][0]["provider_id"], "name space");
    assert_eq!(json["encrypted_data_keys"][0]["key_name"], "n/ame");
    assert_eq!(place.ok(&["decrypt", "-o", "-", "-k", uri, "sealed"]), b"text");
}

#[test]
fn inspect_tells_everything_without_a_key() {
    let place = Place::new();
    place.write("plain", &[1; 10_000]);
    let second = place.keygen("second.key");
    let keys = ["-k", &place.key, "-k", &second];
    place.ok(&[&["encrypt"][..], &keys, &["-c", "k=v", "-o", "sealed", "plain"]].concat());
    let json = inspect_json(&place, "sealed");
    assert_eq!(json["suite"], "0x0578");
    assert_eq!(json["suite_name"], "ALG_AES_256_GCM_HKDF_SHA512_COMMIT_KEY_ECDSA_P384");
    assert_eq!(json["version"], 2);
    assert_eq!((&json["committing"], &json["signed"], &json["verified"]), (&true.into(), &true.into(), &false.into()));
    assert_eq!(json["message_id"].as_str().unwrap().len(), 64);
    assert_eq!(json["encryption_context"]["k"], "v");
    assert!(json["encryption_context"]["aws-crypto-public-key"].is_string());
    let keys = json["encrypted_data_keys"].as_array().unwrap();
    assert_eq!(keys.len(), 2);
    assert_eq!((&keys[0]["provider_id"], &keys[0]["key_name"]), (&"sealwax".into(), &"main".into()));
    assert_eq!((&keys[1]["key_name"], &keys[1]["ciphertext_length"]), (&"second".into(), &48.into()));
    assert_eq!((&json["body"], &json["frame_length"]), (&"framed".into(), &4096.into()));
    assert_eq!((&json["plaintext_length"], &json["frames"]), (&10_000.into(), &3.into()));
    assert_eq!(json["footer_length"], 105);
    assert_eq!(json["message_length"], place.read("sealed").len());

    let text = String::from_utf8(place.ok(&["inspect", "sealed"])).unwrap();
    for part in ["0x0578", "k = v", "provider sealwax, key second", "4096 bytes per frame", "10000 bytes in 3 frames"] {
        assert!(text.contains(part), "{text}");
    }
    let piped = place.run_with_input(&["inspect", "-"], &place.read("sealed"));
    assert_eq!(String::from_utf8(piped.stdout).unwrap(), text);
}

#[test]
fn inspect_shows_the_header_of_a_message_that_is_cut_off_and_says_so() {
    let place = Place::new();
    place.write("plain", &[1; 10_000]);
    place.ok(&["encrypt", "-k", &place.key, "-o", "sealed", "plain"]);
    let sealed = place.read("sealed");
    place.write("cut", &sealed[..sealed.len() - 1]);
    let output = place.run(&["inspect", "cut"]);
    assert_eq!(code(&output), 3);
    assert!(String::from_utf8(output.stdout.clone()).unwrap().contains("0x0578"));
    assert_eq!(stderr(&output), "sealwax: cut: the message is truncated\n");
    place.write("text", b"no message");
    place.refused(&["inspect", "text"], 3, "version");
}

#[test]
fn text_from_a_message_cannot_play_with_the_terminal() {
    let place = Place::new();
    place.write("plain", b"text");
    let context = "k=\u{1b}[31mred\u{202e}\nsuite forged";
    place.ok(&["encrypt", "-k", &place.key, "-c", context, "-o", "sealed", "plain"]);
    let text = String::from_utf8(place.ok(&["inspect", "sealed"])).unwrap();
    assert!(text.contains(r"k = \u{1b}[31mred\u{202e}\u{a}suite forged"), "{text}");
}

#[test]
fn an_existing_file_stays_unless_forced() {
    let place = Place::new();
    place.write("plain", b"text");
    place.write("target", b"precious");
    place.refused(&["encrypt", "-k", &place.key, "-o", "target", "plain"], 6, "--force");
    place.ok(&["encrypt", "-k", &place.key, "-o", "target", "--force", "plain"]);
    assert_ne!(place.read("target"), b"precious");
    place.refused(&["decrypt", "-k", &place.key, "-o", "plain", "target"], 6, "--force");

    // On failure even a target that `--force` would replace survives.
    let other = place.keygen("other.key");
    place.refused(&["decrypt", "-k", &other, "-o", "plain", "--force", "target"], 4, "no keyring");
    let mut sealed = place.read("target");
    *sealed.last_mut().unwrap() ^= 1;
    place.write("damaged", &sealed);
    place.refused(&["decrypt", "-k", &place.key, "-o", "plain", "--force", "damaged"], 3, "not authentic");
    place.ok(&["decrypt", "-k", &place.key, "-o", "plain", "--force", "target"]);
    assert_eq!(place.read("plain"), b"text");
}

#[cfg(unix)]
#[test]
fn a_target_that_is_no_regular_file_is_refused_and_a_link_is_followed() {
    let place = Place::new();
    place.write("plain", b"text");
    let _socket = std::os::unix::net::UnixListener::bind(place.path("socket")).unwrap();
    place.refused(&["encrypt", "-k", &place.key, "-o", "socket", "--force", "plain"], 2, "not a regular file");
    fs::create_dir(place.path("directory")).unwrap();
    place.refused(&["encrypt", "-k", &place.key, "-o", "directory", "--force", "plain"], 2, "not a regular file");
    place.refused(&["encrypt", "-k", &place.key, "-o", "out", "directory"], 2, "directory: ");

    place.write("real", b"old");
    std::os::unix::fs::symlink("real", place.path("link")).unwrap();
    place.refused(&["encrypt", "-k", &place.key, "-o", "link", "plain"], 6, "exists");
    std::os::unix::fs::symlink("nothing", place.path("dangling")).unwrap();
    place.refused(&["encrypt", "-k", &place.key, "-o", "dangling", "--force", "plain"], 2, "not a regular file");
    place.ok(&["encrypt", "-k", &place.key, "-o", "link", "--force", "plain"]);
    assert!(place.path("link").is_symlink());
    assert_eq!(place.ok(&["decrypt", "-o", "-", "-k", &place.key, "real"]), b"text");
}

#[test]
fn refusals_leave_one_line_and_nothing_else() {
    let place = Place::new();
    place.write("plain", b"text");
    let key = place.key.as_str();
    place.ok(&["encrypt", "-k", key, "-c", "tenant=blue", "-o", "sealed", "plain"]);
    place.write("short.key", &[1; 31]);
    place.write("long.key", &[1; 33]);

    let out = ["-o", "out"];
    let encrypt = |more: &[&'static str], code, text| {
        place.refused(&[&["encrypt", "-k", key], &out[..], more, &["plain"]].concat(), code, text);
    };
    encrypt(&["--suite", "0x9999"], 2, "0x0578");
    encrypt(&["--suite", "0x0178"], 5, "--commitment-policy forbid-encrypt-allow-decrypt");
    encrypt(&["--commitment-policy", "never"], 2, "never");
    encrypt(&["--frame-length", "0"], 2, "--frame-length");
    encrypt(&["--frame-length", "2147483648"], 2, "--frame-length");
    encrypt(&["-c", "novalue"], 2, "KEY=VALUE");
    encrypt(&["-c", "a=1", "-c", "a=2"], 2, "twice");
    encrypt(&["-c", "=1"], 2, "empty");
    encrypt(&["-c", "aws-crypto-public-key=x"], 2, "reserved");
    encrypt(&["--no-such-flag"], 2, "--no-such-flag");
    encrypt(&["--frame-length", "99999999"], 5, "(max_frame_length); use a smaller --frame-length");
    encrypt(&["-k", "raw-aes://a/b?file=main.key"].repeat(64), 5, "(max_encrypted_data_keys); use fewer keys");
    place.refused(&["decrypt", "-o", "out", "plain"], 2, "--key");
    place.refused(&["encrypt", "-k", key, "-o", "out", "missing"], 1, "missing: no such file");
    place.refused(&["encrypt", "-k", key, "-o", "no/such/out", "plain"], 1, "no/such/out: no such file or directory");
    for (uri, text) in [
        ("whatever", "raw-aes://"),
        ("raw-aes://ns/name", "file=PATH"),
        ("raw-aes://ns?file=main.key", "no key name"),
        ("raw-aes://ns/name?file=main.key&x=1", "no parameter x"),
        ("raw-aes://ns/name?file=main.key&file=main.key", "twice"),
        ("raw-xyz://ns/name?file=main.key", "raw-aes://"),
        ("raw-aes://ns/name?file=missing.key", "missing.key"),
        ("raw-aes://ns/name?file=short.key", "not 31"),
        ("raw-aes://ns/name?file=long.key", "not 33"),
        ("raw-aes:///name?file=main.key", "must not be empty"),
        ("raw-aes://aws-kms-x/name?file=main.key", "aws-kms"),
    ] {
        place.refused(&["encrypt", "-k", uri, "-o", "out", "plain"], 2, text);
    }

    place.refused(
        &["decrypt", "-k", key, "-c", "tenant=green", "-o", "out", "sealed"],
        3,
        "expected encryption context",
    );
    place.refused(&["decrypt", "-k", key, "-c", "other=1", "-o", "out", "sealed"], 4, "could not be decrypted");
    place.refused(&["decrypt", "-k", key, "-o", "out", "plain"], 3, "not an AWS Encryption SDK message");
    place.refused(
        &["decrypt", "-k", key, "--max-header-length", "50", "-o", "out", "sealed"],
        5,
        "--max-header-length",
    );
    place.refused(&["decrypt", "-k", key, "--max-frame-length", "50", "-o", "out", "sealed"], 5, "--max-frame-length");
    place.ok(&["encrypt", "-k", key, "-k", key, "-o", "two", "plain"]);
    let limit = ["--max-encrypted-data-keys", "1"];
    place.refused(&[&["decrypt", "-k", key, "-o", "out"], &limit[..], &["two"]].concat(), 5, limit[0]);
    let old = ["--suite", "0x0378", "--commitment-policy", "forbid-encrypt-allow-decrypt"];
    place.ok(&[&["encrypt", "-k", key, "-o", "old", "plain"], &old[..]].concat());
    let flag = "--commitment-policy require-encrypt-allow-decrypt";
    place.refused(&["decrypt", "-k", key, "-o", "out", "old"], 5, flag);
    place.refused(&["decrypt", "-o", "-", "-k", key, "old"], 5, flag);
    let allow = ["--commitment-policy", "require-encrypt-allow-decrypt"];
    assert_eq!(place.ok(&[&["decrypt", "-o", "-", "-k", key], &allow[..], &["old"]].concat()), b"text");
}

#[test]
fn damage_is_refused_to_a_file_and_to_standard_output() {
    let place = Place::new();
    place.write("plain", &[5; 300_000]);
    place.ok(&["encrypt", "-k", &place.key, "-o", "sealed", "plain"]);
    let sealed = place.read("sealed");
    for (name, bytes, text) in [
        (
            "flipped",
            {
                let mut b = sealed.clone();
                b[sealed.len() - 300] ^= 1;
                b
            },
            "not authentic",
        ),
        (
            "signature",
            {
                let mut b = sealed.clone();
                b[sealed.len() - 1] ^= 1;
                b
            },
            "not authentic",
        ),
        ("cut", sealed[..sealed.len() - 1].to_vec(), "truncated"),
        ("trailing", [&sealed[..], b"x"].concat(), "after the end"),
    ] {
        place.write(name, &bytes);
        place.refused(&["decrypt", "-k", &place.key, "-o", "out", name], 3, text);
        // The message is signed: not a byte of its plaintext may be released.
        place.refused(&["decrypt", "-o", "-", "-k", &place.key, name], 3, text);
        place.check_refusal(&place.run_with_input(&["decrypt", "-k", &place.key, "-"], &bytes), 3, text);
    }
    let early = place.run(&["decrypt", "-o", "-", "-k", &place.key, "--release-unverified", "signature"]);
    assert_eq!(code(&early), 3);
    // As requested: frames are released as they are read, but never the final one.
    assert!(!early.stdout.is_empty() && early.stdout.len() <= 300_000 / 4096 * 4096, "{}", early.stdout.len());
    assert!(early.stdout.iter().all(|byte| *byte == 5));
}

#[test]
fn a_required_context_is_authenticated_and_not_stored() {
    let place = Place::new();
    place.write("plain", b"text");
    let key = place.key.as_str();
    let require = ["--require-context", "tenant"];
    let encrypt = |context: &[&str], out| {
        place.run(&[&["encrypt", "-k", key, "-o", out], &require[..], context, &["plain"]].concat())
    };
    assert_eq!(code(&encrypt(&["-c", "tenant=blue", "-c", "purpose=test"], "sealed")), 0);
    place.check_refusal(&encrypt(&["-c", "purpose=test"], "none"), 2, "use --context KEY=VALUE");
    let json = inspect_json(&place, "sealed");
    assert_eq!(json["encryption_context"]["purpose"], "test");
    assert!(json["encryption_context"]["tenant"].is_null());

    assert_eq!(place.ok(&["decrypt", "-o", "-", "-k", key, "-c", "tenant=blue", "sealed"]), b"text");
    place.refused(&["decrypt", "-k", key, "-o", "out", "sealed"], 4, "could not be decrypted");
    place.refused(&["decrypt", "-k", key, "-c", "tenant=green", "-o", "out", "sealed"], 4, "could not be decrypted");
    let arguments = [&["decrypt", "-k", key, "-o", "out"], &require[..], &["sealed"]].concat();
    place.refused(&arguments, 2, "use --context KEY=VALUE");
    place.refused(&["encrypt", "-k", key, "--require-context", "aws-crypto-x", "-o", "out", "plain"], 2, "reserved");
}

#[test]
fn unsigned_messages_stream_through_standard_output() {
    let place = Place::new();
    place.write("plain", &[1; 50_000]);
    let arguments = [&["encrypt", "-k", &place.key][..], &UNSIGNED, &["-o", "sealed", "plain"]].concat();
    place.ok(&arguments);
    let sealed = place.read("sealed");
    // Truncated after the second frame: the frames before it are authentic and were released, and
    // the exit code reports the rest.
    let output = place.run_with_input(&["decrypt", "-k", &place.key, "-"], &sealed[..sealed.len() / 2]);
    assert_eq!(code(&output), 3);
    assert!(!output.stdout.is_empty() && output.stdout.iter().all(|byte| *byte == 1));
}

#[test]
fn help_and_version_are_on_standard_output() {
    let place = Place::new();
    let help = String::from_utf8(place.ok(&["--help"])).unwrap();
    assert!(help.contains("Exit codes") && help.contains("inspect"), "{help}");
    for command in ["encrypt", "decrypt", "inspect", "keygen"] {
        assert!(!place.ok(&[command, "--help"]).is_empty());
    }
    let version = String::from_utf8(place.ok(&["--version"])).unwrap();
    let provider = if cfg!(feature = "aws-lc-rs") { "AWS-LC" } else { "RustCrypto" };
    assert_eq!(version, format!("sealwax {}\ncrypto provider: {provider}\n", env!("CARGO_PKG_VERSION")));
    let short = String::from_utf8(place.ok(&["-V"])).unwrap();
    assert_eq!(short, format!("sealwax {}\n", env!("CARGO_PKG_VERSION")));
}
