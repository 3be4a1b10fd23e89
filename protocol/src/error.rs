//! Kafka's error codes up to 4.3, with what a client does about each.

use std::fmt;

/// Makes the enum and its lookups from the table below.
macro_rules! error_codes {
    ($($variant:ident = $code:literal, $name:literal, $retriable:ident, $text:literal;)*) => {
        /// An error code of the Kafka protocol (source: Kafka's `Errors`).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(i16)]
        pub enum ErrorCode {
            $(#[doc = $text] $variant = $code,)*
        }

        impl ErrorCode {
            /// Every code, in ascending order.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$variant,)*];

            /// The error with that code; `None` if Kafka 4.3 has no such code.
            pub const fn from_code(code: i16) -> Option<Self> {
                match code {
                    $($code => Some(ErrorCode::$variant),)*
                    _ => None,
                }
            }

            /// Kafka's name: `NOT_LEADER_OR_FOLLOWER`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(ErrorCode::$variant => $name,)*
                }
            }

            /// One sentence for the error message of a response.
            pub const fn text(self) -> &'static str {
                match self {
                    $(ErrorCode::$variant => $text,)*
                }
            }

            /// True if clients try the same request again by themselves, after a refresh of their metadata where that helps.
            pub const fn is_retriable(self) -> bool {
                match self {
                    $(ErrorCode::$variant => retriable!($retriable),)*
                }
            }
        }
    };
}

macro_rules! retriable {
    (again) => {
        true
    };
    (fatal) => {
        false
    };
}

