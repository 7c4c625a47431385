//! Aliases, which are names that can move from one key to another.

use super::{
    LocalKms, LocalKmsError,
    audit::Event,
    keys::{Alias, alias_name},
    record::Contents,
};

type Result<T, E = LocalKmsError> = std::result::Result<T, E>;

impl LocalKms {
    /// Creates an alias for a key. The prefix `alias/` can be omitted.
    ///
    /// # Errors
    /// As for [`describe_key`](Self::describe_key); [`LocalKmsError::AliasExists`];
    /// [`LocalKmsError::PendingDeletion`]; [`LocalKmsError::InvalidRequest`] if the name has
    /// characters other than letters, digits, `/`, `_` and `-`, or more than 256 bytes.
    pub fn create_alias(&self, alias: &str, name: &str) -> Result<Alias> {
        self.point_alias("CreateAlias", alias, name, |contents, alias| match contents.aliases.get(alias) {
            Some(_) => Err(LocalKmsError::AliasExists { alias: alias.to_owned() }),
            None => Ok(()),
        })
    }

    /// Points an alias to another key.
    ///
    /// # Errors
    /// As for [`create_alias`](Self::create_alias), except that an alias that does not exist gives
    /// [`LocalKmsError::NotFound`].
    pub fn update_alias(&self, alias: &str, name: &str) -> Result<Alias> {
        self.point_alias("UpdateAlias", alias, name, |contents, alias| match contents.aliases.get(alias) {
            Some(_) => Ok(()),
            None => Err(LocalKmsError::NotFound { name: alias.to_owned() }),
        })
    }

    fn point_alias(
        &self,
        operation: &'static str,
        alias: &str,
        name: &str,
        check: impl FnOnce(&Contents, &str) -> Result<()>,
    ) -> Result<Alias> {
        self.store.session()?.change(Event::new(operation).key(name), |contents, _, _, event| {
            let alias = alias_name(alias)?;
            event.alias = Some(alias.clone());
            check(contents, &alias)?;
            let key = contents.resolve(name)?;
            key.not_pending()?;
            let key_id = key.id.clone();
            event.key_id = Some(key_id.clone());
            contents.aliases.insert(alias.clone(), key_id.clone());
            Ok(Alias { name: alias, key_id })
        })
    }

    /// Deletes an alias. The key stays.
    ///
    /// # Errors
    /// [`LocalKmsError::NotFound`]; as for [`create_key`](Self::create_key).
    pub fn delete_alias(&self, alias: &str) -> Result<()> {
        self.store.session()?.change(Event::new("DeleteAlias"), |contents, _, _, event| {
            let alias = alias_name(alias)?;
            event.alias = Some(alias.clone());
            event.key_id = contents.aliases.remove(&alias);
            if event.key_id.is_some() { Ok(()) } else { Err(LocalKmsError::NotFound { name: alias }) }
        })
    }

    /// Returns all aliases, sorted by name.
    ///
    /// # Errors
    /// As for [`create_key`](Self::create_key).
    pub fn list_aliases(&self) -> Result<Vec<Alias>> {
        let mut session = self.store.session()?;
        let aliases = session.loaded.contents.aliases.iter();
        let aliases = aliases.map(|(name, key_id)| Alias { name: name.clone(), key_id: key_id.clone() }).collect();
        session.answer(Event::new("ListAliases"), Ok(aliases))
    }
}
