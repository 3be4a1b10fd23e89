//! Two answers made comparable, and where they differ.

use serde_json::{Map, Value};

use crate::records;
use crate::value::Variables;

/// Fields that hold an id: equal if both are none, both what the same earlier answer gave, or both something else.
const IDS: [&str; 14] = [
    "topic_id",
    "member_id",
    "leader",
    "producer_id",
    "session_id",
    "cluster_id",
    "host",
    "port",
    "client_host",
    "incarnation_id",
    "log_dir",
    "finalized_features_epoch",
    "controller_id",
    "assignor_id",
];

/// Fields that hold the time of the broker.
const TIMES: [&str; 2] = ["log_append_time_ms", "issue_timestamp_ms"];

/// Fields that hold what the machine has.
const MEASURES: [&str; 2] = ["total_bytes", "usable_bytes"];

/// Fields that hold a sentence: ours are our own, so it is compared whether there is one.
const SENTENCES: [&str; 3] = ["error_message", "batch_index_error_message", "documentation"];

/// Fields of bytes that hold what a member gave.
const BYTES: [&str; 4] = ["member_assignment", "member_metadata", "assignment", "metadata"];

/// What an element of an array is known by, so that arrays of either order are compared.
const IDENTITY: [&str; 15] = [
    "resource_type",
    "resource_name",
    "name",
    "topic",
    "topic_name",
    "topic_id",
    "group_id",
    "key",
    "partition_index",
    "partition",
    "index",
    "node_id",
    "broker_id",
    "api_key",
    "member_id",
];

/// One field that differs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Difference {
    /// Such as `topics[t].partitions[0].error_code`.
    pub(crate) path: String,
    /// What Kafka has there; `None` if it has no such field or element.
    pub(crate) kafka: Option<Value>,
    /// What Barnabas has there.
    pub(crate) barnabas: Option<Value>,
}

/// The answer with ids and times replaced by what they are, and record sets by what they hold.
pub(crate) fn normalise(answer: &Value, variables: &Variables) -> Value {
    field("", answer, variables)
}

fn field(name: &str, value: &Value, variables: &Variables) -> Value {
    match value {
        Value::Array(items) if name == "records" => field("", &records::describe(&bytes(items)), variables),
        Value::Array(items) if BYTES.contains(&name) && items.iter().all(Value::is_u64) => {
            Value::from(String::from_utf8_lossy(&bytes(items)))
        }
        Value::Array(items) => Value::Array(items.iter().map(|item| field(name, item, variables)).collect()),
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .map(|(name, value)| (name.clone(), field(name, value, variables)))
                .collect::<Map<_, _>>(),
        ),
        _ if IDS.contains(&name) => id(value, variables),
        Value::String(text) if SENTENCES.contains(&name) && !text.is_empty() => Value::from("<a sentence>"),
        Value::Number(number) if MEASURES.contains(&name) && number.as_i64() > Some(0) => Value::from("<bytes>"),
        Value::Number(number) if TIMES.contains(&name) && number.as_i64() != Some(-1) => Value::from("<time>"),
        _ => value.clone(),
    }
}

fn bytes(items: &[Value]) -> Vec<u8> {
    items.iter().filter_map(Value::as_u64).map(|byte| byte as u8).collect()
}

fn id(value: &Value, variables: &Variables) -> Value {
    let none = match value {
        Value::String(text) => text.is_empty() || text == "00000000-0000-0000-0000-000000000000",
        Value::Number(number) => matches!(number.as_i64(), Some(0 | -1)),
        _ => true,
    };
    if none {
        return value.clone();
    }
    let known = variables.iter().find(|(_, known)| *known == value);
    Value::from(known.map_or_else(|| "<id>".to_owned(), |(name, _)| format!("${name}")))
}

/// Every field in which two normalised answers differ.
pub(crate) fn differences(kafka: &Value, barnabas: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    walk(String::new(), Some(kafka), Some(barnabas), &mut found);
    found
}

fn walk(path: String, kafka: Option<&Value>, barnabas: Option<&Value>, found: &mut Vec<Difference>) {
    match (kafka, barnabas) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            let names: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for name in names {
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                walk(path, a.get(name), b.get(name), found);
            }
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) => {
            let (a, b) = (named(a), named(b));
            for (name, item) in &a {
                let other = b.iter().find(|(other, _)| other == name).map(|(_, item)| *item);
                walk(format!("{path}[{name}]"), Some(item), other, found);
            }
            for (name, item) in &b {
                if !a.iter().any(|(other, _)| other == name) {
                    walk(format!("{path}[{name}]"), None, Some(item), found);
                }
            }
        }
        (a, b) if a == b => {}
        (a, b) => found.push(Difference {
            path,
            kafka: a.cloned(),
            barnabas: b.cloned(),
        }),
    }
}

/// The elements with what they are known by: identity fields, else the index.
fn named(items: &[Value]) -> Vec<(String, &Value)> {
    let mut named: Vec<(String, &Value)> = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let has_name = ["name", "topic"]
            .iter()
            .any(|name| item.get(*name).is_some_and(|name| name != "" && !name.is_null()));
        let parts: Vec<String> = IDENTITY
            .iter()
            .filter(|name| !(has_name && **name == "topic_id"))
            .filter_map(|name| item.get(*name))
            .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            .collect();
        let mut name = if parts.is_empty() {
            index.to_string()
        } else {
            parts.join(" ")
        };
        while named.iter().any(|(taken, _)| *taken == name) {
            name.push('\'');
        }
        named.push((name, item));
    }
    named
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ids_are_compared_by_where_they_come_from() {
        let kafka = Variables::from([("id.t".into(), json!("1b"))]);
        let ours = Variables::from([("id.t".into(), json!("2c"))]);
        let answer = |id: &str| json!({"topics": [{"topic_id": id}]});
        let compare =
            |a: &str, b: &str| differences(&normalise(&answer(a), &kafka), &normalise(&answer(b), &ours)).is_empty();
        assert!(compare("1b", "2c"));
        assert!(compare("7", "9"), "neither is known");
        assert!(!compare("1b", "9"), "one is the topic's, one is not");
        assert!(!compare("", "9"), "one is none");
    }

    #[test]
    fn arrays_are_compared_element_by_element_in_any_order() {
        let kafka = json!([{"name": "a", "error_code": 0}, {"name": "b", "error_code": 3}, {"name": "c"}]);
        let ours = json!([{"name": "b", "error_code": 5}, {"name": "a", "error_code": 0}]);
        let found = differences(&kafka, &ours);
        let paths: Vec<&str> = found.iter().map(|difference| difference.path.as_str()).collect();
        assert_eq!(paths, ["[b].error_code", "[c]"]);
    }

    #[test]
    fn an_element_that_stands_twice_is_expected_twice() {
        let kafka = json!([{"name": "a"}, {"name": "a"}]);
        assert_eq!(differences(&kafka, &json!([{"name": "a"}])).len(), 1);
    }
}
