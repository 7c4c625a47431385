//! Reports of what was done, and with which keys.

use std::collections::BTreeMap;

use sealwax::{Decrypted, Encrypted, Escaped, Header, keyring::KeyReport, materials::OpenedBy};
use serde::Serialize;

use crate::{arguments::ReportArguments, failure::Failure, metadata::Metadata, notes, session::Session, text::hex};

/// The report for one message.
#[derive(Serialize)]
pub(crate) struct Report {
    operation: &'static str,
    pub(crate) input: String,
    pub(crate) output: Option<String>,
    suite: String,
    message_id: String,
    /// The keys that wrapped the data key, or the one that unwrapped it.
    keys: Vec<Key>,
    /// The keys that should have wrapped the data key and could not.
    failed: Vec<Failed>,
    /// The key that opened the old message, if the message was reencrypted.
    opened_by: Option<Key>,
    /// What of a replaced file is not kept.
    pub(crate) warnings: Vec<String>,
    #[serde(flatten)]
    pub(crate) sizes: Sizes,
    #[serde(skip)]
    encryption_context: BTreeMap<String, String>,
}

/// The known lengths, in bytes.
#[derive(Clone, Copy, Default, Serialize)]
pub(crate) struct Sizes {
    pub(crate) input_length: u64,
    pub(crate) output_length: Option<u64>,
    pub(crate) plaintext_length: Option<u64>,
}

#[derive(Serialize)]
struct Key {
    keyring: String,
    encrypted_data_key: usize,
}

impl From<&OpenedBy> for Key {
    fn from(by: &OpenedBy) -> Self {
        Self { keyring: by.keyring.to_string(), encrypted_data_key: by.encrypted_data_key }
    }
}

#[derive(Serialize)]
struct Failed {
    keyring: String,
    reason: String,
}

/// A report as a line of metadata: adds the context, which the report as JSON omits.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    report: &'a Report,
    encryption_context: &'a BTreeMap<String, String>,
}

impl Report {
    /// Returns the report for a message that was written.
    pub(crate) fn sealed(header: &Header, keys: &KeyReport, input: String, output: String) -> Self {
        let mut report = Self::new("encrypt", header, input, Some(output));
        report.set_wrapped(keys);
        report
    }

    /// Returns the report for a message that was decrypted into a file or stream.
    pub(crate) fn opened(header: &Header, by: &OpenedBy, input: String, output: String) -> Self {
        Self { keys: vec![by.into()], ..Self::new("decrypt", header, input, Some(output)) }
    }

    /// Returns the report for a message that was only verified.
    pub(crate) fn verified(header: &Header, by: &OpenedBy, input: String) -> Self {
        Self { keys: vec![by.into()], ..Self::new("verify", header, input, None) }
    }

    /// Returns the report for a message that was reencrypted.
    pub(crate) fn reencrypted(opened: &Decrypted<()>, sealed: &Encrypted<()>, input: String, output: String) -> Self {
        let mut report = Self::new("reencrypt", &sealed.header, input, Some(output));
        report.opened_by = Some((&opened.opened_by).into());
        report.set_wrapped(&sealed.key_report);
        report
    }

    fn new(operation: &'static str, header: &Header, input: String, output: Option<String>) -> Self {
        Self {
            operation,
            input,
            output,
            suite: format!("{:#06x}", header.suite().id()),
            message_id: hex(header.message_id()),
            keys: Vec::new(),
            failed: Vec::new(),
            opened_by: None,
            warnings: Vec::new(),
            sizes: Sizes::default(),
            encryption_context: header.context().iter().map(|(key, value)| (key.into(), value.into())).collect(),
        }
    }

    fn set_wrapped(&mut self, keys: &KeyReport) {
        let key = |by: &sealwax::keyring::WrappedBy| Key {
            keyring: by.keyring.to_string(),
            encrypted_data_key: by.encrypted_data_key,
        };
        self.keys = keys.wrapped().iter().map(key).collect();
        let failed = |by: &sealwax::keyring::WrapFailure| Failed {
            keyring: by.keyring.to_string(),
            reason: by.cause.to_string(),
        };
        self.failed = keys.failed().iter().map(failed).collect();
    }

    /// Writes the report, as far as requested: as JSON or on standard error, and as a line of
    /// metadata.
    pub(crate) fn print(
        &self,
        arguments: &ReportArguments,
        session: &Session,
        metadata: Option<&Metadata>,
    ) -> Result<(), Failure> {
        if !session.emit(self)? {
            self.warn();
            if arguments.verbose {
                self.lines().into_iter().for_each(notes::say);
            }
        }
        self.append_to(metadata)
    }

    /// Prints the warnings.
    pub(crate) fn warn(&self) {
        let name = self.output.as_ref().unwrap_or(&self.input);
        for warning in &self.warnings {
            notes::say(format_args!("sealwax: warning: {}: {}", Escaped(name), Escaped(warning)));
        }
    }

    /// Appends the report as a line of metadata, if requested.
    pub(crate) fn append_to(&self, metadata: Option<&Metadata>) -> Result<(), Failure> {
        let line = Line { report: self, encryption_context: &self.encryption_context };
        metadata.map_or(Ok(()), |metadata| metadata.append(&line))
    }

    fn lines(&self) -> Vec<String> {
        let line = |did: &str, key: &Key| {
            format!("{did} {} (encrypted data key {})", Escaped(&key.keyring), key.encrypted_data_key)
        };
        let did = match self.operation {
            "encrypt" | "reencrypt" => "wrapped by",
            _ => "verified, decrypted by",
        };
        let opened = self.opened_by.iter().map(|key| line("verified, decrypted by", key));
        let keys = self.keys.iter().map(|key| line(did, key));
        let failed =
            |failed: &Failed| format!("not wrapped by {}: {}", Escaped(&failed.keyring), Escaped(&failed.reason));
        opened.chain(keys).chain(self.failed.iter().map(failed)).collect()
    }
}
