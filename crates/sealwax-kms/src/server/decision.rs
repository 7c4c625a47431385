//! The decision whether a caller may do something, and by which statement or grant.

use std::fmt;

use super::{
    identity::Caller,
    policy::{Context, Effect, Policy, Principal, Principals, Statement},
};

/// What is asked: an action on a resource, and the facts that conditions compare.
#[derive(Clone, Copy)]
pub(crate) struct Question<'a> {
    /// Such as `kms:Decrypt`.
    pub(crate) action: &'a str,
    /// An ARN, or `*` for an action without a resource.
    pub(crate) resource: &'a str,
    pub(crate) context: &'a Context,
}

/// The permissions that belong to a key.
pub(crate) struct KeyPermissions<'a> {
    pub(crate) account: &'a str,
    pub(crate) policy: &'a Policy,
    /// The id of a grant that allows the action. It is only looked up if no policy allows or denies.
    pub(crate) grant: &'a dyn Fn() -> Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    Allowed(By),
    Refused(Why),
}

/// What allowed a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// A statement of the key policy that names the caller.
    KeyPolicy {
        statement: String,
    },
    /// A statement of a policy of the caller, to which a statement of the key policy delegates.
    Identity {
        policy: usize,
        statement: String,
        delegated_by: Option<String>,
    },
    Grant {
        id: String,
    },
}

/// What refused a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    DeniedByKeyPolicy { statement: String },
    DeniedByIdentity { policy: usize, statement: String },
    NoIdentityPolicy,
    NoKeyPolicy,
    NoSessionPolicy,
}

impl Why {
    /// Returns the reason in the words of AWS.
    pub(crate) fn because(&self, action: &str) -> String {
        match self {
            Self::DeniedByKeyPolicy { .. } => "with an explicit deny in a resource-based policy".into(),
            Self::DeniedByIdentity { .. } => "with an explicit deny in an identity-based policy".into(),
            Self::NoIdentityPolicy => format!("because no identity-based policy allows the {action} action"),
            Self::NoKeyPolicy => format!("because no resource-based policy allows the {action} action"),
            Self::NoSessionPolicy => format!("because no session policy allows the {action} action"),
        }
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeyPolicy { statement } => write!(f, "statement {statement} of the key policy"),
            Self::Identity { policy, statement, delegated_by } => {
                write!(f, "statement {statement} of policy {policy} of the caller")?;
                match delegated_by {
                    Some(delegating) => write!(f, ", to which statement {delegating} of the key policy delegates"),
                    None => Ok(()),
                }
            }
            Self::Grant { id } => write!(f, "grant {id}"),
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DeniedByKeyPolicy { statement } => write!(f, "statement {statement} of the key policy denies it"),
            Self::DeniedByIdentity { policy, statement } => {
                write!(f, "statement {statement} of policy {policy} of the caller denies it")
            }
            Self::NoIdentityPolicy => f.write_str("no policy of the caller and no grant allows it"),
            Self::NoKeyPolicy => f.write_str(
                "the key policy neither allows the caller nor delegates to its account, and no grant allows it",
            ),
            Self::NoSessionPolicy => f.write_str("the policy of the session does not allow it"),
        }
    }
}

/// How a statement of a key policy or trust policy names a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Naming {
    /// By its account, which lets the account's own policies decide.
    Account,
    Itself,
}

fn naming(principal: &Principal, caller: &Caller) -> Option<Naming> {
    match principal {
        Principal::Anyone => Some(Naming::Itself),
        Principal::Account(account) if account == caller.account() => Some(Naming::Account),
        Principal::Arn(arn) if caller.is(arn) => Some(Naming::Itself),
        _ => None,
    }
}

/// Returns how a statement names the caller. With `NotPrincipal` it names every caller that the list
/// does not contain both itself and by its account.
fn names(statement: &Statement, caller: &Caller) -> Option<Naming> {
    match statement.principals.as_ref()? {
        Principals::Are(principals) => principals.iter().filter_map(|principal| naming(principal, caller)).max(),
        Principals::AreNot(principals) => {
            let has = |wanted| principals.iter().any(|principal| naming(principal, caller) == Some(wanted));
            (!has(Naming::Itself) || !has(Naming::Account)).then_some(Naming::Itself)
        }
    }
}

