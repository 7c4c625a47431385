//! `sealwax reencrypt`.

use std::io::{self, Seek, SeekFrom};

use sealwax::{
    Client, EncryptionContext,
    keyring::Keyring,
    materials::{DefaultMaterialsManager, MaterialsManager},
};

use crate::{
    arguments::{MessageArguments, ReencryptArguments},
    failure::Failure,
    keyring,
    metadata::{self, Metadata},
    operands::{self, Operand},
    report::{Report, Sizes},
    session::Session,
    streams::{Input, Output},
};

/// How much of a message is kept in memory before a temporary file is used.
const SPOOLED_IN_MEMORY: usize = 1 << 20;

pub(crate) fn run(arguments: &ReencryptArguments, session: &Session) -> Result<(), Failure> {
    let ReencryptArguments { report, inputs, output, force, .. } = arguments;
    let (operands, mut ready) = (operands::to_reencrypt(inputs, output.as_deref())?, None);
    metadata::check_apart(report.metadata.as_deref(), Operand::paths(&operands))?;
    session.check_output(Operand::outputs(&operands), report.metadata.as_deref())?;
    operands::each(&operands, session, |operand| {
        // Open the input and the output before the keys: the first use of the key store creates it.
        let input = Input::open(&operand.input, session.notes)?;
        // In place, the output replaces the input.
        let target = Output::create_for_message(&operand.output, *force || output.is_none(), &session.cleanup)?;
        let (metadata, resealing) = operands::once(&mut ready, || {
            Ok((Metadata::open(report.metadata.as_deref())?, Resealing::new(arguments, session)?))
        })?;
        resealing.reseal(input, target)?.print(report, session, metadata.as_ref())
    })
}

/// How messages are re-encrypted.
struct Resealing<'a> {
    client: Client,
    old: DefaultMaterialsManager<Box<dyn Keyring>>,
    new: Box<dyn MaterialsManager>,
    expected: EncryptionContext,
    /// The context of the new message, or `None` if the old one is kept.
    context: Option<EncryptionContext>,
    message: &'a MessageArguments,
}

impl<'a> Resealing<'a> {
    fn new(arguments: &'a ReencryptArguments, session: &Session) -> Result<Self, Failure> {
        let ReencryptArguments { keys, old_keys, message, limits, create_store, .. } = arguments;
        let (expected, context) = (arguments.expected_context()?, arguments.new_context()?);
        // The keys of the old message come first: those of the new one may create the key store.
        let old = keyring::to_decrypt(session, if old_keys.is_empty() { &keys.keys } else { old_keys })?;
        let new = keyring::to_encrypt(session, &keys.keys, message.quorum, *create_store)?;
        Ok(Self {
            client: limits.apply(keys.client(false)).build(),
            old: DefaultMaterialsManager::new(old),
            new: keys.manager(new)?,
            expected,
            context,
            message,
        })
    }

    /// Re-encrypts an input into an output and commits the output.
    fn reseal(&self, mut input: Input, mut output: Output) -> Result<Report, Failure> {
        let from = self.client.decrypt_with(&self.old).context(self.expected.clone());
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
        let output_name = output.name.clone();
        let output_length = Some(output.commit()?);
        let mut report = Report::reencrypted(&done.opened, &done.sealed, name, output_name);
        report.sizes = Sizes { input_length: input.count(), output_length, plaintext_length: None };
        Ok(report)
    }
}
