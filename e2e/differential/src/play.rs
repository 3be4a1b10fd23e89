//! A script played to two brokers at once, step by step.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use protocol::ApiKey;
use serde_json::{Value, json};

use crate::compare::{Difference, differences, normalise};
use crate::records;
use crate::script::{Ask, Mode, Step};
use crate::value::{Variables, at, substitute};
use crate::wire::{Connection, Outcome};

/// How long a condition of a script may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// One answer compared.
#[derive(Debug)]
pub(crate) struct Compared {
    pub(crate) api: String,
    pub(crate) version: i16,
    pub(crate) title: String,
    pub(crate) differences: Vec<Difference>,
    /// What was waited for in vain, and what was there instead.
    pub(crate) in_vain: Vec<String>,
}

/// One broker, as the script sees it.
struct Side {
    address: String,
    connections: BTreeMap<String, Connection>,
    variables: Variables,
    /// What was sent and not yet read, by connection.
    pending: BTreeMap<String, (ApiKey, i16, String)>,
}

/// Both brokers.
pub(crate) struct Stage {
    kafka: Side,
    barnabas: Side,
    compared: Vec<Compared>,
    /// APIs that a script asks for and that are not served here: nobody is asked.
    skipped: BTreeSet<ApiKey>,
    /// The number of the loop that is played.
    v: Option<i16>,
    /// Show every pair of answers.
    trace: bool,
}

impl Stage {
    pub(crate) fn new(kafka: &str, barnabas: &str, trace: bool) -> Self {
        Self {
            kafka: Side::new(kafka),
            barnabas: Side::new(barnabas),
            compared: Vec::new(),
            skipped: BTreeSet::new(),
            v: None,
            trace,
        }
    }

    /// Plays the steps and returns what was compared, and what could not be because we do not serve it.
    pub(crate) fn play(mut self, steps: &[Step]) -> Result<(Vec<Compared>, BTreeSet<ApiKey>)> {
        self.steps(steps)?;
        Ok((self.compared, self.skipped))
    }

    fn steps(&mut self, steps: &[Step]) -> Result<()> {
        steps.iter().try_for_each(|step| self.step(step))
    }

    fn step(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::Ask(ask) if ask.key.api().advertised.is_none() => {
                self.skipped.insert(ask.key);
            }
            Step::Ask(ask) => {
                for version in ask.versions.list(ask.key, self.v.unwrap_or_default()) {
                    // In a loop it is the loop's, whatever version is asked in.
                    self.set_v(self.v.unwrap_or(version));
                    self.ask(ask, version)
                        .with_context(|| format!("{} {version} {}", ask.key, ask.title))?;
                }
            }
            Step::Raw {
                key,
                version,
                title,
                body,
            } => {
                let api = ApiKey::from_code(*key);
                let outcomes = self.both(|side| {
                    side.connection("")?.send_raw(*key, *version, body)?;
                    Ok(side.read("", |wire| match api {
                        // A version that is not there is answered in the lowest, if at all (KIP-511).
                        Some(api) if api.api().accepted.contains(*version) => wire.receive(api, *version),
                        Some(api) => wire.receive(api, api.api().accepted.min),
                        None => wire.receive_raw(),
                    }))
                })?;
                let api = api.map_or_else(|| format!("key {key}"), |api| api.to_string());
                self.compare(&api, *version, title, outcomes);
            }
            Step::Await { connection } => {
                let (key, version, title) = self.kafka.pending.get(connection).context("nothing was sent")?.clone();
                let outcomes = self.both(|side| {
                    side.pending.remove(connection);
                    Ok(side.read(connection, |wire| wire.receive(key, version)))
                })?;
                self.compare(key.name(), version, &title, outcomes);
            }
            Step::Close { connection } => {
                self.kafka.connections.remove(connection);
                self.barnabas.connections.remove(connection);
            }
            Step::Topic {
                name,
                partitions,
                configs,
            } => {
                let configs: Vec<Value> = configs
                    .iter()
                    .map(|(key, value)| json!({"name": key, "value": value}))
                    .collect();
                let topic =
                    json!({"name": name, "num_partitions": partitions, "replication_factor": 1, "configs": configs});
                let failed = |side: &mut Side| Ok(side.make_topic(&topic).err().map(|error| format!("{error:#}")));
                let (kafka, barnabas) = self.both(failed)?;
                self.compared.push(Compared {
                    api: "CreateTopics".to_owned(),
                    version: 7,
                    title: format!("topic {name}"),
                    differences: differences(&json!(kafka), &json!(barnabas)),
                    in_vain: Vec::new(),
                });
            }
            Step::Each { from, to, steps } => {
                for v in *from..=*to {
                    self.v = Some(v);
                    self.steps(steps)?;
                }
                self.v = None;
            }
        }
        Ok(())
    }

    fn set_v(&mut self, v: i16) {
        for side in [&mut self.kafka, &mut self.barnabas] {
            side.variables.insert("v".to_owned(), json!(v));
        }
    }

    fn ask(&mut self, ask: &Ask, version: i16) -> Result<()> {
        let ((kafka, missed), (barnabas, missed_too)) = self.both(|side| side.ask(ask, version))?;
        if ask.mode == Mode::Answered {
            self.compare(ask.key.name(), version, &ask.title, (kafka, barnabas));
        }
        if let Some(compared) = self.compared.last_mut() {
            let sides = [("Kafka", missed), ("Barnabas", missed_too)];
            let missed = sides.map(|(name, missed)| missed.map(|what| format!("{name}: {what}")));
            compared.in_vain.extend(missed.into_iter().flatten());
        }
        Ok(())
    }

    fn both<T>(&mut self, act: impl Fn(&mut Side) -> Result<T>) -> Result<(T, T)> {
        let kafka = act(&mut self.kafka).context("Kafka")?;
        let barnabas = act(&mut self.barnabas).context("Barnabas")?;
        Ok((kafka, barnabas))
    }

    fn compare(&mut self, api: &str, version: i16, title: &str, (kafka, barnabas): (Outcome, Outcome)) {
        let kafka = told(kafka, &self.kafka.variables);
        let barnabas = told(barnabas, &self.barnabas.variables);
        if self.trace {
            println!("{api} {version} {title}\n  Kafka    {kafka}\n  Barnabas {barnabas}");
        }
        self.compared.push(Compared {
            api: api.to_owned(),
            version,
            title: title.to_owned(),
            differences: differences(&kafka, &barnabas),
            in_vain: Vec::new(),
        });
    }
}

