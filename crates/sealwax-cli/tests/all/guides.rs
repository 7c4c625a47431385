//! The guides: every block of shell commands is run as it stands, on a clean home directory.

use std::{env, path::Path};

/// The comment in front of a block that is not run, and the reason that follows it.
const NOT_RUN: &str = "<!-- not run: ";

/// The guides that have blocks, and how many of them are run.
const GUIDES: [(&str, usize); 13] = [
    ("CONTRIBUTING.md", 0),
    ("README.md", 1),
    ("crates/sealwax-aws/README.md", 0),
    ("crates/sealwax-cli/README.md", 0),
    ("crates/sealwax-kms/README.md", 0),
    ("crates/sealwax-object-store/README.md", 0),
    ("docs/AWS-KMS.md", 0),
    ("docs/COMMAND-LINE.md", 14),
    ("docs/HIERARCHICAL.md", 0),
    ("docs/JSON.md", 2),
    ("docs/KEY-STORE.md", 7),
    ("docs/OBJECT-STORES.md", 1),
    ("docs/PERFORMANCE.md", 0),
];

/// The first commands of the blocks that are not run. A block is here because it needs AWS or a
/// network, or compiles the project.
const LEFT_OUT: [(&str, &str); 26] = [
    ("CONTRIBUTING.md", "cargo test                                # the library, with the default features"),
    ("CONTRIBUTING.md", "cargo doc --locked --workspace --no-deps --all-features && docs/api.py"),
    ("CONTRIBUTING.md", "cargo bench --features fs,aws-lc-rs --bench messages"),
    ("CONTRIBUTING.md", "docs/spec.py --check"),
    (
        "CONTRIBUTING.md",
        "for directory in . fuzz benches/instructions; do (cd \"$directory\" && cargo update --workspace); done",
    ),
    ("README.md", "examples/demo.sh README.md"),
    ("README.md", "cargo test --workspace --all-features"),
    ("README.md", "cargo add sealwax --path ../sealwax --features fs"),
    ("README.md", "cargo install --path crates/sealwax-cli"),
    ("README.md", "benches/compare/run.py --rust-peers --svg docs/performance.svg"),
    ("crates/sealwax-aws/README.md", "cargo add sealwax-aws --path ../sealwax/crates/sealwax-aws"),
    ("crates/sealwax-cli/README.md", "cargo install --path crates/sealwax-cli"),
    ("crates/sealwax-kms/README.md", "cargo add sealwax-kms --path ../sealwax/crates/sealwax-kms"),
    (
        "crates/sealwax-object-store/README.md",
        "cargo add sealwax-object-store --path ../sealwax/crates/sealwax-object-store",
    ),
    ("docs/AWS-KMS.md", "cargo install --path crates/sealwax-cli --features aws"),
    ("docs/COMMAND-LINE.md", "cargo install --path crates/sealwax-cli"),
    ("docs/HIERARCHICAL.md", "KMS=$(aws kms create-key --query KeyMetadata.Arn --output text)"),
    ("docs/OBJECT-STORES.md", "cargo install --path crates/sealwax-cli --features object-store"),
    ("docs/PERFORMANCE.md", "benches/compare/run.py --rust-peers --svg docs/performance.svg"),
    ("docs/PERFORMANCE.md", "cargo build --release --package sealwax-cli && benches/files.py"),
    ("docs/PERFORMANCE.md", "cargo bench --features fs,aws-lc-rs --bench messages"),
    ("docs/PERFORMANCE.md", "cargo bench --bench ranges"),
    ("docs/PERFORMANCE.md", "cargo bench --bench caching"),
    ("docs/PERFORMANCE.md", "benches/instructions/run.sh"),
    (
        "docs/PERFORMANCE.md",
        "cargo build --release --package sealwax-cli --no-default-features && python3 benches/pipe_memory.py 1.5",
    ),
    ("docs/PERFORMANCE.md", "cargo tree --edges normal --prefix none --no-dedupe | sort -u"),
];

/// A block of shell commands.
struct Block {
    text: String,
    is_run: bool,
}

