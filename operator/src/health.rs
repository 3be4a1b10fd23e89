//! `/metrics`, `/healthz` and `/readyz`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tracing::error;

use crate::error::OperatorError;
use crate::metrics::Metrics;

/// Whether this replica has seen all resources and can lead. False again from SIGTERM on.
#[derive(Clone, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Says so.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Release);
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Opens the port and serves until the task ends.
pub async fn serve(address: SocketAddr, metrics: Metrics, readiness: Readiness) -> Result<(), OperatorError> {
    let listener = TcpListener::bind(address).await.map_err(|source| OperatorError::Bind {
        what: "metrics and health",
        address: address.to_string(),
        source,
    })?;
    let router = router(metrics, readiness);
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            error!(%error, "metrics and health are no longer served");
        }
    });
    Ok(())
}

fn router(metrics: Metrics, readiness: Readiness) -> Router {
    Router::new()
        // Depends on the process alone: no restart heals an API server that is away.
        .route("/healthz", get(|| async { "ok\n" }))
        .route(
            "/readyz",
            get(move || async move {
                if readiness.get() {
                    (StatusCode::OK, "ok\n")
                } else {
                    (
                        StatusCode::SERVICE_UNAVAILABLE,
                        "the resources have not been read yet, or this replica is stopping\n",
                    )
                }
            }),
        )
        .route(
            "/metrics",
            get(move || async move {
                metrics
                    .text()
                    .map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")))
            }),
        )
}
