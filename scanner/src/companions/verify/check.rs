//! Whether results are what the metadata of their scan say: each about a target, once, from the time of the scan, and
//! as many as were written.

use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};

use super::faults::{Kind, Report};
use crate::companions::metadata::allowed::Allowed;
use crate::companions::metadata::lists::{Found, compare, hosts};
use crate::companions::metadata::outputs::{Stored, is_file, outputs};
use crate::companions::metadata::{Metadata, OutputFile, time};
use crate::companions::stored::{Item, Row, StoredFile, address, is_true, place};
use crate::ledger::StoredLedger;
use crate::printable::printable;
use crate::probe::ModuleInfo;
use crate::reply::fields::common::is_of_responder;
use crate::results::dedup::Dedup;
use crate::units::{are, counted, were};

/// The columns that are read.
const WANTED: [&str; 10] = [
    "target",
    "saddr",
    "target_port",
    "sport",
    "success",
    "repeat",
    "timestamp_ts",
    "timestamp_us",
    "timestamp_str",
    "timestamp",
];

/// How far the clock of a scan may be moved while it runs without its results being from another time.
const CLOCK: SignedDuration = SignedDuration::from_secs(1);

/// A scan with its results.
#[derive(Debug)]
pub(in crate::companions) struct Scan {
    /// What it wrote about itself.
    pub(in crate::companions) metadata: Metadata,
    /// Its results.
    pub(in crate::companions) stored: Vec<Stored>,
}

impl Scan {
    /// Its files that are read: its metadata and its results.
    pub(in crate::companions) fn paths(&self) -> impl Iterator<Item = &Path> {
        let results = self.stored.iter().flat_map(|stored| &stored.files);
        std::iter::once(&self.metadata.path).chain(results).map(PathBuf::as_path)
    }
}

/// Checks the results of these scans, which may be shards, each by itself and all for repeats.
///
/// # Errors
/// Metadata or results cannot be read, in one line.
pub(in crate::companions) fn check(scans: &[Scan], report: &mut Report) -> Result<(), String> {
    // Of each output, the targets that have a result: outputs hold the same results.
    let mut seen: Vec<Dedup> = Vec::new();
    for scan in scans {
        report.scans += 1;
        let metadata = &scan.metadata;
        for fault in metadata.ledger.iter().flat_map(StoredLedger::faults) {
            report.fault(Kind::Unbalanced, || fault, || metadata.name());
        }
        let allowed = targets(metadata, report)?;
        let outputs = outputs(metadata);
        for (number, output) in outputs.iter().enumerate() {
            let stored = scan.stored.iter().find(|stored| stored.output == number);
            let Some(stored) = stored.filter(|_| not_read(&output.module).is_none()) else {
                missing(metadata, output, !scan.stored.is_empty(), report);
                continue;
            };
            while seen.len() <= number {
                seen.push(if allowed.has_several_ports() { Dedup::targets() } else { Dedup::full() });
            }
            let mut check = Check::new(metadata, &allowed, output, &mut seen[number]);
            check.files(stored, output, report)?;
        }
    }
    Ok(())
}

/// An output whose file is not there, or not read.
fn missing(metadata: &Metadata, output: &OutputFile, others_are_there: bool, report: &mut Report) {
    let OutputFile { module, file, .. } = output;
    let not_read = not_read(module);
    if !is_file(output) || not_read.is_some() || others_are_there {
        let why = if !is_file(output) {
            "it was not written to a file"
        } else {
            not_read.unwrap_or("no file was given for it, or found")
        };
        report.unchecked(format!("{}: the output {file} ({module}): {why}", metadata.name()));
    } else if metadata.results() > 0 || output.header_row {
        report.fault(Kind::MissingFile, || file.clone(), || metadata.name());
    }
}

/// Why no files of this format are read; `None` if they are.
fn not_read(module: &str) -> Option<&'static str> {
    match module {
        "pcap" => Some("frames are not read"),
        "xml" | "grepable" | "list" | "masscan-json" => Some("forms of nmap and masscan are not read"),
        "zgrab2" => Some("lines for zgrab2 are not read"),
        _ => None,
    }
}

