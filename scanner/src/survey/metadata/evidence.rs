//! The keys by which a later reader checks the results: the lists as they were read, and what is in which output.
//!
//! `xdpmap verify` and `xdpmap merge` read them (`companions/metadata`).

use std::path::Path;

use serde::Serialize;
use targets::RangeSet;
use targets::reasons::Tally;

use super::facts::Facts;
use super::settings::prefixes;
use super::values::shown;
use crate::plan::{Blocklist, InputList, Plan, Reason};
use crate::printable::printable;
use crate::results::sink::SinkConfig;

/// What a later reader needs to check the results.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Evidence {
    /// The folder that relative paths start from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) folder: Option<String>,
    /// The lists that were read, as they were before the first packet.
    pub(super) lists: Vec<List>,
    /// The block lists, with the reasons in them, as they were before the first packet.
    pub(super) blocklists: Vec<OptOuts>,
    /// The outputs, in the order of the flags.
    pub(super) outputs: Vec<OutputFile>,
    /// Whether only successes were written, each once.
    pub(super) successes_only: bool,
    /// Whether a reply counted only if it came from the port that was probed.
    pub(super) source_port_validated: bool,
    /// Networks of targets that were left out only after the scan had started.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) networks_excluded_late: Vec<String>,
    /// The scan's checkpoint, if it kept one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) checkpoint_file: Option<String>,
    /// The runs before the last interruption; absent if there was none. Other keys count the last run alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) earlier_runs: Option<EarlierRuns>,
}

/// A list, as it was read.
#[derive(Clone, Debug, Serialize)]
pub(super) struct List {
    /// The flag that names it, without dashes.
    flag: &'static str,
    /// Its path; `-` is standard input.
    file: String,
    /// SHA-256 of its content in hexadecimal digits; absent, as the next ones, if it is no regular file.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    /// Its length.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    /// Its lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    lines: Option<u64>,
}

impl List {
    fn of(list: &InputList) -> Self {
        let content = list.content.as_ref();
        Self {
            flag: list.flag.trim_start_matches('-'),
            file: printable(&list.file),
            sha256: content.map(|content| content.sha256.clone()),
            bytes: content.map(|content| content.bytes),
            lines: content.map(|content| content.lines),
        }
    }
}

/// A block list, and why networks are on it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct OptOuts {
    /// Its path, or the flag with which the networks were typed.
    list: String,
    /// Its entries: networks and host names.
    entries: u64,
    /// The addresses in them, each once.
    addresses: u64,
    /// The reasons with most networks, those with most first.
    reasons: Vec<ForReason>,
    /// All other reasons together.
    other_reasons: Amount,
    /// What has no reason.
    without_reason: Amount,
}

impl OptOuts {
    fn of(list: &Blocklist) -> Self {
        let Blocklist { entries, addresses, reasons, .. } = list;
        Self {
            list: shown(list.name()),
            entries: *entries,
            addresses: *addresses,
            reasons: reasons.named.iter().map(ForReason::of).collect(),
            other_reasons: reasons.others.into(),
            without_reason: reasons.without.into(),
        }
    }
}

/// What is on a block list for a reason.
#[derive(Clone, Debug, Serialize)]
struct ForReason {
    /// The date that it begins with; absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    date: Option<String>,
    /// The rest.
    reason: String,
    /// Networks, ranges, addresses and host names.
    networks: u64,
    /// Addresses in them; one in several of them counts for each.
    addresses: u64,
}

impl ForReason {
    fn of(reason: &Reason) -> Self {
        let date = reason.date.map(|date| date.to_string());
        let Tally { networks, addresses } = reason.tally;
        Self { date, reason: reason.text.clone(), networks, addresses }
    }
}

/// An amount of networks.
#[derive(Clone, Copy, Debug, Serialize)]
struct Amount {
    /// Networks, ranges, addresses and host names.
    networks: u64,
    /// Addresses in them; one in several of them counts for each.
    addresses: u64,
}

