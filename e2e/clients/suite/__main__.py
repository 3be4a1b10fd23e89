#!/usr/bin/env python3
"""suite BROKER CLIENTS: the clients of CLIENTS (what install.sh prints) against one standalone broker of their own.

ONLY chooses verdicts by a pattern, BARNABAS_LONG=1 runs the long form, BARNABAS_KEEP=1 leaves the folder with logs and data.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

from administration import administration, deletion
from groups import Groups
from matrix import Matrix
from places import acknowledgements, alone_in_a_group, places
from process import Broker, Clients
from verdicts import Verdicts


def main():
    verdicts, commands = Verdicts(), {}
    for line in Path(sys.argv[2]).read_text().splitlines():
        name, command, *reason = line.split("\t")
        if command == "-":
            verdicts.missing(name, reason[0] if reason else "could not be installed")
        else:
            commands[name] = command
    folder = Path(tempfile.mkdtemp(prefix="barnabas-suite."))
    broker = Broker(sys.argv[1], folder)
    clients = Clients(commands, broker.address, folder)
    try:
        broker.start()
        broker.answers()
        run(verdicts, broker, clients)
    finally:
        clients.close()
        broker.stop()
        if not os.environ.get("BARNABAS_KEEP"):
            shutil.rmtree(folder, ignore_errors=True)
        else:
            print(f"kept {folder}", file=sys.stderr)
    return verdicts.close()


def run(verdicts, broker, clients):
    matrix = Matrix(broker, clients)
    for kind in clients:
        verdicts.attempt(f"what {kind} writes, every client reads bit for bit", matrix.write_and_read, kind)
    for kind in clients:
        verdicts.attempt(f"{kind} makes a topic by writing to it, with every kind of acknowledgement", acknowledgements, clients, kind)
    for kind in clients:
        verdicts.attempt(f"{kind} seeks, and finds offsets by time", places, clients, kind)
    for kind in clients:
        if kind != "kcat":
            verdicts.attempt(f"{kind} alone in a group goes on from its commits", alone_in_a_group, clients, kind)
            verdicts.attempt(f"{kind} administers topics, configs and groups", administration, clients, kind)
            verdicts.attempt(f"{kind} deletes records", deletion, clients, kind)
    verdicts.attempt("no client had a reason to complain", quiet, clients)
    figures(clients)
    groups = Groups(broker, clients)
    for what, test, *arguments in groups.tests():
        verdicts.attempt(what, test, *arguments)


def quiet(clients):
    """Clients log warnings when a broker puzzles them; so far nothing was killed, and refusals were provoked by KafkaJS's tests alone."""
    found = {kind: [line for line in lines if not provoked(line)] for kind, lines in clients.complaints().items()}
    loud = {kind: lines for kind, lines in found.items() if lines}
    for kind, lines in loud.items():
        for line in dict.fromkeys(lines):
            print(f"    {kind}: {line[:400]}", file=sys.stderr)
    assert not loud, "; ".join(f"{kind}: {len(lines)} lines, the first: {lines[0][:200]}" for kind, lines in loud.items())


# What the tests provoke on purpose, and what the client says of every broker, Apache Kafka too.
PROVOKED = [
    "Topic creation errors",  # KafkaJS logs a refusal before it throws it
    "Could not delete topics",
    "does not host this topic-partition",
    "Configuration is invalid",
    "Number of partitions is invalid",
    "failed due to an unexpected error OFFSET_OUT_OF_RANGE",  # Java on delete_records
    "unserved events from background queue",  # librdkafka as it ends, of itself
    "Not updating high watermark for partition",  # Java 4: offsetsForTimes() of a partition that it does not read
]


def provoked(line):
    return any(text in line for text in PROVOKED)


def figures(clients):
    print("    median milliseconds of a call, the client's own start and stop included:", file=sys.stderr)
    for (kind, do), times in sorted(clients.times.items()):
        print(f"    {kind:12} {do:18} {1000 * sorted(times)[len(times) // 2]:8.0f}  (longest {1000 * max(times):.0f}, {len(times)} calls)", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