/// Returns the first statement of this effect that matches, of those that name the caller in one of
/// two ways.
fn find<'a>(
    policy: &'a Policy,
    effect: Effect,
    question: Question<'_>,
    is_named: impl Fn(&Statement) -> bool,
) -> Option<&'a Statement> {
    let Question { action, resource, context } = question;
    let matches = |statement: &&Statement| {
        statement.effect == effect && is_named(statement) && statement.matches(action, resource, context)
    };
    policy.statements.iter().find(matches)
}

/// Returns the first statement of this effect in the policies of the caller, with the number of its
/// policy from 1.
fn find_in_identity(caller: &Caller, effect: Effect, question: Question<'_>) -> Option<(usize, String)> {
    let mut policies = caller.identity.policies.iter().enumerate();
    policies.find_map(|(position, policy)| {
        find(policy, effect, question, |_| true).map(|statement| (position + 1, statement.name()))
    })
}

fn denied(caller: &Caller, question: Question<'_>, key: Option<&KeyPermissions<'_>>) -> Option<Why> {
    if let Some(key) = key {
        // A denial that names the account holds for all that is in it.
        let found = find(key.policy, Effect::Deny, question, |statement| names(statement, caller).is_some());
        if let Some(statement) = found {
            return Some(Why::DeniedByKeyPolicy { statement: statement.name() });
        }
    }
    let session = caller.session.as_ref().and_then(|session| session.policy.as_ref());
    if let Some(statement) = session.and_then(|policy| find(policy, Effect::Deny, question, |_| true)) {
        return Some(Why::DeniedByIdentity { policy: 0, statement: statement.name() });
    }
    let (policy, statement) = find_in_identity(caller, Effect::Deny, question)?;
    Some(Why::DeniedByIdentity { policy, statement })
}

/// Decides a question about a key, or, without one, by the caller's policies alone.
pub(crate) fn decide(caller: &Caller, question: Question<'_>, key: Option<&KeyPermissions<'_>>) -> Decision {
    if let Some(why) = denied(caller, question, key) {
        return Decision::Refused(why);
    }
    let by_identity = find_in_identity(caller, Effect::Allow, question);
    let session_policy = caller.session.as_ref().and_then(|session| session.policy.as_ref());
    let in_session = session_policy.is_none_or(|policy| find(policy, Effect::Allow, question, |_| true).is_some());
    let bounded = |by| if in_session { Decision::Allowed(by) } else { Decision::Refused(Why::NoSessionPolicy) };
    let Some(key) = key else {
        return match by_identity {
            Some((policy, statement)) => bounded(By::Identity { policy, statement, delegated_by: None }),
            None => Decision::Refused(Why::NoIdentityPolicy),
        };
    };
    let named =
        |wanted| find(key.policy, Effect::Allow, question, |statement| names(statement, caller) == Some(wanted));
    let (itself, account) = (named(Naming::Itself), named(Naming::Account));
    let is_same_account = caller.account() == key.account;
    match (itself, by_identity) {
        (Some(statement), _) if is_same_account => return bounded(By::KeyPolicy { statement: statement.name() }),
        // In another account, both that account and the key's must agree.
        (itself, Some((policy, statement))) => {
            if let Some(delegating) = account.or(itself) {
                let delegated_by = Some(delegating.name());
                return bounded(By::Identity { policy, statement, delegated_by });
            }
        }
        _ => {}
    }
    if let Some(id) = (key.grant)() {
        return bounded(By::Grant { id });
    }
    Decision::Refused(if account.or(itself).is_some() { Why::NoIdentityPolicy } else { Why::NoKeyPolicy })
}

