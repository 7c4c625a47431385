//! Links and pipes that take the place of files and directories while a command runs.
//!
//! A command is held after its first file: the pipe that receives its metadata is full. By then it
//! has found three more files and not opened them, because its queue is full too.

use std::{
    fs::File,
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    os::unix::fs::{OpenOptionsExt, symlink},
    process::Child,
    time::Instant,
};

use super::*;

/// A command that is held, and the pipe that holds it.
struct Held {
    child: Child,
    pipe: File,
    stderr: BufReader<std::process::ChildStderr>,
}

/// Starts a command with one job, waits until it is held, and returns the line about its first
/// file.
fn hold(place: &Place, arguments: &[&str]) -> (Held, String) {
    let path = place.path("pipe");
    let _ = fs::remove_file(&path);
    make_pipe(&path);
    let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap();
    let mut pipe = File::options().read(true).write(true).custom_flags(nonblocking).open(&path).unwrap();
    let full = std::iter::repeat_with(|| pipe.write_all(&[0; 4096])).find_map(Result::err);
    assert_eq!(full.unwrap().kind(), ErrorKind::WouldBlock);
    let held = ["--jobs", "1", "--verbose", "--metadata", "pipe"];
    let mut child = place.command(&[arguments, &held].concat()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    // It finds the next files at once.
    thread::sleep(Duration::from_millis(300));
    (Held { child, pipe, stderr }, line)
}

impl Held {
    /// Lets the command go on, and returns its exit code and what it printed. Fails if it hangs.
    fn release(mut self) -> (i32, String) {
        let (start, mut buffer) = (Instant::now(), [0; 4096]);
        let status = loop {
            while self.pipe.read(&mut buffer).is_ok() {}
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None if start.elapsed() > Duration::from_secs(30) => {
                    self.child.kill().unwrap();
                    panic!("the command hangs");
                }
                None => thread::sleep(Duration::from_millis(2)),
            }
        };
        let mut text = String::new();
        self.stderr.read_to_string(&mut text).unwrap();
        (status.code().unwrap(), text)
    }
}

fn make_pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// The number of files in a directory of a test.
const FILES: usize = 8;

/// Returns a place with a directory of files and one of messages, and the same of a secret outside.
fn place_with_files() -> Place {
    let place = Place::new();
    for number in 0..FILES {
        put(&place, format!("in/d/{number}"), format!("inside {number}").as_bytes());
    }
    assert_eq!(code(&encrypt(&place, &[])), 0);
    fs::rename(place.path("out"), place.path("sealed")).unwrap();
    for number in 0..FILES {
        put(&place, format!("outside/{number}"), b"secret");
    }
    place.ok(&["encrypt", "-r", "-k", &place.key, "outside", "-o", "outside sealed"]);
    fs::create_dir(place.path("elsewhere")).unwrap();
    place
}

/// The commands, the directory that each reads, and the one outside with files of the same names.
fn commands(key: &str) -> [(Vec<&str>, &'static str, &'static str); 5] {
    [
        (vec!["encrypt", "-r", "-k", key, "in", "-o", "out"], "in", "outside"),
        (vec!["decrypt", "-r", "-k", key, "sealed", "-o", "back"], "sealed", "outside sealed"),
        (vec!["verify", "-r", "-k", key, "sealed"], "sealed", "outside sealed"),
        (vec!["reencrypt", "-r", "-k", key, "sealed", "-o", "again"], "sealed", "outside sealed"),
        (vec!["reencrypt", "-r", "-k", key, "sealed"], "sealed", "outside sealed"),
    ]
}

/// Returns all messages and plaintexts that a command has written, decrypted.
fn written(place: &Place, arguments: &[&str]) -> Vec<Vec<u8>> {
    let output = arguments.iter().position(|word| *word == "-o").map(|at| arguments[at + 1]);
    let files = output.map(|output| tree(&place.path(output))).unwrap_or_default();
    let files = files.into_iter().filter_map(|(path, content)| Some((path, content?)));
    files
        .map(|(path, content)| match path.extension() {
            Some(_) => place.run_with_input(&["decrypt", "-k", &place.key], &content).stdout,
            None => content,
        })
        .collect()
}

#[test]
fn attack_33_links_and_pipes_in_the_place_of_files_are_not_followed() {
    for (at, (from, outside)) in [("in", "outside"), ("sealed", "outside sealed")].into_iter().enumerate() {
        let key = Place::new().key;
        for command in 0..commands(&key).len() {
            let place = place_with_files();
            let (arguments, reads, _) = commands(&place.key)[command].clone();
            if reads != from {
                continue;
            }
            let (held, first) = hold(&place, &arguments);
            let before = tree(&place.path(outside));
            let mut swapped = Vec::new();
            for (number, entry) in fs::read_dir(place.path(from).join("d")).unwrap().enumerate() {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_owned();
                if first.starts_with(&format!("{from}/d/{}", name.display())) {
                    continue;
                }
                fs::remove_file(&path).unwrap();
                if number % 2 == 0 {
                    symlink(place.path(outside).join(name), &path).unwrap();
                } else {
                    make_pipe(&path);
                }
                swapped.push(path);
            }
            let (code, text) = held.release();
            assert_eq!(code, 1, "{arguments:?}: {text}");
            let said = text.matches("the file was removed or replaced during the run").count();
            assert!(said >= 3, "{arguments:?}: {text}");
            assert!(text.contains(" 1 file") && text.contains(" failed\n"), "{at} {arguments:?}: {text}");
            assert!(written(&place, &arguments).iter().all(|content| content.starts_with(b"inside")));
            assert!(tree(&place.path(outside)) == before, "something outside has changed");
            assert!(swapped.iter().all(|path| !fs::symlink_metadata(path).unwrap().is_file()), "{arguments:?}");
        }
    }
}

