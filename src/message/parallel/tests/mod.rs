//! Tests with small batches, which make every boundary cheap to reach. Several threads must read
//! and write the same bytes, and report the same errors, as one thread.

mod bench;
mod steady;

use std::{
    collections::BTreeSet,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant},
};

use bench::{Bench, Feed, SIGNED, UNSIGNED, drive, small};
use proptest::{
    collection::vec,
    prelude::{Just, ProptestConfig, any},
    prop_assert_eq, proptest,
    strategy::Strategy,
};
use steady::{Fault, Steady, name};

use super::Plan;
use crate::{
    error::{Error, Result},
    format::MAX_FRAMES,
    message::{Decryptor, Encryptor, seal_all},
    suite::AlgorithmSuite,
};

fn text(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 131 / 7) as u8).collect()
}

fn said<T>(outcome: &Result<T>) -> String {
    outcome.as_ref().err().map_or("done".into(), |error| format!("{error:?}"))
}

/// Returns lengths on both sides of every boundary of the first batches.
fn lengths(frame_length: usize) -> Vec<usize> {
    let frames = (300 / (frame_length + 32)).max(1);
    let batch = frames * frame_length;
    let mut lengths = vec![0, 1, 17 * batch + frame_length / 2];
    for batches in 1..6 {
        for frames in [0, 1] {
            let boundary = batches * batch + frames * frame_length;
            lengths.extend([boundary - 1, boundary, boundary + 1]);
        }
    }
    lengths
}

#[test]
fn the_bytes_are_those_of_one_thread() {
    for suite in AlgorithmSuite::ALL {
        for frame_length in [1, 16, 100, 500] {
            let bench = Bench::new(suite, frame_length);
            for (index, length) in lengths(frame_length as usize).into_iter().enumerate() {
                let plaintext = text(length);
                let message = bench.seal(&plaintext, Plan::default()).unwrap();
                let threads = 2 + index % 7;
                let (plan, what) = (small(threads), format!("{suite:?} {frame_length} {length} {threads}"));
                assert!(bench.seal(&plaintext, plan).unwrap() == message, "{what}");
                assert!(bench.open(&message, plan).unwrap() == plaintext, "{what}");
                for feed in [Feed::Push(vec![length.max(1)]), Feed::Read(vec![1000]), Feed::Push(vec![1, 50, 7])] {
                    let provider = Steady::new();
                    let (sealed, end) = drive(bench.encryptor(&provider, plan), &plaintext, feed.clone());
                    assert!(end.is_ok() && sealed == message, "{what} {feed:?}");
                    let (opened, end) = bench.read(&provider, &message, plan, feed.clone());
                    assert!(end.is_ok() && opened == plaintext, "{what} {feed:?}: {end:?}");
                    provider.is_alone();
                }
            }
        }
    }
}

fn feeds() -> impl Strategy<Value = Feed> {
    let sizes = vec(1_usize..700, 1..8);
    (sizes, any::<bool>()).prop_map(|(sizes, push)| if push { Feed::Push(sizes) } else { Feed::Read(sizes) })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_split_gives_the_same(
        length in 0_usize..6000,
        frame_length in 1_u32..400,
        threads in 1_usize..9,
        suite in proptest::sample::select(vec![UNSIGNED, SIGNED]),
        (sealing, opening) in (feeds(), feeds()),
        pays_from in proptest::prop_oneof![Just(1_usize), 1_usize..5000],
    ) {
        let (bench, plaintext) = (Bench::new(suite, frame_length), text(length));
        let plan = Plan { pays_from, ..small(threads) };
        let message = bench.seal(&plaintext, Plan::default()).unwrap();
        prop_assert_eq!(&bench.seal(&plaintext, plan).unwrap(), &message);
        let (sealed, end) = drive(bench.encryptor(&Steady::new(), plan), &plaintext, sealing);
        prop_assert_eq!(end.is_ok(), true);
        prop_assert_eq!(&sealed, &message);
        let (opened, end) = bench.read(&Steady::new(), &message, plan, opening);
        prop_assert_eq!(said(&end), "done");
        prop_assert_eq!(opened, plaintext);
    }
}

