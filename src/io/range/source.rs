//! Sources that can be read at an offset.

use std::{
    fs::File,
    future::poll_fn,
    io::{self, Read, Seek, SeekFrom},
    ops::Range,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
};

/// The maximum number of bytes requested from a source at once, unless a single frame is longer.
/// Also the maximum amount of memory allocated for bytes that a source has not delivered yet.
pub(crate) const PIECE: u64 = 8 << 20;

/// A source of bytes that can be read at any offset. It is shared by reference, so several threads
/// can read at the same time if it is `Sync`.
///
/// Files, slices and vectors implement it. [`Seekable`] adapts anything that reads and seeks. For
/// asynchronous sources, see [`GetRange`].
///
/// ```
/// use std::io;
/// use sealwax::io::ReadAt;
///
/// /// Logs the reads of another source.
/// struct Logged<S>(S);
///
/// impl<S: ReadAt> ReadAt for Logged<S> {
///     fn size(&self) -> io::Result<u64> {
///         self.0.size()
///     }
///
///     fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
///         println!("{} bytes at {offset}", buffer.len());
///         self.0.read_exact_at(offset, buffer)
///     }
/// }
/// assert_eq!(Logged(vec![1, 2, 3]).size()?, 3);
/// # Ok::<(), io::Error>(())
/// ```
pub trait ReadAt {
    /// Returns the length of the source in bytes.
    ///
    /// # Errors
    /// The error of the source, or [`io::ErrorKind::NotSeekable`] if it has no length because it is
    /// a pipe.
    fn size(&self) -> io::Result<u64>;

    /// Fills `buffer` with the bytes at an offset.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] if the source has fewer bytes, and the error of the source.
    /// The contents of `buffer` are then unspecified.
    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
}

/// An object that is read by ranges, such as one in an object store.
///
/// Implement it with `async fn` or with boxed futures. Each range becomes one request.
///
/// ```
/// use std::{io, ops::Range};
/// use sealwax::io::GetRange;
///
/// struct Object {
///     bytes: Vec<u8>,
/// }
///
/// impl GetRange for Object {
///     type Bytes = Vec<u8>;
///
///     async fn size(&self) -> io::Result<u64> {
///         // A real implementation requests the metadata of the object here.
///         Ok(self.bytes.len() as u64)
///     }
///
///     async fn get_range(&self, range: Range<u64>) -> io::Result<Vec<u8>> {
///         // A real implementation sends a ranged request here.
///         let range = range.start as usize..range.end as usize;
///         self.bytes.get(range).map(<[u8]>::to_vec).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
///     }
/// }
/// # let _ = Object { bytes: vec![] };
/// ```
pub trait GetRange {
    /// The type of the returned bytes, such as `Vec<u8>` or `Bytes` of the crate `bytes`.
    type Bytes: AsRef<[u8]> + Send;

    /// Returns the length of the source in bytes.
    fn size(&self) -> impl Future<Output = io::Result<u64>> + Send;

    /// Returns exactly the bytes from `range.start` up to but not including `range.end`. The range
    /// is never empty.
    fn get_range(&self, range: Range<u64>) -> impl Future<Output = io::Result<Self::Bytes>> + Send;

    /// Returns how many requests a reader makes at a time. The default is 8.
    fn max_requests(&self) -> usize {
        8
    }

    /// Returns the length of the source with its first and last bytes.
    ///
    /// This asks for the length and then for both ends at once. Override it if the store returns
    /// the length along with a range, which saves a round trip.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] if the source is empty, and the error of the source.
    fn get_ends(&self, first: u64, last: u64) -> impl Future<Output = io::Result<Ends<Self::Bytes>>> + Send
    where
        Self: Sync,
    {
        async move {
            let size = self.size().await?;
            if size == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if size <= first.saturating_add(last) {
                return Ok(Ends { size, first: self.get_range(0..size).await?, last: None });
            }
            let (first, last) = join(self.get_range(0..first), self.get_range(size - last..size)).await;
            Ok(Ends { size, first: first?, last: Some(last?) })
        }
    }
}

/// The length of a source with its first and last bytes.
#[derive(Clone, Debug)]
pub struct Ends<B> {
    /// The length of the source.
    pub size: u64,
    /// The first bytes, or all of them if the source has at most as many as were asked for.
    pub first: B,
    /// The last bytes, unless `first` has all of them.
    pub last: Option<B>,
}

