"""Real processes: a controller, and brokers each on a host of its own."""

import os
import shutil
import signal
import subprocess
import time

from confluent_kafka.admin import AdminClient, NewTopic

CONTROLLER = 100  # the host of broker 0, which holds no replica of what is tested: killing it takes the controller away alone
KAFKA, CONTROL, METRICS = 9092, 9405, 9404


def wait_for(seconds, what, condition):
    """Asks until `condition` gives something true, and returns that."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.02)


class Node:
    """One process: broker `id` on host `host`."""

    controller_is_a_broker = True
    patience = 30  # s, for all of them to be there

    def __init__(self, cluster, id, host):
        self.cluster, self.id, self.host = cluster, id, host
        self.namespace = cluster.network.add(host)
        self.address = f"10.123.0.{host}:{KAFKA}"
        self.data = f"{cluster.folder}/{id}"
        self.process = None
        self.paused = False

    def program(self):
        return [self.cluster.program, *self.arguments()]

    def arguments(self):
        common = ["--data-dir", self.data, "--listen", self.address, "--metrics", f"10.123.0.{self.host}:{METRICS}", "--disk-limit", "100", "--control-token-file", self.cluster.token]
        if self.id == 0:
            return ["standalone", *common, "--control", f"10.123.0.{self.host}:{CONTROL}"]
        return ["run", "--id", str(self.id), "--controller", f"10.123.0.{CONTROLLER}:{CONTROL}", *common, *self.cluster.options]

    def start(self):
        log = open(f"{self.data}.log", "a", encoding="utf-8")
        enter = ["ip", "netns", "exec", self.namespace]
        self.process = subprocess.Popen([*enter, *self.program()], stdout=log, stderr=log)
        log.close()

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.paused = False

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)
        self.paused = True

    def resume(self):
        self.process.send_signal(signal.SIGCONT)
        self.paused = False

    def unplug(self):
        self.cluster.network.unplug(self.host)

    def plug(self):
        self.cluster.network.heal()

    def wipe(self):
        shutil.rmtree(self.data)


class Cluster:
    def __init__(self, program, folder, network, brokers=3, options=(), make=Node):
        self.program, self.folder, self.network, self.options = program, folder, network, options
        self.token = f"{folder}/token"
        with open(self.token, "w", encoding="ascii") as file:
            file.write("the castle\n")
        os.chmod(self.token, 0o600)
        self.controller = make(self, 0, CONTROLLER)
        self.brokers = {id: make(self, id, id) for id in range(1, brokers + 1)}
        self.bootstrap = ",".join(node.address for node in self.brokers.values())
        for node in self.nodes():
            node.start()
        self.admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0, "socket.timeout.ms": 1500})
        expected = brokers + self.controller.controller_is_a_broker
        wait_for(self.controller.patience, "all brokers are there", lambda: len(self.metadata().brokers) == expected)

    def nodes(self):
        return [self.controller, *self.brokers.values()]

    def metadata(self, topic=None):
        for _ in range(50):
            try:
                return self.admin.list_topics(topic, timeout=1.5)  # it may ask one who is silent
            except Exception:  # noqa: BLE001 whichever broker was asked may just have been killed
                time.sleep(0.1)
        return self.admin.list_topics(topic, timeout=5)

    def create_topic(self, name, partitions, leaders=None, replicas=3, **config):
        """So many replicas each; the leaders take turns, or all partitions begin at the given broker."""
        ids = sorted(self.brokers)[:3]
        turn = lambda first: ids[ids.index(first) :] + ids[: ids.index(first)]
        assignment = [turn(leaders or ids[index % len(ids)])[:replicas] for index in range(partitions)]
        config = {"min.insync.replicas": "2", **{key.replace("_", "."): value for key, value in config.items()}}
        topic = NewTopic(name, num_partitions=partitions, replica_assignment=assignment, config=config)
        # A client of its own: the other one's patience is for brokers that may be silent, and a thousand partitions take a slow disk seconds.
        patient = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        patient.create_topics([topic], request_timeout=60)[name].result(60)
        wait_for(60, f"topic {name} is whole", lambda: self.is_whole(name, partitions))

    def partitions(self, topic):
        return self.metadata(topic).topics[topic].partitions

    def is_whole(self, topic, count=None):
        partitions = self.partitions(topic).values()
        return (count is None or len(partitions) == count) and all(p.leader > 0 and len(p.isrs) == len(p.replicas) for p in partitions)

    def leaders(self, topic):
        """How many partitions each broker leads."""
        counts = {}
        for partition in self.partitions(topic).values():
            counts[partition.leader] = counts.get(partition.leader, 0) + 1
        return counts

    def close(self):
        for node in self.nodes():
            if node.process and node.process.poll() is None:
                node.process.send_signal(signal.SIGCONT)
                node.kill()
