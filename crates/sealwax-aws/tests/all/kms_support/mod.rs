//! Helpers shared by the tests of AWS KMS: a configuration of the SDK, and servers on loopback.
#![allow(dead_code, unreachable_pub)]

pub mod scripted;
pub mod servers;

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use aws_sdk_kms::config::{
    BehaviorVersion, Builder, Credentials, Region,
    retry::{RetryConfig, RetryPartition},
    timeout::TimeoutConfig,
};

pub const SECRET_KEY: &str = "wJalrXUtnFEMI-the-secret-access-key";
pub const SESSION_TOKEN: &str = "FwoGZXIvYXdzEBYaD-the-session-token";

/// The total number of attempts for a call that is retried.
pub const ATTEMPTS: usize = 3;

/// Returns a configuration for a server at this endpoint, like [`bare`].
pub fn config(endpoint: &str, attempt: Duration) -> Builder {
    bare(attempt).region(Region::new("us-east-1")).endpoint_url(endpoint).credentials_provider(Credentials::new(
        "AKIDTEST",
        SECRET_KEY,
        Some(SESSION_TOKEN.to_owned()),
        None,
        "test",
    ))
}

/// Returns a minimal configuration: three attempts, hardly any time between them, and this timeout
/// for each.
pub fn bare(attempt: Duration) -> Builder {
    static CLIENTS: AtomicUsize = AtomicUsize::new(0);
    // The SDK counts the retries of all clients in a region together, and stops when there are
    // many. Tests must not affect each other in this way.
    let partition = format!("test-{}", CLIENTS.fetch_add(1, Ordering::Relaxed));
    let retries = RetryConfig::standard()
        .with_max_attempts(ATTEMPTS as u32)
        .with_initial_backoff(Duration::from_millis(2))
        .with_max_backoff(Duration::from_millis(10));
    aws_sdk_kms::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .timeout_config(TimeoutConfig::builder().operation_attempt_timeout(attempt).build())
        .retry_config(retries)
        .retry_partition(RetryPartition::new(partition))
}
