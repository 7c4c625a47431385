//! Messages per second beside those of the raw AES keyring, in one run.

use std::time::Instant;

use sealwax::{Client, keyring::RawAesKeyring};

use super::*;
use crate::support::{pattern, say};

/// Returns the time in which a keyring writes and reads some messages of 1 KiB.
fn time(client: &Client, keyring: &dyn Keyring, suite: AlgorithmSuite, text: &[u8], messages: usize) -> Duration {
    let start = Instant::now();
    for _ in 0..messages {
        let sealed = client.encrypt(keyring).suite(suite).bytes(text).wait().expect("a message");
        client.decrypt(keyring).bytes(&sealed.message).wait().expect("its plaintext");
    }
    start.elapsed()
}

#[test]
fn messages_take_hardly_longer_than_with_the_raw_aes_keyring() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let setting = runtime.block_on(Setting::new());
    let (hierarchy, raw) = (setting.keyring(), RawAesKeyring::new("example", "key-1", vec![7; 32]).unwrap());
    let (client, text) = (Client::new(), pattern(1024));
    let signed = AlgorithmSuite::Aes256GcmHkdfSha512CommitKeyEcdsaP384;
    for (name, suite, messages, least) in [("signed", signed, 20, 0.7), ("unsigned", UNSIGNED, 300, 0.5)] {
        // The best of several rounds by turns: other programs slow down single ones.
        let mut best = [Duration::MAX; 2];
        for _ in 0..10 {
            let keyrings: [&dyn Keyring; 2] = [&raw, &hierarchy];
            for (best, keyring) in best.iter_mut().zip(keyrings) {
                *best = (*best).min(time(&client, keyring, suite, &text, messages));
            }
        }
        let rates = best.map(|time| messages as f64 / time.as_secs_f64());
        let ratio = rates[1] / rates[0];
        say(&format!("1 KiB, {name}: {:.0} messages/s raw AES, {:.0} hierarchical, {ratio:.2}", rates[0], rates[1]));
        assert!(ratio > least, "{name}: {ratio:.2}");
    }
    // The whole run took a call for each of the two entries.
    assert_eq!(setting.kms.calls().len(), 2);
}
