//! The cache's metrics, listed at [`CachingManager`](super::CachingManager). Without the feature
//! `metrics` they compile to nothing.

use crate::error::Direction;

/// What an entry of the cache is used for.
pub(super) struct Purpose(#[cfg_attr(not(feature = "metrics"), allow(dead_code))] &'static str);

/// A value in place of materials, which is a wrapping key.
pub(super) const WRAPPING_KEY: Purpose = Purpose("wrapping-key");

impl From<Direction> for Purpose {
    fn from(direction: Direction) -> Self {
        Self(match direction {
            Direction::Encrypt => "encrypt",
            Direction::Decrypt => "decrypt",
        })
    }
}

macro_rules! count {
    ($name:ident, $metric:literal, $of:literal) => {
        #[doc = concat!("Counts one ", $of, ".")]
        pub(super) fn $name(_purpose: impl Into<Purpose>) {
            #[cfg(feature = "metrics")]
            metrics::counter!($metric, "operation" => _purpose.into().0).increment(1);
        }
    };
}

count!(hit, "sealwax_cache_hits_total", "request answered from the cache");
count!(
    miss,
    "sealwax_cache_misses_total",
    "request for which there is no entry; it may wait for another request's inner call"
);
count!(bypass, "sealwax_cache_bypasses_total", "request that must not be answered from the cache");

/// Counts entries that a cache evicted.
pub(super) fn evicted(_cause: &'static str, _count: usize) {
    #[cfg(feature = "metrics")]
    if _count > 0 {
        metrics::counter!("sealwax_cache_evictions_total", "cause" => _cause).increment(_count as u64);
    }
}

/// Counts and times a call of the inner manager or of a service.
pub(super) async fn inner_call<T, E>(
    _purpose: impl Into<Purpose>,
    call: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    #[cfg(feature = "metrics")]
    let start = std::time::Instant::now();
    let outcome = call.await;
    #[cfg(feature = "metrics")]
    {
        let (operation, result) = (_purpose.into().0, if outcome.is_ok() { "ok" } else { "error" });
        metrics::counter!("sealwax_cache_inner_calls_total", "operation" => operation, "outcome" => result)
            .increment(1);
        metrics::histogram!("sealwax_cache_inner_call_seconds", "operation" => operation).record(start.elapsed());
    }
    outcome
}
