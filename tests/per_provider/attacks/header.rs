//! Malformed headers.

use super::*;

#[test]
fn attack_10_the_frame_length_goes_with_the_content_type() {
    for suite in FOUR {
        let is_frame_length =
            |found| move |error: &Error| matches!(error, Error::Format(FormatError::FrameLength(f)) if *f == found);
        let framed = Forge { frame_length: 0, ..Forge::new(suite) };
        refuses_unasked(&framed.with_body(&[framed.last(1, b"")]), is_frame_length(0));
        let unframed = Forge { content_type: 1, frame_length: 5, ..Forge::new(suite) };
        refuses_unasked(&unframed.with_body(&[unframed.unframed(&TEXT[..5])]), is_frame_length(5));
        for content_type in [0, 3, 0xff] {
            let unknown = Forge { content_type, ..Forge::new(suite) };
            refuses_unasked(
                &unknown.message(TEXT),
                |error| matches!(error, Error::Format(FormatError::ContentType(found)) if *found == content_type),
            );
        }
    }
}

#[test]
fn attack_12_malformed_contexts_are_refused() {
    for suite in FOUR {
        let contexts: [(&[u8], &str); 9] = [
            (b"\0\x02\0\x01a\0\x01b\0\x01a\0\x01c", "a key is duplicated"),
            (b"\0\x02\0\x01a\0\x01b\0\x01a\0\x01b", "a key is duplicated"),
            (b"\0\0", "the number of pairs is zero"),
            (b"\0\0\0\x01a\0\x01b", "the number of pairs is zero"),
            (b"\0\x01\0\x01a\0\x01bx", "unexpected bytes after the last pair"),
            (b"\0\x01\0\x01\xff\0\x01b", "a key or value is not UTF-8"),
            (b"\0\x01\0\x01a\0\x02\xc3\x28", "a key or value is not UTF-8"),
            (b"\0\x02\0\x01a\0\x01b", "it is truncated"),
            (b"\0", "it is truncated"),
        ];
        for (context, why) in contexts {
            let forge = Forge { context: context.to_vec(), ..Forge::new(suite) };
            refuses_unasked(
                &forge.message(TEXT),
                |error| matches!(error, Error::Format(FormatError::Context(found)) if *found == why),
            );
        }
        let mut forge = Forge::new(suite);
        forge.keys[0][0] = vec![0xff];
        refuses_unasked(&forge.message(TEXT), |error| matches!(error, Error::Format(FormatError::ProviderId)));
    }
}

#[test]
fn attack_13_fields_that_are_fixed_are_checked() {
    for suite in FOUR {
        let right = Forge::new(suite);
        for version in [0, 3, 0x80, 0xff] {
            let forge = Forge { version, ..right.clone() };
            refuses_unasked(
                &forge.message(TEXT),
                |error| matches!(error, Error::Format(FormatError::Version(found)) if *found == version),
            );
        }
        for suite in [0, 0x0015, 0x0479, 0x7805, 0xffff] {
            let mut message = right.message(TEXT);
            let at = if right.version == 1 { 2 } else { 1 };
            message[at..at + 2].copy_from_slice(&u16::to_be_bytes(suite));
            refuses_unasked(
                &message,
                |error| matches!(error, Error::Format(FormatError::Suite(found)) if *found == suite),
            );
        }
        // The other version's layout with the same suite.
        let other = Forge { version: 3 - right.version, ..right.clone() };
        refuses_unasked(&other.message(TEXT), |error| {
            matches!(error, Error::Format(FormatError::SuiteVersion { suite: found, version })
                if found.id() == suite && *version == other.version)
        });
    }
    for suite in [0x0178, 0x0378] {
        for position in 0..4 {
            let mut forge = Forge::new(suite);
            forge.reserved[position] = 1;
            refuses_unasked(&forge.message(TEXT), |error| matches!(error, Error::Format(FormatError::Reserved)));
        }
        for iv_length in [0, 11, 13, 16, 0xff] {
            let forge = Forge { iv_length, ..Forge::new(suite) };
            refuses_unasked(
                &forge.message(TEXT),
                |error| matches!(error, Error::Format(FormatError::IvLength(found)) if *found == iv_length),
            );
        }
        for type_byte in [0, 1, 0x81, 0xff] {
            let forge = Forge { type_byte, ..Forge::new(suite) };
            refuses_unasked(
                &forge.message(TEXT),
                |error| matches!(error, Error::Format(FormatError::Type(found)) if *found == type_byte),
            );
        }
    }
}

#[test]
fn attack_17_base64_text_is_refused_by_its_name() {
    for suite in AlgorithmSuite::ALL {
        let text = BASE64_STANDARD.encode(Forge::new(suite.id()).message(TEXT));
        refuses_unasked(text.as_bytes(), |error| matches!(error, Error::Format(FormatError::Base64)));
    }
    let hint = Error::from(FormatError::Base64).to_string();
    assert!(hint.contains("base64"), "{hint}");
}
