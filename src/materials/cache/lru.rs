//! A bounded map that forgets what was used least recently. It does not lock.
//!
//! This file imports nothing from the crate, so that `tests/caching_model.rs` can run it under a model of threads.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
};

pub(super) struct Lru<K, V> {
    capacity: usize,
    values: HashMap<K, Used<V>>,
    /// The keys by the time of their last use: the first is forgotten first.
    order: BTreeMap<u64, K>,
    /// The time of the last use of anything, in uses.
    time: u64,
}

struct Used<V> {
    value: V,
    time: u64,
}

impl<K: Eq + Hash + Clone, V> Lru<K, V> {
    /// `capacity` is at least 1.
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, values: HashMap::new(), order: BTreeMap::new(), time: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// The value, which counts as used now.
    pub(super) fn get(&mut self, key: &K) -> Option<&V> {
        let used = self.values.get_mut(key)?;
        // What was used last needs no new place.
        if used.time != self.time
            && let Some(key) = self.order.remove(&used.time)
        {
            self.time += 1;
            self.order.insert(self.time, key);
            used.time = self.time;
        }
        Some(&used.value)
    }

    /// Puts a value in, as used now; gives back the one it replaces, or the one that must go for it.
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

    /// Removes a value if it is still as expected.
    pub(super) fn remove_if(&mut self, key: &K, expected: impl Fn(&V) -> bool) -> Option<V> {
        self.values.get(key).is_some_and(|used| expected(&used.value)).then(|| self.remove(key)).flatten()
    }

    /// Removes the value that was used least recently, if it is to go.
    pub(super) fn remove_oldest_if(&mut self, goes: impl Fn(&V) -> bool) -> Option<V> {
        let key = self.order.first_key_value()?.1.clone();
        self.remove_if(&key, goes)
    }

    /// Takes out everything that is to go.
    pub(super) fn take_all(&mut self, goes: impl Fn(&V) -> bool) -> Vec<V> {
        let gone: Vec<K> =
            self.values.iter().filter(|(_, used)| goes(&used.value)).map(|(key, _)| key.clone()).collect();
        gone.iter().filter_map(|key| self.remove(key)).collect()
    }
}

/// What a new value takes the place of.
pub(super) struct Put<V> {
    pub(super) replaced: Option<V>,
    pub(super) evicted: Option<V>,
}
