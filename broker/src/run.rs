//! A broker of a cluster whose controller is elsewhere: what a pod runs.

use std::future::Future;

use control::{ClusterRef, ControlClient, ControlSettings};
use model::BrokerId;

use crate::args::RunArgs;
use crate::broker::{self, Opened, Role};
use crate::controller_link::Controller;
use crate::error::StartError;

/// Runs until `stop` is ready.
pub async fn run(args: RunArgs, stop: impl Future<Output = ()>) -> Result<(), StartError> {
    let id = BrokerId(args.id);
    let cluster = match &args.cluster {
        Some(text) => text
            .parse()
            .map_err(|error| StartError::Controller(format!("--cluster: {error}")))?,
        None => ClusterRef::standalone(),
    };
    let opened = Opened::open(&args.broker, id)?;
    let role = Role {
        id,
        rack: args.rack,
        pod_uid: args.pod_uid,
        lease: args.lease,
    };
    let connect = move |incarnation| {
        let settings = ControlSettings {
            cluster,
            target: args.controller,
            ca_file: args.control_ca_file,
            // Replicas are dialled by address; the certificate carries the one name that all of them have.
            server_name: None,
            token_file: args.control_token_file,
            incarnation,
        };
        let client = ControlClient::new(settings).map_err(|error| StartError::Controller(error.to_string()))?;
        Ok(Controller::Remote(client))
    };
    Box::pin(broker::run(&args.broker, role, opened, connect, stop)).await
}
