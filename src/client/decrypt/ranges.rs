//! Decrypting parts of a message.

use super::Decrypt;
use crate::{
    blocking::{Operation, wait},
    error::{Error, Result},
    format::ContentType,
    io::{AsyncRangeReader, Frames, GetRange, RangeReader, ReadAt, Ready, fetch, fetch_header},
    message::{FinalFrameSearch, VerifiedHeader},
};

impl<'a> Decrypt<'a> {
    /// Opens a framed message for reading at any offset of its plaintext, from a source that can be read so: a file, a
    /// slice, or anything that [reads and seeks](crate::io::Seekable). Only header and final frame are read for it.
    /// [`RangeReader`] has an example.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes), [`Error::Io`], [`Error::NotSeekable`] for a pipe, [`Error::Unframed`], and
    /// [`Error::SignedStream`] for a signed message.
    pub fn ranges<S: ReadAt>(self, source: S) -> Result<RangeReader<S>> {
        let frames = wait(self.start_ranges(&Ready(&source)))?;
        Ok(RangeReader::new(source, frames))
    }

    /// As [`ranges`](Self::ranges), from a source that must be awaited, such as an object in a store. [`AsyncRangeReader`] has
    /// an example.
    ///
    /// # Errors
    /// As [`ranges`](Self::ranges).
    pub fn ranges_async<S: GetRange + 'a>(
        self,
        source: S,
    ) -> Operation<impl Future<Output = Result<AsyncRangeReader<S>>> + 'a> {
        Operation::new(async move {
            let frames = self.start_ranges(&source).await?;
            Ok(AsyncRangeReader::new(source, frames))
        })
    }

    /// Authenticates header, commitment and final frame.
    async fn start_ranges<S: GetRange>(&self, source: &S) -> Result<Frames> {
        let (received, size) = fetch_header(source, self.client.header_decoder()).await?;
        if received.header().content_type() == ContentType::Unframed {
            return Err(Error::Unframed);
        }
        let VerifiedHeader { header, opened_by, body, .. } = self.verify(received, self.release).await?;
        let search = FinalFrameSearch::new(body, header.length() as u64, size, None)?;
        let tail = fetch(source, search.wants()).await?;
        let (access, plaintext) = search.open(tail.as_ref())?;
        Ok(Frames::new(header, opened_by, access, plaintext))
    }
}
