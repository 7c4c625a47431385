//! What a file keeps when it is replaced: owner, group, mode, extended attributes and access
//! control list.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        process::CommandExt,
    },
};

use crate::{
    place::{Place, code, json_lines, stderr},
    support,
};

const ACCESS_LIST: &str = "system.posix_acl_access";

/// Returns an access control list as the kernel stores it: the owner reads and writes, user 4242
/// reads, the group nothing, and others nothing.
fn access_list() -> Vec<u8> {
    let entry =
        |tag: u16, bits: u16, id: u32| [&tag.to_le_bytes()[..], &bits.to_le_bytes(), &id.to_le_bytes()].concat();
    let none = u32::MAX;
    [
        2_u32.to_le_bytes().to_vec(),
        entry(1, 6, none),
        entry(2, 4, 4242),
        entry(4, 0, none),
        entry(16, 4, none),
        entry(32, 0, none),
    ]
    .concat()
}

fn is_root(place: &Place) -> bool {
    fs::metadata(place.directory.path()).unwrap().uid() == 0
}

/// Runs each command that replaces a file, after `prepare`, and then `check`.
fn each_replacement(prepare: impl Fn(&Place, &str), check: impl Fn(&Place, &str, &std::process::Output)) {
    for way in 0..5 {
        let place = Place::new();
        let key = place.key.as_str();
        fs::create_dir(place.path("in")).unwrap();
        place.write("in/plain", b"text");
        place.ok(&["encrypt", "-r", "-k", key, "in", "-o", "out"]);
        let (target, command): (_, &[&str]) = match way {
            0 => ("out/plain.sealed", &["reencrypt", "-k", key, "out/plain.sealed"]),
            1 => ("out/plain.sealed", &["encrypt", "-f", "-k", key, "in/plain", "-o", "out/plain.sealed"]),
            2 => ("out/plain.sealed", &["encrypt", "-r", "-f", "-k", key, "in", "-o", "out"]),
            3 => ("out/plain.sealed", &["reencrypt", "-r", "-k", key, "out"]),
            _ => ("in/plain", &["decrypt", "-r", "-f", "-k", key, "out", "-o", "in"]),
        };
        prepare(&place, target);
        let before = fs::metadata(place.path(target)).unwrap().ino();
        let output = place.run(command);
        assert_eq!(code(&output), 0, "{command:?}: {}", stderr(&output));
        assert_ne!(fs::metadata(place.path(target)).unwrap().ino(), before, "{command:?} has replaced nothing");
        check(&place, target, &output);
    }
}

#[test]
fn owner_group_and_mode_are_kept() {
    let ids = |place: &Place| {
        if is_root(place) {
            (4711, 4712)
        } else {
            (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw())
        }
    };
    each_replacement(
        |place, target| {
            let (owner, group) = ids(place);
            chown(place.path(target), Some(owner), Some(group)).unwrap();
            fs::set_permissions(place.path(target), fs::Permissions::from_mode(0o4754)).unwrap();
        },
        |place, target, output| {
            let found = fs::metadata(place.path(target)).unwrap();
            assert_eq!((found.uid(), found.gid()), ids(place), "{target}");
            assert_eq!(found.mode() & 0o7777, 0o754, "bits that change the user are dropped");
            assert!(!stderr(output).contains("warning"), "{}", stderr(output));
        },
    );
}

