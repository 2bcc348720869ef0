//! The sections with charts: rates and hit rate over time, round-trip times, kinds of answers, ports.

use maud::{Markup, html};
use serde_json::Value;

use super::chart::{self, Line};
use super::findings::{Findings, PER_DECADE};
use super::progress::Interval;
use super::subject::Subject;
use super::words::{microseconds, three_digits};
use crate::units::grouped;

/// Ports that are listed.
const PORTS: usize = 15;
/// Kinds of answers that are listed.
const KINDS: usize = 15;
/// Percentiles in the metadata, by their keys.
const PERCENTILES: [(&str, &str); 6] = [
    ("min", "shortest"),
    ("p50", "median"),
    ("p90", "90 %"),
    ("p99", "99 %"),
    ("p99_9", "99.9 %"),
    ("max", "longest"),
];

/// Rates and hit rate over time.
pub(super) fn over_time(subject: &Subject, intervals: &[Interval]) -> Markup {
    let of = |name, class, value: fn(&Interval) -> Option<f64>| {
        let points = intervals.iter().map(|interval| (interval.at_s, value(interval))).collect();
        Line { name, class, points }
    };
    let mut rates = vec![
        of("probes sent", "a", |interval| Some(interval.sent_pps)),
        of("replies", "b", |interval| Some(interval.replies_pps)),
    ];
    if intervals.iter().any(|interval| interval.drops_pps > 0.0) {
        rates.push(of("replies lost", "c", |interval| Some(interval.drops_pps)));
    }
    let hit_rate = [of("hit rate", "a", |interval| interval.hit_rate_percent)];
    let row = |interval: &Interval| {
        vec![
            three_digits(interval.at_s),
            three_digits(interval.sent_pps),
            three_digits(interval.replies_pps),
            three_digits(interval.successes_pps),
            three_digits(interval.drops_pps),
            interval.hit_rate_percent.map(three_digits).unwrap_or_default(),
        ]
    };
    html! {
        section #time {
            h2 { "Over time" }
            div.pair {
                figure {
                    figcaption { "Packets per second" }
                    (chart::over_time("Probes sent and replies per second, over time", &rates, None))
                }
                figure {
                    figcaption { "Hit rate, percent of the probes of the same time" }
                    (chart::over_time("Hit rate in percent, over time", &hit_rate, subject.number("hitrate")))
                }
            }
            (chart::numbers(
                &["seconds", "probes/s", "replies/s", "successes/s", "lost/s", "hit rate %"],
                intervals.iter().map(row),
            ))
        }
    }
}

/// Round-trip times, kinds of answers and ports, as far as they are known.
pub(super) fn answers(subject: &Subject, findings: Option<&Findings>) -> Markup {
    let parts = [
        findings.and_then(histogram).or_else(|| percentiles(subject)),
        kinds(subject, findings),
        findings.and_then(ports),
    ];
    html! {
        @if parts.iter().any(Option::is_some) {
            section #answers {
                h2 { "What answered" }
                div.pair { @for part in parts.into_iter().flatten() { (part) } }
            }
        }
    }
}

/// The round-trip times in the results.
fn histogram(findings: &Findings) -> Option<Markup> {
    let (first, columns) = findings.rtt_columns()?;
    let count = columns.iter().sum::<u64>();
    let name = |place: usize| chart::column_name((first + place) as f64, PER_DECADE);
    let rows = columns.iter().enumerate().map(|(place, count)| vec![name(place), grouped(*count)]);
    Some(html! {
        figure #rtt {
            figcaption { "Round-trip times of " (grouped(count)) " answers" }
            (chart::of_times("Histogram of round-trip times", first, PER_DECADE, columns))
            (chart::numbers(&["round-trip time", "answers"], rows))
        }
    })
}

/// The percentiles of the round-trip times in the metadata.
fn percentiles(subject: &Subject) -> Option<Markup> {
    let rtt = subject.all.get("rtt_us")?;
    let value = |key: &str| rtt.get(key).and_then(Value::as_f64);
    let rows: Vec<(&str, f64)> =
        PERCENTILES.into_iter().filter_map(|(key, name)| Some((name, value(key)?))).collect();
    let count = rtt.get("count").and_then(Value::as_u64)?;
    Some(html! {
        figure #rtt {
            figcaption { "Round-trip times of " (grouped(count)) " answers" }
            table {
                tbody { @for (name, time_us) in &rows { tr { th scope="row" { (name) } td.number { (microseconds(*time_us)) } } } }
            }
        }
    })
}

/// The kinds of answers: in the results, or else in the ledger.
fn kinds(subject: &Subject, findings: Option<&Findings>) -> Option<Markup> {
    let of_results = findings.map(|findings| &findings.kinds).filter(|kinds| !kinds.is_empty());
    let (name, mut rows): (_, Vec<(String, u64)>) = match of_results {
        Some(kinds) => {
            ("Results by kind", kinds.iter().map(|(kind, count)| (kind.clone(), *count)).collect())
        }
        None => {
            let accounts = subject.ledger.iter().flat_map(|ledger| &ledger.accounts);
            let frames =
                accounts.filter(|account| account.name == "frames").flat_map(|account| &account.parts);
            ("Frames by kind", frames.map(|row| (row.text.to_string(), row.count)).collect())
        }
    };
    rows.retain(|(_, count)| *count > 0);
    rows.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let whole = rows.iter().map(|(_, count)| count).sum();
    rows.truncate(KINDS);
    (!rows.is_empty()).then(|| {
        html! { figure #kinds { figcaption { (name) } (chart::bars(name, ["kind", "count"], &rows, whole)) } }
    })
}

/// The ports with the most successes, if there are several.
fn ports(findings: &Findings) -> Option<Markup> {
    let mut rows: Vec<(String, u64)> =
        findings.ports.iter().map(|(port, count)| (port.to_string(), *count)).collect();
    rows.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    rows.truncate(PORTS);
    (findings.ports.len() > 1).then(|| {
        let name = "Successes by port";
        html! { figure #ports { figcaption { (name) } (chart::bars(name, ["port", "count"], &rows, findings.successes)) } }
    })
}
