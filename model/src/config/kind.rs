//! Types and ranges of values.

use super::ConfigError;

/// Type and range of a value; ranges include both ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ConfigKind {
    /// Kafka's INT.
    Int(i32, i32),
    /// Kafka's INT, or one number beside the range.
    IntOr(i32, i32, i32),
    /// Kafka's LONG.
    Long(i64, i64),
    /// Kafka's DOUBLE.
    Double(f64, f64),
    /// `true` or `false`.
    Boolean,
    /// One of the words: Kafka's STRING. Only those of the first list work today; those of the second are Kafka's, refused
    /// by name.
    Choice(&'static [&'static str], &'static [&'static str]),
    /// Any of the words, separated by commas, or none: Kafka's LIST. The two lists of words as above.
    List(&'static [&'static str], &'static [&'static str]),
    /// `*`, or pairs of partition and broker such as `0:1`, separated by commas: Kafka's LIST.
    Replicas,
    /// Any text: Kafka's STRING.
    Text,
}

impl ConfigKind {
    /// A value of this kind in canonical form; `Err(None)` if it is none, `Err(Some)` if it is one of Kafka's that does not
    /// work here yet.
    pub(super) fn canonical(self, text: &str) -> Result<String, Option<Later>> {
        match self {
            Self::Int(min, max) => {
                let number = text.parse::<i32>().ok().filter(|n| (min..=max).contains(n));
                number.map(|n| n.to_string()).ok_or(None)
            }
            Self::IntOr(min, max, other) => {
                let legal = |n: &i32| (min..=max).contains(n) || *n == other;
                let number = text.parse::<i32>().ok().filter(legal);
                number.map(|n| n.to_string()).ok_or(None)
            }
            Self::Long(min, max) => {
                let number = text.parse::<i64>().ok().filter(|n| (min..=max).contains(n));
                number.map(|n| n.to_string()).ok_or(None)
            }
            Self::Double(min, max) => {
                let number = text.parse::<f64>().ok().filter(|n| (min..=max).contains(n));
                number.map(|_| text.to_owned()).ok_or(None)
            }
            Self::Boolean => match text.to_ascii_lowercase().as_str() {
                "true" => Ok("true".to_owned()),
                "false" => Ok("false".to_owned()),
                _ => Err(None),
            },
            Self::Choice(supported, later) => {
                if supported.contains(&text) {
                    Ok(text.to_owned())
                } else {
                    Err(later.contains(&text).then_some(Later))
                }
            }
            Self::List(supported, later) => list(text, supported, later),
            Self::Replicas => replicas(text).ok_or(None),
            Self::Text => Ok(text.to_owned()),
        }
    }

    /// Kafka's `ConfigDef.Type` as DescribeConfigs numbers it.
    pub fn code(self) -> i8 {
        match self {
            Self::Boolean => 1,
            Self::Choice(..) | Self::Text => 2,
            Self::Int(..) | Self::IntOr(..) => 3,
            Self::Long(..) => 5,
            Self::Double(..) => 6,
            Self::List(..) | Self::Replicas => 7,
        }
    }

    /// Whether single elements can be added and taken away.
    pub fn is_list(self) -> bool {
        matches!(self, Self::List(..) | Self::Replicas)
    }

    /// What a person is told to write.
    pub(super) fn expectation(self) -> String {
        match self {
            Self::Int(min, i32::MAX) => format!("an integer of at least {min}"),
            Self::Int(min, max) => format!("an integer from {min} to {max}"),
            Self::IntOr(min, max, other) => format!("an integer from {min} to {max}, or {other}"),
            Self::Long(min, i64::MAX) => format!("an integer of at least {min}"),
            Self::Long(min, max) => format!("an integer from {min} to {max}"),
            Self::Double(min, max) => format!("a number from {min} to {max}"),
            Self::Boolean => "true or false".to_owned(),
            Self::Choice(supported, _) => supported.join(" or "),
            Self::List(supported, _) => format!("words out of {}", supported.join(", ")),
            Self::Replicas => "* or partition:broker pairs".to_owned(),
            Self::Text => "text".to_owned(),
        }
    }

    /// The words that work.
    pub(super) fn supported(self) -> Option<String> {
        match self {
            Self::Choice(supported, _) | Self::List(supported, _) => Some(supported.join(" or ")),
            _ => None,
        }
    }
}

/// One of Kafka's values that a later version brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Later;

fn list(text: &str, supported: &[&str], later: &[&str]) -> Result<String, Option<Later>> {
    let mut words: Vec<&str> = Vec::new();
    for word in text.split(',').map(str::trim) {
        if !words.contains(&word) {
            words.push(word);
        }
    }
    let known = |word: &&str| supported.contains(word) || later.contains(word);
    if text.is_empty() {
        return Ok(String::new());
    }
    if !words.iter().all(known) {
        return Err(None);
    }
    if words.iter().all(|word| supported.contains(word)) {
        Ok(words.join(","))
    } else {
        Err(Some(Later))
    }
}

fn replicas(text: &str) -> Option<String> {
    if text.is_empty() || text == "*" {
        return Some(text.to_owned());
    }
    let number = |text: &str| text.parse::<u32>().ok();
    let pairs = text.split(',').map(str::trim);
    let pairs = pairs.map(|pair| {
        let (partition, broker) = pair.split_once(':')?;
        Some(format!("{}:{}", number(partition)?, number(broker)?))
    });
    Some(pairs.collect::<Option<Vec<_>>>()?.join(","))
}

/// The refusal of a value that is none of the kind.
pub(super) fn invalid(name: &'static str, kind: ConfigKind, value: &str) -> ConfigError {
    ConfigError::Invalid {
        name,
        value: value.chars().take(128).collect(),
        expected: kind.expectation(),
    }
}
