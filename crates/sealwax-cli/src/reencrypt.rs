//! `sealwax reencrypt`.

use std::io::{self, Read, Seek, SeekFrom};

use sealwax::{
    Client, EncryptionContext, FormatError,
    keyring::MultiKeyring,
    materials::{DefaultMaterialsManager, MaterialsManager},
};

use crate::{
    arguments::{KeyArguments, LimitArguments, ReencryptArguments},
    directories::{self, Directory, Done, Existing, Goal, Task},
    failure::Failure,
    keyring,
    metadata::Metadata,
    objects::{Form, is_url, with_bound},
    opening::hinted,
    operands::{self, Operand},
    report::{Report, Sizes},
    session::Session,
    streams::{Input, Output},
};

/// How much of a message is kept in memory before a temporary file is used.
const SPOOLED_IN_MEMORY: usize = 1 << 20;

pub(crate) fn run(arguments: &ReencryptArguments, session: &Session) -> Result<(), Failure> {
    let ReencryptArguments { directories, report, inputs, output, force, .. } = arguments;
    if directories.recursive() {
        return run_recursive(arguments, session);
    }
    let (operands, mut ready) = (operands::to_reencrypt(inputs, output.as_deref())?, None);
    let to_objects = Operand::outputs(&operands).filter(|path| is_url(path)).count();
    if to_objects > 0 && to_objects < operands.len() {
        return Err(Failure::usage("files and objects cannot be re-encrypted together; name them in two commands"));
    }
    session.check_apart(report.metadata.as_deref(), Operand::paths(&operands))?;
    session.check_output(Operand::outputs(&operands), report.metadata.as_deref())?;
    operands::each(&operands, session, |operand| {
        // Open the input and the output before the keys: the first use of the key store creates it.
        let (input, target) = if is_url(&operand.input) && !operand.named {
            session.objects.in_place(&operand.input, session.notes, &session.cleanup)?
        } else {
            let input = session.input(&operand.input)?;
            // In place, the output replaces the input.
            let replaces = *force || !operand.named;
            (input, session.output_for_message(&operand.output, operand.named, replaces)?)
        };
        let (metadata, resealing) = operands::once(&mut ready, || {
            Ok((Metadata::open(report.metadata.as_deref())?, Resealing::new(arguments, session, to_objects > 0)?))
        })?;
        // In place, what was put there meanwhile must not be replaced.
        let check = |input: &Input| {
            if operand.named || to_objects > 0 { Ok(()) } else { input.check_still_at(&operand.input) }
        };
        resealing.reseal(input, target, check)?.print(report, session, metadata.as_ref())
    })
}

fn run_recursive(arguments: &ReencryptArguments, session: &Session) -> Result<(), Failure> {
    let ReencryptArguments { directories, report, inputs, output, force, .. } = arguments;
    if is_url(operands::directory(inputs)?) || output.as_deref().is_some_and(is_url) {
        return run_below(arguments, session);
    }
    let directory = Directory {
        task: Task::Reencrypt,
        tree: &directories.tree,
        jobs: directories.jobs(),
        report,
        session,
        from: operands::directory(inputs)?,
        to: output.as_deref(),
        existing: Existing::of(*force, false, false),
    };
    // Check the directories before the keys: the first use of the key store creates it.
    directory.check()?;
    let resealing = Resealing::new(arguments, session, false)?;
    directory.run(|job, goal, bar| {
        let Goal::Write(target, overwrite) = goal else {
            return Err(Failure::usage("--recursive needs a directory"));
        };
        let input = Input::open_found(&job.from, &job.found, bar)?;
        let output = Output::create_in(target, overwrite, &session.cleanup)?;
        // In place, what was put there meanwhile must not be replaced.
        Ok(Done::from(resealing.reseal(input, output, |_| job.from.check_same(&job.found))?))
    })
}

/// Re-encrypts all objects below a URL in place.
#[cfg(feature = "object-store")]
fn run_below(arguments: &ReencryptArguments, session: &Session) -> Result<(), Failure> {
    use crate::objects::Mode;

    let ReencryptArguments { directories, report, inputs, output, .. } = arguments;
    if output.is_some() {
        return Err(Failure::usage("--recursive re-encrypts objects in place; omit -o, or copy them first"));
    }
    let (url, resealing) = (operands::directory(inputs)?, Resealing::new(arguments, session, true)?);
    crate::objects_below::run(Task::Reencrypt, directories, report, session, url, |object, input, version| {
        // What was put there meanwhile must not be replaced.
        let output = session.objects.create_object(object, Mode::Update(version), &session.cleanup)?;
        resealing.reseal(input, output, |_| Ok(()))
    })
}

#[cfg(not(feature = "object-store"))]
fn run_below(arguments: &ReencryptArguments, _: &Session) -> Result<(), Failure> {
    let ReencryptArguments { inputs, output, .. } = arguments;
    let url = inputs.iter().chain(output).find(|path| is_url(path));
    Err(url.map_or_else(|| Failure::usage("not an object"), |url| crate::objects::refuse(url)))
}

/// How messages are re-encrypted.
pub(crate) struct Resealing<'a> {
    client: Client,
    old: Box<dyn MaterialsManager>,
    new: Box<dyn MaterialsManager>,
    expected: EncryptionContext,
    /// The context of the new message, or `None` if the old one is kept.
    context: Option<EncryptionContext>,
    form: Form<'a>,
}

