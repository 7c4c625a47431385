//! `--preserve`: the mode and modification time of a file, stored in the encryption context of its
//! message.
//!
//! Both are authenticated and in the clear.

use std::{
    fs::Metadata,
    time::{Duration, SystemTime},
};

use sealwax::{EncryptionContext, io::PendingFile};

use crate::failure::Failure;

/// The permission bits as four octal digits, such as `0644`.
const MODE: &str = "sealwax-mode";

/// The modification time: seconds since 1970 in UTC, with nine decimals.
const MODIFIED: &str = "sealwax-mtime";

/// Adds the mode and modification time of a file to the context of its message.
pub(crate) fn store(found: &Metadata, context: &mut EncryptionContext) -> Result<(), Failure> {
    let mode = mode_of(found).map(|mode| (MODE, format!("{:04o}", mode & 0o777)));
    let modified = found.modified().ok().map(|time| (MODIFIED, write_time(time)));
    for (key, value) in mode.into_iter().chain(modified) {
        if context.insert(key, value).is_some() {
            return Err(Failure::usage(format!("--context {key} conflicts with --preserve; remove one of them")));
        }
    }
    Ok(())
}

/// Sets a file's mode and modification time from the context of its message, as far as they are
/// present, and returns whether a mode is. The context must be verified.
pub(crate) fn restore(context: &EncryptionContext, file: &mut PendingFile) -> Result<bool, Failure> {
    let refuse = |key| {
        Failure::message(format!("invalid {key} in the encryption context; omit --preserve to decrypt without it"))
    };
    if let Some(text) = context.get(MODE) {
        // Bits beyond the permission bits, such as set-user-ID, are left out.
        file.set_mode(u32::from_str_radix(text, 8).map_err(|_| refuse(MODE))?);
    }
    if let Some(text) = context.get(MODIFIED) {
        file.set_modified(read_time(text).ok_or_else(|| refuse(MODIFIED))?);
    }
    Ok(context.get(MODE).is_some())
}

fn write_time(time: SystemTime) -> String {
    let (sign, distance) = match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => ("", after),
        Err(before) => ("-", before.duration()),
    };
    format!("{sign}{}.{:09}", distance.as_secs(), distance.subsec_nanos())
}

fn read_time(text: &str) -> Option<SystemTime> {
    let (before, number) = match text.strip_prefix('-') {
        Some(number) => (true, number),
        None => (false, text),
    };
    let (seconds, decimals) = number.split_once('.')?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if decimals.len() != 9 || !digits(seconds) || !digits(decimals) {
        return None;
    }
    let distance = Duration::new(seconds.parse().ok()?, decimals.parse().ok()?);
    if before { SystemTime::UNIX_EPOCH.checked_sub(distance) } else { SystemTime::UNIX_EPOCH.checked_add(distance) }
}

#[cfg(unix)]
fn mode_of(found: &Metadata) -> Option<u32> {
    Some(std::os::unix::fs::PermissionsExt::mode(&found.permissions()))
}

#[cfg(not(unix))]
fn mode_of(_: &Metadata) -> Option<u32> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_go_there_and_back() {
        for text in ["0.000000000", "1700000000.123456789", "-1.500000000", "-0.000000001"] {
            assert_eq!(write_time(read_time(text).unwrap()), text);
        }
        for text in [
            "",
            "1",
            "1.5",
            "+1.000000000",
            "1.00000000a",
            "--1.000000000",
            "1.0000000000",
            ".000000000",
            "99999999999999999999.000000000",
            "18446744073709551615.999999999",
        ] {
            assert!(read_time(text).is_none(), "{text:?}");
        }
    }
}
