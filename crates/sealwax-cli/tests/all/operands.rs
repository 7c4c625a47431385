//! The inputs and outputs of commands: default names, several files, pipes and devices.

use std::fs;

use crate::place::{Place, code, stderr};

#[test]
fn a_file_is_encrypted_beside_itself_and_decrypted_back() {
    let place = Place::new();
    let key = place.key.as_str();
    for name in ["report.pdf", "no extension", ".hidden", "directory.d/deep.txt"] {
        fs::create_dir_all(place.path("directory.d")).unwrap();
        let sealed = format!("{name}.sealed");
        place.write(name, b"text");
        assert!(place.ok(&["encrypt", "-k", key, name]).is_empty());
        assert!(place.read(&sealed).len() > 100);
        place.refused(&["encrypt", "-k", key, name], 6, "--force");
        place.refused(&["decrypt", "-k", key, &sealed], 6, "--force");
        fs::remove_file(place.path(name)).unwrap();
        assert!(place.ok(&["decrypt", "-k", key, &sealed]).is_empty());
        assert_eq!(place.read(name), b"text");
    }
    // Without the suffix there is no name to derive, and with it the message would be encrypted again.
    fs::rename(place.path("report.pdf.sealed"), place.path("message")).unwrap();
    place.refused(&["decrypt", "-k", key, "message"], 2, "-o FILE");
    place.write("report.pdf.sealed", b"text");
    place.refused(&["encrypt", "-k", key, "report.pdf.sealed"], 2, "-o FILE");
    fs::rename(place.path("message"), place.path(".sealed")).unwrap();
    place.refused(&["decrypt", "-k", key, ".sealed"], 2, "-o FILE");
}

#[test]
fn several_files_are_processed_and_failures_do_not_stop_the_others() {
    let place = Place::new();
    let key = place.key.as_str();
    for name in ["a", "b", "c"] {
        place.write(name, name.as_bytes());
    }
    place.refused(&["encrypt", "-k", key, "-o", "out", "a", "b"], 2, "omit -o");
    place.refused(&["encrypt", "-k", key, "a", "-"], 2, "one of several inputs");
    place.refused(&["decrypt", "-k", key, "a.sealed", "b"], 2, "-o FILE");
    let output = place.run(&["encrypt", "-k", key, "a", "missing", "b", "c"]);
    assert_eq!(code(&output), 1);
    let said = stderr(&output);
    assert!(said.starts_with("sealwax: missing: no such file or directory"), "{said}");
    assert!(said.ends_with("\nsealwax: 1 of 4 files failed\n") && said.lines().count() == 2, "{said}");

    let sealed = ["a.sealed", "b.sealed", "c.sealed"];
    let verified = place.run(&[&["verify", "-k", key], &sealed[..]].concat());
    assert_eq!(stderr(&verified), "a.sealed: verified\nb.sealed: verified\nc.sealed: verified\n");
    let new = place.keygen("new.key");
    place.ok(&[&["reencrypt", "--old-key", key, "-k", &new], &sealed[..]].concat());
    for name in ["a", "b"] {
        fs::remove_file(place.path(name)).unwrap();
    }
    // The code of the failures is that of the command: the output exists.
    let output = place.run(&[&["decrypt", "-k", &new], &sealed[..]].concat());
    assert_eq!(code(&output), 6, "{}", stderr(&output));
    assert_eq!((place.read("a"), place.read("b")), (b"a".to_vec(), b"b".to_vec()));
    // What would fail for every file is reported once.
    place.refused(&[&["decrypt", "-k", "raw-aes://a/b?file=none", "--force"], &sealed[..]].concat(), 2, "none");
}

#[test]
fn without_a_file_standard_input_goes_to_standard_output() {
    let place = Place::new();
    let key = place.key.as_str();
    let sealed = place.run_with_input(&["encrypt", "-k", key], b"text").stdout;
    assert_eq!(place.run_with_input(&["decrypt", "-k", key], &sealed).stdout, b"text");
    assert_eq!(code(&place.run_with_input(&["verify", "-k", key], &sealed)), 0);
    assert!(!place.run_with_input(&["inspect"], &sealed).stdout.is_empty());
    let again = place.run_with_input(&["reencrypt", "-k", key], &sealed).stdout;
    assert_eq!(place.run_with_input(&["decrypt", "-k", key], &again).stdout, b"text");
    let output = place.run_with_input(&["decrypt", "-k", key, "-o", "back"], &sealed);
    assert_eq!((code(&output), place.read("back")), (0, b"text".to_vec()));
}

