#!/usr/bin/env python3
"""durable.py ADDRESS PID: with flush.messages=1, no answer to a Produce leaves before the fdatasync of its bytes has returned. strace is the witness."""

import re
import subprocess
import sys
import tempfile
import time

from confluent_kafka.admin import AdminClient, NewTopic

import wire

TOPIC = "durable"
ROUNDS = 50
CALLS = "pwrite64,pwritev,pwritev2,write,writev,fdatasync,fsync,sync_file_range,sendto,sendmsg,sendfile"
LINE = re.compile(r"^(?:\[pid\s+)?(\d+)\]?\s+(?:<\.\.\. )?(\w+)(?:\((\d+)<(.*?)>)?")


def main():
    address, pid = sys.argv[1], sys.argv[2]
    admin = AdminClient({"bootstrap.servers": address})
    admin.create_topics([NewTopic(TOPIC, 1, config={"flush.messages": "1"})])[TOPIC].result(20)
    connection = wire.make_topic(address, TOPIC)
    with tempfile.NamedTemporaryFile("r", encoding="utf-8", errors="replace") as trace:
        strace = subprocess.Popen(["strace", "-f", "-y", "-s", "0", "-e", f"trace={CALLS}", "-p", pid, "-o", trace.name], stderr=subprocess.PIPE, text=True)
        strace.stderr.readline()  # attached
        for number in range(ROUNDS):
            error, offset = connection.produce(TOPIC, [f"record {number}".encode()])
            assert (error, offset) == (0, number), f"error {error}, offset {offset}"
        time.sleep(0.2)
        strace.terminate()
        strace.wait()
        writes, syncs, answers = judge(trace)
    assert writes >= ROUNDS, f"strace saw {writes} writes of {ROUNDS}"
    assert answers >= ROUNDS, f"strace saw {answers} answers of {ROUNDS}"
    print(f"{answers} answers, each after one of {syncs} fdatasyncs")


def judge(trace):
    """Walks the trace: a write makes its file dirty, a returned sync makes it clean, and an answer must find none dirty."""
    dirty, started, writes, syncs, answers = set(), {}, 0, 0, 0
    for line in trace:
        match = LINE.match(line)
        if not match:
            continue
        thread, call, descriptor, path = match.groups()
        if descriptor is None:  # `<... fdatasync resumed>) = 0`
            descriptor, path = started.pop((thread, call), (None, None))
            resumed = True
        else:
            resumed = False
        if path is None:
            continue
        unfinished = "<unfinished" in line
        if unfinished:
            started[(thread, call)] = (descriptor, path)
        log = path.endswith(".log") and f"/{TOPIC}-0/" in path
        if log and "write" in call and not resumed:
            dirty.add(path)
            writes += 1
        elif log and call in ("fdatasync", "fsync") and not unfinished and "= 0" in line:
            dirty.discard(path)
            syncs += 1
        elif path.startswith(("TCP", "socket")) and call in ("sendto", "sendmsg", "writev", "write", "sendfile") and not resumed:
            assert not dirty, f"an answer left before the sync of {dirty}: {line.strip()}"
            answers += 1
    return writes, syncs, answers


main()
