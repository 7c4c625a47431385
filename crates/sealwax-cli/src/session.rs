//! What the commands of one run share.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use sealwax_kms::LocalKms;
use serde::Serialize;
use serde_json::json;

use crate::{
    arguments::{ConfigCommand, GlobalArguments, StoreArguments},
    aws::AwsKms,
    cleanup::Cleanup,
    config::Settings,
    failure::Failure,
    json::Json,
    metadata,
    notes::Notes,
    objects::{Objects, is_url},
    streams::{Input, Output, is_standard, print},
};

/// The options that apply to every command, and the key services that are already open.
pub(crate) struct Session {
    pub(crate) notes: Notes,
    pub(crate) cleanup: Cleanup,
    /// Where JSON goes, if it is requested.
    pub(crate) json: Option<Json>,
    pub(crate) settings: Settings,
    /// The location of the key store and of its root key.
    pub(crate) store: StoreArguments,
    pub(crate) aws: AwsKms,
    pub(crate) objects: Objects,
    /// The open key stores by directory. Each store is opened once, so that its passphrase is asked
    /// for and stretched once.
    open_stores: Mutex<HashMap<PathBuf, LocalKms>>,
    /// The files that keys are read from.
    key_files: Mutex<Vec<PathBuf>>,
}

impl Session {
    /// Returns the session for these options. `apply` is given the settings of the configuration
    /// file and the environment.
    pub(crate) fn new(arguments: GlobalArguments, apply: impl FnOnce(&Settings)) -> Result<Self, Failure> {
        let GlobalArguments { quiet, color: _, json, config, store, aws, objects } = arguments;
        let json = json.map(|target| {
            Json::open(&target).map_err(|error| Failure::about(&format!("--json {}", target.display()), error))
        });
        let json = json.transpose()?;
        let settings = Settings::load(&config, store.store.as_deref())?;
        apply(&settings);
        Ok(Self {
            notes: Notes::new(quiet),
            cleanup: Cleanup::default(),
            json,
            settings,
            store,
            objects: Objects::new(objects, &aws),
            aws: AwsKms::new(aws),
            open_stores: Mutex::default(),
            key_files: Mutex::default(),
        })
    }

    /// Opens a file, standard input or an object, with a progress bar on a terminal.
    pub(crate) fn input(&self, path: &Path) -> Result<Input, Failure> {
        if is_url(path) { self.objects.open(path, self.notes) } else { Input::open(path, self.notes) }
    }

    /// Creates an output for a message: a file, an object, or standard output, which must not be a
    /// terminal.
    pub(crate) fn output_for_message(&self, path: &Path, named: bool, force: bool) -> Result<Output, Failure> {
        if is_url(path) {
            return self.objects.create(path, force, &self.cleanup);
        }
        Output::create_for_message(path, named, force, &self.cleanup)
    }

    /// Creates an output for plaintext: a file or standard output.
    pub(crate) fn output(&self, path: &Path, named: bool, force: bool) -> Result<Output, Failure> {
        if is_url(path) {
            let text = "refusing to write plaintext to an object store; use -o FILE";
            return Err(Failure::usage(format!("{}: {text}", path.display())));
        }
        Output::create(path, named, force, &self.cleanup)
    }

    /// Prints a value as JSON, if that is requested, and returns whether it is.
    pub(crate) fn emit(&self, value: &impl Serialize) -> Result<bool, Failure> {
        let Some(json) = &self.json else { return Ok(false) };
        json.print(value).map_err(|error| Failure::about(&json.name(), error))?;
        Ok(true)
    }

    /// Prints as JSON that something is skipped, if JSON is requested, and returns whether it is.
    pub(crate) fn emit_skipped(&self, name: &str, reason: &str) -> Result<bool, Failure> {
        self.emit(&json!({ "skipped": name, "reason": reason }))
    }

    /// Prints a result, as JSON or as text, on standard output.
    pub(crate) fn show(&self, value: &impl Serialize, text: impl FnOnce() -> String) -> Result<(), Failure> {
        if self.emit(value)? { Ok(()) } else { print(text().as_bytes()) }
    }

    /// Fails if JSON goes to standard output and so does the output of the command, or the
    /// metadata.
    pub(crate) fn check_output<'a>(
        &self,
        outputs: impl IntoIterator<Item = &'a Path>,
        metadata: Option<&'a Path>,
    ) -> Result<(), Failure> {
        let mut outputs = outputs.into_iter().chain(metadata);
        if self.json.as_ref().is_some_and(Json::is_standard) && outputs.any(is_standard) {
            let fix = "use -o FILE, or --json=/dev/fd/3 to print the JSON elsewhere";
            return Err(Failure::usage(format!("--json prints on standard output, as does the result; {fix}")));
        }
        Ok(())
    }

    /// Fails if JSON or metadata would be written into one of the inputs and outputs.
    pub(crate) fn check_apart<'a>(
        &self,
        metadata: Option<&Path>,
        files: impl IntoIterator<Item = &'a Path>,
    ) -> Result<(), Failure> {
        let files: Vec<_> = files.into_iter().collect();
        metadata::check_apart("--metadata", metadata, files.iter().copied())?;
        // That standard output has one thing alone is checked elsewhere.
        let json = self.json.as_ref().map(Json::target).filter(|target| !is_standard(target));
        metadata::check_apart("--json", json, files).map_err(Failure::not_as_json)?;
        match self.settings.store(self.store.store.as_deref()) {
            Ok(store) => self.check_outside(metadata, &store),
            Err(_) => Ok(()),
        }
    }

    /// Fails if JSON or metadata would be written into a file in this directory.
    pub(crate) fn check_outside(&self, metadata: Option<&Path>, directory: &Path) -> Result<(), Failure> {
        metadata::check_outside("--metadata", metadata, directory)?;
        let json = self.json.as_ref().map(Json::target);
        metadata::check_outside("--json", json, directory).map_err(Failure::not_as_json)
    }

    /// Fails if JSON is requested of a command that prints none.
    pub(crate) fn refuse_json(&self) -> Result<(), Failure> {
        if self.json.is_some() { Err(Failure::usage("this command prints no JSON; omit --json")) } else { Ok(()) }
    }

    /// Runs `sealwax config`.
    pub(crate) fn show_settings(&self, command: &ConfigCommand) -> Result<(), Failure> {
        match command {
            ConfigCommand::Show => self.show(&self.settings, || self.settings.to_string()),
        }
    }

    /// Returns the directories of the open stores.
    pub(crate) fn store_directories(&self) -> Vec<PathBuf> {
        self.open_stores.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// Returns the files that keys have been read from.
    pub(crate) fn key_files(&self) -> Vec<PathBuf> {
        self.key_files.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn add_key_files(&self, files: impl IntoIterator<Item = PathBuf>) {
        self.key_files.lock().unwrap_or_else(PoisonError::into_inner).extend(files);
    }

    /// Returns the store in a directory, which `open` opens the first time.
    pub(crate) fn store_in<E>(
        &self,
        directory: PathBuf,
        open: impl FnOnce() -> Result<LocalKms, E>,
    ) -> Result<LocalKms, E> {
        let key = std::path::absolute(&directory).unwrap_or(directory);
        // Do not hold the lock while opening: a root key can be wrapped under a key of another store.
        let known = self.open_stores.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(kms) = known {
            return Ok(kms);
        }
        let kms = open()?;
        self.open_stores.lock().unwrap_or_else(PoisonError::into_inner).insert(key, kms.clone());
        Ok(kms)
    }
}
