//! The workshop of examples/workshop, run as its page says.

use std::process::Command;

use crate::support::{peers, root, skip};

#[test]
fn the_workshop_runs_to_its_table() {
    let python = peers().join("py/bin/python");
    if !python.exists() {
        return skip("SEALWAX_REQUIRE_PEERS", "moto is not installed (tests/peers/setup.sh python)");
    }
    let script = root().join("examples/workshop/workshop.py");
    let output = Command::new(python).arg(script).arg(env!("CARGO_BIN_EXE_sealwax")).output().unwrap();
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}{errors}");
    for line in [
        "client-side  metadata names nothing  the provider sees only a message",
        "client-side  the same 35 bytes",
        "client-side  refused: no keyring could unwrap the data key",
        "client-side  under another name: the message does not have the expected encryption context",
        "client-side  one bit changed: ",
        "client-side  rotated now; the object still opens",
        "the provider, and who compels it  no         no             not during requests  yes",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}
