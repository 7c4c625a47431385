//! `sealwax verify`.

use crate::{
    arguments::VerifyArguments, decrypt::Opening, failure::Failure, metadata::Metadata, notes, streams::Input,
    text::escape,
};

pub(crate) fn run(arguments: &VerifyArguments) -> Result<(), Failure> {
    let VerifyArguments { keys, limits, report, input } = arguments;
    let opening = Opening::new(keys, limits)?;
    let metadata = Metadata::open(report.metadata.as_deref())?;
    let verified = opening.verify(Input::open(input)?)?;
    if !report.json && !report.verbose {
        notes::note(format_args!("{}: verified", escape(&verified.input)));
    }
    verified.tell(report, metadata.as_ref())
}
