//! Patterns that choose files of a directory.

use std::path::Path;

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::{arguments::TreeArguments, failure::Failure};

/// The patterns that files must match, and those that they must not match.
pub(super) struct Filter {
    include: Option<Gitignore>,
    exclude: Gitignore,
}

impl Filter {
    pub(super) fn new(arguments: &TreeArguments) -> Result<Self, Failure> {
        let TreeArguments { include, exclude, .. } = arguments;
        let include = if include.is_empty() { None } else { Some(patterns("--include", include)?) };
        Ok(Self { include, exclude: patterns("--exclude", exclude)? })
    }

    /// Returns whether an entry with this path, relative to the directory, is processed. Everything
    /// in a directory that is not processed is left out too.
    pub(super) fn takes(&self, path: &Path, is_directory: bool) -> bool {
        let included = |patterns: &Gitignore| patterns.matched_path_or_any_parents(path, is_directory).is_ignore();
        !self.exclude.matched(path, is_directory).is_ignore()
            && (is_directory || self.include.as_ref().is_none_or(included))
    }

    /// Returns whether only some files are processed, so that a directory may be without any.
    pub(super) fn chooses_files(&self) -> bool {
        self.include.is_some()
    }
}

fn patterns(flag: &str, patterns: &[String]) -> Result<Gitignore, Failure> {
    let mut builder = GitignoreBuilder::new("");
    for pattern in patterns {
        builder.add_line(None, pattern).map_err(|error| Failure::usage(format!("{flag} {pattern}: {error}")))?;
    }
    builder.build().map_err(|error| Failure::usage(format!("{flag}: {error}")))
}
