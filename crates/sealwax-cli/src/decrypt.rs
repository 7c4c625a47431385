//! `sealwax decrypt`.

use crate::{
    arguments::DecryptArguments,
    comparison::open_existing,
    directories::{Directory, Done, Existing, Goal, Task},
    failure::Failure,
    metadata::Metadata,
    objects::is_url,
    opening::Opening,
    operands::{self, Operand},
    session::Session,
    streams::{Input, Output, is_standard},
};

pub(crate) fn run(arguments: &DecryptArguments, session: &Session) -> Result<(), Failure> {
    let DecryptArguments { keys, limits, release_unverified, preserve, check, directories, report, streams, range } =
        arguments;
    if directories.recursive() {
        return run_recursive(arguments, session);
    }
    let (operands, mut ready) = (operands::to_decrypt(streams)?, None);
    session.check_apart(report.metadata.as_deref(), Operand::paths(&operands))?;
    let make = || {
        let opening = Opening::new(session, keys, Some(limits), directories)?.preserving(*preserve);
        Ok((Metadata::open(report.metadata.as_deref())?, opening))
    };
    session.check_output(Operand::outputs(&operands), report.metadata.as_deref())?;
    operands::each(&operands, session, |operand| {
        if let Some(range) = range {
            if is_standard(&operand.input) {
                return Err(Failure::usage("--range needs a file or an object, not standard input"));
            }
            let output = session.output(&operand.output, operand.named, streams.force)?;
            let (metadata, opening) = operands::once(&mut ready, make)?;
            let done = opening.open_range(session, &operand.input, *range, output, *release_unverified)?;
            return done.print(report, session, metadata.as_ref());
        }
        if *check && is_url(&operand.output) {
            return Err(Failure::usage("--check does not work on objects; use sealwax verify"));
        }
        let mut input = session.input(&operand.input)?;
        if *check {
            let (existing, name) = open_existing(&operand.output)?;
            let (metadata, opening) = operands::once(&mut ready, make)?;
            let from = input.name.clone();
            return opening.check(input, existing, &name, &from)?.print(report, session, metadata.as_ref());
        }
        let output = session.output(&operand.output, operand.named, streams.force)?;
        if output.is_terminal() {
            input.hide_progress();
        }
        if *preserve && !output.is_file() {
            return Err(Failure::usage("--preserve needs an output file; use -o FILE"));
        }
        let (metadata, opening) = operands::once(&mut ready, make)?;
        opening.open(input, output, *release_unverified)?.print(report, session, metadata.as_ref())
    })
}

fn run_recursive(arguments: &DecryptArguments, session: &Session) -> Result<(), Failure> {
    let DecryptArguments { keys, limits, preserve, check, directories, report, streams, .. } = arguments;
    let (from, to) = operands::directories(&streams.inputs, streams.output.as_deref())?;
    let opening = Opening::new(session, keys, Some(limits), directories)?.preserving(*preserve);
    let directory = Directory {
        task: Task::Decrypt,
        tree: &directories.tree,
        jobs: directories.jobs(),
        report,
        session,
        from,
        to: Some(to),
        existing: Existing::of(streams.force, false, *check),
    };
    directory.run(|job, goal, bar| {
        let input = Input::open_found(&job.from, &job.found, bar)?;
        let done = match goal {
            Goal::Write(target, overwrite) => {
                opening.open(input, Output::create_in(target, overwrite, &session.cleanup)?, false)?
            }
            Goal::Compare(target, found) => {
                let (name, from) = (target.display(), input.name.clone());
                let existing = target.open(found)?;
                if *check {
                    opening.check(input, existing, &name, &from)?
                } else {
                    let (report, same) = opening.compare(input, existing, &name)?;
                    if !same {
                        let fix = "use --force to replace it";
                        let text = format!("{name}: the file exists and differs from the message; {fix}");
                        return Err(Failure::exists(text));
                    }
                    report
                }
            }
            Goal::Read => opening.verify(input)?,
        };
        Ok(Done::from(done))
    })
}
