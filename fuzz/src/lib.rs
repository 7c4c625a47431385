//! The fuzz targets as functions: libFuzzer calls them, and the tests of this package replay the
//! seeds through them without it.

pub mod crypto;
pub mod decrypt;
pub mod header;
pub mod keyring;
pub mod pieces;
pub mod providers;
pub mod round_trip;
pub mod s3ec;
