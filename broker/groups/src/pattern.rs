//! Regular expressions over topic names, in the syntax of RE2 that Kafka uses for them (KIP-848).
//!
//! The engine takes time linear in the name, whatever the expression; its memory is bounded here, because anybody may send
//! one.

use regex::{Regex, RegexBuilder};

/// Longest expression, in bytes, and largest compiled form.
const MAX_LENGTH: usize = 8 << 10;
const MAX_COMPILED: usize = 1 << 20;

/// An expression that matches whole topic names.
#[derive(Debug, Clone)]
pub(crate) struct Pattern(Regex);

impl Pattern {
    /// Reads an expression; says what is wrong with it.
    pub(crate) fn new(text: &str) -> Result<Self, String> {
        if text.len() > MAX_LENGTH {
            return Err(format!("it is longer than {MAX_LENGTH} bytes"));
        }
        // By itself first: a parenthesis too many must not close the group that is put around it.
        let compile = |text: &str| {
            RegexBuilder::new(text)
                .size_limit(MAX_COMPILED)
                .dfa_size_limit(MAX_COMPILED)
                .build()
                .map_err(|error| error.to_string())
        };
        let text = unquoted(text);
        compile(&text)?;
        compile(&format!("^(?:{text})$")).map(Self)
    }

    /// True if the whole name matches.
    pub(crate) fn matches(&self, name: &str) -> bool {
        self.0.is_match(name)
    }
}

/// RE2 takes what stands between `\Q` and `\E` as it is; our engine has no such quotes.
fn unquoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        if let Some(quoted) = escape.strip_prefix("\\Q") {
            let (literal, after) = quoted.split_once("\\E").unwrap_or((quoted, ""));
            out.push_str(&regex::escape(literal));
            rest = after;
        } else {
            // The escaped character goes with its backslash: `\\Q` is a backslash and a letter.
            let len = 1 + escape[1..].chars().next().map_or(0, char::len_utf8);
            out.push_str(&escape[..len]);
            rest = &escape[len..];
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        Pattern::new(pattern).expect("is valid").matches(name)
    }

    #[test]
    fn the_whole_name_must_match() {
        assert!(matches("mail.*", "mail-in"));
        assert!(!matches("mail", "mail-in"));
        assert!(!matches("in", "mail-in"));
        assert!(matches("a|b", "b"));
        assert!(!matches("a|b", "ab"));
        assert!(matches("^mail$", "mail"));
        assert!(matches("", ""));
    }

    #[test]
    fn quotes_of_re2_are_understood() {
        assert!(matches("\\Qa.b\\E.*", "a.b-c"));
        assert!(!matches("\\Qa.b\\E.*", "axb-c"));
        assert!(matches("\\Qa.b", "a.b"));
        assert!(matches("\\\\Q", "\\Q"));
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        for bad in ["[", "a)(b", "(", "*", "a{1000}{1000}{1000}", "\\"] {
            assert!(Pattern::new(bad).is_err(), "{bad}");
        }
        assert!(Pattern::new(&"a".repeat(MAX_LENGTH + 1)).is_err());
    }
}
