//! Messages that have been opened: the header is verified and the data key unwrapped. What follows
//! needs no keyring.

use std::{
    io::{self, Read, Write},
    ops::Range,
    sync::Arc,
};

use super::{
    range::{AsyncRangeReader, Frames, GetRange, RangeReader, ReadAt, fetch, read_range, source_error},
    reader::DecryptingReader,
    source::Source,
    verified::{Verified, verify_remote_source, verify_source},
};
use crate::{
    context::EncryptionContext,
    crypto::CryptoProvider,
    error::{Error, Result},
    format::{ContentType, Header},
    materials::OpenedBy,
    message::{Decrypted, Decryptor, FinalFrameSearch, Finished, Plan, SecondPass, VerifiedHeader},
};

/// When the plaintext of a signed message may be released: after its signature has been verified,
/// or before.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Release {
    Verified,
    Unverified,
}

/// An opened message without its source.
pub(crate) struct Body {
    pub(crate) verified: VerifiedHeader,
    pub(crate) release: Release,
    pub(crate) plan: Plan,
    pub(crate) provider: Arc<dyn CryptoProvider>,
}

impl Body {
    fn machine(self) -> Decryptor {
        Decryptor::new(self.verified).with_plan(self.plan)
    }

    /// Returns `true` if plaintext must not be released before the signature has been verified.
    fn must_wait(&self) -> bool {
        self.release == Release::Verified && self.verified.body.is_signed()
    }

    /// Splits the body into the machine for a first pass, which verifies the signature, and what a
    /// second pass needs.
    fn into_passes(self) -> (Decryptor, SecondBody) {
        let Self { verified, release, plan, provider } = self;
        let pass = verified.second_pass();
        (Decryptor::new(verified).with_plan(plan), SecondBody { pass, release, plan, provider })
    }

    /// Starts the search for the final frame, which proves the positions of all frames.
    fn search(self, size: u64, body_length: Option<u64>) -> Result<(Header, OpenedBy, FinalFrameSearch)> {
        if self.verified.header.content_type() == ContentType::Unframed {
            return Err(Error::Unframed);
        }
        if self.must_wait() {
            return Err(Error::SignedStream);
        }
        let VerifiedHeader { header, opened_by, body, .. } = self.verified;
        let search = FinalFrameSearch::new(body, header.length() as u64, size, body_length)?;
        Ok((header, opened_by, search))
    }
}

/// A body that may be opened once a first pass has verified it.
struct SecondBody {
    pass: SecondPass,
    release: Release,
    plan: Plan,
    provider: Arc<dyn CryptoProvider>,
}

impl SecondBody {
    /// Returns the body, which needs no signature any more, and its length.
    fn after(self, first: &Finished) -> (Body, u64) {
        let Self { pass, release, plan, provider } = self;
        (Body { verified: pass.after(first), release, plan, provider }, first.body_length)
    }
}

/// An opened message whose source is read once, from its beginning.
///
/// [`Decrypt::open`](crate::Decrypt::open) and [`Decrypt::open_async`](crate::Decrypt::open_async)
/// make it. The header is authentic, but nothing of the body has been verified.
///
/// ```
/// use sealwax::{Client, keyring::RawAesKeyring};
///
/// let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
/// let client = Client::new();
/// let message = client.encrypt(&keyring).unsigned().context([("tenant", "blue")]).bytes(b"text").wait()?.message;
///
/// let opened = client.decrypt(&keyring).open(&message[..])?;
/// assert_eq!(opened.header().context().get("tenant"), Some("blue"));
/// let mut plaintext = Vec::new();
/// opened.copy_to(&mut plaintext)?;
/// assert_eq!(plaintext, b"text");
/// # Ok::<(), sealwax::Error>(())
/// ```
#[must_use = "nothing is decrypted until the plaintext is read"]
pub struct Message<S> {
    source: S,
    /// The bytes of the body that were read with the header.
    ahead: Vec<u8>,
    body: Body,
}

impl<S> Message<S> {
    pub(crate) fn new(source: S, ahead: Vec<u8>, body: Body) -> Self {
        Self { source, ahead, body }
    }