impl<'a> Resealing<'a> {
    fn new(arguments: &'a ReencryptArguments, session: &Session, to_objects: bool) -> Result<Self, Failure> {
        let ReencryptArguments { keys, old_keys, message, limits, directories, create_store, .. } = arguments;
        let (expected, context) = (arguments.expected_context()?, arguments.new_context()?);
        // The keys of the old message come first: those of the new one may create the key store.
        let mut old = keyring::to_decrypt(session, if old_keys.is_empty() { &keys.keys } else { old_keys })?;
        let new = keyring::to_encrypt(session, &keys.keys, message.quorum, *create_store)?;
        // An interrupted run has left messages under the new keys, which the next run must open.
        if directories.recursive()
            && !old_keys.is_empty()
            && let Ok(done) = keyring::to_decrypt(session, &keys.keys)
        {
            old = Box::new(MultiKeyring::new(old).child(done));
        }
        let old = Box::new(DefaultMaterialsManager::new(old));
        let (new, form) = if to_objects {
            message.check_for_objects()?;
            (session.objects.manager(keys.manager(new)?)?, Form::Objects(session.objects.messages()?))
        } else {
            (directories::sharing(directories, keys.manager(new)?)?, Form::Given(message))
        };
        Ok(Self {
            client: limits.apply(keys.client(directories.recursive())).build(),
            old: directories::sharing(directories, old)?,
            new,
            expected,
            context,
            form,
        })
    }

    /// Returns how an object is copied to another one.
    pub(crate) fn of_objects(session: &Session, keys: &KeyArguments, limits: &LimitArguments) -> Result<Self, Failure> {
        let old = keyring::to_decrypt(session, &keys.keys)?;
        let new = keyring::to_encrypt(session, &keys.keys, None, false)?;
        Ok(Self {
            client: limits.apply(keys.client(false)).build(),
            old: Box::new(DefaultMaterialsManager::new(old)),
            new: session.objects.manager(keys.manager(new)?)?,
            expected: keys.context()?,
            context: None,
            form: Form::Objects(session.objects.messages()?),
        })
    }

    /// Re-encrypts an input into an output and commits the output, if the check succeeds at the
    /// end.
    pub(crate) fn reseal(
        &self,
        mut input: Input,
        mut output: Output,
        check: impl FnOnce(&Input) -> Result<(), Failure>,
    ) -> Result<Report, Failure> {
        let name = input.name.clone();
        let (bound, mut begin) = (input.bound.take(), Vec::new());
        let from = self.client.decrypt_with(&*self.old).context(with_bound(&self.expected, bound.as_ref()));
        let to = self.form.apply(self.client.encrypt_with(&*self.new));
        let reencrypt = match (&self.context, &output.bound) {
            (Some(context), to_object) => from.reencrypt(to.context(with_bound(context, to_object.as_ref()))),
            // A file is not bound to the path of the object, so only what is stored is kept.
            (None, None) if bound.is_some() => {
                let (context, read) = self.stored_context(&mut input)?;
                begin = read;
                from.reencrypt(to.context(context))
            }
            // The path of an object replaces that of the old one.
            (None, to_object) => from.reencrypt(to.context(to_object.clone().unwrap_or_default())).keep_context(),
        };
        let mut source = begin.chain(&mut input);
        let outcome = if output.shows_at_once() {
            // Nothing of the new message is visible before the old one is verified; until then it is
            // spooled, in its encrypted form.
            let mut spool = tempfile::SpooledTempFile::new(SPOOLED_IN_MEMORY);
            reencrypt.copy(&mut source, &mut spool).and_then(|done| {
                spool.seek(SeekFrom::Start(0))?;
                io::copy(&mut spool, &mut output)?;
                Ok(done)
            })
        } else {
            reencrypt.copy(&mut source, &mut output)
        };
        let done = outcome.map_err(|error| hinted(bound.as_ref(), error, |error| output.failure(&name, error)))?;
        // What was written to the file after it was read must not be lost.
        check(&input)?;
        input.check_unchanged()?;
        let output_name = output.name.clone();
        let committed = output.commit()?;
        let output_length = Some(committed.length);
        let mut report = Report::reencrypted(&done.opened, &done.sealed, name, output_name);
        report.warnings = committed.warnings;
        report.sizes = Sizes { input_length: input.count(), output_length, plaintext_length: None };
        Ok(report)
    }

    /// Reads the header of a message. Returns the context that it stores, without the public key, and
    /// the bytes that were read.
    fn stored_context(&self, input: &mut Input) -> Result<(EncryptionContext, Vec<u8>), Failure> {
        let (mut decoder, mut read, mut piece) = (self.client.header_decoder(), Vec::new(), [0; 4 << 10]);
        loop {
            let count = input.read(&mut piece).map_err(|error| Failure::about(&input.name, error))?;
            read.extend_from_slice(&piece[..count]);
            match decoder.push(&piece[..count]).map_err(|error| Failure::about(&input.name, error))? {
                (_, Some(received)) => {
                    let stored = received.header().context();
                    if let Some((key, _)) = self.expected.iter().find(|(key, _)| !stored.contains_key(key)) {
                        return Err(Failure::usage(format!(
                            "the context key {key} is not stored in the object; use --context for the file"
                        )));
                    }
                    return Ok((stored.iter().filter(|(key, _)| !key.starts_with("aws-crypto-")).collect(), read));
                }
                _ if count == 0 => return Err(Failure::about(&input.name, FormatError::Truncated)),
                _ => {}
            }
        }
    }
}
