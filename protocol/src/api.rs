//! The one table of APIs: which keys and versions we code, and which of them we tell clients about.

use std::fmt;

/// A range of API versions, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VersionRange {
    /// The lowest version.
    pub min: i16,
    /// The highest version.
    pub max: i16,
}

/// What we know of one API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Api {
    /// Its key.
    pub key: ApiKey,
    /// The versions that requests may have.
    pub accepted: VersionRange,
    /// What ApiVersions says; `None` for an API that we code but do not serve: clients do better without an API than with a stub.
    pub advertised: Option<VersionRange>,
    /// The first version with compact lengths, tagged fields and the longer headers; `None` if there is none.
    pub first_flexible: Option<i16>,
}

/// Every API that has a codec here, by ascending key. The ranges are those of Kafka 4.3.
pub const TABLE: &[Api] = &[
    // Accepted from version 3, advertised from 0: librdkafka before 2.11.1 takes a higher minimum to mean that the broker
    // knows no compression (KAFKA-18659).
    served(ApiKey::Produce, 3, 13, 9).advertised_from(0),
    served(ApiKey::Fetch, 4, 18, 12),
    served(ApiKey::ListOffsets, 1, 11, 6),
    served(ApiKey::Metadata, 0, 13, 9),
    served(ApiKey::OffsetCommit, 2, 10, 8),
    served(ApiKey::OffsetFetch, 1, 10, 6),
    served(ApiKey::FindCoordinator, 0, 6, 3),
    served(ApiKey::JoinGroup, 0, 9, 6),
    served(ApiKey::Heartbeat, 0, 4, 4),
    served(ApiKey::LeaveGroup, 0, 5, 4),
    served(ApiKey::SyncGroup, 0, 5, 4),
    served(ApiKey::DescribeGroups, 0, 6, 5),
    served(ApiKey::ListGroups, 0, 5, 3),
    served(ApiKey::ApiVersions, 0, 4, 3),
    served(ApiKey::CreateTopics, 2, 7, 5),
    served(ApiKey::DeleteTopics, 1, 6, 4),
    served(ApiKey::DeleteRecords, 0, 2, 2),
    served(ApiKey::InitProducerId, 0, 5, 2),
    served(ApiKey::OffsetForLeaderEpoch, 2, 4, 4),
    served(ApiKey::DescribeAcls, 1, 3, 2),
    served(ApiKey::CreateAcls, 1, 3, 2),
    served(ApiKey::DeleteAcls, 1, 3, 2),
    served(ApiKey::DescribeConfigs, 1, 4, 4),
    served(ApiKey::AlterConfigs, 0, 2, 2),
    served(ApiKey::DescribeLogDirs, 1, 5, 2),
    served(ApiKey::CreatePartitions, 0, 3, 2),
    served(ApiKey::DeleteGroups, 0, 2, 2),
    served(ApiKey::ElectLeaders, 0, 2, 2),
    served(ApiKey::IncrementalAlterConfigs, 0, 1, 1),
    served(ApiKey::AlterPartitionReassignments, 0, 1, 0),
    served(ApiKey::ListPartitionReassignments, 0, 0, 0),
    served(ApiKey::OffsetDelete, 0, 0, NEVER),
    served(ApiKey::DescribeCluster, 0, 2, 0),
    served(ApiKey::ConsumerGroupHeartbeat, 0, 1, 0),
    served(ApiKey::ConsumerGroupDescribe, 0, 1, 0),
];

/// The longest request without records: a Fetch of 100,000 partitions has room in it.
const MAX_PLAIN_REQUEST: usize = 4 << 20;

/// In the table: no version is flexible.
const NEVER: i16 = i16::MAX;

/// What we know of `key`; `None` if we do not code it.
pub fn find(key: i16) -> Option<&'static Api> {
    TABLE.iter().find(|api| api.key.code() == key)
}

/// What we know of `key`, if we serve it in `version`.
///
/// `None` is for the caller to act on: for ApiVersions answer `UNSUPPORTED_VERSION` in version 0 (KIP-511), for anything else
/// close the connection.
pub fn served_in(key: i16, version: i16) -> Option<&'static Api> {
    find(key).filter(|api| api.advertised.is_some() && api.accepted.contains(version))
}

/// The keys and ranges that ApiVersions lists, by ascending key.
pub fn advertised() -> impl Iterator<Item = (ApiKey, VersionRange)> {
    TABLE
        .iter()
        .filter_map(|api| api.advertised.map(|range| (api.key, range)))
}

impl Api {
    /// True if `version` has compact lengths and tagged fields.
    pub const fn is_flexible(&self, version: i16) -> bool {
        match self.first_flexible {
            Some(first) => version >= first,
            None => false,
        }
    }

    /// The version of the header before a request: 2 if flexible, else 1.
    pub const fn request_header_version(&self, version: i16) -> i16 {
        if self.is_flexible(version) { 2 } else { 1 }
    }

    /// The version of the header before a response: 1 if flexible, else 0. Always 0 for ApiVersions, because a client reads
    /// that one before it knows what the broker speaks (KIP-511).
    pub const fn response_header_version(&self, version: i16) -> i16 {
        if self.is_flexible(version) && !matches!(self.key, ApiKey::ApiVersions) {
            1
        } else {
            0
        }
    }

    /// The longest request that makes sense, in bytes, where `frame_limit` is what a record batch may need.
    ///
    /// Only Produce carries records. Anything else is decoded into structs, which can take some 24 times the room of their
    /// smallest form on the wire (an empty string is one byte there): a bound here bounds that memory.
    pub const fn max_request_bytes(&self, frame_limit: usize) -> usize {
        match self.key {
            ApiKey::Produce => frame_limit,
            _ if frame_limit < MAX_PLAIN_REQUEST => frame_limit,
            _ => MAX_PLAIN_REQUEST,
        }
    }

