//! For callers without an executor: every operation of a client can be awaited, or waited for.

use std::{
    future::IntoFuture,
    pin::pin,
    sync::Arc,
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
    /// drives a Tokio runtime (recognised with the feature `tokio`), which it would block, perhaps for ever.
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

/// Wakes a sleeping thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

/// Drives a future to its end on this thread.
fn wait<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    let mut future = pin!(future);
    // Local keyrings are ready at once: then there is nobody to wake.
    if let Poll::Ready(outcome) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        return outcome;
    }
    if inside_a_runtime() {
        return Err(Error::WouldBlockRuntime);
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(outcome) = future.as_mut().poll(&mut context) {
            return outcome;
        }
        thread::park();
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

    #[cfg(feature = "tokio")]
    #[tokio::test]
    async fn inside_a_runtime_waiting_is_refused_unless_ready() {
        assert_eq!(wait(async { Ok(1) }).unwrap(), 1);
        let never = std::future::pending::<Result<()>>();
        assert!(matches!(wait(never), Err(Error::WouldBlockRuntime)));
    }
}
