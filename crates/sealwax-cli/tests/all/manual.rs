//! The documentation in the command-line tool: help, shell completions, manual pages.

use std::{
    fs,
    process::{Command, Stdio},
};

use crate::{
    place::{self, Place},
    support,
};

const COMMANDS: [&str; 8] = ["encrypt", "decrypt", "verify", "reencrypt", "inspect", "keygen", "completions", "man"];

#[test]
fn every_command_and_option_has_help() {
    let place = Place::new();
    let help = String::from_utf8(place.ok(&["--help"])).unwrap();
    for command in COMMANDS {
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

#[test]
fn completions_know_the_commands() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = String::from_utf8(place.ok(&["completions", shell])).unwrap();
        for word in COMMANDS.into_iter().chain(["cache-messages", "old-key"]) {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    place.refused(&["completions", "tcsh"], 2, "tcsh");
    place.refused(&["completions"], 2, "SHELL");
}

/// The completions that bash derives from the script.
#[cfg(unix)]
#[test]
fn bash_completes_a_command() {
    let place = Place::new();
    let script = "source /dev/stdin; COMP_WORDS=(sealwax reenc); COMP_CWORD=1; _sealwax sealwax reenc sealwax; echo ${COMPREPLY[@]}";
    let bash = Command::new("bash").args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut bash) = bash else {
        support::skip("SEALWAX_REQUIRE_PEERS", "there is no bash");
        return;
    };
    std::io::Write::write_all(&mut bash.stdin.take().unwrap(), &place.ok(&["completions", "bash"])).unwrap();
    assert_eq!(String::from_utf8(bash.wait_with_output().unwrap().stdout).unwrap(), "reencrypt\n");
}

#[test]
fn manual_pages_are_there_for_every_command() {
    let place = Place::new();
    let page = String::from_utf8(place.ok(&["man"])).unwrap();
    for part in [".TH sealwax 1", "sealwax\\-reencrypt(1)", "Exit codes", "not in the expected context"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    place.ok(&["man", "share/man1"]);
    for command in COMMANDS {
        let page = fs::read_to_string(place.path(&format!("share/man1/sealwax-{command}.1"))).unwrap();
        assert!(page.contains(".SH OPTIONS") && page.contains(".SH SYNOPSIS"), "{page}");
    }
    place.ok(&["man", "share/man1"]);
    place.refused(&["man", "main.key"], 2, "main.key: not a directory");
}

/// Runs the commands of the guide unchanged.
#[cfg(unix)]
#[test]
fn the_commands_of_the_guide_work() {
    let guide = include_str!("../../../../docs/COMMAND-LINE.md");
    let (mut script, mut blocks, mut inside) = (String::from("set -eu -o pipefail\n"), 0, false);
    for line in guide.lines() {
        match line {
            "```sh" => (inside, blocks) = (true, blocks + 1),
            "```" => inside = false,
            line if inside => script.extend([line, "\n"]),
            _ => {}
        }
    }
    assert!(blocks >= 10, "{blocks} blocks of commands were seen");
    let place = Place::new();
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_sealwax")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap_or_default());
    let bash = Command::new("bash")
        .args(["-c", &script])
        .env("PATH", path)
        .env("SEALWAX_STORE", place.path("no-store"))
        .current_dir(place.directory.path())
        .output();
    let Ok(output) = bash else {
        support::skip("SEALWAX_REQUIRE_PEERS", "there is no bash");
        return;
    };
    let said = place::stderr(&output);
    assert!(output.status.success(), "{said}");
    assert_eq!(place.read("report.txt"), place.read("kept.txt"));
    assert_eq!(place.read("report.txt"), place.read("report.again.txt"));
    assert!(!place.path("green.txt").exists());
    assert!(String::from_utf8(output.stdout).unwrap().ends_with("it is whole\n"));
}