error_codes! {
    UnknownServerError = -1, "UNKNOWN_SERVER_ERROR", fatal, "The broker met an error that has no code of its own.";
    None = 0, "NONE", fatal, "No error.";
    OffsetOutOfRange = 1, "OFFSET_OUT_OF_RANGE", fatal, "The offset lies outside what the partition holds.";
    CorruptMessage = 2, "CORRUPT_MESSAGE", again, "The record batch is damaged: its length, checksum or structure is wrong.";
    UnknownTopicOrPartition = 3, "UNKNOWN_TOPIC_OR_PARTITION", again, "This broker knows no such topic or partition.";
    InvalidFetchSize = 4, "INVALID_FETCH_SIZE", fatal, "The fetch size is not valid.";
    LeaderNotAvailable = 5, "LEADER_NOT_AVAILABLE", again, "The partition has no leader at the moment.";
    NotLeaderOrFollower = 6, "NOT_LEADER_OR_FOLLOWER", again, "This broker does not lead, or does not hold, the partition.";
    RequestTimedOut = 7, "REQUEST_TIMED_OUT", again, "The request was not completed in its time.";
    BrokerNotAvailable = 8, "BROKER_NOT_AVAILABLE", fatal, "The broker is not available.";
    ReplicaNotAvailable = 9, "REPLICA_NOT_AVAILABLE", again, "The replica is not available.";
    MessageTooLarge = 10, "MESSAGE_TOO_LARGE", fatal, "The record batch is larger than the topic's max.message.bytes.";
    StaleControllerEpoch = 11, "STALE_CONTROLLER_EPOCH", fatal, "The controller has moved on to a higher epoch.";
    OffsetMetadataTooLarge = 12, "OFFSET_METADATA_TOO_LARGE", fatal, "The metadata stored with the offset is too long.";
    NetworkException = 13, "NETWORK_EXCEPTION", again, "The connection ended before a response came.";
    CoordinatorLoadInProgress = 14, "COORDINATOR_LOAD_IN_PROGRESS", again, "The coordinator is still loading its state.";
    CoordinatorNotAvailable = 15, "COORDINATOR_NOT_AVAILABLE", again, "There is no coordinator at the moment.";
    NotCoordinator = 16, "NOT_COORDINATOR", again, "Another broker is the coordinator.";
    InvalidTopicException = 17, "INVALID_TOPIC_EXCEPTION", fatal, "The topic's name is not legal.";
    RecordListTooLarge = 18, "RECORD_LIST_TOO_LARGE", fatal, "The record batch is larger than a segment may be.";
    NotEnoughReplicas = 19, "NOT_ENOUGH_REPLICAS", again, "Fewer replicas are in sync than min.insync.replicas asks for; nothing was written.";
    NotEnoughReplicasAfterAppend = 20, "NOT_ENOUGH_REPLICAS_AFTER_APPEND", again, "The records were written, but to fewer in-sync replicas than min.insync.replicas asks for.";
    InvalidRequiredAcks = 21, "INVALID_REQUIRED_ACKS", fatal, "acks must be -1, 0 or 1.";
    IllegalGeneration = 22, "ILLEGAL_GENERATION", fatal, "The group is at another generation.";
    InconsistentGroupProtocol = 23, "INCONSISTENT_GROUP_PROTOCOL", fatal, "The member and the group have no protocol in common.";
    InvalidGroupId = 24, "INVALID_GROUP_ID", fatal, "The group id is not valid.";
    UnknownMemberId = 25, "UNKNOWN_MEMBER_ID", fatal, "The group has no such member.";
    InvalidSessionTimeout = 26, "INVALID_SESSION_TIMEOUT", fatal, "The session timeout lies outside what this broker allows.";
    RebalanceInProgress = 27, "REBALANCE_IN_PROGRESS", fatal, "The group is rebalancing; join again.";
    InvalidCommitOffsetSize = 28, "INVALID_COMMIT_OFFSET_SIZE", fatal, "The offsets to commit are too large.";
    TopicAuthorizationFailed = 29, "TOPIC_AUTHORIZATION_FAILED", fatal, "Not allowed on this topic.";
    GroupAuthorizationFailed = 30, "GROUP_AUTHORIZATION_FAILED", fatal, "Not allowed on this group.";
    ClusterAuthorizationFailed = 31, "CLUSTER_AUTHORIZATION_FAILED", fatal, "Not allowed on this cluster.";
    InvalidTimestamp = 32, "INVALID_TIMESTAMP", fatal, "A record's timestamp lies outside what the topic accepts.";
    UnsupportedSaslMechanism = 33, "UNSUPPORTED_SASL_MECHANISM", fatal, "This listener does not offer the SASL mechanism.";
    IllegalSaslState = 34, "ILLEGAL_SASL_STATE", fatal, "The request does not fit the state of the authentication.";
    UnsupportedVersion = 35, "UNSUPPORTED_VERSION", fatal, "This broker does not know that version of the request.";
    TopicAlreadyExists = 36, "TOPIC_ALREADY_EXISTS", fatal, "A topic of that name exists.";
    InvalidPartitions = 37, "INVALID_PARTITIONS", fatal, "The number of partitions is not valid.";
    InvalidReplicationFactor = 38, "INVALID_REPLICATION_FACTOR", fatal, "The replication factor is not valid or more than the brokers available.";
    InvalidReplicaAssignment = 39, "INVALID_REPLICA_ASSIGNMENT", fatal, "The replica assignment is not valid.";
    InvalidConfig = 40, "INVALID_CONFIG", fatal, "A configuration key or value is not valid.";
    NotController = 41, "NOT_CONTROLLER", again, "This is not the controller.";
    InvalidRequest = 42, "INVALID_REQUEST", fatal, "The request contradicts the protocol or itself.";
    UnsupportedForMessageFormat = 43, "UNSUPPORTED_FOR_MESSAGE_FORMAT", fatal, "The record format on this broker does not support the request.";
    PolicyViolation = 44, "POLICY_VIOLATION", fatal, "The request breaks a policy of this cluster.";
    OutOfOrderSequenceNumber = 45, "OUT_OF_ORDER_SEQUENCE_NUMBER", fatal, "The producer's sequence number does not follow the last one.";
    DuplicateSequenceNumber = 46, "DUPLICATE_SEQUENCE_NUMBER", fatal, "The producer's sequence number was seen before.";
    InvalidProducerEpoch = 47, "INVALID_PRODUCER_EPOCH", fatal, "A newer epoch of this producer exists.";
    InvalidTxnState = 48, "INVALID_TXN_STATE", fatal, "The transaction is in no state for this request.";
    InvalidProducerIdMapping = 49, "INVALID_PRODUCER_ID_MAPPING", fatal, "The producer id does not belong to the transactional id.";
    InvalidTransactionTimeout = 50, "INVALID_TRANSACTION_TIMEOUT", fatal, "The transaction timeout is longer than this broker allows.";
    ConcurrentTransactions = 51, "CONCURRENT_TRANSACTIONS", again, "An earlier transaction of this producer is still being completed.";
    TransactionCoordinatorFenced = 52, "TRANSACTION_COORDINATOR_FENCED", fatal, "A newer transaction coordinator exists.";
    TransactionalIdAuthorizationFailed = 53, "TRANSACTIONAL_ID_AUTHORIZATION_FAILED", fatal, "Not allowed on this transactional id.";
    SecurityDisabled = 54, "SECURITY_DISABLED", fatal, "Security features are not switched on.";
    OperationNotAttempted = 55, "OPERATION_NOT_ATTEMPTED", fatal, "Not attempted, because another part of the request failed.";
    KafkaStorageError = 56, "KAFKA_STORAGE_ERROR", again, "The disk failed under the partition.";
    LogDirNotFound = 57, "LOG_DIR_NOT_FOUND", fatal, "This broker has no such log directory.";
    SaslAuthenticationFailed = 58, "SASL_AUTHENTICATION_FAILED", fatal, "Authentication failed.";
    UnknownProducerId = 59, "UNKNOWN_PRODUCER_ID", fatal, "Nothing is known of this producer id any more.";
    ReassignmentInProgress = 60, "REASSIGNMENT_IN_PROGRESS", fatal, "The partition is being reassigned.";
    DelegationTokenAuthDisabled = 61, "DELEGATION_TOKEN_AUTH_DISABLED", fatal, "Delegation tokens are not switched on.";
    DelegationTokenNotFound = 62, "DELEGATION_TOKEN_NOT_FOUND", fatal, "There is no such delegation token.";
    DelegationTokenOwnerMismatch = 63, "DELEGATION_TOKEN_OWNER_MISMATCH", fatal, "The delegation token belongs to someone else.";
    DelegationTokenRequestNotAllowed = 64, "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED", fatal, "Delegation tokens cannot be managed over this connection.";
    DelegationTokenAuthorizationFailed = 65, "DELEGATION_TOKEN_AUTHORIZATION_FAILED", fatal, "Not allowed on this delegation token.";
    DelegationTokenExpired = 66, "DELEGATION_TOKEN_EXPIRED", fatal, "The delegation token has expired.";
    InvalidPrincipalType = 67, "INVALID_PRINCIPAL_TYPE", fatal, "The type of principal is not supported.";
    NonEmptyGroup = 68, "NON_EMPTY_GROUP", fatal, "The group has members.";
    GroupIdNotFound = 69, "GROUP_ID_NOT_FOUND", fatal, "There is no such group.";
    FetchSessionIdNotFound = 70, "FETCH_SESSION_ID_NOT_FOUND", again, "There is no such fetch session.";
    InvalidFetchSessionEpoch = 71, "INVALID_FETCH_SESSION_EPOCH", again, "The fetch session is at another epoch.";
    ListenerNotFound = 72, "LISTENER_NOT_FOUND", again, "The leader has no listener of that name.";
    TopicDeletionDisabled = 73, "TOPIC_DELETION_DISABLED", fatal, "Topics cannot be deleted here.";
    FencedLeaderEpoch = 74, "FENCED_LEADER_EPOCH", again, "The leader epoch in the request is older than the broker's.";
    UnknownLeaderEpoch = 75, "UNKNOWN_LEADER_EPOCH", again, "The leader epoch in the request is newer than the broker's.";
    UnsupportedCompressionType = 76, "UNSUPPORTED_COMPRESSION_TYPE", fatal, "This version of the request does not carry that compression type.";
    StaleBrokerEpoch = 77, "STALE_BROKER_EPOCH", fatal, "The broker epoch has changed.";
    OffsetNotAvailable = 78, "OFFSET_NOT_AVAILABLE", again, "The leader does not yet know how far the log is committed.";
    MemberIdRequired = 79, "MEMBER_ID_REQUIRED", fatal, "Join again with the member id given in this response.";
    PreferredLeaderNotAvailable = 80, "PREFERRED_LEADER_NOT_AVAILABLE", again, "The preferred leader is not available.";
    GroupMaxSizeReached = 81, "GROUP_MAX_SIZE_REACHED", fatal, "The group has as many members as it may.";
    FencedInstanceId = 82, "FENCED_INSTANCE_ID", fatal, "Another member has registered under this instance id.";
    EligibleLeadersNotAvailable = 83, "ELIGIBLE_LEADERS_NOT_AVAILABLE", again, "No replica that may lead is available.";
    ElectionNotNeeded = 84, "ELECTION_NOT_NEEDED", again, "The partition has the leader it should have.";
    NoReassignmentInProgress = 85, "NO_REASSIGNMENT_IN_PROGRESS", fatal, "The partition is not being reassigned.";
    GroupSubscribedToTopic = 86, "GROUP_SUBSCRIBED_TO_TOPIC", fatal, "The group still subscribes to the topic.";
    InvalidRecord = 87, "INVALID_RECORD", fatal, "A record breaks the rules of its topic or of the format.";
    UnstableOffsetCommit = 88, "UNSTABLE_OFFSET_COMMIT", again, "An offset of an open transaction is not yet decided.";
    ThrottlingQuotaExceeded = 89, "THROTTLING_QUOTA_EXCEEDED", again, "The quota is used up for now.";
    ProducerFenced = 90, "PRODUCER_FENCED", fatal, "A newer producer uses the same transactional id.";
    ResourceNotFound = 91, "RESOURCE_NOT_FOUND", fatal, "There is no such resource.";
    DuplicateResource = 92, "DUPLICATE_RESOURCE", fatal, "The request names a resource twice.";
    UnacceptableCredential = 93, "UNACCEPTABLE_CREDENTIAL", fatal, "The credential does not meet the requirements.";
    InconsistentVoterSet = 94, "INCONSISTENT_VOTER_SET", fatal, "The voters named are not the voters known.";
    InvalidUpdateVersion = 95, "INVALID_UPDATE_VERSION", fatal, "The partition epoch in the request is not the current one.";
    FeatureUpdateFailed = 96, "FEATURE_UPDATE_FAILED", fatal, "The feature levels could not be changed.";
    PrincipalDeserializationFailure = 97, "PRINCIPAL_DESERIALIZATION_FAILURE", fatal, "The forwarded principal could not be read.";
    SnapshotNotFound = 98, "SNAPSHOT_NOT_FOUND", fatal, "There is no such snapshot.";
    PositionOutOfRange = 99, "POSITION_OUT_OF_RANGE", fatal, "The position lies outside the snapshot.";
    UnknownTopicId = 100, "UNKNOWN_TOPIC_ID", again, "This broker knows no topic with that id.";
    DuplicateBrokerRegistration = 101, "DUPLICATE_BROKER_REGISTRATION", fatal, "A broker with that id is registered and alive.";
    BrokerIdNotRegistered = 102, "BROKER_ID_NOT_REGISTERED", fatal, "No broker is registered with that id.";
    InconsistentTopicId = 103, "INCONSISTENT_TOPIC_ID", again, "The partition's log belongs to another topic id.";
    InconsistentClusterId = 104, "INCONSISTENT_CLUSTER_ID", fatal, "The request is meant for another cluster.";
    TransactionalIdNotFound = 105, "TRANSACTIONAL_ID_NOT_FOUND", fatal, "There is no such transactional id.";
    FetchSessionTopicIdError = 106, "FETCH_SESSION_TOPIC_ID_ERROR", again, "The fetch session mixes topic names and topic ids.";
    IneligibleReplica = 107, "INELIGIBLE_REPLICA", fatal, "A replica named may not be in the ISR.";
    NewLeaderElected = 108, "NEW_LEADER_ELECTED", fatal, "The change to the ISR brought a new leader.";
    OffsetMovedToTieredStorage = 109, "OFFSET_MOVED_TO_TIERED_STORAGE", fatal, "The offset has moved to tiered storage.";
    FencedMemberEpoch = 110, "FENCED_MEMBER_EPOCH", fatal, "The member epoch is fenced; join again.";
    UnreleasedInstanceId = 111, "UNRELEASED_INSTANCE_ID", fatal, "Another member still holds this instance id.";
    UnsupportedAssignor = 112, "UNSUPPORTED_ASSIGNOR", fatal, "This broker has no such assignor.";
    StaleMemberEpoch = 113, "STALE_MEMBER_EPOCH", fatal, "The member epoch is old; learn the current one and try again.";
    MismatchedEndpointType = 114, "MISMATCHED_ENDPOINT_TYPE", fatal, "The request was sent to the wrong type of endpoint.";
    UnsupportedEndpointType = 115, "UNSUPPORTED_ENDPOINT_TYPE", fatal, "This type of endpoint is not known here.";
    UnknownControllerId = 116, "UNKNOWN_CONTROLLER_ID", fatal, "There is no controller with that id.";
    UnknownSubscriptionId = 117, "UNKNOWN_SUBSCRIPTION_ID", fatal, "The telemetry subscription is not known.";
    TelemetryTooLarge = 118, "TELEMETRY_TOO_LARGE", fatal, "The telemetry is larger than this broker accepts.";
    InvalidRegistration = 119, "INVALID_REGISTRATION", fatal, "The controller found the registration invalid.";
    TransactionAbortable = 120, "TRANSACTION_ABORTABLE", fatal, "The transaction must be aborted.";
    InvalidRecordState = 121, "INVALID_RECORD_STATE", fatal, "The record cannot be acknowledged in its state.";
    ShareSessionNotFound = 122, "SHARE_SESSION_NOT_FOUND", again, "There is no such share session.";
    InvalidShareSessionEpoch = 123, "INVALID_SHARE_SESSION_EPOCH", again, "The share session is at another epoch.";
    FencedStateEpoch = 124, "FENCED_STATE_EPOCH", fatal, "The share group is at another state epoch.";
    InvalidVoterKey = 125, "INVALID_VOTER_KEY", fatal, "The voter key is not this voter's.";
    DuplicateVoter = 126, "DUPLICATE_VOTER", fatal, "The voter is one already.";
    VoterNotFound = 127, "VOTER_NOT_FOUND", fatal, "There is no such voter.";
    InvalidRegularExpression = 128, "INVALID_REGULAR_EXPRESSION", fatal, "The regular expression is not valid.";
    RebootstrapRequired = 129, "REBOOTSTRAP_REQUIRED", fatal, "The client must bootstrap anew.";
    StreamsInvalidTopology = 130, "STREAMS_INVALID_TOPOLOGY", fatal, "The topology is not valid.";
    StreamsInvalidTopologyEpoch = 131, "STREAMS_INVALID_TOPOLOGY_EPOCH", fatal, "The topology epoch is not valid.";
    StreamsTopologyFenced = 132, "STREAMS_TOPOLOGY_FENCED", fatal, "The topology epoch is old.";
    ShareSessionLimitReached = 133, "SHARE_SESSION_LIMIT_REACHED", again, "This broker holds as many share sessions as it may.";
}