/// The targets of a scan. What its lists were and are is checked on the way.
fn targets(metadata: &Metadata, report: &mut Report) -> Result<Allowed, String> {
    let name = || metadata.name();
    if metadata.lists.is_none() {
        report.unchecked(format!("{}: an older xdpmap wrote it, without the hashes of lists", name()));
    }
    let mut hosts_are_same = true;
    let single = hosts(metadata);
    for list in metadata.lists.iter().flatten() {
        let found = compare(metadata, list);
        if single.is_some_and(|(hosts, _)| hosts == list) && found != Found::Same {
            hosts_are_same = false;
        }
        match found {
            Found::Same => {}
            Found::Changed(what) => report.fault(Kind::ChangedList, || what, name),
            Found::Unknown(why) => report.unchecked(why),
        }
    }
    let used = single.map(|(_, hosts)| hosts).filter(|_| hosts_are_same);
    let allowed = Allowed::of(metadata, used).map_err(|what| format!("{}: {what}", name()))?;
    if !allowed.is_exact {
        let what = "whether results are of hosts of its list, which is not there as it was; only its networks and ports";
        report.unchecked(format!("{}: {what}", name()));
        return Ok(allowed);
    }
    if allowed.order_hash(metadata.seed).as_ref() != Some(&metadata.targets_hash) {
        report.fault(Kind::OtherTargets, || format!("targets_hash is {}", metadata.targets_hash), name);
    }
    Ok(allowed)
}

/// The check of an output's results.
struct Check<'a> {
    metadata: &'a Metadata,
    allowed: &'a Allowed,
    /// The targets that have a result, in all scans.
    seen: &'a mut Dedup,
    /// Between which times results came.
    run: Option<(Timestamp, Timestamp)>,
    /// Whether probes have ports.
    has_ports: bool,
    /// Whether the column `saddr` of every result is its target.
    saddr_is_target: bool,
    /// Whether the column `sport` of a result is the probed port.
    sport_is_target: bool,
    successes_only: bool,
    /// Whether a target's second success was found to be one.
    finds_repeats: bool,
    /// Results of which the target is not known.
    without_target: u64,
    /// Results of networks that were left out while the scan ran.
    late: u64,
}

impl<'a> Check<'a> {
    fn new(metadata: &'a Metadata, allowed: &'a Allowed, output: &OutputFile, seen: &'a mut Dedup) -> Self {
        let module = metadata.module();
        let saddr = module.and_then(|module| module.fields.find("saddr"));
        let run = metadata
            .run_time()
            .and_then(|(start, end)| Some((start.checked_sub(CLOCK).ok()?, end.checked_add(CLOCK).ok()?)));
        Self {
            metadata,
            allowed,
            seen,
            run,
            has_ports: module.is_none_or(ModuleInfo::has_ports),
            saddr_is_target: output.module == "hostport"
                || saddr.is_some_and(|saddr| !is_of_responder(saddr)),
            sport_is_target: output.module == "hostport" || metadata.source_port_validated == Some(true),
            successes_only: metadata.has_successes_only(),
            finds_repeats: metadata.deduplication_method == "full" && metadata.deduplicated_by_window == 0,
            without_target: 0,
            late: 0,
        }
    }

    /// Checks the files of an output.
    fn files(&mut self, stored: &Stored, output: &OutputFile, report: &mut Report) -> Result<(), String> {
        let mut results = 0;
        let mut is_whole = true;
        for path in &stored.files {
            let file = StoredFile::open(path, output.fields.as_deref())?;
            self.tell_what_is_not_checked(&file, report);
            let end = file.read(&WANTED, &mut |item| {
                match item {
                    Item::Header(_) => {}
                    Item::Row(row) => self.row(&row, &file.name, report),
                    Item::Bad { line, what } => {
                        report.fault(Kind::BadRow, || what, || place(&file.name, line));
                    }
                }
                Ok(())
            });
            let end = end.map_err(|error: io::Error| error.to_string())?;
            results += end.rows;
            report.files += 1;
            if let Some(why) = end.cut {
                is_whole = false;
                report.fault(Kind::CutFile, || why, || file.name.clone());
            }
        }
        report.results += results;
        self.count(results, output, stored, report);
        if self.without_target > 0 && is_whole {
            let count = self.without_target;
            report.unchecked(format!(
                "the targets of {}, which their columns do not tell",
                counted(count, "result")
            ));
        }
        if self.late > 0 {
            report.unchecked(format!(
                "whether {} {} older than the exclusion of their networks, which was made while the scan ran",
                counted(self.late, "result"),
                are(self.late)
            ));
        }
        Ok(())
    }

    /// Compares the number of results with what was written.
    fn count(&self, results: u64, output: &OutputFile, stored: &Stored, report: &mut Report) {
        let written = self.metadata.results();
        let has_several = outputs(self.metadata).len() > 1;
        // Only of a single output is known which results it has lost.
        let least = if has_several { written.saturating_sub(self.metadata.output_lost) } else { written };
        let is_right = results >= least && (results <= written || output.appended);
        if !is_right {
            let first = stored.files.first().map(printable).unwrap_or_default();
            report.fault(
                Kind::WrongCount,
                || format!("{}, and {written} {} written", counted(results, "result"), were(written)),
                || first,
            );
        }
        if output.appended {
            report.unchecked(format!("the number of results in {}: they follow others", output.file));
        }
    }

