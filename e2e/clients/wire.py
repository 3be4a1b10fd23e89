"""The few requests that tests make by hand, where a client library would hide what happens on the wire."""

import socket
import struct
import time

API_VERSIONS, METADATA, PRODUCE, FETCH = 18, 3, 0, 1


def _crc32c_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


CRC32C = _crc32c_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = CRC32C[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def varint(value):
    value = (value << 1) ^ (value >> 63)
    out = bytearray()
    while True:
        if value < 0x80:
            out.append(value)
            return bytes(out)
        out.append(value & 0x7F | 0x80)
        value >>= 7


def string(text):
    return struct.pack(">h", len(text)) + text.encode()


def batch(values):
    """A record batch of format 2 as a producer without an id sends it."""
    now = int(time.time() * 1000)
    records = b""
    for index, value in enumerate(values):
        body = b"\0" + varint(0) + varint(index) + varint(-1) + varint(len(value)) + value + varint(0)
        records += varint(len(body)) + body
    checked = struct.pack(">hiqqqhii", 0, len(values) - 1, now, now, -1, -1, -1, len(values)) + records
    return struct.pack(">qiibI", 0, len(checked) + 9, -1, 2, crc32c(checked)) + checked


class Connection:
    def __init__(self, address, timeout=10.0):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.correlation = 0

    def send(self, key, version, body):
        self.correlation += 1
        frame = struct.pack(">hhi", key, version, self.correlation) + string("test") + body
        self.socket.sendall(struct.pack(">i", len(frame)) + frame)

    def receive(self):
        """The answer's bytes after the correlation id, or None when the broker closed the connection."""
        head = self._exactly(4)
        if head is None:
            return None
        answer = self._exactly(struct.unpack(">i", head)[0])
        return None if answer is None else answer[4:]

    def ask(self, key, version, body):
        self.send(key, version, body)
        return self.receive()

    def _exactly(self, count):
        data = b""
        while len(data) < count:
            try:
                piece = self.socket.recv(count - len(data))
            except ConnectionResetError:
                return None
            if not piece:
                return None
            data += piece
        return data

    def metadata(self, topic):
        """Asks for a topic, version 4, and lets the broker make it. The error code of the topic, and of its first partition if it has one."""
        answer = self.ask(METADATA, 4, struct.pack(">i", 1) + string(topic) + b"\1")
        at = 4  # throttle time
        (brokers,) = struct.unpack_from(">i", answer, at)
        at += 4
        for _ in range(brokers):
            at += 4
            at += 2 + struct.unpack_from(">h", answer, at)[0] + 4
            rack = struct.unpack_from(">h", answer, at)[0]
            at += 2 + max(rack, 0)
        cluster = struct.unpack_from(">h", answer, at)[0]
        at += 2 + max(cluster, 0) + 4 + 4
        (error,) = struct.unpack_from(">h", answer, at)
        at += 2
        at += 2 + struct.unpack_from(">h", answer, at)[0] + 1
        (partitions,) = struct.unpack_from(">i", answer, at)
        return error, struct.unpack_from(">h", answer, at + 4)[0] if partitions else None

    def produce(self, topic, values, acks=-1, partition=0):
        """Sends one batch, version 3, and returns error code and base offset."""
        data = batch(values)
        body = struct.pack(">hhi", -1, acks, 10_000) + struct.pack(">i", 1) + string(topic)
        body += struct.pack(">iii", 1, partition, len(data)) + data
        answer = self.ask(PRODUCE, 3, body)
        at = 4 + 2 + len(topic) + 4 + 4
        return struct.unpack_from(">hq", answer, at)

    def close(self):
        self.socket.close()


def make_topic(address, topic, seconds=10.0):
    """Waits until the broker listens and the topic has a leader."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            connection = Connection(address)
            while connection.metadata(topic) != (0, 0):
                if time.monotonic() > deadline:
                    raise TimeoutError(f"topic {topic} has no leader after {seconds} s")
                time.sleep(0.0005)
            return connection
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.0005)
