//! Reading objects.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use futures_util::{StreamExt, stream, stream::BoxStream};
use sealwax::{ContentType, FormatError, ReceivedHeader, message::Decryptor};

use super::{
    super::object_store::{Error, GetOptions, GetRange, GetResult, ObjectMeta, ObjectStore, Result, path::Path},
    Shared,
    body::{self, answer},
    error::{changed, from_sealwax, invalid_range, is_precondition, misbehaved},
    open::{Key, Opened, Purpose},
    plaintext::{MAX_REQUEST, Plaintext, pieces},
    source::{Source, is_same, pinned},
};
use crate::layout::{Layout, Sizes};

/// The number of bytes of a message that are opened at a time.
const PIECE: usize = 1 << 20;

impl<S: ObjectStore> Shared<S> {
    pub(super) async fn get(self: &Arc<Self>, location: &Path, options: GetOptions) -> Result<GetResult> {
        if options.head {
            return self.head(location, options).await;
        }
        match options.range.clone() {
            None => self.get_whole(location, options).await,
            Some(range) => {
                // Refused before any request, as an empty range is.
                range.is_valid().map_err(invalid_range)?;
                self.get_range(location, options, range).await
            }
        }
    }

    async fn head(self: &Arc<Self>, location: &Path, options: GetOptions) -> Result<GetResult> {
        // The payload, which for a file is the ciphertext, is not passed on.
        let reply = self.inner.get_opts(location, options.clone()).await?;
        let length = match self.settings.sizes {
            Sizes::Uniform => self.settings.uniform_length(reply.meta.size),
            Sizes::Exact => self.measure(&reply.meta, &pinned(&reply.meta, &options)).await?,
        };
        Ok(answer(reply, length, 0..length, stream::empty().boxed()))
    }

    /// Returns the length of the plaintext of an object, from the object.
    pub(super) async fn measure(self: &Arc<Self>, meta: &ObjectMeta, options: &GetOptions) -> Result<u64> {
        let key = Key::new(&meta.location, options.version.as_ref());
        if let Some(opened) = self.opened.get(&key)
            && opened.is(meta)
        {
            return Ok(opened.reader.len());
        }
        // An empty marker is no message, and is left as it is.
        if meta.size == 0 {
            return Ok(0);
        }
        Ok(self.open(&meta.location, options, None, Purpose::Measure).await?.1.len())
    }

    /// Reads an object from its beginning, in one request.
    async fn get_whole(self: &Arc<Self>, location: &Path, options: GetOptions) -> Result<GetResult> {
        let mut reply = self.inner.get_opts(location, options.clone()).await?;
        if reply.range != (0..reply.meta.size) {
            return Err(misbehaved("the store returned a part of an object instead of the whole"));
        }
        let payload = body::take_payload(&mut reply);
        let (received, ahead, body) = self.read_header(body::stream_of(payload)).await?;
        let header = received.header();
        let layout = Layout::of(header);
        if header.content_type() == ContentType::Unframed {
            let plaintext = self.open_whole(location, received, ahead, body).await?;
            let length = plaintext.len() as u64;
            return Ok(answer(reply, length, 0..length, stream::iter([Ok(plaintext)]).boxed()));
        }
        let Some(layout) = layout else {
            drop(body);
            return self.get_signed(location, reply, &options).await;
        };
        let length = layout.plaintext_length(reply.meta.size);
        let length = length.ok_or_else(|| from_sealwax(FormatError::FinalFramePosition.into()))?;
        let decrypt = self.settings.decrypt(location.as_ref());
        if self.settings.sizes == Sizes::Uniform {
            // The header is checked again below, when it is authentic. Nothing is released before.
            self.settings.layout.check(header).map_err(from_sealwax)?;
        }
        let machine = decrypt.machine(received).await.map_err(from_sealwax)?;
        let plaintext = opened(Opening::new(machine, ahead, body, Some(length)));
        Ok(answer(reply, length, 0..length, plaintext))
    }

    /// Reads a signed object with frames.
    async fn get_signed(
        self: &Arc<Self>,
        location: &Path,
        reply: GetResult,
        options: &GetOptions,
    ) -> Result<GetResult> {
        let pinned = pinned(&reply.meta, options);
        if !self.settings.release_unverified {
            let (_, plaintext) = self.open(location, &pinned, None, Purpose::Read).await?;
            let length = plaintext.len();
            return Ok(answer(reply, length, 0..length, plaintext.into_stream(0..length)));
        }
        // The length follows from the end, and the signature is verified at the end of the stream.
        let length = self.measure(&reply.meta, &pinned).await?;
        let mut again = self.inner.get_opts(location, pinned).await?;
        if !is_same(&again.meta, &reply.meta) {
            return Err(changed(location));
        }
        let (received, ahead, body) = self.read_header(body::stream_of(body::take_payload(&mut again))).await?;
        let decrypt = self.settings.decrypt(location.as_ref()).release_unverified();
        let machine = decrypt.machine(received).await.map_err(from_sealwax)?;
        let plaintext = opened(Opening::new(machine, ahead, body, Some(length)));
        Ok(answer(reply, length, 0..length, plaintext))
    }

