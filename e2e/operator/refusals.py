"""What the API server refuses: manifests, rights, pods."""

import json

import manifests
from world import HOME


def bad_manifests(world):
    namespace = world.namespace("manifests")
    try_it = lambda verb, body: world.kubectl(verb, "--namespace", namespace, "--dry-run=server", "-f", "-", given=json.dumps(body))
    for base in [manifests.CLUSTER, manifests.TOPIC]:
        code, said = world.kubectl("create", "--namespace", namespace, "-f", "-", given=json.dumps(base))
        assert code == 0, said
    wrong = []
    for verb, cases in [("create", manifests.CREATED), ("replace", manifests.CHANGED)]:
        for what, base, changes, sentence in cases:
            body = manifests.manifest(base, changes)
            if verb == "create" and "metadata.name" not in changes:
                body["metadata"]["name"] += "-2"
            code, said = try_it(verb, body)
            kind = base["kind"]
            if code == 0:
                wrong.append(f"{kind} with {what} was taken")
            elif sentence not in said:
                wrong.append(f"{kind} with {what}: {said}")
            elif sentences(said) != 1 or "no such key" in said:
                wrong.append(f"{kind} with {what}, more than a sentence: {said}")
    for what, base, changes in manifests.FINE:
        body = manifests.manifest(base, changes)
        verb = "replace" if changes else "create"
        body["metadata"]["name"] += "" if changes else "-3"
        code, said = try_it(verb, body)
        if code != 0:
            wrong.append(f"{what} was refused: {said}")
    world.clean(namespace)
    for line in wrong:
        print(f"  {line}", flush=True)
    assert not wrong, f"{len(wrong)} wrong, the first: {wrong[0]}"
    return f"{len(manifests.CREATED) + len(manifests.CHANGED)} mistakes"


def sentences(said):
    """Of the API server's own trailer nobody learns anything."""
    lines = [line for line in said.splitlines() if "some validation rules were not checked" not in line]
    bullets = [line for line in lines if line.startswith("* ")]
    return len(bullets) or len(lines)

ALLOWED_OPERATOR = {
    "barnabas.dev/clusters": "get list watch patch",
    "barnabas.dev/clusters/status": "get patch",
    "barnabas.dev/topics": "get list watch create patch delete",
    "barnabas.dev/topics/status": "get patch",
    "barnabas.dev/clusters/finalizers": "update",
    "barnabas.dev/topics/finalizers": "update",
    "barnabas.dev/metadatalogs": "get list create update delete deletecollection",
    "barnabas.dev/metadatasnapshots": "get list create update delete deletecollection",
    "apps/statefulsets": "get list watch create patch",
    "/configmaps": "get create patch",
    "/serviceaccounts": "get create patch",
    "/services": "get list create patch delete",
    "networking.k8s.io/networkpolicies": "get list create patch delete",
    "policy/poddisruptionbudgets": "get create patch",
    "rbac.authorization.k8s.io/roles": "get create patch",
    "rbac.authorization.k8s.io/rolebindings": "get create patch",
    "coordination.k8s.io/leases": "get list watch create update patch delete",
    "/persistentvolumeclaims": "get list watch patch",
    "/pods": "get list watch",
    "/nodes": "get",
    "events.k8s.io/events": "create patch",
}
VERBS = "get list watch create update patch delete deletecollection".split()
# Every ServiceAccount may ask what it may.
EVERYBODY = {"authorization.k8s.io/selfsubjectaccessreviews", "authorization.k8s.io/selfsubjectrulesreviews", "authentication.k8s.io/selfsubjectreviews"}


def resources(world):
    """Every resource and subresource of the API server."""
    found = set()
    groups = [("", "/api/v1")] + [(g["name"], f"/apis/{g['preferredVersion']['groupVersion']}") for g in world.api.get("/apis")["groups"]]
    for group, path in groups:
        for resource in world.api.get(path)["resources"]:
            found.add(f"{group}/{resource['name']}")
    return sorted(found | {"barnabas.dev/clusters/finalizers", "barnabas.dev/topics/finalizers"})


def may(world, user, namespace, resource, verb, name=None):
    group, _, rest = resource.partition("/")
    resource, _, sub = rest.partition("/")
    attributes = {"namespace": namespace, "verb": verb, "group": group, "resource": resource, "subresource": sub}
    if name:
        attributes["name"] = name
    account, home = user
    spec = {"user": f"system:serviceaccount:{home}:{account}", "groups": ["system:serviceaccounts", f"system:serviceaccounts:{home}", "system:authenticated"], "resourceAttributes": attributes}
    return world.api.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", {"spec": spec})["status"]["allowed"]


def rights(world):
    wrong, asked = [], 0
    for resource in resources(world):
        if resource in EVERYBODY:
            continue
        for verb in VERBS:
            asked += 2
            wanted = verb in ALLOWED_OPERATOR.get(resource, "").split()
            if may(world, ("barnabas-operator", HOME), "post", resource, verb) != wanted:
                wrong.append(f"the operator {'may not' if wanted else 'may'} {verb} {resource}")
            if may(world, ("castle", "post"), "post", resource, verb):
                wrong.append(f"a broker may {verb} {resource}")
    # By name: its authority, and the Leases of its own cluster.
    secret = lambda name, verb: may(world, ("barnabas-operator", HOME), HOME, "/secrets", verb, name)
    assert secret("barnabas-operator-control-ca", "get") and not secret("other", "get") and not secret("barnabas-operator-control-ca", "delete")
    lease = lambda name, verb, namespace="post": may(world, ("castle", "post"), namespace, "coordination.k8s.io/leases", verb, name)
    assert all(lease("castle-broker-1", verb) for verb in ["get", "update", "patch"])
    for name, verb, namespace in [("castle-controller", "get", "post"), ("castle-broker-1", "delete", "post"), ("other-broker-1", "patch", "post"), ("castle-broker-1", "patch", HOME)]:
        if lease(name, verb, namespace):
            wrong.append(f"a broker may {verb} Lease {namespace}/{name}")
    for line in wrong:
        print(f"  {line}")
    assert not wrong, f"{len(wrong)} wrong, the first: {wrong[0]}"
    return f"{asked} questions"


def restricted(world):
    """The API server itself judges the pods of a cluster by the strictest standard."""
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ["enforce", "warn"]}
    world.api.post("/api/v1/namespaces", {"metadata": {"name": "strict", "labels": labels}})
    world.cluster("strict", "jail", replicas=1)
    world.wait_ready("clusters", "strict", "jail")
    world.clean("strict")
