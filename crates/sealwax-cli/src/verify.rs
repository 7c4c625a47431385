//! `sealwax verify`.

use sealwax::Escaped;

use crate::{
    arguments::VerifyArguments,
    decrypt::Opening,
    failure::Failure,
    folders::{Folder, Task},
    metadata::Metadata,
    notes,
    streams::Input,
};

pub(crate) fn run(arguments: &VerifyArguments) -> Result<(), Failure> {
    let VerifyArguments { keys, limits, folders, report, input } = arguments;
    let opening = Opening::new(keys, limits, folders)?;
    if folders.recursive {
        let folder = Folder { task: Task::Verify, arguments: folders, report, from: input, to: None, force: false };
        return folder.run(|job, _, bar| opening.verify(Input::open_one_of_many(&job.from, bar)?));
    }
    let metadata = Metadata::open(report.metadata.as_deref())?;
    let verified = opening.verify(Input::open(input)?)?;
    if !report.json && !report.verbose {
        notes::note(format_args!("{}: verified", Escaped(&verified.input)));
    }
    verified.tell(report, metadata.as_ref())
}
