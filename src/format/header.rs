//! The message header, read as it arrives and written in one piece.
//!
//! Specification: data-format/message-header.

use std::fmt;

use super::encrypted_data_key::EncryptedDataKey;
use crate::{
    context::EncryptionContext,
    crypto::{IV_LENGTH, Iv, TAG_LENGTH, Tag},
    error::{Error, FormatError, Result},
    limits::Limits,
    suite::{AlgorithmSuite, COMMIT_KEY_LENGTH, MessageVersion},
};

/// The type byte of a version 1 message: customer authenticated encrypted data.
const TYPE: u8 = 0x80;

/// A message id: 16 bytes in version 1, 32 in version 2.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct MessageId {
    bytes: [u8; 32],
    length: usize,
}

impl MessageId {
    pub(crate) fn from_slice(id: &[u8]) -> Option<Self> {
        let mut bytes = [0; 32];
        bytes.get_mut(..id.len())?.copy_from_slice(id);
        Some(Self { bytes, length: id.len() })
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// How the body is divided.
///
/// ```
/// use sealwax::ContentType;
/// assert_eq!(ContentType::Framed { frame_length: 4096 }.frame_length(), Some(4096));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ContentType {
    /// One piece under one tag. Read for the sake of old messages, never written.
    Unframed,
    /// Frames that are sealed one by one.
    Framed {
        /// The number of plaintext bytes in every frame but the final one, which may have fewer.
        frame_length: u32,
    },
}

impl ContentType {
    /// The frame length in bytes, if there are frames.
    ///
    /// ```
    /// assert_eq!(sealwax::ContentType::Unframed.frame_length(), None);
    /// ```
    #[must_use]
    pub const fn frame_length(self) -> Option<u32> {
        match self {
            Self::Unframed => None,
            Self::Framed { frame_length } => Some(frame_length),
        }
    }
}

/// What the header of a message says.
///
/// Where it comes from tells how far to trust it: the header that an encryption or a finished decryption returns is
/// authentic; the one read from a message by [`HeaderDecoder`] is a claim.
///
/// ```
/// use sealwax::{Client, keyring::RawAesKeyring};
///
/// let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
/// let sealed = Client::new().encrypt(&keyring).bytes(b"text").wait()?;
/// assert_eq!(sealed.header.suite().id(), 0x0578);
/// assert_eq!(sealed.header.message_id().len(), 32);
/// assert_eq!(sealed.header.encrypted_data_keys().len(), 1);
/// # Ok::<(), sealwax::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Header {
    pub(crate) fields: HeaderFields,
    length: usize,
}

impl Header {
    /// The algorithm suite.
    ///
    /// ```
    /// # use sealwax::{Client, keyring::RawAesKeyring};
    /// # let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
    /// # let header = Client::new().encrypt(&keyring).bytes(b"text").wait()?.header;
    /// assert!(header.suite().is_signed());
    /// # Ok::<(), sealwax::Error>(())
    /// ```
    #[must_use]
    pub fn suite(&self) -> AlgorithmSuite {
        self.fields.suite
    }

    /// The message id: random, 16 bytes in version 1 and 32 in version 2.
    ///
    /// ```
    /// # use sealwax::{Client, keyring::RawAesKeyring};
    /// # let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
    /// # let header = Client::new().encrypt(&keyring).bytes(b"text").wait()?.header;
    /// assert_eq!(header.message_id().len(), header.suite().version().message_id_length());
    /// # Ok::<(), sealwax::Error>(())
    /// ```
    #[must_use]
    pub fn message_id(&self) -> &[u8] {
        self.fields.message_id.as_bytes()
    }

    /// The encryption context that is stored in the message, with the entries the library added.
    ///
    /// ```
    /// # use sealwax::{Client, keyring::RawAesKeyring};
    /// # let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
    /// let sealed = Client::new().encrypt(&keyring).context([("tenant", "blue")]).bytes(b"text").wait()?;
    /// assert_eq!(sealed.header.context().get("tenant"), Some("blue"));
    /// assert!(sealed.header.context().contains_key("aws-crypto-public-key"));
    /// # Ok::<(), sealwax::Error>(())
    /// ```
    #[must_use]
    pub fn context(&self) -> &EncryptionContext {
        &self.fields.context
    }

