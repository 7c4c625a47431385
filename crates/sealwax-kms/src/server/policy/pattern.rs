//! Patterns of policies: `*`, `?` and variables such as `${aws:username}`.

use super::context::Context;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Letter(char),
    AnyLetter,
    AnyText,
    Variable { key: String, default: Option<String> },
}

/// A text with wildcards and variables. A substituted value is literal, even if it contains `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern(Vec<Token>);

impl Pattern {
    /// Parses a text. Without `variables`, as in documents of version 2008-10-17, `${` is literal.
    pub(crate) fn new(text: &str, variables: bool) -> Self {
        let mut tokens = Vec::new();
        let mut rest = text;
        while let Some(letter) = rest.chars().next() {
            if let Some((inside, after)) =
                rest.strip_prefix("${").filter(|_| variables).and_then(|rest| rest.split_once('}'))
            {
                tokens.push(match inside {
                    "*" => Token::Letter('*'),
                    "?" => Token::Letter('?'),
                    "$" => Token::Letter('$'),
                    _ => variable(inside),
                });
                rest = after;
                continue;
            }
            tokens.push(match letter {
                '*' => Token::AnyText,
                '?' => Token::AnyLetter,
                letter => Token::Letter(letter),
            });
            rest = rest.get(letter.len_utf8()..).unwrap_or_default();
        }
        Self(tokens)
    }

    /// Parses a text in which only variables are special.
    pub(crate) fn literal(text: &str, variables: bool) -> Self {
        let mut pattern = Self::new(text, variables);
        for token in &mut pattern.0 {
            match token {
                Token::AnyText => *token = Token::Letter('*'),
                Token::AnyLetter => *token = Token::Letter('?'),
                _ => {}
            }
        }
        pattern
    }

    /// Returns whether the pattern matches a whole text. A variable without a value matches nothing.
    pub(crate) fn matches(&self, text: &str, ignore_case: bool, context: &Context) -> bool {
        let Some(tokens) = self.resolved(context) else { return false };
        glob(&tokens, &text.chars().collect::<Vec<_>>(), ignore_case)
    }

    /// Returns the text of a pattern without wildcards, with the values of its variables.
    pub(crate) fn text(&self, context: &Context) -> Option<String> {
        let letter = |token: &Token| match token {
            Token::AnyText => Some('*'),
            Token::AnyLetter => Some('?'),
            Token::Letter(letter) => Some(*letter),
            Token::Variable { .. } => None,
        };
        self.resolved(context)?.iter().map(letter).collect()
    }

    /// Splits the pattern at its first colons into at most this many parts, as ARNs are compared.
    pub(crate) fn split(&self, parts: usize, context: &Context) -> Option<Vec<Self>> {
        let tokens = self.resolved(context)?;
        Some(tokens.splitn(parts, |token| *token == Token::Letter(':')).map(|part| Self(part.to_vec())).collect())
    }

    fn resolved(&self, context: &Context) -> Option<Vec<Token>> {
        let mut tokens = Vec::with_capacity(self.0.len());
        for token in &self.0 {
            match token {
                Token::Variable { key, default } => {
                    let value = context.single(key).or(default.as_deref())?;
                    tokens.extend(value.chars().map(Token::Letter));
                }
                token => tokens.push(token.clone()),
            }
        }
        Some(tokens)
    }
}

/// Returns the token for the inside of `${…}`: a key, or a key, a comma and a default in quotes.
fn variable(inside: &str) -> Token {
    let (key, default) = match inside.split_once(',') {
        Some((key, default)) => (key, Some(default.trim().trim_matches('\'').to_owned())),
        None => (inside, None),
    };
    Token::Variable { key: key.trim().to_owned(), default }
}

/// Matches with one position to return to, so that no pattern takes exponential time.
fn glob(tokens: &[Token], text: &[char], ignore_case: bool) -> bool {
    let same = |one: char, other: char| one == other || ignore_case && one.to_lowercase().eq(other.to_lowercase());
    let (mut at, mut position) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while let Some(letter) = text.get(position) {
        match tokens.get(at) {
            Some(Token::AnyText) => {
                retry = Some((at, position));
                at += 1;
                continue;
            }
            Some(Token::AnyLetter) => {
                (at, position) = (at + 1, position + 1);
                continue;
            }
            Some(Token::Letter(expected)) if same(*expected, *letter) => {
                (at, position) = (at + 1, position + 1);
                continue;
            }
            _ => {}
        }
        let Some((star, start)) = retry else { return false };
        retry = Some((star, start + 1));
        (at, position) = (star + 1, start + 1);
    }
    tokens.get(at..).unwrap_or_default().iter().all(|token| *token == Token::AnyText)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_any_text_and_any_letter() {
        let none = Context::default();
        for (pattern, text, expected) in [
            ("", "", true),
            ("*", "", true),
            ("*", "anything", true),
            ("?", "", false),
            ("?", "é", true),
            ("a*c", "abbc", true),
            ("a*c", "abbd", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*ab", "aab", true),
            ("a?c", "ac", false),
            ("kms:Re*", "kms:ReEncryptTo", true),
            ("a", "A", false),
            ("a**", "a", true),
            ("**a", "b", false),
        ] {
            assert_eq!(Pattern::new(pattern, true).matches(text, false, &none), expected, "{pattern} {text}");
        }
        assert!(Pattern::new("KMS:*crypt", false).matches("kms:Decrypt", true, &none));
        // Every star could match at every position; this must not take exponential time.
        let slow = "*a".repeat(200);
        assert!(!Pattern::new(&format!("{slow}b"), false).matches(&"a".repeat(5000), false, &none));
    }

    #[test]
    fn variables_are_literal_and_need_a_value() {
        let mut context = Context::default();
        context.set("aws:username", "al*ce");
        context.set_all("aws:TagKeys", ["a", "b"]);
        let matches = |pattern: &str, text| Pattern::new(pattern, true).matches(text, false, &context);
        assert!(matches("user/${aws:username}/*", "user/al*ce/x"));
        assert!(matches("user/${AWS:UserName}", "user/al*ce"));
        assert!(!matches("user/${aws:username}", "user/alice"));
        assert!(matches("${aws:PrincipalTag/team, 'none'}", "none"));
        assert!(matches("${aws:username, 'none'}", "al*ce"));
        assert!(!matches("${aws:PrincipalTag/team}", ""));
        assert!(!matches("${aws:TagKeys}", "a"), "a key with several values is no variable");
        assert!(matches("${*}${?}${$}", "*?$"));
        assert!(!matches("${*}", "x"));
        assert!(Pattern::new("${aws:username}", false).matches("${aws:username}", false, &context));
        assert!(Pattern::literal("a*", true).matches("a*", false, &context));
        assert!(!Pattern::literal("a*", true).matches("ab", false, &context));
    }
}
