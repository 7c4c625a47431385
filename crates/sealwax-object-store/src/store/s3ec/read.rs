//! Reading objects.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream, stream::BoxStream};

use super::{
    super::{
        super::object_store::{
            Error, GetOptions, GetRange, GetResult, OBJECT_STORE_COALESCE_DEFAULT, ObjectStore, Result,
            coalesce_ranges, path::Path,
        },
        body::{answer, ending_with_an_error, request, stream_of, take_payload, yield_once},
        error::{changed, from_s3ec, invalid_range, misbehaved},
        source::{is_same, pinned},
    },
    Key, Opened, Shared,
};
use crate::s3ec::{Decoder, FirstPass, READ_AT_ONCE, S3EncryptionError};

/// The number of bytes of an object that are processed at a time.
const PIECE: usize = 1 << 20;
/// The number of bytes of an object that are requested at a time.
const STEP: u64 = 4 << 20;
/// The number of these requests in flight.
const STEPS: usize = 4;

impl<S: ObjectStore> Shared<S> {
    pub(super) async fn get(self: &Arc<Self>, location: &Path, options: GetOptions) -> Result<GetResult> {
        match options.range.clone() {
            _ if options.head => {
                let reply = self.inner.get_opts(location, options.clone()).await?;
                let length = self.measure(&reply.meta, &reply.attributes, &options).await?;
                Ok(answer(reply, length, 0..length, stream::empty().boxed()))
            }
            None => self.get_whole(location, options).await,
            Some(range) => {
                range.is_valid().map_err(invalid_range)?;
                self.get_range(location, GetOptions { range: None, ..options }, &range).await
            }
        }
    }

    /// Requests a whole object, and opens it.
    async fn request_whole(
        self: &Arc<Self>,
        location: &Path,
        options: &GetOptions,
    ) -> Result<(GetResult, GetResult, Opened)> {
        let mut reply = self.inner.get_opts(location, options.clone()).await?;
        if reply.range != (0..reply.meta.size) {
            return Err(misbehaved("the store returned a part of an object instead of the whole"));
        }
        let payload = take_payload(&mut reply);
        let opened = self.open(&reply.meta, &reply.attributes, options).await?;
        Ok((reply, payload, opened))
    }

    async fn get_whole(self: &Arc<Self>, location: &Path, options: GetOptions) -> Result<GetResult> {
        let (reply, payload, opened) = self.request_whole(location, &options).await?;
        let (whole, length) = (0..opened.length, opened.length);
        let pass = match self.settings.release_unverified {
            true => None,
            false => FirstPass::new(&opened.content, length).map_err(from_s3ec)?,
        };
        let Some(pass) = pass else {
            let decoder = Decoder::new(opened.content.clone(), length).map_err(from_s3ec)?;
            return Ok(answer(reply, length, whole, decoded(decoder, stream_of(payload))));
        };
        let (opened, kept) = self.verify(opened, pass, payload, &options).await?;
        let plaintext = match kept {
            Some(object) => stream::iter([decrypted(&opened, &whole, object)]).boxed(),
            None => self.clone().pieces(opened, whole.clone(), &options),
        };
        Ok(answer(reply, length, whole, plaintext))
    }

    /// Authenticates an object, and remembers it. Returns it with its bytes, unless they are too
    /// many.
    async fn verify(
        &self,
        opened: Opened,
        mut pass: FirstPass,
        payload: GetResult,
        options: &GetOptions,
    ) -> Result<(Arc<Opened>, Option<Vec<u8>>)> {
        let mut kept = (opened.meta.size <= READ_AT_ONCE).then(Vec::new);
        let mut body = stream_of(payload);
        while let Some(bytes) = body.next().await.transpose()? {
            for piece in bytes.chunks(PIECE) {
                pass.push(piece).map_err(from_s3ec)?;
                yield_once().await;
            }
            // Not more than the pass takes.
            if let Some(kept) = &mut kept {
                kept.extend_from_slice(&bytes);
            }
        }
        let digests = Some(pass.finish().map_err(from_s3ec)?);
        let opened = Arc::new(Opened { digests, ..opened });
        self.remember(&opened, options);
        Ok((opened, kept))
    }

