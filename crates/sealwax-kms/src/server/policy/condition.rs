//! The condition operators of policies.

use std::{cmp::Ordering, net::IpAddr, time::UNIX_EPOCH};

use super::{context::Context, pattern::Pattern};

/// How the values of a key with several are quantified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quantifier {
    ForAllValues,
    ForAnyValue,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    String { ignore_case: bool, wildcards: bool },
    Numeric(Order),
    Date(Order),
    Bool,
    Binary,
    IpAddress,
    Arn,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Order {
    fn holds(self, ordering: Ordering) -> bool {
        match self {
            Self::Equal => ordering.is_eq(),
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
            Self::Greater => ordering.is_gt(),
            Self::GreaterOrEqual => ordering.is_ge(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    /// The key is absent if the value is true, and present if it is false.
    Null,
    Compare {
        comparison: Comparison,
        negated: bool,
    },
}

/// One operator with one key and its values.
#[derive(Clone, Debug)]
pub(super) struct Condition {
    quantifier: Option<Quantifier>,
    if_exists: bool,
    operator: Operator,
    key: String,
    values: Vec<Pattern>,
}

impl Condition {
    /// Parses an operator such as `ForAnyValue:StringLikeIfExists`.
    ///
    /// # Errors
    /// The reason why a document with it is malformed.
    pub(super) fn new(operator: &str, key: &str, values: &[String], variables: bool) -> Result<Self, String> {
        let invalid = || format!("Invalid Condition type : {operator}.");
        let (quantifier, rest) = match operator.split_once(':') {
            Some(("ForAllValues", rest)) => (Some(Quantifier::ForAllValues), rest),
            Some(("ForAnyValue", rest)) => (Some(Quantifier::ForAnyValue), rest),
            Some(_) => return Err(invalid()),
            None => (None, operator),
        };
        let (name, if_exists) = match rest.strip_suffix("IfExists") {
            Some(name) => (name, true),
            None => (rest, false),
        };
        let operator = parse(name).filter(|operator| *operator != Operator::Null || !if_exists && quantifier.is_none());
        let operator = operator.ok_or_else(invalid)?;
        let wildcards = matches!(
            operator,
            Operator::Compare { comparison: Comparison::String { wildcards: true, .. } | Comparison::Arn, .. }
        );
        let pattern = if wildcards { Pattern::new } else { Pattern::literal };
        let values = values.iter().map(|value| pattern(value, variables)).collect();
        Ok(Self { quantifier, if_exists, operator, key: key.to_owned(), values })
    }

    pub(super) fn holds(&self, context: &Context) -> bool {
        let found = context.get(&self.key);
        let (comparison, negated) = match self.operator {
            Operator::Null => {
                let wanted =
                    |value: &Pattern| value.text(context).is_some_and(|text| is_true(&text) == found.is_none());
                return self.values.iter().any(wanted);
            }
            Operator::Compare { comparison, negated } => (comparison, negated),
        };
        let Some(found) = found else {
            return match self.quantifier {
                Some(Quantifier::ForAllValues) => true,
                Some(Quantifier::ForAnyValue) => self.if_exists,
                None => self.if_exists || negated,
            };
        };
        let matches = |value: &String| self.values.iter().any(|wanted| compare(comparison, value, wanted, context));
        match self.quantifier {
            Some(Quantifier::ForAllValues) => found.iter().all(|value| matches(value) != negated),
            Some(Quantifier::ForAnyValue) => found.iter().any(|value| matches(value) != negated),
            // A negated operator is the opposite of its positive form.
            None => found.iter().any(matches) != negated,
        }
    }
}

fn parse(name: &str) -> Option<Operator> {
    let string = |ignore_case, wildcards| Comparison::String { ignore_case, wildcards };
    let (comparison, negated) = match name {
        "Null" => return Some(Operator::Null),
        "StringEquals" => (string(false, false), false),
        "StringNotEquals" => (string(false, false), true),
        "StringEqualsIgnoreCase" => (string(true, false), false),
        "StringNotEqualsIgnoreCase" => (string(true, false), true),
        "StringLike" => (string(false, true), false),
        "StringNotLike" => (string(false, true), true),
        "Bool" => (Comparison::Bool, false),
        "BinaryEquals" => (Comparison::Binary, false),
        "IpAddress" => (Comparison::IpAddress, false),
        "NotIpAddress" => (Comparison::IpAddress, true),
        "ArnEquals" | "ArnLike" => (Comparison::Arn, false),
        "ArnNotEquals" | "ArnNotLike" => (Comparison::Arn, true),
        _ => {
            let numeric = name.strip_prefix("Numeric").map(|order| (order, Comparison::Numeric as fn(Order) -> _));
            let date = || name.strip_prefix("Date").map(|order| (order, Comparison::Date as fn(Order) -> _));
            let (order, make) = numeric.or_else(date)?;
            match order {
                "Equals" => (make(Order::Equal), false),
                "NotEquals" => (make(Order::Equal), true),
                "LessThan" => (make(Order::Less), false),
                "LessThanEquals" => (make(Order::LessOrEqual), false),
                "GreaterThan" => (make(Order::Greater), false),
                "GreaterThanEquals" => (make(Order::GreaterOrEqual), false),
                _ => return None,
            }
        }
    };
    Some(Operator::Compare { comparison, negated })
}

/// Compares a value of the request with one of the policy. A value of another type matches nothing.
fn compare(comparison: Comparison, value: &str, wanted: &Pattern, context: &Context) -> bool {
    let text = || wanted.text(context);
    let ordered = |order: Order, parse: fn(&str) -> Option<f64>| {
        let ordering = parse(value).zip(text().and_then(|text| parse(&text)));
        ordering.and_then(|(value, wanted)| value.partial_cmp(&wanted)).is_some_and(|ordering| order.holds(ordering))
    };
    match comparison {
        Comparison::String { ignore_case, .. } => wanted.matches(value, ignore_case, context),
        Comparison::Numeric(order) => ordered(order, |text| text.trim().parse().ok()),
        Comparison::Date(order) => ordered(order, seconds),
        Comparison::Bool => text().is_some_and(|text| text.eq_ignore_ascii_case(value)),
        Comparison::Binary => text().is_some_and(|text| text.trim_end_matches('=') == value.trim_end_matches('=')),
        Comparison::IpAddress => text().is_some_and(|range| is_in_range(value, &range)),
        Comparison::Arn => is_like_arn(value, wanted, context),
    }
}

fn is_true(text: &str) -> bool {
    text.eq_ignore_ascii_case("true")
}

/// Returns the seconds since 1970 of a date: seconds themselves, a day, or a time in ISO 8601.
fn seconds(text: &str) -> Option<f64> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return Some(seconds);
    }
    if text.len() == "2026-01-01".len() {
        return seconds(&format!("{text}T00:00:00Z"));
    }
    let (time, offset) = match text.rfind(['+', '-']).filter(|at| *at > "2026-01-01T".len()) {
        Some(at) => {
            let (hours, minutes) = text.get(at + 1..)?.split_once(':')?;
            let offset = (hours.parse::<i32>().ok()? * 60 + minutes.parse::<i32>().ok()?) * 60;
            let sign = if text.get(at..)?.starts_with('-') { -1 } else { 1 };
            (format!("{}Z", text.get(..at)?), sign * offset)
        }
        None => (text.to_owned(), 0),
    };
    let time = humantime::parse_rfc3339_weak(&time).ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(time.as_secs_f64() - f64::from(offset))
}

/// Returns whether an address is in a range such as `203.0.113.0/24`.
fn is_in_range(address: &str, range: &str) -> bool {
    let bits = |address: IpAddr| match address.to_canonical() {
        IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, 32, true),
        IpAddr::V6(address) => (address.to_bits(), 128, false),
    };
    let (network, length) = range.split_once('/').map_or((range, None), |(network, length)| (network, Some(length)));
    let (Ok(address), Ok(network)) = (address.parse(), network.parse()) else { return false };
    let ((address, _, is_v4), (network, whole, network_is_v4)) = (bits(address), bits(network));
    let length = match length {
        Some(length) => length.parse::<u32>().ok().filter(|length| *length <= whole),
        None => Some(whole),
    };
    let Some(length) = length.filter(|_| is_v4 == network_is_v4) else { return false };
    let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
    address & mask == network & mask
}

