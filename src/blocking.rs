//! For callers without an executor: every operation of a client can be awaited, or waited for.

use std::{
    cell::Cell,
    future::IntoFuture,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
};

use crate::error::{Error, Result};

/// Something a client was asked to do. It does nothing until it is awaited, or waited for.
///
/// Only keyrings and materials managers are asynchronous, because a remote one must ask a service; with local keys an
/// operation is ready at once.
///
/// ```
/// use sealwax::{Client, keyring::RawAesKeyring};
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// # runtime.block_on(async {
/// let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
/// let client = Client::new();
/// let awaited = client.encrypt(&keyring).bytes(b"text").await?;
/// let waited = client.encrypt(&keyring).bytes(b"text").wait()?;
/// # let _ = (awaited, waited);
/// # Ok::<(), sealwax::Error>(())
/// # }).unwrap();
/// ```
#[must_use = "an operation does nothing until it is awaited, or waited for with `wait`"]
pub struct Operation<F> {
    future: F,
}

impl<T, F: Future<Output = Result<T>>> Operation<F> {
    pub(crate) fn new(future: F) -> Self {
        Self { future }
    }

    /// Does it on this thread, which sleeps while a keyring waits for something. No runtime is started.
    ///
    /// # Errors
    /// What the operation itself ends with; [`Error::WouldBlockRuntime`] if it is not ready at once and this thread
    /// belongs to a Tokio runtime (recognised with the feature `tokio`), which it might block for ever. On a thread that
    /// may block, such as those of `spawn_blocking`, `Handle::current().block_on(operation.into_future())` waits for it.
    pub fn wait(self) -> Result<T> {
        wait(self.future)
    }
}

impl<F: Future> IntoFuture for Operation<F> {
    type Output = F::Output;
    type IntoFuture = F;

    fn into_future(self) -> F {
        self.future
    }
}

/// Wakes a sleeping thread. That it was woken is noted apart, since whatever else parks the thread takes the wake-up away.
struct Unpark {
    thread: Thread,
    woken: AtomicBool,
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

thread_local! {
    static POLLED_ONCE: Cell<bool> = const { Cell::new(false) };
}

/// Returns whether the future being polled on this thread is polled this once and then given up: what waits for another
/// task must then do the work itself, or the operation fails although it needs no waiting.
pub(crate) fn is_polled_once() -> bool {
    POLLED_ONCE.get()
}

/// Marks the thread while it lives, panics included.
struct PolledOnce(bool);

impl PolledOnce {
    fn mark() -> Self {
        Self(POLLED_ONCE.replace(true))
    }
}

impl Drop for PolledOnce {
    fn drop(&mut self) {
        POLLED_ONCE.set(self.0);
    }
}

/// Drives a future to its end on this thread.
fn wait<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    let mut future = pin!(future);
    if inside_a_runtime() {
        let _mark = PolledOnce::mark();
        return match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => Err(Error::WouldBlockRuntime),
        };
    }
    // With local keyrings the operation is ready at once, and nothing needs to be woken.
    if let Poll::Ready(outcome) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        return outcome;
    }
    let unpark = Arc::new(Unpark { thread: thread::current(), woken: AtomicBool::new(false) });
    let waker = Waker::from(unpark.clone());
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(outcome) = future.as_mut().poll(&mut context) {
            return outcome;
        }
        while !unpark.woken.swap(false, Ordering::Acquire) {
            thread::park();
        }
    }
}

fn inside_a_runtime() -> bool {
    #[cfg(feature = "tokio")]
    return tokio::runtime::Handle::try_current().is_ok();
    #[cfg(not(feature = "tokio"))]
    return false;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_future_woken_from_another_thread_is_waited_for() {
        let (mut woken, mut polls) = (false, 0);
        let future = std::future::poll_fn(|context| {
            polls += 1;
            if woken {
                return Poll::Ready(Ok(polls));
            }
            // The first poll has no waker that counts; the second hands its own to another thread.
            woken = polls == 2;
            let waker = context.waker().clone();
            thread::spawn(move || waker.wake());
            Poll::Pending
        });
        assert_eq!(wait(future).unwrap(), 3);
    }

    #[test]
    fn a_wake_up_that_something_else_consumes_is_not_lost() {
        let mut polls = 0;
        let future = std::future::poll_fn(|context| {
            polls += 1;
            if polls == 3 {
                return Poll::Ready(Ok(()));
            }
            context.waker().wake_by_ref();
            if polls == 2 {
                thread::park();
            }
            Poll::Pending
        });
        wait(future).unwrap();
    }

    #[cfg(feature = "tokio")]
    #[tokio::test]
    async fn inside_a_runtime_waiting_is_refused_unless_ready() {
        assert_eq!(wait(async { Ok(1) }).unwrap(), 1);
        let never = std::future::pending::<Result<()>>();
        assert!(matches!(wait(never), Err(Error::WouldBlockRuntime)));
    }
}
