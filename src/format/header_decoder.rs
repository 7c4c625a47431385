//! The message header, read as it arrives.
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

/// A header as it was received: what it says, not yet verified, and its very bytes.
///
/// Opening a message goes from here through the materials of a keyring to a [`Decryptor`](crate::message::Decryptor).
/// [`HeaderDecoder`] has an example.
pub struct ReceivedHeader {
    pub(crate) header: Header,
    /// The whole header: body, then authentication.
    pub(crate) bytes: Vec<u8>,
    /// The length of the header body.
    pub(crate) body_length: usize,
    /// The IV of the header authentication: on the wire in version 1, zero in version 2.
    pub(crate) iv: Iv,
    pub(crate) tag: Tag,
}

impl ReceivedHeader {
    /// What the header says. **Nothing of it is verified.**
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

/// Reads a header from bytes that arrive in parts, never taking a byte more than belongs to it.
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
    /// Where the field being read starts.
    at: usize,
    stage: Stage,
    /// How many bytes the field being read has.
    needs: usize,
    version: MessageVersion,
    fields: HeaderFields,
    keys_left: u16,
    body_length: usize,
    iv: Iv,
    tag: Tag,
}

/// The field being read.
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
    /// A decoder with the default limits: 64 encrypted data keys, 1 MiB in all.
    ///
    /// ```
    /// let decoder = sealwax::HeaderDecoder::new();
    /// # let _ = decoder;
    /// ```
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

    /// Takes bytes up to the end of the header: how many were taken, and the header once it is whole. After that, and
    /// after an error, a decoder only answers [`Error::Ended`].
    ///
    /// # Errors
    /// [`Error::Format`] at the first field that is malformed, [`Error::Limit`]
    /// as soon as a limit is seen to be exceeded.
    ///
    /// ```
    /// # use sealwax::{Error, FormatError, HeaderDecoder};
    /// let refused = HeaderDecoder::new().push(&[1, 0x80, 0xff, 0xff]);
    /// assert!(matches!(refused, Err(Error::Format(FormatError::Suite(0xffff)))));
    /// ```
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

    /// Reads a header that is there as a whole, and gives what follows it.
    ///
    /// # Errors
    /// As [`push`](Self::push); [`FormatError::Truncated`] if the bytes end within the header.
    ///
    /// ```
    /// # use sealwax::{Error, FormatError, HeaderDecoder};
    /// let refused = HeaderDecoder::new().decode(&[2, 5]);
    /// assert!(matches!(refused, Err(Error::Format(FormatError::Truncated))));
    /// ```
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

    /// Takes in the field that is now whole; sets how many bytes the next one has and says which it is.
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
            // The base64 text of 01 80 starts with AY, that of 02 04 and 02 05 with Ag.
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

/// The field as an array; a field always has the length that its stage asked for.
fn array_of<const N: usize>(field: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(field);
    array
}

fn u16_of(field: &[u8]) -> u16 {
    u16::from_be_bytes(array_of(field))
}
