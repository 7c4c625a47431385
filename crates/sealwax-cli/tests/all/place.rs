//! A directory in which the command-line tool is run as a user runs it.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;

/// A directory for one test, with a key in it.
pub(crate) struct Place {
    pub directory: TempDir,
    pub key: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        let mut place = Self { directory: tempfile::tempdir().unwrap(), key: String::new() };
        place.key = place.keygen("main.key");
        place
    }

    pub(crate) fn keygen(&self, name: &str) -> String {
        let made = self.run(&["keygen", "--raw", name]);
        assert_eq!(code(&made), 0, "{}", stderr(&made));
        String::from_utf8(made.stdout).unwrap().trim().to_owned()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sealwax"));
        command.args(arguments).current_dir(self.directory.path());
        // Without a key the tool would use the user's own key store, which tests must not touch.
        command.env("SEALWAX_STORE", self.directory.path().join("no-store"));
        without_configuration(&mut command, self.directory.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    pub(crate) fn run_with_input(&self, arguments: &[&str], input: &[u8]) -> Output {
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_owned();
        let writer = std::thread::spawn(move || {
            // A refusal may close the pipe before everything is written.
            let _ = stdin.write_all(&input);
        });
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        output
    }

    /// Runs a command that must succeed.
    pub(crate) fn ok(&self, arguments: &[&str]) -> Vec<u8> {
        let output = self.run(arguments);
        assert_eq!(code(&output), 0, "{arguments:?}: {}", stderr(&output));
        output.stdout
    }

    /// Runs a command that must fail: with this exit code, one line that contains this text,
    /// nothing on standard output, and no file created or changed.
    #[track_caller]
    pub(crate) fn refused(&self, arguments: &[&str], expected_code: i32, text: &str) {
        let before = snapshot(self.directory.path());
        let output = self.run(arguments);
        self.check_refusal(&output, expected_code, text);
        assert!(snapshot(self.directory.path()) == before, "{arguments:?} changed a file");
    }

    #[track_caller]
    pub(crate) fn check_refusal(&self, output: &Output, expected_code: i32, text: &str) {
        let line = stderr(output);
        assert_eq!(code(output), expected_code, "{line}");
        assert!(line.contains(text), "{line:?} does not contain {text:?}");
        assert!(line.starts_with("sealwax: ") && line.ends_with('\n') && line.lines().count() == 1, "{line:?}");
        assert!(output.stdout.is_empty(), "something went to standard output");
    }
}

/// Makes a command ignore the configuration of the user who runs the tests.
pub(crate) fn without_configuration(command: &mut Command, directory: &Path) {
    for name in ["CONFIG", "PROFILE", "KEY", "SUITE", "PASSPHRASE"] {
        command.env_remove(format!("SEALWAX_{name}"));
    }
    command.env("XDG_CONFIG_HOME", directory.join("no-configuration"));
}

pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Returns every file of a directory with its content.
pub(crate) fn snapshot(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), fs::read(&path).unwrap_or_default()))
        .collect();
    files.sort();
    files
}

/// Returns the output of `inspect --json` for a file.
pub(crate) fn inspect_json(place: &Place, file: &str) -> serde_json::Value {
    serde_json::from_slice(&place.ok(&["inspect", "--json", file])).unwrap()
}

/// Parses a file of JSON lines.
pub(crate) fn json_lines(bytes: &[u8]) -> Vec<serde_json::Value> {
    let text = std::str::from_utf8(bytes).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "the last line is cut off: {text:?}");
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}"))).collect()
}
