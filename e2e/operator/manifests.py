"""Mistakes that one makes in a manifest, and the sentence that refuses each. Every one must be refused by the API server itself, with that
sentence and nothing beside it; the same manifest without the mistake must be taken.
"""

import copy

CLUSTER = {
    "apiVersion": "barnabas.dev/v1alpha1",
    "kind": "Cluster",
    "metadata": {"name": "castle"},
    "spec": {
        "replicas": 3,
        "storage": {"size": "10Gi", "storageClassName": "fast"},
        "listeners": [{"name": "plain", "port": 9092}],
        "rack": {"topologyKey": "topology.kubernetes.io/zone"},
        "image": {"repository": "registry.example.org:5000/barnabas/broker"},
        "resources": {"requests": {"cpu": "100m"}, "limits": {"cpu": 1}},
        "podTemplate": {"labels": {"team": "post"}, "tolerations": [{"key": "dedicated", "operator": "Exists"}]},
    },
}
TOPIC = {
    "apiVersion": "barnabas.dev/v1alpha1",
    "kind": "Topic",
    "metadata": {"name": "letters"},
    "spec": {"clusterRef": {"name": "castle"}, "topicName": "letters.in", "partitions": 12, "config": {"retention.ms": 1000}},
}
NODE_PORT = {"name": "external", "port": 9094, "type": "NodePort"}
BALANCER = {"name": "external", "port": 9094, "type": "LoadBalancer"}
PLAIN = {"name": "plain", "port": 9092}
GONE = object()


def listeners(*more):
    return {"spec.listeners": [PLAIN, *more]}


