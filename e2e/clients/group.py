#!/usr/bin/env python3
"""group.py ADDRESS COUNT: a consumer group shares a topic of six partitions; members leave, commits stay, nothing is skipped."""

import sys
import time

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

TOPIC, PARTITIONS, PATIENCE = "shared", 6, 60


def produce(address, numbers):
    failures = []
    producer = Producer({"bootstrap.servers": address, "enable.idempotence": True, "linger.ms": 5, "queue.buffering.max.messages": 200_000})
    for number in numbers:
        producer.produce(TOPIC, str(number), partition=number % PARTITIONS, on_delivery=lambda error, _: error and failures.append(str(error)))
        producer.poll(0)
    assert producer.flush(PATIENCE) == 0 and not failures, f"records are not delivered: {failures[:1]}"


def member(address):
    consumer = Consumer({"bootstrap.servers": address, "group.id": "readers", "enable.auto.commit": False, "auto.offset.reset": "earliest"})
    consumer.subscribe([TOPIC])
    return consumer


def read(members, wanted):
    """Lets the members poll in turn, committing as they go, until everything wanted was seen. Returns who saw how many."""
    missing, seen, deadline = set(wanted), [0] * len(members), time.monotonic() + PATIENCE
    while missing:
        assert time.monotonic() < deadline, f"{len(missing)} records not seen after {PATIENCE} s, the first {min(missing)}"
        for index, consumer in enumerate(members):
            batch = consumer.consume(2000, 0.05)
            for message in batch:
                assert message.error() is None, message.error()
                missing.discard(int(message.value()))
            seen[index] += len(batch)
            if batch:
                consumer.commit(asynchronous=False)
    return seen


def main():
    address, count = sys.argv[1], int(sys.argv[2])
    admin = AdminClient({"bootstrap.servers": address})
    admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1)])[TOPIC].result(30)

    members = [member(address) for _ in range(3)]
    deadline = time.monotonic() + PATIENCE
    while not all(len(consumer.assignment()) == PARTITIONS / len(members) for consumer in members):
        assert time.monotonic() < deadline, f"the partitions are not shared after {PATIENCE} s: {[len(m.assignment()) for m in members]}"
        for consumer in members:
            consumer.poll(0.05)
    produce(address, range(count))
    seen = read(members, range(count))
    assert all(seen), f"a member saw nothing: {seen}"

    members.pop().close()
    produce(address, range(count, 2 * count))
    read(members, range(count, 2 * count))
    for consumer in members:
        consumer.close()

    # Who joins now begins at the commits: of the first 2 * count records not one comes again.
    produce(address, range(2 * count, 2 * count + 100))
    last = member(address)
    (again,) = read([last], range(2 * count, 2 * count + 100))
    last.close()
    assert again == 100, f"{again} records after the commits, 100 were written"
    print(f"{2 * count + 100} records, shared {seen} by three")


main()
