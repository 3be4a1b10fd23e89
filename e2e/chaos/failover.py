#!/usr/bin/env python3
"""failover.py BROKER JARS ROUNDS PARTITIONS MEDIAN WORST: kill -9 of the broker that leads every partition of a topic, under a fixed load; how long was anybody without an acknowledgement?

A record's wait from produce() to its acknowledgement is what an application feels; the gap of a round is the longest wait of any record sent around the kill.
Of Java's producer only the acknowledgements are seen: its gap is the longest silence.
With `kafka` for BROKER, Apache Kafka is treated so.
"""

import functools
import statistics
import sys
import tempfile
import time

from cluster import Cluster, Node, wait_for
from kafka import KafkaNode
from network import Network
from workload import JavaWriter, Writer, check

RATE = 500  # records a second: enough to see every gap, far from what the machine can do
MEDIAN, WORST = (float(limit) for limit in sys.argv[5:7])  # seconds
PATIENCE = max(30.0, WORST)  # s
# s: proof of death fences one broker of three in nine seconds; and librdkafka may wait for ten before it connects again to one that was killed.
BETWEEN = 10.5


def main():
    program, jars, rounds, partitions = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    network = Network()
    try:
        with tempfile.TemporaryDirectory() as folder:
            make = functools.partial(KafkaNode, jars=jars) if program == "kafka" else Node
            cluster = Cluster(program, folder, network, make=make)
            try:
                gaps, silences, acknowledged = measure(cluster, jars, folder, rounds, partitions)
            finally:
                cluster.close()
    finally:
        network.close()
    for client, waits in (("librdkafka", gaps), ("Java", silences)):
        median, worst = statistics.median(waits), max(waits)
        assert median <= MEDIAN and worst <= WORST, f"{client}: gaps {[round(gap, 2) for gap in waits]} s"
    said = ", ".join(f"{client} median {statistics.median(waits) * 1000:.0f} ms, worst {max(waits) * 1000:.0f} ms" for client, waits in (("librdkafka", gaps), ("Java", silences)))
    print(f"{rounds} kills of the leader of {partitions} partitions: gap of {said}; {acknowledged} acknowledged records, none lost")


def measure(cluster, jars, folder, rounds, partitions):
    cluster.create_topic("wide", partitions, leaders=1)
    writer = Writer("anna", cluster.bootstrap, "wide", partitions, RATE)
    java = JavaWriter(1, jars, cluster.bootstrap, "wide", partitions, RATE, folder)
    writer.start()
    java.start()
    try:
        return kill_and_wait(cluster, writer, java, rounds, partitions)
    finally:
        java.kill()


def kill_and_wait(cluster, writer, java, rounds, partitions):
    wait_for(60, "both producers write", lambda: writer.acknowledged.count > RATE and java.acknowledged.count > RATE)
    gaps, silences, last = [], [], 0.0
    for _ in range(rounds):
        wait_for(2 * PATIENCE, "the topic is whole again", lambda: cluster.is_whole("wide"))
        wait_for(BETWEEN + 1, "the last fence is long ago", lambda: time.monotonic() > last + BETWEEN)
        leader = max(cluster.leaders("wide").items(), key=lambda item: item[1])[0]
        node = cluster.brokers[leader]
        mark = time.monotonic()
        node.kill()
        last = time.monotonic()
        wait_for(PATIENCE, "every partition has another leader", lambda: set(cluster.leaders("wide")).isdisjoint({leader, -1}))
        print(f"every partition is led again {time.monotonic() - last:.2f} s after the kill", flush=True)
        until = time.monotonic() + 1.0
        wait_for(PATIENCE, "what was sent until then is acknowledged", lambda: time.monotonic() > until and writer.is_settled(until) and java.acknowledged.last > until)
        node.start()
        gaps.append(writer.acknowledged.slowest(mark - 0.5, until)[0])
        silences.append(java.acknowledged.longest_silence(mark - 0.5, java.acknowledged.last))
        print(f"gaps: librdkafka {gaps[-1]:.2f} s, Java {silences[-1]:.2f} s", flush=True)
    writer.finish()
    java.finish()
    wait_for(2 * PATIENCE, "the topic is whole again", lambda: cluster.is_whole("wide"))
    acknowledged = check([writer, java], cluster.bootstrap, "wide", partitions)
    return gaps, silences, acknowledged


if __name__ == "__main__":
    main()
