"""A member of a group as the suite sees it: a process, what it was given, what it read, what it committed."""

import time

PATIENCE = 60


def wait(condition, what, state=lambda: "", seconds=PATIENCE):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain for {what}; {state()}"
        time.sleep(0.02)


class Member:
    def __init__(self, clients, kind, **settings):
        self.began = time.monotonic()
        self.client = clients.start(kind, f"{kind}-member")
        self.kind, self.settings, self.gone = kind, settings, False
        self.client.send("join", **settings)
        self.client.receive()

    def events(self, *names):
        with self.client.news:
            return [(when, said) for when, said in self.client.events if said["event"] in names]

    def assigned(self):
        """The partitions it has now: `assigned` adds to them, `revoked` takes away."""
        partitions = set()
        for _, said in self.events("assigned", "revoked"):
            (partitions.update if said["event"] == "assigned" else partitions.difference_update)(said["partitions"])
        return partitions

    def assignments(self):
        return len(self.events("assigned"))

    def first_assignment(self):
        """Seconds from the start of the process to its first partitions."""
        return next(when - self.began for when, said in self.events("assigned") if said["partitions"])

    def read(self):
        return [tuple(each) for _, said in self.events("records") for each in said["records"]]

    def texts(self):
        return [text for _, _, text in self.read()]

    def committed(self):
        """The greatest offset of each partition whose commit was acknowledged to it."""
        greatest = {}
        for _, said in self.events("committed"):
            for partition, offset in said["offsets"]:
                greatest[partition] = max(offset, greatest.get(partition, 0))
        return greatest

    def committed_total(self):
        """How many records it has read whose commits were acknowledged."""
        done = self.committed()
        return sum(1 for partition, offset, _ in self.read() if offset < done.get(partition, 0))

    def troubles(self):
        return [said["why"] for _, said in self.events("trouble", "died")]

    def died(self):
        return [said["why"] for _, said in self.events("died")]

    def summary(self):
        return f"{self.kind} has {sorted(self.assigned())}, read {len(self.read())}, committed {self.committed()}, troubles {self.troubles()[:3]}"

    def leave(self):
        self.client.ask("leave")
        self.client.close()
        self.gone = True

    def kill(self):
        self.client.kill()
        self.gone = True
