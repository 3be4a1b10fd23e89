//! The list itself. Patterns are API, request, field; `*` stands for anything.

use super::Intended;

/// Every decision that makes an answer of ours differ.
pub(crate) const INTENDED: &[Intended] = &[
    Intended {
        title: "Sentences are our own",
        reason: "An error message says what was wrong, with the name and the value, in our words. Kafka has none for many errors, and \
                 an empty one or `NONE` for some successes.",
        places: &[("*", "*", "*error_message")],
    },
    Intended {
        title: "APIs that come later, or not at all",
        reason: "Clients do better without an API than with a stub, so what is not served is not advertised: transactions, SASL, \
                 delegation tokens, quotas, share and streams groups come later; the quorum of KRaft does not exist here.",
        places: &[("ApiVersions", "*", "api_keys[*]")],
    },
    Intended {
        title: "Features are our own",
        reason: "`barnabas.version` is the level of our metadata; `metadata.version` is Kafka 4.1's. What is not served has no feature.",
        places: &[
            ("ApiVersions", "*", "supported_features*"),
            ("ApiVersions", "*", "finalized_features*"),
        ],
    },
    Intended {
        title: "A batch that cannot be read is named, never an unknown error",
        reason: "Kafka answers UNKNOWN_SERVER_ERROR where its decompressor throws, and tells formats and lengths apart in another \
                 order. Here every batch that cannot be read is INVALID_RECORD or CORRUPT_MESSAGE, every codec that is not there \
                 UNSUPPORTED_COMPRESSION_TYPE: none of them is retried for ever.",
        places: &[
            ("Produce", "a format of the future", "*.error_code"),
            ("Produce", "a batch that is cut", "*.error_code"),
            ("Produce", "bytes that are no batch", "*.error_code"),
            ("Produce", "a codec that is not there", "*.error_code"),
            ("Produce", "gzip that is none", "*.error_code"),
            ("Produce", "zstd", "*.error_code"),
            ("Produce", "fewer records than it says", "*.record_errors[*]"),
        ],
    },
    Intended {
        title: "What was written long ago is not written again",
        reason: "A retry of a batch from before the last five of its producer is DUPLICATE_SEQUENCE_NUMBER, which clients take for success. \
                 Kafka answers OUT_OF_ORDER_SEQUENCE_NUMBER, which Java's producer repeats until its records expire.",
        places: &[("Produce", "the first of more than five batches again", "*.error_code")],
    },
    Intended {
        title: "A producer begins with its first batch",
        reason: "A batch of a producer that never wrote to the log, and that is not its first, is OUT_OF_ORDER_SEQUENCE_NUMBER, and comes again \
                 after those before it. Kafka takes it as long as it knows nothing of the producer: as a leader changes, the first batches of Java's \
                 producer can come to the old leader, which refuses them, and the third to the new one, which then refuses them for ever.",
        places: &[("Produce", "a producer that begins in the middle", "*")],
    },
    Intended {
        title: "Null records are refused",
        reason: "Kafka never answers a Produce request with null records.",
        places: &[("Produce", "null records", "")],
    },
    Intended {
        title: "A producer may not claim the broker's time",
        reason: "A batch that says LogAppendTime in a topic of CreateTime is INVALID_TIMESTAMP; Kafka stores it as it is.",
        places: &[("Produce", "broker time from the client", "*")],
    },
    Intended {
        title: "Whoever asks twice is answered twice",
        reason: "Kafka collects what a request names in a map: of two with one name one is answered, and the records of the other are \
                 lost without a word. Here each entry is served in its turn, and has its answer; where Kafka refuses both, so do we.",
        places: &[
            ("Produce", "one partition twice", "*"),
            ("Fetch", "one partition twice", "*"),
            ("ListOffsets", "one partition twice", "*"),
        ],
    },
    Intended {
        title: "A refused batch does not tell where the log begins",
        reason: "The offset serves producers that were told UNKNOWN_PRODUCER_ID, which neither broker answers any more.",
        places: &[("Produce", "*", "*.log_start_offset")],
    },
    Intended {
        title: "A batch that was already there has no append time",
        reason: "Kafka answers a repeated batch with the time of its first append even where timestamps are the producer's.",
        places: &[("Produce", "*", "*.log_append_time_ms")],
    },
    Intended {
        title: "A producer id without an epoch is refused",
        reason: "Kafka appends such a batch as if it had no producer; nothing could tell its repetition.",
        places: &[
            ("Produce", "a negative epoch", "*"),
            ("Produce", "more batches of one", "*.base_offset"),
        ],
    },
    Intended {
        title: "Transactions are refused by name",
        reason: "There is no transaction coordinator yet: a batch is INVALID_TXN_STATE before anything else of it is looked at, and a transactional id \
                 INVALID_REQUEST.",
        places: &[
            ("Produce", "transactional *", "*.error_code"),
            ("FindCoordinator", "a transactional id", "*"),
            ("InitProducerId", "a transactional id", "*"),
        ],
    },
    Intended {
        title: "Fetch returns whole batches",
        reason: "Kafka fills an answer up to its limit with the beginning of the next batch, which every client throws away.",
        places: &[
            ("Fetch", "a limit for the whole answer", "*.records[*]"),
            ("Fetch", "one batch and a part of the next", "*.records[*]"),
        ],
    },
    Intended {
        title: "Limits and isolation levels that mean nothing do no harm",
        reason: "Kafka answers UNKNOWN_SERVER_ERROR to a negative limit and to an isolation level that does not exist. Here the former \
                 is 0 and the latter is read_uncommitted.",
        places: &[
            ("Fetch", "negative limits", "*"),
            ("Fetch", "an isolation that is not there", "*"),
        ],
    },
    Intended {
        title: "A group that refused its first member is not kept",
        reason: "Kafka lists an empty group after a JoinGroup without protocols. Here a group begins with a member or an offset.",
        places: &[
            ("ListGroups", "*", "groups[noprotocol-*]"),
            ("ListGroups", "*", "groups[notype-*]"),
        ],
    },
    Intended {
        title: "Epochs of a consumer group begin at 1",
        reason: "Kafka's begin at 2, and two members may get each other's partitions: both are for the server to choose. A pattern is resolved \
                 before the answer; Kafka resolves it behind it.",
        places: &[
            ("ConsumerGroupHeartbeat", "*", "member_epoch"),
            ("ConsumerGroupHeartbeat", "a pattern begins", "assignment*"),
            ("ConsumerGroupDescribe", "*", "groups[*].group_epoch"),
            ("ConsumerGroupDescribe", "*", "groups[*].assignment_epoch"),
            ("ConsumerGroupDescribe", "*", "groups[*].members[*].member_epoch"),
        ],
    },
    Intended {
        title: "SyncGroup looks at the group's name first",
        reason: "Without a group and without the protocol that version 5 asks for, both answers are right.",
        places: &[("SyncGroup", "without a group", "error_code")],
    },
    Intended {
        title: "A topic made by asking is answered at once",
        reason: "Kafka answers UNKNOWN_TOPIC_OR_PARTITION and makes the topic meanwhile; here the answer waits a moment for it, which \
                 saves the client a backoff.",
        places: &[("Metadata", "a topic made by asking*", "topics[*")],
    },
    Intended {
        title: "A name that is not UTF-8 ends the connection",
        reason: "Kafka replaces the bytes and goes on with a name that nobody meant.",
        places: &[("Metadata", "a topic name that is not UTF-8", "")],
    },
    Intended {
        title: "Nobody is left without an answer",
        reason: "Kafka answers UNKNOWN_SERVER_ERROR or not at all to an operation on a config that does not exist, to one topic twice \
                 in AlterConfigs and to a topic of Metadata with neither name nor id. Here these are INVALID_REQUEST.",
        places: &[
            (
                "IncrementalAlterConfigs",
                "an operation that is not there",
                "*.error_code",
            ),
            ("AlterConfigs", "one topic twice", ""),
            ("Metadata", "by neither", "*error_code"),
        ],
    },
    Intended {
        title: "A topic that is only validated has no id",
        reason: "Kafka answers with an id that no topic will ever have.",
        places: &[("CreateTopics", "*", "topics[*].topic_id")],
    },
    Intended {
        title: "Topics of one request may not collide",
        reason: "Kafka holds a new name against the topics that are there, but not against those of the same request, and so lets \
                 `a.b` and `a_b` in together; their metrics would have one name.",
        places: &[("CreateTopics", "names that collide", "topics[made_*]*")],
    },
    Intended {
        title: "A broker's unknown keys are refused by name",
        reason: "Every key that is listed is obeyed; Kafka stores those that it does not know unseen.",
        places: &[
            (
                "IncrementalAlterConfigs",
                "a broker's key that is not there",
                "*.error_code",
            ),
            (
                "IncrementalAlterConfigs",
                "a broker's key that cannot change",
                "*.error_code",
            ),
        ],
    },
    Intended {
        title: "Defaults are told where they count",
        reason: "Kafka derives `log.retention.ms` from `log.retention.hours` and the like and shows null; here each key has its value. \
                 Kafka 4.3 sets `min.insync.replicas` for the whole cluster when it is formatted; here it has its default. This test \
                 sets Kafka's `offsets.topic.replication.factor`, which is a short there. No replica selector is an empty word here, null there.",
        places: &[
            ("DescribeConfigs", "*", "results[*].configs[log.*].value"),
            (
                "DescribeConfigs",
                "*",
                "results[*].configs[replica.selector.class].value",
            ),
            ("DescribeConfigs", "*", "results[*].configs[*].synonyms[log.*]"),
            (
                "DescribeConfigs",
                "*",
                "results[*].configs[min.insync.replicas].config_source",
            ),
            (
                "CreateTopics",
                "*",
                "topics[*].configs[min.insync.replicas].config_source",
            ),
            (
                "DescribeConfigs",
                "*",
                "results[*].configs[offsets.topic.replication.factor].config_*",
            ),
        ],
    },
    Intended {
        title: "What was deleted is not found by its time",
        reason: "After DeleteRecords of everything Kafka still answers the latest timestamp with a record before the log's beginning.",
        places: &[("ListOffsets", "the latest time when nothing is left", "*")],
    },
    Intended {
        title: "A topic without partitions is echoed by DeleteRecords",
        reason: "Kafka answers per partition, and so leaves out a topic for which none was named.",
        places: &[("DeleteRecords", "a topic without partitions", "topics[*]")],
    },
    Intended {
        title: "Addresses are the machine's",
        reason: "Each broker tells its own.",
        places: &[("DescribeConfigs", "*", "results[*].configs[advertised.listeners].*")],
    },
    Intended {
        title: "A topic named twice to DeleteTopics shows its id",
        reason: "Kafka leaves it out of the answer that refuses both.",
        places: &[("DeleteTopics", "twice by name", "*.topic_id")],
    },
];

