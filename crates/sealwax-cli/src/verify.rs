//! `sealwax verify`.

use sealwax::Escaped;

use crate::{
    arguments::VerifyArguments,
    directories::{Directory, Done, Existing, Task},
    failure::Failure,
    metadata::Metadata,
    objects::is_url,
    opening::Opening,
    operands,
    session::Session,
    streams::{Input, is_standard},
};

/// Verifies all objects below a URL.
#[cfg(feature = "object-store")]
fn run_below(arguments: &VerifyArguments, session: &Session, opening: &Opening) -> Result<(), Failure> {
    let VerifyArguments { directories, report, inputs, .. } = arguments;
    let url = operands::directory(inputs)?;
    crate::objects_below::run(Task::Verify, directories, report, session, url, |_, input, _| opening.verify(input))
}

#[cfg(not(feature = "object-store"))]
fn run_below(arguments: &VerifyArguments, _: &Session, _: &Opening) -> Result<(), Failure> {
    Err(crate::objects::refuse(operands::directory(&arguments.inputs)?))
}

pub(crate) fn run(arguments: &VerifyArguments, session: &Session) -> Result<(), Failure> {
    let VerifyArguments { keys, limits, directories, report, inputs } = arguments;
    let opening = Opening::new(session, keys, Some(limits), directories)?;
    if directories.recursive() {
        if is_url(operands::directory(inputs)?) {
            return run_below(arguments, session, &opening);
        }
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
        let verified = opening.verify(session.input(input)?)?;
        if session.json.is_none() && !report.verbose {
            session.notes.note(format_args!("{}: verified", Escaped(&verified.input)));
        }
        verified.print(report, session, metadata.as_ref())
    })
}
