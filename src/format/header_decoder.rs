//! An incremental decoder for the message header.
//!
//! Specification: data-format/message-header.

use super::{
    encrypted_data_key::EncryptedDataKey,
    header::{ContentType, Header, HeaderFields, MessageId, TYPE},
};
use crate::{
    context::EncryptionContext,
    crypto::{IV_LENGTH, Iv, TAG_LENGTH, Tag},
    error::{Error, FormatError, Result},
    limits::Limits,
    suite::{AlgorithmSuite, COMMIT_KEY_LENGTH, MessageVersion},
};

/// A received header: its unverified contents and its original bytes.
///
/// Returned by a [`HeaderDecoder`]. Pass it to a decryption to get a
/// [`Decryptor`](crate::message::Decryptor) for the body.
pub struct ReceivedHeader {
    pub(crate) header: Header,
    /// The whole header: the header body, then the authentication.
    pub(crate) bytes: Vec<u8>,
    /// The length of the header body.
    pub(crate) body_length: usize,
    /// The IV of the header authentication: read from the message in version 1, zero in version 2.
    pub(crate) iv: Iv,
    pub(crate) tag: Tag,
}

impl ReceivedHeader {
    /// Returns the contents of the header. **None of it has been verified.**
    ///
    /// ```
    /// # use sealwax::{Client, HeaderDecoder, keyring::RawAesKeyring};
    /// # let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
    /// # let message = Client::new().encrypt(&keyring).bytes(b"text").wait()?.message;
    /// let (received, _) = HeaderDecoder::new().decode(&message)?;
    /// assert_eq!(received.header().suite().id(), 0x0578);
    /// # Ok::<(), sealwax::Error>(())
    /// ```
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }
}

/// An incremental decoder for a message header. The input can arrive in pieces of any size, and no
/// byte after the header is consumed.
///
/// ```
/// use sealwax::{Client, HeaderDecoder, keyring::RawAesKeyring};
///
/// let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
/// let message = Client::new().encrypt(&keyring).bytes(b"text").wait()?.message;
///
/// let mut decoder = HeaderDecoder::new();
/// let (taken, none) = decoder.push(&message[..50])?;
/// assert!(taken == 50 && none.is_none());
/// let (taken, received) = decoder.push(&message[50..])?;
/// let received = received.expect("the whole header was there");
/// assert_eq!(received.header().length(), 50 + taken);
/// # Ok::<(), sealwax::Error>(())
/// ```
pub struct HeaderDecoder {
    limits: Limits,
    bytes: Vec<u8>,
    /// The offset of the current field.
    at: usize,
    stage: Stage,
    /// The length of the current field.
    needs: usize,
    version: MessageVersion,
    fields: HeaderFields,
    keys_left: u16,
    body_length: usize,
    iv: Iv,
    tag: Tag,
}

/// The current field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Version,
    Base64Hint,
    Type,
    Suite,
    MessageId,
    ContextLength,
    Context,
    KeyCount,
    ProviderIdLength,
    ProviderId,
    ProviderInfoLength,
    ProviderInfo,
    CiphertextLength,
    Ciphertext,
    ContentType,
    ReservedAndIvLength,
    FrameLength,
    CommitKey,
    AuthenticationIv,
    AuthenticationTag,
    Complete,
}

impl Default for HeaderDecoder {
    fn default() -> Self {
        Self::new()
    }
}

impl HeaderDecoder {
    /// Creates a decoder with the default limits: at most 64 encrypted data keys and 1 MiB of
    /// header.
    #[must_use]
    pub fn new() -> Self {
        Self::with_limits(Limits::default())
    }

    pub(crate) fn with_limits(limits: Limits) -> Self {
        Self {
            limits,
            bytes: Vec::with_capacity(512),
            at: 0,
            stage: Stage::Version,
            needs: 1,
            version: MessageVersion::V2,
            fields: HeaderFields {
                suite: AlgorithmSuite::Aes256GcmHkdfSha512CommitKey,
                message_id: MessageId::EMPTY,
                context: EncryptionContext::new(),
                encrypted_data_keys: Vec::new(),
                content_type: ContentType::Unframed,
                commit_key: [0; COMMIT_KEY_LENGTH],
            },
            keys_left: 0,
            body_length: 0,
            iv: [0; IV_LENGTH],
            tag: [0; TAG_LENGTH],
        }
    }

