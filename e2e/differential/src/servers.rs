//! Both brokers as child processes, with their first start's settings but for addresses and the node's id.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use protocol::ApiKey;
use serde_json::json;

use crate::wire::{Connection, Outcome};

/// A running broker; dropping it kills the process.
pub(crate) struct Server {
    pub(crate) address: String,
    name: &'static str,
    process: Child,
    log: PathBuf,
}

impl Server {
    /// Barnabas, standalone.
    pub(crate) fn barnabas(program: &Path, directory: &Path) -> Result<Self> {
        let address = format!("127.0.0.1:{}", free_port()?);
        let mut command = Command::new(program);
        command
            .args(["standalone", "--metrics", "off", "--listen", &address, "--data-dir"])
            .arg(directory.join("barnabas"));
        Self::start("Barnabas", command, address, directory.join("barnabas.log"))
    }

    /// Apache Kafka: one node that is broker and controller, numbered 0 as ours is.
    pub(crate) fn kafka(jars: &Path, directory: &Path) -> Result<Self> {
        let address = format!("127.0.0.1:{}", free_port()?);
        let controller = format!("127.0.0.1:{}", free_port()?);
        let settings = directory.join("server.properties");
        std::fs::write(
            &settings,
            format!(
                "process.roles=broker,controller\nnode.id=0\ncontroller.quorum.voters=0@{controller}\n\
                 listeners=PLAINTEXT://{address},CONTROLLER://{controller}\nadvertised.listeners=PLAINTEXT://{address}\n\
                 controller.listener.names=CONTROLLER\nlog.dirs={}\n\
                 offsets.topic.replication.factor=1\ntransaction.state.log.replication.factor=1\n\
                 transaction.state.log.min.isr=1\ngroup.initial.rebalance.delay.ms=0\n\
                 group.consumer.min.assignment.interval.ms=0\ngroup.consumer.assignment.interval.ms=0\n",
                directory.join("kafka").display()
            ),
        )?;
        let java = |main: &str| {
            let mut command = Command::new("java");
            let classes = format!("{}/*", jars.display());
            command.args([
                "-Xmx512m",
                "-XX:TieredStopAtLevel=1",
                "-XX:+UseSerialGC",
                "-cp",
                &classes,
                main,
            ]);
            command
        };
        let formatted = java("kafka.tools.StorageTool")
            .args(["format", "--cluster-id", "4L6g3nShT-eMCtK--X86sw", "--config"])
            .arg(&settings)
            .stdout(Stdio::null())
            .status()
            .context("running java")?;
        ensure!(formatted.success(), "Kafka's storage tool failed");
        let mut command = java("kafka.Kafka");
        command.arg(&settings);
        Self::start("Kafka", command, address, directory.join("kafka.log"))
    }

    fn start(name: &'static str, mut command: Command, address: String, log: PathBuf) -> Result<Self> {
        let output = File::create(&log)?;
        let process = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        Ok(Self {
            address,
            name,
            process,
            log,
        })
    }

    /// Waits until the broker lists itself and coordinates groups in every partition of `__consumer_offsets`.
    pub(crate) fn wait(&mut self) -> Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_mins(1) {
            if let Some(status) = self.process.try_wait()? {
                let log = std::fs::read_to_string(&self.log).unwrap_or_default();
                bail!("{} ended at once, {status}:\n{log}", self.name);
            }
            let listed = Self::is_listed(&self.address).unwrap_or(false);
            if listed && Self::coordinates(&self.address).unwrap_or(false) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!("{} does not answer on {} after 60 s", self.name, self.address)
    }

    fn is_listed(address: &str) -> Result<bool> {
        let mut connection = Connection::open(address)?;
        connection.send(ApiKey::Metadata, 1, json!({"topics": []}))?;
        let Outcome::Answer(answer) = connection.receive(ApiKey::Metadata, 1) else {
            return Ok(false);
        };
        Ok(answer["brokers"].as_array().is_some_and(|brokers| !brokers.is_empty()))
    }

    fn coordinates(address: &str) -> Result<bool> {
        let mut connection = Connection::open(address)?;
        connection.send(ApiKey::FindCoordinator, 3, json!({"key": "any"}))?;
        let Outcome::Answer(found) = connection.receive(ApiKey::FindCoordinator, 3) else {
            return Ok(false);
        };
        // So many names that every one of the 50 partitions has some.
        let names: Vec<String> = (0..500).map(|number| format!("warm-{number}")).collect();
        connection.send(ApiKey::DescribeGroups, 5, json!({"groups": names}))?;
        let Outcome::Answer(described) = connection.receive(ApiKey::DescribeGroups, 5) else {
            return Ok(false);
        };
        let groups = described["groups"].as_array();
        Ok(
            found["error_code"] == 0
                && groups.is_some_and(|groups| groups.iter().all(|group| group["error_code"] == 0)),
        )
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Best effort: the directory goes next, and nothing of it is wanted.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
