#!/usr/bin/env python3
"""silent.py BROKER JARS stopped|unplugged: the leader of every partition falls silent without a word. Another leads within 12 s and takes a write; the one that comes back commits nothing, and no record is lost.

A process that stands still proves nothing by refusing connections: its kernel accepts them. A host without a network proves nothing at all. Only silence tells.
"""

import sys
import tempfile
import time

from confluent_kafka import Producer

from cluster import Cluster, wait_for
from network import Network
from workload import JavaWriter, Writer, check

PARTITIONS = 6
RAW, CLIENT = 12.0, 17.0  # s: until a write by somebody new, and by those who waited for the old leader
FAULTS = {"stopped": (lambda node: node.pause(), lambda node: node.resume()), "unplugged": (lambda node: node.unplug(), lambda node: node.plug())}


def main():
    program, jars, (strike, heal) = sys.argv[1], sys.argv[2], FAULTS[sys.argv[3]]
    network = Network()
    try:
        with tempfile.TemporaryDirectory() as folder:
            cluster = Cluster(program, folder, network)
            try:
                print(measure(cluster, jars, folder, strike, heal))
            finally:
                cluster.close()
    finally:
        network.close()


def measure(cluster, jars, folder, strike, heal):
    cluster.create_topic("silent", PARTITIONS, leaders=1)
    patience = {"request.timeout.ms": 5000}
    writers = [Writer(name, cluster.bootstrap, "silent", PARTITIONS, 200, **{"socket.timeout.ms": 5000, **patience}) for name in ("anna", "otto")]
    java = JavaWriter(1, jars, cluster.bootstrap, "silent", PARTITIONS, 200, folder, **{"delivery.timeout.ms": 120_000, **patience})
    for writer in [*writers, java]:
        writer.start()
    try:
        wait_for(60, "writes are acknowledged", lambda: all(writer.acknowledged.count > 200 for writer in [*writers, java]))
        leader, began = cluster.brokers[1], time.monotonic()
        strike(leader)
        wait_for(RAW, "another broker leads every partition", lambda: set(cluster.leaders("silent")).isdisjoint({1, -1}))
        succeeded = time.monotonic() - began
        write_anew(cluster)
        taken = time.monotonic() - began
        until = time.monotonic() + 1.0
        wait_for(CLIENT + 5, "what was sent until then is acknowledged", lambda: time.monotonic() > until and all(writer.is_settled(until) for writer in writers) and java.acknowledged.last > until)
        waited = max(writer.acknowledged.slowest(began - 0.5, until)[0] for writer in writers)
        silence = java.acknowledged.longest_silence(began - 0.5, java.acknowledged.last)
        heal(leader)
        wait_for(60, "the topic is whole again", lambda: cluster.is_whole("silent"))
        for writer in [*writers, java]:
            writer.finish()
    finally:
        java.kill()
    acknowledged = check([*writers, java], cluster.bootstrap, "silent", PARTITIONS)
    assert taken <= RAW, f"a new leader took a write after {taken:.1f} s only"
    assert max(waited, silence) <= CLIENT, f"librdkafka waited {waited:.1f} s, Java {silence:.1f} s"
    return f"another leads after {succeeded:.1f} s and takes a write after {taken:.1f} s; clients with request.timeout.ms=5000 waited {waited:.1f} s (librdkafka) and {silence:.1f} s (Java); {acknowledged} acknowledged records, none lost"


def write_anew(cluster):
    """A write to each partition by somebody who never knew the old leader."""
    reachable = ",".join(node.address for node in cluster.brokers.values() if node.id != 1)
    producer = Producer({"bootstrap.servers": reachable, "log_level": 0, "acks": "all", "linger.ms": 0})
    failures = []
    for partition in range(PARTITIONS):
        producer.produce("silent", b"anew.%d" % partition, partition=partition, on_delivery=lambda error, _: failures.append(error) if error else None)
    assert producer.flush(10) == 0 and not failures, f"the new leader takes no write: {failures[:1]}"


if __name__ == "__main__":
    main()
