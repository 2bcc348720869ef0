//! The metrics: each with its name, its labels, what it means, and how it is read from the numbers of a scan.
//!
//! Names are those that Prometheus advises: `_total` behind counters, base units behind what has a unit, shares from 0
//! to 1. A counter never falls while a scan runs. `docs/reference/metrics.md` has the same list, and a test compares
//! the two.

use super::reading::Reading;
use crate::engine::{PauseCause, Phase};
use crate::ledger::{RowKind, UNDER_WAY};

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It grows until the scan ends.
    Counter,
    /// It rises and falls.
    Gauge,
}

/// A metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it means, as a sentence without its full stop.
    pub help: &'static str,
    read: fn(&Reading, &mut Samples),
}

/// The values of a metric, each with the values of its labels.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples(Vec<(Vec<String>, f64)>);

impl Metric {
    /// Its values; none if it is unknown at present.
    pub fn samples(&self, reading: &Reading) -> Samples {
        let mut samples = Samples::default();
        (self.read)(reading, &mut samples);
        samples
    }
}

impl Samples {
    /// Each value with the values of its labels, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&[String], f64)> {
        self.0.iter().map(|(labels, value)| (labels.as_slice(), *value))
    }

    fn is(&mut self, value: f64) {
        self.of([], value);
    }

    fn of<const N: usize>(&mut self, labels: [&str; N], value: f64) {
        self.0.push((labels.map(str::to_owned).into(), value));
    }

    fn count(&mut self, count: u64) {
        self.is(count as f64);
    }
}

const fn counter(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
    read: fn(&Reading, &mut Samples),
) -> Metric {
    Metric { name, kind: Kind::Counter, labels, help, read }
}

const fn gauge(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
    read: fn(&Reading, &mut Samples),
) -> Metric {
    Metric { name, kind: Kind::Gauge, labels, help, read }
}

