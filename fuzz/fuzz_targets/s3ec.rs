//! Reads an object of the Amazon S3 Encryption Client from arbitrary metadata and bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    sealwax_fuzz::s3ec::run(input);
});
