//! The bytes of a message, and nothing else: no keys, no input or output.
//!
//! A message is a [header], then a body of frames (or, in old messages, of one piece), then, if the suite
//! signs, a footer. Reading takes whatever bytes there are and says how many more it needs; nothing is allocated on a
//! length that a message merely declares.

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
