"""Producers that write through whatever happens, and what they saw. Kept small: a long run acknowledges millions of records."""

import array
import collections
import json
import subprocess
import threading
import time

from confluent_kafka import Consumer, Producer, TopicPartition

REMEMBERED = 300.0  # s: how long it is known when a record was sent and heard of
AT_ONCE = 2_000_000  # records that are compared at once


class Acknowledged:
    """The records of one writer that were acknowledged: where, and the number that is their value."""

    def __init__(self, partitions):
        self.places = [(array.array("q"), array.array("q")) for _ in range(partitions)]
        self.somewhere = [set() for _ in range(partitions)]  # told to be there already, and not where
        self.recent = collections.deque()  # (sent, heard, partition)
        self.count, self.last = 0, 0.0

    def add(self, partition, offset, number, sent):
        heard = time.monotonic()
        if offset is None or offset < 0:
            self.somewhere[partition].add(number)
        else:
            offsets, numbers = self.places[partition]
            offsets.append(offset)
            numbers.append(number)
        self.recent.append((sent, heard, partition))
        while self.recent[0][1] < heard - REMEMBERED:
            self.recent.popleft()
        self.count, self.last = self.count + 1, heard

    def slowest(self, since, until):
        """The longest time in seconds that a record sent in this span waited for its acknowledgement, and its partition."""
        waits = [(heard - sent, partition) for sent, heard, partition in self.recent.copy() if since <= sent <= until]
        return max(waits, default=(0.0, -1))

    def longest_silence(self, since, until):
        """The longest time between two acknowledgements, for a writer that does not say when it sent what."""
        heard = [since, *(heard for _, heard, _ in self.recent.copy() if since <= heard <= until), until]
        return max(later - earlier for earlier, later in zip(heard, heard[1:]))


class Writer(threading.Thread):
    """librdkafka: an idempotent producer with the library's own retries, at a fixed rate, whatever the answers do."""

    def __init__(self, label, bootstrap, topic, partitions, rate, **settings):
        super().__init__(daemon=True)
        self.label, self.topic, self.partitions, self.rate = label, topic, partitions, rate
        self.acknowledged = Acknowledged(partitions)
        self.waiting = {}  # number: when it was sent; the oldest first
        self.failures, self.sent = [], 0
        self.stopping = threading.Event()
        # Broken connections are what this is about: no complaints of the library on the terminal.
        self.producer = Producer({"bootstrap.servers": bootstrap, "log_level": 0, "enable.idempotence": True, "acks": "all", "linger.ms": 0, **settings})

    def value(self, number):
        return f"{self.label}.{number}".encode()

    def run(self):
        started = time.monotonic()
        while not self.stopping.is_set():
            due = int((time.monotonic() - started) * self.rate)
            while self.sent < due and self._send():
                pass
            self.producer.poll(0.002)
        left = self.producer.flush(150)
        if left:
            self.failures.append(f"{left} records are unsettled after 150 s")

    def _send(self):
        number, now = self.sent, time.monotonic()
        try:
            self.producer.produce(self.topic, self.value(number), partition=number % self.partitions, on_delivery=lambda error, message: self._report(error, message, number))
        except BufferError:
            self.producer.poll(0.05)
            return False
        self.waiting[number] = now
        self.sent += 1
        return True

    def _report(self, error, message, number):
        sent = self.waiting.pop(number)
        if error is not None:
            self.failures.append(str(error))
            return
        self.acknowledged.add(message.partition(), message.offset(), number, sent)

    def finish(self):
        self.stopping.set()
        self.join()

    def is_settled(self, until):
        """Whether everything sent before that moment is answered."""
        try:
            return next(iter(self.waiting.values()), until + 1) > until
        except RuntimeError:  # something was sent or answered just now
            return False


