//! The structure of the project: imports follow the layers, and the default features stay small.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The layers, lowest first. A module may import only from lower layers and from itself.
const LAYERS: [&[&str]; 10] = [
    &["error", "secret", "context", "suite", "limits", "text"],
    &["crypto", "blocking"],
    &["format"],
    &["keyring"],
    &["local_kms"],
    &["materials"],
    &["message"],
    &["io"],
    &["client"],
    &["conformance"],
];

fn layer(module: &str) -> usize {
    LAYERS
        .iter()
        .position(|modules| modules.contains(&module))
        .unwrap_or_else(|| panic!("the module {module} has no place in the layers"))
}

/// Returns the modules that a source names after `crate::`, ignoring comments.
fn imports(source: &str) -> BTreeSet<String> {
    let code: String =
        source.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join(" ");
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        // `crate::{a::b, c::{d, e}}` names a and c, the first names at the outermost level of the
        // braces.
        let (mut depth, mut name, mut fresh) = (0, String::new(), true);
        for letter in rest.chars() {
            match letter {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => fresh = true,
                letter if letter.is_alphanumeric() || letter == '_' => {
                    if fresh && depth <= 1 {
                        name.push(letter);
                    }
                    continue;
                }
                _ => {}
            }
            if !name.is_empty() {
                found.insert(std::mem::take(&mut name));
                fresh = false;
            }
            if depth == 0 {
                break;
            }
        }
        found.extend((!name.is_empty()).then_some(name));
    }
    found
}

fn check(folder: &Path, module: Option<&str>, checked: &mut usize) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let name = module.unwrap_or(stem);
        if path.is_dir() {
            if name != "bin" {
                check(&path, Some(name), checked);
            }
        } else if name != "lib" {
            for import in imports(&fs::read_to_string(&path).unwrap()) {
                let allowed =
                    import == name || layer(&import) < layer(name) || (layer(name) == 0 && layer(&import) == 0);
                assert!(allowed, "{} imports {import}, which is no lower layer", path.display());
                *checked += 1;
            }
        }
    }
}

#[test]
fn imports_follow_the_layers() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut checked = 0;
    check(&source, None, &mut checked);
    assert!(checked > 60, "only {checked} imports were seen");
}

#[test]
fn the_check_of_imports_sees_nested_ones() {
    let source =
        "use crate::{\n    a::{b, c::d}, // not::this\n    e,\n};\nlet x = crate::f::g();\n//! crate::h\nuse crate::i;";
    assert!(imports(source).iter().eq(["a", "e", "f", "i"]));
}

/// Returns the packages that a program which depends on this crate is built with.
fn packages(features: &[&str]) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--edges", "normal", "--prefix", "none", "--no-dedupe", "--format", "{p}"])
        .args(features)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .filter_map(|line| line.split(' ').next())
        .filter(|name| *name != "sealwax")
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_default_features_stay_light() {
    let packages = packages(&[]);
    assert!((20..=60).contains(&packages.len()), "{} packages: {packages:?}", packages.len());
    for heavy in ["tokio", "async-std", "smol", "futures", "hyper", "reqwest", "ureq", "rustls", "openssl-sys", "clap"]
    {
        assert!(!packages.iter().any(|name| name == heavy), "{heavy}");
    }
    assert!(!packages.iter().any(|name| name.starts_with("aws-")), "{packages:?}");
}

/// Returns the text of all sources in a directory and below it.
fn sources(folder: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            text.push_str(&sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&fs::read_to_string(path).unwrap());
        }
    }
    text
}

/// Returns the sources in a directory and below it that contain this text.
fn sources_with(folder: &Path, text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources_with(&path, text));
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && fs::read_to_string(&path).unwrap().contains(text)
        {
            found.push(path);
        }
    }
    found
}

#[test]
fn only_the_test_with_an_allocator_may_have_unsafe_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // Concatenated, because this file is among those that are searched.
    let lint = concat!("(unsafe", "_code)");
    for crate_root in ["src/lib.rs", "src/bin/sealwax/main.rs"] {
        let forbids = format!("#![forbid{lint}]");
        let source = fs::read_to_string(root.join(crate_root)).unwrap();
        assert!(source.lines().any(|line| line == forbids), "{crate_root} does not forbid unsafe code");
    }
    // All other crates of the package get the lint from the manifest, and an attribute could lower
    // it.
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    assert!(manifest.contains("\n[lints.rust]\nunsafe_code = \"deny\"\n"));
    let others = ["examples", "benches", "tests"].map(|folder| sources_with(&root.join(folder), lint)).concat();
    assert_eq!(others, [root.join("tests/freed_memory.rs")]);
}

#[test]
fn every_attack_test_is_where_the_list_says() {
    // SECURITY.md names the tests behind its claims; if a name does not exist, the claim is
    // untested.
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let claims = fs::read_to_string(root.join("SECURITY.md")).unwrap();
    let tests = [sources(&root.join("tests")), sources(&root.join("src/message"))].concat();
    let named: Vec<_> = claims.split('`').filter(|word| word.starts_with("attack_")).collect();
    assert!(named.len() > 15, "SECURITY.md names {} tests", named.len());
    for name in named {
        assert!(tests.contains(&format!("fn {name}(")), "SECURITY.md names {name}, which is no test");
    }
}
