use super::*;
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};

fn keys() -> (EncodingKey, DecodingKey) {
    let key = rcgen::KeyPair::generate().unwrap();
    let private = EncodingKey::from_ec_pem(key.serialize_pem().as_bytes()).unwrap();
    (
        private,
        DecodingKey::from_ec_pem(key.public_key_pem().as_bytes()).unwrap(),
    )
}

fn claims() -> Value {
    json!({
        "aud": ["barnabas-control"],
        "exp": jsonwebtoken::get_current_timestamp() + 600,
        "iss": "https://kubernetes.default.svc",
        "sub": "system:serviceaccount:mail:castle",
        "kubernetes.io": {
            "namespace": "mail",
            "pod": {"name": "castle-1", "uid": "4711"},
            "serviceaccount": {"name": "castle", "uid": "0815"},
        },
    })
}

fn check(claims: &Value) -> Result<BrokerIdentity, TokenError> {
    let (private, public) = keys();
    let token = encode(&Header::new(Algorithm::ES256), claims, &private).unwrap();
    identity(&token, Algorithm::ES256, &public)
}

#[test]
fn a_good_token_names_its_pod() {
    let identity = check(&claims()).unwrap();
    assert_eq!(identity.pod_uid, "4711");
    let names = ClusterNames::new("mail", "castle");
    assert!(identity.is_broker(&names, 1));
    assert!(!identity.is_broker(&names, 2));
    assert!(!identity.is_broker(&ClusterNames::new("mail", "other"), 1));
    assert!(!identity.is_broker(&ClusterNames::new("elsewhere", "castle"), 1));
}

#[test]
fn a_token_for_another_audience_is_refused() {
    let mut claims = claims();
    claims["aud"] = json!(["https://kubernetes.default.svc"]);
    assert!(matches!(check(&claims), Err(TokenError::Invalid(_))));
}

#[test]
fn a_token_for_no_audience_is_refused() {
    let mut without = claims();
    without.as_object_mut().unwrap().remove("aud");
    let mut shapeless = claims();
    shapeless["aud"] = json!(7);
    for claims in [without, shapeless] {
        assert!(matches!(check(&claims), Err(TokenError::Invalid(_))), "{claims}");
    }
}

#[test]
fn a_token_past_its_time_is_refused() {
    let mut claims = claims();
    claims["exp"] = json!(jsonwebtoken::get_current_timestamp() - 600);
    assert!(matches!(check(&claims), Err(TokenError::Invalid(_))));
}

#[test]
fn a_token_of_no_pod_is_refused() {
    let mut claims = claims();
    claims["kubernetes.io"].as_object_mut().unwrap().remove("pod");
    assert!(matches!(check(&claims), Err(TokenError::Invalid(_))));
}

#[test]
fn a_token_signed_by_somebody_else_is_refused() {
    let (private, _) = keys();
    let (_, public) = keys();
    let token = encode(&Header::new(Algorithm::ES256), &claims(), &private).unwrap();
    assert!(matches!(
        identity(&token, Algorithm::ES256, &public),
        Err(TokenError::Invalid(_))
    ));
}

#[tokio::test]
async fn a_token_with_an_unknown_key_keeps_nobody_else_waiting_for_the_api_server() {
    // The API server takes every request and never answers.
    let asked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let service = tower::service_fn(move |_: http::Request<kube::client::Body>| {
        count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        std::future::pending::<Result<http::Response<kube::client::Body>, std::convert::Infallible>>()
    });
    let verifier = TokenVerifier::new(Client::new(service, "mail"));
    let (private, _) = keys();
    let mut jwk = jsonwebtoken::jwk::Jwk::from_encoding_key(&private, Algorithm::ES256).unwrap();
    jwk.common.key_id = Some("known".to_owned());
    *verifier.keys.write().unwrap() = Some(JwkSet { keys: vec![jwk] });
    let token = |kid: &str| {
        let header = Header {
            kid: Some(kid.to_owned()),
            ..Header::new(Algorithm::ES256)
        };
        encode(&header, &claims(), &private).unwrap()
    };

    let strangers: Vec<_> = (0..20)
        .map(|_| {
            let (verifier, token) = (verifier.clone(), token("unknown"));
            tokio::spawn(async move { verifier.verify(&token).await })
        })
        .collect();
    tokio::task::yield_now().await;
    let good = token("known");
    let known = tokio::time::timeout(ANSWER_WITHIN / 2, verifier.verify(&good)).await;
    assert_eq!(known.expect("nobody to wait for").unwrap().pod, "castle-1");
    for stranger in strangers {
        assert!(matches!(stranger.await.unwrap(), Err(TokenError::UnknownKey(_))));
    }
    assert_eq!(
        asked.load(std::sync::atomic::Ordering::Relaxed),
        1,
        "one question for all of them"
    );
}