class JavaWriter(threading.Thread):
    """Apache Kafka's own producer with its defaults (idempotent, acks=all), as kafka-verifiable-producer runs it."""

    def __init__(self, number, jars, bootstrap, topic, partitions, rate, folder, **settings):
        super().__init__(daemon=True)
        self.label, self.failures = str(number), []
        self.acknowledged = Acknowledged(partitions)
        # The tool turns the producer's retries off, which are Java's default as idempotence is.
        path = f"{folder}/java.properties"
        with open(path, "w", encoding="ascii") as file:
            file.writelines(f"{key}={value}\n" for key, value in {"retries": 2**31 - 1, "enable.idempotence": "true", "linger.ms": 0, **settings}.items())
        command = ["java", "-Xmx192m", "-cp", f"{jars}/*", "org.apache.kafka.tools.VerifiableProducer", "--bootstrap-server", bootstrap, "--topic", topic, "--acks", "-1"]
        command += ["--throughput", str(rate), "--value-prefix", self.label, "--command-config", path]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def value(self, number):
        return f"{self.label}.{number}".encode()

    def run(self):
        for line in self.process.stdout:
            event = json.loads(line)
            if event["name"] == "producer_send_success":
                number = int(event["value"].rpartition(".")[2])
                self.acknowledged.add(event["partition"], event["offset"], number, time.monotonic())
            elif event["name"] == "producer_send_error":
                self.failures.append(event.get("message") or str(event.get("exception")))

    def finish(self):
        if self.process.poll() is not None:
            self.failures.append(f"Java's producer ended by itself, with exit code {self.process.returncode}")
        self.process.terminate()  # its hook waits for what is under way
        self.process.wait(150)
        self.join()

    def kill(self):
        self.process.kill()


def check(writers, bootstrap, topic, partitions, patience=30):
    """Reads all of a topic: nothing that was acknowledged is lost, moved or changed, nothing is there twice, each writer's records are in its order, and no offset is missing.

    How many records were acknowledged.
    """
    failures = [failure for writer in writers for failure in writer.failures]
    assert not failures, f"{len(failures)} records failed, the first by {failures[0]}"
    consumer = Consumer({"bootstrap.servers": bootstrap, "log_level": 0, "group.id": "check", "enable.auto.commit": False, "auto.offset.reset": "error"})
    together, size = {}, 0
    for partition in range(partitions):
        low, end = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=patience)
        assert low == 0, f"partition {partition} begins at {low}"
        if together and size + end > AT_ONCE:
            check_partitions(writers, consumer, topic, together, patience)
            together, size = {}, 0
        together[partition], size = end, size + end
    check_partitions(writers, consumer, topic, together, patience)
    consumer.close()
    return sum(writer.acknowledged.count for writer in writers)


def check_partitions(writers, consumer, topic, ends, patience):
    promised = {(partition, offset): writer.value(number) for writer in writers for partition in ends for offset, number in zip(*writer.acknowledged.places[partition])}
    assert len(promised) == sum(len(writer.acknowledged.places[partition][0]) for writer in writers for partition in ends), "an offset was acknowledged twice"
    placeless = {(partition, writer.value(number)) for writer in writers for partition in ends for number in writer.acknowledged.somewhere[partition]}
    consumer.assign([TopicPartition(topic, partition, 0) for partition in ends])
    newest, due = {}, dict.fromkeys(ends, 0)
    left = sum(ends.values())
    while left > 0:
        messages = consumer.consume(10_000, patience)
        assert messages, f"no record for {patience} s, {left} are left"
        for message in messages:
            assert message.error() is None, message.error()
            partition, offset, value = message.partition(), message.offset(), message.value()
            place = f"{partition}:{offset}"
            assert offset == due[partition], f"{place} where {due[partition]} was due"
            due[partition] += 1
            if offset >= ends[partition]:
                continue
            left -= 1
            placeless.discard((partition, value))
            expected = promised.pop((partition, offset), value)
            assert value == expected, f"{place} is {value}, and {expected} was acknowledged"
            label, _, number = value.decode().rpartition(".")
            before = newest.get((label, partition), -1)
            assert int(number) > before, f"{value} at {place} comes after {label}.{before}"
            newest[(label, partition)] = int(number)
    assert not promised, f"{len(promised)} acknowledged records are lost, the first at {min(promised)}"
    assert not placeless, f"{len(placeless)} records that were told to be there already are not, one is {min(placeless)}"
