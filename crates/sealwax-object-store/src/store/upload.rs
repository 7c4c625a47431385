//! Writing objects.

use std::{fmt, mem};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{FutureExt, future::try_join_all};
use sealwax::{Error, Result as SealwaxResult, message::Encryptor};

use super::{
    super::object_store::{MultipartUpload, PutPayload, PutResult, Result, UploadPart, path::Path},
    body::yield_once,
    error::from_sealwax,
};
use crate::settings::{MIN_PART, Parts, Settings};

/// The number of bytes that are sealed between two points where other tasks may run. The threads of
/// the client start and end with each piece.
const PIECE: usize = 4 << 20;

/// Seals the payload of an object that is written at once.
pub(super) async fn seal(settings: &Settings, location: &Path, payload: PutPayload) -> SealwaxResult<PutPayload> {
    let length = payload.content_length();
    let mut encryptor = settings.encryptor(location.as_ref(), Some(length as u64)).await?;
    encryptor.reserve(length);
    for mut bytes in payload {
        while !bytes.is_empty() {
            encryptor.push(&bytes.split_to(bytes.len().min(PIECE)))?;
            yield_once().await;
        }
    }
    Ok(encryptor.finish()?.into())
}

/// An upload whose parts are sealed when they are handed over.
pub(super) struct SealedUpload {
    inner: Box<dyn MultipartUpload>,
    /// None after the end and after an error.
    encryptor: Option<Encryptor>,
    parts: Parts,
    /// Sealed bytes that are too few for a part.
    waiting: Waiting,
}

/// Bytes in several pieces.
#[derive(Default)]
struct Waiting {
    pieces: Vec<Bytes>,
    length: usize,
}

impl Waiting {
    fn push(&mut self, bytes: Bytes) {
        self.length += bytes.len();
        if !bytes.is_empty() {
            self.pieces.push(bytes);
        }
    }

    /// Takes all bytes.
    fn take(&mut self) -> PutPayload {
        mem::take(self).pieces.into_iter().collect()
    }

    /// Takes the first `length` bytes, of which there must be as many.
    fn take_first(&mut self, length: usize) -> PutPayload {
        let mut rest = Self::default();
        let mut first = Self::default();
        for mut bytes in mem::take(self).pieces {
            let now = bytes.split_to(bytes.len().min(length - first.length));
            first.push(now);
            rest.push(bytes);
        }
        *self = rest;
        first.take()
    }
}

impl SealedUpload {
    pub(super) fn new(inner: Box<dyn MultipartUpload>, encryptor: Encryptor, parts: Parts) -> Self {
        Self { inner, encryptor: Some(encryptor), parts, waiting: Waiting::default() }
    }

    /// Seals a part of the plaintext.
    fn seal(&mut self, payload: PutPayload) -> SealwaxResult<()> {
        let mut encryptor = self.encryptor.take().ok_or(Error::Ended)?;
        encryptor.reserve(payload.content_length());
        for bytes in payload {
            encryptor.push(&bytes)?;
        }
        self.waiting.push(encryptor.take_part()?.into());
        self.encryptor = Some(encryptor);
        Ok(())
    }

    /// Hands on the parts that are long enough.
    fn hand_on(&mut self) -> Vec<UploadPart> {
        match self.parts {
            Parts::Follow if self.waiting.length < MIN_PART => Vec::new(),
            Parts::Follow => vec![self.inner.put_part(self.waiting.take())],
            Parts::Equal(length) => {
                let count = self.waiting.length / length;
                (0..count).map(|_| self.inner.put_part(self.waiting.take_first(length))).collect()
            }
        }
    }
}

impl fmt::Debug for SealedUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedUpload").field("inner", &self.inner).finish_non_exhaustive()
    }
}

#[async_trait]
impl MultipartUpload for SealedUpload {
    /// Seals before it returns. The number of a part in the message, and in the inner upload, is
    /// thus the order of the calls, and the futures can be awaited in any order.
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        if let Err(error) = self.seal(data) {
            return async move { Err(from_sealwax(error)) }.boxed();
        }
        let mut parts = self.hand_on();
        match parts.len() {
            1 => parts.remove(0),
            _ => try_join_all(parts).map(|done| done.map(|_| ())).boxed(),
        }
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let encryptor = self.encryptor.take().ok_or(Error::Ended).map_err(from_sealwax)?;
        self.waiting.push(encryptor.finish().map_err(from_sealwax)?.into());
        let mut parts = if self.parts == Parts::Follow { Vec::new() } else { self.hand_on() };
        if self.waiting.length > 0 {
            parts.push(self.inner.put_part(self.waiting.take()));
        }
        try_join_all(parts).await?;
        self.inner.complete().await
    }

    async fn abort(&mut self) -> Result<()> {
        self.encryptor = None;
        self.waiting = Waiting::default();
        self.inner.abort().await
    }
}
