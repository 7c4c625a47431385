//! What a command must not touch, and what it must not take for finished.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{Read, Write},
    os::unix::{
        ffi::OsStrExt,
        fs::{PermissionsExt, symlink},
    },
    path::Path,
    process::{Command, Stdio},
    time::{Duration, SystemTime},
};

use crate::place::{Place, code, json_lines, stderr};

fn make_pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_default_name_is_never_a_pipe_or_a_device() {
    let place = Place::new();
    place.write("report", b"private");
    place.ok(&["encrypt", "-k", &place.key, "report"]);
    fs::remove_file(place.path("report")).unwrap();
    make_pipe(&place.path("report"));
    // Nobody reads from the pipe: opening it would wait forever.
    let mut child = place.command(&["decrypt", "-k", &place.key, "report.sealed"]).spawn().unwrap();
    let ended = (0..1000).find_map(|_| {
        std::thread::sleep(Duration::from_millis(10));
        child.try_wait().unwrap()
    });
    let _ = child.kill();
    assert_eq!(ended.and_then(|status| status.code()), Some(2));
    fs::remove_file(place.path("report")).unwrap();

    place.write("f", b"private");
    symlink("/dev/null", place.path("f.sealed")).unwrap();
    place.refused(&["encrypt", "-k", &place.key, "f"], 2, "f.sealed: the target is not a regular file");
    place.ok(&["encrypt", "-k", &place.key, "-o", "f.sealed", "f"]);
}

#[test]
fn arguments_need_not_be_utf8() {
    let place = Place::new();
    let name = OsStr::from_bytes(b"nu\xff");
    fs::write(place.directory.path().join(name), b"text").unwrap();
    let output = place.command(&["encrypt", "-k", &place.key]).arg(name).output().unwrap();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let output = place.command(&["encrypt"]).arg(OsStr::from_bytes(b"--nonsense\xff")).output().unwrap();
    assert_eq!(code(&output), 2, "{}", stderr(&output));
}

#[test]
fn the_output_directory_gets_the_permissions_of_the_input_directory() {
    let place = Place::new();
    fs::create_dir_all(place.path("private/sub")).unwrap();
    place.write("private/a", b"text");
    set_mode(&place.path("private"), 0o700);
    place.ok(&["encrypt", "-r", "-k", &place.key, "-o", "new/deep/out", "private"]);
    assert_eq!(mode(&place.path("new/deep/out")), 0o700);
    place.ok(&["decrypt", "-r", "-k", &place.key, "-o", "back", "new/deep/out"]);
    assert_eq!(mode(&place.path("back")), 0o700);
    assert_eq!(place.read("back/a"), b"text");
}

#[test]
fn json_goes_into_no_file_that_is_something_else() {
    let place = Place::new();
    place.write("a", b"text");
    place.write("data.json", b"{}\n");
    place.ok(&["encrypt", "-k", &place.key, "a"]);
    let key = ["-k", &place.key];
    place.refused(&[&["decrypt", "-f", "--json=a.sealed"], &key[..], &["a.sealed"]].concat(), 1, "no lines of JSON");
    place.refused(&["encrypt", "--json=a.sealed", "--nonsense"], 2, "--nonsense");
    let names = "--json names an input or output";
    place.refused(&[&["encrypt", "--json=data.json"], &key[..], &["data.json"]].concat(), 2, names);
    place.refused(&["inspect", "--json=data.json", "data.json"], 2, names);
    fs::create_dir(place.path("d")).unwrap();
    place.write("d/log.json", b"{}\n");
    let arguments = [&["encrypt", "-r", "--json=d/log.json"], &key[..], &["-o", "out", "d"]].concat();
    let output = place.run(&arguments);
    place.check_refusal(&output, 2, "--json names a file in d");
    assert_eq!(place.read("d/log.json"), b"{}\n");
    // A log may grow.
    place.ok(&[&["verify", "--json=log"], &key[..], &["a.sealed"]].concat());
    place.ok(&[&["verify", "--json=log"], &key[..], &["a.sealed"]].concat());
    assert_eq!(json_lines(&place.read("log")).len(), 2);
}