/// Awaits two futures at once.
async fn join<A: Future, B: Future>(first: A, second: B) -> (A::Output, B::Output) {
    let (mut first, mut second) = (pin!(first), pin!(second));
    let (mut done, mut also_done) = (None, None);
    poll_fn(|context| {
        if done.is_none()
            && let Poll::Ready(output) = first.as_mut().poll(context)
        {
            done = Some(output);
        }
        if also_done.is_none()
            && let Poll::Ready(output) = second.as_mut().poll(context)
        {
            also_done = Some(output);
        }
        match (done.take(), also_done.take()) {
            (Some(first), Some(second)) => Poll::Ready((first, second)),
            (first, second) => {
                (done, also_done) = (first, second);
                Poll::Pending
            }
        }
    })
    .await
}

impl ReadAt for [u8] {
    fn size(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).ok();
        let end = start.and_then(|start| start.checked_add(buffer.len()));
        let range = start.zip(end).and_then(|(start, end)| self.get(start..end));
        buffer.copy_from_slice(range.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

impl ReadAt for Vec<u8> {
    fn size(&self) -> io::Result<u64> {
        self.as_slice().size()
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.as_slice().read_exact_at(offset, buffer)
    }
}

macro_rules! forward {
    ($($pointer:ty),*) => {$(
        impl<S: ReadAt + ?Sized> ReadAt for $pointer {
            fn size(&self) -> io::Result<u64> {
                (**self).size()
            }

            fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
                (**self).read_exact_at(offset, buffer)
            }
        }
    )*};
}

forward!(&S, Box<S>, Arc<S>);

macro_rules! forward_async {
    ($($pointer:ty),*) => {$(
        impl<S: GetRange + Sync> GetRange for $pointer {
            type Bytes = S::Bytes;

            fn size(&self) -> impl Future<Output = io::Result<u64>> + Send {
                (**self).size()
            }

            fn get_range(&self, range: Range<u64>) -> impl Future<Output = io::Result<Self::Bytes>> + Send {
                (**self).get_range(range)
            }

            fn max_requests(&self) -> usize {
                (**self).max_requests()
            }

            fn get_ends(&self, first: u64, last: u64) -> impl Future<Output = io::Result<Ends<Self::Bytes>>> + Send
            where
                Self: Sync,
            {
                (**self).get_ends(first, last)
            }
        }
    )*};
}

forward_async!(&S, Box<S>, Arc<S>);

#[cfg(any(unix, windows))]
impl ReadAt for File {
    /// Returns the length of a regular file. For anything else, such as a device, returns the
    /// offset of the end; the position is restored.
    fn size(&self) -> io::Result<u64> {
        let found = self.metadata()?;
        if found.is_file() {
            return Ok(found.len());
        }
        let mut file = self;
        let here = file.stream_position()?;
        let end = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(here))?;
        Ok(end)
    }

    #[cfg(unix)]
    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, buffer, offset)
    }

    #[cfg(windows)]
    fn read_exact_at(&self, mut offset: u64, mut buffer: &mut [u8]) -> io::Result<()> {
        while !buffer.is_empty() {
            match std::os::windows::fs::FileExt::seek_read(self, buffer, offset) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    buffer = &mut buffer[count..];
                    offset += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// A source of anything that reads and seeks, behind a lock. Reads move its position.
///
/// ```
/// use sealwax::io::{ReadAt, Seekable};
///
/// let source = Seekable::new(std::io::Cursor::new([1, 2, 3]));
/// let mut two = [0; 2];
/// source.read_exact_at(1, &mut two)?;
/// assert_eq!(two, [2, 3]);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Seekable<R> {
    reader: Mutex<R>,
}

impl<R: Read + Seek> Seekable<R> {
    /// Creates a source of the bytes of `reader`. Offsets count from its beginning, not from its
    /// current position.
    pub fn new(reader: R) -> Self {
        Self { reader: Mutex::new(reader) }
    }

    /// Returns the reader.
    pub fn into_inner(self) -> R {
        self.reader.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, work: impl FnOnce(&mut R) -> io::Result<T>) -> io::Result<T> {
        // Every use seeks first, so the position that a panic left does not matter.
        work(&mut self.reader.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<R: Read + Seek> ReadAt for Seekable<R> {
    fn size(&self) -> io::Result<u64> {
        self.with(|reader| reader.seek(SeekFrom::End(0)))
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.with(|reader| {
            reader.seek(SeekFrom::Start(offset))?;
            reader.read_exact(buffer)
        })
    }
}

/// Reads a range. Memory is allocated as the bytes arrive, so a source that lies about its length
/// costs at most one piece.
pub(crate) fn read_range<S: ReadAt + ?Sized>(source: &S, range: Range<u64>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let step = (range.end - at).min(PIECE);
        let filled = bytes.len();
        bytes.resize(filled + step as usize, 0);
        source.read_exact_at(at, &mut bytes[filled..])?;
        at += step;
    }
    Ok(bytes)
}
