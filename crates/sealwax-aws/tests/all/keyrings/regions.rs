//! Multi-Region keys, and several keys in several regions.

use std::sync::Arc;

use sealwax::{
    BoxError, Client, EncryptedDataKey, Error, Result,
    keyring::{Keyring, KmsApi, KmsErrorKind, KmsOperation},
};
use sealwax_aws::{AwsKmsMultiKeyrings, DiscoveryFilter, KmsArn};

use super::*;
use crate::{
    answers::*,
    fake_kms::{FakeKms, Fault, Material},
    support,
};

/// Returns two regions that share a multi-Region key; each has other keys too.
fn two_regions() -> (Arc<FakeKms>, Arc<FakeKms>) {
    let (here, far) = (FakeKms::with_keys(&[KEY, OTHER, MRK_OTHER]), FakeKms::with_keys(&[FAR]));
    let shared = Material::symmetric();
    here.add(MRK, shared.clone());
    far.add(MRK_FAR, shared);
    (here, far)
}

#[test]
fn a_replica_opens_what_was_wrapped_in_another_region_and_is_asked_in_its_own() {
    let (here, far) = two_regions();
    let keys = wrap(&[&strict(MRK, &here)]);
    assert_eq!(opened(unwrap(&mrk(MRK_FAR, &far), &keys)), 0);
    assert_eq!(opened(unwrap(&mrk_discovery("us-east-1", &far), &keys)), 0);
    assert_eq!(far.asked(), [(KmsOperation::Decrypt, MRK_FAR.to_owned()), (KmsOperation::Decrypt, MRK_FAR.to_owned())]);

    // Keyrings that are not aware of replicas do not.
    assert_eq!(reasons(unwrap(&strict(MRK_FAR, &far), &keys)), ["NoMatch"]);
    let why = reasons(unwrap(&discovery(&far), &keys));
    assert_eq!(why, [format!("Decrypt with key {MRK} failed: the key does not exist")]);
}

#[test]
fn only_the_region_may_differ_and_only_of_multi_region_keys() {
    let (here, far) = two_regions();
    let replace = |from: &str, to: &str| MRK.replace(from, to);
    let others = [
        replace("111122223333", "999922223333"),
        replace("arn:aws:", "arn:aws-cn:"),
        replace("mrk-1234", "mrk-1235"),
        replace("mrk-", "mrk_"),
        MRK_OTHER.to_owned(),
        KEY.to_owned(),
    ];
    for other in &others {
        here.add(other, Material::symmetric());
        let keys = wrap(&[&strict(other, &here)]);
        far.calls();
        assert_eq!(reasons(unwrap(&mrk(MRK_FAR, &far), &keys)), ["NoMatch"], "{other}");
        // A single-Region key does not match the same key id in another region.
        assert_eq!(reasons(unwrap(&mrk(&KEY.replace("eu-west-1", "us-east-1"), &far), &keys)), ["NoMatch"], "{other}");
        assert!(far.calls().is_empty());
    }
    let single = wrap(&[&strict(KEY, &here)]);
    assert_eq!(reasons(unwrap(&mrk_discovery("us-east-1", &far), &single)), ["NoMatch"]);
    assert!(far.calls().is_empty(), "a key of one region is asked for there only");
}

#[test]
fn an_alias_that_is_called_like_a_multi_region_key_is_none() {
    let arn = KmsArn::parse("arn:aws:kms:eu-west-1:111122223333:alias/mrk-1").unwrap();
    assert!(!arn.is_multi_region() && !arn.is_key());
    assert!(KmsArn::parse(MRK).unwrap().is_multi_region());
    assert!(!KmsArn::parse(KEY).unwrap().is_multi_region());
}

/// Returns a supplier of the two regions, which records its requests.
fn supplier(
    here: &Arc<FakeKms>,
    far: &Arc<FakeKms>,
    asked: Arc<std::sync::Mutex<Vec<Option<String>>>>,
) -> impl Fn(Option<&str>) -> Result<Arc<dyn KmsApi>, BoxError> + Send + Sync + 'static {
    let (here, far) = (here.clone(), far.clone());
    move |region| {
        asked.lock().unwrap().push(region.map(str::to_owned));
        match region {
            None | Some("eu-west-1") => Ok(here.clone()),
            Some("us-east-1") => Ok(far.clone()),
            Some(_) => Err("no credentials for it".into()),
        }
    }
}

