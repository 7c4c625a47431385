//! `sealwax decrypt`.

use std::{
    io::{Read, Write},
    path::Path,
};

use sealwax::{Client, EncryptionContext, materials::MaterialsManager};
use zeroize::Zeroizing;

use crate::{
    arguments::{DecryptArguments, DirectoryArguments, KeyArguments, LimitArguments},
    behind::write_behind,
    directories::{self, Directory, Goal, Task},
    failure::Failure,
    keyring,
    metadata::{self, Metadata},
    operands::{self, Operand},
    preserve,
    report::{Report, Sizes},
    session::Session,
    streams::{Ahead, Comparison, Input, Nowhere, Output},
};

pub(crate) fn run(arguments: &DecryptArguments, session: &Session) -> Result<(), Failure> {
    let DecryptArguments { keys, limits, release_unverified, preserve, directories, report, streams } = arguments;
    if directories.recursive {
        return run_recursive(arguments, session);
    }
    let (operands, mut ready) = (operands::to_decrypt(streams)?, None);
    metadata::check_apart(report.metadata.as_deref(), Operand::paths(&operands))?;
    session.check_output(Operand::outputs(&operands), report.metadata.as_deref())?;
    operands::each(&operands, session, |operand| {
        let mut input = Input::open(&operand.input, session.notes)?;
        let output = Output::create(&operand.output, streams.force, &session.cleanup)?;
        if output.is_terminal() {
            input.hide_progress();
        }
        if *preserve && output.file().is_none() {
            return Err(Failure::usage("--preserve needs an output file; use -o FILE"));
        }
        let (metadata, opening) = operands::once(&mut ready, || {
            let opening = Opening { preserve: *preserve, ..Opening::new(session, keys, limits, directories)? };
            Ok((Metadata::open(report.metadata.as_deref())?, opening))
        })?;
        opening.open(input, output, *release_unverified)?.print(report, session, metadata.as_ref())
    })
}

fn run_recursive(arguments: &DecryptArguments, session: &Session) -> Result<(), Failure> {
    let DecryptArguments { keys, limits, preserve, directories, report, streams, .. } = arguments;
    let (from, to) = operands::directories(streams)?;
    let opening = Opening { preserve: *preserve, ..Opening::new(session, keys, limits, directories)? };
    let directory = Directory {
        task: Task::Decrypt,
        arguments: directories,
        report,
        session,
        from,
        to: Some(to),
        force: streams.force,
    };
    directory.run(|job, goal, bar| {
        let input = Input::open_one_of_many(&job.from, bar)?;
        match goal {
            Goal::Write(target) => opening.open(input, Output::create(target, streams.force, &session.cleanup)?, false),
            Goal::Compare(target) => opening.compare(input, target),
            Goal::Verify => opening.verify(input),
        }
    })
}

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
        limits: &LimitArguments,
        directories: &DirectoryArguments,
    ) -> Result<Self, Failure> {
        let manager = directories::sharing(directories, keys.manager(keyring::to_decrypt(session, &keys.keys)?)?)?;
        let client = limits.apply(keys.client(directories.recursive)).build();
        Ok(Self {
            client,
            manager,
            context: keys.context()?,
            preserve: false,
            threads: keys.threads(directories.recursive),
        })
    }

    fn decrypt(&self) -> sealwax::Decrypt<'_> {
        self.client.decrypt_with(&*self.manager).context(self.context.clone())
    }

    /// Decrypts an input into an output and commits the output.
    fn open(&self, mut input: Input, mut output: Output, unverified: bool) -> Result<Report, Failure> {
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
        if self.preserve
            && let Some(file) = output.file()
        {
            file.with(|file| preserve::restore(header.context(), file)).map_err(|failure| failure.prefixed(&name))?;
        }
        let output_name = output.name.clone();
        let output_length = Some(output.commit()?);
        let mut report = Report::opened(&header, &by, name, output_name);
        report.sizes = Sizes { input_length: input.count(), output_length, plaintext_length: output_length };
        Ok(report)
    }

    /// Verifies an input and discards the plaintext.
    pub(crate) fn verify(&self, input: Input) -> Result<Report, Failure> {
        let mut nowhere = Nowhere::default();
        self.verify_into(input, &mut nowhere, |nowhere| nowhere.count)
    }

    /// Verifies an input, and that an existing file is its plaintext.
    fn compare(&self, input: Input, existing: &Path) -> Result<Report, Failure> {
        let name = existing.display().to_string();
        let mut comparison = Comparison::new(existing).map_err(|error| Failure::about(&name, error))?;
        let report = self.verify_into(input, &mut comparison, Comparison::count)?;
        if comparison.finish().map_err(|error| Failure::about(&name, error))? {
            return Ok(report);
        }
        Err(Failure::exists(format!("{name}: the file exists and differs from the message; use --force to replace it")))
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
