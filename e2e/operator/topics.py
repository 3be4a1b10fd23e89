"""Topics: by kubectl, by the Kafka protocol, by the thousand."""

import json
import os
import re
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

from world import CLIENTS, GROUP, PATIENCE, fail, is_so, ready, settle, wait_for


def count_ready(world, namespace, prefix):
    return sum(ready(topic) is not None for topic in world.api.get(f"{GROUP}/{namespace}/topics")["items"] if topic["metadata"]["name"].startswith(prefix))


class Client:
    """e2e/clients/python: librdkafka's admin client, which begins with the brokers of a cluster of three."""

    def __init__(self, world, namespace, cluster):
        bootstrap = ",".join(f"{world.kubelet.find(namespace, f'{cluster}-{id}').ip}:9092" for id in range(3))
        program = [os.environ["PYTHON"], os.path.join(CLIENTS, "python", "client.py"), bootstrap]
        self.process = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, what, **command):
        """The code of the error and what was said, or nothing."""
        self.process.stdin.write(json.dumps({"do": what, **command}) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        return (answer.get("code"), answer["error"]) if "error" in answer else None

    def close(self):
        self.process.stdin.close()
        self.process.wait(30)


def topics_by_both(world):
    """The Kafka protocol and kubectl on the same Topics: one truth, and nobody changes behind another's back what that one set."""
    client = Client(world, "post", "castle")
    spec = lambda name: world.get("topics", "post", name)["spec"]
    refused = lambda said, *words: said is not None and said[0] == "POLICY_VIOLATION" and all(word in said[1] for word in words) or fail(f"{said}")
    fine = lambda said: said is None or fail(f"{said}")
    try:
        fine(client.ask("create_topic", topic="By_Kafka.1", partitions=2, configs={"retention.ms": "3600000"}))
        made = [topic for topic in world.api.get(f"{GROUP}/post/topics")["items"] if topic["spec"].get("topicName") == "By_Kafka.1"]
        assert len(made) == 1 and made[0]["metadata"]["labels"]["barnabas.dev/origin"] == "kafka", made
        name = made[0]["metadata"]["name"]
        world.wait_ready("topics", "post", name)
        fine(client.ask("alter_configs", topic="By_Kafka.1", configs={"retention.ms": "7200000"}))
        fine(client.ask("create_partitions", topic="By_Kafka.1", count=4))
        assert spec(name)["config"]["retention.ms"] == "7200000" and spec(name)["partitions"] == 4, spec(name)
        # What kubectl set is kubectl's; a key that nobody set is free.
        world.topic("post", "by-git", "castle", partitions=2, config={"retention.ms": "3600000"})
        world.wait_ready("topics", "post", "by-git")
        refused(client.ask("alter_configs", topic="by-git", configs={"retention.ms": "1"}), "retention.ms", "kubectl")
        fine(client.ask("alter_configs", topic="by-git", configs={"segment.ms": "86400000"}))
        refused(client.ask("create_partitions", topic="by-git", count=9), "kubectl")
        # Of a deletion that was refused librdkafka passes on the code alone.
        refused(client.ask("delete_topic", topic="by-git"))
        assert spec("by-git")["config"] == {"retention.ms": "3600000", "segment.ms": "86400000"} and spec("by-git")["partitions"] == 2, spec("by-git")
        # Deleted by the way it came, at once: and by kubectl what Kafka made.
        fine(client.ask("create_topic", topic="brief", partitions=1))
        fine(client.ask("delete_topic", topic="brief"))
        wait_for(PATIENCE, "the end of a Topic that Kafka deleted", lambda: world.get("topics", "post", "brief") is None)
        code, said = world.kubectl("delete", "--namespace", "post", f"topics.barnabas.dev/{name}", "--timeout=60s")
        assert code == 0, said
        wait_for(PATIENCE, "the end of a topic that kubectl deleted", lambda: client.ask("create_partitions", topic="By_Kafka.1", count=5) is not None)
        return client.ask("alter_configs", topic="by-git", configs={"retention.ms": "1"})[1]
    finally:
        client.close()


def commands_of_a_day(world):
    """What people type, and what they read then."""
    def shows(*arguments, words=(), lines=None):
        def there():
            code, said = world.kubectl("--namespace", "post", *arguments)
            rows = said.splitlines()
            if code == 0 and all(re.search(word, said) for word in words) and lines in (None, len(rows)):
                return said
            shows.last = f"kubectl {' '.join(arguments)}: {said[:600]}"
            return None

        try:
            return wait_for(PATIENCE, "the answer", there, every=0.5)
        except AssertionError:
            raise AssertionError(shows.last) from None

    settle(world, "post", "castle")
    world.topic("post", "orders", "castle", partitions=12)
    world.topic("post", "astray", "nobody")
    shows("wait", "bt/orders", "--for=condition=Ready", "--timeout=60s", words=["condition met"])
    shows("get", "bc", words=[r"NAME +BROKERS +AVAILABLE +TOPICS +PARTITIONS +URP +OFFLINE +READY +REASON +AGE", r"castle +3 +3 +\d+ +\d+ +0 +0 +True +Available"])
    shows("get", "bc", "-o", "wide", words=["CONTROLLER", "EPOCH", "operator-0"])
    shows("get", "topics.barnabas.dev", words=[r"NAME +CLUSTER +PARTITIONS +RF +URP +READY +REASON +AGE", r"orders +castle +12 +3 +0 +True +Reconciled", r"astray +nobody +False +ClusterNotFound"])
    shows("get", "bt", "-o", "wide", words=["TOPIC", "POLICY", "ORIGIN"])
    shows("get", "bt", "--field-selector", "spec.clusterRef.name=nobody", "--no-headers", words=["^astray"], lines=1)
    shows("get", "bt", "-l", "!barnabas.dev/internal", "--no-headers", words=["orders"])
    shows("get", "barnabas", words=["cluster.barnabas.dev/castle", "topic.barnabas.dev/orders"])
    shows("describe", "bt", "orders", words=["Reconciled", "Created"])
    shows("events", "--for", "bc/castle", words=["BrokerJoined"])
    shows("get", "leases", "-l", "barnabas.dev/cluster=castle", words=["castle-broker-0", "castle-controller +operator-0_"])
    shows("rollout", "status", "statefulset/castle", "--timeout=60s", words=["complete|up to date|rolling update"])
    shows("explain", "cluster.spec", "--api-version=barnabas.dev/v1alpha1", words=["replicas"])
    code, said = world.kubectl("delete", "--namespace", "post", "bt", "orders", "astray", "--timeout=60s")
    assert code == 0, said
    return shows("get", "bc", "--no-headers")


def thousand_topics(world, operator):
    body = lambda n: {"apiVersion": "barnabas.dev/v1alpha1", "kind": "Topic", "metadata": {"name": f"bulk-{n}"}, "spec": {"clusterRef": {"name": "castle"}, "partitions": 1}}
    settle(world, "post", "castle")
    appends, written = operator.metric("barnabas_metadata_log_appends_total"), operator.metric("barnabas_metadata_log_written_bytes_total")
    began = time.monotonic()
    # kubectl asks for one after the other; whoever deploys in bulk does not.
    in_bulk(world, lambda n, connection: world.api.request("POST", f"{GROUP}/post/topics", body(n), through=connection))
    applied = time.monotonic() - began
    # Not oftener: each look reads a thousand objects, on the processors that are to make them.
    wait_for(240, "1000 Topics to be Ready", lambda: count_ready(world, "post", "bulk-") == 1000, every=0.5)
    took = time.monotonic() - began
    memory = operator.memory()
    appends, written = operator.metric("barnabas_metadata_log_appends_total") - appends, operator.metric("barnabas_metadata_log_written_bytes_total") - written
    began = time.monotonic()
    in_bulk(world, lambda n, connection: world.api.request("DELETE", f"{GROUP}/post/topics/bulk-{n}", through=connection))
    left = lambda: sum(topic["metadata"]["name"].startswith("bulk-") for topic in world.api.get(f"{GROUP}/post/topics")["items"])
    wait_for(240, "the end of 1000 Topics", lambda: left() == 0, every=0.5)
    figure = f"applied in {applied:.1f} s, all Ready after {took:.1f} s by {appends:.0f} appends and {written / 2**20:.1f} MiB of metadata log, operator {memory:.0f} MiB, all deleted in {time.monotonic() - began:.1f} s"
    print(f"  {figure}", flush=True)
    # Where the machine is so busy that the API server alone takes longer than half of that to accept them, what counts is what follows.
    assert took <= max(30, applied + 15), figure
    assert memory <= 64, figure
    # What is gentle to etcd: 20 appends a second at most after the first handful, each of the tail (32 KiB) and what waited meanwhile.
    assert appends <= 20 * took + 20 and written <= appends * 2**16, figure
    return figure


def in_bulk(world, ask):
    """A thousand requests over eight connections that stay open: what is measured is not this program's greetings."""
    def some(first):
        connection = world.api.connect()
        try:
            for number in range(first, 1000, 8):
                ask(number, connection)
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(some, range(8)))


