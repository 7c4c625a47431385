//! Client operations, which can be awaited or completed synchronously.

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

use crate::error::Error;

/// An operation of a client. It does nothing until it is awaited or [waited for](Self::wait).
///
/// Operations are asynchronous only because a keyring or materials manager may have to call a
/// remote service. With local keys they are ready at the first poll.
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
#[must_use = "operations do nothing until they are awaited or `wait` is called"]
pub struct Operation<F> {
    future: F,
}

impl<T, E: From<Error>, F: Future<Output = Result<T, E>>> Operation<F> {
    /// Creates an operation from a future, so that a library over this one can offer both ways of
    /// waiting too. Its error can be the library's own, as long as it can be made from [`Error`].
    ///
    /// ```
    /// use sealwax::{Client, Operation, Result, keyring::RawAesKeyring};
    ///
    /// fn seal(text: &str) -> Operation<impl Future<Output = Result<Vec<u8>>> + Send> {
    ///     Operation::new(async move {
    ///         let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
    ///         Ok(Client::new().encrypt(&keyring).bytes(text.as_bytes()).await?.message)
    ///     })
    /// }
    ///
    /// assert!(seal("text").wait()?.len() > 4);
    /// # Ok::<(), sealwax::Error>(())
    /// ```
    pub fn new(future: F) -> Self {
        Self { future }
    }

    /// Runs the operation on the current thread, and blocks while a keyring waits for a service. It
    /// does not start a runtime.
    ///
    /// # Errors
    /// The errors of the operation itself, and [`Error::WouldBlockRuntime`] if the operation is not
    /// immediately ready and the current thread belongs to a Tokio runtime, because blocking could
    /// deadlock it. Runtimes are detected only with the `tokio` feature. On a thread of the runtime
    /// that may block, such as one of `spawn_blocking`, use
    /// `Handle::current().block_on(operation.into_future())` instead.
    pub fn wait(self) -> Result<T, E> {
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

/// A waker that unparks a thread.
///
/// The wake-up is also recorded in a flag, because other code that parks the thread could consume
/// the thread's unpark token.
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

/// Returns `true` if the future that this thread is polling will be polled only once and then
/// dropped.
///
/// Code that would wait for another task must then do the work itself. Otherwise the operation
/// would fail although it does not need to wait.
pub(crate) fn is_polled_once() -> bool {
    POLLED_ONCE.get()
}

/// A guard that marks the current thread until it is dropped, also during unwinding.
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

/// Runs a future to completion on the current thread.
pub(crate) fn wait<T, E: From<Error>>(future: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let mut future = pin!(future);
    if inside_a_runtime() {
        let _mark = PolledOnce::mark();
        return match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => Err(Error::WouldBlockRuntime.into()),
        };
    }
    // With local keyrings the operation is ready at the first poll, so no waker is needed.
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
                return Poll::Ready(Ok::<_, Error>(polls));
            }
            // The first poll is made with a no-op waker, so its wake-up has no effect. The second
            // poll passes a real waker to another thread.
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
                return Poll::Ready(Ok::<_, Error>(()));
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
        assert_eq!(wait(async { Ok::<_, Error>(1) }).unwrap(), 1);
        let never = std::future::pending::<Result<(), Error>>();
        assert!(matches!(wait(never), Err(Error::WouldBlockRuntime)));
    }

    /// An error of another library.
    #[cfg(feature = "tokio")]
    #[derive(Debug)]
    struct Theirs(Error);

    #[cfg(feature = "tokio")]
    impl From<Error> for Theirs {
        fn from(error: Error) -> Self {
            Self(error)
        }
    }

    #[cfg(feature = "tokio")]
    #[tokio::test]
    async fn an_operation_of_another_library_fails_with_its_error() {
        let refused = Operation::new(std::future::pending::<Result<(), Theirs>>()).wait();
        assert!(matches!(refused, Err(Theirs(Error::WouldBlockRuntime))));
    }
}
