//! A FIFO byte buffer that can overwrite its memory.

use zeroize::Zeroizing;

/// Memory of a fixed length. It may be a type that overwrites itself when it is dropped.
pub(super) trait Memory: AsRef<[u8]> + AsMut<[u8]> + Send {}

impl<M: AsRef<[u8]> + AsMut<[u8]> + Send> Memory for M {}

/// The bytes between a start and an end offset. With the default memory type, the memory is
/// overwritten when the buffer is dropped and when it grows.
#[derive(Default)]
pub(super) struct Buffer<M = Zeroizing<Vec<u8>>> {
    bytes: M,
    start: usize,
    end: usize,
}

impl<M: Memory + From<Vec<u8>> + Default> Buffer<M> {
    /// Creates a buffer over `bytes` whose first `length` bytes are filled.
    pub(super) fn holding(bytes: M, length: usize) -> Self {
        let end = length.min(bytes.as_ref().len());
        Self { bytes, start: 0, end }
    }

    /// Returns the memory for reuse.
    pub(super) fn into_memory(self) -> M {
        self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.end - self.start
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Returns the filled bytes.
    pub(super) fn filled(&self) -> &[u8] {
        &self.bytes.as_ref()[self.start..self.end]
    }

    /// Removes bytes from the front: `count`, or all of them if there are fewer.
    pub(super) fn consume(&mut self, count: usize) {
        self.start += count.min(self.len());
        if self.is_empty() {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Returns all the free space after the filled bytes, at least `at_least` bytes. If necessary,
    /// the filled bytes are moved to the front or into larger memory.
    ///
    /// They are moved to the front only if at most as many bytes are moved as were consumed since
    /// the last move. Otherwise the memory grows, at least twofold. In both cases the amortized
    /// cost is constant per byte that passes through the buffer, however small the steps.
    pub(super) fn spare(&mut self, at_least: usize) -> &mut [u8] {
        if self.size() - self.end < at_least {
            let length = self.len();
            if self.start >= length && self.size() - length >= at_least {
                self.bytes.as_mut().copy_within(self.start..self.end, 0);
            } else {
                let capacity = (length + at_least).max(self.size().saturating_mul(2));
                let mut grown = M::from(vec![0; capacity]);
                grown.as_mut()[..length].copy_from_slice(self.filled());
                self.bytes = grown;
            }
            (self.start, self.end) = (0, length);
        }
        &mut self.bytes.as_mut()[self.end..]
    }

    /// Adds bytes that were written to [`spare`](Self::spare): `count`, or as many as there is
    /// space for.
    pub(super) fn advance(&mut self, count: usize) {
        self.end += count.min(self.size() - self.end);
    }

    /// Appends a copy of `bytes`.
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.spare(bytes.len())[..bytes.len()].copy_from_slice(bytes);
        self.advance(bytes.len());
    }

    fn size(&self) -> usize {
        self.bytes.as_ref().len()
    }

    /// Discards the contents. Drops the memory, which overwrites it if its type does so.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Buffer<Vec<u8>> {
    /// Returns the filled bytes. If nothing was consumed, they are not copied.
    pub(super) fn into_filled(self) -> Vec<u8> {
        let Self { mut bytes, start, end } = self;
        bytes.truncate(end);
        bytes.drain(..start);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_as_they_went_in() {
        let mut buffer = Buffer::<Zeroizing<Vec<u8>>>::default();
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

    /// Memory that counts the bytes which moves within it, or to more of it, write.
    fn moved(buffer: &Buffer<Vec<u8>>, before: (usize, usize), length: usize) -> usize {
        let (start, size) = before;
        // Nothing but a move puts the start back where bytes remain, and nothing but growth changes
        // the size.
        if buffer.size() != size || buffer.start < start { length } else { 0 }
    }

    #[test]
    fn small_steps_through_a_backlog_move_a_bounded_number_of_bytes_each() {
        // The steps in and out, over a backlog that stays, grows or shrinks.
        for (backlog, taken, pushed) in
            [(100_000, 1, 1), (100_000, 33, 33), (100_000, 1, 33), (200_000, 7, 3), (0, 5, 5)]
        {
            let mut buffer = Buffer::<Vec<u8>>::default();
            buffer.extend(&vec![1; backlog]);
            let (mut moves, mut passed, mut most) = (0, backlog, buffer.len());
            for _ in 0..40_000 {
                buffer.consume(taken);
                let (before, length) = ((buffer.start, buffer.size()), buffer.len());
                buffer.extend(&[2; 33][..pushed]);
                moves += moved(&buffer, before, length);
                passed += pushed;
                most = most.max(buffer.len());
            }
            let what = format!("{taken} out and {pushed} in over {backlog}");
            assert!(moves <= 2 * passed, "{what}: {moves} bytes moved for {passed}");
            assert!(buffer.size() <= 4 * most + 100, "{what}: {} bytes of memory for {most}", buffer.size());
        }
    }

    #[test]
    fn room_is_reused_before_memory_grows() {
        let mut buffer = Buffer::<Zeroizing<Vec<u8>>>::default();
        buffer.extend(&[1; 64]);
        let size = buffer.bytes.len();
        for _ in 0..1000 {
            buffer.consume(32);
            buffer.extend(&[2; 32]);
        }
        assert_eq!(buffer.bytes.len(), size);
    }
}
