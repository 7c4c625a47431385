//! Tests that no block of the heap holds a secret when it is freed, as in the file of the same name
//! of sealwax, with its scanner.
// `GlobalAlloc` is an unsafe trait. Everywhere but in the programs of this name, `unsafe` is an error.
#![allow(unsafe_code)]

#[path = "../../../tests/freed_memory/cases.rs"]
mod cases;
#[path = "../../../tests/freed_memory/scanner.rs"]
mod scanner;
#[path = "../../../tests/freed_memory/service.rs"]
mod service;

use std::sync::Arc;

use cases::{Cases, WRAPPING_KEY, text_and_wrapping_key};
use sealwax::keyring::{MultiKeyring, RawAesKeyring};
use sealwax_aws::AwsKmsKeyring;
use service::{Kms, round_trip};

#[global_allocator]
static ALLOCATOR: scanner::ScanningAllocator = scanner::ScanningAllocator;

#[test]
fn answers_of_aws_kms_are_wiped() {
    const ARN: &str = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    let mut cases = Cases::new();
    let secrets = text_and_wrapping_key();
    let aws = || AwsKmsKeyring::new(ARN, Arc::new(Kms)).unwrap();
    let aes = || RawAesKeyring::new("example", "key-1", WRAPPING_KEY.to_vec()).unwrap();
    round_trip(&mut cases, "AwsKmsKeyring", &secrets, aws, aws);
    let wraps = || MultiKeyring::new(aes()).child(aws());
    round_trip(&mut cases, "MultiKeyring, AWS KMS wraps", &secrets, wraps, aws);
}
