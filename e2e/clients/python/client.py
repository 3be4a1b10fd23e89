#!/usr/bin/env python3
"""client.py ADDRESS: confluent-kafka (librdkafka) behind the commands of ../README.md."""

import base64
import json
import os
import sys
import threading
import time

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
)

PATIENCE, LARGE = 30, 16 << 20
ADDRESS = sys.argv[1]
OUT = os.fdopen(os.dup(1), "w", encoding="utf-8")
OUT_LOCK = threading.Lock()


def say(line):
    """One line on stdout, whole, whichever thread says it."""
    with OUT_LOCK:
        OUT.write(json.dumps(line) + "\n")
        OUT.flush()


def encoded(data):
    return None if data is None else base64.b64encode(data).decode()


def decoded(text):
    return None if text is None else base64.b64decode(text)


def produce(command):
    producer = Producer(
        {
            "bootstrap.servers": ADDRESS,
            "compression.type": command["compression"],
            "acks": command.get("acks", "all"),
            "enable.idempotence": command.get("idempotent", True),
            "message.max.bytes": LARGE,
            "linger.ms": 20,
        }
    )
    records, failures = command["records"], []
    offsets = [None] * len(records)
    for index, record in enumerate(records):

        def delivered(error, message, index=index):
            if error is not None:
                failures.append(error)
            else:
                offsets[index] = message.offset()

        given = {"timestamp": record["timestamp"]} if record.get("timestamp") is not None else {}
        headers = [(name, decoded(value)) for name, value in record.get("headers") or []]
        producer.produce(
            command["topic"], decoded(record["value"]), decoded(record["key"]), partition=record["partition"], headers=headers, on_delivery=delivered, **given
        )
        producer.poll(0)
    left = producer.flush(PATIENCE)
    if failures:
        raise KafkaException(failures[0])
    assert left == 0, f"{left} records are unsent after {PATIENCE} s"
    return {"offsets": offsets}


def consumer(**settings):
    return Consumer({"bootstrap.servers": ADDRESS, "group.id": "nobody", "enable.auto.commit": False, "auto.offset.reset": "error", **settings})


def consume(command):
    reader, topic, records = consumer(), command["topic"], []
    ends = {partition: end for partition, start, end in command["partitions"] if start < end}
    reader.assign([TopicPartition(topic, partition, start) for partition, start, end in command["partitions"] if start < end])
    deadline = time.monotonic() + PATIENCE
    while ends:
        assert time.monotonic() < deadline, f"only {len(records)} records after {PATIENCE} s"
        for message in reader.consume(1000, 0.1):
            if message.error() is not None:
                raise KafkaException(message.error())
            end = ends.get(message.partition())
            if end is None:
                continue
            if message.offset() < end:
                records.append(
                    {
                        "partition": message.partition(),
                        "offset": message.offset(),
                        "timestamp": message.timestamp()[1],
                        "key": encoded(message.key()),
                        "value": encoded(message.value()),
                        "headers": [[name, encoded(value)] for name, value in message.headers() or []],
                    }
                )
            if message.offset() + 1 >= end:
                del ends[message.partition()]
    reader.close()
    return {"records": records}


def offsets(command):
    reader, topic, at = consumer(), command["topic"], command["at"]
    if isinstance(at, int):
        found = reader.offsets_for_times([TopicPartition(topic, partition, at) for partition in command["partitions"]], timeout=PATIENCE)
        listed = [partition.offset for partition in found]
    else:
        index = 0 if at == "earliest" else 1
        listed = [reader.get_watermark_offsets(TopicPartition(topic, partition), timeout=PATIENCE)[index] for partition in command["partitions"]]
    reader.close()
    return {"offsets": listed}


class Member(threading.Thread):
    """A member of a group: says what it is given and what it reads, and commits only what it has said."""

    def __init__(self, command):
        super().__init__()
        settings = {"group.id": command["group"], "auto.offset.reset": "earliest"}
        if command.get("instance"):
            settings["group.instance.id"] = command["instance"]
        if command.get("protocol") == "consumer":
            settings["group.protocol"] = "consumer"
        else:
            settings |= {"session.timeout.ms": command.get("session_ms", 6000), "heartbeat.interval.ms": 500, "partition.assignment.strategy": command.get("assignor", "roundrobin")}
        self.topic, self.reader, self.leaving = command["topic"], consumer(**settings), threading.Event()
        self.uncommitted = {}  # a group that is between two assignments refuses commits for a moment

    def run(self):
        def assigned(_, partitions):
            say({"event": "assigned", "partitions": [each.partition for each in partitions]})

        def revoked(_, partitions):
            say({"event": "revoked", "partitions": [each.partition for each in partitions]})
            for each in partitions:
                self.uncommitted.pop(each.partition, None)

        self.reader.subscribe([self.topic], on_assign=assigned, on_revoke=revoked, on_lost=revoked)
        while not self.leaving.is_set():
            self.read(self.reader.consume(1000, 0.1))
        self.reader.close()

    def leave(self):
        self.leaving.set()
        self.join()

    def read(self, batch):
        records = []
        for message in batch:
            if message.error() is not None:
                say({"event": "trouble", "why": str(message.error())})
                continue
            records.append([message.partition(), message.offset(), message.value().decode()])
            self.uncommitted[message.partition()] = message.offset() + 1
        if records:
            say({"event": "records", "records": records})
        if self.uncommitted:
            self.commit(dict(self.uncommitted))

    def commit(self, offsets):
        try:
            done = self.reader.commit(offsets=[TopicPartition(self.topic, partition, offset) for partition, offset in offsets.items()], asynchronous=False)
            for partition in done:
                if partition.error is not None:
                    raise KafkaException(partition.error)
        except KafkaException as problem:
            say({"event": "trouble", "why": str(problem)})
            return
        self.uncommitted.clear()
        say({"event": "committed", "offsets": list(offsets.items())})