    /// Consumes input up to the end of the header. Returns the number of bytes consumed, and the
    /// header once it is complete.
    ///
    /// After the header has been returned, and after an error, every further call fails with
    /// [`Error::Ended`].
    ///
    /// # Errors
    /// [`Error::Format`] at the first malformed field, and [`Error::Limit`] as soon as the header
    /// is known to exceed a limit.
    pub fn push(&mut self, input: &[u8]) -> Result<(usize, Option<ReceivedHeader>)> {
        if self.stage == Stage::Complete {
            return Err(Error::Ended);
        }
        let mut taken = 0;
        loop {
            let have = self.bytes.len() - self.at;
            let more = (self.needs - have).min(input.len() - taken);
            self.bytes.extend_from_slice(&input[taken..taken + more]);
            taken += more;
            if have + more < self.needs {
                return Ok((taken, None));
            }
            let next = self.read_field().inspect_err(|_| self.stage = Stage::Complete)?;
            self.at = self.bytes.len();
            self.limits
                .check_header_length(self.at.saturating_add(self.needs))
                .inspect_err(|_| self.stage = Stage::Complete)?;
            self.stage = next;
            if next == Stage::Complete {
                return Ok((taken, Some(self.finish())));
            }
        }
    }

    /// Decodes a header that is entirely in memory. Returns it with the bytes that follow it.
    ///
    /// # Errors
    /// As for [`push`](Self::push), and [`FormatError::Truncated`] if the input ends within the
    /// header.
    pub fn decode(mut self, message: &[u8]) -> Result<(ReceivedHeader, &[u8])> {
        match self.push(message)? {
            (taken, Some(header)) => Ok((header, &message[taken..])),
            (_, None) => Err(FormatError::Truncated.into()),
        }
    }

    fn finish(&mut self) -> ReceivedHeader {
        let bytes = std::mem::take(&mut self.bytes);
        self.at = 0;
        let empty = Self::with_limits(self.limits).fields;
        let fields = std::mem::replace(&mut self.fields, empty);
        ReceivedHeader {
            header: fields.into_header(bytes.len()),
            bytes,
            body_length: self.body_length,
            iv: self.iv,
            tag: self.tag,
        }
    }

