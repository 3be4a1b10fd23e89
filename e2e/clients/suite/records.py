"""The records that the matrix writes, every shape a record can have, and what each reader is expected to make of them."""

import base64
import hashlib
import random

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
TEN_MEBIBYTES = 10 << 20
EVERY_BYTE = bytes(range(256))
BASE_TIME = 1_600_000_000_000

KEYS = [None, b"", b"k", EVERY_BYTE, "Schlüssel ✉".encode()]
VALUES = [None, b"", b"v", EVERY_BYTE, b"the castle hill was hidden, veiled in mist and darkness; " * 20, b"\0" * 3000]
HEADERS = [
    [],
    [("plain", b"text")],
    [("twice", b"1"), ("other", b"2"), ("twice", b"3")],
    [("same", b"x"), ("same", b"x"), ("same", b"")],
    [("nothing", None), ("empty", b""), ("nothing", None)],
    [("ключ ✉", "слово".encode())],
    [("", b"a header without a name")],
    [(f"h{number:03}", EVERY_BYTE) for number in range(100)],
]
# Not in order, and one from the beginning of time.
TIMES = [BASE_TIME, BASE_TIME + 5, BASE_TIME + 3, BASE_TIME + 10**9, 1, BASE_TIME + 7]


def encoded(data):
    return None if data is None else base64.b64encode(data).decode()


def record(partition, key, value, headers, timestamp):
    headers = [[name, encoded(data)] for name, data in headers]
    return {"partition": partition, "key": encoded(key), "value": encoded(value), "headers": headers, "timestamp": timestamp}


def written_by(kind, partition):
    """What a client writes to a partition: every key with every value, every set of headers, as far as it can say such a thing."""
    records = []
    for number, (key, value) in enumerate((key, value) for key in KEYS for value in VALUES):
        records.append(record(partition, key, value, HEADERS[number % len(HEADERS)], TIMES[number % len(TIMES)]))
    for number in range(300):
        digest = hashlib.sha256(f"{kind} {partition} {number}".encode()).hexdigest().encode()
        records.append(record(partition, digest[:8], digest * 3, [], BASE_TIME + number))
    return [each for each in records if can_write(kind, each)]


def large(partition, seed=1):
    """10 MiB that no codec makes smaller."""
    return record(partition, b"large", random.Random(seed).randbytes(TEN_MEBIBYTES), [("size", b"10 MiB")], BASE_TIME)


def can_write(kind, each):
    """KafkaJS has no null in headers. kcat takes what is empty as null, has text in headers, and no time of its own."""
    if kind == "kafkajs":
        return all(value is not None for _, value in each["headers"])
    if kind == "kcat":
        text = all(name and (value is None or b"\0" not in base64.b64decode(value)) for name, value in each["headers"])
        each["timestamp"] = None
        return each["key"] != "" and each["value"] != "" and text
    return True


def grouped(headers):
    """KafkaJS keeps headers by name: the order among the values of a name stays, that among names does not."""
    by_name = {}
    for name, value in headers:
        by_name.setdefault(name, []).append(value)
    return [[name, value] for name, values in by_name.items() for value in values]


def as_text(headers):
    """How kcat prints headers: values as far as their first zero."""
    shown = ((name, "NULL" if value is None else base64.b64decode(value).partition(b"\0")[0].decode(errors="replace")) for name, value in headers)
    return ",".join(f"{name}={value}" for name, value in shown)


def difference(writer, reader, expected, got):
    """What is wrong with a record that was read, or None."""
    for field in ("key", "value", "timestamp"):
        if got[field] != expected[field] and not (field == "timestamp" and expected[field] is None):
            return f"{field} {str(got[field])[:60]} is not {str(expected[field])[:60]}"
    headers = grouped(expected["headers"]) if "kafkajs" in (writer, reader) else expected["headers"]
    seen, wanted = (got["headers_text"], as_text(headers)) if reader == "kcat" else (got["headers"], headers)
    return None if seen == wanted else f"headers {str(seen)[:100]} are not {str(wanted)[:100]}"
