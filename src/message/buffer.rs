//! A buffer that is filled at one end and emptied at the other, and leaves nothing behind.

use zeroize::Zeroizing;

/// Bytes between a start and an end. Its memory is overwritten when it is dropped, and when it grows.
#[derive(Default)]
pub(super) struct Buffer {
    bytes: Zeroizing<Vec<u8>>,
    start: usize,
    end: usize,
}

impl Buffer {
    pub(super) fn len(&self) -> usize {
        self.end - self.start
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// The bytes that are in it.
    pub(super) fn filled(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Takes bytes out at the front, as many as there are at the most.
    pub(super) fn consume(&mut self, count: usize) {
        self.start += count.min(self.len());
        if self.is_empty() {
            (self.start, self.end) = (0, 0);
        }
    }

    /// All the room behind the bytes, at least so much: they move to the front, or to more memory, if need be.
    pub(super) fn spare(&mut self, at_least: usize) -> &mut [u8] {
        if self.bytes.len() - self.end < at_least {
            let length = self.len();
            if self.bytes.len() - length >= at_least {
                self.bytes.copy_within(self.start..self.end, 0);
            } else {
                let capacity = (length + at_least).max(self.bytes.len().saturating_mul(2));
                let mut grown = Zeroizing::new(vec![0; capacity]);
                grown[..length].copy_from_slice(self.filled());
                self.bytes = grown;
            }
            (self.start, self.end) = (0, length);
        }
        &mut self.bytes[self.end..]
    }

    /// Takes in bytes that were written to [`spare`](Self::spare), as many as have room at the most.
    pub(super) fn advance(&mut self, count: usize) {
        self.end += count.min(self.bytes.len() - self.end);
    }

    /// Takes in bytes from elsewhere.
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.spare(bytes.len())[..bytes.len()].copy_from_slice(bytes);
        self.advance(bytes.len());
    }

    /// Throws everything away and overwrites it.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_as_they_went_in() {
        let mut buffer = Buffer::default();
        let mut out = Vec::new();
        for round in 0..100_u8 {
            buffer.extend(&vec![round; usize::from(round % 7)]);
            if round % 3 == 0 {
                let count = buffer.len() / 2;
                out.extend_from_slice(&buffer.filled()[..count]);
                buffer.consume(count);
            }
        }
        out.extend_from_slice(buffer.filled());
        let expected: Vec<u8> = (0..100).flat_map(|round| vec![round; usize::from(round % 7)]).collect();
        assert_eq!(out, expected);
        assert!(buffer.bytes.len() < 256, "{}", buffer.bytes.len());
    }

    #[test]
    fn room_is_reused_before_memory_grows() {
        let mut buffer = Buffer::default();
        buffer.extend(&[1; 64]);
        let size = buffer.bytes.len();
        for _ in 0..1000 {
            buffer.consume(32);
            buffer.extend(&[2; 32]);
        }
        assert_eq!(buffer.bytes.len(), size);
    }
}
