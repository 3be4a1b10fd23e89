//! `process_*`, as every Prometheus client library shows them, read from `/proc/self` at each scrape.

use std::fs;

use prometheus::proto::MetricFamily;

use super::computed::{counters, gauges, one};

/// Clock ticks per second in `/proc/self/stat`: fixed by Linux's interface for programs.
const TICKS_PER_SECOND: f64 = 100.0;

/// All that is known of the process.
pub(super) fn families() -> Vec<MetricFamily> {
    let mut families = Vec::new();
    if let Some(fields) = stat_fields() {
        // Fields after the command, counted from 0: utime 11, stime 12, threads 17, start time 19, vsize 20.
        let number = |index: usize| {
            fields
                .get(index)
                .and_then(|text| text.parse::<f64>().ok())
                .unwrap_or(0.0)
        };
        let cpu = (number(11) + number(12)) / TICKS_PER_SECOND;
        families.push(counters(
            "process_cpu_seconds_total",
            "User and system time used",
            one(cpu),
        ));
        families.push(gauges("process_threads", "Threads", one(number(17))));
        families.push(gauges(
            "process_virtual_memory_bytes",
            "Virtual memory",
            one(number(20)),
        ));
        if let Some(boot) = boot_time() {
            let started = boot + number(19) / TICKS_PER_SECOND;
            families.push(gauges(
                "process_start_time_seconds",
                "Unix time of the start",
                one(started),
            ));
        }
    }
    if let Some(bytes) = resident_bytes() {
        families.push(gauges("process_resident_memory_bytes", "Resident memory", one(bytes)));
    }
    if let Ok(entries) = fs::read_dir("/proc/self/fd") {
        families.push(gauges(
            "process_open_fds",
            "Open file descriptors",
            one(entries.count() as f64),
        ));
    }
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let limit = limit.map_or(f64::INFINITY, |limit| limit as f64);
    families.push(gauges("process_max_fds", "Limit of open file descriptors", one(limit)));
    families
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
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024.0)
}

fn boot_time() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines()
        .find_map(|line| line.strip_prefix("btime "))?
        .trim()
        .parse()
        .ok()
}
