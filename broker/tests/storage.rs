//! What a client can ask of the logs and the disk under them, over real sockets.

mod support;

use protocol::ErrorCode;
use protocol::batch::{BatchBuilder, Compression, TimestampType, batches};
use protocol::compression::Level;
use protocol::messages::delete_records::{DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic};
use protocol::messages::describe_log_dirs::DescribeLogDirsRequest;
use protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use protocol::messages::offset_for_leader_epoch::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use support::{Broker, Client, produce, read_all, value};

fn delete(client: &mut Client, topic: &str, offset: i64) -> (i64, i16) {
    let request = DeleteRecordsRequest {
        topics: vec![DeleteRecordsTopic {
            name: topic.to_owned(),
            partitions: vec![DeleteRecordsPartition {
                partition_index: 0,
                offset,
            }],
        }],
        timeout_ms: 10_000,
    };
    let answer = client.call(&request, 2);
    let partition = &answer.topics[0].partitions[0];
    (partition.low_watermark, partition.error_code)
}

fn earliest(client: &mut Client) -> i64 {
    let request = ListOffsetsRequest {
        topics: vec![ListOffsetsTopic {
            name: "mail".to_owned(),
            partitions: vec![ListOffsetsPartition {
                timestamp: -2,
                ..ListOffsetsPartition::default()
            }],
        }],
        ..ListOffsetsRequest::default()
    };
    client.call(&request, 5).topics[0].partitions[0].offset
}

#[test]
fn deleted_records_stay_deleted_after_a_kill() {
    let temp = tempfile::tempdir().expect("temp");
    let data = temp.path().join("data");
    let broker = Broker::standalone(&data);
    let mut client = Client::connect(broker.address);
    client.create("mail", 1, &[]);
    for number in 0..10 {
        client.produce("mail", 0, value(&number.to_string())).expect("appended");
    }
    assert_eq!(
        delete(&mut client, "mail", 11),
        (-1, ErrorCode::OffsetOutOfRange.code())
    );
    assert_eq!(
        delete(&mut client, "mail", -2),
        (-1, ErrorCode::OffsetOutOfRange.code())
    );
    assert_eq!(
        delete(&mut client, "nowhere", 1),
        (-1, ErrorCode::UnknownTopicOrPartition.code())
    );
    assert_eq!(delete(&mut client, "mail", 4), (4, 0));
    assert_eq!(delete(&mut client, "mail", 2), (4, 0), "it does not go back");
    let below = client.fetch("mail", 0, 3);
    assert_eq!(
        below.responses[0].partitions[0].error_code,
        ErrorCode::OffsetOutOfRange.code()
    );
    broker.kill();

    let broker = Broker::standalone(&data);
    let mut client = Client::connect(broker.address);
    assert_eq!(earliest(&mut client), 4);
    assert_eq!(delete(&mut client, "mail", -1), (10, 0), "everything that is committed");
    broker.kill();

    let broker = Broker::standalone(&data);
    let mut client = Client::connect(broker.address);
    assert_eq!(earliest(&mut client), 10);
    assert_eq!(client.produce("mail", 0, value("after")), Ok(10));
}

#[test]
fn the_end_of_an_epoch_is_told_and_a_wrong_belief_is_refused() {
    let temp = tempfile::tempdir().expect("temp");
    let broker = Broker::standalone(&temp.path().join("data"));
    let mut client = Client::connect(broker.address);
    client.create("mail", 1, &[]);
    client.produce("mail", 0, value("one")).expect("appended");
    let mut ask = |leader_epoch, current_leader_epoch| {
        let request = OffsetForLeaderEpochRequest {
            topics: vec![OffsetForLeaderTopic {
                topic: "mail".to_owned(),
                partitions: vec![OffsetForLeaderPartition {
                    partition: 0,
                    current_leader_epoch,
                    leader_epoch,
                }],
            }],
            ..OffsetForLeaderEpochRequest::default()
        };
        let answer = client.call(&request, 4);
        let found = &answer.topics[0].partitions[0];
        (found.error_code, found.leader_epoch, found.end_offset)
    };
    assert_eq!(ask(0, -1), (0, 0, 1));
    assert_eq!(ask(7, -1), (0, -1, -1));
    assert_eq!(ask(0, 9), (ErrorCode::UnknownLeaderEpoch.code(), -1, -1));
}

