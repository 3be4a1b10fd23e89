//! Who may speak for which broker.

use std::future::Future;
use std::net::SocketAddr;

use control::{ClusterRef, Reason, Refusal};
use model::BrokerId;
use tonic::metadata::MetadataMap;

/// Decides whether a caller may speak for the broker that it names.
pub trait Authenticator: Send + Sync + 'static {
    /// `Unauthenticated` or `Forbidden` if it may not.
    fn authenticate(&self, caller: &Caller<'_>) -> impl Future<Output = Result<(), Refusal>> + Send;
}

/// What is known of a caller.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// Where it calls from.
    pub peer: Option<SocketAddr>,
    /// Its bearer token.
    pub token: Option<&'a str>,
    /// The cluster that it names.
    pub cluster: &'a ClusterRef,
    /// The broker that it says to be.
    pub broker: BrokerId,
}

impl<'a> Caller<'a> {
    pub(crate) fn new(
        peer: Option<SocketAddr>,
        metadata: &'a MetadataMap,
        cluster: &'a ClusterRef,
        broker: BrokerId,
    ) -> Self {
        let token = metadata
            .get("authorization")
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "));
        Self {
            peer,
            token,
            cluster,
            broker,
        }
    }
}

/// Whoever can reach the port, which must be bound to loopback: one machine, one trust.
#[derive(Debug, Clone, Copy, Default)]
pub struct Loopback;

impl Authenticator for Loopback {
    async fn authenticate(&self, caller: &Caller<'_>) -> Result<(), Refusal> {
        match caller.peer {
            Some(peer) if peer.ip().to_canonical().is_loopback() => Ok(()),
            Some(peer) => Err(Refusal::new(
                Reason::Unauthenticated,
                format!(
                    "{} is not this machine: give both sides --control-token-file",
                    peer.ip()
                ),
            )),
            None => Err(Refusal::new(
                Reason::Unauthenticated,
                "the caller's address is not known",
            )),
        }
    }
}

/// Whoever holds the one token of `--control-token-file`.
pub struct SharedToken(String);

impl SharedToken {
    /// The text of the token file; white space around it does not count.
    ///
    /// `None` if nothing is left of it: an empty secret is none.
    pub fn new(text: &str) -> Option<Self> {
        let token = text.trim();
        (!token.is_empty()).then(|| Self(token.to_owned()))
    }
}

impl std::fmt::Debug for SharedToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SharedToken(..)")
    }
}

impl Authenticator for SharedToken {
    async fn authenticate(&self, caller: &Caller<'_>) -> Result<(), Refusal> {
        match caller.token {
            Some(token) if same(token.as_bytes(), self.0.as_bytes()) => Ok(()),
            Some(_) => Err(Refusal::new(
                Reason::Unauthenticated,
                "the token is not that of --control-token-file",
            )),
            None => Err(Refusal::new(
                Reason::Unauthenticated,
                "a token is wanted: give --control-token-file",
            )),
        }
    }
}

/// Takes as long for a wrong token as for the right one, so that it cannot be guessed byte by byte.
fn same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller<'a>(peer: &str, token: Option<&'a str>, cluster: &'a ClusterRef) -> Caller<'a> {
        Caller {
            peer: peer.parse().ok(),
            token,
            cluster,
            broker: BrokerId(1),
        }
    }

    #[tokio::test]
    async fn loopback_means_this_machine() {
        let cluster = ClusterRef::standalone();
        for peer in ["127.0.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert_eq!(
                Loopback.authenticate(&caller(peer, None, &cluster)).await,
                Ok(()),
                "{peer}"
            );
        }
        for peer in ["10.0.0.1:1", "[fd00::1]:1", "unknown"] {
            let refused = Loopback
                .authenticate(&caller(peer, Some("token"), &cluster))
                .await
                .unwrap_err();
            assert_eq!(refused.reason, Reason::Unauthenticated, "{peer}");
        }
    }

    #[tokio::test]
    async fn only_the_whole_token_opens() {
        let cluster = ClusterRef::standalone();
        let secret = SharedToken::new("secret\n").unwrap();
        assert_eq!(
            secret
                .authenticate(&caller("10.0.0.1:1", Some("secret"), &cluster))
                .await,
            Ok(())
        );
        for token in [None, Some(""), Some("secre"), Some("secret "), Some("Secret")] {
            let refused = secret
                .authenticate(&caller("127.0.0.1:1", token, &cluster))
                .await
                .unwrap_err();
            assert_eq!(refused.reason, Reason::Unauthenticated, "{token:?}");
        }
        assert!(SharedToken::new(" \n").is_none());
    }
}
