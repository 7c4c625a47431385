//! The memory of long uploads and reads, measured in a process of its own.

use std::{env, fs, io::Read, process::Command, sync::atomic::Ordering};

use futures_util::{StreamExt, stream::FuturesUnordered};

use super::*;
use object_store::PutPayload;

const MIB: usize = 1 << 20;
/// Set in the process that measures.
const CHILD: &str = "SEALWAX_MEASURES";
/// Set to 1 for an object of 5 GiB instead of 512 MiB.
const FULL: &str = "SEALWAX_FULL_LENGTH";

/// Returns the most memory that this process has used, in bytes.
fn most_memory() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

#[test]
#[cfg(target_os = "linux")]
fn a_long_upload_takes_the_memory_of_its_parts_in_flight() {
    if env::var_os(CHILD).is_none() {
        let name = std::thread::current().name().unwrap().to_owned();
        let mut child = Command::new(env::current_exe().unwrap());
        let output = child.args(["--exact", &name, "--nocapture"]).env(CHILD, "1").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success() && text.contains("1 passed"),
            "{text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        return;
    }
    run(async {
        let provider = Provider::new();
        provider.discard.store(true, Ordering::Relaxed);
        let store = sealed(&provider, 65_536, Sizes::Uniform);
        let parts = if env::var_os(FULL).is_some_and(|full| full == "1") { 1024 } else { 103 };
        // A sparse file: only what is read of it takes memory.
        let mut source = tempfile::tempfile().unwrap();
        source.set_len((parts * 5 * MIB) as u64).unwrap();
        let mut upload = store.put_multipart(&Path::from("a")).await.unwrap();
        let (mut flying, before) = (FuturesUnordered::<object_store::UploadPart>::new(), most_memory());
        for _ in 0..parts {
            if flying.len() == 4 {
                flying.next().await.unwrap().unwrap();
            }
            let mut part = vec![0; 5 * MIB];
            source.read_exact(&mut part).unwrap();
            flying.push(upload.put_part(PutPayload::from(part)));
        }
        assert_eq!(source.read(&mut [0]).unwrap(), 0, "the source is at its end");
        while let Some(done) = flying.next().await {
            done.unwrap();
        }
        upload.complete().await.unwrap();
        assert_eq!(provider.parts.lock().unwrap().iter().sum::<usize>(), 1024 + parts * 80 * (65_536 + 32) + 40);
        let used = most_memory() - before;
        // Four parts of 5 MiB, the one that is being sealed with its plaintext, and what the allocator
        // keeps.
        assert!(used < 64 * MIB, "{} MiB", used / MIB);
    });
}
