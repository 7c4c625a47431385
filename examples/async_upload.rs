//! Encrypts a stream while it is uploaded, and reads a part of the object back, in an asynchronous
//! program.

use std::{io, ops::Range, sync::Mutex};

use futures_util::{TryStreamExt, stream};
use sealwax::{
    AlgorithmSuite, Client,
    crypto::CryptoProvider,
    crypto::RustCrypto,
    io::{GetRange, Pieces},
    keyring::RawAesKeyring,
};

/// A stand-in for an object store.
#[derive(Default)]
struct Store {
    object: Mutex<Vec<u8>>,
}

impl Store {
    /// A real store sends a part of a request body here.
    async fn append(&self, part: &[u8]) {
        tokio::task::yield_now().await;
        self.object.lock().expect("no append panics").extend_from_slice(part);
    }
}

impl GetRange for Store {
    type Bytes = Vec<u8>;

    async fn size(&self) -> io::Result<u64> {
        Ok(self.object.lock().expect("no append panics").len() as u64)
    }

    /// A real store makes a request with `Range: bytes=start-end` here.
    async fn get_range(&self, range: Range<u64>) -> io::Result<Vec<u8>> {
        tokio::task::yield_now().await;
        println!("get {} bytes at {}", range.end - range.start, range.start);
        let object = self.object.lock().expect("no append panics");
        let part = object.get(range.start as usize..range.end as usize);
        Ok(part.ok_or(io::ErrorKind::UnexpectedEof)?.to_vec())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let keyring = RawAesKeyring::new("example", "uploads", RustCrypto.random_key(32)?)?;
    let client = Client::new();
    let store = Store::default();
    let context = [("bucket", "reports"), ("object", "2026/11.csv")];

    // What a client sends: pieces of any size. The next one is requested only when the store has
    // taken the previous one.
    let body = stream::iter((0..100_000).map(|row| io::Result::Ok(format!("{row:>6},some value\n"))));
    let unsigned = AlgorithmSuite::Aes256GcmHkdfSha512CommitKey;
    let encrypt = client.encrypt(&keyring).suite(unsigned).context(context).frame_length(64 * 1024);
    let mut sealed = encrypt.reader(Pieces::new(body)).await?;
    while let Some(part) = sealed.try_next().await? {
        store.append(&part).await;
    }
    // The object is complete only here: complete the upload now, or abort it on an error.

    let reader = client.decrypt(&keyring).context(context).open_remote(&store).await?.into_ranges().await?;
    let row = reader.len() / 100_000;
    print!("{}", String::from_utf8(reader.read_range(70_000 * row..70_003 * row).await?)?);
    Ok(())
}
