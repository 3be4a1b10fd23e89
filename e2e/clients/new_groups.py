#!/usr/bin/env python3
"""new_groups.py BROKER: one group with members of the new protocol (KIP-848) and of the classic one, through kill -9 of the broker.

A member subscribes by a regular expression, one is static, one is classic. Every record arrives; a broker that comes back finds the group
as it was, and nobody loses a partition. When the new kind has left, the classic member goes on alone.
"""

import shutil
import signal
import subprocess
import sys
import tempfile
import time

from confluent_kafka import Consumer, Producer

import addresses

TOPIC, PARTITIONS, PATIENCE = "letters", 3, 90


class Broker:
    def __init__(self, program):
        self.program, self.directory, self.address = program, tempfile.mkdtemp(prefix="barnabas-groups-"), addresses.free()
        self.start()

    def start(self):
        arguments = ["standalone", "--data-dir", self.directory, "--listen", self.address, "--metrics", "off", "--log", "error"]
        self.process = subprocess.Popen([self.program, *arguments, "--config", f"num.partitions={PARTITIONS}"])

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


class Member:
    def __init__(self, address, name, topics, **settings):
        self.name, self.lost = name, 0
        common = {"bootstrap.servers": address, "group.id": "readers", "client.id": name, "auto.offset.reset": "earliest", "log_level": 0}
        quick = {"reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 200}
        self.consumer = Consumer({**common, **quick, **settings})
        self.consumer.subscribe(topics, on_lost=self.on_lost)

    def on_lost(self, _consumer, _partitions):
        self.lost += 1


def read(members, seen, wanted, until=lambda: True):
    """Lets the members poll in turn until everything wanted was seen and `until` holds."""
    deadline = time.monotonic() + PATIENCE
    while len(set(seen)) < wanted or not until():
        shares = {member.name: len(member.consumer.assignment()) for member in members}
        assert time.monotonic() < deadline, f"{len(set(seen))} of {wanted} records seen after {PATIENCE} s, shares {shares}"
        for member in members:
            message = member.consumer.poll(0.02)
            if message is not None and message.error() is None:
                seen.append(int(message.value()))


def main():
    broker = Broker(sys.argv[1])
    producer = Producer({"bootstrap.servers": broker.address, "enable.idempotence": True, "log_level": 0})
    written = 0

    def write(count):
        nonlocal written
        for number in range(written, written + count):
            producer.produce(TOPIC, str(number), partition=number % PARTITIONS)
        assert producer.flush(PATIENCE) == 0, "records are not delivered"
        written += count

    try:
        write(300)
        new, seen = {"group.protocol": "consumer"}, []
        members = [
            Member(broker.address, "by-expression", ["^let.*"], **new),
            Member(broker.address, "static", [TOPIC], **new, **{"group.instance.id": "static"}),
            Member(broker.address, "classic", [TOPIC], **{"partition.assignment.strategy": "cooperative-sticky"}),
        ]
        shared = lambda: all(len(member.consumer.assignment()) == 1 for member in members)
        read(members, seen, written, shared)
        for _ in range(3):
            broker.kill()
            time.sleep(1)
            broker.start()
            write(300)
            read(members, seen, written, shared)
        assert set(seen) == set(range(written)), f"{len(set(seen))} of {written} records seen"
        assert not any(member.lost for member in members), "a member lost its partitions to a restart of the broker"
        for member in members[:2]:
            member.consumer.close()
        write(300)
        read(members[2:], seen, written)
        assert set(seen) == set(range(written)), "a record was skipped when the group became classic again"
        members[2].consumer.close()
    finally:
        broker.kill()
        shutil.rmtree(broker.directory)
    print(f"{written} records, 3 kills, nothing lost, {len(seen) - written} read twice; members of both kinds in one group")


if __name__ == "__main__":
    main()
