//! Output on standard error besides errors: notes and progress, unless `--quiet`.

use std::{
    fmt::Display,
    io::{self, IsTerminal, Write},
};

use anstyle::{AnsiColor, Style};

/// Whether notes and progress are shown.
#[derive(Clone, Copy)]
pub(crate) struct Notes {
    quiet: bool,
}

impl Notes {
    pub(crate) fn new(quiet: bool) -> Self {
        Self { quiet }
    }

    /// Prints a line that is useful but reports no failure.
    pub(crate) fn note(self, text: impl Display) {
        if !self.quiet {
            say(text);
        }
    }

    /// Returns whether progress is shown.
    pub(crate) fn shows_progress(self) -> bool {
        !self.quiet && io::stderr().is_terminal()
    }
}

/// Prints a failure, after the name of the program, in color if the terminal has it.
pub(crate) fn say_failure(text: impl Display) {
    let style = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
    let _ = writeln!(anstream::stderr(), "{style}sealwax:{style:#} {text}");
}

/// Prints a line that was requested, or that must be seen even with `--quiet`.
pub(crate) fn say(text: impl Display) {
    // If standard error fails, the failure cannot be reported anywhere.
    let _ = writeln!(io::stderr(), "{text}");
}