    /// Reads the header of a message. Returns it with the bytes after it that came along, and the
    /// rest of the stream.
    async fn read_header(
        &self,
        mut body: BoxStream<'static, Result<Bytes>>,
    ) -> Result<(ReceivedHeader, Bytes, BoxStream<'static, Result<Bytes>>)> {
        let mut decoder = self.settings.client.header_decoder();
        while let Some(mut bytes) = body.next().await.transpose()? {
            let (taken, received) = decoder.push(&bytes).map_err(from_sealwax)?;
            if let Some(received) = received {
                return Ok((received, bytes.split_off(taken), body));
            }
        }
        Err(from_sealwax(FormatError::Truncated.into()))
    }

    /// Decrypts a message of which nothing may be released before its end. It has no frames, so its
    /// length is bounded by the frame limit of the client.
    async fn open_whole(
        &self,
        location: &Path,
        received: ReceivedHeader,
        ahead: Bytes,
        body: BoxStream<'static, Result<Bytes>>,
    ) -> Result<Bytes> {
        if self.settings.sizes == Sizes::Uniform {
            self.settings.layout.check(received.header()).map_err(from_sealwax)?;
        }
        // Nothing is released here until the end has been verified.
        let decrypt = self.settings.decrypt(location.as_ref()).release_unverified();
        let machine = decrypt.machine(received).await.map_err(from_sealwax)?;
        let mut plaintext = opened(Opening::new(machine, ahead, body, None));
        let mut whole = Vec::new();
        while let Some(piece) = plaintext.next().await.transpose()? {
            whole.extend_from_slice(&piece);
        }
        Ok(whole.into())
    }

    /// Reads an object without frames.
    pub(super) async fn read_whole(&self, location: &Path, options: GetOptions) -> Result<Bytes> {
        let mut reply = self.inner.get_opts(location, options).await?;
        let (received, ahead, body) = self.read_header(body::stream_of(body::take_payload(&mut reply))).await?;
        if received.header().content_type() != ContentType::Unframed {
            return Err(changed(location));
        }
        self.open_whole(location, received, ahead, body).await
    }

    /// Reads a range, in one request if the object was opened before and is still the same.
    async fn get_range(self: &Arc<Self>, location: &Path, options: GetOptions, range: GetRange) -> Result<GetResult> {
        let options = GetOptions { range: None, ..options };
        if let Some((reply, plaintext, range)) = self.range_of_opened(location, &options, &range).await? {
            return Ok(answer(reply, plaintext.len(), range.clone(), plaintext.into_stream(range)));
        }
        let (reply, plaintext) = self.open(location, &options, Some(&range), Purpose::Read).await?;
        let range = range.as_range(plaintext.len()).map_err(invalid_range)?;
        Ok(answer(reply, plaintext.len(), range.clone(), plaintext.into_stream(range)))
    }

    /// Requests the first piece of a range of an object that was opened before. Returns `None` if
    /// there is none, or if it was replaced since.
    async fn range_of_opened(
        self: &Arc<Self>,
        location: &Path,
        options: &GetOptions,
        range: &GetRange,
    ) -> Result<Option<(GetResult, Plaintext<S>, Range<u64>)>> {
        let key = Key::new(location, options.version.as_ref());
        let Some(opened) = self.opened.get(&key) else { return Ok(None) };
        // The range may be valid by now; the store is asked again.
        let Ok(range) = range.as_range(opened.reader.len()) else { return Ok(None) };
        let Some(first) = pieces(&opened.reader, range.clone()).into_iter().next() else { return Ok(None) };
        let sealed = opened.reader.plan(first);
        let sealed = sealed.start..sealed.end.min(sealed.start + MAX_REQUEST);
        if sealed.is_empty() {
            return Ok(None);
        }
        // A condition of the caller on the entity tag or time would be weakened by another one.
        let ours = options.if_match.is_none() && options.if_unmodified_since.is_none();
        let mut conditional = options.clone();
        if ours {
            conditional.if_match = Some(opened.e_tag.clone());
        }
        let request = body::request(&self.inner, location, GetRange::Bounded(sealed.clone()), conditional);
        // A store without conditions may refuse the range first, if the object is shorter now.
        let may_have_changed =
            |error: &Error| (ours && is_precondition(error)) || matches!(error, Error::Generic { .. });
        match request.await {
            Ok(part) if opened.is(&part.reply.meta) => {
                let read = vec![(sealed.start, part.bytes)];
                let source = Source::new(self.clone(), part.reply.meta.clone(), options, read);
                let reader = opened.reader.with_source(source).map_err(from_sealwax)?;
                Ok(Some((part.reply, Plaintext::Frames(reader), range)))
            }
            Err(error) if !may_have_changed(&error) => Err(error),
            _ => {
                self.opened.remove(&key);
                Ok(None)
            }
        }
    }

