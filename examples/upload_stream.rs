//! Encrypts a stream while it is uploaded, part by part, in constant memory. Nothing is written to
//! disk, and the length of the plaintext need not be known in advance.

use std::io::{self, Read, Write};

use sealwax::{Client, crypto::CryptoProvider, crypto::RustCrypto, keyring::RawAesKeyring};

/// A stand-in for a multipart upload to an object store: takes bytes, and sends them in parts of
/// equal size.
struct MultipartUpload {
    part: Vec<u8>,
    parts_sent: Vec<Vec<u8>>,
}

impl MultipartUpload {
    const PART_LENGTH: usize = 5 << 20;

    fn send(&mut self) {
        // A real upload makes a request here.
        self.parts_sent.push(std::mem::replace(&mut self.part, Vec::with_capacity(Self::PART_LENGTH)));
    }

    fn complete(mut self) -> Vec<Vec<u8>> {
        self.send();
        self.parts_sent
    }
}

impl Write for MultipartUpload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(Self::PART_LENGTH - self.part.len());
        self.part.extend_from_slice(&bytes[..count]);
        if self.part.len() == Self::PART_LENGTH {
            self.send();
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let keyring = RawAesKeyring::new("example", "uploads", RustCrypto.random_key(32)?)?;
    let client = Client::new();

    let upload = MultipartUpload { part: Vec::new(), parts_sent: Vec::new() };
    let context = [("bucket", "reports"), ("object", "2026/11.csv")];
    let mut writer = client.encrypt(&keyring).context(context).frame_length(64 * 1024).writer(upload).wait()?;
    for row in 0..1_000_000 {
        writeln!(writer, "{row},some value,another value")?;
    }
    // The message is complete only after this call: complete the upload then, or abort it on an
    // error.
    let parts = writer.finish()?.complete();
    println!("uploaded {} bytes in {} parts", parts.iter().map(Vec::len).sum::<usize>(), parts.len());

    // Download it again. The message is signed, so a reader that releases rows before the end says
    // so in its name.
    let object = parts.concat();
    let mut reader = client.decrypt(&keyring).context(context).release_unverified().open(&object[..])?.into_reader()?;
    let mut text = String::new();
    reader.read_to_string(&mut text)?;
    println!("downloaded and verified {} rows", text.lines().count());
    Ok(())
}
