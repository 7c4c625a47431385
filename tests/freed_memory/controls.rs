//! The scanner itself: what it must find, and what it must not.

use std::thread;

use sealwax::SecretBytes;

use super::{
    cases::{WRAPPING_KEY, text_and_wrapping_key},
    scanner::{Kind, Scanner, free_with, learn, parts, reallocate_with},
};

/// Returns the kinds that were found, each with the numbers of blocks that were freed and
/// reallocated with it.
fn found(work: impl FnOnce()) -> Vec<(Kind, usize, usize)> {
    let watched = Scanner::lock().watch(&text_and_wrapping_key(), work);
    assert_eq!(watched.unseen, []);
    watched.findings.iter().map(|found| (found.secret.kind, found.freed, found.reallocated)).collect()
}

#[test]
fn a_secret_that_is_freed_is_found() {
    assert_eq!(found(|| free_with(&WRAPPING_KEY[..16])), [(Kind::WrappingKey, 1, 0)]);
    assert_eq!(found(|| free_with(&WRAPPING_KEY[16..])), [(Kind::WrappingKey, 1, 0)]);
    assert_eq!(found(|| free_with(&WRAPPING_KEY)), [(Kind::WrappingKey, 1, 0); 2]);
}

#[test]
fn a_secret_that_is_reallocated_is_found() {
    assert_eq!(found(|| reallocate_with(&WRAPPING_KEY)), [(Kind::WrappingKey, 0, 1); 2]);
}

#[test]
fn a_secret_that_is_freed_on_another_thread_is_found() {
    let work = || thread::scope(|scope| drop(scope.spawn(|| free_with(&WRAPPING_KEY)).join()));
    assert_eq!(found(work), [(Kind::WrappingKey, 1, 0); 2]);
}

#[test]
fn a_secret_that_is_learned_is_found() {
    let work = || {
        free_with(&[9; 32]);
        learn(Kind::DataKey, &[9; 32]);
        free_with(&[9; 32]);
    };
    assert_eq!(found(work), [(Kind::DataKey, 1, 0)]);
}

#[test]
fn one_of_a_secret_in_two_roles_is_known_by_the_first() {
    let work = || [Kind::AesKey, Kind::DataKey, Kind::GeneratedKey].into_iter().for_each(|kind| learn(kind, &[9; 16]));
    let watched = Scanner::lock().watch(&[], work);
    assert!(watched.secrets.iter().eq(&parts(Kind::DataKey, &[9; 16]).collect::<Vec<_>>()));
}

#[test]
fn what_is_wiped_or_lives_or_is_no_secret_is_not_found() {
    let work = || {
        drop(SecretBytes::from(WRAPPING_KEY.to_vec()));
        std::mem::forget(WRAPPING_KEY.to_vec());
        free_with(&WRAPPING_KEY[..15]);
        free_with(&WRAPPING_KEY[8..24]);
        free_with(&[0; 100]);
    };
    assert_eq!(found(work), []);
}
