"""The world that the verdicts of suite.py are spoken in: an API server, pods that are processes, operators; and how things are waited for."""

import os
import re
import subprocess
import sys
import time
import urllib.request

CLIENTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "clients")
sys.path += [CLIENTS, os.path.join(CLIENTS, "suite")]

import addresses
from api import Api, ApiError
from kubelet import Kubelet, kill, kubeconfig, write

KUBECONFIG = os.environ["KUBECONFIG"]
PROGRAMS = os.environ["BARNABAS_BIN"]
WORK = os.environ["WORK"]
AUDIT = os.environ["AUDIT"]
GROUP = "/apis/barnabas.dev/v1alpha1/namespaces"
HOME = "barnabas-system"
# Patience: how long something may take that takes seconds on an idle machine, and is no promise of anybody.
PATIENCE = 90


def wait_for(seconds, what, test, every=0.1):
    """Polls until the test gives something; what it gave."""
    deadline = time.monotonic() + seconds
    while True:
        found = test()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s in vain for {what}")
        time.sleep(every)


def condition(resource, kind):
    conditions = (resource or {}).get("status", {}).get("conditions", [])
    found = [c for c in conditions if c["type"] == kind and c.get("observedGeneration") == resource["metadata"]["generation"]]
    return found[0] if found else {"status": "", "reason": "", "message": ""}


def is_so(resource, kind, status="True", reason=None):
    found = condition(resource, kind)
    return found["status"] == status and reason in (None, found["reason"])


class World:
    def __init__(self):
        self.api = Api(KUBECONFIG)
        self.kubelet = Kubelet(self.api, WORK, PROGRAMS)
        self.api.post("/apis/storage.k8s.io/v1/storageclasses", {
            "metadata": {"name": "growing", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
            "provisioner": "hollow", "allowVolumeExpansion": True,
        })
        self.api.post("/apis/storage.k8s.io/v1/storageclasses", {"metadata": {"name": "fixed"}, "provisioner": "hollow"})

    def kubectl(self, *arguments, given=None):
        done = subprocess.run(["kubectl", *arguments], input=given, capture_output=True, text=True)
        return done.returncode, (done.stdout + done.stderr).strip()

    def namespace(self, name):
        self.api.post("/api/v1/namespaces", {"metadata": {"name": name}})
        wait_for(PATIENCE, "a service account", lambda: self.api.get(f"/api/v1/namespaces/{name}/serviceaccounts/default"))
        return name

    def cluster(self, namespace, name, **spec):
        body = {"apiVersion": "barnabas.dev/v1alpha1", "kind": "Cluster", "metadata": {"name": name}, "spec": {"storage": {"size": "1Gi"}, **spec}}
        return self.api.apply(f"{GROUP}/{namespace}/clusters/{name}", body)

    def topic(self, namespace, name, cluster, **spec):
        body = {"apiVersion": "barnabas.dev/v1alpha1", "kind": "Topic", "metadata": {"name": name}, "spec": {"clusterRef": {"name": cluster}, **spec}}
        return self.api.apply(f"{GROUP}/{namespace}/topics/{name}", body)

    def get(self, kind, namespace, name):
        return self.api.get(f"{GROUP}/{namespace}/{kind}/{name}")

    def wait_ready(self, kind, namespace, name, seconds=PATIENCE):
        try:
            return wait_for(seconds, f"{name} to be Ready", lambda: ready(self.get(kind, namespace, name)))
        except AssertionError as problem:
            raise AssertionError(f"{problem}: {condition(self.get(kind, namespace, name), 'Ready')}") from None

    def events(self, namespace, reason):
        found = self.api.get(f"/apis/events.k8s.io/v1/namespaces/{namespace}/events")["items"]
        return [event for event in found if event["reason"] == reason]

    def wait_events(self, namespace, reason, count=1):
        """Events are sent beside what they tell of, and may come after it."""
        there = lambda: found if len(found := self.events(namespace, reason)) >= count else None
        return wait_for(PATIENCE, f"{count} events {reason}", there)

    def token(self, account, namespace=HOME):
        return self.api.post(f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token", {"spec": {"expirationSeconds": 7200}})["status"]["token"]

    def clean(self, namespace):
        """Takes everything of a namespace away, so that no process of it stays."""
        for kind in ["topics", "clusters"]:
            for found in self.api.get(f"{GROUP}/{namespace}/{kind}")["items"]:
                path = f"{GROUP}/{namespace}/{kind}/{found['metadata']['name']}"
                self.api.delete(path)
                if found["metadata"].get("finalizers"):
                    try:
                        self.api.merge(path, {"metadata": {"finalizers": []}})
                    except ApiError:
                        pass
        self.api.delete(f"/apis/apps/v1/namespaces/{namespace}/statefulsets")
        for pod in self.api.get(f"/api/v1/namespaces/{namespace}/pods")["items"]:
            body = {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0}
            self.api.delete(f"/api/v1/namespaces/{namespace}/pods/{pod['metadata']['name']}", body)


def ready(resource):
    return resource if is_so(resource, "Ready") else None


class Operator:
    """One replica, with the rights of the chart's ServiceAccount and no more."""

    def __init__(self, world, name="operator-0", through=None, namespace=None, home=HOME):
        self.world, self.name, self.namespace, self.home = world, name, namespace, home
        self.through = through
        self.port, self.metrics = free_port(), free_port()
        self.log = os.path.join(WORK, f"{name}-{self.port}.log")
        self.process = None

    def start(self, log="info"):
        config = os.path.join(WORK, f"{self.name}-{self.port}.kubeconfig")
        server, ca = (self.through.address, None) if self.through else (self.world.api.server, self.world.api.ca)
        write(config, kubeconfig(server, self.world.token("barnabas-operator", self.home), self.home, ca))
        environment = {"PATH": os.environ["PATH"], "KUBECONFIG": config}
        arguments = [
            "run", "--control-listen", f"127.0.0.1:{self.port}", "--control-advertise", f"127.0.0.1:{self.port}", "--metrics",
            f"127.0.0.1:{self.metrics}", "--namespace", self.home, "--pod-name", self.name, "--log", log,
        ]
        if self.namespace:
            arguments += ["--watch-namespace", self.namespace]
        out = open(self.log, "ab")
        program = os.path.join(PROGRAMS, "operator")
        self.process = subprocess.Popen([program, *arguments], env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
        return self

    def kill(self):
        kill(self.process)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(20)

    def metric(self, name):
        """The sum of a metric's series."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics}/metrics", timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if re.match(rf"{name}[ {{]", line))

    def memory(self):
        """Resident MiB."""
        for line in open(f"/proc/{self.process.pid}/status", encoding="utf-8"):
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        return None


def free_port():
    return int(addresses.free().rpartition(":")[2])


def settle(world, namespace, name):
    """Until the status is of the spec as it stands, all is in place, and nothing has changed for three seconds."""
    last, since = None, time.monotonic()
    deadline = time.monotonic() + 2 * PATIENCE
    while time.monotonic() < deadline:
        cluster = world.get("clusters", namespace, name)
        now = cluster["metadata"]["resourceVersion"]
        if now != last or not (ready(cluster) and is_so(cluster, "Reconciling", "False")):
            last, since = now, time.monotonic()
        elif time.monotonic() - since > 3:
            return cluster
        time.sleep(0.3)
    raise AssertionError(f"the cluster does not settle: {condition(cluster, 'Ready')}, {condition(cluster, 'Reconciling')}")


def pods(world, namespace):
    return {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in world.api.get(f"/api/v1/namespaces/{namespace}/pods")["items"]}


def fail(what):
    raise AssertionError(what)
