//! Which address to ask next, and the connection to it.

use std::collections::VecDeque;
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;
use tonic::Request;
use tonic::metadata::MetadataValue;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

use super::replicas::Replicas;
use super::{ControlSettings, SERVER_NAME};
use crate::MAX_MESSAGE_BYTES;
use crate::error::ControlError;
use crate::proto::controller_client::ControllerClient;

/// A connection to one replica.
pub(super) type Connection = ControllerClient<Channel>;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// A failure that took so long is not waited for by the next caller, too. A refusal is heard at once.
const SLOW: Duration = Duration::from_millis(100);
const KEEP_ALIVE: Duration = Duration::from_secs(2);

/// What one round over the addresses has seen so far.
#[derive(Debug, Default)]
pub(super) struct Round {
    tried: Vec<String>,
    /// Somebody could be reached that was known already.
    reached: bool,
}

/// Remembers who answered last and who was named as the controller.
#[derive(Debug)]
pub(super) struct Dialer {
    current: Option<(String, Connection)>,
    hints: VecDeque<String>,
    replicas: Replicas,
    /// It took long to learn that nobody can be reached there: asked last, and not at once again.
    unreachable: Option<(String, Instant)>,
    /// A controller of the past answers there: asked last.
    avoided: Option<String>,
    last_failure: String,
}

impl Dialer {
    pub(super) fn new(settings: &ControlSettings) -> Result<Self, ControlError> {
        let (host, port) = settings
            .target
            .rsplit_once(':')
            .ok_or_else(|| ControlError::Settings(format!("controller `{}` lacks a port", settings.target)))?;
        if host.is_empty() || port.parse::<u16>().is_err() {
            return Err(ControlError::Settings(format!(
                "controller `{}` is not HOST:PORT",
                settings.target
            )));
        }
        Ok(Self {
            current: None,
            hints: VecDeque::new(),
            replicas: Replicas::new(&settings.target),
            unreachable: None,
            avoided: None,
            last_failure: "never dialled".to_owned(),
        })
    }

    /// The next connection of this round, or `None` when every address was tried.
    pub(super) async fn next(
        &mut self,
        settings: &ControlSettings,
        round: &mut Round,
    ) -> Result<Option<(String, Connection)>, ControlError> {
        if let Some((address, connection)) = &self.current
            && !round.tried.contains(address)
        {
            round.tried.push(address.clone());
            return Ok(Some((address.clone(), connection.clone())));
        }
        while let Some(hint) = self.hints.pop_front() {
            if let Some(found) = self.dial(settings, hint, round).await? {
                return Ok(Some(found));
            }
        }
        let at_hand = self.replicas.at_hand();
        if let Some(found) = self.dial_any(settings, at_hand, round).await? {
            round.reached = true;
            return Ok(Some(found));
        }
        // One that lives but is not the controller names it, or does not know yet: newer addresses come with the refresh.
        if round.reached {
            return Ok(None);
        }
        // The pods behind a headless Service come and go.
        let (addresses, failure) = self.replicas.resolve().await;
        if let Some(failure) = failure {
            self.last_failure = failure;
        }
        self.dial_any(settings, addresses, round).await
    }