    /// Returns the header, which is authentic.
    pub fn header(&self) -> &Header {
        &self.body.verified.header
    }

    /// Returns which keyring unwrapped the data key.
    pub fn opened_by(&self) -> &OpenedBy {
        &self.body.verified.opened_by
    }

    /// Returns the pairs of the encryption context that are authenticated but not stored.
    pub(crate) fn hidden_context(&self) -> &EncryptionContext {
        &self.body.verified.hidden
    }
}

impl<S: Source> Message<S> {
    /// Returns a reader of the plaintext.
    ///
    /// The plaintext of an unsigned message is released frame by frame. A signed message over
    /// [`std::io::Read`] is first read to its end here and verified. Until then its ciphertext is
    /// spooled, in memory up to 1 MiB and otherwise in an unnamed temporary file in the system's
    /// temporary directory. That requires the feature `fs`.
    ///
    /// # Errors
    /// [`Error::SignedStream`] for a signed message whose source is asynchronous, or without the
    /// feature `fs`; [`Error::Integrity`] and [`Error::Format`] if what has been read of the message
    /// is altered or malformed; and [`Error::Io`] if the source or the temporary file fails, or if
    /// the source of a signed message would block.
    pub fn into_reader(self) -> Result<DecryptingReader<S>> {
        let Self { source, ahead, body } = self;
        if !body.must_wait() {
            return DecryptingReader::new(source, body.machine(), &ahead);
        }
        if !(cfg!(feature = "fs") && S::BLOCKS) {
            return Err(Error::SignedStream);
        }
        #[cfg(feature = "fs")]
        return into_spooled(source, &ahead, body);
        #[cfg(not(feature = "fs"))]
        Err(Error::SignedStream)
    }
}

/// Verifies a signed message and returns a reader of its plaintext over the spooled body.
#[cfg(feature = "fs")]
fn into_spooled<S: Source>(mut source: S, ahead: &[u8], body: Body) -> Result<DecryptingReader<S>> {
    let (machine, second) = body.into_passes();
    let (spool, finished) = super::spool::verify_into_spool(&mut source, ahead, machine)?;
    let (body, _) = second.after(&finished);
    Ok(DecryptingReader::over_spool(source, spool, body.machine()))
}

impl<R: Read> Message<R> {
    /// Decrypts the rest of the source into a sink. This reads and writes on the calling thread.
    ///
    /// Signed messages are treated as by [`into_reader`](Self::into_reader), so the sink receives
    /// nothing of them before the signature has been verified.
    ///
    /// # Errors
    /// The errors of [`into_reader`](Self::into_reader), and [`Error::Io`] if the sink fails. What
    /// the sink received of an unsigned message before an error is authentic but incomplete.
    pub fn copy_to(self, sink: impl Write) -> Result<Decrypted<()>> {
        let (header, opened_by) = self.into_reader()?.copy_to(sink)?;
        Ok(Decrypted { plaintext: (), header, opened_by })
    }
}

/// An opened message whose source can be read at any offset, and more than once, such as a file.
///
/// [`Decrypt::open_at`](crate::Decrypt::open_at) makes it. The header is authentic, but nothing of
/// the body has been verified, until [`verify`](Self::verify) does.
///
/// ```
/// use std::{fs::File, io::Read};
/// use sealwax::{Client, keyring::RawAesKeyring};
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("message");
/// let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
/// let client = Client::new();
/// std::fs::write(&path, client.encrypt(&keyring).bytes(b"some signed text").wait()?.message)?;
///
/// let verified = client.decrypt(&keyring).open_at(File::open(&path)?)?.verify()?;
/// assert_eq!(verified.into_ranges()?.read_range(5..11)?, b"signed");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "nothing is decrypted until the plaintext is read"]
pub struct StoredMessage<S> {
    source: S,
    at: Place,
    body: Body,
}

/// Where a message is in its source.
#[derive(Clone, Copy)]
struct Place {
    /// The length of the source, which begins with the header.
    size: u64,
    /// The length of the body, if the message has been verified.
    body_length: Option<u64>,
}

