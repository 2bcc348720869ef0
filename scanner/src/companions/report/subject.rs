//! What a report is about: the metadata of one scan, with its ledger in words.
//!
//! Metadata may be of a newer xdpmap, or of an older one. So a key that is not there leaves out what it is for, and one
//! that is not known is shown as it is.

use serde_json::Value;

use crate::companions::metadata::{Metadata, outputs};
use crate::engine::RepeatPolicy;
use crate::exit::Exit;
use crate::input;
use crate::ledger::{Ledger, Level, Remark, StoredLedger};
use crate::units::{grouped, several, were};

/// A scan.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    /// The keys that are known, with their types.
    pub(super) metadata: Metadata,
    /// All keys.
    pub(super) all: Value,
    /// The ledger, if there is one.
    pub(super) ledger: Option<Ledger>,
}

/// An estimate with its bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Estimate {
    pub(super) value: f64,
    pub(super) lower: f64,
    pub(super) upper: f64,
}

impl Subject {
    /// That of this metadata.
    ///
    /// # Errors
    /// The file cannot be read any more.
    pub(super) fn read(metadata: Metadata) -> Result<Self, String> {
        let name = metadata.name();
        let bytes = input::read(&metadata.path).map_err(|error| format!("cannot read {name} ({error})"))?;
        let all = serde_json::from_slice(&bytes).map_err(|error| format!("{name}: {error}"))?;
        Ok(Self::of(metadata, all))
    }

    /// That of this metadata, of which `all` has all keys.
    pub(super) fn of(metadata: Metadata, all: Value) -> Self {
        let is_filtered = all.get("output_filter").is_some();
        let repeats = match metadata.has_successes_only() || is_filtered {
            true => RepeatPolicy::LeaveOut,
            false => RepeatPolicy::Lose,
        };
        // The last part of a path says enough; the metadata below has all of it.
        let place = |file: &str| file.rsplit('/').next().unwrap_or(file).to_owned();
        let places: Vec<String> =
            outputs::outputs(&metadata).iter().map(|output| place(&output.file)).collect();
        let ledger = metadata.ledger.as_ref().map(|stored| stored.described(&places, repeats));
        Self { metadata, all, ledger }
    }

    /// A number.
    pub(super) fn number(&self, key: &str) -> Option<f64> {
        self.all.get(key)?.as_f64()
    }

    /// A count.
    pub(super) fn count(&self, key: &str) -> Option<u64> {
        self.all.get(key)?.as_u64()
    }

