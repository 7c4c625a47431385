//! The paths in key URIs.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, percent_encode};

/// The characters that must be percent-encoded in a part of a URI.
pub(crate) const RESERVED: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'%').add(b'&').add(b'<').add(b'>').add(b'?').add(b'`').add(b'+');

/// The parameters that are paths.
const PATHS: [&str; 4] = ["file", "public", "private", "recipient"];

/// Returns the files that a key URI names.
pub(crate) fn files(uri: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    replace_paths(uri, |path| {
        files.extend(decode_path(path));
        path.to_owned()
    });
    files
}

/// Returns a key URI with its relative paths below this directory.
pub(crate) fn relative_to(uri: &str, directory: &Path) -> String {
    replace_paths(uri, |path| match decode_path(path).filter(|path| path.is_relative()) {
        Some(relative) => encode_path(&directory.join(relative)),
        None => path.to_owned(),
    })
}

/// Returns a key URI with other paths. Those it has are percent-encoded.
fn replace_paths(uri: &str, mut replace: impl FnMut(&str) -> String) -> String {
    if let Some(path) = uri.strip_prefix("file:") {
        return format!("file:{}", replace(path));
    }
    let Some((start, query)) = uri.split_once('?').filter(|_| uri.starts_with("raw-")) else { return uri.to_owned() };
    let parameter = |parameter: &str| match parameter.split_once('=') {
        Some((name, path)) if PATHS.contains(&name) => format!("{name}={}", replace(path)),
        _ => parameter.to_owned(),
    };
    format!("{start}?{}", query.split('&').map(parameter).collect::<Vec<_>>().join("&"))
}

#[cfg(unix)]
fn encode_path(path: &Path) -> String {
    let bytes = std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str());
    percent_encode(bytes, RESERVED).to_string()
}

#[cfg(not(unix))]
fn encode_path(path: &Path) -> String {
    percent_encode(path.to_string_lossy().as_bytes(), RESERVED).to_string()
}

#[cfg(unix)]
pub(crate) fn decode_path(text: &str) -> Option<PathBuf> {
    let bytes: Vec<u8> = percent_decode_str(text).collect();
    Some(<OsString as std::os::unix::ffi::OsStringExt>::from_vec(bytes).into())
}

#[cfg(not(unix))]
pub(crate) fn decode_path(text: &str) -> Option<PathBuf> {
    Some(OsString::from(percent_decode_str(text).decode_utf8().ok()?.into_owned()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_paths_are_below_the_directory_and_everything_else_stays() {
        for (uri, expected) in [
            ("file:my.key", "file:/a%20b/my.key"),
            ("file:/my.key", "file:/my.key"),
            ("raw-aes://n/k?file=x%26y", "raw-aes://n/k?file=/a%20b/x%26y"),
            ("raw-rsa://n/k?padding=pkcs1&file=a&public=/b", "raw-rsa://n/k?padding=pkcs1&file=/a%20b/a&public=/b"),
            ("raw-ecdh://p256?private=a&recipient=b", "raw-ecdh://p256?private=/a%20b/a&recipient=/a%20b/b"),
            ("local:my", "local:my"),
            ("aws-kms:arn?file=x", "aws-kms:arn?file=x"),
        ] {
            assert_eq!(relative_to(uri, Path::new("/a b")), expected);
        }
        assert_eq!(files("raw-rsa://n/k?padding=pkcs1&file=a&public=/b"), [Path::new("a"), Path::new("/b")]);
        assert_eq!(files("file:a%20b"), [Path::new("a b")]);
        assert!(files("local:my").is_empty());
    }
}
