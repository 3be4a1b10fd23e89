import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.DescribeClusterResult;
import org.apache.kafka.clients.admin.ListOffsetsResult;
import org.apache.kafka.clients.admin.MemberDescription;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;

/** The admin commands of ../README.md. */
final class Admin {
    private final AdminClient client;

    Admin(String address) {
        client = AdminClient.create(Map.of("bootstrap.servers", address));
    }

    void close() {
        client.close();
    }

    ObjectNode answer(JsonNode command) throws Exception {
        String topic = command.path("topic").asText();
        String group = command.path("group").asText();
        ObjectNode answer = Client.JSON.createObjectNode();
        switch (command.get("do").asText()) {
            case "create_topic":
                wait(client.createTopics(List.of(new NewTopic(topic, command.get("partitions").asInt(), (short) 1).configs(strings(command.path("configs"))))).all());
                return answer;
            case "delete_topic":
                wait(client.deleteTopics(List.of(topic)).all());
                return answer;
            case "list_topics":
                wait(client.listTopics().names()).forEach(answer.putArray("topics")::add);
                return answer;
            case "create_partitions":
                wait(client.createPartitions(Map.of(topic, NewPartitions.increaseTo(command.get("count").asInt()))).all());
                return answer;
            case "describe_configs":
                return describeConfigs(resource(command), answer);
            case "alter_configs":
                return alterConfigs(resource(command), strings(command.get("configs")), answer);
            case "delete_records": {
                TopicPartition partition = new TopicPartition(topic, command.get("partition").asInt());
                RecordsToDelete before = RecordsToDelete.beforeOffset(command.get("before").asLong());
                return answer.put("low", wait(client.deleteRecords(Map.of(partition, before)).lowWatermarks().get(partition)).lowWatermark());
            }
            case "list_offsets":
                return listOffsets(topic, command.get("partitions"), command.get("at"), answer);
            case "list_groups": {
                ArrayNode groups = answer.putArray("groups");
                wait(client.listConsumerGroups().all()).forEach(listing -> groups.add(listing.groupId()));
                return answer;
            }
            case "describe_group":
                return describeGroup(group, answer);
            case "delete_group":
                wait(client.deleteConsumerGroups(List.of(group)).all());
                return answer;
            case "group_offsets": {
                ArrayNode offsets = answer.putArray("offsets");
                Map<TopicPartition, OffsetAndMetadata> found = new TreeMap<>((left, right) -> left.toString().compareTo(right.toString()));
                found.putAll(wait(client.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata()));
                found.forEach((partition, offset) -> offsets.addArray().add(partition.partition()).add(offset.offset()).add(offset.metadata()));
                return answer;
            }
            case "set_group_offset": {
                OffsetAndMetadata offset = new OffsetAndMetadata(command.get("offset").asLong(), command.path("metadata").asText());
                wait(client.alterConsumerGroupOffsets(group, Map.of(new TopicPartition(topic, command.get("partition").asInt()), offset)).all());
                return answer;
            }
            case "describe_cluster": {
                DescribeClusterResult cluster = client.describeCluster();
                answer.put("cluster", wait(cluster.clusterId())).put("controller", wait(cluster.controller()).id());
                ArrayNode brokers = answer.putArray("brokers");
                for (Node node : wait(cluster.nodes())) {
                    brokers.addArray().add(node.id()).add(node.host()).add(node.port());
                }
                return answer;
            }
            default:
                return answer.put("error", "unknown command " + command);
        }
    }

    private ObjectNode describeConfigs(ConfigResource resource, ObjectNode answer) throws Exception {
        ObjectNode configs = answer.putObject("configs");
        for (ConfigEntry entry : wait(client.describeConfigs(List.of(resource)).all()).get(resource).entries()) {
            configs.put(entry.name(), entry.value());
        }
        return answer;
    }

    private ObjectNode alterConfigs(ConfigResource resource, Map<String, String> configs, ObjectNode answer) throws Exception {
        List<AlterConfigOp> changes = new ArrayList<>();
        configs.forEach((name, value) -> changes.add(new AlterConfigOp(new ConfigEntry(name, value), AlterConfigOp.OpType.SET)));
        wait(client.incrementalAlterConfigs(Map.of(resource, changes)).all());
        return answer;
    }

    private ObjectNode listOffsets(String topic, JsonNode partitions, JsonNode at, ObjectNode answer) throws Exception {
        Map<TopicPartition, OffsetSpec> wanted = new HashMap<>();
        partitions.forEach(index -> wanted.put(new TopicPartition(topic, index.asInt()), spec(at)));
        Map<TopicPartition, ListOffsetsResult.ListOffsetsResultInfo> found = wait(client.listOffsets(wanted).all());
        ArrayNode offsets = answer.putArray("offsets");
        partitions.forEach(index -> offsets.add(found.get(new TopicPartition(topic, index.asInt())).offset()));
        return answer;
    }

    private static OffsetSpec spec(JsonNode at) {
        if (at.isNumber()) {
            return OffsetSpec.forTimestamp(at.asLong());
        }
        switch (at.asText()) {
            case "earliest": return OffsetSpec.earliest();
            case "latest": return OffsetSpec.latest();
            default:
                try {
                    return (OffsetSpec) OffsetSpec.class.getMethod("maxTimestamp").invoke(null); // not in 2.8
                } catch (ReflectiveOperationException missing) {
                    throw new UnsupportedOperationException("this client cannot ask for the greatest timestamp");
                }
        }
    }

    private ObjectNode describeGroup(String group, ObjectNode answer) throws Exception {
        ConsumerGroupDescription description = wait(client.describeConsumerGroups(List.of(group)).describedGroups().get(group));
        answer.put("state", description.state().toString());
        ArrayNode members = answer.putArray("members");
        for (MemberDescription member : description.members()) {
            ArrayNode partitions = members.addObject().put("instance", member.groupInstanceId().orElse(null)).put("client", member.clientId()).putArray("partitions");
            member.assignment().topicPartitions().stream().map(TopicPartition::partition).sorted().forEach(partitions::add);
        }
        return answer;
    }

    private static ConfigResource resource(JsonNode command) {
        return command.has("broker")
            ? new ConfigResource(ConfigResource.Type.BROKER, command.get("broker").asText())
            : new ConfigResource(ConfigResource.Type.TOPIC, command.get("topic").asText());
    }

    private static Map<String, String> strings(JsonNode object) {
        Map<String, String> strings = new HashMap<>();
        object.fields().forEachRemaining(field -> strings.put(field.getKey(), field.getValue().asText()));
        return strings;
    }

    private static <T> T wait(KafkaFuture<T> future) throws Exception {
        return future.get(Client.PATIENCE.toSeconds(), java.util.concurrent.TimeUnit.SECONDS);
    }
}
