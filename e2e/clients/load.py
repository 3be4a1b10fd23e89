#!/usr/bin/env python3
"""load.py BOOTSTRAP TOPIC REPORT: writes and reads until SIGTERM, then says what a client noticed.

An error is anything that reaches the program: a failed delivery, a failed fetch, or the library's own report that brokers are down. Every record acknowledged must have been read, in order. REPORT is rewritten every half second as
`acknowledged read errors slowest-ms`, so that a test can watch.
"""

import os
import signal
import sys
import threading
import time

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

STOPPING = threading.Event()
PAUSE = 0.002  # about 400 records a second: enough to notice, and little beside what is tested


class Tally:
    def __init__(self):
        self.lock = threading.Lock()
        self.acknowledged, self.read, self.slowest, self.errors = {}, {}, 0.0, []

    def error(self, text):
        with self.lock:
            self.errors.append(f"{time.strftime('%H:%M:%S')} {text}")


def main():
    bootstrap, topic, report = sys.argv[1:4]
    signal.signal(signal.SIGTERM, lambda *_: STOPPING.set())
    tally = Tally()
    settings = {"bootstrap.servers": bootstrap, "error_cb": lambda error: tally.error(f"library: {error}")}
    consumer = Consumer({**settings, "group.id": "load", "enable.auto.commit": False, "auto.offset.reset": "error"})
    partitions = sorted(consumer.list_topics(topic, 20).topics[topic].partitions)
    starts = [TopicPartition(topic, p, consumer.get_watermark_offsets(TopicPartition(topic, p), 20)[1]) for p in partitions]
    consumer.assign(starts)
    reader = threading.Thread(target=read, args=(consumer, tally, {start.partition: start.offset for start in starts}))
    writer = threading.Thread(target=write, args=(settings, topic, partitions, tally))
    reader.start()
    writer.start()
    while not STOPPING.is_set():
        publish(report, tally)
        STOPPING.wait(0.5)
    writer.join()
    deadline = time.monotonic() + 20
    while tally.acknowledged.keys() - tally.read.keys() and time.monotonic() < deadline:
        time.sleep(0.1)
    READ_ENOUGH.set()
    reader.join()
    publish(report, tally)
    finish(tally)


READ_ENOUGH = threading.Event()


def write(settings, topic, partitions, tally):
    producer = Producer({**settings, "enable.idempotence": True, "linger.ms": 0, "delivery.timeout.ms": 30_000})

    def report(error, message, sent):
        elapsed = (time.monotonic() - sent) * 1000
        with tally.lock:
            tally.slowest = max(tally.slowest, elapsed)
        if error is not None:
            tally.error(f"produce: {error}")
        else:
            tally.acknowledged[(message.partition(), message.offset())] = message.value()

    number = 0
    while not STOPPING.is_set():
        sent = time.monotonic()
        partition = partitions[number % len(partitions)]
        producer.produce(topic, f"{os.getpid()}-{number}".encode(), partition=partition, on_delivery=lambda e, m, s=sent: report(e, m, s))
        number += 1
        producer.poll(0)
        time.sleep(PAUSE)
    if producer.flush(40):
        tally.error("produce: records unsettled after 40 s")


def read(consumer, tally, due):
    while not READ_ENOUGH.is_set():
        for message in consumer.consume(500, 0.2):
            if message.error() is not None:
                if message.error().code() != KafkaError._PARTITION_EOF:
                    tally.error(f"fetch: {message.error()}")
                continue
            partition = message.partition()
            if message.offset() != due[partition]:
                tally.error(f"fetch: partition {partition} offset {message.offset()} where {due[partition]} was due")
            due[partition] = message.offset() + 1
            tally.read[(partition, message.offset())] = message.value()


def publish(report, tally):
    with open(f"{report}.new", "w", encoding="ascii") as file:
        file.write(f"{len(tally.acknowledged)} {len(tally.read)} {len(tally.errors)} {tally.slowest:.0f}\n")
    os.replace(f"{report}.new", report)


def finish(tally):
    changed = [place for place, value in tally.acknowledged.items() if tally.read.get(place) != value]
    if changed:
        tally.error(f"{len(changed)} acknowledged records were not read, or read changed; the first at {min(changed)}")
    for error in tally.errors[:20]:
        print(error)
    print(f"{len(tally.acknowledged)} records written and read, {len(tally.errors)} errors, slowest acknowledgement {tally.slowest:.0f} ms")
    sys.exit(bool(tally.errors))


main()
