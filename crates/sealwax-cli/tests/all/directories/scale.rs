//! Many files, files that change, interruptions, full disks, and memory.

use std::{
    fs,
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::*;
use crate::{
    place::{Place, code, stderr},
    support,
};

/// Returns a place with this many files of 1 KiB in directories of 100.
fn place_with_many(count: usize) -> Place {
    let place = Place::new();
    for number in 0..count {
        put(&place, format!("in/{}/{number}", number / 100), &support::pattern(1024 + number % 7));
    }
    place
}

#[test]
fn many_small_files() {
    let count = if full() { 10_000 } else { 1_000 };
    let place = place_with_many(count);
    let start = Instant::now();
    assert_eq!(code(&encrypt(&place, &["--suite", "0x0478"])), 0);
    support::say(&format!("{count} files of 1 KiB: {:.0} a second", count as f64 / start.elapsed().as_secs_f64()));
    assert_eq!(code(&decrypt(&place, &[])), 0);
    assert!(tree(&place.path("back")) == tree(&place.path("in")));
}

/// A log grows while it is read, or is truncated: what was read is in no state that the file had.
#[test]
fn a_file_that_changes_is_reported_and_no_message_of_it_appears() {
    let place = Place::new();
    put(&place, "in/small", b"text");
    let mut length = 64 << 20;
    let file = fs::File::create(place.path("in/growing")).unwrap();
    file.set_len(length).unwrap();
    let stop = AtomicBool::new(false);
    let (together, alone) = thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                length += 4096;
                file.set_len(length).unwrap();
                thread::sleep(Duration::from_millis(1));
            }
        });
        let unsigned = ["--suite", "0x0478"];
        let together = encrypt(&place, &unsigned);
        let alone = place.run(&[&["encrypt", "-k", &place.key, "in/growing", "-o", "sealed"], &unsigned[..]].concat());
        stop.store(true, Ordering::Relaxed);
        (together, alone)
    });
    assert_eq!(code(&together), 1);
    let line = "sealwax: in/growing: the file changed while it was read; \
                try again when nothing writes to it, or pipe it to standard input\n";
    assert_eq!(stderr(&together), format!("{line}sealwax: encrypted 1 file, 4 B; 1 failed\n"));
    assert_eq!((code(&alone), stderr(&alone).as_str()), (1, line));
    assert!(!place.path("sealed").exists() && !place.path("out/growing.sealed").exists());

    // Truncated, or with other content of the same length.
    for truncates in [true, false] {
        let stop = AtomicBool::new(false);
        let alone = thread::scope(|scope| {
            scope.spawn(|| {
                let mut length = length;
                while !stop.load(Ordering::Relaxed) {
                    if truncates {
                        length -= 4096;
                        file.set_len(length).unwrap();
                    } else {
                        std::io::Write::write_all(&mut &file, b"x").unwrap();
                    }
                    thread::sleep(Duration::from_millis(1));
                }
            });
            let alone = place.run(&["encrypt", "-k", &place.key, "in/growing", "-o", "sealed", "--suite", "0x0478"]);
            stop.store(true, Ordering::Relaxed);
            alone
        });
        assert_eq!((code(&alone), stderr(&alone).as_str()), (1, line), "truncates: {truncates}");
        assert!(!place.path("sealed").exists());
    }
    assert_eq!(code(&encrypt(&place, &[])), 0);
}

/// Waits until a directory has some of the files but not all, and returns whether that happened.
fn wait_for_some(directory: &Path, all: usize) -> bool {
    for _ in 0..2_000 {
        let found = walkdir::WalkDir::new(directory).into_iter().filter_map(Result::ok);
        match found.filter(|entry| entry.path().extension().is_some_and(|end| end == "sealed")).count() {
            count if count >= all => return false,
            count if count > 20 => return true,
            _ => thread::sleep(Duration::from_millis(2)),
        }
    }
    false
}

