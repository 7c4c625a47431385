//! Owner, group and extended attributes. On Linux, an access control list is such an attribute.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs::{File, Metadata},
    io,
    os::{
        fd::AsFd,
        unix::fs::{MetadataExt, PermissionsExt, fchown},
    },
    path::Path,
};

use rustix::fs::{Mode, OFlags, openat};
use xattr::FileExt;

/// The attribute that is the access control list, on Linux.
const ACCESS_LIST: &str = "system.posix_acl_access";

/// What is known of a file.
pub(super) struct Attributes {
    found: Metadata,
    /// The extended attributes, or the error if they cannot be read.
    extended: io::Result<BTreeMap<OsString, Vec<u8>>>,
}

impl Attributes {
    /// Reads those of a regular file.
    pub(super) fn read(directory: impl AsFd, path: &Path, flags: OFlags) -> Option<Self> {
        let directory = directory.as_fd();
        let flags = flags | OFlags::NOCTTY | OFlags::CLOEXEC;
        let open = |more| openat(directory, path, flags | more, Mode::empty()).map(File::from);
        let (file, readable) = match open(OFlags::RDONLY | OFlags::NONBLOCK) {
            Ok(file) => (file, Ok(())),
            // A file that may be replaced need not be readable.
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Err(error) => (open(OFlags::PATH).ok()?, Err(error.into())),
            #[cfg(not(any(target_os = "linux", target_os = "android")))]
            Err(_) => return None,
        };
        let found = file.metadata().ok().filter(Metadata::is_file)?;
        Some(Self { found, extended: readable.and_then(|()| extended(&file)) })
    }

    /// Gives them to another file. Returns whether the permission bits of its group mean the same,
    /// and what is not kept.
    pub(super) fn give_to(&self, file: &File) -> (bool, Vec<String>) {
        let (mut same_group, mut warnings) = (true, Vec::new());
        let now = file.metadata();
        let (owner, group) = (self.found.uid(), self.found.gid());
        if now.as_ref().map_or(true, |now| now.gid() != group)
            && let Err(error) = fchown(file, None, Some(group))
        {
            same_group = false;
            warnings.push(format!("the group {group} is not kept: {error}"));
        }
        match &self.extended {
            Ok(attributes) => {
                for (name, error) in give_extended(attributes, file) {
                    // With a list, the bits of the group are the most that any entry of the list
                    // gives.
                    same_group &= name != ACCESS_LIST;
                    warnings.push(format!("the extended attribute {} is not kept: {error}", name.display()));
                }
            }
            Err(error) => {
                same_group = false;
                warnings.push(format!("the extended attributes are not kept: {error}"));
            }
        }
        // The owner comes last: what is given away cannot be changed any more.
        if now.map_or(true, |now| now.uid() != owner)
            && let Err(error) = fchown(file, Some(owner), None)
        {
            warnings.push(format!("the owner {owner} is not kept: {error}"));
        }
        (same_group, warnings)
    }

    /// Returns the permission bits, with no more for the group than for others.
    pub(super) fn mode_without_group(&self) -> u32 {
        let mode = self.found.permissions().mode();
        mode & 0o707 | mode & 0o070 & (mode << 3)
    }

    /// Returns a warning if the file has other names.
    pub(super) fn other_names(&self) -> Option<String> {
        match self.found.nlink() {
            0 | 1 => None,
            2 => Some("the file had another name (a hard link), which keeps the old content".to_owned()),
            names => Some(format!("the file had {} other names (hard links), which keep the old content", names - 1)),
        }
    }
}

/// Returns the extended attributes of a file, without those that describe its content or give
/// rights to a program.
fn extended(file: &File) -> io::Result<BTreeMap<OsString, Vec<u8>>> {
    let names = match file.list_xattr() {
        Ok(names) => names,
        // The file system has none.
        Err(error) if matches!(error.kind(), io::ErrorKind::Unsupported) => return Ok(BTreeMap::new()),
        Err(error) => return Err(error),
    };
    let mut attributes = BTreeMap::new();
    for name in names.filter(|name| !is_of_content(name)) {
        if let Some(value) = file.get_xattr(&name)? {
            attributes.insert(name, value);
        }
    }
    Ok(attributes)
}

fn is_of_content(name: &OsStr) -> bool {
    ["security.capability", "security.evm", "security.ima"].iter().any(|other| name == *other)
}

/// Gives a file exactly these attributes, and returns those that fail.
fn give_extended(attributes: &BTreeMap<OsString, Vec<u8>>, file: &File) -> Vec<(OsString, io::Error)> {
    // A new file can have inherited an access control list from its directory.
    let now = extended(file).unwrap_or_default();
    let removed = now.keys().filter(|name| !attributes.contains_key(*name));
    let removed = removed.map(|name| (name.clone(), file.remove_xattr(name)));
    let changed = attributes.iter().filter(|(name, value)| now.get(*name) != Some(value));
    let changed = changed.map(|(name, value)| (name.clone(), file.set_xattr(name, value)));
    removed.chain(changed).filter_map(|(name, outcome)| Some((name, outcome.err()?))).collect()
}
