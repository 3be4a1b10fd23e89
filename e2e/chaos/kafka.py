"""Apache Kafka in the place of our processes: three brokers and a controller, with Kafka's own defaults for who is dead."""

import os
import subprocess

from cluster import CONTROL, CONTROLLER, KAFKA, Node

CLUSTER_ID = "4L6g3nShT-eMCtK--X86sw"


class KafkaNode(Node):
    """A JVM: broker `id`, or the controller alone where `id` is 0."""

    controller_is_a_broker = False
    patience = 90

    def __init__(self, cluster, id, host, jars):
        super().__init__(cluster, id, host)
        self.jars = f"{jars}/*"
        self.settings = f"{self.data}.properties"

    def program(self):
        return ["java", "-Xms256m", "-Xmx512m", "-XX:+UseG1GC", "-cp", self.jars, "kafka.Kafka", self.settings]

    def start(self):
        if not os.path.exists(self.settings):
            with open(self.settings, "w", encoding="ascii") as file:
                file.write(self.properties())
            format = ["java", "-cp", self.jars, "kafka.tools.StorageTool", "format", "--cluster-id", CLUSTER_ID, "--config", self.settings]
            subprocess.run(format, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        super().start()

    def properties(self):
        controller = f"10.123.0.{CONTROLLER}:{CONTROL}"
        role = ["process.roles=controller", f"listeners=CONTROLLER://{controller}"]
        if self.id != 0:
            role = ["process.roles=broker", f"listeners=PLAINTEXT://10.123.0.{self.host}:{KAFKA}"]
        return "\n".join([*role, f"node.id={self.id}", f"controller.quorum.voters=0@{controller}", "controller.listener.names=CONTROLLER", f"log.dirs={self.data}", ""])