    fn tell_what_is_not_checked(&self, file: &StoredFile, report: &mut Report) {
        let has = |column: &str| file.may_have(column);
        let name = &file.name;
        if !has("target") && !has("saddr") {
            report.unchecked_in(name, "the targets: there is no column saddr or target");
        }
        let has_port = has("target_port") || has("sport") && self.sport_is_target;
        if self.has_ports && !has_port {
            report.unchecked_in(name, "the ports: no column has the port that was probed");
        }
        if !["timestamp", "timestamp_ts", "timestamp_str"].into_iter().any(has) {
            report
                .unchecked_in(name, "the times: there is no column timestamp, timestamp_ts or timestamp_str");
        } else if self.run.is_none() {
            report.unchecked_in(name, "the times: the metadata do not say when the scan ran");
        }
        if !self.finds_repeats {
            let method = &self.metadata.deduplication_method;
            report
                .unchecked_in(name, format!("repeats: the scan did not find all of them (method {method})"));
        } else if !(self.successes_only || has("success") && has("repeat")) {
            report.unchecked_in(name, "repeats: there are no columns success and repeat");
        } else if self.allowed.has_several_ports() && !has_port {
            report.unchecked_in(name, "repeats: several ports were scanned, and no column has them");
        }
    }

    fn row(&mut self, row: &Row<'_>, name: &str, report: &mut Report) {
        let [target, saddr, target_port, sport, success, repeat, ..] = row.cells else { return };
        let at = || place(name, row.line);
        let is_success = self.successes_only || success.as_deref().is_some_and(is_true);
        self.time(row, report, at);
        // A success comes from the target itself.
        let of_saddr = saddr.as_ref().filter(|_| self.saddr_is_target || is_success);
        let Some(text) = target.as_ref().or(of_saddr) else {
            self.without_target += 1;
            return;
        };
        let of_sport = sport.as_ref().filter(|_| self.sport_is_target);
        let port_text = target_port.as_ref().or(of_sport).filter(|_| self.has_ports);
        let port = port_text.map(|port| port.parse::<u16>());
        let (Some(host), Ok(port)) = (address(text), port.transpose()) else {
            let what = || format!("'{}' is not the target of a result", text.escape_debug());
            return report.fault(Kind::BadRow, what, at);
        };
        let shown = || port.map_or_else(|| host.to_string(), |port| format!("{host}:{port}"));
        if !self.allowed.holds(host.to_bits(), port) {
            report.fault(Kind::ForeignAddress, shown, at);
        } else if self.allowed.is_late(host.to_bits()) {
            self.late += 1;
        }
        let is_first =
            self.successes_only || is_success && repeat.as_deref().is_some_and(|cell| !is_true(cell));
        if self.finds_repeats && is_first && self.is_repeat(host, port) {
            report.fault(Kind::Repeat, shown, at);
        }
    }

    /// Whether the target has a result already.
    fn is_repeat(&mut self, host: Ipv4Addr, port: Option<u16>) -> bool {
        match (self.allowed.has_several_ports(), port) {
            (true, None) => false,
            (true, Some(port)) => self.seen.see(host, port),
            (false, _) => self.seen.see(host, 0),
        }
    }

    fn time(&self, row: &Row<'_>, report: &mut Report, at: impl FnOnce() -> String) {
        let [.., seconds, micros, text, utc] = row.cells else { return };
        let Some((start, end)) = self.run else { return };
        let told = match (seconds, utc, text) {
            (_, Some(utc), _) => utc.parse().ok(),
            (Some(seconds), None, _) => {
                let micros = micros.as_ref().map_or(Ok(0), |micros| micros.parse::<i32>());
                let nanos = micros.ok().and_then(|micros| micros.checked_mul(1_000));
                let time = seconds.parse().ok().zip(nanos);
                time.and_then(|(seconds, nanos)| Timestamp::new(seconds, nanos).ok())
            }
            (None, None, Some(text)) => time(text),
            (None, None, None) => return,
        };
        match told {
            Some(time) if time >= start && time <= end => {}
            Some(time) => report.fault(Kind::OutsideTheRun, || time.to_string(), at),
            None => report.fault(Kind::BadRow, || "its time is not understood".to_owned(), at),
        }
    }
}
