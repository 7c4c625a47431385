//! Runs both crypto providers on the same input.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    sealwax_fuzz::providers::run(input);
});
