//! Has both crypto providers do the same.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    sealwax_fuzz::providers::run(input);
});
