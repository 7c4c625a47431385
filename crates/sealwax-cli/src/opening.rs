//! How messages are read: decrypted, verified, or compared with an existing file.

use std::{
    fs::File,
    io::{Read, Write},
};

use sealwax::{Client, EncryptionContext, materials::MaterialsManager};
use zeroize::Zeroizing;

use crate::{
    arguments::{DirectoryArguments, KeyArguments, LimitArguments},
    behind::write_behind,
    directories,
    failure::Failure,
    keyring,
    report::{Report, Sizes},
    session::Session,
    streams::{Ahead, Comparison, Input, Nowhere, Output},
};

/// How messages are read.
pub(crate) struct Opening {
    client: Client,
    manager: Box<dyn MaterialsManager>,
    context: EncryptionContext,
    preserve: bool,
    /// The number of threads for one message.
    threads: usize,
}

impl Opening {
    pub(crate) fn new(
        session: &Session,
        keys: &KeyArguments,
        limits: Option<&LimitArguments>,
        directories: &DirectoryArguments,
    ) -> Result<Self, Failure> {
        let manager = directories::sharing(directories, keys.manager(keyring::to_decrypt(session, &keys.keys)?)?)?;
        let client = keys.client(directories.recursive());
        let client = match limits {
            Some(limits) => limits.apply(client),
            None => client,
        };
        Ok(Self {
            client: client.build(),
            manager,
            context: keys.context()?,
            preserve: false,
            threads: keys.threads(directories.recursive()),
        })
    }

    /// Sets whether the mode and modification time in the context of a message are restored.
    pub(crate) fn preserving(self, preserve: bool) -> Self {
        Self { preserve, ..self }
    }

    fn decrypt(&self) -> sealwax::Decrypt<'_> {
        self.client.decrypt_with(&*self.manager).context(self.context.clone())
    }

    /// Decrypts an input into an output and commits the output.
    pub(crate) fn open(&self, mut input: Input, mut output: Output, unverified: bool) -> Result<Report, Failure> {
        let name = input.name.clone();
        let fail = |error: sealwax::Error| Failure::about(&name, error);
        let (header, by) = match input.read_ahead().map_err(|error| fail(error.into()))? {
            Ahead::Whole(message) if !unverified => {
                let mut opened = self.decrypt().bytes(&message).wait().map_err(fail)?;
                let plaintext = Zeroizing::new(std::mem::take(&mut opened.plaintext));
                output.write_all(&plaintext).map_err(|error| Failure::about(&output.name, error))?;
                (opened.header, opened.opened_by)
            }
            Ahead::Whole(begin) | Ahead::Begun(begin) => {
                let (source, decrypt) = (begin.chain(&mut input), self.decrypt());
                // A file appears only once everything is verified; standard output is visible at
                // once.
                let verified_first = output.shows_at_once() && !unverified;
                let decrypt = if verified_first { decrypt } else { decrypt.release_unverified() };
                let outcome = write_behind(self.threads, &mut output, |output| {
                    decrypt.open(source).and_then(|message| message.copy_to(output))
                });
                let opened = outcome.map_err(|error| output.failure(&name, error))?;
                (opened.header, opened.opened_by)
            }
        };
        if self.preserve {
            output.restore(header.context()).map_err(|failure| failure.prefixed(&name))?;
        }
        let output_name = output.name.clone();
        let committed = output.commit()?;
        let output_length = Some(committed.length);
        let mut report = Report::opened(&header, &by, name, output_name);
        report.warnings = committed.warnings;
        report.sizes = Sizes { input_length: input.count(), output_length, plaintext_length: output_length };
        Ok(report)
    }

    /// Verifies an input and discards the plaintext.
    pub(crate) fn verify(&self, input: Input) -> Result<Report, Failure> {
        let mut nowhere = Nowhere::default();
        self.verify_into(input, &mut nowhere, |nowhere| nowhere.count)
    }

    /// Verifies an input, and returns whether a file is its plaintext.
    pub(crate) fn compare(&self, input: Input, existing: File, name: &str) -> Result<(Report, bool), Failure> {
        let mut comparison = Comparison::new(existing);
        let report = self.verify_into(input, &mut comparison, Comparison::count)?;
        let same = comparison.finish().map_err(|error| Failure::about(name, error))?;
        Ok((report, same))
    }

    /// Verifies an input, and that a file is its plaintext. Of the two, `output` names the one that
    /// the command would write, and `from` the other.
    pub(crate) fn check(&self, input: Input, existing: File, output: &str, from: &str) -> Result<Report, Failure> {
        match self.compare(input, existing, output)? {
            (report, true) => Ok(report),
            (_, false) => Err(Failure::to_do(format!("{output}: differs from {from}"))),
        }
    }

    fn verify_into<W: Write>(
        &self,
        mut input: Input,
        output: &mut W,
        length: impl Fn(&W) -> u64,
    ) -> Result<Report, Failure> {
        let name = input.name.clone();
        // The plaintext is not released, so the signature can be verified last.
        let opened =
            self.decrypt().release_unverified().open(&mut input).and_then(|message| message.copy_to(&mut *output));
        let opened = opened.map_err(|error| Failure::about(&name, error))?;
        let mut report = Report::verified(&opened.header, &opened.opened_by, name);
        let plaintext_length = Some(length(output));
        report.sizes = Sizes { input_length: input.count(), output_length: None, plaintext_length };
        Ok(report)
    }
}
