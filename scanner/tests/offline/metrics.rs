//! The metrics: as Prometheus' own tool reads them, and held against the reference page and the dashboard.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use support::promtool;
use xdpmap::control_socket::Status;
use xdpmap::metrics::{Kind, METRICS, Reading, WorkerReading, text};

use crate::documents::{document, empty_ledger, rows};

const PAGE: &str = "docs/reference/metrics.md";
const DASHBOARD: &str = "conf/grafana-dashboard.json";
/// Labels that Prometheus adds.
const ADDED: [&str; 2] = ["job", "instance"];

/// Readings in which, taken together, every metric has values.
fn readings() -> [Reading; 2] {
    [false, true].map(|has_ended| Reading {
        status: Status {
            phase: "sending".to_owned(),
            remaining_s: Some(1.5),
            hitrate_interval_percent: Some([1.0, 2.0]),
            missed_interval_percent: Some([3.0, 4.0]),
            end_reason: has_ended.then(|| "complete".to_owned()),
            ..Status::default()
        },
        app_successes: Some(3),
        senders: 1,
        ledger: empty_ledger(has_ended),
        workers: vec![WorkerReading::default()],
    })
}

/// The values that each label of each metric may have.
fn values() -> BTreeMap<(&'static str, &'static str), BTreeSet<String>> {
    let mut values = BTreeMap::<_, BTreeSet<String>>::new();
    for reading in readings() {
        for metric in &METRICS {
            for (labels, _) in metric.samples(&reading).iter() {
                for (label, value) in metric.labels.iter().zip(labels) {
                    values.entry((metric.name, *label)).or_default().insert(value.clone());
                }
            }
        }
    }
    values
}

/// promtool has nothing to say about names, types and help.
#[test]
fn promtool_finds_no_fault() {
    for reading in readings() {
        promtool::check(&String::from_utf8(text(&reading).unwrap()).unwrap());
    }
}

/// Every metric has values at some time, and those of labels are all told.
#[test]
fn all_metrics_have_values() {
    let values = values();
    for metric in &METRICS {
        let is_there = readings().iter().any(|reading| metric.samples(reading).iter().next().is_some());
        assert!(is_there, "{}", metric.name);
        for label in metric.labels {
            assert!(values.contains_key(&(metric.name, *label)), "{} {label}", metric.name);
        }
    }
}

/// The reference page has every metric, as it is, and the labels.
#[test]
fn metrics_are_described() {
    let text = document(PAGE);
    let listed: Vec<[String; 4]> = rows(&text, "metric")
        .into_iter()
        .map(|cells| [0, 1, 2, 3].map(|cell| cells[cell].replace('`', "")))
        .collect();
    let expected: Vec<[String; 4]> = METRICS
        .iter()
        .map(|metric| {
            let kind = if metric.kind == Kind::Counter { "counter" } else { "gauge" };
            let labels = if metric.labels.is_empty() { "-".to_owned() } else { metric.labels.join(", ") };
            [metric.name.to_owned(), kind.to_owned(), labels, metric.help.to_owned()]
        })
        .collect();
    assert_eq!(listed, expected);
    let listed: BTreeSet<String> = rows(&text, "label")
        .iter()
        .flat_map(|cells| cells[0].split(", "))
        .map(|label| label.replace('`', ""))
        .collect();
    let labels = METRICS.iter().flat_map(|metric| metric.labels).filter(|label| **label != "version");
    assert_eq!(listed, labels.map(|label| (*label).to_owned()).collect());
    let questions: Vec<&str> = rows(&text, "question").into_iter().map(|cells| cells[1]).collect();
    assert!(questions.len() > 4, "{questions:?}");
    questions.into_iter().for_each(check);
}

/// What an expression names exists: metrics, their labels, and the values of these.
fn check(expression: &str) {
    let values = values();
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    for (at, _) in expression.match_indices("xdpmap_") {
        let rest = &expression[at..];
        let (name, rest) = rest.split_at(rest.find(|c| !is_word(c)).unwrap_or(rest.len()));
        let metric = METRICS.iter().find(|metric| metric.name == name);
        let metric = metric.unwrap_or_else(|| panic!("there is no metric {name}: {expression}"));
        let matchers = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')).unwrap_or_default().0;
        for matcher in matchers.split(',').filter(|matcher| !matcher.is_empty()) {
            let (label, value) = matcher.split_once('=').unwrap_or_else(|| panic!("{matcher}: {expression}"));
            if ADDED.contains(&label) {
                continue;
            }
            assert!(metric.labels.contains(&label), "{name} has no label {label}: {expression}");
            let value = value.trim_start_matches('~').trim_matches('"');
            for value in value.split('|') {
                let known = &values[&(metric.name, label)];
                assert!(known.contains(value), "{name} has no {label} {value}, but {known:?}: {expression}");
            }
        }
    }
}

/// A made-up metric, label or value is found.
#[test]
fn expressions_are_checked() {
    check(
        "sum by (instance) (rate(xdpmap_ledger_parts_total{job=\"x\",account=\"probes\",row=~\"lost|completed\"}[1m]))",
    );
    for wrong in [
        "xdpmap_nonesuch_total",
        "rate(xdpmap_probes_sent[1m])",
        "xdpmap_held{queue=\"1\"}",
        "xdpmap_ledger_parts_total{row=~\"lost|nonesuch\"}",
        "xdpmap_worker_events_total{event=\"completed\"}",
    ] {
        assert!(std::panic::catch_unwind(|| check(wrong)).is_err(), "{wrong}");
    }
}

/// The dashboard is one that Grafana imports: its panels have numbers of their own and places side by side, each asks
/// for metrics that exist, and so do its variables.
#[test]
fn the_dashboard_asks_for_what_exists() {
    let dashboard: Value = serde_json::from_str(&document(DASHBOARD)).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let (mut numbers, mut cells, mut asked) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut charts = 0;
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        assert!(numbers.insert(panel["id"].as_u64().unwrap()), "{title}: its number is another's");
        let [x, y, w, h] = ["x", "y", "w", "h"]
            .map(|name| panel["gridPos"][name].as_u64().unwrap_or_else(|| panic!("{title}")));
        assert!(w > 0 && h > 0 && x + w <= 24, "{title}");
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(cells.insert(cell), "{title} lies on another panel");
        }
        if panel["type"] == "row" {
            continue;
        }
        charts += 1;
        assert!(panel["description"].as_str().is_some_and(|text| !text.is_empty()), "{title}");
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{title}");
        let letters: BTreeSet<&str> =
            targets.iter().map(|target| target["refId"].as_str().unwrap()).collect();
        assert_eq!(letters.len(), targets.len(), "{title}");
        for target in targets {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
            let expression = target["expr"].as_str().unwrap();
            assert!(expression.contains("xdpmap_"), "{title}: {expression}");
            check(expression);
            asked.extend(METRICS.iter().map(|metric| metric.name).filter(|name| expression.contains(name)));
        }
    }
    assert!(charts > 12 && asked.len() > 12, "{charts} panels, of {asked:?}");
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let names: Vec<&str> = variables.iter().map(|variable| variable["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["datasource", "job", "instance"]);
    variables.iter().filter_map(|variable| variable["definition"].as_str()).for_each(check);
}
