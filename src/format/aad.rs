//! The additional authenticated data (AAD) of the body.

use super::header::MessageId;

/// The part of a body that is sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyPart {
    /// An unframed body.
    Unframed,
    /// A regular frame.
    RegularFrame,
    /// The final frame.
    FinalFrame,
}

impl BodyPart {
    const fn label(self) -> &'static [u8] {
        match self {
            Self::Unframed => b"AWSKMSEncryptionClient Single Block",
            Self::RegularFrame => b"AWSKMSEncryptionClient Frame",
            Self::FinalFrame => b"AWSKMSEncryptionClient Final Frame",
        }
    }
}

/// The longest AAD: a 32-byte message ID, a 35-byte label, a sequence number and a content length.
const CAPACITY: usize = 32 + 35 + 4 + 8;

/// The AAD of one part of a body: message ID, label, sequence number and content length.
///
/// Specification: data-format/message-body-aad, "Structure".
pub(crate) struct BodyAad {
    bytes: [u8; CAPACITY],
    length: usize,
}

impl BodyAad {
    pub(crate) fn new(message_id: &MessageId, part: BodyPart, sequence_number: u32, content_length: u64) -> Self {
        let mut aad = Self { bytes: [0; CAPACITY], length: 0 };
        aad.put(message_id.as_bytes());
        aad.put(part.label());
        aad.put(&sequence_number.to_be_bytes());
        aad.put(&content_length.to_be_bytes());
        aad
    }

    fn put(&mut self, bytes: &[u8]) {
        self.bytes[self.length..][..bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_aad_fits() {
        let id = MessageId::from_slice(&[7; 32]).unwrap();
        for part in [BodyPart::Unframed, BodyPart::RegularFrame, BodyPart::FinalFrame] {
            let aad = BodyAad::new(&id, part, 1, 2);
            assert_eq!(aad.as_bytes().len(), 32 + part.label().len() + 12);
        }
    }

    #[test]
    fn the_fields_stand_in_order() {
        let id = MessageId::from_slice(&[1; 16]).unwrap();
        let aad = BodyAad::new(&id, BodyPart::RegularFrame, 0x0102_0304, 5);
        let mut expected = vec![1; 16];
        expected.extend_from_slice(b"AWSKMSEncryptionClient Frame\x01\x02\x03\x04\0\0\0\0\0\0\0\x05");
        assert_eq!(aad.as_bytes(), expected);
    }
}
