//! The members of a request, checked in the words of AWS.

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use sealwax::SecretBytes;
use serde_json::{Map, Value};

use super::error::{ApiError, Result};

/// The members of a request. Each accessor checks one; what it finds wrong is kept, and
/// [`check`](Self::check) fails with all of it, as AWS does.
pub(crate) struct Params<'a> {
    members: &'a Map<String, Value>,
    violations: Vec<String>,
    wrong_type: bool,
}

impl<'a> Params<'a> {
    pub(crate) fn new(members: &'a Map<String, Value>) -> Self {
        Self { members, violations: Vec::new(), wrong_type: false }
    }

    fn get(&self, name: &str) -> Option<&'a Value> {
        self.members.get(name).filter(|value| !value.is_null())
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    fn violated(&mut self, value: Option<&str>, member: &str, constraint: &str) {
        let shown = value.map_or_else(String::new, |value| format!(" {value}"));
        let what = format!("Value{shown} at '{member}' failed to satisfy constraint: Member must {constraint}");
        self.violations.push(what);
    }

    fn missing(&mut self, name: &str) {
        self.violated(Some("null"), &camel(name), "not be null");
    }

    /// Returns a string within these lengths.
    pub(crate) fn text(&mut self, name: &str, least: usize, most: usize) -> Option<&'a str> {
        let value = self.get(name)?;
        let Some(text) = value.as_str() else {
            self.wrong_type = true;
            return None;
        };
        let length = text.chars().count();
        let shown = format!("'{text}'");
        if length < least {
            self.violated(Some(&shown), &camel(name), &format!("have length greater than or equal to {least}"));
        } else if length > most {
            self.violated(Some(&shown), &camel(name), &format!("have length less than or equal to {most}"));
        }
        Some(text)
    }

    pub(crate) fn required(&mut self, name: &str, least: usize, most: usize) -> &'a str {
        if !self.has(name) {
            self.missing(name);
        }
        self.text(name, least, most).unwrap_or_default()
    }

    pub(crate) fn key_id(&mut self) -> &'a str {
        self.required("KeyId", 1, 2048)
    }

    /// Returns one of these values.
    pub(crate) fn one_of(&mut self, name: &str, values: &[&'static str]) -> Option<&'static str> {
        let text = self.text(name, 0, usize::MAX)?;
        let found = values.iter().find(|value| **value == text).copied();
        if found.is_none() {
            let constraint = format!("satisfy enum value set: [{}]", values.join(", "));
            self.violated(Some(&format!("'{text}'")), &camel(name), &constraint);
        }
        found
    }

    pub(crate) fn flag(&mut self, name: &str) -> bool {
        match self.get(name) {
            None => false,
            Some(Value::Bool(flag)) => *flag,
            Some(_) => {
                self.wrong_type = true;
                false
            }
        }
    }

    /// Returns a number in a range.
    pub(crate) fn number(&mut self, name: &str, least: u32, most: u32) -> Option<u32> {
        let value = self.get(name)?;
        let Some(number) = value.as_i64() else {
            self.wrong_type = true;
            return None;
        };
        let shown = format!("'{number}'");
        if number < i64::from(least) {
            self.violated(Some(&shown), &camel(name), &format!("have value greater than or equal to {least}"));
        } else if number > i64::from(most) {
            self.violated(Some(&shown), &camel(name), &format!("have value less than or equal to {most}"));
        }
        u32::try_from(number).ok()
    }

    /// Returns bytes, whose value no text shows.
    pub(crate) fn blob(&mut self, name: &str, least: usize, most: usize) -> SecretBytes {
        let Some(value) = self.get(name) else {
            self.missing(name);
            return SecretBytes::from(Vec::new());
        };
        let Some(bytes) = value.as_str().and_then(|text| BASE64_STANDARD.decode(text).ok()) else {
            self.wrong_type = true;
            return SecretBytes::from(Vec::new());
        };
        if bytes.len() < least {
            self.violated(None, &camel(name), &format!("have length greater than or equal to {least}"));
        } else if bytes.len() > most {
            self.violated(None, &camel(name), &format!("have length less than or equal to {most}"));
        }
        SecretBytes::from(bytes)
    }

    pub(crate) fn pairs(&mut self, name: &str) -> BTreeMap<String, String> {
        match self.get(name) {
            None => BTreeMap::new(),
            Some(value) => self.pairs_of(value),
        }
    }

    fn pairs_of(&mut self, value: &Value) -> BTreeMap<String, String> {
        let pairs = value.as_object().and_then(|pairs| {
            pairs.iter().map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
        });
        self.wrong_type |= pairs.is_none();
        pairs.unwrap_or_default()
    }

    /// Returns pairs that are a member of a member.
    pub(crate) fn inner_pairs(&mut self, name: &str, inner: &str) -> Option<BTreeMap<String, String>> {
        let value = self.get(name)?.get(inner).filter(|value| !value.is_null())?;
        Some(self.pairs_of(value))
    }

    pub(crate) fn list(&mut self, name: &str) -> &'a [Value] {
        match self.get(name) {
            None => &[],
            Some(Value::Array(values)) => values,
            Some(_) => {
                self.wrong_type = true;
                &[]
            }
        }
    }

    pub(crate) fn texts(&mut self, name: &str) -> Vec<&'a str> {
        let values = self.list(name);
        self.wrong_type |= values.iter().any(|value| !value.is_string());
        values.iter().filter_map(Value::as_str).collect()
    }

    /// Returns tags, which are a list of keys and values.
    pub(crate) fn tags(&mut self, name: &str) -> Vec<(&'a str, &'a str)> {
        let mut tags = Vec::new();
        for (position, tag) in self.list(name).iter().enumerate() {
            let part = |part: &str| tag.get(part).and_then(Value::as_str);
            let (Some(key), Some(value)) = (part("TagKey"), part("TagValue")) else {
                self.wrong_type = true;
                continue;
            };
            let at = |part: &str| format!("{}.{}.member.{part}", camel(name), position + 1);
            if key.is_empty() {
                self.violated(Some("''"), &at("tagKey"), "have length greater than or equal to 1");
            } else if key.chars().count() > 128 {
                self.violated(Some(&format!("'{key}'")), &at("tagKey"), "have length less than or equal to 128");
            }
            if value.chars().count() > 256 {
                self.violated(Some(&format!("'{value}'")), &at("tagValue"), "have length less than or equal to 256");
            }
            tags.push((key, value));
        }
        tags
    }

    /// Returns the page that a list asks for: the name after which it starts, and its length.
    pub(crate) fn page(&mut self, most: u32, default: u32) -> (String, usize) {
        let limit = self.number("Limit", 1, most).unwrap_or(default);
        (self.text("Marker", 1, 1024).unwrap_or_default().to_owned(), limit as usize)
    }

    /// # Errors
    /// If a member that was asked for is wrong.
    pub(crate) fn check(&mut self) -> Result<()> {
        if self.wrong_type {
            return Err(ApiError::bare("SerializationException"));
        }
        if self.violations.is_empty() {
            return Ok(());
        }
        let count = self.violations.len();
        let plural = if count == 1 { "" } else { "s" };
        let what = self.violations.join("; ");
        Err(ApiError::validation(format!("{count} validation error{plural} detected: {what}")))
    }
}

