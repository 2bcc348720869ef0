//! The metadata of a merged scan, made of those of its shards: numbers are summed, what all have in common stays, and
//! what differs is listed shard by shard.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;

use super::object::Object;
use crate::companions::metadata::{OutputFile, StoredEstimates, time};
use crate::estimate::{Estimates, Evidence};
use crate::ledger::StoredLedger;
use crate::printable::printable;
use crate::report::canaries::PooledCanaries;

/// Keys that are summed; a shard that lacks one has 0.
const SUMMED: [&str; 33] = [
    "max_targets",
    "max_results",
    "output_results",
    "pcap_recv",
    "pcap_drop",
    "pcap_ifdrop",
    "ip_fragments",
    "validation_passed",
    "validation_failed",
    "send_to_failures",
    "packets_sent",
    "targets_scanned",
    "success_total",
    "success_unique",
    "app_success_total",
    "app_success_unique",
    "success_cooldown_total",
    "success_cooldown_unique",
    "failure_total",
    "probes_missed",
    "replies_vanished",
    "interface_tx_dropped",
    "output_lost",
    "deduplicated_by_window",
    "rate_changes",
    "targets_left",
    "targets_in_doubt",
    "senders",
    "tx_queues",
    "rx_queues",
    "exit_code",
    "dryrun",
    "syslog",
];
/// Of the above, those that are truth values or codes: these are not summed but the highest is taken.
const HIGHEST: [&str; 3] = ["exit_code", "dryrun", "syslog"];
/// Keys whose value is an object of counters, which are summed by their names.
const COUNTERS: [&str; 2] = ["counters", "xdp_counters"];
/// Keys of which all values are put together, each once.
const UNITED: [&str; 2] = ["blocklisted_networks", "networks_excluded_late"];
/// Keys that a merged scan has anew, so that those of the shards are only in the list of shards.
const REPLACED: [&str; 9] = [
    "local_hostname",
    "shard_num",
    "total_shards",
    "output_module",
    "output_filename",
    "outputs",
    "hitrate",
    "end_reason",
    "intervals_left",
];

/// The key of the ledger, whose counts are summed.
const LEDGER: &str = "ledger";
/// The key of the estimates, which are made anew from the counts of all shards.
const ESTIMATES: &str = "estimates";

/// The key of what became of canaries, which is added up, and the loss made anew.
const CANARIES: &str = "canaries";

/// How an output of a merged scan is described.
#[derive(Serialize)]
struct Output<'a> {
    module: &'a str,
    file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    fields: Option<&'a [String]>,
    header_row: bool,
    is_series: bool,
    appended: bool,
}

/// What was done before the last interruptions.
#[derive(Default, Serialize, serde::Deserialize)]
struct EarlierRuns {
    started: Vec<String>,
    targets: u64,
    probes_sent: u64,
    results: u64,
    #[serde(default)]
    canaries: u64,
    #[serde(default)]
    canaries_replied: u64,
}

