//! Accounts, users, roles and sessions.

use std::{collections::BTreeMap, path::Path};

use sealwax::SecretBytes;
use serde::Deserialize;
use serde_json::Value;

use super::{
    error::ApiError,
    policy::{Kind, Policy, Principal},
};
use crate::seal::{digest, hex};

/// The name of the user that an account's administrator is.
const ADMINISTRATOR: &str = "admin";
const ALLOW_ALL: &str = r#"{"Version":"2012-10-17","Statement":[{"Sid":"AdministratorAccess","Effect":"Allow","Action":"*","Resource":"*"}]}"#;

/// The form of the identities file, in JSON or TOML.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IdentitiesFile {
    accounts: Vec<AccountRecord>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AccountRecord {
    id: String,
    #[serde(default)]
    users: Vec<UserRecord>,
    #[serde(default)]
    roles: Vec<RoleRecord>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UserRecord {
    name: String,
    #[serde(default)]
    access_keys: Vec<AccessKey>,
    #[serde(default)]
    policies: Vec<Value>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AccessKey {
    id: String,
    secret: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RoleRecord {
    name: String,
    trust: Value,
    #[serde(default)]
    policies: Vec<Value>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
}

/// A user or a role with its policies.
pub(crate) struct Identity {
    pub(crate) account: String,
    pub(crate) name: String,
    pub(crate) arn: String,
    /// The part of the unique id that AWS makes up; here it depends on the ARN alone.
    pub(crate) unique_id: String,
    pub(crate) policies: Vec<Policy>,
    pub(crate) tags: BTreeMap<String, String>,
    /// Who may assume the role; `None` for a user.
    pub(crate) trust: Option<Policy>,
}

/// All identities that the endpoint knows.
#[derive(Default)]
pub(crate) struct Identities {
    by_arn: BTreeMap<String, std::sync::Arc<Identity>>,
    by_access_key: BTreeMap<String, (String, SecretBytes)>,
    accounts: Vec<String>,
}

impl Identities {
    /// Adds an administrator of an account, who may do everything that key policies delegate to it.
    ///
    /// # Errors
    /// If the account is not 12 digits or the access key is taken.
    pub(crate) fn add_administrator(&mut self, account: &str, key_id: &str, secret: &str) -> Result<(), String> {
        let policy = serde_json::from_str(ALLOW_ALL).map_err(|error| error.to_string())?;
        let keys = vec![AccessKey { id: key_id.to_owned(), secret: secret.to_owned() }];
        let (policies, tags) = (vec![policy], BTreeMap::new());
        let users = vec![UserRecord { name: ADMINISTRATOR.into(), access_keys: keys, policies, tags }];
        self.add(AccountRecord { id: account.to_owned(), users, roles: Vec::new() })
    }

    /// Adds what an identities file contains. A name that ends in `.toml` is TOML, any other JSON.
    ///
    /// # Errors
    /// What is wrong with the file, and where.
    pub(crate) fn add_file(&mut self, path: &Path, text: &str) -> Result<(), String> {
        let is_toml = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml"));
        let file: IdentitiesFile = if is_toml {
            toml::from_str(text).map_err(|error| error.message().to_owned())?
        } else {
            serde_json::from_str(text).map_err(|error| error.to_string())?
        };
        file.accounts.into_iter().try_for_each(|account| self.add(account))
    }

    fn add(&mut self, record: AccountRecord) -> Result<(), String> {
        let account = record.id;
        if account.len() != 12 || !account.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(format!("account {account:?} does not have 12 digits"));
        }
        for user in record.users {
            let arn = self.insert(&account, "user", &user.name, &user.policies, None, user.tags)?;
            for key in user.access_keys {
                let is_word = key.id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
                if key.id.is_empty() || !is_word || key.secret.is_empty() {
                    return Err(format!("user {:?} of account {account} has an invalid access key", user.name));
                }
                let entry = (arn.clone(), SecretBytes::from(key.secret.into_bytes()));
                if self.by_access_key.insert(key.id.clone(), entry).is_some() {
                    return Err(format!("the access key {:?} has two users", key.id));
                }
            }
        }
        for role in record.roles {
            let trust = Policy::of(&role.trust, Kind::Trust)
                .map_err(|error| format!("the trust policy of role {:?} of account {account}: {error}", role.name))?;
            self.insert(&account, "role", &role.name, &role.policies, Some(trust), role.tags)?;
        }
        if !self.accounts.contains(&account) {
            self.accounts.push(account);
        }
        Ok(())
    }

    fn insert(
        &mut self,
        account: &str,
        kind: &str,
        name: &str,
        policies: &[Value],
        trust: Option<Policy>,
        tags: BTreeMap<String, String>,
    ) -> Result<String, String> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"+=,.@_-/".contains(&byte);
        if name.is_empty() || !name.bytes().all(allowed) {
            return Err(format!("{name:?} is not a valid name of a {kind}"));
        }
        let parse = |(number, policy): (usize, &Value)| {
            let policy = Policy::of(policy, Kind::Identity);
            policy.map_err(|error| format!("policy {} of {kind} {name:?} of account {account}: {error}", number + 1))
        };
        let policies = policies.iter().enumerate().map(parse).collect::<Result<_, _>>()?;
        let arn = format!("arn:aws:iam::{account}:{kind}/{name}");
        let prefix = if kind == "user" { "AIDA" } else { "AROA" };
        let unique_id: String = hex(&digest(arn.as_bytes())).to_uppercase().chars().take(17).collect();
        let identity = Identity {
            account: account.to_owned(),
            name: name.rsplit('/').next().unwrap_or(name).to_owned(),
            arn: arn.clone(),
            unique_id: format!("{prefix}{unique_id}"),
            policies,
            tags,
            trust,
        };
        if self.by_arn.insert(arn.clone(), std::sync::Arc::new(identity)).is_some() {
            return Err(format!("account {account} has two identities of the name {kind}/{name}"));
        }
        Ok(arn)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_arn.is_empty()
    }

    /// Returns the user and the secret of an access key.
    pub(crate) fn access_key(&self, id: &str) -> Option<(std::sync::Arc<Identity>, &SecretBytes)> {
        let (arn, secret) = self.by_access_key.get(id)?;
        Some((self.by_arn.get(arn)?.clone(), secret))
    }

    pub(crate) fn by_arn(&self, arn: &str) -> Option<std::sync::Arc<Identity>> {
        self.by_arn.get(arn).cloned()
    }

    /// Fails if a policy or grant names a principal that does not exist. Accounts that the endpoint
    /// does not serve cannot be checked, and only their root ARN is accepted.
    pub(crate) fn check_principals(&self, policy: &Policy) -> Result<(), ApiError> {
        let exists = |principal: &Principal| match principal {
            Principal::Arn(arn) => self.has_principal(arn),
            _ => true,
        };
        if policy.principals().all(exists) {
            return Ok(());
        }
        Err(ApiError::malformed_policy("Policy contains a statement with one or more invalid principals."))
    }

    /// Returns whether the user, role, or the role of the session with this ARN exists.
    pub(crate) fn has_principal(&self, arn: &str) -> bool {
        match role_of_session(arn) {
            Some(role) => self.by_arn.contains_key(&role),
            None => self.by_arn.contains_key(arn),
        }
    }
}

/// Returns the ARN of the role of a session's ARN.
pub(crate) fn role_of_session(arn: &str) -> Option<String> {
    let (account, path) = arn.strip_prefix("arn:aws:sts::")?.split_once(":assumed-role/")?;
    let (role, _) = path.split_once('/')?;
    Some(format!("arn:aws:iam::{account}:role/{role}"))
}

/// The sender of a request.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) identity: std::sync::Arc<Identity>,
    pub(crate) access_key: String,
    pub(crate) session: Option<std::sync::Arc<Session>>,
}

