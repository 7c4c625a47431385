//! The grammar of policy documents.

use serde_json::{Map, Value};

use super::{condition::Condition, context::Context, pattern::Pattern};

/// What a document belongs to, which decides the elements that its statements must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The policy of a key: each statement has a principal, and a resource that is not there matches
    /// nothing.
    Key,
    /// The policy of a user, role or session: no statement has a principal.
    Identity,
    /// The policy of a role that says who may assume it: principals, and no resources.
    Trust,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Allow,
    Deny,
}

/// A caller, or several, as a policy names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Principal {
    Anyone,
    /// An account, by its number or the ARN of its root user.
    Account(String),
    /// A user, role or session.
    Arn(String),
    Service(String),
    /// A principal of a form that no caller of this endpoint has.
    Other(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Principals {
    Are(Vec<Principal>),
    AreNot(Vec<Principal>),
}

/// Actions or resources: those that match a pattern, or those that match none.
#[derive(Clone, Debug, Default)]
struct Matcher {
    negated: bool,
    patterns: Option<Vec<Pattern>>,
}

impl Matcher {
    fn matches(&self, text: &str, ignore_case: bool, context: &Context) -> bool {
        let Some(patterns) = &self.patterns else { return false };
        patterns.iter().any(|pattern| pattern.matches(text, ignore_case, context)) != self.negated
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Statement {
    sid: Option<String>,
    number: usize,
    pub(crate) effect: Effect,
    pub(crate) principals: Option<Principals>,
    actions: Matcher,
    resources: Matcher,
    conditions: Vec<Condition>,
    has_resources: bool,
}

/// A parsed policy document.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    pub(crate) statements: Vec<Statement>,
}

impl Statement {
    /// Returns the name of the statement for an explanation: its `Sid` or its number from 1.
    pub(crate) fn name(&self) -> String {
        self.sid.clone().unwrap_or_else(|| format!("#{}", self.number))
    }

    /// Returns whether action, resource and conditions match. Principals are up to the caller.
    pub(crate) fn matches(&self, action: &str, resource: &str, context: &Context) -> bool {
        self.actions.matches(action, true, context)
            && (!self.has_resources || self.resources.matches(resource, false, context))
            && self.conditions.iter().all(|condition| condition.holds(context))
    }
}

impl Policy {
    /// Parses a document.
    ///
    /// # Errors
    /// What is wrong with it, and in which statement.
    pub(crate) fn parse(text: &str, kind: Kind) -> Result<Self, String> {
        // The characters that AWS allows in policies.
        let allowed = |letter: char| matches!(letter, '\t' | '\n' | '\r' | '\u{20}'..='\u{ff}');
        if let Some(letter) = text.chars().find(|letter| !allowed(*letter)) {
            return Err(format!("The policy contains the invalid character U+{:04X}.", u32::from(letter)));
        }
        let value: Value = serde_json::from_str(text).map_err(|error| format!("Syntax errors in policy: {error}."))?;
        Self::of(&value, kind)
    }

    /// Parses a document that is a JSON value already.
    pub(crate) fn of(value: &Value, kind: Kind) -> Result<Self, String> {
        let Value::Object(document) = value else { return Err("Syntax errors in policy: it is not an object.".into()) };
        let known = |name: &str| matches!(name, "Version" | "Id" | "Statement");
        if let Some(name) = document.keys().find(|name| !known(name)) {
            return Err(format!("Syntax error in policy: unknown element {name}."));
        }
        let variables = match document.get("Version") {
            None => false,
            Some(Value::String(version)) if version == "2008-10-17" => false,
            Some(Value::String(version)) if version == "2012-10-17" => true,
            Some(_) => return Err("The policy must contain a valid version string.".into()),
        };
        if document.get("Id").is_some_and(|id| !id.is_string()) {
            return Err("Syntax errors in policy: Id is not a string.".into());
        }
        let statements = match document.get("Statement") {
            Some(Value::Array(statements)) => statements.iter().collect(),
            Some(statement @ Value::Object(_)) => vec![statement],
            _ => Vec::new(),
        };
        if statements.is_empty() {
            return Err("Policy document must contain at least one statement.".into());
        }
        let mut sids = Vec::new();
        let parse = |(position, statement): (usize, &Value)| {
            let number = position + 1;
            let statement = Statement::parse(statement, number, kind, variables)
                .map_err(|error| format!("Policy statement {number}: {error}"))?;
            if let Some(sid) = statement.sid.clone() {
                if sids.contains(&sid) {
                    return Err(format!("Statement IDs (SID) in a single policy must be unique: {sid}."));
                }
                sids.push(sid);
            }
            Ok(statement)
        };
        Ok(Self { statements: statements.into_iter().enumerate().map(parse).collect::<Result<_, _>>()? })
    }

    /// Returns all principals that the document names.
    pub(crate) fn principals(&self) -> impl Iterator<Item = &Principal> {
        self.statements.iter().flat_map(|statement| match &statement.principals {
            Some(Principals::Are(principals) | Principals::AreNot(principals)) => principals.as_slice(),
            None => &[],
        })
    }
}

impl Statement {
    fn parse(value: &Value, number: usize, kind: Kind, variables: bool) -> Result<Self, String> {
        let Value::Object(statement) = value else { return Err("it is not an object.".into()) };
        for name in statement.keys() {
            let known =
                ["Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource"];
            if !known.contains(&name.as_str()) && name != "Condition" {
                return Err(format!("unknown element {name}."));
            }
        }
        let sid = match statement.get("Sid") {
            None => None,
            Some(Value::String(sid)) => Some(sid.clone()).filter(|sid| !sid.is_empty()),
            Some(_) => return Err("Sid is not a string.".into()),
        };
        let effect = match statement.get("Effect").and_then(Value::as_str) {
            Some("Allow") => Effect::Allow,
            Some("Deny") => Effect::Deny,
            _ => return Err("Effect must be Allow or Deny.".into()),
        };
        let principals = either(statement, "Principal", "NotPrincipal")?;
        let principals = principals.map(|(value, negated)| {
            let listed = principals_of(value)?;
            Ok::<_, String>(if negated { Principals::AreNot(listed) } else { Principals::Are(listed) })
        });
        let principals = principals.transpose()?;
        match (kind, &principals) {
            (Kind::Identity, Some(_)) => return Err("a policy of an identity must not have a Principal.".into()),
            (Kind::Key | Kind::Trust, None) => return Err("Principal is missing.".into()),
            (_, Some(Principals::AreNot(_))) if effect == Effect::Allow => {
                return Err("Allow with NotPrincipal is not supported.".into());
            }
            _ => {}
        }
        let actions = matcher(statement, "Action", "NotAction", variables)?;
        let resources = matcher(statement, "Resource", "NotResource", variables)?;
        match kind {
            Kind::Identity if actions.patterns.is_none() => return Err("Action is missing.".into()),
            Kind::Identity if resources.patterns.is_none() => return Err("Resource is missing.".into()),
            Kind::Trust if resources.patterns.is_some() => return Err("a trust policy has no Resource.".into()),
            _ => {}
        }
        let conditions = conditions_of(statement.get("Condition"), variables)?;
        Ok(Self { sid, number, effect, principals, actions, resources, conditions, has_resources: kind != Kind::Trust })
    }
}

/// Returns the value of one of two elements, of which a statement must not have both, and whether it
/// is the second.
fn either<'a>(
    statement: &'a Map<String, Value>,
    name: &str,
    negated: &str,
) -> Result<Option<(&'a Value, bool)>, String> {
    match (statement.get(name), statement.get(negated)) {
        (Some(_), Some(_)) => Err(format!("it has both {name} and {negated}.")),
        (Some(value), None) => Ok(Some((value, false))),
        (None, Some(value)) => Ok(Some((value, true))),
        (None, None) => Ok(None),
    }
}

fn matcher(statement: &Map<String, Value>, name: &str, negated: &str, variables: bool) -> Result<Matcher, String> {
    let Some((value, is_negated)) = either(statement, name, negated)? else { return Ok(Matcher::default()) };
    let texts = strings(value).filter(|texts| !texts.is_empty());
    let texts = texts.ok_or_else(|| format!("{name} must be a string or a list of strings."))?;
    let patterns = texts.iter().map(|text| Pattern::new(text, variables)).collect();
    Ok(Matcher { negated: is_negated, patterns: Some(patterns) })
}

/// Returns a string, or the strings of a list.
fn strings(value: &Value) -> Option<Vec<&str>> {
    match value {
        Value::String(text) => Some(vec![text]),
        Value::Array(values) => values.iter().map(Value::as_str).collect(),
        _ => None,
    }
}

fn principals_of(value: &Value) -> Result<Vec<Principal>, String> {
    let invalid = || "Principal must be \"*\" or name principals by their type.".to_owned();
    let kinds = match value {
        Value::String(any) if any == "*" => return Ok(vec![Principal::Anyone]),
        Value::Object(kinds) if !kinds.is_empty() => kinds,
        _ => return Err(invalid()),
    };
    let mut principals = Vec::new();
    for (kind, names) in kinds {
        let names = strings(names).filter(|names| !names.is_empty()).ok_or_else(invalid)?;
        for name in names {
            principals.push(match kind.as_str() {
                "AWS" => {
                    aws_principal(name).ok_or_else(|| format!("Invalid principal in policy: \"AWS\":\"{name}\""))?
                }
                "Service" => Principal::Service(name.to_owned()),
                "Federated" | "CanonicalUser" => Principal::Other(name.to_owned()),
                _ => return Err(format!("Invalid principal in policy: {kind}.")),
            });
        }
    }
    Ok(principals)
}

fn aws_principal(name: &str) -> Option<Principal> {
    let is_account = |text: &str| text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    if name == "*" {
        return Some(Principal::Anyone);
    }
    if is_account(name) {
        return Some(Principal::Account(name.to_owned()));
    }
    let mut parts = name.splitn(6, ':');
    let mut next = || parts.next().unwrap_or_default();
    let (arn, partition, service, region, account, resource) = (next(), next(), next(), next(), next(), next());
    if arn != "arn" || !partition.starts_with("aws") || !region.is_empty() || !is_account(account) {
        return None;
    }
    // Wildcards inside of an ARN are not allowed.
    if name.contains(['*', '?']) {
        return None;
    }
    match (service, resource.split_once('/')) {
        ("iam", None) if resource == "root" => Some(Principal::Account(account.to_owned())),
        ("iam", Some(("user" | "role", path))) if !path.is_empty() => Some(Principal::Arn(name.to_owned())),
        ("sts", Some(("assumed-role", path))) if path.contains('/') => Some(Principal::Arn(name.to_owned())),
        ("sts", Some(("federated-user", path))) if !path.is_empty() => Some(Principal::Other(name.to_owned())),
        _ => None,
    }
}

fn conditions_of(value: Option<&Value>, variables: bool) -> Result<Vec<Condition>, String> {
    let operators = match value {
        None => return Ok(Vec::new()),
        Some(Value::Object(operators)) => operators,
        Some(_) => return Err("Condition must be an object.".into()),
    };
    let mut conditions = Vec::new();
    for (operator, keys) in operators {
        let Value::Object(keys) = keys else { return Err(format!("Condition {operator} must be an object.")) };
        for (key, values) in keys {
            let text = |value: &Value| match value {
                Value::String(text) => Some(text.clone()),
                Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
                _ => None,
            };
            let values = match values {
                Value::Array(values) => values.iter().map(text).collect(),
                value => text(value).map(|value| vec![value]),
            };
            let values: Vec<_> =
                values.ok_or_else(|| format!("Condition {operator} has an invalid value for {key}."))?;
            conditions.push(Condition::new(operator, key, &values, variables)?);
        }
    }
    Ok(conditions)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str, kind: Kind) -> String {
        Policy::parse(text, kind).err().unwrap_or_default()
    }

    #[test]
    fn malformed_documents_say_what_is_wrong() {
        let statement = |inside: &str| format!(r#"{{"Version":"2012-10-17","Statement":[{inside}]}}"#);
        let with = |name: &str, value: &str| {
            let all = [("Effect", "\"Allow\""), ("Principal", "\"*\""), ("Action", "\"kms:*\""), ("Resource", "\"*\"")];
            let mut elements: Vec<_> = all.iter().filter(|(known, _)| *known != name).copied().collect();
            if !value.is_empty() {
                elements.push((name, value));
            }
            let elements: Vec<_> = elements.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
            statement(&format!("{{{}}}", elements.join(",")))
        };
        assert_eq!(error(&with("Sid", "\"a\""), Kind::Key), "");
        for (text, expected) in [
            ("{".to_owned(), "Syntax errors in policy"),
            ("[]".to_owned(), "it is not an object"),
            ("{\"Version\":\"2012-10-17\"}".to_owned(), "at least one statement"),
            (with("Effect", "\"allow\""), "Policy statement 1: Effect must be Allow or Deny."),
            (with("Principal", ""), "Principal is missing"),
            (with("Principal", "\"me\""), "Principal must be"),
            (with("Principal", r#"{"AWS":"arn:aws:iam::111122223333:user/*"}"#), "Invalid principal in policy"),
            (with("Principal", r#"{"AWS":"arn:aws:iam::111122223333:group/g"}"#), "Invalid principal in policy"),
            (with("Principal", r#"{"AWS":[]}"#), "Principal must be"),
            (with("NotPrincipal", "\"*\""), "both Principal and NotPrincipal"),
            (with("NotAction", "\"*\""), "both Action and NotAction"),
            (with("Action", "7"), "Action must be a string"),
            (with("Extra", "7"), "unknown element Extra"),
            (with("Condition", "[]"), "Condition must be an object"),
            (with("Condition", r#"{"StringEquals":{"k":{}}}"#), "invalid value for k"),
            (with("Condition", r#"{"StringIs":{"k":"v"}}"#), "Invalid Condition type : StringIs."),
            (statement("7"), "Policy statement 1: it is not an object"),
            (with("Sid", "\"\u{100}\""), "invalid character U+0100"),
        ] {
            let found = error(&text, Kind::Key);
            assert!(found.contains(expected), "{text}: {found}");
        }
        let version = with("Sid", "\"a\"").replace("2012-10-17", "2026-01-01");
        assert_eq!(error(&version, Kind::Key), "The policy must contain a valid version string.");
        assert!(error(&with("Sid", "\"a\""), Kind::Identity).contains("must not have a Principal"));
        assert!(error(&with("Sid", "\"a\""), Kind::Trust).contains("has no Resource"));
        let twice = r#"{"Sid":"a","Effect":"Deny","Principal":"*"}"#;
        assert!(error(&statement(&format!("{twice},{twice}")), Kind::Key).contains("must be unique"));
    }

    #[test]
    fn a_statement_without_action_or_resource_has_no_effect_in_a_key_policy() {
        let text = r#"{"Statement":{"Effect":"Allow","Principal":"*","Action":"kms:*"}}"#;
        let policy = Policy::parse(text, Kind::Key).unwrap();
        assert!(!policy.statements[0].matches("kms:Decrypt", "arn", &Context::default()));
        let policy = Policy::parse(&text.replace("Action", "Resource"), Kind::Key).unwrap();
        assert!(!policy.statements[0].matches("kms:Decrypt", "kms:x", &Context::default()));
    }

    #[test]
    fn actions_are_case_insensitive_and_can_be_negated() {
        let text = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","NotAction":["kms:DE*"],"Resource":"*"}}"#;
        let statement = &Policy::parse(text, Kind::Identity).unwrap().statements[0];
        assert!(statement.matches("kms:Encrypt", "arn", &Context::default()));
        assert!(!statement.matches("kms:Decrypt", "arn", &Context::default()));
        assert_eq!(statement.name(), "#1");
    }

    #[test]
    fn principals_have_the_forms_of_aws() {
        let parse = |value: &str| principals_of(&serde_json::from_str(value).unwrap());
        let account = Principal::Account("111122223333".into());
        assert_eq!(parse(r#"{"AWS":"111122223333"}"#), Ok(vec![account.clone()]));
        assert_eq!(parse(r#"{"AWS":["arn:aws:iam::111122223333:root"]}"#), Ok(vec![account]));
        let session = "arn:aws:sts::111122223333:assumed-role/app/one";
        assert_eq!(parse(&format!(r#"{{"AWS":"{session}"}}"#)), Ok(vec![Principal::Arn(session.into())]));
        assert_eq!(parse(r#"{"AWS":"*"}"#), Ok(vec![Principal::Anyone]));
        assert!(parse(r#"{"AWS":"arn:aws:iam::111122223333:user/"}"#).is_err());
        assert!(parse(r#"{"AWS":"arn:aws:iam::1111:root"}"#).is_err());
    }
}
