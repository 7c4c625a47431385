//! `sealwax encrypt`.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::Path,
};

use sealwax::{Client, EncryptionContext, Error, Escaped, keyring::Keyring, materials::MaterialsManager};

use crate::{
    arguments::{EncryptArguments, KeyArguments},
    behind::write_behind,
    comparison::open_existing,
    directories::{self, Directory, Done, Existing, Goal, Task, check_message, may_be_outdated},
    failure::Failure,
    keyring,
    metadata::Metadata,
    objects::{Form, is_url, with_bound},
    opening::Opening,
    operands::{self, Operand},
    preserve,
    report::{Report, Sizes},
    session::Session,
    streams::{Ahead, Input, Output, changed, is_standard},
};

pub(crate) fn run(arguments: &EncryptArguments, session: &Session) -> Result<(), Failure> {
    let EncryptArguments { directories, report, streams, .. } = arguments;
    if directories.recursive() {
        return run_recursive(arguments, session);
    }
    let (operands, mut ready) = (operands::to_encrypt(streams)?, None);
    let to_object = streams.output.as_deref().is_some_and(is_url);
    if to_object && (arguments.update || arguments.check) {
        return Err(Failure::usage("--update and --check do not work on objects; use sealwax sync"));
    }
    session.check_apart(report.metadata.as_deref(), Operand::paths(&operands))?;
    if arguments.check {
        return check(arguments, session, &operands);
    }
    session.check_output(Operand::outputs(&operands), report.metadata.as_deref())?;
    operands::each(&operands, session, |operand| {
        // Open the input and the output before the keys: the first use of the key store creates it.
        let input = session.input(&operand.input)?;
        let replaces = if arguments.update {
            match needs_update(&input, &operand.output)? {
                Some(replaces) => replaces,
                None => {
                    let (name, reason) = (operand.output.display().to_string(), "up to date");
                    if !session.emit_skipped(&name, reason)? {
                        session.notes.note(format_args!("{}: {reason}", Escaped(&name)));
                    }
                    return Ok(());
                }
            }
        } else {
            streams.force
        };
        let output = session.output_for_message(&operand.output, operand.named, replaces)?;
        let (metadata, sealing) = operands::once(&mut ready, || {
            Ok((Metadata::open(report.metadata.as_deref())?, Sealing::new(arguments, session, to_object)?))
        })?;
        sealing.seal(input, output)?.print(report, session, metadata.as_ref())
    })
}

/// Returns whether the output replaces an older one, or `None` if the existing one is newer than
/// the input.
fn needs_update(input: &Input, output: &Path) -> Result<Option<bool>, Failure> {
    if is_standard(output) {
        return Err(Failure::usage("--update needs an output file; use -o FILE"));
    }
    let name = output.display().to_string();
    let existing = match fs::metadata(output) {
        Ok(existing) => existing,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some(false)),
        Err(error) => return Err(Failure::about(&name, error)),
    };
    let modified = input.found.as_ref().and_then(|found| found.modified().ok());
    let outdated = may_be_outdated(modified, existing.modified().ok());
    if existing.is_file() {
        let file = File::open(output).map_err(|error| Failure::about(&name, error))?;
        check_message(&name, file, input.found.as_ref().map(fs::Metadata::len).filter(|_| !outdated))?;
    }
    Ok(Some(true).filter(|_| outdated))
}

/// Checks that the message of each input exists and contains it.
fn check(arguments: &EncryptArguments, session: &Session, operands: &[Operand]) -> Result<(), Failure> {
    let EncryptArguments { keys, directories, report, .. } = arguments;
    let mut ready = None;
    operands::each(operands, session, |operand| {
        if is_standard(&operand.input) {
            return Err(Failure::usage("--check needs an input file"));
        }
        let input = operand.input.display().to_string();
        let plaintext = File::open(&operand.input).map_err(|error| Failure::about(&input, error))?;
        let (_, name) = open_existing(&operand.output)?;
        let message = Input::open(&operand.output, session.notes)?;
        let (metadata, opening) = operands::once(&mut ready, || {
            Ok((Metadata::open(report.metadata.as_deref())?, Opening::new(session, keys, None, directories)?))
        })?;
        opening.check(message, plaintext, &name, &input)?.print(report, session, metadata.as_ref())
    })
}

