//! The metrics in Prometheus' text format, version 0.0.4, which Prometheus and node_exporter read.

use std::io;

use prometheus::proto::{Counter, Gauge, LabelPair, Metric as Sample, MetricFamily, MetricType};
use prometheus::{Encoder as _, TextEncoder};

use super::catalog::{Kind, METRICS, Metric};
use super::reading::Reading;

/// The media type of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All metrics that are known at present.
///
/// # Errors
/// The library's, which there is for a list of metrics that is wrong alone.
pub fn text(reading: &Reading) -> io::Result<Vec<u8>> {
    let families: Vec<MetricFamily> = METRICS.iter().filter_map(|metric| family(metric, reading)).collect();
    let mut text = Vec::new();
    TextEncoder::new().encode(&families, &mut text).map_err(io::Error::other)?;
    Ok(text)
}

/// A metric with its values; `None` without any.
fn family(metric: &Metric, reading: &Reading) -> Option<MetricFamily> {
    let samples = metric.samples(reading);
    let samples: Vec<Sample> = samples.iter().map(|(labels, value)| sample(metric, labels, value)).collect();
    let mut family = MetricFamily::default();
    family.set_name(metric.name.to_owned());
    family.set_help(metric.help.to_owned());
    family.set_field_type(match metric.kind {
        Kind::Counter => MetricType::COUNTER,
        Kind::Gauge => MetricType::GAUGE,
    });
    let is_known = !samples.is_empty();
    family.set_metric(samples);
    is_known.then_some(family)
}

fn sample(metric: &Metric, labels: &[String], value: f64) -> Sample {
    let pair = |(name, value): (&&str, &String)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value(value.clone());
        pair
    };
    let mut sample = Sample::default();
    sample.set_label(metric.labels.iter().zip(labels).map(pair).collect());
    match metric.kind {
        Kind::Counter => {
            let mut counter = Counter::default();
            counter.set_value(value);
            sample.set_counter(counter);
        }
        Kind::Gauge => {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            sample.set_gauge(gauge);
        }
    }
    sample
}

#[cfg(test)]
mod tests {
    use super::super::reading::{WorkerPlace, WorkerReading};
    use super::*;
    use crate::control_socket::Status;
    use crate::engine::Counts;

    fn lines(reading: &Reading) -> Vec<String> {
        String::from_utf8(text(reading).unwrap()).unwrap().lines().map(str::to_owned).collect()
    }

    /// Whole numbers are whole, unknown ones absent, and labels are quoted.
    #[test]
    fn as_prometheus_reads_it() {
        let status = Status {
            phase: "cooldown".to_owned(),
            sent: (1 << 53) - 1,
            hitrate_percent: 12.5,
            targets_done: 40,
            targets_total: 100,
            ..Status::default()
        };
        let place = WorkerPlace { interface: "a\"\\b\n".to_owned(), queue: Some(3) };
        let counts = Counts { rx_synack: 7, ..Counts::default() };
        let reading = Reading {
            status,
            workers: vec![WorkerReading::default(), WorkerReading { place, counts }],
            ..Reading::default()
        };
        let lines = lines(&reading);
        for line in [
            "# HELP xdpmap_probes_sent_total Probes sent",
            "# TYPE xdpmap_probes_sent_total counter",
            "xdpmap_probes_sent_total 9007199254740991",
            "xdpmap_hit_ratio 0.125",
            "xdpmap_targets_left 60",
            "xdpmap_phase{phase=\"sending\"} 0",
            "xdpmap_phase{phase=\"cooldown\"} 1",
            "xdpmap_paused{cause=\"output\"} 0",
            "xdpmap_worker_events_total{worker=\"0\",interface=\"\",queue=\"\",event=\"rx_synack\"} 0",
            "xdpmap_worker_events_total{worker=\"1\",interface=\"a\\\"\\\\b\\n\",queue=\"3\",event=\"rx_synack\"} 7",
        ] {
            assert!(lines.iter().any(|found| found == line), "no {line} in {lines:#?}");
        }
        for absent in
            ["xdpmap_remaining_seconds", "xdpmap_app_successes_total", "xdpmap_end_info", "xdpmap_ledger"]
        {
            assert!(!lines.iter().any(|line| line.contains(absent)), "{absent}: {lines:#?}");
        }
    }

    /// Each metric that has values has them in one group, behind its type.
    #[test]
    fn groups() {
        let lines = lines(&Reading::default());
        let names = |prefix: &str| {
            let rest = |line: &String| line.strip_prefix(prefix).map(str::to_owned);
            let word = |line: String| line.split(['{', ' ']).next().map(str::to_owned);
            lines.iter().filter_map(rest).filter_map(word).collect::<Vec<_>>()
        };
        let mut groups = names("");
        groups.retain(|name| name != "#");
        groups.dedup();
        assert_eq!(groups, names("# TYPE "));
        assert_eq!(groups, names("# HELP "));
    }
}
