//! Decrypts arbitrary bytes in every way.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    sealwax_fuzz::decrypt::run(input);
});
