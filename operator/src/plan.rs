//! Which objects must be written: those whose desired fields the observed object does not already have.
//!
//! Pure. The API server adds defaults to what it stores, so the comparison asks whether everything desired
//! is there, not whether both are equal.

use kube::api::DynamicObject;
use serde_json::Value;

/// An object as it should be, with its kind.
#[derive(Debug, Clone, PartialEq)]
pub struct Desired {
    /// `apiVersion`, such as `apps/v1`.
    pub api_version: &'static str,
    /// Kind, such as `StatefulSet`.
    pub kind: &'static str,
    /// Plural in the API's path, such as `statefulsets`.
    pub plural: &'static str,
    /// Name.
    pub name: String,
    /// The whole object.
    pub object: Value,
}

/// The desired objects that differ from what is there; `observed` answers by position.
pub fn plan<'a>(desired: &'a [Desired], observed: &[Option<DynamicObject>]) -> Vec<&'a Desired> {
    desired
        .iter()
        .enumerate()
        .filter(|(index, wanted)| {
            let there = observed.get(*index).and_then(Option::as_ref);
            !there.is_some_and(|there| serde_json::to_value(there).is_ok_and(|there| covers(&there, &wanted.object)))
        })
        .map(|(_, wanted)| wanted)
        .collect()
}

/// The first object that somebody else made under a name that the cluster needs: it is not taken over, because applying
/// would change it and the Cluster's deletion would take it along.
pub fn foreign<'a>(desired: &'a [Desired], observed: &[Option<DynamicObject>], cluster: &str) -> Option<&'a Desired> {
    let mut pairs = desired.iter().zip(observed);
    let (wanted, _) = pairs.find(|(_, found)| {
        let labels = found.as_ref().map(|found| found.metadata.labels.as_ref());
        labels.is_some_and(|labels| {
            let owner = labels.and_then(|labels| labels.get(crds::CLUSTER_LABEL));
            owner.map(String::as_str) != Some(cluster)
        })
    })?;
    Some(wanted)
}

/// Whether every field of `desired` is in `observed` with the same value.
pub fn covers(observed: &Value, desired: &Value) -> bool {
    match (observed, desired) {
        (Value::Object(observed), Value::Object(desired)) => {
            desired.iter().all(|(key, wanted)| match observed.get(key) {
                Some(found) => covers(found, wanted),
                None => is_empty(wanted),
            })
        }
        (Value::Array(observed), Value::Array(desired)) => {
            observed.len() == desired.len()
                && observed
                    .iter()
                    .zip(desired)
                    .all(|(found, wanted)| covers(found, wanted))
        }
        (found, wanted) => found == wanted,
    }
}

/// The API server drops empty maps, lists and nulls.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.values().all(is_empty),
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn defaults_that_the_server_added_are_no_difference() {
        let desired = json!({"spec": {"ports": [{"port": 9092}], "selector": {"a": "b"}}});
        let observed = json!({"spec": {"ports": [{"port": 9092, "protocol": "TCP"}], "selector": {"a": "b"}, "type": "ClusterIP"}, "status": {}});
        assert!(covers(&observed, &desired));
    }

    #[test]
    fn a_changed_removed_or_added_value_is_a_difference() {
        let observed = json!({"spec": {"replicas": 3, "ports": [{"port": 9092}]}});
        assert!(!covers(&observed, &json!({"spec": {"replicas": 4}})));
        assert!(!covers(&observed, &json!({"spec": {"paused": true}})));
        assert!(!covers(
            &observed,
            &json!({"spec": {"ports": [{"port": 9092}, {"port": 9093}]}})
        ));
        assert!(!covers(&observed, &json!({"spec": {"ports": []}})));
    }

    #[test]
    fn an_object_of_somebody_else_is_not_taken_over() {
        let role = Desired {
            api_version: "rbac.authorization.k8s.io/v1",
            kind: "Role",
            plural: "roles",
            name: "castle".to_owned(),
            object: json!({}),
        };
        let there = |labels: Value| -> Option<DynamicObject> {
            serde_json::from_value(json!({"metadata": {"name": "castle", "labels": labels}})).unwrap()
        };
        let is_foreign = |found| foreign(std::slice::from_ref(&role), &[found], "castle").is_some();
        assert!(!is_foreign(None));
        assert!(!is_foreign(there(json!({crds::CLUSTER_LABEL: "castle"}))));
        assert!(is_foreign(there(json!({crds::CLUSTER_LABEL: "castle-0"}))));
        assert!(is_foreign(there(json!({"app": "castle"}))));
        assert!(is_foreign(there(json!(null))));
    }

    #[test]
    fn what_the_server_drops_is_no_difference() {
        assert!(covers(
            &json!({"metadata": {}}),
            &json!({"metadata": {"annotations": {}}, "data": null})
        ));
    }
}
