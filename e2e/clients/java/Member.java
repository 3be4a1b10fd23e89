import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** A member of a group: says what it is given and what it reads, and commits only what it has said. */
final class Member extends Thread implements ConsumerRebalanceListener {
    private final KafkaConsumer<byte[], byte[]> consumer;
    private final String topic;
    /** What it has read and not committed yet: a group that is between two assignments refuses commits for a moment. */
    private final Map<TopicPartition, OffsetAndMetadata> uncommitted = new HashMap<>();
    private volatile boolean leaving;

    Member(String address, JsonNode command) {
        Map<String, Object> settings = new HashMap<>();
        settings.put("bootstrap.servers", address);
        settings.put("group.id", command.get("group").asText());
        settings.put("enable.auto.commit", false);
        settings.put("auto.offset.reset", "earliest");
        if (command.hasNonNull("instance")) {
            settings.put("group.instance.id", command.get("instance").asText());
        }
        if (command.path("protocol").asText("classic").equals("consumer")) {
            settings.put("group.protocol", "consumer");
        } else {
            settings.put("session.timeout.ms", command.path("session_ms").asInt(6000));
            settings.put("heartbeat.interval.ms", 500);
            settings.put("partition.assignment.strategy", assignor(command.path("assignor").asText("roundrobin")));
        }
        consumer = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        topic = command.get("topic").asText();
    }

    private static String assignor(String name) {
        switch (name) {
            case "range": return "org.apache.kafka.clients.consumer.RangeAssignor";
            case "cooperative-sticky": return "org.apache.kafka.clients.consumer.CooperativeStickyAssignor";
            default: return "org.apache.kafka.clients.consumer.RoundRobinAssignor";
        }
    }

    void leave() throws InterruptedException {
        leaving = true;
        consumer.wakeup();
        join();
    }

    @Override
    public void run() {
        try {
            consumer.subscribe(List.of(topic), this);
            while (!leaving) {
                read();
            }
        } catch (WakeupException asked) {
            // Somebody called `leave`.
        } catch (RuntimeException problem) {
            Client.say(event("died").put("why", problem.toString()));
        } finally {
            consumer.close(Duration.ofSeconds(10));
        }
    }

    private void read() {
        ConsumerRecords<byte[], byte[]> batch = consumer.poll(Duration.ofMillis(100));
        if (!batch.isEmpty()) {
            say(batch);
        }
        if (!uncommitted.isEmpty()) {
            commit();
        }
    }

    private void say(ConsumerRecords<byte[], byte[]> batch) {
        ObjectNode said = event("records");
        ArrayNode records = said.putArray("records");
        for (ConsumerRecord<byte[], byte[]> record : batch) {
            records.addArray().add(record.partition()).add(record.offset()).add(new String(record.value(), StandardCharsets.UTF_8));
        }
        Client.say(said);
        for (TopicPartition partition : batch.partitions()) {
            List<ConsumerRecord<byte[], byte[]>> of = batch.records(partition);
            uncommitted.put(partition, new OffsetAndMetadata(of.get(of.size() - 1).offset() + 1));
        }
    }

    private void commit() {
        Map<TopicPartition, OffsetAndMetadata> next = new HashMap<>(uncommitted);
        try {
            consumer.commitSync(next, Duration.ofSeconds(20));
        } catch (WakeupException asked) {
            throw asked;
        } catch (KafkaException problem) {
            Client.say(event("trouble").put("why", problem.toString()));
            return;
        }
        uncommitted.clear();
        ObjectNode committed = event("committed");
        ArrayNode offsets = committed.putArray("offsets");
        next.forEach((partition, offset) -> offsets.addArray().add(partition.partition()).add(offset.offset()));
        Client.say(committed);
    }

    @Override
    public void onPartitionsAssigned(Collection<TopicPartition> given) {
        Client.say(list("assigned", given));
    }

    @Override
    public void onPartitionsRevoked(Collection<TopicPartition> taken) {
        uncommitted.keySet().removeAll(taken);
        Client.say(list("revoked", taken));
    }

    private static ObjectNode list(String name, Collection<TopicPartition> partitions) {
        ObjectNode said = event(name);
        ArrayNode list = said.putArray("partitions");
        partitions.forEach(partition -> list.add(partition.partition()));
        return said;
    }

    private static ObjectNode event(String name) {
        return Client.JSON.createObjectNode().put("event", name);
    }
}
