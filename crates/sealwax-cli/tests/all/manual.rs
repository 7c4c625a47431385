//! The documentation in the command-line tool: help, shell completions, manual pages.

use std::{fs, process::Command};

use crate::{
    place::{self, Place},
    support,
};

#[cfg(feature = "object-store")]
const OBJECT_COMMANDS: [&str; 3] = ["ls", "cp", "sync"];
#[cfg(not(feature = "object-store"))]
const OBJECT_COMMANDS: [&str; 0] = [];
const COMMANDS: [&str; 10] =
    ["encrypt", "decrypt", "verify", "reencrypt", "inspect", "keygen", "completions", "man", "keys", "config"];

#[test]
fn every_command_and_option_has_help() {
    let place = Place::new();
    let help = String::from_utf8(place.ok(&["--help"])).unwrap();
    for command in COMMANDS.into_iter().chain(OBJECT_COMMANDS) {
        assert!(help.contains(&format!("\n  {command} ")), "{help}");
        let help = String::from_utf8(place.ok(&[command, "--help"])).unwrap();
        assert!(help.contains("--quiet"), "{help}");
        // If an option had no help text, its line would end and the next line would be another
        // option.
        let lines: Vec<_> = help.lines().collect();
        let is_option = |line: &str| line.starts_with("  -") || line.starts_with("      --");
        for (at, line) in lines.iter().enumerate().filter(|(_, line)| is_option(line) && !line.trim().contains("  ")) {
            let next = lines.get(at + 1).copied().unwrap_or_default();
            assert!(!next.is_empty() && !is_option(next), "{command}: {line} has no help");
        }
    }
}

/// Returns the words of every command.
fn every_command(place: &Place, words: &[&str]) -> Vec<Vec<String>> {
    let help = String::from_utf8(place.ok(&[words, &["-h"]].concat())).unwrap();
    let mut all = vec![words.iter().map(ToString::to_string).collect()];
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = listed.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    for name in names.map(|line| line.split_whitespace().next().unwrap()).filter(|name| *name != "help") {
        all.extend(every_command(place, &[words, &[name]].concat()));
    }
    all
}

#[test]
fn the_short_help_is_one_screen_and_the_long_one_has_everything() {
    let place = Place::new();
    let commands = every_command(&place, &[]);
    assert!(commands.len() > 30, "{commands:?}");
    for command in commands {
        let words: Vec<_> = command.iter().map(String::as_str).collect();
        let help = |flag| String::from_utf8(place.ok(&[&words[..], &[flag]].concat())).unwrap();
        let (short, long) = (help("-h"), help("--help"));
        assert!(short.lines().count() <= 32, "{words:?}: {}", short.lines().count());
        assert!(!short.contains("--store") && long.contains("--store"), "{words:?}");
        assert!(short.contains("--help"), "{words:?}");
    }
    // Both show every kind of key, for every command that takes one.
    for command in ["encrypt", "decrypt", "verify", "reencrypt"] {
        for flag in ["-h", "--help"] {
            let help = String::from_utf8(place.ok(&[command, flag])).unwrap();
            for kind in ["local:NAME", "file:PATH", "aws-kms:ARN", "raw-aes://", "raw-rsa://", "raw-ecdh://"] {
                assert!(help.contains(kind), "{command} {flag}: {kind}");
            }
        }
        let help = String::from_utf8(place.ok(&[command, "--help"])).unwrap();
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        for direction in ["local:* for any of them", "aws-kms:discovery?account=ACCOUNT", "private=PEM: to decrypt"] {
            assert!(help.contains(direction), "{command}: {direction}");
        }
    }
}

#[test]
fn colors_are_for_terminals_unless_they_are_asked_for() {
    let place = Place::new();
    let said = |arguments: &[&str], variable: Option<&str>| {
        let mut command = place.command(arguments);
        command.env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
        command.envs(variable.map(|name| (name, "1")));
        let output = command.output().unwrap();
        [output.stdout, output.stderr].map(|bytes| bytes.contains(&0x1b))
    };
    assert_eq!(said(&["verify", "none"], None), [false, false]);
    assert_eq!(said(&["verify", "none", "--color", "always"], None), [false, true]);
    assert_eq!(said(&["verify", "none", "--color=always"], Some("NO_COLOR")), [false, true]);
    assert_eq!(said(&["--color", "always", "--help"], None), [true, false]);
    assert_eq!(said(&["--color", "never", "--help"], Some("CLICOLOR_FORCE")), [false, false]);
    assert_eq!(said(&["verify", "none"], Some("CLICOLOR_FORCE")), [false, true]);
    assert_eq!(said(&["verify", "none", "--color", "never"], Some("CLICOLOR_FORCE")), [false, false]);
    assert_eq!(said(&["--color", "always", "--nonsense"], None), [false, true]);
    place.refused(&["--color", "purple", "keys", "list"], 2, "always");
}

