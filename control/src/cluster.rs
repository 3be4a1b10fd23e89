//! The name of a cluster.

use std::fmt;
use std::str::FromStr;

/// Namespace and name of a Cluster resource; outside Kubernetes `standalone/local` unless told otherwise.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterRef {
    /// The namespace, never empty.
    pub namespace: String,
    /// The name, never empty.
    pub name: String,
}

/// Why a text is no cluster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names no cluster: expected NAMESPACE/NAME in lower-case letters, digits, `-` and `.`")]
pub struct ClusterRefError(String);

impl ClusterRef {
    /// A cluster by namespace and name, each a Kubernetes name of at most 253 characters.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Result<Self, ClusterRefError> {
        let (namespace, name) = (namespace.into(), name.into());
        if !(is_kubernetes_name(&namespace) && is_kubernetes_name(&name)) {
            return Err(ClusterRefError(format!("{namespace}/{name}")));
        }
        Ok(Self { namespace, name })
    }

    /// What a standalone broker's controller answers to.
    pub fn standalone() -> Self {
        Self {
            namespace: "standalone".to_owned(),
            name: "local".to_owned(),
        }
    }
}

impl fmt::Display for ClusterRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl FromStr for ClusterRef {
    type Err = ClusterRefError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (namespace, name) = text.split_once('/').ok_or_else(|| ClusterRefError(text.to_owned()))?;
        Self::new(namespace, name)
    }
}

fn is_kubernetes_name(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.';
    !text.is_empty() && text.len() <= 253 && text.bytes().all(legal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_read_as_it_is_written() {
        let cluster: ClusterRef = "mail/letters".parse().unwrap();
        assert_eq!(cluster, ClusterRef::new("mail", "letters").unwrap());
        assert_eq!(cluster.to_string(), "mail/letters");
    }

    #[test]
    fn what_is_no_kubernetes_name_is_refused_by_its_text() {
        for text in ["letters", "/letters", "mail/", "Mail/letters", "mail/let ters", "a/b/c"] {
            let refused = text.parse::<ClusterRef>().unwrap_err();
            assert!(refused.to_string().contains(text), "{refused}");
        }
    }
}
