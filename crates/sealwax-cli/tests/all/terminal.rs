//! The tool on a terminal of its own.

use std::{
    fs::{self, File},
    io::{Read, Write},
    process::{Child, Command},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{Mode, OFlags, open},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, tcgetattr},
};

use crate::place::Place;

/// Opens a new terminal, and returns its controller and itself. It never becomes the controlling
/// terminal of the tests, whose process would be ended with it.
pub(crate) fn open_terminal() -> (File, File) {
    let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&controller).unwrap();
    unlockpt(&controller).unwrap();
    let name = ptsname(&controller, Vec::new()).unwrap();
    let terminal = open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    (controller.into(), terminal.into())
}

/// A shell that runs one command, on a new terminal.
struct Terminal {
    controller: File,
    shown: Arc<Mutex<String>>,
    shell: Child,
}

impl Terminal {
    /// Starts the tool.
    fn start(place: &Place, arguments: &[&str]) -> Self {
        Self::start_with(place, &[], arguments)
    }

    /// Starts the tool with these environment variables.
    fn start_with(place: &Place, variables: &[(&str, &str)], arguments: &[&str]) -> Self {
        let (controller, user) = open_terminal();
        let stream = || user.try_clone().unwrap();
        let tool = place.command(arguments);
        let mut command = Command::new("setsid");
        // The shell stays until it is told to end: the terminal is reset when its session ends.
        let script = "\"$0\" \"$@\"; echo status: $?.; read -r line";
        command.args(["--ctty", "sh", "-c", script]).arg(tool.get_program()).args(tool.get_args());
        command.envs(tool.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.env("TERM", "xterm").env_remove("NO_COLOR").envs(variables.iter().copied());
        command.current_dir(place.directory.path()).stdin(stream()).stdout(stream()).stderr(stream());
        let shell = command.spawn().unwrap();
        let shown = Arc::new(Mutex::new(String::new()));
        let (mut from, to) = (controller.try_clone().unwrap(), shown.clone());
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = from.read(&mut buffer) {
                to.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
        });
        Self { controller, shown, shell }
    }

