//! The tests of the command-line tool, run as a user runs it, as one program.

#[path = "../../../../tests/forge/mod.rs"]
mod forge;
mod place;
#[cfg(any(feature = "aws", feature = "object-store"))]
#[path = "../../../../tests/support/server.rs"]
mod server;
#[path = "../../../../tests/support/mod.rs"]
mod support;

#[cfg(feature = "aws")]
mod aws_kms;
mod configuration;
mod directories;
mod guides;
#[cfg(feature = "aws")]
mod hierarchy;
mod interrupted;
mod json;
mod key_uris;
mod keys;
#[cfg(unix)]
mod kills;
mod manual;
mod messages;
#[cfg(not(feature = "object-store"))]
mod no_objects;
#[cfg(feature = "object-store")]
mod objects;
mod official;
mod operands;
#[cfg(target_os = "linux")]
mod replaced;
#[cfg(unix)]
mod spared;
mod stores;
#[cfg(target_os = "linux")]
mod terminal;
mod tool;
mod workshop;
