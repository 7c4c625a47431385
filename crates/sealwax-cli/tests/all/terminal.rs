//! The tool on a terminal of its own.

use std::{
    fs::File,
    io::{Read, Write},
    os::unix::process::ExitStatusExt,
    process::{Child, Command, ExitStatus},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, tcgetattr},
};

use crate::place::Place;

/// A command that has a new terminal as its controlling terminal and standard streams.
struct Terminal {
    controller: File,
    /// The other side, kept open so that its state can be examined after the command has ended.
    user: File,
    shown: Arc<Mutex<String>>,
    child: Child,
}

impl Terminal {
    /// Starts the tool.
    fn start(place: &Place, arguments: &[&str]) -> Self {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        let name = ptsname(&controller, Vec::new()).unwrap().into_string().unwrap();
        let user = File::options().read(true).write(true).open(name).unwrap();
        let stream = || user.try_clone().unwrap();
        let tool = place.command(arguments);
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(tool.get_program()).args(tool.get_args());
        command.envs(tool.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.current_dir(place.directory.path()).stdin(stream()).stdout(stream()).stderr(stream());
        let child = command.spawn().unwrap();
        let (mut controller, shown) = (File::from(controller), Arc::new(Mutex::new(String::new())));
        let (mut from, to) = (controller.try_clone().unwrap(), shown.clone());
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = from.read(&mut buffer) {
                to.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
        });
        controller.flush().unwrap();
        Self { controller, user, shown, child }
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

    fn echoes(&self) -> bool {
        tcgetattr(&self.user).unwrap().local_modes.contains(LocalModes::ECHO)
    }

    fn end(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
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
        let mut terminal = Terminal::start(&place, arguments);
        terminal.wait_for("refusing to write binary data to a terminal; use -o FILE or redirect standard output");
        assert_eq!(terminal.end().code(), Some(2));
    }
    // Nor is it waited for input that nobody types.
    let mut terminal = Terminal::start(&place, &["encrypt", "-k", &place.key]);
    terminal.wait_for("no input is given; name a file, or pipe data to standard input");
    assert_eq!(terminal.end().code(), Some(2));
}

#[test]
fn on_a_terminal_the_first_encryption_creates_the_store_and_warns() {
    let place = Place::new();
    place.write("plain", b"text");
    let mut terminal = Terminal::start(&place, &["encrypt", "--quiet", "-o", "sealed", "plain"]);
    terminal.wait_for("WARNING: without this directory your data cannot be decrypted");
    assert_eq!(terminal.end().code(), Some(0));
    assert!(place.path("no-store/store.bin").exists() && place.path("sealed").exists());
}
