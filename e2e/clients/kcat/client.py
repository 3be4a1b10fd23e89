#!/usr/bin/env python3
"""client.py ADDRESS: kcat behind the commands of ../README.md: it writes, reads and asks for offsets; the rest it cannot do."""

import base64
import itertools
import json
import re
import subprocess
import sys

ADDRESS = sys.argv[1]
KEY_ENDS, RECORD_ENDS = b"<key>", b"<end>"
LARGE, PATIENCE = 16 << 20, 30


def kcat(*arguments, stdin=b""):
    done = subprocess.run(["kcat", "-b", ADDRESS, *arguments], input=stdin, capture_output=True, timeout=PATIENCE, check=False)
    sys.stderr.write(done.stderr.decode(errors="replace"))
    sys.stderr.flush()
    if done.returncode != 0:
        raise RuntimeError(done.stderr.decode(errors="replace").strip())
    return done.stdout


def decoded(text):
    return b"" if text is None else base64.b64decode(text)


def produce(command):
    """kcat has headers by the call, and takes what is empty as null: so one call for each run of records with the same headers."""
    settings = [f"compression.codec={command['compression']}", "linger.ms=20", f"message.max.bytes={LARGE}"]
    settings.append("enable.idempotence=true" if command.get("idempotent", True) else f"acks={command.get('acks', 'all')}")
    for (partition, headers), run in itertools.groupby(command["records"], key=lambda record: (record["partition"], record.get("headers") or [])):
        arguments = ["-P", "-t", command["topic"], "-p", str(partition), "-Z", "-K", KEY_ENDS.decode(), "-D", RECORD_ENDS.decode()]
        for setting in settings:
            arguments += ["-X", setting]
        for name, value in headers:
            arguments += ["-H", name if value is None else f"{name}={decoded(value).decode()}"]
        kcat(*arguments, stdin=b"".join(decoded(record["key"]) + KEY_ENDS + decoded(record["value"]) + RECORD_ENDS for record in run))
    return {"offsets": None}


def consume(command):
    records = []
    for partition, start, end in command["partitions"]:
        if start < end:
            bounds = ["-o", str(start), "-c", str(end - start), "-X", "check.crcs=true"]
            output = kcat("-C", "-q", "-t", command["topic"], "-p", str(partition), *bounds, "-f", r"%o %T %K %S %k%s%h<end>\n")
            records += parsed(output, partition)
    return {"records": records}


def parsed(output, partition):
    """Lengths stand before key and value, -1 for null; headers are text and come as `headers_text`."""
    at = 0
    while at < len(output):
        head = re.compile(rb"(-?\d+) (-?\d+) (-?\d+) (-?\d+) ").match(output, at)
        offset, timestamp, key, value = (int(number) for number in head.groups())
        at = head.end()
        record = {"partition": partition, "offset": offset, "timestamp": timestamp}
        for name, length in (("key", key), ("value", value)):
            record[name] = None if length < 0 else base64.b64encode(output[at : at + length]).decode()
            at += max(length, 0)
        end = output.index(b"<end>\n", at)
        record["headers_text"] = output[at:end].decode(errors="replace")
        at = end + len(b"<end>\n")
        yield record


def offsets(command):
    at = {"earliest": -2, "latest": -1}.get(command["at"], command["at"])
    listed = []
    for partition in command["partitions"]:
        answer = kcat("-Q", "-t", f"{command['topic']}:{partition}:{at}").decode()
        listed.append(int(re.search(r"offset (-?\d+)", answer).group(1)))
    return {"offsets": listed}


def main():
    commands = {"produce": produce, "consume": consume, "offsets": offsets}
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = commands[command["do"]](command)
        except Exception as problem:  # whatever goes wrong is the answer
            answer = {"error": repr(problem)}
        print(json.dumps(answer), flush=True)


main()
