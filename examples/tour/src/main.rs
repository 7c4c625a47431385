//! A tour of sealwax: every way to encrypt and decrypt, with what an application would write.
//!
//!     cargo run --package sealwax-tour

use std::{
    collections::HashMap,
    error::Error,
    fs::{self, File},
    io::{self, Read, Write},
    ops::Range,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::{AsyncWriteExt as _, TryStreamExt, stream};
use sealwax::{
    Client, EncryptedDataKey,
    crypto::RustCrypto,
    io::{Futures, GetRange, Overwrite, Pieces, Tokio},
    keyring::{BoxFuture, Keyring, MultiKeyring, RawAesKeyring, UnwrapRequest, Unwrapped, WrapRequest, Wrapped},
    materials::{CachingManager, DefaultMaterialsManager, MemoryCache},
};
use tokio::io::AsyncWriteExt as _;

type Outcome = Result<(), Box<dyn Error>>;

fn main() -> Outcome {
    use sealwax::crypto::CryptoProvider;
    // A real key comes from where your secrets are.
    let keys = RawAesKeyring::new("example", "2026", RustCrypto.random_key(32)?)?;
    let client = Client::builder().threads(2).build();
    let text = "some text, again and again; ".repeat(10_000);

    bytes(&client, &keys)?;
    files(&client, &keys, &text)?;
    readers_and_writers(&client, &keys, &text)?;
    ranges_of_a_file(&client, &keys, &text)?;
    other_keys(&client, &keys)?;
    a_keyring_of_our_own(&client)?;
    many_small_records(&client, &keys)?;
    tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
        tokio_files(&client, &keys, &text).await?;
        futures_crates(&client, &keys, &text).await?;
        streams(&client, &keys, &text).await?;
        objects(&client, &keys, &text).await
    })
}

fn bytes(client: &Client, keys: &dyn Keyring) -> Outcome {
    let sealed = client.encrypt(keys).context([("tenant", "blue")]).bytes(b"my secret").wait()?;
    let opened = client.decrypt(keys).context([("tenant", "blue")]).bytes(&sealed.message).wait()?;
    assert_eq!(opened.plaintext, b"my secret");
    // The wrong tenant gets nothing.
    assert!(client.decrypt(keys).context([("tenant", "green")]).bytes(&sealed.message).wait().is_err());
    println!("bytes: {} in, {} out, opened by {}", 9, sealed.message.len(), opened.opened_by.keyring);
    Ok(())
}

fn files(client: &Client, keys: &dyn Keyring, text: &str) -> Outcome {
    let directory = tempfile::tempdir()?;
    let path = |name| directory.path().join(name);
    fs::write(path("report.txt"), text)?;
    client.encrypt(keys).file(path("report.txt"), path("report.sealed"), Overwrite::Never)?;
    client.decrypt(keys).file(path("report.sealed"), path("report.txt"), Overwrite::Replace)?;
    assert_eq!(fs::read_to_string(path("report.txt"))?, text);
    println!("files: there and back");
    Ok(())
}

fn readers_and_writers(client: &Client, keys: &dyn Keyring, text: &str) -> Outcome {
    // Write into any sink...
    let mut writer = client.encrypt(keys).unsigned().writer(Vec::new()).wait()?;
    writer.write_all(text.as_bytes())?;
    let message = writer.finish()?;
    // ... or read the message while the plaintext is read from a source.
    let mut again = Vec::new();
    client.encrypt(keys).unsigned().reader(text.as_bytes()).wait()?.read_to_end(&mut again)?;
    assert_eq!(again.len(), message.len());

    // Open first, then choose.
    let opened = client.decrypt(keys).open(&message[..])?;
    assert!(!opened.header().suite().is_signed());
    let mut plaintext = String::new();
    opened.into_reader()?.read_to_string(&mut plaintext)?;
    assert_eq!(plaintext, text);
    let mut sink = Vec::new();
    client.decrypt(keys).open(&message[..])?.copy_to(&mut sink)?;
    assert_eq!(sink, text.as_bytes());
    // A message that is pushed rather than pulled.
    let mut writer = client.decrypt(keys).writer(Vec::new());
    writer.write_all(&message)?;
    assert_eq!(writer.finish()?.plaintext, text.as_bytes());
    println!("readers and writers: {} bytes", message.len());
    Ok(())
}

