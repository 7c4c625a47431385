//! Requests that are made before their bytes are needed.

use std::{
    collections::VecDeque,
    future::poll_fn,
    io,
    ops::Range,
    pin::Pin,
    task::{Context, Poll},
};

use super::{exactly, source::GetRange};
use crate::error::Result;

/// The maximum number of bytes that are requested or have arrived before they are needed, unless a
/// single request is longer.
const BYTES: u64 = 32 << 20;

/// Returns the length of requests to a source, unless a single frame is longer: as many of them as
/// it takes at a time are as long as what may be in flight.
pub(crate) fn step(source: &impl GetRange) -> u64 {
    BYTES / source.max_requests().clamp(1, 32) as u64
}

/// Ranges of a source that are requested in order, several at a time, and returned in order.
pub(crate) struct InFlight<'a, S: GetRange, I: Iterator> {
    source: &'a S,
    left: std::iter::Peekable<I>,
    max_requests: usize,
    requests: VecDeque<Request<'a, S::Bytes>>,
}

struct Request<'a, B> {
    length: u64,
    state: State<'a, B>,
}

enum State<'a, B> {
    Waiting(Pin<Box<dyn Future<Output = io::Result<B>> + Send + 'a>>),
    Done(io::Result<B>),
}

impl<'a, S: GetRange, I: Iterator<Item = Range<u64>>> InFlight<'a, S, I> {
    pub(crate) fn new(source: &'a S, ranges: I) -> Self {
        let max_requests = source.max_requests().max(1);
        Self { source, left: ranges.peekable(), max_requests, requests: VecDeque::new() }
    }

    /// Returns the bytes of the next range, or `None` after the last.
    pub(crate) async fn next(&mut self) -> Option<Result<S::Bytes>> {
        self.request_more();
        let (bytes, length) = poll_fn(|context| self.poll_first(context)).await?;
        Some(exactly(length, bytes))
    }

    fn request_more(&mut self) {
        let mut bytes: u64 = self.requests.iter().map(|request| request.length).sum();
        while self.requests.len() < self.max_requests
            && let Some(range) = self.left.next_if(|range| bytes == 0 || bytes + (range.end - range.start) <= BYTES)
        {
            let length = range.end - range.start;
            bytes += length;
            self.requests.push_back(Request { length, state: State::Waiting(Box::pin(self.source.get_range(range))) });
        }
    }

    /// Polls all requests, and returns the result of the first one once it is there.
    fn poll_first(&mut self, context: &mut Context<'_>) -> Poll<Option<(io::Result<S::Bytes>, u64)>> {
        for request in &mut self.requests {
            if let State::Waiting(future) = &mut request.state
                && let Poll::Ready(bytes) = future.as_mut().poll(context)
            {
                request.state = State::Done(bytes);
            }
        }
        match self.requests.pop_front() {
            None => Poll::Ready(None),
            Some(Request { length, state: State::Done(bytes) }) => Poll::Ready(Some((bytes, length))),
            Some(waiting) => {
                self.requests.push_front(waiting);
                Poll::Pending
            }
        }
    }
}
