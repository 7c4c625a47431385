//! What is undone when a signal ends the program: partial files are removed, and a terminal that asks
//! for a passphrase shows again what is typed.

use std::{
    collections::HashMap,
    io::{self, IsTerminal, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak},
    thread,
};

/// What to undo. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Cleanup(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// Held shared while something is created and registered. A signal takes it for good, so that
    /// nothing is created after the others were removed.
    creation: RwLock<()>,
    registered: Mutex<Registered>,
    #[cfg(unix)]
    terminal: Mutex<Option<terminal::Saved>>,
}

#[derive(Default)]
struct Registered {
    next: u64,
    entries: HashMap<u64, Weak<dyn Discard + Send + Sync>>,
}

/// Something that can be dropped while others still refer to it.
trait Discard {
    fn discard(&self);
}

impl<T> Discard for Mutex<Option<T>> {
    fn discard(&self) {
        drop(lock(self).take());
    }
}

/// A value that is dropped when a signal ends the program.
pub(crate) struct Guarded<T> {
    value: Arc<Mutex<Option<T>>>,
    number: u64,
    cleanup: Cleanup,
}

impl Cleanup {
    /// Creates a value that is dropped when a signal ends the program.
    pub(crate) fn guard<T: Send + 'static, E>(&self, create: impl FnOnce() -> Result<T, E>) -> Result<Guarded<T>, E> {
        let _creation = self.0.creation.read().unwrap_or_else(PoisonError::into_inner);
        let value = Arc::new(Mutex::new(Some(create()?)));
        let mut registered = lock(&self.0.registered);
        let number = registered.next;
        registered.next += 1;
        let weak: Weak<Mutex<Option<T>>> = Arc::downgrade(&value);
        registered.entries.insert(number, weak);
        drop(registered);
        Ok(Guarded { value, number, cleanup: self.clone() })
    }

    /// Asks for a line on the terminal without showing what is typed.
    pub(crate) fn ask_hidden(&self, prompt: &str) -> io::Result<String> {
        #[cfg(unix)]
        let _saved = terminal::Saving::new(&self.0.terminal);
        match rpassword::prompt_password(prompt) {
            // Ctrl-C: the signal is on its way to its handler, which ends the program.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                thread::sleep(std::time::Duration::from_secs(1));
                Err(error)
            }
            outcome => outcome,
        }
    }

    /// Undoes everything, and prevents that anything is created afterwards.
    #[cfg(unix)]
    fn undo(&self) {
        // This is never released: a thread that waits for it ends with the program.
        std::mem::forget(self.0.creation.write().unwrap_or_else(PoisonError::into_inner));
        let entries: Vec<_> = lock(&self.0.registered).entries.values().filter_map(Weak::upgrade).collect();
        entries.iter().for_each(|entry| entry.discard());
        match lock(&self.0.terminal).take() {
            Some(saved) => saved.restore(),
            // A line of progress must not stay in front of the next prompt.
            None if io::stderr().is_terminal() => drop(io::stderr().write_all(b"\r\x1b[K")),
            None => {}
        }
    }
}

impl<T> Guarded<T> {
    /// Uses the value. A signal waits until this returns.
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        match &mut *lock(&self.value) {
            Some(value) => work(value),
            None => ended(),
        }
    }

    /// Consumes the value. A signal waits until this returns.
    pub(crate) fn finish<R>(self, work: impl FnOnce(T) -> R) -> R {
        let mut value = lock(&self.value);
        match value.take() {
            Some(value) => work(value),
            None => ended(),
        }
    }
}

impl<T> Drop for Guarded<T> {
    fn drop(&mut self) {
        lock(&self.cleanup.0.registered).entries.remove(&self.number);
    }
}

/// Waits for the end of the program, which a signal has begun.
fn ended() -> ! {
    loop {
        thread::park();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(unix)]
pub(crate) use signals::install;

#[cfg(unix)]
mod signals {
    use std::{io, sync::Arc, thread};

    use signal_hook::{
        consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ},
        iterator::Signals,
        low_level::emulate_default_handler,
    };

    use super::Cleanup;

    /// Handles INT, TERM and HUP on a thread: undoes what is registered, and then ends the program as
    /// the signal does by default. A signal that the program was started to ignore stays ignored, as
    /// with `nohup`.
    pub(crate) fn install(cleanup: &Cleanup) -> io::Result<()> {
        let wanted: Vec<_> = match ignored() {
            Some(ignored) => [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| !is_in(*signal, ignored)).collect(),
            // Where this is not known, HUP keeps its default effect, or is ignored.
            None => vec![SIGINT, SIGTERM],
        };
        // Beyond a limit on the length of files, a write fails instead of ending the program.
        signal_hook::flag::register(SIGXFSZ, Arc::default())?;
        let (mut signals, cleanup) = (Signals::new(wanted)?, cleanup.clone());
        let handle = move || {
            for signal in signals.forever() {
                cleanup.undo();
                let _ = emulate_default_handler(signal);
            }
        };
        thread::Builder::new().name("signals".to_owned()).stack_size(128 << 10).spawn(handle).map(drop)
    }

    fn is_in(signal: i32, mask: u64) -> bool {
        mask >> (signal - 1) & 1 == 1
    }

    /// Returns the mask of the ignored signals.
    fn ignored() -> Option<u64> {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
        u64::from_str_radix(mask.trim(), 16).ok()
    }
}

#[cfg(unix)]
mod terminal {
    use std::{fs::File, sync::Mutex};

    use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

    use super::lock;

    /// The settings of the terminal.
    pub(super) struct Saved(File, Termios);

    impl Saved {
        fn new() -> Option<Self> {
            let terminal = File::open("/dev/tty").ok()?;
            let settings = tcgetattr(&terminal).ok()?;
            Some(Self(terminal, settings))
        }

        pub(super) fn restore(self) {
            let _ = tcsetattr(&self.0, OptionalActions::Now, &self.1);
        }
    }

    /// Keeps the settings of the terminal while they are changed.
    pub(super) struct Saving<'a>(&'a Mutex<Option<Saved>>);

    impl<'a> Saving<'a> {
        pub(super) fn new(slot: &'a Mutex<Option<Saved>>) -> Self {
            *lock(slot) = Saved::new();
            Self(slot)
        }
    }

    impl Drop for Saving<'_> {
        fn drop(&mut self) {
            *lock(self.0) = None;
        }
    }
}
