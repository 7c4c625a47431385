//! The official Rust SDK and age, as participants of `run.py`.

use std::{
    io::{self, BufRead, Read, Write},
    rc::Rc,
    time::Instant,
};

use aws_esdk::{
    client::Client,
    material_providers::{
        client::Client as Providers,
        types::{AesWrappingAlg, EsdkAlgorithmSuiteId, material_providers_config::MaterialProvidersConfig},
    },
    types::aws_encryption_sdk_config::AwsEncryptionSdkConfig,
};

type BoxError = Box<dyn std::error::Error>;

struct Case {
    who: &'static str,
    what: String,
    run: Box<dyn Fn()>,
}

fn main() -> Result<(), BoxError> {
    // The official Rust SDK recurses once per frame.
    std::thread::Builder::new().stack_size(1 << 30).spawn(|| participate().unwrap())?.join().map_err(|_| "failed")?;
    Ok(())
}

fn participate() -> Result<(), BoxError> {
    let size: usize = std::env::args().nth(1).ok_or("the number of bytes is missing")?.parse()?;
    let plaintext: Vec<u8> = (0..size).map(|at| (at * 31 % 251) as u8).collect();
    let mut cases = Vec::new();
    official(&mut cases, &plaintext)?;
    age(&mut cases, &plaintext)?;
    let mut out = io::stdout();
    for Case { who, what, .. } in &cases {
        writeln!(out, r#"{{"who": "{who}", "what": "{what}", "bytes": {size}, "bound": false}}"#)?;
    }
    writeln!(out, "ready")?;
    for line in io::stdin().lock().lines() {
        let case = &cases[line?.trim().parse::<usize>()?];
        let start = Instant::now();
        (case.run)();
        writeln!(out, "{}", start.elapsed().as_secs_f64())?;
        out.flush()?;
    }
    Ok(())
}

/// The official Rust SDK, which works only on bytes in memory.
fn official(cases: &mut Vec<Case>, plaintext: &[u8]) -> Result<(), BoxError> {
    let runtime = Rc::new(tokio::runtime::Builder::new_current_thread().enable_all().build()?);
    let client = Client::from_conf(AwsEncryptionSdkConfig::builder().build()?)?;
    let providers = Providers::from_conf(MaterialProvidersConfig::builder().build()?)?;
    let keyring = providers.create_raw_aes_keyring().key_namespace("bench").key_name("key");
    let keyring = keyring.wrapping_key(vec![7_u8; 32]).wrapping_alg(AesWrappingAlg::AlgAes256GcmIv12Tag16);
    let keyring = runtime.block_on(keyring.send())?;
    for kib in [4, 64] {
        for (name, suite) in [
            ("unsigned", EsdkAlgorithmSuiteId::AlgAes256GcmHkdfSha512CommitKey),
            ("signed", EsdkAlgorithmSuiteId::AlgAes256GcmHkdfSha512CommitKeyEcdsaP384),
        ] {
            let encrypt = client.encrypt().plaintext(plaintext.to_vec()).keyring(keyring.clone());
            let encrypt = encrypt.algorithm_suite_id(suite).frame_length(kib << 10);
            let message = runtime.block_on(encrypt.clone().send())?.ciphertext.ok_or("no message")?;
            let decrypt = client.decrypt().ciphertext(message).keyring(keyring.clone());
            let (one, other) = (runtime.clone(), runtime.clone());
            let who = "official Rust SDK";
            let run = Box::new(move || drop(one.block_on(encrypt.clone().send()).unwrap()));
            cases.push(Case { who, what: format!("encrypt {name}, {kib} KiB"), run });
            let run = Box::new(move || drop(other.block_on(decrypt.clone().send()).unwrap()));
            cases.push(Case { who, what: format!("decrypt {name}, {kib} KiB"), run });
        }
    }
    Ok(())
}

/// age, whose chunks have 64 KiB.
fn age(cases: &mut Vec<Case>, plaintext: &[u8]) -> Result<(), BoxError> {
    let identity = age::x25519::Identity::generate();
    let recipient = identity.to_public();
    let plaintext = plaintext.to_vec();
    let seal = move |plaintext: &[u8]| -> Vec<u8> {
        let recipients = std::iter::once(&recipient as &dyn age::Recipient);
        let mut sealed = Vec::with_capacity(plaintext.len() + plaintext.len() / 1000 + 1000);
        let mut writer = age::Encryptor::with_recipients(recipients).unwrap().wrap_output(&mut sealed).unwrap();
        writer.write_all(plaintext).unwrap();
        writer.finish().unwrap();
        sealed
    };
    let (sealed, who) = (seal(&plaintext), "age (Rust)");
    let run = Box::new(move || drop(seal(&plaintext)));
    cases.push(Case { who, what: "encrypt unsigned, 64 KiB".into(), run });
    let run = Box::new(move || {
        let decryptor = age::Decryptor::new(&sealed[..]).unwrap();
        let mut reader = decryptor.decrypt(std::iter::once(&identity as &dyn age::Identity)).unwrap();
        let mut plaintext = Vec::with_capacity(sealed.len());
        reader.read_to_end(&mut plaintext).unwrap();
    });
    cases.push(Case { who, what: "decrypt unsigned, 64 KiB".into(), run });
    Ok(())
}
