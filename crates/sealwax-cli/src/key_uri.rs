//! Key URIs, which name a keyring and the location of its key.

#[cfg(feature = "aws")]
mod aws_kms;
#[cfg(feature = "aws")]
mod hierarchy;

use std::{
    fmt::Display,
    path::{Path, PathBuf},
};

use percent_encoding::{percent_decode_str, utf8_percent_encode};
use sealwax::{
    SecretBytes,
    keyring::{EcdhCurve, Keyring, RawAesKeyring, RawEcdhKeyring},
};

use crate::{
    aws::AwsKms,
    failure::Failure,
    key_file::{KeyFile, MAX_KEY_FILE},
    secrets::read_secret,
    uri_paths::{RESERVED, decode_path},
};

#[cfg(feature = "aws")]
pub(crate) use hierarchy::Hierarchy;

/// Returns the URI of a raw AES key in a file.
pub(crate) fn raw_aes_uri(namespace: &str, name: &str, file: &str) -> String {
    let encode = |text| utf8_percent_encode(text, RESERVED);
    let namespace = encode(namespace).to_string().replace('/', "%2F");
    format!("raw-aes://{namespace}/{}?file={}", encode(name), encode(file))
}

/// Returns the URI of a key file that names its key.
pub(crate) fn key_file_uri(file: &str) -> String {
    format!("file:{}", utf8_percent_encode(file, RESERVED))
}

/// A parsed key URI.
struct KeyUri<'a> {
    whole: &'a str,
    scheme: &'a str,
    path: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
}

impl<'a> KeyUri<'a> {
    fn new(whole: &'a str) -> Result<Self, Failure> {
        let mut uri = Self { whole, scheme: "", path: "", parameters: Vec::new() };
        // ARNs contain colons of their own, and have no authority.
        let is_short = ["aws-kms:", "aws-kms-hierarchy:", "file:"].iter().any(|scheme| whole.starts_with(scheme));
        let parts = if is_short { whole.split_once(':') } else { whole.split_once("://") };
        let (scheme, rest) = parts.ok_or_else(|| uri.refuse(FORMS))?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let again = uri.parameters.iter().any(|(other, _)| *other == name) && !REPEATABLE.contains(&name);
            if value.is_empty() || again {
                return Err(uri.refuse(&format!("parameter {name} is empty or given twice")));
            }
            uri.parameters.push((name, value));
        }
        (uri.scheme, uri.path) = (scheme, path);
        Ok(uri)
    }

    fn refuse(&self, why: &str) -> Failure {
        Failure::usage(format!("invalid key {}: {why}", self.whole))
    }

    /// Fails if there are parameters that the scheme does not have.
    fn only(&self, known: &[&str]) -> Result<(), Failure> {
        match self.parameters.iter().find(|(name, _)| !known.contains(name)) {
            Some((name, _)) => Err(self.refuse(&format!("{} keys have no parameter {name}", self.scheme))),
            None => Ok(()),
        }
    }

    fn parameter(&self, name: &str) -> Option<&'a str> {
        self.parameters.iter().find(|(other, _)| *other == name).map(|(_, value)| *value)
    }

    /// Returns the path that a parameter names, if the parameter is present.
    fn file(&self, name: &str) -> Result<Option<PathBuf>, Failure> {
        let Some(text) = self.parameter(name) else { return Ok(None) };
        decode_path(text).map(Some).ok_or_else(|| self.refuse("the file is not a valid path on this system"))
    }

    /// Returns the path that a parameter names and at most `limit` bytes of the file there, if the
    /// parameter is present.
    fn secret(&self, name: &str, limit: usize) -> Result<Option<(PathBuf, SecretBytes)>, Failure> {
        let Some(file) = self.file(name)? else { return Ok(None) };
        let secret = read_secret(&file, limit).map_err(|error| self.refuse_file(&file, &error))?;
        Ok(Some((file, secret)))
    }

    /// Returns the namespace and key name from the path.
    fn names(&self) -> Result<(String, String), Failure> {
        let names = self
            .path
            .split_once('/')
            .ok_or_else(|| self.refuse("there is no key name after the namespace; use NAMESPACE/NAME"))?;
        let text = |part| percent_decode_str(part).decode_utf8().map_err(|_| self.refuse("not UTF-8"));
        Ok((text(names.0)?.into_owned(), text(names.1)?.into_owned()))
    }

    /// Returns the failure for a file that the URI names.
    fn refuse_file(&self, file: &Path, error: &dyn Display) -> Failure {
        self.refuse(&format!("{}: {error}", file.display()))
    }
}