#[test]
fn keys_and_backups_go_through_standard_streams() {
    let place = Place::new();
    let made = place.run(&["keygen", "-", "--name", "piped", "--raw"]);
    assert_eq!((code(&made), made.stdout.len()), (0, 32));
    assert_eq!(stderr(&made), "sealwax: the key URI is raw-aes://sealwax/piped?file=FILE\n");
    assert!(!place.path("-").exists());

    place.write("phrase", b"correct horse\n");
    place.ok(&["keys", "create", "--alias", "main"]);
    let phrase = ["--backup-passphrase-file", "phrase"];
    let backup = place.ok(&[&["keys", "export", "-o", "-"], &phrase[..]].concat());
    assert!(backup.len() > 100 && !place.path("-").exists());
    let other = ["--store", "other"];
    place.ok(&[&["keys", "create"], &other[..]].concat());
    let import = [&["keys", "import", "-", "--json"], &phrase[..], &other].concat();
    let report = place.run_with_input(&import, &backup);
    let report: serde_json::Value = serde_json::from_slice(&report.stdout).unwrap();
    assert_eq!(report["added"].as_array().unwrap().len(), 1);
    let material = [&["keys", "import", "-", "--material", "--alias", "piped"], &other[..]].concat();
    assert_eq!(code(&place.run_with_input(&material, &made.stdout)), 0);
    assert_eq!(code(&place.run_with_input(&material, &[1; 31])), 2);
    // The file that knows its names goes the same way.
    let made = place.run(&["keygen", "-"]);
    assert_eq!(stderr(&made), "sealwax: the key URI is file:FILE\n");
    let material = [&["keys", "import", "-", "--material", "--alias", "named"], &other[..]].concat();
    assert_eq!(code(&place.run_with_input(&material, &made.stdout)), 0);
}

#[cfg(unix)]
#[test]
fn a_missing_directory_for_temporary_files_is_named() {
    let place = Place::new();
    let key = place.key.as_str();
    place.write("plain", &[1; 3_000_000]);
    place.ok(&["encrypt", "-k", key, "plain"]);
    for command in ["decrypt", "reencrypt"] {
        let mut command = place.command(&[command, "-k", key, "-o", "-", "plain.sealed"]);
        for directory in ["none", "plain"] {
            let output = command.env("TMPDIR", place.path(directory)).output().unwrap();
            let text = format!("/{directory}: cannot write a temporary file; set TMPDIR to another directory");
            place.check_refusal(&output, 1, &text);
        }
    }
}

