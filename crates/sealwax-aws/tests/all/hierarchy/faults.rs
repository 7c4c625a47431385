//! Every fault of the storage and of the key service, and processes that rotate at once.

use futures_util::future::join_all;
use sealwax::keyring::KmsErrorKind;

use super::*;
use crate::fake_kms::Fault;

fn kms_kind(error: &BranchKeyError) -> Option<KmsErrorKind> {
    match error {
        BranchKeyError::Kms(error) => Some(error.kind()),
        _ => None,
    }
}

#[tokio::test]
async fn a_fault_of_the_key_service_writes_nothing() {
    let wrong = "arn:aws:kms:eu-west-1:111122223333:key/ffffabcd-12ab-34cd-56ef-1234567890ab";
    let invalid = |why| KmsErrorKind::InvalidAnswer(why);
    let length = invalid("the ciphertext is empty or longer than 6,144 bytes");
    let another = invalid("another key answered");
    let mut count = 0;
    for at in 0..3 {
        for (fault, kind) in [
            (Fault::Error(KmsErrorKind::Throttled), KmsErrorKind::Throttled),
            (Fault::Error(KmsErrorKind::TimedOut), KmsErrorKind::TimedOut),
            (Fault::Error(KmsErrorKind::AccessDenied), KmsErrorKind::AccessDenied),
            (Fault::Error(KmsErrorKind::Disabled), KmsErrorKind::Disabled),
            (Fault::KeyId(wrong), another),
            (Fault::SourceKeyId(wrong), another),
            (Fault::Ciphertext(vec![]), length),
            (Fault::Ciphertext(vec![1; 6145]), length),
        ] {
            for rotates in [false, true] {
                // In a creation the second call is a ReEncrypt, in a rotation the first and the third.
                let re_encrypts = if rotates { at != 1 } else { at == 1 };
                if matches!(fault, Fault::SourceKeyId(_)) && !re_encrypts {
                    continue;
                }
                let Setting { table, kms, store } = Setting::new().await;
                let before = table.items();
                kms.fail(std::iter::repeat_n(Fault::None, at).chain([fault.clone()]));
                let outcome =
                    if rotates { store.version_key(ID).await } else { store.create_key(Some("new"), &context()).await };
                let error = outcome.expect_err("it fails");
                assert_eq!(kms_kind(&error), Some(kind), "{fault:?} in call {at}: {error}");
                assert_eq!((table.items(), table.calls().1), (before, 0), "{fault:?} in call {at}");
                count += 1;
            }
        }
    }
    assert_eq!(count, 3 * 7 * 2 + 3);
}

