//! Tests that no block of the heap holds a secret when it is freed: no wrapping key, data key,
//! message key or plaintext.
//!
//! The allocator of this binary looks for known secrets in every block that is freed or
//! reallocated. Secrets are the plaintext, the keys that a case starts with, and every key that
//! passes through the crypto provider. At the end of each case the scanner must find each of these
//! secrets in a block that is deliberately freed without being wiped.
//!
//! The scanner does not reach stacks and registers, memory that C code allocates (AWS-LC has its
//! own), and secrets in an encoding other than those that a case names.
//!
//! With `SEALWAX_FREED_BACKTRACE=1` each finding is printed with the backtrace of the call that
//! freed the block.
#![cfg(feature = "rustcrypto")]
// `GlobalAlloc` is an unsafe trait. Everywhere but in the programs of this name, `unsafe` is an error.
#![allow(unsafe_code)]

#[path = "freed_memory/cases.rs"]
mod cases;
#[path = "freed_memory/controls.rs"]
mod controls;
#[path = "freed_memory/keyrings.rs"]
mod keyrings;
#[path = "freed_memory/messages.rs"]
mod messages;
#[path = "freed_memory/scanner.rs"]
mod scanner;
#[path = "freed_memory/service.rs"]
mod service;
#[cfg(all(feature = "tokio", feature = "futures"))]
#[path = "freed_memory/streams.rs"]
mod streams;

#[global_allocator]
static ALLOCATOR: scanner::ScanningAllocator = scanner::ScanningAllocator;
