//! Writes on a separate thread, so that reading, cryptography and writing overlap.

use std::{
    io::{self, Write},
    sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
    thread,
};

use sealwax::Result;
use zeroize::Zeroizing;

/// The size of a piece in bytes.
const PIECE: usize = 256 << 10;

/// The number of pieces: one is being filled, one is being written, and the others are queued.
const PIECES: usize = 4;

/// A piece of the output, zeroized on drop because it may be plaintext.
type Piece = Zeroizing<Vec<u8>>;

/// Runs work whose output another thread writes. Everything that the work released is written when
/// this returns. A write failure takes precedence over the result of the work. With one thread, the
/// calling thread writes.
pub(crate) fn write_behind<T>(
    threads: usize,
    output: &mut (impl Write + Send),
    work: impl FnOnce(&mut dyn Write) -> Result<T>,
) -> Result<T> {
    if threads == 1 {
        return work(output);
    }
    thread::scope(|scope| {
        let (full, to_write) = sync_channel(PIECES);
        let (written, empty) = channel();
        for _ in 0..PIECES {
            // This cannot fail: the receiver is still in scope.
            let _ = written.send(Piece::new(Vec::with_capacity(PIECE)));
        }
        let write = move || write_pieces(output, &to_write, &written);
        let writer = thread::Builder::new().name("writer".to_owned()).spawn_scoped(scope, write)?;
        let mut behind = Behind { full, empty, piece: None };
        let outcome = work(&mut behind);
        // What was released before a failure is written like everything else.
        let handed_over = behind.flush();
        drop(behind);
        writer.join().unwrap_or_else(|_| Err(io::Error::other("the writing thread has panicked")))?;
        let outcome = outcome?;
        handed_over?;
        Ok(outcome)
    })
}

fn write_pieces(output: &mut impl Write, to_write: &Receiver<Piece>, written: &Sender<Piece>) -> io::Result<()> {
    for mut piece in to_write {
        output.write_all(&piece)?;
        piece.clear();
        // At the end nothing receives the piece any more.
        let _ = written.send(piece);
    }
    Ok(())
}

/// Hands what is written to it over to the writing thread.
struct Behind {
    full: SyncSender<Piece>,
    empty: Receiver<Piece>,
    /// The piece being filled.
    piece: Option<Piece>,
}

/// Returns the error for a writing thread that has ended; that thread holds the actual cause.
fn ended() -> io::Error {
    io::ErrorKind::BrokenPipe.into()
}

impl Write for Behind {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = match &mut self.piece {
            Some(piece) => piece,
            None => self.piece.insert(self.empty.recv().map_err(|_| ended())?),
        };
        let taken = &bytes[..bytes.len().min(PIECE - piece.len())];
        piece.extend_from_slice(taken);
        if piece.len() == PIECE {
            self.flush()?;
        }
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.piece.take() {
            Some(piece) => self.full.send(piece).map_err(|_| ended()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_written_in_its_order_also_before_a_failure() {
        let bytes: Vec<u8> = (0..3 * PIECE + 17).map(|at| (at % 251) as u8).collect();
        for fails in [false, true] {
            let mut output = Vec::new();
            let outcome = write_behind(2, &mut output, |behind| {
                bytes.chunks(10_007).try_for_each(|chunk| behind.write_all(chunk))?;
                if fails { Err(sealwax::Error::Integrity) } else { Ok(7) }
            });
            assert_eq!(outcome.ok(), if fails { None } else { Some(7) });
            assert!(output == bytes);
        }
    }

    #[test]
    fn a_failure_to_write_is_told_as_it_was() {
        struct Full(usize);
        impl Write for Full {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
                Ok(bytes.len())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        for room in [0, PIECE, 5 * PIECE] {
            let outcome = write_behind(2, &mut Full(room), |behind| {
                for _ in 0..100 {
                    behind.write_all(&[0; PIECE / 3])?;
                }
                Ok(())
            });
            let Err(sealwax::Error::Io(error)) = outcome else { panic!("it was written") };
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        }
    }
}
