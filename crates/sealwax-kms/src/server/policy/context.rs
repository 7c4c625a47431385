//! The values that conditions compare: facts of one request.

/// The condition keys of a request and their values. Names of keys are case-insensitive.
#[derive(Clone, Debug, Default)]
pub(crate) struct Context(Vec<(String, Vec<String>)>);

impl Context {
    /// Sets a key to one value. A second value for a name, which only pairs of an encryption context
    /// can have that differ in case, is added to the first.
    pub(crate) fn set(&mut self, key: &str, value: impl Into<String>) {
        let name = key.to_ascii_lowercase();
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, values)) => values.push(value.into()),
            None => self.0.push((name, vec![value.into()])),
        }
    }

    /// Sets a key that has several values. Without values the key is absent.
    pub(crate) fn set_all<V: Into<String>>(&mut self, key: &str, values: impl IntoIterator<Item = V>) {
        for value in values {
            self.set(key, value);
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&[String]> {
        let found = self.0.iter().find(|(name, _)| name.eq_ignore_ascii_case(key));
        found.map(|(_, values)| values.as_slice())
    }

    /// Returns the value of a key with exactly one, for a policy variable.
    pub(crate) fn single(&self, key: &str) -> Option<&str> {
        match self.get(key) {
            Some([value]) => Some(value),
            _ => None,
        }
    }
}
