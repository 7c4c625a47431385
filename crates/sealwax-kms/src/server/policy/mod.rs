//! Policy documents: their grammar, patterns and conditions. Nothing here knows keys or callers.

mod condition;
mod context;
mod document;
mod pattern;

pub(crate) use context::Context;
pub(crate) use document::{Effect, Kind, Policy, Principal, Principals, Statement};
