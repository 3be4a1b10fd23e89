//! The certificate authority of the control port. The operator makes it once and keeps it in a Secret of
//! its own namespace; brokers get the certificate, never the key. Each replica signs itself a server
//! certificate at every start, so that none has to be renewed, stored or handed round.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::{Timestamp, ToSpan as _, tz::TimeZone};
use kube::api::PostParams;
use kube::{Api, Client};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};

use crate::error::{OperatorError, is_already_exists};
use crate::names::{AUTHORITY_SECRET, CONTROL_SERVER_NAME};

const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
/// Years that the authority is good for.
const AUTHORITY_YEARS: i64 = 10;
/// Years that a server certificate is good for; a process that lives longer has to be restarted.
const SERVER_YEARS: i64 = 2;

/// The authority, able to sign.
#[derive(Clone)]
pub struct Authority {
    certificate_pem: String,
    key_pem: String,
}

/// What a server shows and signs with, PEM.
pub struct ServerIdentity {
    /// Certificate.
    pub certificate_pem: String,
    /// Private key.
    pub key_pem: String,
}

impl Authority {
    /// A new authority.
    pub fn generate(now: Timestamp) -> Result<Self, OperatorError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name = named("Barnabas control authority");
        valid(&mut params, now, AUTHORITY_YEARS);
        let certificate = params.self_signed(&key)?;
        Ok(Self {
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        })
    }

    /// The authority of this operator: the one in the Secret, made if there is none.
    pub async fn load_or_create(client: Client, namespace: &str) -> Result<Self, OperatorError> {
        let secrets: Api<Secret> = Api::namespaced(client, namespace);
        if let Some(secret) = secrets.get_opt(AUTHORITY_SECRET).await? {
            return Self::from_secret(&secret);
        }
        let authority = Self::generate(Timestamp::now())?;
        match secrets.create(&PostParams::default(), &authority.to_secret()).await {
            Ok(_) => Ok(authority),
            // Another replica was faster: its authority is everybody's.
            Err(error) if is_already_exists(&error) => Self::from_secret(&secrets.get(AUTHORITY_SECRET).await?),
            Err(error) => Err(error.into()),
        }
    }

    /// The certificate that brokers trust, PEM.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// A server certificate for this replica. Brokers always verify [`CONTROL_SERVER_NAME`], because they
    /// dial replicas by address too; the other names are for people with a gRPC client.
    pub fn sign_server(
        &self,
        names: &[String],
        address: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<ServerIdentity, OperatorError> {
        let issuer = Issuer::from_ca_cert_pem(&self.certificate_pem, KeyPair::from_pem(&self.key_pem)?)?;
        let key = KeyPair::generate()?;
        let mut all = vec![CONTROL_SERVER_NAME.to_owned()];
        all.extend(names.iter().cloned());
        let mut params = CertificateParams::new(all)?;
        params.subject_alt_names.extend(address.map(SanType::IpAddress));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.distinguished_name = named(CONTROL_SERVER_NAME);
        valid(&mut params, now, SERVER_YEARS);
        let certificate = params.signed_by(&key, &issuer)?;
        Ok(ServerIdentity {
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        })
    }

    fn from_secret(secret: &Secret) -> Result<Self, OperatorError> {
        let text = |key: &str| {
            let bytes = secret.data.as_ref().and_then(|data| data.get(key));
            bytes.and_then(|bytes| String::from_utf8(bytes.0.clone()).ok())
        };
        match (text(CERTIFICATE), text(KEY)) {
            (Some(certificate_pem), Some(key_pem)) => Ok(Self {
                certificate_pem,
                key_pem,
            }),
            _ => Err(OperatorError::BadAuthority),
        }
    }

    fn to_secret(&self) -> Secret {
        let mut secret = Secret {
            type_: Some("kubernetes.io/tls".to_owned()),
            ..Default::default()
        };
        secret.metadata.name = Some(AUTHORITY_SECRET.to_owned());
        secret.metadata.labels = Some(BTreeMap::from([
            ("app.kubernetes.io/part-of".to_owned(), "barnabas".to_owned()),
            (
                "app.kubernetes.io/managed-by".to_owned(),
                "barnabas-operator".to_owned(),
            ),
        ]));
        secret.data = Some(BTreeMap::from([
            (
                CERTIFICATE.to_owned(),
                ByteString(self.certificate_pem.clone().into_bytes()),
            ),
            (KEY.to_owned(), ByteString(self.key_pem.clone().into_bytes())),
        ]));
        secret
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// From yesterday, for clocks that are behind, to `years` ahead.
fn valid(params: &mut CertificateParams, now: Timestamp, years: i64) {
    let today = now.to_zoned(TimeZone::UTC).date();
    let first = today.saturating_sub(1.day());
    let last = today.saturating_add(years.years());
    params.not_before = date_time_ymd(
        first.year().into(),
        first.month().unsigned_abs(),
        first.day().unsigned_abs(),
    );
    params.not_after = date_time_ymd(
        last.year().into(),
        last.month().unsigned_abs(),
        last.day().unsigned_abs(),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_certificate_is_signed_by_an_authority_that_was_stored_and_read_back() {
        let authority = Authority::generate(Timestamp::now()).unwrap();
        let stored = Authority::from_secret(&authority.to_secret()).unwrap();
        let server = stored.sign_server(
            &["operator.example".to_owned()],
            Some([10, 0, 0, 7].into()),
            Timestamp::now(),
        );
        let server = server.unwrap();
        assert!(server.certificate_pem.starts_with("-----BEGIN CERTIFICATE-----"));
        assert_ne!(server.certificate_pem, stored.certificate_pem);
    }

    #[test]
    fn a_secret_without_its_key_is_refused() {
        let mut secret = Authority::generate(Timestamp::now()).unwrap().to_secret();
        secret.data.as_mut().unwrap().remove(KEY);
        assert!(matches!(
            Authority::from_secret(&secret),
            Err(OperatorError::BadAuthority)
        ));
    }
}
