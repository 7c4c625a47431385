//! `sealwax ls`.

#[cfg(not(feature = "object-store"))]
use crate::{arguments::LsArguments, failure::Failure, objects::refuse, session::Session};
#[cfg(feature = "object-store")]
pub(crate) use with_objects::run;

#[cfg(not(feature = "object-store"))]
pub(crate) fn run(arguments: &LsArguments, _: &Session) -> Result<(), Failure> {
    Err(refuse(&arguments.url))
}

#[cfg(feature = "object-store")]
mod with_objects {
    use std::fmt::Write as _;

    use sealwax::Escaped;
    use serde::Serialize;

    use crate::{
        arguments::LsArguments,
        failure::Failure,
        objects::{Listed, Messages},
        session::Session,
        streams::print,
    };

    pub(crate) fn run(arguments: &LsArguments, session: &Session) -> Result<(), Failure> {
        let (prefix, messages) = (session.objects.prefix(&arguments.url)?, session.objects.messages()?);
        let (paths, listed) = match arguments.recursive {
            true => (Vec::new(), session.objects.list_or_one(&prefix)?),
            false => session.objects.list_level(&prefix)?,
        };
        let mut text = String::new();
        for path in paths {
            let _ = writeln!(text, "{:>15} {}/", "", Escaped(path.path()));
        }
        for one in listed {
            let row = Row::new(&one, &messages);
            if !session.emit(&row)? {
                let length = row.plaintext_length.map_or_else(|| "-".to_owned(), |length| length.to_string());
                let _ = writeln!(text, "{length:>15} {}", Escaped(row.path));
            }
        }
        if session.json.is_none() { print(text.as_bytes()) } else { Ok(()) }
    }

    /// An object in the listing.
    #[derive(Serialize)]
    struct Row<'a> {
        path: &'a str,
        /// `None` if no message has the length of the object.
        plaintext_length: Option<u64>,
        object_length: u64,
        modified: String,
    }

    impl<'a> Row<'a> {
        fn new(listed: &'a Listed, messages: &Messages) -> Self {
            Self {
                path: listed.object.path(),
                plaintext_length: messages.plaintext_length(listed.length),
                object_length: listed.length,
                modified: humantime::format_rfc3339_seconds(listed.modified).to_string(),
            }
        }
    }
}
