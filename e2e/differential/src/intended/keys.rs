//! Config keys that only one side has, each by its name: one that is missing here is a difference.

use crate::compare::Difference;

/// Keys with one reason.
struct Keys {
    /// Why only one side has them.
    reason: &'static str,
    names: &'static [&'static str],
}

/// What only Kafka lists.
const KAFKAS: &[Keys] = &[
    Keys {
        reason: "encryption, authentication and authorization, which come later",
        names: &[
            "authorizer.class.name",
            "delegation.token.expiry.check.interval.ms",
            "delegation.token.expiry.time.ms",
            "delegation.token.max.lifetime.ms",
            "delegation.token.secret.key",
            "early.start.listeners",
            "principal.builder.class",
            "sasl.client.callback.handler.class",
            "sasl.enabled.mechanisms",
            "sasl.jaas.config",
            "sasl.kerberos.kinit.cmd",
            "sasl.kerberos.min.time.before.relogin",
            "sasl.kerberos.principal.to.local.rules",
            "sasl.kerberos.service.name",
            "sasl.kerberos.ticket.renew.jitter",
            "sasl.kerberos.ticket.renew.window.factor",
            "sasl.login.callback.handler.class",
            "sasl.login.class",
            "sasl.login.connect.timeout.ms",
            "sasl.login.read.timeout.ms",
            "sasl.login.refresh.buffer.seconds",
            "sasl.login.refresh.min.period.seconds",
            "sasl.login.refresh.window.factor",
            "sasl.login.refresh.window.jitter",
            "sasl.login.retry.backoff.max.ms",
            "sasl.login.retry.backoff.ms",
            "sasl.mechanism.controller.protocol",
            "sasl.mechanism.inter.broker.protocol",
            "sasl.oauthbearer.assertion.algorithm",
            "sasl.oauthbearer.assertion.claim.aud",
            "sasl.oauthbearer.assertion.claim.exp.seconds",
            "sasl.oauthbearer.assertion.claim.iss",
            "sasl.oauthbearer.assertion.claim.jti.include",
            "sasl.oauthbearer.assertion.claim.nbf.seconds",
            "sasl.oauthbearer.assertion.claim.sub",
            "sasl.oauthbearer.assertion.file",
            "sasl.oauthbearer.assertion.private.key.file",
            "sasl.oauthbearer.assertion.private.key.passphrase",
            "sasl.oauthbearer.assertion.template.file",
            "sasl.oauthbearer.client.credentials.client.id",
            "sasl.oauthbearer.client.credentials.client.secret",
            "sasl.oauthbearer.clock.skew.seconds",
            "sasl.oauthbearer.expected.audience",
            "sasl.oauthbearer.expected.issuer",
            "sasl.oauthbearer.jwks.endpoint.refresh.ms",
            "sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms",
            "sasl.oauthbearer.jwks.endpoint.retry.backoff.ms",
            "sasl.oauthbearer.jwks.endpoint.url",
            "sasl.oauthbearer.jwt.retriever.class",
            "sasl.oauthbearer.jwt.validator.class",
            "sasl.oauthbearer.scope",
            "sasl.oauthbearer.scope.claim.name",
            "sasl.oauthbearer.sub.claim.name",
            "sasl.oauthbearer.token.endpoint.url",
            "sasl.server.callback.handler.class",
            "sasl.server.max.receive.size",
            "security.inter.broker.protocol",
            "security.providers",
            "ssl.allow.dn.changes",
            "ssl.allow.san.changes",
            "ssl.cipher.suites",
            "ssl.client.auth",
            "ssl.enabled.protocols",
            "ssl.endpoint.identification.algorithm",
            "ssl.engine.factory.class",
            "ssl.key.password",
            "ssl.keymanager.algorithm",
            "ssl.keystore.certificate.chain",
            "ssl.keystore.key",
            "ssl.keystore.location",
            "ssl.keystore.password",
            "ssl.keystore.type",
            "ssl.principal.mapping.rules",
            "ssl.protocol",
            "ssl.provider",
            "ssl.secure.random.implementation",
            "ssl.trustmanager.algorithm",
            "ssl.truststore.certificates",
            "ssl.truststore.location",
            "ssl.truststore.password",
            "ssl.truststore.type",
        ],
    },
    Keys {
        reason: "tiered storage, which is not here",
        names: &[
            "remote.fetch.max.wait.ms",
            "remote.list.offsets.request.timeout.ms",
            "remote.log.index.file.cache.total.size.bytes",
            "remote.log.manager.copier.thread.pool.size",
            "remote.log.manager.copy.max.bytes.per.second",
            "remote.log.manager.copy.quota.window.num",
            "remote.log.manager.copy.quota.window.size.seconds",
            "remote.log.manager.expiration.thread.pool.size",
            "remote.log.manager.fetch.max.bytes.per.second",
            "remote.log.manager.fetch.quota.window.num",
            "remote.log.manager.fetch.quota.window.size.seconds",
            "remote.log.manager.follower.thread.pool.size",
            "remote.log.manager.task.interval.ms",
            "remote.log.manager.thread.pool.size",
            "remote.log.metadata.custom.metadata.max.bytes",
            "remote.log.metadata.manager.class.name",
            "remote.log.metadata.manager.class.path",
            "remote.log.metadata.manager.impl.prefix",
            "remote.log.metadata.manager.listener.name",
            "remote.log.reader.max.pending.tasks",
            "remote.log.reader.threads",
            "remote.log.storage.manager.class.name",
            "remote.log.storage.manager.class.path",
            "remote.log.storage.manager.impl.prefix",
            "remote.log.storage.system.enable",
        ],
    },
    Keys {
        reason: "share and streams groups, which come later",
        names: &[
            "group.share.assignment.interval.ms",
            "group.share.assignors",
            "group.share.delivery.count.limit",
            "group.share.heartbeat.interval.ms",
            "group.share.max.assignment.interval.ms",
            "group.share.max.delivery.count.limit",
            "group.share.max.heartbeat.interval.ms",
            "group.share.max.partition.max.record.locks",
            "group.share.max.record.lock.duration.ms",
            "group.share.max.session.timeout.ms",
            "group.share.max.share.sessions",
            "group.share.max.size",
            "group.share.min.assignment.interval.ms",
            "group.share.min.delivery.count.limit",
            "group.share.min.heartbeat.interval.ms",
            "group.share.min.partition.max.record.locks",
            "group.share.min.record.lock.duration.ms",
            "group.share.min.session.timeout.ms",
            "group.share.partition.max.record.locks",
            "group.share.record.lock.duration.ms",
            "group.share.session.timeout.ms",
            "group.streams.assignment.interval.ms",
            "group.streams.heartbeat.interval.ms",
            "group.streams.initial.rebalance.delay.ms",
            "group.streams.max.assignment.interval.ms",
            "group.streams.max.heartbeat.interval.ms",
            "group.streams.max.session.timeout.ms",
            "group.streams.max.size",
            "group.streams.max.standby.replicas",
            "group.streams.min.assignment.interval.ms",
            "group.streams.min.heartbeat.interval.ms",
            "group.streams.min.session.timeout.ms",
            "group.streams.num.standby.replicas",
            "group.streams.session.timeout.ms",
            "share.assignment.interval.ms",
            "share.auto.offset.reset",
            "share.coordinator.append.linger.ms",
            "share.coordinator.cached.buffer.max.bytes",
            "share.coordinator.load.buffer.size",
            "share.coordinator.snapshot.update.records.per.snapshot",
            "share.coordinator.state.topic.compression.codec",
            "share.coordinator.state.topic.min.isr",
            "share.coordinator.state.topic.num.partitions",
            "share.coordinator.state.topic.replication.factor",
            "share.coordinator.state.topic.segment.bytes",
            "share.coordinator.threads",
            "share.coordinator.write.timeout.ms",
            "share.delivery.count.limit",
            "share.fetch.purgatory.purge.interval.requests",
            "share.heartbeat.interval.ms",
            "share.isolation.level",
            "share.partition.max.record.locks",
            "share.record.lock.duration.ms",
            "share.renew.acknowledge.enable",
            "share.session.timeout.ms",
            "streams.assignment.interval.ms",
            "streams.heartbeat.interval.ms",
            "streams.initial.rebalance.delay.ms",
            "streams.num.standby.replicas",
            "streams.session.timeout.ms",
        ],
    },
    Keys {
        reason: "transactions, which come later",
        names: &[
            "add.partitions.to.txn.retry.backoff.max.ms",
            "add.partitions.to.txn.retry.backoff.ms",
            "transaction.abort.timed.out.transaction.cleanup.interval.ms",
            "transaction.max.timeout.ms",
            "transaction.partition.verification.enable",
            "transaction.remove.expired.transaction.cleanup.interval.ms",
            "transaction.state.log.load.buffer.size",
            "transaction.state.log.min.isr",
            "transaction.state.log.num.partitions",
            "transaction.state.log.replication.factor",
            "transaction.state.log.segment.bytes",
            "transaction.two.phase.commit.enable",
            "transactional.id.expiration.ms",
        ],
    },
    Keys {
        reason: "quotas, which come later, and how rates are measured",
        names: &[
            "alter.log.dirs.replication.quota.window.num",
            "alter.log.dirs.replication.quota.window.size.seconds",
            "client.quota.callback.class",
            "controller.quota.window.num",
            "controller.quota.window.size.seconds",
            "quota.window.num",
            "quota.window.size.seconds",
            "replication.quota.window.num",
            "replication.quota.window.size.seconds",
        ],
    },
    Keys {
        reason: "the quorum of KRaft, which does not exist here",
        names: &[
            "broker.heartbeat.interval.ms",
            "broker.session.timeout.ms",
            "controller.listener.names",
            "controller.quorum.append.linger.ms",
            "controller.quorum.auto.join.enable",
            "controller.quorum.bootstrap.servers",
            "controller.quorum.election.backoff.max.ms",
            "controller.quorum.election.timeout.ms",
            "controller.quorum.fetch.max.bytes",
            "controller.quorum.fetch.snapshot.max.bytes",
            "controller.quorum.fetch.timeout.ms",
            "controller.quorum.request.timeout.ms",
            "controller.quorum.retry.backoff.ms",
            "controller.quorum.voters",
            "controller.socket.timeout.ms",
            "initial.broker.registration.timeout.ms",
            "metadata.log.dir",
            "metadata.log.max.record.bytes.between.snapshots",
            "metadata.log.max.snapshot.interval.ms",
            "metadata.log.segment.bytes",
            "metadata.log.segment.ms",
            "metadata.max.idle.interval.ms",
            "metadata.max.retention.bytes",
            "metadata.max.retention.ms",
            "process.roles",
        ],
    },
    Keys {
        reason: "the log cleaner, which comes with compaction",
        names: &[
            "log.cleaner.backoff.ms",
            "log.cleaner.dedupe.buffer.size",
            "log.cleaner.enable",
            "log.cleaner.io.buffer.load.factor",
            "log.cleaner.io.buffer.size",
            "log.cleaner.io.max.bytes.per.second",
            "log.cleaner.threads",
        ],
    },
    Keys {
        reason: "what is fixed, found by itself or named on the command line here",
        names: &[
            "alter.config.policy.class.name",
            "background.threads",
            "config.providers",
            "connection.failed.authentication.delay.ms",
            "connections.max.reauth.ms",
            "consumer.assignment.interval.ms",
            "cordoned.log.dirs",
            "create.topic.policy.class.name",
            "delete.records.purgatory.purge.interval.requests",
            "fetch.max.bytes",
            "fetch.purgatory.purge.interval.requests",
            "follower.fetch.last.tiered.offset.enable",
            "group.consumer.assignment.interval.ms",
            "group.consumer.max.assignment.interval.ms",
            "group.consumer.min.assignment.interval.ms",
            "group.coordinator.append.linger.ms",
            "group.coordinator.background.threads",
            "group.coordinator.cached.buffer.max.bytes",
            "group.coordinator.rebalance.protocols",
            "group.coordinator.threads",
            "inter.broker.listener.name",
            "kafka.metrics.polling.interval.secs",
            "kafka.metrics.reporters",
            "listener.security.protocol.map",
            "listeners",
            "log.dir",
            "log.dir.failure.timeout.ms",
            "log.dirs",
            "log.flush.offset.checkpoint.interval.ms",
            "log.flush.scheduler.interval.ms",
            "log.flush.start.offset.checkpoint.interval.ms",
            "log.retention.check.interval.ms",
            "log.roll.jitter.hours",
            "max.connection.creation.rate",
            "max.connections",
            "max.connections.per.ip",
            "max.connections.per.ip.overrides",
            "max.request.partition.size.limit",
            "metric.reporters",
            "metrics.num.samples",
            "metrics.recording.level",
            "metrics.sample.window.ms",
            "min.insync.replicas",
            "num.io.threads",
            "num.network.threads",
            "num.recovery.threads.per.data.dir",
            "num.replica.alter.log.dirs.threads",
            "num.replica.fetchers",
            "offsets.load.buffer.size",
            "offsets.topic.compression.codec",
            "producer.purgatory.purge.interval.requests",
            "queued.max.request.bytes",
            "queued.max.requests",
            "replica.fetch.backoff.ms",
            "replica.fetch.max.bytes",
            "replica.fetch.min.bytes",
            "replica.fetch.response.max.bytes",
            "replica.fetch.wait.max.ms",
            "replica.high.watermark.checkpoint.interval.ms",
            "replica.socket.receive.buffer.bytes",
            "replica.socket.timeout.ms",
            "request.timeout.ms",
            "socket.connection.setup.timeout.max.ms",
            "socket.connection.setup.timeout.ms",
            "socket.listen.backlog.size",
            "socket.receive.buffer.bytes",
            "socket.request.max.bytes",
            "socket.send.buffer.bytes",
            "telemetry.max.bytes",
        ],
    },
];