/// Returns a name as the messages have it.
pub(crate) fn camel(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(request: &Value, read: impl FnOnce(&mut Params<'_>)) -> String {
        let mut params = Params::new(request.as_object().unwrap());
        read(&mut params);
        params.check().err().map_or_else(String::new, |error| error.message.unwrap_or(error.code.into()))
    }

    #[test]
    fn violations_have_the_words_of_aws() {
        let json = serde_json::json!({
            "KeySpec": "DES", "Plaintext": BASE64_STANDARD.encode([0; 4097]), "KeyId": "", "Limit": 1001, "Number": "7",
            "Tags": [{"TagKey": "", "TagValue": "x"}],
        });
        let one = "1 validation error detected: Value";
        assert_eq!(
            message(&json, |params| {
                params.one_of("KeySpec", &["A", "B"]);
            }),
            format!(
                "{one} 'DES' at 'keySpec' failed to satisfy constraint: Member must satisfy enum value set: [A, B]"
            )
        );
        assert_eq!(
            message(&json, |params| drop(params.blob("Plaintext", 1, 4096))),
            format!(
                "{one} at 'plaintext' failed to satisfy constraint: Member must have length less than or equal to 4096"
            )
        );
        assert_eq!(
            message(&json, |params| {
                params.number("Limit", 1, 1000);
            }),
            format!(
                "{one} '1001' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 1000"
            )
        );
        assert_eq!(
            message(&json, |params| drop(params.tags("Tags"))),
            format!(
                "{one} '' at 'tags.1.member.tagKey' failed to satisfy constraint: Member must have length greater than or equal to 1"
            )
        );
        assert_eq!(
            message(&json, |params| {
                params.key_id();
                params.required("AliasName", 1, 256);
            }),
            "2 validation errors detected: Value '' at 'keyId' failed to satisfy constraint: Member must have length \
             greater than or equal to 1; Value null at 'aliasName' failed to satisfy constraint: Member must not be null"
        );
        assert_eq!(
            message(&json, |params| {
                params.number("Number", 1, 9);
            }),
            "SerializationException"
        );
        assert_eq!(
            message(&json, |params| {
                params.number("Other", 1, 9);
            }),
            ""
        );
    }
}
