//! A bounded map that evicts the least recently used value. It does no locking.
//!
//! This file imports nothing from the crate, so that `tests/caching_model.rs` can run it under a
//! model checker.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
};

pub(super) struct Lru<K, V> {
    capacity: usize,
    values: HashMap<K, Used<V>>,
    /// The keys by the time of their last use; the first is evicted first.
    order: BTreeMap<u64, K>,
    /// The time of the last use, counted in uses.
    time: u64,
}

struct Used<V> {
    value: V,
    time: u64,
}

impl<K: Eq + Hash + Clone, V> Lru<K, V> {
    /// Creates a map for at most `capacity` values, which must be at least 1.
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, values: HashMap::new(), order: BTreeMap::new(), time: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// Returns the value and marks it as just used.
    pub(super) fn get(&mut self, key: &K) -> Option<&V> {
        let used = self.values.get_mut(key)?;
        // The most recently used value is already last.
        if used.time != self.time
            && let Some(key) = self.order.remove(&used.time)
        {
            self.time += 1;
            self.order.insert(self.time, key);
            used.time = self.time;
        }
        Some(&used.value)
    }

    /// Inserts a value as just used. Returns the value it replaces, or the one evicted for it.
    pub(super) fn put(&mut self, key: K, value: V) -> Put<V> {
        let replaced = self.remove(&key);
        let evicted = if self.values.len() >= self.capacity { self.remove_oldest_if(|_| true) } else { None };
        self.time += 1;
        self.order.insert(self.time, key.clone());
        self.values.insert(key, Used { value, time: self.time });
        Put { replaced, evicted }
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        let used = self.values.remove(key)?;
        self.order.remove(&used.time);
        Some(used.value)
    }

    /// Removes the value for `key` if `expected` holds for it.
    pub(super) fn remove_if(&mut self, key: &K, expected: impl Fn(&V) -> bool) -> Option<V> {
        self.values.get(key).is_some_and(|used| expected(&used.value)).then(|| self.remove(key)).flatten()
    }

    /// Removes the least recently used value if `goes` holds for it.
    pub(super) fn remove_oldest_if(&mut self, goes: impl Fn(&V) -> bool) -> Option<V> {
        let key = self.order.first_key_value()?.1.clone();
        self.remove_if(&key, goes)
    }

    /// Removes and returns every value for which `goes` holds.
    pub(super) fn take_all(&mut self, goes: impl Fn(&V) -> bool) -> Vec<V> {
        let gone: Vec<K> =
            self.values.iter().filter(|(_, used)| goes(&used.value)).map(|(key, _)| key.clone()).collect();
        gone.iter().filter_map(|key| self.remove(key)).collect()
    }
}

/// The values that an insertion displaced.
pub(super) struct Put<V> {
    pub(super) replaced: Option<V>,
    pub(super) evicted: Option<V>,
}
