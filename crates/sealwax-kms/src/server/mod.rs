//! The endpoint: a server that AWS SDKs take for AWS KMS.
//!
//! [`Endpoint`] has keys, aliases, key policies, grants, users and roles, evaluates who may do what
//! as AWS does, and answers in AWS's words. Its store is apart from that of
//! [`LocalKms`](crate::LocalKms): a database in the subdirectory `endpoint` of the directory, whose
//! records are sealed under a root key, and an audit log in the form of CloudTrail.

mod decision;
mod endpoint;
mod engine;
mod error;
mod http;
mod identity;
mod log;
mod params;
mod policy;
mod record;
mod signature;
mod storage;
mod sts;
mod trail;

pub use endpoint::{Endpoint, EndpointBuilder};
