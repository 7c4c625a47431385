//! Keys: their states and their names.

use std::time::{Duration, SystemTime};

use sealwax::{Escaped, SecretBytes};

use super::{
    LocalKmsError,
    record::{BackingKey, Contents, KeyRecord, Timestamp},
    seal::random_hex,
};

type Result<T, E = LocalKmsError> = std::result::Result<T, E>;

/// The prefix of all alias names.
const ALIAS: &str = "alias/";
const MAX_ALIAS: usize = 256;
/// The fewest characters of the start of an id that name a key, so that an alias that is gone or
/// mistyped is not the start of an id by accident.
const MIN_START: usize = 4;
/// The most ids that the error for an ambiguous start lists.
const MOST_CANDIDATES: usize = 10;
const MAX_DESCRIPTION: usize = 8192;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A key's metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyMetadata {
    /// `local:STORE-ID/key/KEY-ID`, which never changes.
    pub key_id: String,
    /// The purpose of the key, in its owner's words.
    pub description: String,
    /// The state.
    pub state: KeyState,
    /// Whether the first material was imported; otherwise the store generated it.
    pub imported: bool,
    /// When the key was created.
    pub created: SystemTime,
    /// When the current material was created.
    pub rotated: SystemTime,
    /// The number of generations of material. The newest encrypts, all of them decrypt.
    pub generations: usize,
    /// The interval of automatic rotation in days, if it is enabled.
    pub rotation_days: Option<u32>,
    /// The aliases that point to the key.
    pub aliases: Vec<String>,
}

/// The state of a key, which determines what it can be used for.
///
/// ```
/// use sealwax_kms::{KeyState, LocalKms};
///
/// let dir = tempfile::tempdir()?;
/// let kms = LocalKms::create(dir.path())?;
/// let key = kms.create_key("")?;
/// assert_eq!(key.state, KeyState::Enabled);
/// assert_eq!(kms.disable_key(&key.key_id)?.state, KeyState::Disabled);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyState {
    /// The key encrypts and decrypts.
    Enabled,
    /// The key can do neither until it is enabled.
    Disabled,
    /// The key can do neither and will be destroyed at this time.
    PendingDeletion(SystemTime),
}

/// The time until a scheduled deletion.
///
/// ```
/// use std::time::Duration;
/// use sealwax_kms::{LocalKms, WaitingPeriod};
///
/// let dir = tempfile::tempdir()?;
/// let kms = LocalKms::create(dir.path())?;
/// let key = kms.create_key("")?;
/// assert!(kms.schedule_key_deletion(&key.key_id, WaitingPeriod::Days(6)).is_err());
/// kms.schedule_key_deletion(&key.key_id, WaitingPeriod::Days(7))?;
/// kms.cancel_key_deletion(&key.key_id)?;
/// kms.schedule_key_deletion(&key.key_id, WaitingPeriod::Sooner(Duration::from_secs(60)))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitingPeriod {
    /// 7 to 30 days.
    Days(u32),
    /// Less than 7 days, down to zero. Everything encrypted under the key is lost that soon.
    Sooner(Duration),
}

impl WaitingPeriod {
    pub(super) fn duration(self) -> Result<Duration> {
        match self {
            Self::Days(days @ 7..=30) => Ok(DAY * days),
            Self::Sooner(time) if time < DAY * 7 => Ok(time),
            Self::Sooner(_) => Err(LocalKmsError::InvalidRequest(
                "a sooner deletion must be less than 7 days away; the usual waiting period is 7 to 30 days".into(),
            )),
            Self::Days(_) => Err(LocalKmsError::InvalidRequest(
                "the waiting period must be 7 to 30 days, unless a sooner deletion is requested explicitly".into(),
            )),
        }
    }
}

/// An alias of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Alias {
    /// `alias/NAME`.
    pub name: String,
    /// The id of the key that it points to.
    pub key_id: String,
}

