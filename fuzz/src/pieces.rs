//! Piece lengths that the input chooses.

use std::io::{self, Read};

/// The number of bytes that describe how something is split.
pub const PATTERN_LENGTH: usize = 4;

/// A repeating sequence of piece lengths, none of which is zero.
#[derive(Clone, Debug)]
pub struct Pieces {
    pattern: [u8; PATTERN_LENGTH],
    at: usize,
}

impl Pieces {
    #[must_use]
    pub fn new(pattern: [u8; PATTERN_LENGTH]) -> Self {
        Self { pattern, at: 0 }
    }

    /// Returns the next length, at most `most`: 1 to 128 in steps of 1, 64 to 8,128 in steps of 64,
    /// or everything.
    pub fn next_length(&mut self, most: usize) -> usize {
        let byte = self.pattern[self.at];
        self.at = (self.at + 1) % PATTERN_LENGTH;
        let length = match byte {
            0..0x80 => usize::from(byte) + 1,
            0x80..0xff => (usize::from(byte) - 0x7f) * 64,
            0xff => usize::MAX,
        };
        length.min(most)
    }

    /// Removes the next piece from the front of what is left, and returns it.
    pub fn next_piece<'a>(&mut self, rest: &mut &'a [u8]) -> &'a [u8] {
        let (piece, after) = rest.split_at(self.next_length(rest.len()));
        *rest = after;
        piece
    }
}

/// A source that returns its bytes in pieces.
pub struct Source<'a> {
    pub rest: &'a [u8],
    pub pieces: Pieces,
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.pieces.next_length(self.rest.len().min(buffer.len()));
        let (piece, after) = self.rest.split_at(count);
        buffer[..count].copy_from_slice(piece);
        self.rest = after;
        Ok(count)
    }
}
