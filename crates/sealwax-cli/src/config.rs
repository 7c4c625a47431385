//! The configuration: defaults from a TOML file and from the environment.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    fmt, fs, io,
    path::{Path, PathBuf},
};

use etcetera::BaseStrategy;
use sealwax::{AlgorithmSuite, Escaped};
use serde::{Deserialize, Serialize, Serializer, ser::SerializeStruct};
use serde_json::{Value, json};

use crate::{
    arguments::{Command, ConfigArguments, KeyArguments, MessageArguments, parse_suite},
    failure::Failure,
    uri_paths::relative_to,
};

/// The environment variables of the settings.
const CONFIG: &str = "SEALWAX_CONFIG";
const PROFILE: &str = "SEALWAX_PROFILE";
const KEY: &str = "SEALWAX_KEY";
const SUITE: &str = "SEALWAX_SUITE";
const STORE: &str = "SEALWAX_STORE";

/// The configuration file.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    /// The profile that is used if none is named.
    profile: Option<String>,
    key: Option<Keys>,
    context: Option<BTreeMap<String, String>>,
    suite: Option<Suite>,
    store: Option<PathBuf>,
    #[serde(default)]
    profiles: BTreeMap<String, Profile>,
}

/// Settings that replace those at the top of the file.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Profile {
    key: Option<Keys>,
    context: Option<BTreeMap<String, String>>,
    suite: Option<Suite>,
    store: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a key URI or a list of key URIs")]
enum Keys {
    One(String),
    Several(Vec<String>),
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Suite(AlgorithmSuite);

impl TryFrom<String> for Suite {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        parse_suite(&text).map(Self)
    }
}

