//! Batches of regular frames.

use crate::{
    error::Result,
    format::FRAME_OVERHEAD,
    message::{buffer::Memory, key::MessageKey},
};

/// Whether frames are sealed or opened.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Seal,
    Open,
}

impl Direction {
    /// Returns the number of input bytes in a frame.
    pub(super) fn taken(self, frame_length: usize) -> usize {
        match self {
            Self::Seal => frame_length,
            Self::Open => frame_length + FRAME_OVERHEAD,
        }
    }

    /// Returns the number of output bytes in a frame.
    pub(super) fn given(self, frame_length: usize) -> usize {
        match self {
            Self::Seal => frame_length + FRAME_OVERHEAD,
            Self::Open => frame_length,
        }
    }
}

/// Complete regular frames. The buffers can be owned or slices of larger ones, and can be longer
/// than the frames.
pub(super) struct Batch<I, O> {
    pub(super) direction: Direction,
    pub(super) frame_length: usize,
    /// The sequence number of the first frame.
    pub(super) first: u32,
    /// The number of frames.
    pub(super) frames: usize,
    pub(super) input: I,
    pub(super) output: O,
}

impl<I: AsRef<[u8]>, O: Memory> Batch<I, O> {
    fn input(&self) -> &[u8] {
        &self.input.as_ref()[..self.frames * self.direction.taken(self.frame_length)]
    }

    /// Returns the length of the output in bytes.
    pub(super) fn output_length(&self) -> usize {
        self.frames * self.direction.given(self.frame_length)
    }

    /// Seals or opens the frames.
    pub(super) fn work(&mut self, key: &MessageKey) -> Result<()> {
        let Self { direction, frame_length, first, frames, ref input, ref mut output } = *self;
        let input = &input.as_ref()[..frames * direction.taken(frame_length)];
        let output = &mut output.as_mut()[..frames * direction.given(frame_length)];
        match direction {
            Direction::Seal => key.seal_regular_frames(first, frame_length, input, output),
            Direction::Open => key.open_regular_frames(first, frame_length, input, output),
        }
    }

    /// Returns the sealed frames, which are what a signature covers.
    pub(super) fn sealed(&self) -> &[u8] {
        match self.direction {
            Direction::Seal => &self.output.as_ref()[..self.output_length()],
            Direction::Open => self.input(),
        }
    }
}