const FORMS: &str = "unknown form; use one such as local:NAME, file:PATH or raw-aes://NAMESPACE/NAME?file=PATH (see sealwax encrypt --help)";
/// The parameters that may be repeated.
const REPEATABLE: [&str; 2] = ["account", "region"];

/// Returns the keyring of a key that is not in the embedded key store.
pub(crate) fn keyring(uri: &str, aws: &AwsKms) -> Result<Box<dyn Keyring>, Failure> {
    let uri = KeyUri::new(uri)?;
    match uri.scheme {
        "file" => Ok(Box::new(key_file(&uri)?)),
        "raw-aes" => Ok(Box::new(raw_aes(&uri)?)),
        "raw-rsa" => raw_rsa(&uri),
        "raw-ecdh" => raw_ecdh(&uri),
        "aws-kms" | "aws-kms-hierarchy" => aws_kms(&uri, aws),
        _ => Err(uri.refuse(FORMS)),
    }
}

/// Returns the name of the key in the embedded key store that a URI stands for, which is its alias,
/// its id, or the last part of its id; `None` for a key elsewhere.
pub(crate) fn local_name(uri: &str) -> Option<Result<String, Failure>> {
    let name = uri.strip_prefix("local:")?;
    let refuse = |why: &str| Err(Failure::usage(format!("invalid key {uri}: {why}")));
    // A whole key id is also a key URI.
    let is_store_id = |part: &str| part.len() == 32 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    if name.split_once("/key/").is_some_and(|(store_id, _)| is_store_id(store_id)) {
        return Some(Ok(uri.to_owned()));
    }
    Some(match percent_decode_str(name).decode_utf8() {
        Ok(name) if name.is_empty() => refuse("there is no name; use local:NAME-OR-ALIAS"),
        Ok(name) => Ok(name.into_owned()),
        Err(_) => refuse("not UTF-8"),
    })
}

/// Returns the keyring of a key file that names its key.
fn key_file(uri: &KeyUri<'_>) -> Result<RawAesKeyring, Failure> {
    uri.only(&[])?;
    let file = decode_path(uri.path).ok_or_else(|| uri.refuse("the file is not a valid path on this system"))?;
    let content = read_secret(&file, MAX_KEY_FILE).map_err(|error| uri.refuse_file(&file, &error))?;
    let KeyFile { namespace, name, material } = KeyFile::parse(&content).ok_or_else(|| {
        uri.refuse("the file names no key; use raw-aes://NAMESPACE/NAME?file=PATH for the bytes of a key")
    })?;
    RawAesKeyring::new(namespace, name, material).map_err(|error| uri.refuse_file(&file, &error))
}

fn raw_aes(uri: &KeyUri<'_>) -> Result<RawAesKeyring, Failure> {
    uri.only(&["file"])?;
    let (namespace, name) = uri.names()?;
    let (file, key) =
        uri.secret("file", MAX_KEY_FILE)?.ok_or_else(|| uri.refuse("there is no key file; add ?file=PATH"))?;
    if KeyFile::parse(&key).is_some() {
        return Err(uri.refuse("the file names its key; use file:PATH"));
    }
    RawAesKeyring::new(namespace, name, key).map_err(|error| uri.refuse_file(&file, &error))
}

/// The longest PEM file that is read, in bytes; an RSA key of 8192 bits takes less than 7,000.
const MAX_PEM: usize = 64 * 1024;