/// Asserts that several threads report the same result as one thread for a message that may be
/// corrupt, and release no more plaintext.
#[track_caller]
fn agree(bench: &Bench, message: &[u8], what: &str) {
    let one = Plan::default();
    // Feed one byte at a time, so that everything that can be released is.
    let (most, end) = bench.read(&Steady::new(), message, one, Feed::Settled);
    let whole = bench.open(message, one);
    for threads in [2, 3] {
        let provider = Steady::new();
        let plan = small(threads);
        assert_eq!(said(&bench.open(message, plan)), said(&whole), "{what}: in memory");
        let mut feeds = vec![Feed::Push(vec![message.len().max(1)]), Feed::Read(vec![100, 33])];
        feeds.extend((threads == 2).then_some(Feed::Settled));
        for feed in feeds {
            let (released, spread_end) = bench.read(&provider, message, plan, feed.clone());
            assert_eq!(said(&spread_end), said(&end), "{what}: {feed:?}");
            assert!(most.starts_with(&released), "{what}: {feed:?} released more");
            assert!(!matches!(feed, Feed::Settled) || released == most, "{what}: {feed:?} released less");
            provider.is_alone();
        }
    }
}

/// Returns a message of five batches of three frames, one more regular frame, and a short final
/// frame.
fn broken(suite: AlgorithmSuite) -> (Bench, Vec<u8>, usize) {
    let bench = Bench::new(suite, 68);
    let message = bench.seal(&text(16 * 68 + 5), Plan::default()).unwrap();
    let header = bench.verified(&Steady::new(), &message).unwrap().0.header.length();
    (bench, message, header)
}

#[test]
fn every_truncation_is_refused_as_by_one_thread() {
    for suite in [UNSIGNED, SIGNED] {
        let (bench, message, header) = broken(suite);
        agree(&bench, &message, "whole");
        for length in header..message.len() {
            agree(&bench, &message[..length], &format!("{suite:?}: the first {length} bytes"));
        }
        agree(&bench, &[&message[..], b"x"].concat(), "a byte too many");
    }
}

#[test]
fn every_changed_byte_is_refused_as_by_one_thread() {
    for suite in [UNSIGNED, SIGNED] {
        let (bench, message, header) = broken(suite);
        for at in header..message.len() {
            let mut message = message.clone();
            message[at] ^= 1 << (at % 8);
            agree(&bench, &message, &format!("{suite:?}: byte {at}"));
            // Setting all bits of a sequence number turns a regular frame into a final one. Also
            // covers the bytes after the number.
            message[at] = 0xff;
            agree(&bench, &message, &format!("{suite:?}: byte {at} set"));
        }
    }
}

#[test]
fn the_first_of_two_faults_is_the_one_that_is_told() {
    let (bench, message, header) = broken(UNSIGNED);
    let frame = 68 + 32;
    for (earlier, later) in [(1, 2), (0, 9), (2, 15), (5, 6), (3, 16)] {
        let mut message = message.clone();
        // The earlier frame has a wrong tag, the later one a wrong sequence number.
        message[header + earlier * frame + 20] ^= 1;
        message[header + later * frame + 3] ^= 0x40;
        agree(&bench, &message, &format!("frames {earlier} and {later}"));
        let (_, end) = bench.read(&Steady::new(), &message, small(2), Feed::Read(vec![1000]));
        assert_eq!(said(&end), "Integrity");
    }
}

#[test]
fn frames_out_of_place_are_refused_as_by_one_thread() {
    let (bench, message, header) = broken(SIGNED);
    let frame = 68 + 32;
    let piece = |index: usize| header + index * frame..header + (index + 1) * frame;
    for index in 0..15 {
        let mut swapped = message.clone();
        swapped.copy_within(piece(index + 1), piece(index).start);
        swapped[piece(index + 1)].copy_from_slice(&message[piece(index)]);
        agree(&bench, &swapped, &format!("frames {index} and the next swapped"));
        let mut dropped = message.clone();
        dropped.drain(piece(index));
        agree(&bench, &dropped, &format!("without frame {index}"));
        let mut doubled = message.clone();
        doubled.splice(piece(index).end..piece(index).end, message[piece(index)].to_vec());
        agree(&bench, &doubled, &format!("frame {index} twice"));
    }
}

