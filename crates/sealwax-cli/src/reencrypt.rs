//! `sealwax reencrypt`.

use std::io::{self, Seek, SeekFrom};

use sealwax::materials::DefaultMaterialsManager;

use crate::{
    arguments::ReencryptArguments,
    failure::Failure,
    keyring,
    metadata::Metadata,
    report::{Report, Sizes},
    session::Session,
    streams::{Input, Output},
};

/// How much of a message is kept in memory before a temporary file is used.
const SPOOLED_IN_MEMORY: usize = 1 << 20;

pub(crate) fn run(arguments: &ReencryptArguments, session: &Session) -> Result<(), Failure> {
    let ReencryptArguments { keys, old_keys, message, limits, report, create_store, .. } = arguments;
    // Open the input and the output, and resolve the keys of the old message, before the keys of the
    // new one: the first use of the key store creates it.
    let mut input = Input::open(&arguments.input, session.notes)?;
    let mut output = match &arguments.output {
        Some(path) => Output::create_for_message(path, arguments.force)?,
        // In place: the output replaces the input.
        None => Output::create_for_message(&arguments.input, true)?,
    };
    let old_keyring = keyring::to_decrypt(session, if old_keys.is_empty() { &keys.keys } else { old_keys })?;
    let new_keyring = keyring::to_encrypt(session, &keys.keys, message.quorum, *create_store)?;
    let (new, old) = (keys.manager(new_keyring)?, DefaultMaterialsManager::new(old_keyring));
    let (expected, context) = (arguments.expected_context()?, arguments.new_context()?);
    let metadata = Metadata::open(report.metadata.as_deref())?;

    let client = limits.apply(keys.client(false)).build();
    let from = client.decrypt_with(&old).context(expected);
    let to = message.apply(client.encrypt_with(&*new));
    let reencrypt = match context {
        Some(context) => from.reencrypt(to.context(context)),
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
    let done = outcome.map_err(|error| Failure::about(output.blame(&name), error))?;
    let output_name = output.name.clone();
    let output_length = Some(output.commit()?);
    let mut done = Report::reencrypted(&done.opened, &done.sealed, name, output_name);
    done.sizes = Sizes { input_length: input.count(), output_length, plaintext_length: None };
    drop(input);
    done.print(report, metadata.as_ref())
}
