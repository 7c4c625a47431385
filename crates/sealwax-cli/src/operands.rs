//! The inputs of a command, and the output of each.

use std::{
    io::{self, IsTerminal},
    path::{Path, PathBuf},
};

use crate::{
    arguments::StreamArguments,
    failure::{Failure, SharedCode},
    objects::is_url,
    session::Session,
    streams::{STANDARD, is_standard},
};

/// The suffix of the names of messages.
const SUFFIX: &str = ".sealed";

/// An input and its output.
pub(crate) struct Operand {
    pub(crate) input: PathBuf,
    pub(crate) output: PathBuf,
    /// Whether the command line names the output.
    pub(crate) named: bool,
}

/// Returns the inputs that the command line names; without one, standard input unless it is a
/// terminal.
pub(crate) fn inputs(named: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    match named {
        [] if io::stdin().is_terminal() => {
            Err(Failure::usage("no input is given; name a file, or pipe data to standard input"))
        }
        [] => Ok(vec![STANDARD.into()]),
        [_] => Ok(named.to_vec()),
        several if several.iter().any(|path| is_standard(path)) => {
            Err(Failure::usage("- cannot be one of several inputs; process standard input on its own"))
        }
        several => Ok(several.to_vec()),
    }
}

/// Returns the messages to write: by default `FILE.sealed` for each `FILE`.
pub(crate) fn to_encrypt(streams: &StreamArguments) -> Result<Vec<Operand>, Failure> {
    operands(&streams.inputs, streams.output.as_deref(), |input| {
        check_no_url(input)?;
        if input.as_os_str().as_encoded_bytes().ends_with(SUFFIX.as_bytes()) {
            let name = input.display();
            return Err(Failure::usage(format!(
                "{name}: the name ends in {SUFFIX} already; use -o FILE to encrypt it"
            )));
        }
        let mut name = input.as_os_str().to_owned();
        name.push(SUFFIX);
        Ok(name.into())
    })
}

/// Returns the plaintexts to write: by default `FILE` for each `FILE.sealed`.
pub(crate) fn to_decrypt(streams: &StreamArguments) -> Result<Vec<Operand>, Failure> {
    operands(&streams.inputs, streams.output.as_deref(), |input| {
        check_no_url(input)?;
        let stem = input.file_stem().filter(|_| input.extension().is_some_and(|end| end == &SUFFIX[1..]));
        stem.map(|stem| input.with_file_name(stem)).ok_or_else(|| {
            let name = input.display();
            let fix = "use -o FILE to name the output, or -o - for standard output";
            Failure::usage(format!("{name}: the name does not end in {SUFFIX}; {fix}"))
        })
    })
}

/// Returns the messages to replace, or the one message to write to `output`.
pub(crate) fn to_reencrypt(named: &[PathBuf], output: Option<&Path>) -> Result<Vec<Operand>, Failure> {
    operands(named, output, |input| Ok(input.to_owned()))
}

/// Fails if the output of a URL is not named.
fn check_no_url(input: &Path) -> Result<(), Failure> {
    if !is_url(input) {
        return Ok(());
    }
    Err(Failure::usage(format!("{}: use -o OUT to name the output of an object", input.display())))
}

fn operands(
    named: &[PathBuf],
    output: Option<&Path>,
    default: impl Fn(&Path) -> Result<PathBuf, Failure>,
) -> Result<Vec<Operand>, Failure> {
    let inputs = inputs(named)?;
    if output.is_some() && inputs.len() > 1 {
        let count = inputs.len();
        return Err(Failure::usage(format!("-o names one output, but there are {count} inputs; omit -o")));
    }
    let named = output.is_some();
    let operand = |input: PathBuf| {
        let output = match output {
            Some(output) => output.to_owned(),
            None if is_standard(&input) => STANDARD.into(),
            None => default(&input)?,
        };
        Ok(Operand { input, output, named })
    };
    inputs.into_iter().map(operand).collect()
}

impl Operand {
    /// Returns the paths of all inputs and outputs, without standard input.
    pub(crate) fn paths(operands: &[Self]) -> impl Iterator<Item = &Path> {
        let inputs = operands.iter().map(|operand| &*operand.input).filter(|input| !is_standard(input));
        inputs.chain(Self::outputs(operands))
    }

    /// Returns the paths of all outputs.
    pub(crate) fn outputs(operands: &[Self]) -> impl Iterator<Item = &Path> {
        operands.iter().map(|operand| &*operand.output)
    }
}

/// Returns the input and output directories of a recursive command.
pub(crate) fn directories<'a>(
    inputs: &'a [PathBuf],
    output: Option<&'a Path>,
) -> Result<(&'a Path, &'a Path), Failure> {
    match (inputs, output) {
        ([input], Some(output)) if is_url(input) || is_url(output) => {
            let url = if is_url(input) { input.display() } else { output.display() };
            Err(Failure::usage(format!("{url}: --recursive is for directories here; use sealwax sync")))
        }
        ([input], Some(output)) => Ok((input, output)),
        _ => Err(Failure::usage("--recursive needs one input directory and one output directory; use IN -o DIR")),
    }
}

/// Returns the directory of a recursive command that needs no output directory.
pub(crate) fn directory(inputs: &[PathBuf]) -> Result<&Path, Failure> {
    match inputs {
        [input] => Ok(input),
        _ => Err(Failure::usage("--recursive needs one input directory")),
    }
}

/// Processes one item, or several in turn. If one of several fails, the failure is reported and the
/// others go on, unless they would fail the same way.
pub(crate) fn each<T>(
    items: &[T],
    session: &Session,
    mut work: impl FnMut(&T) -> Result<(), Failure>,
) -> Result<(), Failure> {
    if let [item] = items {
        return work(item);
    }
    let (mut failed, mut code) = (0, SharedCode::default());
    for item in items {
        let Err(failure) = work(item) else { continue };
        if failure.stops_all() {
            return Err(failure);
        }
        failed += 1;
        code.add(&failure);
        failure.say(session.json.as_ref());
    }
    code.outcome(&format!("{failed} of {} files failed", items.len()), session.json.is_some())
}

/// Returns the value in a slot, which is made for the first of several items. If that fails, it
/// would fail for every item.
pub(crate) fn once<T>(slot: &mut Option<T>, make: impl FnOnce() -> Result<T, Failure>) -> Result<&T, Failure> {
    let value = match slot.take() {
        Some(value) => value,
        None => make().map_err(Failure::for_all)?,
    };
    Ok(slot.insert(value))
}