#[test]
fn an_error_in_a_worker_is_the_one_error() {
    for suite in [UNSIGNED, SIGNED] {
        let (bench, message, _) = broken(suite);
        let plaintext = text(16 * 68 + 5);
        for frame in 1..=bench.frames_of(plaintext.len()) {
            for (fault, expected) in [(Fault::Error, "a fault"), (Fault::Panic, "a worker thread panicked")] {
                let is_expected = |end: Result<()>| matches!(end, Err(Error::Provider(what)) if what == expected);
                // The first frame and the final frame are processed on the calling thread, whose
                // panics are not caught.
                if matches!(fault, Fault::Panic) && (frame == 1 || frame == bench.frames_of(plaintext.len())) {
                    continue;
                }
                let (provider, plan) = (Steady::failing(frame, fault), small(4));
                let feeds = [Feed::Push(vec![plaintext.len()]), Feed::Read(vec![1, 67])];
                for feed in feeds {
                    let what = format!("{suite:?} frame {frame} {fault:?} {feed:?}");
                    let (sealed, end) = drive(bench.encryptor(&provider, plan), &plaintext, feed.clone());
                    assert!(is_expected(end), "{what}");
                    assert!(message.starts_with(&sealed), "{what}");
                    provider.is_alone();
                    let (opened, end) = bench.read(&provider, &message, plan, feed);
                    assert!(is_expected(end), "{what}");
                    assert!(plaintext.starts_with(&opened), "{what}");
                    assert!(opened.len() <= (frame as usize - 1) * 68, "{what}: released {}", opened.len());
                    provider.is_alone();
                }
                let in_memory = [
                    seal_all(bench.start(&provider), &plaintext, plan).map(|_| ()),
                    bench.open_with(&provider, &message, plan).map(|_| ()),
                ];
                for end in in_memory {
                    assert!(is_expected(end), "{suite:?} frame {frame} {fault:?} in memory");
                }
                provider.is_alone();
            }
        }
    }
}

#[test]
fn a_panic_of_the_calling_thread_leaves_no_thread() {
    let (bench, message, _) = broken(SIGNED);
    let last = bench.frames_of(16 * 68 + 5);
    let provider = Steady::failing(last, Fault::Panic);
    let outcome = catch_unwind(AssertUnwindSafe(|| bench.read(&provider, &message, small(3), Feed::Read(vec![500])).1));
    assert!(outcome.is_err());
    provider.is_alone();
}

#[test]
fn a_fault_stops_the_rest() {
    let bench = Bench::new(UNSIGNED, 68);
    let plaintext = text(300 * 68);
    let provider = Steady::failing(7, Fault::Error);
    let end = seal_all(bench.start(&provider), &plaintext, small(2)).map(|_| ());
    assert_eq!(said(&end), "Provider(\"a fault\")");
    // The frames before the fault, and the batches that other threads had already started.
    let frames = provider.seen.frames.load(Ordering::Relaxed);
    assert!((7..60).contains(&frames), "{frames} frames were sealed");
}

#[test]
fn a_machine_that_is_dropped_half_way_leaves_no_thread() {
    for suite in [UNSIGNED, SIGNED] {
        let bench = Bench::new(suite, 68);
        let plaintext = text(400 * 68);
        let message = bench.seal(&plaintext, Plan::default()).unwrap();
        for threads in [2, 8] {
            for taken in [70, 700, 7000, 20_000] {
                // As many batches are in flight as possible, and no output is taken.
                let provider = Steady { delay: Duration::from_micros(200), ..Steady::new() };
                let mut encryptor = bench.encryptor(&provider, small(threads));
                encryptor.push(&plaintext[..taken]).unwrap();
                let start = Instant::now();
                drop(encryptor);
                assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
                provider.is_alone();

                let (verified, body) = bench.verified(&provider, &message).unwrap();
                let mut decryptor = Decryptor::new(verified).with_plan(small(threads));
                decryptor.push(&body[..taken]).unwrap();
                let start = Instant::now();
                drop(decryptor);
                assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
                provider.is_alone();
            }
        }
    }
}

