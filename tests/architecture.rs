//! The structure of the project: crates and modules follow their layers, and the default features
//! stay small.

#[path = "architecture/imports.rs"]
mod imports;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use imports::Crate;

/// The layers of a module: its submodules in rows, lowest first. A submodule may import only from
/// lower rows and from its own.
type Layers = &'static [&'static [&'static str]];

/// The layers of each crate and of its modules. The submodules of a module without an entry do not
/// import from each other.
const CRATES: [(&str, &[(&str, Layers)]); 5] = [
    ("src", SEALWAX),
    ("crates/sealwax-aws/src", SEALWAX_AWS),
    ("crates/sealwax-kms/src", SEALWAX_KMS),
    ("crates/sealwax-object-store/src", SEALWAX_OBJECT_STORE),
    ("crates/sealwax-cli/src", SEALWAX_CLI),
];

const SEALWAX: &[(&str, Layers)] = &[
    (
        "",
        &[
            &["error", "secret", "context", "suite", "limits", "text"],
            &["crypto"],
            &["blocking"],
            &["format"],
            &["keyring"],
            &["materials"],
            &["message"],
            &["io"],
            &["client"],
            &["conformance"],
        ],
    ),
    ("client", &[&["encrypt"], &["decrypt", "reencrypt"]]),
    ("format", &[&["encrypted_data_key"], &["frame"], &["header"], &["aad"], &["header_decoder"]]),
    (
        "io",
        &[
            &["source"],
            &["sink"],
            &["pump"],
            &["families"],
            &["pending_file"],
            &["range"],
            &["verified"],
            &["spool"],
            &["reader"],
            &["writer"],
            &["opened"],
            &["outline"],
        ],
    ),
    ("io::range", &[&["source"], &["in_flight"], &["frames"], &["reader"], &["reader_async"]]),
    ("keyring", &[&["report"], &["pem"], &["raw_aes"], &["raw_rsa"], &["raw_ecdh"], &["kms"], &["multi"]]),
    ("keyring::kms", &[&["api", "error"], &["service"], &["service_keyring"]]),
    ("keyring::raw_ecdh", &[&["keys"], &["wrapping"]]),
    (
        "materials::cache",
        &[
            &["sync"],
            &["metrics"],
            &["lru"],
            &["usage"],
            &["flight"],
            &["identity"],
            &["memory"],
            &["values"],
            &["manager"],
        ],
    ),
    (
        "message",
        &[
            &["buffer"],
            &["key"],
            &["output"],
            &["outcome"],
            &["encrypt", "decrypt", "parallel"],
            &["encryptor"],
            &["decryptor"],
            &["random_access"],
        ],
    ),
    ("message::parallel", &[&["batch"], &["line"], &["crew"], &["sealing"], &["opening"], &["memory"]]),
];

const SEALWAX_AWS: &[(&str, Layers)] = &[
    (
        "",
        &[
            &["arn"],
            &["supplier"],
            &["hierarchy"],
            &["sdk"],
            &["candidates"],
            &["keyring"],
            &["discovery"],
            &["rsa"],
            &["ecdh"],
            &["multi"],
        ],
    ),
    (
        "hierarchy",
        &[
            &["error", "item", "storage"],
            &["kms", "derivation"],
            &["store"],
            &["identity"],
            &["wrapping"],
            &["keyring"],
            &["file"],
            &["conformance"],
        ],
    ),
    ("sdk", &[&["answer"], &["connect"], &["failure"], &["runtime"], &["regions"], &["dynamodb"]]),
];

const SEALWAX_KMS: &[(&str, Layers)] = &[
    (
        "",
        &[
            &["cost"],
            &["error"],
            &["seal"],
            &["record"],
            &["disk"],
            &["root"],
            &["audit"],
            &["verify"],
            &["keys"],
            &["file"],
            &["store"],
            &["aliases"],
            &["lifecycle"],
            &["cipher"],
            &["keyring"],
            &["backup"],
            &["builder"],
            &["server"],
        ],
    ),
    (
        "server",
        &[
            &["error"],
            &["policy"],
            &["identity"],
            &["decision"],
            &["params"],
            &["record"],
            &["log", "signature", "storage"],
            &["engine", "trail"],
            &["sts"],
            &["http"],
            &["endpoint"],
        ],
    ),
    (
        "server::engine",
        &[
            &["call"],
            &["policies", "tags"],
            &["keys", "rotation"],
            &["aliases", "cipher", "grants"],
            &["table"],
            &["maintenance"],
        ],
    ),
    ("server::policy", &[&["context"], &["pattern"], &["condition"], &["document"]]),
];

const SEALWAX_OBJECT_STORE: &[(&str, Layers)] = &[
    (
        "",
        &[
            &["binding"],
            &["cache"],
            &["layout"],
            &["padding"],
            &["messages"],
            &["s3ec"],
            &["settings"],
            &["v0_13"],
            &["v0_14"],
        ],
    ),
    (
        "s3ec",
        &[
            &["error"],
            &["rfc2047"],
            &["gcm"],
            &["cbc"],
            &["metadata"],
            &["key"],
            &["content"],
            &["digests", "decoder"],
            &["settings"],
        ],
    ),
    ("v0_13", &[&["store"]]),
    ("v0_14", &[&["store"]]),
    ("v0_13::store", STORE),
    ("v0_14::store", STORE),
    ("v0_13::store::s3ec", S3EC),
    ("v0_14::store::s3ec", S3EC),
];

/// The layers of the store of foreign objects.
const S3EC: Layers = &[&["open"], &["listing", "read"], &["builder"]];

/// The layers of the store, which is compiled once for each version of `object_store`.
const STORE: Layers = &[
    &["error"],
    &["body"],
    &["source"],
    &["plaintext"],
    &["open", "get"],
    &["list"],
    &["upload"],
    &["transfer"],
    &["s3ec"],
    &["builder"],
];

/// Every module of the tool has a row of its own, so that no two of them can import each other.
const SEALWAX_CLI: &[(&str, Layers)] = &[
    (
        "",
        &[
            &["text"],
            &["uri_paths"],
            &["notes"],
            &["json"],
            &["provider"],
            &["behind"],
            &["cleanup"],
            &["failure"],
            &["partial"],
            &["place"],
            &["metadata"],
            &["preserve"],
            &["replaced"],
            &["secrets"],
            &["streams"],
            &["comparison"],
            &["arguments"],
            &["config"],
            &["aws"],
            &["objects"],
            &["session"],
            &["operands"],
            &["key_file"],
            &["key_uri"],
            &["store"],
            &["keyring"],
            &["report"],
            &["clean"],
            &["directories"],
            &["several"],
            &["objects_below"],
            &["opening"],
            &["encrypt"],
            &["decrypt"],
            &["verify"],
            &["reencrypt"],
            &["inspect"],
            &["ls"],
            &["cp"],
            &["sync"],
            &["keygen"],
            &["keys"],
            &["branch_keys"],
            &["manual"],
            &["complete"],
        ],
    ),
    (
        "arguments",
        &[
            &["branch_keys"],
            &["config"],
            &["directories"],
            &["keys"],
            &["messages"],
            &["objects"],
            &["range"],
            &["reencrypt"],
            &["store"],
        ],
    ),
    ("directories", &[&["cache"], &["filter"], &["tree"], &["tally"]]),
    (
        "objects",
        &[
            &["url"],
            &["error"],
            &["profile"],
            &["connect"],
            &["object"],
            &["download"],
            &["upload"],
            &["ranges"],
            &["stores"],
            &["without"],
        ],
    ),
    ("sync", &[&["outcome"], &["up"], &["down"]]),
];

/// Returns the row of a submodule.
fn layer(layers: Layers, module: &str) -> Option<usize> {
    layers.iter().position(|row| row.contains(&module))
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn imports_follow_the_layers() {
    let mut checked = 0;
    for (folder, tables) in CRATES {
        let modules = Crate::read(&root().join(folder));
        for (name, layers) in tables {
            let path: Vec<_> = name.split("::").filter(|name| !name.is_empty()).map(str::to_owned).collect();
            let listed: BTreeSet<_> = layers.concat().into_iter().map(str::to_owned).collect();
            assert_eq!(
                &listed,
                modules.children(&path),
                "{folder}, {name}: the modules in the layers, and those there are"
            );
        }
        for (import, count) in modules.imports() {
            let within = import.within.join("::");
            let layers = tables.iter().find(|(name, _)| *name == within).map_or(&[][..], |(_, layers)| layers);
            let allowed =
                layer(layers, &import.to).is_some() && layer(layers, &import.to) <= layer(layers, &import.from);
            assert!(allowed, "{folder}, {within}: {} imports {}, which is no lower layer", import.from, import.to);
            checked += count;
        }
    }
    assert!(checked > 300, "only {checked} imports were seen");
}

/// A row may hold modules that import each other. In the tool no row does, and it has no state
/// outside of the values that its modules pass.
#[test]
fn the_modules_of_the_tool_form_layers_one_by_one_and_share_no_state() {
    let directory = root().join("crates/sealwax-cli/src");
    let modules = Crate::read(&directory);
    let mut checked = 0;
    for (name, layers) in SEALWAX_CLI {
        assert!(layers.iter().all(|row| row.len() == 1), "{name}: two modules in one row");
        let path: Vec<_> = name.split("::").filter(|name| !name.is_empty()).map(str::to_owned).collect();
        assert_eq!(layers.len(), modules.children(&path).len(), "{name}: the rows, and the modules there are");
        for import in modules.imports().keys().filter(|import| import.within.join("::") == *name) {
            assert!(layer(layers, &import.to) < layer(layers, &import.from), "{name}: {import:?}");
            checked += 1;
        }
    }
    assert!(checked > 60, "only {checked} imports were seen");
    for word in ["static ", "thread_local!", "LazyLock"] {
        let found = sources(&directory);
        let line =
            found.lines().map(str::trim).find(|line| line.starts_with(word) || line.contains(&format!(" {word}")));
        assert_eq!(line.filter(|line| !line.starts_with("//")), None, "state outside of a value");
    }
}

#[test]
fn the_check_of_imports_sees_nested_ones() {
    let source = "use crate::{\n    a::{b, c::d},\n    e,\n};\nlet x = crate::f::g();\nuse crate::i as j; $crate::k";
    let paths = imports::paths(source, "crate::").into_iter().map(|path| path.join("::"));
    assert!(paths.eq(["a::b", "a::c::d", "e", "f::g", "i"]));
}

/// The check follows reexports and `super`, in a crate that is written for this.
#[test]
fn the_check_of_imports_finds_the_module_behind_a_name() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    fs::create_dir(folder.path().join("high")).unwrap();
    write("lib.rs", "mod high;\nmod low;\n#[cfg(test)]\nmod faults;\npub use high::deep::Deep;\nstruct Own;\n");
    write("low.rs", "use super::{Deep, Own};\n#[cfg(test)]\nmod tests {\n    use crate::high;\n}\n");
    write("high/mod.rs", "mod deep;\nmod other;\n// crate::low\n");
    write("high/deep.rs", "use super::super::low::Low;\nuse super::other;\n");
    write("high/other.rs", "");
    let found = Crate::read(folder.path()).imports();
    let found: Vec<_> =
        found.keys().map(|import| format!("{:?} {} {}", import.within, import.from, import.to)).collect();
    assert_eq!(found, ["[] high low", "[] low high", "[\"high\"] deep other"]);
}

/// Returns the crates of this project that a crate is built on.
fn own_dependencies(manifest: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join(manifest)).unwrap();
    let section = text.split("\n[dependencies]\n").nth(1).expect("dependencies").split("\n[").next().unwrap();
    let names = section.lines().filter_map(|line| line.split(['.', ' ']).next());
    names.filter(|name| name.starts_with("sealwax")).map(str::to_owned).collect()
}