# What is wrong, the manifest, its fields that differ, the sentence.
CREATED = [
    ("a name in capitals", CLUSTER, {"metadata.name": "Castle"}, "a lowercase RFC 1123 subdomain"),
    ("a name with a dot", CLUSTER, {"metadata.name": "the.castle"}, "name must be a DNS label of at most 40 characters"),
    ("a name of 41 characters", CLUSTER, {"metadata.name": "a" * 41}, "name must be a DNS label of at most 40 characters"),
    ("no replicas", CLUSTER, {"spec.replicas": 0}, "should be greater than or equal to 1"),
    ("a port as text", CLUSTER, {"spec.listeners": [{"name": "plain", "port": "9092"}]}, "must be of type integer"),
    ("a misspelt field", CLUSTER, {"spec.replica": 3}, 'unknown field "spec.replica"'),
    ("a misspelt field deep inside", CLUSTER, {"spec.podTemplate.tolerations": [{"keys": "x"}]}, 'unknown field "spec.podTemplate.tolerations[0].keys"'),
    ("a size without a number", CLUSTER, {"spec.storage.size": "big"}, "spec.storage.size in body should match"),
    ("a size too small", CLUSTER, {"spec.storage.size": "1Mi"}, "size must be at least 64Mi"),
    ("no listeners", CLUSTER, {"spec.listeners": []}, "should have at least 1 items"),
    ("two listeners on one port", CLUSTER, listeners({"name": "other", "port": 9092}), "listener ports must be unique"),
    ("two listeners of one name", CLUSTER, listeners({"name": "plain", "port": 9093}), "Duplicate value"),
    ("no internal listener", CLUSTER, {"spec.listeners": [NODE_PORT]}, "at least one listener must be of type Internal"),
    ("a listener on the port of the metrics", CLUSTER, listeners({"name": "x", "port": 9404}), "ports 9404 and 9405 are taken"),
    ("a listener with the name of the metrics", CLUSTER, listeners({"name": "prometheus", "port": 9099}), "listener names prometheus and control are taken"),
    ("a listener name with a dash", CLUSTER, listeners({"name": "in-side", "port": 9099}), "should match '^[a-z0-9]{1,11}$'"),
    ("a privileged port", CLUSTER, listeners({"name": "x", "port": 80}), "should be greater than or equal to 1024"),
    ("a type of listener that there is not", CLUSTER, listeners({"name": "x", "port": 9099, "type": "Ingress"}), 'supported values: "Internal", "NodePort", "LoadBalancer"'),
    ("an advertised host inside", CLUSTER, listeners({"name": "x", "port": 9099, "advertisedHost": "h"}), "advertisedHost belongs to listeners of type NodePort and LoadBalancer"),
    ("an advertised host with a scheme", CLUSTER, listeners({**NODE_PORT, "advertisedHost": "tcp://h"}), "advertisedHost must be a host name or address"),
    ("one advertised port for all brokers", CLUSTER, listeners({**NODE_PORT, "advertisedHost": "h", "advertisedPort": 9094}), "otherwise all brokers would have one address"),
    ("a source range of a node port", CLUSTER, listeners({**NODE_PORT, "loadBalancerSourceRanges": ["10.0.0.0/8"]}), "belong to listeners of type LoadBalancer"),
    ("a source range that is none", CLUSTER, listeners({**BALANCER, "loadBalancerSourceRanges": ["10.0.0.300/8"]}), "must be a network, such as 192.0.2.0/24"),
    ("annotations of a Service that there is not", CLUSTER, listeners({"name": "x", "port": 9099, "serviceAnnotations": {"a": "b"}}), "serviceAnnotations belong to listeners"),
    ("a key that the operator manages", CLUSTER, {"spec.config": {"broker.id": 1}}, "have fields of their own or are managed by the operator"),
    ("a key that has a field", CLUSTER, {"spec.config": {"num.partitions": 3}}, "have fields of their own in topicDefaults"),
    ("a boolean without quotes", CLUSTER, {"spec.config": {"unclean.leader.election.enable": True}}, "must be of type integer,string"),
    ("more replicas than brokers", CLUSTER, {"spec.topicDefaults": {"replicationFactor": 5}}, "topicDefaults.replicationFactor cannot be above replicas"),
    ("more in-sync replicas than replicas", CLUSTER, {"spec.topicDefaults": {"replicationFactor": 2, "minInsyncReplicas": 3}}, "no topic could ever be written to"),
    ("no partitions by default", CLUSTER, {"spec.topicDefaults": {"partitions": 0}}, "should be greater than or equal to 1"),
    ("a tag in the repository", CLUSTER, {"spec.image": {"repository": "registry:5000/broker:1.0"}}, "image.repository is without tag"),
    ("a digest in the repository", CLUSTER, {"spec.image": {"repository": "broker@sha256:" + "0" * 64}}, "image.repository is without digest"),
    ("half a digest", CLUSTER, {"spec.image": {"digest": "sha256:abc"}}, "should match '^sha256:[0-9a-f]{64}$'"),
    ("a pull policy in lower case", CLUSTER, {"spec.image": {"pullPolicy": "always"}}, 'supported values: "Always", "IfNotPresent", "Never"'),
    ("more requested than allowed", CLUSTER, {"spec.resources": {"requests": {"memory": "2Gi"}, "limits": {"memory": "1Gi"}}}, "resources.requests cannot be above resources.limits"),
    ("memory without a unit that there is", CLUSTER, {"spec.resources": {"requests": {"memory": "1GB"}}}, "must be a quantity, such as 500m or 1Gi"),
    ("a label of the operator", CLUSTER, {"spec.podTemplate": {"labels": {"barnabas.dev/cluster": "x"}}}, "are the operator's own"),
    ("a label with a space", CLUSTER, {"spec.podTemplate": {"labels": {"team": "the post"}}}, "a label's value has at most 63"),
    ("a pull secret without name", CLUSTER, {"spec.podTemplate": {"imagePullSecrets": [{"name": ""}]}}, "each of imagePullSecrets needs a name"),
    ("a rack label with a space", CLUSTER, {"spec.rack": {"topologyKey": "my zone"}}, "spec.rack.topologyKey in body should match"),
    ("a policy that there is not", CLUSTER, {"spec.storage": {"whenDeleted": "Keep"}}, 'supported values: "Retain", "Delete"'),
    ("no cluster", TOPIC, {"spec.clusterRef": GONE}, "spec.clusterRef: Required value"),
    ("a cluster in capitals", TOPIC, {"spec.clusterRef": {"name": "Castle"}}, "spec.clusterRef.name in body should match"),
    ("no partitions", TOPIC, {"spec.partitions": 0}, "should be greater than or equal to 1"),
    ("too many partitions", TOPIC, {"spec.partitions": 10001}, "should be less than or equal to 10000"),
    ("a topic name with a space", TOPIC, {"spec.topicName": "the letters"}, "spec.topicName in body should match"),
    ("a topic named ..", TOPIC, {"spec.topicName": ".."}, "topicName cannot be . or .."),
    ("a topic name of 250 characters", TOPIC, {"spec.topicName": "a" * 250}, "may not be more than 249"),
    ("an object name that is too long for a topic", TOPIC, {"metadata.name": "a" * 250, "spec.topicName": GONE}, "metadata.name is not a valid topic name: set spec.topicName"),
    ("min.insync.replicas in words", TOPIC, {"spec.config": {"min.insync.replicas": "two"}}, "min.insync.replicas must be a number of at least 1"),
    ("a boolean without quotes", TOPIC, {"spec.config": {"preallocate": True}}, "must be of type integer,string"),
    ("a policy that there is not", TOPIC, {"spec.deletionPolicy": "Keep"}, 'supported values: "Delete", "Retain"'),
]

