//! The endpoint: a server that AWS SDKs take for AWS KMS.

mod decision;
mod error;
mod identity;
mod log;
mod params;
mod policy;
mod record;
mod signature;
mod storage;
