//! Metadata with characters outside ASCII, as S3 returns it.
//!
//! S3 takes the UTF-8 bytes of a value for characters of Latin-1, encodes those as UTF-8 again, and
//! returns them in the encoded words of RFC 2047.

use std::borrow::Cow;

use base64::{Engine, prelude::BASE64_STANDARD};

/// Decodes a value. One without encoded words is returned as it is.
pub(super) fn decode(value: &str) -> Option<Cow<'_, str>> {
    if !value.contains("=?") {
        return Some(Cow::Borrowed(value));
    }
    let mut bytes = Vec::new();
    let mut rest = value;
    let mut after_word = false;
    while !rest.is_empty() {
        if let Some((word, after)) = encoded_word(rest) {
            // Characters may be cut between words, so they are joined as bytes.
            bytes.extend(word);
            (rest, after_word) = (after, true);
            continue;
        }
        let first = rest.chars().next().map_or(0, char::len_utf8);
        let end = rest[first..].find("=?").map_or(rest.len(), |at| first + at);
        let (text, after) = rest.split_at_checked(end)?;
        // Space between two words is part of neither.
        let separates = after_word && text.trim().is_empty() && encoded_word(after).is_some();
        if !separates {
            bytes.extend_from_slice(text.as_bytes());
        }
        (rest, after_word) = (after, false);
    }
    let once = String::from_utf8(bytes).ok()?;
    let latin1: Option<Vec<u8>> = once.chars().map(|char| u8::try_from(u32::from(char)).ok()).collect();
    String::from_utf8(latin1?).ok().map(Cow::Owned)
}

/// Decodes the encoded word that a text starts with. Returns it with the rest of the text.
fn encoded_word(text: &str) -> Option<(Vec<u8>, &str)> {
    let (charset, rest) = text.strip_prefix("=?")?.split_once('?')?;
    let (encoding, rest) = rest.split_once('?')?;
    let (encoded, rest) = rest.split_once("?=")?;
    if !charset.eq_ignore_ascii_case("utf-8") {
        return None;
    }
    let bytes = match encoding {
        "B" | "b" => BASE64_STANDARD.decode(encoded).ok()?,
        "Q" | "q" => quoted(encoded)?,
        _ => return None,
    };
    Some((bytes, rest))
}

fn quoted(encoded: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = encoded.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'_' => b' ',
            b'=' => {
                let digits = [rest.next()?, rest.next()?].map(|digit| char::from(digit).to_digit(16));
                u8::try_from(digits[0]? * 16 + digits[1]?).ok()?
            }
            byte => byte,
        });
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Strings that S3 returned, as the Ruby client records them.
    #[test]
    fn what_s3_returns_is_decoded() {
        for (encoded, value) in [
            ("", ""),
            ("all ascii value", "all ascii value"),
            ("=?UTF-8?Q?caf=C3=83=C2=A9?=", "caf\u{e9}"),
            ("=?UTF-8?B?w4PCpcODwqTDg8K2?=", "\u{e5}\u{e4}\u{f6}"),
            ("=?UTF-8?B?w47CqQ==?=", "\u{3a9}"),
            ("=?UTF-8?B?w6TCuMKtw6bClsKH?=", "\u{4e2d}\u{6587}"),
            ("=?UTF-8?B?w7DCn8KYwoA=?=", "\u{1f600}"),
            ("=?UTF-8?B?w6/Cv8K/?=", "\u{ffff}"),
            ("=?UTF-8?B?YcODwqU=?=", "a\u{e5}"),
            ("=?UTF-8?B?aGVs?= =?UTF-8?Q?lo?=", "hello"),
            (
                "=?UTF-8?Q?{\"aws:x-amz-cek-alg\":\"AES/GCM/NoPadding\",?= =?UTF-8?Q?\"Some_Data\":\"Some_Da?= \
                 =?UTF-8?Q?ta\",\"l1Key\":\"=C3=83=C2=A5=C3=83=C2=A5=C3=83=C2=A5\"}?=",
                "{\"aws:x-amz-cek-alg\":\"AES/GCM/NoPadding\",\"Some Data\":\"Some Data\",\
                 \"l1Key\":\"\u{e5}\u{e5}\u{e5}\"}",
            ),
            // A character that is cut between two words.
            ("=?UTF-8?B?wqXDgw==?= =?UTF-8?B?wqU=?=", "\u{fffd}"),
        ] {
            let decoded = decode(encoded);
            if value == "\u{fffd}" {
                assert_eq!(decoded, None, "half of a character remains: {encoded}");
            } else {
                assert_eq!(decoded.as_deref(), Some(value), "{encoded}");
            }
        }
        let cut = "=?UTF-8?B?w4PCpcODwqXDgw==?= =?UTF-8?B?wqXDg8Kl?=";
        assert_eq!(decode(cut).as_deref(), Some("\u{e5}\u{e5}\u{e5}\u{e5}"));
    }

    #[test]
    fn what_is_no_encoded_word_stays() {
        for text in ["=?", "a =?UTF-8?X?a?= b", "=?UTF-8?B?%%?=", "=?latin1?Q?a?=", "=?UTF-8?Q?=4?="] {
            assert_eq!(decode(text).as_deref(), Some(text));
        }
        // Characters that are no bytes were not encoded by S3.
        assert_eq!(decode("=?UTF-8?B?5Lit?="), None);
    }
}
