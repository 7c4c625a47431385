//! What is said on standard error beside errors: notes and progress, unless `--quiet`.

use std::{
    fmt::Display,
    io::{self, IsTerminal, Write},
    sync::atomic::{AtomicBool, Ordering},
};

/// Whether the user asked for quiet. One for the process, like standard error itself.
static QUIET: AtomicBool = AtomicBool::new(false);

/// Says nothing but errors, and what is asked for by name, from now on.
pub(crate) fn be_quiet() {
    QUIET.store(true, Ordering::Relaxed);
}

/// Says a line that is good to know, and no failure.
pub(crate) fn note(text: impl Display) {
    if !QUIET.load(Ordering::Relaxed) {
        say(text);
    }
}

/// Says a line that was asked for.
pub(crate) fn say(text: impl Display) {
    // Where even standard error is gone there is nobody left to tell.
    let _ = writeln!(io::stderr(), "{text}");
}

/// Whether somebody watches the progress.
pub(crate) fn shows_progress() -> bool {
    !QUIET.load(Ordering::Relaxed) && io::stderr().is_terminal()
}
