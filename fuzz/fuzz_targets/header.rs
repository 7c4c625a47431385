//! Reads a header from arbitrary bytes, whole and in pieces.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    sealwax_fuzz::header::run(input);
});
