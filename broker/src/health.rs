//! `/metrics`, `/healthz` and `/readyz` over HTTP.
//!
//! Health depends on the process alone: it answers, so it lives. Ready means that logs are recovered, metadata is caught
//! up and the broker is unfenced; the answer of a broker that is not ready says which of these is missing.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::args::MetricsAddress;
use crate::error::StartError;
use crate::metrics::BrokerMetrics;

/// What must be true before clients should come; each is set by the one who knows.
#[derive(Debug, Default)]
pub struct Readiness {
    logs_recovered: AtomicBool,
    metadata_caught_up: AtomicBool,
    unfenced: AtomicBool,
    stopping: AtomicBool,
}

impl Readiness {
    /// Every partition of the image on disk is open.
    pub fn logs_recovered(&self) {
        self.logs_recovered.store(true, Ordering::Release);
    }

    /// Whether [`Self::logs_recovered`] was said.
    pub fn has_recovered_logs(&self) -> bool {
        self.logs_recovered.load(Ordering::Acquire)
    }

    /// As the controller's stream says.
    pub fn set_metadata_caught_up(&self, caught_up: bool) {
        self.metadata_caught_up.store(caught_up, Ordering::Release);
    }

    /// As the image says about this broker.
    pub fn set_unfenced(&self, unfenced: bool) {
        self.unfenced.store(unfenced, Ordering::Release);
    }

    /// The process is on its way out.
    pub fn stopping(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// What is missing; empty when ready.
    pub fn missing(&self) -> Vec<&'static str> {
        let mut missing = Vec::new();
        if !self.logs_recovered.load(Ordering::Acquire) {
            missing.push("logs are being recovered");
        }
        if !self.metadata_caught_up.load(Ordering::Acquire) {
            missing.push("metadata is not caught up");
        }
        if !self.unfenced.load(Ordering::Acquire) {
            missing.push("the broker is fenced");
        }
        if self.stopping.load(Ordering::Acquire) {
            missing.push("the broker is stopping");
        }
        missing
    }
}

#[derive(Clone)]
struct Served {
    metrics: BrokerMetrics,
    readiness: Arc<Readiness>,
}

/// Binds the address of `--metrics`, so that a taken port stops the start and not the first scrape.
pub fn bind(address: &MetricsAddress) -> Result<Option<TcpListener>, StartError> {
    let MetricsAddress::At(address) = address else {
        return Ok(None);
    };
    let fail = |source| StartError::Metrics {
        address: address.clone(),
        source,
    };
    let listener = TcpListener::bind(address.as_str()).map_err(fail)?;
    listener.set_nonblocking(true).map_err(fail)?;
    Ok(Some(listener))
}

/// Serves until the runtime ends.
pub async fn serve(listener: TcpListener, metrics: BrokerMetrics, readiness: Arc<Readiness>) {
    let router = Router::new()
        .route("/metrics", get(show_metrics))
        .route("/healthz", get(async || "alive\n"))
        .route("/readyz", get(show_readiness))
        .with_state(Served { metrics, readiness });
    let served = async { axum::serve(tokio::net::TcpListener::from_std(listener)?, router).await };
    if let Err(error) = served.await {
        tracing::error!(%error, "metrics and health are not served any more");
    }
}

async fn show_metrics(State(served): State<Served>) -> Response {
    match served.metrics.render() {
        Ok(text) => ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn show_readiness(State(served): State<Served>) -> Response {
    let missing = served.readiness.missing();
    if missing.is_empty() {
        return "ready\n".into_response();
    }
    (
        StatusCode::SERVICE_UNAVAILABLE,
        format!("not ready: {}\n", missing.join(", ")),
    )
        .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_needs_all_three_and_not_to_be_stopping() {
        let readiness = Readiness::default();
        assert_eq!(readiness.missing().len(), 3);
        readiness.logs_recovered();
        readiness.set_metadata_caught_up(true);
        assert_eq!(readiness.missing(), vec!["the broker is fenced"]);
        readiness.set_unfenced(true);
        assert!(readiness.missing().is_empty());
        readiness.stopping();
        assert_eq!(readiness.missing(), vec!["the broker is stopping"]);
    }

    #[test]
    fn a_taken_metrics_port_is_named_with_what_to_do() {
        let first = TcpListener::bind("127.0.0.1:0").expect("free port");
        let address = first.local_addr().expect("bound").to_string();
        let error = bind(&MetricsAddress::At(address.clone())).expect_err("taken");
        let sentence = error.to_string();
        assert!(
            sentence.contains(&address) && sentence.contains("--metrics"),
            "{sentence}"
        );
    }
}
