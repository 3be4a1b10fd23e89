#!/usr/bin/env python3
"""hostile.py ADDRESS PID: bytes that no client sends. Each costs its own connection at most, and no memory beyond the bytes sent."""

import os
import random
import socket
import struct
import sys
import time

import wire


def main():
    address, pid = sys.argv[1], int(sys.argv[2])
    witness = wire.make_topic(address, "witness")
    assert witness.produce("witness", [b"before"])[0] == 0
    before = resident(pid)

    for name, attack in attacks().items():
        if not attack(address):
            raise AssertionError(f"{name}: neither an answer nor the end of the connection within 5 s")
        error, _ = witness.produce("witness", [name.encode()])
        assert error == 0, f"{name}: another client got error {error}"
        assert alive(pid), f"{name}: the broker is gone"
    grown = resident(pid) - before
    assert grown < 2048, f"{grown} KiB more resident memory"
    print(f"{len(attacks())} kinds, {grown} KiB more resident memory, the other client saw nothing")


def attacks():
    chance = random.Random(3)
    header = struct.pack(">hhih", wire.METADATA, 1, 7, -1)
    return {
        "half a frame, then silence, while all the others come": half,
        # The issue's own: 12 bytes that declare 2^31 - 1 topics.
        "12 bytes with 2^31 elements": frame(header[:8] + struct.pack(">i", 0x7FFFFFFF)),
        "2^31 elements after a whole header": frame(header + struct.pack(">i", 0x7FFFFFFF)),
        "a count below -1": frame(header + struct.pack(">i", -2)),
        "a length of 2^31 - 1": raw(struct.pack(">i", 0x7FFFFFFF)),
        "a negative length": raw(struct.pack(">i", -1)),
        "a length of zero": raw(struct.pack(">i", 0)),
        "an unknown API": frame(struct.pack(">hhih", 999, 0, 7, -1)),
        "an unknown version": frame(struct.pack(">hhih", wire.METADATA, 999, 7, -1)),
        "random bytes": raw(bytes(chance.randrange(256) for _ in range(4096))),
        "an HTTP request": raw(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"),
        "a batch with a wrong checksum": broken_batch(lambda data: data[:17] + b"\0\0\0\0" + data[21:]),
        "a batch cut short": broken_batch(lambda data: data[:-3]),
        "a batch that counts 2^31 - 1 records": broken_batch(lambda data: data[:57] + struct.pack(">i", 0x7FFFFFFF) + data[61:]),
        "a topic name with a slash": topic_name("../../etc"),
    }


def raw(data):
    def attack(address):
        connection = wire.Connection(address, timeout=5)
        try:
            # Nothing says that this is all: the broker must not wait for more.
            connection.socket.sendall(data)
            connection.receive()
        except (TimeoutError, socket.timeout):
            return False
        except OSError:
            pass
        finally:
            connection.close()
        return True

    return attack


def frame(body):
    return raw(struct.pack(">i", len(body)) + body)


def broken_batch(spoil):
    def attack(address):
        connection = wire.Connection(address, timeout=5)
        data = spoil(wire.batch([b"x" * 100]))
        body = struct.pack(">hhii", -1, -1, 1000, 1) + wire.string("witness") + struct.pack(">iii", 1, 0, len(data)) + data
        answer = connection.ask(wire.PRODUCE, 3, body)
        connection.close()
        if answer is not None:
            (error,) = struct.unpack_from(">h", answer, 4 + 2 + len("witness") + 4 + 4)
            assert error in (2, 42, 87), f"error {error}, where CORRUPT_MESSAGE, INVALID_REQUEST or INVALID_RECORD was due"
        return True

    return attack


def topic_name(name):
    def attack(address):
        connection = wire.Connection(address, timeout=5)
        error, _ = connection.metadata(name)
        connection.close()
        assert error == 17, f"error {error}, where INVALID_TOPIC_EXCEPTION was due"
        return True

    return attack


SILENT = []


def half(address):
    connection = wire.Connection(address)
    connection.socket.sendall(struct.pack(">i", 1000) + b"\0" * 10)
    SILENT.append(connection)
    return True


def resident(pid):
    time.sleep(0.2)  # let what was taken be given back
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def alive(pid):
    return os.path.exists(f"/proc/{pid}/exe")


main()
