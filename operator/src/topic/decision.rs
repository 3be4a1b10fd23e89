//! What to do for a Topic. Pure: from the resource, its cluster and the image to one decision.

use std::collections::BTreeMap;

use controller::DesiredTopic;
use crds::topic::DeletionPolicy;
use crds::{TOPIC_FINALIZER, Topic};
use model::{MetadataImage, TopicId, TopicName};

/// What to do for a Topic.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Decision {
    /// It is going, and not held by us.
    Nothing,
    /// Let it go and keep the data, for this reason.
    Release(&'static str),
    /// Remove the topic, then let the resource go.
    Purge(TopicId),
    /// Hold it first, because its data is to go with it.
    Guard,
    /// Hold it no longer, because its data is to stay.
    Unguard,
    /// Another Topic has the name.
    Conflict(String),
    /// The topic should be so.
    Ensure(DesiredTopic),
}

/// Data goes only on a deletion timestamp of a resource with our finalizer, policy `Delete` and the matching
/// topic id, and while the Cluster is present and not itself going. In every other case it stays.
pub(super) fn decide(topic: &Topic, cluster_is_going: bool, rival: Option<&str>, image: &MetadataImage) -> Decision {
    let held = topic
        .metadata
        .finalizers
        .iter()
        .flatten()
        .any(|finalizer| finalizer == TOPIC_FINALIZER);
    let delete = topic.spec.deletion_policy == DeletionPolicy::Delete;
    if topic.metadata.deletion_timestamp.is_some() {
        return match (held, delete) {
            (false, _) => Decision::Nothing,
            (true, false) => Decision::Release("deletionPolicy is Retain: the data stays"),
            (true, true) if cluster_is_going => {
                Decision::Release("its Cluster is being deleted: the data stays with the volumes")
            }
            (true, true) => match own_topic(topic, image) {
                Some(id) => Decision::Purge(id),
                None => Decision::Release("the cluster has no topic of this resource"),
            },
        };
    }
    if let Some(rival) = rival {
        return if held {
            Decision::Unguard
        } else {
            Decision::Conflict(rival.to_owned())
        };
    }
    match (held, delete) {
        // Nothing is begun that a cluster on its way out would not finish.
        _ if cluster_is_going => Decision::Nothing,
        (false, true) => Decision::Guard,
        (true, false) => Decision::Unguard,
        _ => desired(topic).map_or(Decision::Nothing, Decision::Ensure),
    }
}

/// The topic that this resource made or adopted, if it is still there: the id must be the one on record.
fn own_topic(topic: &Topic, image: &MetadataImage) -> Option<TopicId> {
    let id = topic.status.as_ref()?.topic_id.as_ref()?.parse().ok()?;
    image.topic(id).map(|found| found.id)
}