#[test]
fn shells_ask_the_program() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = String::from_utf8(place.ok(&["completions", shell])).unwrap();
        assert!(script.contains("COMPLETE") && script.contains("sealwax"), "{shell}: {script}");
    }
    place.refused(&["completions", "tcsh"], 2, "tcsh");
    place.refused(&["completions"], 2, "SHELL");
}

/// The completions that bash derives from the script.
#[cfg(unix)]
#[test]
fn bash_completes_commands_options_and_names_of_keys() {
    let place = Place::new();
    place.ok(&["keys", "create", "--alias", "archive", "--description", "the archive"]);
    let id = String::from_utf8(place.ok(&["keys", "create", "--json"])).unwrap();
    let id: serde_json::Value = serde_json::from_str(&id).unwrap();
    let last = id["key_id"].as_str().unwrap().rsplit_once('/').unwrap().1.to_owned();
    let complete = |words: &[&str]| {
        let script = "source <(sealwax completions bash); COMP_WORDS=(sealwax \"$@\"); COMP_CWORD=$#
                      _sealwax sealwax \"${!#}\"; printf '%s\\n' \"${COMPREPLY[@]}\"";
        let mut bash = Command::new("bash");
        bash.args(["-c", script, "bash"]).args(words).env("SEALWAX_STORE", place.path("no-store"));
        place::without_configuration(&mut bash, place.directory.path());
        bash.env("PATH", crate::guides::path()).current_dir(place.directory.path());
        bash.output().map(|output| String::from_utf8(output.stdout).unwrap())
    };
    let Ok(commands) = complete(&["reenc"]) else {
        support::skip("SEALWAX_REQUIRE_PEERS", "there is no bash");
        return;
    };
    let has = |shown: &str, name: &str| shown.lines().any(|line| line.trim_end() == name);
    assert!(has(&commands, "reencrypt"), "{commands:?}");
    assert!(has(&complete(&["encrypt", "--cache"]).unwrap(), "--cache-messages"));
    for words in [&["encrypt", "-k", ""][..], &["reencrypt", "--old-key", ""], &["verify", "--key", "lo"]] {
        let shown = complete(words).unwrap();
        assert!(has(&shown, "local:archive") && has(&shown, &format!("local:{last}")), "{shown:?}");
    }
    // As bash splits them: local:ar, local:, and a new word after a key.
    for (words, expected) in [
        (&["encrypt", "-k", "local", ":", "ar"][..], "archive"),
        (&["encrypt", "-k", "local", ":"], "archive"),
        (&["encrypt", "-k", "raw-aes", ":"], "//"),
        (&["encrypt", "-k", "local", ":", "archive", "-k", "local", ":", "arc"], "archive"),
    ] {
        let shown = complete(words).unwrap();
        assert!(has(&shown, expected), "{words:?}: {shown:?}");
    }
    for words in [&["keys", "disable", ""][..], &["keys", "seal", "ar"], &["keys", "alias", "update", "x", ""]] {
        assert!(has(&complete(words).unwrap(), "archive"), "{words:?}");
    }
}

#[test]
fn manual_pages_are_there_for_every_command() {
    let place = Place::new();
    let page = String::from_utf8(place.ok(&["man"])).unwrap();
    for part in [".TH sealwax 1", "sealwax\\-reencrypt(1)", "not in the expected context"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    place.ok(&["man", "share/man1"]);
    for command in COMMANDS.into_iter().chain(OBJECT_COMMANDS) {
        let page = fs::read_to_string(place.path(&format!("share/man1/sealwax-{command}.1"))).unwrap();
        for section in ["OPTIONS", "SYNOPSIS", "\"ENVIRONMENT\"", "FILES", "\"EXIT STATUS\""] {
            assert!(page.replace("\"FILES\"", "FILES").contains(&format!(".SH {section}")), "{section}: {page}");
        }
        assert!(
            page.contains("SEALWAX_STORE")
                && page.contains("config.toml")
                && page.contains("(\\-\\-force replaces it)")
        );
    }
    assert!(place.path("share/man1/sealwax-keys-alias-create.1").exists());
    place.ok(&["man", "share/man1"]);
    place.refused(&["man", "main.key"], 2, "main.key: not a directory");
}
