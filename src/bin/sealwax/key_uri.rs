//! Key URIs: which keyring, and where its key is.

use std::{
    ffi::OsString,
    fmt::Display,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
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
        return Ok(first);
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

/// A key URI, taken apart.
struct KeyUri<'a> {
    whole: &'a str,
    scheme: &'a str,
    path: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
}

impl<'a> KeyUri<'a> {
    fn new(whole: &'a str) -> Result<Self, Failure> {
        let mut uri = Self { whole, scheme: "", path: "", parameters: Vec::new() };
        let (scheme, rest) = whole.split_once("://").ok_or_else(|| uri.refuse(FORMS))?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            if value.is_empty() || uri.parameters.iter().any(|(other, _)| *other == name) {
                return Err(uri.refuse(&format!("{name} is empty or given twice")));
            }
            uri.parameters.push((name, value));
        }
        (uri.scheme, uri.path) = (scheme, path);
        Ok(uri)
    }

    fn refuse(&self, why: &str) -> Failure {
        Failure::usage(format!("the key {} cannot be used: {why}", self.whole))
    }

    /// Refuses parameters that the scheme does not have.
    fn only(&self, known: &[&str]) -> Result<(), Failure> {
        match self.parameters.iter().find(|(name, _)| !known.contains(name)) {
            Some((name, _)) => Err(self.refuse(&format!("{} keys have no parameter {name}", self.scheme))),
            None => Ok(()),
        }
    }

    fn parameter(&self, name: &str) -> Option<&'a str> {
        self.parameters.iter().find(|(other, _)| *other == name).map(|(_, value)| *value)
    }

    /// The path that a parameter names, if it is there.
    fn file(&self, name: &str) -> Result<Option<PathBuf>, Failure> {
        let Some(text) = self.parameter(name) else { return Ok(None) };
        decode_path(text).map(Some).ok_or_else(|| self.refuse("its file is not a path on this system"))
    }

    /// The namespace and the key name in the path.
    fn names(&self) -> Result<(String, String), Failure> {
        let names = self.path.split_once('/').ok_or_else(|| self.refuse("it has no key name after the namespace"))?;
        let text = |part| percent_decode_str(part).decode_utf8().map_err(|_| self.refuse("it is not UTF-8"));
        Ok((text(names.0)?.into_owned(), text(names.1)?.into_owned()))
    }

    /// What is wrong with a file that it names.
    fn refuse_file(&self, file: &Path, error: &dyn Display) -> Failure {
        self.refuse(&format!("{}: {error}", file.display()))
    }
}

const FORMS: &str = "it is not of the form raw-aes://NAMESPACE/NAME?file=PATH";

fn parse(uri: &str) -> Result<Box<dyn Keyring>, Failure> {
    let uri = KeyUri::new(uri)?;
    match uri.scheme {
        "raw-aes" => Ok(Box::new(raw_aes(&uri)?)),
        _ => Err(uri.refuse(FORMS)),
    }
}

fn raw_aes(uri: &KeyUri<'_>) -> Result<RawAesKeyring, Failure> {
    uri.only(&["file"])?;
    let (namespace, name) = uri.names()?;
    let file = uri.file("file")?.ok_or_else(|| uri.refuse("it has no ?file=PATH"))?;
    // One byte more than the longest key has, so that a longer file does not pass for a key.
    let key = read_secret(&file, 33).map_err(|error| uri.refuse_file(&file, &error))?;
    RawAesKeyring::new(namespace, name, key).map_err(|error| uri.refuse_file(&file, &error))
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

/// Reads a file that holds a key, up to so many bytes.
fn read_secret(path: &Path, limit: usize) -> io::Result<SecretBytes> {
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
