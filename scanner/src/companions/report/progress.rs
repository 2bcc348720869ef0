//! How a scan went on, from the file of its status updates: ZMap's CSV, or JSON lines.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use serde_json::{Map, Value};

use crate::printable::printable;

/// The columns that are read, by the names in CSV. In JSON they have underscores.
const COLUMNS: [&str; 5] =
    ["time-elapsed", "sent-total", "recv-success-total", "recv-total", "pcap-drop-total"];
/// Most points that are drawn. More: only a larger page.
const POINTS_MAX: usize = 240;

/// What had been counted at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Sample {
    elapsed_s: f64,
    sent: f64,
    successes: f64,
    replies: f64,
    drops: f64,
}

/// What happened between two times.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Interval {
    /// Its middle, in seconds from the scan's start.
    pub(super) at_s: f64,
    /// Probes per second.
    pub(super) sent_pps: f64,
    /// Replies per second.
    pub(super) replies_pps: f64,
    /// Successes per second.
    pub(super) successes_pps: f64,
    /// Replies lost per second.
    pub(super) drops_pps: f64,
    /// Successes per hundred probes; `None` while nothing was sent.
    pub(super) hit_rate_percent: Option<f64>,
}

/// Reads the updates in a file.
///
/// # Errors
/// It cannot be read, or has no updates, in one line that names it.
pub(super) fn read(path: &Path) -> Result<Vec<Interval>, String> {
    let name = printable(path);
    let file = File::open(path).map_err(|error| format!("-u: cannot read {name} ({error})"))?;
    parse(BufReader::new(file)).map_err(|what| format!("-u: {name}: {what}"))
}

/// Parses updates. Lines that are not understood, such as the last one of a scan that runs, are left out.
fn parse(mut reader: impl BufRead) -> Result<Vec<Interval>, String> {
    let begins = reader.fill_buf().map_err(|error| error.to_string())?;
    let samples = match begins.trim_ascii_start().first() {
        Some(b'{') => of_json(reader),
        _ => of_csv(reader)?,
    };
    match intervals(&samples) {
        intervals if intervals.is_empty() => {
            Err("it has no status updates; give the file that the scan wrote with -u".to_owned())
        }
        intervals => Ok(intervals),
    }
}

fn of_json(reader: impl BufRead) -> Vec<Sample> {
    let names = COLUMNS.map(|name| name.replace('-', "_"));
    let line = |line: Vec<u8>| serde_json::from_slice::<Map<String, Value>>(&line).ok();
    let lines = reader.split(b'\n').map_while(Result::ok).filter_map(line);
    lines.filter_map(|object| sample(|place| object.get(&names[place])?.as_f64())).collect()
}

fn of_csv(reader: impl Read) -> Result<Vec<Sample>, String> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(reader);
    let headers = reader.headers().map_err(|error| error.to_string())?;
    let places = COLUMNS.map(|column| headers.iter().position(|name| name == column));
    let rows = reader.records().filter_map(Result::ok);
    Ok(rows.filter_map(|row| sample(|place| row.get(places[place]?)?.parse().ok())).collect())
}

fn sample(value: impl Fn(usize) -> Option<f64>) -> Option<Sample> {
    let value = |place| value(place).filter(|number| number.is_finite() && *number >= 0.0);
    let drops = value(4).unwrap_or_default();
    Some(Sample { elapsed_s: value(0)?, sent: value(1)?, successes: value(2)?, replies: value(3)?, drops })
}

/// The rates between samples, for at most [`POINTS_MAX`] intervals. Before the first sample nothing had been counted.
fn intervals(samples: &[Sample]) -> Vec<Interval> {
    let step = samples.len().div_ceil(POINTS_MAX).max(1);
    let last = samples.last().filter(|_| !samples.len().is_multiple_of(step));
    let ends = samples.iter().skip(step - 1).step_by(step).chain(last);
    let mut before = Sample::default();
    let mut intervals = vec![];
    for now in ends {
        let seconds = now.elapsed_s - before.elapsed_s;
        if seconds > 0.0 {
            intervals.push(between(&before, now, seconds));
            before = *now;
        }
    }
    intervals
}

fn between(before: &Sample, now: &Sample, seconds: f64) -> Interval {
    let more = |count: fn(&Sample) -> f64| (count(now) - count(before)).max(0.0);
    let sent = more(|sample| sample.sent);
    Interval {
        at_s: (before.elapsed_s + now.elapsed_s) / 2.0,
        sent_pps: sent / seconds,
        replies_pps: more(|sample| sample.replies) / seconds,
        successes_pps: more(|sample| sample.successes) / seconds,
        drops_pps: more(|sample| sample.drops) / seconds,
        hit_rate_percent: (sent > 0.0).then(|| more(|sample| sample.successes) / sent * 100.0),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CSV: &str = "real-time,time-elapsed,hit-rate,sent-total,recv-success-total,recv-total,pcap-drop-total\n\
        2026-01-31 12:00:00,1,0.1,1000,5,10,0\n2026-01-31 12:00:01,3,0.1,3000,25,30,4\nbad\n\
        2026-01-31 12:00:04,4,0.1,3000,26,31,4\n";

    #[test]
    fn csv_and_json() {
        let found = parse(CSV.as_bytes()).unwrap();
        assert_eq!(found.len(), 3);
        assert_eq!((found[0].at_s, found[0].sent_pps, found[0].hit_rate_percent), (0.5, 1000.0, Some(0.5)));
        assert_eq!(
            (found[1].sent_pps, found[1].drops_pps, found[1].hit_rate_percent),
            (1000.0, 2.0, Some(1.0))
        );
        assert_eq!((found[2].replies_pps, found[2].hit_rate_percent), (1.0, None));
        let json =
            "{\"time_elapsed\":1,\"sent_total\":1000,\"recv_success_total\":5,\"recv_total\":10}\n{\"time_el";
        assert_eq!(parse(json.as_bytes()).unwrap(), found[..1]);
        assert!(parse("a,b\n1,2\n".as_bytes()).unwrap_err().contains("no status updates"));
    }

    proptest! {
        #[test]
        fn anything(text in ".{0,300}", cut in 0usize..400) {
            let _ = parse(text.as_bytes());
            let _ = parse(&CSV.as_bytes()[..cut.min(CSV.len())]);
        }

        /// However many there are, few are drawn, and nothing is lost.
        #[test]
        fn long_scans(seconds in 1usize..3000) {
            let sample = |at| Sample { elapsed_s: at as f64, sent: 7.0 * at as f64, ..Sample::default() };
            let samples: Vec<Sample> = (1..=seconds).map(sample).collect();
            let found = intervals(&samples);
            prop_assert!(!found.is_empty() && found.len() <= POINTS_MAX + 1);
            prop_assert!(found.iter().all(|interval| (interval.sent_pps - 7.0).abs() < 1e-9));
        }
    }
}
