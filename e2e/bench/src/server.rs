//! The brokers as child processes, one or three on a side: start, readiness, CPU time, memory, stop.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::client::Client;
use crate::readback;

/// Brokers of a cluster, the ids of all three.
const THREE: [i32; 3] = [0, 1, 2];

/// A running broker, or a cluster of three. Dropping it kills the processes and removes their data.
pub(crate) struct Server {
    pub(crate) name: &'static str,
    /// Of broker 0.
    pub(crate) bootstrap: String,
    /// From exec to the first accepted connection that answers.
    pub(crate) start: Duration,
    /// The ids of all brokers of a cluster; none of a single one.
    pub(crate) replicas: Vec<i32>,
    processes: Vec<Child>,
    directory: PathBuf,
}

impl Server {
    /// Starts Barnabas, standalone, with its defaults.
    pub(crate) fn barnabas(program: &Path, directory: &Path, port: u16) -> Result<Self> {
        let directory = directory.join("barnabas");
        let command = standalone(program, &directory, port);
        Self::start("Barnabas", vec![command], Vec::new(), port, directory)
    }

    /// Starts three brokers, the first of which has the controller in its process.
    pub(crate) fn barnabas_cluster(program: &Path, directory: &Path, port: u16) -> Result<Self> {
        let directory = directory.join("barnabas-cluster");
        let control = format!("127.0.0.1:{}", port + 9);
        let mut commands = vec![standalone(program, &directory.join("0"), port)];
        commands[0].args(["--control", &control]);
        for id in &THREE[1..] {
            let mut command = Command::new(program);
            command
                .args([
                    "run",
                    "--metrics",
                    "off",
                    "--controller",
                    &control,
                    "--id",
                    &id.to_string(),
                ])
                .args(["--listen", &listener(port, *id), "--data-dir"])
                .arg(directory.join(id.to_string()));
            commands.push(command);
        }
        Self::start("Barnabas", commands, THREE.to_vec(), port, directory)
    }

    /// Starts Apache Kafka: one KRaft node with the heap of its own scripts (1 GiB), formatted first.
    pub(crate) fn kafka(jars: &Path, directory: &Path, port: u16) -> Result<Self> {
        let directory = directory.join("kafka");
        let command = kafka_node(jars, &directory, port, &[0], 0)?;
        Self::start("Kafka", vec![command], Vec::new(), port, directory)
    }

    /// Starts three such nodes, each broker and controller.
    pub(crate) fn kafka_cluster(jars: &Path, directory: &Path, port: u16) -> Result<Self> {
        let directory = directory.join("kafka-cluster");
        let node = |id: &i32| kafka_node(jars, &directory.join(id.to_string()), port, &THREE, *id);
        let commands = THREE.iter().map(node).collect::<Result<_>>()?;
        Self::start("Kafka", commands, THREE.to_vec(), port, directory)
    }

    fn start(
        name: &'static str,
        commands: Vec<Command>,
        replicas: Vec<i32>,
        port: u16,
        directory: PathBuf,
    ) -> Result<Self> {
        let begun = Instant::now();
        let mut server = Self {
            name,
            bootstrap: listener(port, 0),
            start: Duration::ZERO,
            replicas,
            processes: Vec::new(),
            directory,
        };
        for mut command in commands {
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let process = command.spawn().with_context(|| format!("starting {name}"))?;
            server.processes.push(process);
        }
        while begun.elapsed() < Duration::from_mins(1) {
            for process in &mut server.processes {
                if let Some(status) = process.try_wait()? {
                    bail!("{name} ended at once: {status}");
                }
            }
            if server.answers() {
                server.start = begun.elapsed();
                return Ok(server);
            }
            std::thread::yield_now();
        }
        bail!("{name} does not answer on {} after 60 s", server.bootstrap)
    }

    /// ApiVersions v0 has an empty body; a cluster is there when a topic on all its brokers can be made.
    fn answers(&self) -> bool {
        let Ok(mut client) = Client::connect(&self.bootstrap) else {
            return false;
        };
        client.call(18, 0, &[]).is_ok()
            && (self.replicas.is_empty() || readback::create_led_topic(&mut client, "ready", 1, &self.replicas).is_ok())
    }

    /// CPU time of all threads of all processes so far, user and system.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        self.processes.iter().map(cpu).sum()
    }

    /// Resident memory of all processes in MiB.
    pub(crate) fn resident(&self) -> Result<f64> {
        self.processes.iter().map(resident).sum()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Best effort: the report has been printed, and the operating system ends what is left.
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// The listener of broker `id`, with room for a controller's beside it.
fn listener(port: u16, id: i32) -> String {
    format!("127.0.0.1:{}", port + 2 * id as u16)
}

fn standalone(program: &Path, directory: &Path, port: u16) -> Command {
    let mut command = Command::new(program);
    command
        .args([
            "standalone",
            "--metrics",
            "off",
            "--listen",
            &listener(port, 0),
            "--data-dir",
        ])
        .arg(directory);
    command
}

/// A formatted KRaft node, to be started.
fn kafka_node(jars: &Path, directory: &Path, port: u16, ids: &[i32], id: i32) -> Result<Command> {
    std::fs::create_dir_all(directory)?;
    let controller = |id: i32| format!("127.0.0.1:{}", port + 2 * id as u16 + 1);
    let voters: Vec<String> = ids.iter().map(|id| format!("{id}@{}", controller(*id))).collect();
    let settings = directory.join("server.properties");
    let (bootstrap, own) = (listener(port, id), controller(id));
    std::fs::write(
        &settings,
        format!(
            "process.roles=broker,controller\nnode.id={id}\ncontroller.quorum.voters={voters}\n\
             listeners=PLAINTEXT://{bootstrap},CONTROLLER://{own}\n\
             advertised.listeners=PLAINTEXT://{bootstrap}\ncontroller.listener.names=CONTROLLER\n\
             log.dirs={logs}\noffsets.topic.replication.factor={copies}\n",
            voters = voters.join(","),
            logs = directory.join("logs").display(),
            copies = ids.len()
        ),
    )?;
    let java = |main: &str| {
        let mut command = Command::new("java");
        command.args([
            "-Xms1g",
            "-Xmx1g",
            "-XX:+UseG1GC",
            "-cp",
            &format!("{}/*", jars.display()),
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
    Ok(command)
}

fn cpu(process: &Child) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.id()))?;
    let after_name = stat.rsplit_once(')').context("a process name in /proc/PID/stat")?.1;
    let ticks: u64 = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|field| field.parse::<u64>().unwrap_or(0))
        .sum();
    // Linux reports in USER_HZ, which is 100 on every architecture that Rust's standard library supports.
    Ok(Duration::from_millis(ticks * 10))
}

fn resident(process: &Child) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id()))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .context("VmRSS in /proc/PID/status")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1024.0)
}