#[test]
fn the_crates_are_built_on_each_other_in_one_direction() {
    assert!(own_dependencies("Cargo.toml").is_empty());
    assert_eq!(own_dependencies("crates/sealwax-aws/Cargo.toml"), ["sealwax"]);
    assert_eq!(own_dependencies("crates/sealwax-kms/Cargo.toml"), ["sealwax"]);
    assert_eq!(own_dependencies("crates/sealwax-object-store/Cargo.toml"), ["sealwax"]);
    assert_eq!(
        own_dependencies("crates/sealwax-cli/Cargo.toml"),
        ["sealwax", "sealwax-aws", "sealwax-kms", "sealwax-object-store"]
    );
    // And the library's own tests need none of them either.
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let package = manifest.split("\n[package]\n").nth(1).expect("a package");
    let package = package.split("\n[profile.").next().unwrap_or_default();
    assert!(!package.contains("sealwax-"), "{package}");
}

/// Returns the packages that a program which depends on this crate is built with.
fn packages(features: &[&str]) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--locked",
            "--package",
            "sealwax",
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--no-dedupe",
            "--format",
            "{p}",
        ])
        .args(features)
        .current_dir(root())
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
fn only_the_tests_with_an_allocator_may_have_unsafe_code() {
    // Concatenated, because this file is among those that are searched.
    let lint = concat!("(unsafe", "_code)");
    for crate_root in [
        "src/lib.rs",
        "crates/sealwax-aws/src/lib.rs",
        "crates/sealwax-kms/src/lib.rs",
        "crates/sealwax-object-store/src/lib.rs",
        "crates/sealwax-cli/src/main.rs",
    ] {
        let forbids = format!("#![forbid{lint}]");
        let source = fs::read_to_string(root().join(crate_root)).unwrap();
        assert!(source.lines().any(|line| line == forbids), "{crate_root} does not forbid unsafe code");
    }
    // All other crates get the lint from the manifests, and an attribute could lower it.
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(manifest.contains("\n[workspace.lints.rust]\nunsafe_code = \"deny\"\n"));
    for package in ["", "crates/sealwax-aws", "crates/sealwax-kms", "crates/sealwax-object-store", "crates/sealwax-cli"]
    {
        let manifest = fs::read_to_string(root().join(package).join("Cargo.toml")).unwrap();
        assert!(manifest.contains("\n[lints]\nworkspace = true\n"), "{package} does not inherit the lints");
    }
    let folders = [
        "examples",
        "benches",
        "tests",
        "crates/sealwax-aws/tests",
        "crates/sealwax-cli/tests",
        "crates/sealwax-kms/tests",
        "crates/sealwax-object-store/benches",
        "crates/sealwax-object-store/tests",
    ];
    let mut others = folders.map(|folder| sources_with(&root().join(folder), lint)).concat();
    others.sort();
    let allowed = [
        "crates/sealwax-aws/tests/freed_memory.rs",
        "crates/sealwax-kms/tests/freed_memory.rs",
        "tests/freed_memory.rs",
        "tests/resources.rs",
    ];
    assert_eq!(others, allowed.map(|file| root().join(file)));
}

#[test]
fn every_attack_test_is_where_the_list_says() {
    // SECURITY.md names the tests behind its claims; if a name does not exist, the claim is
    // untested.
    let claims = fs::read_to_string(root().join("SECURITY.md")).unwrap();
    let tests = ["tests", "src/message", "src/io", "crates"].map(|folder| sources(&root().join(folder))).concat();
    let named: Vec<_> = claims.split('`').filter(|word| word.starts_with("attack_")).collect();
    assert!(named.len() > 15, "SECURITY.md names {} tests", named.len());
    for name in named {
        assert!(tests.contains(&format!("fn {name}(")), "SECURITY.md names {name}, which is no test");
    }
}
