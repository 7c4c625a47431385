//! The header: in one piece or in many it is read the same, to its last byte and no further.

use sealwax::{Client, FormatError, Header, HeaderDecoder, Result};

use crate::pieces::{PATTERN_LENGTH, Pieces};

/// The length of the options before the header.
pub const PREFIX_LENGTH: usize = 1 + PATTERN_LENGTH;
/// A bit of the first byte: the limits are small, so that they are reached.
pub const SMALL_LIMITS: u8 = 1;

/// Reads a header, and returns the outcome.
///
/// # Panics
/// If an invariant does not hold.
pub fn run(input: &[u8]) -> Option<Result<Header>> {
    let (prefix, bytes) = input.split_first_chunk::<PREFIX_LENGTH>()?;
    let [options, pattern @ ..] = *prefix;
    let decoder = || if options & SMALL_LIMITS != 0 { small_limits().header_decoder() } else { HeaderDecoder::new() };

    let whole = decoder().decode(bytes).map(|(received, rest)| (received.header().clone(), bytes.len() - rest.len()));
    let split = in_pieces(decoder(), bytes, Pieces::new(pattern));
    match (&whole, split) {
        (Ok((header, taken)), Ok(Some((other, also_taken)))) => {
            assert_eq!(header, &other);
            assert_eq!(*taken, also_taken);
            assert_eq!(*taken, header.length());
            check_extent(decoder, &bytes[..*taken], header);
        }
        (Err(sealwax::Error::Format(FormatError::Truncated)), Ok(None)) => {}
        (Err(error), Err(other)) => assert_eq!(format!("{error:?}"), format!("{other:?}")),
        (whole, split) => panic!("{whole:?} is not {split:?}"),
    }
    Some(whole.map(|(header, _)| header))
}

fn small_limits() -> Client {
    Client::builder().max_encrypted_data_keys(2).max_header_length(400).max_frame_length(256).build()
}

/// Returns the header and how many bytes it took, or `None` if there were too few.
fn in_pieces(mut decoder: HeaderDecoder, bytes: &[u8], mut pieces: Pieces) -> Result<Option<(Header, usize)>> {
    let (mut rest, mut taken) = (bytes, 0);
    while !rest.is_empty() {
        let piece = pieces.next_piece(&mut rest);
        let (count, received) = match decoder.push(piece) {
            Ok(pushed) => pushed,
            Err(error) => {
                assert_nothing_more(decoder);
                return Err(error);
            }
        };
        taken += count;
        if let Some(received) = received {
            assert_nothing_more(decoder);
            return Ok(Some((received.header().clone(), taken)));
        }
        assert_eq!(count, piece.len(), "bytes are left though the header is not whole");
    }
    Ok(None)
}

fn assert_nothing_more(mut decoder: HeaderDecoder) {
    assert!(matches!(decoder.push(&[0; 64]), Err(sealwax::Error::Ended)), "a decoder goes on after its end");
}

/// Checks that the header needs exactly these bytes.
fn check_extent(decoder: impl Fn() -> HeaderDecoder, bytes: &[u8], header: &Header) {
    let (received, rest) = decoder().decode(bytes).expect("the same bytes");
    assert!(rest.is_empty() && received.header() == header);
    let shorter = decoder().decode(&bytes[..bytes.len() - 1]).map(|_| ());
    assert!(matches!(shorter, Err(sealwax::Error::Format(FormatError::Truncated))), "{shorter:?}");

    // What a tool would print of it.
    let printed = format!("{header:?} {:?}", header.context());
    assert!(!printed.is_empty());
    for key in header.encrypted_data_keys() {
        let _ = (key.key_name(), format!("{key:?}"));
    }
    assert_eq!(header.message_id().len(), header.suite().version().message_id_length());
}