fn ranges_of_a_file(client: &Client, keys: &dyn Keyring, text: &str) -> Outcome {
    let mut file = tempfile::NamedTempFile::new()?;
    client.encrypt(keys).unsigned().copy(text.as_bytes(), &mut file)?;
    let ranges = client.decrypt(keys).open_at(File::open(file.path())?)?.into_ranges()?;
    assert_eq!(ranges.read_range(100_000..100_010)?, text.as_bytes()[100_000..100_010]);

    // A signed message is verified first, without temporary files.
    let mut file = tempfile::NamedTempFile::new()?;
    client.encrypt(keys).copy(text.as_bytes(), &mut file)?;
    let verified = client.decrypt(keys).open_at(File::open(file.path())?)?.verify()?;
    assert_eq!(verified.into_ranges()?.read_range(100_000..100_010)?, text.as_bytes()[100_000..100_010]);
    println!("ranges: of an unsigned and of a verified file");
    Ok(())
}

fn other_keys(client: &Client, keys: &dyn Keyring) -> Outcome {
    let message = client.encrypt(keys).context([("tenant", "blue")]).bytes(b"text").wait()?.message;
    let next = RawAesKeyring::new("example", "2027", vec![9; 32])?;
    let mut moved = Vec::new();
    client.decrypt(keys).reencrypt(client.encrypt(&next)).keep_context().copy(&message[..], &mut moved)?;
    assert!(client.decrypt(keys).bytes(&moved).wait().is_err());
    assert_eq!(client.decrypt(&next).context([("tenant", "blue")]).bytes(&moved).wait()?.plaintext, b"text");
    println!("other keys: one verified pass");
    Ok(())
}

/// Wraps data keys by keeping them: a stand-in for a service with an API of its own.
#[derive(Default)]
struct Vault(Mutex<HashMap<Vec<u8>, sealwax::SecretBytes>>);

impl Keyring for Vault {
    fn label(&self) -> Arc<str> {
        "vault".into()
    }

    fn on_encrypt<'a>(&'a self, request: WrapRequest<'a>) -> BoxFuture<'a, sealwax::Result<Wrapped>> {
        Box::pin(async move {
            let data_key = request.data_key_or_generate()?;
            let mut kept = self.0.lock().expect("nothing panics in between");
            let name = format!("key {}", kept.len()).into_bytes();
            kept.insert(name.clone(), data_key.as_bytes().to_vec().into());
            Ok(data_key.wrapped_as(EncryptedDataKey::new("vault", name, b"kept")))
        })
    }

    fn on_decrypt<'a>(&'a self, request: UnwrapRequest<'a>) -> BoxFuture<'a, sealwax::Result<Unwrapped>> {
        Box::pin(async move {
            let mut attempts = request.attempts(self.label());
            for (index, key) in request.candidates(|key| key.provider_id() == "vault") {
                let kept = self.0.lock().expect("nothing panics in between");
                let found = kept.get(key.provider_info()).map(|key| key.as_bytes().to_vec().into());
                let outcome = found.ok_or(sealwax::UnwrapReason::NoMatch);
                if let Some(unwrapped) = attempts.record(index, outcome) {
                    return Ok(unwrapped);
                }
            }
            Err(attempts.into_error())
        })
    }
}

fn a_keyring_of_our_own(client: &Client) -> Outcome {
    let (vault, backup) = (Vault::default(), RawAesKeyring::new("example", "backup", vec![3; 32])?);
    let (vault, backup) = (Arc::new(vault), Arc::new(backup));
    let both = MultiKeyring::new(vault.clone()).child(backup.clone());
    let message = client.encrypt(&both).bytes(b"text").wait()?.message;
    assert_eq!(client.decrypt(&vault).bytes(&message).wait()?.plaintext, b"text");
    assert_eq!(client.decrypt(&backup).bytes(&message).wait()?.plaintext, b"text");
    println!("a keyring of our own: beside a backup key");
    Ok(())
}

