//! Start and stop of the operator, top to bottom.

use std::collections::HashMap;
use std::net::{IpAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use control::{Reason, Refusal};
use controller_host::entropy::random_bytes;
use controller_host::{Authenticator, Caller, Claim, serve_control};
use k8s_openapi::jiff::Timestamp;
use kube::{Client, ResourceExt as _};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Identity, ServerTlsConfig};
use tracing::{error, info, warn};

use crate::args::RunArgs;
use crate::authority::Authority;
use crate::context::Context;
use crate::error::OperatorError;
use crate::events::Events;
use crate::health::{self, Readiness};
use crate::identity::{BrokerIdentity, TokenVerifier};
use crate::lead;
use crate::metrics::Metrics;
use crate::names::{CONTROL_PORT, CONTROL_SERVER_NAME, ClusterNames};
use crate::seats::Seats;
use crate::surroundings::Surroundings;
use crate::watches::{Watches, cluster_names};
use crate::{collector, topic};

/// Between two tries to reach the API server at the start.
const RETRY: Duration = Duration::from_secs(1);
/// Controllers that have not ended by then are left to their Leases.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// Runs until SIGTERM or SIGINT.
pub async fn run(args: RunArgs) -> Result<(), OperatorError> {
    let mut terminate = signals()?;
    let metrics = Metrics::new().map_err(|error| OperatorError::Controller(error.to_string()))?;
    let readiness = Readiness::default();
    // Ports first: a port that is taken should be said before anything is written anywhere.
    let listener = TcpListener::bind(args.control_listen).map_err(|source| OperatorError::Bind {
        what: "the control service",
        address: args.control_listen.to_string(),
        source,
    })?;
    health::serve(args.metrics, metrics.clone(), readiness.clone()).await?;

    let client = Client::try_default().await?;
    let namespace = args
        .namespace
        .clone()
        .unwrap_or_else(|| client.default_namespace().to_owned());
    let loaded = tokio::select! {
        loaded = load_authority(&client, &namespace) => loaded,
        () = terminate.received() => return Ok(()),
    };
    let authority = loaded?;
    let verifier = TokenVerifier::new(client.clone());
    verifier.warm().await;

    let place = Place::of(&args, &namespace);
    let mut tasks = JoinSet::new();
    let watches = Watches::start(&client, args.watch_namespace.as_deref(), &metrics, &mut tasks);
    let context = Context {
        events: Events::new(client.clone(), &place.pod),
        seats: Seats::new(client.clone(), watches.clone()),
        around: Surroundings {
            broker_image: args.broker_image.clone(),
            control_address: place.control_address.clone(),
            control_ca: authority.certificate_pem().to_owned(),
        },
        identity: place.identity.clone(),
        home: namespace.clone(),
        namespace: args.watch_namespace.clone(),
        pod: place.pod.clone(),
        client,
        watches,
        metrics,
    };

    // Listening comes before leading: a Lease tells brokers where to come.
    let stop = CancellationToken::new();
    let server = serve(
        listener,
        &place,
        &namespace,
        &authority,
        verifier,
        &context,
        stop.clone(),
    )?;
    tokio::select! {
        () = context.watches.ready() => {}
        () = terminate.received() => return Ok(()),
    }
    readiness.set(true);
    info!(identity = %context.identity, control = %place.control_address, "the operator is ready");

    tasks.spawn(topic::orphans::reconcile(context.clone()));
    tasks.spawn(collector::collect(context.clone()));
    let candidacies = tokio::spawn(stand_for_all(context, stop.clone()));

    terminate.received().await;
    info!("stopping: the controllers end, then their Leases are given back");
    readiness.set(false);
    stop.cancel();
    if tokio::time::timeout(STOP_WITHIN, candidacies).await.is_err() {
        warn!("a controller did not end in time");
    }
    // Brokers come back by themselves; their streams are cut here.
    server.abort();
    tasks.abort_all();
    Ok(())
}

/// An operator that starts during an outage of the API server waits for it here. Ending instead would leave the time of its
/// next start to the kubelet, which waits up to five minutes.
async fn load_authority(client: &Client, namespace: &str) -> Result<Authority, OperatorError> {
    let mut told = String::new();
    loop {
        match Authority::load_or_create(client.clone(), namespace).await {
            Err(error) if error.is_outage() => {
                let reason = error.to_string();
                if reason != told {
                    warn!(reason, "the API server is not there yet, trying again");
                    told = reason;
                }
                tokio::time::sleep(RETRY).await;
            }
            loaded => return loaded,
        }
    }
}

/// Who and where this replica is.
struct Place {
    pod: String,
    identity: String,
    control_address: String,
    address: Option<IpAddr>,
}

