//! The life cycle of a key: creation, rotation, disabling, and deletion after a waiting period.

use std::collections::HashMap;

use sealwax::SecretBytes;

use super::{
    LocalKms, LocalKmsError,
    audit::Event,
    keys::{KeyMetadata, WaitingPeriod, alias_name, check_description, check_rotation_days, rotate, uuid},
    record::{BackingKey, KeyRecord, Timestamp},
    seal::KEY_LENGTH,
};

type Result<T, E = LocalKmsError> = std::result::Result<T, E>;

impl LocalKms {
    /// Changes a key and returns its new metadata.
    fn change_key(
        &self,
        operation: &'static str,
        name: &str,
        change: impl FnOnce(&mut KeyRecord, &SecretBytes, Timestamp) -> Result<()>,
    ) -> Result<KeyMetadata> {
        self.store.session()?.change(Event::new(operation).key(name), |contents, root, now, event| {
            let key = contents.key_mut(name)?;
            event.key_id = Some(key.id.clone());
            change(key, root, now)?;
            Ok(contents.resolve(name)?.metadata(contents))
        })
    }

    fn new_key(
        &self,
        operation: &'static str,
        description: &str,
        material: Option<&SecretBytes>,
        alias: Option<&str>,
    ) -> Result<KeyMetadata> {
        self.store.session()?.change(Event::new(operation), |contents, root, created, event| {
            check_description(description)?;
            let id = format!("local:{}/key/{}", contents.header.store_id, uuid()?);
            event.key_id = Some(id.clone());
            let backing = BackingKey::new(root, &id, material, created).map_err(LocalKmsError::Crypto)?;
            let key = KeyRecord {
                id: id.clone(),
                description: description.to_owned(),
                created,
                imported: material.is_some(),
                enabled: true,
                deletion: None,
                rotation_days: None,
                backing: vec![backing],
            };
            if let Some(alias) = alias {
                let alias = alias_name(alias)?;
                event.alias = Some(alias.clone());
                if contents.aliases.contains_key(&alias) {
                    return Err(LocalKmsError::AliasExists { alias });
                }
                contents.aliases.insert(alias, id.clone());
            }
            let metadata = key.metadata(contents);
            contents.keys.insert(id, key);
            Ok(metadata)
        })
    }

    /// Creates a key.
    ///
    /// # Errors
    /// [`LocalKmsError::InvalidRequest`] for a description of more than 8,192 bytes or with control
    /// characters; the errors of every operation: the store is damaged, missing or locked for too
    /// long, or its directory cannot be written.
    pub fn create_key(&self, description: &str) -> Result<KeyMetadata> {
        self.new_key("CreateKey", description, None, None)
    }

    /// Creates a key and an alias for it, both or neither.
    ///
    /// # Errors
    /// As for [`create_key`](Self::create_key) and [`create_alias`](Self::create_alias).
    pub fn create_key_with_alias(&self, description: &str, alias: &str) -> Result<KeyMetadata> {
        self.new_key("CreateKey", description, None, Some(alias))
    }

    /// Creates a key from existing material, which must be 32 secret random bytes.
    ///
    /// # Errors
    /// [`LocalKmsError::InvalidRequest`] for material of another length; as for
    /// [`create_key`](Self::create_key).
    pub fn import_key(&self, material: impl Into<SecretBytes>, description: &str) -> Result<KeyMetadata> {
        self.import(&material.into(), description, None)
    }

    /// Creates a key from existing material and an alias for it, both or neither.
    ///
    /// # Errors
    /// As for [`import_key`](Self::import_key) and [`create_alias`](Self::create_alias).
    pub fn import_key_with_alias(
        &self,
        material: impl Into<SecretBytes>,
        description: &str,
        alias: &str,
    ) -> Result<KeyMetadata> {
        self.import(&material.into(), description, Some(alias))
    }

    fn import(&self, material: &SecretBytes, description: &str, alias: Option<&str>) -> Result<KeyMetadata> {
        if material.len() != KEY_LENGTH {
            return Err(LocalKmsError::InvalidRequest("key material must have 32 bytes".into()));
        }
        self.new_key("ImportKeyMaterial", description, Some(material), alias)
    }

    /// Returns the metadata of a key, named by its id, an alias, or the last part of its id. Of the
    /// last part, the first four or more characters are enough if no other key has them.
    ///
    /// # Errors
    /// [`LocalKmsError::NotFound`], [`LocalKmsError::Ambiguous`]; as for [`create_key`](Self::create_key).
    pub fn describe_key(&self, name: &str) -> Result<KeyMetadata> {
        let mut session = self.store.session()?;
        let contents = &session.loaded.contents;
        let found = contents.resolve(name).map(|key| key.metadata(contents));
        let id = found.as_ref().map_or(name, |key| &key.key_id);
        let event = Event::new("DescribeKey").key(id);
        session.answer(event, found)
    }

    /// Returns all keys in the order of their creation.
    ///
    /// # Errors
    /// As for [`create_key`](Self::create_key).
    pub fn list_keys(&self) -> Result<Vec<KeyMetadata>> {
        let mut session = self.store.session()?;
        let contents = &session.loaded.contents;
        let mut aliases: HashMap<_, Vec<_>> = HashMap::new();
        for (name, target) in &contents.aliases {
            aliases.entry(target).or_default().push(name.clone());
        }
        let keys = contents.keys.values();
        let mut keys: Vec<_> = keys.map(|key| key.metadata_with(aliases.remove(&key.id).unwrap_or_default())).collect();
        keys.sort_by_key(|key| key.created);
        session.answer(Event::new("ListKeys"), Ok(keys))
    }

