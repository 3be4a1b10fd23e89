import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.ApiException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Client ADDRESS: the Java client behind the commands of ../README.md. Compiles against kafka-clients 2.8 to 4.x.
 */
public final class Client {
    static final ObjectMapper JSON = new ObjectMapper();
    static final Duration PATIENCE = Duration.ofSeconds(30);
    private static final int LARGE = 16 << 20;
    private static final PrintStream OUT = new PrintStream(new FileOutputStream(FileDescriptor.out), false, StandardCharsets.UTF_8);

    private final String address;
    private final Admin admin;
    private Member member;

    private Client(String address) {
        this.address = address;
        this.admin = new Admin(address);
    }

    public static void main(String[] arguments) throws Exception {
        Client client = new Client(arguments[0]);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            say(client.answer(JSON.readTree(line)));
        }
        client.leave();
        client.admin.close();
    }

    /** One line on stdout, whole, whichever thread says it. */
    static void say(ObjectNode line) {
        synchronized (OUT) {
            OUT.println(line);
            OUT.flush();
        }
    }

    private ObjectNode answer(JsonNode command) {
        try {
            switch (command.get("do").asText()) {
                case "produce": return produce(command);
                case "consume": return consume(command);
                case "offsets": return offsets(command);
                case "join":
                    member = new Member(address, command);
                    member.start();
                    return JSON.createObjectNode();
                case "leave": return leave();
                default: return admin.answer(command);
            }
        } catch (Throwable problem) {
            return error(problem);
        }
    }

    private ObjectNode leave() throws Exception {
        if (member != null) {
            member.leave();
            member = null;
        }
        return JSON.createObjectNode();
    }

    private static ObjectNode error(Throwable problem) {
        Throwable cause = problem;
        while (cause.getCause() != null && !(cause instanceof ApiException)) {
            cause = cause.getCause();
        }
        ObjectNode answer = JSON.createObjectNode().put("error", cause.toString());
        return cause instanceof ApiException ? answer.put("code", Errors.forException(cause).name()) : answer;
    }

    private ObjectNode produce(JsonNode command) throws Exception {
        Map<String, Object> settings = new HashMap<>();
        settings.put("bootstrap.servers", address);
        settings.put("compression.type", command.get("compression").asText());
        settings.put("acks", command.path("acks").asText("all"));
        settings.put("enable.idempotence", command.path("idempotent").asBoolean(true));
        settings.put("max.request.size", LARGE);
        settings.put("linger.ms", 20);
        ArrayNode offsets = JSON.createArrayNode();
        try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer())) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (JsonNode record : command.get("records")) {
                List<Header> headers = new ArrayList<>();
                for (JsonNode header : record.path("headers")) {
                    headers.add(new RecordHeader(header.get(0).asText(), bytes(header.get(1))));
                }
                Long timestamp = record.hasNonNull("timestamp") ? record.get("timestamp").asLong() : null;
                sent.add(producer.send(new ProducerRecord<>(command.get("topic").asText(), record.get("partition").asInt(), timestamp,
                    bytes(record.get("key")), bytes(record.get("value")), headers)));
            }
            for (Future<RecordMetadata> future : sent) {
                offsets.add(future.get().offset());
            }
        }
        ObjectNode answer = JSON.createObjectNode();
        answer.set("offsets", offsets);
        return answer;
    }

    private ObjectNode consume(JsonNode command) {
        ArrayNode records = JSON.createArrayNode();
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(new HashMap<>())) {
            Map<TopicPartition, Long> ends = new HashMap<>();
            Map<TopicPartition, Long> starts = new HashMap<>();
            for (JsonNode range : command.get("partitions")) {
                TopicPartition partition = new TopicPartition(command.get("topic").asText(), range.get(0).asInt());
                starts.put(partition, range.get(1).asLong());
                ends.put(partition, range.get(2).asLong());
            }
            consumer.assign(starts.keySet());
            starts.forEach(consumer::seek);
            long deadline = System.nanoTime() + PATIENCE.toNanos();
            while (ends.entrySet().stream().anyMatch(end -> consumer.position(end.getKey()) < end.getValue())) {
                if (System.nanoTime() > deadline) {
                    throw new IllegalStateException("only " + records.size() + " records after " + PATIENCE);
                }
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(100))) {
                    if (record.offset() < ends.get(new TopicPartition(record.topic(), record.partition()))) {
                        records.add(described(record));
                    }
                }
            }
        }
        ObjectNode answer = JSON.createObjectNode();
        answer.set("records", records);
        return answer;
    }

    private ObjectNode offsets(JsonNode command) {
        List<TopicPartition> partitions = new ArrayList<>();
        command.get("partitions").forEach(index -> partitions.add(new TopicPartition(command.get("topic").asText(), index.asInt())));
        Map<TopicPartition, Long> found = new HashMap<>();
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(new HashMap<>())) {
            JsonNode at = command.get("at");
            if (at.isNumber()) {
                Map<TopicPartition, Long> times = new HashMap<>();
                partitions.forEach(partition -> times.put(partition, at.asLong()));
                for (Map.Entry<TopicPartition, OffsetAndTimestamp> entry : consumer.offsetsForTimes(times).entrySet()) {
                    found.put(entry.getKey(), entry.getValue() == null ? -1L : entry.getValue().offset());
                }
            } else {
                found = at.asText().equals("earliest") ? consumer.beginningOffsets(partitions) : consumer.endOffsets(partitions);
            }
        }
        ArrayNode offsets = JSON.createArrayNode();
        for (TopicPartition partition : partitions) {
            offsets.add(found.getOrDefault(partition, -1L));
        }
        ObjectNode answer = JSON.createObjectNode();
        answer.set("offsets", offsets);
        return answer;
    }

    private KafkaConsumer<byte[], byte[]> consumer(Map<String, Object> settings) {
        settings.put("bootstrap.servers", address);
        settings.put("enable.auto.commit", false);
        settings.put("auto.offset.reset", "none");
        return new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    private static ObjectNode described(ConsumerRecord<byte[], byte[]> record) {
        ObjectNode node = JSON.createObjectNode().put("partition", record.partition()).put("offset", record.offset()).put("timestamp", record.timestamp());
        node.put("key", text(record.key())).put("value", text(record.value()));
        ArrayNode headers = node.putArray("headers");
        for (Header header : record.headers()) {
            headers.addArray().add(header.key()).add(text(header.value()));
        }
        return node;
    }

    private static byte[] bytes(JsonNode text) {
        return text == null || text.isNull() ? null : Base64.getDecoder().decode(text.asText());
    }

    private static String text(byte[] bytes) {
        return bytes == null ? null : Base64.getEncoder().encodeToString(bytes);
    }
}