impl ErrorCode {
    /// The number on the wire.
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// True for anything but `NONE`.
    pub const fn is_error(self) -> bool {
        !matches!(self, ErrorCode::None)
    }
}

impl From<ErrorCode> for i16 {
    fn from(error: ErrorCode) -> i16 {
        error.code()
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::error::ResponseError;

    use super::*;

    #[test]
    fn the_codes_are_those_of_kafka_without_a_gap() {
        let codes: Vec<i16> = ErrorCode::ALL.iter().map(|error| error.code()).collect();
        assert_eq!(codes, (-1..=133).collect::<Vec<i16>>());
        assert_eq!(ErrorCode::from_code(134), None);
        for &error in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_code(error.code()), Some(error));
        }
    }

    #[test]
    fn names_and_retriable_flags_agree_with_another_implementation() {
        for &error in ErrorCode::ALL {
            let Some(oracle) = ResponseError::try_from_code(error.code()) else {
                assert_eq!(error, ErrorCode::None);
                continue;
            };
            assert_eq!(format!("{error:?}"), format!("{oracle:?}"));
            assert_eq!(
                error.name().replace('_', "").to_lowercase(),
                format!("{error:?}").to_lowercase()
            );
            // Kafka made CONCURRENT_TRANSACTIONS retriable (ConcurrentTransactionsException); the oracle has not followed.
            if error != ErrorCode::ConcurrentTransactions {
                assert_eq!(error.is_retriable(), oracle.is_retriable(), "{error}");
            }
        }
    }
}
