//! A script: what is asked, in order. See `scripts/`; the notation is explained in `README.md` beside this crate's manifest.

use anyhow::{Context, Result, bail, ensure};
use protocol::ApiKey;
use protocol::api::TABLE;
use serde_json::Value;

use crate::value;

/// One step of a script.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    /// A request in some versions, one after the other.
    Ask(Ask),
    /// Bytes after a request header: what no encoder of ours would write.
    Raw {
        key: i16,
        version: i16,
        title: String,
        body: Vec<u8>,
    },
    /// Reads the answer to what was sent earlier on a connection.
    Await { connection: String },
    /// Ends a connection.
    Close { connection: String },
    /// Makes a topic and waits until it is led; `$id.NAME` is its id.
    Topic {
        name: String,
        partitions: i64,
        configs: Vec<(String, String)>,
    },
    /// The steps once for every number, which they know as `$v`.
    Each { from: i16, to: i16, steps: Vec<Step> },
}

/// A request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ask {
    pub(crate) key: ApiKey,
    pub(crate) versions: Versions,
    pub(crate) title: String,
    pub(crate) request: Value,
    /// On which connection; requests without one share the first.
    pub(crate) connection: String,
    /// The answer comes later (`send`), or never (`acks=0`).
    pub(crate) mode: Mode,
    /// Names for parts of the answer.
    pub(crate) keep: Vec<(String, String)>,
    /// Asked again until the answer has this value at this path.
    pub(crate) until: Option<(String, Value)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Answered,
    Sent,
    Unanswered,
}

/// Which versions of an API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Versions {
    Range(i16, i16),
    /// `$v` of the loop around it, within what the API has.
    OfLoop,
}

impl Versions {
    fn parse(text: &str, key: ApiKey) -> Result<Self> {
        let all = key.api().accepted;
        let number = |text: &str| text.parse::<i16>().with_context(|| format!("version {text:?}"));
        let (from, to) = match text {
            "*" => (all.min, all.max),
            "max" => (all.max, all.max),
            "$v" => return Ok(Self::OfLoop),
            _ => match (text.strip_suffix('+'), text.split_once('-')) {
                (Some(from), _) => (number(from)?, all.max),
                (None, Some((from, to))) => (number(from)?, number(to)?),
                (None, None) => (number(text)?, number(text)?),
            },
        };
        ensure!(from <= to, "no version of {key} in {text}");
        ensure!(all.contains(from) && all.contains(to), "{key} has {all}, not {text}");
        Ok(Self::Range(from, to))
    }

    /// The versions, for the number of the loop around.
    pub(crate) fn list(&self, key: ApiKey, v: i16) -> Vec<i16> {
        match self {
            Self::Range(from, to) => (*from..=*to).collect(),
            Self::OfLoop => {
                let all = key.api().accepted;
                vec![v.clamp(all.min, all.max)]
            }
        }
    }
}

/// Reads a script.
pub(crate) fn parse(text: &str) -> Result<Vec<Step>> {
    let mut lines = statements(text).into_iter();
    let steps = block(&mut lines, false)?;
    Ok(steps)
}

/// Lines, with those that are indented joined to the one before: number of the first, text, modifiers.
struct Statement {
    line: usize,
    text: String,
    modifiers: Vec<String>,
}

fn statements(text: &str) -> Vec<Statement> {
    let mut statements: Vec<Statement> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        let depth = statements.last().map_or(0, |last| open_brackets(&last.text));
        let modifier = ["keep ", "until "].iter().any(|word| trimmed.starts_with(word));
        match statements.last_mut() {
            Some(last) if depth > 0 => {
                last.text.push(' ');
                last.text.push_str(trimmed);
            }
            Some(last) if modifier => last.modifiers.push(trimmed.to_owned()),
            _ => statements.push(Statement {
                line: number + 1,
                text: trimmed.to_owned(),
                modifiers: Vec::new(),
            }),
        }
    }
    statements
}

fn open_brackets(text: &str) -> usize {
    let count = |brackets: &str| text.chars().filter(|c| brackets.contains(*c)).count();
    count("{[").saturating_sub(count("}]"))
}

fn block(lines: &mut std::vec::IntoIter<Statement>, inner: bool) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    while let Some(statement) = lines.next() {
        if statement.text == "end" && inner {
            return Ok(steps);
        }
        let step = match statement.text.strip_prefix("each v ") {
            Some(range) => {
                let (from, to) = range.split_once('-').context("each v FROM-TO")?;
                Step::Each {
                    from: from.parse()?,
                    to: to.parse()?,
                    steps: block(lines, true)?,
                }
            }
            None => one(&statement).with_context(|| format!("line {}: {}", statement.line, statement.text))?,
        };
        steps.push(step);
    }
    ensure!(!inner, "an `each` without its `end`");
    Ok(steps)
}

