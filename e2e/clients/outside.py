#!/usr/bin/env python3
"""outside.py BOOTSTRAP TOPIC JAVA...: the Java client, given one broker's address at a time, writes to every partition of the topic and reads that again.

Each time it hears of the other brokers from that one alone, and has to reach all of them, because each leads some of the partitions.
"""

import base64
import json
import subprocess
import sys
import tempfile


def main():
    bootstrap, topic, java = sys.argv[1], sys.argv[2], sys.argv[3:]
    addresses = bootstrap.split(",")
    for address in addresses:
        with tempfile.TemporaryFile("w+") as log:
            with subprocess.Popen([*java, address], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True) as client:
                try:
                    through(address, addresses, topic, lambda what, **command: ask(client, what, command))
                except Exception:
                    log.seek(0)
                    print(log.read()[-4000:])
                    raise
    print(f"{len(addresses)} brokers, each by its own address")


def ask(client, what, command):
    client.stdin.write(json.dumps({"do": what, **command}) + "\n")
    client.stdin.flush()
    answer = json.loads(client.stdout.readline())
    assert "error" not in answer, f"{what}: {answer}"
    return answer


def through(address, addresses, topic, do):
    brokers = sorted(f"{host}:{port}" for _, host, port in do("describe_cluster")["brokers"])
    assert brokers == sorted(addresses), f"{address} knows the brokers {brokers}"
    partitions = range(12)
    ends = do("offsets", topic=topic, partitions=list(partitions), at="latest")["offsets"]
    text = lambda partition: base64.b64encode(f"to {partition} by {address}".encode()).decode()
    records = [{"partition": partition, "key": None, "value": text(partition), "headers": []} for partition in partitions]
    offsets = do("produce", topic=topic, compression="none", records=records)["offsets"]
    ranges = [[partition, offset, offset + 1] for partition, offset in zip(partitions, offsets)]
    read = do("consume", topic=topic, partitions=ranges)["records"]
    assert {(r["partition"], r["value"]) for r in read} == {(p, text(p)) for p in partitions}, f"by {address} is read {read}"
    assert all(offset >= end for offset, end in zip(offsets, ends))


main()
