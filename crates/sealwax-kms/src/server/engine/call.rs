//! One call: how it finds keys, and whether its caller may do what it asks for.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Engine, Request, Source};
use crate::server::{
    decision::{Decision, KeyPermissions, Question, Why, decide},
    error::{ApiError, Result},
    identity::Caller,
    params::Params,
    policy::{Context, Kind, Policy},
    record::{Grant, Key, KeyName, aliases_of},
    storage::{Changes, Snapshot},
};

/// An operation of AWS KMS.
pub(crate) struct Operation {
    pub(crate) name: &'static str,
    /// Whether it changes what is stored.
    pub(crate) changes: bool,
    /// Whether it can use a key of another account.
    pub(super) cross_account: bool,
    pub(super) run: fn(&mut Call<'_>) -> Result<Value>,
}

/// A call in progress.
pub(crate) struct Call<'a> {
    pub(super) engine: &'a Engine,
    pub(super) snapshot: Snapshot<'a>,
    pub(crate) caller: &'a Caller,
    pub(crate) region: &'a str,
    /// Whether it can use a key of another account.
    may_cross: bool,
    pub(crate) members: &'a Map<String, Value>,
    pub(crate) source: &'a Source,
    pub(crate) now: u64,
    pub(super) changes: Changes,
    /// The keys that were found, for the audit record.
    pub(crate) keys: Vec<KeyName>,
    /// The alias that named the key.
    alias: Option<String>,
    /// The grant that allowed the last action.
    pub(super) by_grant: Option<String>,
}

/// What a request says about itself, for conditions and grants.
#[derive(Default)]
pub(super) struct Facts {
    pub(super) context: Context,
    /// The encryption context, if the operation has one.
    pub(super) pairs: BTreeMap<String, String>,
}

impl Facts {
    /// Returns the facts of an encryption context.
    pub(super) fn of(pairs: &BTreeMap<String, String>) -> Self {
        let mut facts = Self { pairs: pairs.clone(), ..Self::default() };
        for (key, value) in pairs {
            facts.context.set(&format!("kms:EncryptionContext:{key}"), value);
        }
        facts.context.set_all("kms:EncryptionContextKeys", pairs.keys());
        facts
    }

    pub(super) fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.context.set(key, value);
        self
    }
}

impl<'a> Call<'a> {
    pub(super) fn new(engine: &'a Engine, snapshot: Snapshot<'a>, request: &Request<'a>, may_cross: bool) -> Self {
        let Request { caller, region, operation: _, members, source } = *request;
        let (changes, now) = (Changes::default(), engine.now());
        let (keys, alias, by_grant) = (Vec::new(), None, None);
        Self { engine, snapshot, caller, region, may_cross, members, source, now, changes, keys, alias, by_grant }
    }

