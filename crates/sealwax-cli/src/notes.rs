//! Output on standard error besides errors: notes and progress, unless `--quiet`.

use std::{
    fmt::Display,
    io::{self, IsTerminal, Write},
    sync::atomic::{AtomicBool, Ordering},
};

/// Whether `--quiet` was given. One flag per process, like standard error itself.
static QUIET: AtomicBool = AtomicBool::new(false);

/// Suppresses everything but errors and what was requested explicitly, from now on.
pub(crate) fn be_quiet() {
    QUIET.store(true, Ordering::Relaxed);
}

/// Prints a line that is useful but reports no failure.
pub(crate) fn note(text: impl Display) {
    if !QUIET.load(Ordering::Relaxed) {
        say(text);
    }
}

/// Prints a line that was requested.
pub(crate) fn say(text: impl Display) {
    // If standard error fails, the failure cannot be reported anywhere.
    let _ = writeln!(io::stderr(), "{text}");
}

/// Returns whether progress is shown.
pub(crate) fn shows_progress() -> bool {
    !QUIET.load(Ordering::Relaxed) && io::stderr().is_terminal()
}
