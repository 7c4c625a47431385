//! Several files or objects at a time.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
};

use indicatif::ProgressBar;

use crate::{directories::Tally, failure::Failure, session::Session, streams::bar};

/// Runs `work` for every item, `jobs` at a time, with one progress bar for this many bytes. `work`
/// returns the length of the plaintext.
///
/// If an item fails, the failure is reported and the others go on, unless they would fail the same
/// way. Returns how many were processed and how many failed.
pub(crate) fn each<T: Sync>(
    session: &Session,
    jobs: usize,
    bytes: u64,
    items: &[T],
    work: impl Fn(&T, &ProgressBar) -> Result<u64, Failure> + Sync,
) -> Tally {
    let (next, tally, bar) = (AtomicUsize::new(0), Mutex::new(Tally::default()), bar(Some(bytes), session.notes));
    let lock = || tally.lock().unwrap_or_else(PoisonError::into_inner);
    thread::scope(|scope| {
        for _ in 0..jobs.min(items.len()) {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Relaxed)) {
                    if lock().stopped.is_some() {
                        return;
                    }
                    match work(item, &bar) {
                        Ok(length) => {
                            let mut tally = lock();
                            tally.files += 1;
                            tally.bytes += length;
                        }
                        Err(failure) => {
                            lock().fail(&failure);
                            bar.suspend(|| failure.say(session.json.as_ref()));
                        }
                    }
                }
            });
        }
    });
    bar.finish_and_clear();
    tally.into_inner().unwrap_or_else(PoisonError::into_inner)
}
