"""Offsets by time and by place, seeking, and a group of one."""

import base64
import random
import time

import members
import records

BASE = records.BASE_TIME


def places(clients, kind):
    """Two batches whose times are out of order, one of them compressed: every answer is accurate to the record."""
    client, topic = clients.start(kind, f"{kind}-places"), f"places-{kind}"
    chance = random.Random(kind)
    # Later batches tend to be later, so that each of them answers some of the questions.
    times = [BASE + 300 * (number // 20) + chance.randrange(600) for number in range(80)]
    maker = clients.start(clients.first("java-4.3"), f"{kind}-places-maker")
    maker.ask("create_topic", topic=topic, partitions=1, configs={"retention.ms": "-1"})
    for codec, part in (("none", range(0, 20)), ("gzip", range(20, 40)), ("zstd", range(40, 60)), ("lz4", range(60, 80))):
        batch = [records.record(0, None, b"record %d" % number, [], times[number]) for number in part]
        maker.ask("produce", topic=topic, compression=codec, records=batch)
    maker.close()

    commands = ["offsets"] if kind == "kcat" else ["offsets", "list_offsets"]
    for command in commands:
        for at, due in (("earliest", 0), ("latest", len(times))):
            (got,) = client.ask(command, topic=topic, partitions=[0], at=at)["offsets"]
            assert got == due, f"{command} {at}: {got} is not {due}"
        # kcat is a process for each question.
        asked = times[::10] if kind == "kcat" else times
        for at in [BASE, BASE + 2000, max(times), max(times) + 1, *asked]:
            (got,) = client.ask(command, topic=topic, partitions=[0], at=at)["offsets"]
            # Clients tell of `none` by -1 or by the end.
            due = next(([offset] for offset, each in enumerate(times) if each >= at), [-1, len(times)])
            assert got in due, f"{command} at {at - BASE} ms: offset {got} is not {due}"
    if kind not in ("kcat", "kafkajs", "java-2.8"):
        (got,) = client.ask("list_offsets", topic=topic, partitions=[0], at="max")["offsets"]
        assert got == times.index(max(times)), f"the greatest time is at {times.index(max(times))}, not at {got}"

    for start, end in ((0, 80), (7, 8), (33, 61), (79, 80)):
        got = client.ask("consume", topic=topic, partitions=[[0, start, end]])["records"]
        numbers = [(each["offset"], base64.b64decode(each["value"])) for each in got]
        assert numbers == [(number, b"record %d" % number) for number in range(start, end)], f"from {start} to {end}: {numbers[:3]}..."
    client.close()
    return "4 batches of 4 codecs, times out of order"


def acknowledgements(clients, kind):
    """The first write makes the topic, as clients are used to; every kind of acknowledgement leaves its records."""
    client, topic, total = clients.start(kind, f"{kind}-acks"), f"acks-{kind}", 0
    began = time.monotonic()
    for acks, idempotent in (("all", True), ("all", False), ("1", False), ("0", False)):
        batch = [records.record(0, None, f"{acks} {number}".encode(), [], None) for number in range(50)]
        offsets = client.ask("produce", topic=topic, compression="none", acks=acks, idempotent=idempotent, records=batch)["offsets"]
        first = time.monotonic() - began if total == 0 else first
        assert acks == "0" or offsets in (None, list(range(total, total + 50))), f"acks={acks}: offsets {offsets[:3]}... where {total}... were due"
        total += len(batch)
    got = client.ask("consume", topic=topic, partitions=[[0, 0, total]])["records"]
    texts = [base64.b64decode(each["value"]).decode() for each in sorted(got, key=lambda each: each["offset"])]
    due = [f"{acks} {number}" for acks in ("all", "all", "1", "0") for number in range(50)]
    assert texts == due, f"{len(texts)} records, {len(due)} were written"
    client.close()
    return f"{1000 * first:.0f} ms to start, make the topic and write"


def alone_in_a_group(clients, kind):
    topic, group = f"alone-{kind}", f"alone-{kind}"
    writer = clients.start(kind, f"{kind}-alone-writer")
    writer.ask("create_topic", topic=topic, partitions=3)
    total, joined = 0, []
    for _ in range(2):
        numbers = range(total, total + 300)
        batch = [records.record(number % 3, None, str(number).encode(), [], None) for number in numbers]
        writer.ask("produce", topic=topic, compression="none", records=batch)
        member = members.Member(clients, kind, group=group, topic=topic)
        members.wait(lambda: member.committed_total() == len(numbers), f"{kind} to read and commit {len(numbers)} records", lambda: member.summary())
        joined.append(member.first_assignment())
        member.leave()
        got = sorted(int(text) for text in member.texts())
        assert got == list(numbers), f"{len(got)} records from {got[:1]} where {numbers[0]} to {numbers[-1]} were due"
        total += len(numbers)
    ends = writer.ask("group_offsets", group=group)["offsets"]
    assert [offset for _, offset, _ in ends] == [total // 3] * 3, f"committed {ends}"
    writer.close()
    return f"assigned {1000 * joined[0]:.0f} and {1000 * joined[1]:.0f} ms after the start of its process"
