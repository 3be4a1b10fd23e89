//! The ACL APIs: there is no authorizer yet, and the answer says so, as Kafka's does without one.

use broker_network::Responses;
use protocol::ErrorCode;
use protocol::api::ApiKey;
use protocol::messages::create_acls::{AclCreationResult, CreateAclsRequest, CreateAclsResponse};
use protocol::messages::delete_acls::{DeleteAclsFilterResult, DeleteAclsRequest, DeleteAclsResponse};
use protocol::messages::describe_acls::{DescribeAclsRequest, DescribeAclsResponse};

use super::call::{BadRequest, Call};

pub(super) fn handle(call: &Call<'_>, responses: &mut Responses) -> Result<(), BadRequest> {
    let error_code = ErrorCode::SecurityDisabled.code();
    let error_message = || Some("no authorizer is configured on this cluster".to_owned());
    match call.reply.api.key {
        ApiKey::CreateAcls => {
            let request: CreateAclsRequest = call.decode()?;
            let result = || AclCreationResult {
                error_code,
                error_message: error_message(),
            };
            let results = request.creations.iter().map(|_| result()).collect();
            call.answer(
                responses,
                &CreateAclsResponse {
                    results,
                    ..Default::default()
                },
            )
        }
        ApiKey::DeleteAcls => {
            let request: DeleteAclsRequest = call.decode()?;
            let result = || DeleteAclsFilterResult {
                error_code,
                error_message: error_message(),
                ..Default::default()
            };
            let filter_results = request.filters.iter().map(|_| result()).collect();
            call.answer(
                responses,
                &DeleteAclsResponse {
                    filter_results,
                    ..Default::default()
                },
            )
        }
        _ => {
            let _: DescribeAclsRequest = call.decode()?;
            let body = DescribeAclsResponse {
                error_code,
                error_message: error_message(),
                ..Default::default()
            };
            call.answer(responses, &body)
        }
    }
}
