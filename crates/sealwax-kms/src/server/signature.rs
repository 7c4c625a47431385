//! Verification of AWS Signature Version 4.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::error::{ApiError, Result};
use crate::seal::hex;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const TERMINATOR: &str = "aws4_request";
/// How far the time of a request may be from now, in seconds.
const WINDOW: u64 = 15 * 60;

/// The parts of a request that are signed.
pub(crate) struct Signed<'a> {
    pub(crate) method: &'a str,
    /// The query as it was received, without the question mark.
    pub(crate) query: &'a str,
    /// All headers in the order in which they were received, with names in lower case.
    pub(crate) headers: &'a [(&'a str, &'a str)],
    pub(crate) body: &'a [u8],
}

/// The claims of an `Authorization` header, which are not verified yet.
pub(crate) struct Claim<'a> {
    pub(crate) access_key: &'a str,
    pub(crate) region: &'a str,
    pub(crate) service: &'a str,
    pub(crate) session_token: Option<&'a str>,
    date: &'a str,
    time: &'a str,
    signed_headers: &'a str,
    signature: &'a str,
}

impl<'a> Signed<'a> {
    fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    /// Parses the signature.
    ///
    /// # Errors
    /// If there is none, or it is incomplete.
    pub(crate) fn claim(&self) -> Result<Claim<'a>> {
        let missing = || ApiError::new("MissingAuthenticationTokenException", "Missing Authentication Token");
        let incomplete = |what: &str| ApiError::new("IncompleteSignatureException", what);
        let header = self.header("authorization").ok_or_else(missing)?;
        let rest = header.trim().strip_prefix(ALGORITHM);
        let rest = rest.ok_or_else(|| incomplete("Authorization header requires the algorithm 'AWS4-HMAC-SHA256'."))?;
        let (mut credential, mut signed_headers, mut signature) = (None, None, None);
        for part in rest.split(',') {
            match part.trim().split_once('=') {
                Some(("Credential", value)) => credential = Some(value),
                Some(("SignedHeaders", value)) => signed_headers = Some(value),
                Some(("Signature", value)) => signature = Some(value),
                _ => return Err(incomplete("Authorization header has an invalid part.")),
            }
        }
        let require = |value: Option<&'a str>, name: &str| {
            value
                .filter(|value| !value.is_empty())
                .ok_or_else(|| incomplete(&format!("Authorization header requires '{name}' parameter.")))
        };
        let credential = require(credential, "Credential")?;
        let (signed_headers, signature) = (require(signed_headers, "SignedHeaders")?, require(signature, "Signature")?);
        let scope: Vec<_> = credential.split('/').collect();
        let [access_key, date, region, service, TERMINATOR] = scope[..] else {
            return Err(incomplete("Credential must have exactly 5 slash-delimited elements."));
        };
        let time = self.header("x-amz-date");
        let time =
            time.ok_or_else(|| incomplete("Authorization header requires existence of a 'X-Amz-Date' header."))?;
        let session_token = self.header("x-amz-security-token");
        Ok(Claim { access_key, region, service, session_token, date, time, signed_headers, signature })
    }

    /// Verifies a signature with the secret of its access key, at a time in seconds since 1970.
    ///
    /// # Errors
    /// If the signature does not match, is outside of its time, or does not cover the headers that
    /// decide what the request is.
    pub(crate) fn verify(&self, claim: &Claim<'_>, secret: &[u8], now: u64) -> Result<()> {
        let invalid = |why: String| ApiError::new("InvalidSignatureException", why);
        let time = seconds(claim.time).ok_or_else(|| invalid(format!("Date {} is not valid.", claim.time)))?;
        if claim.time.get(..8) != Some(claim.date) {
            return Err(invalid(format!("Date in Credential scope does not match the date of {}.", claim.time)));
        }
        let basic = |time| basic_format(time);
        if time.saturating_add(WINDOW) < now {
            let (first, is) = (basic(now.saturating_sub(WINDOW)), basic(now));
            let why = format!("Signature expired: {} is now earlier than {first} ({is} - 15 min.)", claim.time);
            return Err(invalid(why));
        }
        if time > now.saturating_add(WINDOW) {
            let (last, is) = (basic(now.saturating_add(WINDOW)), basic(now));
            let why = format!("Signature not yet current: {} is still later than {last} ({is} + 15 min.)", claim.time);
            return Err(invalid(why));
        }
        let names: Vec<_> = claim.signed_headers.split(';').collect();
        for (name, _) in self.headers {
            let decides = *name == "host" || name.starts_with("x-amz-");
            if decides && !names.contains(name) {
                return Err(invalid(format!("'{name}' must be a 'SignedHeader' in the AWS Authorization.")));
            }
        }
        if !names.contains(&"host") {
            return Err(invalid("'Host' must be a 'SignedHeader' in the AWS Authorization.".into()));
        }
        let scope = format!("{}/{}/{}/{TERMINATOR}", claim.date, claim.region, claim.service);
        let request = hex(&Sha256::digest(self.canonical(&names, claim.signed_headers).as_bytes()));
        let to_sign = format!("{ALGORITHM}\n{}\n{scope}\n{request}", claim.time);
        let mut key = mac(&[b"AWS4", secret].concat(), claim.date.as_bytes())?;
        for part in [claim.region, claim.service, TERMINATOR] {
            key = mac(&key, part.as_bytes())?;
        }
        let expected = hex(&mac(&key, to_sign.as_bytes())?);
        if bool::from(expected.as_bytes().ct_eq(claim.signature.as_bytes())) {
            return Ok(());
        }
        Err(invalid(
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
             Access Key and signing method. Consult the service documentation for details."
                .into(),
        ))
    }

    /// Returns the canonical request. The path is always `/`, because the endpoint has no other.
    fn canonical(&self, names: &[&str], signed_headers: &str) -> String {
        let mut query: Vec<_> = self
            .query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .collect();
        query.sort_unstable();
        let query: Vec<_> = query.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let mut text = format!("{}\n/\n{}\n", self.method, query.join("&"));
        for name in names {
            let values = self.headers.iter().filter(|(known, _)| known == name);
            let values: Vec<_> =
                values.map(|(_, value)| value.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
            text.push_str(&format!("{name}:{}\n", values.join(",")));
        }
        text.push_str(&format!("\n{signed_headers}\n{}", hex(&Sha256::digest(self.body))));
        text
    }
}

