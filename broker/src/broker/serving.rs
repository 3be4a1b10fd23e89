//! What works for clients once the broker is a member of its cluster.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use broker_network::{NetworkConfig, Server};
use tokio::task::JoinHandle;

use crate::api::ApiHandler;
use crate::args::BrokerArgs;
use crate::background::Background;
use crate::context::BrokerContext;
use crate::error::StartError;
use crate::groups::GroupThread;
use crate::isr_proposals;
use crate::listeners::BoundListener;
use crate::network_metrics;

/// How long answers may take to leave when the broker stops.
const FAREWELL: Duration = Duration::from_millis(500);

/// Everything that must end in order.
pub(super) struct Serving {
    server: Server,
    background: Background,
    groups: GroupThread,
    proposals: JoinHandle<()>,
}

impl Serving {
    /// Clients are answered from here on.
    pub(super) fn start(
        broker: &Arc<BrokerContext>,
        args: &BrokerArgs,
        listeners: Vec<BoundListener>,
        frame_limit: Arc<AtomicUsize>,
    ) -> Result<Self, StartError> {
        let names: Vec<String> = listeners.iter().map(BoundListener::to_string).collect();
        let mut network = NetworkConfig::new(listeners.into_iter().flat_map(|listener| listener.sockets).collect());
        network.threads = args.threads.map_or(network.threads.max(1), usize::from);
        network.max_connections = broker.max_connections.clone();
        network.memory_budget_bytes = args.request_memory;
        network.frame_limit = frame_limit;
        network.idle_limit = broker.idle_limit.clone();
        network.silent_connections = broker.silent_connections.clone();
        let server = Server::start(network, Arc::new(ApiHandler::new(Arc::clone(broker))))?;
        network_metrics::register(
            &broker.metrics,
            server.metrics(),
            args.request_memory,
            &broker.max_connections,
        );
        let background = Background::start(Arc::clone(broker))?;
        let groups = broker.groups.start()?;
        broker.groups.nudge();
        let proposals = tokio::spawn(isr_proposals::keep(Arc::clone(broker)));
        tracing::info!(broker_id = %broker.id, listeners = names.join(" "), version = crate::VERSION, "serving");
        Ok(Self {
            server,
            background,
            groups,
            proposals,
        })
    }

    /// Whoever waits is answered with what there is, and nobody is served any more. Logs can be closed then.
    pub(super) async fn stop(self, broker: &BrokerContext) {
        self.proposals.abort();
        broker.stopping.store(true, Ordering::Release);
        broker.fetchers.stop();
        broker.groups.stop(self.groups);
        broker.replicas.wake_fetches();
        self.server.shutdown(FAREWELL).await;
        self.background.stop();
    }
}
