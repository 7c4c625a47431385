//! The tool when it is killed or the disk is full, and its memory.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Child, Command, Stdio},
};

use crate::place::{Place, code, snapshot, stderr};

/// Waits until a file has grown in a directory, and returns whether it did.
fn wait_for_partial(directory: &Path) -> bool {
    for _ in 0..500 {
        let partial = fs::read_dir(directory).unwrap().any(|entry| {
            let entry = entry.unwrap();
            entry.file_name().to_string_lossy().ends_with(".partial")
                && entry.metadata().is_ok_and(|m| m.len() > 100_000)
        });
        if partial {
            return true;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    false
}

/// Starts a command with a pipe for input, which stays open after these bytes.
fn start_and_feed(place: &Place, arguments: &[&str], input: &[u8]) -> (Child, std::process::ChildStdin) {
    let mut child = place.command(arguments).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input).unwrap();
    (child, stdin)
}

#[test]
fn a_kill_in_the_middle_leaves_nothing_under_the_final_name() {
    let place = Place::new();
    let text = vec![3; 2_000_000];
    let (mut child, stdin) = start_and_feed(&place, &["encrypt", "-k", &place.key, "-o", "out", "-"], &text);
    assert!(wait_for_partial(place.directory.path()));
    child.kill().unwrap();
    child.wait().unwrap();
    drop(stdin);
    assert!(!place.path("out").exists());

    let sealed = place.run_with_input(&["encrypt", "-k", &place.key, "-"], &text).stdout;
    place.write("target", b"precious");
    let decrypt = ["decrypt", "-k", &place.key, "-o", "target", "--force", "-"];
    let (mut child, stdin) = start_and_feed(&place, &decrypt, &sealed[..sealed.len() - 10]);
    assert!(wait_for_partial(place.directory.path()));
    child.kill().unwrap();
    child.wait().unwrap();
    drop(stdin);
    assert_eq!(place.read("target"), b"precious");
}

/// Sends a signal to a process.
#[cfg(unix)]
fn send(signal: &str, child: &Child) {
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
}

#[cfg(unix)]
#[test]
fn a_signal_removes_the_partial_file_and_ends_the_tool() {
    let place = Place::new();
    let text = vec![3; 2_000_000];
    let sealed = place.run_with_input(&["encrypt", "-k", &place.key, "-"], &text).stdout;
    place.write("target", b"precious");
    let before = snapshot(place.directory.path());
    let encrypt = ["encrypt", "-k", &place.key, "-o", "out", "-"];
    let decrypt = ["decrypt", "-k", &place.key, "-o", "target", "--force", "-"];
    for (signal, number) in [("-INT", 2), ("-TERM", 15), ("-HUP", 1)] {
        for (arguments, input) in [(&encrypt[..], &text[..]), (&decrypt[..], &sealed[..sealed.len() - 10])] {
            let (mut child, stdin) = start_and_feed(&place, arguments, input);
            assert!(wait_for_partial(place.directory.path()));
            send(signal, &child);
            let status = child.wait().unwrap();
            assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(number));
            drop(stdin);
            assert!(snapshot(place.directory.path()) == before, "{signal}");
        }
    }
}

/// `nohup` and shells without job control start programs that ignore a signal.
#[cfg(target_os = "linux")]
#[test]
fn a_signal_that_is_ignored_stays_ignored() {
    let place = Place::new();
    for signal in ["HUP", "INT"] {
        let script = format!("trap '' {signal}; exec \"$0\" encrypt -k \"$1\" -o {signal} -");
        let mut child = Command::new("bash")
            .args(["-c", &script, env!("CARGO_BIN_EXE_sealwax"), &place.key])
            .current_dir(place.directory.path())
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(&[3; 2_000_000]).unwrap();
        assert!(wait_for_partial(place.directory.path()));
        send(&format!("-{signal}"), &child);
        std::thread::sleep(std::time::Duration::from_millis(100));
        drop(stdin);
        assert_eq!(child.wait().unwrap().code(), Some(0), "{signal}");
        assert!(place.path(signal).exists());
    }
}

/// Fills a small file system of its own, if the user may mount one (as root; skipped otherwise).
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_one_clear_line() {
    let place = Place::new();
    let disk = place.path("disk");
    fs::create_dir(&disk).unwrap();
    let disk_path = disk.to_str().unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=256k", "none", disk_path]).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        // Without a disk to fill there is still a device that is always full.
        place.write("plain", &[1; 1_000_000]);
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let output = place.command(&["encrypt", "-k", &place.key, "plain"]).stdout(full).output().unwrap();
        place.check_refusal(&output, 1, "standard output: the disk is full");
        eprintln!("SKIPPED: a full disk (no right to mount one); /dev/full was used instead");
        return;
    }
    place.write("plain", &[1; 1_000_000]);
    let output = place.run(&["encrypt", "-k", &place.key, "-o", "disk/out", "plain"]);
    let left = fs::read_dir(&disk).unwrap().count();
    let unmounted = Command::new("umount").arg(&disk).status().unwrap();
    assert!(unmounted.success());
    place.check_refusal(&output, 1, "disk/out: the disk is full");
    assert_eq!(left, 0, "nothing is left on the disk");
}

#[cfg(target_os = "linux")]
#[test]
fn a_pipe_takes_constant_memory() {
    // In KiB: the peak of the process. 64 MiB show that memory does not grow; the limit is the same
    // for any length.
    const LENGTH: usize = 64 << 20;
    const LIMIT: u64 = 16 << 10;
    let place = Place::new();
    let key = &place.key;
    place.write("plain", &vec![0x5a; LENGTH]);
    for suite in ["0x0478", "0x0578"] {
        let encrypt = ["encrypt", "-k", key, "--suite", suite, "-o", "sealed", "--force", "-"];
        assert!(peak_memory(&place, &encrypt, "plain") < LIMIT);
        let decrypt = ["decrypt", "-k", key, "-o", "back", "--force", "-"];
        assert!(peak_memory(&place, &decrypt, "sealed") < LIMIT);
        // To standard output, a signed message is verified first, which takes no more memory.
        assert!(peak_memory(&place, &["decrypt", "-k", key, "-"], "sealed") < LIMIT);
    }
    assert!(place.read("back") == place.read("plain"));
}

/// Runs a command on a file through a pipe, and returns the peak of its memory in KiB, without the
/// pages of the program itself.
#[cfg(target_os = "linux")]
fn peak_memory(place: &Place, arguments: &[&str], input: &str) -> u64 {
    let bytes = place.read(input);
    let mut command = place.command(arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // All but the last byte, so that the process still exists when it is measured.
    stdin.write_all(&bytes[..bytes.len() - 1]).unwrap();
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let of = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    let peak = of("VmHWM:") - of("RssFile:");
    stdin.write_all(&bytes[bytes.len() - 1..]).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    peak
}
