//! The notation of requests in a script: JSON without quotes where none are needed, and `$name` for what an earlier answer gave.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value};

/// What one side's answers gave so far, by name.
pub(crate) type Variables = BTreeMap<String, Value>;

/// Reads one value, which must be all of `text`.
pub(crate) fn parse(text: &str) -> Result<Value> {
    let mut parser = Parser { rest: text };
    let value = parser.value().with_context(|| format!("in {text:?}"))?;
    parser.skip_space();
    ensure!(parser.rest.is_empty(), "{:?} is left over of {text:?}", parser.rest);
    Ok(value)
}

/// The value at a path such as `topics.0.topic_id`.
pub(crate) fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |value, step| match value {
        Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        _ => value.get(step),
    })
}

/// The value with every `$name` replaced. A string that is one name becomes what the name stands for, of whatever type.
pub(crate) fn substitute(value: &Value, variables: &Variables) -> Result<Value> {
    Ok(match value {
        Value::String(text) => match text.strip_prefix('$') {
            Some(name) if variables.contains_key(name) => variables[name].clone(),
            _ => Value::String(substitute_text(text, variables)?),
        },
        Value::Array(items) => Value::Array(
            items
                .iter()
                .map(|item| substitute(item, variables))
                .collect::<Result<_>>()?,
        ),
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .map(|(name, value)| Ok((name.clone(), substitute(value, variables)?)))
                .collect::<Result<_>>()?,
        ),
        other => other.clone(),
    })
}

fn substitute_text(text: &str, variables: &Variables) -> Result<String> {
    let mut parts = text.split('$');
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.'))
            .unwrap_or(part.len());
        let (name, rest) = part.split_at(end);
        match variables.get(name) {
            Some(Value::String(value)) => whole.push_str(value),
            Some(value) => whole.push_str(&value.to_string()),
            None => bail!("no answer gave ${name}"),
        }
        whole.push_str(rest);
    }
    Ok(whole)
}

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, wanted: char) -> bool {
        self.skip_space();
        match self.rest.strip_prefix(wanted) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn value(&mut self) -> Result<Value> {
        if self.take('{') {
            return self.object();
        }
        if self.take('[') {
            return self.array();
        }
        if self.rest.starts_with('"') {
            return Ok(Value::String(self.quoted()?));
        }
        let word = self.word()?;
        Ok(match word {
            "null" => Value::Null,
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            _ => match word.parse::<i64>() {
                Ok(number) => Value::from(number),
                Err(_) => Value::String(word.to_owned()),
            },
        })
    }

    fn object(&mut self) -> Result<Value> {
        let mut fields = Map::new();
        while !self.take('}') {
            self.skip_space();
            let name = if self.rest.starts_with('"') {
                self.quoted()?
            } else {
                self.word()?.to_owned()
            };
            ensure!(self.take(':'), "no ':' after {name}");
            let value = self.value()?;
            ensure!(fields.insert(name.clone(), value).is_none(), "{name} stands twice");
            if !self.take(',') {
                ensure!(self.take('}'), "no '}}' before {:?}", self.rest);
                break;
            }
        }
        Ok(Value::Object(fields))
    }

    fn array(&mut self) -> Result<Value> {
        let mut items = Vec::new();
        while !self.take(']') {
            items.push(self.value()?);
            if !self.take(',') {
                ensure!(self.take(']'), "no ']' before {:?}", self.rest);
                break;
            }
        }
        Ok(Value::Array(items))
    }

    fn quoted(&mut self) -> Result<String> {
        let mut stream = serde_json::Deserializer::from_str(self.rest).into_iter::<String>();
        let text = stream.next().context("a quoted string")??;
        self.rest = &self.rest[stream.byte_offset()..];
        Ok(text)
    }

    fn word(&mut self) -> Result<&str> {
        self.skip_space();
        let end = self
            .rest
            .find(|c: char| c.is_whitespace() || "{}[],:\"".contains(c))
            .unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        ensure!(!word.is_empty(), "no value at {:?}", self.rest);
        self.rest = rest;
        Ok(word)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_request_needs_quotes_only_where_json_has_no_other_way() {
        let value = parse(r#"{topics: [{name: a-b.c, ids: [1, -2]}, {}], "x": "two words", yes: true, none: null}"#);
        assert_eq!(
            value.unwrap(),
            json!({"topics": [{"name": "a-b.c", "ids": [1, -2]}, {}], "x": "two words", "yes": true, "none": null})
        );
        for broken in ["{a 1}", "{a: 1, a: 2}", "[1", "{a: 1} b", ""] {
            assert!(parse(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn names_stand_for_what_earlier_answers_gave() {
        let variables = Variables::from([("v".into(), json!(7)), ("id".into(), json!("abc"))]);
        let value = parse("{a: $v, b: t-$v-$id, c: [$id]}").unwrap();
        assert_eq!(
            substitute(&value, &variables).unwrap(),
            json!({"a": 7, "b": "t-7-abc", "c": ["abc"]})
        );
        assert!(substitute(&json!("$unknown"), &variables).is_err());
    }

    #[test]
    fn a_path_goes_through_fields_and_indexes() {
        let value = json!({"topics": [{"id": 5}]});
        assert_eq!(at(&value, "topics.0.id"), Some(&json!(5)));
        assert_eq!(at(&value, "topics.1.id"), None);
    }
}
