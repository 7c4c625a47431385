//! Reads a part of a long message without the rest of it, as a player does with a video or a
//! database with a page.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Seek, SeekFrom, Write},
};

use sealwax::{AlgorithmSuite, Client, crypto::CryptoProvider, crypto::RustCrypto, keyring::RawAesKeyring};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let keyring = RawAesKeyring::new("example", "archive", RustCrypto.random_key(32)?)?;
    let client = Client::new();
    let mut file = tempfile::NamedTempFile::new()?;

    // A log of a million lines of 32 bytes. The suite is unsigned: a signature covers the whole
    // message only.
    let unsigned = AlgorithmSuite::Aes256GcmHkdfSha512CommitKey;
    let mut writer = client.encrypt(&keyring).suite(unsigned).frame_length(16 * 1024).writer(&mut file).wait()?;
    for line in 0..1_000_000 {
        writeln!(writer, "line {line:>10} of the log, etc.")?;
    }
    writer.finish()?;

    // Reads only the header and the final frame, which give the length of the message.
    let mut reader = client.decrypt(&keyring).open_at(File::open(file.path())?)?.into_ranges()?;
    let line_length = reader.len() / 1_000_000;
    let range = 500_000 * line_length..500_001 * line_length;
    println!("line 500000 is in the bytes {:?} of the file", reader.plan(range.clone()));
    print!("{}", String::from_utf8(reader.read_range(range)?)?);

    // The reader can also seek.
    reader.seek(SeekFrom::End(-3 * i64::try_from(line_length)?))?;
    for line in BufReader::new(reader).lines() {
        println!("{}", line?);
    }

    // A signed message is first verified as a whole. Later reads return what was verified, or an
    // error.
    let signed = client.encrypt(&keyring).bytes(b"some signed text").wait()?.message;
    let mut text = String::new();
    client.decrypt(&keyring).open_at(signed)?.verify()?.into_reader()?.read_to_string(&mut text)?;
    println!("{text}");
    Ok(())
}
