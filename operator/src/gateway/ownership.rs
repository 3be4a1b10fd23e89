//! Whose a field of a resource is, as the API server keeps account of it (`metadata.managedFields`).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use crate::names::KAFKA_API_MANAGER;

/// The manager that set a field and is not us; `None` if nobody did, or we.
pub(super) fn owner<'a>(metadata: &'a ObjectMeta, path: &[&str]) -> Option<&'a str> {
    let fields = metadata.managed_fields.iter().flatten();
    let others = fields.filter(|entry| entry.manager.as_deref() != Some(KAFKA_API_MANAGER));
    let mut owning = others.filter(|entry| entry.fields_v1.as_ref().is_some_and(|fields| has(&fields.0, path)));
    owning
        .next()
        .map(|entry| entry.manager.as_deref().unwrap_or("somebody"))
}

/// `FieldsV1` is a tree whose keys are `f:<name>`.
fn has(fields: &Value, path: &[&str]) -> bool {
    let mut at = fields;
    for name in path {
        match at.get(format!("f:{name}")) {
            Some(below) => at = below,
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn metadata(entries: &[(&str, Value)]) -> ObjectMeta {
        let entries: Vec<_> = entries
            .iter()
            .map(|(manager, fields)| json!({"manager": manager, "operation": "Update", "fieldsV1": fields}))
            .collect();
        serde_json::from_value(json!({"managedFields": entries})).unwrap()
    }

    #[test]
    fn a_field_that_another_manager_set_is_its_own() {
        let ours = json!({"f:spec": {"f:partitions": {}, "f:config": {".": {}, "f:flush.ms": {}}}});
        let theirs = json!({"f:spec": {"f:config": {"f:retention.ms": {}}}});
        let metadata = metadata(&[(KAFKA_API_MANAGER, ours), ("kubectl-edit", theirs)]);
        assert_eq!(
            owner(&metadata, &["spec", "config", "retention.ms"]),
            Some("kubectl-edit")
        );
        assert_eq!(owner(&metadata, &["spec", "config", "flush.ms"]), None);
        assert_eq!(owner(&metadata, &["spec", "config", "segment.ms"]), None);
        assert_eq!(owner(&metadata, &["spec", "partitions"]), None);
        assert_eq!(owner(&ObjectMeta::default(), &["spec", "partitions"]), None);
    }

    #[test]
    fn a_field_that_both_set_is_not_ours_alone() {
        let both = json!({"f:spec": {"f:partitions": {}}});
        let metadata = metadata(&[(KAFKA_API_MANAGER, both.clone()), ("argocd", both)]);
        assert_eq!(owner(&metadata, &["spec", "partitions"]), Some("argocd"));
    }
}
