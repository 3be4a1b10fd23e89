"""What happens under the load of clients that must not notice."""

import os
import re
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException

from api import ApiError
from cluster import Roll
from topics import count_ready
from world import CLIENTS, GROUP, PATIENCE, WORK, ready, settle, wait_for


class Load:
    """e2e/clients/load.py: idempotent writes with acks=all and reads, until told to end; then nothing may have failed, and all be read."""

    def __init__(self, world, namespace, cluster, topic):
        world.topic(namespace, topic, cluster, partitions=6)
        world.wait_ready("topics", namespace, topic)
        self.report, self.log = os.path.join(WORK, "load.report"), os.path.join(WORK, "load.log")
        brokers = [world.kubelet.find(namespace, f"{cluster}-{id}").ip for id in range(3)]
        bootstrap = ",".join(f"{ip}:9092" for ip in brokers)
        program = os.path.join(CLIENTS, "load.py")
        if os.path.exists(self.report):
            os.remove(self.report)  # an earlier load's
        with open(self.log, "wb") as out:
            self.process = subprocess.Popen([os.environ["PYTHON"], program, bootstrap, topic, self.report], stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        try:
            wait_for(PATIENCE, "a load", lambda: os.path.exists(self.report) and int(open(self.report).read().split()[0] or 0) > 100)
        except AssertionError:
            self.process.kill()
            raise

    def end(self, restarts=False):
        """With `restarts`, the library may say that a broker which restarts refused it: that is no failure of anything."""
        self.process.terminate()
        self.process.wait(120)
        said = open(self.log, encoding="utf-8").read().strip().splitlines()
        last = said[-1]
        failures = [line for line in said if re.match(r"\d\d:\d\d:\d\d ", line) and not (restarts and " library: " in line)]
        assert re.match(r"\d+ records written and read", last), last
        assert not failures and (restarts or " 0 errors" in last), " / ".join(failures[-8:] or [last])
        return last


def roll_under_load(world):
    settle(world, "post", "castle")
    load = Load(world, "post", "castle", "load")
    status = world.get("topics", "post", "load")["status"]
    assert status["replicationFactor"] == 3, f"replication factor {status['replicationFactor']}"
    lowest = []
    try:
        roll = Roll(world, "post", "castle")
        code, said = world.kubectl("annotate", "--namespace", "post", "bc/castle", "barnabas.dev/restartedAt=under-load", "--overwrite")
        assert code == 0, said
        watching = threading.Event()
        def watch():
            while not watching.wait(0.1):
                try:
                    lowest.append(world.get("clusters", "post", "castle")["status"]["partitions"]["underMinIsr"])
                except (OSError, ApiError, HTTPException):
                    continue  # the next look sees it too
        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            roll.finish()
        finally:
            watching.set()
            watcher.join()
    finally:
        figure = load.end(restarts=True)
    assert max(lowest) == 0, f"{max(lowest)} partitions fell below min.insync.replicas"
    return figure


def log_lost(world, delete):
    """The metadata log is deleted, or is put back to what it was: the operator makes it anew from the brokers' images."""
    settle(world, "post", "castle")
    path = f"{GROUP}/post/metadatalogs/castle"
    older = world.api.get(path)
    name = "lost" if delete else "regressed"
    world.topic("post", name, "castle", partitions=3)
    before = world.wait_ready("topics", "post", name)["status"]["topicId"]
    if not delete:
        # A hundred records: what was written since is no longer all in the log's tail, and the older one's snapshot may be gone.
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda n: world.topic("post", f"since-{n}", "castle", partitions=1), range(100)))
        wait_for(2 * PATIENCE, "a hundred Topics", lambda: count_ready(world, "post", "since-") == 100, every=0.5)
    topics = {t["metadata"]["name"]: t["status"].get("topicId") for t in world.api.get(f"{GROUP}/post/topics")["items"]}
    epoch = world.get("clusters", "post", "castle")["status"]["controller"]["epoch"]
    load = Load(world, "post", "castle", "load")
    try:
        if not delete:
            for key in ["uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"]:
                older["metadata"].pop(key, None)
        world.api.delete(path)
        if not delete:
            # What it begins with was collected since, as it may be: then it says nothing any more.
            for snapshot in world.api.get(f"{GROUP}/post/metadatasnapshots")["items"]:
                if snapshot["metadata"]["name"].startswith("castle-"):
                    world.api.delete(f"{GROUP}/post/metadatasnapshots/{snapshot['metadata']['name']}")
            world.api.post(f"{GROUP}/post/metadatalogs", older)
            # Found out by the next append.
            world.topic("post", "finds-out", "castle", partitions=1)
        risen = lambda: (world.get("clusters", "post", "castle")["status"]["controller"]["epoch"] > epoch + 2**20) and ready(world.get("clusters", "post", "castle"))
        wait_for(2 * PATIENCE, "a new log", risen)
        world.topic("post", f"after-{name}", "castle", partitions=3)
        world.wait_ready("topics", "post", f"after-{name}")
        time.sleep(3)
    finally:
        figure = load.end()
    now = {t["metadata"]["name"]: t["status"].get("topicId") for t in world.api.get(f"{GROUP}/post/topics")["items"]}
    assert all(now[topic] == id for topic, id in topics.items()), "a topic has another id"
    assert before == now[name]
    if not delete:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda n: world.api.delete(f"{GROUP}/post/topics/since-{n}"), range(100)))
    world.wait_events("post", "MetadataRebuilt")
    new = world.get("clusters", "post", "castle")["status"]["controller"]["epoch"]
    return f"epoch {epoch} to {new}, {figure}"
