//! What the operator counts of itself, for Prometheus.

use prometheus::{Encoder as _, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};

/// The operator's own series. The control of each cluster adds its own to the same registry.
#[derive(Clone)]
pub struct Metrics {
    /// Where everything is registered.
    pub registry: Registry,
    /// Reconciliations by kind and result (`success`, `error`, `noop`).
    pub reconciliations: IntCounterVec,
    /// Status writes by kind: a resource that is written without end shows here.
    pub status_writes: IntCounterVec,
    /// Watches that broke and began again, by kind.
    pub watch_restarts: IntCounterVec,
    /// 1 for each cluster that this replica leads.
    pub leads: IntGaugeVec,
    /// Controller epoch of each cluster that this replica leads.
    pub controller_epoch: IntGaugeVec,
    /// Bytes written to metadata logs.
    pub metadata_bytes: IntCounterVec,
    /// Appends to metadata logs by result (`success`, `conflict`, `unknown`, `refused`).
    pub metadata_appends: IntCounterVec,
}

impl Metrics {
    /// All series, registered.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str, labels: &[&str]| -> Result<IntCounterVec, prometheus::Error> {
            let series = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(series.clone()))?;
            Ok(series)
        };
        let gauge = |name: &str, help: &str, labels: &[&str]| -> Result<IntGaugeVec, prometheus::Error> {
            let series = IntGaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(series.clone()))?;
            Ok(series)
        };
        let build = IntGauge::with_opts(
            Opts::new("barnabas_build_info", "Always 1; the label names the version")
                .const_label("version", env!("CARGO_PKG_VERSION")),
        )?;
        build.set(1);
        registry.register(Box::new(build))?;
        let cluster = &["namespace", "cluster"];
        Ok(Self {
            reconciliations: counter(
                "barnabas_operator_reconciliations_total",
                "Reconciliations by kind and result",
                &["kind", "result"],
            )?,
            status_writes: counter(
                "barnabas_operator_status_writes_total",
                "Status writes by kind",
                &["kind"],
            )?,
            watch_restarts: counter(
                "barnabas_operator_watch_restarts_total",
                "Watches that broke and began again, by kind",
                &["kind"],
            )?,
            leads: gauge(
                "barnabas_operator_is_leader",
                "1 for each cluster that this replica leads",
                cluster,
            )?,
            controller_epoch: gauge(
                "barnabas_controller_epoch",
                "Controller epoch of the clusters led here",
                cluster,
            )?,
            metadata_bytes: counter(
                "barnabas_metadata_log_written_bytes_total",
                "Bytes written to the metadata log and its snapshots",
                cluster,
            )?,
            metadata_appends: counter(
                "barnabas_metadata_log_appends_total",
                "Appends to the metadata log by result",
                &["namespace", "cluster", "result"],
            )?,
            registry,
        })
    }

    /// Everything in Prometheus' text format.
    pub fn text(&self) -> Result<String, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_names_the_build() {
        let text = Metrics::new().unwrap().text().unwrap();
        assert!(text.contains("barnabas_build_info{version="), "{text}");
    }
}
