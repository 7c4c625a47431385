//! Escaping of untrusted text for errors, logs and terminals.

use std::fmt::{self, Write};

/// A wrapper that displays text with control characters, line separators and bidirectional
/// formatting characters escaped.
///
/// The names of keys and keyrings in errors and reports can come from a message, a store or a
/// service. None of these has been authenticated when an error names them. The names are escaped at
/// the source, in the error's text, so that a program can print or log an error without escaping it
/// first. Keyrings of other crates should do the same, and programs with names and contexts that
/// they take from a header.
///
/// ```
/// use sealwax::Escaped;
///
/// let name = "orders\u{1b}[2J";
/// assert_eq!(Escaped(name).to_string(), r"orders\u{1b}[2J");
/// ```
pub struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(at) = rest.find(is_active) {
            let (plain, active) = rest.split_at(at);
            f.write_str(plain)?;
            let mut letters = active.chars();
            letters.by_ref().take(1).flat_map(char::escape_unicode).try_for_each(|letter| f.write_char(letter))?;
            rest = letters.as_str();
        }
        f.write_str(rest)
    }
}

/// Returns `true` for control characters (U+0000 to U+001F, U+007F to U+009F), line and paragraph
/// separators, and bidirectional formatting characters.
fn is_active(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn active_characters_are_escaped_and_nothing_else() {
        for (text, escaped) in [
            ("arn:aws:kms:eu-west-1:1:key/ä-鍵", "arn:aws:kms:eu-west-1:1:key/ä-鍵"),
            ("\x1b[2J\nok\r", r"\u{1b}[2J\u{a}ok\u{d}"),
            ("\0\u{7f}\u{80}\u{9f}", r"\u{0}\u{7f}\u{80}\u{9f}"),
            ("a\u{202e}b\u{2066}c\u{200f}\u{61c}", r"a\u{202e}b\u{2066}c\u{200f}\u{61c}"),
            ("a\u{2028}b\u{2029}", r"a\u{2028}b\u{2029}"),
            ("", ""),
        ] {
            assert_eq!(Escaped(text).to_string(), escaped);
        }
    }
}
