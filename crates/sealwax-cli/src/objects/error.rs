//! Errors of stores as those of files.

use std::{error::Error as _, fmt::Write as _, io};

use object_store::Error;

use crate::failure::Failure;

const MISSING: &str = "no such object or bucket";

/// Returns the failure for an error on the object or store of this name.
pub(super) fn failure(name: &str, error: &Error) -> Failure {
    match error {
        Error::AlreadyExists { .. } => {
            Failure::exists(format!("{name}: the object exists (use --force to replace it)"))
        }
        error => Failure::other(format!("{name}: {}", convert(error))),
    }
}

/// Returns an error of a store as one of a file, with its text in one line.
pub(super) fn convert(error: &Error) -> io::Error {
    let kind = match error {
        Error::NotFound { .. } => return io::Error::new(io::ErrorKind::NotFound, MISSING),
        Error::AlreadyExists { .. } => return io::ErrorKind::AlreadyExists.into(),
        Error::Precondition { .. } => {
            return io::Error::other("the object was changed meanwhile; try again when nothing writes to it");
        }
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => io::ErrorKind::PermissionDenied,
        Error::NotImplemented { .. } | Error::NotSupported { .. } => io::ErrorKind::Unsupported,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, describe(error))
}

/// Returns the text of an error and its causes. Of an answer in XML only the code and the message
/// are kept.
fn describe(error: &Error) -> String {
    let mut text = shortened(&error.to_string());
    let mut next = error.source();
    while let Some(cause) = next {
        let more = shortened(&cause.to_string());
        if !text.contains(&more) {
            let _ = write!(text, ": {more}");
        }
        next = cause.source();
    }
    // A listing has no kind of error for this.
    if text.contains("NoSuchBucket") {
        return MISSING.to_owned();
    }
    // The last place where credentials are looked for.
    if text.contains("169.254.169.254") {
        text.push_str(
            " (there are no credentials in the environment; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY)",
        );
    }
    text
}

fn shortened(text: &str) -> String {
    let element = |name: &str| {
        let after = text.split_once(&format!("<{name}>"))?.1;
        after.split_once("</").map(|(value, _)| value)
    };
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    match (text.split_once('<'), element("Code")) {
        (Some((before, _)), Some(code)) => match element("Message") {
            Some(message) => words(&format!("{before} {code}: {message}")),
            None => words(&format!("{before} {code}")),
        },
        _ => words(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_in_xml_become_one_line() {
        let body = "Server returned 403 Forbidden: <?xml version=\"1.0\"?>\n<Error>\n<Code>AccessDenied</Code>\n\
                    <Message>Access\n Denied</Message></Error>";
        assert_eq!(shortened(body), "Server returned 403 Forbidden: AccessDenied: Access Denied");
        assert_eq!(shortened("a\n <b> c"), "a <b> c");
    }
}