/// What an answer has where a script waits for something else.
fn missed((path, wanted): &(String, Value), outcome: &Outcome) -> Option<String> {
    let has = match outcome {
        Outcome::Answer(answer) => at(answer, path),
        _ => None,
    };
    (has != Some(wanted)).then(|| {
        let has = has.map_or_else(|| "nothing".to_owned(), Value::to_string);
        format!("{path} is {has}, not {wanted}, after {PATIENCE:?}")
    })
}

fn told(outcome: Outcome, variables: &Variables) -> Value {
    match outcome {
        Outcome::Answer(answer) => normalise(&answer, variables),
        Outcome::Unreadable(why) => Value::from(format!("unreadable: {why}")),
        Outcome::Closed => Value::from("closed"),
        Outcome::Silent => Value::from("silent"),
        Outcome::Sent => Value::from("sent"),
    }
}

impl Side {
    fn new(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            connections: BTreeMap::new(),
            variables: Variables::new(),
            pending: BTreeMap::new(),
        }
    }

    fn connection(&mut self, name: &str) -> Result<&mut Connection> {
        if !self.connections.contains_key(name) {
            let opened = Connection::open(&self.address)?;
            self.connections.insert(name.to_owned(), opened);
        }
        self.connections.get_mut(name).context("opened above")
    }

    /// Reads an answer; a connection that gave none is opened anew next time.
    fn read(&mut self, name: &str, read: impl Fn(&mut Connection) -> Outcome) -> Outcome {
        let Some(connection) = self.connections.get_mut(name) else {
            return Outcome::Closed;
        };
        let outcome = read(connection);
        if !matches!(outcome, Outcome::Answer(_)) {
            self.connections.remove(name);
        }
        outcome
    }

    /// The answer, and what was waited for in it until patience ended.
    fn ask(&mut self, ask: &Ask, version: i16) -> Result<(Outcome, Option<String>)> {
        let mut body = substitute(&ask.request, &self.variables)?;
        records::expand(&mut body)?;
        let begun = Instant::now();
        let (outcome, missed) = loop {
            self.connection(&ask.connection)?.send(ask.key, version, body.clone())?;
            if ask.mode == Mode::Sent {
                let sent = (ask.key, version, ask.title.clone());
                self.pending.insert(ask.connection.clone(), sent);
            }
            if ask.mode != Mode::Answered {
                return Ok((Outcome::Sent, None));
            }
            let outcome = self.read(&ask.connection, |wire| wire.receive(ask.key, version));
            let missed = ask.until.as_ref().and_then(|until| missed(until, &outcome));
            if missed.is_none() || begun.elapsed() >= PATIENCE {
                break (outcome, missed);
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        for (name, path) in &ask.keep {
            let found = match &outcome {
                Outcome::Answer(answer) => at(answer, path).cloned(),
                _ => None,
            };
            // What follows goes on without it: the missing answer is a difference of its own.
            self.variables.insert(name.clone(), found.unwrap_or(Value::Null));
        }
        Ok((outcome, missed))
    }

    fn make_topic(&mut self, topic: &Value) -> Result<()> {
        let name = topic["name"].as_str().context("a name")?.to_owned();
        let connection = self.connection("topics")?;
        connection.send(
            ApiKey::CreateTopics,
            7,
            json!({"topics": [topic], "timeout_ms": 10_000}),
        )?;
        let outcome = connection.receive(ApiKey::CreateTopics, 7);
        let Outcome::Answer(answer) = &outcome else {
            anyhow::bail!("{outcome:?}")
        };
        let created = &answer["topics"][0];
        ensure!(created["error_code"] == 0, "{created}");
        self.variables.insert(format!("id.{name}"), created["topic_id"].clone());
        let begun = Instant::now();
        loop {
            let connection = self.connection("topics")?;
            connection.send(ApiKey::Metadata, 12, json!({"topics": [{"name": name}]}))?;
            if let Outcome::Answer(answer) = connection.receive(ApiKey::Metadata, 12) {
                let partitions = answer["topics"][0]["partitions"].as_array();
                if partitions.is_some_and(|partitions| {
                    !partitions.is_empty() && partitions.iter().all(|partition| partition["error_code"] == 0)
                }) {
                    return Ok(());
                }
            }
            ensure!(begun.elapsed() < PATIENCE, "not led after {PATIENCE:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