class Admin:
    def __init__(self):
        self.client = AdminClient({"bootstrap.servers": ADDRESS})

    def create_topic(self, command):
        topic = NewTopic(command["topic"], command["partitions"], 1, config=command.get("configs") or {})
        only(self.client.create_topics([topic])).result(PATIENCE)

    def delete_topic(self, command):
        only(self.client.delete_topics([command["topic"]])).result(PATIENCE)

    def list_topics(self, _):
        return {"topics": list(self.client.list_topics(timeout=PATIENCE).topics)}

    def create_partitions(self, command):
        only(self.client.create_partitions([NewPartitions(command["topic"], command["count"])])).result(PATIENCE)
        self.client = AdminClient({"bootstrap.servers": ADDRESS})  # the old one would look for leaders among the partitions it knew before

    @staticmethod
    def resource(command, **more):
        if "broker" in command:
            return ConfigResource(ConfigResource.Type.BROKER, command["broker"], **more)
        return ConfigResource(ConfigResource.Type.TOPIC, command["topic"], **more)

    def describe_configs(self, command):
        entries = only(self.client.describe_configs([self.resource(command)])).result(PATIENCE)
        return {"configs": {name: entry.value for name, entry in entries.items()}}

    def alter_configs(self, command):
        changes = [ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in command["configs"].items()]
        only(self.client.incremental_alter_configs([self.resource(command, incremental_configs=changes)])).result(PATIENCE)

    def delete_records(self, command):
        deleted = only(self.client.delete_records([TopicPartition(command["topic"], command["partition"], command["before"])])).result(PATIENCE)
        return {"low": deleted.low_watermark}

    def list_offsets(self, command):
        at = command["at"]
        if isinstance(at, int):
            spec = OffsetSpec.for_timestamp(at)
        else:
            spec = {"earliest": OffsetSpec.earliest, "latest": OffsetSpec.latest, "max": OffsetSpec.max_timestamp}[at]()
        asked = [TopicPartition(command["topic"], partition) for partition in command["partitions"]]
        found = {partition.partition: future.result(PATIENCE).offset for partition, future in self.client.list_offsets({each: spec for each in asked}).items()}
        return {"offsets": [found[partition] for partition in command["partitions"]]}

    def list_groups(self, _):
        return {"groups": [group.group_id for group in self.client.list_consumer_groups().result(PATIENCE).valid]}

    def describe_group(self, command):
        group = only(self.client.describe_consumer_groups([command["group"]])).result(PATIENCE)
        members = [
            {
                "instance": member.group_instance_id,
                "client": member.client_id,
                "partitions": sorted(partition.partition for partition in member.assignment.topic_partitions),
            }
            for member in group.members
        ]
        return {"state": group.state.name.title().replace("_", ""), "members": members}

    def delete_group(self, command):
        only(self.client.delete_consumer_groups([command["group"]])).result(PATIENCE)

    def group_offsets(self, command):
        found = only(self.client.list_consumer_group_offsets([ConsumerGroupTopicPartitions(command["group"])])).result(PATIENCE)
        return {"offsets": [[each.partition, each.offset, each.metadata or ""] for each in sorted(found.topic_partitions, key=lambda each: each.partition)]}

    def set_group_offset(self, command):
        offset = TopicPartition(command["topic"], command["partition"], command["offset"], command.get("metadata", ""))
        done = only(self.client.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(command["group"], [offset])])).result(PATIENCE)
        for partition in done.topic_partitions:
            if partition.error is not None:
                raise KafkaException(partition.error)

    def describe_cluster(self, _):
        cluster = self.client.describe_cluster().result(PATIENCE)
        return {"cluster": cluster.cluster_id, "controller": cluster.controller.id, "brokers": [[node.id, node.host, node.port] for node in cluster.nodes]}


def only(futures):
    (future,) = futures.values()
    return future


def failure(problem):
    error = problem.args[0] if isinstance(problem, KafkaException) else None
    if isinstance(error, KafkaError):
        return {"error": str(error), "code": error.name()}
    return {"error": repr(problem)}


def main():
    admin, member = Admin(), None
    for line in sys.stdin:
        command = json.loads(line)
        try:
            match command["do"]:
                case "produce" | "consume" | "offsets" as name:
                    say(globals()[name](command))
                case "join":
                    member = Member(command)
                    member.start()
                    say({})
                case "leave":
                    if member is not None:
                        member.leave()
                    member = None
                    say({})
                case name:
                    say(getattr(admin, name)(command) or {})
        except Exception as problem:  # whatever goes wrong is the answer
            say(failure(problem))
    if member is not None:
        member.leave()


main()
