"""The processes of the suite: one broker, and clients that are asked by lines of JSON."""

import json
import queue
import shlex
import subprocess
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent))
import addresses  # noqa: E402
import wire  # noqa: E402

PATIENCE = 60
# A member of the new protocol has no say in its session: the broker's default of 45 s would be 45 s of waiting after each kill.
CONFIGS = {"group.consumer.session.timeout.ms": "6000", "group.consumer.heartbeat.interval.ms": "500"}


class Refused(Exception):
    """A client answered with an error; `code` is Kafka's name of it, if it has one."""

    def __init__(self, client, answer):
        super().__init__(f"{client}: {answer['error'][:300]}")
        self.code = answer.get("code")


class Broker:
    """A standalone broker that keeps its address and its data through kill and restart."""

    def __init__(self, program, folder):
        self.program, self.folder, self.address, self.process = program, folder, addresses.free(), None
        self.log = open(folder / "broker.log", "a", encoding="utf-8")

    def start(self):
        data = self.folder / "data"
        command = [self.program, "standalone", "--data-dir", str(data), "--listen", self.address, "--metrics", "off"]
        for config in CONFIGS.items():
            command += ["--config", "=".join(config)]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)

    def answers(self):
        wire.make_topic(self.address, "first", PATIENCE).close()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()

    def segments(self, topic, partition):
        return sorted((self.folder / "data" / f"{topic}-{partition}").glob("*.log"))


class Clients:
    """The kinds of clients that are installed, and every process of them that was started."""

    def __init__(self, commands, address, folder):
        self.commands, self.address, self.folder, self.started = commands, address, folder, []
        self.times = defaultdict(list)

    def __iter__(self):
        return iter(self.commands)

    def first(self, kind):
        """That kind, or another that can do as much, where it is not installed."""
        return kind if kind in self.commands else next(each for each in self.commands if each != "kcat")

    def start(self, kind, name=None):
        client = Client(kind, name or kind, self)
        self.started.append(client)
        return client

    def close(self):
        for client in self.started:
            client.close()

    def complaints(self):
        """What clients logged, by kind: the first line of each and how many there were."""
        found = defaultdict(list)
        for client in self.started:
            lines = [line for line in client.log.read_text(errors="replace").splitlines() if line.strip()]
            found[client.kind] += lines
        return {kind: lines for kind, lines in found.items() if lines}


class Client:
    def __init__(self, kind, name, clients):
        self.kind, self.name, self.times = kind, name, clients.times
        self.log = clients.folder / f"{len(clients.started):03}-{name}.err"
        command = [*shlex.split(clients.commands[kind]), clients.address]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        self.answers, self.events, self.news = queue.Queue(), [], threading.Condition()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            said = json.loads(line)
            if "event" in said:
                with self.news:
                    self.events.append((time.monotonic(), said))
                    self.news.notify_all()
            else:
                self.answers.put(said)
        self.answers.put({"error": f"{self.name} has ended"})

    def send(self, do, **more):
        self.process.stdin.write(json.dumps({"do": do, **more}).encode() + b"\n")
        self.process.stdin.flush()

    def receive(self):
        try:
            answer = self.answers.get(timeout=PATIENCE)
        except queue.Empty:
            raise TimeoutError(f"{self.name} has not answered for {PATIENCE} s") from None
        if "error" in answer:
            raise Refused(self.name, answer)
        return answer

    def ask(self, do, **more):
        began = time.monotonic()
        self.send(do, **more)
        answer = self.receive()
        self.times[(self.kind, do)].append(time.monotonic() - began)
        return answer

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.reader.join(10)

    def close(self):
        if self.process.poll() is None:
            try:
                self.process.stdin.close()
                self.process.wait(20)
            except (subprocess.TimeoutExpired, BrokenPipeError):
                self.kill()
        self.reader.join(10)
