//! Which module imports from which, read from the sources of a crate.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// The path of a module within its crate; that of the crate itself is empty.
pub(crate) type ModulePath = Vec<String>;

/// The modules of a crate.
pub(crate) struct Crate {
    modules: BTreeMap<ModulePath, Module>,
}

struct Module {
    code: String,
    /// The submodules, without those for tests.
    children: BTreeSet<String>,
    /// The names that the module imports from its submodules, with these submodules. Others reach
    /// an item of a submodule under such a name.
    reexports: BTreeMap<String, String>,
}

/// An import by one module from another, neither of which contains the other: the module that both
/// are in, and the two submodules of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Import {
    pub(crate) within: ModulePath,
    pub(crate) from: String,
    pub(crate) to: String,
}

impl Crate {
    /// Reads the crate whose root is in this directory.
    pub(crate) fn read(folder: &Path) -> Self {
        let root = ["lib.rs", "main.rs"].map(|name| folder.join(name)).into_iter().find(|path| path.exists());
        let mut found = Self { modules: BTreeMap::new() };
        found.add(Vec::new(), &root.expect("a root"), folder);
        found
    }

    /// Adds the module in a file; its submodules are in the directory.
    fn add(&mut self, path: ModulePath, file: &Path, folder: &Path) {
        let code = code(&fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display())));
        let children = children(&code);
        for child in &children {
            let (mut own, mut below) = (folder.join(format!("{child}.rs")), folder.join(child));
            // A path is relative to the directory of the file that has it.
            if let Some(given) = given_path(&code, child) {
                own = file.with_file_name(given);
                below = own.parent().expect("a directory").to_owned();
            }
            let file = if own.exists() { own } else { below.join("mod.rs") };
            self.add([path.clone(), vec![child.clone()]].concat(), &file, &below);
        }
        let mut reexports = BTreeMap::new();
        for import in paths(&code, "use ") {
            let import = import.strip_prefix(&["self".to_owned()]).unwrap_or(&import);
            if let [first, .., last] = import
                && children.contains(first)
            {
                reexports.insert(last.clone(), first.clone());
            }
        }
        self.modules.insert(path, Module { code, children, reexports });
    }

    /// Returns the submodules of a module.
    pub(crate) fn children(&self, path: &[String]) -> &BTreeSet<String> {
        &self.modules[path].children
    }

    /// Returns all imports, with how often there is each.
    pub(crate) fn imports(&self) -> BTreeMap<Import, usize> {
        let mut found = BTreeMap::new();
        for (from, module) in &self.modules {
            let absolute = paths(&module.code, "crate::").into_iter();
            let relative = paths(&module.code, "super::").into_iter().map(|path| relative_to(from, path));
            for path in absolute.chain(relative) {
                let to = self.module_of(&path);
                let shared = from.iter().zip(&to).take_while(|(one, other)| one == other).count();
                if let (Some(one), Some(other)) = (from.get(shared), to.get(shared)) {
                    let import = Import { within: from[..shared].to_vec(), from: one.clone(), to: other.clone() };
                    *found.entry(import).or_insert(0) += 1;
                }
            }
        }
        found
    }

    /// Returns the module that an absolute path leads into, through reexports.
    fn module_of(&self, path: &[String]) -> ModulePath {
        let mut at = ModulePath::new();
        for name in path {
            let module = &self.modules[&at];
            if module.children.contains(name) {
                at.push(name.clone());
            } else if let Some(child) = module.reexports.get(name) {
                at.push(child.clone());
                break;
            } else {
                break;
            }
        }
        at
    }
}

/// Makes a path that came after `super::` in a module absolute.
fn relative_to(from: &[String], path: ModulePath) -> ModulePath {
    let more = path.iter().take_while(|name| *name == "super").count();
    let base = from.len().saturating_sub(1 + more);
    [&from[..base], &path[more..]].concat()
}

/// Returns a source without comments and without its unit tests, which are at its end.
fn code(source: &str) -> String {
    let source = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let source = source.split("#[cfg(all(test").next().unwrap_or_default();
    source.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// Returns the submodules that a source declares, without those for tests.
fn children(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut before = "";
    for line in code.lines() {
        let words: Vec<_> = line.trim_end_matches(';').split(' ').collect();
        if let ["mod", name] | ["pub", "mod", name] | ["pub(crate)", "mod", name] = words[..]
            && line.ends_with(';')
            && before != "#[cfg(test)]"
        {
            found.insert(name.to_owned());
        }
        before = line;
    }
    found
}

/// Returns the path of a submodule's file, if its declaration gives one.
fn given_path<'a>(code: &'a str, child: &str) -> Option<&'a str> {
    let before = code.split(&format!("\nmod {child};")).next()?.lines().next_back()?;
    before.strip_prefix("#[path = \"")?.strip_suffix("\"]")
}

/// Returns every path that comes after this prefix, such as `crate::`; a group in braces gives several.
pub(crate) fn paths(code: &str, prefix: &str) -> Vec<ModulePath> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices(prefix) {
        let before = code[..at].chars().next_back();
        let starts = |before: char| !before.is_alphanumeric() && !"_:$".contains(before);
        // `super::super::` is one path.
        if before.is_none_or(starts) {
            tree(&mut code[at + prefix.len()..].chars().peekable(), &[], &mut found);
        }
    }
    found
}

/// Parses a path or a group of paths, each of which continues `start`.
fn tree(rest: &mut std::iter::Peekable<std::str::Chars<'_>>, start: &[String], found: &mut Vec<ModulePath>) {
    let mut path = start.to_vec();
    loop {
        let name: String =
            std::iter::from_fn(|| rest.next_if(|letter| letter.is_alphanumeric() || *letter == '_')).collect();
        if !name.is_empty() {
            path.push(name);
        } else if rest.next_if_eq(&'{').is_some() {
            loop {
                while rest.next_if(|letter| letter.is_whitespace() || *letter == ',').is_some() {}
                if rest.peek().is_none_or(|letter| *letter == '}') {
                    rest.next();
                    return;
                }
                let count = found.len();
                tree(rest, &path, found);
                // Skip ` as NAME`, and whatever else is no path.
                while rest.next_if(|letter| ![',', '}'].contains(letter)).is_some() {}
                assert!(found.len() > count, "a group without names");
            }
        } else {
            rest.next_if_eq(&'*');
            break;
        }
        if !(rest.next_if_eq(&':').is_some() && rest.next_if_eq(&':').is_some()) {
            break;
        }
    }
    found.push(path);
}
