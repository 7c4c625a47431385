//! The steps of decrypting a message.
//!
//! Specification: client-apis/decrypt.

use std::sync::Arc;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{
    key::MessageKey,
    parallel::{Plan, open_regular_frames},
};
use crate::{
    context::{EncryptionContext, PUBLIC_KEY_ENTRY, RESERVED_PREFIX},
    crypto::{CryptoProvider, Digest, VerifyingKey},
    error::{ContextError, Direction, Error, FormatError, Result},
    format::{
        BodyPart, ContentType, FRAME_OVERHEAD, Frame, FrameKind, Header, MAX_FRAMES, Parsed, Prefix, ReceivedHeader,
        parse_footer, parse_frame_prefix, parse_piece, parse_unframed_prefix,
    },
    limits::Limits,
    materials::{DecryptionMaterials, OpenedBy},
    suite::{CommitmentPolicy, SignatureAlgorithm},
};

/// A message whose header has been verified.
pub(crate) struct VerifiedHeader {
    pub(crate) header: Header,
    /// The pairs of the encryption context that are authenticated but not stored.
    pub(crate) hidden: EncryptionContext,
    pub(crate) opened_by: OpenedBy,
    pub(crate) body: BodyOpener,
}

/// The parameters for opening a message, besides its decryption materials.
pub(crate) struct OpenParameters<'a> {
    pub(crate) provider: &'a dyn CryptoProvider,
    pub(crate) policy: CommitmentPolicy,
    pub(crate) limits: Limits,
    /// The encryption context that the caller expects.
    pub(crate) expected_context: &'a EncryptionContext,
}

/// Verifies a header with its decryption materials and returns the opener for the body.
///
/// # Errors
/// [`Error::Commitment`], [`Error::Context`] or [`Error::Materials`] if the materials do not belong
/// to the message or are not what the caller expects; [`Error::Integrity`] if the key commitment or
/// the header tag does not verify.
pub(crate) fn verify_header(
    parameters: &OpenParameters<'_>,
    received: ReceivedHeader,
    materials: DecryptionMaterials,
) -> Result<VerifiedHeader> {
    let ReceivedHeader { header, bytes, body_length, iv, tag } = received;
    check_materials(parameters, &header, &materials)?;
    let OpenParameters { provider, limits, .. } = *parameters;
    let DecryptionMaterials { suite, context, required_context_keys, data_key, verifying_key, opened_by } = materials;

    let message_id = header.fields.message_id.clone();
    let (key, commit_key) = MessageKey::derive(provider, suite, &data_key, message_id)?;
    if let Some(commit_key) = commit_key
        && !bool::from(commit_key.ct_eq(&header.fields.commit_key))
    {
        return Err(Error::Integrity);
    }
    let hidden: EncryptionContext = context.iter().filter(|(key, _)| required_context_keys.contains(*key)).collect();
    let required = hidden.serialize()?;
    let header_body = &bytes[..body_length];
    if required.is_empty() {
        key.open_header(&iv, header_body, &tag)?;
    } else {
        key.open_header(&iv, &[header_body, &required].concat(), &tag)?;
    }

    let verifier = verifying_key.map(|key| FooterVerifier::new(provider, key, &bytes));
    let key = Arc::new(key);
    let body = BodyOpener { key, content_type: header.content_type(), limits, next: 1, verifier };
    Ok(VerifiedHeader { header, hidden, opened_by, body })
}