fn mac(key: &[u8], text: &[u8]) -> Result<Vec<u8>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).map_err(ApiError::failed("an HMAC"))?;
    mac.update(text);
    Ok(mac.finalize().into_bytes().to_vec())
}

/// Returns the seconds since 1970 of a time such as `20261126T120000Z`.
fn seconds(text: &str) -> Option<u64> {
    if text.len() != 16 || !text.is_ascii() {
        return None;
    }
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let part = |text: &str, at: usize, length: usize| text.get(at..at + length).map(str::to_owned);
    let time = format!(
        "{}-{}-{}T{}:{}:{}Z",
        part(date, 0, 4)?,
        part(date, 4, 2)?,
        part(date, 6, 2)?,
        part(time, 0, 2)?,
        part(time, 2, 2)?,
        part(time, 4, 2)?
    );
    let time = humantime::parse_rfc3339(&time).ok()?;
    Some(time.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs())
}

fn basic_format(seconds: u64) -> String {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds.min(253_402_300_799));
    humantime::format_rfc3339_seconds(time).to_string().replace(['-', ':'], "")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
    const TIME: &str = "20150830T123600Z";

    /// Verifies a request that is signed for the service `service` in `us-east-1`, as in AWS's test
    /// suite.
    fn verify(
        method: &str,
        query: &str,
        headers: &[(&str, &str)],
        body: &[u8],
        signed: &str,
        signature: &str,
        late: i64,
    ) -> Result<()> {
        let authorization = format!(
            "{ALGORITHM} Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders={signed}, Signature={signature}"
        );
        let mut all = vec![("authorization", authorization.as_str())];
        all.extend(headers);
        let request = Signed { method, query, headers: &all, body };
        let claim = request.claim()?;
        assert_eq!((claim.access_key, claim.region, claim.service), ("AKIDEXAMPLE", "us-east-1", "service"));
        request.verify(&claim, SECRET, seconds(TIME).unwrap().checked_add_signed(late).unwrap())
    }

    const HOST: (&str, &str) = ("host", "example.amazonaws.com");
    const DATE: (&str, &str) = ("x-amz-date", TIME);
    const VANILLA: &str = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";

    #[test]
    fn the_requests_of_awss_test_suite_verify() {
        for (method, query, headers, body, signed, signature) in [
            ("GET", "", vec![HOST, DATE], &b""[..], "host;x-amz-date", VANILLA),
            (
                "POST",
                "",
                vec![HOST, DATE],
                b"",
                "host;x-amz-date",
                "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            ),
            (
                "GET",
                "Param2=value2&Param1=value1",
                vec![HOST, DATE],
                b"",
                "host;x-amz-date",
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
            (
                "GET",
                "",
                vec![HOST, ("my-header1", "value1"), ("my-header2", "\"a   b   c\""), DATE],
                b"",
                "host;my-header1;my-header2;x-amz-date",
                "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
            ),
            (
                "POST",
                "",
                vec![("content-type", "application/x-www-form-urlencoded"), HOST, DATE],
                b"Param1=value1",
                "content-type;host;x-amz-date",
                "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            ),
        ] {
            assert_eq!(
                verify(method, query, &headers, body, signed, signature, 0),
                Ok(()),
                "{method} {query} {signed}"
            );
        }
    }

    #[test]
    fn anything_altered_is_refused() {
        let signed = "host;x-amz-date";
        let code = |result: Result<()>| result.unwrap_err().code;
        let check = |method, query, headers: &[(&str, &str)], body: &[u8], late| {
            verify(method, query, headers, body, signed, VANILLA, late)
        };
        assert_eq!(check("GET", "", &[HOST, DATE], b"", 0), Ok(()));
        for result in [
            check("POST", "", &[HOST, DATE], b"", 0),
            check("GET", "a=b", &[HOST, DATE], b"", 0),
            check("GET", "", &[("host", "example.com"), DATE], b"", 0),
            check("GET", "", &[HOST, ("x-amz-date", "20150830T123601Z")], b"", 0),
            check("GET", "", &[HOST, ("x-amz-date", "20150831T123600Z")], b"", 0),
            check("GET", "", &[HOST, ("x-amz-date", "today")], b"", 0),
            check("GET", "", &[HOST, DATE], b"x", 0),
            // A header that decides what the request does must be signed.
            check("GET", "", &[HOST, DATE, ("x-amz-target", "TrentService.Decrypt")], b"", 0),
            check("GET", "", &[HOST, DATE, HOST], b"", 0),
            verify("GET", "", &[HOST, DATE], b"", "x-amz-date", VANILLA, 0),
            verify("GET", "", &[HOST, DATE], b"", signed, &VANILLA[1..], 0),
            check("GET", "", &[HOST, DATE], b"", 15 * 60 + 1),
            check("GET", "", &[HOST, DATE], b"", -(15 * 60 + 1)),
        ] {
            assert_eq!(code(result), "InvalidSignatureException");
        }
        assert_eq!(check("GET", "", &[HOST, DATE], b"", 15 * 60), Ok(()));
        let late = check("GET", "", &[HOST, DATE], b"", 15 * 60 + 1).unwrap_err().message.unwrap();
        assert_eq!(
            late,
            "Signature expired: 20150830T123600Z is now earlier than 20150830T123601Z (20150830T125101Z - 15 min.)"
        );
        let unsigned = Signed { method: "GET", query: "", headers: &[HOST], body: b"" };
        assert_eq!(unsigned.claim().err().unwrap().code, "MissingAuthenticationTokenException");
        for header in [
            "AWS4-HMAC-SHA256",
            "AWS4-HMAC-SHA512 x=y",
            "AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=c, Signature=d",
        ] {
            let headers = [("authorization", header), HOST, DATE];
            let request = Signed { method: "GET", query: "", headers: &headers, body: b"" };
            assert_eq!(request.claim().err().unwrap().code, "IncompleteSignatureException");
        }
    }
}