#[test]
fn metadata_stays_out_of_the_key_store_and_may_go_to_standard_output() {
    let place = Place::new();
    let store = |arguments: &[&str]| place.command(arguments).env("SEALWAX_STORE", "keys").output().unwrap();
    place.write("a", b"text");
    assert_eq!(code(&store(&["keys", "create", "--alias", "my"])), 0);
    let output = store(&["encrypt", "-k", "local:my", "--metadata", "keys/audit.log", "a"]);
    place.check_refusal(&output, 2, "--metadata names a file in");
    assert_eq!(code(&store(&["keys", "audit", "--verify"])), 0);

    fs::create_dir(place.path("d")).unwrap();
    place.write("d/b", b"text");
    place.ok(&["encrypt", "-r", "-k", &place.key, "-o", "e", "d"]);
    let key = "raw-aes://sealwax/main?file=../main.key";
    let mut command = place.command(&["verify", "-r", ".", "--metadata", "-", "-k", key]);
    let output = command.current_dir(place.path("e")).output().unwrap();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(json_lines(&output.stdout).len(), 1);
}

#[test]
fn paths_of_keys_in_the_configuration_are_relative_to_it() {
    let place = Place::new();
    for directory in ["conf", "work"] {
        fs::create_dir(place.path(directory)).unwrap();
        place.ok(&["keygen", &format!("{directory}/my.key")]);
    }
    place.write("conf/config.toml", b"key = \"file:my.key\"\n");
    place.write("work/x", b"text");
    let run = |arguments: &[&str]| {
        place.command(arguments).env("SEALWAX_CONFIG", "../conf/config.toml").current_dir(place.path("work")).output()
    };
    let output = run(&["encrypt", "x"]).unwrap();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(code(&place.run(&["verify", "-k", "file:conf/my.key", "work/x.sealed"])), 0);
    assert_eq!(code(&place.run(&["verify", "-k", "file:work/my.key", "work/x.sealed"])), 4);
}

#[test]
fn a_configuration_that_cannot_be_reached_is_not_ignored() {
    let place = Place::new();
    fs::create_dir_all(place.path("home/sealwax")).unwrap();
    symlink("/not/mounted/config.toml", place.path("home/sealwax/config.toml")).unwrap();
    let output = place.command(&["config", "show"]).env("XDG_CONFIG_HOME", place.path("home")).output().unwrap();
    place.check_refusal(&output, 1, "config.toml");
}

