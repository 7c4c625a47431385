//! Sources that are read twice: the first pass verifies the whole message, the second releases it,
//! and is bound to the bytes of the first.
//!
//! The first pass checks everything, including the signature, and keeps a digest of each segment of
//! the source. The second pass reads a segment, compares its digest, and only then opens the frames
//! in it. If the source is changed between the passes, the second ends in an error and never
//! releases plaintext that was not verified.

use std::{
    future::poll_fn,
    io,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    pump::yield_once,
    range::{GetRange, InFlight, ReadAt, read_range, source_error, step},
};
use crate::{
    crypto::{CryptoProvider, HashAlgorithm},
    error::{Error, FormatError, Result},
    message::{CHUNK, Decryptor, Finished, Machine},
};

/// The hash function for the digests of segments.
const DIGEST: HashAlgorithm = HashAlgorithm::Sha256;
/// The length of a digest in bytes.
const DIGEST_LENGTH: u64 = 32;

/// The minimum length of a segment in bytes.
const MIN_SEGMENT_LENGTH: u64 = 1 << 20;

/// Returns the length of segments that minimizes the memory for one segment and all digests: 1 MiB
/// each for a source of 32 GiB, about 6 MiB each for one of 1 TiB.
fn segment_length(size: u64) -> u64 {
    size.saturating_mul(DIGEST_LENGTH).isqrt().max(MIN_SEGMENT_LENGTH)
}

/// A source whose bytes were verified as a whole, and that returns these bytes or an error.
///
/// It holds a digest of each segment of the source, and one segment. A segment has 1 MiB or, for
/// sources longer than 32 GiB, the square root of 32 times the length of the source; the digests
/// take at most about as much. Every read reads whole segments; over an asynchronous source it holds
/// up to 32 MiB of them, or one, that have arrived before they are needed.
///
/// [`StoredMessage::verify`](super::StoredMessage::verify) and
/// [`RemoteMessage::verify`](super::RemoteMessage::verify) make it.
pub struct Verified<S> {
    source: S,
    digests: Digests,
    /// The segment that was read last. It is ciphertext, so it needs no clearing.
    last: Mutex<Option<Arc<Segment>>>,
}

/// The digests of all segments of a source.
struct Digests {
    size: u64,
    segment_length: u64,
    digests: Vec<Vec<u8>>,
    provider: Arc<dyn CryptoProvider>,
}

/// A part of a source whose digest was compared.
struct Segment {
    index: u64,
    bytes: Vec<u8>,
}

impl Digests {
    /// Returns the index of the segment that contains the byte at this offset.
    fn index_of(&self, offset: u64) -> u64 {
        offset / self.segment_length
    }

    /// Returns the range of a segment in the source.
    fn range_of(&self, index: u64) -> Range<u64> {
        let start = index * self.segment_length;
        start..self.size.min(start.saturating_add(self.segment_length))
    }

    /// Compares the digest of a segment.
    fn check(&self, index: u64, digest: &[u8]) -> Result<()> {
        let expected = usize::try_from(index).ok().and_then(|index| self.digests.get(index));
        if expected.map(Vec::as_slice) == Some(digest) { Ok(()) } else { Err(Error::SourceChanged) }
    }

    /// Returns whether this is the last segment. Bytes that were appended to the source lie behind
    /// it, so no digest detects them, only the length of the source.
    fn is_last(&self, index: u64) -> bool {
        self.range_of(index).end == self.size
    }
}

/// A first pass, which verifies a message and computes the digests of its segments.
struct FirstPass {
    machine: Decryptor,
    /// How many bytes of the header, and then of the body and footer, are still to come.
    header_left: u64,
    body_left: u64,
    /// The position in the source.
    at: u64,
    digest: Box<dyn crate::crypto::Digest>,
    done: Digests,
}

impl FirstPass {
    /// `body` is where the body is in the source, with the footer unless it was verified before.
    fn new(machine: Decryptor, size: u64, body: Range<u64>, provider: Arc<dyn CryptoProvider>) -> Self {
        let (header_left, body_left) = (body.start, body.end - body.start);
        let digest = provider.digest(DIGEST);
        let done = Digests { size, segment_length: segment_length(size), digests: Vec::new(), provider };
        Self { machine, header_left, body_left, at: 0, digest, done }
    }

