//! Opening objects by their metadata.

use std::sync::Arc;

use super::{
    super::{
        super::object_store::{
            Attribute, Attributes, Error, GetOptions, GetRange, ObjectMeta, ObjectStore, Result, path::Path,
        },
        body::request,
        error::{changed, from_s3ec},
        source::{is_same, pinned},
    },
    Key, Shared,
};
use crate::s3ec::{
    Content, Digests, Envelope, MAX_INSTRUCTION_FILE, Pairs, S3EncryptionError, instruction_file,
    needs_instruction_file,
};

/// An object with its key.
#[derive(Clone)]
pub(super) struct Opened {
    pub(super) content: Arc<Content>,
    /// The metadata of the object as it is stored.
    pub(super) meta: ObjectMeta,
    /// The length of the plaintext.
    pub(super) length: u64,
    /// What the object was authenticated with, if it was.
    pub(super) digests: Option<Arc<Digests>>,
}

impl<S: ObjectStore> Shared<S> {
    /// Returns an object that was opened before, if an answer is about the same one.
    pub(super) fn known(&self, meta: &ObjectMeta, options: &GetOptions) -> Option<Arc<Opened>> {
        let opened = self.opened.get(&Key::new(&meta.location, options.version.as_ref()))?;
        is_same(&opened.meta, meta).then_some(opened)
    }

    /// Remembers an object, if its entity tag can show that it was replaced.
    pub(super) fn remember(&self, opened: &Arc<Opened>, options: &GetOptions) {
        if opened.meta.e_tag.is_some() {
            self.opened.insert(Key::new(&opened.meta.location, options.version.as_ref()), opened.clone());
        }
    }

    /// Opens the object of an answer.
    pub(super) async fn open(
        &self,
        meta: &ObjectMeta,
        attributes: &Attributes,
        options: &GetOptions,
    ) -> Result<Opened> {
        if let Some(opened) = self.known(meta, options) {
            return Ok((*opened).clone());
        }
        let envelope = self.envelope(meta, attributes, options).await?;
        self.open_envelope(meta, &envelope, options).await
    }

    async fn open_envelope(&self, meta: &ObjectMeta, envelope: &Envelope, options: &GetOptions) -> Result<Opened> {
        let content = self.settings.open(meta.location.as_ref(), envelope).await.map_err(from_s3ec)?;
        let end = match content.end(meta.size).map_err(from_s3ec)? {
            None => Vec::new(),
            Some(range) => {
                let range = GetRange::Bounded(range);
                let part = request(&self.inner, &meta.location, range, pinned(meta, options)).await?;
                if !is_same(&part.reply.meta, meta) {
                    return Err(changed(&meta.location));
                }
                part.bytes.into()
            }
        };
        let length = content.length(meta.size, end).map_err(from_s3ec)?;
        Ok(Opened { content: Arc::new(content), meta: meta.clone(), length, digests: None })
    }

    /// Returns the length of the plaintext of an object. The key is used only if the padding is
    /// needed.
    pub(super) async fn measure(
        &self,
        meta: &ObjectMeta,
        attributes: &Attributes,
        options: &GetOptions,
    ) -> Result<u64> {
        if let Some(opened) = self.known(meta, options) {
            return Ok(opened.length);
        }
        let envelope = self.envelope(meta, attributes, options).await?;
        match envelope.length(meta.size).map_err(from_s3ec)? {
            Some(length) => Ok(length),
            None => Ok(self.open_envelope(meta, &envelope, options).await?.length),
        }
    }

    /// Reads the metadata of an object, and its instruction file if it needs one.
    async fn envelope(&self, meta: &ObjectMeta, attributes: &Attributes, options: &GetOptions) -> Result<Envelope> {
        let object = pairs(attributes);
        let file = match needs_instruction_file(&object) {
            false => None,
            true => Some(self.instruction_file(&meta.location, options).await?),
        };
        Envelope::parse(&object, file.as_ref()).map_err(from_s3ec)
    }

    async fn instruction_file(&self, location: &Path, options: &GetOptions) -> Result<Pairs> {
        let path = Path::parse(format!("{location}{}", self.settings.suffix))?;
        // The caller's conditions are about the object.
        let options = GetOptions { extensions: options.extensions.clone(), ..GetOptions::default() };
        let file = request(&self.inner, &path, GetRange::Bounded(0..MAX_INSTRUCTION_FILE), options).await;
        let file = file.map_err(|error| match error {
            Error::NotFound { .. } => from_s3ec(S3EncryptionError::NotEncrypted),
            error => error,
        })?;
        if file.reply.meta.size > MAX_INSTRUCTION_FILE {
            return Err(from_s3ec(S3EncryptionError::Metadata("the instruction file is longer than 64 KiB")));
        }
        instruction_file(&file.bytes).map_err(from_s3ec)
    }
}

fn pairs(attributes: &Attributes) -> Pairs {
    let named = attributes.iter().filter_map(|(name, value)| match name {
        Attribute::Metadata(name) => Some((name.to_string(), value.to_string())),
        _ => None,
    });
    named.collect()
}
