//! Writing on a thread of its own, so that reading, cryptography and writing go on at the same time.

use std::{
    io::{self, Write},
    sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
    thread,
};

use sealwax::Result;
use zeroize::Zeroizing;

/// How many bytes are handed over at a time.
const PIECE: usize = 256 << 10;

/// How many pieces there are: one is filled, one is written, and the others wait for either.
const PIECES: usize = 4;

/// A piece of what is written. It may be plaintext.
type Piece = Zeroizing<Vec<u8>>;

/// Does work that writes to an output, which another thread does behind it. Everything is written when this returns; a failure to
/// write is the outcome then, whatever became of the work. On one thread, that one writes.
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
            // The other end is here.
            let _ = written.send(Piece::new(Vec::with_capacity(PIECE)));
        }
        let write = move || write_pieces(output, &to_write, &written);
        let writer = thread::Builder::new().name("writer".to_owned()).spawn_scoped(scope, write)?;
        let mut behind = Behind { full, empty, piece: None };
        let outcome = work(&mut behind);
        // What was released before a failure is written like everything else.
        let handed_over = behind.flush();
        drop(behind);
        writer.join().unwrap_or_else(|_| Err(io::Error::other("the thread that writes has failed")))?;
        let outcome = outcome?;
        handed_over?;
        Ok(outcome)
    })
}

fn write_pieces(output: &mut impl Write, to_write: &Receiver<Piece>, written: &Sender<Piece>) -> io::Result<()> {
    for mut piece in to_write {
        output.write_all(&piece)?;
        piece.clear();
        // At the end nobody wants it back.
        let _ = written.send(piece);
    }
    Ok(())
}

/// Hands over what is written to it.
struct Behind {
    full: SyncSender<Piece>,
    empty: Receiver<Piece>,
    /// The piece that is being filled.
    piece: Option<Piece>,
}

/// The other thread has ended, and knows why.
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
