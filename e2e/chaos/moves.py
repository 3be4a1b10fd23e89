#!/usr/bin/env python3
"""moves.py BROKER JARS MEBIBYTES: a topic that holds so much goes from one replica to three, slowed down as asked, and then to two, under load, by kafka-reassign-partitions.

The copy takes as long as the throttle makes it take; no write fails, and none waits for the copy.
"""

import json
import subprocess
import sys
import tempfile
import time

from confluent_kafka import Producer

from cluster import Cluster, wait_for
from network import Network
from workload import Writer, check

PARTITIONS = 6
RATE = 300  # records a second, small beside what is copied
SECONDS = 20  # that the copies of one broker should take at least
SLOWEST = 1.0  # s that a write may wait
MIB = 1 << 20


def main():
    program, jars, mebibytes = sys.argv[1], sys.argv[2], int(sys.argv[3])
    network = Network()
    try:
        with tempfile.TemporaryDirectory() as folder:
            cluster = Cluster(program, folder, network)
            try:
                print(move(cluster, Reassignments(jars, cluster.bootstrap, folder), mebibytes * MIB))
            finally:
                cluster.close()
    finally:
        network.close()


class Reassignments:
    """kafka-reassign-partitions."""

    def __init__(self, jars, bootstrap, folder):
        self.path = f"{folder}/moves.json"
        self.tool = ["java", "-Xmx128m", "-cp", f"{jars}/*", "org.apache.kafka.tools.reassign.ReassignPartitionsCommand", "--bootstrap-server", bootstrap, "--reassignment-json-file", self.path]

    def begin(self, topic, replicas, *options):
        moves = [{"topic": topic, "partition": partition, "replicas": ids} for partition, ids in replicas.items()]
        with open(self.path, "w", encoding="ascii") as file:
            json.dump({"version": 1, "partitions": moves}, file)
        self.run("--execute", *options)

    def run(self, *options):
        done = subprocess.run([*self.tool, *options], capture_output=True, text=True, check=False)
        assert done.returncode == 0 and "Error" not in done.stdout, done.stdout + done.stderr
        return done.stdout

    def are_done(self):
        said = self.run("--verify")
        return "still in progress" not in said and "is completed" in said


def move(cluster, reassignments, size):
    cluster.create_topic("large", PARTITIONS, replicas=1, min_insync_replicas="1")
    fill(cluster, size)
    writer = Writer("anna", cluster.bootstrap, "large", PARTITIONS, RATE)
    writer.start()
    wait_for(30, "writes are acknowledged", lambda: writer.acknowledged.count > RATE)
    # Each broker leads a third and copies the other two.
    rate = size * 2 // 3 // SECONDS
    began = time.monotonic()
    ids = sorted(cluster.brokers)
    reassignments.begin("large", {p: ids[p % 3 :] + ids[: p % 3] for p in range(PARTITIONS)}, "--throttle", str(rate))
    wait_for(SECONDS * 6, "three replicas of each partition", lambda: all(len(p.isrs) == 3 for p in cluster.partitions("large").values()))
    took = time.monotonic() - began
    # A burst of a second is free, and so is the last answer.
    assert took >= SECONDS - 5, f"{size // MIB} MiB were copied in {took:.1f} s, which the throttle of {rate} B/s forbids"
    wait_for(60, "the tool sees the end, and takes the throttle away", reassignments.are_done)
    reassignments.begin("large", {p: [ids[p % 3], ids[(p + 1) % 3]] for p in range(PARTITIONS)})
    wait_for(60, "two replicas of each partition", lambda: all(len(p.replicas) == len(p.isrs) == 2 for p in cluster.partitions("large").values()))
    wait_for(60, "the tool sees that end, too", reassignments.are_done)
    waited, _ = writer.acknowledged.slowest(began, time.monotonic())
    writer.finish()
    assert waited <= SLOWEST, f"a write waited {waited:.1f} s"
    acknowledged = check([writer], cluster.bootstrap, "large", PARTITIONS)
    return f"{size // MIB} MiB from one replica to three in {took:.1f} s under a throttle of {rate / MIB:.1f} MiB/s, then to two; {acknowledged} writes meanwhile, the slowest {waited * 1000:.0f} ms, none lost"


def fill(cluster, size):
    """Records of 100 KiB, numbered as a writer's are."""
    producer = Producer({"bootstrap.servers": cluster.bootstrap, "log_level": 0, "enable.idempotence": True, "queue.buffering.max.kbytes": 65536})
    failures = []
    for number in range(size // (100 << 10)):
        value = b"x" * ((100 << 10) - 12) + f".{number:011}".encode()
        while True:
            try:
                producer.produce("large", value, partition=number % PARTITIONS, on_delivery=lambda error, _: failures.append(error) if error else None)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    assert producer.flush(120) == 0 and not failures, failures[:1]


if __name__ == "__main__":
    main()
