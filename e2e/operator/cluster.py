"""A cluster's life: it comes, rolls, grows, shrinks, rests and goes."""

import json
import os
import threading
import time
from http.client import HTTPException

from api import ApiError
from kubelet import kill
from world import AUDIT, GROUP, PATIENCE, condition, is_so, pods, ready, settle, wait_for


def cluster_comes_up(world):
    world.namespace("post")
    world.api.post("/api/v1/namespaces/post/configmaps", {"metadata": {"name": "bystander"}})
    world.cluster("post", "castle", replicas=3, rack={}, storage={"size": "1Gi", "storageClassName": "growing"})
    before = world.get("clusters", "post", "castle")
    assert before["status"]["observedGeneration"] == -1 or ready(before) is None, "Ready before anybody looked"
    world.wait_ready("clusters", "post", "castle")
    world.topic("post", "letters", "castle", partitions=6)
    world.wait_ready("topics", "post", "letters")
    racks = lambda: {broker["id"]: broker.get("rack") for broker in world.get("clusters", "post", "castle")["status"]["brokers"]}
    wait_for(PATIENCE, "racks in the status", lambda: racks() == {0: "zone-1", 1: "zone-2", 2: "zone-3"})
    code, said = world.kubectl("wait", "--namespace", "post", "bc/castle", "--for=condition=Reconciling=false", "--timeout=90s")
    assert code == 0, said
    states = {c["type"]: c["status"] for c in world.get("clusters", "post", "castle")["status"]["conditions"]}
    return f"{states}"

REST = int(os.environ.get("BARNABAS_REST", "75"))  # s; longer than the minute after which everything is compared again


def nothing_is_written_at_rest(world, operator):
    settle(world, "post", "castle")
    # The last words of what was done before may still be on their way.
    size, since, deadline = os.path.getsize(AUDIT), time.monotonic(), time.monotonic() + 2 * PATIENCE
    while time.monotonic() - since < 10:
        time.sleep(1)
        written = written_since(size)
        assert not written or time.monotonic() < deadline, f"there is no rest: {written[:5]}"
        if written:
            size, since = os.path.getsize(AUDIT), time.monotonic()
    time.sleep(REST)
    written = written_since(size)
    assert not written, f"{len(written)} writes in {REST} s: {written[:5]}"
    return f"0 writes but Leases in {REST} s, operator {operator.memory():.0f} MiB"


def written_since(size):
    """What operator and brokers wrote since the audit log had that size, Leases and questions about rights apart."""
    written = []
    with open(AUDIT, "rb") as file:
        file.seek(size)
        # The last line may be half there.
        for line in file.read().split(b"\n")[:-1]:
            event = json.loads(line)
            reference = event.get("objectRef", {})
            user = event["user"]["username"]
            ours = user.startswith("system:serviceaccount:barnabas-system:") or user.startswith("system:serviceaccount:post:castle")
            if ours and reference.get("resource") not in ("leases", "tokenreviews", "subjectaccessreviews"):
                written.append(f"{event['verb']} {reference.get('resource')}/{reference.get('name')} {reference.get('subresource', '')}")
    return written


