//! The JSON output, compared with its documentation.

use std::{collections::BTreeMap, fs};

use serde_json::Value;

use crate::place::{Place, code, json_lines, stderr};

/// The schemas of the guide by name.
pub(crate) fn schemas() -> BTreeMap<String, Value> {
    let guide = include_str!("../../../../docs/JSON.md");
    let blocks = guide.split("```json ").skip(1).map(|rest| rest.split_once("```").unwrap().0);
    let schema = |block: &str| {
        let (name, text) = block.split_once('\n').unwrap();
        (name.to_owned(), serde_json::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}")))
    };
    blocks.map(schema).collect()
}

/// Fails unless a value has exactly the fields and types of a schema.
#[track_caller]
pub(crate) fn check(schema: &Value, value: &Value, at: &str) {
    match (schema, value) {
        (Value::String(types), value) => {
            let is = |name: &str| match name {
                "any" => true,
                "string" => value.is_string(),
                "integer" => value.is_u64(),
                "boolean" => value.is_boolean(),
                "object" => value.is_object(),
                "null" => value.is_null(),
                other => panic!("{at}: unknown type {other}"),
            };
            assert!(types.split('|').any(is), "{at} is {value}, and not {types}");
        }
        (Value::Array(schema), Value::Array(list)) => {
            list.iter()
                .enumerate()
                .for_each(|(position, value)| check(&schema[0], value, &format!("{at}[{position}]")));
        }
        (Value::Object(schema), Value::Object(object)) if schema.contains_key("*") => {
            object.iter().for_each(|(name, value)| check(&schema["*"], value, &format!("{at}.{name}")));
        }
        (Value::Object(schema), Value::Object(object)) => {
            let names = |object: &serde_json::Map<String, Value>| object.keys().cloned().collect::<Vec<_>>();
            assert_eq!(names(schema), names(object), "{at}");
            object.iter().for_each(|(name, value)| check(&schema[name], value, &format!("{at}.{name}")));
        }
        // Only `reencrypt` has opened an old message.
        (Value::Object(_), Value::Null) if at.ends_with(".opened_by") => {}
        _ => panic!("{at} is {value}, and not {schema}"),
    }
}

