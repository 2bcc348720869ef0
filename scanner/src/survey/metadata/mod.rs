//! The metadata: one JSON object that says what was scanned, how, and how it ended.
//!
//! The keys that ZMap writes keep its names, types and order, so that programs which read ZMap's metadata can read
//! ours. Where ZMap writes a truth value as 0 or 1, xdpmap does as well. xdpmap's own keys follow. They let a reader
//! repeat the scan and account for every packet. Times are local with their offset, as ZMap writes them. The object is
//! made once, from a scan's plan and end; each section is a run of adjacent keys.

mod books;
mod evidence;
mod facts;
mod means;
mod parts;
mod rate;
mod settings;
mod setup;
mod times;
mod totals;
mod values;

use serde::Serialize;

use super::finished::Finished;
use crate::report::metadata_file::MetadataError;
use books::Books;
use evidence::Evidence;
use facts::Facts;
use means::Means;
use settings::Settings;
use setup::Setup;
use times::Times;
use totals::Totals;

/// The metadata of one scan. An `Option` is left out when `None`.
#[derive(Clone, Debug, Default, Serialize)]
struct Metadata {
    #[serde(flatten)]
    setup: Setup,
    #[serde(flatten)]
    totals: Totals,
    #[serde(flatten)]
    settings: Settings,
    #[serde(flatten)]
    means: Means,
    #[serde(flatten)]
    times: Times,
    #[serde(flatten)]
    evidence: Evidence,
    #[serde(flatten)]
    books: Books,
}

impl Metadata {
    fn of(finished: &Finished<'_>) -> Self {
        let facts = Facts::of(finished);
        Self {
            setup: Setup::of(&facts),
            totals: Totals::of(&facts),
            settings: Settings::of(&facts),
            means: Means::of(&facts),
            times: Times::of(&facts),
            evidence: Evidence::of(&facts),
            books: Books::of(&facts),
        }
    }
}

/// Writes the metadata, if requested.
pub(super) fn write(finished: &Finished<'_>) -> Result<(), MetadataError> {
    finished.metadata_file.as_ref().map_or(Ok(()), |file| file.write(&Metadata::of(finished)))
}

#[cfg(test)]
mod tests {
    use jiff::Zoned;
    use serde_json::value::RawValue;

    use super::parts::Worker;
    use super::*;
    use crate::engine::Counts;

    #[test]
    fn keys_and_types() {
        let time = "2026-01-31T12:00:00+01:00[+01:00]".parse::<Zoned>().unwrap();
        let counts = Counts { targets: 5, rx_synack: 2, ..Counts::default() };
        let worker = Worker { worker: 0, tx_queue: Some(0), counters: (&counts).into(), ..Worker::default() };
        let setup =
            Setup { target_ports: vec![80, 443], seed: u64::MAX, seed_provided: true, ..Setup::default() };
        let settings = Settings {
            send_start_time: Some(time.into()),
            user_metadata: Some(RawValue::from_string("{\"who\":\"me\"}".to_owned()).unwrap()),
            ..Settings::default()
        };
        let books = Books {
            workers: vec![worker],
            xdp_counters: [("pass_not_ipv4", 7)].into_iter().collect(),
            ..Books::default()
        };
        let metadata = Metadata { setup, settings, books, ..Metadata::default() };
        let json = serde_json::to_string(&metadata).unwrap();
        assert!(json.starts_with(
            "{\"local_hostname\":\"\",\"source_port_first\":0,\"source_port_last\":0,\"target_ports\":[80,443],"
        ));
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["seed"], u64::MAX);
        assert_eq!(value["seed_provided"], 1);
        assert_eq!(value["dryrun"], 0);
        assert_eq!(value["hitrate"], 0.0);
        assert_eq!(value["send_start_time"], "2026-01-31T12:00:00+0100");
        assert_eq!(value["user-metadata"]["who"], "me");
        assert_eq!(value["workers"][0]["counters"]["rx_synack"], 2);
        assert_eq!(value["workers"][0].get("cpu"), None);
        assert_eq!(value["xdp_counters"]["pass_not_ipv4"], 7);
        assert_eq!(value.get("send_end_time"), None);
        assert_eq!(value.get("notes"), None);
    }
}