    /// Waits until the terminal shows this text.
    #[track_caller]
    fn wait_for(&self, text: &str) {
        let start = Instant::now();
        while !self.shown.lock().unwrap().contains(text) {
            assert!(start.elapsed() < Duration::from_secs(20), "no {text:?} in {:?}", self.shown.lock().unwrap());
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn type_in(&mut self, text: &str) {
        self.controller.write_all(text.as_bytes()).unwrap();
    }

    /// Waits until the terminal shows what is typed, or does not.
    fn wait_for_echo(&self, echo: bool) {
        let start = Instant::now();
        while tcgetattr(&self.controller).unwrap().local_modes.contains(LocalModes::ECHO) != echo {
            assert!(start.elapsed() < Duration::from_secs(20), "the terminal stays as it is");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Sends a signal to the command.
    fn signal(&self, signal: &str) {
        let shell = self.shell.id();
        let children = fs::read_to_string(format!("/proc/{shell}/task/{shell}/children")).unwrap();
        assert!(Command::new("kill").args([signal, children.trim()]).status().unwrap().success());
    }

    /// Waits for the end of the command, and returns its exit code as the shell shows it.
    fn end(&self) -> i32 {
        self.wait_for("status: ");
        self.wait_for(".\r\n");
        let shown = self.shown.lock().unwrap();
        let (_, status) = shown.rsplit_once("status: ").unwrap();
        status.split('.').next().unwrap().parse().unwrap()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.controller.write_all(b"\n");
        let _ = self.shell.wait();
    }
}

#[test]
fn a_terminal_is_no_place_for_a_message() {
    let place = Place::new();
    place.write("plain", b"text");
    for arguments in [
        &["encrypt", "-k", &place.key, "-o", "-", "plain"][..],
        &["encrypt", "-k", &place.key, "-o", "/dev/tty", "plain"],
        &["keygen", "-"],
    ] {
        let terminal = Terminal::start(&place, arguments);
        terminal.wait_for("refusing to write binary data to a terminal; use -o FILE or redirect standard output");
        assert_eq!(terminal.end(), 2);
    }
    // Nor is it waited for input that nobody types.
    let terminal = Terminal::start(&place, &["encrypt", "-k", &place.key]);
    terminal.wait_for("no input is given; name a file, or pipe data to standard input");
    assert_eq!(terminal.end(), 2);
}

#[test]
fn on_a_terminal_the_first_encryption_creates_the_store_and_warns() {
    let place = Place::new();
    place.write("plain", b"text");
    let terminal = Terminal::start(&place, &["encrypt", "--quiet", "-o", "sealed", "plain"]);
    terminal.wait_for("WARNING: without this directory your data cannot be decrypted");
    assert_eq!(terminal.end(), 0);
    assert!(place.path("no-store/store.bin").exists() && place.path("sealed").exists());
}

#[test]
fn a_key_is_deleted_soon_only_after_a_yes() {
    let place = Place::new();
    place.ok(&["keys", "create", "--alias", "main"]);
    let keys = || String::from_utf8(place.ok(&["keys", "list"])).unwrap();
    for answer in ["no\n", "y\n", "\n"] {
        let mut terminal = Terminal::start(&place, &["keys", "delete", "main", "--sooner", "0s"]);
        terminal.wait_for("now? Data encrypted under it cannot be decrypted then. Type yes to delete it: ");
        terminal.type_in(answer);
        assert_eq!(terminal.end(), 1);
        assert!(keys().contains("main"), "{answer:?}");
    }
    let mut terminal = Terminal::start(&place, &["keys", "delete", "main", "--sooner", "0s"]);
    terminal.wait_for("Type yes");
    terminal.type_in("yes\n");
    assert_eq!(terminal.end(), 0);
    assert!(!keys().contains("main"));
}

#[test]
fn a_signal_at_a_passphrase_prompt_restores_the_terminal() {
    let place = Place::new();
    place.ok(&["keys", "create"]);
    let export = ["keys", "export", "-o", "backup"];
    for (signal, number) in [("Ctrl-C", 2), ("-INT", 2), ("-TERM", 15), ("-HUP", 1)] {
        let mut terminal = Terminal::start(&place, &export);
        terminal.wait_for("Passphrase for the backup: ");
        terminal.wait_for_echo(false);
        if signal == "Ctrl-C" {
            terminal.type_in("\x03")
        } else {
            terminal.signal(signal)
        }
        assert_eq!(terminal.end(), 128 + number, "{signal}");
        terminal.wait_for_echo(true);
        assert!(!place.path("backup").exists());
    }
    // And otherwise it works.
    let mut terminal = Terminal::start(&place, &export);
    for prompt in ["Passphrase for the backup: ", "Repeat the passphrase: "] {
        terminal.wait_for(prompt);
        terminal.wait_for_echo(false);
        terminal.type_in("correct horse\n");
    }
    assert_eq!(terminal.end(), 0);
    assert!(place.path("backup").exists());
}

#[test]
fn a_terminal_shows_colors_unless_there_are_to_be_none() {
    let place = Place::new();
    let shown = |variables: &[(&str, &str)]| {
        let terminal = Terminal::start_with(&place, variables, &["verify", "-k", &place.key, "none"]);
        assert_eq!(terminal.end(), 1);
        let shown = terminal.shown.lock().unwrap().clone();
        shown.contains("\x1b[31m")
    };
    assert!(shown(&[]));
    assert!(!shown(&[("NO_COLOR", "1")]));
}

#[test]
fn progress_is_not_glued_to_output() {
    let place = Place::new();
    let lines = "a line of text\n".repeat(100_000);
    place.write("plain", lines.as_bytes());
    place.ok(&["encrypt", "-k", &place.key, "--suite", "0x0478", "plain"]);
    let terminal = Terminal::start(&place, &["decrypt", "-k", &place.key, "-o", "-", "plain.sealed"]);
    assert_eq!(terminal.end(), 0);
    let shown = terminal.shown.lock().unwrap().replace("\r\n", "\n");
    assert!(shown.starts_with(&lines), "something else is among the text");
    drop(terminal);

    // Nor does it stay when a signal ends the program.
    assert!(Command::new("mkfifo").arg(place.path("pipe")).status().unwrap().success());
    let terminal = Terminal::start(&place, &["encrypt", "-k", &place.key, "-o", "out", "pipe"]);
    let mut pipe = File::options().write(true).open(place.path("pipe")).unwrap();
    let start = Instant::now();
    while !terminal.shown.lock().unwrap().contains("B/s") {
        pipe.write_all(&[0; 4096]).unwrap();
        thread::sleep(Duration::from_millis(5));
        assert!(start.elapsed() < Duration::from_secs(20), "no progress is shown");
    }
    terminal.signal("-INT");
    assert_eq!(terminal.end(), 130);
    let shown = terminal.shown.lock().unwrap().clone();
    let (before, _) = shown.split_once("status: ").unwrap();
    assert!(before.ends_with("\r\x1b[K"), "{before:?}");
}
