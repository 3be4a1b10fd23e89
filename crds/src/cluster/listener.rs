//! Where clients connect.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::NetworkPolicyPeer;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where clients connect.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.advertisedHost) || (has(self.type) && self.type != 'Internal')")
        .message("advertisedHost belongs to listeners of type NodePort and LoadBalancer"),
    validation = Rule::new("!has(self.advertisedHost) || self.advertisedHost.replace('{id}', '0').matches('^[a-zA-Z0-9]([-a-zA-Z0-9.:]*[a-zA-Z0-9])?$')")
        .message("advertisedHost must be a host name or address, in which {id} stands for the broker's number"),
    validation = Rule::new("!has(self.advertisedPort) || (has(self.advertisedHost) && self.advertisedHost.contains('{id}'))")
        .message("advertisedPort needs an advertisedHost with {id}, such as broker-{id}.example.org: otherwise all brokers would have one address"),
    validation = Rule::new("!has(self.serviceAnnotations) || (has(self.type) && self.type != 'Internal')")
        .message("serviceAnnotations belong to listeners of type NodePort and LoadBalancer"),
    validation = Rule::new("(!has(self.loadBalancerClass) && !has(self.loadBalancerSourceRanges)) || (has(self.type) && self.type == 'LoadBalancer')")
        .message("loadBalancerClass and loadBalancerSourceRanges belong to listeners of type LoadBalancer"),
    validation = Rule::new("has(self.loadBalancerClass) == has(oldSelf.loadBalancerClass) && (!has(self.loadBalancerClass) || self.loadBalancerClass == oldSelf.loadBalancerClass)")
        .message("loadBalancerClass cannot be changed: add a listener of another name")
)]
pub struct Listener {
    /// Name, part of Service names.
    #[schemars(length(min = 1, max = 11), regex(pattern = "^[a-z0-9]{1,11}$"))]
    pub name: String,
    /// Port in the pod.
    #[schemars(range(min = 1024, max = 65535))]
    pub port: i32,
    /// Who can reach it.
    #[serde(default, rename = "type")]
    pub kind: ListenerType,
    /// Host that brokers advertise here; `{id}` stands for the broker's number. If absent: the address of the
    /// broker's node (`NodePort`) or what the load balancer says (`LoadBalancer`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub advertised_host: Option<String>,
    /// Port that brokers advertise here. If absent: the node port, or `port` behind a load balancer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub advertised_port: Option<i32>,
    /// Annotations of the Service of each broker, such as those of external-dns or of a cloud's load balancer.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::strings")]
    pub service_annotations: BTreeMap<String, String>,
    /// Which load balancer serves it; the default one if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub load_balancer_class: Option<String>,
    /// Client addresses that the load balancer lets in, in CIDR form; all if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::source_ranges")]
    pub load_balancer_source_ranges: Vec<String>,
    /// Who may connect, as in a NetworkPolicy; everybody if empty. Brokers always may.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::network_peers")]
    pub from: Vec<NetworkPolicyPeer>,
}

/// Who can reach a listener.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListenerType {
    /// Pods, by the names of the headless Service.
    #[default]
    Internal,
    /// Also clients outside, at a port of each node.
    NodePort,
    /// Also clients outside, at a load balancer of each broker.
    LoadBalancer,
}

impl Listener {
    /// Whether each broker has a Service of its own here.
    pub fn is_external(&self) -> bool {
        self.kind != ListenerType::Internal
    }
}