    /// A text that is not empty.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.all.get(key)?.as_str().filter(|text| !text.is_empty())
    }

    /// A list of texts.
    pub(super) fn texts(&self, key: &str) -> Vec<&str> {
        let list = self.all.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        list.iter().filter_map(Value::as_str).collect()
    }

    /// An estimate of the scan, if it has made one that can be drawn.
    pub(super) fn estimate(&self, name: &str) -> Option<Estimate> {
        let estimate = self.all.get("estimates")?.get(name)?;
        let part = |key: &str| estimate.get(key)?.as_f64().filter(|number| number.is_finite());
        Some(Estimate { value: part("value")?, lower: part("lower")?, upper: part("upper")? })
    }

    /// A count of the ledger; 0 if there is none.
    pub(super) fn row(&self, account: &str, row: &str) -> u64 {
        self.ledger.as_ref().map_or(0, |ledger| ledger.count(account, row))
    }

    /// What the scan lost or left out, and what else a reader has to know, the worst first.
    pub(super) fn remarks(&self) -> Vec<Remark> {
        let mut remarks = self.ledger.as_ref().map(|ledger| ledger.remarks(None)).unwrap_or_default();
        let mut add = |level, text: String| remarks.push(Remark { level, text });
        if let Some(exit) = Exit::ALL.iter().find(|exit| i32::from(exit.number()) == self.metadata.exit_code)
            && *exit != Exit::Done
        {
            add(Level::Error, format!("the scan ended with exit code {}: {}", exit.number(), exit.meaning()));
        }
        if self.metadata.targets_left > 0 {
            let left = self.metadata.targets_left;
            let (targets, were) = (several(left, "target"), were(left));
            add(
                Level::Warning,
                format!(
                    "{targets} {were} never probed: the scan ended before ({})",
                    self.metadata.end_reason
                ),
            );
        }
        if let Some(error) = self.text("output_error") {
            add(Level::Error, format!("an output could not be written: {error}"));
        }
        if self.metadata.dryrun == 1 {
            add(Level::Info, "this was a dry run: nothing was sent".to_owned());
        }
        let outages = self.all.get("link_outages").and_then(Value::as_array).map_or(0, Vec::len);
        if outages > 0 {
            add(
                Level::Warning,
                format!(
                    "the link was down, or a gateway moved, {}; targets in doubt were probed again",
                    several(outages as u64, "time")
                ),
            );
        }
        if let Some(earlier) = &self.metadata.earlier_runs {
            add(
                Level::Info,
                format!(
                    "the scan went on after an interruption: unless they say otherwise, figures are those of its last \
                     run; before it {} {} probed by {}, and {} written",
                    several(earlier.targets, "target"),
                    were(earlier.targets),
                    several(earlier.probes_sent, "probe"),
                    several(earlier.results, "result")
                ),
            );
        }
        if self.metadata.deduplicated_by_window > 0 {
            let count = grouped(self.metadata.deduplicated_by_window);
            add(
                Level::Info,
                format!(
                    "{count} successes were looked up in a window, so repeats of old ones may be results"
                ),
            );
        }
        for fault in self.metadata.ledger.iter().flat_map(StoredLedger::faults) {
            add(Level::Error, format!("the ledger does not add up: {fault}"));
        }
        remarks.sort_by_key(|remark| match remark.level {
            Level::Error => 0,
            Level::Warning => 1,
            Level::Info => 2,
        });
        remarks
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A scan with these further keys.
    pub(in crate::companions::report) fn subject(further: &str) -> Subject {
        let text = format!(
            "{{\"local_hostname\":\"h\",\"total_shards\":1,\"targets_hash\":\"ab\",\"end_reason\":\"complete\",\
             \"ledger\":{{\"accounts\":{{\"probes\":{{\"total\":9,\"parts\":{{\"completed\":7,\"lost\":2}}}}}}}}{further}}}"
        );
        Subject::of(Metadata::parse(text.as_bytes()).unwrap(), serde_json::from_str(&text).unwrap())
    }

    #[test]
    fn what_a_reader_has_to_know() {
        let remarks = subject(",\"exit_code\":130,\"targets_left\":5,\"dryrun\":1").remarks();
        let texts: Vec<&str> = remarks.iter().map(|remark| remark.text.as_str()).collect();
        assert!(texts[0].contains("exit code 130: interrupted"), "{texts:?}");
        assert!(texts.iter().any(|text| text.starts_with("2 probes were lost")), "{texts:?}");
        assert!(texts.iter().any(|text| text.starts_with("5 targets were never probed")), "{texts:?}");
        assert!(texts.last().unwrap().contains("dry run"), "{texts:?}");
    }

    #[test]
    fn earlier_runs_are_said() {
        let earlier =
            ",\"earlier_runs\":{\"targets\":1390,\"probes_sent\":1440,\"results\":130,\"started\":[]}";
        let remarks = subject(earlier).remarks();
        let text = &remarks.last().unwrap().text;
        assert!(text.contains("1,390 targets were probed by 1,440 probes, and 130 results"), "{text}");
    }

    #[test]
    fn estimates_are_optional() {
        let of = |estimates: &str| subject(estimates).estimate("hit_rate_percent");
        assert_eq!(of(""), None);
        assert_eq!(of(",\"estimates\":{\"hit_rate_percent\":{\"value\":\"x\"}}"), None);
        let found = of(",\"estimates\":{\"hit_rate_percent\":{\"value\":0.5,\"lower\":0.4,\"upper\":0.6}}");
        assert_eq!(found, Some(Estimate { value: 0.5, lower: 0.4, upper: 0.6 }));
    }
}
