//! `inspect` on the official test vectors.

use std::process::Command;

use crate::support::{
    official::{Kind, V1},
    say,
};

#[test]
fn inspect_shows_the_arns_of_every_kms_message_of_version_1() {
    let Some(v1) = V1::load() else { return };
    let mut shown = 0;
    for case in v1.cases(|kind| kind == Kind::Kms) {
        let path = v1.folder.join(&case.ciphertext.filename);
        let output = Command::new(env!("CARGO_BIN_EXE_sealwax")).arg("inspect").arg(&path).output().expect("it runs");
        assert!(output.status.success(), "{}: {}", path.display(), String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).expect("text");
        for key in v1.header(case, &v1.read(&case.ciphertext)).encrypted_data_keys() {
            let line = format!("provider aws-kms, key {}\n", key.key_name().expect("a name in UTF-8"));
            assert!(text.contains(&line), "{}: {text}", path.display());
            shown += 1;
        }
    }
    say(&format!("official v1, KMS: inspect shows {shown} ARNs"));
    assert_eq!(shown, 180 + 2 * 180);
}
