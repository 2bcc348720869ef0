//! The status updates: one line per second in a file, for programs that monitor a scan.
//!
//! As CSV they have ZMap's 21 columns in ZMap's forms, with as many values as names. As JSON they are one object per
//! line. The names are the same, with underscores in place of hyphens. The application's successes are added if a probe
//! module counts them, the interval of the hit rate once there is one, and the ledger if it is requested. Each line is
//! written whole, in one call.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use jiff::Zoned;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::status::Snapshot;
use crate::ledger::StoredLedger;
use crate::local_time;
use crate::printable::printable;
use crate::results::output::{Output, OutputError};

/// Why the updates cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("--status-updates-file: cannot open {path} ({source}); name a file in a directory you may write to", path = printable(.path))]
#[non_exhaustive]
pub struct UpdatesError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// Forms of the updates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateFormat {
    /// ZMap's columns, with a header.
    Csv,
    /// One object per line.
    Json,
}

/// A file that receives the state of a scan.
#[derive(Debug)]
pub struct Updates<W = Output> {
    out: W,
    form: UpdateFormat,
    has_ledger: bool,
}

impl Updates {
    /// Opens the file, and does not change its contents yet. The ledger is in the updates if the form has room for it:
    /// the columns of CSV are ZMap's.
    ///
    /// # Errors
    /// [`UpdatesError`], which names the file.
    pub fn open(path: &Path, form: UpdateFormat, has_ledger: bool) -> Result<Self, UpdatesError> {
        let opened = Output::open(path);
        let out =
            opened.map_err(|error| UpdatesError { path: path.to_owned(), source: error.into_source() })?;
        Ok(Self { out, form, has_ledger: has_ledger && form == UpdateFormat::Json })
    }

    /// Empties the file, and writes the header if the form has one.
    ///
    /// # Errors
    /// The error of the write.
    pub fn begin(mut self) -> io::Result<Self> {
        self.out.begin(0).map_err(OutputError::into_source)?;
        if !self.has_room() {
            return Err(io::Error::new(io::ErrorKind::WouldBlock, "no reader"));
        }
        Ok(Self { has_ledger: self.has_ledger, ..Self::new(self.out, self.form)? })
    }

    /// Whether the ledger is in the updates.
    pub fn has_ledger(&self) -> bool {
        self.has_ledger
    }

    /// Whether a line can be written without waiting for a reader.
    pub fn has_room(&self) -> bool {
        self.out.has_room()
    }

    /// Syncs the lines to the disk. No more may follow.
    ///
    /// # Errors
    /// The error of the disk.
    pub fn finish(&mut self) -> io::Result<()> {
        self.out.finish().map_err(OutputError::into_source)
    }
}

impl<W: Write> Updates<W> {
    /// Updates without the ledger, written to `out`, the header first if the form has one.
    ///
    /// # Errors
    /// The error of the write.
    pub fn new(mut out: W, form: UpdateFormat) -> io::Result<Self> {
        if form == UpdateFormat::Csv {
            let row = row(&local_time::now(), &Snapshot::default(), None);
            let names: Vec<&str> = row.iter().map(|(name, _)| *name).collect();
            out.write_all((names.join(",") + "\n").as_bytes())?;
        }
        Ok(Self { out, form, has_ledger: false })
    }

    /// Writes the state of the scan at `time`. `previous` is the snapshot of the previous line, if there was one.
    ///
    /// # Errors
    /// The error of the write.
    pub fn write(&mut self, time: &Zoned, now: &Snapshot, previous: Option<&Snapshot>) -> io::Result<()> {
        let row = row(time, now, previous);
        let mut line = match self.form {
            UpdateFormat::Csv => {
                let values: Vec<String> = row.iter().map(|(_, value)| value.to_csv()).collect();
                values.join(",")
            }
            UpdateFormat::Json => {
                let ledger = now.ledger.as_ref().filter(|_| self.has_ledger).map(StoredLedger::from);
                serde_json::to_string(&Object { row: &row, now, previous, ledger })?
            }
        };
        line.push('\n');
        self.out.write_all(line.as_bytes())?;
        self.out.flush()
    }
}

/// A value of an update.
enum Value {
    /// Local time.
    Time(String),
    /// A whole number; rates are rounded to one, as ZMap does.
    Count(u64),
    /// Percent.
    Percent(f64),
    /// Not known.
    Unknown,
}

impl Value {
    fn rate(rate: f64) -> Self {
        Self::Count(rate.round() as u64)
    }

    fn to_csv(&self) -> String {
        match self {
            Self::Time(time) => time.clone(),
            Self::Count(count) => count.to_string(),
            Self::Percent(percent) => format!("{percent:.6}"),
            Self::Unknown => String::new(),
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Time(time) => serializer.serialize_str(time),
            Self::Count(count) => serializer.serialize_u64(*count),
            Self::Percent(percent) => serializer.serialize_f64(*percent),
            Self::Unknown => serializer.serialize_none(),
        }
    }
}

