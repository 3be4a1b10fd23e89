//! Records of the metadata log, a line each, as they come from the store or the controller's stream.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use model::document::ImageDocument;
use model::level::BARNABAS_VERSION;
use model::record::*;
use model::*;
use uuid::Uuid;

use crate::memory;

const FACTOR: usize = 256;

pub(crate) fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let mut image = MetadataImage::empty();
    for line in text.lines() {
        let read = memory::bounded(FACTOR, line.as_bytes(), || Frame::from_line(line));
        let Ok(frame) = read else { continue };
        assert_eq!(Frame::from_line(&frame.to_line()).as_ref(), Ok(&frame));
        // With the hashes that it says it is refused or applied; without them it meets the rules alone.
        let mut trusted = image.clone();
        let _ = trusted.apply_frame(&frame);
        let before = image.clone();
        match image.append(frame.record) {
            Ok(frame) => {
                let mut follower = before;
                follower
                    .apply_frame(&frame)
                    .expect("followers apply what the controller applied");
                assert_eq!(follower, image);
            }
            Err(_) => assert_eq!(image, before, "a refused record changes nothing"),
        }
    }
    assert_eq!(image.recount_hash(), image.hash());
    let document = ImageDocument {
        seen: image.identity(),
        image,
    };
    let (again, _) = ImageDocument::decode(&document.encode()).expect("a document of our own");
    assert_eq!(again, document);
}

/// A history with every kind of record, and the image after it.
pub(crate) fn history() -> &'static (Vec<Frame>, MetadataImage) {
    static HISTORY: OnceLock<(Vec<Frame>, MetadataImage)> = OnceLock::new();
    HISTORY.get_or_init(|| {
        let mut image = MetadataImage::empty();
        let mut frames = Vec::new();
        let mut add = |record: Record| {
            let offset = image.append(record).map(|frame| {
                let offset = frame.offset;
                frames.push(frame);
                offset
            });
            BrokerEpoch(offset.expect("a legal history").0)
        };
        let topic = TopicId(Uuid::from_u128(0x51));
        add(Record::from(ClusterFormatted {
            cluster_id: ClusterId::from_random([1; 16]),
            lineage: Lineage::from_random([2; 16]),
            features: BTreeMap::from([(BARNABAS_VERSION.to_owned(), 2)]),
        }));
        add(Record::from(ControllerElected {
            epoch: ControllerEpoch(1),
            nonce: Nonce(Uuid::from_u128(3)),
            holder: "somebody".to_owned(),
        }));
        add(Record::from(Noop {}));
        let epochs: Vec<_> = (0..3).map(|id| (BrokerId(id), add(registered(id)))).collect();
        for (id, epoch) in &epochs {
            add(Record::from(BrokerUnfenced { id: *id, epoch: *epoch }));
        }
        add(Record::from(TopicCreated {
            id: topic,
            name: TopicName::new("letters").expect("a legal name"),
            assignment: assignment(),
            config: BTreeMap::from([("retention.ms".to_owned(), "1000".to_owned())]),
        }));
        add(Record::from(PartitionsAdded {
            topic,
            assignment: assignment(),
        }));
        add(Record::from(ConfigSet {
            scope: ConfigScope::Topic(topic),
            entries: BTreeMap::from([("retention.ms".to_owned(), None)]),
        }));
        add(Record::from(PartitionChanged {
            topic,
            partition: PartitionIndex(1),
            isr: Some(vec![BrokerId(1)]),
            leader: Some(BrokerId(1)),
            replicas: None,
            adding: None,
            removing: None,
            unclean: false,
        }));
        let (id, epoch) = epochs[2];
        add(Record::from(ProducerIdsAllocated {
            broker: id,
            epoch,
            next: ProducerId(1000),
        }));
        add(Record::from(BrokerShutdownRequested { id, epoch }));
        add(Record::from(BrokerFenced { id, epoch }));
        add(Record::from(TopicRemoved { id: topic }));
        add(Record::from(TopicPurged { id: topic }));
        add(Record::from(BrokerUnregistered { id, epoch }));
        (frames, image)
    })
}

fn assignment() -> Assignment {
    Assignment::from_lists(&[vec![BrokerId(0), BrokerId(1)], vec![BrokerId(1), BrokerId(2)]]).expect("even lists")
}

fn registered(id: i32) -> Record {
    Record::from(BrokerRegistered {
        id: BrokerId(id),
        incarnation: IncarnationId(Uuid::from_u128(0x100 + id as u128)),
        directory_id: DirectoryId(Uuid::from_u128(0x200 + id as u128)),
        pod_uid: Some("pod".to_owned()),
        boot_id: None,
        endpoints: vec![Endpoint {
            listener: "PLAIN".to_owned(),
            host: format!("broker-{id}"),
            port: 9092,
        }],
        rack: Some("a".to_owned()),
        features: BTreeMap::from([(BARNABAS_VERSION.to_owned(), FeatureRange { min: 2, max: 2 })]),
        clean: true,
    })
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let (frames, _) = history();
    let mut seeds = Vec::new();
    for count in 1..=frames.len() {
        let lines: Vec<u8> = frames[..count].iter().flat_map(ImageDocument::encode_frame).collect();
        seeds.push(lines);
    }
    seeds
}
