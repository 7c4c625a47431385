//! What happens by itself: automatic rotation, and deletion after the waiting period.

use std::sync::{PoisonError, atomic::Ordering};

use serde_json::Map;

use super::{Engine, Request, Source, call::Call, grants, keys::add_material, rotation::schedule};
use crate::server::{
    error::Result,
    identity::Caller,
    record::{AGENDA, DAY, Grant, Key, KeyName, State, aliases_of},
    trail,
};

/// How many entries of the agenda are read at once.
const AT_ONCE: usize = 64;

impl Engine {
    /// Does everything that is due. Without anything due this reads one number.
    pub(super) fn maintain(&self) -> Result<()> {
        if self.next_due.load(Ordering::Relaxed) > self.now() {
            return Ok(());
        }
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let entries = self.storage.snapshot()?.names(AGENDA, "", AT_ONCE)?;
            let first = entries.first().and_then(|entry| u64::from_str_radix(entry.get(..16)?, 16).ok());
            let now = self.now();
            self.next_due.store(first.unwrap_or(u64::MAX), Ordering::Relaxed);
            if first.is_none_or(|first| first > now) {
                return Ok(());
            }
            for entry in entries {
                let Some((time, key)) = entry.split_once('/') else { continue };
                if u64::from_str_radix(time, 16).is_ok_and(|time| time <= now) {
                    self.look_at(&entry, KeyName::of_path(key))?;
                }
            }
        }
    }

    /// Deletes or rotates a key if that is due, and removes its entry from the agenda.
    fn look_at(&self, entry: &str, name: Option<KeyName>) -> Result<()> {
        let nobody = Caller::service();
        let (members, source) = (Map::new(), Source::default());
        let region = name.as_ref().map(|name| name.region.clone()).unwrap_or_default();
        let request = Request { caller: &nobody, region: &region, operation: "", members: &members, source: &source };
        let mut call = Call::new(self, self.storage.snapshot()?, &request, true);
        call.changes.remove(format!("{AGENDA}{entry}"));
        let mut event = None;
        let mut key = name.map(|name| call.snapshot.get::<Key>(&name.record())).transpose()?.flatten();
        if let Some(key) = &mut key {
            call.keys.push(key.name.clone());
            if key.state == State::PendingDeletion && key.deletion.is_some_and(|date| date <= call.now) {
                event = Some("DeleteKey");
                for material in &key.material {
                    call.changes.remove(key.name.material(&material.id));
                }
                for alias in call.snapshot.names(&key.name.aliases(), "", usize::MAX)? {
                    call.changes.remove(format!("{}{alias}", aliases_of(&key.name.account, &key.name.region)));
                    call.changes.remove(format!("{}{alias}", key.name.aliases()));
                }
                for id in call.snapshot.names(&key.name.grants(), "", usize::MAX)? {
                    if let Some(grant) = call.snapshot.get::<Grant>(&key.name.grant(&id))? {
                        grants::remove(&mut call, &grant);
                    }
                }
                call.changes.remove(key.name.policy());
                call.changes.remove(key.name.record());
            } else if key.state == State::Enabled
                && let Some(rotation) = key.rotation.as_mut().filter(|rotation| rotation.next <= call.now)
            {
                event = Some("RotateKey");
                let period = u64::from(rotation.days) * DAY;
                // Periods that passed while nothing ran are not made up for one by one.
                rotation.next += period * ((call.now - rotation.next) / period + 1);
                add_material(&mut call, key, Some(false))?;
                schedule(&mut call, key)?;
                call.put_key(key)?;
            }
        }
        let changes = std::mem::take(&mut call.changes);
        match event {
            Some(event) => self.commit(&changes, trail::of_service(&call, event).to_string()),
            None => {
                let journal = self.storage.head().journal;
                self.storage.commit(&changes, journal)?;
                Ok(())
            }
        }
    }
}
