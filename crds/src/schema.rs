//! Schema pieces that several kinds share and that derive cannot write.

use k8s_openapi::api::core::v1::{Affinity, LocalObjectReference, Toleration, TopologySpreadConstraint};
use k8s_openapi::api::networking::v1::NetworkPolicyPeer;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

/// Conditions as Kubernetes shapes them: one per type, so that two writers can own one each.
pub fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status", "reason", "message", "lastTransitionTime"],
            "properties": {
                "type": {"type": "string", "maxLength": 316},
                "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
                "reason": {"type": "string", "minLength": 1, "maxLength": 1024},
                "message": {"type": "string", "maxLength": 32768},
                "lastTransitionTime": {"type": "string", "format": "date-time"},
                "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0}
            }
        }
    })
}

/// A map of configuration keys; numbers may be written without quotes.
pub fn config(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": {"x-kubernetes-int-or-string": true, "maxLength": 4096},
        "description": "Configuration by Kafka's names. Booleans and fractions are written as strings."
    })
}

/// Amounts of compute resources by name.
pub fn quantities(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": {"x-kubernetes-int-or-string": true, "maxLength": 64}
    })
}

/// A small map of texts.
pub fn strings(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 32,
        "additionalProperties": {"type": "string", "maxLength": 4096}
    })
}

/// Networks in CIDR form.
pub fn source_ranges(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 64,
        "x-kubernetes-list-type": "set",
        "items": {
            "type": "string",
            "maxLength": 64,
            "x-kubernetes-validations": [{
                "rule": "isCIDR(self)",
                "message": "each of loadBalancerSourceRanges must be a network, such as 192.0.2.0/24"
            }]
        }
    })
}

/// Peers of a NetworkPolicy, as Kubernetes has them.
pub fn network_peers(generator: &mut SchemaGenerator) -> Schema {
    list_of::<NetworkPolicyPeer>(generator, 32)
}

/// Tolerations, as in a Pod.
pub fn tolerations(generator: &mut SchemaGenerator) -> Schema {
    list_of::<Toleration>(generator, 32)
}

/// Spread, as in a Pod.
pub fn topology_spread_constraints(generator: &mut SchemaGenerator) -> Schema {
    list_of::<TopologySpreadConstraint>(generator, 8)
}

/// Names of Secrets, as in a Pod.
pub fn pull_secrets(generator: &mut SchemaGenerator) -> Schema {
    list_of::<LocalObjectReference>(generator, 8)
}

/// Affinity, as in a Pod.
pub fn affinity(generator: &mut SchemaGenerator) -> Schema {
    bare::<Affinity>(generator)
}

fn list_of<T: JsonSchema>(generator: &mut SchemaGenerator, most: u32) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": most,
        "x-kubernetes-list-type": "atomic",
        "items": bare::<T>(generator)
    })
}

/// A type of Kubernetes without its prose: `kubectl explain pod.spec` has that, and it would double the definition.
fn bare<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    let mut value = T::json_schema(generator).to_value();
    strip(&mut value);
    Schema::try_from(value).unwrap_or_default()
}

fn strip(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            map.retain(|key, value| key != "description" || !value.is_string());
            map.values_mut().for_each(strip);
        }
        Value::Array(list) => list.iter_mut().for_each(strip),
        _ => {}
    }
}

/// What a fresh object says of itself before the operator has seen it, so that `kubectl wait`
/// and other readers never take silence for success.
pub fn initial_status() -> Value {
    json!({
        "observedGeneration": -1,
        "conditions": [{
            "type": "Ready",
            "status": "Unknown",
            "reason": "Pending",
            "message": "waiting for the operator",
            "lastTransitionTime": "1970-01-01T00:00:00Z"
        }]
    })
}
