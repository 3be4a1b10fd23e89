//! Brokers prove who they are: a ServiceAccount token that Kubernetes signed for one pod and one audience.
//! The signing keys are cached, so that an outage of the API server locks nobody out.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use kube::Client;
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tracing::{debug, warn};

use crate::error::OperatorError;
use crate::names::{CONTROL_AUDIENCE, ClusterNames};

/// Keys are fetched again for an unknown key id, but no oftener than this: anybody can show a token with one.
const REFRESH_AT_MOST_EVERY: Duration = Duration::from_secs(10);
/// ... and no oftener than this while the API server does not answer.
const RETRY_AT_MOST_EVERY: Duration = Duration::from_secs(1);
/// An answer that takes longer is no answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// The only algorithms that Kubernetes signs with.
const ALGORITHMS: [Algorithm; 2] = [Algorithm::RS256, Algorithm::ES256];

/// Who holds a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerIdentity {
    /// Namespace of the pod.
    pub namespace: String,
    /// ServiceAccount of the pod.
    pub service_account: String,
    /// Name of the pod.
    pub pod: String,
    /// Uid of the pod.
    pub pod_uid: String,
}

/// Why a token is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is not a token of this Kubernetes, for this audience, of a pod, and in its time.
    #[error("the token is not accepted: {0}")]
    Invalid(String),
    /// Signed with a key that is not known, and the keys could not be fetched.
    #[error("the token is signed with key {0:?}, which the API server does not list")]
    UnknownKey(String),
}

/// Checks tokens against the API server's signing keys.
#[derive(Clone)]
pub struct TokenVerifier {
    client: Client,
    /// Never held while the API server is asked: a key that is here must be found whoever waits for another.
    keys: Arc<RwLock<Option<JwkSet>>>,
    /// Before this nobody asks again. Held while one asks, so that the others wait for that answer.
    next_refresh: Arc<Mutex<Option<Instant>>>,
}

#[derive(Deserialize)]
struct Claims {
    #[serde(rename = "kubernetes.io")]
    kubernetes: KubernetesClaims,
}

#[derive(Deserialize)]
struct KubernetesClaims {
    namespace: String,
    pod: Option<Named>,
    serviceaccount: Named,
}

#[derive(Deserialize)]
struct Named {
    name: String,
    uid: String,
}

impl BrokerIdentity {
    /// Whether this is the pod of broker `id` of that cluster.
    pub fn is_broker(&self, names: &ClusterNames, id: i32) -> bool {
        self.namespace == names.namespace && self.service_account == names.cluster && self.pod == names.pod(id)
    }
}

impl TokenVerifier {
    /// A verifier with no keys yet.
    pub fn new(client: Client) -> Self {
        Self {
            client,
            keys: Arc::default(),
            next_refresh: Arc::default(),
        }
    }

    /// Fetches the keys, so that the first broker does not wait for them.
    pub async fn warm(&self) {
        if let Err(error) = self.refresh().await {
            warn!(%error, "the token signing keys could not be fetched yet");
        }
    }

    /// Who holds `token`.
    pub async fn verify(&self, token: &str) -> Result<BrokerIdentity, TokenError> {
        let invalid = |error: jsonwebtoken::errors::Error| TokenError::Invalid(error.to_string());
        let header = decode_header(token).map_err(invalid)?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(TokenError::Invalid(format!("algorithm {:?}", header.alg)));
        }
        let kid = header.kid.unwrap_or_default();
        let mut key = self.key(&kid);
        if key.is_none() {
            if let Err(error) = self.refresh().await {
                warn!(%error, "the token signing keys could not be fetched");
            }
            key = self.key(&kid);
        }
        let key = key.ok_or(TokenError::UnknownKey(kid))?;
        identity(token, header.alg, &key)
    }

    fn key(&self, kid: &str) -> Option<DecodingKey> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.as_ref()?.find(kid).and_then(|jwk| DecodingKey::from_jwk(jwk).ok())
    }

    async fn refresh(&self) -> Result<(), OperatorError> {
        let mut next = self.next_refresh.lock().await;
        if next.is_some_and(|next| Instant::now() < next) {
            return Ok(());
        }
        let fetched = timeout(ANSWER_WITHIN, self.fetch()).await;
        let pause = if matches!(fetched, Ok(Ok(()))) {
            REFRESH_AT_MOST_EVERY
        } else {
            RETRY_AT_MOST_EVERY
        };
        *next = Some(Instant::now() + pause);
        fetched.unwrap_or_else(|_| {
            Err(OperatorError::Controller(
                "the API server did not answer in time".to_owned(),
            ))
        })
    }

    async fn fetch(&self) -> Result<(), OperatorError> {
        let request = http::Request::get("/openid/v1/jwks")
            .body(Vec::new())
            .map_err(kube::Error::HttpError)?;
        let set: JwkSet = self.client.request(request).await?;
        debug!(keys = set.keys.len(), "token signing keys fetched");
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Some(set);
        Ok(())
    }
}

/// Signature, time, audience, and that it was made for a pod. The issuer needs no check of its own: only the
/// issuer has the key.
fn identity(token: &str, algorithm: Algorithm, key: &DecodingKey) -> Result<BrokerIdentity, TokenError> {
    let mut validation = Validation::new(algorithm);
    validation.set_audience(&[CONTROL_AUDIENCE]);
    // An audience that is absent or of another shape would pass otherwise: it is only compared where it is there.
    validation.set_required_spec_claims(&["exp", "aud"]);
    let claims = decode::<Claims>(token, key, &validation)
        .map_err(|error| TokenError::Invalid(error.to_string()))?
        .claims
        .kubernetes;
    let pod = claims
        .pod
        .ok_or_else(|| TokenError::Invalid("it was not made for a pod".to_owned()))?;
    Ok(BrokerIdentity {
        namespace: claims.namespace,
        service_account: claims.serviceaccount.name,
        pod: pod.name,
        pod_uid: pod.uid,
    })
}

#[cfg(test)]
mod tests;