class Roll:
    """Watches a roll: which pods were replaced, in which order, and how many were not ready at once."""

    def __init__(self, world, namespace, cluster, brokers=3):
        self.world, self.namespace, self.cluster, self.brokers = world, namespace, cluster, brokers
        self.uids = self.look()
        self.order, self.most_down = [], 0
        self.end = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def look(self):
        pods = self.world.api.get(f"/api/v1/namespaces/{self.namespace}/pods")["items"]
        self.ready = sum(any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", [])) for pod in pods)
        return {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in pods}

    def _watch(self):
        known = dict(self.uids)
        while not self.end.wait(0.05):
            try:
                there = self.look()
            except (OSError, ApiError, HTTPException):
                continue  # the next look sees it too
            for name, uid in there.items():
                if known.get(name) != uid:
                    known[name] = uid
                    self.order.append(name)
            self.most_down = max(self.most_down, self.brokers - self.ready)

    def finish(self, seconds=240):
        def done():
            cluster = self.world.get("clusters", self.namespace, self.cluster)
            return len(set(self.order)) == self.brokers and is_so(cluster, "Reconciling", "False") and ready(cluster)

        try:
            wait_for(seconds, "the end of the roll", done)
        finally:
            self.end.set()
            self.thread.join()
        names = [f"{self.cluster}-{id}" for id in reversed(range(self.brokers))]
        assert self.order == names, f"the order was {self.order}"
        assert self.most_down <= 1, f"{self.most_down} brokers were down at once"
        return self


def template_change_rolls(world):
    settle(world, "post", "castle")
    roll = Roll(world, "post", "castle")
    world.cluster("post", "castle", replicas=3, rack={}, storage={"size": "1Gi", "storageClassName": "growing"}, podTemplate={"labels": {"team": "post"}})
    roll.finish()
    pods = world.api.get("/api/v1/namespaces/post/pods")["items"]
    assert all(pod["metadata"]["labels"].get("team") == "post" for pod in pods)
    # And back: a field that goes must go from the template too.
    roll = Roll(world, "post", "castle")
    world.cluster("post", "castle", replicas=3, rack={}, storage={"size": "1Gi", "storageClassName": "growing"})
    roll.finish()
    pods = world.api.get("/api/v1/namespaces/post/pods")["items"]
    assert not any("team" in pod["metadata"]["labels"] for pod in pods)
    world.wait_events("post", "BrokerRestarting", 3)
    return "2 rolls, highest first, at most 1 broker down"


def config_change_rolls_nothing(world):
    settle(world, "post", "castle")
    before = pods(world, "post")
    world.cluster("post", "castle", replicas=3, rack={}, storage={"size": "1Gi", "storageClassName": "growing"}, config={"log.retention.ms": 3600000})
    settle(world, "post", "castle")
    assert pods(world, "post") == before, "pods were replaced"


def rollout_restart(world):
    settle(world, "post", "castle")
    roll = Roll(world, "post", "castle")
    code, said = world.kubectl("rollout", "restart", "--namespace", "post", "statefulset/castle")
    assert code == 0, said
    roll.finish()
    settle(world, "post", "castle")
    roll = Roll(world, "post", "castle")
    code, said = world.kubectl("annotate", "--namespace", "post", "bc/castle", "barnabas.dev/restartedAt=now", "--overwrite")
    assert code == 0, said
    roll.finish()
    partition = lambda: world.api.get("/apis/apps/v1/namespaces/post/statefulsets/castle")["spec"]["updateStrategy"]["rollingUpdate"]["partition"]
    wait_for(PATIENCE, "the partition of rest", lambda: partition() == 3)
    return "kubectl rollout restart, and by annotation"


def roll_waits_for_a_broker(world):
    """One broker cannot come back: the others stay as they are."""
    settle(world, "post", "castle")
    before = pods(world, "post")
    world.kubelet.hold("castle-0")
    try:
        kill(world.kubelet.find("post", "castle-0").process)
        wait_for(PATIENCE, "a cluster with a broker less", lambda: is_so(world.get("clusters", "post", "castle"), "Ready", "False"))
        code, said = world.kubectl("rollout", "restart", "--namespace", "post", "statefulset/castle")
        assert code == 0, said

        def waits():
            cluster = world.get("clusters", "post", "castle")
            return condition(cluster, "Reconciling") if is_so(cluster, "Reconciling", "True", "RollPaused") else None

        message = wait_for(PATIENCE, "a cluster that says what it waits for", waits)
        time.sleep(3)  # in which nothing may happen
        replaced = [name for name, uid in pods(world, "post").items() if before.get(name) != uid]
    finally:
        world.kubelet.let_go("castle-0")
    wait_for(2 * PATIENCE, "the end of the roll", lambda: is_so(world.get("clusters", "post", "castle"), "Reconciling", "False") and ready(world.get("clusters", "post", "castle")))
    assert not replaced, f"replaced while a broker was down: {replaced}"
    return f"{message['reason']}: {message['message']}"


def volumes_grow(world):
    claims = "/api/v1/namespaces/post/persistentvolumeclaims"
    sizes = lambda: sorted(claim["spec"]["resources"]["requests"]["storage"] for claim in world.api.get(claims)["items"])
    before = pods(world, "post")
    world.api.merge(f"{claims}/data-castle-1", {"spec": {"resources": {"requests": {"storage": "5Gi"}}}})
    world.cluster("post", "castle", replicas=3, rack={}, storage={"size": "2Gi", "storageClassName": "growing"})
    wait_for(PATIENCE, "larger volumes", lambda: sizes() == ["2Gi", "2Gi", "5Gi"])
    settle(world, "post", "castle")
    world.wait_events("post", "VolumeExpanded")
    assert pods(world, "post") == before, "pods were replaced"
    # A class that does not allow it.
    world.namespace("fixed")
    world.cluster("fixed", "keep", replicas=1, storage={"size": "1Gi", "storageClassName": "fixed"})
    world.wait_ready("clusters", "fixed", "keep")
    world.cluster("fixed", "keep", replicas=1, storage={"size": "2Gi", "storageClassName": "fixed"})

    def stalled():
        cluster = world.get("clusters", "fixed", "keep")
        return condition(cluster, "Stalled")["message"] if is_so(cluster, "Stalled", "True", "StorageNotExpandable") else None

    message = wait_for(PATIENCE, "Stalled", stalled)
    world.clean("fixed")
    return message


def scale_up_and_down(world):
    code, said = world.kubectl("scale", "--namespace", "post", "bc/castle", "--replicas=5")
    assert code == 0, said
    wait_for(2 * PATIENCE, "five brokers", lambda: len(pods(world, "post")) == 5 and ready(world.get("clusters", "post", "castle")))
    code, said = world.kubectl("scale", "--namespace", "post", "bc/castle", "--replicas=3")
    assert code == 0, said
    gone = lambda: len(pods(world, "post")) == 3 and {b["id"] for b in world.get("clusters", "post", "castle")["status"]["brokers"]} == {0, 1, 2}
    wait_for(2 * PATIENCE, "three brokers, and the others forgotten", gone)
    world.wait_ready("clusters", "post", "castle")
    leases = lambda: {lease["metadata"]["name"] for lease in world.api.get("/apis/coordination.k8s.io/v1/namespaces/post/leases")["items"]}
    wait_for(PATIENCE, "the Leases of three brokers", lambda: {name for name in leases() if "-broker-" in name} == {f"castle-broker-{id}" for id in range(3)})
    return "3, 5, 3 by kubectl scale"


def paused_cluster_is_left_alone(world):
    world.kubectl("annotate", "--namespace", "post", "bc/castle", "barnabas.dev/paused=true")
    wait_for(PATIENCE, "Paused", lambda: is_so(world.get("clusters", "post", "castle"), "Paused"))
    world.api.delete("/apis/policy/v1/namespaces/post/poddisruptionbudgets/castle")
    world.api.merge(f"{GROUP}/post/clusters/castle", {"spec": {"replicas": 4}})
    time.sleep(3)
    assert len(pods(world, "post")) == 3
    # Topics and elections go on.
    world.topic("post", "meanwhile", "castle", partitions=1)
    world.wait_ready("topics", "post", "meanwhile")
    world.api.merge(f"{GROUP}/post/clusters/castle", {"spec": {"replicas": 3}})
    world.kubectl("annotate", "--namespace", "post", "bc/castle", "barnabas.dev/paused-")
    wait_for(PATIENCE, "the budget", lambda: world.api.get("/apis/policy/v1/namespaces/post/poddisruptionbudgets/castle"))
    # The status is written after the objects: the budget can be back while the condition still stands.
    wait_for(PATIENCE, "the end of Paused", lambda: not any(c["type"] == "Paused" for c in world.get("clusters", "post", "castle")["status"]["conditions"]))


def listeners_come_and_go(world):
    world.namespace("doors")
    spec = {"replicas": 1, "listeners": [{"name": "plain", "port": 9092}, {"name": "lb", "port": 9094, "type": "LoadBalancer"}]}
    world.cluster("doors", "gate", **spec)
    wait_for(PATIENCE, "AddressPending", lambda: is_so(world.get("clusters", "doors", "gate"), "Reconciling", "True", "ScalingUp") or is_so(world.get("clusters", "doors", "gate"), "Reconciling", "True", "AddressPending"))
    service = wait_for(PATIENCE, "the Service", lambda: world.api.get("/api/v1/namespaces/doors/services/gate-0-lb"))
    world.api.merge("/api/v1/namespaces/doors/services/gate-0-lb/status", {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}}})
    assert service["spec"]["type"] == "LoadBalancer"
    address = lambda: [l["bootstrapServers"] for l in world.get("clusters", "doors", "gate")["status"].get("listeners", []) if l["name"] == "lb"]
    wait_for(PATIENCE, "the address in the status", lambda: address() == ["192.0.2.7:9094"])
    # The mounted file comes with the ConfigMap; the hollow kubelet mounts at the start of a pod.
    kill(wait_for(PATIENCE, "the broker's process", lambda: (pod := world.kubelet.find("doors", "gate-0")) and pod.process))
    policy = "/apis/networking.k8s.io/v1/namespaces/doors/networkpolicies/gate"
    wait_for(PATIENCE, "a NetworkPolicy", lambda: world.api.get(policy))
    world.wait_ready("clusters", "doors", "gate", 2 * PATIENCE)
    world.cluster("doors", "gate", replicas=1, listeners=[{"name": "plain", "port": 9092}], networkPolicy={"enabled": False})
    wait_for(PATIENCE, "the end of the Service and the policy", lambda: not world.api.get("/api/v1/namespaces/doors/services/gate-0-lb") and not world.api.get(policy))
    world.clean("doors")


def namespace_goes(world):
    """Everything in it at once, in whatever order the namespace controller takes it: no finalizer stays."""
    world.namespace("brief")
    world.cluster("brief", "hut", replicas=1, storage={"size": "1Gi", "whenDeleted": "Delete"})
    world.topic("brief", "letters", "hut", partitions=3)
    world.topic("brief", "astray", "nobody", partitions=1)
    world.wait_ready("topics", "brief", "letters")
    began = time.monotonic()
    code, said = world.kubectl("delete", "namespace", "brief", f"--timeout={PATIENCE}s")
    left = [c["message"] for c in (world.api.get("/api/v1/namespaces/brief") or {}).get("status", {}).get("conditions", []) if c["status"] == "True"]
    assert code == 0, f"{said}: {left}"
    return f"gone in {time.monotonic() - began:.1f} s"