/// What only Barnabas lists.
const OURS: &[Keys] = &[Keys {
    reason: "throttles, which Kafka has and does not list, and what is refused by name but for its default",
    names: &[
        "follower.replication.throttled.rate",
        "follower.replication.throttled.replicas",
        "leader.replication.throttled.rate",
        "leader.replication.throttled.replicas",
        "remote.log.copy.disable",
        "remote.log.delete.on.disable",
        "remote.storage.enable",
    ],
}];

/// The key, if the difference is that one side has it and the other does not, and that is meant.
pub(crate) fn explains(difference: &Difference) -> Option<&'static str> {
    let (_, name) = difference.path.rsplit_once(".configs[")?;
    let name = name.strip_suffix(']')?;
    let lists = match (&difference.kafka, &difference.barnabas) {
        (Some(_), None) => KAFKAS,
        (None, Some(_)) => OURS,
        _ => return None,
    };
    let mut names = lists.iter().flat_map(|keys| keys.names);
    names.find(|listed| **listed == name).copied()
}

/// Every key of either list.
pub(crate) fn listed() -> impl Iterator<Item = &'static str> {
    KAFKAS.iter().chain(OURS).flat_map(|keys| keys.names).copied()
}

/// Its part of `docs/differences.md`.
pub(crate) fn document(text: &mut String) {
    text.push_str("\n## Configs of one side\nEvery key that is listed is obeyed, so what would change nothing here is not listed. Kept without effect are only those of a topic that say how to compact and what of tiered segments stays, `preallocate` and `compression.lz4.level`: tools that bring a topic's whole configuration send them all.\n");
    for (side, lists) in [("Only Kafka", KAFKAS), ("Only Barnabas", OURS)] {
        for keys in lists {
            text.extend(["\n", side, ", ", keys.reason, ":\n"]);
            for name in keys.names {
                text.extend(["`", name, "` "]);
            }
            text.truncate(text.trim_end().len());
            text.push('\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_key_that_one_side_has_is_explained_by_its_name_and_side_alone() {
        let key = KAFKAS[0].names[0];
        let difference = |path: &str, kafka: bool, barnabas: bool| Difference {
            path: path.to_owned(),
            kafka: kafka.then(|| json!({})),
            barnabas: barnabas.then(|| json!({})),
        };
        let path = format!("results[4 0].configs[{key}]");
        assert_eq!(explains(&difference(&path, true, false)), Some(key));
        assert_eq!(explains(&difference(&path, false, true)), None);
        assert_eq!(explains(&difference(&path, true, true)), None);
        assert_eq!(explains(&difference(&format!("{path}.value"), true, false)), None);
        assert_eq!(
            explains(&difference("results[4 0].configs[num.partitions]", true, false)),
            None
        );
    }

    #[test]
    fn every_key_is_listed_once() {
        let mut names: Vec<_> = listed().collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