fn one(statement: &Statement) -> Result<Step> {
    let (word, rest) = statement.text.split_once(' ').unwrap_or((&statement.text, ""));
    match word {
        "topic" => topic(rest),
        "raw" => raw(rest),
        "await" => Ok(Step::Await {
            connection: rest.to_owned(),
        }),
        "close" => Ok(Step::Close {
            connection: rest.to_owned(),
        }),
        "send" => ask(rest, &statement.modifiers, Mode::Sent),
        "unanswered" => ask(rest, &statement.modifiers, Mode::Unanswered),
        _ => ask(&statement.text, &statement.modifiers, Mode::Answered),
    }
}

fn topic(rest: &str) -> Result<Step> {
    let mut words = rest.split_whitespace();
    let name = words
        .next()
        .context("topic NAME [PARTITIONS] [key=value ...]")?
        .to_owned();
    let mut partitions = 1;
    let mut configs = Vec::new();
    for word in words {
        match word.split_once('=') {
            Some((key, value)) => configs.push((key.to_owned(), value.to_owned())),
            None => partitions = word.parse()?,
        }
    }
    Ok(Step::Topic {
        name,
        partitions,
        configs,
    })
}

/// `raw KEY VERSION TITLE: HEX`
fn raw(rest: &str) -> Result<Step> {
    let mut words = rest.splitn(3, ' ');
    let key = words.next().context("a key")?.parse()?;
    let version = words.next().context("a version")?.parse()?;
    let (title, hex) = words.next().unwrap_or_default().split_once(':').context("TITLE: HEX")?;
    let digits: String = hex.split_whitespace().collect();
    ensure!(digits.len().is_multiple_of(2), "half a byte");
    let body = (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).context("hex"))
        .collect::<Result<_>>()?;
    Ok(Step::Raw {
        key,
        version,
        title: title.to_owned(),
        body,
    })
}

/// `[@CONNECTION] API VERSIONS TITLE: {..}`
fn ask(text: &str, modifiers: &[String], mode: Mode) -> Result<Step> {
    let (connection, text) = match text.strip_prefix('@') {
        Some(rest) => rest.split_once(' ').context("@CONNECTION API ...")?,
        None => ("", text),
    };
    let (api, rest) = text.split_once(' ').context("API VERSIONS TITLE: {..}")?;
    let key = TABLE
        .iter()
        .map(|api| api.key)
        .find(|key| key.name() == api)
        .with_context(|| format!("no API is called {api}"))?;
    let (versions, rest) = rest.split_once(' ').context("VERSIONS TITLE: {..}")?;
    let (title, request) = rest.split_once(": {").context("TITLE: {..}")?;
    let mut keep = Vec::new();
    let mut until = None;
    for modifier in modifiers {
        let (left, right) = modifier.split_once(" = ").context("... = ...")?;
        match left.split_once(' ') {
            Some(("keep", name)) => keep.push((name.to_owned(), right.to_owned())),
            Some(("until", path)) => until = Some((path.to_owned(), value::parse(right)?)),
            _ => bail!("{modifier}"),
        }
    }
    Ok(Step::Ask(Ask {
        key,
        versions: Versions::parse(versions, key)?,
        title: title.to_owned(),
        request: value::parse(&format!("{{{request}"))?,
        connection: connection.to_owned(),
        mode,
        keep,
        until,
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_request_goes_over_lines_and_keeps_parts_of_its_answer() {
        let steps =
            parse("# why\nMetadata 1-3 one topic: {\n  topics: [{name: a}]\n}\n  keep id = topics.0.topic_id\n");
        let Step::Ask(ask) = steps.unwrap().remove(0) else {
            panic!("a request")
        };
        assert_eq!(ask.key, ApiKey::Metadata);
        assert_eq!(ask.versions, Versions::Range(1, 3));
        assert_eq!(ask.title, "one topic");
        assert_eq!(ask.request, json!({"topics": [{"name": "a"}]}));
        assert_eq!(ask.keep, [("id".to_owned(), "topics.0.topic_id".to_owned())]);
    }

    #[test]
    fn a_version_that_an_api_has_not_is_a_mistake_of_the_script() {
        assert!(parse("Metadata 99 from the future: {}").is_err());
        assert!(parse("Metadatum 1 no such API: {}").is_err());
    }

    #[test]
    fn a_loop_clamps_its_number_to_what_the_api_has() {
        let steps = parse("each v 0-9\nHeartbeat $v x: {}\nend\n").unwrap();
        let Step::Each { steps, .. } = &steps[0] else {
            panic!("a loop")
        };
        let Step::Ask(ask) = &steps[0] else { panic!("a request") };
        assert_eq!(ask.versions.list(ask.key, 9), [4]);
        assert!(parse("each v 0-9\nHeartbeat $v x: {}\n").is_err());
    }
}
