#!/usr/bin/env python3
"""soak.py BROKER JARS SECONDS RATE [SEED]: faults of every kind, one after the other and at once, under idempotent producers; then everything heals, and nothing may be missing.

Prints its seed, how often each fault struck, and how long writes were away for each kind.
"""

import collections
import random
import statistics
import sys
import tempfile
import time

from cluster import Cluster, wait_for
from network import Network
from workload import JavaWriter, Writer, check

PARTITIONS = 12


class Chaos:
    """Strikes and heals. Two brokers of three may be away together; a volume is wiped only while the other two have everything."""

    def __init__(self, cluster, chance):
        self.cluster, self.chance = cluster, chance
        self.struck = collections.Counter()
        self.away = collections.defaultdict(list)

    def any_broker(self):
        return self.chance.choice(list(self.cluster.brokers.values()))

    def others(self, node):
        return [other.host for other in self.cluster.brokers.values() if other is not node]

    def faults(self):
        return [self.kill, self.kill_two, self.kill_all, self.pause, self.deafen, self.isolate, self.cut_from_controller, self.unplug, self.kill_controller, self.terminate, self.wipe, self.restart_storm]

    def kill(self):
        node = self.any_broker()
        node.kill()
        self.wait(0.2, 3)
        node.start()

    def kill_two(self):
        nodes = self.chance.sample(list(self.cluster.brokers.values()), 2)
        for node in nodes:
            node.kill()
        self.wait(0.2, 3)
        for node in nodes:
            node.start()

    def kill_all(self):
        for node in self.cluster.brokers.values():
            node.kill()
        self.wait(0.1, 1)
        for node in self.cluster.brokers.values():
            node.start()

    def pause(self):
        node = self.any_broker()
        node.pause()
        self.wait(1, 14)  # the fence comes after nine seconds
        node.resume()

    def deafen(self):
        node = self.any_broker()
        self.cluster.network.deafen(node.host, *self.others(node))
        self.wait(1, 8)
        self.cluster.network.heal()

    def isolate(self):
        node = self.any_broker()
        self.cluster.network.cut(node.host, *self.others(node))
        self.wait(1, 8)
        self.cluster.network.heal()

    def cut_from_controller(self):
        node = self.any_broker()
        self.cluster.network.cut(node.host, self.cluster.controller.host)
        self.wait(1, 14)
        self.cluster.network.heal()

    def unplug(self):
        node = self.any_broker()
        self.cluster.network.unplug(node.host)
        self.wait(1, 14)
        self.cluster.network.heal()

    def kill_controller(self):
        self.cluster.controller.kill()
        self.wait(0.1, 5)
        self.cluster.controller.start()

    def terminate(self):
        node = self.any_broker()
        node.terminate()
        node.start()

    def wipe(self):
        wait_for(60, "the topic is whole before a volume is lost", lambda: self.cluster.is_whole("chaos"))
        node = self.any_broker()
        node.kill()
        node.wipe()
        node.start()

    def restart_storm(self):
        node = self.any_broker()
        for _ in range(5):
            node.kill()
            node.start()
            self.wait(0.05, 0.4)

    def wait(self, least, most):
        time.sleep(self.chance.uniform(least, most))

    def strike(self, fault, writer, others):
        began = time.monotonic()
        fault()
        self.struck[fault.__name__] += 1
        go_on = lambda: all(each.acknowledged.last > time.monotonic() - 0.5 for each in [writer, *others]) and writer.is_settled(time.monotonic() - 1.0)
        wait_for(90, f"writes go on after {fault.__name__}", go_on)
        waited, partition = writer.acknowledged.slowest(began - 0.5, time.monotonic())
        self.away[fault.__name__].append(waited)
        print(f"{time.strftime('%H:%M:%S')} {fault.__name__}: the longest wait was {waited:.1f} s, in partition {partition}", flush=True)


def main():
    program, jars, seconds, rate = sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
    seed = int(sys.argv[5]) if len(sys.argv) > 5 else random.SystemRandom().randrange(1_000_000)
    print(f"seed {seed}", flush=True)
    network = Network()
    try:
        with tempfile.TemporaryDirectory() as folder:
            cluster = Cluster(program, folder, network)
            try:
                soak(cluster, jars, folder, seconds, rate, random.Random(seed))
            finally:
                cluster.close()
    finally:
        network.close()


def soak(cluster, jars, folder, seconds, rate, chance):
    cluster.create_topic("chaos", PARTITIONS)
    # Two thirds are librdkafka's, a third is Java's.
    settings = {"message.timeout.ms": 180_000, "reconnect.backoff.max.ms": 500, "linger.ms": 5}
    writers = [Writer(label, cluster.bootstrap, "chaos", PARTITIONS, rate // 3, **settings) for label in ("anna", "otto")]
    java = JavaWriter(1, jars, cluster.bootstrap, "chaos", PARTITIONS, rate // 3, folder, **{"delivery.timeout.ms": 180_000, "linger.ms": 5})
    for writer in [*writers, java]:
        writer.start()
    try:
        strike_and_heal(cluster, writers, java, seconds, chance)
    finally:
        java.kill()


def strike_and_heal(cluster, writers, java, seconds, chance):
    wait_for(60, "all producers write", lambda: all(writer.acknowledged.count for writer in [*writers, java]))
    chaos = Chaos(cluster, chance)
    end = time.monotonic() + seconds
    round_of = []
    while time.monotonic() < end:
        round_of = round_of or chance.sample(chaos.faults(), len(chaos.faults()))
        chaos.strike(round_of.pop(), writers[0], [*writers[1:], java])
    for writer in [*writers, java]:
        writer.finish()
    wait_for(90, "the topic is whole again", lambda: cluster.is_whole("chaos"))
    acknowledged = check([*writers, java], cluster.bootstrap, "chaos", PARTITIONS)
    for kind, waits in sorted(chaos.away.items()):
        print(f"{kind}: {len(waits)} times, longest wait for an acknowledgement in the median {statistics.median(waits):.1f} s, at most {max(waits):.1f} s")
    print(f"{sum(chaos.struck.values())} faults of {len(chaos.struck)} kinds, {acknowledged} acknowledged records ({java.acknowledged.count} of Java): none lost, none twice, all in order")


if __name__ == "__main__":
    main()
