//! The stores of a run.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    ops::Range,
    path::Path as FilePath,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    thread,
};

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use sealwax::{Decrypt, EncryptionContext, materials::MaterialsManager};
use sealwax_object_store::{Binding, Messages};
use tokio::runtime::{Builder, Handle};

use super::{
    connect::Place,
    download::{Download, Version, first},
    error::failure,
    object::{Listed, Object, parse},
    ranges::{self, Ranges, ReadRange},
    upload::{Mode, Upload},
    url::split,
};
use crate::{
    arguments::{AwsArguments, Bind, ObjectArguments},
    cleanup::Cleanup,
    failure::Failure,
    notes::Notes,
    streams::{Input, Output},
};

/// The stores of a run, and what their objects are bound to.
pub(crate) struct Objects {
    bind: Bind,
    store_name: Option<String>,
    header_length: u32,
    place: Place,
    connected: Mutex<BTreeMap<String, Arc<dyn ObjectStore>>>,
    runtime: OnceLock<Option<Handle>>,
}

impl Objects {
    pub(crate) fn new(arguments: ObjectArguments, aws: &AwsArguments) -> Self {
        let ObjectArguments { endpoint_url, bind, store_name, header_length } = arguments;
        let place = Place {
            endpoint: endpoint_url,
            region: aws.region.clone(),
            #[cfg(feature = "aws")]
            profile: aws.profile.clone(),
        };
        let (connected, runtime) = (Mutex::default(), OnceLock::new());
        Self { bind, store_name, header_length, place, connected, runtime }
    }

    /// Returns the form of the messages of objects.
    pub(crate) fn messages(&self) -> Result<Messages, Failure> {
        let binding = match self.bind {
            Bind::Path => Binding::Path,
            Bind::Store if self.store_name.is_none() => {
                return Err(Failure::usage("--bind store needs the name of the store; use --store-name"));
            }
            Bind::Store => Binding::Store,
            Bind::None => Binding::None,
        };
        Ok(Messages::new(binding, self.store_name.as_deref())?.header_length(self.header_length))
    }

    /// Returns the pairs that an object is bound with.
    pub(crate) fn context(&self, object: &Object) -> Result<EncryptionContext, Failure> {
        Ok(self.messages()?.context(object.path()))
    }

    /// Returns a manager for the messages of objects.
    pub(crate) fn manager(&self, inner: Box<dyn MaterialsManager>) -> Result<Box<dyn MaterialsManager>, Failure> {
        Ok(Box::new(self.messages()?.manager(inner)?))
    }

    /// Returns a handle to Tokio. A dedicated thread drives it.
    fn runtime(&self) -> Result<&Handle, Failure> {
        let start = || {
            let runtime = Builder::new_current_thread().enable_all().build().ok()?;
            let handle = runtime.handle().clone();
            let drive = move || runtime.block_on(std::future::pending::<()>());
            thread::Builder::new().name("objects".to_owned()).spawn(drive).ok()?;
            Some(handle)
        };
        let handle = self.runtime.get_or_init(start).as_ref();
        handle.ok_or_else(|| Failure::other("cannot start the thread for object stores"))
    }

    /// Returns what a URL names: an object, or with an empty path a whole store.
    pub(crate) fn prefix(&self, url: &FilePath) -> Result<Object, Failure> {
        let name = url.display().to_string();
        let refuse = |why: &str| Failure::usage(format!("{name}: {why}"));
        let (scheme, rest) = split(url).ok_or_else(|| refuse("not the URL of an object"))?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        match (scheme, authority) {
            ("file", "") => {}
            ("file", _) => return Err(refuse("use file:///PATH, with an absolute path")),
            (_, "") => return Err(refuse("there is no bucket or host")),
            _ => {}
        }
        let path = parse(&name, path.strip_suffix('/').unwrap_or(path))?;
        let base = format!("{scheme}://{authority}/");
        let mut connected = self.connected.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = connected.get(&base) {
            return Ok(Object::new(store.clone(), path, base));
        }
        let store = self.place.connect(scheme, authority, self.runtime()?).map_err(|error| failure(&name, &error))?;
        connected.insert(base.clone(), store.clone());
        Ok(Object::new(store, path, base))
    }

    /// Returns the object that a URL names.
    pub(crate) fn object(&self, url: &FilePath) -> Result<Object, Failure> {
        let object = self.prefix(url)?;
        if object.path.is_root() || url.as_os_str().as_encoded_bytes().ends_with(b"/") {
            return Err(Failure::usage(format!("{}: names no object; add its path", url.display())));
        }
        Ok(object)
    }

    /// Opens the object of a URL.
    pub(crate) fn open(&self, url: &FilePath, notes: Notes) -> Result<Input, Failure> {
        Ok(self.open_version(&self.object(url)?, notes)?.0)
    }

