//! How messages are read: decrypted, verified, or compared with an existing file.

use std::{
    fs::File,
    io::{self, Read, Write},
    ops::Range,
    path::Path,
};

use sealwax::{
    Client, EncryptionContext, Header,
    io::{RangeReader, ReadAt, StoredMessage},
    materials::{MaterialsManager, OpenedBy},
};
use zeroize::Zeroizing;

use crate::{
    arguments::{ByteRange, DirectoryArguments, KeyArguments, LimitArguments},
    behind::write_behind,
    comparison::Comparison,
    directories,
    failure::Failure,
    keyring,
    objects::{is_url, with_bound},
    report::{Report, Sizes},
    session::Session,
    streams::{Ahead, Input, Nowhere, Output},
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

    /// Returns how the messages of objects are read, one or `many`.
    pub(crate) fn of_objects(
        session: &Session,
        keys: &KeyArguments,
        limits: &LimitArguments,
        many: bool,
    ) -> Result<Self, Failure> {
        Ok(Self {
            client: limits.apply(keys.client(many)).build(),
            manager: keys.manager(keyring::to_decrypt(session, &keys.keys)?)?,
            context: keys.context()?,
            preserve: false,
            threads: keys.threads(many),
        })
    }

    fn decrypt(&self, bound: Option<&EncryptionContext>) -> sealwax::Decrypt<'_> {
        self.client.decrypt_with(&*self.manager).context(with_bound(&self.context, bound))
    }

    /// Decrypts an input into an output and commits the output.
    pub(crate) fn open(&self, mut input: Input, mut output: Output, unverified: bool) -> Result<Report, Failure> {
        let name = input.name.clone();
        let bound = input.bound.take();
        let fail = |error: sealwax::Error| about(&name, bound.as_ref(), error);
        let (header, by) = match input.read_ahead().map_err(|error| fail(error.into()))? {
            Ahead::Whole(message) if !unverified => {
                let mut opened = self.decrypt(bound.as_ref()).bytes(&message).wait().map_err(fail)?;
                let plaintext = Zeroizing::new(std::mem::take(&mut opened.plaintext));
                output.write_all(&plaintext).map_err(|error| Failure::about(&output.name, error))?;
                (opened.header, opened.opened_by)
            }
            Ahead::Whole(begin) | Ahead::Begun(begin) => {
                let (source, decrypt) = (begin.chain(&mut input), self.decrypt(bound.as_ref()));
                // A file appears only once everything is verified; standard output is visible at
                // once.
                let verified_first = output.shows_at_once() && !unverified;
                let decrypt = if verified_first { decrypt } else { decrypt.release_unverified() };
                let outcome = write_behind(self.threads, &mut output, |output| {
                    decrypt.open(source).and_then(|message| message.copy_to(output))
                });
                let opened =
                    outcome.map_err(|error| hinted(bound.as_ref(), error, |error| output.failure(&name, error)))?;
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

    /// Decrypts a range of a file or an object into an output and commits the output. A signed message
    /// is verified first, unless it is released unverified.
    pub(crate) fn open_range(
        &self,
        session: &Session,
        path: &Path,
        range: ByteRange,
        mut output: Output,
        unverified: bool,
    ) -> Result<Report, Failure> {
        let name = path.display().to_string();
        let find = |length| range.within(length);
        let (header, by, input_length) = if is_url(path) {
            self.open_remote_range(session, path, find, unverified, &mut output)?
        } else {
            let fail = |error: sealwax::Error| Failure::about(&name, error);
            let file = File::open(path).map_err(|error| fail(error.into()))?;
            let length = file.metadata().map_err(|error| fail(error.into()))?.len();
            let decrypt = self.decrypt(None);
            let decrypt = if unverified { decrypt.release_unverified() } else { decrypt };
            let message = decrypt.open_at(file).map_err(fail)?;
            let (header, by) = if message.header().suite().is_signed() && !unverified {
                let reader = message.verify().and_then(StoredMessage::into_ranges).map_err(fail)?;
                copy_range(&reader, find, &mut output)
            } else {
                copy_range(&message.into_ranges().map_err(fail)?, find, &mut output)
            }
            .map_err(|error| output.failure(&name, error))?;
            (header, by, length)
        };
        let output_name = output.name.clone();
        let committed = output.commit()?;
        let output_length = Some(committed.length);
        let mut report = Report::opened(&header, &by, name, output_name);
        report.warnings = committed.warnings;
        report.sizes = Sizes { input_length, output_length, plaintext_length: output_length };
        Ok(report)
    }

    #[cfg(feature = "object-store")]
    fn open_remote_range(
        &self,
        session: &Session,
        path: &Path,
        find: impl FnOnce(u64) -> io::Result<Range<u64>>,
        unverified: bool,
        output: &mut Output,
    ) -> Result<(Header, OpenedBy, u64), Failure> {
        let object = session.objects.object(path)?;
        let bound = session.objects.context(&object)?;
        let read = session.objects.copy_range(&object, self.decrypt(Some(&bound)), unverified, find, output)?;
        let read = read.map_err(|error| hinted(Some(&bound), error, |error| output.failure(&object.name(), error)))?;
        Ok((read.header, read.opened_by, read.message_length))
    }

    #[cfg(not(feature = "object-store"))]
    fn open_remote_range(
        &self,
        session: &Session,
        path: &Path,
        _: impl FnOnce(u64) -> io::Result<Range<u64>>,
        _: bool,
        _: &mut Output,
    ) -> Result<(Header, OpenedBy, u64), Failure> {
        Err(session.input(path).err().unwrap_or_else(|| Failure::usage("not an object")))
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
        let bound = input.bound.take();
        let decrypt = self.decrypt(bound.as_ref()).release_unverified();
        let opened = decrypt.open(&mut input).and_then(|message| message.copy_to(&mut *output));
        let opened = opened.map_err(|error| about(&name, bound.as_ref(), error))?;
        let mut report = Report::verified(&opened.header, &opened.opened_by, name);
        let plaintext_length = Some(length(output));
        report.sizes = Sizes { input_length: input.count(), output_length: None, plaintext_length };
        Ok(report)
    }
}

/// Returns the failure for an error on the message of this name.
fn about(name: &str, bound: Option<&EncryptionContext>, error: sealwax::Error) -> Failure {
    hinted(bound, error, |error| Failure::about(name, error))
}

/// Returns a failure that says what an object may be bound to, if that can be the reason.
pub(crate) fn hinted(
    bound: Option<&EncryptionContext>,
    error: sealwax::Error,
    failure: impl FnOnce(sealwax::Error) -> Failure,
) -> Failure {
    use sealwax::Error::{Context, Integrity, NotUnwrapped};

    let may_be_bound = bound.is_some() && matches!(error, Context(_) | Integrity | NotUnwrapped(_));
    let failure = failure(error);
    if !may_be_bound {
        return failure;
    }
    failure.hinted("or the object is bound to something else; see --bind and --store-name")
}

/// Copies a range of plaintext.
fn copy_range<S: ReadAt>(
    reader: &RangeReader<S>,
    find: impl FnOnce(u64) -> io::Result<Range<u64>>,
    output: &mut impl Write,
) -> sealwax::Result<(Header, OpenedBy)> {
    for piece in reader.pieces(find(reader.len())?) {
        output.write_all(&piece?)?;
    }
    Ok((reader.header().clone(), reader.opened_by().clone()))
}