    const fn advertised_from(mut self, min: i16) -> Self {
        self.advertised = Some(VersionRange::new(min, self.accepted.max));
        self
    }
}

const fn served(key: ApiKey, min: i16, max: i16, first_flexible: i16) -> Api {
    coded(key, min, max, first_flexible).advertised_from(min)
}

const fn coded(key: ApiKey, min: i16, max: i16, first_flexible: i16) -> Api {
    Api {
        key,
        accepted: VersionRange::new(min, max),
        advertised: None,
        first_flexible: if first_flexible == NEVER {
            None
        } else {
            Some(first_flexible)
        },
    }
}

impl VersionRange {
    /// `min..=max`.
    pub const fn new(min: i16, max: i16) -> Self {
        Self { min, max }
    }

    /// True if `version` lies in the range.
    pub const fn contains(self, version: i16) -> bool {
        self.min <= version && version <= self.max
    }

    /// The versions, ascending.
    pub fn iter(self) -> impl Iterator<Item = i16> {
        self.min..=self.max
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.min, self.max)
    }
}

/// Makes the enum and its lookups from the list of keys.
macro_rules! api_keys {
    ($($name:ident = $code:literal),* $(,)?) => {
        /// The APIs that have a codec here, with their keys on the wire.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(i16)]
        pub enum ApiKey {
            $(#[doc = concat!("Key ", stringify!($code), ".")] $name = $code,)*
        }

        impl ApiKey {
            /// The API with that key; `None` if we do not code it.
            pub const fn from_code(code: i16) -> Option<Self> {
                match code {
                    $($code => Some(ApiKey::$name),)*
                    _ => None,
                }
            }

            /// Kafka's name: `ListOffsets`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(ApiKey::$name => stringify!($name),)*
                }
            }
        }
    };
}

api_keys! {
    Produce = 0,
    Fetch = 1,
    ListOffsets = 2,
    Metadata = 3,
    OffsetCommit = 8,
    OffsetFetch = 9,
    FindCoordinator = 10,
    JoinGroup = 11,
    Heartbeat = 12,
    LeaveGroup = 13,
    SyncGroup = 14,
    DescribeGroups = 15,
    ListGroups = 16,
    ApiVersions = 18,
    CreateTopics = 19,
    DeleteTopics = 20,
    DeleteRecords = 21,
    InitProducerId = 22,
    OffsetForLeaderEpoch = 23,
    DescribeAcls = 29,
    CreateAcls = 30,
    DeleteAcls = 31,
    DescribeConfigs = 32,
    AlterConfigs = 33,
    DescribeLogDirs = 35,
    CreatePartitions = 37,
    DeleteGroups = 42,
    ElectLeaders = 43,
    IncrementalAlterConfigs = 44,
    AlterPartitionReassignments = 45,
    ListPartitionReassignments = 46,
    OffsetDelete = 47,
    DescribeCluster = 60,
    ConsumerGroupHeartbeat = 68,
    ConsumerGroupDescribe = 69,
}

impl ApiKey {
    /// The number on the wire.
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// The entry of the table.
    pub fn api(self) -> &'static Api {
        find(self.code()).expect("every key stands in the table: the_table_and_the_schemas_agree")
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Request;
    use crate::messages::*;

    #[test]
    fn the_table_and_the_schemas_agree() {
        let mut schemas = Vec::new();
        macro_rules! schema {
            ($name:ident, $module:ident, $request:ident, $response:ident) => {
                schemas.push((
                    $module::$request::KEY,
                    $module::$request::VERSIONS,
                    $module::$request::FIRST_FLEXIBLE,
                ));
            };
        }
        for_each_api!(schema);
        let table: Vec<_> = TABLE
            .iter()
            .map(|api| (api.key, api.accepted, api.first_flexible))
            .collect();
        assert_eq!(table, schemas);
        for (key, ..) in schemas {
            assert_eq!(key.api().key, key);
            assert_eq!(ApiKey::from_code(key.code()), Some(key));
        }
    }

    #[test]
    fn produce_is_advertised_from_0_and_accepted_from_3() {
        let produce = ApiKey::Produce.api();
        assert_eq!(produce.advertised, Some(VersionRange::new(0, 13)));
        assert!(served_in(0, 2).is_none());
        assert!(served_in(0, 3).is_some());
    }

    #[test]
    fn the_response_to_api_versions_never_has_the_longer_header() {
        let api = ApiKey::ApiVersions.api();
        assert_eq!(api.request_header_version(4), 2);
        assert_eq!(api.response_header_version(4), 0);
        assert_eq!(ApiKey::Metadata.api().response_header_version(9), 1);
        assert_eq!(ApiKey::Metadata.api().response_header_version(8), 0);
    }

    #[test]
    fn only_produce_may_be_as_long_as_a_record_batch() {
        assert_eq!(ApiKey::Produce.api().max_request_bytes(16 << 20), 16 << 20);
        assert_eq!(ApiKey::Metadata.api().max_request_bytes(16 << 20), 4 << 20);
        assert_eq!(ApiKey::Metadata.api().max_request_bytes(1 << 20), 1 << 20);
    }

    #[test]
    fn an_api_without_a_handler_is_coded_but_not_served() {
        for api in TABLE.iter().filter(|api| api.advertised.is_none()) {
            assert!(find(api.key.code()).is_some());
            assert!(served_in(api.key.code(), api.accepted.max).is_none());
            assert!(advertised().all(|(key, _)| key != api.key));
        }
    }
}