#[test]
fn extended_attributes_and_access_control_lists_are_kept() {
    let probe = Place::new();
    probe.write("probe", b"");
    let supported = |name: &str, value: &[u8]| xattr::set(probe.path("probe"), name, value).is_ok();
    if !supported("user.sealwax", b"x") || !supported(ACCESS_LIST, &access_list()) {
        support::skip("SEALWAX_REQUIRE_XATTR", "the file system has no extended attributes");
        return;
    }
    each_replacement(
        |place, target| {
            xattr::set(place.path(target), "user.sealwax", b"a value").unwrap();
            xattr::set(place.path(target), ACCESS_LIST, &access_list()).unwrap();
        },
        |place, target, output| {
            let get = |name| xattr::get(place.path(target), name).unwrap();
            assert_eq!(get("user.sealwax").as_deref(), Some(&b"a value"[..]), "{target}");
            assert_eq!(get(ACCESS_LIST), Some(access_list()), "{target}");
            assert_eq!(fs::metadata(place.path(target)).unwrap().mode() & 0o777, 0o640);
            assert!(!stderr(output).contains("warning"), "{}", stderr(output));
        },
    );
    // A list that the directory gives to new files is not that of the old file.
    each_replacement(
        |place, target| {
            let path = place.path(target);
            let list = access_list();
            xattr::set(path.parent().unwrap(), "system.posix_acl_default", &list).unwrap();
        },
        |place, target, _| {
            assert_eq!(xattr::get(place.path(target), ACCESS_LIST).unwrap(), None, "{target}");
        },
    );
}

#[test]
fn a_hard_link_is_said() {
    each_replacement(
        |place, target| fs::hard_link(place.path(target), place.path("other name")).unwrap(),
        |place, target, output| {
            let warning = format!(
                "sealwax: warning: {target}: the file had another name (a hard link), which keeps the old content\n"
            );
            assert!(stderr(output).contains(&warning), "{}", stderr(output));
            assert_eq!(fs::metadata(place.path("other name")).unwrap().nlink(), 1);
        },
    );
    let place = Place::new();
    place.write("plain", b"text");
    place.ok(&["encrypt", "-k", &place.key, "plain"]);
    for name in ["b", "c"] {
        fs::hard_link(place.path("plain.sealed"), place.path(name)).unwrap();
    }
    let output = place.run(&["reencrypt", "--json", "-k", &place.key, "plain.sealed"]);
    let lines = json_lines(&output.stdout);
    let warning = "the file had 2 other names (hard links), which keep the old content";
    assert_eq!((lines.len(), &lines[0]["warnings"]), (1, &serde_json::json!([warning])));
}

/// A user who may write to the directory replaces a file of another user.
#[test]
fn what_is_not_kept_is_said_and_gives_the_group_nothing() {
    let place = Place::new();
    if !is_root(&place) {
        support::skip("SEALWAX_REQUIRE_ROOT", "only root can make a file of another user");
        return;
    }
    let key = place.key.as_str();
    place.write("plain", b"text");
    place.ok(&["encrypt", "-k", key, "plain"]);
    let set_mode = |name: &str, mode| fs::set_permissions(place.path(name), fs::Permissions::from_mode(mode)).unwrap();
    set_mode(".", 0o777);
    set_mode("main.key", 0o644);
    for (mode, expected) in [(0o664, 0o644), (0o640, 0o600)] {
        chown(place.path("plain.sealed"), Some(0), Some(0)).unwrap();
        set_mode("plain.sealed", mode);
        let mut command = place.command(&["encrypt", "-f", "-k", key, "plain"]);
        let output = command.uid(4711).gid(4712).output().unwrap();
        let text = stderr(&output);
        assert_eq!(code(&output), 0, "{text}");
        assert!(text.contains("sealwax: warning: plain.sealed: the owner 0 is not kept: "), "{text}");
        assert!(text.contains("sealwax: warning: plain.sealed: the group 0 is not kept: "), "{text}");
        let found = fs::metadata(place.path("plain.sealed")).unwrap();
        assert_eq!((found.uid(), found.gid(), found.mode() & 0o777), (4711, 4712, expected));
    }
    // It cannot be read, so that its attributes are not known.
    chown(place.path("plain.sealed"), Some(0), Some(0)).unwrap();
    set_mode("plain.sealed", 0o060);
    let output = place.command(&["encrypt", "-f", "-k", key, "plain"]).uid(4711).gid(4712).output().unwrap();
    let text = stderr(&output);
    assert!(code(&output) == 0 && text.contains("the extended attributes are not kept: "), "{text}");
    assert_eq!(fs::metadata(place.path("plain.sealed")).unwrap().mode() & 0o777, 0);
}