/// Returns whether a trust policy lets the caller assume its role, by itself or by its account and a
/// policy of its own.
pub(crate) fn may_assume(caller: &Caller, trust: &Policy, role_account: &str, question: Question<'_>) -> bool {
    let role = KeyPermissions { account: role_account, policy: trust, grant: &|| None };
    matches!(decide(caller, question, Some(&role)), Decision::Allowed(_))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::server::{
        identity::{Identity, Session},
        policy::Kind,
    };

    const ACCOUNT: &str = "111122223333";
    const KEY: &str = "arn:aws:kms:us-east-1:111122223333:key/1234";

    fn statement(effect: &str, principal: &str, action: &str, rest: &str) -> String {
        let principal = if principal.is_empty() { String::new() } else { format!(r#""Principal":{principal},"#) };
        format!(r#"{{"Effect":"{effect}",{principal}"Action":"{action}","Resource":"*"{rest}}}"#)
    }

    fn policy(kind: Kind, statements: &[String]) -> Policy {
        let text = format!(r#"{{"Version":"2012-10-17","Statement":[{}]}}"#, statements.join(","));
        Policy::parse(&text, kind).unwrap()
    }

    fn caller(account: &str, statements: &[String]) -> Caller {
        let policies = if statements.is_empty() { Vec::new() } else { vec![policy(Kind::Identity, statements)] };
        let identity = Identity {
            account: account.into(),
            name: "alice".into(),
            arn: format!("arn:aws:iam::{account}:user/alice"),
            unique_id: "AIDA1".into(),
            policies,
            tags: Default::default(),
            trust: None,
        };
        Caller { identity: Arc::new(identity), access_key: "AKIA1".into(), session: None }
    }

    fn ask(caller: &Caller, key_policy: &[String], grant: Option<&str>) -> Decision {
        let mut context = Context::default();
        context.set("kms:EncryptionContext:tenant", "blue");
        let policy = policy(Kind::Key, key_policy);
        let question = Question { action: "kms:Decrypt", resource: KEY, context: &context };
        let grant = || grant.map(str::to_owned);
        decide(caller, question, Some(&KeyPermissions { account: ACCOUNT, policy: &policy, grant: &grant }))
    }

    #[test]
    fn the_cases_on_which_simulator_and_guide_agree() {
        let root = r#"{"AWS":"arn:aws:iam::111122223333:root"}"#;
        let alice = r#"{"AWS":"arn:aws:iam::111122223333:user/alice"}"#;
        let bob = r#"{"AWS":"arn:aws:iam::111122223333:user/bob"}"#;
        let stranger = r#"{"AWS":"arn:aws:iam::444455556666:user/alice"}"#;
        let other_root = r#"{"AWS":"444455556666"}"#;
        let key = |effect: &str, principal: &str, action: &str| statement(effect, principal, action, "");
        let own = |effect: &str| vec![statement(effect, "", "kms:*", "")];
        let allow = || own("Allow");
        let by_key = || Some("key");
        let (here, there) = (ACCOUNT, "444455556666");
        // The account, its policies, the key policy, and what allows it, if anything does.
        let cases = [
            (here, vec![], vec![key("Allow", "\"*\"", "kms:*")], by_key()),
            (here, vec![], vec![key("Allow", r#"{"AWS":"*"}"#, "kms:*")], by_key()),
            (there, vec![], vec![key("Allow", "\"*\"", "kms:*")], None),
            (there, allow(), vec![key("Allow", "\"*\"", "kms:*")], Some("identity")),
            (there, vec![], vec![key("Allow", stranger, "kms:*")], None),
            (there, allow(), vec![key("Allow", stranger, "kms:*")], Some("identity")),
            (there, allow(), vec![key("Allow", other_root, "kms:*")], Some("identity")),
            (there, allow(), vec![key("Allow", root, "kms:*")], None),
            (here, vec![], vec![key("Allow", root, "kms:*")], None),
            (here, allow(), vec![key("Allow", root, "kms:*")], Some("identity")),
            // The statement bounds what the account can delegate.
            (here, allow(), vec![key("Allow", root, "kms:Describe*")], None),
            (here, allow(), vec![key("Allow", bob, "kms:*")], None),
            (here, vec![], vec![key("Allow", alice, "kms:Decrypt")], by_key()),
            (here, vec![], vec![key("Allow", alice, "kms:Encrypt")], None),
            // A denial anywhere wins.
            (here, own("Deny"), vec![key("Allow", alice, "kms:*")], None),
            (here, allow(), vec![key("Allow", root, "kms:*"), key("Deny", alice, "kms:*")], None),
            (here, allow(), vec![key("Allow", alice, "kms:*"), key("Deny", root, "kms:*")], None),
            (here, allow(), vec![key("Allow", alice, "kms:*"), key("Deny", bob, "kms:*")], by_key()),
        ];
        for (number, (account, own, key_policy, expected)) in cases.into_iter().enumerate() {
            let caller = caller(account, &own);
            let found = match ask(&caller, &key_policy, None) {
                Decision::Allowed(By::KeyPolicy { .. }) => Some("key"),
                Decision::Allowed(By::Identity { .. }) => Some("identity"),
                Decision::Allowed(By::Grant { .. }) => Some("grant"),
                Decision::Refused(_) => None,
            };
            assert_eq!(found, expected, "case {number}");
            // A grant allows what no policy allows, unless one denies it.
            let denies = key_policy.iter().chain(&own).any(|text| text.contains("Deny") && !text.contains("bob"));
            let granted = matches!(ask(&caller, &key_policy, Some("g")), Decision::Allowed(_));
            assert_eq!(granted, !denies, "case {number} with a grant");
        }
    }

    #[test]
    fn the_reasons_of_refusals_name_the_policy_that_is_missing() {
        let root = vec![statement("Allow", r#"{"AWS":"111122223333"}"#, "kms:*", "")];
        let bob = vec![statement("Allow", r#"{"AWS":"arn:aws:iam::111122223333:user/bob"}"#, "kms:*", "")];
        assert_eq!(ask(&caller(ACCOUNT, &[]), &root, None), Decision::Refused(Why::NoIdentityPolicy));
        assert_eq!(ask(&caller(ACCOUNT, &[]), &bob, None), Decision::Refused(Why::NoKeyPolicy));
        assert_eq!(
            Why::NoIdentityPolicy.because("kms:Decrypt"),
            "because no identity-based policy allows the kms:Decrypt action"
        );
    }

    #[test]
    fn conditions_decide_whether_a_statement_counts() {
        let with = |value: &str| {
            let condition = format!(r#","Condition":{{"StringEquals":{{"kms:EncryptionContext:Tenant":"{value}"}}}}"#);
            vec![statement("Allow", r#"{"AWS":"*"}"#, "kms:*", &condition)]
        };
        assert!(matches!(ask(&caller(ACCOUNT, &[]), &with("blue"), None), Decision::Allowed(_)));
        assert!(matches!(ask(&caller(ACCOUNT, &[]), &with("red"), None), Decision::Refused(_)));
    }

    #[test]
    fn a_session_is_named_by_its_role_and_bounded_by_its_policy() {
        let session = |policy: Option<Policy>| {
            let mut caller = caller(ACCOUNT, &[]);
            let role = Identity {
                account: ACCOUNT.into(),
                name: "app".into(),
                arn: "arn:aws:iam::111122223333:role/app".into(),
                unique_id: "AROA1".into(),
                policies: Vec::new(),
                tags: Default::default(),
                trust: None,
            };
            caller.identity = Arc::new(role);
            let arn = "arn:aws:sts::111122223333:assumed-role/app/one".into();
            caller.session = Some(Arc::new(Session { name: "one".into(), arn, policy, created: 0 }));
            caller
        };
        for principal in ["arn:aws:iam::111122223333:role/app", "arn:aws:sts::111122223333:assumed-role/app/one"] {
            let key = vec![statement("Allow", &format!(r#"{{"AWS":"{principal}"}}"#), "kms:*", "")];
            assert!(matches!(ask(&session(None), &key, None), Decision::Allowed(By::KeyPolicy { .. })));
            let only = policy(Kind::Identity, &[statement("Allow", "", "kms:Encrypt", "")]);
            assert_eq!(ask(&session(Some(only)), &key, None), Decision::Refused(Why::NoSessionPolicy));
        }
        let key = vec![statement("Allow", r#"{"AWS":"arn:aws:sts::111122223333:assumed-role/app/two"}"#, "kms:*", "")];
        assert!(matches!(ask(&session(None), &key, None), Decision::Refused(_)));
    }

    #[test]
    fn a_denial_of_all_but_one_principal_must_list_user_and_account() {
        let deny = |principals: &str| {
            let denial =
                format!(r#"{{"Effect":"Deny","NotPrincipal":{{"AWS":[{principals}]}},"Action":"*","Resource":"*"}}"#);
            vec![statement("Allow", "\"*\"", "kms:*", ""), denial]
        };
        let (user, root) = (r#""arn:aws:iam::111122223333:user/alice""#, r#""arn:aws:iam::111122223333:root""#);
        let allowed = |key: &[String]| matches!(ask(&caller(ACCOUNT, &[]), key, None), Decision::Allowed(_));
        assert!(allowed(&deny(&format!("{user},{root}"))));
        assert!(!allowed(&deny(root)));
        assert!(!allowed(&deny(user)));
    }
}
