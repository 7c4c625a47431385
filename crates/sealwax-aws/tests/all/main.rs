//! The tests of the AWS KMS keyrings, as one program: on a fake service, with the official Python SDK
//! live, and over HTTP with servers that stand in for AWS KMS.

#[path = "../../../../tests/support/answers.rs"]
mod answers;
#[path = "../../../../tests/support/fake_kms.rs"]
mod fake_kms;
#[cfg(feature = "config")]
mod kms_support;
mod pairs;
#[cfg(feature = "config")]
#[path = "../../../../tests/support/server.rs"]
mod server;
#[path = "../../../../tests/support/mod.rs"]
mod support;

#[cfg(feature = "config")]
mod aws_kms;
#[cfg(feature = "config")]
mod faults;
#[cfg(all(feature = "dynamodb", feature = "branch-key-file", feature = "conformance"))]
mod hierarchy;
mod key_pairs;
mod keyrings;
mod official;
#[cfg(all(feature = "rsa", feature = "ecdh"))]
mod peers;