fn keyrings(here: &Arc<FakeKms>, far: &Arc<FakeKms>) -> AwsKmsMultiKeyrings {
    AwsKmsMultiKeyrings::new(supplier(here, far, Arc::default())).grant_tokens(["grant"])
}

#[test]
fn a_strict_multi_keyring_wraps_under_every_key_in_its_region() {
    let (here, far) = two_regions();
    here.add_alias("alias/orders", KEY);
    let asked = Arc::default();
    let kms = AwsKmsMultiKeyrings::new(supplier(&here, &far, Arc::clone(&asked))).grant_tokens(["grant"]);
    let writing = kms.strict("alias/orders", [FAR, MRK]).unwrap();
    let regions = [None, Some("us-east-1"), Some("eu-west-1")].map(|region| region.map(str::to_owned));
    assert_eq!(*asked.lock().unwrap(), regions);

    let client = Client::new();
    let sealed = client.encrypt(&writing).bytes(b"text").wait().unwrap();
    let names: Vec<_> = sealed.header.encrypted_data_keys().iter().filter_map(EncryptedDataKey::key_name).collect();
    assert_eq!(names, [KEY, FAR, MRK]);
    let labels: Vec<_> = sealed.key_report.wrapped().iter().map(|by| by.keyring.to_string()).collect();
    assert_eq!(labels, ["aws-kms:alias/orders".to_owned(), format!("aws-kms:{FAR}"), format!("aws-kms:{MRK}")]);
    let calls = [here.calls(), far.calls()].concat();
    assert_eq!(calls.iter().filter(|call| call.operation == KmsOperation::GenerateDataKey).count(), 1);
    assert!(calls.len() == 3 && calls.iter().all(|call| call.grant_tokens == ["grant"]));

    for reading in [strict(KEY, &here), strict(FAR, &far), mrk(MRK_FAR, &far)] {
        assert_eq!(client.decrypt(&reading).bytes(&sealed.message).wait().unwrap().plaintext, b"text");
    }
    let reading = kms.strict_without_generator([FAR]).unwrap();
    assert_eq!(client.decrypt(&reading).bytes(&sealed.message).wait().unwrap().plaintext, b"text");
    let refused = client.encrypt(&reading).bytes(b"text").wait();
    assert!(matches!(refused, Err(Error::Materials(_))), "{}", support::outcome(&refused));
}

#[test]
fn a_quorum_writes_without_a_region_that_fails_and_reports_it() {
    let (here, far) = two_regions();
    let writing = keyrings(&here, &far).strict(KEY, [FAR, MRK]).unwrap();
    let client = Client::new();
    far.fail([Fault::Error(KmsErrorKind::Unavailable)]);
    let refused = client.encrypt(&writing).bytes(b"text").wait();
    assert_eq!(refusal(refused), (KmsOperation::Encrypt, KmsErrorKind::Unavailable));

    let writing = keyrings(&here, &far).strict(KEY, [FAR, MRK]).unwrap().require(1);
    far.fail([Fault::Error(KmsErrorKind::Unavailable)]);
    let sealed = client.encrypt(&writing).bytes(b"text").wait().unwrap();
    assert_eq!(sealed.header.encrypted_data_keys().len(), 2);
    let [failure] = sealed.key_report.failed() else { panic!("one failure") };
    assert_eq!(*failure.keyring, format!("aws-kms:{FAR}"));
}

