//! `sealwax completions` and `sealwax man`: output for shells and for `man`.

use std::{fs, io};

use crate::{
    arguments::{self, CompletionsArguments, ManArguments},
    failure::Failure,
    session::Session,
    streams::print,
};

/// Prints the completion script for a shell.
pub(crate) fn completions(arguments: &CompletionsArguments, session: &Session) -> Result<(), Failure> {
    session.refuse_json()?;
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut arguments::command(), "sealwax", &mut script);
    print(&script)
}

/// Prints the manual page, or writes one for each command.
pub(crate) fn man(arguments: &ManArguments, session: &Session) -> Result<(), Failure> {
    session.refuse_json()?;
    let Some(directory) = &arguments.directory else {
        let mut page = Vec::new();
        let rendered = clap_mangen::Man::new(arguments::command()).render(&mut page);
        rendered.map_err(|error| Failure::about("the manual page", error))?;
        return print(&page);
    };
    fs::create_dir_all(directory).and_then(|()| clap_mangen::generate_to(arguments::command(), directory)).map_err(
        |error| match error.kind() {
            io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
                Failure::usage(format!("{}: not a directory; name one to write the pages to", directory.display()))
            }
            _ => Failure::about(&directory.display().to_string(), error),
        },
    )
}
