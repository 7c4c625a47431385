//! Ranges of bytes, as HTTP has them.

use std::{io, ops::Range, str::FromStr};

/// A range of the bytes of a plaintext.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ByteRange {
    /// From one position to another, both inclusive.
    Within(u64, u64),
    /// From a position to the end.
    From(u64),
    /// The last bytes.
    Last(u64),
}

impl FromStr for ByteRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|_| digits)
        };
        let usage = || "use A-B, A- or -COUNT, with numbers of bytes".to_owned();
        match text.split_once('-').ok_or_else(usage)? {
            ("", count) => number(count).filter(|count| *count > 0).map(Self::Last),
            (first, "") => number(first).map(Self::From),
            (first, last) => {
                number(first).zip(number(last)).filter(|(first, last)| first <= last).map(|(a, b)| Self::Within(a, b))
            }
        }
        .ok_or_else(usage)
    }
}

impl ByteRange {
    /// Returns the range within this many bytes. Fails if it begins after them.
    pub(crate) fn within(self, length: u64) -> io::Result<Range<u64>> {
        let (start, end) = match self {
            Self::Within(first, last) => (first, length.min(last.saturating_add(1))),
            Self::From(first) => (first, length),
            Self::Last(count) => (length.saturating_sub(count), length),
        };
        if start < end {
            return Ok(start..end);
        }
        let text = format!("the range begins after the end of the plaintext, which has {length} bytes");
        Err(io::Error::new(io::ErrorKind::InvalidInput, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_http() {
        let of = |text: &str, length| ByteRange::from_str(text).unwrap().within(length).ok();
        assert_eq!(of("0-0", 10), Some(0..1));
        assert_eq!(of("2-4", 10), Some(2..5));
        assert_eq!(of("2-99", 10), Some(2..10));
        assert_eq!(of("5-18446744073709551615", 10), Some(5..10));
        assert_eq!(of("9-", 10), Some(9..10));
        assert_eq!(of("-3", 10), Some(7..10));
        assert_eq!(of("-30", 10), Some(0..10));
        assert_eq!([of("10-11", 10), of("10-", 10), of("0-0", 0), of("-1", 0)], [None, None, None, None]);
        for text in ["", "-", "5", "4-2", "-0", "a-b", "+1-2", "1-2-3", "1--2", "99999999999999999999-"] {
            assert!(ByteRange::from_str(text).is_err(), "{text}");
        }
    }
}
