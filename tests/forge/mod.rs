//! A second, independent writer, for messages that the library itself would never write.
//!
//! It shares no code with the crate: it concatenates fields as the format says, directly over the
//! primitives. What it writes is authentic under the data key, so a refusal proves the check in
//! question and not the tag.
#![allow(dead_code, reason = "no test uses all of it")]
// The other crates have no such features, and include this file all the same.
#![allow(unexpected_cfgs)]

use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use aes_gcm::{
    Aes128Gcm, Aes256Gcm, AesGcm, KeyInit,
    aead::{AeadInOut, consts::U12},
    aes::Aes192,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use sealwax::{
    AlgorithmSuite, EncryptedDataKey, EncryptionContext, HeaderDecoder, Result, SecretBytes,
    keyring::{BoxFuture, Keyring, UnwrapRequest, Unwrapped, WrapRequest, Wrapped},
};
use sha2::{Digest, Sha256, Sha384, Sha512};

pub(crate) mod ways;

/// The marker before the final frame.
pub(crate) const FINAL_MARK: [u8; 4] = [0xff; 4];
pub(crate) const REGULAR_LABEL: &[u8] = b"AWSKMSEncryptionClient Frame";
pub(crate) const FINAL_LABEL: &[u8] = b"AWSKMSEncryptionClient Final Frame";
pub(crate) const UNFRAMED_LABEL: &[u8] = b"AWSKMSEncryptionClient Single Block";
pub(crate) const PUBLIC_KEY: &str = "aws-crypto-public-key";
/// The key provider id of [`Fixed`].
pub(crate) const PROVIDER_ID: &str = "forge";

/// The fields of a message to write, any of which can be wrong.
#[derive(Clone)]
pub(crate) struct Forge {
    pub(crate) version: u8,
    pub(crate) type_byte: u8,
    pub(crate) suite: u16,
    pub(crate) message_id: Vec<u8>,
    /// The stored context, serialized.
    pub(crate) context: Vec<u8>,
    /// The context that is authenticated but not stored, serialized.
    pub(crate) required: Vec<u8>,
    pub(crate) keys: Vec<[Vec<u8>; 3]>,
    pub(crate) key_count: u16,
    pub(crate) content_type: u8,
    pub(crate) reserved: [u8; 4],
    pub(crate) iv_length: u8,
    pub(crate) frame_length: u32,
    pub(crate) header_iv: [u8; 12],
    pub(crate) data_key: Vec<u8>,
}

impl Forge {
    /// Returns a correct message with frames of five bytes and a context of one pair.
    pub(crate) fn new(suite: u16) -> Self {
        let committing = matches!(suite, 0x0478 | 0x0578);
        let mut forge = Self {
            version: if committing { 2 } else { 1 },
            type_byte: 0x80,
            suite,
            message_id: vec![0x1d; if committing { 32 } else { 16 }],
            context: Vec::new(),
            required: Vec::new(),
            keys: vec![[PROVIDER_ID.into(), b"info".to_vec(), b"ciphertext".to_vec()]],
            key_count: 1,
            content_type: 2,
            reserved: [0; 4],
            iv_length: 12,
            frame_length: 5,
            header_iv: [0; 12],
            data_key: vec![0x42; key_length(suite)],
        };
        forge.set_context(&[("tenant", "blue")]);
        forge
    }

    /// Stores these pairs, in this order, preceded by the public key if the suite signs.
    pub(crate) fn set_context(&mut self, pairs: &[(&str, &str)]) {
        let public_key = self.signs().map(|curve| BASE64_STANDARD.encode(curve.public_key()));
        let mut all: Vec<(&str, &str)> = public_key.iter().map(|value| (PUBLIC_KEY, value.as_str())).collect();
        all.extend(pairs);
        self.context = serialize_context(&all);
    }

    /// Returns a message of this suite under the data key of an honest one, as anyone who can
    /// unwrap that key can write. It stores the pairs of `stored`, and authenticates those of
    /// `required` without storing them.
    pub(crate) fn under_the_key_of(
        honest: &[u8],
        keyring: &dyn Keyring,
        suite: u16,
        stored: &[(&str, &str)],
        required: &[(&str, &str)],
    ) -> Self {
        let (received, _) = HeaderDecoder::new().decode(honest).unwrap();
        let header = received.header();
        let (context, wrapped) = (header.context(), header.encrypted_data_keys());
        let request = UnwrapRequest::new(super::support::provider(), header.suite(), context, wrapped);
        let data_key = ready(keyring.on_decrypt(request)).unwrap().data_key;
        let key = &wrapped[0];
        Self {
            context: serialize_context(stored),
            required: serialize_context(required),
            keys: vec![[key.provider_id().into(), key.provider_info().to_vec(), key.ciphertext().to_vec()]],
            data_key: data_key.as_bytes().to_vec(),
            ..Self::new(suite)
        }
    }

    /// Wraps the data key with a keyring of the library in this context, and stores only that
    /// encrypted data key.
    pub(crate) fn wrap_with(&mut self, keyring: &dyn Keyring, context: &EncryptionContext) {
        let suite = AlgorithmSuite::from_id(self.suite).unwrap();
        let data_key = SecretBytes::from(self.data_key.as_slice());
        let request = WrapRequest::new(super::support::provider(), suite, context).for_key(&data_key);
        let key = ready(keyring.on_encrypt(request)).unwrap().encrypted_data_keys.remove(0);
        self.keys = vec![[key.provider_id().into(), key.provider_info().to_vec(), key.ciphertext().to_vec()]];
    }

    pub(crate) fn signs(&self) -> Option<Curve> {
        match self.suite {
            0x0214 => Some(Curve::P256),
            0x0346 | 0x0378 | 0x0578 => Some(Curve::P384),
            _ => None,
        }
    }

    /// Returns the derived key and, if the suite commits, the commit key.
    pub(crate) fn derive(&self) -> (Vec<u8>, Vec<u8>) {
        let suite = self.suite.to_be_bytes();
        let mut key = vec![0; key_length(self.suite)];
        let v1_info = [&suite[..], &self.message_id].concat();
        match self.suite {
            0x0014 | 0x0046 | 0x0078 => (self.data_key.clone(), Vec::new()),
            0x0114 | 0x0146 | 0x0178 | 0x0214 => {
                hkdf::Hkdf::<Sha256>::new(None, &self.data_key).expand(&v1_info, &mut key).unwrap();
                (key, Vec::new())
            }
            0x0346 | 0x0378 => {
                hkdf::Hkdf::<Sha384>::new(None, &self.data_key).expand(&v1_info, &mut key).unwrap();
                (key, Vec::new())
            }
            _ => {
                let hkdf = hkdf::Hkdf::<Sha512>::new(Some(&self.message_id), &self.data_key);
                let mut commit_key = vec![0; 32];
                hkdf.expand(&[&suite[..], b"DERIVEKEY"].concat(), &mut key).unwrap();
                hkdf.expand(b"COMMITKEY", &mut commit_key).unwrap();
                (key, commit_key)
            }
        }
    }

    /// Returns the header up to its authentication.
    pub(crate) fn header_body(&self) -> Vec<u8> {
        let mut out = self.header_to_key_count();
        for field in self.keys.iter().flatten() {
            put_u16(&mut out, field.len());
            out.extend_from_slice(field);
        }
        out.push(self.content_type);
        if self.version == 1 {
            out.extend_from_slice(&self.reserved);
            out.push(self.iv_length);
        }
        out.extend_from_slice(&self.frame_length.to_be_bytes());
        out.extend_from_slice(&self.derive().1);
        out
    }

    /// Returns the header up to the number of encrypted data keys.
    pub(crate) fn header_to_key_count(&self) -> Vec<u8> {
        let mut out = vec![self.version];
        if self.version == 1 {
            out.push(self.type_byte);
        }
        out.extend_from_slice(&self.suite.to_be_bytes());
        out.extend_from_slice(&self.message_id);
        put_u16(&mut out, self.context.len());
        out.extend_from_slice(&self.context);
        out.extend_from_slice(&self.key_count.to_be_bytes());
        out
    }

    pub(crate) fn header(&self) -> Vec<u8> {
        let mut out = self.header_body();
        let tag = self.seal(self.header_iv, &[&out[..], &self.required].concat(), &[]);
        if self.version == 1 {
            out.extend_from_slice(&self.header_iv);
        }
        out.extend(tag);
        out
    }

    /// Returns the ciphertext and tag.
    pub(crate) fn seal(&self, iv: [u8; 12], aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
        fn seal<C: AeadInOut<NonceSize = U12> + KeyInit>(key: &[u8], iv: [u8; 12], aad: &[u8], text: &[u8]) -> Vec<u8> {
            let mut out = text.to_vec();
            let cipher = C::new_from_slice(key).unwrap();
            let tag = cipher.encrypt_inout_detached(&iv.into(), aad, out.as_mut_slice().into()).unwrap();
            out.extend_from_slice(&tag);
            out
        }
        let (key, _) = self.derive();
        match key.len() {
            16 => seal::<Aes128Gcm>(&key, iv, aad, plaintext),
            24 => seal::<AesGcm<Aes192, U12>>(&key, iv, aad, plaintext),
            _ => seal::<Aes256Gcm>(&key, iv, aad, plaintext),
        }
    }

    /// Returns one piece of a body, whose fields all follow from what is authenticated with it.
    pub(crate) fn piece(&self, label: &[u8], number: u32, iv: [u8; 12], plaintext: &[u8]) -> Vec<u8> {
        let length = (plaintext.len() as u64).to_be_bytes();
        let aad = [&self.message_id[..], label, &number.to_be_bytes(), &length].concat();
        let sealed = self.seal(iv, &aad, plaintext);
        let number = number.to_be_bytes();
        match label {
            REGULAR_LABEL => [&number[..], &iv, &sealed].concat(),
            FINAL_LABEL => [&FINAL_MARK[..], &number, &iv, &length[4..], &sealed].concat(),
            _ => [&iv[..], &length, &sealed].concat(),
        }
    }

    pub(crate) fn regular(&self, number: u32, plaintext: &[u8]) -> Vec<u8> {
        self.piece(REGULAR_LABEL, number, iv_of(number), plaintext)
    }

    pub(crate) fn last(&self, number: u32, plaintext: &[u8]) -> Vec<u8> {
        self.piece(FINAL_LABEL, number, iv_of(number), plaintext)
    }

    pub(crate) fn unframed(&self, plaintext: &[u8]) -> Vec<u8> {
        self.piece(UNFRAMED_LABEL, 1, iv_of(1), plaintext)
    }

    /// Returns the frames of a plaintext; the last one is full if the plaintext ends with a whole
    /// frame.
    pub(crate) fn frames(&self, plaintext: &[u8]) -> Vec<Vec<u8>> {
        let frame_length = self.frame_length as usize;
        let regular = plaintext.len().saturating_sub(1) / frame_length;
        let (all, rest) = plaintext.split_at(regular * frame_length);
        let mut frames: Vec<_> =
            all.chunks(frame_length).zip(1..).map(|(text, number)| self.regular(number, text)).collect();
        frames.push(self.last(regular as u32 + 1, rest));
        frames
    }

    /// Returns the header, these pieces, and a footer if the suite signs.
    pub(crate) fn with_body(&self, pieces: &[Vec<u8>]) -> Vec<u8> {
        let mut message = [self.header(), pieces.concat()].concat();
        if let Some(curve) = self.signs() {
            let (r, s) = curve.sign(&message);
            message.extend(footer(&der(&r, &s)));
        }
        message
    }

    pub(crate) fn message(&self, plaintext: &[u8]) -> Vec<u8> {
        self.with_body(&self.frames(plaintext))
    }

    /// Returns an unframed message.
    pub(crate) fn unframed_message(&self, plaintext: &[u8]) -> Vec<u8> {
        let unframed = Self { content_type: 1, frame_length: 0, ..self.clone() };
        unframed.with_body(&[unframed.unframed(plaintext)])
    }

    /// Returns the keyring that has the data key.
    pub(crate) fn keyring(&self) -> Fixed {
        Fixed(self.data_key.clone())
    }
}

/// Returns the output of a future that completes immediately.
fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => panic!("it waits"),
    }
}

