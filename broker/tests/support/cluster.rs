//! Three broker processes and their controller.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Instant;

use protocol::ErrorCode;
use protocol::messages::create_topics::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use protocol::messages::describe_cluster::DescribeClusterRequest;
use protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic};

use super::{Broker, Client, PATIENCE, read_all, signal, value};

/// The topic of [`Cluster::create`].
pub const TOPIC: &str = "mail";

/// Broker 0 with the controller, which holds no partition, and brokers 1 to 3.
pub struct Cluster {
    directory: tempfile::TempDir,
    control: String,
    options: Vec<String>,
    pub zero: Broker,
    brokers: [Option<Broker>; 3],
}

/// A partition as the controller's broker shows it.
#[derive(Debug, PartialEq, Eq)]
pub struct Shown {
    pub leader: i32,
    pub isr: Vec<i32>,
}

pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
    listener.local_addr().expect("bound").port()
}

pub fn wait_for<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < until, "{what}");
        std::thread::yield_now();
    }
}

fn controller(directory: &Path, control: &str, options: &[&str]) -> Broker {
    let mut all = vec!["--control", control];
    all.extend(options);
    Broker::standalone_with(&directory.join("0"), &all)
}

impl Cluster {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with further options of broker 0, the controller's. Broker N is in rack `rN`.
    pub fn start_with(options: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("temp");
        let control = format!("127.0.0.1:{}", free_port());
        let zero = controller(directory.path(), &control, options);
        let mut cluster = Self {
            directory,
            control,
            options: options.iter().map(|option| (*option).to_owned()).collect(),
            zero,
            brokers: [None, None, None],
        };
        for id in 1..=3 {
            cluster.run(id);
        }
        let mut client = Client::connect(cluster.zero.address);
        wait_for("four brokers", || {
            let shown = client.call(&DescribeClusterRequest::default(), 0);
            (shown.brokers.len() == 4).then_some(())
        });
        cluster
    }

    /// Broker 0, and the controller with it.
    pub fn kill_controller(&self) {
        signal(self.zero.process_id(), "KILL");
    }

    pub fn run_controller(&mut self) {
        let options: Vec<&str> = self.options.iter().map(String::as_str).collect();
        self.zero = controller(self.directory.path(), &self.control, &options);
    }

    pub fn run(&mut self, id: i32) {
        let data = self.data(id);
        let arguments = [
            "run",
            "--id",
            &id.to_string(),
            "--controller",
            &self.control,
            "--data-dir",
            data.to_str().expect("text"),
            "--metrics",
            "off",
            "--listen",
            "127.0.0.1:0",
            "--rack",
            &format!("r{id}"),
        ];
        self.brokers[id as usize - 1] = Some(Broker::start(&arguments));
    }

    pub fn kill(&mut self, id: i32) {
        if let Some(broker) = self.brokers[id as usize - 1].take() {
            broker.kill();
        }
    }

    pub fn data(&self, id: i32) -> PathBuf {
        self.directory.path().join(id.to_string())
    }

    pub fn broker(&self, id: i32) -> &Broker {
        self.brokers[id as usize - 1].as_ref().expect("runs")
    }

    /// One partition on brokers 1 to 3, led by the first.
    pub fn create(&self) {
        self.create_with(&[]);
    }

    /// The same with further settings.
    pub fn create_with(&self, configs: &[(&str, &str)]) {
        let configs = [("min.insync.replicas", "2")].iter().chain(configs);
        let wanted = CreatableTopic {
            name: TOPIC.to_owned(),
            num_partitions: -1,
            replication_factor: -1,
            assignments: vec![CreatableReplicaAssignment {
                partition_index: 0,
                broker_ids: vec![1, 2, 3],
            }],
            configs: configs
                .map(|(name, value)| CreatableTopicConfig {
                    name: (*name).to_owned(),
                    value: Some((*value).to_owned()),
                })
                .collect(),
        };
        let request = CreateTopicsRequest {
            topics: vec![wanted],
            timeout_ms: 10_000,
            ..CreateTopicsRequest::default()
        };
        let answer = Client::connect(self.zero.address).call(&request, 7);
        let result = &answer.topics[0];
        assert_eq!(result.error_code, 0, "{:?}", result.error_message);
        self.wait_for_isr(3);
    }

    pub fn shown(&self) -> Option<Shown> {
        Self::shown_by(&self.zero)
    }

    /// What a broker has heard: it acts on what it shows.
    pub fn shown_by(broker: &Broker) -> Option<Shown> {
        let request = MetadataRequest {
            topics: Some(vec![MetadataRequestTopic {
                name: Some(TOPIC.to_owned()),
                ..MetadataRequestTopic::default()
            }]),
            ..MetadataRequest::default()
        };
        let answer = Client::connect(broker.address).call(&request, 12);
        let topic = answer.topics.first().filter(|topic| topic.error_code == 0)?;
        let partition = topic.partitions.first()?;
        Some(Shown {
            leader: partition.leader_id,
            isr: partition.isr_nodes.clone(),
        })
    }

    pub fn wait_for_isr(&self, members: usize) -> Shown {
        wait_for("the in-sync replicas", || {
            self.shown()
                .filter(|shown| shown.isr.len() == members && shown.leader > 0)
        })
    }

    /// Writes with `acks=all` to whoever leads, until it is acknowledged.
    pub fn write(&self, text: &str) -> i64 {
        let mut told = ErrorCode::None;
        wait_for("an acknowledgement", || {
            let leader = self.shown().filter(|shown| shown.leader > 0)?.leader;
            let broker = self.brokers[leader as usize - 1].as_ref()?;
            match Client::connect(broker.address).produce(TOPIC, 0, value(text)) {
                Ok(offset) => Some(offset),
                Err(error) => {
                    told = error;
                    None
                }
            }
        })
    }

    pub fn write_many(&self, name: &str, count: usize) -> Vec<String> {
        let texts: Vec<String> = (0..count).map(|number| format!("{name}-{number}")).collect();
        for text in &texts {
            self.write(text);
        }
        texts
    }

    /// What the leader gives to a consumer.
    pub fn read(&self) -> Vec<String> {
        let leader = self.wait_for_leader();
        let mut client = Client::connect(self.broker(leader).address);
        read_all(&mut client, TOPIC, 0)
            .into_iter()
            .map(|(_, text)| text)
            .collect()
    }

    pub fn wait_for_leader(&self) -> i32 {
        wait_for("a leader", || self.shown().filter(|shown| shown.leader > 0)).leader
    }

    pub fn log_of(&self, id: i32) -> Vec<u8> {
        log_in(&self.data(id))
    }

    pub fn wait_for_equal_logs(&self) {
        wait_for("the three logs are the same, byte for byte", || {
            let logs: Vec<_> = (1..=3).map(|id| self.log_of(id)).collect();
            (!logs[0].is_empty() && logs[0] == logs[1] && logs[1] == logs[2]).then_some(())
        });
    }
}

pub fn log_in(data: &Path) -> Vec<u8> {
    let directory = data.join(format!("{TOPIC}-0"));
    let mut names: Vec<PathBuf> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    names.sort();
    names
        .iter()
        .flat_map(|path| fs::read(path).unwrap_or_default())
        .collect()
}
