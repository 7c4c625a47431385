//! Long headers, the last frame numbers, ranges beyond memory, and what is no file.

use super::*;

/// An object that counts its requests.
struct Requests(Object, AtomicU64);

impl GetRange for Requests {
    type Bytes = Vec<u8>;

    async fn size(&self) -> io::Result<u64> {
        self.0.size().await
    }

    async fn get_range(&self, range: Range<u64>) -> io::Result<Vec<u8>> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.get_range(range).await
    }
}

#[test]
fn a_long_header_takes_few_requests() {
    // Anyone can write a header up to the limit of 1 MiB: nothing in it is authenticated before it
    // is read.
    let mut forge = Forge::new(0x0478);
    forge.keys = vec![["example".into(), b"other".to_vec(), vec![7; 60_000]]; 16];
    forge.keys.push(Forge::new(0x0478).keys.remove(0));
    forge.key_count = 17;
    let long = forge.message(b"text");
    assert!(forge.header().len() > 960_000);
    let short = Forge::new(0x0478).message(b"text");
    for (message, most) in [(long, 12), (short, 2)] {
        let (client, keyring) = (reads_all(), forge.keyring());
        let object = Requests(Object(message.clone(), 0), AtomicU64::new(0));
        let reader = block_on(remote(client.decrypt(&keyring), &object)).unwrap();
        let requests = object.1.load(Ordering::Relaxed);
        assert!(requests <= most, "{requests} requests for a message of {} bytes", message.len());
        assert_eq!(block_on(reader.read_range(0..4)).unwrap(), b"text");

        let reader = client.decrypt(&keyring).open_at(Watched::new(message)).unwrap().into_ranges().unwrap();
        let (calls, read) = reader.get_ref().counted();
        let header = reader.header().length() as u64;
        assert!(calls <= most, "{calls}");
        assert!(read <= 2 * header + 4096, "{read} bytes for a header of {header}");
    }
}

/// A message that is mostly a hole: it has its header, and what is at its end.
struct Sparse {
    header: Vec<u8>,
    size: u64,
    end: Vec<u8>,
}

impl Sparse {
    /// Returns a message of this many regular frames, of which only the last one exists, and a
    /// final frame.
    fn new(forge: &Forge, regular_frames: u64, last: &[u8], end: &[u8]) -> Self {
        let header = forge.header();
        let size = header.len() as u64 + regular_frames * (u64::from(forge.frame_length) + 32) + end.len() as u64;
        Self { header, size, end: [last, end].concat() }
    }
}

impl ReadAt for Sparse {
    fn size(&self) -> io::Result<u64> {
        Ok(self.size)
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        if offset + buffer.len() as u64 > self.size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let end = self.size - self.end.len() as u64;
        for (byte, at) in buffer.iter_mut().zip(offset..) {
            let there = match at.checked_sub(end) {
                Some(at) => self.end.get(at as usize),
                None => self.header.get(at as usize),
            };
            *byte = there.copied().unwrap_or_default();
        }
        Ok(())
    }
}

#[test]
fn the_final_frame_bears_the_last_number_at_the_most() {
    let forge = Forge::new(0x0478);
    let most = u64::from(u32::MAX) - 1;
    let (last, end) = (forge.regular(u32::MAX - 1, b"abcde"), forge.last(u32::MAX, b"fg"));
    let reader = open(&forge, Sparse::new(&forge, most, &last, &end)).unwrap();
    assert_eq!(reader.len(), most * 5 + 2);
    assert_eq!(reader.read_range(reader.len() - 5..u64::MAX).unwrap(), b"cdefg");
    assert!(matches!(reader.read_range(reader.len() - 8..reader.len()), Err(Error::Integrity)), "a hole");
    for (more, number) in [(1, u32::MAX), (1, 0), (2, 1), (1 << 40, u32::MAX)] {
        let end = forge.last(number, b"fg");
        let refused = open(&forge, Sparse::new(&forge, most + more, &last, &end));
        assert!(matches!(refused.err(), Some(Error::Format(FormatError::FinalFramePosition))), "{more}");
    }
}

/// Anyone who can wrap a data key can declare a plaintext that is longer than any memory.
#[test]
fn a_range_longer_than_memory_is_an_error() {
    let forge = Forge { frame_length: 64 << 20, ..Forge::new(0x0478) };
    let sparse = || Sparse::new(&forge, u64::from(u32::MAX) - 1, b"", &forge.last(u32::MAX, b"fg"));
    let out_of_memory = |error| matches!(error, Error::Io(error) if error.kind() == io::ErrorKind::OutOfMemory);
    let reader = open(&forge, sparse()).unwrap();
    assert!(out_of_memory(reader.read_range(0..reader.len()).unwrap_err()));
    assert_eq!(reader.read_range(reader.len() - 2..reader.len()).unwrap(), b"fg");
}

#[test]
fn the_callers_limit_on_frames_acts_before_any_key() {
    let forge = Forge { frame_length: 2000, ..Forge::new(0x0478) };
    let message = forge.message(b"text");
    let client = Client::builder().max_frame_length(1999).build();
    let refused = client.decrypt(&forge.keyring()).open_at(&message[..]).and_then(|message| message.into_ranges());
    assert!(matches!(refused.err(), Some(Error::Limit(LimitError::FrameLength { limit: 1999, found: 2000 }))));
}

#[cfg(unix)]
#[test]
fn a_pipe_is_refused_with_the_choices() {
    use std::os::{fd::OwnedFd, unix::net::UnixStream};
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let forge = Forge::new(0x0478);
    let error = open(&forge, File::from(OwnedFd::from(ours))).err().unwrap();
    assert!(matches!(error, Error::NotSeekable(_)), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("copy") && text.contains("unverified"), "{text}");
}