impl KeyRecord {
    pub(super) fn metadata(&self, contents: &Contents) -> KeyMetadata {
        let aliases = contents.aliases.iter().filter(|(_, target)| **target == self.id);
        self.metadata_with(aliases.map(|(name, _)| name.clone()).collect())
    }

    pub(super) fn metadata_with(&self, aliases: Vec<String>) -> KeyMetadata {
        KeyMetadata {
            key_id: self.id.clone(),
            description: self.description.clone(),
            state: match self.deletion {
                Some(date) => KeyState::PendingDeletion(date.into()),
                None if self.enabled => KeyState::Enabled,
                None => KeyState::Disabled,
            },
            imported: self.imported,
            created: self.created.into(),
            rotated: self.backing.last().map_or(self.created, |backing| backing.created).into(),
            generations: self.backing.len(),
            rotation_days: self.rotation_days,
            aliases,
        }
    }

    /// Fails if the key is pending deletion, which allows only cancelling.
    pub(super) fn not_pending(&self) -> Result<()> {
        match self.deletion {
            Some(date) => Err(LocalKmsError::PendingDeletion { key_id: self.id.clone(), date: date.to_string() }),
            None => Ok(()),
        }
    }

    /// Fails unless the key may encrypt and decrypt.
    pub(super) fn usable(&self) -> Result<()> {
        self.not_pending()?;
        if self.enabled { Ok(()) } else { Err(LocalKmsError::Disabled { key_id: self.id.clone() }) }
    }

    /// Returns the key as if its deletion had been cancelled, if one was scheduled.
    pub(super) fn without_deletion(mut self) -> Self {
        self.enabled &= self.deletion.take().is_none();
        self
    }

    /// Returns whether automatic rotation is due.
    pub(super) fn rotation_is_due(&self, now: Timestamp) -> bool {
        let last = self.backing.last().map_or(self.created, |backing| backing.created);
        self.rotation_days.is_some_and(|days| last.plus(DAY * days) <= now)
    }
}

impl Contents {
    /// Returns the key with this id, this alias (with or without `alias/`), or this start of the
    /// last part of its id, which no other key may have.
    pub(super) fn resolve(&self, name: &str) -> Result<&KeyRecord> {
        if let Some(key) = self.keys.get(name).or_else(|| self.by_alias(name)) {
            return Ok(key);
        }
        let start = name.strip_prefix("local:").and_then(|rest| rest.strip_prefix(&*self.header.store_id));
        let start = start.and_then(|rest| rest.strip_prefix("/key/")).unwrap_or(name);
        let starts = |id: &str| id.rsplit_once('/').is_some_and(|(_, last)| last.starts_with(start));
        let mut found = self.keys.values().filter(|key| start.len() >= MIN_START && starts(&key.id));
        match (found.next(), found.next()) {
            (Some(key), None) => Ok(key),
            (Some(key), Some(next)) => {
                let candidates = [key, next].into_iter().chain(found).map(|key| key.id.clone()).take(MOST_CANDIDATES);
                Err(LocalKmsError::Ambiguous { name: name.to_owned(), candidates: candidates.collect() })
            }
            (None, _) => Err(LocalKmsError::NotFound { name: name.to_owned() }),
        }
    }

    /// Returns the key that this alias points to, with or without `alias/`.
    pub(super) fn by_alias(&self, name: &str) -> Option<&KeyRecord> {
        let id = self.aliases.get(name).or_else(|| self.aliases.get(&format!("{ALIAS}{name}")));
        self.keys.get(id?)
    }

    pub(super) fn key_mut(&mut self, name: &str) -> Result<&mut KeyRecord> {
        let id = self.resolve(name)?.id.clone();
        self.keys.get_mut(&id).ok_or_else(|| LocalKmsError::NotFound { name: name.to_owned() })
    }
}

