#!/usr/bin/env python3
"""lost_volume.py BROKER JARS: the only replica of a partition loses its volume. Nobody leads the empty one, and who writes to it hears so, until it is wanted:
kafka-leader-election --election-type unclean. What other brokers have is copied from them without a word.
"""

import os
import subprocess
import sys
import tempfile

from confluent_kafka import Consumer, KafkaException, TopicPartition

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "clients"))
import wire  # noqa: E402
from cluster import Cluster, wait_for  # noqa: E402
from network import Network  # noqa: E402

RECORDS = 100
LOST = 1  # the broker that loses its volume
NOT_LEADER_OR_FOLLOWER = 6


def main():
    program, jars = sys.argv[1:]
    network = Network()
    try:
        with tempfile.TemporaryDirectory() as folder:
            cluster = Cluster(program, folder, network)
            try:
                print(lose(cluster, jars))
            finally:
                cluster.close()
    finally:
        network.close()


def lose(cluster, jars):
    cluster.create_topic("sole", 1, leaders=LOST, replicas=1, min_insync_replicas="1")
    cluster.create_topic("copied", 1, leaders=LOST)
    broker = cluster.brokers[LOST]
    for topic in ("sole", "copied"):
        assert write(broker, topic, RECORDS) == (0, 0), f"{topic} takes no records"

    broker.kill()
    broker.wipe()
    broker.start()
    wait_for(60, "what has other replicas is whole again", lambda: cluster.is_whole("copied"))
    wait_for(30, "the copy is as long as it was", lambda: ends(cluster, "copied") == (0, RECORDS))
    partition = cluster.partitions("sole")[0]
    assert partition.leader == -1, f"broker {partition.leader} leads an empty log in place of {RECORDS} records"
    # As a client writes whose metadata are of before.
    error, _ = write(broker, "sole", 1)
    assert error == NOT_LEADER_OR_FOLLOWER, f"error {error} where an empty log stands in place of {RECORDS} records"

    election = ["java", "-Xmx256m", "-cp", f"{jars}/*", "org.apache.kafka.tools.LeaderElectionCommand", "--bootstrap-server", cluster.bootstrap]
    run = subprocess.run([*election, "--election-type", "unclean", "--topic", "sole", "--partition", "0"], capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0 and "sole-0" in run.stdout, f"{run.stdout} {run.stderr[-500:]}"
    wait_for(10, "the empty replica leads", lambda: cluster.partitions("sole")[0].leader == LOST)
    wait_for(10, "it takes a record", lambda: write(broker, "sole", 1) == (0, 0))
    wait_for(10, "that record is all there is", lambda: ends(cluster, "sole") == (0, 1))
    return run.stdout.strip().splitlines()[-1]


def write(broker, topic, count):
    """Asks this broker, whatever metadata say. The error code and the offset."""
    connection = wire.Connection(broker.address)
    try:
        return connection.produce(topic, [b"%d" % number for number in range(count)])
    finally:
        connection.close()


def ends(cluster, topic):
    """Where it begins and ends; None while its leader changes."""
    consumer = Consumer({"bootstrap.servers": cluster.bootstrap, "group.id": "nobody", "log_level": 0})
    try:
        return consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=10)
    except KafkaException:
        return None
    finally:
        consumer.close()


if __name__ == "__main__":
    main()