/// A session of a role.
pub(crate) struct Session {
    pub(crate) name: String,
    pub(crate) arn: String,
    /// A policy that bounds what the session may do.
    pub(crate) policy: Option<Policy>,
    pub(crate) created: u64,
}

impl Caller {
    /// Returns the service itself, which no policy names.
    pub(crate) fn service() -> Self {
        let identity = Identity {
            account: String::new(),
            name: String::new(),
            arn: String::new(),
            unique_id: String::new(),
            policies: Vec::new(),
            tags: BTreeMap::new(),
            trust: None,
        };
        Self { identity: std::sync::Arc::new(identity), access_key: String::new(), session: None }
    }

    pub(crate) fn account(&self) -> &str {
        &self.identity.account
    }

    /// Returns the ARN of the user or the session.
    pub(crate) fn arn(&self) -> &str {
        self.session.as_ref().map_or(&self.identity.arn, |session| &session.arn)
    }

    /// Returns the unique id of the user, or of the role with the name of the session.
    pub(crate) fn user_id(&self) -> String {
        match &self.session {
            Some(session) => format!("{}:{}", self.identity.unique_id, session.name),
            None => self.identity.unique_id.clone(),
        }
    }

    /// Returns whether an ARN of a user, role or session names this caller.
    pub(crate) fn is(&self, arn: &str) -> bool {
        arn == self.identity.arn || self.session.as_ref().is_some_and(|session| session.arn == arn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_in_json_or_toml_names_users_and_roles() {
        let json = r#"{"accounts":[{"id":"111122223333","users":[{"name":"alice","access_keys":[{"id":"AKIAALICE","secret":"s"}],
            "policies":[],"tags":{}}],"roles":[{"name":"app","trust":{"Statement":{"Effect":"Allow","Principal":{"AWS":
            "111122223333"},"Action":"sts:AssumeRole"}},"policies":[]}]}]}"#;
        let toml = "[[accounts]]\nid = '111122223333'\n[[accounts.users]]\nname = 'alice'\n\
            access_keys = [{ id = 'AKIAALICE', secret = 's' }]\n[[accounts.roles]]\nname = 'app'\n\
            [accounts.roles.trust]\nStatement = [{ Effect = 'Allow', Principal = '*', Action = 'sts:AssumeRole' }]\n";
        for (name, text) in [("i.json", json), ("i.toml", toml)] {
            let mut identities = Identities::default();
            identities.add_file(Path::new(name), text).unwrap();
            let (user, secret) = identities.access_key("AKIAALICE").unwrap();
            assert_eq!((user.arn.as_str(), secret.as_bytes()), ("arn:aws:iam::111122223333:user/alice", &b"s"[..]));
            assert!(identities.has_principal("arn:aws:iam::111122223333:role/app"));
            assert!(identities.has_principal("arn:aws:sts::111122223333:assumed-role/app/any"));
            assert!(!identities.has_principal("arn:aws:iam::111122223333:user/bob"));
        }
    }

    #[test]
    fn a_wrong_file_says_where() {
        let file = |users: &str| format!(r#"{{"accounts":[{{"id":"111122223333","users":[{users}]}}]}}"#);
        for (text, expected) in [
            ("{}".to_owned(), "missing field `accounts`"),
            (r#"{"accounts":[{"id":"1"}]}"#.to_owned(), "12 digits"),
            (file(r#"{"name":"a b"}"#), "not a valid name"),
            (file(r#"{"name":"a"},{"name":"a"}"#), "two identities"),
            (file(r#"{"name":"a","access_keys":[{"id":"","secret":"s"}]}"#), "invalid access key"),
            (file(r#"{"name":"a","policies":[{}]}"#), "policy 1 of user \"a\" of account 111122223333"),
            (file(r#"{"name":"a","what":1}"#), "unknown field `what`"),
        ] {
            let error = Identities::default().add_file(Path::new("i.json"), &text).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