#[cfg(feature = "aws-lc-rs")]
fn raw_rsa(uri: &KeyUri<'_>) -> Result<Box<dyn Keyring>, Failure> {
    use sealwax::keyring::{RawRsaKeyring, RsaPadding};

    uri.only(&["file", "public", "padding"])?;
    let (namespace, name) = uri.names()?;
    let padding = match uri.parameter("padding") {
        Some("pkcs1") => RsaPadding::Pkcs1,
        Some("oaep-sha1") => RsaPadding::OaepSha1,
        Some("oaep-sha256") => RsaPadding::OaepSha256,
        Some("oaep-sha384") => RsaPadding::OaepSha384,
        Some("oaep-sha512") => RsaPadding::OaepSha512,
        _ => return Err(uri.refuse("add padding=pkcs1, oaep-sha1, oaep-sha256, oaep-sha384 or oaep-sha512")),
    };
    let (file, key) = uri.secret("file", MAX_PEM)?.ok_or_else(|| uri.refuse("there is no key file; add ?file=PEM"))?;
    let is_private = key.as_bytes().windows(11).any(|window| window == b"PRIVATE KEY");
    let other = uri.secret("public", MAX_PEM)?;

    let mut builder = RawRsaKeyring::builder(namespace, name, padding);
    if is_private {
        builder = builder.private_key_pem(key.as_bytes());
    } else {
        builder = builder.public_key_pem(key.as_bytes());
    }
    if let Some((_, public)) = &other {
        builder = builder.public_key_pem(public.as_bytes());
    }
    Ok(Box::new(builder.build().map_err(|error| uri.refuse_file(&file, &error))?))
}

#[cfg(not(feature = "aws-lc-rs"))]
fn raw_rsa(uri: &KeyUri<'_>) -> Result<Box<dyn Keyring>, Failure> {
    Err(uri.refuse("this sealwax was built without RSA; build it with the feature aws-lc-rs"))
}

fn raw_ecdh(uri: &KeyUri<'_>) -> Result<Box<dyn Keyring>, Failure> {
    uri.only(&["private", "recipient"])?;
    let curve = match uri.path {
        "p256" => EcdhCurve::P256,
        "p384" => EcdhCurve::P384,
        "p521" => EcdhCurve::P521,
        _ => return Err(uri.refuse("unknown curve; use p256, p384 or p521")),
    };
    let keyring = match (uri.secret("private", MAX_PEM)?, uri.secret("recipient", MAX_PEM)?) {
        (Some((_, private)), Some((_, recipient))) => {
            RawEcdhKeyring::static_keys(curve, private.as_bytes(), recipient.as_bytes())
        }
        (None, Some((_, recipient))) => RawEcdhKeyring::ephemeral(curve, recipient.as_bytes()),
        (Some((_, private)), None) => RawEcdhKeyring::discovery(curve, private.as_bytes()),
        (None, None) => return Err(uri.refuse("there is neither private=PEM nor recipient=PEM; add one")),
    };
    Ok(Box::new(keyring.map_err(|error| uri.refuse(&error.to_string()))?))
}

#[cfg(feature = "aws")]
fn aws_kms(uri: &KeyUri<'_>, aws: &AwsKms) -> Result<Box<dyn Keyring>, Failure> {
    if uri.scheme == hierarchy::SCHEME { hierarchy::keyring(uri, aws) } else { aws_kms::keyring(uri, aws) }
}

/// Returns the table and the key store of branch keys that a URI names.
#[cfg(feature = "aws")]
pub(crate) fn hierarchy(uri: &str, aws: &AwsKms) -> Result<Hierarchy, Failure> {
    let uri = KeyUri::new(uri)?;
    if uri.scheme != hierarchy::SCHEME {
        return Err(uri.refuse("use aws-kms-hierarchy:TABLE?logical-name=NAME&kms=ARN&branch-key=ID"));
    }
    hierarchy::parse(&uri, aws)
}

#[cfg(not(feature = "aws"))]
fn aws_kms(uri: &KeyUri<'_>, _: &AwsKms) -> Result<Box<dyn Keyring>, Failure> {
    Err(uri.refuse("this sealwax was built without AWS KMS; build it with the feature aws"))
}
