//! Names and labels of everything that belongs to a cluster. One place, because brokers, charts and
//! documentation repeat them.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

/// Who owns the fields that the operator applies.
pub const FIELD_MANAGER: &str = "barnabas-operator";
/// Who owns the fields that a Kafka client set.
pub const KAFKA_API_MANAGER: &str = "kafka-api";
/// Audience of the tokens that brokers show to the controller.
pub const CONTROL_AUDIENCE: &str = "barnabas-control";
/// The name that every server certificate of the control port carries, however the replica is dialled.
pub const CONTROL_SERVER_NAME: &str = "barnabas-operator-control";
/// Secret of the operator's namespace that holds the certificate authority of the control port.
pub const AUTHORITY_SECRET: &str = "barnabas-operator-control-ca";
/// gRPC.
pub const CONTROL_PORT: u16 = 9405;
/// Metrics, `/healthz` and `/readyz`, in both programs.
pub const METRICS_PORT: u16 = 9404;

/// Longest readable part of a Topic's object name that is not the topic's own.
const SLUG: usize = 40;

/// The names of one cluster's objects.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClusterNames {
    /// Namespace of the Cluster and of everything here.
    pub namespace: String,
    /// Name of the Cluster, and of its StatefulSet, ServiceAccount, Role, PodDisruptionBudget and `MetadataLog`.
    pub cluster: String,
}

impl ClusterNames {
    /// Names of `namespace/cluster`.
    pub fn new(namespace: &str, cluster: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            cluster: cluster.to_owned(),
        }
    }

    /// Headless Service behind the brokers' own names.
    pub fn headless(&self) -> String {
        format!("{}-brokers", self.cluster)
    }

    /// Service for clients that know no broker yet.
    pub fn bootstrap(&self) -> String {
        format!("{}-bootstrap", self.cluster)
    }

    /// Pod of a broker.
    pub fn pod(&self, id: i32) -> String {
        format!("{}-{id}", self.cluster)
    }

    /// Whether a volume claim of that name is a broker's.
    pub fn is_claim(&self, claim: &str) -> bool {
        let number = claim
            .strip_prefix("data-")
            .and_then(|pod| pod.strip_prefix(&self.cluster))
            .and_then(|rest| rest.strip_prefix('-'));
        number.is_some_and(|number| number.parse::<u16>().is_ok())
    }

    /// Name under which pods find a broker.
    pub fn broker_host(&self, id: i32) -> String {
        format!("{}.{}.{}.svc", self.pod(id), self.headless(), self.namespace)
    }

    /// Service of one broker at one external listener.
    pub fn external(&self, id: i32, listener: &str) -> String {
        format!("{}-{id}-{listener}", self.cluster)
    }

    /// Lease of a broker.
    pub fn broker_lease(&self, id: i32) -> String {
        format!("{}-broker-{id}", self.cluster)
    }

    /// Broker of a Lease of that name, if it is one of this cluster's.
    pub fn broker_of_lease(&self, lease: &str) -> Option<i32> {
        lease
            .strip_prefix(&self.cluster)?
            .strip_prefix("-broker-")?
            .parse()
            .ok()
    }

    /// Lease of the controller.
    pub fn controller_lease(&self) -> String {
        format!("{}-controller", self.cluster)
    }

    /// ConfigMap with the certificate authority of the control port.
    pub fn control_ca(&self) -> String {
        format!("{}-control-ca", self.cluster)
    }

    /// ConfigMap with what brokers advertise at external listeners: node ports, addresses of load balancers.
    pub fn addresses(&self) -> String {
        format!("{}-addresses", self.cluster)
    }

    /// Labels of every object of the cluster.
    pub fn labels(&self) -> BTreeMap<String, String> {
        let mut labels = self.selector();
        labels.insert("app.kubernetes.io/part-of".to_owned(), "barnabas".to_owned());
        labels.insert(
            "app.kubernetes.io/managed-by".to_owned(),
            "barnabas-operator".to_owned(),
        );
        labels
    }

    /// Labels that pick the broker pods; they can never change, because a StatefulSet's selector cannot.
    pub fn selector(&self) -> BTreeMap<String, String> {
        [
            ("app.kubernetes.io/name", "barnabas-broker"),
            ("app.kubernetes.io/instance", &self.cluster),
            (crds::CLUSTER_LABEL, &self.cluster),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
    }

    /// [`ClusterNames::selector`] as the text of a label selector.
    pub fn selector_text(&self) -> String {
        let pairs: Vec<String> = self
            .selector()
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        pairs.join(",")
    }
}

/// Name of the Topic object for a topic that came in through the Kafka protocol: the topic's own name
/// where Kubernetes allows it, otherwise a readable slug and a hash that keeps two topics apart.
pub fn topic_object(cluster: &str, topic: &str) -> String {
    if is_object_name(topic) {
        topic.to_owned()
    } else {
        hashed_topic_object(cluster, topic)
    }
}

/// The name with the hash, for a topic whose own name is illegal or taken by another cluster's Topic.
pub fn hashed_topic_object(cluster: &str, topic: &str) -> String {
    let slug: String = topic
        .chars()
        .map(|c| c.to_ascii_lowercase())
        .map(|c| {
            if c.is_ascii_lowercase() || c.is_ascii_digit() {
                c
            } else {
                '-'
            }
        })
        .take(SLUG)
        .collect();
    let slug = slug.trim_matches('-');
    let digest = Sha256::digest(format!("{cluster}/{topic}"));
    let hash = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
    if slug.is_empty() {
        format!("topic-{hash:08x}")
    } else {
        format!("{slug}-{hash:08x}")
    }
}

/// Whether a topic name is a DNS subdomain, as object names must be.
fn is_object_name(name: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    name.len() <= 249
        && name.split('.').all(|label| {
            let bytes = label.as_bytes();
            edge(bytes.first())
                && edge(bytes.last())
                && bytes
                    .iter()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_names_its_broker_and_only_its_own_cluster() {
        let names = ClusterNames::new("mail", "castle");
        assert_eq!(names.broker_of_lease(&names.broker_lease(12)), Some(12));
        assert_eq!(names.broker_of_lease("castle-controller"), None);
        assert_eq!(names.broker_of_lease("castle-two-broker-1"), None);
        assert_eq!(
            ClusterNames::new("mail", "castle-two").broker_of_lease("castle-two-broker-1"),
            Some(1)
        );
    }

    #[test]
    fn a_legal_topic_name_is_its_own_object_name() {
        assert_eq!(topic_object("castle", "letters.in-2"), "letters.in-2");
    }

    #[test]
    fn other_topic_names_get_a_slug_and_a_hash() {
        let name = topic_object("castle", "__consumer_offsets");
        assert!(name.starts_with("consumer-offsets-"), "{name}");
        assert_ne!(topic_object("castle", "Letters"), topic_object("castle", "letterS"));
        assert_ne!(topic_object("castle", "Letters"), topic_object("other", "Letters"));
    }

    proptest::proptest! {
        #[test]
        fn every_legal_topic_gets_a_legal_object_name(topic in "[a-zA-Z0-9._-]{1,249}") {
            let name = topic_object("castle", &topic);
            proptest::prop_assert!(is_object_name(&name), "{} -> {}", topic, name);
        }
    }
}
