//! The audit log.

use std::fs;

use sealwax::EncryptionContext;
use sealwax_kms::AuditFault;

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
    assert_eq!(report.faults[0], AuditFault::Altered { line: 4 });
}