fn many_small_records(client: &Client, keys: &dyn Keyring) -> Outcome {
    // The cache can be shared by any number of managers.
    let (keyring, cache) = (DefaultMaterialsManager::new(keys), Arc::new(MemoryCache::new(100)?));
    let cache = CachingManager::builder(keyring, cache, Duration::from_secs(300)).build()?;
    let sealed: Vec<_> = (0..100)
        .map(|row| client.encrypt_with(&cache).unsigned().bytes(format!("row {row}").as_bytes()).wait())
        .collect::<Result<_, _>>()?;
    let last = client.decrypt_with(&cache).bytes(&sealed[99].message).wait()?;
    assert_eq!(last.plaintext, b"row 99");
    println!("many small records: one data key for {} of them", sealed.len());
    Ok(())
}

async fn tokio_files(client: &Client, keys: &dyn Keyring, text: &str) -> Outcome {
    let file = tempfile::NamedTempFile::new()?;
    let mut writer = client.encrypt(keys).unsigned().writer(Tokio(tokio::fs::File::create(file.path()).await?)).await?;
    tokio::io::AsyncWriteExt::write_all(&mut writer, text.as_bytes()).await?;
    writer.shutdown().await?;

    let source = Tokio(tokio::fs::File::open(file.path()).await?);
    let mut reader = client.decrypt(keys).open_async(source).await?.into_reader()?;
    let mut plaintext = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut reader, &mut plaintext).await?;
    assert_eq!(plaintext, text);
    println!("Tokio: a file");
    Ok(())
}

async fn futures_crates(client: &Client, keys: &dyn Keyring, text: &str) -> Outcome {
    let mut writer = client.encrypt(keys).unsigned().writer(Futures(Vec::new())).await?;
    futures_util::AsyncWriteExt::write_all(&mut writer, text.as_bytes()).await?;
    writer.close().await?;
    let Futures(message) = writer.into_inner();

    let mut reader = client.decrypt(keys).open_async(Futures(&message[..])).await?.into_reader()?;
    let mut plaintext = String::new();
    futures_util::AsyncReadExt::read_to_string(&mut reader, &mut plaintext).await?;
    assert_eq!(plaintext, text);
    println!("the futures crates: a writer and a reader");
    Ok(())
}

async fn streams(client: &Client, keys: &dyn Keyring, text: &str) -> Outcome {
    let body = Pieces::new(stream::iter(text.as_bytes().chunks(1000).map(io::Result::Ok)));
    let message: Vec<_> = client.encrypt(keys).unsigned().reader(body).await?.try_collect().await?;

    let body = Pieces::new(stream::iter(message.into_iter().map(io::Result::Ok)));
    let plaintext: Vec<_> = client.decrypt(keys).open_async(body).await?.into_reader()?.try_collect().await?;
    assert_eq!(plaintext.concat(), text.as_bytes());
    println!("streams: {} pieces", plaintext.len());
    Ok(())
}

/// An object in a store. A real one makes a ranged request.
struct Object(Vec<u8>);

impl GetRange for Object {
    type Bytes = Vec<u8>;

    async fn size(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    async fn get_range(&self, range: Range<u64>) -> io::Result<Vec<u8>> {
        let range = range.start as usize..range.end as usize;
        self.0.get(range).map(<[u8]>::to_vec).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

async fn objects(client: &Client, keys: &dyn Keyring, text: &str) -> Outcome {
    let unsigned = Object(client.encrypt(keys).unsigned().bytes(text.as_bytes()).await?.message);
    let ranges = client.decrypt(keys).open_remote(unsigned).await?.into_ranges().await?;
    let parts = ranges.read_ranges(&[0..4, 100_000..100_010]).await?;
    assert_eq!(parts[1], text.as_bytes()[100_000..100_010]);

    let signed = Object(client.encrypt(keys).bytes(text.as_bytes()).await?.message);
    let verified = client.decrypt(keys).open_remote(signed).await?.verify().await?;
    assert_eq!(verified.into_ranges().await?.read_range(5..9).await?, text.as_bytes()[5..9]);
    println!("objects: ranges of an unsigned and of a verified one");
    Ok(())
}