/// Returns the blocks of a guide, whatever the indentation.
fn blocks(guide: &str) -> Vec<Block> {
    let (mut blocks, mut last, mut inside) = (Vec::new(), "", false);
    for line in guide.lines() {
        if inside && line == "```" {
            inside = false;
        } else if let (true, Some(Block { text, .. })) = (inside, blocks.last_mut()) {
            text.push_str(line);
            text.push('\n');
        } else if ["```sh", "```bash", "```shell", "```console"].contains(&line) {
            inside = true;
            blocks.push(Block { text: String::new(), is_run: !last.starts_with(NOT_RUN) });
        } else {
            last = line;
        }
    }
    blocks
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Returns every guide: the documents of the project, of its crates, and those in `docs`.
fn guides() -> Vec<(String, String)> {
    let mut files: Vec<_> = ["CHANGELOG.md", "CONTRIBUTING.md", "README.md", "SECURITY.md"].map(str::to_owned).into();
    let entries = |directory: &str| {
        let names = std::fs::read_dir(root().join(directory)).unwrap().map(|entry| entry.unwrap().file_name());
        names.map(|name| format!("{directory}/{}", name.to_str().unwrap())).collect::<Vec<_>>()
    };
    files.extend(entries("docs").into_iter().filter(|name| name.ends_with(".md")));
    files.extend(entries("crates").into_iter().map(|name| format!("{name}/README.md")));
    files.sort();
    let read = |name: String| std::fs::read_to_string(root().join(&name)).ok().map(|text| (name, text));
    files.into_iter().filter_map(read).collect()
}

/// Returns a search path that begins with the tool.
pub(crate) fn path() -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_sealwax")).parent().unwrap();
    format!("{}:{}", program.display(), env::var("PATH").unwrap_or_default())
}

#[test]
fn every_block_is_run_or_listed_with_its_reason() {
    let (mut counts, mut left_out) = (Vec::new(), Vec::new());
    for (name, text) in guides() {
        let blocks = blocks(&text);
        if !blocks.is_empty() {
            counts.push((name.clone(), blocks.iter().filter(|block| block.is_run).count()));
        }
        let first = |block: &Block| block.text.lines().next().unwrap().to_owned();
        left_out.extend(blocks.iter().filter(|block| !block.is_run).map(|block| (name.clone(), first(block))));
        // An indented block would be seen by nobody.
        let commands = ["sealwax ", "cargo ", "tar ", "printf ", "examples/", "benches/"];
        let hidden = text.lines().filter_map(|line| line.strip_prefix("    "));
        let hidden: Vec<_> = hidden.filter(|line| commands.iter().any(|start| line.starts_with(start))).collect();
        assert!(hidden.is_empty(), "{name}: put these into a block that begins with ```sh: {hidden:?}");
    }
    let owned = |(name, text): (&str, &str)| (name.to_owned(), text.to_owned());
    assert_eq!(left_out, LEFT_OUT.map(owned));
    assert_eq!(counts, GUIDES.map(|(name, count)| (name.to_owned(), count)));
}

/// Runs the blocks of each guide as one script. Its standard error is a terminal, as for a person
/// who types them: the first encryption then creates the key store.
#[cfg(target_os = "linux")]
#[test]
fn the_commands_of_the_guides_work() {
    use std::{
        io::Read,
        process::{Command, Stdio},
        thread,
    };

    use crate::terminal::open_terminal;

    for (name, text) in guides() {
        let blocks = blocks(&text);
        let script: String = blocks.iter().filter(|block| block.is_run).map(|block| &*block.text).collect();
        if script.is_empty() || (name == "docs/OBJECT-STORES.md" && cfg!(not(feature = "object-store"))) {
            continue;
        }
        let home = tempfile::tempdir().unwrap();
        let (mut controller, terminal) = open_terminal();
        let mut command = Command::new("bash");
        command.args(["-c", &format!("set -eux -o pipefail\n{script}")]).env_clear();
        command.env("PATH", path()).env("HOME", home.path()).current_dir(home.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(terminal);
        let mut bash = command.spawn().unwrap();
        drop(command);
        let shown = thread::spawn(move || {
            let (mut shown, mut buffer) = (Vec::new(), [0; 4096]);
            // The terminal ends with an error once all of its users have closed it.
            while let Ok(count @ 1..) = controller.read(&mut buffer) {
                shown.extend_from_slice(&buffer[..count]);
            }
            String::from_utf8_lossy(&shown).into_owned()
        });
        let mut output = String::new();
        bash.stdout.take().unwrap().read_to_string(&mut output).unwrap();
        let status = bash.wait().unwrap();
        let shown = shown.join().unwrap();
        assert!(status.success(), "{name}: {shown}");
        let file = |name: &str| std::fs::read(home.path().join(name)).unwrap();
        match name.as_str() {
            "docs/COMMAND-LINE.md" => {
                assert!(file("report.txt") == file("kept.txt") && file("report.txt") == file("report.again.txt"));
                assert!(!home.path().join("green.txt").exists());
                assert!(
                    output.contains("it is whole\n")
                        && output.contains("purpose=archive tenant=blue (file, profile archive)")
                );
            }
            "docs/KEY-STORE.md" => assert!(output.contains("lines verified\n"), "{output}"),
            "README.md" => assert!(shown.contains("WARNING: without this directory") && output.contains("passphrase ")),
            "docs/OBJECT-STORES.md" => {
                assert!(file("again/two") == b"two\n" && file("part") == b"on");
                assert!(output.contains("4 ") && output.contains("lake/photos/one\n"), "{output}");
            }
            "docs/JSON.md" => assert!(output.contains("\"key\":\"file:json.key\""), "{output}"),
            other => panic!("nothing is expected of {other}"),
        }
    }
}
