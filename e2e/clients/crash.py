#!/usr/bin/env python3
"""crash.py BROKER ROUNDS: kill -9 under load, ROUNDS times; then every acknowledged record is at its offset, and offsets have no gap.

Two idempotent producers write through all the crashes. An answer that was lost may stand for a record that is there, so unacknowledged records may appear; twice, none may.
"""

import random
import signal
import subprocess
import sys
import tempfile
import threading
import time

from confluent_kafka import Consumer, Producer, TopicPartition

import addresses
import wire

PARTITIONS = 3


class Writer(threading.Thread):
    def __init__(self, name, address):
        super().__init__(daemon=True)
        self.label, self.acknowledged, self.failures, self.sent = name, {}, [], 0
        self.stopping = threading.Event()
        self.producer = Producer(
            {
                "bootstrap.servers": address,
                "log_level": 0,  # broken connections are what this is about
                "enable.idempotence": True,
                "linger.ms": 2,
                "message.timeout.ms": 120_000,
                "reconnect.backoff.ms": 20,
                "reconnect.backoff.max.ms": 200,
                "retry.backoff.ms": 20,
            }
        )

    def run(self):
        while not self.stopping.is_set():
            value = f"{self.label}-{self.sent}".encode()
            try:
                self.producer.produce("crash", value, partition=self.sent % PARTITIONS, on_delivery=self.report)
                self.sent += 1
            except BufferError:
                self.producer.poll(0.05)
            self.producer.poll(0)
            if self.sent % 200 == 0:
                time.sleep(0.01)
        left = self.producer.flush(120)
        if left:
            self.failures.append(f"{left} records are unsettled after 120 s")

    def report(self, error, message):
        if error is not None:
            self.failures.append(str(error))
        else:
            self.acknowledged[(message.partition(), message.offset())] = message.value()


def main():
    broker, rounds = sys.argv[1], int(sys.argv[2])
    chance = random.Random(int(sys.argv[3]) if len(sys.argv) > 3 else 7)
    address = addresses.free()
    with tempfile.TemporaryDirectory() as folder, open(f"{folder}/broker.log", "w", encoding="utf-8") as log:
        data = f"{folder}/data"
        command = [broker, "standalone", "--data-dir", data, "--listen", address, "--metrics", "off", "--config", f"num.partitions={PARTITIONS}"]
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            wire.make_topic(address, "crash").close()
            writers = [Writer(name, address) for name in ("anna", "otto")]
            for writer in writers:
                writer.start()
            for _ in range(rounds):
                wait_for_writes(writers, chance.uniform(0.1, 0.8))
                process.send_signal(signal.SIGKILL)
                process.wait()
                process = subprocess.Popen(command, stdout=log, stderr=log)
            for writer in writers:
                writer.stopping.set()
            for writer in writers:
                writer.join()
            verify(address, writers, rounds)
        finally:
            process.terminate()
            process.wait()


def wait_for_writes(writers, pause):
    before = sum(len(writer.acknowledged) for writer in writers)
    time.sleep(pause)
    deadline = time.monotonic() + 20
    while sum(len(writer.acknowledged) for writer in writers) == before:
        assert time.monotonic() < deadline, "nothing was acknowledged for 20 s"
        time.sleep(0.01)


def verify(address, writers, rounds):
    failures = [failure for writer in writers for failure in writer.failures]
    assert not failures, f"{len(failures)} records failed, the first by {failures[0]}"
    acknowledged = {}
    for writer in writers:
        for place, value in writer.acknowledged.items():
            assert place not in acknowledged, f"{place} was acknowledged to two writers"
            acknowledged[place] = value
    stored = read_all(address)
    lost = [place for place, value in acknowledged.items() if stored.get(place) != value]
    assert not lost, f"{len(lost)} of {len(acknowledged)} acknowledged records are lost or changed, the first at {min(lost)}"
    values = list(stored.values())
    assert len(values) == len(set(values)), f"{len(values) - len(set(values))} records are there twice"
    print(f"{len(acknowledged)} acknowledged records, {len(stored)} stored, {rounds} kills")


def read_all(address):
    consumer = Consumer({"bootstrap.servers": address, "log_level": 0, "group.id": "check", "enable.auto.commit": False, "auto.offset.reset": "error"})
    stored = {}
    ends = {}
    for partition in range(PARTITIONS):
        low, ends[partition] = consumer.get_watermark_offsets(TopicPartition("crash", partition), timeout=20)
        assert low == 0, f"partition {partition} begins at {low}"
    consumer.assign([TopicPartition("crash", partition, 0) for partition in ends])
    due = dict.fromkeys(ends, 0)
    while any(due[partition] < end for partition, end in ends.items()):
        messages = consumer.consume(10_000, 20)
        assert messages, f"no record for 20 s; read up to {due} of {ends}"
        for message in messages:
            assert message.error() is None, message.error()
            partition = message.partition()
            assert message.offset() == due[partition], f"partition {partition}: offset {message.offset()} where {due[partition]} was due"
            due[partition] += 1
            stored[(partition, message.offset())] = message.value()
    return stored


main()