type Row = [(&'static str, Value); 21];

/// An update under ZMap's names, in ZMap's order.
fn row(time: &Zoned, now: &Snapshot, previous: Option<&Snapshot>) -> Row {
    let total = |count: fn(&Snapshot) -> u64| Value::Count(count(now));
    let last = |count: fn(&Snapshot) -> u64| Value::rate(now.rate(previous, count));
    let average = |count: fn(&Snapshot) -> u64| Value::rate(now.average(count(now)));
    [
        ("real-time", Value::Time(time.strftime("%Y-%m-%d %H:%M:%S").to_string())),
        ("time-elapsed", Value::Count(now.elapsed.as_secs())),
        ("time-remaining", now.remaining().map_or(Value::Unknown, |left| Value::Count(left.as_secs()))),
        ("percent-complete", Value::Percent(now.work_done() * 100.0)),
        ("hit-rate", Value::Percent(now.hitrate())),
        ("active-send-threads", total(|s| s.senders)),
        ("sent-total", total(|s| s.sent)),
        ("sent-last-one-sec", last(|s| s.sent)),
        ("sent-avg-per-sec", Value::rate(now.average_sent())),
        ("recv-success-total", total(|s| s.recv_success_unique)),
        ("recv-success-last-one-sec", last(|s| s.recv_success_unique)),
        ("recv-success-avg-per-sec", average(|s| s.recv_success_unique)),
        ("recv-total", total(|s| s.recv_total)),
        ("recv-total-last-one-sec", last(|s| s.recv_total)),
        ("recv-total-avg-per-sec", average(|s| s.recv_total)),
        ("pcap-drop-total", total(|s| s.drops)),
        ("drop-last-one-sec", last(|s| s.drops)),
        ("drop-avg-per-sec", average(|s| s.drops)),
        ("sendto-fail-total", total(|s| s.send_failures)),
        ("sendto-fail-last-one-sec", last(|s| s.send_failures)),
        ("sendto-fail-avg-per-sec", average(|s| s.send_failures)),
    ]
}

/// An update as JSON.
struct Object<'a> {
    row: &'a Row,
    now: &'a Snapshot,
    previous: Option<&'a Snapshot>,
    ledger: Option<StoredLedger>,
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        for (name, value) in self.row {
            object.serialize_entry(&name.replace('-', "_"), value)?;
        }
        if let Some(successes) = self.now.app_success_unique {
            let count = |snapshot: &Snapshot| snapshot.app_success_unique.unwrap_or(0);
            object.serialize_entry("app_success_total", &successes)?;
            let last = Value::rate(self.now.rate(self.previous, count));
            object.serialize_entry("app_success_last_one_sec", &last)?;
            object.serialize_entry("app_success_avg_per_sec", &Value::rate(self.now.average(successes)))?;
        }
        if self.now.canaries_sent > 0 {
            let canaries = &self.now.canaries;
            object.serialize_entry("canaries_total", &self.now.canaries_sent)?;
            object.serialize_entry("canaries_counted", &canaries.sent)?;
            object.serialize_entry("canaries_unanswered", &canaries.unanswered())?;
        }
        if let Some(estimates) = &self.now.estimates {
            let interval = estimates.hit_rate_percent.interval;
            object.serialize_entry("hit_rate_estimate", &estimates.hit_rate_percent.value)?;
            object.serialize_entry("hit_rate_lower", &interval.lower)?;
            object.serialize_entry("hit_rate_upper", &interval.upper)?;
            if let Some(missed) = &estimates.missed_by_one_percent {
                object.serialize_entry("missed_by_one_estimate", &missed.value)?;
                object.serialize_entry("missed_by_one_lower", &missed.interval.lower)?;
                object.serialize_entry("missed_by_one_upper", &missed.interval.upper)?;
            }
            if let Some(missed) = &estimates.missed_hosts {
                object.serialize_entry("missed_hosts_estimate", &missed.value)?;
                object.serialize_entry("missed_hosts_lower", &missed.interval.lower)?;
                object.serialize_entry("missed_hosts_upper", &missed.interval.upper)?;
            }
        }
        if let Some(rate) = &self.now.rate_auto {
            object.serialize_entry("rate_auto", rate)?;
        }
        if let Some(ledger) = &self.ledger {
            object.serialize_entry("ledger", ledger)?;
        }
        object.end()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::estimate::{Estimates, Evidence, Probed, Second, Twice};

    fn lines(form: UpdateFormat, now: &Snapshot, previous: Option<&Snapshot>) -> Vec<String> {
        let mut out = Vec::new();
        let time = "2026-01-31T12:00:07+01:00[+01:00]".parse().unwrap();
        Updates::new(&mut out, form).unwrap().write(&time, now, previous).unwrap();
        String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
    }

    fn snapshots() -> (Snapshot, Snapshot) {
        let before = Snapshot {
            elapsed: Duration::from_secs(4),
            targets_total: 1_000_000,
            probes: 1,
            dedup: true,
            senders: 2,
            sent: 40_000,
            targets_done: 40_000,
            cooldown: Duration::from_secs(8),
            ..Snapshot::default()
        };
        let now = Snapshot {
            elapsed: Duration::from_secs(5),
            sent: 50_000,
            targets_done: 50_000,
            recv_success_unique: 500,
            recv_total: 600,
            drops: 5,
            send_failures: 10,
            ..before.clone()
        };
        (before, now)
    }

    #[test]
    fn csv_is_zmaps() {
        let (before, now) = snapshots();
        assert_eq!(
            lines(UpdateFormat::Csv, &now, Some(&before)),
            [
                "real-time,time-elapsed,time-remaining,percent-complete,hit-rate,active-send-threads,sent-total,\
                 sent-last-one-sec,sent-avg-per-sec,recv-success-total,recv-success-last-one-sec,\
                 recv-success-avg-per-sec,recv-total,recv-total-last-one-sec,recv-total-avg-per-sec,pcap-drop-total,\
                 drop-last-one-sec,drop-avg-per-sec,sendto-fail-total,sendto-fail-last-one-sec,sendto-fail-avg-per-sec",
                "2026-01-31 12:00:07,5,103,5.000000,1.000000,2,50000,10000,10000,500,500,100,600,600,120,5,5,1,10,10,2",
            ]
        );
        let start = lines(UpdateFormat::Csv, &Snapshot { targets_total: 5, ..Snapshot::default() }, None);
        assert_eq!(start[1].split(',').count(), 21);
        assert!(start[1].starts_with("2026-01-31 12:00:07,0,,0.000000,"), "{}", start[1]);
    }

    #[test]
    fn json_has_the_same() {
        let (before, now) = snapshots();
        let csv = lines(UpdateFormat::Csv, &now, Some(&before));
        let json = lines(UpdateFormat::Json, &now, Some(&before));
        assert_eq!(json.len(), 1);
        let value: serde_json::Value = serde_json::from_str(&json[0]).unwrap();
        assert_eq!(value.as_object().unwrap().len(), 21);
        for (name, text) in csv[0].split(',').zip(csv[1].split(',')) {
            let value = &value[name.replace('-', "_")];
            match value.as_str() {
                Some(value) => assert_eq!(value, text),
                None => assert_eq!(value.as_f64(), text.parse().ok(), "{name}"),
            }
        }
        let app = |count| Some(count);
        let (before, now) = (
            Snapshot { app_success_unique: app(100), ..before },
            Snapshot { app_success_unique: app(300), ..now },
        );
        let value: serde_json::Value =
            serde_json::from_str(&lines(UpdateFormat::Json, &now, Some(&before))[0]).unwrap();
        assert_eq!(
            (&value["app_success_total"], &value["app_success_last_one_sec"]),
            (&300.into(), &200.into())
        );
        assert_eq!(value["app_success_avg_per_sec"], 60);
        let probed = Probed { targets: 50_000, found: 500, covered: 0.05 };
        let estimates = Estimates::of(Evidence { probed, ..Evidence::default() });
        let now = Snapshot { estimates, ..now };
        let value: serde_json::Value =
            serde_json::from_str(&lines(UpdateFormat::Json, &now, Some(&before))[0]).unwrap();
        assert_eq!(value["hit_rate_estimate"], 1.0);
        assert!(
            value["hit_rate_lower"].as_f64().unwrap() > 0.9
                && value["hit_rate_upper"].as_f64().unwrap() < 1.1
        );
        assert!(
            value.get("missed_by_one_estimate").is_none(),
            "without second probes nothing is known of that"
        );
        let hosts = Twice { both: 95, first_only: 4, second_only: 5 };
        let second = Some(Second { hosts, once: 396, ..Second::default() });
        let estimates = Estimates::of(Evidence { probed, second, ..Evidence::default() });
        let now = Snapshot { estimates, ..now };
        let value: serde_json::Value =
            serde_json::from_str(&lines(UpdateFormat::Json, &now, Some(&before))[0]).unwrap();
        let number = |name: &str| value[name].as_f64().unwrap_or_else(|| panic!("no {name} in {value}"));
        assert_eq!(number("missed_by_one_estimate"), 5.0);
        assert!(number("missed_by_one_lower") > 2.0 && number("missed_by_one_upper") < 11.5);
        let missed = number("missed_hosts_estimate");
        assert!((21.0..21.1).contains(&missed) && number("missed_hosts_lower") < missed);
        assert!(number("missed_hosts_upper") > missed && number("hit_rate_estimate") > 1.04);
    }
}
