//! Encrypts a file and reads it back.
//!
//!     cargo run --features fs --example encrypt_file -- README.md

use std::{env, fs, path::Path};

use sealwax::{
    Client,
    crypto::{CryptoProvider, RustCrypto},
    io::Overwrite,
    keyring::RawAesKeyring,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = env::args().nth(1).ok_or("which file? say its path")?;
    let folder = tempfile::tempdir()?;
    let (sealed, back) = (folder.path().join("sealed"), folder.path().join("back"));

    // A wrapping key. A real one is generated once and kept; without it nothing can be decrypted.
    let keyring = RawAesKeyring::new("example", "key-1", RustCrypto.random_key(32)?)?;
    let client = Client::new();

    let sealed_with = client.encrypt(&keyring).context([("file", path.as_str())]).file(
        Path::new(&path),
        &sealed,
        Overwrite::Never,
    )?;
    println!("{path}: {} bytes, sealed with {}", fs::metadata(&sealed)?.len(), sealed_with.header.suite());

    // The target appears only once everything is verified, the signature last.
    let opened = client.decrypt(&keyring).context([("file", path.as_str())]).file(&sealed, &back, Overwrite::Never)?;
    println!("opened by {}", opened.opened_by.keyring);

    if fs::read(&path)? != fs::read(&back)? {
        return Err("the file came back changed".into());
    }
    println!("the same {} bytes came back", fs::metadata(&back)?.len());
    Ok(())
}