fn run_recursive(arguments: &EncryptArguments, session: &Session) -> Result<(), Failure> {
    let EncryptArguments { keys, directories, report, streams, update, check, .. } = arguments;
    let (from, to) = operands::directories(&streams.inputs, streams.output.as_deref())?;
    let directory = Directory {
        task: Task::Encrypt,
        tree: &directories.tree,
        jobs: directories.jobs(),
        report,
        session,
        from,
        to: Some(to),
        existing: Existing::of(streams.force, *update, *check),
    };
    // Check the directories before the keys: the first use of the key store creates it.
    directory.check()?;
    let no_output = || Failure::usage("--recursive needs an output directory; use -o DIR");
    if *check {
        let opening = Opening::new(session, keys, None, directories)?;
        return directory.run(|job, goal, bar| {
            let Goal::Compare(target, found) = goal else { return Err(no_output()) };
            let (message, plaintext) = (Input::open_found(target, found, bar)?, job.from.open(&job.found)?);
            let name = message.name.clone();
            Ok(Done::from(opening.check(message, plaintext, &name, &job.from.display())?))
        });
    }
    let sealing = Sealing::new(arguments, session, false)?;
    // Detect once, before anything is written, what would make every file fail.
    sealing.try_out()?;
    directory.run(|job, goal, bar| {
        let Goal::Write(target, overwrite) = goal else { return Err(no_output()) };
        let input = Input::open_found(&job.from, &job.found, bar)?;
        Ok(Done::from(sealing.seal(input, Output::create_in(target, overwrite, &session.cleanup)?)?))
    })
}

/// How messages are written.
pub(crate) struct Sealing<'a> {
    client: Client,
    manager: Box<dyn MaterialsManager>,
    context: EncryptionContext,
    form: Form<'a>,
    preserve: bool,
    /// The number of threads for one message.
    threads: usize,
    /// Whether messages share a data key, whose bytes the manager counts.
    shares: bool,
}

impl<'a> Sealing<'a> {
    fn new(arguments: &'a EncryptArguments, session: &Session, to_object: bool) -> Result<Self, Failure> {
        let EncryptArguments { keys, message, directories, preserve, create_store, .. } = arguments;
        if to_object {
            message.check_for_objects()?;
            let keyring = keyring::to_encrypt(session, &keys.keys, message.quorum, *create_store)?;
            return Ok(Self { preserve: *preserve, ..Self::of_objects(session, keys, keyring, false)? });
        }
        let mut manager = keys.manager(keyring::to_encrypt(session, &keys.keys, message.quorum, *create_store)?)?;
        // Files with contexts of their own cannot share a data key.
        let shares = directories.shared_by().is_some() && !preserve;
        if shares {
            manager = directories::sharing(directories, manager)?;
        }
        Ok(Self {
            client: keys.client(directories.recursive()).build(),
            manager,
            context: keys.context()?,
            form: Form::Given(message),
            preserve: *preserve,
            threads: keys.threads(directories.recursive()),
            shares,
        })
    }

    /// Returns how the messages of objects are written, one or `many`.
    pub(crate) fn of_objects(
        session: &Session,
        keys: &KeyArguments,
        keyring: Box<dyn Keyring>,
        many: bool,
    ) -> Result<Self, Failure> {
        Ok(Self {
            client: keys.client(many).build(),
            manager: session.objects.manager(keys.manager(keyring)?)?,
            context: keys.context()?,
            form: Form::Objects(session.objects.messages()?),
            preserve: false,
            threads: keys.threads(many),
            shares: false,
        })
    }

    /// Encrypts an empty message, to check the keys and options.
    fn try_out(&self) -> Result<(), Failure> {
        let encrypt = self.client.encrypt_with(&*self.manager).context(self.context.clone());
        self.form.apply(encrypt).bytes(b"").wait().map_err(Failure::of_encryption)?;
        Ok(())
    }

    /// Encrypts an input into an output and commits the output.
    pub(crate) fn seal(&self, mut input: Input, mut output: Output) -> Result<Report, Failure> {
        let name = input.name.clone();
        let fail = |error: Error| Failure::of_encryption(error).prefixed(&name);
        let mut context = with_bound(&self.context, output.bound.as_ref());
        if self.preserve {
            let found = input.found.as_ref().ok_or_else(|| {
                Failure::usage("--preserve needs an input file; standard input has no mode or modification time")
            })?;
            preserve::store(found, &mut context)?;
        }
        let encrypt = self.form.apply(self.client.encrypt_with(&*self.manager).context(context));
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
        let committed = output.commit()?;
        let (input_length, output_length) = (input.count(), Some(committed.length));
        let mut report = Report::sealed(&header, &keys, name, output_name);
        report.warnings = committed.warnings;
        report.sizes = Sizes { input_length, output_length, plaintext_length: Some(input_length) };
        Ok(report)
    }
}