#[test]
fn one_failing_region_hides_no_other_and_the_report_names_each() {
    let (here, far) = two_regions();
    let kms = keyrings(&here, &far);
    let keys = wrap(&[&strict(KEY, &here), &strict(FAR, &far)]);
    let reading = kms.discovery(["eu-west-1", "us-east-1"], None).unwrap();
    here.calls();
    far.calls();

    let down = Fault::Error(KmsErrorKind::TimedOut);
    here.fail([down.clone(), down.clone()]);
    assert_eq!(opened(unwrap(&reading, &keys)), 1);
    assert_eq!(here.calls().len(), 2);
    assert_eq!(far.asked(), [(KmsOperation::Decrypt, KEY.to_owned()), (KmsOperation::Decrypt, FAR.to_owned())]);

    here.fail([down.clone(), down.clone()]);
    far.fail([down.clone(), Fault::Error(KmsErrorKind::AccessDenied)]);
    let found = attempts(unwrap(&reading, &keys));
    let (ours, theirs) = ("aws-kms:discovery?region=eu-west-1", "aws-kms:discovery?region=us-east-1");
    let timed_out = |key: &str| format!("Decrypt with key {key} failed: the call timed out");
    let expected = [
        (ours.to_owned(), Some(0), timed_out(KEY)),
        (ours.to_owned(), Some(1), timed_out(FAR)),
        (theirs.to_owned(), Some(0), timed_out(KEY)),
        (theirs.to_owned(), Some(1), format!("Decrypt with key {FAR} failed: access was denied")),
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_discovery_multi_keyring_for_multi_region_keys_asks_each_region_for_its_own() {
    let (here, far) = two_regions();
    let keys = wrap(&[&strict(FAR, &far), &strict(MRK, &here)]);
    let filter = DiscoveryFilter::new("aws", ["111122223333"]).unwrap();
    let kms = keyrings(&here, &far).mrk_aware();
    let reading = kms.discovery(["us-east-1", "eu-west-1", "us-east-1"], Some(filter)).unwrap();
    let label = reading.label();
    let query = |region: &str| format!("aws-kms-mrk:discovery?region={region}&partition=aws&account=111122223333");
    assert_eq!(*label, format!("multi({}, {})", query("us-east-1"), query("eu-west-1")), "regions are a set");
    here.calls();
    far.calls();

    let down = Fault::Error(KmsErrorKind::Unavailable);
    far.fail([down.clone(), down]);
    assert_eq!(opened(unwrap(&reading, &keys)), 1);
    let decrypt = |key: &str| (KmsOperation::Decrypt, key.to_owned());
    assert_eq!(far.asked(), [decrypt(FAR), decrypt(MRK_FAR)]);
    let calls = here.calls();
    assert!(calls.len() == 1 && calls[0].key_id == MRK && calls[0].grant_tokens == ["grant"]);

    let none = DiscoveryFilter::new("aws", ["999922223333"]).unwrap();
    let reading = kms.discovery(["us-east-1", "eu-west-1"], Some(none)).unwrap();
    assert_eq!(reasons(unwrap(&reading, &keys)), ["NoMatch", "NoMatch"]);
}

#[test]
fn regions_without_a_service_are_named_all_at_once() {
    let (here, far) = two_regions();
    let refused = keyrings(&here, &far).discovery(["eu-west-1", "ap-south-1", "sa-east-1"], None);
    let Err(Error::Keyring { source, .. }) = refused else { panic!("{}", support::outcome(&refused)) };
    let expected = "there is no client for ap-south-1: no credentials for it; for sa-east-1: no credentials for it";
    assert_eq!(source.to_string(), expected);
    let nowhere = KEY.replace("eu-west-1", "ap-south-1");
    let refused = keyrings(&here, &far).strict(KEY, [nowhere]);
    let Err(Error::Keyring { source, .. }) = refused else { panic!("{}", support::outcome(&refused)) };
    assert_eq!(source.to_string(), "there is no client for ap-south-1: no credentials for it");
}

#[test]
fn multi_keyrings_refuse_what_is_no_choice_of_keys_or_regions() {
    let (here, far) = two_regions();
    let kms = keyrings(&here, &far);
    configuration(kms.discovery([] as [&str; 0], None));
    configuration(kms.discovery(["eu-west-1", ""], None));
    configuration(kms.strict_without_generator([] as [&str; 0]));
    configuration(kms.strict("no key at all", [] as [&str; 0]));
    configuration(kms.strict(KEY, ["alias/"]));

    // One multi-Region key in two regions: the caller must choose which of them is used.
    assert!(kms.strict(MRK, [MRK_FAR]).is_ok());
    let kms = kms.mrk_aware();
    let id = "mrk-1234abcd12ab34cd56ef1234567890ab";
    for other in [MRK_FAR, MRK, id] {
        let why = configuration(kms.strict(MRK, [KEY, other, MRK_OTHER]));
        assert!(why.ends_with(&format!("{MRK}, {other}")), "{why}");
    }
    let twice = configuration(kms.strict_without_generator([MRK, MRK_OTHER, MRK_FAR, MRK_OTHER, KEY]));
    assert!(twice.ends_with(&format!("{MRK}, {MRK_OTHER}, {MRK_FAR}, {MRK_OTHER}")), "{twice}");
    let alias = "arn:aws:kms:us-east-1:111122223333:alias/mrk-1234abcd12ab34cd56ef1234567890ab";
    assert!(kms.strict(MRK, [MRK_OTHER, KEY, KEY, alias]).is_ok());
}
