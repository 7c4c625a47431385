//! Asynchronous sources and sinks that return `Pending`, and an executor that detects lost
//! wake-ups.

use std::{
    io,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use futures_util::Stream;

/// Whether another poll was requested, and the thread that waits for it.
struct Woken(AtomicBool, Thread);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
        self.1.unpark();
    }
}

/// How long a future may wait for other threads.
const PATIENCE: Duration = Duration::from_secs(20);

/// Polls a future to completion, and panics if nothing wakes it. The sources and sinks here wake at
/// once, so only the threads of a machine can keep it waiting.
pub fn drive<T>(future: impl Future<Output = T>) -> T {
    let woken = Arc::new(Woken(AtomicBool::new(false), thread::current()));
    let waker = Waker::from(woken.clone());
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(outcome) => return outcome,
            Poll::Pending => {
                let start = Instant::now();
                while !woken.0.swap(false, Ordering::AcqRel) {
                    assert!(start.elapsed() < PATIENCE, "nothing wakes it");
                    thread::park_timeout(PATIENCE);
                }
            }
        }
    }
}

/// Decides what happens next: a wait, an interruption, or a number of bytes. The same seed gives
/// the same sequence.
#[derive(Clone)]
pub struct Moods {
    seed: u64,
    /// The most bytes at a time.
    most: usize,
}

impl Moods {
    pub fn new(seed: u64, most: usize) -> Self {
        Self { seed: seed.wrapping_mul(2).wrapping_add(1), most }
    }

    fn next(&mut self) -> u64 {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.seed >> 33
    }

    /// Returns how many of `length` bytes to move.
    fn poll(&mut self, context: &Context<'_>, length: usize) -> Poll<io::Result<usize>> {
        match self.next() % 8 {
            0..3 => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
            3 => Poll::Ready(Err(io::ErrorKind::Interrupted.into())),
            _ if length == 0 => Poll::Ready(Ok(0)),
            _ => Poll::Ready(Ok(1 + self.next() as usize % self.most.min(length))),
        }
    }
}

/// A source for both families, and a stream of pieces.
pub struct PatientSource<'a> {
    rest: &'a [u8],
    moods: Moods,
}

impl<'a> PatientSource<'a> {
    pub fn new(bytes: &'a [u8], moods: Moods) -> Self {
        Self { rest: bytes, moods }
    }

    fn poll(&mut self, context: &Context<'_>, room: usize) -> Poll<io::Result<&'a [u8]>> {
        let length = self.rest.len().min(room);
        self.moods.poll(context, length).map_ok(|count| {
            let (now, rest) = self.rest.split_at(count);
            self.rest = rest;
            now
        })
    }
}

impl tokio::io::AsyncRead for PatientSource<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let room = buffer.remaining();
        self.poll(context, room).map_ok(|bytes| buffer.put_slice(bytes))
    }
}

impl futures_util::AsyncRead for PatientSource<'_> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let room = buffer.len();
        self.poll(context, room).map_ok(|bytes| {
            buffer[..bytes.len()].copy_from_slice(bytes);
            bytes.len()
        })
    }
}

impl<'a> Stream for PatientSource<'a> {
    type Item = Result<&'a [u8], io::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            // A stream has no interruptions: an error ends it.
            match self.poll(context, usize::MAX) {
                Poll::Ready(Err(_)) => {}
                Poll::Ready(Ok(bytes)) => return Poll::Ready(Some(Ok(bytes)).filter(|_| !bytes.is_empty())),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

/// A sink for both families.
pub struct PatientSink {
    pub bytes: Vec<u8>,
    pub closed: bool,
    moods: Moods,
}

impl PatientSink {
    pub fn new(moods: Moods) -> Self {
        Self { bytes: Vec::new(), closed: false, moods }
    }

    fn poll(&mut self, context: &Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        assert!(!self.closed, "it was closed");
        self.moods.poll(context, bytes.len()).map_ok(|count| {
            self.bytes.extend_from_slice(&bytes[..count]);
            count
        })
    }

    fn wait(&mut self, context: &Context<'_>) -> Poll<io::Result<()>> {
        if self.moods.next().is_multiple_of(2) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn close(&mut self, context: &Context<'_>) -> Poll<io::Result<()>> {
        self.wait(context).map_ok(|()| self.closed = true)
    }
}

impl tokio::io::AsyncWrite for PatientSink {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wait(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.close(context)
    }
}

impl futures_util::AsyncWrite for PatientSink {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wait(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.close(context)
    }
}