pub(crate) fn key_length(suite: u16) -> usize {
    usize::from(match suite & 0xff {
        0x78 => 32_u8,
        0x46 => 24,
        _ => 16,
    })
}

/// Returns the number as an IV, right-aligned.
pub(crate) fn iv_of(number: u32) -> [u8; 12] {
    let mut iv = [0; 12];
    iv[8..].copy_from_slice(&number.to_be_bytes());
    iv
}

fn put_u16(out: &mut Vec<u8>, length: usize) {
    out.extend_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
}

/// Serializes pairs unchanged and in order.
pub(crate) fn serialize_context(pairs: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    if !pairs.is_empty() {
        put_u16(&mut out, pairs.len());
        for text in pairs.iter().flat_map(|(key, value)| [key, value]) {
            put_u16(&mut out, text.len());
            out.extend_from_slice(text.as_bytes());
        }
    }
    out
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Curve {
    P256,
    P384,
}

macro_rules! on_curve {
    ($self:expr, $curve:ident => $work:expr) => {
        match $self {
            Curve::P256 => {
                use p256 as $curve;
                $work
            }
            Curve::P384 => {
                use p384 as $curve;
                $work
            }
        }
    };
}

impl Curve {
    /// Returns the length of a scalar in bytes.
    pub(crate) fn length(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
        }
    }

    /// Returns the order of the curve.
    pub(crate) fn order(self) -> Vec<u8> {
        // As printed in the standards, not as computed by the library under test.
        let hex = match self {
            Self::P256 => "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551",
            Self::P384 => {
                "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973"
            }
        };
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    /// Returns the compressed public key of the signing key used here.
    pub(crate) fn public_key(self) -> Vec<u8> {
        on_curve!(self, curve => {
            let key = curve::ecdsa::SigningKey::from_slice(&vec![0x11; self.length()]).unwrap();
            key.verifying_key().to_sec1_point(true).as_bytes().to_vec()
        })
    }

    /// Returns the two halves of a signature, with the curve's length in bytes.
    pub(crate) fn sign(self, message: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let digest = self.digest(message);
        on_curve!(self, curve => {
            use curve::ecdsa::{Signature, SigningKey, signature::hazmat::PrehashSigner};
            let key = SigningKey::from_slice(&vec![0x11; self.length()]).unwrap();
            let signature: Signature = key.sign_prehash(&digest).unwrap();
            let bytes = signature.to_bytes();
            let (r, s) = bytes.split_at(self.length());
            (r.to_vec(), s.to_vec())
        })
    }

    /// Returns whether a DER signature verifies under a compressed public key.
    pub(crate) fn verifies(self, public_key: &[u8], message: &[u8], signature: &[u8]) -> bool {
        let digest = self.digest(message);
        on_curve!(self, curve => {
            use curve::ecdsa::{Signature, VerifyingKey, signature::hazmat::PrehashVerifier};
            let key = VerifyingKey::from_sec1_bytes(public_key).unwrap();
            Signature::from_der(signature).is_ok_and(|signature| key.verify_prehash(&digest, &signature).is_ok())
        })
    }

    fn digest(self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::P256 => Sha256::digest(message).to_vec(),
            Self::P384 => Sha384::digest(message).to_vec(),
        }
    }

    /// Returns the other valid second half: the order minus this one.
    pub(crate) fn negate(self, scalar: &[u8]) -> Vec<u8> {
        let (mut out, mut borrow) = (self.order(), 0);
        for (digit, less) in out.iter_mut().zip(scalar).rev() {
            let difference = i16::from(*digit) - i16::from(*less) - borrow;
            borrow = i16::from(difference < 0);
            *digit = (difference & 0xff) as u8;
        }
        assert_eq!(borrow, 0, "the scalar is not below the order");
        out
    }
}

