//! What was done, and with which keys.

use std::io::{self, Write};

use sealwax::{Header, Opened, Sealed};
use serde::Serialize;

use crate::{
    arguments::ReportArguments,
    text::{escape, hex},
};

#[derive(Serialize)]
struct Report<'a> {
    operation: &'static str,
    input: &'a str,
    output: &'a str,
    suite: String,
    message_id: String,
    /// The keys that wrapped the data key, or the one that opened it.
    keys: Vec<Key<'a>>,
    /// The keys that should have wrapped it and could not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failed: Vec<Failed<'a>>,
}

#[derive(Serialize)]
struct Key<'a> {
    keyring: &'a str,
    encrypted_data_key: usize,
}

#[derive(Serialize)]
struct Failed<'a> {
    keyring: &'a str,
    reason: String,
}

/// Tells what wrapped a message, if that is asked for.
pub(crate) fn sealed(arguments: &ReportArguments, sealed: &Sealed, input: &str, output: &str) {
    let wrapped = sealed.key_report.wrapped().iter();
    let keys = wrapped.map(|by| Key { keyring: &by.keyring, encrypted_data_key: by.encrypted_data_key }).collect();
    let failed = sealed.key_report.failed().iter();
    let failed = failed.map(|by| Failed { keyring: &by.keyring, reason: by.cause.to_string() }).collect();
    Report::new("encrypt", &sealed.header, input, output, keys, failed).tell(arguments, "wrapped by");
}

/// Tells what opened a message, if that is asked for.
pub(crate) fn opened(arguments: &ReportArguments, opened: &Opened, input: &str, output: &str) {
    let by = &opened.opened_by;
    let keys = vec![Key { keyring: &by.keyring, encrypted_data_key: by.encrypted_data_key }];
    Report::new("decrypt", &opened.header, input, output, keys, Vec::new()).tell(arguments, "verified, opened by");
}

impl<'a> Report<'a> {
    fn new(
        operation: &'static str,
        header: &Header,
        input: &'a str,
        output: &'a str,
        keys: Vec<Key<'a>>,
        failed: Vec<Failed<'a>>,
    ) -> Self {
        let (suite, message_id) = (format!("{:#06x}", header.suite().id()), hex(header.message_id()));
        Self { operation, input, output, suite, message_id, keys, failed }
    }

    fn tell(&self, arguments: &ReportArguments, did: &str) {
        let mut lines = Vec::new();
        if arguments.json {
            lines.extend(serde_json::to_string(self).ok());
        } else if arguments.verbose {
            for key in &self.keys {
                lines.push(format!("{did} {} (encrypted data key {})", escape(key.keyring), key.encrypted_data_key));
            }
            for failed in &self.failed {
                lines.push(format!("not wrapped by {}: {}", escape(failed.keyring), escape(&failed.reason)));
            }
        }
        for line in lines {
            // The work is done; a report that cannot be given does not undo it.
            let _ = writeln!(io::stderr(), "{line}");
        }
    }
}
