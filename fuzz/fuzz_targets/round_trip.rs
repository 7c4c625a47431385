//! Encrypts and decrypts with arbitrary options.
#![no_main]

libfuzzer_sys::fuzz_target!(|case: sealwax_fuzz::round_trip::Case| {
    sealwax_fuzz::round_trip::run(&case);
});
