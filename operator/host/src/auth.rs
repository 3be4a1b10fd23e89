//! Who may speak for which broker: who calls is asked before a call's message is read, what it may say after.

use std::future::Future;
use std::net::SocketAddr;

use control::{ClusterRef, Reason, Refusal};
use model::BrokerId;

/// Decides who a caller is, and whether it may speak for the broker that it names.
pub trait Authenticator: Send + Sync + 'static {
    /// Who a caller has proved to be.
    type Identity: Clone + Send + Sync + 'static;

    /// Who calls, before anything of its message is read; `Unauthenticated` if that is not proved.
    fn authenticate(&self, caller: &Caller<'_>) -> impl Future<Output = Result<Self::Identity, Refusal>> + Send;

    /// Whether it may say that; `Forbidden` if not.
    fn authorize(&self, identity: &Self::Identity, claim: &Claim<'_>) -> Result<(), Refusal>;
}

/// What is known of a caller before its message is read.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// Where it calls from.
    pub peer: Option<SocketAddr>,
    /// Its bearer token.
    pub token: Option<&'a str>,
}

/// What a message says of its sender.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// The cluster that it names.
    pub cluster: &'a ClusterRef,
    /// The broker that it says to be.
    pub broker: BrokerId,
    /// The pod that it says to run in, in a registration.
    pub pod_uid: Option<&'a str>,
}

/// Whoever can reach the port, which must be bound to loopback: one machine, one trust.
#[derive(Debug, Clone, Copy, Default)]
pub struct Loopback;

impl Authenticator for Loopback {
    type Identity = ();

    fn authorize(&self, (): &(), _: &Claim<'_>) -> Result<(), Refusal> {
        Ok(())
    }

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
    type Identity = ();

    fn authorize(&self, (): &(), _: &Claim<'_>) -> Result<(), Refusal> {
        Ok(())
    }

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

    fn caller<'a>(peer: &str, token: Option<&'a str>) -> Caller<'a> {
        Caller {
            peer: peer.parse().ok(),
            token,
        }
    }

    #[tokio::test]
    async fn loopback_means_this_machine() {
        for peer in ["127.0.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert_eq!(Loopback.authenticate(&caller(peer, None)).await, Ok(()), "{peer}");
        }
        for peer in ["10.0.0.1:1", "[fd00::1]:1", "unknown"] {
            let refused = Loopback.authenticate(&caller(peer, Some("token"))).await.unwrap_err();
            assert_eq!(refused.reason, Reason::Unauthenticated, "{peer}");
        }
    }

    #[tokio::test]
    async fn only_the_whole_token_opens() {
        let secret = SharedToken::new("secret\n").unwrap();
        assert_eq!(secret.authenticate(&caller("10.0.0.1:1", Some("secret"))).await, Ok(()));
        for token in [None, Some(""), Some("secre"), Some("secret "), Some("Secret")] {
            let refused = secret.authenticate(&caller("127.0.0.1:1", token)).await.unwrap_err();
            assert_eq!(refused.reason, Reason::Unauthenticated, "{token:?}");
        }
        assert!(SharedToken::new(" \n").is_none());
    }
}
