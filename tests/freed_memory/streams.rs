//! The asynchronous readers, writers and streams.

use futures_util::{StreamExt, TryStreamExt, stream};
use sealwax::{
    Client,
    crypto::RustCrypto,
    io::{Pieces, Tokio},
    keyring::RawAesKeyring,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt, sink},
    runtime::Builder,
};
use zeroize::Zeroizing;

use super::{
    cases::{Cases, SIGNED, Telling, UNSIGNED, WRAPPING_KEY, leaked, plaintext, text_and_wrapping_key},
    scanner::Kind,
};

const LENGTH: usize = 300_000;

async fn drain(mut reader: impl AsyncRead + Unpin) {
    let mut buffer = Zeroizing::new(vec![0; 10_000]);
    while reader.read(&mut buffer).await.unwrap() > 0 {}
}

async fn read_some(mut reader: impl AsyncRead + Unpin) {
    let mut buffer = Zeroizing::new([0; 1000]);
    for _ in 0..3 {
        assert!(reader.read(&mut buffer[..]).await.unwrap() > 0);
    }
}

/// Keeps all pieces of a stream forever: they belong to the caller, and hold plaintext.
async fn keep<B: 'static, E: std::fmt::Debug>(pieces: impl futures_util::Stream<Item = Result<B, E>>) {
    Vec::leak(pieces.try_collect::<Vec<B>>().await.unwrap());
}

/// Returns these bytes as a stream.
fn pieces(bytes: &'static [u8]) -> impl futures_util::Stream<Item = Result<&'static [u8], std::io::Error>> + Unpin {
    stream::iter(bytes.chunks(7777)).map(Ok)
}

#[test]
fn asynchronous_shells_leave_no_secret_in_freed_memory() {
    let mut cases = Cases::new();
    let runtime = Builder::new_current_thread().build().unwrap();
    let client = Client::builder_with_provider(Telling(RustCrypto)).build();
    let keyring = RawAesKeyring::new("example", "key-1", WRAPPING_KEY.to_vec()).unwrap();
    let text = plaintext(LENGTH);
    for suite in [UNSIGNED, SIGNED] {
        const ALL: [Kind; 4] = [Kind::Plaintext, Kind::WrappingKey, Kind::DataKey, Kind::MessageKey];
        let (mut message, mut secrets): (&[u8], _) = (&[], text_and_wrapping_key());
        let encrypt = || client.encrypt(&keyring).suite(suite);
        let decrypt = || client.decrypt(&keyring);
        secrets = cases.run(&format!("{suite:?}: write what is read"), &secrets, &ALL, || {
            message = leaked(encrypt().bytes(text).wait().unwrap().message);
        });
        let half = message.len() / 2;
        macro_rules! case {
            ($name:literal, $work:block) => {
                let name = format!("{suite:?}: {}", $name);
                cases.run(&name, &secrets, &ALL, || runtime.block_on(async { $work }));
            };
        }
        case!("encrypt reader", { drain(encrypt().reader(Tokio(text)).await.unwrap()).await });
        case!("encrypt reader, dropped half-way", { read_some(encrypt().reader(Tokio(text)).await.unwrap()).await });
        case!("encrypt writer", {
            let mut writer = encrypt().writer(Tokio(sink())).await.unwrap();
            writer.write_all(text).await.unwrap();
            writer.shutdown().await.unwrap();
        });
        case!("encrypt writer, dropped half-way", {
            let mut writer = encrypt().writer(Tokio(sink())).await.unwrap();
            writer.write_all(&text[..LENGTH / 2]).await.unwrap();
        });
        case!("encrypt stream", { keep(encrypt().reader(Pieces::new(pieces(text))).await.unwrap()).await });
        case!("encrypt stream, dropped half-way", {
            let mut stream = encrypt().reader(Pieces::new(pieces(text))).await.unwrap();
            std::mem::forget(stream.next().await.unwrap().unwrap());
        });
        case!("decrypt reader", {
            drain(decrypt().release_unverified().open_async(Tokio(message)).await.unwrap().into_reader().unwrap()).await
        });
        case!("decrypt reader, dropped half-way", {
            read_some(decrypt().release_unverified().open_async(Tokio(message)).await.unwrap().into_reader().unwrap())
                .await;
        });
        case!("decrypt writer", {
            let mut writer = decrypt().release_unverified().writer(Tokio(sink()));
            writer.write_all(message).await.unwrap();
            writer.shutdown().await.unwrap();
        });
        case!("decrypt writer, dropped half-way", {
            let mut writer = decrypt().release_unverified().writer(Tokio(sink()));
            writer.write_all(&message[..half]).await.unwrap();
        });
        case!("decrypt stream", {
            keep(
                decrypt()
                    .release_unverified()
                    .open_async(Pieces::new(pieces(message)))
                    .await
                    .unwrap()
                    .into_reader()
                    .unwrap(),
            )
            .await
        });
        case!("decrypt stream, dropped half-way", {
            let mut stream = decrypt()
                .release_unverified()
                .open_async(Pieces::new(pieces(message)))
                .await
                .unwrap()
                .into_reader()
                .unwrap();
            std::mem::forget(stream.next().await.unwrap().unwrap());
        });
    }
    assert_eq!(cases.count(), 2 * 13);
}