#[test]
fn attack_33_another_file_in_the_place_of_one_is_not_read() {
    let place = place_with_files();
    let (held, first) = hold(&place, &["verify", "-r", "-k", &place.key, "sealed"]);
    for number in 0..FILES {
        let name = format!("d/{number}.sealed");
        if !first.starts_with(&format!("sealed/{name}")) {
            fs::remove_file(place.path("sealed").join(&name)).unwrap();
            let outside = place.path("outside sealed").join(format!("{number}.sealed"));
            fs::hard_link(outside, place.path("sealed").join(&name)).unwrap();
        }
    }
    let (code, text) = held.release();
    assert_eq!(code, 1, "{text}");
    assert!(text.matches("the file was removed or replaced during the run").count() >= 3, "{text}");
}

#[test]
fn attack_33_a_link_in_the_place_of_a_directory_redirects_nothing() {
    let key = Place::new().key;
    for command in 0..commands(&key).len() {
        let place = place_with_files();
        let (arguments, from, outside) = commands(&place.key)[command].clone();
        let (held, _) = hold(&place, &arguments);
        let before = tree(&place.path(outside));
        fs::rename(place.path(from).join("d"), place.path(from).join("moved")).unwrap();
        symlink(place.path(outside), place.path(from).join("d")).unwrap();
        let output = arguments.iter().position(|word| *word == "-o").map(|at| place.path(arguments[at + 1]));
        if let Some(output) = &output {
            fs::rename(output.join("d"), output.join("moved")).unwrap();
            symlink(place.path("elsewhere"), output.join("d")).unwrap();
        }
        let (code, text) = held.release();
        // Everything is done in the directories that were opened, wherever they are now.
        assert_eq!(code, 0, "{arguments:?}: {text}");
        assert!(text.contains(&format!(" {FILES} files")), "{arguments:?}: {text}");
        let contents = written(&place, &arguments);
        assert_eq!(contents.len(), if output.is_some() { FILES } else { 0 });
        assert!(contents.iter().all(|content| content.starts_with(b"inside")), "{arguments:?}");
        assert!(tree(&place.path(outside)) == before && tree(&place.path("elsewhere")).is_empty(), "{arguments:?}");
    }
}

#[test]
fn attack_33_a_link_in_the_place_of_a_directory_that_comes_later_is_not_followed() {
    let place = place_with_files();
    // One of the two comes first, and the queue is full before the other one is reached.
    for number in 0..FILES {
        put(&place, format!("in/e/{number}"), b"inside e");
    }
    fs::create_dir_all(place.path("out/d")).unwrap();
    fs::create_dir_all(place.path("out/e")).unwrap();
    for swaps_input in [true, false] {
        let arguments = ["encrypt", "-r", "-k", &place.key, "in", "-o", "out", "--force"];
        let (held, first) = hold(&place, &arguments);
        let later = if first.starts_with("in/d/") { "e" } else { "d" };
        let (directory, target) = if swaps_input { ("in", "outside") } else { ("out", "elsewhere") };
        let path = place.path(directory).join(later);
        fs::rename(&path, place.path("aside")).unwrap();
        symlink(place.path(target), &path).unwrap();
        let (code, text) = held.release();
        assert_ne!(code, 0, "{text}");
        assert!(text.contains(&format!(" {FILES} files")) && text.contains("; 1 failed\n"), "{text}");
        let contents = written(&place, &arguments);
        assert!(contents.len() >= FILES && contents.iter().all(|content| content.starts_with(b"inside")));
        assert!(tree(&place.path("elsewhere")).is_empty());
        fs::remove_file(&path).unwrap();
        fs::rename(place.path("aside"), &path).unwrap();
    }
}

/// What is written to a message after it was read must not be lost.
#[test]
fn a_file_that_is_replaced_while_it_is_reencrypted_stays() {
    let place = Place::new();
    File::create(place.path("large")).unwrap().set_len(64 << 20).unwrap();
    let key = place.key.as_str();
    fs::create_dir(place.path("vault")).unwrap();
    let message = "vault/a.sealed";
    let commands: [(&[&str], _); 2] = [
        (&["reencrypt", "-r", "-k", key, "vault"], "the file was removed or replaced during the run; "),
        (&["reencrypt", "-k", key, message], "the file changed while it was read; "),
    ];
    for (command, said) in commands {
        place.ok(&["encrypt", "-f", "-k", key, "--suite", "0x0478", "large", "-o", message]);
        let mut child = place.command(command).spawn().unwrap();
        while fs::read_dir(place.path("vault")).unwrap().count() < 2 {
            assert!(child.try_wait().unwrap().is_none(), "it was done before it could be disturbed");
            thread::sleep(Duration::from_millis(1));
        }
        place.write("new", b"new content");
        fs::rename(place.path("new"), place.path(message)).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(code(&output), 1, "{}", stderr(&output));
        assert!(stderr(&output).starts_with(&format!("sealwax: {message}: {said}")), "{}", stderr(&output));
        let left: Vec<_> = tree(&place.path("vault")).into_iter().collect();
        assert_eq!(left, [("a.sealed".into(), Some(b"new content".to_vec()))]);
    }
}