#[cfg(unix)]
#[test]
fn what_was_interrupted_is_resumed() {
    // Signed, and each with a data key of its own, so that it takes long enough.
    let (place, slowly) = (place_with_many(1_000), ["--cache-messages", "1"]);
    for (signal, number) in [("-KILL", 9), ("-INT", 2), ("-TERM", 15)] {
        let arguments = [&["encrypt", "-r", "-k", &place.key, "in", "-o", "out"], &slowly[..]].concat();
        let mut child = place.command(&arguments).spawn().unwrap();
        assert!(wait_for_some(&place.path("out"), 1_000), "it was done before it could be interrupted");
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        let status = child.wait().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(number));

        // Every file that has its final name is complete.
        let before = tree(&place.path("out"));
        let is_partial = |path: &Path| path.to_string_lossy().ends_with(".partial");
        let partial = before.keys().any(|path| is_partial(path));
        assert!(!partial || signal == "-KILL", "{signal} left a partial file");
        let verify = place.run(&["verify", "-r", "-k", &place.key, "out"]);
        assert_eq!(code(&verify), 0, "{}", stderr(&verify));
        assert!(stderr(&encrypt(&place, &["--suite", "0x0478"])).contains(" skipped because they exist"));
        let after = tree(&place.path("out"));
        // The next run removes the incomplete files and keeps the others.
        assert!(before.iter().all(|(path, content)| is_partial(path) || after.get(path) == Some(content)));
        assert!(!after.keys().any(|path| is_partial(path)));
        assert_eq!(code(&decrypt(&place, &["--quiet"])), 0);
        assert!(tree(&place.path("back")) == tree(&place.path("in")));
        fs::remove_dir_all(place.path("out")).unwrap();
        fs::remove_dir_all(place.path("back")).unwrap();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_is_full_stops_it_once() {
    let place = place_with_many(500);
    let disk = place.path("out");
    fs::create_dir(&disk).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=256k", "none"]).arg(&disk).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        support::skip("SEALWAX_REQUIRE_MOUNT", "no right to mount a small disk");
        return;
    }
    let first = encrypt(&place, &["--jobs", "2"]);
    let files = tree(&disk);
    let larger = Command::new("mount").args(["-o", "remount,size=16m"]).arg(&disk).status().unwrap().success();
    let second = encrypt(&place, &[]);
    let decrypted = decrypt(&place, &[]);
    assert!(Command::new("umount").arg(&disk).status().unwrap().success());

    let text = stderr(&first);
    assert_eq!(code(&first), 1, "{text}");
    assert!(text.starts_with("sealwax: out/") && text.contains(".sealed: the disk is full"), "{text}");
    assert!(text.ends_with("; stopped, the remaining files were not processed\n"), "{text}");
    assert!(text.lines().count() <= 4, "every thread can meet it once: {text}");
    let done = files.values().flatten().count();
    assert!((1..500).contains(&done), "{done}");
    assert!(files.keys().all(|path| !path.to_string_lossy().contains(".partial")), "nothing half done is left");
    assert!(larger);
    assert_eq!(code(&second), 0, "{}", stderr(&second));
    assert!(stderr(&second).contains(&format!("; {done} skipped because they exist\n")), "{}", stderr(&second));
    assert_eq!(code(&decrypted), 0);
    assert!(tree(&place.path("back")) == tree(&place.path("in")));
}

/// Runs a command, and returns the peak of its memory in KiB.
#[cfg(target_os = "linux")]
fn peak_memory(place: &Place, arguments: &[&str]) -> u64 {
    let mut child = place.command(arguments).spawn().unwrap();
    let (mut peak, status) = (0, format!("/proc/{}/status", child.id()));
    let exit = loop {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = line.map_or(peak, |line| line.trim_end_matches("kB").trim().parse().unwrap());
        match child.try_wait().unwrap() {
            Some(exit) => break exit,
            None => thread::sleep(Duration::from_millis(2)),
        }
    };
    assert!(exit.success(), "{arguments:?}");
    assert!(peak > 0);
    peak
}

#[cfg(target_os = "linux")]
#[test]
fn memory_does_not_grow_with_files_or_their_length() {
    // In KiB, for two jobs.
    const LIMIT: u64 = 24 << 10;
    let place = place_with_many(1_000);
    let length = if full() { 2 << 30 } else { 64 << 20 };
    fs::File::create(place.path("in/large")).unwrap().set_len(length).unwrap();
    let key = place.key.as_str();
    for arguments in [
        &["encrypt", "-r", "-k", key, "--jobs", "2", "in", "-o", "out"][..],
        &["verify", "-r", "-k", key, "--jobs", "2", "out"],
        &["decrypt", "-r", "-k", key, "--jobs", "2", "out", "-o", "back"],
        &["reencrypt", "-k", key, "out/large.sealed"],
    ] {
        let peak = peak_memory(&place, arguments);
        assert!(peak < LIMIT, "{} takes {peak} KiB", arguments[0]);
    }
    assert_eq!(fs::metadata(place.path("back/large")).unwrap().len(), length);
    place.ok(&["verify", "-k", key, "out/large.sealed"]);
}
