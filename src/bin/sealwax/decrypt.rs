//! `sealwax decrypt`.

use std::io::{Read, Write};

use sealwax::{Client, EncryptionContext, materials::MaterialsManager};
use zeroize::Zeroizing;

use crate::{
    arguments::{DecryptArguments, KeyArguments, LimitArguments},
    failure::Failure,
    key_uri,
    metadata::Metadata,
    report::{Report, Sizes},
    streams::{Ahead, Input, Nowhere, Output},
};

pub(crate) fn run(arguments: &DecryptArguments) -> Result<(), Failure> {
    let DecryptArguments { keys, limits, release_unverified, report, streams } = arguments;
    let opening = Opening::new(keys, limits)?;
    let metadata = Metadata::open(report.metadata.as_deref())?;
    let input = Input::open(&streams.input)?;
    let output = Output::create(&streams.output, streams.force)?;
    opening.open(input, output, *release_unverified)?.tell(report, metadata.as_ref())
}

/// How messages are read.
pub(crate) struct Opening {
    client: Client,
    manager: Box<dyn MaterialsManager>,
    context: EncryptionContext,
}

impl Opening {
    pub(crate) fn new(keys: &KeyArguments, limits: &LimitArguments) -> Result<Self, Failure> {
        let manager = keys.manager(key_uri::keyring(&keys.keys, None)?)?;
        Ok(Self { client: limits.apply(keys.client()).build(), manager, context: keys.context()? })
    }

    fn decrypt(&self) -> sealwax::Decrypt<'_> {
        self.client.decrypt_with(&*self.manager).context(self.context.clone())
    }

    /// Decrypts an input into an output, which then appears.
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
                // A file appears only once everything is verified; what goes to standard output is seen at once.
                let outcome = if output.shows_at_once() && !unverified {
                    decrypt.copy(source, &mut output).wait()
                } else {
                    decrypt.copy_unverified(source, &mut output).wait()
                };
                let opened = outcome.map_err(fail)?;
                (opened.header, opened.opened_by)
            }
        };
        let output_name = output.name.clone();
        let output_length = Some(output.commit()?);
        let mut report = Report::opened(&header, &by, name, output_name);
        report.sizes = Sizes { input_length: input.count(), output_length, plaintext_length: output_length };
        Ok(report)
    }

    /// Decrypts an input into nothing.
    pub(crate) fn verify(&self, mut input: Input) -> Result<Report, Failure> {
        let name = input.name.clone();
        let mut nowhere = Nowhere::default();
        // Nobody sees what is released before the signature is verified.
        let opened = self.decrypt().copy_unverified(&mut input, &mut nowhere).wait();
        let opened = opened.map_err(|error| Failure::about(&name, error))?;
        let mut report = Report::verified(&opened.header, &opened.opened_by, name);
        let plaintext_length = Some(nowhere.count);
        report.sizes = Sizes { input_length: input.count(), output_length: None, plaintext_length };
        Ok(report)
    }
}
