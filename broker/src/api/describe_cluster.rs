//! DescribeCluster: what admin clients ask first.

use broker_network::Responses;
use protocol::ErrorCode;
use protocol::messages::describe_cluster::{DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse};

use super::call::{BadRequest, Call};
use super::metadata;

/// `endpoint_type` 1 asks for brokers, 2 for controllers (KIP-919).
const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

pub(super) fn handle(call: &Call<'_>, responses: &mut Responses) -> Result<(), BadRequest> {
    let request: DescribeClusterRequest = call.decode()?;
    if request.endpoint_type != BROKERS {
        let error = if request.endpoint_type == CONTROLLERS {
            ErrorCode::MismatchedEndpointType
        } else {
            ErrorCode::UnsupportedEndpointType
        };
        let refused = DescribeClusterResponse {
            error_code: error.code(),
            error_message: Some("this listener serves brokers only (endpoint type 1)".to_owned()),
            ..DescribeClusterResponse::default()
        };
        return call.answer(responses, &refused);
    }
    let image = call.broker.metadata.image();
    let brokers = call
        .broker
        .brokers(&image, &call.connection.listener)
        .into_iter()
        .filter(|broker| request.include_fenced_brokers || !broker.fenced)
        .map(|broker| DescribeClusterBroker {
            broker_id: broker.id.0,
            host: broker.host,
            port: i32::from(broker.port),
            rack: broker.rack,
            is_fenced: broker.fenced,
        })
        .collect();
    let body = DescribeClusterResponse {
        cluster_id: call.broker.cluster_id(&image),
        controller_id: call.broker.id.0,
        brokers,
        cluster_authorized_operations: if request.include_cluster_authorized_operations {
            metadata::CLUSTER_OPERATIONS
        } else {
            i32::MIN
        },
        ..DescribeClusterResponse::default()
    };
    call.answer(responses, &body)
}
