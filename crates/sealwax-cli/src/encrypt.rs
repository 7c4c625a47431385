//! `sealwax encrypt`.

use std::{
    fs,
    io::{Read, Write},
};

use sealwax::{Client, EncryptionContext, Error, materials::MaterialsManager};

use crate::{
    arguments::{EncryptArguments, MessageArguments},
    behind::write_behind,
    directories::{self, Directory, Goal, Task},
    failure::Failure,
    keyring,
    metadata::{self, Metadata},
    operands::{self, Operand},
    preserve,
    report::{Report, Sizes},
    session::Session,
    streams::{Ahead, Input, Output, changed},
};

pub(crate) fn run(arguments: &EncryptArguments, session: &Session) -> Result<(), Failure> {
    let EncryptArguments { directories, report, streams, .. } = arguments;
    if directories.recursive {
        return run_recursive(arguments, session);
    }
    let (operands, mut ready) = (operands::to_encrypt(streams)?, None);
    metadata::check_apart(report.metadata.as_deref(), Operand::paths(&operands))?;
    session.check_output(Operand::outputs(&operands), report.metadata.as_deref())?;
    operands::each(&operands, session, |operand| {
        // Open the input and the output before the keys: the first use of the key store creates it.
        let input = Input::open(&operand.input, session.notes)?;
        let output = Output::create_for_message(&operand.output, streams.force, &session.cleanup)?;
        let (metadata, sealing) = operands::once(&mut ready, || {
            Ok((Metadata::open(report.metadata.as_deref())?, Sealing::new(arguments, session)?))
        })?;
        sealing.seal(input, output)?.print(report, session, metadata.as_ref())
    })
}

fn run_recursive(arguments: &EncryptArguments, session: &Session) -> Result<(), Failure> {
    let EncryptArguments { directories, report, streams, .. } = arguments;
    let (from, to) = operands::directories(streams)?;
    let directory = Directory {
        task: Task::Encrypt,
        arguments: directories,
        report,
        session,
        from,
        to: Some(to),
        force: streams.force,
    };
    // Check the directories before the keys: the first use of the key store creates it.
    directory.check()?;
    let sealing = Sealing::new(arguments, session)?;
    // Detect once, before anything is written, what would make every file fail.
    sealing.try_out()?;
    directory.run(|job, goal, bar| {
        let (Goal::Write(target) | Goal::Compare(target)) = goal else {
            return Err(Failure::usage("--recursive needs an output directory; use -o DIR"));
        };
        sealing.seal(Input::open_one_of_many(&job.from, bar)?, Output::create(target, streams.force, &session.cleanup)?)
    })
}

/// How messages are written.
struct Sealing<'a> {
    client: Client,
    manager: Box<dyn MaterialsManager>,
    context: EncryptionContext,
    message: &'a MessageArguments,
    preserve: bool,
    /// The number of threads for one message.
    threads: usize,
    /// Whether messages share a data key, whose bytes the manager counts.
    shares: bool,
}

impl<'a> Sealing<'a> {
    fn new(arguments: &'a EncryptArguments, session: &Session) -> Result<Self, Failure> {
        let EncryptArguments { keys, message, directories, preserve, create_store, .. } = arguments;
        let mut manager = keys.manager(keyring::to_encrypt(session, &keys.keys, message.quorum, *create_store)?)?;
        // Files with contexts of their own cannot share a data key.
        let shares = directories.shared_by().is_some() && !preserve;
        if shares {
            manager = directories::sharing(directories, manager)?;
        }
        Ok(Self {
            client: keys.client(directories.recursive).build(),
            manager,
            context: keys.context()?,
            message,
            preserve: *preserve,
            threads: keys.threads(directories.recursive),
            shares,
        })
    }

    /// Encrypts an empty message, to check the keys and options.
    fn try_out(&self) -> Result<(), Failure> {
        let encrypt = self.client.encrypt_with(&*self.manager).context(self.context.clone());
        self.message.apply(encrypt).bytes(b"").wait().map_err(Failure::of_encryption)?;
        Ok(())
    }

    /// Encrypts an input into an output and commits the output.
    fn seal(&self, mut input: Input, mut output: Output) -> Result<Report, Failure> {
        let name = input.name.clone();
        let fail = |error: Error| Failure::of_encryption(error).prefixed(&name);
        let mut context = self.context.clone();
        if self.preserve {
            let found = input.found.as_ref().ok_or_else(|| {
                Failure::usage("--preserve needs an input file; standard input has no mode or modification time")
            })?;
            preserve::store(found, &mut context)?;
        }
        let encrypt = self.message.apply(self.client.encrypt_with(&*self.manager).context(context));
        let (header, keys) = match input.read_ahead().map_err(|error| fail(error.into()))? {
            Ahead::Whole(plaintext) => {
                let sealed = encrypt.bytes(&plaintext).wait().map_err(fail)?;
                output.write_all(&sealed.message).map_err(|error| Failure::about(&output.name, error))?;
                (sealed.header, sealed.key_report)
            }
            Ahead::Begun(begin) => {
                // Bound the length by the file's, which is then counted, unless the file has
                // already grown beyond it.
                let length = input.found.as_ref().map(fs::Metadata::len).filter(|_| self.shares);
                let encrypt = match length.filter(|length| *length >= begin.len() as u64) {
                    Some(length) => encrypt.plaintext_length_bound(length),
                    None => encrypt,
                };
                let source = begin.chain(&mut input);
                let sealed = write_behind(self.threads, &mut output, |output| encrypt.copy(source, output));
                let sealed = sealed.map_err(|error| match error {
                    // The declared length is that of the file when it was opened.
                    Error::PlaintextTooLong { declared: true, .. } => changed(&name),
                    error @ Error::Limit(_) => fail(error),
                    error => output.failure(&name, error),
                })?;
                (sealed.header, sealed.key_report)
            }
        };
        // A message that is not complete must not appear as one.
        input.check_unchanged()?;
        let output_name = output.name.clone();
        let output_length = Some(output.commit()?);
        let input_length = input.count();
        let mut report = Report::sealed(&header, &keys, name, output_name);
        report.sizes = Sizes { input_length, output_length, plaintext_length: Some(input_length) };
        Ok(report)
    }
}
