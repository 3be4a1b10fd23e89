"""Every client writes with every codec it has; every client reads all of it."""

import os
import struct

import records

LIMIT = 12 << 20


class Matrix:
    def __init__(self, broker, clients):
        self.broker, self.clients = broker, clients
        self.readers = {}

    def reader(self, kind):
        if kind not in self.readers:
            self.readers[kind] = self.clients.start(kind, f"{kind}-matrix")
        return self.readers[kind]

    def write_and_read(self, kind):
        """One topic for each writer, one partition for each codec, the large records at the end."""
        topic, writer = f"written-by-{kind}", self.reader(kind)
        maker = self.clients.first("java-4.3")
        limits = {"max.message.bytes": str(LIMIT), "retention.ms": "-1"}
        self.reader(maker).ask("create_topic", topic=topic, partitions=len(records.CODECS), configs=limits)
        expected = {}
        for partition, codec in enumerate(records.CODECS):
            batch = records.written_by(kind, partition)
            self.write(writer, topic, codec, batch, expected)
            if codec == "none" or os.environ.get("BARNABAS_LONG"):
                large = records.large(partition)
                records.can_write(kind, large)
                self.write(writer, topic, codec, [large], expected)
        self.witness(topic)
        ends = [[partition, 0, sum(1 for place in expected if place[0] == partition)] for partition in range(len(records.CODECS))]
        times = {}
        for reader in self.clients:
            self.read(kind, reader, topic, ends, expected, times)
        return f"{len(expected)} records with {len(records.CODECS)} codecs and 10 MiB, {len(list(self.clients))} readers"

    @staticmethod
    def write(writer, topic, codec, batch, expected):
        offsets = writer.ask("produce", topic=topic, compression=codec, records=batch)["offsets"]
        partition = batch[0]["partition"]
        start = sum(1 for place in expected if place[0] == partition)
        due = list(range(start, start + len(batch)))
        assert offsets in (None, due), f"{writer.name} was told offsets {offsets[:5]}... where {due[:5]}... were due"
        expected.update({(partition, offset): each for offset, each in zip(due, batch)})

    def witness(self, topic):
        """The segments tell whether the codec that was asked for was used: a client that thinks ill of a broker leaves it out in silence."""
        for partition, codec in enumerate(records.CODECS):
            used = set()
            for path in self.broker.segments(topic, partition):
                data, at = path.read_bytes(), 0
                while at < len(data):
                    length, attributes = struct.unpack_from(">8xi9xh", data, at)
                    used.add(records.CODECS[attributes & 7])
                    at += 12 + length
            # A batch that its codec would make larger may go without.
            assert codec in used and used <= {codec, "none"}, f"partition {partition} of {topic} should hold {codec} and holds {used}"

    def read(self, writer, reader, topic, ends, expected, times):
        got = self.reader(reader).ask("consume", topic=topic, partitions=ends)["records"]
        places = [(each["partition"], each["offset"]) for each in got]
        missing = set(expected) - set(places)
        assert not missing, f"{reader} misses {len(missing)} of {len(expected)} records of {writer}, the first {min(missing)}"
        assert len(places) == len(expected), f"{reader} has {len(places)} records, {writer} wrote {len(expected)}"
        for place, each in zip(places, got):
            wrong = records.difference(writer, reader, expected[place], each)
            assert wrong is None, f"{writer} wrote {place} with {records.CODECS[place[0]]}, {reader} reads: {wrong}"
            # What the writer left to the broker is the same for all readers.
            first = times.setdefault(place, each["timestamp"])
            assert first == each["timestamp"], f"{reader} reads {place} of {writer} with time {each['timestamp']}, another with {first}"
