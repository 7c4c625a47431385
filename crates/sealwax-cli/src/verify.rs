//! `sealwax verify`.

use sealwax::Escaped;

use crate::{
    arguments::VerifyArguments,
    decrypt::Opening,
    directories::{Directory, Task},
    failure::Failure,
    metadata::Metadata,
    session::Session,
    streams::Input,
};

pub(crate) fn run(arguments: &VerifyArguments, session: &Session) -> Result<(), Failure> {
    let VerifyArguments { keys, limits, directories, report, input } = arguments;
    let opening = Opening::new(session, keys, limits, directories)?;
    if directories.recursive {
        let directory = Directory {
            task: Task::Verify,
            arguments: directories,
            report,
            session,
            from: input,
            to: None,
            force: false,
        };
        return directory.run(|job, _, bar| opening.verify(Input::open_one_of_many(&job.from, bar)?));
    }
    let metadata = Metadata::open(report.metadata.as_deref())?;
    let verified = opening.verify(Input::open(input, session.notes)?)?;
    if !report.json && !report.verbose {
        session.notes.note(format_args!("{}: verified", Escaped(&verified.input)));
    }
    verified.print(report, metadata.as_ref())
}