/// The metadata of the scan that these shards, by their metadata, make up. Its results are in `file`, and have the form
/// of `output`.
pub(super) fn merged(shards: &[Object], output: &OutputFile, file: Option<&Path>) -> Object {
    let Some(first) = shards.first() else { return Object::default() };
    let (mut whole, mut own) = (Object::default(), vec![Object::default(); shards.len()]);
    let mut keys: Vec<&str> = Vec::new();
    let mut known = BTreeSet::new();
    for key in shards.iter().flat_map(Object::keys) {
        if known.insert(key) {
            keys.push(key);
        }
    }
    let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
    whole.set("local_hostname", &host);
    for key in keys {
        let has_all = shards.iter().all(|shard| shard.get(key) == first.get(key));
        if SUMMED.contains(&key) {
            let numbers = shards.iter().map(|shard| shard.read::<u64>(key).unwrap_or(0));
            let is_code = HIGHEST.contains(&key);
            let sum = |one: u64, other: u64| if is_code { one.max(other) } else { one.saturating_add(other) };
            whole.set(key, &numbers.fold(0, sum));
        } else if COUNTERS.contains(&key) {
            whole.set(key, &counters(shards, key));
        } else if UNITED.contains(&key) {
            let mut all: Vec<String> = Vec::new();
            let mut known = BTreeSet::new();
            for value in shards.iter().flat_map(|shard| shard.read::<Vec<String>>(key).unwrap_or_default()) {
                if known.insert(value.clone()) {
                    all.push(value);
                }
            }
            whole.set(key, &all);
        } else if let Some(time) = time_of(shards, key) {
            whole.set(key, &time);
        } else if key == LEDGER
            && let Some(ledger) = ledger(shards)
        {
            whole.set(key, &ledger);
        } else if key == ESTIMATES
            && let Some(estimates) = estimates(shards)
        {
            whole.set(key, &estimates);
        } else if key == CANARIES
            && let Some(canaries) = canaries(shards)
        {
            whole.set(key, &canaries);
        } else if key == "earlier_runs" {
            whole.set(key, &earlier_runs(shards));
        } else if key == "lists" && have_same_lists(shards) {
            whole.set(key, &first.read::<serde_json::Value>(key));
        } else if has_all && !REPLACED.contains(&key) {
            whole.set(key, &first.read::<Box<serde_json::value::RawValue>>(key));
        } else {
            for (shard, own) in shards.iter().zip(&mut own) {
                if let Some(value) = shard.read::<Box<serde_json::value::RawValue>>(key) {
                    own.set(key, &value);
                }
            }
        }
    }
    let number = |key: &str| whole.read::<u64>(key).unwrap_or(0);
    let hitrate = 100.0 * number("success_unique") as f64 / number("targets_scanned").max(1) as f64;
    let file = file
        .map_or_else(|| "-".to_owned(), |file| printable(std::path::absolute(file).unwrap_or(file.into())));
    let reason = shards.iter().all(|shard| shard.get("end_reason") == first.get("end_reason"));
    let reason =
        first.read::<String>("end_reason").filter(|_| reason).unwrap_or_else(|| "complete".to_owned());
    let described = Output {
        module: &output.module,
        file: file.clone(),
        fields: output.fields.as_deref(),
        header_row: output.header_row,
        is_series: false,
        appended: false,
    };
    whole.set("hitrate", &hitrate);
    whole.set("shard_num", &0);
    whole.set("total_shards", &1);
    whole.set("output_module", &output.module);
    whole.set("output_filename", &file);
    whole.set("outputs", &[described]);
    whole.set("end_reason", &reason);
    whole.set("intervals_left", &[0u64; 0]);
    whole.set("merged_by", &concat!("xdpmap ", env!("CARGO_PKG_VERSION")));
    whole.set("shards", &own);
    whole
}

/// The counters of all shards by their names, in the order of the first one.
fn counters(shards: &[Object], key: &str) -> Object {
    let mut sums = Object::default();
    for counters in shards.iter().filter_map(|shard| shard.read::<Object>(key)) {
        for name in counters.keys() {
            let [one, other] = [&sums, &counters].map(|counters| counters.read::<u64>(name).unwrap_or(0));
            sums.set(name, &one.saturating_add(other));
        }
    }
    sums
}

/// The ledger of the whole, if all shards have one.
fn ledger(shards: &[Object]) -> Option<StoredLedger> {
    let mut whole = StoredLedger::default();
    for shard in shards {
        whole.add(shard.read(LEDGER)?);
    }
    Some(whole)
}

/// The estimates of the whole, if all shards have some.
fn estimates(shards: &[Object]) -> Option<Estimates> {
    let evidence = |shard: &Object| Some(shard.read::<StoredEstimates>(ESTIMATES)?.evidence);
    let parts: Vec<Evidence> = shards.iter().map(evidence).collect::<Option<_>>()?;
    Estimates::of(Evidence::pooled(&parts))
}

/// The canaries of the whole, if all shards had some.
fn canaries(shards: &[Object]) -> Option<PooledCanaries> {
    let parts = shards.iter().map(|shard| shard.read(CANARIES)).collect::<Option<Vec<_>>>()?;
    Some(PooledCanaries::of(&parts))
}

/// The first of the times that begin something, or the last of those that end something, if `key` is of these.
fn time_of(shards: &[Object], key: &str) -> Option<String> {
    let times = shards.iter().filter_map(|shard| shard.read::<String>(key));
    let times = times.filter_map(|text| Some((time(&text)?, text)));
    match key {
        "send_start_time" | "recv_start_time" => times.min().map(|(_, text)| text),
        "send_end_time" | "recv_end_time" => times.max().map(|(_, text)| text),
        _ => None,
    }
}