/// What the resource asks for; `None` if its name cannot be a topic's, which the API server refuses beforehand.
pub(crate) fn desired(topic: &Topic) -> Option<DesiredTopic> {
    let config: BTreeMap<String, String> = topic
        .spec
        .config
        .iter()
        .map(|(key, value)| (key.clone(), crate::config_value(value)))
        .collect();
    Some(DesiredTopic {
        name: TopicName::new(topic.topic_name()).ok()?,
        partitions: topic.spec.partitions,
        replication_factor: topic
            .spec
            .replication_factor
            .and_then(|factor| i16::try_from(factor).ok()),
        assignment: None,
        config,
        patience: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;
    use model::record::{ClusterFormatted, TopicCreated};
    use model::{Assignment, BrokerId, Record};

    const POLICIES: [DeletionPolicy; 2] = [DeletionPolicy::Delete, DeletionPolicy::Retain];

    fn topic() -> Topic {
        let spec = serde_json::from_value(serde_json::json!({
            "clusterRef": {"name": "castle"}, "partitions": 12, "config": {"retention.ms": 1000},
        }));
        Topic::new("letters", spec.unwrap())
    }

    fn held(mut topic: Topic) -> Topic {
        topic.metadata.finalizers = Some(vec![TOPIC_FINALIZER.to_owned()]);
        topic
    }

    fn going(mut topic: Topic) -> Topic {
        topic.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        topic
    }

    fn with_id(mut topic: Topic, id: TopicId) -> Topic {
        topic.status = Some(crds::TopicStatus {
            topic_id: Some(id.to_string()),
            ..Default::default()
        });
        topic
    }

    fn image() -> (MetadataImage, TopicId) {
        let mut image = MetadataImage::empty();
        let id = TopicId(uuid::Uuid::from_u128(7));
        let formatted = ClusterFormatted {
            cluster_id: "abcdefghijklmnopqrstuv".parse().unwrap(),
            lineage: model::Lineage(uuid::Uuid::from_u128(1)),
            features: BTreeMap::from([(model::level::BARNABAS_VERSION.to_owned(), 2)]),
        };
        image.append(formatted.into()).unwrap();
        image
            .append(Record::TopicCreated(TopicCreated {
                id,
                name: TopicName::new("letters").unwrap(),
                assignment: Assignment::from_lists(&[vec![BrokerId(0)]]).unwrap(),
                config: BTreeMap::new(),
            }))
            .unwrap();
        (image, id)
    }

    #[test]
    fn a_topic_whose_data_goes_with_it_is_held_before_it_is_created() {
        assert_eq!(decide(&topic(), false, None, &MetadataImage::empty()), Decision::Guard);
        let decision = decide(&held(topic()), false, None, &MetadataImage::empty());
        let Decision::Ensure(desired) = decision else {
            panic!("{decision:?}")
        };
        assert_eq!(desired.partitions, Some(12));
        assert_eq!(desired.config["retention.ms"], "1000");
    }

    #[test]
    fn a_retained_topic_is_never_held() {
        let mut retained = topic();
        retained.spec.deletion_policy = DeletionPolicy::Retain;
        assert!(matches!(
            decide(&retained, false, None, &MetadataImage::empty()),
            Decision::Ensure(_)
        ));
        assert_eq!(
            decide(&held(retained), false, None, &MetadataImage::empty()),
            Decision::Unguard
        );
    }

    #[test]
    fn data_goes_with_a_deletion_of_the_resource_that_made_it() {
        let (image, id) = image();
        assert_eq!(
            decide(&going(held(with_id(topic(), id))), false, None, &image),
            Decision::Purge(id)
        );
    }

    #[test]
    fn data_stays_in_every_other_case() {
        let (image, id) = image();
        let other = TopicId(uuid::Uuid::from_u128(8));
        for policy in POLICIES {
            for cluster_is_going in [false, true] {
                for is_held in [false, true] {
                    for status in [None, Some(id), Some(other)] {
                        let mut topic = going(topic());
                        topic.spec.deletion_policy = policy;
                        if is_held {
                            topic = held(topic);
                        }
                        if let Some(status) = status {
                            topic = with_id(topic, status);
                        }
                        let decision = decide(&topic, cluster_is_going, None, &image);
                        let all =
                            policy == DeletionPolicy::Delete && !cluster_is_going && is_held && status == Some(id);
                        assert_eq!(matches!(decision, Decision::Purge(_)), all, "{decision:?}");
                        // ... and no deletion ever waits for anything.
                        let ends = matches!(decision, Decision::Purge(_) | Decision::Release(_) | Decision::Nothing);
                        assert!(ends, "{decision:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_younger_of_two_topics_of_one_name_waits_and_deletes_nothing() {
        let (image, _) = image();
        assert_eq!(
            decide(&topic(), false, Some("elder"), &image),
            Decision::Conflict("elder".to_owned())
        );
        assert_eq!(
            decide(&going(held(topic())), false, Some("elder"), &image),
            Decision::Release("the cluster has no topic of this resource")
        );
    }

    #[test]
    fn nothing_is_begun_for_a_cluster_on_its_way_out() {
        assert_eq!(decide(&topic(), true, None, &MetadataImage::empty()), Decision::Nothing);
    }
}