#[test]
fn every_command_prints_the_documented_schema() {
    let (place, mut schemas_left) = (Place::new(), schemas());
    let all = schemas();
    // These need AWS: `hierarchy.rs` compares them.
    schemas_left.retain(|name, _| !name.starts_with("branch-key"));
    let mut expect = |arguments: &[&str], input: &[u8], expected_code: i32, names: &[&str]| {
        let output = place.run_with_input(&[arguments, &["--json"]].concat(), input);
        assert_eq!(code(&output), expected_code, "{arguments:?}: {}", stderr(&output));
        let lines = json_lines(&output.stdout);
        assert_eq!(lines.len(), names.len(), "{arguments:?}: {lines:?}");
        for (line, name) in lines.iter().zip(names) {
            check(&all[*name], line, &format!("{arguments:?} {name}"));
            schemas_left.remove(*name);
        }
        assert!(!stderr(&output).contains('{'), "{}", stderr(&output));
        lines
    };
    let key = place.key.as_str();
    place.write("plain", b"text");
    place.write("phrase", b"correct horse\n");
    expect(&["keygen", "new.key"], b"", 0, &["keygen"]);
    let new = "file:new.key";
    expect(&["encrypt", "-k", key, "-k", new, "plain"], b"", 0, &["result"]);
    let verified = expect(&["verify", "-k", key, "plain.sealed"], b"", 0, &["result"]);
    assert_eq!((&verified[0]["operation"], &verified[0]["output"]), (&"verify".into(), &Value::Null));
    expect(&["decrypt", "-k", key, "-f", "plain.sealed"], b"", 0, &["result"]);
    let reencrypted = expect(&["reencrypt", "--old-key", key, "-k", new, "plain.sealed"], b"", 0, &["result"]);
    assert!(reencrypted[0]["opened_by"].is_object());
    let inspected = expect(&["inspect", "plain.sealed"], b"", 0, &["inspect"]);
    assert_eq!(inspected[0]["frames"], 1);
    let mut sealed = place.read("plain.sealed");
    sealed.pop();
    place.write("cut", &sealed);
    let cut = expect(&["inspect", "cut"], b"", 3, &["inspect", "error"]);
    assert_eq!((&cut[0]["frames"], &cut[1]["code"]), (&Value::Null, &3.into()));
    expect(&["decrypt", "-k", key, "-o", "back", "plain.sealed"], b"", 4, &["error"]);
    expect(&["verify", "-k", new, "plain.sealed", "cut"], b"", 3, &["result", "error"]);
    fs::create_dir_all(place.path("in")).unwrap();
    place.write("in/plain", b"text");
    #[cfg(unix)]
    std::os::unix::fs::symlink("plain", place.path("in/link")).unwrap();
    let mut lines = expect(&["encrypt", "-r", "-k", key, "--jobs", "1", "in", "-o", "out"], b"", 0, &{
        if cfg!(unix) { vec!["skipped", "result", "summary"] } else { vec!["result", "summary"] }
    });
    assert_eq!(lines.pop().unwrap()["files"], 1);
    expect(&["encrypt", "-k", key, "--update", "in/plain", "-o", "out/plain.sealed"], b"", 0, &["skipped"]);
    expect(&["encrypt", "-k", key, "--check", "in/plain", "-o", "out/plain.sealed"], b"", 0, &["result"]);
    let missing = expect(&["encrypt", "-k", key, "--check", "in/plain", "-o", "missing"], b"", 7, &["error"]);
    assert_eq!(missing[0]["code"], 7);
    expect(&["inspect", "-r", "out"], b"", 0, &["inspect", "summary"]);
    expect(&["verify", "-r", "-k", key, "out"], b"", 0, &["result", "summary"]);
    expect(&["reencrypt", "-r", "-k", key, "out"], b"", 0, &["result", "summary"]);
    place.write("out/.sealwax-a1B2c3.partial", b"left");
    expect(&["clean", "out"], b"", 0, &["removed", "cleaned"]);

    if cfg!(feature = "object-store") {
        let root = place.directory.path().canonicalize().unwrap();
        let url = format!("file://{}/store", root.display());
        let object = format!("{url}/a");
        expect(&["encrypt", "-k", key, "plain", "-o", &object], b"", 0, &["result"]);
        let inspected = expect(&["inspect", &object], b"", 0, &["inspect"]);
        assert!(inspected[0]["required_encryption_context"]["sealwax-path"].is_string());
        expect(&["ls", &url], b"", 0, &["listed"]);
        expect(&["cp", "-k", key, &object, "copied"], b"", 0, &["result"]);
        expect(&["sync", "-k", key, "--delete", "in", &url], b"", 0, &{
            let left = ["skipped", "result", "deleted", "synchronized"];
            if cfg!(unix) { left.to_vec() } else { left[1..].to_vec() }
        });
        expect(&["verify", "-k", key, "-r", &url], b"", 0, &["result", "summary"]);
    }

    let alias = ["keys", "alias"];
    expect(&["keys", "create", "--alias", "main"], b"", 0, &["key"]);
    expect(&["keys", "list"], b"", 0, &["keys"]);
    expect(&["keys", "describe", "main"], b"", 0, &["key"]);
    expect(&["keys", "path"], b"", 0, &["path"]);
    expect(&[&alias[..], &["create", "other", "main"]].concat(), b"", 0, &["alias"]);
    expect(&[&alias[..], &["update", "other", "main"]].concat(), b"", 0, &["alias"]);
    expect(&[&alias[..], &["list"]].concat(), b"", 0, &["aliases"]);
    expect(&[&alias[..], &["delete", "other"]].concat(), b"", 0, &["done"]);
    expect(&["keys", "rotate", "main"], b"", 0, &["key"]);
    expect(&["keys", "rotate", "main", "--every", "9"], b"", 0, &["key"]);
    expect(&["keys", "rotate-root"], b"", 0, &["done"]);
    let text = expect(&["keys", "seal", "main"], b"\xfftext", 0, &["seal"]);
    let text = text[0]["ciphertext"].as_str().unwrap().to_owned();
    assert_eq!(expect(&["keys", "open"], text.as_bytes(), 0, &["open"])[0]["plaintext"], "/3RleHQ=");
    let phrase = ["--backup-passphrase-file", "phrase"];
    expect(&[&["keys", "export", "-o", "backup"], &phrase[..]].concat(), b"", 0, &["export"]);
    expect(&["keys", "export", "-o", "other", "--generate-passphrase"], b"", 0, &["export"]);
    expect(&[&["keys", "import", "backup"], &phrase[..]].concat(), b"", 0, &["import"]);
    expect(&["keys", "import", "-", "--material"], &[7; 32], 0, &["key"]);
    expect(&["keys", "disable", "main"], b"", 0, &["key"]);
    expect(&["keys", "enable", "main"], b"", 0, &["key"]);
    let deleted = expect(&["keys", "delete", "main"], b"", 0, &["key"]);
    assert!(deleted[0]["state"] == "pending deletion" && deleted[0]["deletion_date"].is_string());
    expect(&["keys", "cancel-delete", "main"], b"", 0, &["key"]);
    expect(&["keys", "audit"], b"", 0, &["audit"]);
    expect(&["keys", "audit", "--verify"], b"", 0, &["verification"]);
    let log = place.path("no-store/audit.log");
    fs::write(&log, fs::read_to_string(&log).unwrap().replace("Rotate", "Retate")).unwrap();
    expect(&["keys", "audit", "--verify"], b"", 3, &["verification", "error"]);
    expect(&["config", "show"], b"", 0, &["config"]);

    // A command line that cannot be parsed, or cannot be used.
    for arguments in [&["encrypt", "--no-such-option"][..], &["keys"], &["nonsense"], &["man"], &["keys", "delete"]] {
        assert_eq!(expect(arguments, b"", 2, &["error"])[0]["code"], 2);
    }
    if !cfg!(feature = "object-store") {
        schemas_left.retain(|name, _| !["listed", "deleted", "synchronized"].contains(&name.as_str()));
    }
    assert!(schemas_left.is_empty(), "no command printed {:?}", schemas_left.keys());
}