/// Compares the six parts of an ARN one by one, so that a wildcard does not span a colon except in
/// the last part.
fn is_like_arn(value: &str, wanted: &Pattern, context: &Context) -> bool {
    let parts: Vec<_> = value.splitn(6, ':').collect();
    let Some(patterns) = wanted.split(6, context) else { return false };
    if let [only] = patterns.as_slice() {
        return only.text(context).as_deref() == Some("*");
    }
    let mut pairs = parts.iter().zip(&patterns);
    parts.len() == 6 && patterns.len() == 6 && pairs.all(|(part, pattern)| pattern.matches(part, false, context))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns whether a condition with these values holds if the key `k` has these.
    fn holds(operator: &str, wanted: &[&str], found: &[&str]) -> bool {
        let mut context = Context::default();
        context.set_all("k", found.iter().copied());
        context.set("aws:username", "alice");
        let wanted: Vec<_> = wanted.iter().map(|value| (*value).to_owned()).collect();
        Condition::new(operator, "K", &wanted, true).unwrap().holds(&context)
    }

    #[test]
    fn every_operator_and_its_negation() {
        let arn = "arn:aws:iam::111122223333:role/app";
        for (operator, wanted, matching, other) in [
            ("StringEquals", "a*", "a*", "ab"),
            ("StringEquals", "${aws:username}", "alice", "bob"),
            ("StringEquals", "a", "a", "A"),
            ("StringEqualsIgnoreCase", "Straße", "sTRAßE", "strasse"),
            ("StringLike", "al?c*", "alice", "Alice"),
            ("NumericEquals", "10", "10.0", "11"),
            ("NumericLessThan", "10", "9", "10"),
            ("NumericLessThanEquals", "10", "10", "10.5"),
            ("NumericGreaterThan", "10", "10.5", "10"),
            ("NumericGreaterThanEquals", "10", "10", "-10"),
            ("NumericEquals", "10", "10", "ten"),
            ("DateEquals", "2026-01-01T00:00:00Z", "1767225600", "1767225601"),
            ("DateEquals", "2026-01-01", "2026-01-01T00:00:00Z", "2026-01-02"),
            ("DateEquals", "2026-01-01T02:00:00+02:00", "2026-01-01T00:00:00Z", "2026-01-01T02:00:00Z"),
            ("DateEquals", "2025-12-31T23:30:00-00:30", "2026-01-01T00:00:00Z", "soon"),
            ("DateLessThan", "2026-01-01T00:00:00Z", "2025-12-31T23:59:59Z", "2026-01-01T00:00:00Z"),
            ("DateLessThanEquals", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"),
            ("DateGreaterThan", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00.5Z", "2026-01-01T00:00:00Z"),
            ("DateGreaterThanEquals", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "2025-01-01T00:00:00Z"),
            ("Bool", "true", "True", "false"),
            ("BinaryEquals", "QUJD", "QUJD", "QUJE"),
            ("IpAddress", "203.0.113.0/24", "203.0.113.255", "203.0.114.0"),
            ("IpAddress", "203.0.113.7", "203.0.113.7", "203.0.113.8"),
            ("IpAddress", "0.0.0.0/0", "198.51.100.1", "::1"),
            ("IpAddress", "2001:db8::/32", "2001:db8:1::1", "2001:db9::1"),
            ("IpAddress", "203.0.113.0/24", "::ffff:203.0.113.1", "nonsense"),
            ("ArnEquals", "arn:aws:iam::*:role/a?p", arn, "arn:aws:iam::1:role/apple"),
            ("ArnLike", "arn:aws:iam::111122223333:role/*", arn, "arn:aws:iam::111122223333:user/app"),
            ("ArnLike", "arn:*:role/app", "arn:no:role/app", arn),
            ("ArnLike", "*", arn, ""),
        ] {
            // A pattern of fewer than six parts is no ARN, and a lone star matches any value.
            let (expected, expected_other) = match wanted {
                "arn:*:role/app" => (false, false),
                "*" => (true, true),
                _ => (true, false),
            };
            assert_eq!(holds(operator, &[wanted], &[matching]), expected, "{operator} {wanted} {matching}");
            assert_eq!(holds(operator, &[wanted], &[other]), expected_other, "{operator} {wanted} {other}");
            assert!(!holds(operator, &[wanted], &[]), "{operator} holds without the key");
            assert!(holds(&format!("{operator}IfExists"), &[wanted], &[]));
            let negated = match operator {
                "StringEquals" | "StringEqualsIgnoreCase" | "StringLike" => operator.replacen("String", "StringNot", 1),
                "NumericEquals" => "NumericNotEquals".into(),
                "DateEquals" => "DateNotEquals".into(),
                "IpAddress" => "NotIpAddress".into(),
                "ArnEquals" | "ArnLike" => operator.replacen("Arn", "ArnNot", 1),
                _ => continue,
            };
            assert_eq!(holds(&negated, &[wanted], &[matching]), !expected, "{negated} {wanted} {matching}");
            assert_eq!(holds(&negated, &[wanted], &[other]), !expected_other, "{negated} {wanted} {other}");
            assert!(holds(&negated, &[wanted], &[]), "{negated} fails without the key");
        }
    }

    #[test]
    fn several_wanted_values_are_alternatives() {
        assert!(holds("StringEquals", &["a", "b"], &["b"]));
        assert!(!holds("StringNotEquals", &["a", "b"], &["b"]));
        assert!(holds("StringNotEquals", &["a", "b"], &["c"]));
        assert!(!holds("StringEquals", &[], &["a"]));
    }

    #[test]
    fn null_asks_for_absence() {
        assert!(holds("Null", &["true"], &[]) && !holds("Null", &["true"], &["a"]));
        assert!(holds("Null", &["false"], &["a"]) && !holds("Null", &["false"], &[]));
    }

    #[test]
    fn quantifiers_take_all_values_or_one() {
        let all = |wanted: &[&str], found: &[&str]| holds("ForAllValues:StringEquals", wanted, found);
        let any = |wanted: &[&str], found: &[&str]| holds("ForAnyValue:StringEquals", wanted, found);
        assert!(all(&["a", "b"], &["a", "b"]) && all(&["a", "b"], &["b"]) && all(&["a"], &[]));
        assert!(!all(&["a"], &["a", "b"]));
        assert!(any(&["a"], &["a", "b"]) && !any(&["c"], &["a", "b"]) && !any(&["a"], &[]));
        assert!(holds("ForAnyValue:StringEqualsIfExists", &["a"], &[]));
        assert!(holds("ForAllValues:StringNotEquals", &["c"], &["a", "b"]));
        assert!(!holds("ForAllValues:StringNotEquals", &["a"], &["a", "b"]));
        assert!(holds("ForAnyValue:StringNotEquals", &["a"], &["a", "b"]));
        assert!(!holds("ForAnyValue:StringNotLike", &["*"], &["a", "b"]));
    }

    #[test]
    fn unknown_operators_are_malformed() {
        for operator in
            ["", "StringFoo", "NumericLike", "ForSomeValues:StringEquals", "NullIfExists", "stringequals", "Date"]
        {
            let error = Condition::new(operator, "k", &[], true).err();
            assert_eq!(error, Some(format!("Invalid Condition type : {operator}.")));
        }
    }
}