#[test]
fn threads_are_started_for_long_messages_only_and_only_if_asked_for() {
    let bench = Bench::new(UNSIGNED, 4096);
    let here = BTreeSet::from([name(thread::current().id())]);
    let threads = |length: usize, threads: usize| {
        let provider = Steady { delay: Duration::from_micros(50), ..Steady::new() };
        let plan = Plan::new(threads);
        seal_all(bench.start(&provider), &text(length), plan).unwrap();
        let (_, end) = drive(bench.encryptor(&provider, plan), &text(length), Feed::Read(vec![65_536]));
        end.unwrap();
        provider.seen.threads.lock().unwrap().clone()
    };
    assert_eq!(threads(200_000, 4), here);
    assert_eq!(threads(3_000_000, 1), here);
    assert_eq!(threads(3_000_000, 0), here);
    let several = threads(3_000_000, 4);
    assert!(several.len() > 1 && several.is_superset(&here), "{several:?}");
}

/// ATTACKS, Messages 16, on several threads: the frame counter stops at 2^32 - 1.
#[test]
fn attack_16_the_frame_counter_does_not_wrap_on_several_threads() {
    let bench = Bench::new(UNSIGNED, 68);
    for (left, frames) in [(7, 8), (7, 7), (9, 30), (1, 2), (6, 6)] {
        let start = |plan| {
            let mut started = bench.start(&Steady::new());
            started.sealer.next = MAX_FRAMES - left;
            Encryptor::new(started, None).with_plan(plan)
        };
        // The final frame can have the last sequence number, so one more frame fits than there are
        // regular ones.
        let plaintext = text(frames * 68);
        let (expected, one) = drive(start(Plan::default()), &plaintext, Feed::Read(vec![100]));
        assert_eq!(one.is_ok(), frames <= left as usize + 1);
        for threads in [2, 3] {
            let (sealed, several) = drive(start(small(threads)), &plaintext, Feed::Read(vec![100]));
            assert_eq!(said(&several), said(&one), "{left} {frames}");
            assert!(one.is_err() || sealed == expected, "{left} {frames}");
        }
    }
}

#[test]
fn in_memory_there_are_no_more_threads_than_batches() {
    let bench = Bench::new(SIGNED, 68);
    for regular_frames in [0, 1, 2, 40] {
        let plaintext = text(regular_frames * 68 + 5);
        let message = bench.seal(&plaintext, Plan::default()).unwrap();
        for threads in [1000, usize::MAX] {
            let slow = || Steady { delay: Duration::from_millis(1), ..Steady::new() };
            let (sealing, opening) = (slow(), slow());
            let (_, _, sealed) = seal_all(bench.start(&sealing), &plaintext, small(threads)).unwrap();
            assert!(sealed == message);
            assert!(bench.open_with(&opening, &message, small(threads)).unwrap() == plaintext);
            for provider in [sealing, opening] {
                // Each frame is a batch. The final frame can be on one more thread.
                let worked = provider.seen.threads.lock().unwrap().len();
                assert!(worked <= regular_frames + 1, "{worked} threads for {regular_frames} frames");
                provider.is_alone();
            }
        }
    }
}

#[test]
fn frames_that_are_too_long_to_buffer_stay_on_one_thread() {
    let cut = |frame_length: usize, threads| Plan::new(threads).cut(frame_length, super::BUDGET);
    for frame_length in [1, 4096, 65_536, 1 << 20, 3 << 20] {
        for threads in [2, 4, 64] {
            let cut = cut(frame_length, threads).unwrap();
            assert!(cut.helpers < threads && cut.helpers >= 1 && cut.in_flight > cut.helpers);
            assert!(cut.in_flight * cut.frames * (frame_length + 32) * 2 <= super::BUDGET);
        }
    }
    assert!(cut(8 << 20, 8).is_none());
    assert!(cut(usize::MAX, 8).is_none());
    assert!(cut(4096, 1).is_none());
}