/// Checks that the materials belong to the message and that its encryption context is the one the
/// caller expects. This does not rely on the materials manager, which may be a third party's.
fn check_materials(parameters: &OpenParameters<'_>, header: &Header, materials: &DecryptionMaterials) -> Result<()> {
    let OpenParameters { policy, expected_context, .. } = *parameters;
    let DecryptionMaterials { suite, ref context, ref required_context_keys, .. } = *materials;
    if !policy.allows_decrypt(suite) {
        return Err(Error::Commitment { suite, policy, operation: Direction::Decrypt });
    }
    if suite != header.suite() {
        return Err(Error::Materials("the algorithm suite differs from that of the message"));
    }
    materials.check(header.encrypted_data_keys().len())?;
    // Check the whole context and not only the stored one. Otherwise a pair that is authenticated
    // but not stored could stand in for the public key of a signature that does not exist.
    let public_key = header.context().get(PUBLIC_KEY_ENTRY);
    match (suite.is_signed(), public_key.or(context.get(PUBLIC_KEY_ENTRY))) {
        (true, _) if public_key.is_none() => return Err(ContextError::PublicKeyMissing.into()),
        (false, Some(_)) => return Err(ContextError::PublicKeyUnexpected.into()),
        _ => {}
    }
    if context.get(PUBLIC_KEY_ENTRY) != public_key {
        return Err(Error::Materials("the public key in the encryption context differs from that of the message"));
    }
    if suite.signature() != materials.verifying_key.as_ref().map(|key| key.algorithm()) {
        return Err(Error::Materials("the verifying key does not match the algorithm suite"));
    }
    // A caller that expects a public key relies on the signature being verified with that key.
    if materials.verifying_key.as_ref().map(|key| key.public_key_entry()).as_deref() != public_key {
        return Err(Error::Materials("the verifying key is not the public key of the message"));
    }
    if !required_context_keys.iter().all(|key| context.contains_key(key) && !key.starts_with(RESERVED_PREFIX)) {
        return Err(Error::Materials("a required encryption context key is reserved or not in the context"));
    }
    for (key, expected) in expected_context {
        let found = match header.context().get(key) {
            None if required_context_keys.contains(key) => context.get(key),
            stored => stored,
        };
        if found != Some(expected) {
            return Err(ContextError::Mismatch.into());
        }
    }
    if required_context_keys.iter().any(|key| header.context().contains_key(key)) {
        return Err(Error::Materials("a required encryption context key is stored in the message"));
    }
    Ok(())
}

/// An opener for the frames of a body, which are opened in order.
pub(crate) struct BodyOpener {
    pub(super) key: Arc<MessageKey>,
    pub(super) content_type: ContentType,
    pub(super) limits: Limits,
    /// The sequence number of the next frame.
    pub(super) next: u32,
    pub(super) verifier: Option<FooterVerifier>,
}

impl BodyOpener {
    /// Returns `true` if a signature follows the body, so that the plaintext is not verified until
    /// the signature is.
    pub(crate) fn is_signed(&self) -> bool {
        self.verifier.is_some()
    }

    /// Returns an opener for the same body from its start, without signature verification. The
    /// caller must ensure that the signature of the bytes has been verified.
    pub(super) fn again(&self) -> Self {
        let Self { ref key, content_type, limits, .. } = *self;
        Self { key: key.clone(), content_type, limits, next: 1, verifier: None }
    }

    /// Returns what is needed to open frames out of order: the key, the content type, and the
    /// signature algorithm if a footer follows.
    pub(super) fn into_parts(self) -> (Arc<MessageKey>, ContentType, Option<SignatureAlgorithm>) {
        (self.key, self.content_type, self.verifier.map(|verifier| verifier.key.algorithm()))
    }

    /// Parses the next frame at the front of `input`, which must have the next sequence number.
    pub(super) fn parse<'a>(&self, input: &'a [u8]) -> Result<Parsed<Frame<'a>>> {
        Ok(match numbered_prefix(input, self.content_type, self.next, &self.limits)? {
            Parsed::Whole(prefix) => parse_piece(input, &prefix),
            Parsed::Needs(count) => Parsed::Needs(count),
        })
    }

    /// Opens a regular frame into `out`, which must be as long as the frame's content.
    pub(super) fn open_regular(&mut self, frame: &Frame<'_>, out: &mut [u8]) -> Result<()> {
        // The last sequence number is also the final frame mark, so no regular frame can have it.
        if self.next == MAX_FRAMES {
            return Err(Error::Integrity);
        }
        self.key.open(BodyPart::RegularFrame, frame, out)?;
        self.next += 1;
        if let Some(verifier) = &mut self.verifier {
            verifier.digest.update(frame.bytes);
        }
        Ok(())
    }

    /// Opens the final frame, or an unframed body, into `out`, which must be as long as its
    /// content.
    pub(super) fn open_final(self, frame: &Frame<'_>, out: &mut [u8]) -> Result<AfterBody> {
        let part = match self.content_type {
            ContentType::Framed { .. } => BodyPart::FinalFrame,
            ContentType::Unframed => BodyPart::Unframed,
        };
        self.key.open(part, frame, out)?;
        Ok(match self.verifier {
            None => AfterBody::Verified(Verified(())),
            Some(mut verifier) => {
                verifier.digest.update(frame.bytes);
                AfterBody::Footer(verifier)
            }
        })
    }
}

