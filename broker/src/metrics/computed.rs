//! Metric families that are computed when somebody scrapes, from numbers that are kept elsewhere.

use std::collections::HashMap;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Bucket, Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Error, Registry};

/// A collector made of one function.
struct Computed<F> {
    /// The registry tells collectors apart by it.
    desc: Desc,
    families: F,
}

impl<F: Fn() -> Vec<MetricFamily> + Send + Sync> Collector for Computed<F> {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // A family without a series is an error to the encoder.
        (self.families)()
            .into_iter()
            .filter(|family| !family.get_metric().is_empty())
            .collect()
    }
}

/// Registers the families that a function gives. `name` is unique in the registry; the families bear their own names.
pub(crate) fn register(
    registry: &Registry,
    name: &str,
    families: impl Fn() -> Vec<MetricFamily> + Send + Sync + 'static,
) -> Result<(), Error> {
    let desc = Desc::new(
        name.to_owned(),
        "computed when scraped".to_owned(),
        Vec::new(),
        HashMap::new(),
    )?;
    registry.register(Box::new(Computed { desc, families }))
}

/// A value with its labels.
pub(crate) type Series<'a> = (Vec<(&'static str, &'a str)>, f64);

/// A family of counters.
pub(crate) fn counters<'a>(name: &str, help: &str, series: impl IntoIterator<Item = Series<'a>>) -> MetricFamily {
    family(name, help, MetricType::COUNTER, series, |metric, value| {
        let mut counter = Counter::default();
        counter.set_value(value);
        metric.set_counter(counter);
    })
}

/// A family of gauges.
pub(crate) fn gauges<'a>(name: &str, help: &str, series: impl IntoIterator<Item = Series<'a>>) -> MetricFamily {
    family(name, help, MetricType::GAUGE, series, |metric, value| {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        metric.set_gauge(gauge);
    })
}

/// The state of one histogram.
pub(crate) struct Histogram<'a> {
    pub(crate) labels: Vec<(&'static str, &'a str)>,
    /// Upper bound and cumulative count of each, without the last, which has no bound.
    pub(crate) buckets: Vec<(f64, u64)>,
    pub(crate) count: u64,
    pub(crate) sum: f64,
}

/// A family of histograms.
pub(crate) fn histograms<'a>(
    name: &str,
    help: &str,
    histograms: impl IntoIterator<Item = Histogram<'a>>,
) -> MetricFamily {
    let mut values = Vec::new();
    let series: Vec<Series<'a>> = histograms
        .into_iter()
        .map(|histogram| {
            let mut value = prometheus::proto::Histogram::default();
            value.set_sample_count(histogram.count);
            value.set_sample_sum(histogram.sum);
            let bucket = |(bound, count)| {
                let mut bucket = Bucket::default();
                bucket.set_upper_bound(bound);
                bucket.set_cumulative_count(count);
                bucket
            };
            value.set_bucket(histogram.buckets.into_iter().map(bucket).collect());
            values.push(value);
            (histogram.labels, (values.len() - 1) as f64)
        })
        .collect();
    // The number of a series is the place of its histogram.
    family(name, help, MetricType::HISTOGRAM, series, |metric, place| {
        if let Some(value) = values.get(place as usize) {
            metric.set_histogram(value.clone());
        }
    })
}

/// One value without labels.
pub(crate) fn one(value: f64) -> [Series<'static>; 1] {
    [(Vec::new(), value)]
}

fn family<'a>(
    name: &str,
    help: &str,
    kind: MetricType,
    series: impl IntoIterator<Item = Series<'a>>,
    set: impl Fn(&mut Metric, f64),
) -> MetricFamily {
    let metrics = series.into_iter().map(|(labels, value)| {
        let labels = labels.into_iter().map(|(name, value)| {
            let mut label = LabelPair::default();
            label.set_name(name.to_owned());
            label.set_value(value.to_owned());
            label
        });
        let mut metric = Metric::default();
        metric.set_label(labels.collect());
        set(&mut metric, value);
        metric
    });
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics.collect());
    family
}
