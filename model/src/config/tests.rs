//! What is legal, what is refused and in which words, and which of several values counts.

use super::*;

fn set(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

#[test]
fn every_default_is_legal_for_its_own_key() {
    for key in cluster_keys() {
        // Some have none, as Kafka's: what counts then has another name.
        if !(key.default.is_empty() && key.cluster_name == "log.retention.minutes") {
            assert_eq!(key.check(key.default).as_deref(), Ok(key.default), "{}", key.name);
        }
        assert!(key.documentation.ends_with('.'), "{}", key.name);
    }
}

#[test]
fn names_are_unique() {
    let mut names: Vec<_> = TOPIC_KEYS.iter().map(|key| key.name).collect();
    let mut cluster: Vec<_> = cluster_keys().map(|key| key.cluster_name).collect();
    names.sort_unstable();
    cluster.sort_unstable();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    assert!(cluster.windows(2).all(|pair| pair[0] != pair[1]));
}

#[test]
fn what_a_later_version_brings_is_refused_by_name() {
    for (name, value) in [
        ("cleanup.policy", "compact"),
        ("cleanup.policy", "compact,delete"),
        ("remote.storage.enable", "true"),
    ] {
        let error = check_topic_entry(name, value).expect_err(name);
        assert!(matches!(error, ConfigError::NotSupported { .. }), "{error}");
        assert!(error.to_string().contains(value), "{error}");
    }
}

#[test]
fn what_would_change_nothing_is_kept_as_it_is() {
    for (name, value) in [
        ("compression.lz4.level", "12"),
        ("delete.retention.ms", "1000"),
        ("local.retention.ms", "1000"),
        ("local.retention.bytes", "-2"),
        ("max.compaction.lag.ms", "1"),
        ("min.cleanable.dirty.ratio", "0.1"),
        ("min.compaction.lag.ms", "7"),
        ("preallocate", "true"),
    ] {
        let (_, kept) = check_topic_entry(name, value).expect(name);
        assert_eq!(kept, value, "{name}");
    }
    assert!(check_topic_entry("min.cleanable.dirty.ratio", "1.5").is_err());
}

#[test]
fn a_record_may_not_wait_longer_for_compaction_than_it_must() {
    let check = |entries: &[(&str, &str)]| {
        let owned: Vec<_> = entries
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        check_topic(owned.iter().map(|(name, value)| (name, value)))
    };
    assert!(check(&[("min.compaction.lag.ms", "7"), ("max.compaction.lag.ms", "7")]).is_ok());
    assert!(check(&[("min.compaction.lag.ms", "7")]).is_ok());
    let error = check(&[("min.compaction.lag.ms", "8"), ("max.compaction.lag.ms", "7")]).expect_err("crossed");
    assert!(
        error
            .to_string()
            .ends_with("no more than max.compaction.lag.ms, which is 7"),
        "{error}"
    );
}

#[test]
fn without_a_cleanup_policy_nothing_is_removed() {
    assert!(check_topic_entry("cleanup.policy", "").is_ok());
    let resolve = |policy: &str| {
        let topic = [
            ("cleanup.policy", policy),
            ("retention.bytes", "1"),
            ("retention.ms", "1"),
        ];
        let topic = topic.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let config = TopicConfig::resolve(&BTreeMap::new(), &topic);
        (config.retention_bytes, config.retention_ms)
    };
    assert_eq!(resolve("delete"), (1, 1));
    assert_eq!(resolve(""), (-1, -1));
}

#[test]
fn gzip_has_nine_levels_and_a_default_but_no_level_0() {
    for level in ["-1", "1", "9"] {
        assert!(check_topic_entry("compression.gzip.level", level).is_ok(), "{level}");
    }
    for level in ["-2", "0", "10"] {
        let error = check_topic_entry("compression.gzip.level", level).expect_err(level);
        assert!(
            error.to_string().ends_with("expected an integer from 1 to 9, or -1"),
            "{error}"
        );
    }
}

#[test]
fn refusals_are_sentences_that_say_what_to_do() {
    let text = |name: &str, value: &str| check_topic_entry(name, value).expect_err(name).to_string();
    assert_eq!(
        text("retention.ms", "a week"),
        "invalid value \"a week\" for config retention.ms: expected an integer of at least -1"
    );
    assert_eq!(
        text("segment.bytes", "3"),
        "invalid value \"3\" for config segment.bytes: expected an integer of at least 1048576"
    );
    assert_eq!(
        text("log.retention.ms", "1"),
        "unknown topic config \"log.retention.ms\", on a topic it is called \"retention.ms\""
    );
    assert_eq!(
        text("num.partitions", "1"),
        "unknown topic config \"num.partitions\", it belongs to the cluster, not to a topic"
    );
    assert_eq!(
        text("remote.storage.enable", "true"),
        "config remote.storage.enable=true is not supported by this version of Barnabas: supported is only the default \"false\""
    );
    assert_eq!(
        text("remote.log.manager.task.interval.ms", "1"),
        "unknown topic config \"remote.log.manager.task.interval.ms\", this version of Barnabas does not support it"
    );
    assert_eq!(
        text("log.retention.hours", "1"),
        "unknown topic config \"log.retention.hours\", on a topic it is called \"retention.ms\""
    );
    assert_eq!(text("retentoin.ms", "1"), "unknown topic config \"retentoin.ms\"");
    let error = check_cluster(&set(&[("retention.ms", "1")])).expect_err("topic name on the cluster");
    assert_eq!(
        error.to_string(),
        "unknown cluster config \"retention.ms\", for the whole cluster it is called \"log.retention.ms\""
    );
}

#[test]
fn the_topic_wins_over_the_cluster_and_the_cluster_over_the_default() {
    let cluster = set(&[("log.retention.ms", "1000"), ("min.insync.replicas", "2")]);
    let topic = set(&[("retention.ms", "5")]);
    assert_eq!(TopicConfig::resolve(&cluster, &topic).retention_ms, 5);
    assert_eq!(TopicConfig::resolve(&cluster, &set(&[])).retention_ms, 1000);
    assert_eq!(TopicConfig::default().retention_ms, 604_800_000);
    assert_eq!(TopicConfig::resolve(&cluster, &topic).min_insync_replicas, 2);
}

#[test]
fn a_setting_in_a_larger_unit_counts_where_the_smaller_one_is_not_set() {
    let resolved = |entries: &[(&str, &str)]| TopicConfig::resolve(&set(entries), &set(&[])).retention_ms;
    assert_eq!(resolved(&[("log.retention.hours", "2")]), 7_200_000);
    assert_eq!(
        resolved(&[("log.retention.hours", "2"), ("log.retention.minutes", "3")]),
        180_000
    );
    assert_eq!(resolved(&[("log.retention.hours", "2"), ("log.retention.ms", "5")]), 5);
    assert_eq!(resolved(&[("log.retention.hours", "-1")]), -1);
    assert_eq!(
        TopicConfig::resolve(&set(&[("log.roll.hours", "1")]), &set(&[])).segment_ms,
        3_600_000
    );
}

#[test]
fn every_setting_is_listed_the_one_that_counts_first() {
    let topic = set(&[("retention.ms", "5")]);
    let broker = set(&[("log.retention.ms", "6")]);
    let cluster = set(&[("log.retention.ms", "7"), ("num.partitions", "3")]);
    let fixed = set(&[("log.retention.hours", "8")]);
    let layers = Layers {
        topic: &topic,
        broker: &broker,
        cluster: &cluster,
        fixed: &fixed,
    };
    let listed = |name: &str| -> Vec<_> {
        let key = topic_key(name).or_else(|| cluster_key(name)).expect("a key");
        let settings = key.settings(layers);
        settings
            .iter()
            .map(|one| (one.name, one.in_own_unit().into_owned(), one.source))
            .collect()
    };
    let row = |name, value: &str, source| (name, value.to_owned(), source);
    assert_eq!(
        listed("retention.ms"),
        [
            row("retention.ms", "5", ConfigSource::Topic),
            row("log.retention.ms", "6", ConfigSource::Broker),
            row("log.retention.ms", "7", ConfigSource::Cluster),
            row("log.retention.hours", "28800000", ConfigSource::Static),
            row("log.retention.ms", "604800000", ConfigSource::Default),
        ]
    );
    // What only a restart changes is static, wherever it stands.
    assert_eq!(
        listed("num.partitions")[0],
        row("num.partitions", "3", ConfigSource::Static)
    );
}

#[test]
fn a_group_waits_longer_for_a_member_than_between_its_heartbeats() {
    let config = |pairs: &[(&str, &str)]| {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    };
    let wide = config(&[
        ("group.consumer.min.session.timeout.ms", "1"),
        ("group.consumer.min.heartbeat.interval.ms", "1"),
        ("group.consumer.heartbeat.interval.ms", "300"),
    ]);
    assert_eq!(
        check_group(&wide, &config(&[("consumer.session.timeout.ms", "301")])),
        Ok(())
    );
    assert!(check_group(&wide, &config(&[("consumer.session.timeout.ms", "300")])).is_err());
    let both = [
        ("consumer.session.timeout.ms", "300"),
        ("consumer.heartbeat.interval.ms", "299"),
    ];
    assert_eq!(check_group(&wide, &config(&both)), Ok(()));
    assert_eq!(check_group(&config(&[]), &config(&[])), Ok(()));
    assert!(
        check_group(&config(&[]), &config(&both)).is_err(),
        "the bounds are Kafka's"
    );
}

#[test]
fn a_list_is_taken_in_any_order_and_once() {
    assert_eq!(
        check_topic_entry("cleanup.policy", "delete, delete"),
        Ok(("cleanup.policy".to_owned(), "delete".to_owned()))
    );
    assert_eq!(
        check_topic_entry("cleanup.policy", ""),
        Ok(("cleanup.policy".to_owned(), String::new()))
    );
}
