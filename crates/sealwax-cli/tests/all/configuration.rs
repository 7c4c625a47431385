//! The configuration file and the environment.

use std::process::Output;

use serde_json::Value;

use crate::place::{Place, code, inspect_json, stderr};

fn run(place: &Place, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = place.command(arguments);
    for (name, value) in variables {
        command.env(name, value);
    }
    command.output().unwrap()
}

/// Returns the settings as `config show` states them: value, source and origin by name.
fn show(
    place: &Place,
    variables: &[(&str, &str)],
    arguments: &[&str],
) -> impl Fn(&str) -> (Value, Value, Value) + use<> {
    let output = run(place, variables, &[&["config", "show", "--json"], arguments].concat());
    assert_eq!(code(&output), 0, "{}", String::from_utf8_lossy(&output.stdout));
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    move |name| {
        let settings = shown["settings"].as_array().unwrap();
        let setting = settings.iter().find(|setting| setting["name"] == name).unwrap();
        (setting["value"].clone(), setting["source"].clone(), setting["from"].clone())
    }
}

const FILE: &str = r#"
profile = "day"
key = "file:first.key"
suite = "0x0478"
store = "keys"

[context]
tenant = "blue"

[profiles.day]
context = { tenant = "green", kind = "a=b" }

[profiles.night]
key = ["file:second.key", "file:first.key"]
suite = "0578"
"#;

#[test]
fn an_option_precedes_the_environment_the_file_and_the_default() {
    let place = Place::new();
    place.write("config", FILE.as_bytes());
    let config = ("SEALWAX_CONFIG", "config");
    let from = |value: Value, source: &str, from: Option<&str>| (value, source.into(), from.into());
    let none = show(&place, &[], &[]);
    assert_eq!(none("key"), from(Value::Array(Vec::new()), "default", None));
    assert_eq!(none("suite"), from("0x0578".into(), "default", None));
    let file = show(&place, &[config, ("SEALWAX_STORE", "")], &[]);
    assert_eq!(file("key"), from(serde_json::json!(["file:first.key"]), "file", Some("config")));
    assert_eq!(file("profile"), from("day".into(), "file", Some("config")));
    assert_eq!(file("context").0, serde_json::json!({ "tenant": "green", "kind": "a=b" }));
    assert_eq!(file("store"), from("keys".into(), "file", Some("config")));
    let environment = [
        ("SEALWAX_CONFIG", "none"),
        ("SEALWAX_PROFILE", "night"),
        ("SEALWAX_KEY", "local:x"),
        ("SEALWAX_SUITE", "0378"),
        ("SEALWAX_STORE", "elsewhere"),
    ];
    let chosen = show(&place, &environment, &["--config", "config", "--store", "option"]);
    assert_eq!(chosen("profile"), from("night".into(), "environment", Some("SEALWAX_PROFILE")));
    assert_eq!(chosen("key"), from(serde_json::json!(["local:x"]), "environment", Some("SEALWAX_KEY")));
    assert_eq!(chosen("suite"), from("0x0378".into(), "environment", Some("SEALWAX_SUITE")));
    assert_eq!(chosen("store"), from("option".into(), "option", Some("--store")));
    let profile = show(&place, &[config, ("SEALWAX_PROFILE", "day")], &["--config-profile", "night"]);
    assert_eq!(profile("profile"), from("night".into(), "option", Some("--config-profile")));
    assert_eq!(profile("key").0, serde_json::json!(["file:second.key", "file:first.key"]));
    // What a profile does not set is that of the file.
    assert_eq!(profile("context").0, serde_json::json!({ "tenant": "blue" }));

    let text = run(&place, &[config], &["config", "show", "--config-profile", "night"]);
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(
        text.contains("file     config\n") && text.contains("profile  night (option, --config-profile)\n"),
        "{text}"
    );
    assert!(text.contains("key      file:second.key file:first.key (file, profile night)\n"), "{text}");
    assert!(text.contains("context  tenant=blue (file)\n"), "{text}");
}

