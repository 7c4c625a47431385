//! The encoding of messages. This module handles neither keys nor I/O.
//!
//! A message consists of a [header], a body of frames (or, in old messages, of a single part) and,
//! if the suite signs, a footer. The parsers accept incomplete input and return how many bytes they
//! need. No allocation depends on a length that a message merely declares.

mod aad;
mod encrypted_data_key;
mod frame;
mod header;
mod header_decoder;

pub(crate) use aad::{BodyAad, BodyPart};
pub use encrypted_data_key::EncryptedDataKey;
pub(crate) use frame::{
    FINAL_FRAME_OVERHEAD, FRAME_OVERHEAD, Frame, FrameKind, MAX_FRAMES, Parsed, Prefix, parse_footer,
    parse_frame_prefix, parse_piece, parse_unframed_prefix, write_frame_prefix,
};
pub use header::{ContentType, Header};
pub(crate) use header::{HeaderFields, MessageId};
pub use header_decoder::{HeaderDecoder, ReceivedHeader};
