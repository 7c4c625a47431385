//! The audit log.

use std::{fs, sync::atomic::Ordering};

use sealwax::EncryptionContext;
use sealwax_kms::{AuditFault, LocalKmsError};

use super::*;

#[test]
fn the_log_has_a_line_for_everything_and_no_context_values_unless_asked() {
    let place = Place::new();
    let key = place.key("main");
    let secret = EncryptionContext::from([("tenant", "do-not-log-me")]);
    let sealed = place.kms.encrypt("main", b"text", &secret).unwrap();
    place.kms.decrypt(&sealed.ciphertext, &secret).unwrap();
    assert!(place.kms.decrypt(&sealed.ciphertext, &none()).is_err());
    place.kms.describe_key("nobody").unwrap_err();
    let entries = place.kms.audit_log().unwrap();
    let said: Vec<_> = entries.iter().map(|entry| (entry.operation.as_str(), entry.outcome.as_str())).collect();
    assert_eq!(
        said,
        [
            ("CreateStore", "Success"),
            ("CreateKey", "Success"),
            ("CreateAlias", "Success"),
            ("Encrypt", "Success"),
            ("Decrypt", "Success"),
            ("Decrypt", "InvalidCiphertext"),
            ("DescribeKey", "NotFound"),
        ]
    );
    assert_eq!(entries[4].key_id.as_deref(), Some(key.as_str()));
    assert_eq!(entries[4].context_keys, ["tenant"]);
    assert_eq!(entries[2].alias.as_deref(), Some("alias/main"));
    assert_eq!(entries[6].key_id.as_deref(), Some("nobody"));
    assert_eq!(entries[0].time, "2026-01-01T00:00:00.000Z");
    assert!(!fs::read_to_string(place.path().join("audit.log")).unwrap().contains("do-not-log-me"));

    let loud = builder(place.path(), &place.seconds)
        .log_context_values(true)
        .sync_audit(true)
        .identity("alice")
        .open()
        .wait()
        .unwrap();
    loud.decrypt(&sealed.ciphertext, &secret).unwrap();
    let last = loud.audit_log().unwrap().pop().unwrap();
    assert_eq!(last.identity.as_deref(), Some("alice"));
    assert_eq!(last.context.unwrap()["tenant"], "do-not-log-me");
    assert!(loud.verify_audit_log().unwrap().faults.is_empty());
}

#[test]
fn the_log_tells_which_line_was_altered_or_is_missing() {
    let place = Place::new();
    for _ in 0..5 {
        place.kms.create_key("").unwrap();
    }
    place.kms.list_keys().unwrap();
    let path = place.path().join("audit.log");
    let whole = fs::read_to_string(&path).unwrap();
    let lines: Vec<_> = whole.lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 7);
    let faults = |lines: &[String]| {
        fs::write(&path, lines.join("\n") + "\n").unwrap();
        let report = place.reopened().verify_audit_log().unwrap();
        fs::write(&path, &whole).unwrap();
        report.faults
    };
    assert_eq!(faults(&lines), []);
    let without = |gone: usize| [&lines[..gone], &lines[gone + 1..]].concat();
    for line in 0..6_usize {
        let sequence = line as u64 + 1;
        assert_eq!(faults(&without(line)), [AuditFault::Missing { first: sequence, last: sequence }], "{line}");
    }
    for line in 0..7_usize {
        let mut altered = lines.clone();
        altered[line] = altered[line].replace("Success", "Failure");
        assert_eq!(faults(&altered), [AuditFault::Altered { line: line as u64 + 1 }]);
    }
    let mut swapped = lines.clone();
    swapped.swap(2, 3);
    assert!(!faults(&swapped).is_empty());
    let mut twice = lines.clone();
    twice.insert(3, lines[2].clone());
    assert_eq!(faults(&twice)[0], AuditFault::Displaced { line: 4 });
    // Truncated before the last change: detected, because the store records its last change. Lines
    // after that cannot be missed.
    assert_eq!(faults(&lines[..4]), [AuditFault::Missing { first: 5, last: 5 }]);
    assert_eq!(faults(&lines[..6]), []);
    fs::remove_file(&path).unwrap();
    let report = place.reopened().verify_audit_log().unwrap();
    assert_eq!(report.faults, [AuditFault::Missing { first: 1, last: 5 }]);
    assert_eq!(report.head.unwrap().0, 6);
}

