//! `sealwax keygen`.

use std::{
    io::{self, Write},
    path::Path,
};

use sealwax::{
    Error, SecretBytes,
    crypto::CryptoProvider,
    io::{Overwrite, PendingFile},
    keyring::RawAesKeyring,
};
use serde_json::json;

use crate::{
    arguments::KeygenArguments,
    cleanup::Cleanup,
    failure::Failure,
    key_file::KeyFile,
    key_uri::{key_file_uri, raw_aes_uri},
    provider::Provider,
    session::Session,
    streams::{is_standard, print_binary},
};

pub(crate) fn run(arguments: &KeygenArguments, session: &Session) -> Result<(), Failure> {
    let KeygenArguments { bits, namespace, name, raw, file } = arguments;
    session.check_output([&**file], None)?;
    session.check_apart(None, [&**file])?;
    let standard = is_standard(file);
    let shown = if standard { "FILE".to_owned() } else { file.display().to_string() };
    let stem = || match standard {
        true => Some("key".to_owned()),
        false => file.file_stem().map(|stem| stem.to_string_lossy().into_owned()),
    };
    let name = name.clone().or_else(stem).unwrap_or_default();
    let length = match bits.as_str() {
        "128" => 16,
        "192" => 24,
        _ => 32,
    };
    let key = Provider.random_key(length)?;
    // Check that the names are valid for a key before anything is written.
    RawAesKeyring::new(namespace, &name, SecretBytes::from(key.as_bytes()))?;

    let uri = if *raw { raw_aes_uri(namespace, &name, &shown) } else { key_file_uri(&shown) };
    let key_file = KeyFile { namespace: namespace.clone(), name, material: key };
    let content = if *raw { key_file.material.as_bytes().to_vec().into() } else { key_file.encode() };
    if standard {
        // Standard output has the key alone, so the URI goes to standard error.
        print_binary(&content)?;
        session.notes.note(format_args!("sealwax: the key URI is {uri}"));
        return Ok(());
    }
    write_new(file, &content, &session.cleanup).map_err(|error| match error {
        Error::Io(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Failure::exists(format!("{shown}: the file exists; a key file is never replaced, choose another name"))
        }
        error => Failure::about(&shown, error),
    })?;
    session.show(&json!({ "key": uri, "output": shown }), || format!("{uri}\n"))
}

/// Writes a new file that only its owner can read. Fails if the file exists.
pub(crate) fn write_new(path: &Path, bytes: &[u8], cleanup: &Cleanup) -> Result<(), Error> {
    let file = cleanup.guard(|| PendingFile::create(path, Overwrite::Never))?;
    file.finish(|mut file| {
        file.set_mode(0o600);
        file.write_all(bytes)?;
        file.commit()
    })
}
