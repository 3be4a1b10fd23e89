//! Latency at a fixed rate. Requests leave when they are due, whether or not earlier ones were answered, and each is timed
//! from the moment at which it was due: a broker that stalls pays for every request that should have been sent meanwhile.
//!
//! One thread, which never sleeps: a timer would be later than most answers.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::generator::{Load, produce_frame};
use crate::statistics::percentile;

/// Answers may be late by this much when the load ends.
const PATIENCE: Duration = Duration::from_secs(10);

/// What was seen, in microseconds.
#[derive(Clone, Copy)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) requests: u64,
}

/// Sends one request of `load` after another on one connection, `rate` a second.
pub(crate) fn run(load: &Load, rate: u64) -> Result<Latency> {
    let mut stream = TcpStream::connect(&load.bootstrap).context("connecting")?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    let frame = produce_frame(load, 0)?;
    let total = rate * load.duration.as_secs();
    let due = |request: u64| Duration::from_nanos(request * 1_000_000_000 / rate);
    let mut answers = Answers::new(load.topic.len());
    let mut latencies: Vec<u32> = Vec::with_capacity(total as usize);
    let mut unsent: Vec<u8> = Vec::new();
    let (mut sent, started) = (0, Instant::now());
    while latencies.len() < total as usize {
        let now = started.elapsed();
        ensure!(
            now < load.duration + PATIENCE,
            "answers are missing {PATIENCE:?} after the last request"
        );
        while sent < total && due(sent) <= now {
            unsent.extend_from_slice(&frame);
            sent += 1;
        }
        if !unsent.is_empty() {
            match stream.write(&unsent) {
                Ok(count) => drop(unsent.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error).context("sending"),
            }
        }
        let answered = answers.read(&mut stream)?;
        let now = started.elapsed();
        for _ in 0..answered {
            let late = now.saturating_sub(due(latencies.len() as u64));
            latencies.push(late.as_micros().try_into().unwrap_or(u32::MAX));
        }
    }
    latencies.sort_unstable();
    Ok(Latency {
        p50: percentile(&latencies, 0.5),
        p99: percentile(&latencies, 0.99),
        p999: percentile(&latencies, 0.999),
        requests: total,
    })
}

/// Counts whole Produce answers; one that carries an error ends the run.
struct Answers {
    buffer: Vec<u8>,
    filled: usize,
    error_code_at: usize,
}

impl Answers {
    fn new(topic_length: usize) -> Self {
        Self {
            buffer: vec![0; 64 * 1024],
            filled: 0,
            error_code_at: crate::generator::error_code_at(topic_length),
        }
    }

    fn read(&mut self, stream: &mut TcpStream) -> Result<usize> {
        match stream.read(&mut self.buffer[self.filled..]) {
            Ok(0) => anyhow::bail!("the broker closed the connection"),
            Ok(count) => self.filled += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            Err(error) => return Err(error).context("receiving"),
        }
        let (used, answers) = crate::generator::count_answers(&self.buffer[..self.filled], self.error_code_at)?;
        self.buffer.copy_within(used..self.filled, 0);
        self.filled -= used;
        Ok(answers)
    }
}
