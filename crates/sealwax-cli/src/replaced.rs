//! Files that are replaced: the new file gets the owner, the group, the extended attributes and, on
//! Linux, the access control list of the old one. The mode is kept by [`PendingFile`].

use std::path::Path;

use sealwax::io::PendingFile;

use crate::place::Place;

#[cfg(unix)]
mod attributes;

#[cfg(unix)]
use attributes::Attributes;

/// A file that is replaced.
#[cfg(unix)]
pub(crate) struct Replaced(Attributes);

/// Nothing is kept on other systems.
#[cfg(not(unix))]
pub(crate) enum Replaced {}

#[cfg(unix)]
impl Replaced {
    /// Returns the file with this path, if there is one.
    pub(crate) fn at(path: &Path) -> Option<Self> {
        Attributes::read(rustix::fs::CWD, path, rustix::fs::OFlags::empty()).map(Self)
    }

    /// Returns the file in this place, if there is one.
    pub(crate) fn in_place(place: &Place) -> Option<Self> {
        Attributes::read(place.handle(), Path::new(&place.name), rustix::fs::OFlags::NOFOLLOW).map(Self)
    }

    /// Gives a new file what the replaced one had. Returns what is not kept, as text.
    ///
    /// If the group or the access control list is not kept, the mode gives the group no more than
    /// other users, unless another mode is set on purpose.
    pub(crate) fn give_to(&self, file: &mut PendingFile, has_own_mode: bool) -> Vec<String> {
        let (same_group, mut warnings) = self.0.give_to(file.as_file());
        if !same_group && !has_own_mode {
            file.set_mode(self.0.mode_without_group());
        }
        warnings.extend(self.0.other_names());
        warnings
    }
}

#[cfg(not(unix))]
impl Replaced {
    pub(crate) fn at(_: &Path) -> Option<Self> {
        None
    }

    pub(crate) fn in_place(_: &Place) -> Option<Self> {
        None
    }

    pub(crate) fn give_to(&self, _: &mut PendingFile, _: bool) -> Vec<String> {
        match *self {}
    }
}
