//! The reader for sources that answer at once.

use std::{
    io::{self, Read, Seek, SeekFrom},
    ops::Range,
};

use super::{
    frames::{Frames, Request},
    room,
    source::{ReadAt, read_range},
    source_error,
};
use crate::{error::Result, format::Header, materials::OpenedBy};

/// How long the pieces of an iterator are at most, in bytes, unless a frame is longer.
const ITERATED: u64 = 1 << 20;

/// Reads parts of a framed message at any offset of the plaintext, without the rest.
///
/// There is one only after the header, the commitment and the final frame were authenticated, so that the
/// [length](Self::len) is that of the whole message. Every frame is authenticated, with the number that its place gives it, before
/// any of it is released; what no call asks for is neither read nor verified. A read takes one contiguous range of the
/// source, in pieces of 8 MiB. The last frame that was wanted in part is kept, and overwritten when it goes.
///
/// [`read_at`](Self::read_at) takes `&self`: any number of threads may read at once. As a [`Read`] and [`Seek`] the reader
/// has a position; put a [`BufReader`](io::BufReader) around it where many small pieces are read.
///
/// Signed messages are refused, unless the reader comes from [`ranges_verified`](crate::Decrypt::ranges_verified), or the
/// caller asked to [release them unverified](crate::Decrypt::release_unverified).
///
/// ```
/// use sealwax::{AlgorithmSuite, Client, keyring::RawAesKeyring};
///
/// let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
/// let client = Client::new();
/// let unsigned = AlgorithmSuite::Aes256GcmHkdfSha512CommitKey;
/// let message = client.encrypt(&keyring).suite(unsigned).frame_length(10).bytes(b"some longer text").wait()?.message;
///
/// let reader = client.decrypt(&keyring).ranges(&message[..])?;
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

    /// The header, which is authentic; if the message is signed, its signature is verified only where the reader's maker says so.
    pub fn header(&self) -> &Header {
        &self.frames.header
    }

    /// Which keyring opened the message.
    pub fn opened_by(&self) -> &OpenedBy {
        &self.frames.opened_by
    }

    /// The length of the plaintext in bytes.
    pub fn len(&self) -> u64 {
        self.frames.length()
    }

    /// Whether the plaintext is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Which bytes of the message a range of plaintext takes: those of the frames that it touches. None for an empty range,
    /// or one past the end.
    ///
    /// ```
    /// # use sealwax::{AlgorithmSuite, Client, keyring::RawAesKeyring};
    /// # let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
    /// # let client = Client::new();
    /// # let unsigned = AlgorithmSuite::Aes256GcmHkdfSha512CommitKey;
    /// # let message = client.encrypt(&keyring).suite(unsigned).frame_length(10).bytes(&[1; 100]).wait()?.message;
    /// let reader = client.decrypt(&keyring).ranges(&message[..])?;
    /// let header = reader.header().length() as u64;
    /// // The second frame and the third. Each has 10 bytes of plaintext and 32 more.
    /// assert_eq!(reader.plan(15..25), header + 42..header + 3 * 42);
    /// # Ok::<(), sealwax::Error>(())
    /// ```
    pub fn plan(&self, range: Range<u64>) -> Range<u64> {
        self.frames.plan(range)
    }

    /// Reads plaintext from an offset on, as much as `buffer` has room for or as there is; says how much. Past the end that is
    /// nothing.
    ///
    /// # Errors
    /// [`Error::Integrity`](crate::Error::Integrity) if a frame is not authentic, [`Error::Io`](crate::Error::Io) if the source
    /// fails, [`FormatError::Truncated`](crate::FormatError::Truncated) if it has become shorter. `buffer` is then cleared; the reader can be used on.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let mut request = Request::new(&self.frames, offset, buffer);
        while let Some(range) = request.next() {
            request.supply(&read_range(&self.source, range).map_err(source_error)?)?;
        }
        Ok(request.length())
    }

    /// The plaintext in a range, as far as there is any.
    ///
    /// # Errors
    /// As [`read_at`](Self::read_at), and [`Error::Io`](crate::Error::Io) if there is no memory for so much.
    pub fn read_range(&self, range: Range<u64>) -> Result<Vec<u8>> {
        let length = range.end.min(self.len()).saturating_sub(range.start);
        let mut plaintext = room(length)?;
        self.read_at(range.start, &mut plaintext)?;
        Ok(std::mem::take(&mut *plaintext))
    }

    /// The plaintext in a range, in pieces of at most 1 MiB, or of one frame where that is longer. Each is read when the iterator is
    /// asked for it.
    ///
    /// ```
    /// # use sealwax::{AlgorithmSuite, Client, keyring::RawAesKeyring};
    /// # let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
    /// # let client = Client::new();
    /// # let unsigned = AlgorithmSuite::Aes256GcmHkdfSha512CommitKey;
    /// # let message = client.encrypt(&keyring).suite(unsigned).bytes(&[1; 100]).wait()?.message;
    /// let reader = client.decrypt(&keyring).ranges(&message[..])?;
    /// for piece in reader.pieces(10..60) {
    ///     println!("{} bytes", piece?.len());
    /// }
    /// # Ok::<(), sealwax::Error>(())
    /// ```
    pub fn pieces(&self, range: Range<u64>) -> impl Iterator<Item = Result<Vec<u8>>> + use<'_, S> {
        let frame_length = u64::from(self.header().content_type().frame_length().unwrap_or(1)).max(1);
        // They end where frames end, so that none is opened twice.
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

    /// The source.
    pub fn get_ref(&self) -> &S {
        &self.source
    }

    /// Gives the source back.
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
    /// Moves the position, past the end too, where reading gives nothing. Nothing is read.
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(offset) => self.len().checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position =
            position.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a position before the beginning"))?;
        Ok(self.position)
    }
}
