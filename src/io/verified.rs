//! Sources that are read twice: the first pass verifies the whole message, the second releases it,
//! and is bound to the bytes of the first.
//!
//! The first pass checks everything, including the signature, and keeps a digest of each segment of
//! the source. The second pass reads a segment, compares its digest, and only then opens the frames
//! in it. If the source is changed between the passes, the second ends in an error and never
//! releases plaintext that was not verified.

use std::{
    io::{self, Read, Write},
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use super::range::{ReadAt, read_range, source_error};
use crate::{
    crypto::{CryptoProvider, HashAlgorithm},
    error::{Error, Result},
    format::Header,
    materials::OpenedBy,
    message::{CHUNK, Decryptor, Finished},
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
/// take at most about as much. Every read reads whole segments.
///
/// It is the source of the reader that [`ranges_verified`](crate::Decrypt::ranges_verified)
/// returns.
pub struct Verified<S> {
    source: S,
    size: u64,
    segment_length: u64,
    digests: Vec<Vec<u8>>,
    provider: Arc<dyn CryptoProvider>,
    /// The segment that was read last. It is ciphertext, so it needs no clearing.
    last: Mutex<Option<Arc<Segment>>>,
}

/// A part of a source whose digest was compared.
struct Segment {
    index: u64,
    bytes: Vec<u8>,
}

/// Reads a whole message and verifies it. `size` is the length of the source, which begins with the
/// header.
pub(crate) fn verify_source<S: ReadAt>(
    source: S,
    size: u64,
    mut machine: Decryptor,
    provider: Arc<dyn CryptoProvider>,
) -> Result<(Verified<S>, Finished)> {
    let mut header_left = machine.header().length() as u64;
    let segment_length = segment_length(size);
    let mut digests = Vec::new();
    let mut at = 0;
    let mut buffer = vec![0; CHUNK];
    while at < size {
        let end = size.min(at.saturating_add(segment_length));
        let mut digest = provider.digest(DIGEST);
        // Each piece is processed before the next one is read, so that a long source that is not a
        // valid message costs at most a frame.
        while at < end {
            let piece = &mut buffer[..(end - at).min(CHUNK as u64) as usize];
            source.read_exact_at(at, piece).map_err(source_error)?;
            at += piece.len() as u64;
            digest.update(piece);
            let in_header = header_left.min(piece.len() as u64);
            header_left -= in_header;
            machine.push(&piece[in_header as usize..])?;
            // With several threads the output can have more than one part.
            while !machine.output().is_empty() {
                machine.consume(machine.output().len());
            }
        }
        digests.push(digest.finish());
    }
    let finished = machine.finish()?;
    if source.size()? != size {
        return Err(Error::SourceChanged);
    }
    Ok((Verified { source, size, segment_length, digests, provider, last: Mutex::new(None) }, finished))
}

fn digest_of(provider: &dyn CryptoProvider, bytes: &[u8]) -> Vec<u8> {
    let mut digest = provider.digest(DIGEST);
    digest.update(bytes);
    digest.finish()
}

impl<S: ReadAt> Verified<S> {
    /// Returns a reference to the source.
    pub fn get_ref(&self) -> &S {
        &self.source
    }

    /// Returns the source.
    pub fn into_inner(self) -> S {
        self.source
    }

    /// Returns the segment that contains the byte at this offset, which must be within the source.
    fn segment_at(&self, offset: u64) -> Result<Arc<Segment>> {
        let index = offset / self.segment_length;
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(segment) = last.filter(|segment| segment.index == index) {
            return Ok(segment);
        }
        let start = index * self.segment_length;
        let end = self.size.min(start.saturating_add(self.segment_length));
        let bytes = read_range(&self.source, start..end).map_err(changed_if_shorter)?;
        let expected = usize::try_from(index).ok().and_then(|index| self.digests.get(index));
        if expected != Some(&digest_of(&*self.provider, &bytes)) {
            return Err(Error::SourceChanged);
        }
        // Bytes that were appended to the source lie behind the last segment, so no digest detects
        // them.
        if end == self.size && self.source.size()? != self.size {
            return Err(Error::SourceChanged);
        }
        let segment = Arc::new(Segment { index, bytes });
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(segment.clone());
        Ok(segment)
    }

    /// Returns the part of a range that lies in a segment. The range must start within the segment.
    fn bytes_at<'s>(&self, segment: &'s Segment, range: &Range<u64>) -> &'s [u8] {
        let start = segment.index * self.segment_length;
        let from = usize::try_from(range.start - start).unwrap_or(usize::MAX);
        let to = usize::try_from(range.end - start).unwrap_or(usize::MAX).min(segment.bytes.len());
        segment.bytes.get(from..to).unwrap_or_default()
    }
}

/// Maps a source that ends too early to [`Error::SourceChanged`]: its length was known, so the
/// message in it was not truncated.
fn changed_if_shorter(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Error::SourceChanged,
        _ => error.into(),
    }
}

impl<S: ReadAt> ReadAt for Verified<S> {
    fn size(&self) -> io::Result<u64> {
        Ok(self.size)
    }

