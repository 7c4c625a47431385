//! Replays the seeds without libFuzzer, and checks that they get as far as their names say.

use std::{collections::BTreeMap, fs, path::PathBuf};

use arbitrary::{Arbitrary, Unstructured};
use sealwax::{Error, FormatError, LimitError};
use sealwax_fuzz::{decrypt, header, providers, round_trip, s3ec};

fn seeds(target: &str) -> BTreeMap<String, Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    let seeds: BTreeMap<_, _> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect();
    assert!(seeds.len() > 20);
    for (name, seed) in &seeds {
        assert!(seed.len() < 2048, "{name} has {} bytes", seed.len());
    }
    seeds
}

#[test]
fn header_seeds_come_as_far_as_their_names_say() {
    for (name, seed) in seeds("header") {
        let outcome = header::run(&seed).unwrap();
        let expected = match name.rsplit_once('-').map_or(&*name, |(kind, _)| kind) {
            "framed" | "unframed" | "small-limits" if name != "small-limits-length" => outcome.is_ok(),
            "truncated" => matches!(outcome, Err(Error::Format(FormatError::Truncated))),
            "small-limits-keys" => matches!(outcome, Err(Error::Limit(LimitError::EncryptedDataKeys { .. }))),
            "small-limits" => matches!(outcome, Err(Error::Limit(LimitError::HeaderLength { .. }))),
            "base64" => matches!(outcome, Err(Error::Format(FormatError::Base64))),
            "unknown" => matches!(outcome, Err(Error::Format(FormatError::Suite(_)))),
            "wrong" => matches!(outcome, Err(Error::Format(FormatError::SuiteVersion { .. }))),
            _ => false,
        };
        assert!(expected, "{name}: {outcome:?}");
    }
}

#[test]
fn decrypt_seeds_come_as_far_as_their_names_say() {
    for (name, seed) in seeds("decrypt") {
        let outcome = decrypt::run(&seed).unwrap();
        let kind = name.strip_prefix("open-").unwrap_or(&name);
        let kind = kind.rsplit_once('-').filter(|(_, id)| id.len() == 4).map_or(kind, |(kind, _)| kind);
        let expected = match kind {
            "trailing" => matches!(outcome, Err(Error::Format(FormatError::TrailingBytes))),
            "truncated" => matches!(outcome, Err(Error::Format(FormatError::Truncated))),
            "sequence" => matches!(outcome, Err(Error::Format(FormatError::SequenceNumber { expected: 2, found: 7 }))),
            "refused-tag" | "refused-signature" => matches!(outcome, Err(Error::Integrity)),
            "long-final-frame" => matches!(outcome, Err(Error::Format(FormatError::FinalFrameLength { .. }))),
            "long-signature" => matches!(outcome, Err(Error::Format(FormatError::SignatureLength(_)))),
            "unframed-length" => matches!(outcome, Err(Error::Format(FormatError::UnframedLength(_)))),
            "small-limits-unframed" => matches!(outcome, Err(Error::Limit(LimitError::FrameLength { .. }))),
            _ => outcome.is_ok(),
        };
        assert!(expected, "{name}: {outcome:?}");
    }
}

#[test]
fn round_trip_seeds_pass() {
    for (_, seed) in seeds("round_trip") {
        round_trip::run(&round_trip::Case::arbitrary(&mut Unstructured::new(&seed)).unwrap());
    }
}

#[test]
fn provider_seeds_come_as_far_as_their_names_say() {
    for (name, seed) in seeds("providers") {
        assert_eq!(providers::run(&seed), Some(name.starts_with("good-")), "{name}");
    }
}

#[test]
fn s3ec_seeds_come_as_far_as_their_names_say() {
    for (name, seed) in seeds("s3ec") {
        assert_eq!(s3ec::run(&seed).unwrap().is_some(), name.starts_with("good-"), "{name}");
    }
}
