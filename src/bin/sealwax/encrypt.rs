//! `sealwax encrypt`.

use sealwax::{Client, EncryptionContext, materials::MaterialsManager};
use std::io::{Read, Write};

use crate::{
    arguments::{EncryptArguments, MessageArguments},
    failure::Failure,
    key_uri,
    metadata::Metadata,
    report::{Report, Sizes},
    streams::{Ahead, Input, Output},
};

pub(crate) fn run(arguments: &EncryptArguments) -> Result<(), Failure> {
    let EncryptArguments { report, streams, .. } = arguments;
    let sealing = Sealing::new(arguments)?;
    let metadata = Metadata::open(report.metadata.as_deref())?;
    let input = Input::open(&streams.input)?;
    let output = Output::create_for_message(&streams.output, streams.force)?;
    sealing.seal(input, output)?.tell(report, metadata.as_ref())
}

/// How messages are written.
pub(crate) struct Sealing<'a> {
    client: Client,
    manager: Box<dyn MaterialsManager>,
    context: EncryptionContext,
    message: &'a MessageArguments,
}

impl<'a> Sealing<'a> {
    pub(crate) fn new(arguments: &'a EncryptArguments) -> Result<Self, Failure> {
        let EncryptArguments { keys, message, .. } = arguments;
        let manager = keys.manager(key_uri::keyring(&keys.keys, message.quorum)?)?;
        Ok(Self { client: keys.client().build(), manager, context: keys.context()?, message })
    }

    /// Encrypts an input into an output, which then appears.
    pub(crate) fn seal(&self, mut input: Input, mut output: Output) -> Result<Report, Failure> {
        let name = input.name.clone();
        let fail = |error: sealwax::Error| Failure::about(&name, error);
        let encrypt = self.client.encrypt_with(&*self.manager).context(self.context.clone());
        let encrypt = self.message.apply(encrypt);
        let (header, keys) = match input.read_ahead().map_err(|error| fail(error.into()))? {
            Ahead::Whole(plaintext) => {
                let sealed = encrypt.bytes(&plaintext).wait().map_err(fail)?;
                output.write_all(&sealed.message).map_err(|error| Failure::about(&output.name, error))?;
                (sealed.header, sealed.key_report)
            }
            Ahead::Begun(begin) => {
                // The length that a manager counts, unless the file is longer already than it was said to be.
                let length = input.found.as_ref().map(std::fs::Metadata::len);
                let encrypt = match length.filter(|length| *length >= begin.len() as u64) {
                    Some(length) => encrypt.plaintext_length_bound(length),
                    None => encrypt,
                };
                let sealed = encrypt.copy(begin.chain(&mut input), &mut output).wait().map_err(fail)?;
                (sealed.header, sealed.key_report)
            }
        };
        let output_name = output.name.clone();
        let output_length = Some(output.commit()?);
        let input_length = input.count();
        let mut report = Report::sealed(&header, &keys, name, output_name);
        report.sizes = Sizes { input_length, output_length, plaintext_length: Some(input_length) };
        Ok(report)
    }
}
