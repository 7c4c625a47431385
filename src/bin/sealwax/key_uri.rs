//! Key URIs: which keyring, and where its key is.

use std::{
    ffi::OsString,
    fmt::Display,
    fs::File,
    io::{self, Read},
    path::PathBuf,
};

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use sealwax::{
    SecretBytes,
    keyring::{Keyring, MultiKeyring, RawAesKeyring},
};

use crate::failure::Failure;

/// What a part of a URI may not contain as it is.
const RESERVED: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'%').add(b'&').add(b'<').add(b'>').add(b'?').add(b'`').add(b'+');

/// The keyring of all the keys: the first generates the data key, the others wrap it too, or so many of them.
pub(crate) fn keyring(uris: &[String], quorum: Option<usize>) -> Result<Box<dyn Keyring>, Failure> {
    let Some((first, others)) = uris.split_first() else {
        let how = "no key is given: say --key raw-aes://NAMESPACE/NAME?file=PATH (sealwax keygen makes a key file)";
        return Err(Failure::usage(how));
    };
    let first = parse(first)?;
    if others.is_empty() && quorum.is_none() {
        return Ok(Box::new(first));
    }
    let all = others.iter().try_fold(MultiKeyring::new(first), |all, uri| Ok::<_, Failure>(all.child(parse(uri)?)))?;
    Ok(Box::new(match quorum {
        Some(quorum) => all.require(quorum)?,
        None => all,
    }))
}

/// The URI of a raw AES key in a file.
pub(crate) fn raw_aes_uri(namespace: &str, name: &str, file: &str) -> String {
    let encode = |text| utf8_percent_encode(text, RESERVED);
    let namespace = encode(namespace).to_string().replace('/', "%2F");
    format!("raw-aes://{namespace}/{}?file={}", encode(name), encode(file))
}

fn parse(uri: &str) -> Result<RawAesKeyring, Failure> {
    let refuse = |why: &str| Failure::usage(format!("the key {uri} cannot be used: {why}"));
    let Some(rest) = uri.strip_prefix("raw-aes://") else {
        return Err(refuse("it is not of the form raw-aes://NAMESPACE/NAME?file=PATH"));
    };
    let (path, query) = rest.split_once('?').ok_or_else(|| refuse("it has no ?file=PATH"))?;
    let (namespace, name) = path.split_once('/').ok_or_else(|| refuse("it has no key name after the namespace"))?;
    let mut file = None;
    for parameter in query.split('&') {
        match parameter.split_once('=') {
            Some(("file", path)) if !path.is_empty() && file.is_none() => file = Some(decode_path(path)),
            _ => return Err(refuse("it has something else than one file=PATH after the ?")),
        }
    }
    let file = file.flatten().ok_or_else(|| refuse("its file is not a path on this system"))?;
    let text = |part| percent_decode_str(part).decode_utf8().map_err(|_| refuse("it is not UTF-8"));
    let (namespace, name) = (text(namespace)?, text(name)?);
    let refuse_file = |error: &dyn Display| refuse(&format!("{}: {error}", file.display()));
    let key = read_key(&file).map_err(|error| refuse_file(&error))?;
    RawAesKeyring::new(namespace, name, key).map_err(|error| refuse_file(&error))
}

#[cfg(unix)]
fn decode_path(text: &str) -> Option<PathBuf> {
    let bytes: Vec<u8> = percent_decode_str(text).collect();
    Some(<OsString as std::os::unix::ffi::OsStringExt>::from_vec(bytes).into())
}

#[cfg(not(unix))]
fn decode_path(text: &str) -> Option<PathBuf> {
    Some(OsString::from(percent_decode_str(text).decode_utf8().ok()?.into_owned()).into())
}

/// Reads a key, and one byte more than the longest has, so that a longer file does not pass for a key.
fn read_key(path: &PathBuf) -> io::Result<SecretBytes> {
    let mut key = SecretBytes::zeroed(33);
    let mut file = File::open(path)?;
    let mut length = 0;
    while length < key.len() {
        match file.read(&mut key.as_mut()[length..]) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(SecretBytes::from(&key.as_bytes()[..length]))
}
