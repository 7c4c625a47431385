//! The two operations of AWS STS that clients start with, and the sessions of roles.

use std::sync::Arc;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use sealwax::SecretBytes;
use serde::{Deserialize, Serialize};

use super::{
    decision::{Question, may_assume},
    engine::{Engine, Source},
    error::{ApiError, Result},
    identity::{Caller, Session},
    policy::{Context, Kind, Policy},
};
use crate::seal::{open, random_hex, seal};

const LABEL: &str = "endpoint session";
const SHORTEST: u64 = 900;
const LONGEST: u64 = 43_200;
const DEFAULT: u64 = 3600;

/// What a session token contains, sealed. The endpoint stores nothing of a session.
#[derive(Serialize, Deserialize)]
struct Token {
    access_key: String,
    secret: String,
    role: String,
    name: String,
    policy: Option<String>,
    created: u64,
    expires: u64,
}

/// Returns the caller and the secret for the access key of a request.
///
/// # Errors
/// If there is no such access key, or the token is altered, expired, or of a role that is gone.
pub(crate) fn authenticate(engine: &Engine, access_key: &str, token: Option<&str>) -> Result<(Caller, SecretBytes)> {
    let unknown =
        || ApiError::new("UnrecognizedClientException", "The security token included in the request is invalid.");
    let identities = engine.identities();
    let Some(token) = token else {
        let (identity, secret) = identities.access_key(access_key).ok_or_else(unknown)?;
        let caller = Caller { identity, access_key: access_key.to_owned(), session: None };
        return Ok((caller, SecretBytes::from(secret.as_bytes())));
    };
    let sealed = BASE64_STANDARD.decode(token).map_err(|_| unknown())?;
    let token = open(&engine.session_key, LABEL, access_key.as_bytes(), &sealed).map_err(|_| unknown())?;
    let token: Token = serde_json::from_slice(token.as_bytes()).map_err(|_| unknown())?;
    if token.expires <= engine.now() {
        return Err(ApiError::new("ExpiredTokenException", "The security token included in the request is expired"));
    }
    let identity = identities.by_arn(&token.role).ok_or_else(unknown)?;
    let policy = token.policy.map(|text| Policy::parse(&text, Kind::Identity)).transpose().map_err(|_| unknown())?;
    let arn = format!("arn:aws:sts::{}:assumed-role/{}/{}", identity.account, identity.name, token.name);
    let session = Session { name: token.name, arn, policy, created: token.created };
    let caller = Caller { identity, access_key: token.access_key, session: Some(Arc::new(session)) };
    Ok((caller, SecretBytes::from(token.secret.into_bytes())))
}

/// Performs an operation of STS, and returns the answer in XML.
///
/// # Errors
/// The error, which the caller writes in XML too.
pub(crate) fn handle(engine: &Engine, caller: &Caller, body: &[u8], source: &Source) -> Result<String> {
    let members = form(body);
    let get = |name: &str| members.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let (operation, result) = match get("Action") {
        Some("GetCallerIdentity") => {
            let (arn, account) = (escaped(caller.arn()), caller.account());
            let id = escaped(&caller.user_id());
            ("GetCallerIdentity", format!("<Arn>{arn}</Arn><UserId>{id}</UserId><Account>{account}</Account>"))
        }
        Some("AssumeRole") => ("AssumeRole", assume_role(engine, caller, &get, source)?),
        action => {
            let why = format!("Could not find operation {} for version 2011-06-15", action.unwrap_or_default());
            return Err(ApiError::new("InvalidAction", why));
        }
    };
    let id = &source.request_id;
    Ok(format!(
        "<{operation}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{operation}Result>{result}\
         </{operation}Result><ResponseMetadata><RequestId>{id}</RequestId></ResponseMetadata></{operation}Response>"
    ))
}

