//! The tests of the command-line tool, run as a user runs it, as one program.

#[path = "../../../../tests/forge/mod.rs"]
mod forge;
mod place;
#[cfg(feature = "aws")]
#[path = "../../../../tests/support/server.rs"]
mod server;
#[path = "../../../../tests/support/mod.rs"]
mod support;

#[cfg(feature = "aws")]
mod aws_kms;
mod configuration;
mod directories;
mod guides;
mod interrupted;
mod json;
mod key_uris;
mod keys;
#[cfg(unix)]
mod kills;
mod manual;
mod messages;
mod official;
mod operands;
#[cfg(target_os = "linux")]
mod replaced;
mod stores;
#[cfg(target_os = "linux")]
mod terminal;
mod tool;
mod workshop;