    /// The encrypted data keys, in their order in the message.
    ///
    /// ```
    /// # use sealwax::{Client, keyring::RawAesKeyring};
    /// # let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
    /// # let header = Client::new().encrypt(&keyring).bytes(b"text").wait()?.header;
    /// assert_eq!(header.encrypted_data_keys()[0].key_name(), Some("key-1"));
    /// # Ok::<(), sealwax::Error>(())
    /// ```
    #[must_use]
    pub fn encrypted_data_keys(&self) -> &[EncryptedDataKey] {
        &self.fields.encrypted_data_keys
    }

    /// How the body is divided.
    ///
    /// ```
    /// # use sealwax::{Client, ContentType, keyring::RawAesKeyring};
    /// # let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
    /// # let header = Client::new().encrypt(&keyring).bytes(b"text").wait()?.header;
    /// assert_eq!(header.content_type(), ContentType::Framed { frame_length: 4096 });
    /// # Ok::<(), sealwax::Error>(())
    /// ```
    #[must_use]
    pub fn content_type(&self) -> ContentType {
        self.fields.content_type
    }

    /// The length of the serialized header in bytes, its authentication included.
    ///
    /// ```
    /// # use sealwax::{Client, keyring::RawAesKeyring};
    /// # let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
    /// let sealed = Client::new().encrypt(&keyring).bytes(b"text").wait()?;
    /// assert!(sealed.header.length() < sealed.message.len());
    /// # Ok::<(), sealwax::Error>(())
    /// ```
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a header is never empty, and `length` is no `len`")]
    pub fn length(&self) -> usize {
        self.length
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Header")
            .field("suite", &self.suite())
            .field("context", self.context())
            .field("encrypted_data_keys", &self.encrypted_data_keys())
            .field("content_type", &self.content_type())
            .finish_non_exhaustive()
    }
}

/// The fields of a header body.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct HeaderFields {
    pub(crate) suite: AlgorithmSuite,
    pub(crate) message_id: MessageId,
    pub(crate) context: EncryptionContext,
    pub(crate) encrypted_data_keys: Vec<EncryptedDataKey>,
    pub(crate) content_type: ContentType,
    /// The commit key, if the suite commits; of no meaning otherwise.
    pub(crate) commit_key: [u8; COMMIT_KEY_LENGTH],
}

impl HeaderFields {
    /// The header body, whose stored context is already serialized, with room for the authentication.
    ///
    /// # Errors
    /// The name of the field that is too long for its length in 16 bits.
    pub(crate) fn serialize_body(&self, stored_context: &[u8]) -> Result<Vec<u8>, &'static str> {
        fn put(out: &mut Vec<u8>, bytes: &[u8], what: &'static str) -> Result<(), &'static str> {
            let length = u16::try_from(bytes.len()).map_err(|_| what)?;
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(bytes);
            Ok(())
        }
        let keys_length: usize = self
            .encrypted_data_keys
            .iter()
            .map(|key| 6 + key.provider_id.len() + key.provider_info.len() + key.ciphertext.len())
            .sum();
        let mut out = Vec::with_capacity(128 + stored_context.len() + keys_length);
        let version = self.suite.version();
        out.push(version.byte());
        if version == MessageVersion::V1 {
            out.push(TYPE);
        }
        out.extend_from_slice(&self.suite.id().to_be_bytes());
        out.extend_from_slice(self.message_id.as_bytes());
        put(&mut out, stored_context, "the encryption context is longer than 65,535 bytes")?;
        let count = u16::try_from(self.encrypted_data_keys.len())
            .map_err(|_| "there are more than 65,535 encrypted data keys")?;
        out.extend_from_slice(&count.to_be_bytes());
        for key in &self.encrypted_data_keys {
            put(&mut out, key.provider_id.as_bytes(), "a key provider id is longer than 65,535 bytes")?;
            put(&mut out, &key.provider_info, "key provider information is longer than 65,535 bytes")?;
            put(&mut out, &key.ciphertext, "an encrypted data key is longer than 65,535 bytes")?;
        }
        let (content_type, frame_length) = match self.content_type {
            ContentType::Unframed => (1, 0),
            ContentType::Framed { frame_length } => (2, frame_length),
        };
        out.push(content_type);
        if version == MessageVersion::V1 {
            out.extend_from_slice(&[0; 4]);
            out.push(IV_LENGTH as u8);
        }
        out.extend_from_slice(&frame_length.to_be_bytes());
        if version == MessageVersion::V2 {
            out.extend_from_slice(&self.commit_key);
        }
        Ok(out)
    }

    /// The header of these fields, whose serialization is as long as given.
    pub(crate) fn into_header(self, length: usize) -> Header {
        Header { fields: self, length }
    }
}

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
                message_id: MessageId { bytes: [0; 32], length: 0 },
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