    /// Adds the next bytes of the source, at most up to the end of a segment, to its digest.
    /// Returns those that belong to the body.
    fn digest<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        self.digest.update(bytes);
        self.at += bytes.len() as u64;
        if self.at.is_multiple_of(self.done.segment_length) || self.at == self.done.size {
            let finished = std::mem::replace(&mut self.digest, self.done.provider.digest(DIGEST));
            self.done.digests.push(finished.finish());
        }
        let in_header = self.header_left.min(bytes.len() as u64);
        self.header_left -= in_header;
        let bytes = &bytes[in_header as usize..];
        let in_body = self.body_left.min(bytes.len() as u64);
        self.body_left -= in_body;
        &bytes[..in_body as usize]
    }

    /// Returns how many bytes are left of the segment.
    fn segment_left(&self) -> u64 {
        let segment_length = self.done.segment_length;
        (self.done.size - self.at).min(segment_length - self.at % segment_length)
    }

    /// Discards the plaintext. With several threads it can have more than one part.
    fn discard_output(&mut self) {
        while !self.machine.output().is_empty() {
            self.machine.consume(self.machine.output().len());
        }
    }

    /// Processes the next bytes of the source, without blocking the thread.
    async fn accept(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let length = self.segment_left().min(CHUNK as u64).min(bytes.len() as u64);
            let (now, later) = bytes.split_at(length as usize);
            bytes = later;
            let mut body = self.digest(now);
            while !body.is_empty() {
                poll_fn(|context| Machine::poll_ready(&mut self.machine, context)).await?;
                self.discard_output();
                body = &body[self.machine.accept(body)?..];
                self.discard_output();
            }
            yield_once().await;
        }
        Ok(())
    }
}

/// Reads a whole message and verifies it. `size` is the length of the source, which begins with the
/// header, and `body` is where the body is in it.
pub(super) fn verify_source<S: ReadAt>(
    source: S,
    size: u64,
    body: Range<u64>,
    machine: Decryptor,
    provider: Arc<dyn CryptoProvider>,
) -> Result<(Verified<S>, Finished)> {
    let mut pass = FirstPass::new(machine, size, body, provider);
    let mut buffer = vec![0; CHUNK];
    while pass.at < size {
        // Each piece is processed before the next one is read, so that a long source that is not a
        // valid message costs at most a frame.
        let piece = &mut buffer[..pass.segment_left().min(CHUNK as u64) as usize];
        source.read_exact_at(pass.at, piece).map_err(source_error)?;
        let body = pass.digest(piece);
        pass.machine.push(body)?;
        pass.discard_output();
    }
    let finished = Machine::finish(pass.machine)?;
    if source.size()? != size {
        return Err(Error::SourceChanged);
    }
    Ok((Verified { source, digests: pass.done, last: Mutex::default() }, finished))
}

/// Returns consecutive ranges that cover a source.
fn steps(size: u64, step: u64) -> impl Iterator<Item = Range<u64>> {
    (0..size.div_ceil(step)).map(move |index| index * step..size.min((index + 1).saturating_mul(step)))
}

/// Works like [`verify_source`] over an asynchronous source, with several requests in flight.
pub(super) async fn verify_remote_source<S: GetRange>(
    source: S,
    size: u64,
    body: Range<u64>,
    machine: Decryptor,
    provider: Arc<dyn CryptoProvider>,
) -> Result<(Verified<S>, Finished)> {
    let mut pass = FirstPass::new(machine, size, body, provider);
    let mut pieces = InFlight::new(&source, steps(size, step(&source)));
    while let Some(piece) = pieces.next().await {
        pass.accept(piece?.as_ref()).await?;
    }
    drop(pieces);
    poll_fn(|context| Machine::poll_settle(&mut pass.machine, context)).await?;
    let finished = Machine::finish(pass.machine)?;
    if source.size().await.map_err(source_error)? != size {
        return Err(Error::SourceChanged);
    }
    Ok((Verified { source, digests: pass.done, last: Mutex::default() }, finished))
}

impl<S> Verified<S> {
    /// Returns a reference to the source.
    pub fn get_ref(&self) -> &S {
        &self.source
    }

    /// Returns the source.
    pub fn into_inner(self) -> S {
        self.source
    }

    /// Returns the kept segment if it is the one with this index.
    fn kept(&self, index: u64) -> Option<Arc<Segment>> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        last.filter(|segment| segment.index == index)
    }

    fn keep(&self, segment: Segment) -> Arc<Segment> {
        let segment = Arc::new(segment);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(segment.clone());
        segment
    }

    /// Returns the part of a range that lies in a segment. The range must start within the segment.
    fn bytes_at<'s>(&self, index: u64, segment: &'s [u8], range: &Range<u64>) -> &'s [u8] {
        let start = self.digests.range_of(index).start;
        let from = usize::try_from(range.start - start).unwrap_or(usize::MAX);
        let to = usize::try_from(range.end - start).unwrap_or(usize::MAX).min(segment.len());
        segment.get(from..to).unwrap_or_default()
    }
}

