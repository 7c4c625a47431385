//! Sources that can be read at an offset.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

/// The most that is asked of a source in one piece, in bytes, unless a single frame is longer. Also, the most memory that is
/// taken for bytes which a source has not delivered yet.
pub(crate) const PIECE: u64 = 8 << 20;

/// Bytes that can be read at any offset, from several threads at once.
///
/// Files, slices and vectors can. [`Seekable`] makes one of anything that reads and seeks, and [`GetRange`] is for what
/// must be awaited.
///
/// ```
/// use std::io;
/// use sealwax::io::ReadAt;
///
/// /// Something between the bytes and their reader.
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
    /// How many bytes there are.
    ///
    /// # Errors
    /// What the source fails of; [`io::ErrorKind::NotSeekable`] if it has no length, because it is a pipe.
    fn size(&self) -> io::Result<u64>;

    /// Reads the bytes at an offset, as many as `buffer` has room for.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] if there are fewer. `buffer` then has anything.
    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
}

/// An object that is read by ranges, such as one in an object store.
///
/// It is implemented with `async fn`; a boxed future will do too. Each range becomes one request.
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
///         // A real one asks for the object's metadata here.
///         Ok(self.bytes.len() as u64)
///     }
///
///     async fn get_range(&self, range: Range<u64>) -> io::Result<Vec<u8>> {
///         // A real one sends a request with `Range: bytes=start-end` here.
///         let range = range.start as usize..range.end as usize;
///         self.bytes.get(range).map(<[u8]>::to_vec).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
///     }
/// }
/// # let _ = Object { bytes: vec![] };
/// ```
pub trait GetRange {
    /// What bytes come in: `Vec<u8>`, or the `Bytes` of the crate of that name.
    type Bytes: AsRef<[u8]> + Send;

    /// How many bytes there are.
    fn size(&self) -> impl Future<Output = io::Result<u64>> + Send;

    /// The bytes from `range.start` up to but not including `range.end`, exactly so many.
    fn get_range(&self, range: Range<u64>) -> impl Future<Output = io::Result<Self::Bytes>> + Send;
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
        impl<S: GetRange> GetRange for $pointer {
            type Bytes = S::Bytes;

            fn size(&self) -> impl Future<Output = io::Result<u64>> + Send {
                (**self).size()
            }

            fn get_range(&self, range: Range<u64>) -> impl Future<Output = io::Result<Self::Bytes>> + Send {
                (**self).get_range(range)
            }
        }
    )*};
}

forward_async!(&S, Box<S>, Arc<S>);

#[cfg(any(unix, windows))]
impl ReadAt for File {
    /// The length of a regular file; of anything else, where one gets who seeks to its end, and back again.
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

/// Anything that reads and seeks, behind a lock. Its position is moved about.
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
    /// The bytes of `reader` from its very beginning.
    pub fn new(reader: R) -> Self {
        Self { reader: Mutex::new(reader) }
    }

    /// Gives the reader back.
    pub fn into_inner(self) -> R {
        self.reader.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, work: impl FnOnce(&mut R) -> io::Result<T>) -> io::Result<T> {
        // Every use seeks first, so that it does not matter where a panic left the position.
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

/// Reads a range. Memory is taken as the bytes come, so that a source which lies about its length costs nothing.
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

/// A source that need not be awaited, for the code that awaits.
pub(crate) struct Ready<'a, S: ?Sized>(pub(crate) &'a S);

impl<S: ReadAt + ?Sized> GetRange for Ready<'_, S> {
    type Bytes = Vec<u8>;

    fn size(&self) -> impl Future<Output = io::Result<u64>> + Send {
        std::future::ready(self.0.size())
    }

    fn get_range(&self, range: Range<u64>) -> impl Future<Output = io::Result<Vec<u8>>> + Send {
        std::future::ready(read_range(self.0, range))
    }
}