/// Returns the shortest DER form of two unsigned numbers.
pub(crate) fn der(r: &[u8], s: &[u8]) -> Vec<u8> {
    let integer = |number: &[u8]| {
        let mut digits: Vec<u8> = number.iter().copied().skip_while(|digit| *digit == 0).collect();
        if digits.first().is_none_or(|first| first & 0x80 != 0) {
            digits.insert(0, 0);
        }
        [&[2, digits.len() as u8], &digits[..]].concat()
    };
    let both = [integer(r), integer(s)].concat();
    [&[0x30, both.len() as u8], &both[..]].concat()
}

pub(crate) fn footer(signature: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_u16(&mut out, signature.len());
    out.extend_from_slice(signature);
    out
}

/// A keyring that returns one data key for every encrypted data key with its provider id.
pub(crate) struct Fixed(pub(crate) Vec<u8>);

impl Keyring for Fixed {
    fn label(&self) -> Arc<str> {
        "fixed".into()
    }

    fn on_encrypt<'a>(&'a self, _: WrapRequest<'a>) -> BoxFuture<'a, Result<Wrapped>> {
        let encrypted = EncryptedDataKey::new(PROVIDER_ID, *b"info", *b"ciphertext");
        let wrapped = Wrapped::generated(SecretBytes::from(self.0.as_slice()), encrypted);
        Box::pin(async { Ok(wrapped) })
    }

    fn on_decrypt<'a>(&'a self, request: UnwrapRequest<'a>) -> BoxFuture<'a, Result<Unwrapped>> {
        Box::pin(async move {
            let mut attempts = request.attempts(self.label());
            for (index, _) in request.candidates(|key| key.provider_id() == PROVIDER_ID) {
                if let Some(unwrapped) = attempts.record(index, Ok(self.0.as_slice().into())) {
                    return Ok(unwrapped);
                }
            }
            Err(attempts.into_error())
        })
    }
}

/// A keyring that must not be called.
pub(crate) struct Unasked;

impl Keyring for Unasked {
    fn label(&self) -> Arc<str> {
        "unasked".into()
    }

    fn on_encrypt<'a>(&'a self, _: WrapRequest<'a>) -> BoxFuture<'a, Result<Wrapped>> {
        panic!("asked to wrap")
    }

    fn on_decrypt<'a>(&'a self, _: UnwrapRequest<'a>) -> BoxFuture<'a, Result<Unwrapped>> {
        panic!("asked to unwrap")
    }
}
