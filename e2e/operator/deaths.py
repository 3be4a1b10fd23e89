"""The operator dies, after each of its writes; or there are two."""

import threading
import time

from api import ApiError
from proxy import Proxy
from world import GROUP, HOME, Operator, PATIENCE, is_so, pods, ready, settle, wait_for


class Stage:
    """A namespace with an operator of its own that dies with its Nth write, and a successor."""

    def __init__(self, world, name):
        self.world, self.name = world, world.namespace(name)
        self.proxy = Proxy(world.api)
        self.operator = Operator(world, f"{name}-op", self.proxy, name)

    def begin(self):
        self.operator.start()

    def die_at(self, number):
        """The next write of that number kills the operator."""
        process = self.operator.process
        self.proxy.arm(number, process.kill)

    def survive(self):
        """Arms nothing; if the operator is dead, its successor comes. Whether it was dead."""
        died = self.operator.process.poll() is not None
        self.proxy.arm(None, None)
        if died:
            self.operator.start()
        return died

    def close(self):
        self.world.clean(self.name)
        self.operator.stop()
        self.proxy.close()


def killed_at_every_write(world, name, prepare, act, check, most=40, side_by_side=3):
    """For N = 1, 2, ...: prepare, then act while the Nth write kills the operator; the successor must bring `check` about. Ends with
    the first N that the operator survives, because that was all it had to write."""
    survived, writes, problems = threading.Event(), {}, []
    numbers = iter(range(1, most + 1))
    lock = threading.Lock()

    def work():
        while not survived.is_set():
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            stage = Stage(world, f"{name}-{number}")
            try:
                stage.begin()
                prepare(stage)
                stage.die_at(number)
                act(stage)
                # Either it dies, or it does all that there is to do.
                ended = lambda: stage.operator.process.poll() is not None or (done(check, stage) and stage.proxy.is_quiet(2))
                wait_for(2 * PATIENCE, f"write {number} or the end", ended)
                written = list(stage.proxy.writes)
                died = stage.survive()
                wait_for(2 * PATIENCE, f"the successor after write {number} ({written[-1:]})", lambda: done(check, stage))
                if died:
                    writes[number] = written[number - 1] if len(written) >= number else "?"
                else:
                    survived.set()
            except Exception as problem:
                problems.append(f"write {number} ({writes.get(number) or stage.proxy.writes[-1:]}): {problem}")
                survived.set()
            finally:
                stage.close()

    threads = [threading.Thread(target=work) for _ in range(side_by_side)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, write_ in sorted(writes.items()):
        print(f"  {name} {number}: {write_}", flush=True)
    assert not problems, problems[0]
    assert writes, "the operator was never killed"
    return f"killed after each of {len(writes)} writes"


def done(check, stage):
    try:
        return check(stage)
    except (AssertionError, ApiError, KeyError, TypeError):
        return False


def cluster_and_topic(stage):
    stage.world.cluster(stage.name, "k", replicas=1)
    stage.world.wait_ready("clusters", stage.name, "k", 2 * PATIENCE)
    stage.world.topic(stage.name, "t", "k", partitions=2)
    stage.topic_id = stage.world.wait_ready("topics", stage.name, "t")["status"]["topicId"]
    settle(stage.world, stage.name, "k")


def killed_in_creation(world):
    def act(stage):
        stage.world.cluster(stage.name, "k", replicas=1)

    def check(stage):
        cluster = stage.world.get("clusters", stage.name, "k")
        log = stage.world.api.get(f"{GROUP}/{stage.name}/metadatalogs/k")
        assert ready(cluster) and is_so(cluster, "Reconciling", "False")
        assert len(pods(stage.world, stage.name)) == 1
        return cluster["status"]["clusterId"] in log["spec"]["document"]

    return killed_at_every_write(world, "create", lambda stage: None, act, check)


def killed_in_topic_creation(world):
    def act(stage):
        stage.world.topic(stage.name, "new", "k", partitions=3)

    def check(stage):
        topic = stage.world.get("topics", stage.name, "new")
        return ready(topic) and topic["status"]["partitions"] == 3 and topic["metadata"]["finalizers"] == ["barnabas.dev/topic"]

    return killed_at_every_write(world, "topic", cluster_and_topic, act, check)


def killed_in_growth(world):
    def act(stage):
        stage.world.topic(stage.name, "t", "k", partitions=5)

    def check(stage):
        topic = stage.world.get("topics", stage.name, "t")
        return ready(topic) and topic["status"]["partitions"] == 5 and topic["status"]["topicId"] == stage.topic_id

    return killed_at_every_write(world, "grow", cluster_and_topic, act, check)


def killed_in_deletion(world):
    def act(stage):
        stage.world.api.delete(f"{GROUP}/{stage.name}/topics/t")

    def check(stage):
        cluster = stage.world.get("clusters", stage.name, "k")
        internal = len(stage.world.api.get(f"{GROUP}/{stage.name}/topics")["items"])
        return stage.world.get("topics", stage.name, "t") is None and cluster["status"]["partitions"]["topics"] == internal

    return killed_at_every_write(world, "delete", cluster_and_topic, act, check)


def killed_in_scaling(world):
    def act(stage):
        stage.world.api.merge(f"{GROUP}/{stage.name}/clusters/k", {"spec": {"replicas": 2}})

    def check(stage):
        cluster = stage.world.get("clusters", stage.name, "k")
        states = {broker["id"]: broker["state"] for broker in cluster["status"]["brokers"]}
        topic = stage.world.get("topics", stage.name, "t")
        return ready(cluster) and states == {0: "Online", 1: "Online"} and topic["status"]["topicId"] == stage.topic_id

    return killed_at_every_write(world, "scale", cluster_and_topic, act, check)


def two_releases(world, operator):
    """A second release by mistake: one decides, the other says why not, and does not use the first one's restart."""
    other = Operator(world, "operator-of-another-release", home="barnabas-two")
    lease = lambda: world.api.get("/apis/coordination.k8s.io/v1/namespaces/post/leases/castle-controller")
    release = lambda: lease()["metadata"]["labels"]["barnabas.dev/operator"]
    assert release() == HOME, release()
    other.start()
    try:
        note = world.wait_events("post", "OtherOperator")[0]["note"]
        operator.kill()
        time.sleep(12)  # longer than a Lease lasts
        assert release() == HOME, "the second release took over"
        operator.start()
        world.topic("post", "still", "castle", partitions=1)
        world.wait_ready("topics", "post", "still")
        assert release() == HOME
    finally:
        other.stop()
    return note
