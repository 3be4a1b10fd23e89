"""Pods as processes: binds each pod to a node that is only a name, runs its container's program on a loopback address of its own, says
in the pod's status how it is, and ends it when the pod is deleted. Volumes are folders; claims are bound as soon as they are there.
"""

import base64
import itertools
import json
import os
import random
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from http.client import HTTPException

from api import ApiError

NODES = 3
EVERY = 0.2
FAILURES = 3


class Pod:
    def __init__(self, uid, namespace, name, ip, node):
        self.uid, self.namespace, self.name, self.ip, self.node = uid, namespace, name, ip, node
        self.process = None
        self.restarts = 0
        self.started = time.monotonic()
        self.ready = None
        self.unready_looks = 0
        self.stopping = None

    @property
    def path(self):
        return f"/api/v1/namespaces/{self.namespace}/pods/{self.name}"


class Kubelet:
    def __init__(self, api, work, programs):
        self.api, self.work, self.programs = api, work, programs
        self.pods = {}
        network, self.claim = claim_network()
        self.addresses = (f"{network}.{a}.{b}" for a in itertools.count(1) for b in range(1, 250))
        # By namespace and name. There are no host names here, so a pod's address must last as its name does: a client whose
        # brokers had all moved before it heard of it would find none of them again, whatever it ran against.
        self.address_of = {}
        self.stopped = threading.Event()
        self.held = set()
        for number in range(1, NODES + 1):
            name = f"node-{number}"
            labels = {"topology.kubernetes.io/zone": f"zone-{number}", "kubernetes.io/hostname": name}
            api.post("/api/v1/nodes", {"metadata": {"name": name, "labels": labels}})
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def stop(self):
        self.stopped.set()
        self.thread.join()
        for pod in self.pods.values():
            if pod.process:
                pod.process.kill()
                pod.process.wait()
        self.claim.close()

    def hold(self, name):
        """From now on, a container of that pod's name is not started: its node has trouble."""
        self.held.add(name)

    def let_go(self, name):
        self.held.discard(name)

    def find(self, namespace, name):
        found = [pod for pod in list(self.pods.values()) if (pod.namespace, pod.name) == (namespace, name)]
        return found[-1] if found else None

    def _run(self):
        while not self.stopped.wait(EVERY):
            try:
                self._claims()
                self._look()
            except (OSError, ApiError, HTTPException, KeyError) as problem:
                if not self.stopped.is_set():
                    print(f"kubelet: {problem!r}", flush=True)

    def _claims(self):
        for claim in self.api.get("/api/v1/persistentvolumeclaims")["items"]:
            meta, status = claim["metadata"], claim.get("status", {})
            size = claim["spec"]["resources"]["requests"]["storage"]
            if status.get("phase") == "Bound" and status.get("capacity", {}).get("storage") == size:
                continue
            path = f"/api/v1/namespaces/{meta['namespace']}/persistentvolumeclaims/{meta['name']}"
            if not claim["spec"].get("volumeName"):
                self.api.merge(path, {"spec": {"volumeName": meta["uid"]}})
            self.api.merge(f"{path}/status", {"status": {"phase": "Bound", "capacity": {"storage": size}}})

    def _look(self):
        there = {pod["metadata"]["uid"]: pod for pod in self.api.get("/api/v1/pods")["items"]}
        for uid, pod in list(self.pods.items()):
            if uid not in there:
                # Deleted by force.
                if pod.process:
                    pod.process.kill()
                    pod.process.wait()
                del self.pods[uid]
        for uid, found in there.items():
            meta = found["metadata"]
            if uid not in self.pods:
                if meta.get("deletionTimestamp"):
                    self._remove(f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}", uid)
                    continue
                self._adopt(found)
            pod = self.pods[uid]
            try:
                self._tend(pod, found)
            except (OSError, ApiError, HTTPException, KeyError) as problem:
                print(f"kubelet: {pod.name}: {problem!r}", flush=True)

    def _adopt(self, found):
        meta = found["metadata"]
        ordinal = int(re.search(r"(\d+)$", meta["name"]).group(1))
        node = f"node-{ordinal % NODES + 1}"
        path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"
        if not found["spec"].get("nodeName"):
            target = {"apiVersion": "v1", "kind": "Node", "name": node}
            self.api.post(f"{path}/binding", {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": meta["name"]}, "target": target})
        who = (meta["namespace"], meta["name"])
        if who not in self.address_of:
            self.address_of[who] = next(self.addresses)
        self.pods[meta["uid"]] = Pod(meta["uid"], *who, self.address_of[who], node)

    def _tend(self, pod, found):
        if found["metadata"].get("deletionTimestamp"):
            return self._end(pod, found)
        if pod.process is None:
            if pod.name in self.held or time.monotonic() < pod.started or not self._has_volumes(found):
                return
            pod.process = self._start(pod, found)
            self._say(pod, False, {"running": {"startedAt": now()}})
        elif pod.process.poll() is not None:
            code = pod.process.returncode
            pod.process = None
            pod.restarts += 1
            pod.started = time.monotonic() + 1
            state = {"terminated": {"exitCode": abs(code), "containerID": f"hollow://{pod.uid}-{pod.restarts}", "finishedAt": now()}}
            return self._say(pod, False, state)
        # As a kubelet does it: one answer that does not come in time makes no pod unready, three in a row do.
        ready = is_ready(pod)
        pod.unready_looks = 0 if ready else pod.unready_looks + 1
        if ready != pod.ready and (ready or pod.unready_looks >= FAILURES):
            self._say(pod, ready, {"running": {"startedAt": now()}})

    def _end(self, pod, found):
        if pod.process and pod.process.poll() is None:
            if pod.stopping is None:
                pod.stopping = time.monotonic()
                pod.process.terminate()
            grace = found["metadata"].get("deletionGracePeriodSeconds", 30)
            if time.monotonic() < pod.stopping + grace:
                return
            pod.process.kill()
            pod.process.wait()
        self._remove(pod.path, pod.uid)
        self.pods.pop(pod.uid, None)

    def _remove(self, path, uid):
        try:
            self.api.delete(path, {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0, "preconditions": {"uid": uid}})
        except ApiError as problem:
            if problem.code != 409:
                raise

    def _say(self, pod, ready, state):
        container = {
            "name": "broker", "ready": ready, "restartCount": pod.restarts, "image": "i", "imageID": "i", "state": state,
            "containerID": f"hollow://{pod.uid}-{pod.restarts}",
        }
        condition = {"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": now()}
        address = "127.0.0.1"
        self.api.strategic(f"{pod.path}/status", {"status": {
            "phase": "Running", "hostIP": address, "hostIPs": [{"ip": address}], "podIP": pod.ip, "podIPs": [{"ip": pod.ip}],
            "conditions": [condition], "containerStatuses": [container],
        }})
        pod.ready = ready

    def _start(self, pod, found):
        container = next(c for c in found["spec"]["containers"] if c["name"] == "broker")
        folder = os.path.join(self.work, "pods", pod.uid)
        os.makedirs(folder, exist_ok=True)
        paths = self._mounts(pod, found, container, folder)
        values = {}
        for variable in container["env"]:
            if "value" in variable:
                value = re.sub(r"\$\((\w+)\)", lambda name: values[name.group(1)], variable["value"])
            else:
                value = field(found, pod, variable["valueFrom"]["fieldRef"]["fieldPath"])
            values[variable["name"]] = value
        headless = re.compile(rf"{re.escape(pod.name)}\.[a-z0-9-]+\.{re.escape(pod.namespace)}\.svc")
        for name, value in values.items():
            value = headless.sub(pod.ip, value).replace("0.0.0.0", pod.ip)
            for mounted, real in paths.items():
                value = re.sub(rf"(?<![\w.]){re.escape(mounted)}(?=/|$)", lambda _: real, value)
            values[name] = value
        values["KUBECONFIG"] = self._kubeconfig(pod, found, folder)
        values["BARNABAS_THREADS"] = "1"
        log = open(os.path.join(self.work, f"{pod.namespace}-{pod.name}.log"), "ab")
        environment = {"PATH": os.environ["PATH"], **values}
        program = os.path.join(self.programs, "broker")
        return subprocess.Popen([program, *container["args"]], env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    def _has_volumes(self, found):
        """A pod starts when what it mounts is there."""
        namespace = found["metadata"]["namespace"]
        names = [volume["configMap"]["name"] for volume in found["spec"]["volumes"] if "configMap" in volume]
        return all(self.api.get(f"/api/v1/namespaces/{namespace}/configmaps/{name}") for name in names)

    def _mounts(self, pod, found, container, folder):
        volumes = {volume["name"]: volume for volume in found["spec"]["volumes"]}
        paths = {}
        for mount in container["volumeMounts"]:
            volume = volumes[mount["name"]]
            if "persistentVolumeClaim" in volume:
                real = os.path.join(self.work, "volumes", pod.namespace, volume["persistentVolumeClaim"]["claimName"])
                os.makedirs(real, exist_ok=True)
            else:
                real = os.path.join(folder, mount["name"])
                os.makedirs(real, exist_ok=True)
            if "configMap" in volume:
                path = f"/api/v1/namespaces/{pod.namespace}/configmaps/{volume['configMap']['name']}"
                for name, text in (self.api.get(path).get("data") or {}).items():
                    write(os.path.join(real, name), text)
            if "projected" in volume:
                for source in volume["projected"]["sources"]:
                    if "serviceAccountToken" in source:
                        token = source["serviceAccountToken"]
                        write(os.path.join(real, token["path"]), self._token(pod, found, token.get("audience")))
            paths[mount["mountPath"]] = real
        return paths

    def _token(self, pod, found, audience=None):
        account = found["spec"]["serviceAccountName"]
        bound = {"apiVersion": "v1", "kind": "Pod", "name": pod.name, "uid": pod.uid}
        spec = {"expirationSeconds": 7200, "boundObjectRef": bound}
        if audience:
            spec["audiences"] = [audience]
        answer = self.api.post(f"/api/v1/namespaces/{pod.namespace}/serviceaccounts/{account}/token", {"spec": spec})
        return answer["status"]["token"]

    def _kubeconfig(self, pod, found, folder):
        path = os.path.join(folder, "kubeconfig")
        write(path, kubeconfig(self.api.server, self._token(pod, found), pod.namespace, self.api.ca))
        return path


def kubeconfig(server, token, namespace, ca=None):
    cluster = {"server": server}
    if ca:
        cluster["certificate-authority-data"] = base64.b64encode(ca).decode()
    return json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "c", "user": {"token": token}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c", "namespace": namespace}}],
    })


def field(found, pod, path):
    known = {"metadata.name": pod.name, "metadata.uid": pod.uid, "metadata.namespace": pod.namespace, "status.hostIP": "127.0.0.1"}
    label = re.match(r"metadata\.labels\['(.+)'\]", path)
    return found["metadata"]["labels"][label.group(1)] if label else known[path]


def claim_network():
    """A part of loopback where no other run of this machine has its pods, and what holds it."""
    for second in random.sample(range(2, 250), 248):
        try:
            return f"127.{second}", socket.create_server((f"127.{second}.0.1", 9092))
        except OSError:
            continue
    raise OSError("no network is free in 127.0.0.0/8")


def is_ready(pod):
    try:
        with urllib.request.urlopen(f"http://{pod.ip}:9404/readyz", timeout=1) as answer:
            return answer.status == 200
    except OSError:
        return False


def write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def now():
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def kill(process):
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
