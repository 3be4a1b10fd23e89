//! The charts, without a Kubernetes: their values refuse typos, the cluster's chart has every field of a Cluster, and
//! what they render is committed and fresh.
//!
//! Some of it needs Helm: the program of `BARNABAS_HELM`, else one on the path or in the cache. `e2e/run-charts.sh` sees to one;
//! without, these tests say so and try nothing. `BARNABAS_BLESS=1` writes anew what is generated.

// Helpers of tests are tests.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Map, Value, json};

mod schema;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// What is rendered: file, chart, arguments.
const RENDERED: &[(&str, &str, &[&str])] = &[
    ("operator", "barnabas-operator", &[]),
    (
        "operator-one-namespace",
        "barnabas-operator",
        &["--set", "watchNamespace=team-a"],
    ),
    (
        "operator-laptop",
        "barnabas-operator",
        &["--values", "values-laptop.yaml"],
    ),
    (
        "operator-everything",
        "barnabas-operator",
        &["--values", "../../e2e/charts/operator-everything.yaml"],
    ),
    (
        "operator-nothing",
        "barnabas-operator",
        &["--values", "../../e2e/charts/operator-nothing.yaml"],
    ),
    ("cluster", "barnabas-cluster", &[]),
    (
        "cluster-laptop",
        "barnabas-cluster",
        &["--values", "values-laptop.yaml"],
    ),
    (
        "cluster-three-zones",
        "barnabas-cluster",
        &["--values", "values-three-zones.yaml"],
    ),
    (
        "cluster-everything",
        "barnabas-cluster",
        &["--values", "../../e2e/charts/cluster-everything.yaml"],
    ),
];

fn path(relative: &str) -> PathBuf {
    Path::new(ROOT).join(relative)
}

fn read(relative: &str) -> String {
    fs::read_to_string(path(relative)).unwrap_or_else(|error| panic!("{relative}: {error}"))
}

/// Compares a committed file with what it should be, or writes it.
fn committed_is(relative: &str, fresh: &str) {
    if std::env::var_os("BARNABAS_BLESS").is_some() {
        fs::write(path(relative), fresh).unwrap();
    }
    assert!(
        fs::read_to_string(path(relative)).unwrap_or_default() == fresh,
        "{relative} is stale: run `BARNABAS_BLESS=1 cargo test -p e2e --test charts`"
    );
}

fn values_schema(chart: &str) -> Value {
    serde_json::from_str(&read(&format!("charts/{chart}/values.schema.json"))).unwrap()
}

/// Helm, if it is there.
fn helm() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("BARNABAS_HELM") {
        return Some(named.into());
    }
    let on_path = std::env::var_os("PATH").and_then(|paths| {
        std::env::split_paths(&paths)
            .map(|folder| folder.join("helm"))
            .find(|program| program.is_file())
    });
    let cache = std::env::var_os("BARNABAS_CACHE").map_or_else(|| path(".cache"), PathBuf::from);
    let in_cache = fs::read_dir(cache.join("kubernetes")).ok().and_then(|folders| {
        folders
            .flatten()
            .map(|folder| folder.path().join("helm"))
            .find(|program| program.is_file())
    });
    let found = on_path.or(in_cache);
    if found.is_none() {
        eprintln!("not tried: there is no helm here; e2e/run-charts.sh builds one");
    }
    found
}

