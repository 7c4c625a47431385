//! Writing objects.

use std::{
    collections::VecDeque,
    io::{self, Write},
    mem,
};

use object_store::{Error, MultipartUpload, ObjectStoreExt, PutMode, PutOptions, PutPayload, Result, UpdateVersion};
use tokio::{runtime::Handle, task::JoinHandle};

use super::{download::Version, error::convert, object::Object};
use crate::streams;

/// The length of a part. A shorter object is written in a single request.
const PART: usize = 8 << 20;
/// The number of parts in flight.
const IN_FLIGHT: usize = 3;
/// The number of parts after which they become twice as long: services allow 10,000.
const STEP: usize = 1500;

/// What is done with an object that exists.
#[derive(Clone, Debug)]
pub(crate) enum Mode {
    Keep,
    Replace,
    /// Replaces this version, and no other.
    Update(Version),
}

/// An object that appears when it is complete. What is not committed is aborted.
pub(super) struct Upload {
    runtime: Handle,
    object: Object,
    mode: Mode,
    part: Vec<u8>,
    multipart: Option<Box<dyn MultipartUpload>>,
    /// The parts in flight, in order.
    parts: VecDeque<JoinHandle<Result<()>>>,
    count: usize,
}

impl Upload {
    pub(super) fn new(runtime: &Handle, object: Object, mode: Mode) -> Result<Self> {
        let (runtime, part, parts) = (runtime.clone(), Vec::new(), VecDeque::new());
        let upload = Self { runtime, object, mode, part, multipart: None, parts, count: 0 };
        // Fails early, before anything is encrypted.
        if matches!(upload.mode, Mode::Keep) {
            upload.runtime.block_on(upload.check())?;
        }
        Ok(upload)
    }

    /// Fails if the object that exists must not be replaced.
    async fn check(&self) -> Result<()> {
        let path = self.object.path.to_string();
        match (&self.mode, self.object.store.head(&self.object.path).await) {
            (Mode::Replace, _) | (Mode::Keep, Err(Error::NotFound { .. })) => Ok(()),
            (Mode::Keep, Ok(_)) => Err(Error::AlreadyExists { path, source: "it exists".into() }),
            (Mode::Update(version), Ok(meta)) if Version::from(&meta) == *version => Ok(()),
            (Mode::Update(_), Ok(_) | Err(Error::NotFound { .. })) => {
                Err(Error::Precondition { path, source: "it was replaced".into() })
            }
            (_, Err(error)) => Err(error),
        }
    }

    fn part_length(&self) -> usize {
        PART << (self.count / STEP)
    }

    /// Sends the part that is full, and waits for an earlier one if there are too many.
    fn send(&mut self) -> Result<()> {
        let multipart = match &mut self.multipart {
            Some(multipart) => multipart,
            None => {
                let started = self.runtime.block_on(self.object.store.put_multipart(&self.object.path))?;
                self.multipart.insert(started)
            }
        };
        let part = multipart.put_part(PutPayload::from(mem::take(&mut self.part)));
        self.parts.push_back(self.runtime.spawn(part));
        self.count += 1;
        while self.parts.len() >= IN_FLIGHT {
            self.wait()?;
        }
        Ok(())
    }

    /// Waits for the first part in flight.
    fn wait(&mut self) -> Result<()> {
        let Some(part) = self.parts.pop_front() else { return Ok(()) };
        let done = self.runtime.block_on(part);
        done.map_err(|error| Error::Generic { store: "object", source: error.into() })?
    }

    fn complete(&mut self) -> Result<()> {
        if self.multipart.is_none() {
            let payload = PutPayload::from(mem::take(&mut self.part));
            return self.runtime.block_on(self.put(payload));
        }
        if !self.part.is_empty() {
            self.send()?;
        }
        while !self.parts.is_empty() {
            self.wait()?;
        }
        // A multipart upload has no condition of its own.
        self.runtime.block_on(self.check())?;
        if let Some(multipart) = &mut self.multipart {
            self.runtime.block_on(multipart.complete())?;
        }
        self.multipart = None;
        Ok(())
    }

    /// Writes the object in one conditional request, or in two where a store has no conditions.
    async fn put(&self, payload: PutPayload) -> Result<()> {
        let mode = match &self.mode {
            Mode::Keep => PutMode::Create,
            Mode::Replace => PutMode::Overwrite,
            Mode::Update(Version { e_tag, version, .. }) => {
                PutMode::Update(UpdateVersion { e_tag: e_tag.clone(), version: version.clone() })
            }
        };
        let (store, path) = (&self.object.store, &self.object.path);
        match store.put_opts(path, payload.clone(), PutOptions::from(mode)).await {
            Err(Error::NotImplemented { .. } | Error::NotSupported { .. }) => {
                self.check().await?;
                store.put(path, payload).await.map(drop)
            }
            outcome => outcome.map(drop),
        }
    }
}

impl Write for Upload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.part_length();
        if self.part.len() == length {
            self.send().map_err(|error| io::Error::other(convert(&error)))?;
            return self.write(bytes);
        }
        let taken = &bytes[..bytes.len().min(length - self.part.len())];
        self.part.extend_from_slice(taken);
        Ok(taken.len())
    }

    /// Does nothing: a part is sent when it is full.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl streams::Upload for Upload {
    fn commit(mut self: Box<Self>) -> io::Result<()> {
        self.complete().map_err(|error| convert(&error))
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.parts.iter().for_each(JoinHandle::abort);
        if let Some(mut multipart) = self.multipart.take() {
            let parts = mem::take(&mut self.parts);
            self.runtime.block_on(async {
                // A part that arrives after the abort would stay.
                for part in parts {
                    let _ = part.await;
                }
                // What led here is what is reported.
                let _ = multipart.abort().await;
            });
        }
    }
}