#[test]
fn standard_output_has_json_or_data() {
    let place = Place::new();
    let key = place.key.as_str();
    place.write("plain", b"text");
    place.ok(&["encrypt", "-k", key, "plain"]);
    place.ok(&["keys", "create"]);
    for arguments in [
        &["encrypt", "-k", key, "-o", "-", "plain"][..],
        &["decrypt", "-k", key, "-o", "-", "plain.sealed"],
        &["reencrypt", "-k", key, "-o", "-", "plain.sealed"],
        &["verify", "-k", key, "--metadata", "-", "plain.sealed"],
        &["keygen", "-"],
        &["keys", "export", "--generate-passphrase", "-o", "-"],
    ] {
        let output = place.run(&[arguments, &["--json"]].concat());
        let lines = json_lines(&output.stdout);
        assert_eq!((code(&output), lines.len()), (2, 1), "{arguments:?}");
        assert!(lines[0]["error"].as_str().unwrap().contains("use -o FILE, or --json=/dev/fd/3"), "{}", lines[0]);
    }
    // Elsewhere there is room for both.
    let output = place.run(&["decrypt", "-k", key, "-o", "-", "--json=log", "plain.sealed"]);
    assert_eq!(output.stdout, b"text");
    let failed = place.run(&["decrypt", "-k", key, "-o", "-", "--json=log", "plain"]);
    assert_eq!((code(&failed), failed.stdout.len(), failed.stderr.len()), (3, 0, 0));
    let lines = json_lines(&place.read("log"));
    assert_eq!((&lines[0]["operation"], &lines[1]["code"]), (&"decrypt".into(), &3.into()));
    place.refused(&["decrypt", "-k", key, "--json=no/such/log", "plain.sealed"], 1, "no/such/log");
}

#[test]
fn json_does_not_act_on_a_terminal() {
    let place = Place::new();
    let name = "a\u{9b}2J\u{202e}\u{7f}\u{2028}b";
    let output = place.run(&["verify", "-k", &place.key, "--json", name]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.is_ascii() && !text.contains('\u{7f}'), "{text:?}");
    let error: Value = serde_json::from_str(&text).unwrap();
    assert!(error["error"].as_str().unwrap().starts_with(name));
}
