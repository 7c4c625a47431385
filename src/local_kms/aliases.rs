//! Aliases: names for keys, which can move from one to another.

use super::{
    LocalKms, LocalKmsError,
    audit::Event,
    keys::{Alias, alias_name},
    record::Contents,
};

type Result<T, E = LocalKmsError> = std::result::Result<T, E>;

impl LocalKms {
    /// Gives a key a name. `alias/` may be left out. The type has an example.
    ///
    /// # Errors
    /// As [`describe_key`](Self::describe_key); [`LocalKmsError::AliasExists`], [`LocalKmsError::PendingDeletion`], and
    /// [`LocalKmsError::InvalidRequest`] for anything but letters, digits, `/`, `_` and `-`, or over 256 bytes.
    pub fn create_alias(&self, alias: &str, name: &str) -> Result<Alias> {
        self.point_alias("CreateAlias", alias, name, |contents, alias| match contents.aliases.get(alias) {
            Some(_) => Err(LocalKmsError::AliasExists { alias: alias.to_owned() }),
            None => Ok(()),
        })
    }

    /// Points an alias to another key.
    ///
    /// # Errors
    /// As [`create_alias`](Self::create_alias), but [`LocalKmsError::NotFound`] for an alias that does not exist.
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

    /// Takes a name away. The key stays.
    ///
    /// # Errors
    /// [`LocalKmsError::NotFound`]; as [`create_key`](Self::create_key).
    pub fn delete_alias(&self, alias: &str) -> Result<()> {
        self.store.session()?.change(Event::new("DeleteAlias"), |contents, _, _, event| {
            let alias = alias_name(alias)?;
            event.alias = Some(alias.clone());
            event.key_id = contents.aliases.remove(&alias);
            if event.key_id.is_some() { Ok(()) } else { Err(LocalKmsError::NotFound { name: alias }) }
        })
    }

    /// All aliases, in the order of their names.
    ///
    /// # Errors
    /// As [`create_key`](Self::create_key).
    pub fn list_aliases(&self) -> Result<Vec<Alias>> {
        let mut session = self.store.session()?;
        let aliases = session.loaded.contents.aliases.iter();
        let aliases = aliases.map(|(name, key_id)| Alias { name: name.clone(), key_id: key_id.clone() }).collect();
        session.answer(Event::new("ListAliases"), Ok(aliases))
    }
}
