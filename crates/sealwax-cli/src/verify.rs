//! `sealwax verify`.

use sealwax::Escaped;

use crate::{
    arguments::VerifyArguments,
    directories::{Directory, Done, Existing, Task},
    failure::Failure,
    metadata::Metadata,
    opening::Opening,
    operands,
    session::Session,
    streams::{Input, is_standard},
};

pub(crate) fn run(arguments: &VerifyArguments, session: &Session) -> Result<(), Failure> {
    let VerifyArguments { keys, limits, directories, report, inputs } = arguments;
    let opening = Opening::new(session, keys, Some(limits), directories)?;
    if directories.recursive() {
        let directory = Directory {
            task: Task::Verify,
            tree: &directories.tree,
            jobs: directories.jobs(),
            report,
            session,
            from: operands::directory(inputs)?,
            to: None,
            existing: Existing::Keep,
        };
        return directory
            .run(|job, _, bar| Ok(Done::from(opening.verify(Input::open_found(&job.from, &job.found, bar)?)?)));
    }
    let inputs = operands::inputs(inputs)?;
    let files = inputs.iter().map(|path| &**path).filter(|path| !is_standard(path));
    session.check_apart(report.metadata.as_deref(), files)?;
    let metadata = Metadata::open(report.metadata.as_deref())?;
    session.check_output([], report.metadata.as_deref())?;
    operands::each(&inputs, session, |input| {
        let verified = opening.verify(Input::open(input, session.notes)?)?;
        if session.json.is_none() && !report.verbose {
            session.notes.note(format_args!("{}: verified", Escaped(&verified.input)));
        }
        verified.print(report, session, metadata.as_ref())
    })
}
