"""What an operator does with an admin client, and what it is told when it asks for nonsense."""

import members
import records
from process import Refused

# KafkaJS has no names for these, or answers another way; confluent-kafka shortens one name.
SHORT = {"UNKNOWN_TOPIC_OR_PART": "UNKNOWN_TOPIC_OR_PARTITION", "TOPIC_EXCEPTION": "INVALID_TOPIC_EXCEPTION"}


def administration(clients, kind):
    client = clients.start(kind, f"{kind}-admin")
    cluster(clients, client)
    topics(client, f"managed-{kind}")
    configs(client, f"managed-{kind}")
    growth(client, f"managed-{kind}")
    groups(clients, client, f"managed-{kind}")
    client.ask("delete_topic", topic=f"managed-{kind}")
    members.wait(lambda: f"managed-{kind}" not in client.ask("list_topics")["topics"], "the topic to be gone")
    refuse(client, "UNKNOWN_TOPIC_OR_PARTITION", "delete_topic", topic=f"managed-{kind}")
    client.close()
    return "topics, configs, partitions, groups, offsets, cluster"


def refuse(client, code, do, **more):
    try:
        answer = client.ask(do, **more)
    except Refused as problem:
        got = SHORT.get(problem.code, problem.code)
        assert got == code, f"{do} {more} is refused with {problem.code}, not {code}: {problem}"
        return
    raise AssertionError(f"{do} {more} is answered with {answer}, not refused with {code}")


def cluster(clients, client):
    answer = client.ask("describe_cluster")
    host, port = clients.address.rsplit(":", 1)
    assert answer["brokers"] == [[0, host, int(port)]] and answer["controller"] == 0 and len(answer["cluster"]) == 22, answer
    configs = client.ask("describe_configs", broker="0")["configs"]
    for name in ("num.partitions", "log.retention.ms", "auto.create.topics.enable", "message.max.bytes"):
        assert name in configs, f"{name} is not among the {len(configs)} configs of the broker"


def topics(client, topic):
    client.ask("create_topic", topic=topic, partitions=2, configs={"segment.bytes": "1048576", "retention.ms": "-1"})
    assert topic in client.ask("list_topics")["topics"]
    refuse(client, "TOPIC_ALREADY_EXISTS", "create_topic", topic=topic, partitions=2)
    if client.kind == "kafkajs":
        return  # it throws one error for all of CreateTopics, without a name
    refuse(client, "INVALID_PARTITIONS", "create_topic", topic=f"{topic}-nothing", partitions=0)
    refuse(client, "INVALID_CONFIG", "create_topic", topic=f"{topic}-wrong", partitions=1, configs={"retention.ms": "soon"})
    refuse(client, "INVALID_TOPIC_EXCEPTION", "create_topic", topic="not/a/name", partitions=1)


def configs(client, topic):
    described = client.ask("describe_configs", topic=topic)["configs"]
    assert described["segment.bytes"] == "1048576" and described["retention.ms"] == "-1", described
    # KafkaJS knows AlterConfigs only, which replaces all that was set.
    client.ask("alter_configs", topic=topic, configs={"retention.ms": "86400000", "max.message.bytes": "2000000"})
    described = client.ask("describe_configs", topic=topic)["configs"]
    due = {"retention.ms": "86400000", "max.message.bytes": "2000000", "segment.bytes": "1073741824" if client.kind == "kafkajs" else "1048576"}
    assert {name: described[name] for name in due} == due, f"{[described[name] for name in due]} is not {due}"
    refuse(client, "INVALID_CONFIG", "alter_configs", topic=topic, configs={"retention.ms": "soon"})
    refuse(client, "UNKNOWN_TOPIC_OR_PARTITION", "alter_configs", topic=f"{topic}-none", configs={"retention.ms": "1"})


def growth(client, topic):
    client.ask("create_partitions", topic=topic, count=4)
    refuse(client, "INVALID_PARTITIONS", "create_partitions", topic=topic, count=3)
    members.wait(lambda: has_leader(client, topic), "the new partitions to have a leader")
    batch = [records.record(3, None, str(number).encode(), [], None) for number in range(100)]
    client.ask("produce", topic=topic, compression="none", records=batch)
    assert client.ask("list_offsets", topic=topic, partitions=[0, 3], at="latest")["offsets"] == [0, 100]


def deletion(clients, kind):
    """Records before an offset go, for readers and for those who ask where the log begins."""
    client, topic = clients.start(kind, f"{kind}-deletion"), f"shortened-{kind}"
    client.ask("create_topic", topic=topic, partitions=2)
    batch = [records.record(1, None, str(number).encode(), [], None) for number in range(100)]
    client.ask("produce", topic=topic, compression="none", records=batch)
    assert client.ask("list_offsets", topic=topic, partitions=[1], at="latest")["offsets"] == [100]
    low = client.ask("delete_records", topic=topic, partition=1, before=40).get("low", 40)
    assert low == 40, f"records go from {low}, not from 40"
    assert client.ask("list_offsets", topic=topic, partitions=[0, 1], at="earliest")["offsets"] == [0, 40]
    got = client.ask("consume", topic=topic, partitions=[[1, 40, 100]])["records"]
    assert [each["offset"] for each in got] == list(range(40, 100)), f"{len(got)} records are left, 60 were due"
    if kind != "kafkajs":  # it asks for the bounds itself
        refuse(client, "OFFSET_OUT_OF_RANGE", "delete_records", topic=topic, partition=1, before=101)
    client.close()
    return "40 of 100 deleted"


def has_leader(client, topic):
    try:
        return client.ask("list_offsets", topic=topic, partitions=[3], at="latest")["offsets"] == [0]
    except Refused:
        return False


def groups(clients, client, topic):
    group = topic
    member = members.Member(clients, client.kind, group=group, topic=topic)
    members.wait(lambda: member.committed().get(3) == 100, "the member to commit", member.summary)
    members.wait(lambda: group in client.ask("list_groups")["groups"], "the group to be listed")
    described = client.ask("describe_group", group=group)
    assert described["state"] == "Stable" and [each["partitions"] for each in described["members"]] == [[0, 1, 2, 3]], described
    refuse(client, "NON_EMPTY_GROUP", "delete_group", group=group)
    offsets = [each[:2] for each in client.ask("group_offsets", group=group)["offsets"] if each[1] >= 0]
    assert offsets == [[3, 100]], offsets
    member.leave()
    members.wait(lambda: client.ask("describe_group", group=group)["state"] == "Empty", "the group to be empty")
    client.ask("set_group_offset", group=group, topic=topic, partition=3, offset=77, metadata="by hand")
    offsets = [each for each in client.ask("group_offsets", group=group)["offsets"] if each[1] >= 0]
    # KafkaJS commits no metadata.
    assert [each[:2] for each in offsets] == [[3, 77]] and (client.kind == "kafkajs" or offsets[0][2] == "by hand"), offsets
    client.ask("delete_group", group=group)
    assert group not in client.ask("list_groups")["groups"]
    refuse(client, "GROUP_ID_NOT_FOUND", "delete_group", group=group)
