//! Keys in files, and passphrases.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use sealwax::{SecretBytes, crypto::CryptoProvider};
use zeroize::Zeroizing;

use crate::{cleanup::Cleanup, failure::Failure, provider::Provider};

/// The longest passphrase, in bytes.
const MAX_PASSPHRASE: usize = 4096;

/// Reads at most `limit` bytes of a file that holds a key.
pub(crate) fn read_secret(path: &Path, limit: usize) -> io::Result<SecretBytes> {
    let mut bytes = SecretBytes::zeroed(limit);
    let mut file = File::open(path)?;
    let mut length = 0;
    while length < bytes.len() {
        match file.read(&mut bytes.as_mut()[length..]) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(SecretBytes::from(&bytes.as_bytes()[..length]))
}

/// Returns the first line of a file, or what the user types, which must be typed twice if it is
/// new.
pub(crate) fn passphrase_from(
    cleanup: &Cleanup,
    file: Option<&Path>,
    prompt: &str,
    twice: bool,
) -> Result<SecretBytes, Failure> {
    let passphrase = match file {
        Some(file) => {
            let name = file.display().to_string();
            let bytes = read_secret(file, MAX_PASSPHRASE + 1).map_err(|error| Failure::about(&name, error))?;
            let line = bytes.as_bytes().split(|byte| *byte == b'\n').next().unwrap_or_default();
            if line.len() > MAX_PASSPHRASE {
                return Err(Failure::usage(format!("{name}: the passphrase is longer than {MAX_PASSPHRASE} bytes")));
            }
            SecretBytes::from(line.strip_suffix(b"\r").unwrap_or(line))
        }
        None => {
            let ask = |prompt: &str| {
                cleanup.ask_hidden(prompt).map(|text| SecretBytes::from(text.into_bytes())).map_err(|_| {
                    Failure::usage("a passphrase is needed and there is no terminal to prompt on; give it in a file")
                })
            };
            let first = ask(prompt)?;
            if twice && !first.ct_eq(ask("Repeat the passphrase: ")?.as_bytes()) {
                return Err(Failure::usage("the two passphrases differ; try again"));
            }
            first
        }
    };
    if passphrase.is_empty() {
        return Err(Failure::usage("the passphrase must not be empty"));
    }
    Ok(passphrase)
}

/// The characters of a generated passphrase: 32, without those that are easily confused.
const LETTERS: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz023456789";

/// Returns a random passphrase of 125 bits, in groups of five characters.
pub(crate) fn new_passphrase() -> Result<Zeroizing<String>, Failure> {
    let random = Provider.random_key(25)?;
    let mut text = Zeroizing::new(String::with_capacity(29));
    for (at, byte) in random.as_bytes().iter().enumerate() {
        if at > 0 && at % 5 == 0 {
            text.push('-');
        }
        text.push(char::from(LETTERS[usize::from(byte % 32)]));
    }
    Ok(text)
}