#[test]
fn the_data_directory_is_described() {
    let temp = tempfile::tempdir().expect("temp");
    let data = temp.path().join("data");
    let broker = Broker::standalone(&data);
    let mut client = Client::connect(broker.address);
    client.create("mail", 2, &[]);
    let batch = value("one");
    let size = batch.len() as i64;
    client.produce("mail", 1, batch).expect("appended");
    let answer = client.call(&DescribeLogDirsRequest { topics: None }, 4);
    let [directory] = &answer.results[..] else {
        panic!("{answer:?}")
    };
    assert_eq!(directory.log_dir, data.display().to_string());
    assert!(directory.total_bytes > directory.usable_bytes && directory.usable_bytes > 0);
    let sizes: Vec<(i32, i64)> = directory.topics[0]
        .partitions
        .iter()
        .map(|partition| (partition.partition_index, partition.partition_size))
        .collect();
    assert_eq!(sizes, [(0, 0), (1, size)]);
    let none = client.call(
        &DescribeLogDirsRequest {
            topics: Some(Vec::new()),
        },
        1,
    );
    assert_eq!(none.results[0].topics, []);
}

#[test]
fn a_topic_stores_what_its_settings_say() {
    let temp = tempfile::tempdir().expect("temp");
    let broker = Broker::standalone(&temp.path().join("data"));
    let mut client = Client::connect(broker.address);
    client.create(
        "mail",
        1,
        &[
            ("message.timestamp.type", "LogAppendTime"),
            ("compression.type", "zstd"),
        ],
    );
    let batch = BatchBuilder::new()
        .record(5, None, Some(&[7; 1000]))
        .compress(Compression::Gzip, Level::Default)
        .expect("compressed")
        .build();
    let answer = client.call(&produce("mail", 0, -1, batch), 9);
    let appended = &answer.responses[0].partition_responses[0];
    assert_eq!(appended.error_code, 0);
    assert!(appended.log_append_time_ms > 1_600_000_000_000, "{appended:?}");
    let fetched = client.fetch("mail", 0, 0);
    let set = fetched.responses[0].partitions[0].records.as_ref().expect("records");
    let (header, _) = batches(set).next().expect("one").expect("whole");
    assert_eq!(header.attributes.compression(), Ok(Compression::Zstd));
    assert_eq!(header.attributes.timestamp_type(), TimestampType::LogAppendTime);
    assert_eq!(header.max_timestamp, appended.log_append_time_ms);
}

#[test]
fn records_at_fault_are_named() {
    let temp = tempfile::tempdir().expect("temp");
    let broker = Broker::standalone(&temp.path().join("data"));
    let mut client = Client::connect(broker.address);
    client.create("mail", 1, &[]);
    let batch = BatchBuilder::new()
        .record(5, None, Some(b"fine"))
        .record(i64::MAX / 2, None, Some(b"from the future"))
        .build();
    let answer = client.call(&produce("mail", 0, -1, batch), 9);
    let refused = &answer.responses[0].partition_responses[0];
    assert_eq!(refused.error_code, ErrorCode::InvalidTimestamp.code());
    let [at_fault] = &refused.record_errors[..] else {
        panic!("{refused:?}")
    };
    assert_eq!(at_fault.batch_index, 1);
    assert!(at_fault.batch_index_error_message.is_some() && refused.error_message.is_some());
}

#[test]
fn a_full_disk_refuses_records_and_nothing_else() {
    let temp = tempfile::tempdir().expect("temp");
    let data = temp.path().join("data");
    let broker = Broker::standalone(&data);
    let mut client = Client::connect(broker.address);
    client.create("mail", 1, &[]);
    client.produce("mail", 0, value("one")).expect("appended");
    broker.stop();

    // Nearly every disk is more than 1 % full.
    let broker = Broker::standalone_with(&data, &["--disk-limit", "1"]);
    broker.wait_for_line("records are refused until there is space");
    let mut client = Client::connect(broker.address);
    assert_eq!(
        client.produce("mail", 0, value("two")),
        Err(ErrorCode::KafkaStorageError)
    );
    assert_eq!(read_all(&mut client, "mail", 0).len(), 1);
    assert_eq!(delete(&mut client, "mail", 1), (1, 0));
}