/// `helm template` of a chart: what it printed, or what it complained of.
fn template(helm: &Path, chart: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(helm)
        .args([
            "template",
            "castle",
            ".",
            "--namespace",
            "letters",
            "--kube-version",
            "1.34",
        ])
        .args(arguments)
        .current_dir(path(&format!("charts/{chart}")))
        .output()
        .expect("helm runs");
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

#[test]
fn the_values_of_a_cluster_are_the_fields_of_a_cluster() {
    let spec = |file: &str| {
        let definition = crds::definitions()
            .into_iter()
            .find(|definition| definition.file == file);
        let definition = serde_json::to_value(definition.unwrap().definition).unwrap();
        let version = &definition["spec"]["versions"][0];
        version["schema"]["openAPIV3Schema"]["properties"]["spec"].clone()
    };
    let fresh = schema::of_cluster_chart(&spec("clusters.yaml"), &spec("topics.yaml"));
    let text = format!("{}\n", serde_json::to_string_pretty(&fresh).unwrap());
    committed_is("charts/barnabas-cluster/values.schema.json", &text);
}

#[test]
fn every_value_of_a_chart_is_in_its_values_file() {
    for chart in ["barnabas-operator", "barnabas-cluster"] {
        let values = read(&format!("charts/{chart}/values.yaml"));
        let schema = values_schema(chart);
        for name in schema["properties"].as_object().unwrap().keys() {
            let said = values
                .lines()
                .any(|line| line.trim_start_matches(['#', ' ']).starts_with(&format!("{name}:")));
            assert!(said || name == "global", "{chart}/values.yaml says nothing of {name}");
        }
    }
}

#[test]
fn no_object_of_a_values_schema_takes_what_it_does_not_know() {
    for chart in ["barnabas-operator", "barnabas-cluster"] {
        let schema = values_schema(chart);
        let mut open = Vec::new();
        find_open(&schema, chart, &mut open);
        // `global` belongs to the charts that use this one.
        assert_eq!(open, [format!("{chart}/properties/global")], "open objects");
    }
}

/// Objects that neither list what they know nor say of what kind their values are.
fn find_open(schema: &Value, at: &str, open: &mut Vec<String>) {
    match schema {
        Value::Object(fields) => {
            let known = fields.get("additionalProperties");
            // Free is only what says so, because Kubernetes itself checks it.
            let closed = known == Some(&json!(false))
                || known.is_some_and(Value::is_object)
                || (known == Some(&json!(true)) && fields.contains_key("description"));
            if fields.get("type") == Some(&json!("object")) && !closed {
                open.push(at.to_owned());
            }
            for (name, inner) in fields {
                find_open(inner, &format!("{at}/{name}"), open);
            }
        }
        Value::Array(elements) => elements.iter().for_each(|inner| find_open(inner, at, open)),
        _ => {}
    }
}

#[test]
fn helm_refuses_a_typo_at_every_depth() {
    let Some(helm) = helm() else { return };
    for chart in ["barnabas-operator", "barnabas-cluster"] {
        let schema = values_schema(chart);
        let mut count = 0;
        let values = misspelt(&schema, &schema, &mut count);
        assert!(count > 10, "{chart} has more objects than {count}");
        let file = std::env::temp_dir().join(format!("barnabas-typos-{chart}-{}.json", std::process::id()));
        fs::write(&file, serde_json::to_vec(&values).unwrap()).unwrap();
        let complaint = template(&helm, chart, &["--values", file.to_str().unwrap()]).unwrap_err();
        fs::remove_file(&file).unwrap();
        for number in 1..=count {
            let name = format!("'typo{number}'");
            assert!(
                complaint.contains(&name),
                "{chart} takes {name} of {values:#}\n{complaint}"
            );
        }
    }
}

/// A value that fits the schema but for one unknown name in each of its objects.
fn misspelt(schema: &Value, root: &Value, count: &mut usize) -> Value {
    if let Some(name) = schema["$ref"].as_str() {
        return misspelt(
            &root[&"definitions"][name.trim_start_matches("#/definitions/")],
            root,
            count,
        );
    }
    match schema["type"].as_str() {
        Some("object") if schema["additionalProperties"] == json!(false) => {
            *count += 1;
            let mut object = Map::from_iter([(format!("typo{count}"), json!(1))]);
            for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
                object.insert(name.clone(), misspelt(inner, root, count));
            }
            object.retain(|_, value| !value.is_null());
            Value::Object(object)
        }
        Some("object") if schema["additionalProperties"].is_object() => {
            match misspelt(&schema["additionalProperties"], root, count) {
                Value::Null => Value::Null,
                inner => json!({"any": inner}),
            }
        }
        Some("array") => match misspelt(&schema["items"], root, count) {
            Value::Null => Value::Null,
            inner => json!([inner]),
        },
        _ => Value::Null,
    }
}

#[test]
fn what_the_charts_render_is_committed() {
    let Some(helm) = helm() else { return };
    for (file, chart, arguments) in RENDERED {
        let rendered = template(&helm, chart, arguments).unwrap_or_else(|complaint| panic!("{file}: {complaint}"));
        committed_is(&format!("e2e/charts/rendered/{file}.yaml"), &rendered);
    }
    let mut files: Vec<String> = fs::read_dir(path("e2e/charts/rendered"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    let mut expected: Vec<String> = RENDERED.iter().map(|(file, ..)| format!("{file}.yaml")).collect();
    expected.sort();
    assert_eq!(files, expected);
}

/// Whatever the values, as text: no part of a chart reaches for more than it needs.
#[test]
fn rendered_pods_are_restricted_and_one_namespace_means_no_cluster_wide_right() {
    for (file, ..) in RENDERED {
        let text = read(&format!("e2e/charts/rendered/{file}.yaml"));
        for document in text.split("\n---\n") {
            let has = |needle: &str| document.contains(needle);
            if has("\nkind: Deployment") || has("\nkind: Job") || has("\nkind: Pod\n") {
                for needed in [
                    "runAsNonRoot: true",
                    "seccompProfile:",
                    "allowPrivilegeEscalation: false",
                    "readOnlyRootFilesystem: true",
                    "drop:",
                ] {
                    assert!(has(needed), "{file}: a pod without {needed}\n{document}");
                }
            }
            assert!(
                !document.contains("\"*\"") && !document.contains("['*']") && !document.contains("[*]"),
                "{file} grants everything of something"
            );
            if *file == "operator-one-namespace" && has("\nkind: ClusterRole") {
                // The definitions are the API server's own, for the moments that a hook takes.
                assert!(has("name: barnabas-operator-crds-letters"), "{file}:\n{document}");
            }
        }
    }
}
