#!/usr/bin/env python3
"""python_client.py ADDRESS TOPIC COUNT: confluent-kafka writes COUNT records with an idempotent producer and reads them back, bit for bit."""

import hashlib
import sys

from confluent_kafka import Consumer, Producer, TopicPartition


def record(number):
    """Keys, values and headers of every shape: none, empty, every byte."""
    digest = hashlib.sha256(str(number).encode()).digest()
    key = None if number % 5 == 0 else digest[: number % 9]
    value = None if number % 97 == 0 else digest * (number % 7)
    headers = [("number", str(number).encode()), ("empty", b""), ("none", None)] if number % 11 == 0 else None
    return key, value, headers


def main():
    address, topic, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    failures = []
    producer = Producer({"bootstrap.servers": address, "enable.idempotence": True, "linger.ms": 5, "queue.buffering.max.messages": 200_000})

    def report(error, message):
        if error is not None:
            failures.append(str(error))

    for number in range(count):
        key, value, headers = record(number)
        while True:
            try:
                producer.produce(topic, value, key, partition=0, headers=headers, on_delivery=report)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    assert producer.flush(120) == 0, "records are left unsent after 120 s"
    assert not failures, f"{len(failures)} records failed, the first by {failures[0]}"

    consumer = Consumer({"bootstrap.servers": address, "group.id": "test", "enable.auto.commit": False, "auto.offset.reset": "error"})
    consumer.assign([TopicPartition(topic, 0, 0)])
    number = 0
    while number < count:
        messages = consumer.consume(10_000, 30)
        assert messages, f"no record for 30 s at offset {number}"
        for message in messages:
            assert message.error() is None, message.error()
            assert message.offset() == number, f"offset {message.offset()} where {number} was due"
            expected = record(number)
            got = (message.key(), message.value(), message.headers())
            assert got == expected, f"offset {number}: {got} is not {expected}"
            number += 1
    print(f"{count} records, idempotent")


main()