    /// Changes the description of a key.
    ///
    /// # Errors
    /// As for [`create_key`](Self::create_key) and [`describe_key`](Self::describe_key);
    /// [`LocalKmsError::PendingDeletion`].
    pub fn update_key_description(&self, name: &str, description: &str) -> Result<KeyMetadata> {
        self.change_key("UpdateKeyDescription", name, |key, _, _| {
            check_description(description)?;
            key.not_pending()?;
            description.clone_into(&mut key.description);
            Ok(())
        })
    }

    /// Enables a key, so that it can be used again.
    ///
    /// # Errors
    /// As for [`describe_key`](Self::describe_key); [`LocalKmsError::PendingDeletion`].
    pub fn enable_key(&self, name: &str) -> Result<KeyMetadata> {
        self.change_key("EnableKey", name, |key, _, _| {
            key.not_pending()?;
            key.enabled = true;
            Ok(())
        })
    }

    /// Disables a key, which cannot be used until it is enabled.
    ///
    /// # Errors
    /// As for [`describe_key`](Self::describe_key); [`LocalKmsError::PendingDeletion`].
    pub fn disable_key(&self, name: &str) -> Result<KeyMetadata> {
        self.change_key("DisableKey", name, |key, _, _| {
            key.not_pending()?;
            key.enabled = false;
            Ok(())
        })
    }

    /// Rotates a key: gives it new material. Its id and aliases stay, and earlier ciphertexts can
    /// still be decrypted.
    ///
    /// # Errors
    /// As for [`describe_key`](Self::describe_key); [`LocalKmsError::Disabled`],
    /// [`LocalKmsError::PendingDeletion`].
    pub fn rotate_key(&self, name: &str) -> Result<KeyMetadata> {
        self.change_key("RotateKeyOnDemand", name, rotate)
    }

    /// Enables automatic rotation every `days` days (1 to 2,560), applied at the next encryption.
    ///
    /// # Errors
    /// As for [`rotate_key`](Self::rotate_key); [`LocalKmsError::InvalidRequest`] for another
    /// number of days.
    pub fn enable_key_rotation(&self, name: &str, days: u32) -> Result<KeyMetadata> {
        self.change_key("EnableKeyRotation", name, |key, _, _| {
            check_rotation_days(days)?;
            key.usable()?;
            key.rotation_days = Some(days);
            Ok(())
        })
    }

    /// Disables automatic rotation.
    ///
    /// # Errors
    /// As for [`rotate_key`](Self::rotate_key).
    pub fn disable_key_rotation(&self, name: &str) -> Result<KeyMetadata> {
        self.change_key("DisableKeyRotation", name, |key, _, _| {
            key.usable()?;
            key.rotation_days = None;
            Ok(())
        })
    }

    /// Schedules the deletion of a key. During the waiting period the key cannot be used, and the
    /// deletion can be cancelled.
    ///
    /// The first operation on the store after that time destroys the key and its aliases. Whatever
    /// was encrypted under it is then lost, unless there is a backup.
    ///
    /// # Errors
    /// As for [`describe_key`](Self::describe_key); [`LocalKmsError::InvalidRequest`] for an
    /// invalid period, [`LocalKmsError::PendingDeletion`] if a deletion is already scheduled.
    pub fn schedule_key_deletion(&self, name: &str, wait: WaitingPeriod) -> Result<KeyMetadata> {
        self.change_key("ScheduleKeyDeletion", name, |key, _, now| {
            key.not_pending()?;
            key.deletion = Some(now.plus(wait.duration()?));
            Ok(())
        })
    }

    /// Cancels the deletion of a key, which is disabled afterwards.
    ///
    /// # Errors
    /// As for [`describe_key`](Self::describe_key); [`LocalKmsError::InvalidState`] if no deletion
    /// is scheduled.
    pub fn cancel_key_deletion(&self, name: &str) -> Result<KeyMetadata> {
        self.change_key("CancelKeyDeletion", name, |key, _, _| {
            if key.deletion.take().is_none() {
                return Err(LocalKmsError::InvalidState { key_id: key.id.clone(), why: "is not pending deletion" });
            }
            key.enabled = false;
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use sealwax::EncryptionContext;

    use super::*;

    #[test]
    fn a_thousand_keys_are_quick() {
        let folder = tempfile::tempdir().unwrap();
        let kms = LocalKms::create(folder.path()).unwrap();
        let first = kms.create_key("one of many").unwrap().key_id;
        // In one change, so that this does not measure how fast the disk syncs.
        let many = kms.store.session().unwrap().change(Event::new("Test"), |contents, root, now, _| {
            for number in 1..1000 {
                let mut key = contents.resolve(&first)?.clone();
                key.id.truncate(first.len() - 12);
                key.id.push_str(&format!("{number:012}"));
                key.backing = vec![BackingKey::new(root, &key.id, None, now).map_err(LocalKmsError::Crypto)?];
                contents.aliases.insert(format!("alias/{number}"), key.id.clone());
                contents.keys.insert(key.id.clone(), key);
            }
            Ok(())
        });
        many.unwrap();
        let start = Instant::now();
        assert_eq!(LocalKms::open(folder.path()).unwrap().list_keys().unwrap().len(), 1000);
        let listed = start.elapsed();
        let start = Instant::now();
        kms.disable_key("999").unwrap();
        let changed = start.elapsed();
        let start = Instant::now();
        for _ in 0..1000 {
            kms.generate_data_key("500", 32, &EncryptionContext::new()).unwrap();
        }
        let generated = start.elapsed();
        println!("opened and listed in {listed:?}; a change in {changed:?}; 1,000 data keys in {generated:?}");
        // At least ten times the measured times, so that a busy machine does not fail this.
        assert!(listed < Duration::from_millis(500), "{listed:?}");
        assert!(generated < Duration::from_secs(2), "{generated:?}");
    }
}
