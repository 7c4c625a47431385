//! Signed messages from sources that can be read only once.
//!
//! A first pass verifies the message and spools its ciphertext, in memory or in an unnamed temporary
//! file, which nothing else can change. The second pass, over the spool, releases the plaintext,
//! which itself is never stored.

#[cfg(feature = "fs")]
use std::{
    io::{self, Read, Seek, SeekFrom, Write},
    task::{Context, Poll, ready},
};

#[cfg(feature = "fs")]
use super::{
    pump::Pump,
    source::{Feed, Input},
};
#[cfg(feature = "fs")]
use crate::{
    error::{Error, Result},
    message::{Decryptor, Finished},
};

/// The number of bytes of a signed message that are spooled in memory. A longer message is spooled
/// to a temporary file.
#[cfg(feature = "fs")]
const SPOOLED_IN_MEMORY: usize = 1 << 20;

/// The ciphertext of a body that a first pass has verified.
#[cfg(feature = "fs")]
pub(super) type Spool = io::Take<tempfile::SpooledTempFile>;

/// Without temporary files there is no spool.
#[cfg(not(feature = "fs"))]
pub(super) type Spool = std::io::Empty;

/// Reads a body to its end and verifies it. Returns a copy of the body. `ahead` holds the bytes of
/// it that were already read.
#[cfg(feature = "fs")]
pub(super) fn verify_into_spool(
    source: &mut impl Feed,
    ahead: &[u8],
    mut machine: Decryptor,
) -> Result<(Spool, Finished)> {
    let mut spool = tempfile::SpooledTempFile::new(SPOOLED_IN_MEMORY);
    spool.write_all(ahead)?;
    machine.push(ahead)?;
    let mut pump = Pump::new(machine);
    pump.copy_to(&mut Tee { source, copy: &mut spool, copied: 0 }, io::sink())?;
    let finished = pump.into_end().ok_or(Error::Ended)?;
    spool.seek(SeekFrom::Start(0))?;
    let length = finished.body_length;
    Ok((spool.take(length), finished))
}

/// A source that writes a copy of all that is read from it.
#[cfg(feature = "fs")]
struct Tee<'a, S, W> {
    source: &'a mut S,
    copy: &'a mut W,
    /// How many bytes of the source's piece have been copied but not consumed.
    copied: usize,
}

#[cfg(feature = "fs")]
impl<S: Feed, W: Write> Feed for Tee<'_, S, W> {
    const BLOCKS: bool = S::BLOCKS;

    fn poll_input<'a>(&'a mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<Input<'a>>> {
        let input = ready!(self.source.poll_input(context, buffer))?;
        match input {
            Input::Filled(count) => self.copy.write_all(&buffer[..count])?,
            Input::Piece(piece) => {
                self.copy.write_all(piece.get(self.copied..).unwrap_or_default())?;
                self.copied = piece.len();
            }
            Input::End => {}
        }
        Poll::Ready(Ok(input))
    }

    fn consume(&mut self, count: usize) {
        self.copied -= count.min(self.copied);
        self.source.consume(count);
    }
}
