//! What is said to those who operate a cluster: alerts and dashboard speak of metrics that the programs have, and every alert and
//! every reason of a condition is explained in docs/operations.

// Helpers of tests are tests.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use regex::Regex;
use serde_json::Value;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const ALERTS: &str = "charts/barnabas-operator/files/alerts.yaml";
const DASHBOARD: &str = "charts/barnabas-operator/files/dashboard.json";
/// Labels that Prometheus or a PodMonitor puts on every series, and the bound of a bucket.
const FROM_OUTSIDE: &[&str] = &["namespace", "cluster", "pod", "job", "instance", "le"];

fn read(relative: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(relative)).unwrap_or_else(|error| panic!("{relative}: {error}"))
}

fn found(pattern: &str, text: &str) -> BTreeSet<String> {
    let pattern = Regex::new(pattern).unwrap();
    pattern.captures_iter(text).map(|found| found[1].to_owned()).collect()
}

/// Series and labels of docs/metrics.md, whose tables the programs' own tests write.
fn metrics() -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut series, mut labels) = (BTreeSet::new(), BTreeSet::new());
    let row = Regex::new(r"(?m)^\| `([a-z_0-9]+)` \| (\w+) \| ([^|]*) \|").unwrap();
    for row in row.captures_iter(&read("docs/metrics.md")) {
        series.insert(row[1].to_owned());
        if &row[2] == "histogram" {
            series.extend(["bucket", "sum", "count"].map(|part| format!("{}_{part}", &row[1])));
        }
        labels.extend(row[3].split(',').map(|label| label.trim().to_owned()));
    }
    assert!(series.len() > 80, "docs/metrics.md has tables of metrics");
    (series, labels)
}

/// Every expression of the dashboard.
fn expressions(dashboard: &Value, into: &mut Vec<String>) {
    match dashboard {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if name == "expr" || name == "query" => into.push(text.clone()),
                    _ => expressions(value, into),
                }
            }
        }
        Value::Array(elements) => elements.iter().for_each(|element| expressions(element, into)),
        _ => {}
    }
}

#[test]
fn alerts_and_dashboard_ask_for_series_and_labels_that_there_are() {
    let (series, labels) = metrics();
    let mut asked = vec![read(ALERTS)];
    expressions(&serde_json::from_str(&read(DASHBOARD)).unwrap(), &mut asked);
    assert!(asked.len() > 30, "the dashboard has queries");
    for text in asked {
        for name in found(r"\b((?:kafka|barnabas|process)_[a-z0-9_]+)", &text) {
            assert!(
                series.contains(&name),
                "no program has a series {name}, which is asked for in {text}"
            );
        }
        let mut used = found(r#"[{,]\s*([a-z_]+)\s*(?:=~|!~|!=|=)\s*""#, &text);
        for list in found(r"\b(?:by|on) \(([a-z_, ]+)\)", &text) {
            used.extend(list.split(',').map(|label| label.trim().to_owned()));
        }
        for label in used {
            assert!(
                labels.contains(&label) || FROM_OUTSIDE.contains(&label.as_str()),
                "no series has a label {label}, which is asked for in {text}"
            );
        }
    }
}

#[test]
fn every_alert_has_its_page_its_test_and_its_address() {
    let text = read(ALERTS);
    let alerts = found(r"(?m)^ *- alert: (\w+)$", &text);
    assert!(alerts.len() > 10);
    let tests = read("e2e/charts/alerts.test.yaml");
    for alert in &alerts {
        let page = read(&format!("docs/operations/alerts/{alert}.md"));
        assert!(
            page.starts_with(&format!("# {alert}\n")),
            "the page of {alert} has another title"
        );
        for part in ["## What it means", "## What to do"] {
            assert!(page.contains(part), "the page of {alert} has no part {part}");
        }
        assert!(
            tests.contains(&format!("alertname: {alert}\n")),
            "alert {alert} has no test"
        );
        assert!(
            text.contains(&format!("/docs/operations/alerts/{alert}.md\n")),
            "alert {alert} names another page"
        );
    }
    let pages: BTreeSet<String> = fs::read_dir(Path::new(ROOT).join("docs/operations/alerts"))
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(pages, alerts, "pages of alerts that are gone, or the other way round");
}

#[test]
fn every_reason_of_a_condition_is_explained() {
    let code = read("operator/src/conditions.rs");
    let reasons = &code[code.find("pub mod reasons {").unwrap()..];
    let reasons = found(
        r#"pub const \w+: &str = "(\w+)";"#,
        &reasons[..reasons.find("\n}\n").unwrap()],
    );
    assert!(reasons.len() >= 10);
    let explained = found(r"(?m)^### (\w+)$", &read("docs/operations/conditions.md"));
    assert_eq!(
        reasons, explained,
        "reasons in operator/src/conditions.rs, and sections of docs/operations/conditions.md"
    );
}

#[test]
fn links_of_the_operations_guide_lead_somewhere() {
    let mut folders = vec![Path::new(ROOT).join("docs/operations")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            for link in found(r"\]\(([^)#:]+)(?:#[^)]*)?\)", &text) {
                assert!(folder.join(&link).exists(), "{} links to {link}", path.display());
            }
        }
    }
}