/// Parses the prefix at the front of `input`, which must have the sequence number `expected` and be
/// within the limits.
pub(super) fn numbered_prefix<'a>(
    input: &'a [u8],
    content_type: ContentType,
    expected: u32,
    limits: &Limits,
) -> Result<Parsed<Prefix<'a>>> {
    let prefix = match content_type {
        ContentType::Framed { frame_length } => parse_frame_prefix(input, frame_length)?,
        ContentType::Unframed => parse_unframed_prefix(input)?,
    };
    if let Parsed::Whole(Prefix { sequence_number: found, content_length, .. }) = prefix {
        if found != expected {
            return Err(FormatError::SequenceNumber { expected, found }.into());
        }
        limits.check_frame_length(content_length)?;
    }
    Ok(prefix)
}

/// The part of a message that follows the body.
pub(super) enum AfterBody {
    /// A signature that must be verified.
    Footer(FooterVerifier),
    /// Nothing, because the suite does not sign.
    Verified(Verified),
}

/// Proof that the whole message has been verified.
pub(super) struct Verified(());

/// A verifier for the footer, which covers all bytes before it.
pub(super) struct FooterVerifier {
    /// The digest of everything before the next frame.
    pub(super) digest: Box<dyn Digest>,
    pub(super) key: Arc<dyn VerifyingKey>,
}

impl FooterVerifier {
    fn new(provider: &dyn CryptoProvider, key: Arc<dyn VerifyingKey>, header: &[u8]) -> Self {
        let mut digest = provider.digest(key.algorithm().hash());
        digest.update(header);
        Self { digest, key }
    }

    /// Parses the footer at the front of `input` and returns the signature and the length of the
    /// footer.
    pub(super) fn parse<'a>(&self, input: &'a [u8]) -> Result<Parsed<(&'a [u8], usize)>> {
        Ok(parse_footer(input, self.key.algorithm())?)
    }

    /// Verifies the signature over the header and the body.
    pub(super) fn verify(self, signature: &[u8]) -> Result<Verified> {
        self.key.verify_digest(&self.digest.finish(), signature)?;
        Ok(Verified(()))
    }
}

/// Opens a body that is entirely in memory, and the footer that follows it. If this fails, the
/// plaintext opened so far is overwritten.
pub(crate) fn open_all(body: BodyOpener, input: &[u8], plan: Plan) -> Result<Zeroizing<Vec<u8>>> {
    let mut plaintext = Zeroizing::new(vec![0; max_plaintext_length(body.content_type, input.len())]);
    let (mut body, opened) = open_regular_frames(body, input, &mut plaintext, plan)?;
    let mut rest = &input[opened..];
    let mut at = max_plaintext_length(body.content_type, opened);
    let after = loop {
        let Parsed::Whole(frame) = body.parse(rest)? else { return Err(FormatError::Truncated.into()) };
        let out = plaintext.get_mut(at..at + frame.content.len()).ok_or(FormatError::Truncated)?;
        at += frame.content.len();
        rest = &rest[frame.bytes.len()..];
        match frame.kind {
            FrameKind::Regular => body.open_regular(&frame, out)?,
            FrameKind::Final => break body.open_final(&frame, out)?,
        }
    };
    let Verified(()) = match after {
        AfterBody::Verified(verified) => verified,
        AfterBody::Footer(footer) => {
            let Parsed::Whole((signature, length)) = footer.parse(rest)? else {
                return Err(FormatError::Truncated.into());
            };
            rest = &rest[length..];
            footer.verify(signature)?
        }
    };
    if !rest.is_empty() {
        return Err(FormatError::TrailingBytes.into());
    }
    plaintext.truncate(at);
    Ok(plaintext)
}

/// Returns the maximum length of the plaintext of a body of `input` bytes. Allocations use this
/// length, which depends on the bytes that are present and not on what they declare.
fn max_plaintext_length(content_type: ContentType, input: usize) -> usize {
    match content_type {
        ContentType::Unframed => input,
        ContentType::Framed { frame_length } => {
            let frame_length = frame_length as usize;
            let sealed = frame_length.saturating_add(FRAME_OVERHEAD);
            (input / sealed) * frame_length + (input % sealed).min(frame_length)
        }
    }
}