impl Place {
    /// Returns the range of the source that holds the body, with the footer unless the message has
    /// been verified.
    fn body(self, header: &Header) -> Range<u64> {
        let start = header.length() as u64;
        start..self.body_length.map_or(self.size, |length| start + length)
    }
}

impl<S> StoredMessage<S> {
    pub(crate) fn new(source: S, size: u64, body: Body) -> Self {
        Self { source, at: Place { size, body_length: None }, body }
    }

    /// Returns the header, which is authentic.
    pub fn header(&self) -> &Header {
        &self.body.verified.header
    }

    /// Returns which keyring unwrapped the data key.
    pub fn opened_by(&self) -> &OpenedBy {
        &self.body.verified.opened_by
    }

    /// Returns a reference to the source.
    pub fn get_ref(&self) -> &S {
        &self.source
    }
}

impl<S: ReadAt> StoredMessage<S> {
    /// Verifies the whole message, including its signature and end, on the calling thread. What is
    /// read from the result is bound to the bytes that were verified, by reading [whole
    /// segments](Verified). Nothing is written to disk.
    ///
    /// # Errors
    /// [`Error::Integrity`] and [`Error::Format`] if the message is altered, truncated or malformed,
    /// [`Error::Io`] if the source fails, and [`Error::SourceChanged`] if it grows meanwhile.
    pub fn verify(self) -> Result<StoredMessage<Verified<S>>> {
        let Self { source, at, body } = self;
        let place = at.body(&body.verified.header);
        let (machine, second) = body.into_passes();
        let (source, finished) = verify_source(source, at.size, place, machine, second.provider.clone())?;
        let (body, length) = second.after(&finished);
        Ok(StoredMessage { source, at: Place { body_length: Some(length), ..at }, body })
    }

    /// Returns a reader of any part of the plaintext of a framed message. This reads only the final
    /// frame, or the segments that hold it.
    ///
    /// # Errors
    /// [`Error::SignedStream`] for a signed message that is not [verified](Self::verify),
    /// [`Error::Unframed`] for an unframed message, [`Error::Integrity`] and [`Error::Format`] if
    /// its end is altered or malformed, [`Error::SourceChanged`] if it has changed since it was
    /// verified, and [`Error::Io`] if the source fails.
    pub fn into_ranges(self) -> Result<RangeReader<S>> {
        let Self { source, at, body } = self;
        let (header, opened_by, search) = body.search(at.size, at.body_length)?;
        let tail = read_range(&source, search.wants()).map_err(source_error)?;
        let (access, plaintext) = search.open(&tail)?;
        Ok(RangeReader::new(source, Frames::new(header, opened_by, access, plaintext, at.body_length.is_some())))
    }

    /// Returns a reader of the plaintext from its beginning, as [`Message::into_reader`] does.
    ///
    /// # Errors
    /// The errors of [`Message::into_reader`], and [`Error::SourceChanged`] from a reader of a
    /// [verified](Self::verify) message whose source has changed since.
    pub fn into_reader(self) -> Result<DecryptingReader<Sequential<S>>> {
        self.into_message().into_reader()
    }

    /// Decrypts the message into a sink, as [`Message::copy_to`] does.
    ///
    /// # Errors
    /// The errors of [`into_reader`](Self::into_reader), and [`Error::Io`] if the sink fails. Of a
    /// [verified](Self::verify) message, the sink has then received plaintext only if the source
    /// changed or failed after it was verified, or if the sink itself failed.
    pub fn copy_to(self, sink: impl Write) -> Result<Decrypted<()>> {
        self.into_message().copy_to(sink)
    }

    /// Returns the message as one that is read from its beginning.
    fn into_message(self) -> Message<Sequential<S>> {
        let Self { source, at, body } = self;
        let left = at.body(&body.verified.header);
        Message::new(Sequential { source, left }, Vec::new(), body)
    }
}

/// A reader of a part of a source, in order.
pub struct Sequential<S> {
    source: S,
    left: Range<u64>,
}

impl<S> Sequential<S> {
    /// Returns a reference to the source.
    pub fn get_ref(&self) -> &S {
        &self.source
    }

    /// Returns the source.
    pub fn into_inner(self) -> S {
        self.source
    }
}

