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