/// What is refused by name until it is served: no answer has to need these.
pub(crate) const LATER: &[Intended] = &[
    Intended {
        title: "Compaction is refused by name",
        reason: "`cleanup.policy=compact` comes later: INVALID_CONFIG, rather than a topic that is not compacted.",
        places: &[
            ("CreateTopics", "a compacted topic", "*"),
            ("DeleteRecords", "of a compacted topic", "*.error_code"),
            ("IncrementalAlterConfigs", "append to a list", "*.error_code"),
        ],
    },
    Intended {
        title: "Who gives no time is served all the same",
        reason: "Kafka answers REQUEST_TIMED_OUT to a timeout of 0, and makes the topic.",
        places: &[("CreateTopics", "without time", "*")],
    },
    Intended {
        title: "A member whose answer was lost may ask again",
        reason: "Kafka answers UNRELEASED_INSTANCE_ID to a static member that joins again under its own id, because the first answer did not \
                 reach it, and GROUP_ID_NOT_FOUND to one that was away while its group became classic. Java's consumer ends with either. \
                 Here the former is taken for what it is, and the latter is UNKNOWN_MEMBER_ID, after which it joins anew.",
        places: &[
            ("ConsumerGroupHeartbeat", "it joins once more", "*"),
            (
                "ConsumerGroupHeartbeat",
                "a member of a group of connectors",
                "error_code",
            ),
        ],
    },
    Intended {
        title: "What is described twice is told once",
        reason: "The configuration of a topic is a hundred times longer than its name: a request that repeats one name would cost the \
                 memory of gigabytes.",
        places: &[("DescribeConfigs", "one topic twice", "results[*")],
    },
    Intended {
        title: "Log levels and client metrics are not set through Kafka",
        reason: "The level is an option of the program (`--log`); what clients could measure of themselves nobody asks for (KIP-714): \
             INVALID_REQUEST.",
        places: &[
            ("DescribeConfigs", "a broker's logger", "*"),
            ("DescribeConfigs", "client metrics", "*"),
        ],
    },
    Intended {
        title: "Topics may be asked for by name and by id at once",
        reason: "Kafka forgets those that are asked for by name, if one is by id.",
        places: &[("Metadata", "one by name and one by id", "topics[metadata-a]*")],
    },
    Intended {
        title: "Zstandard has many words for the same records",
        reason: "What the broker compresses anew differs in its bytes, and is read as the same.",
        places: &[("Fetch", "a topic of zstd", "*.records[*]*")],
    },
];