fn assume_role<'a>(
    engine: &Engine,
    caller: &Caller,
    get: &dyn Fn(&str) -> Option<&'a str>,
    source: &Source,
) -> Result<String> {
    let arn = get("RoleArn").unwrap_or_default();
    let name = get("RoleSessionName").unwrap_or_default();
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte);
    if !(2..=64).contains(&name.len()) || !name.bytes().all(allowed) {
        return Err(ApiError::new("ValidationError", "RoleSessionName must have 2 to 64 letters, digits and _+=,.@-"));
    }
    let duration = match get("DurationSeconds").map(str::parse) {
        None => DEFAULT,
        Some(Ok(seconds @ SHORTEST..=LONGEST)) => seconds,
        Some(_) => return Err(ApiError::new("ValidationError", "DurationSeconds must be 900 to 43200")),
    };
    let policy = get("Policy").map(str::to_owned);
    if let Some(Err(why)) = policy.as_deref().map(|text| Policy::parse(text, Kind::Identity)) {
        return Err(ApiError::new("MalformedPolicyDocument", why));
    }
    let mut context = Context::default();
    context.set("sts:RoleSessionName", name);
    context.set("aws:PrincipalArn", &caller.identity.arn);
    context.set("aws:PrincipalAccount", caller.account());
    context.set("aws:SourceIp", &source.address);
    if let Some(id) = get("ExternalId") {
        context.set("sts:ExternalId", id);
    }
    let question = Question { action: "sts:AssumeRole", resource: arn, context: &context };
    let role = engine.identities().by_arn(arn);
    let role =
        role.filter(|role| role.trust.as_ref().is_some_and(|trust| may_assume(caller, trust, &role.account, question)));
    let role = role.ok_or_else(|| {
        let why = format!("User: {} is not authorized to perform: sts:AssumeRole on resource: {arn}", caller.arn());
        ApiError { status: 403, ..ApiError::new("AccessDenied", why) }
    })?;
    let (now, access_key) = (engine.now(), format!("ASIA{}", random_hex::<8>()?.to_uppercase()));
    let secret = random_hex::<20>()?;
    let (created, expires) = (now, now + duration * 1000);
    let token = Token {
        access_key: access_key.clone(),
        secret: secret.clone(),
        role: role.arn.clone(),
        name: name.to_owned(),
        policy,
        created,
        expires,
    };
    let token = SecretBytes::from(serde_json::to_vec(&token).map_err(ApiError::failed("writing a session token"))?);
    let token = BASE64_STANDARD.encode(seal(&engine.session_key, LABEL, access_key.as_bytes(), token.as_bytes())?);
    let end = std::time::UNIX_EPOCH + std::time::Duration::from_secs(expires / 1000);
    Ok(format!(
        "<AssumedRoleUser><AssumedRoleId>{}:{name}</AssumedRoleId><Arn>arn:aws:sts::{}:assumed-role/{}/{name}</Arn>\
         </AssumedRoleUser><Credentials><AccessKeyId>{access_key}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey>\
         <SessionToken>{token}</SessionToken><Expiration>{}</Expiration></Credentials>",
        role.unique_id,
        role.account,
        escaped(&role.name),
        humantime::format_rfc3339_seconds(end)
    ))
}

/// Returns the body of an error in XML.
pub(crate) fn error_body(error: &ApiError, request_id: &str) -> String {
    let (code, message) = (error.code, escaped(error.message.as_deref().unwrap_or_default()));
    format!(
        "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type><Code>{code}</Code>\
         <Message>{message}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Parses a form.
fn form(body: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(body);
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, value)| (decoded(key), decoded(value))).collect()
}

fn decoded(text: &str) -> String {
    let text = text.replace('+', " ");
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        match part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                bytes.extend_from_slice(part.get(2..).unwrap_or_default().as_bytes());
            }
            None => bytes.extend([b"%", part.as_bytes()].concat()),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_decoded() {
        assert_eq!(
            form(b"A=b+c%2Fd&E=%zz&F=%C3%A9"),
            [("A", "b c/d"), ("E", "%zz"), ("F", "é")].map(|(key, value)| { (key.to_owned(), value.to_owned()) })
        );
    }
}