#[test]
fn a_forged_last_line_with_the_last_number_is_found_like_any_other() {
    let place = Place::new();
    place.key("main");
    let log = place.path().join("audit.log");
    let text = fs::read_to_string(&log).unwrap();
    let line = text.lines().last().unwrap().replacen("\"sequence\":3", &format!("\"sequence\":{}", u64::MAX), 1);
    assert!(line.contains("18446744073709551615"));
    fs::write(&log, format!("{text}{line}\n")).unwrap();
    let kms = place.reopened();
    kms.list_keys().unwrap();
    kms.list_aliases().unwrap();
    let report = kms.verify_audit_log().unwrap();
    assert_eq!(report.faults, [AuditFault::Altered { line: 4 }]);
    // Without the forged line, the log is intact: it did not determine how the log went on.
    let text = fs::read_to_string(&log).unwrap().replace(&format!("{line}\n"), "");
    fs::write(&log, text).unwrap();
    let report = place.reopened().verify_audit_log().unwrap();
    assert_eq!((report.faults, report.lines), (vec![], 5));
}

#[test]
fn a_log_that_was_tampered_with_and_then_restored_verifies_again() {
    // The last line is that of a change, or it is not.
    for is_change in [true, false] {
        for replaced in [1_u64..2, 2..3, 0..3, 3..4, 2..4] {
            let place = Place::new();
            place.key("main");
            if is_change {
                place.kms.disable_key("main").unwrap();
            } else {
                place.kms.list_keys().unwrap();
            }
            let path = place.path().join("audit.log");
            let whole = fs::read_to_string(&path).unwrap();
            let mut lines: Vec<_> = whole.lines().collect();
            assert_eq!(lines.len(), 4);
            lines.splice(
                replaced.start as usize..replaced.end as usize,
                replaced.clone().map(|_| "{\"sequence\":9,\"mac\":\"\"}"),
            );
            let altered = lines.join("\n") + "\n";
            fs::write(&path, &altered).unwrap();
            // The store goes on meanwhile, in two processes.
            place.seconds.fetch_add(1, Ordering::Relaxed);
            let kms = place.reopened();
            kms.list_keys().unwrap();
            place.kms.create_key("").unwrap();
            kms.create_key("").unwrap();
            let faults = kms.verify_audit_log().unwrap().faults;
            let expected = replaced.clone().map(|line| AuditFault::Altered { line: line + 1 });
            assert_eq!(faults, expected.collect::<Vec<_>>(), "{replaced:?}");

            let now = fs::read_to_string(&path).unwrap();
            let since = now.strip_prefix(&altered).expect("nothing but new lines");
            fs::write(&path, format!("{whole}{since}")).unwrap();
            for kms in [&kms, &place.reopened()] {
                assert_eq!(kms.verify_audit_log().unwrap().faults, [], "{replaced:?}, {is_change}");
                kms.list_keys().unwrap();
            }
        }
    }
}

#[test]
fn a_line_without_any_end_does_not_get_the_log_read_into_memory() {
    let place = Place::new();
    place.key("main");
    let path = place.path().join("audit.log");
    let log = fs::OpenOptions::new().write(true).open(&path).unwrap();
    // Sparse, so that it takes no space.
    log.set_len(1 << 33).unwrap();
    let Err(LocalKmsError::Damaged { what, .. }) = place.kms.list_keys() else { panic!("not refused") };
    assert!(what.contains("longer than any valid line"), "{what}");
}

#[test]
fn nothing_that_a_caller_names_makes_a_line_long_or_acts_on_a_terminal() {
    let place = Place::new();
    place.key("main");
    let active = "a\u{1b}[2J\u{9b}2J\u{7f}\u{202e}\u{2028}é\u{1f511}";
    let kms = builder(place.path(), &place.seconds).identity(active.repeat(100)).log_context_values(true);
    let kms = kms.open().wait().unwrap();
    let context = EncryptionContext::from([(active, active)]);
    kms.encrypt("main", b"", &context).unwrap();
    kms.describe_key(&active.repeat(1000)).unwrap_err();
    let long = "x".repeat(1 << 20);
    assert!(kms.encrypt("main", b"", &EncryptionContext::from([(long.as_str(), "")])).is_err());
    let log = fs::read_to_string(place.path().join("audit.log")).unwrap();
    let acts = |letter: char| letter != '\n' && sealwax::Escaped(letter.encode_utf8(&mut [0; 4])).to_string().len() > 4;
    assert!(!log.contains(acts), "{log}");
    assert!(log.lines().all(|line| line.len() < 4096));
    let entries = kms.audit_log().unwrap();
    let [encrypted, described, _] = entries.last_chunk().unwrap();
    assert_eq!(encrypted.context.as_ref().unwrap()[active], active);
    assert!(described.key_id.as_ref().unwrap().starts_with(active));
    assert!(kms.verify_audit_log().unwrap().faults.is_empty());
}