/// All metrics, in the order in which they are written.
pub static METRICS: [Metric; 28] = [
    gauge("xdpmap_build_info", &["version"], "1, with the version of xdpmap", |_, samples| {
        samples.of([env!("CARGO_PKG_VERSION")], 1.0);
    }),
    gauge(
        "xdpmap_phase",
        &["phase"],
        "1 for the phase that the scan is in, 0 for the others",
        |now, samples| {
            for phase in Phase::ALL.map(Phase::name) {
                samples.of([phase], is(now.status.phase == phase));
            }
        },
    ),
    gauge("xdpmap_paused", &["cause"], "1 while sending is paused by this, else 0", |now, samples| {
        for cause in PauseCause::ALL.map(PauseCause::name) {
            samples.of([cause], is(now.status.paused_by.iter().any(|other| other == cause)));
        }
    }),
    gauge(
        "xdpmap_held",
        &[],
        "1 while sending is held because the link is down or a gateway has moved, else 0",
        |now, samples| samples.is(is(now.status.held)),
    ),
    gauge(
        "xdpmap_end_info",
        &["reason"],
        "1, with the reason why the scan ends or has ended; absent before",
        |now, samples| now.status.end_reason.iter().for_each(|reason| samples.of([reason.as_str()], 1.0)),
    ),
    gauge("xdpmap_elapsed_seconds", &[], "Time since the scan started", |now, samples| {
        samples.is(now.status.elapsed_s);
    }),
    gauge(
        "xdpmap_remaining_seconds",
        &[],
        "Time until the end at the average rate; absent while it is unknown",
        |now, samples| now.status.remaining_s.iter().for_each(|left| samples.is(*left)),
    ),
    gauge("xdpmap_done_ratio", &[], "How much of the work is done, from 0 to 1", |now, samples| {
        samples.is(now.status.done_percent / 100.0);
    }),
    gauge("xdpmap_targets", &[], "Targets of this scan", |now, samples| {
        samples.count(now.status.targets_total);
    }),
    gauge("xdpmap_targets_left", &[], "Targets that are neither probed nor left out yet", |now, samples| {
        samples.count(now.status.targets_total.saturating_sub(now.status.targets_done));
    }),
    gauge("xdpmap_probes_per_second", &[], "Probes sent in the last second", |now, samples| {
        samples.is(now.status.sent_pps);
    }),
    gauge(
        "xdpmap_probes_per_second_limit",
        &[],
        "The limit on the rate that is in force; 0 is none",
        |now, samples| samples.is(now.status.rate_pps),
    ),
    counter("xdpmap_rate_changes_total", &[], "How often the rate was changed", |now, samples| {
        samples.count(now.status.rate_changes);
    }),
    gauge("xdpmap_sending_workers", &[], "Workers that are sending", |now, samples| {
        samples.count(now.senders);
    }),
    gauge("xdpmap_hit_ratio", &[], "Successes per target probed, from 0 to 1", |now, samples| {
        samples.is(now.status.hitrate_percent / 100.0);
    }),
    gauge(
        "xdpmap_hit_ratio_bound",
        &["bound"],
        "The lower and the upper bound of the hit ratio of all targets, with a confidence of 95 %; absent before the first \
         probe",
        |now, samples| {
            let bounds = now.status.hitrate_interval_percent.into_iter().flatten();
            ["lower", "upper"].iter().zip(bounds).for_each(|(name, bound)| samples.of([name], bound / 100.0));
        },
    ),
    gauge(
        "xdpmap_missed_ratio_bound",
        &["bound"],
        "The lower and the upper bound of the share of hosts that one probe misses, with a confidence of 95 %; absent \
         without second probes",
        |now, samples| {
            let bounds = now.status.missed_interval_percent.into_iter().flatten();
            ["lower", "upper"].iter().zip(bounds).for_each(|(name, bound)| samples.of([name], bound / 100.0));
        },
    ),
    counter("xdpmap_probes_sent_total", &[], "Probes sent", |now, samples| {
        samples.count(now.status.sent);
    }),
    counter("xdpmap_replies_total", &[], "Replies with a right cookie", |now, samples| {
        samples.count(now.status.replies);
    }),
    counter(
        "xdpmap_successes_total",
        &[],
        "Targets with a success; without deduplication, successes",
        |now, samples| samples.count(now.status.successes),
    ),
    counter(
        "xdpmap_app_successes_total",
        &[],
        "Targets with a success of the application; absent if the probe module does not distinguish it",
        |now, samples| now.app_successes.iter().for_each(|count| samples.count(*count)),
    ),
    counter("xdpmap_results_total", &[], "Results written", |now, samples| {
        samples.count(now.status.results);
    }),
    counter("xdpmap_drops_total", &[], "Replies that are known to be lost", |now, samples| {
        samples.count(now.status.drops);
    }),
    counter(
        "xdpmap_ledger_wholes_total",
        &["account"],
        "The whole of each account of the ledger, such as all probes",
        |now, samples| {
            for account in &now.ledger.accounts {
                samples.of([&*account.name], account.total as f64);
            }
        },
    ),
    counter(
        "xdpmap_ledger_parts_total",
        &["account", "row", "loss"],
        "What became of the whole of an account; the parts add up to it with what is under way",
        |now, samples| {
            for account in &now.ledger.accounts {
                for row in account.parts.iter().filter(|row| row.name != UNDER_WAY) {
                    let loss = if row.kind == RowKind::Loss { "true" } else { "false" };
                    samples.of([&*account.name, row.name, loss], row.count as f64);
                }
            }
        },
    ),
    counter(
        "xdpmap_ledger_notes_total",
        &["account", "row"],
        "Counts about an account that are no parts of it",
        |now, samples| {
            for account in &now.ledger.accounts {
                for row in &account.notes {
                    samples.of([&*account.name, row.name], row.count as f64);
                }
            }
        },
    ),
    gauge(
        "xdpmap_ledger_under_way",
        &["account"],
        "What is in no part of an account yet; absent once the scan has ended",
        |now, samples| {
            for account in &now.ledger.accounts {
                let row = account.parts.iter().find(|row| row.name == UNDER_WAY);
                row.into_iter().for_each(|row| samples.of([&*account.name], row.count as f64));
            }
        },
    ),
    counter(
        "xdpmap_worker_events_total",
        &["worker", "interface", "queue", "event"],
        "The counters of each worker, with its interface and TX queue",
        |now, samples| {
            for (number, worker) in now.workers.iter().enumerate() {
                let number = number.to_string();
                let queue = worker.place.queue.map(|queue| queue.to_string()).unwrap_or_default();
                for (event, count) in worker.counts.named() {
                    samples.of([&*number, &*worker.place.interface, &*queue, event], count as f64);
                }
            }
        },
    ),
];

fn is(yes: bool) -> f64 {
    if yes { 1.0 } else { 0.0 }
}
