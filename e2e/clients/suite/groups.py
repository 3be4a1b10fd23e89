"""One group with members of several languages: joins, leaves, kills, static restarts, and a broker that is killed."""

import random
import threading
import time

import members
import records
from process import Refused

PARTITIONS = 12
# What makes a member one of the new protocol; the assignor is the server's.
NEW = {"protocol": "consumer"}


class Writer(threading.Thread):
    """Writes numbers through all that happens; a number that was not acknowledged is written again."""

    def __init__(self, clients, kind, topic, first=0):
        super().__init__(daemon=True)
        self.client, self.topic, self.next, self.stopping = clients.start(kind, f"{kind}-writer"), topic, first, threading.Event()
        self.failure = None

    def run(self):
        chance = random.Random(7)
        while not self.stopping.is_set():
            batch = [records.record(chance.randrange(PARTITIONS), None, str(self.next + number).encode(), [], None) for number in range(20)]
            try:
                self.client.ask("produce", topic=self.topic, compression="lz4", records=batch)
                self.next += len(batch)
            except Refused:
                continue
            except Exception as problem:  # told by finish()
                self.failure = problem
                return
            self.stopping.wait(0.02)

    def finish(self):
        self.stopping.set()
        self.join(60)
        self.client.close()
        assert self.failure is None and not self.is_alive(), f"the writer failed: {self.failure}"
        return self.next


