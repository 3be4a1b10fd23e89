//! `process_*`, as every Prometheus client library shows them, read from `/proc/self` at each scrape.

use std::fs;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, Metric, MetricFamily, MetricType};

/// Clock ticks per second in `/proc/self/stat`: fixed by Linux's interface for programs.
const TICKS_PER_SECOND: f64 = 100.0;

/// Reads the numbers of this process.
#[derive(Debug)]
pub(super) struct ProcessMetrics {
    /// Unix time of the start in seconds; 0 if unknown.
    started: f64,
}

impl ProcessMetrics {
    pub(super) fn new() -> Self {
        let started = stat_fields().and_then(|fields| started_at(&fields)).unwrap_or(0.0);
        Self { started }
    }
}

impl Collector for ProcessMetrics {
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = vec![gauge(
            "process_start_time_seconds",
            "Unix time at which the process started",
            self.started,
        )];
        if let Some(fields) = stat_fields() {
            // Fields after the command, counted from 0: utime 11, stime 12, threads 17, vsize 20.
            let number = |index: usize| fields.get(index).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
            let cpu = (number(11) + number(12)) / TICKS_PER_SECOND;
            families.push(counter("process_cpu_seconds_total", "User and system time used", cpu));
            families.push(gauge("process_threads", "Threads", number(17)));
            families.push(gauge("process_virtual_memory_bytes", "Virtual memory", number(20)));
        }
        if let Some(bytes) = resident_bytes() {
            families.push(gauge("process_resident_memory_bytes", "Resident memory", bytes));
        }
        if let Ok(entries) = fs::read_dir("/proc/self/fd") {
            families.push(gauge("process_open_fds", "Open file descriptors", entries.count() as f64));
        }
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        families.push(gauge(
            "process_max_fds",
            "Limit of open file descriptors",
            limit.map_or(f64::INFINITY, |limit| limit as f64),
        ));
        families
    }
}

/// The fields of `/proc/self/stat` after the command, which may itself hold spaces.
fn stat_fields() -> Option<Vec<String>> {
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, rest) = text.rsplit_once(") ")?;
    Some(rest.split_ascii_whitespace().map(str::to_owned).collect())
}

/// `VmRSS`, which unlike the number of pages needs no page size.
fn resident_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kib: f64 = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024.0)
}

fn started_at(fields: &[String]) -> Option<f64> {
    let ticks_after_boot: f64 = fields.get(19)?.parse().ok()?;
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let boot: f64 = stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot + ticks_after_boot / TICKS_PER_SECOND)
}

fn family(name: &str, help: &str, kind: MetricType, metric: Metric) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(vec![metric]);
    family
}

fn gauge(name: &str, help: &str, value: f64) -> MetricFamily {
    let mut gauge = Gauge::default();
    gauge.set_value(value);
    let mut metric = Metric::default();
    metric.set_gauge(gauge);
    family(name, help, MetricType::GAUGE, metric)
}

fn counter(name: &str, help: &str, value: f64) -> MetricFamily {
    let mut counter = Counter::default();
    counter.set_value(value);
    let mut metric = Metric::default();
    metric.set_counter(counter);
    family(name, help, MetricType::COUNTER, metric)
}