fn earlier_runs(shards: &[Object]) -> EarlierRuns {
    let mut all = EarlierRuns::default();
    for runs in shards.iter().filter_map(|shard| shard.read::<EarlierRuns>("earlier_runs")) {
        all.started.extend(runs.started);
        all.targets = all.targets.saturating_add(runs.targets);
        all.probes_sent = all.probes_sent.saturating_add(runs.probes_sent);
        all.results = all.results.saturating_add(runs.results);
        all.canaries = all.canaries.saturating_add(runs.canaries);
        all.canaries_replied = all.canaries_replied.saturating_add(runs.canaries_replied);
    }
    // RFC 3339 in UTC sorts by time.
    all.started.sort();
    all
}

/// Whether all shards had lists of the same content, wherever the files were.
fn have_same_lists(shards: &[Object]) -> bool {
    let lists = |shard: &Object| -> Option<Vec<[Option<String>; 2]>> {
        let lists = shard.read::<Vec<serde_json::Value>>("lists")?;
        let text = |list: &serde_json::Value, key: &str| list[key].as_str().map(str::to_owned);
        Some(lists.iter().map(|list| [text(list, "flag"), text(list, "sha256")]).collect())
    };
    shards.iter().all(|shard| lists(shard).is_some() && lists(shard) == shards.first().and_then(lists))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(text: &str) -> Object {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn numbers_are_summed_and_what_differs_is_listed() {
        let shards = [
            shard(
                "{\"local_hostname\":\"a\",\"shard_num\":0,\"total_shards\":2,\"packets_sent\":10,\"targets_scanned\":10,\
                 \"success_unique\":1,\"seed\":7,\"recv_start_time\":\"2026-01-31T12:00:00+0100\",\"kernel_release\":\"6.1\",\
                 \"counters\":{\"z\":1,\"a\":2},\"end_reason\":\"complete\",\"exit_code\":0,\"targets_hash\":\"ab\",\
                 \"recv_end_time\":\"2026-01-31T12:00:09+0100\",\"lists\":[{\"flag\":\"b\",\"file\":\"/x\",\"sha256\":\"1\"}]}",
            ),
            shard(
                "{\"local_hostname\":\"b\",\"shard_num\":1,\"total_shards\":2,\"packets_sent\":30,\"targets_scanned\":10,\
                 \"success_unique\":4,\"seed\":7,\"recv_start_time\":\"2026-01-31T10:30:00+0000\",\"kernel_release\":\"6.2\",\
                 \"counters\":{\"z\":4,\"a\":5,\"n\":6},\"end_reason\":\"max-targets\",\"exit_code\":0,\"targets_hash\":\"ab\",\
                 \"recv_end_time\":\"2026-01-31T10:31:00+0000\",\"lists\":[{\"flag\":\"b\",\"file\":\"/y\",\"sha256\":\"1\"}]}",
            ),
        ];
        let output = OutputFile { module: "csv".to_owned(), header_row: true, ..OutputFile::default() };
        let text = serde_json::to_string(&merged(&shards, &output, Some(Path::new("/all.csv")))).unwrap();
        assert!(text.starts_with("{\"local_hostname\":"), "{text}");
        assert!(text.contains("\"counters\":{\"z\":5,\"a\":7,\"n\":6}"), "{text}");
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let expected: [(&str, serde_json::Value); 9] = [
            ("packets_sent", 40.into()),
            ("hitrate", 25.0.into()),
            ("seed", 7.into()),
            ("shard_num", 0.into()),
            ("total_shards", 1.into()),
            ("recv_start_time", "2026-01-31T10:30:00+0000".into()),
            ("recv_end_time", "2026-01-31T12:00:09+0100".into()),
            ("end_reason", "complete".into()),
            ("output_filename", "/all.csv".into()),
        ];
        for (key, expected) in expected {
            assert_eq!(value[key], expected, "{key}");
        }
        assert_eq!(value["lists"][0]["file"], "/x");
        assert_eq!(
            (&value["shards"][0]["kernel_release"], value.get("kernel_release")),
            (&"6.1".into(), None)
        );
        assert_eq!(value["shards"][1]["local_hostname"], "b");
    }

    /// Each key has one rule.
    #[test]
    fn rules_do_not_overlap() {
        let all: Vec<&str> = [&SUMMED[..], &COUNTERS, &UNITED, &REPLACED, &[LEDGER, ESTIMATES]].concat();
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
        assert!(HIGHEST.iter().all(|key| SUMMED.contains(key)));
    }
}
