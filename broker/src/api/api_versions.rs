//! ApiVersions: what this broker speaks. The first request of nearly every client.

use broker_network::{Response, Responses};
use model::MetadataImage;
use protocol::api::{self, ApiKey};
use protocol::header::{RequestPeek, put_response_header};
use protocol::messages::api_versions::{
    ApiVersion, ApiVersionsRequest, ApiVersionsResponse, FinalizedFeatureKey, SupportedFeatureKey,
};
use protocol::{ErrorCode, Message};

use super::call::{BadRequest, Call};
use crate::features;

pub(super) fn handle(call: &Call<'_>, responses: &mut Responses) -> Result<(), BadRequest> {
    let request: ApiVersionsRequest = call.decode()?;
    let named = call.version() < 3
        || (is_software_name(&request.client_software_name) && is_software_name(&request.client_software_version));
    if !named {
        let refused = ApiVersionsResponse {
            error_code: ErrorCode::InvalidRequest.code(),
            ..ApiVersionsResponse::default()
        };
        return call.answer(responses, &refused);
    }
    let image = call.broker.metadata.image();
    call.answer(responses, &versions(&image, call.version()))
}

/// A version that we do not know is answered in the form of version 0, which every client reads (KIP-511).
pub(super) fn handle_unsupported(peek: RequestPeek, responses: &mut Responses) -> Result<(), BadRequest> {
    let api = ApiKey::ApiVersions.api();
    let body = ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion.code(),
        api_keys: vec![ApiVersion {
            api_key: ApiKey::ApiVersions.code(),
            min_version: api.accepted.min,
            max_version: api.accepted.max,
        }],
        ..ApiVersionsResponse::default()
    };
    let mut bytes = Vec::new();
    put_response_header(&mut bytes, api, 0, peek.correlation_id);
    body.encode(&mut bytes, 0)?;
    responses.push(Response::owned(bytes));
    Ok(())
}

fn versions(image: &MetadataImage, version: i16) -> ApiVersionsResponse {
    let api_keys = api::advertised()
        .map(|(key, range)| ApiVersion {
            api_key: key.code(),
            min_version: range.min,
            max_version: range.max,
        })
        .collect();
    let supported_features = features::SUPPORTED
        .iter()
        // Older Java clients reject a minimum of 0 (KAFKA-17011).
        .filter(|feature| version > 3 || feature.min > 0)
        .map(|feature| SupportedFeatureKey {
            name: feature.name.to_owned(),
            min_version: feature.min,
            max_version: feature.max,
        })
        .collect();
    let finalized_features = image
        .features()
        .iter()
        .map(|(name, level)| FinalizedFeatureKey {
            name: name.clone(),
            max_version_level: *level,
            min_version_level: *level,
        })
        .collect();
    ApiVersionsResponse {
        api_keys,
        supported_features,
        finalized_features,
        // Clients take a set only if this grows, so it must be one count for the cluster.
        finalized_features_epoch: image.features_offset().0,
        ..ApiVersionsResponse::default()
    }
}

/// `[a-zA-Z0-9]([a-zA-Z0-9\-.]*[a-zA-Z0-9])?` (KIP-511).
fn is_software_name(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    let bytes = text.as_bytes();
    bytes.iter().all(|b| inner(*b))
        && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_names_follow_kip_511() {
        for good in ["librdkafka", "a", "2.15.0", "apache-kafka-java"] {
            assert!(is_software_name(good), "{good}");
        }
        for bad in ["", "-a", "a.", "a b", "ä"] {
            assert!(!is_software_name(bad), "{bad}");
        }
    }

    #[test]
    fn produce_is_advertised_from_0_for_older_librdkafka() {
        let body = versions(&MetadataImage::empty(), 3);
        let produce = body
            .api_keys
            .iter()
            .find(|key| key.api_key == 0)
            .expect("produce is served");
        assert_eq!(produce.min_version, 0);
        assert!(body.supported_features.iter().all(|feature| feature.min_version > 0));
    }
}
