//! The reader for synchronous sources.

use std::{
    io::{self, Read, Seek, SeekFrom},
    ops::Range,
};

use super::{
    frames::{Frames, Request},
    room,
    source::{PIECE, ReadAt, read_range},
    source_error,
};
use crate::{error::Result, format::Header, materials::OpenedBy};

/// The maximum length in bytes of the pieces of an iterator, unless a frame is longer.
const ITERATED: u64 = 1 << 20;

/// A reader of parts of a framed message, at any offset of the plaintext, without reading the rest.
///
/// A reader exists only after the header, the commitment and the final frame have been
/// authenticated, so [`len`](Self::len) is the length of the whole plaintext. Every frame is
/// authenticated, together with the number that its position implies, before any of its plaintext
/// is released. Frames that no call asks for are neither read nor verified. A read takes one
/// contiguous range of the source, in pieces of at most 8 MiB or one frame. The last partially read
/// frame is kept, and its plaintext is cleared when it is replaced.
///
/// [`read_at`](Self::read_at) takes `&self`, so any number of threads can read at the same time. As
/// a [`Read`] and [`Seek`] the reader has a position. For many small reads, wrap it in a
/// [`BufReader`](io::BufReader).
///
/// Signed messages are refused, unless the reader comes from
/// [verified message](crate::io::StoredMessage::verify), or the caller chose to [release them
/// unverified](crate::Decrypt::release_unverified), in which case the signature is never verified.
///
/// ```
/// use sealwax::{AlgorithmSuite, Client, keyring::RawAesKeyring};
///
/// let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
/// let client = Client::new();
/// let unsigned = AlgorithmSuite::Aes256GcmHkdfSha512CommitKey;
/// let message = client.encrypt(&keyring).suite(unsigned).frame_length(10).bytes(b"some longer text").wait()?.message;
///
/// let reader = client.decrypt(&keyring).open_at(&message[..])?.into_ranges()?;
/// assert_eq!(reader.len(), 16);
/// assert_eq!(reader.read_range(5..11)?, b"longer");
/// # Ok::<(), sealwax::Error>(())
/// ```
pub struct RangeReader<S> {
    source: S,
    frames: Frames,
    position: u64,
}

impl<S: ReadAt> RangeReader<S> {
    pub(crate) fn new(source: S, frames: Frames) -> Self {
        Self { source, frames, position: 0 }
    }

    /// Returns the header, which is authentic. The signature of a signed message has been verified
    /// only if the message [was](crate::io::StoredMessage::verify).
    pub fn header(&self) -> &Header {
        self.frames.header()
    }

    /// Returns which keyring unwrapped the data key.
    pub fn opened_by(&self) -> &OpenedBy {
        self.frames.opened_by()
    }

    /// Returns the length of the plaintext in bytes.
    pub fn len(&self) -> u64 {
        self.frames.length()
    }

    /// Returns `true` if the plaintext is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the range of the message that contains a range of plaintext: the frames that it
    /// touches. It is empty for an empty range and for one past the end.
    ///
    /// ```
    /// # use sealwax::{AlgorithmSuite, Client, keyring::RawAesKeyring};
    /// # let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
    /// # let client = Client::new();
    /// # let unsigned = AlgorithmSuite::Aes256GcmHkdfSha512CommitKey;
    /// # let message = client.encrypt(&keyring).suite(unsigned).frame_length(10).bytes(&[1; 100]).wait()?.message;
    /// let reader = client.decrypt(&keyring).open_at(&message[..])?.into_ranges()?;
    /// let header = reader.header().length() as u64;
    /// // The second and third frames. Each has 10 bytes of plaintext and 32 bytes of overhead.
    /// assert_eq!(reader.plan(15..25), header + 42..header + 3 * 42);
    /// # Ok::<(), sealwax::Error>(())
    /// ```
    pub fn plan(&self, range: Range<u64>) -> Range<u64> {
        self.frames.plan(range)
    }

    /// Reads plaintext from an offset on, until `buffer` is full or the plaintext ends. Returns the
    /// number of bytes read, which is 0 past the end.
    ///
    /// # Errors
    /// [`Error::Integrity`](crate::Error::Integrity) if a frame is not authentic,
    /// [`Error::Io`](crate::Error::Io) if the source fails,
    /// [`FormatError::Truncated`](crate::FormatError::Truncated) if the source has become shorter,
    /// and [`Error::SourceChanged`](crate::Error::SourceChanged) if a reader from
    /// [verified message](crate::io::StoredMessage::verify) finds changed bytes. The part of
    /// `buffer` that was to be filled is then cleared, and the reader remains usable.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let mut request = Request::new(&self.frames, offset, buffer);
        for range in request.ranges(PIECE) {
            request.supply(&read_range(&self.source, range).map_err(source_error)?)?;
        }
        Ok(request.length())
    }

    /// Returns the plaintext in a range, up to the end of the plaintext.
    ///
    /// # Errors
    /// The errors of [`read_at`](Self::read_at), and [`Error::Io`](crate::Error::Io) if there is
    /// not enough memory for the range.
    pub fn read_range(&self, range: Range<u64>) -> Result<Vec<u8>> {
        let length = range.end.min(self.len()).saturating_sub(range.start);
        let mut plaintext = room(length)?;
        self.read_at(range.start, &mut plaintext)?;
        Ok(std::mem::take(&mut *plaintext))
    }

    /// Returns an iterator over the plaintext in a range, in pieces of at most 1 MiB or one frame,
    /// whichever is longer. Each piece is read when the iterator is advanced to it.
    ///
    /// ```
    /// # use sealwax::{AlgorithmSuite, Client, keyring::RawAesKeyring};
    /// # let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
    /// # let client = Client::new();
    /// # let unsigned = AlgorithmSuite::Aes256GcmHkdfSha512CommitKey;
    /// # let message = client.encrypt(&keyring).suite(unsigned).bytes(&[1; 100]).wait()?.message;
    /// let reader = client.decrypt(&keyring).open_at(&message[..])?.into_ranges()?;
    /// for piece in reader.pieces(10..60) {
    ///     println!("{} bytes", piece?.len());
    /// }
    /// # Ok::<(), sealwax::Error>(())
    /// ```
    pub fn pieces(&self, range: Range<u64>) -> impl Iterator<Item = Result<Vec<u8>>> + use<'_, S> {
        let frame_length = u64::from(self.header().content_type().frame_length().unwrap_or(1)).max(1);
        // Pieces end at the ends of frames, so that no frame is opened twice.
        let step = (ITERATED / frame_length).max(1) * frame_length;
        let (mut at, end) = (range.start, range.end.min(self.len()));
        std::iter::from_fn(move || {
            let start = at;
            if start >= end {
                return None;
            }
            at = end.min((start / step).saturating_add(1).saturating_mul(step));
            Some(self.read_range(start..at))
        })
    }

    /// Returns a reference to the source.
    pub fn get_ref(&self) -> &S {
        &self.source
    }

    /// Returns the source.
    pub fn into_inner(self) -> S {
        self.source
    }
}

impl<S: ReadAt> Read for RangeReader<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.read_at(self.position, buffer)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl<S: ReadAt> Seek for RangeReader<S> {
    /// Sets the position, which can be past the end, where reads return no bytes. Nothing is read.
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(offset) => self.len().checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position =
            position.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the position would be negative"))?;
        Ok(self.position)
    }
}