impl<S: ReadAt> Read for Sequential<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.left.end - self.left.start).unwrap_or(usize::MAX);
        let count = usize::min(left, buffer.len());
        let buffer = &mut buffer[..count];
        self.source.read_exact_at(self.left.start, buffer).map_err(source_error)?;
        self.left.start += count as u64;
        Ok(count)
    }
}

/// An opened message in an object store, or another asynchronous source that is read by ranges.
///
/// [`Decrypt::open_remote`](crate::Decrypt::open_remote) makes it. The header is authentic, but
/// nothing of the body has been verified, until [`verify`](Self::verify) does.
///
/// ```
/// # use std::{io, ops::Range};
/// # use sealwax::{Client, io::GetRange, keyring::RawAesKeyring};
/// # struct Object(Vec<u8>);
/// # impl GetRange for Object {
/// #     type Bytes = Vec<u8>;
/// #     async fn size(&self) -> io::Result<u64> { Ok(self.0.len() as u64) }
/// #     async fn get_range(&self, range: Range<u64>) -> io::Result<Vec<u8>> {
/// #         Ok(self.0[range.start as usize..range.end as usize].to_vec())
/// #     }
/// # }
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// # runtime.block_on(async {
/// # let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32])?;
/// # let client = Client::new();
/// # let object = Object(client.encrypt(&keyring).bytes(b"some signed text").await?.message);
/// let verified = client.decrypt(&keyring).open_remote(object).await?.verify().await?;
/// assert_eq!(verified.into_ranges().await?.read_range(5..11).await?, b"signed");
/// # Ok::<(), sealwax::Error>(())
/// # }).unwrap();
/// ```
#[must_use = "nothing is decrypted until the plaintext is read"]
pub struct RemoteMessage<S> {
    source: S,
    at: Place,
    body: Body,
    /// The last bytes of the source, if they have been read.
    tail: Vec<u8>,
}

impl<S> RemoteMessage<S> {
    pub(crate) fn new(source: S, size: u64, tail: Vec<u8>, body: Body) -> Self {
        Self { source, at: Place { size, body_length: None }, body, tail }
    }

    /// Returns the header, which is authentic.
    pub fn header(&self) -> &Header {
        &self.body.verified.header
    }

    /// Returns which keyring unwrapped the data key.
    pub fn opened_by(&self) -> &OpenedBy {
        &self.body.verified.opened_by
    }

    /// Returns a reference to the source.
    pub fn get_ref(&self) -> &S {
        &self.source
    }
}

impl<S: GetRange> RemoteMessage<S> {
    /// Verifies the whole message, as [`StoredMessage::verify`] does.
    ///
    /// # Errors
    /// The errors of [`StoredMessage::verify`].
    pub async fn verify(self) -> Result<RemoteMessage<Verified<S>>> {
        let Self { source, at, body, .. } = self;
        let place = at.body(&body.verified.header);
        let (machine, second) = body.into_passes();
        let (source, finished) = verify_remote_source(source, at.size, place, machine, second.provider.clone()).await?;
        let (body, length) = second.after(&finished);
        let at = Place { body_length: Some(length), ..at };
        Ok(RemoteMessage { source, at, body, tail: Vec::new() })
    }

    /// Returns a reader of any part of the plaintext of a framed message. This makes no request,
    /// unless the final frame is longer than what was read with the header, or the message was
    /// [verified](Self::verify).
    ///
    /// # Errors
    /// The errors of [`StoredMessage::into_ranges`].
    pub async fn into_ranges(self) -> Result<AsyncRangeReader<S>> {
        let Self { source, at, body, tail } = self;
        let (header, opened_by, search) = body.search(at.size, at.body_length)?;
        let wants = search.wants();
        let tail_start = at.size - tail.len() as u64;
        let (access, plaintext) = match wants.start.checked_sub(tail_start) {
            Some(skipped) if !tail.is_empty() => search.open(&tail[skipped as usize..])?,
            _ => search.open(fetch(&source, wants).await?.as_ref())?,
        };
        Ok(AsyncRangeReader::new(source, Frames::new(header, opened_by, access, plaintext, at.body_length.is_some())))
    }
}