# The same, as changes of what is there.
CHANGED = [
    ("a smaller volume", CLUSTER, {"spec.storage.size": "5Gi"}, "size cannot shrink"),
    ("a smaller volume in another unit", CLUSTER, {"spec.storage.size": "10G"}, "size cannot shrink"),
    ("another storage class", CLUSTER, {"spec.storage.storageClassName": "slow"}, "storageClassName cannot be changed"),
    ("no storage class any more", CLUSTER, {"spec.storage.storageClassName": GONE}, "storageClassName cannot be changed"),
    ("another rack label", CLUSTER, {"spec.rack.topologyKey": "room"}, "rack cannot be changed or removed"),
    ("no rack any more", CLUSTER, {"spec.rack": GONE}, "rack cannot be changed or removed"),
    ("fewer partitions", TOPIC, {"spec.partitions": 6}, "partitions can only grow"),
    ("no number of partitions any more", TOPIC, {"spec.partitions": GONE}, "partitions can only grow"),
    ("another topic name", TOPIC, {"spec.topicName": "letters.out"}, "topicName cannot be changed"),
    ("no topic name any more", TOPIC, {"spec.topicName": GONE}, "topicName cannot be changed"),
    ("another cluster", TOPIC, {"spec.clusterRef.name": "village"}, "clusterRef cannot be changed"),
]

# Nothing is wrong with these.
FINE = [
    ("a cluster that says nothing", {**CLUSTER, "spec": {}}, {}),
    ("a larger volume in another unit", CLUSTER, {"spec.storage.size": "20G"}),
    ("every kind of listener", CLUSTER, listeners({**NODE_PORT, "advertisedHost": "h.example.org"}, {**BALANCER, "name": "lb", "port": 9095, "advertisedHost": "b{id}.example.org", "advertisedPort": 443})),
    ("more brokers", CLUSTER, {"spec.replicas": 5}),
    ("a topic that says nothing", {**TOPIC, "spec": {"clusterRef": {"name": "castle"}}, "metadata": {"name": "post"}}, {}),
    ("more partitions", TOPIC, {"spec.partitions": 24}),
]


def manifest(base, changes):
    made = copy.deepcopy(base)
    for path, value in changes.items():
        at = made
        *parents, last = path.split(".", 1) if path.startswith("metadata.") else path.split(".")
        for name in parents:
            at = at.setdefault(name, {})
        if value is GONE:
            at.pop(last, None)
        else:
            at[last] = copy.deepcopy(value)
    return made