    pub(super) async fn get_ranges(self: &Arc<Self>, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let (Some(start), Some(end)) =
            (ranges.iter().map(|range| range.start).min(), ranges.iter().map(|range| range.end).max())
        else {
            return Ok(Vec::new());
        };
        Self::limit(ranges, u64::MAX)?;
        let options = GetOptions::default();
        let key = Key::new(location, None);
        if let Some(opened) = self.opened.get(&key) {
            if let Ok(limited) = Self::limit(ranges, opened.reader.len()) {
                let source = Source::new(self.clone(), opened.meta(location), &options, Vec::new());
                let plaintext = Plaintext::Frames(opened.reader.with_source(source).map_err(from_sealwax)?);
                match plaintext.read_ranges(&limited).await.map_err(from_sealwax) {
                    Err(Error::Precondition { .. } | Error::Generic { .. }) => {}
                    outcome => return outcome,
                }
            }
            self.opened.remove(&key);
        }
        let wanted = GetRange::Bounded(start..end);
        let (_, plaintext) = self.open(location, &options, Some(&wanted), Purpose::Read).await?;
        let limited = Self::limit(ranges, plaintext.len())?;
        plaintext.read_ranges(&limited).await.map_err(from_sealwax)
    }
}

impl Opened {
    /// Returns whether this is the object of an answer.
    fn is(&self, meta: &ObjectMeta) -> bool {
        meta.e_tag.as_ref() == Some(&self.e_tag) && meta.version == self.version && meta.size == self.size
    }

    /// Returns the metadata of the object, as far as requests are compared with it.
    fn meta(&self, location: &Path) -> ObjectMeta {
        ObjectMeta {
            location: location.clone(),
            last_modified: Default::default(),
            size: self.size,
            e_tag: Some(self.e_tag.clone()),
            version: self.version.clone(),
        }
    }
}

/// A message that is opened as it arrives.
struct Opening {
    /// None after the end and after an error.
    machine: Option<Decryptor>,
    /// Bytes that have arrived and are not opened yet.
    ahead: Bytes,
    body: BoxStream<'static, Result<Bytes>>,
    /// How much plaintext must still come, if its length was announced.
    missing: Option<u64>,
}

impl Opening {
    fn new(machine: Decryptor, ahead: Bytes, body: BoxStream<'static, Result<Bytes>>, length: Option<u64>) -> Self {
        Self { machine: Some(machine), ahead, body, missing: length }
    }

    /// Counts plaintext before it is released.
    fn count(&mut self, plaintext: &[u8]) -> Result<()> {
        if let Some(missing) = &mut self.missing {
            *missing =
                missing.checked_sub(plaintext.len() as u64).ok_or_else(|| from_sealwax(sealwax::Error::Integrity))?;
        }
        Ok(())
    }

    /// Returns the next plaintext, or `None` at the end, which is then verified.
    async fn next(&mut self) -> Result<Option<Bytes>> {
        while let Some(machine) = &mut self.machine {
            if self.ahead.is_empty() {
                match self.body.next().await.transpose()? {
                    Some(bytes) => self.ahead = bytes,
                    None => {
                        let Some(machine) = self.machine.take() else { break };
                        let rest = machine.finish().map_err(from_sealwax)?.plaintext;
                        self.count(&rest)?;
                        // The store announced a longer object than it returned.
                        if self.missing.is_some_and(|missing| missing > 0) {
                            return Err(from_sealwax(sealwax::Error::Integrity));
                        }
                        return Ok((!rest.is_empty()).then(|| rest.into()));
                    }
                }
            }
            let piece = self.ahead.split_to(self.ahead.len().min(PIECE));
            machine.push(&piece).map_err(from_sealwax)?;
            let mut plaintext = Vec::new();
            while !machine.output().is_empty() {
                plaintext.extend_from_slice(machine.output());
                machine.consume(machine.output().len());
            }
            if !plaintext.is_empty() {
                self.count(&plaintext)?;
                return Ok(Some(plaintext.into()));
            }
        }
        Ok(None)
    }
}

/// Returns the plaintext of a message. The stream ends without an error only after the final frame.
fn opened(opening: Opening) -> BoxStream<'static, Result<Bytes>> {
    let next = |mut opening: Opening| async move {
        match opening.next().await {
            Ok(Some(bytes)) => Some((Ok(bytes), opening)),
            Ok(None) => None,
            Err(error) => {
                opening.machine = None;
                Some((Err(error), opening))
            }
        }
    };
    stream::unfold(opening, next).fuse().boxed()
}