def topics_of_equal_names(world):
    for namespace in ["east", "west", "north"]:
        world.namespace(namespace)
        for cluster in ["one", "two"] if namespace == "east" else ["one"]:
            world.cluster(namespace, cluster, replicas=1)
    world.topic("east", "orders", "one", partitions=2)
    world.topic("east", "orders-two", "two", partitions=3, topicName="orders")
    world.topic("west", "orders", "one", partitions=4)
    world.topic("north", "orders", "one", partitions=5)
    ids = set()
    for namespace, name, partitions in [("east", "orders", 2), ("east", "orders-two", 3), ("west", "orders", 4), ("north", "orders", 5)]:
        status = world.wait_ready("topics", namespace, name)["status"]
        assert (status["topicName"], status["partitions"]) == ("orders", partitions), status
        ids.add(status["topicId"])
    assert len(ids) == 4
    # Two resources of one topic: the older has it.
    world.topic("east", "again", "one", topicName="orders")
    wait_for(PATIENCE, "a conflict", lambda: is_so(world.get("topics", "east", "again"), "Ready", "False", "TopicNameConflict"))
    world.api.delete(f"{GROUP}/east/topics/again")
    # Only in . and _: Kafka refuses that.
    world.topic("east", "dots", "one", topicName="a.b")
    world.wait_ready("topics", "east", "dots")
    world.topic("east", "scores", "one", topicName="a_b")
    wait_for(PATIENCE, "a collision", lambda: is_so(world.get("topics", "east", "scores"), "Ready", "False", "TopicNameConflict"))
    world.wait_ready("topics", "east", "orders")
    world.clean("east")
    world.clean("west")
    world.clean("north")
    return "4 clusters in 3 namespaces"
