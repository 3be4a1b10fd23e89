#!/usr/bin/env python3
"""offsets_bound.py BROKER: what groups commit is kept, and the log that keeps it does not grow for ever, through kill -9 at any moment.

A group commits with long notes until its partition of __consumer_offsets would be far longer than its bound; the broker is killed between. The
last acknowledged commit, and that of a group which committed once at the beginning, must be there each time.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

import addresses

ROUNDS, COMMITS, NOTE = 4, 4000, "x" * 4000
BOUND = 64 << 20


def consumer(address, group):
    return Consumer({"bootstrap.servers": address, "group.id": group, "enable.auto.commit": False, "log_level": 0, "reconnect.backoff.max.ms": 200})


def committed(member):
    deadline = time.monotonic() + 30
    while True:
        try:
            return member.committed([TopicPartition("letters", 0)], timeout=5)[0].offset
        except KafkaException:
            assert time.monotonic() < deadline, "committed offsets cannot be read"


def size(directory):
    total = 0
    for root, _, names in os.walk(directory):
        if "__consumer_offsets-" in root:
            total += sum(os.path.getsize(os.path.join(root, name)) for name in names if name.endswith(".log"))
    return total


def main():
    chance = random.Random(7)
    data, address = tempfile.mkdtemp(prefix="barnabas-bound-"), addresses.free()
    command = [sys.argv[1], "standalone", "--data-dir", data, "--listen", address, "--metrics", "off", "--log", "error"]
    process = subprocess.Popen(command)
    try:
        producer = Producer({"bootstrap.servers": address})
        producer.produce("letters", "one")
        assert producer.flush(30) == 0
        # Groups of the same partition of __consumer_offsets: their names have the same hash.
        early, busy = consumer(address, "AaAa"), consumer(address, "BBBB")
        early.commit(offsets=[TopicPartition("letters", 0, 5)], asynchronous=False)
        acknowledged, largest, written = -1, 0, 0
        for round_ in range(ROUNDS):
            stops_at = chance.randrange(COMMITS // 2, COMMITS)
            for number in range(stops_at):
                offset = written + number
                busy.commit(offsets=[TopicPartition("letters", 0, offset, NOTE)], asynchronous=False)
                acknowledged = offset
            written += stops_at
            largest = max(largest, size(data))
            process.send_signal(signal.SIGKILL)
            process.wait()
            process = subprocess.Popen(command)
            found = committed(busy)
            assert found == acknowledged, f"{acknowledged} was acknowledged, {found} is committed"
            assert committed(early) == 5, "a commit of long ago is gone"
        assert written * len(NOTE) > BOUND / 2, "too little was written"
        time.sleep(1)
        largest = max(largest, size(data))
        print(f"{written} commits of {len(NOTE)} bytes, {ROUNDS} kills, at most {largest >> 20} MiB of log, {size(data) >> 20} MiB at the end")
        assert size(data) < BOUND, "the log is not bounded"
        early.close()
        busy.close()
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(data)


main()