/// Where the value of a setting comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    Default,
    File { profile: Option<String> },
    Environment(&'static str),
    Option(&'static str),
}

struct Setting<T> {
    value: T,
    source: Source,
}

impl<T> Setting<T> {
    fn new(value: T, source: Source) -> Self {
        Self { value, source }
    }
}

/// The values of all settings.
pub(crate) struct Settings {
    /// The configuration file, if there is one.
    file: Option<PathBuf>,
    profile: Setting<Option<String>>,
    key: Setting<Vec<String>>,
    context: Setting<BTreeMap<String, String>>,
    suite: Setting<Option<AlgorithmSuite>>,
    store: Setting<Option<PathBuf>>,
    /// The store if no option names one.
    default_store: Option<PathBuf>,
}

impl Settings {
    /// Reads the file and the environment. `store` is the value of `--store`.
    pub(crate) fn load(arguments: &ConfigArguments, store: Option<&Path>) -> Result<Self, Failure> {
        let (file, mut content) = match named_file(arguments) {
            Some(file) => (Some(file.clone()), read(&file)?),
            // A file that cannot be read is an error: its settings must not be ignored.
            None => match default_file().filter(|file| !is_missing(file)) {
                Some(file) => (Some(file.clone()), read(&file)?),
                None => (None, Content::default()),
            },
        };
        let option =
            arguments.config_profile.clone().map(|name| Setting::new(name, Source::Option("--config-profile")));
        let variable = || Ok::<_, Failure>(text(PROFILE)?.map(|name| Setting::new(name, Source::Environment(PROFILE))));
        let in_file = || content.profile.take().map(|name| Setting::new(name, Source::File { profile: None }));
        let profile = match option {
            Some(option) => Some(option),
            None => variable()?.or_else(in_file),
        };
        let chosen = match &profile {
            Some(Setting { value: name, .. }) => Some(content.profiles.remove(name).ok_or_else(|| {
                let known: Vec<_> = content.profiles.keys().map(String::as_str).collect();
                let file =
                    file.as_deref().map_or_else(|| "no configuration file".into(), |file| file.display().to_string());
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                Failure::usage(format!("{file}: there is no profile {name}; there are: {known}"))
            })?),
            None => None,
        }
        .unwrap_or_default();
        let in_profile = Source::File { profile: profile.as_ref().map(|profile| profile.value.clone()) };
        /// Returns the value of the profile, or that at the top of the file.
        fn of_file<T>(profile: Option<T>, in_profile: &Source, top: Option<T>) -> Option<Setting<T>> {
            let of_profile = profile.map(|value| Setting::new(value, in_profile.clone()));
            of_profile.or_else(|| top.map(|value| Setting::new(value, Source::File { profile: None })))
        }

        // Relative paths in the file are relative to its directory.
        let beside = file.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
        let key = match text(KEY)? {
            Some(uri) => Setting::new(vec![uri], Source::Environment(KEY)),
            None => match of_file(chosen.key, &in_profile, content.key) {
                Some(Setting { value, source }) => {
                    let uris = match value {
                        Keys::One(uri) => vec![uri],
                        Keys::Several(uris) => uris,
                    };
                    Setting::new(uris.iter().map(|uri| relative_to(uri, beside)).collect(), source)
                }
                None => Setting::new(Vec::new(), Source::Default),
            },
        };
        let context = of_file(chosen.context, &in_profile, content.context)
            .unwrap_or_else(|| Setting::new(BTreeMap::new(), Source::Default));
        if let Some(name) = context.value.keys().find(|name| name.contains('=')) {
            let file = file.clone().unwrap_or_default();
            return Err(Failure::usage(format!("{}: context key {name} contains =; remove it", file.display())));
        }
        let suite = match text(SUITE)? {
            Some(suite) => {
                let suite = parse_suite(&suite).map_err(|error| Failure::usage(format!("{SUITE}: {error}")))?;
                Setting::new(Some(suite), Source::Environment(SUITE))
            }
            None => match of_file(chosen.suite, &in_profile, content.suite) {
                Some(Setting { value: Suite(suite), source }) => Setting::new(Some(suite), source),
                None => Setting::new(None, Source::Default),
            },
        };
        let default_store = match variable_of(STORE) {
            Some(path) => Setting::new(Some(path.into()), Source::Environment(STORE)),
            None => match of_file(chosen.store, &in_profile, content.store) {
                Some(Setting { value, source }) => Setting::new(Some(beside.join(value)), source),
                None => Setting::new(None, Source::Default),
            },
        };
        let without_option = default_store.value.clone();
        let store = match store {
            Some(path) => Setting::new(Some(path.to_owned()), Source::Option("--store")),
            None => default_store,
        };
        let profile = match profile {
            Some(Setting { value, source }) => Setting::new(Some(value), source),
            None => Setting::new(None, Source::Default),
        };
        Ok(Self { file, profile, key, context, suite, store, default_store: without_option })
    }

    /// Sets what the command line leaves open.
    pub(crate) fn apply(&self, command: &mut Command) {
        match command {
            Command::Encrypt(arguments) => {
                self.apply_keys(&mut arguments.keys, true);
                self.apply_suite(&mut arguments.message);
            }
            Command::Decrypt(arguments) => self.apply_keys(&mut arguments.keys, true),
            Command::Cp(arguments) => self.apply_keys(&mut arguments.keys, true),
            Command::Sync(arguments) => self.apply_keys(&mut arguments.keys, true),
            Command::Verify(arguments) => self.apply_keys(&mut arguments.keys, true),
            Command::Reencrypt(arguments) => {
                // By default the context of the old message is kept.
                self.apply_keys(&mut arguments.keys, false);
                self.apply_suite(&mut arguments.message);
            }
            _ => {}
        }
    }

    fn apply_keys(&self, arguments: &mut KeyArguments, with_context: bool) {
        if arguments.keys.is_empty() {
            arguments.keys.clone_from(&self.key.value);
        }
        if with_context && arguments.context.is_empty() {
            arguments.context = self.context.value.iter().map(|(key, value)| format!("{key}={value}")).collect();
        }
    }

    fn apply_suite(&self, arguments: &mut MessageArguments) {
        arguments.suite = arguments.suite.or(self.suite.value);
    }

    /// Returns the directory of the key store. `option` is the value of `--store`.
    pub(crate) fn store(&self, option: Option<&Path>) -> Result<PathBuf, Failure> {
        match option.or(self.default_store.as_deref()) {
            Some(directory) => Ok(directory.to_owned()),
            None => {
                let fix = format!("use --store or {STORE} to name the directory of the key store");
                let strategy = etcetera::choose_base_strategy();
                let strategy = strategy.map_err(|error| Failure::usage(format!("{error}; {fix}")))?;
                Ok(strategy.data_dir().join("sealwax").join("keys"))
            }
        }
    }

    /// Returns each setting: its name, its value, and where that comes from.
    fn rows(&self) -> [(&'static str, Value, &Source); 5] {
        let suite = self.suite.value.unwrap_or(AlgorithmSuite::Aes256GcmHkdfSha512CommitKeyEcdsaP384);
        let store = self.store.value.clone().map_or_else(|| self.store(None).ok(), Some);
        [
            ("profile", json!(self.profile.value), &self.profile.source),
            ("key", json!(self.key.value), &self.key.source),
            ("context", json!(self.context.value), &self.context.source),
            ("suite", json!(format!("{:#06x}", suite.id())), &self.suite.source),
            ("store", json!(store.map(|path| path.display().to_string())), &self.store.source),
        ]
    }

    fn file(&self) -> Option<String> {
        self.file.as_ref().map(|file| file.display().to_string())
    }
}

/// Returns the file that the command line or the environment names.
fn named_file(arguments: &ConfigArguments) -> Option<PathBuf> {
    arguments.config.clone().or_else(|| variable_of(CONFIG).map(Into::into))
}

/// Returns the file that is read if none is named and it exists.
fn default_file() -> Option<PathBuf> {
    Some(etcetera::choose_base_strategy().ok()?.config_dir().join("sealwax").join("config.toml"))
}

fn is_missing(file: &Path) -> bool {
    fs::symlink_metadata(file).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

fn variable_of(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

fn text(name: &str) -> Result<Option<String>, Failure> {
    let value = variable_of(name).map(OsString::into_string).transpose();
    value.map_err(|_| Failure::usage(format!("{name}: the value is not UTF-8")))
}

fn read(path: &Path) -> Result<Content, Failure> {
    let name = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => Failure::usage(format!("{name}: not a configuration file; it is not UTF-8")),
        _ => Failure::about(&name, error),
    })?;
    toml::from_str(&text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        Failure::usage(format!("{name}, line {line}: {}", error.message()))
    })
}

impl Serialize for Settings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let setting = |(name, value, source): (&'static str, Value, &Source)| {
            let (source, from) = match source {
                Source::Default => ("default", None),
                Source::File { .. } => ("file", self.file()),
                Source::Environment(name) => ("environment", Some((*name).to_owned())),
                Source::Option(name) => ("option", Some((*name).to_owned())),
            };
            json!({ "name": name, "value": value, "source": source, "from": from })
        };
        let mut object = serializer.serialize_struct("Settings", 2)?;
        object.serialize_field("file", &self.file())?;
        object.serialize_field("settings", &self.rows().map(setting))?;
        object.end()
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "file     {}", self.file().map_or_else(|| "none".to_owned(), |file| Escaped(&file).to_string()))?;
        for (name, value, source) in self.rows() {
            let value = match value {
                Value::Null => "none".to_owned(),
                Value::String(text) => text,
                Value::Array(list) if list.is_empty() => "none".to_owned(),
                Value::Array(list) => list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
                Value::Object(pairs) if pairs.is_empty() => "none".to_owned(),
                Value::Object(pairs) => {
                    let pair =
                        |(key, value): (&String, &Value)| format!("{key}={}", value.as_str().unwrap_or_default());
                    pairs.iter().map(pair).collect::<Vec<_>>().join(" ")
                }
                other => other.to_string(),
            };
            let source = match source {
                Source::Default => "default".to_owned(),
                Source::File { profile: None } => "file".to_owned(),
                Source::File { profile: Some(profile) } => format!("file, profile {profile}"),
                Source::Environment(name) => format!("environment, {name}"),
                Source::Option(name) => format!("option, {name}"),
            };
            writeln!(f, "{name:8} {} ({})", Escaped(&value), Escaped(&source))?;
        }
        Ok(())
    }
}