/// Maps a source that ends too early to [`Error::SourceChanged`]: its length was known, so the
/// message in it was not truncated.
fn changed_if_shorter(error: Error) -> Error {
    match error {
        Error::Format(FormatError::Truncated) => Error::SourceChanged,
        error => error,
    }
}

impl<S: ReadAt> Verified<S> {
    /// Returns the segment with this index.
    fn segment(&self, index: u64) -> Result<Arc<Segment>> {
        if let Some(kept) = self.kept(index) {
            return Ok(kept);
        }
        let bytes = read_range(&self.source, self.digests.range_of(index)).map_err(source_error);
        let bytes = bytes.map_err(changed_if_shorter)?;
        let mut digest = self.digests.provider.digest(DIGEST);
        digest.update(&bytes);
        self.digests.check(index, &digest.finish())?;
        if self.digests.is_last(index) && self.source.size()? != self.digests.size {
            return Err(Error::SourceChanged);
        }
        Ok(self.keep(Segment { index, bytes }))
    }
}

impl<S: GetRange> Verified<S> {
    /// Checks a segment that was read, a few bytes at a time.
    async fn check(&self, index: u64, bytes: &[u8]) -> Result<()> {
        let mut digest = self.digests.provider.digest(DIGEST);
        for piece in bytes.chunks(CHUNK) {
            digest.update(piece);
            yield_once().await;
        }
        self.digests.check(index, &digest.finish())?;
        if self.digests.is_last(index) && self.source.size().await? != self.digests.size {
            return Err(Error::SourceChanged);
        }
        Ok(())
    }
}

impl<S: ReadAt> ReadAt for Verified<S> {
    fn size(&self) -> io::Result<u64> {
        Ok(self.digests.size)
    }

    fn read_exact_at(&self, offset: u64, mut buffer: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64).filter(|end| *end <= self.digests.size);
        let mut range = offset..end.ok_or(io::ErrorKind::UnexpectedEof)?;
        while !buffer.is_empty() {
            let segment = self.segment(self.digests.index_of(range.start))?;
            let bytes = self.bytes_at(segment.index, &segment.bytes, &range);
            let (now, rest) = std::mem::take(&mut buffer).split_at_mut(bytes.len());
            now.copy_from_slice(bytes);
            buffer = rest;
            range.start += bytes.len() as u64;
        }
        Ok(())
    }
}

impl<S: GetRange + Sync> GetRange for Verified<S> {
    type Bytes = Vec<u8>;

    async fn size(&self) -> io::Result<u64> {
        Ok(self.digests.size)
    }

    async fn get_range(&self, mut range: Range<u64>) -> io::Result<Vec<u8>> {
        if range.is_empty() || range.end > self.digests.size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (mut first, last) = (self.digests.index_of(range.start), self.digests.index_of(range.end - 1));
        let mut bytes = Vec::new();
        let mut take = |index, segment: &[u8]| {
            let part = self.bytes_at(index, segment, &range);
            bytes.extend_from_slice(part);
            range.start += part.len() as u64;
        };
        if let Some(kept) = self.kept(first) {
            take(first, &kept.bytes);
            first += 1;
        }
        let mut segments = InFlight::new(&self.source, (first..=last).map(|index| self.digests.range_of(index)));
        for index in first..=last {
            let Some(segment) = segments.next().await else { break };
            let segment = segment.map_err(changed_if_shorter)?;
            self.check(index, segment.as_ref()).await?;
            take(index, segment.as_ref());
            if index == last {
                self.keep(Segment { index, bytes: segment.as_ref().to_vec() });
            }
        }
        Ok(bytes)
    }

    fn max_requests(&self) -> usize {
        // Each reads whole segments, several at a time, and the next one begins in the last of them.
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_and_all_digests_are_about_as_long() {
        for size in [0, 1, 1 << 20, 32 << 30] {
            assert_eq!(segment_length(size), 1 << 20, "{size}");
        }
        for size in [33 << 30, 1 << 40, 1 << 50] {
            let segment = segment_length(size);
            let digests = size.div_ceil(segment) * DIGEST_LENGTH;
            assert!(digests.abs_diff(segment) <= segment / 1000, "{size}: {segment} and {digests}");
        }
        assert!(segment_length(u64::MAX) >= 1 << 31);
    }
}