impl Place {
    fn of(args: &RunArgs, namespace: &str) -> Self {
        let pod = args
            .pod_name
            .clone()
            .unwrap_or_else(|| format!("operator-{}", std::process::id()));
        let uid = args.pod_uid.clone().unwrap_or_else(random_uid);
        let port = args.control_listen.port();
        let here = args.pod_ip.map_or_else(
            || format!("127.0.0.1:{port}"),
            |address| std::net::SocketAddr::new(address, port).to_string(),
        );
        let advertised = args.control_advertise.clone().unwrap_or(here);
        let control_address = args.control_address.clone().unwrap_or_else(|| {
            if args.control_advertise.is_some() {
                advertised.clone()
            } else {
                format!("{CONTROL_SERVER_NAME}.{namespace}.svc:{CONTROL_PORT}")
            }
        });
        Self {
            identity: format!("{pod}_{uid}_{advertised}"),
            pod,
            control_address,
            address: args.pod_ip,
        }
    }
}

fn serve(
    listener: TcpListener,
    place: &Place,
    namespace: &str,
    authority: &Authority,
    verifier: TokenVerifier,
    context: &Context,
    stop: CancellationToken,
) -> Result<JoinHandle<()>, OperatorError> {
    let names = [
        format!("{CONTROL_SERVER_NAME}.{namespace}"),
        format!("{CONTROL_SERVER_NAME}.{namespace}.svc"),
    ];
    let shown = authority.sign_server(&names, place.address, Timestamp::now())?;
    let tls = ServerTlsConfig::new().identity(Identity::from_pem(shown.certificate_pem, shown.key_pem));
    let seats = context.seats.clone();
    Ok(tokio::spawn(async move {
        if let Err(error) = serve_control(listener, Some(tls), verifier, seats, stop.cancelled_owned()).await {
            error!(%error, "the control service has ended");
        }
    }))
}

impl Authenticator for TokenVerifier {
    type Identity = BrokerIdentity;

    async fn authenticate(&self, caller: &Caller<'_>) -> Result<BrokerIdentity, Refusal> {
        let Some(token) = caller.token else {
            return Err(Refusal::new(
                Reason::Unauthenticated,
                "a ServiceAccount token is needed, and none was shown",
            ));
        };
        self.verify(token)
            .await
            .map_err(|error| Refusal::new(Reason::Unauthenticated, error.to_string()))
    }

    fn authorize(&self, identity: &BrokerIdentity, claim: &Claim<'_>) -> Result<(), Refusal> {
        let names = ClusterNames::new(&claim.cluster.namespace, &claim.cluster.name);
        if !identity.is_broker(&names, claim.broker.0) {
            let (namespace, pod) = (&identity.namespace, &identity.pod);
            return Err(Refusal::new(
                Reason::Forbidden,
                format!(
                    "pod {namespace}/{pod} is not broker {} of {}",
                    claim.broker, claim.cluster
                ),
            ));
        }
        // A pod that was replaced still holds its token for a while; it must not pass for its successor.
        if claim.pod_uid.is_some_and(|uid| uid != identity.pod_uid) {
            return Err(Refusal::new(
                Reason::Forbidden,
                format!(
                    "the token is that of pod {}, not of the pod that registers",
                    identity.pod_uid
                ),
            ));
        }
        Ok(())
    }
}

/// One candidacy for each Cluster there is.
async fn stand_for_all(context: Context, stop: CancellationToken) {
    let mut population = context.watches.population.subscribe();
    let mut standing: HashMap<String, (CancellationToken, JoinHandle<()>)> = HashMap::new();
    loop {
        let clusters = context.watches.clusters.state();
        let present: HashMap<String, _> = clusters
            .into_iter()
            .filter_map(|cluster| Some((cluster.uid()?, cluster)))
            .collect();
        for (uid, (end, _)) in &standing {
            if !present.contains_key(uid) {
                end.cancel();
            }
        }
        standing.retain(|_, (_, task)| !task.is_finished());
        for (uid, cluster) in present {
            let names = cluster_names(&cluster);
            standing.entry(uid).or_insert_with(|| {
                info!(namespace = %names.namespace, cluster = %names.cluster, "stands for the cluster");
                let end = stop.child_token();
                (
                    end.clone(),
                    tokio::spawn(lead::stand(context.clone(), Arc::clone(&cluster), names, end)),
                )
            });
        }
        tokio::select! {
            _ = population.changed() => {}
            () = stop.cancelled() => break,
        }
    }
    for (_, (_, task)) in standing {
        if let Err(error) = task.await {
            error!(%error, "a candidacy broke");
        }
    }
}

fn random_uid() -> String {
    let bytes = random_bytes::<16>().unwrap_or_default();
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}

struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

fn signals() -> Result<Signals, OperatorError> {
    let listen = |kind| signal(kind).map_err(|error| OperatorError::Controller(format!("signals: {error}")));
    Ok(Signals {
        terminate: listen(SignalKind::terminate())?,
        interrupt: listen(SignalKind::interrupt())?,
    })
}

impl Signals {
    async fn received(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