    fn read_exact_at(&self, offset: u64, mut buffer: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64).filter(|end| *end <= self.size);
        let mut range = offset..end.ok_or(io::ErrorKind::UnexpectedEof)?;
        while !buffer.is_empty() {
            let segment = self.segment_at(range.start)?;
            let bytes = self.bytes_at(&segment, &range);
            let (now, rest) = std::mem::take(&mut buffer).split_at_mut(bytes.len());
            now.copy_from_slice(bytes);
            buffer = rest;
            range.start += bytes.len() as u64;
        }
        Ok(())
    }
}

/// A reader that decrypts a source which was verified as a whole, including its signature and end,
/// before the reader was created.
///
/// Only plaintext of the very bytes that were verified is released. If the source has changed
/// since, reading ends in [`Error::SourceChanged`](crate::Error::SourceChanged) before any
/// plaintext of the changed segment. The reader holds what [`Verified`] holds, and the frame that
/// it is opening.
///
/// ```
/// use std::{fs::File, io::Read};
/// use sealwax::{Client, keyring::RawAesKeyring};
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("message");
/// let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
/// let client = Client::new();
/// std::fs::write(&path, client.encrypt(&keyring).bytes(b"signed text").wait()?.message)?;
///
/// let mut text = String::new();
/// client.decrypt(&keyring).reader_verified(File::open(&path)?)?.read_to_string(&mut text)?;
/// assert_eq!(text, "signed text");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "nothing is decrypted until the plaintext is read"]
pub struct VerifiedReader<S> {
    source: Verified<S>,
    header: Header,
    opened_by: OpenedBy,
    /// The range of the source that is still to be opened.
    left: Range<u64>,
    state: State,
}

enum State {
    Running(Box<Decryptor>),
    /// Returning the rest of the plaintext, from this position on.
    Ending(Finished, usize),
    Failed,
}

impl<S: ReadAt> VerifiedReader<S> {
    pub(crate) fn new(source: S, size: u64, machine: Decryptor, provider: Arc<dyn CryptoProvider>) -> Result<Self> {
        let second_pass = machine.second_pass().ok_or(Error::Ended)?;
        let start = machine.header().length() as u64;
        let (source, finished) = verify_source(source, size, machine, provider)?;
        let left = start..start + finished.body_length;
        let state = State::Running(Box::new(second_pass.after(&finished)));
        let Finished { header, opened_by, .. } = finished;
        Ok(Self { source, header, opened_by, left, state })
    }

    /// Returns the header of the message.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Returns which keyring unwrapped the data key.
    pub fn opened_by(&self) -> &OpenedBy {
        &self.opened_by
    }

    /// Returns a reference to the source.
    pub fn get_ref(&self) -> &S {
        self.source.get_ref()
    }

    /// Returns the source.
    pub fn into_inner(self) -> S {
        self.source.into_inner()
    }

    /// Writes the remaining plaintext to a sink.
    pub(crate) fn copy_into(mut self, mut sink: impl Write) -> Result<(Header, OpenedBy)> {
        loop {
            let ready = self.fill()?;
            if ready.is_empty() {
                break;
            }
            sink.write_all(ready)?;
            let count = ready.len();
            self.consume(count);
        }
        sink.flush()?;
        Ok((self.header, self.opened_by))
    }

    /// Returns plaintext that is ready, which is empty only at the end. An [`Error::Io`] of the
    /// source leaves the reader unchanged, so the read can be retried. Every other error is final.
    fn fill(&mut self) -> Result<&[u8]> {
        while let State::Running(machine) = &mut self.state
            && machine.output().is_empty()
        {
            if self.left.is_empty() {
                self.end()?;
                break;
            }
            match self.source.segment_at(self.left.start) {
                Ok(segment) => {
                    let piece = self.left.start..self.left.end.min(self.left.start + CHUNK as u64);
                    let bytes = self.source.bytes_at(&segment, &piece);
                    self.left.start += bytes.len() as u64;
                    machine.push(bytes).inspect_err(|_| self.state = State::Failed)?;
                }
                Err(error @ Error::Io(_)) => return Err(error),
                Err(error) => {
                    self.state = State::Failed;
                    return Err(error);
                }
            }
        }
        match &self.state {
            State::Running(machine) => Ok(machine.output()),
            State::Ending(finished, at) => finished.plaintext.get(*at..).ok_or(Error::Ended),
            State::Failed => Err(Error::Ended),
        }
    }

    fn end(&mut self) -> Result<()> {
        if let State::Running(machine) = std::mem::replace(&mut self.state, State::Failed) {
            self.state = State::Ending(machine.finish()?, 0);
        }
        Ok(())
    }

    fn consume(&mut self, count: usize) {
        match &mut self.state {
            State::Running(machine) => machine.consume(count),
            State::Ending(_, at) => *at += count,
            State::Failed => {}
        }
    }
}

impl<S: ReadAt> Read for VerifiedReader<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let ready = self.fill()?;
        let count = ready.len().min(buffer.len());
        buffer[..count].copy_from_slice(&ready[..count]);
        self.consume(count);
        Ok(count)
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