    /// Opens an object, and returns what identifies its content.
    pub(crate) fn open_version(&self, object: &Object, notes: Notes) -> Result<(Input, Version), Failure> {
        let name = object.name();
        let fail = |error| failure(&name, &error);
        let download = Download::open(self.runtime()?, object.clone()).map_err(fail)?;
        let (version, bound) = (download.version().clone(), self.context(object)?);
        Ok((Input::of_object(name, Box::new(download), version.size, bound, notes), version))
    }

    /// Creates the object of a URL.
    pub(crate) fn create(&self, url: &FilePath, force: bool, cleanup: &Cleanup) -> Result<Output, Failure> {
        self.create_object(&self.object(url)?, if force { Mode::Replace } else { Mode::Keep }, cleanup)
    }

    /// Creates an object.
    pub(crate) fn create_object(&self, object: &Object, mode: Mode, cleanup: &Cleanup) -> Result<Output, Failure> {
        let (name, runtime) = (object.name(), self.runtime()?);
        let bound = self.context(object)?;
        let upload = cleanup.guard(|| {
            let upload = Upload::new(runtime, object.clone(), mode);
            upload.map(|upload| Box::new(upload) as Box<dyn crate::streams::Upload>)
        });
        let upload = upload.map_err(|error| failure(&name, &error))?;
        Ok(Output::of_object(name, upload, bound))
    }

    /// Lists all objects below a path.
    pub(crate) fn list(&self, prefix: &Object) -> Result<Vec<Listed>, Failure> {
        let path = (!prefix.path.is_root()).then_some(&prefix.path);
        let listing = prefix.store.list(path).try_collect();
        let found: Vec<ObjectMeta> =
            self.runtime()?.block_on(listing).map_err(|error| failure(&prefix.name(), &error))?;
        let mut found: Vec<_> = found.into_iter().map(|meta| prefix.listed(meta)).collect();
        found.sort_by(|one, other| one.object.path.cmp(&other.object.path));
        Ok(found)
    }

    /// Lists all objects below a path, or the object with this path.
    pub(crate) fn list_or_one(&self, prefix: &Object) -> Result<Vec<Listed>, Failure> {
        let mut found = self.list(prefix)?;
        if found.is_empty() {
            found.extend(self.head(prefix)?);
        }
        Ok(found)
    }

    /// Lists the objects directly below a path, and the paths with objects below them.
    pub(crate) fn list_level(&self, prefix: &Object) -> Result<(Vec<Object>, Vec<Listed>), Failure> {
        let path = (!prefix.path.is_root()).then_some(&prefix.path);
        let found = self.runtime()?.block_on(prefix.store.list_with_delimiter(path));
        let found = found.map_err(|error| failure(&prefix.name(), &error))?;
        let paths = found.common_prefixes.into_iter().map(|path| prefix.at(path));
        let mut listed: Vec<_> = found.objects.into_iter().map(|meta| prefix.listed(meta)).collect();
        let paths: Vec<_> = paths.collect();
        if paths.is_empty() && listed.is_empty() {
            listed.extend(self.head(prefix)?);
        }
        Ok((paths, listed))
    }

    /// Returns the object of a path, if there is one. Fails if there is none and it has a path.
    fn head(&self, object: &Object) -> Result<Option<Listed>, Failure> {
        if object.path.is_root() {
            return Ok(None);
        }
        let meta = self.runtime()?.block_on(object.store.head(&object.path));
        meta.map(|meta| Some(object.listed(meta))).map_err(|error| failure(&object.name(), &error))
    }

    /// Reads the first bytes of an object. Returns them with the length of the object.
    pub(crate) fn begin(&self, object: &Object, length: u64) -> Result<(Bytes, u64), Failure> {
        let begin = self.runtime()?.block_on(first(object, length));
        begin.map(|(version, bytes)| (bytes, version.size)).map_err(|error| failure(&object.name(), &error))
    }

    /// Opens the object of a URL, and an output that replaces it if it is still the same.
    pub(crate) fn in_place(&self, url: &FilePath, notes: Notes, cleanup: &Cleanup) -> Result<(Input, Output), Failure> {
        let object = self.object(url)?;
        let (input, version) = self.open_version(&object, notes)?;
        Ok((input, self.create_object(&object, Mode::Update(version), cleanup)?))
    }

    /// Deletes an object.
    pub(crate) fn delete(&self, object: &Object) -> Result<(), Failure> {
        let deleted = self.runtime()?.block_on(object.store.delete(&object.path));
        deleted.map_err(|error| failure(&object.name(), &error))
    }

    /// Copies a range of the plaintext of the object of a URL, which `find` makes of the length of
    /// all.
    pub(crate) fn copy_range(
        &self,
        object: &Object,
        decrypt: Decrypt<'_>,
        unverified: bool,
        find: impl FnOnce(u64) -> io::Result<Range<u64>>,
        output: &mut impl Write,
    ) -> Result<sealwax::Result<ReadRange>, Failure> {
        let source = Ranges::new(object.clone(), self.header_length.into());
        Ok(self.runtime()?.block_on(ranges::copy(source, decrypt, unverified, find, output)))
    }
}
