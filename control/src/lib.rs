//! The gRPC contract between operator and broker.
//!
//! `proto/` is the contract, [`proto`] what is generated from it. Everything that arrives is parsed
//! once, at the edge, into the types of [`messages`]; nothing behind this crate sees a proto type.
//! A broker speaks through [`ControlClient`]; the serving half is in `controller-host`.

mod client;
mod cluster;
mod convert;
mod error;
mod guard;
mod messages;
mod refusal;
mod stream;

pub use client::jitter::Jitter;
pub use client::{ControlClient, ControlSettings, SERVER_NAME};
pub use cluster::{ClusterRef, ClusterRefError};
pub use convert::{ContractError, frames_to_proto, outcomes_to_proto, snapshot_to_proto};
pub use error::ControlError;
pub use guard::{GuardError, StreamGuard};
pub use messages::{
    AdminRequest, AlterPartition, Heartbeat, HeartbeatAnswer, MetadataEvent, Opening, Position, ProducerIdBlock,
    Purged, Registered, Registration, ReplicaReports, Session, Suspicion, Watch,
};
pub use refusal::{Reason, Refusal};
pub use stream::MetadataStream;

/// The largest message either side accepts, in bytes: a forwarded Kafka request of 16 MiB and room for its envelope.
pub const MAX_MESSAGE_BYTES: usize = 17 * 1024 * 1024;

/// What `build.rs` generates from `proto/barnabas/control/v1/control.proto`.
pub mod proto {
    #![allow(missing_docs, clippy::pedantic, unreachable_pub)]
    tonic::include_proto!("barnabas.control.v1");
}

#[cfg(test)]
mod tests {
    //! What was once said over the contract keeps its meaning.

    use std::collections::BTreeSet;

    use protox::prost_reflect::{DescriptorPool, Kind};

    fn fields() -> BTreeSet<String> {
        let compiled = protox::compile(["barnabas/control/v1/control.proto"], ["proto"]).unwrap();
        let pool = DescriptorPool::from_file_descriptor_set(compiled).unwrap();
        let mut lines = BTreeSet::new();
        for message in pool.all_messages() {
            for field in message.fields() {
                let kind = match field.kind() {
                    Kind::Message(message) => message.name().to_owned(),
                    kind => format!("{kind:?}"),
                };
                let cardinality = if field.is_list() { "repeated " } else { "" };
                lines.insert(format!(
                    "{}.{} = {} {cardinality}{kind}",
                    message.name(),
                    field.name(),
                    field.number()
                ));
            }
        }
        for service in pool.services() {
            for method in service.methods() {
                let (input, output) = (method.input(), method.output());
                let stream = if method.is_server_streaming() { "stream " } else { "" };
                lines.insert(format!(
                    "{} {} -> {stream}{}",
                    method.name(),
                    input.name(),
                    output.name()
                ));
            }
        }
        lines
    }

    #[test]
    fn fields_and_methods_are_only_added() {
        let published: BTreeSet<String> = include_str!("../proto/barnabas/control/v1/published.txt")
            .lines()
            .map(str::to_owned)
            .collect();
        let now = fields();
        let lost: Vec<_> = published.difference(&now).collect();
        assert!(lost.is_empty(), "taken back or changed: {lost:#?}");
        let new: Vec<_> = now.difference(&published).cloned().collect();
        assert!(new.is_empty(), "add to published.txt:\n{}", new.join("\n"));
    }
}