    pub(super) fn params(&self) -> Params<'a> {
        Params::new(self.members)
    }

    /// Finds the key that a request names by id, ARN, alias or the ARN of an alias.
    pub(super) fn key_or_alias(&mut self, name: &str) -> Result<Key> {
        self.find(name, true)
    }

    /// Finds the key that a request names by id or ARN.
    pub(super) fn key(&mut self, name: &str) -> Result<Key> {
        self.find(name, false)
    }

    fn find(&mut self, name: &str, by_alias: bool) -> Result<Key> {
        let invalid = || ApiError::not_found(format!("Invalid keyId '{name}'"));
        let (account, region, resource) = match name.strip_prefix("arn:") {
            None => (self.caller.account(), self.region, name.to_owned()),
            Some(rest) => {
                let parts: Vec<_> = rest.splitn(5, ':').collect();
                let [_, "kms", region, account, resource] = parts[..] else { return Err(invalid()) };
                if region != self.region {
                    return Err(ApiError::not_found(format!("Invalid arn {region}")));
                }
                let id = resource.strip_prefix("key/");
                if id.is_none() && !resource.starts_with("alias/") {
                    return Err(invalid());
                }
                (account, region, id.unwrap_or(resource).to_owned())
            }
        };
        let id = if resource.starts_with("alias/") {
            if !by_alias {
                return Err(invalid());
            }
            let target = self.snapshot.get(&format!("{}{resource}", aliases_of(account, region)))?;
            self.alias = Some(resource.clone());
            target.ok_or_else(|| {
                ApiError::not_found(format!("Alias arn:aws:kms:{region}:{account}:{resource} is not found."))
            })?
        } else if is_key_id(&resource) {
            resource
        } else {
            return Err(invalid());
        };
        self.named(KeyName { account: account.to_owned(), region: region.to_owned(), id })
    }

    /// Returns the key of this name, if the operation may use a key of its account.
    pub(super) fn named(&mut self, name: KeyName) -> Result<Key> {
        let is_own = name.account == self.caller.account();
        let key = if is_own || self.may_cross { self.snapshot.get::<Key>(&name.record())? } else { None };
        let missing = || ApiError::not_found(format!("Key '{}' does not exist", name.arn()));
        let key = key.ok_or_else(missing)?;
        self.keys.push(name);
        Ok(key)
    }

    /// Returns the text of a key's policy.
    pub(super) fn policy_of(&self, key: &KeyName) -> Result<String> {
        let stored = self.snapshot.get(&key.policy())?;
        Ok(stored.unwrap_or_else(|| default_policy(&key.account)))
    }

    /// Fails unless the caller may perform an action on a key.
    pub(super) fn authorize(&mut self, action: &str, key: &Key, facts: Facts) -> Result<()> {
        let text = self.policy_of(&key.name)?;
        self.authorize_under(action, key, facts, &text)
    }

    fn authorize_under(&mut self, action: &str, key: &Key, facts: Facts, policy: &str) -> Result<()> {
        let arn = key.name.arn();
        match self.decide(action, key, facts, policy)? {
            Decision::Allowed(by) => {
                self.by_grant = match by {
                    crate::server::decision::By::Grant { id } => Some(id),
                    _ => None,
                };
                Ok(())
            }
            Decision::Refused(why) => Err(self.refused(action, Some(&arn), &why)),
        }
    }

    /// Decides whether the caller may perform an action on a key that has this policy.
    pub(super) fn decide(&self, action: &str, key: &Key, facts: Facts, policy: &str) -> Result<Decision> {
        let Facts { mut context, pairs } = facts;
        self.set_globals(&mut context);
        context.set("kms:KeySpec", key.spec.name());
        context.set("kms:CustomerMasterKeySpec", key.spec.name());
        context.set("kms:KeyUsage", key.spec.usage());
        context.set("kms:CustomerMasterKeyUsage", key.spec.usage());
        context.set("kms:KeyOrigin", key.origin.name());
        context.set("kms:MultiRegion", key.multi_region.to_string());
        if key.multi_region {
            context.set("kms:MultiRegionKeyType", "PRIMARY");
        }
        if let Some(alias) = &self.alias {
            context.set("kms:RequestAlias", alias);
        }
        context.set_all("kms:ResourceAliases", self.snapshot.names(&key.name.aliases(), "", 1000)?);
        for (tag, value) in &key.tags {
            context.set(&format!("aws:ResourceTag/{tag}"), value);
        }
        let policy = Policy::parse(policy, Kind::Key).map_err(ApiError::failed("reading a stored policy"))?;
        let resource = key.name.arn();
        let question = Question { action, resource: &resource, context: &context };
        let grant = || self.grant_for(action, key, &pairs).ok().flatten();
        let permissions = KeyPermissions { account: &key.name.account, policy: &policy, grant: &grant };
        Ok(decide(self.caller, question, Some(&permissions)))
    }

    /// Fails unless the caller's policies allow an action that concerns no key.
    pub(super) fn authorize_without_key(&self, action: &str, resource: Option<&str>, facts: Facts) -> Result<()> {
        let mut context = facts.context;
        self.set_globals(&mut context);
        let question = Question { action, resource: resource.unwrap_or("*"), context: &context };
        match decide(self.caller, question, None) {
            Decision::Allowed(_) => Ok(()),
            Decision::Refused(why) => Err(self.refused(action, resource, &why)),
        }
    }

    fn refused(&self, action: &str, resource: Option<&str>, why: &Why) -> ApiError {
        let on = resource.map_or_else(String::new, |resource| format!(" on resource: {resource}"));
        let on = match self.members.get("KeyId") {
            None if action == "kms:Decrypt" => " on the resource associated with this ciphertext".to_owned(),
            _ => on,
        };
        let who = self.caller.arn();
        let why = why.because(action);
        ApiError::new("AccessDeniedException", format!("User: {who} is not authorized to perform: {action}{on} {why}"))
    }

    fn set_globals(&self, context: &mut Context) {
        let Self { caller, source, .. } = self;
        context.set("kms:CallerAccount", caller.account());
        context.set("aws:PrincipalAccount", caller.account());
        context.set("aws:PrincipalArn", &caller.identity.arn);
        context.set("aws:userid", caller.user_id());
        if caller.session.is_none() {
            context.set("aws:username", &caller.identity.name);
        }
        context.set("aws:PrincipalType", if caller.session.is_some() { "AssumedRole" } else { "User" });
        context.set("aws:PrincipalIsAWSService", "false");
        context.set("aws:ViaAWSService", "false");
        context.set("aws:SourceIp", &source.address);
        context.set("aws:SecureTransport", source.is_secure.to_string());
        context.set("aws:RequestedRegion", self.region);
        context.set("aws:CurrentTime", (self.now / 1000).to_string());
        context.set("aws:EpochTime", (self.now / 1000).to_string());
        for (tag, value) in &caller.identity.tags {
            context.set(&format!("aws:PrincipalTag/{tag}"), value);
        }
    }

    /// Returns the id of a grant that allows the caller an action on a key.
    fn grant_for(&self, action: &str, key: &Key, pairs: &BTreeMap<String, String>) -> Result<Option<String>> {
        let operation = action.strip_prefix("kms:").unwrap_or(action);
        let session = self.caller.session.as_ref().map(|session| session.arn.as_str());
        for grantee in [Some(self.caller.identity.arn.as_str()), session].into_iter().flatten() {
            for id in self.snapshot.names(&granted_to(&key.name, grantee), "", usize::MAX)? {
                let Some(grant) = self.snapshot.get::<Grant>(&key.name.grant(&id))? else { continue };
                let is_free = matches!(operation, "DescribeKey" | "RetireGrant");
                let allows = grant.operations.iter().any(|allowed| allowed == operation);
                if allows && self.is_known(&grant) && (is_free || grant.constraint.holds(pairs)) {
                    return Ok(Some(id));
                }
            }
        }
        Ok(None)
    }

    /// Returns whether a grant is consistent already, or the request has one of its tokens.
    fn is_known(&self, grant: &Grant) -> bool {
        if grant.created.saturating_add(self.engine.settings.grant_delay) <= self.now {
            return true;
        }
        let tokens = self.members.get("GrantTokens").and_then(Value::as_array);
        let is_given = |token: &String| tokens.is_some_and(|given| given.iter().any(|given| given == token));
        grant.tokens.iter().any(is_given)
    }

    /// Fails if the request is a dry run, which would have succeeded up to here.
    pub(super) fn stop_if_dry(&self) -> Result<()> {
        match self.members.get("DryRun") {
            Some(Value::Bool(true)) => Err(ApiError::new(
                "DryRunOperationException",
                "The request would have succeeded, but the DryRun option is set.",
            )),
            _ => Ok(()),
        }
    }

    pub(super) fn put_key(&mut self, key: &Key) -> Result<()> {
        Ok(self.changes.put(key.name.record(), key)?)
    }
}

