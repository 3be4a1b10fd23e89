#!/usr/bin/env python3
"""first_write.py BROKER ROUNDS LIMIT_MS: the time from exec to the first acknowledged write, on a fresh directory each time."""

import statistics
import subprocess
import sys
import tempfile
import time

import addresses
import wire


def main():
    broker, rounds, limit = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    times = [round_trip(broker) for _ in range(rounds)]
    median = statistics.median(times)
    print(f"median of {rounds}: {median:.1f} ms, least {min(times):.1f}, most {max(times):.1f}; limit {limit:.0f}")
    sys.exit(median > limit)


def round_trip(broker):
    address = addresses.free()
    with tempfile.TemporaryDirectory() as data:
        start = time.monotonic()
        process = subprocess.Popen(
            [broker, "standalone", "--data-dir", data, "--listen", address, "--metrics", "off"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            connection = wire.make_topic(address, "first")
            error, offset = connection.produce("first", [b"a record"])
            elapsed = time.monotonic() - start
            assert (error, offset) == (0, 0), f"error {error}, offset {offset}"
            return elapsed * 1000
        finally:
            process.terminate()
            process.wait()


main()
