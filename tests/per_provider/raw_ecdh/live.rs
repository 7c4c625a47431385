//! Live exchanges with the official library.

use super::{super::support::json_peer::Peer, *};

#[test]
fn the_official_library_and_we_open_each_others_messages() {
    let Some(mut peer) = Peer::start("ecdh_peer.py") else { return };
    let start = Instant::now();
    let hello = peer.ask(&json!({"op": "hello"})).expect("a greeting");
    let file = load();
    let (mut theirs, mut ours, mut refused) = (0, 0, 0);
    for curve in EcdhCurve::ALL {
        let Named { alice, bob, carol } = Named::of(&file, curve);
        let name = curve.to_string();
        let their_static = |own: &Key, other: &Key| json!({"curve": name, "schema": "static", "private": own.private, "public": other.public});
        let their_ephemeral = json!({"curve": name, "schema": "ephemeral", "public": bob.public});
        let their_discovery = |own: &Key| json!({"curve": name, "schema": "discovery", "private": own.private});
        for (suite, context) in SUITES.into_iter().flat_map(|suite| contexts().map(|context| (suite, context))) {
            let client = client_for(suite);
            let plaintext = format!("{curve}, {suite}").into_bytes();
            let pairs: BTreeMap<_, _> = context.iter().collect();
            for (keyring, readers) in [
                (
                    their_static(alice, bob),
                    vec![between(curve, bob, alice), between(curve, alice, bob), of(curve, bob)],
                ),
                (their_ephemeral.clone(), vec![of(curve, bob)]),
            ] {
                let request = json!({
                    "op": "encrypt", "keyring": keyring, "suite": suite_name(suite), "context": pairs,
                    "plaintext": to_base64(&plaintext),
                });
                let answer = peer.ask(&request).unwrap_or_else(|error| panic!("{curve}, {suite}: {error}"));
                let message = from_base64(answer["message"].as_str().expect("a message"));
                for reader in readers {
                    let opened = client.decrypt(&reader).context(context.clone()).bytes(&message).wait();
                    assert_eq!(opened.expect("it opens").plaintext, plaintext);
                    theirs += 1;
                }
                assert!(client.decrypt(&of(curve, carol)).bytes(&message).wait().is_err());
                refused += 1;
            }
            for (keyring, readers) in [
                (
                    between(curve, alice, bob),
                    vec![their_static(bob, alice), their_static(alice, bob), their_discovery(bob)],
                ),
                (to(curve, bob), vec![their_discovery(bob)]),
            ] {
                let sealed = client.encrypt(&keyring).suite(suite).context(context.clone()).bytes(&plaintext).wait();
                let message = sealed.expect("it seals").message;
                for reader in readers {
                    assert_eq!(peer.decrypt(&reader, &message).as_deref(), Ok(&*plaintext), "{curve}, {suite}");
                    ours += 1;
                }
                assert!(peer.decrypt(&their_discovery(carol), &message).is_err());
                assert!(peer.decrypt(&their_static(carol, alice), &message).is_err());
                refused += 2;
            }
        }
    }
    say(&format!(
        "raw ECDH with {} {}: {theirs} openings of their messages, {ours} of ours, {refused} refusals, {:.1} s",
        hello["library"],
        hello["sdk"],
        start.elapsed().as_secs_f32()
    ));
    assert_eq!((theirs, ours, refused), (144, 144, 216));
}