/// Returns a page of a list, which has one name more if there are more entries.
pub(super) fn page(
    member: &str,
    names: &[String],
    limit: usize,
    entry: impl FnMut(&String) -> Result<Value>,
) -> Result<Value> {
    let entries = names.iter().take(limit).map(entry).collect::<Result<Vec<_>>>()?;
    let is_truncated = names.len() > limit;
    let mut answer = json!({ member: entries, "Truncated": is_truncated });
    if let Some(last) = limit.checked_sub(1).and_then(|last| names.get(last)).filter(|_| is_truncated) {
        answer["NextMarker"] = last.as_str().into();
    }
    Ok(answer)
}

/// Returns the policy of a key that was created without one.
pub(super) fn default_policy(account: &str) -> String {
    format!(
        "{{\n  \"Version\" : \"2012-10-17\",\n  \"Id\" : \"key-default-1\",\n  \"Statement\" : [ {{\n    \"Sid\" : \"Enable \
         IAM User Permissions\",\n    \"Effect\" : \"Allow\",\n    \"Principal\" : {{\n      \"AWS\" : \
         \"arn:aws:iam::{account}:root\"\n    }},\n    \"Action\" : \"kms:*\",\n    \"Resource\" : \"*\"\n  }} ]\n}}"
    )
}

/// The prefix of the grants on a key for a principal.
pub(super) fn granted_to(key: &KeyName, grantee: &str) -> String {
    format!("granted/{}|{grantee}|", key.arn())
}

/// Returns whether a text has the form of a key id.
pub(super) fn is_key_id(text: &str) -> bool {
    let is_hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if let Some(digits) = text.strip_prefix("mrk-") {
        return digits.len() == 32 && is_hex(digits);
    }
    text.split('-').map(|part| (part.len(), is_hex(part))).eq([8, 4, 4, 4, 12].map(|length| (length, true)))
}
