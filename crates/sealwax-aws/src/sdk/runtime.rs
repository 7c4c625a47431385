//! The runtime on which calls of the SDK are made.

use sealwax::keyring::KmsErrorKind;
use tokio::{runtime::Handle, task::JoinHandle};

/// The caller's runtime, or a given one.
#[derive(Clone, Default)]
pub(super) struct Runtime(pub(super) Option<Handle>);

impl Runtime {
    /// Runs a call. Returns the kind and the cause of the failure if there is nothing to run it on.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        call: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, (KmsErrorKind, &'static str)> {
        let Some(runtime) = &self.0 else {
            return match Handle::try_current() {
                Ok(_) => Ok(call.await),
                Err(_) => Err((KmsErrorKind::Unavailable, NO_RUNTIME)),
            };
        };
        match AbortOnDrop(runtime.spawn(call)).outcome().await {
            Ok(outcome) => Ok(outcome),
            Err(error) if error.is_panic() => Err((KmsErrorKind::Other, PANIC)),
            Err(_) => Err((KmsErrorKind::Unavailable, "the runtime passed to `AwsSdkKms::on` has shut down")),
        }
    }
}

const NO_RUNTIME: &str = "the AWS SDK needs a Tokio runtime and this thread has none; await the operation in one, \
                          or pass one to `AwsSdkKms::on`";

const PANIC: &str = "the AWS SDK panicked; enable I/O and time in the runtime passed to `AwsSdkKms::on`";

/// A task that is aborted on drop, as a future would be.
struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> AbortOnDrop<T> {
    async fn outcome(mut self) -> Result<T, tokio::task::JoinError> {
        (&mut self.0).await
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