    /// Stores the current field, which is complete. Sets the length of the next field and returns
    /// its stage.
    fn read_field(&mut self) -> Result<Stage> {
        let field = &self.bytes[self.at..];
        let (next, needs) = match self.stage {
            Stage::Version => match field[0] {
                1 => {
                    self.version = MessageVersion::V1;
                    (Stage::Type, 1)
                }
                2 => {
                    self.version = MessageVersion::V2;
                    (Stage::Suite, 2)
                }
                b'A' => (Stage::Base64Hint, 1),
                other => return Err(FormatError::Version(other).into()),
            },
            // In base64, a message that starts with 01 80 starts with "AY", and one that starts
            // with 02 04 or 02 05 starts with "Ag".
            Stage::Base64Hint => {
                return Err(match field[0] {
                    b'Y' | b'g' => FormatError::Base64,
                    _ => FormatError::Version(b'A'),
                }
                .into());
            }
            Stage::Type => match field[0] {
                TYPE => (Stage::Suite, 2),
                other => return Err(FormatError::Type(other).into()),
            },
            Stage::Suite => {
                let id = u16_of(field);
                let suite = AlgorithmSuite::from_id(id).ok_or(FormatError::Suite(id))?;
                if suite.version() != self.version {
                    return Err(FormatError::SuiteVersion { suite, version: self.version.byte() }.into());
                }
                self.fields.suite = suite;
                (Stage::MessageId, self.version.message_id_length())
            }
            Stage::MessageId => {
                self.fields.message_id = MessageId::from_slice(field).ok_or(FormatError::Truncated)?;
                (Stage::ContextLength, 2)
            }
            Stage::ContextLength => (Stage::Context, u16_of(field).into()),
            Stage::Context => {
                self.fields.context = EncryptionContext::deserialize(field)?;
                (Stage::KeyCount, 2)
            }
            Stage::KeyCount => {
                self.keys_left = u16_of(field);
                if self.keys_left == 0 {
                    return Err(FormatError::NoEncryptedDataKeys.into());
                }
                self.limits.check_encrypted_data_keys(self.keys_left.into())?;
                (Stage::ProviderIdLength, 2)
            }
            Stage::ProviderIdLength => (Stage::ProviderId, u16_of(field).into()),
            Stage::ProviderId => {
                let provider_id = std::str::from_utf8(field).map_err(|_| FormatError::ProviderId)?;
                self.fields.encrypted_data_keys.push(EncryptedDataKey::new(provider_id, [], []));
                (Stage::ProviderInfoLength, 2)
            }
            Stage::ProviderInfoLength => (Stage::ProviderInfo, u16_of(field).into()),
            Stage::ProviderInfo => {
                if let Some(key) = self.fields.encrypted_data_keys.last_mut() {
                    key.provider_info = field.to_vec();
                }
                (Stage::CiphertextLength, 2)
            }
            Stage::CiphertextLength => (Stage::Ciphertext, u16_of(field).into()),
            Stage::Ciphertext => {
                if let Some(key) = self.fields.encrypted_data_keys.last_mut() {
                    key.ciphertext = field.to_vec();
                }
                self.keys_left -= 1;
                if self.keys_left > 0 { (Stage::ProviderIdLength, 2) } else { (Stage::ContentType, 1) }
            }
            Stage::ContentType => {
                self.fields.content_type = match field[0] {
                    1 => ContentType::Unframed,
                    2 => ContentType::Framed { frame_length: 0 },
                    other => return Err(FormatError::ContentType(other).into()),
                };
                match self.version {
                    MessageVersion::V1 => (Stage::ReservedAndIvLength, 5),
                    MessageVersion::V2 => (Stage::FrameLength, 4),
                }
            }
            Stage::ReservedAndIvLength => {
                if field[..4] != [0; 4] {
                    return Err(FormatError::Reserved.into());
                }
                if usize::from(field[4]) != IV_LENGTH {
                    return Err(FormatError::IvLength(field[4]).into());
                }
                (Stage::FrameLength, 4)
            }
            Stage::FrameLength => {
                let found = u32::from_be_bytes(array_of(field));
                match (&mut self.fields.content_type, found) {
                    (ContentType::Unframed, 0) => {}
                    (ContentType::Framed { frame_length }, 1..) => *frame_length = found,
                    _ => return Err(FormatError::FrameLength(found).into()),
                }
                self.limits.check_frame_length(found.into())?;
                match self.version {
                    MessageVersion::V1 => {
                        self.body_length = self.bytes.len();
                        (Stage::AuthenticationIv, IV_LENGTH)
                    }
                    MessageVersion::V2 => (Stage::CommitKey, COMMIT_KEY_LENGTH),
                }
            }
            Stage::CommitKey => {
                self.fields.commit_key = array_of(field);
                self.body_length = self.bytes.len();
                (Stage::AuthenticationTag, TAG_LENGTH)
            }
            Stage::AuthenticationIv => {
                self.iv = array_of(field);
                (Stage::AuthenticationTag, TAG_LENGTH)
            }
            Stage::AuthenticationTag => {
                self.tag = array_of(field);
                (Stage::Complete, 0)
            }
            Stage::Complete => (Stage::Complete, 0),
        };
        self.needs = needs;
        Ok(next)
    }
}

/// Converts a field to an array. Every field has exactly the length that its stage asked for.
fn array_of<const N: usize>(field: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(field);
    array
}

fn u16_of(field: &[u8]) -> u16 {
    u16::from_be_bytes(array_of(field))
}