impl From<Tally> for Amount {
    fn from(Tally { networks, addresses }: Tally) -> Self {
        Self { networks, addresses }
    }
}

/// An output.
#[derive(Clone, Debug, Serialize)]
pub(super) struct OutputFile {
    /// Its format.
    module: &'static str,
    /// Its path, of a series that of the first file; `-` is standard output; or the server.
    file: String,
    /// Its columns; absent if the format has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    fields: Option<Vec<&'static str>>,
    /// Whether the columns' names come first.
    header_row: bool,
    /// Whether it may be a series of files.
    is_series: bool,
    /// Whether results followed those of another scan.
    appended: bool,
    /// Whether the last file has `.part` behind its name, because the scan was not whole.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    is_part: bool,
    /// The column that results are parted into folders by; absent if they are not. The path is then that of the folder
    /// above them.
    #[serde(skip_serializing_if = "Option::is_none")]
    partitioned_by: Option<&'static str>,
}

impl OutputFile {
    fn of(sink: &SinkConfig, folder: Option<&Path>, is_in_place: bool) -> Self {
        let is_file = sink.redis.is_none() && sink.file != Path::new("-");
        let file = match folder.filter(|_| is_file) {
            Some(folder) => printable(folder.join(&sink.file)),
            None => sink.place(),
        };
        let names = || sink.fields.fields().iter().map(|field| field.name).collect();
        Self {
            module: sink.module.name(),
            file: shown(file),
            fields: sink.has_fields().then(names),
            header_row: sink.header_row,
            is_series: sink.is_series(),
            appended: sink.append,
            is_part: !is_in_place && sink.interim().is_some(),
            partitioned_by: sink.partitions.map(|partitions| partitions.by.column()),
        }
    }
}

/// What was done before the run that wrote the metadata.
#[derive(Clone, Debug, Serialize)]
pub(super) struct EarlierRuns {
    /// When each of them started (RFC 3339), the first one first.
    started: Vec<String>,
    /// Targets that were probed, some of them in several runs.
    targets: u64,
    /// Probes that were sent.
    probes_sent: u64,
    /// Results in the outputs.
    results: u64,
    /// Canaries that were sent.
    canaries: u64,
    /// Canaries that got an answer.
    canaries_replied: u64,
}

impl EarlierRuns {
    fn of(plan: &Plan) -> Option<Self> {
        let resumed = plan.checkpoint.as_ref()?.resumed.as_ref()?;
        Some(Self {
            started: resumed.runs.clone(),
            targets: resumed.counts.targets,
            probes_sent: resumed.counts.probes_sent,
            results: resumed.counts.results,
            canaries: resumed.counts.canaries,
            canaries_replied: resumed.counts.canaries_replied,
        })
    }
}

impl Evidence {
    pub(super) fn of(facts: &Facts<'_>) -> Self {
        let Facts { plan, finished, .. } = facts;
        let folder = plan.report.folder.as_deref();
        let kept = plan.checkpoint.as_ref();
        let sinks = plan.output.sinks.iter();
        let is_in_place = plan.dryrun || finished.outputs.collected.is_in_place;
        Self {
            folder: folder.map(printable),
            lists: plan.report.lists.iter().map(List::of).collect(),
            blocklists: plan.targets.blocklists.iter().map(OptOuts::of).collect(),
            outputs: sinks.map(|sink| OutputFile::of(sink, folder, is_in_place)).collect(),
            successes_only: plan.output.filter.successes_only,
            source_port_validated: plan.probe.port_in_cookie,
            networks_excluded_late: prefixes(&excluded_late(plan, &finished.excluded)),
            checkpoint_file: kept.map(|kept| printable(&kept.file)),
            earlier_runs: EarlierRuns::of(plan),
        }
    }
}

/// The networks that were not left out when the scan first started, and are now.
fn excluded_late(plan: &Plan, excluded: &RangeSet) -> RangeSet {
    let targets = &plan.targets;
    targets.withdrawn.union(excluded).subtract(&targets.blocked).subtract(&targets.floor)
}