#[cfg(unix)]
#[test]
fn output_that_nobody_receives_is_a_failure_or_a_warning() {
    let place = Place::new();
    let key = place.key.as_str();
    place.write("plain", &[1; 1_000_000]);
    place.ok(&["encrypt", "-k", key, "plain"]);
    place.ok(&["keys", "create", "--alias", "default"]);
    let decrypt: &[&str] = &["decrypt", "-k", key, "-o", "-", "plain.sealed"];
    let encrypt: &[&str] = &["encrypt", "-k", key, "-o", "-", "plain"];
    let reencrypt: &[&str] = &["reencrypt", "-k", key, "-o", "-", "plain.sealed"];
    let run = |redirection: &str, arguments: &[&str]| {
        let mut command = std::process::Command::new("bash");
        command.args(["-c", &format!("\"$0\" \"$@\" {redirection}"), env!("CARGO_BIN_EXE_sealwax")]).args(arguments);
        command.env("SEALWAX_STORE", place.path("no-store")).current_dir(place.directory.path()).output().unwrap()
    };
    let warning = "sealwax: warning: standard output is closed, or is /dev/null: everything written to it is lost\n";
    for arguments in [decrypt, encrypt, reencrypt, &["keygen", "-"]] {
        // A standard output that was closed looks the same as one that another program discards.
        for redirection in [">&-", "1<>/dev/null"] {
            let output = run(redirection, arguments);
            assert_eq!((code(&output), stderr(&output).contains(warning)), (0, true), "{}", stderr(&output));
        }
        // Discarded by a shell.
        let output = run(">/dev/null", arguments);
        assert_eq!((code(&output), stderr(&output).contains("warning")), (0, false), "{}", stderr(&output));
    }
    // The reader of a pipe is gone.
    for arguments in [
        decrypt,
        encrypt,
        reencrypt,
        &["keygen", "-"],
        &["inspect", "plain.sealed"],
        &["keys", "list"],
        &["man"],
        &["completions", "bash"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = place.command(arguments).stdout(writer).output().unwrap();
        place.check_refusal(&output, 1, "standard output: ");
    }
}

#[test]
fn metadata_does_not_replace_an_input_or_output() {
    let place = Place::new();
    let key = place.key.as_str();
    place.write("plain", b"text");
    place.write("other", b"text");
    fs::hard_link(place.path("plain"), place.path("hard link")).unwrap();
    let refused = |arguments: &[&str], metadata: &str| {
        let text = "choose";
        place.refused(&[arguments, &["-k", key, "--metadata", metadata]].concat(), 2, text);
    };
    refused(&["encrypt", "plain"], "plain");
    refused(&["encrypt", "other", "plain"], "./plain");
    refused(&["encrypt", "plain"], "plain.sealed");
    refused(&["encrypt", "plain", "-o", "out"], "out");
    refused(&["encrypt", "plain", "-o", "-"], "-");
    if cfg!(unix) {
        refused(&["encrypt", "plain"], "hard link");
    }
    place.ok(&["encrypt", "-k", key, "plain"]);
    for command in ["verify", "decrypt", "reencrypt"] {
        refused(&[command, "plain.sealed"], "plain.sealed");
    }
    refused(&["decrypt", "--force", "plain.sealed"], "plain");
    fs::create_dir(place.path("in")).unwrap();
    for metadata in ["in/log", "in/../in/log", "out/log", "out/plain.sealed"] {
        refused(&["encrypt", "-r", "in", "-o", "out"], metadata);
        refused(&["decrypt", "-r", "in", "-o", "out"], metadata);
    }
    refused(&["verify", "-r", "in"], "in/log");
    let line = place.ok(&["verify", "-k", key, "--metadata", "-", "plain.sealed"]);
    assert_eq!(crate::place::json_lines(&line)[0]["operation"], "verify");
    assert!(!place.path("-").exists());
}

#[cfg(unix)]
#[test]
fn devices_and_process_substitution_can_be_written_to() {
    let place = Place::new();
    let key = place.key.as_str();
    place.write("plain", b"text");
    place.ok(&["encrypt", "-k", key, "-o", "/dev/null", "plain"]);
    place.ok(&["encrypt", "-k", key, "plain"]);
    place.ok(&["decrypt", "-k", key, "-o", "/dev/null", "plain.sealed"]);
    assert!(std::os::unix::fs::FileTypeExt::is_char_device(&fs::metadata("/dev/null").unwrap().file_type()));
    place.refused(&["decrypt", "-k", key, "--preserve", "-o", "/dev/null", "plain.sealed"], 2, "--preserve");

    let script = "set -e; \"$0\" encrypt -k \"$1\" -o >(cat > sealed; touch sealed.done) <(cat plain)
                  \"$0\" decrypt -k \"$1\" -o >(cat > back; touch back.done) <(cat plain.sealed)
                  until [ -e sealed.done -a -e back.done ]; do sleep 0.01; done";
    let output = std::process::Command::new("bash")
        .args(["-c", script, env!("CARGO_BIN_EXE_sealwax"), key])
        .current_dir(place.directory.path())
        .output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(place.read("back"), b"text");
    assert_eq!(place.ok(&["decrypt", "-k", key, "-o", "-", "sealed"]), b"text");

    // Nothing of a signed message is released through a pipe before it is verified.
    let mut sealed = place.read("plain.sealed");
    *sealed.last_mut().unwrap() ^= 1;
    place.write("damaged", &sealed);
    assert!(std::process::Command::new("mkfifo").arg(place.path("pipe")).status().unwrap().success());
    let pipe = place.path("pipe");
    let reader = std::thread::spawn(move || fs::read(pipe).unwrap());
    let output = place.run(&["decrypt", "-k", key, "-o", "pipe", "damaged"]);
    assert_eq!((code(&output), reader.join().unwrap().len()), (3, 0));
}