#[test]
fn warnings_about_an_unsafe_store_are_not_quiet() {
    let place = Place::new();
    let store = |arguments: &[&str]| place.command(arguments).env("SEALWAX_STORE", "keys").output().unwrap();
    assert_eq!(code(&store(&["keys", "create", "--alias", "my"])), 0);
    set_mode(&place.path("keys"), 0o777);
    let output = store(&["-q", "keys", "list"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(stderr(&output).contains("warning"), "{}", stderr(&output));
}

#[test]
fn a_file_that_changes_while_it_is_read_is_noticed_though_its_time_is_put_back() {
    let place = Place::new();
    let length = 4 << 20;
    place.write("a", &vec![0; length]);
    let before = fs::metadata(place.path("a")).unwrap().modified().unwrap();
    make_pipe(&place.path("pipe"));
    let child = place.command(&["encrypt", "-k", &place.key, "-o", "pipe", "a"]).spawn().unwrap();
    // The command is held when the pipe is full.
    let mut pipe = File::open(place.path("pipe")).unwrap();
    pipe.read_exact(&mut [0; 100]).unwrap();
    let mut file = File::options().write(true).open(place.path("a")).unwrap();
    file.write_all(&vec![1; length]).unwrap();
    file.set_modified(before).unwrap();
    drop(file);
    std::io::copy(&mut pipe, &mut std::io::sink()).unwrap();
    let output = child.wait_with_output().unwrap();
    place.check_refusal(&output, 1, "changed while it was read");
}

#[test]
fn the_next_run_removes_what_a_killed_one_left() {
    let place = Place::new();
    fs::create_dir_all(place.path("d/sub")).unwrap();
    place.write("d/sub/a", b"text");
    let out = ["encrypt", "-r", "-k", &place.key, "-o", "out", "d"];
    place.ok(&out);
    place.write("out/sub/.sealwax-aB3xYz.partial", b"half");
    place.write("out/sub/.sealwax-my notes.partial", b"kept");
    place.ok(&out);
    assert!(!place.path("out/sub/.sealwax-aB3xYz.partial").exists());
    assert!(place.path("out/sub/.sealwax-my notes.partial").exists());
    place.write("out/.sealwax-aB3xYz.partial", b"half");
    place.ok(&["reencrypt", "-r", "--old-key", &place.key, "-k", &place.key, "out"]);
    assert!(!place.path("out/.sealwax-aB3xYz.partial").exists());
}

#[test]
fn beyond_the_limit_on_the_length_of_files_nothing_is_left() {
    let place = Place::new();
    place.write("a", &vec![0; 3 << 20]);
    let run = format!("ulimit -f 1024; exec {} encrypt -k '{}' a", env!("CARGO_BIN_EXE_sealwax"), place.key);
    let mut command = place.command(&[]);
    let output = Command::new("bash")
        .args(["-c", &run])
        .current_dir(place.directory.path())
        .envs(command.stdin(Stdio::null()).get_envs().filter_map(|(name, value)| Some((name, value?))))
        .output()
        .unwrap();
    assert_eq!(code(&output), 1, "{}", stderr(&output));
    let left = fs::read_dir(place.directory.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = left.filter(|name| name != "a" && name != "main.key").collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_cut_message_is_not_finished() {
    let place = Place::new();
    fs::create_dir(place.path("d")).unwrap();
    place.write("d/a", &vec![0; 300_000]);
    let key = ["-k", &place.key];
    place.ok(&[&["encrypt", "-r", "-o", "out"], &key[..], &["d"]].concat());
    let message = place.read("out/a.sealed");
    let again = |more: &[&str]| {
        let recursive = place.run(&[&["encrypt", "-r", "-o", "out"], more, &key[..], &["d"]].concat());
        let update = place.run(&[&["encrypt", "-u", "-o", "out/a.sealed"], &key[..], &["d/a"]].concat());
        [code(&recursive), code(&update)]
    };
    assert_eq!(again(&[]), [0, 0]);
    assert_eq!(again(&["-u"]), [0, 0]);
    for length in [2_000, message.len() - 200] {
        place.write("out/a.sealed", &message[..length]);
        assert_eq!(again(&[]), [6, 6], "{length}");
        assert_eq!(again(&["-u"]), [6, 6], "{length}");
    }
    // An older message of a shorter file is only older.
    place.write("out/a.sealed", &message[..2_000]);
    let past = SystemTime::now() - Duration::from_secs(3600);
    File::options().write(true).open(place.path("out/a.sealed")).unwrap().set_modified(past).unwrap();
    assert_eq!(again(&["-u"]), [0, 0]);
    assert_eq!(place.read("out/a.sealed").len(), message.len());
}

#[test]
fn the_key_file_of_a_run_is_left_out() {
    let place = Place::new();
    fs::create_dir(place.path("d")).unwrap();
    place.ok(&["keygen", "d/my.key"]);
    place.write("d/a", b"text");
    let output = place.run(&["-q", "encrypt", "-r", "-k", "file:d/my.key", "-o", "out", "d"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(stderr(&output).contains("d/my.key: skipped: the key file that encrypts these files"));
    assert!(place.path("out/a.sealed").exists() && !place.path("out/my.key.sealed").exists());
}

#[test]
fn no_output_gets_the_name_of_an_incomplete_file() {
    let place = Place::new();
    fs::create_dir(place.path("d")).unwrap();
    place.write("a", b"text");
    place.ok(&["encrypt", "-k", &place.key, "-o", "d/.sealwax-abcdef.partial.sealed", "a"]);
    let output = place.run(&["decrypt", "-r", "-k", &place.key, "-o", "out", "d"]);
    assert_eq!(code(&output), 2, "{}", stderr(&output));
    assert!(!place.path("out/.sealwax-abcdef.partial").exists());
}

#[test]
fn verifying_no_message_is_no_success() {
    let place = Place::new();
    fs::create_dir(place.path("d")).unwrap();
    place.write("d/a", b"text");
    let output = place.run(&["verify", "-r", "-k", &place.key, "d"]);
    assert_eq!(code(&output), 2, "{}", stderr(&output));
    assert!(stderr(&output).contains("there is no message; use --suffix"), "{}", stderr(&output));
    assert_eq!(code(&place.run(&["verify", "-r", "-k", &place.key, "--exclude", "*", "d"])), 0);
}
