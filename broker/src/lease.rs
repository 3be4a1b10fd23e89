//! The broker's Lease: a sign of life that needs neither controller nor gRPC.
//!
//! Renewed on a thread of its own, so that no slow disk and no busy runtime can lose it. Losing it is not the broker's
//! concern: it goes on serving, and the controller decides what a silent Lease means together with a silent heartbeat.

use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, Config};
use model::IncarnationId;
use serde_json::json;

use crate::error::StartError;
use crate::metrics::BrokerMetrics;

/// How long a renewal holds.
const DURATION: Duration = Duration::from_secs(10);

/// How often it is renewed.
const RENEW: Duration = Duration::from_secs(3);

/// How long one renewal may take: less than the time to the next.
const TIMEOUT: Duration = Duration::from_millis(2500);

/// Which Lease, and who renews it.
#[derive(Debug, Clone)]
pub struct LeaseSettings {
    /// `[NAMESPACE/]NAME`; without a namespace that of the pod.
    pub name: String,
    /// Uid of the pod.
    pub pod_uid: String,
    /// This process.
    pub incarnation: IncarnationId,
}

/// Starts the thread. It ends with the process.
pub fn start(settings: LeaseSettings, metrics: BrokerMetrics) -> Result<(), StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| StartError::System {
            what: "a runtime for the Lease",
            source,
        })?;
    thread::Builder::new()
        .name("lease".to_owned())
        .spawn(move || runtime.block_on(keep(&settings, &metrics)))
        .map_err(|source| StartError::System {
            what: "a thread for the Lease",
            source,
        })?;
    Ok(())
}

async fn keep(settings: &LeaseSettings, metrics: &BrokerMetrics) {
    let mut api: Option<Api<Lease>> = None;
    let mut healthy = None;
    loop {
        let began = tokio::time::Instant::now();
        let renewed = match tokio::time::timeout(TIMEOUT, renew(&mut api, settings)).await {
            Ok(renewed) => renewed,
            Err(_) => Err(format!("no answer within {TIMEOUT:?}")),
        };
        match renewed {
            Ok(()) => {
                metrics.lease_renewals.observe(began.elapsed().as_secs_f64());
                metrics.lease_expiry.set(unix_seconds() + DURATION.as_secs() as i64);
                if healthy != Some(true) {
                    tracing::info!(lease = settings.name, "renewing the Lease");
                }
                healthy = Some(true);
            }
            Err(error) => {
                metrics.lease_renew_failures.inc();
                if healthy != Some(false) {
                    tracing::warn!(
                        lease = settings.name,
                        error,
                        "the Lease is not renewed; the broker serves on"
                    );
                }
                healthy = Some(false);
                // A client made before the token was mounted, or with an old certificate, would fail for ever.
                api = None;
            }
        }
        tokio::time::sleep_until(began + RENEW).await;
    }
}

async fn renew(api: &mut Option<Api<Lease>>, settings: &LeaseSettings) -> Result<(), String> {
    let (namespace, name) = match settings.name.split_once('/') {
        Some((namespace, name)) => (Some(namespace), name),
        None => (None, settings.name.as_str()),
    };
    let api = match api {
        Some(api) => api,
        None => api.insert(connect(namespace).await?),
    };
    let spec = json!({
        "spec": {
            "holderIdentity": format!("{}_{}", settings.pod_uid, settings.incarnation.as_uuid()),
            "leaseDurationSeconds": DURATION.as_secs(),
            "renewTime": micro_time(),
        }
    });
    api.patch(name, &PatchParams::default(), &Patch::Merge(spec))
        .await
        .map(drop)
        .map_err(|error| error.to_string())
}

async fn connect(namespace: Option<&str>) -> Result<Api<Lease>, String> {
    let config = Config::infer().await.map_err(|error| error.to_string())?;
    let namespace = namespace.map_or_else(|| config.default_namespace.clone(), str::to_owned);
    let client = Client::try_from(config).map_err(|error| error.to_string())?;
    Ok(Api::namespaced(client, &namespace))
}

/// Now, in the form of Kubernetes' `MicroTime`. For people: the controller judges by its own clock.
fn micro_time() -> String {
    let now = k8s_openapi::jiff::Timestamp::now();
    now.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

fn unix_seconds() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_secs() as i64)
}
