//! Produce over real sockets: what is refused, and how each acknowledgement refuses.

mod support;

use std::io::Write;

use protocol::batch::BatchBuilder;
use protocol::messages::find_coordinator::FindCoordinatorRequest;
use protocol::messages::produce::{PartitionProduceData, ProduceRequest};
use protocol::{ApiKey, ErrorCode};
use support::{Broker, Client, produce, produced, read_all, value};
use uuid::Uuid;

fn started() -> (tempfile::TempDir, Broker, Client) {
    let temp = tempfile::tempdir().expect("temp");
    let broker = Broker::standalone(&temp.path().join("data"));
    let mut client = Client::connect(broker.address);
    client.create("t", 2, &[]);
    (temp, broker, client)
}

fn refused(client: &mut Client, request: &ProduceRequest, version: i16) -> ErrorCode {
    produced(&client.call(request, version)).expect_err("refused")
}

#[test]
fn acks_other_than_0_1_and_all_are_refused_in_every_version() {
    let (_temp, _broker, mut client) = started();
    for version in ApiKey::Produce.api().accepted.iter().filter(|version| *version < 13) {
        for acks in [2, -2, i16::MAX] {
            let code = refused(&mut client, &produce("t", 0, acks, value("v")), version);
            assert_eq!(code, ErrorCode::InvalidRequiredAcks, "version {version}");
        }
        for acks in [1, -1] {
            assert!(produced(&client.call(&produce("t", 0, acks, value("v")), version)).is_ok());
        }
    }
}

#[test]
fn an_error_without_acknowledgement_closes_the_connection_after_what_came_before() {
    let (_temp, broker, mut client) = started();
    let mut torn = value("torn");
    *torn.last_mut().expect("bytes") ^= 1;
    let mut other = Client::connect(broker.address);
    let first = other.send(&produce("t", 0, 1, value("one")), 9);
    other.send(&produce("t", 0, 0, value("two")), 9);
    assert_eq!(produced(&other.receive::<ProduceRequest>(first, 9)), Ok(0));
    other.send(&produce("t", 0, 0, torn), 9);
    assert!(other.is_closed());
    assert_eq!(read_all(&mut client, "t", 0).len(), 2);
}

#[test]
fn records_that_are_no_batch_are_refused_by_name() {
    let (_temp, _broker, mut client) = started();
    let mut of = |records: Option<Vec<u8>>, version| {
        let mut request = produce("t", 0, 1, Vec::new());
        request.topic_data[0].partition_data[0].records = records.map(Into::into);
        refused(&mut client, &request, version)
    };
    assert_eq!(of(None, 9), ErrorCode::InvalidRecord);
    assert_eq!(of(Some(Vec::new()), 9), ErrorCode::InvalidRecord);
    let two = [value("a"), value("b")].concat();
    assert_eq!(of(Some(two), 9), ErrorCode::InvalidRecord);
    let mut old_magic = value("v");
    old_magic[16] = 1;
    assert_eq!(of(Some(old_magic), 9), ErrorCode::InvalidRecord);
    let mut zstd = value("v");
    zstd[22] |= 4;
    assert_eq!(of(Some(zstd), 6), ErrorCode::UnsupportedCompressionType);
}

#[test]
fn topics_that_only_brokers_write_are_refused() {
    let (_temp, _broker, mut client) = started();
    let group = FindCoordinatorRequest {
        coordinator_keys: vec!["g".to_owned()],
        ..FindCoordinatorRequest::default()
    };
    client.call(&group, 4);
    let code = refused(&mut client, &produce("__consumer_offsets", 0, 1, value("v")), 9);
    assert_eq!(code, ErrorCode::InvalidTopicException);
}

#[test]
fn one_bad_partition_costs_the_others_of_its_request_nothing() {
    let (_temp, _broker, mut client) = started();
    let mut request = produce("t", 0, -1, value("v"));
    let part = |index| PartitionProduceData {
        index,
        records: Some(value("v").into()),
    };
    request.topic_data[0].partition_data = vec![part(7), part(1), part(0)];
    let answer = client.call(&request, 9);
    let codes: Vec<(i32, i16)> = answer.responses[0]
        .partition_responses
        .iter()
        .map(|part| (part.index, part.error_code))
        .collect();
    let unknown = ErrorCode::UnknownTopicOrPartition.code();
    assert_eq!(codes, [(7, unknown), (1, 0), (0, 0)]);
}

#[test]
fn an_unknown_topic_id_is_told_from_an_unknown_name() {
    let (_temp, _broker, mut client) = started();
    let mut request = produce("nothing", 0, 1, value("v"));
    assert_eq!(refused(&mut client, &request, 12), ErrorCode::UnknownTopicOrPartition);
    request.topic_data[0].topic_id = Uuid::from_u128(5);
    assert_eq!(refused(&mut client, &request, 13), ErrorCode::UnknownTopicId);
}

#[test]
fn a_batch_larger_than_its_topic_allows_is_refused() {
    let (_temp, _broker, mut client) = started();
    client.create("small", 1, &[("max.message.bytes", "1000")]);
    let large = BatchBuilder::new().record(1, None, Some(&[0; 1000])).build();
    let code = refused(&mut client, &produce("small", 0, 1, large), 9);
    assert_eq!(code, ErrorCode::MessageTooLarge);
}

#[test]
fn a_request_may_have_a_batch_for_each_of_many_partitions() {
    let (_temp, broker, mut client) = started();
    client.create("wide", 40, &[]);
    let mut request = produce("wide", 0, -1, Vec::new());
    let batch = BatchBuilder::new().record(1, None, Some(&vec![0; 1_000_000])).build();
    let part = |index| PartitionProduceData {
        index,
        records: Some(batch.clone().into()),
    };
    request.topic_data[0].partition_data = (0..40).map(part).collect();
    let answer = client.call(&request, 9);
    assert!(
        answer.responses[0]
            .partition_responses
            .iter()
            .all(|part| part.error_code == 0)
    );

    let huge = BatchBuilder::new().record(1, None, Some(&vec![0; 20 << 20])).build();
    let code = refused(&mut client, &produce("t", 0, 1, huge), 9);
    assert_eq!(code, ErrorCode::MessageTooLarge, "no connection is lost for it");

    let mut lost = Client::connect(broker.address);
    lost.stream.write_all(&(101_u32 << 20).to_be_bytes()).expect("sends");
    assert!(lost.is_closed());
    broker.wait_for_line("a request is longer than it may be");
}
