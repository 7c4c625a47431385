//! Every reader beside the others, on one thread and on three: of a message that is authentic all
//! give the same plaintext, and of one that is broken nothing but a prefix of it, without an end
//! that looks like one.

use std::io::{Read, Write};

use sealwax::{AlgorithmSuite, Client, io::Tokio, keyring::RawAesKeyring};
use tokio::io::AsyncReadExt;

/// Pseudo-random numbers; the same ones in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

/// What a reader released, and whether it ended well.
struct Outcome {
    reader: &'static str,
    released: Vec<u8>,
    ended: bool,
    /// Whether it must not release anything of a message that fails.
    all_or_nothing: bool,
}

/// Breaks a message behind its header: a bit, the end, or whole frames.
fn break_message(message: &mut Vec<u8>, header: usize, frame: usize, numbers: &mut Numbers) {
    let body = message.len() - header;
    let frames = body / frame;
    match numbers.below(5) {
        0 => message[header + numbers.below(body)] ^= 1 << numbers.below(8),
        1 => message.truncate(header + numbers.below(body)),
        2 if frames > 3 => {
            let at = header + numbers.below(frames - 1) * frame;
            let twice = message[at..at + frame].to_vec();
            message.splice(at..at, twice);
        }
        3 if frames > 3 => {
            let at = header + numbers.below(frames - 1) * frame;
            message.drain(at..at + frame);
        }
        _ => message.push(numbers.next() as u8),
    }
}

async fn read_in_every_way(client: &Client, keyring: &RawAesKeyring, message: &[u8], cut: usize) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    let mut add = |reader, released, ended, all_or_nothing| {
        outcomes.push(Outcome { reader, released, ended, all_or_nothing });
    };
    let decrypt = || client.decrypt(keyring);

    let opened = decrypt().bytes(message).await;
    let ended = opened.is_ok();
    add("bytes", opened.map(|opened| opened.plaintext).unwrap_or_default(), ended, true);

    let mut released = Vec::new();
    let reader = decrypt().release_unverified().open(message).and_then(|message| message.into_reader());
    let ended = reader.is_ok_and(|mut reader| reader.read_to_end(&mut released).is_ok());
    add("reader", released, ended, false);

    let mut released = Vec::new();
    let ended =
        match decrypt().release_unverified().open_async(Tokio(message)).await.and_then(|message| message.into_reader())
        {
            Ok(mut reader) => reader.read_to_end(&mut released).await.is_ok(),
            Err(_) => false,
        };
    add("tokio reader", released, ended, false);

    let mut released = Vec::new();
    let mut writer = decrypt().release_unverified().writer(&mut released);
    let taken = message.chunks(cut).all(|piece| writer.write_all(piece).is_ok());
    let ended = taken && writer.finish().is_ok();
    add("writer", released, ended, false);

    let mut released = Vec::new();
    let ended = decrypt()
        .open_at(message)
        .and_then(|message| message.verify())
        .and_then(|message| message.copy_to(&mut released))
        .is_ok();
    add("verified copy", released, ended, true);

    let mut released = Vec::new();
    let reader =
        decrypt().open_at(message).and_then(|message| message.verify()).and_then(|message| message.into_reader());
    let ended = reader.is_ok_and(|mut reader| reader.read_to_end(&mut released).is_ok());
    add("verified reader", released, ended, true);

    let mut released = Vec::new();
    let ended = decrypt().open(message).and_then(|message| message.copy_to(&mut released)).is_ok();
    add("copy", released, ended, false);

    let ranges =
        decrypt().open_at(message).and_then(|message| message.verify()).and_then(|message| message.into_ranges());
    let ended = ranges.is_ok();
    let released = ranges.map(|reader| {
        let middle = cut as u64 % (reader.len() + 1);
        let mut all = reader.read_range(0..middle).unwrap();
        all.extend(reader.read_range(middle..u64::MAX).unwrap());
        all
    });
    add("verified ranges", released.unwrap_or_default(), ended, true);
    outcomes
}

#[tokio::test]
async fn every_reader_gives_the_same_of_authentic_and_of_broken_messages() {
    let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32]).unwrap();
    let (one, three) = (Client::new(), Client::builder().threads(3).build());
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let (mut whole, mut refused) = (0, 0);
    for round in 0..150 {
        let suite = match round % 2 {
            0 => AlgorithmSuite::Aes256GcmHkdfSha512CommitKey,
            _ => AlgorithmSuite::Aes256GcmHkdfSha512CommitKeyEcdsaP384,
        };
        let frame_length = [1_u32, 7, 4096, 70_000][numbers.below(4)];
        let most =
            [20_000, 80_000, 900_000, 900_000][[1, 7, 4096, 70_000].iter().position(|f| *f == frame_length).unwrap()];
        let mut length = numbers.below(most);
        if numbers.below(3) == 0 {
            length -= length % frame_length as usize;
        }
        let text: Vec<u8> = (0..length).map(|at| (at * 7 % 251) as u8).collect();
        let sealed = one.encrypt(&keyring).suite(suite).frame_length(frame_length).bytes(&text).await.unwrap();
        let (mut message, header) = (sealed.message, sealed.header.length());
        let broken = numbers.below(4) != 0;
        if broken {
            break_message(&mut message, header, frame_length as usize + 32, &mut numbers);
            refused += 1;
        } else {
            whole += 1;
        }
        let cut = 1 + numbers.below(9000);
        for (threads, client) in [(1, &one), (3, &three)] {
            for Outcome { reader, released, ended, all_or_nothing } in
                read_in_every_way(client, &keyring, &message, cut).await
            {
                let what = format!("round {round}, {reader}, {threads} threads, {suite}, frames of {frame_length}");
                assert!(text.starts_with(&released), "{what}: released something else");
                assert_eq!(ended, !broken, "{what}");
                if ended {
                    assert_eq!(released.len(), text.len(), "{what}");
                } else if all_or_nothing || reader == "copy" && suite.is_signed() {
                    assert!(released.is_empty(), "{what}: released {} bytes", released.len());
                } else if suite.is_signed() {
                    assert!(released.len() < text.len().max(1), "{what}: released all of it");
                }
            }
        }
        // Any range of a broken message that is returned is right.
        if let Ok(reader) =
            one.decrypt(&keyring).release_unverified().open_at(&message[..]).and_then(|message| message.into_ranges())
        {
            for _ in 0..6 {
                let start = numbers.next() % (reader.len() + 1);
                if let Ok(part) = reader.read_range(start..start + numbers.next() % 9000) {
                    assert!(text[start as usize..].starts_with(&part), "round {round}: another range");
                }
            }
        }
    }
    assert!(whole > 20 && refused > 80, "{whole} whole, {refused} broken");
}