#[test]
fn the_commands_use_the_settings() {
    let place = Place::new();
    place.ok(&["keygen", "first.key"]);
    place.ok(&["keygen", "second.key"]);
    place.write("config", FILE.as_bytes());
    place.write("plain", b"text");
    let with = |arguments: &[&str]| run(&place, &[("SEALWAX_CONFIG", "config")], arguments);
    let ok = |arguments: &[&str]| {
        let output = with(arguments);
        assert_eq!(code(&output), 0, "{arguments:?}: {}", stderr(&output));
    };
    ok(&["encrypt", "plain"]);
    let sealed = inspect_json(&place, "plain.sealed");
    assert_eq!((&sealed["suite"], &sealed["encryption_context"]["kind"]), (&"0x0478".into(), &"a=b".into()));
    assert_eq!(sealed["encrypted_data_keys"][0]["key_name"], "first");
    ok(&["verify", "plain.sealed"]);
    ok(&["decrypt", "-f", "plain.sealed"]);
    // The context is expected too.
    let other = with(&["verify", "--config-profile", "night", "plain.sealed"]);
    assert_eq!((code(&other), stderr(&other).contains("context")), (3, true), "{}", stderr(&other));
    // An option replaces the setting, and re-encryption keeps the context.
    ok(&["reencrypt", "-k", "file:second.key", "--old-key", "file:first.key", "--suite", "0x0578", "plain.sealed"]);
    let sealed = inspect_json(&place, "plain.sealed");
    assert_eq!((&sealed["suite"], &sealed["encryption_context"]["tenant"]), (&"0x0578".into(), &"green".into()));
    assert_eq!(code(&with(&["verify", "plain.sealed"])), 4);
    ok(&["verify", "-k", "file:second.key", "-c", "kind=a=b", "plain.sealed"]);
    ok(&["encrypt", "-c", "only=this", "-o", "other", "plain"]);
    assert_eq!(inspect_json(&place, "other")["encryption_context"].as_object().unwrap().len(), 1);
    // The store is beside the file.
    let mut create = place.command(&["keys", "create", "--config", "config"]);
    assert!(create.env_remove("SEALWAX_STORE").status().unwrap().success());
    assert!(place.path("keys/store.bin").exists());
}

#[test]
fn a_file_in_the_configuration_directory_is_found() {
    let place = Place::new();
    let variables = [("XDG_CONFIG_HOME", place.directory.path().to_str().unwrap())];
    std::fs::create_dir(place.path("sealwax")).unwrap();
    place.write("sealwax/config.toml", b"key = 'local:archive'");
    if cfg!(unix) {
        assert_eq!(show(&place, &variables, &[])("key").0, serde_json::json!(["local:archive"]));
        assert_eq!(show(&place, &variables, &["--config", "/dev/null"])("key").1, "default");
    }
}

#[test]
fn a_mistake_in_the_file_is_named_with_its_line() {
    let place = Place::new();
    for (text, expected) in [
        ("key = 'a'\nkay = 'b'\n", "config, line 2: unknown field `kay`, expected one of `profile`, `key`"),
        ("\n\n[profiles.x]\nprofile = 'y'\n", "config, line 4: unknown field `profile`"),
        ("key = 7\n", "config, line 1: expected a key URI or a list of key URIs"),
        ("[context]\n\ntenant = 7", "config, line 3: invalid type: integer `7`, expected a string"),
        ("store = 'x'\nsuite = '0x9999'", "config, line 2: the suites are 0x0014"),
        ("key = 'a", "config, line 1: "),
        ("profile = 'x'\n[profiles.a]\n[profiles.b]", "config: there is no profile x; there are: a, b"),
        ("context = { 'a=b' = 'c' }", "config: context key a=b contains ="),
    ] {
        place.write("config", text.as_bytes());
        place.refused(&["verify", "-k", &place.key, "--config", "config", "plain"], 2, expected);
    }
    place.write("config", b"\xff");
    place.refused(&["config", "show", "--config", "config"], 2, "config: not a configuration file");
    place.refused(&["config", "show", "--config", "none"], 1, "none: no such file");
    place.refused(&["config", "show", "--config-profile", "x"], 2, "there is no profile x");
    place.write("config", b"kay = 1");
    let output = place.run(&["config", "show", "--config", "config", "--json"]);
    let error: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((code(&output), &error["code"]), (2, &2.into()));
}
