//! The two brokers as child processes: start, readiness, CPU time, memory, stop.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::client::Client;

/// A running broker. Dropping it kills the process and removes its data.
pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) bootstrap: String,
    /// From exec to the first accepted connection that answers.
    pub(crate) start: Duration,
    process: Child,
    directory: PathBuf,
}

impl Server {
    /// Starts Barnabas, standalone, with its defaults.
    pub(crate) fn barnabas(program: &Path, directory: &Path, port: u16) -> Result<Self> {
        let bootstrap = format!("127.0.0.1:{port}");
        let mut command = Command::new(program);
        command
            .args(["standalone", "--metrics", "off", "--listen", &bootstrap, "--data-dir"])
            .arg(directory.join("barnabas"));
        Self::start("Barnabas", command, bootstrap, directory.join("barnabas"))
    }

    /// Starts Apache Kafka: one KRaft node with the heap of its own scripts (1 GiB), formatted first.
    pub(crate) fn kafka(jars: &Path, directory: &Path, port: u16) -> Result<Self> {
        let bootstrap = format!("127.0.0.1:{port}");
        let directory = directory.join("kafka");
        std::fs::create_dir_all(&directory)?;
        let controller = port + 1;
        let settings = directory.join("server.properties");
        std::fs::write(
            &settings,
            format!(
                "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:{controller}\n\
                 listeners=PLAINTEXT://{bootstrap},CONTROLLER://127.0.0.1:{controller}\n\
                 advertised.listeners=PLAINTEXT://{bootstrap}\ncontroller.listener.names=CONTROLLER\n\
                 log.dirs={}\noffsets.topic.replication.factor=1\n",
                directory.join("logs").display()
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
        Self::start("Kafka", command, bootstrap, directory)
    }

    fn start(name: &'static str, mut command: Command, bootstrap: String, directory: PathBuf) -> Result<Self> {
        let begun = Instant::now();
        let process = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        let mut server = Self {
            name,
            bootstrap,
            start: Duration::ZERO,
            process,
            directory,
        };
        while begun.elapsed() < Duration::from_mins(1) {
            if let Some(status) = server.process.try_wait()? {
                bail!("{name} ended at once: {status}");
            }
            // ApiVersions v0 has an empty body.
            if Client::connect(&server.bootstrap).is_ok_and(|mut client| client.call(18, 0, &[]).is_ok()) {
                server.start = begun.elapsed();
                return Ok(server);
            }
            std::thread::yield_now();
        }
        bail!("{name} does not answer on {} after 60 s", server.bootstrap)
    }

    /// CPU time of all threads so far, user and system.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
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

    /// Resident memory in MiB.
    pub(crate) fn resident(&self) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .context("VmRSS in /proc/PID/status")?;
        let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib / 1024.0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Best effort: the report has been printed, and the operating system ends what is left.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
