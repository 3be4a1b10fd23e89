"""The operator, its brokers and a real API server, all as processes of this machine: see e2e/run-operator.sh."""

import os
import sys

import cluster
import deaths
import refusals
import topics
import under_load
from world import Operator, World
from verdicts import Verdicts  # on the path that world set

# What takes minutes each.
LONG = bool(os.environ.get("BARNABAS_LONG"))


def main():
    world = World()
    verdicts = Verdicts()
    operator = Operator(world)
    try:
        verdicts.attempt("each mistake in a manifest is refused with one sentence", refusals.bad_manifests, world)
        operator.start()
        verdicts.attempt("a Cluster of three brokers comes up with racks from its nodes, and says so in conditions", cluster.cluster_comes_up, world)
        verdicts.attempt("operator and brokers may do what they need and nothing else", refusals.rights, world)
        if LONG:
            verdicts.attempt("at rest nothing is written but Leases", cluster.nothing_is_written_at_rest, world, operator)
        verdicts.attempt("a change of the pod template rolls one broker at a time", cluster.template_change_rolls, world)
        verdicts.attempt("a change of the configuration restarts nothing", cluster.config_change_rolls_nothing, world)
        verdicts.attempt("kubectl rollout restart rolls one broker at a time", cluster.rollout_restart, world)
        verdicts.attempt("a roll stops while a broker is down", cluster.roll_waits_for_a_broker, world)
        verdicts.attempt("a roll under load: no delivery fails, every record is read, no partition falls below min.insync.replicas", under_load.roll_under_load, world)
        verdicts.attempt("the metadata log is deleted under load: it is made anew, and no client notices", under_load.log_lost, world, True)
        verdicts.attempt("the metadata log is restored from a hundred records before, under load: it is made anew, and no client notices", under_load.log_lost, world, False)
        verdicts.attempt("volumes grow, where the storage class allows it", cluster.volumes_grow, world)
        verdicts.attempt("brokers come and go with replicas", cluster.scale_up_and_down, world)
        verdicts.attempt("a paused Cluster is left alone", cluster.paused_cluster_is_left_alone, world)
        verdicts.attempt("Services and policies come and go with listeners", cluster.listeners_come_and_go, world)
        verdicts.attempt("brokers run where restricted Pod Security is enforced", refusals.restricted, world)
        verdicts.attempt("Topics by kubectl and by the Kafka protocol: one truth, and each field is its owner's", topics.topics_by_both, world)
        verdicts.attempt("the commands of a day print what is so", topics.commands_of_a_day, world)
        verdicts.attempt("topics of equal names in four clusters of three namespaces", topics.topics_of_equal_names, world)
        verdicts.attempt("kubectl delete namespace takes a Cluster and its Topics with it, and does not hang", cluster.namespace_goes, world)
        verdicts.attempt("two operators by mistake: one decides, the other says why not", deaths.two_releases, world, operator)
        verdicts.attempt("1000 Topics at once", topics.thousand_topics, world, operator)
        world.clean("post")
        operator.stop()
        if LONG:
            verdicts.attempt("the operator dies after each write of a cluster's creation", deaths.killed_in_creation, world)
        verdicts.attempt("the operator dies after each write of a topic's creation", deaths.killed_in_topic_creation, world)
        verdicts.attempt("the operator dies after each write of a topic's growth", deaths.killed_in_growth, world)
        verdicts.attempt("the operator dies after each write of a topic's deletion", deaths.killed_in_deletion, world)
        if LONG:
            verdicts.attempt("the operator dies after each write of a scale-up", deaths.killed_in_scaling, world)
    finally:
        operator.stop()
        world.kubelet.stop()
    return verdicts.close()


if __name__ == "__main__":
    sys.exit(main())
