#!/usr/bin/env python3
"""load.py BOOTSTRAP TOPIC REPORT [restarts] [not-led-by=ID]: writes and reads until SIGTERM, then says what a client noticed.

An error is anything that reaches the program: a failed delivery, a failed fetch, or the library's own report that brokers are down. Every record acknowledged must have been read, in order. REPORT is rewritten every half second as
`acknowledged read errors slowest-ms`, so that a test can watch.
With `restarts`, brokers are restarted on purpose: what the library says of lost connections is no error, and a delivery may take as long
as the library's own default allows. With `not-led-by`, the partitions that this broker leads at the beginning are left out.
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
        # The library knows no offset of a record that a broker had already, and says so only of its second sending.
        self.somewhere = set()

    def error(self, text):
        with self.lock:
            self.errors.append(f"{time.strftime('%H:%M:%S')} {text}")


def main():
    bootstrap, topic, report = sys.argv[1:4]
    options = dict(option.partition("=")[::2] for option in sys.argv[4:])
    restarts = "restarts" in options
    signal.signal(signal.SIGTERM, lambda *_: STOPPING.set())
    tally = Tally()
    settings = {"bootstrap.servers": bootstrap}
    if not restarts:
        settings["error_cb"] = lambda error: tally.error(f"library: {error}")
    consumer = Consumer({**settings, "group.id": "load", "enable.auto.commit": False, "auto.offset.reset": "error"})
    described = consumer.list_topics(topic, 20).topics[topic].partitions
    partitions = sorted(number for number, partition in described.items() if str(partition.leader) != options.get("not-led-by"))
    starts = [TopicPartition(topic, p, consumer.get_watermark_offsets(TopicPartition(topic, p), 20)[1]) for p in partitions]
    consumer.assign(starts)
    reader = threading.Thread(target=surely, args=(tally, read, consumer, tally, {start.partition: start.offset for start in starts}))
    writer = threading.Thread(target=surely, args=(tally, write, settings if restarts else {**settings, "delivery.timeout.ms": 30_000}, topic, partitions, tally))
    reader.start()
    writer.start()
    while not STOPPING.is_set():
        publish(report, tally)
        STOPPING.wait(0.5)
    writer.join()
    deadline = time.monotonic() + 20
    while (tally.acknowledged.keys() - tally.read.keys() or missing(tally)) and time.monotonic() < deadline:
        time.sleep(0.1)
    READ_ENOUGH.set()
    reader.join()
    publish(report, tally)
    finish(tally)


READ_ENOUGH = threading.Event()


def missing(tally):
    """Of the records acknowledged without an offset, those that were not read."""
    return tally.somewhere and tally.somewhere - {(partition, value) for (partition, _), value in list(tally.read.items())}


def surely(tally, work, *arguments):
    """A thread that dies is what a client noticed, too."""
    try:
        work(*arguments)
    except Exception as problem:
        tally.error(f"{work.__name__}: {problem!r}")


def write(settings, topic, partitions, tally):
    producer = Producer({**settings, "enable.idempotence": True, "linger.ms": 0})

    def report(error, message, sent):
        elapsed = (time.monotonic() - sent) * 1000
        with tally.lock:
            tally.slowest = max(tally.slowest, elapsed)
        if error is not None:
            tally.error(f"produce: {error}")
        elif message.offset() is None or message.offset() < 0:
            tally.somewhere.add((message.partition(), message.value()))
        else:
            tally.acknowledged[(message.partition(), message.offset())] = message.value()

    # The library asks for a producer id half a second after its start: no wait of a broker's, so the first record is not timed.
    producer.produce(topic, f"{os.getpid()}-first".encode(), partition=partitions[0], on_delivery=lambda e, m: report(e, m, time.monotonic()))
    producer.flush(40)
    number = 0
    while not STOPPING.is_set():
        sent = time.monotonic()
        partition = partitions[number % len(partitions)]
        try:
            producer.produce(topic, f"{os.getpid()}-{number}".encode(), partition=partition, on_delivery=lambda e, m, s=sent: report(e, m, s))
        except BufferError:
            producer.poll(0.1)  # a hundred thousand wait already
            continue
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
    if missing(tally):
        tally.error(f"{len(missing(tally))} records acknowledged without an offset were not read")
    for error in tally.errors[:20]:
        print(error)
    print(f"{len(tally.acknowledged) + len(tally.somewhere)} records written and read, {len(tally.errors)} errors, slowest acknowledgement {tally.slowest:.0f} ms")
    sys.exit(bool(tally.errors))


main()