#[tokio::test]
async fn a_fault_of_a_read_is_typed() {
    let Setting { table, kms, store } = Setting::new().await;
    let other = "arn:aws:kms:eu-west-1:111122223333:key/1";
    for (fault, kind) in [
        (Fault::Error(KmsErrorKind::Throttled), KmsErrorKind::Throttled),
        (Fault::Error(KmsErrorKind::IncorrectKey), KmsErrorKind::IncorrectKey),
        (Fault::KeyId(other), KmsErrorKind::InvalidAnswer("another key answered")),
        (Fault::Plaintext(vec![1; 31]), KmsErrorKind::InvalidAnswer("the branch key does not have 32 bytes")),
        (Fault::Plaintext(vec![1; 33]), KmsErrorKind::InvalidAnswer("the branch key does not have 32 bytes")),
    ] {
        kms.fail([fault.clone()]);
        assert_eq!(kms_kind(&store.active_key(ID).await.err().unwrap()), Some(kind), "{fault:?}");
    }
    for kind in [StorageErrorKind::Throttled, StorageErrorKind::TimedOut, StorageErrorKind::NotFound] {
        table.fail(TableFault::Error(kind));
        let error = store.active_key(ID).await.err().unwrap();
        assert!(matches!(&error, BranchKeyError::Storage(error) if error.kind() == kind), "{error}");
    }
    // A storage that answers with another branch key's item.
    store.create_key(Some("other"), &context()).await.unwrap();
    let lie = table.items()[&("other".to_owned(), ACTIVE.to_owned())].clone();
    table.fail(TableFault::Answer(Some(lie)));
    kms.calls();
    let error = store.active_key(ID).await.err().unwrap();
    assert!(matches!(&error, BranchKeyError::InvalidItem { why, .. } if why.contains("branch-key-id")), "{error}");
    assert_eq!(kms.calls(), []);
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_recognized() {
    for kind in [
        StorageErrorKind::ConditionFailed,
        StorageErrorKind::Conflict,
        StorageErrorKind::Throttled,
        StorageErrorKind::TimedOut,
        StorageErrorKind::Unavailable,
        StorageErrorKind::InvalidAnswer("it cannot be read"),
    ] {
        // The write is made, and made again by the SDK, which then finds its own items.
        let Setting { table, store, .. } = Setting::empty();
        table.fail(TableFault::Written(kind));
        store.create_key(Some(ID), &context()).await.unwrap_or_else(|error| panic!("{kind:?}: {error}"));
        assert_eq!(table.items().len(), 3);
        table.faults.lock().unwrap().extend([TableFault::Answer(Some(table.item(ACTIVE))), TableFault::Written(kind)]);
        let version = store.version_key(ID).await.unwrap_or_else(|error| panic!("{kind:?}: {error}"));
        assert_eq!((table.items().len(), store.active_key(ID).await.unwrap().version()), (4, version));

        // It is not made.
        let Setting { table, store, .. } = Setting::empty();
        table.fail(TableFault::Error(kind));
        let error = store.create_key(Some(ID), &context()).await.expect_err("it fails");
        match kind {
            StorageErrorKind::ConditionFailed => assert!(matches!(error, BranchKeyError::Exists { .. })),
            _ => assert!(matches!(&error, BranchKeyError::Storage(error) if error.kind() == kind), "{error}"),
        }
        assert_eq!(table.items().len(), 0);
    }
}

#[tokio::test]
async fn a_dropped_call_leaves_nothing_half_written() {
    let Setting { table, kms, store } = Setting::new().await;
    let before = table.items();
    for at in 0..3 {
        kms.fail(std::iter::repeat_n(Fault::None, at).chain([Fault::Hangs]));
        let ended = tokio::time::timeout(Duration::from_millis(20), store.version_key(ID).into_future()).await;
        assert!(ended.is_err());
        assert_eq!((table.items(), kms.in_flight()), (before.clone(), 0));
    }
    table.fail(TableFault::Hangs);
    assert!(tokio::time::timeout(Duration::from_millis(20), store.version_key(ID).into_future()).await.is_err());
    assert_eq!(table.items(), before);
    store.version_key(ID).await.unwrap();
}

#[tokio::test]
async fn of_64_rotations_at_once_one_wins() {
    let Setting { table, store, .. } = Setting::new().await;
    for round in 1..=10 {
        let outcomes = join_all((0..64).map(|_| store.version_key(ID).into_future())).await;
        let (won, lost): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
        assert_eq!((won.len(), lost.len()), (1, 63));
        assert!(lost.iter().all(|error| matches!(error, Err(BranchKeyError::Changed { .. }))));
        let winner = won.into_iter().next().unwrap().unwrap();
        assert_eq!(store.active_key(ID).await.unwrap().version(), winner);
        assert_eq!(table.versions(ID).len(), 1 + round);
    }
    for version in table.versions(ID) {
        store.key_version(ID, version.strip_prefix("branch:version:").unwrap()).await.unwrap();
    }
    // And of 64 creations of one branch key.
    let context = context();
    let outcomes = join_all((0..64).map(|_| store.create_key(Some("new"), &context).into_future())).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    assert_eq!(table.versions("new").len(), 1);
}