/// Returns whether a text is a key id, which is safe to show and is no alias.
pub(super) fn is_key_id(text: &str) -> bool {
    let Some((store_id, uuid)) = text.strip_prefix("local:").and_then(|rest| rest.split_once("/key/")) else {
        return false;
    };
    let parts = uuid.split('-').map(|part| (part.len(), is_hex(part)));
    is_random_id(store_id) && parts.eq([8, 4, 4, 4, 12].map(|length| (length, true)))
}

/// Returns whether a text is an id of a store or a backing key.
pub(super) fn is_random_id(text: &str) -> bool {
    text.len() == 32 && is_hex(text)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Returns the full name of an alias, with the prefix.
pub(super) fn alias_name(name: &str) -> Result<String> {
    let whole = if name.starts_with(ALIAS) { name.to_owned() } else { format!("{ALIAS}{name}") };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'_' | b'-');
    if whole.len() <= ALIAS.len() || whole.len() > MAX_ALIAS || !whole.bytes().all(plain) {
        let why = "an alias must consist of letters, digits, /, _ and -, with at least one after alias/ and at most 256 bytes";
        return Err(LocalKmsError::InvalidRequest(why.into()));
    }
    Ok(whole)
}

pub(super) fn check_description(text: &str) -> Result<()> {
    if text.len() > MAX_DESCRIPTION {
        return Err(LocalKmsError::InvalidRequest(format!("a description must have at most {MAX_DESCRIPTION} bytes")));
    }
    if printable(text) != text {
        let why = "a description must not contain control characters, line separators or directional marks";
        return Err(LocalKmsError::InvalidRequest(why.into()));
    }
    Ok(())
}

/// Returns a description as [`check_description`] accepts it.
pub(super) fn printable(description: &str) -> String {
    let mut text = Escaped(description).to_string();
    let end = (0..=MAX_DESCRIPTION.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.truncate(end.unwrap_or(0));
    text
}

pub(super) fn check_rotation_days(days: u32) -> Result<()> {
    if !(1..=2560).contains(&days) {
        return Err(LocalKmsError::InvalidRequest("the rotation period must be 1 to 2,560 days".into()));
    }
    Ok(())
}

/// Adds new material to a key.
pub(super) fn rotate(key: &mut KeyRecord, root: &SecretBytes, now: Timestamp) -> Result<()> {
    key.usable()?;
    key.backing.push(BackingKey::new(root, &key.id, None, now).map_err(LocalKmsError::Crypto)?);
    Ok(())
}

/// Returns a random id in the form of a UUID, like the ids of AWS KMS keys.
pub(super) fn uuid() -> Result<String> {
    let digits = random_hex::<16>().map_err(LocalKmsError::Crypto)?;
    let part = |range: std::ops::Range<usize>| digits.get(range).unwrap_or_default();
    // Version 4, and the variant of RFC 9562.
    Ok([part(0..8), "-", part(8..12), "-4", part(13..16), "-a", part(17..20), "-", part(20..32)].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LocalKms, audit::Event};

    #[test]
    fn an_ambiguous_start_is_refused_with_the_candidates() {
        let directory = tempfile::tempdir().unwrap();
        let kms = LocalKms::create(directory.path()).unwrap();
        let first = kms.create_key("").unwrap().key_id;
        let twin = first.get(..first.len() - 12).unwrap().to_owned() + "000000000000";
        let mut session = kms.store.session().unwrap();
        let added = session.change(Event::new("Test"), |contents, _, _, _| {
            let key = contents.resolve(&first)?.clone();
            contents.keys.insert(twin.clone(), KeyRecord { id: twin.clone(), ..key });
            Ok(())
        });
        added.unwrap();
        let contents = &session.loaded.contents;
        let (_, start) = twin.trim_end_matches('0').rsplit_once('/').unwrap();
        let Err(error) = contents.resolve(start.get(..8).unwrap()) else { panic!("one of them was chosen") };
        let text = error.to_string();
        assert!(text.contains(&first) && text.contains(&twin), "{text}");
        assert_eq!(contents.resolve(&twin).unwrap().id, twin);
    }
}