    /// The first of these that can be reached, the promising ones first.
    async fn dial_any(
        &mut self,
        settings: &ControlSettings,
        mut addresses: Vec<String>,
        round: &mut Round,
    ) -> Result<Option<(String, Connection)>, ControlError> {
        let unreachable = self.unreachable.as_ref().map(|(address, _)| address);
        addresses.sort_by_key(|address| (Some(address) == unreachable, Some(address) == self.avoided.as_ref()));
        for address in addresses {
            if let Some(found) = self.dial(settings, address, round).await? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Keeps the addresses of the replicas at hand. Costs nothing most times.
    pub(super) fn refresh(&self) {
        self.replicas.refresh();
    }

    pub(super) fn failed(&mut self, address: &str) {
        if self.current.as_ref().is_some_and(|(current, _)| current == address) {
            self.current = None;
        }
    }

    pub(super) fn redirect(&mut self, from: &str, hint: Option<String>) {
        self.failed(from);
        if let Some(hint) = hint
            && is_address(&hint)
            && !self.hints.contains(&hint)
        {
            self.hints.push_back(hint);
        }
    }

    /// Whoever answered last must not be asked first again.
    pub(super) fn avoid_current(&mut self) {
        self.avoided = self.current.take().map(|(address, _)| address);
        self.hints.clear();
    }

    pub(super) fn last_failure(&self) -> String {
        self.last_failure.clone()
    }

    async fn dial(
        &mut self,
        settings: &ControlSettings,
        address: String,
        round: &mut Round,
    ) -> Result<Option<(String, Connection)>, ControlError> {
        if round.tried.contains(&address) {
            return Ok(None);
        }
        round.tried.push(address.clone());
        // Who asks in turn does not wait in turn.
        if let Some((unreachable, at)) = &self.unreachable
            && *unreachable == address
            && at.elapsed() < CONNECT_TIMEOUT
        {
            return Ok(None);
        }
        let began = Instant::now();
        match endpoint(settings, &address)?.connect().await {
            Ok(channel) => {
                self.unreachable.take_if(|(unreachable, _)| *unreachable == address);
                let connection = ControllerClient::new(channel)
                    .max_decoding_message_size(MAX_MESSAGE_BYTES)
                    .max_encoding_message_size(MAX_MESSAGE_BYTES);
                self.current = Some((address.clone(), connection.clone()));
                Ok(Some((address, connection)))
            }
            Err(error) => {
                self.last_failure = format!("{address}: {}", root_cause(&error));
                if began.elapsed() >= SLOW {
                    self.unreachable = Some((address, Instant::now()));
                }
                Ok(None)
            }
        }
    }
}

/// Puts the bearer token of the moment on a request.
pub(super) fn attach_token<M>(settings: &ControlSettings, request: &mut Request<M>) -> Result<(), ControlError> {
    let Some(path) = &settings.token_file else {
        return Ok(());
    };
    let unreadable = |reason: String| ControlError::File {
        what: "token",
        path: path.clone(),
        reason,
    };
    let token = fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
    let mut value = MetadataValue::try_from(format!("Bearer {}", token.trim()))
        .map_err(|_| unreadable("it holds other bytes than visible ASCII".to_owned()))?;
    value.set_sensitive(true);
    request.metadata_mut().insert("authorization", value);
    Ok(())
}

fn endpoint(settings: &ControlSettings, address: &str) -> Result<Endpoint, ControlError> {
    let malformed = |error: &dyn std::fmt::Display| ControlError::Settings(format!("controller `{address}`: {error}"));
    let scheme = if settings.ca_file.is_some() { "https" } else { "http" };
    let endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))
        .map_err(|error| malformed(&error))?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        // A peer that vanished without a word is noticed within four seconds, also on an idle stream.
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true);
    let Some(path) = &settings.ca_file else {
        return Ok(endpoint);
    };
    // Read for each connection: the operator may renew its CA while the broker runs.
    let pem = fs::read(path).map_err(|error| ControlError::File {
        what: "CA certificate",
        path: path.clone(),
        reason: error.to_string(),
    })?;
    let server_name = settings.server_name.as_deref().unwrap_or(SERVER_NAME);
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(pem))
        .domain_name(server_name);
    endpoint.tls_config(tls).map_err(|error| ControlError::File {
        what: "CA certificate",
        path: path.clone(),
        reason: root_cause(&error),
    })
}

/// A hint comes from the network: what is no HOST:PORT is not dialled.
fn is_address(text: &str) -> bool {
    text.parse::<SocketAddr>().is_ok()
        || text
            .rsplit_once(':')
            .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