    /// Opens an object so that ranges of it can be read. Returns its bytes if they are known.
    async fn open_for_ranges(
        self: &Arc<Self>,
        location: &Path,
        options: &GetOptions,
    ) -> Result<(GetResult, Arc<Opened>, Option<Vec<u8>>)> {
        if self.settings.release_unverified {
            let head = GetOptions { head: true, ..options.clone() };
            let reply = self.inner.get_opts(location, head).await?;
            let opened = Arc::new(self.open(&reply.meta, &reply.attributes, options).await?);
            self.remember(&opened, options);
            return Ok((reply, opened, None));
        }
        let (reply, payload, opened) = self.request_whole(location, options).await?;
        let pass = FirstPass::new(&opened.content, opened.length).map_err(from_s3ec)?;
        let pass = pass.ok_or_else(|| from_s3ec(S3EncryptionError::UNVERIFIED))?;
        let (opened, kept) = self.verify(opened, pass, payload, options).await?;
        Ok((reply, opened, kept))
    }

    async fn get_range(self: &Arc<Self>, location: &Path, options: GetOptions, range: &GetRange) -> Result<GetResult> {
        let key = Key::new(location, options.version.as_ref());
        if let Some(opened) = self.opened.get(&key) {
            // The range may be valid by now; the store is asked again.
            if let Ok(range) = range.as_range(opened.length)
                && !range.is_empty()
            {
                // A condition of the caller would be weakened by another one.
                let ours = options.if_match.is_none() && options.if_unmodified_since.is_none();
                let if_match = if ours { opened.meta.e_tag.clone() } else { options.if_match.clone() };
                let conditional = GetOptions { if_match, ..options.clone() };
                match self.start(&opened, conditional, &options, &range).await {
                    Ok((reply, plaintext)) => return Ok(answer(reply, opened.length, range, plaintext)),
                    Err(Error::Precondition { .. }) if ours => {}
                    Err(Error::Generic { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            self.opened.remove(&key);
        }
        let (mut reply, opened, kept) = self.open_for_ranges(location, &options).await?;
        let range = range.as_range(opened.length).map_err(invalid_range)?;
        let plaintext = match kept {
            Some(object) => stream::iter([decrypted(&opened, &range, object)]).boxed(),
            None if range.is_empty() => stream::empty().boxed(),
            None => {
                let plaintext;
                (reply, plaintext) = self.start(&opened, pinned(&opened.meta, &options), &options, &range).await?;
                plaintext
            }
        };
        Ok(answer(reply, opened.length, range, plaintext))
    }

    /// Reads the first piece of a range. Returns the answer to its request, and the plaintext of the
    /// whole range.
    async fn start(
        self: &Arc<Self>,
        opened: &Arc<Opened>,
        conditional: GetOptions,
        options: &GetOptions,
        range: &Range<u64>,
    ) -> Result<(GetResult, BoxStream<'static, Result<Bytes>>)> {
        let first = range.start..range.end.min(opened.next_step(range.start));
        let rest = first.end..range.end;
        let (reply, bytes) = self.read_piece(opened, conditional, first).await?;
        let rest = self.clone().pieces(opened.clone(), rest, options);
        Ok((reply, ending_with_an_error(stream::iter([Ok(bytes)]).chain(rest).boxed())))
    }

    /// Reads a range in pieces.
    fn pieces(
        self: Arc<Self>,
        opened: Arc<Opened>,
        range: Range<u64>,
        options: &GetOptions,
    ) -> BoxStream<'static, Result<Bytes>> {
        let options = pinned(&opened.meta, options);
        let cut = opened.clone();
        let pieces = std::iter::successors(Some(range.start), move |at| Some(cut.next_step(*at)));
        let end = range.end;
        let pieces = pieces.take_while(move |at| *at < end);
        let read = move |start: u64| {
            let (shared, opened, options) = (self.clone(), opened.clone(), options.clone());
            async move {
                let piece = start..end.min(opened.next_step(start));
                Ok(shared.read_piece(&opened, options, piece).await?.1)
            }
        };
        ending_with_an_error(stream::iter(pieces).map(read).buffered(STEPS).boxed())
    }

    /// Reads a piece, in one request.
    async fn read_piece(&self, opened: &Opened, options: GetOptions, piece: Range<u64>) -> Result<(GetResult, Bytes)> {
        let location = &opened.meta.location;
        let whole = opened.digests.as_ref().map_or_else(|| piece.clone(), |digests| digests.segments(&piece));
        let sealed = GetRange::Bounded(opened.content.sealed(&whole));
        let part = request(&self.inner, location, sealed, options).await?;
        let is_authentic = |digests: &Arc<_>| crate::s3ec::Digests::are_of(digests, whole.start, &part.bytes);
        if !is_same(&part.reply.meta, &opened.meta) || !opened.digests.as_ref().is_none_or(is_authentic) {
            return Err(changed(location));
        }
        let text = opened.content.decrypt(&whole, part.bytes.into()).map_err(from_s3ec)?;
        let (start, end) = ((piece.start - whole.start) as usize, (piece.end - whole.start) as usize);
        Ok((part.reply, Bytes::from(text).slice(start..end)))
    }

    pub(super) async fn get_ranges(self: &Arc<Self>, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        if ranges.is_empty() {
            return Ok(Vec::new());
        }
        let options = GetOptions::default();
        if self.opened.get(&Key::new(location, None)).is_none() {
            // Otherwise each of the requests below would open it.
            self.open_for_ranges(location, &options).await?;
        }
        let fetch = |range| async {
            let range = GetRange::Bounded(range);
            range.is_valid().map_err(invalid_range)?;
            self.get_range(location, options.clone(), &range).await?.bytes().await
        };
        coalesce_ranges(ranges, fetch, OBJECT_STORE_COALESCE_DEFAULT).await
    }
}

impl Opened {
    /// Returns where the piece after the one at this offset starts.
    fn next_step(&self, at: u64) -> u64 {
        let step = self.digests.as_ref().map_or(STEP, |digests| digests.whole_segments(STEP));
        (at / step + 1).saturating_mul(step)
    }
}

/// Decrypts a range of an object that is in memory and authentic.
fn decrypted(opened: &Opened, range: &Range<u64>, mut object: Vec<u8>) -> Result<Bytes> {
    object.truncate(range.end as usize);
    object.drain(..range.start as usize);
    opened.content.decrypt(range, object).map(Bytes::from).map_err(from_s3ec)
}

/// Decrypts an object as it arrives. The stream ends without an error only after the end of the
/// object was verified, as far as it can be.
fn decoded(decoder: Decoder, body: BoxStream<'static, Result<Bytes>>) -> BoxStream<'static, Result<Bytes>> {
    let pieces = body.map_ok(|bytes| {
        let count = bytes.len().div_ceil(PIECE);
        stream::iter((0..count).map(move |at| Ok(bytes.slice(at * PIECE..bytes.len().min((at + 1) * PIECE)))))
    });
    let pieces = pieces.try_flatten().boxed();
    let next = |(mut decoder, mut pieces): (Option<Decoder>, BoxStream<'static, Result<Bytes>>)| async move {
        let mut machine = decoder.take()?;
        let step = match pieces.next().await {
            Some(Ok(bytes)) => match machine.push(&bytes) {
                Ok(text) => return Some((Ok(Bytes::from(text)), (Some(machine), pieces))),
                Err(error) => Err(from_s3ec(error)),
            },
            Some(Err(error)) => Err(error),
            None => machine.finish().map(Bytes::from).map_err(from_s3ec),
        };
        Some((step, (None, pieces)))
    };
    let not_empty = |item: &Result<Bytes>| std::future::ready(item.as_ref().map_or(true, |bytes| !bytes.is_empty()));
    // An empty object ends at once, and is polled again by those who collect it.
    stream::unfold((Some(decoder), pieces), next).fuse().filter(not_empty).boxed()
}