class Group:
    """A group, all the members it ever had, and what they saw."""

    def __init__(self, clients, name, **settings):
        self.clients, self.settings = clients, {"group": name, "topic": name, **settings}
        self.living, self.all = [], []
        self.asker = clients.start(clients.first("java-4.3"), f"{name}-asker")
        self.asker.ask("create_topic", topic=name, partitions=PARTITIONS)

    def join(self, kind, **more):
        member = members.Member(self.clients, kind, **{**self.settings, **more})
        self.living.append(member)
        self.all.append(member)
        return member

    def leave(self, member):
        self.living.remove(member)
        member.leave()

    def kill(self, member):
        self.living.remove(member)
        member.kill()

    def shared(self):
        """Every partition has one owner, and shares are fair."""
        shares = [member.assigned() for member in self.living]
        fair = all(PARTITIONS // len(shares) <= len(share) <= -(-PARTITIONS // len(shares)) for share in shares)
        return fair and sum(map(len, shares)) == PARTITIONS and set().union(*shares) == set(range(PARTITIONS))

    def settle(self, what):
        members.wait(self.shared, f"{what}: fair shares for {len(self.living)} members", self.summary)

    def progress(self, what):
        """Every living member reads and commits something new."""
        before = {member: len(member.events("committed")) for member in self.living}
        members.wait(lambda: all(len(member.events("committed")) > count for member, count in before.items()), f"{what}: all members to commit", self.summary)

    def seen(self):
        return {int(text) for member in self.all for text in member.texts()}

    def committed(self):
        greatest = {}
        for member in self.all:
            for partition, offset in member.committed().items():
                greatest[partition] = max(offset, greatest.get(partition, 0))
        return greatest

    def stored(self):
        return {partition: offset for partition, offset, _ in self.asker.ask("group_offsets", group=self.settings["group"])["offsets"]}

    def verify(self, written):
        """All that was acknowledged was seen, and the commits stand at the end of each partition."""
        members.wait(lambda: self.seen() >= set(range(written)), f"all of {written} records", lambda: self.missing(written))
        ends = self.asker.ask("offsets", topic=self.settings["topic"], partitions=list(range(PARTITIONS)), at="latest")["offsets"]
        members.wait(lambda: [self.stored().get(partition, 0) for partition in range(PARTITIONS)] == ends, f"commits at {ends}", lambda: f"{self.stored()}; {self.summary()}")
        died = [f"{member.kind}: {why}" for member in self.all for why in member.died()]
        assert not died, f"members died by themselves: {died}"
        return sum(ends)

    def missing(self, written):
        missing = sorted(set(range(written)) - self.seen())
        return f"{len(missing)} were never read, the first {missing[:3]}; {self.summary()}"

    def summary(self):
        return " | ".join(member.summary() for member in self.living)

    def close(self):
        for member in list(self.living):
            self.leave(member)
        self.asker.close()


class Groups:
    def __init__(self, broker, clients):
        self.broker, self.clients = broker, clients

    def tests(self):
        languages = [kind for kind in ("java-4.3", "librdkafka", "franz-go", "kafkajs") if kind in self.clients]
        older = [kind for kind in ("java-2.8", "java-3.9") if kind in self.clients]
        static = [kind for kind in languages if kind != "kafkajs"]
        yield f"one group of {', '.join(languages)}: joins, leaves, kill -9", self.comings_and_goings, "castle", [(kind, {}) for kind in languages]
        yield f"one group of {', '.join(languages + older)}: commits survive the broker's kill -9", self.broker_killed, "village", [(kind, {}) for kind in languages + older]
        yield f"static members of {', '.join(static)} restart without a rebalance", self.static_restarts, "inn", static

        cooperative = [(kind, {"assignor": "cooperative-sticky"}) for kind in static]
        yield f"one cooperative group of {', '.join(static)}: joins, leaves, kill -9", self.comings_and_goings, "mill", cooperative
        yield from self.new_protocol(static)

    def new_protocol(self, languages):
        new = [(kind, NEW) for kind in languages]
        mixed = [(kind, NEW) for kind in ("java-4.3", "librdkafka") if kind in self.clients]
        mixed += [(kind, {}) for kind in ("franz-go", "kafkajs", "java-2.8") if kind in self.clients]
        names = ", ".join(f"{kind} (KIP-848)" if settings else kind for kind, settings in mixed)
        yield f"one KIP-848 group of {', '.join(languages)}: joins, leaves, kill -9", self.comings_and_goings, "tavern", new
        yield f"one group of {names}: joins, leaves, kill -9", self.comings_and_goings, "bridge", mixed
        yield f"one group of {names}: commits survive the broker's kill -9", self.broker_killed, "school", mixed
        # Not franz-go: at Apache Kafka, too, its restart makes the others join again.
        static = [kind for kind in languages if kind != "franz-go"]
        yield f"static KIP-848 members of {', '.join(static)} restart without a rebalance", self.static_restarts, "church", static, NEW
        yield f"a group of {', '.join(languages)} moves to KIP-848 and back, member by member", self.migration, "road", languages

    def comings_and_goings(self, name, kinds):
        group = Group(self.clients, name)
        writer = Writer(self.clients, self.clients.first("franz-go"), name)
        writer.start()
        for count, (kind, settings) in enumerate(kinds, 1):
            group.join(kind, **settings)
            group.settle(f"{kind} joined as number {count}")
        group.progress("after the joins")
        for index, (kind, settings) in enumerate(kinds):
            member = next(each for each in group.living if each.kind == kind and settings.items() <= each.settings.items())
            (group.leave if index % 2 else group.kill)(member)
            group.settle(f"{kind} {'left' if index % 2 else 'was killed'}")
            group.progress(f"after {kind} went")
            group.join(kind, **settings)
            group.settle(f"{kind} came back")
        group.progress("at the end")
        written = writer.finish()
        stored = group.verify(written)
        seen = sum(len(member.read()) for member in group.all)
        self.newcomer(group, name, written)
        group.close()
        return f"{written} records written, {stored} stored, {seen} read, {len(group.all)} members came"

    def newcomer(self, group, name, written):
        """Who joins when all are gone begins at the commits."""
        for member in list(group.living):
            group.leave(member)
        last = group.join(self.clients.first("librdkafka"))
        group.settle("the newcomer joined")
        writer = Writer(self.clients, self.clients.first("franz-go"), name, first=written)
        writer.start()
        group.progress("the newcomer reads")
        total = writer.finish()
        members.wait(lambda: {int(text) for text in last.texts()} >= set(range(written, total)), "the newcomer to read on", last.summary)
        again = [text for text in last.texts() if int(text) < written]
        assert not again, f"{len(again)} records came again after their commits"

    def broker_killed(self, name, kinds):
        group = Group(self.clients, name)
        writer = Writer(self.clients, self.clients.first("franz-go"), name)
        writer.start()
        for kind, settings in kinds:
            group.join(kind, **settings)
        group.settle("all joined")
        absent = {}
        for number in range(1, 4):
            group.progress(f"before kill {number}")
            acknowledged = group.committed()
            self.broker.kill()
            self.broker.start()
            began = time.monotonic()
            members.wait(lambda: self.answering(group), "the broker to answer")
            stored = group.stored()
            back = {partition: (offset, stored.get(partition)) for partition, offset in acknowledged.items() if stored.get(partition, -1) < offset}
            assert not back, f"kill {number} took commits back, of each partition what was acknowledged and what is there: {back}"
            group.progress(f"after kill {number}")
            for member in group.living:
                back = next(when for when, _ in member.events("committed") if when > began) - began
                absent[member.kind] = max(back, absent.get(member.kind, 0))
        group.settle("after the kills")
        written = writer.finish()
        stored = group.verify(written)
        group.close()
        slowest = ", ".join(f"{kind} {seconds:.1f} s" for kind, seconds in absent.items())
        return f"3 kills, {written} records written, {stored} stored; commits again after at most: {slowest}"

    @staticmethod
    def answering(group):
        try:
            return group.stored() is not None
        except Refused:
            return False

    def migration(self, name, kinds):
        """Classic members are replaced by new ones, one at a time, and those by classic ones again."""
        group = Group(self.clients, name)
        writer = Writer(self.clients, self.clients.first("franz-go"), name)
        writer.start()
        for kind in kinds:
            group.join(kind, assignor="range")
        group.settle("all joined")
        for settings in (NEW, {"assignor": "range"}):
            for member in list(group.living):
                group.leave(member)
                group.join(member.kind, **settings)
                group.settle(f"{member.kind} came back with {settings}")
                group.progress(f"after {member.kind} came back with {settings}")
        written = writer.finish()
        stored = group.verify(written)
        group.close()
        return f"{len(group.all)} members came, {written} records written, {stored} stored"

    def static_restarts(self, name, kinds, settings=None):
        settings = settings or {}
        group = Group(self.clients, name, session_ms=30_000, **settings)
        writer = Writer(self.clients, self.clients.first("franz-go"), name)
        writer.start()
        for kind in kinds:
            group.join(kind, instance=f"{kind}-instance")
        group.settle("all joined")
        group.progress("before the restarts")
        for index, kind in enumerate(kinds):
            member = next(each for each in group.living if each.kind == kind)
            others = {each: each.assignments() for each in group.living if each is not member}
            share = member.assigned()
            # The new protocol keeps a killed member's instance until its session ends: only a leave says that it will be back.
            (group.leave if index % 2 or settings else group.kill)(member)
            again = group.join(kind, instance=f"{kind}-instance")
            members.wait(lambda: again.assigned() == share, f"{kind} to have {sorted(share)} again", group.summary)
            group.progress(f"{kind} is back")
            moved = [each.kind for each, count in others.items() if each.assignments() != count]
            assert not moved, f"{kind} restarted, and {moved} had to join again"
        written = writer.finish()
        stored = group.verify(written)
        group.close()
        return f"{len(kinds)} restarts, {written} records written, {stored} stored"
