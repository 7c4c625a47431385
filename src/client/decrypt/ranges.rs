//! Decryption of parts of a message.

use super::Decrypt;
use crate::{
    blocking::{Operation, wait},
    error::{Error, Result},
    format::ContentType,
    io::{AsyncRangeReader, Frames, GetRange, RangeReader, ReadAt, Ready, fetch, fetch_header},
    message::{FinalFrameSearch, VerifiedHeader},
};

impl<'a> Decrypt<'a> {
    /// Opens a framed message for reading at any offset of its plaintext. The source must support
    /// reads at an offset: a file, a slice, or anything that [reads and
    /// seeks](crate::io::Seekable). This reads only the header and the final frame, on the calling
    /// thread.
    ///
    /// # Errors
    /// The errors of [`bytes`](Self::bytes), [`Error::Io`] if the source fails,
    /// [`Error::NotSeekable`] if it is a pipe, [`Error::Unframed`] for an unframed message,
    /// [`Error::SignedStream`] for a signed one, and [`Error::WouldBlockRuntime`] as for
    /// [`Operation::wait`].
    pub fn ranges<S: ReadAt>(self, source: S) -> Result<RangeReader<S>> {
        let frames = wait(self.start_ranges(&Ready(&source)))?;
        Ok(RangeReader::new(source, frames))
    }

    /// Opens a framed message as [`ranges`](Self::ranges) does, over an asynchronous source, such
    /// as an object in a store.
    ///
    /// # Errors
    /// The errors of [`ranges`](Self::ranges).
    pub fn ranges_async<S: GetRange + 'a>(
        self,
        source: S,
    ) -> Operation<impl Future<Output = Result<AsyncRangeReader<S>>> + 'a> {
        Operation::new(async move {
            let frames = self.start_ranges(&source).await?;
            Ok(AsyncRangeReader::new(source, frames))
        })
    }

    /// Authenticates the header, the commitment and the final frame.
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
