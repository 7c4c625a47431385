//! `sealwax reencrypt`.

use std::io::{self, Seek, SeekFrom};

use sealwax::{
    Client, EncryptionContext,
    keyring::MultiKeyring,
    materials::{DefaultMaterialsManager, MaterialsManager},
};

use crate::{
    arguments::{MessageArguments, ReencryptArguments},
    directories::{self, Directory, Done, Existing, Goal, Task},
    failure::Failure,
    keyring,
    metadata::Metadata,
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
    session.check_apart(report.metadata.as_deref(), Operand::paths(&operands))?;
    session.check_output(Operand::outputs(&operands), report.metadata.as_deref())?;
    operands::each(&operands, session, |operand| {
        // Open the input and the output before the keys: the first use of the key store creates it.
        let input = Input::open(&operand.input, session.notes)?;
        // In place, the output replaces the input.
        let replaces = *force || !operand.named;
        let target = Output::create_for_message(&operand.output, operand.named, replaces, &session.cleanup)?;
        let (metadata, resealing) = operands::once(&mut ready, || {
            Ok((Metadata::open(report.metadata.as_deref())?, Resealing::new(arguments, session)?))
        })?;
        // In place, what was put there meanwhile must not be replaced.
        let check = |input: &Input| if operand.named { Ok(()) } else { input.check_still_at(&operand.input) };
        resealing.reseal(input, target, check)?.print(report, session, metadata.as_ref())
    })
}

fn run_recursive(arguments: &ReencryptArguments, session: &Session) -> Result<(), Failure> {
    let ReencryptArguments { directories, report, inputs, output, force, .. } = arguments;
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
    let resealing = Resealing::new(arguments, session)?;
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

/// How messages are re-encrypted.
struct Resealing<'a> {
    client: Client,
    old: Box<dyn MaterialsManager>,
    new: Box<dyn MaterialsManager>,
    expected: EncryptionContext,
    /// The context of the new message, or `None` if the old one is kept.
    context: Option<EncryptionContext>,
    message: &'a MessageArguments,
}

impl<'a> Resealing<'a> {
    fn new(arguments: &'a ReencryptArguments, session: &Session) -> Result<Self, Failure> {
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
        Ok(Self {
            client: limits.apply(keys.client(directories.recursive())).build(),
            old: directories::sharing(directories, old)?,
            new: directories::sharing(directories, keys.manager(new)?)?,
            expected,
            context,
            message,
        })
    }

    /// Re-encrypts an input into an output and commits the output, if the check succeeds at the
    /// end.
    fn reseal(
        &self,
        mut input: Input,
        mut output: Output,
        check: impl FnOnce(&Input) -> Result<(), Failure>,
    ) -> Result<Report, Failure> {
        let from = self.client.decrypt_with(&*self.old).context(self.expected.clone());
        let to = self.message.apply(self.client.encrypt_with(&*self.new));
        let reencrypt = match &self.context {
            Some(context) => from.reencrypt(to.context(context.clone())),
            None => from.reencrypt(to).keep_context(),
        };
        let name = input.name.clone();
        let outcome = if output.shows_at_once() {
            // Nothing of the new message is visible before the old one is verified; until then it is
            // spooled, in its encrypted form.
            let mut spool = tempfile::SpooledTempFile::new(SPOOLED_IN_MEMORY);
            reencrypt.copy(&mut input, &mut spool).and_then(|done| {
                spool.seek(SeekFrom::Start(0))?;
                io::copy(&mut spool, &mut output)?;
                Ok(done)
            })
        } else {
            reencrypt.copy(&mut input, &mut output)
        };
        let done = outcome.map_err(|error| output.failure(&name, error))?;
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
}
