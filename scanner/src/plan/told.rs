//! A plan in words: what `--plan` prints, and what the log says before a scan.
//!
//! What always holds: nothing is sent, opened or changed for it.

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use clap::ValueEnum as _;
use clap::builder::PossibleValue;
use wire::packet::{LinkHeader, MacAddr, VlanTags};

use super::{
    Blocklist, ControlPlace, DEFAULT_BLOCKLIST, LimitPlan, NetworkPlan, Plan, ProbePlan, TargetPlan,
};
use crate::cli::IoMode;
use crate::engine::Hop;
use crate::printable::printable;
use crate::privileges::{self, SETCAP};
use crate::probe::attribution::Uri;
use crate::probe::{Carried, Probe, Visitor};
use crate::report::number::Remaining;
use crate::results::sink::SinkConfig;
use crate::units::{are, counted, grouped, noun, several};

/// Width of the first column.
const LABEL_LEN: usize = 12;
/// Most targets of the command line, source addresses or networks that are named. More would hide the rest.
const NAMED_MAX: usize = 8;
/// Most reasons of a block list that are named. More would hide the rest of the plan; the metadata name more.
const REASONS_MAX: usize = 8;
/// Most source addresses that a line of the log names.
const SOURCES_MAX: usize = 4;

/// A line of a plan: what it is about, and what is decided.
type Row = (&'static str, String);

impl Plan {
    /// All decisions, in a line each.
    pub fn outline(&self) -> String {
        let rows = [
            self.targets.rows(),
            self.report.task.iter().map(|task| ("batch task", task.to_string())).collect(),
            self.probe_rows(),
            self.time_rows(),
            self.network_rows(),
            self.output_rows(),
            self.report_rows(),
            self.start_rows(),
        ];
        let (mut text, mut above) = (String::new(), "");
        for (label, what) in rows.into_iter().flatten() {
            let shown = if label == above { "" } else { label };
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{shown:LABEL_LEN$}{what}");
            above = label;
        }
        text + "\nThis is the plan alone: nothing was sent, and no file was changed.\n"
    }

    /// How long the scan will take and how much of the link its probes fill, if its rate is limited.
    pub fn duration_told(&self) -> Option<String> {
        let (limits, probes) = (&self.limits, self.expected_probes());
        if limits.rate_pps == 0.0 {
            return None;
        }
        // The last target waits for its second probe.
        let gap = self.second.filter(|_| !self.dryrun).map_or(Duration::ZERO, |second| second.gap);
        let first = self.targets.expected() as f64 / limits.rate_pps;
        let needed = Duration::from_secs_f64((probes / limits.rate_pps).max(first + gap.as_secs_f64()));
        let sending = limits.max_runtime.map_or(needed, |limit| limit.min(needed));
        let mbps = 8.0 * self.probe_wire_len() as f64 * limits.rate_pps / 1e6;
        Some(format!(
            "sending takes {} or longer, at {mbps:.2} Mbit/s on the wire; then {} for late replies",
            Remaining { seconds: sending.as_secs_f64().ceil() as u64 },
            Remaining { seconds: limits.cooldown.as_secs() },
        ))
    }

    fn probe_rows(&self) -> Vec<Row> {
        let probe = &self.probe;
        let is_second_for_all = self.second.is_some_and(|second| second.is_for_all);
        let probes = probe.copies.probes() + u32::from(is_second_for_all);
        let module = probe.module.info().name;
        let args = probe.args.as_ref().map_or_else(String::new, |args| format!(" ({args})"));
        let (first, last) =
            (probe.source_ports.first, u32::from(probe.source_ports.first) + probe.source_ports.count - 1);
        let len = self.probe_wire_len();
        let mut rows = vec![
            (
                "probe",
                format!(
                    "{module}{args}: {} to each target, TTL {}",
                    several(probes.into(), "probe"),
                    probe.ttl
                ),
            ),
            ("", format!("{} bytes on the wire at most, from ports {first}-{last}", grouped(len as u64))),
            ("replies", format!("must repeat {}", probe.proof())),
        ];
        if probe.may_reset() {
            rows.push(("", "a SYN-ACK is answered by a RST".to_owned()));
        }
        rows.extend(probe.attributed().map(|(uri, carried)| ("attribution", told_of_uri(uri, carried))));
        rows
    }

    fn time_rows(&self) -> Vec<Row> {
        let limits = &self.limits;
        let rate = limits.rate_told(self.probe.may_reset());
        let cooldown = Remaining { seconds: limits.cooldown.as_secs() };
        let mut rows = vec![
            ("rate", rate.unwrap_or_else(|| "no limit: as fast as the interface accepts probes".to_owned())),
            (
                "time",
                self.duration_told()
                    .unwrap_or_else(|| format!("not known without a rate; then {cooldown} for late replies")),
            ),
        ];
        rows.extend(self.loads.iter().map(|load| ("load", load.told())));
        rows.extend(self.second.map(|second| ("second", second.told())));
        rows.extend(self.canaries.told().map(|canaries| ("canaries", canaries)));
        rows.extend(limits.ends().into_iter().map(|end| ("ends", end)));
        rows
    }

    fn network_rows(&self) -> Vec<Row> {
        let lines = self.networks().flat_map(NetworkPlan::told);
        let mut rows: Vec<Row> = lines.map(|line| ("interface", line)).collect();
        if self.networks().all(|network| network.interface.is_none()) {
            let what = "not known: there is no default route, and no -i".to_owned();
            rows.push(("interface", what));
        }
        for network in self.networks() {
            rows.extend(network.no_xdp.map(|why| ("", format!("over AF_PACKET: {why}"))));
            if let Some(on_link) = &network.on_link {
                let (count, rate) = (on_link.targets.len(), on_link.rate_pps);
                let (targets, are) = (several(count, "target"), are(count));
                rows.push(("", format!("{targets} {are} looked up by ARP, at most {rate} per second")));
            }
        }
        rows.extend(
            self.replies
                .iter()
                .map(|replies| ("", format!("replies are received on {} as well", replies.name))),
        );
        let workers = &self.workers;
        let mode = workers.io_mode.to_possible_value();
        let mode = mode.as_ref().map_or("", PossibleValue::get_name);
        let best = if workers.io_mode == IoMode::Auto {
            ": the best that is available (`xdpmap doctor` says which)"
        } else {
            ""
        };
        let cores: Vec<String> = workers.cores.iter().map(ToString::to_string).collect();
        rows.push(("mode", format!("{mode}{best}")));
        rows.push((
            "workers",
            format!(
                "{} on {} {}, {}",
                workers.count,
                noun(cores.len() as u64, "core"),
                cores.join(","),
                several(workers.queues.into(), "RX queue"),
            ),
        ));
        let polls = workers
            .busy_poll
            .map(|budget| format!("busy polling, {} at a time", counted(budget.into(), "packet")));
        let steers = self.steer.then(|| "the NIC's RSS table is set, and restored at the end".to_owned());
        let drops = workers
            .drop_invalid
            .then(|| "packets to the scan's ports that are no replies are dropped".to_owned());
        let open = (!self.sandbox).then(|| "without a sandbox".to_owned());
        rows.extend([polls, steers, drops, open].into_iter().flatten().map(|what| ("", what)));
        rows
    }

    fn output_rows(&self) -> Vec<Row> {
        let output = &self.output;
        let mut rows: Vec<Row> = output.sinks.iter().map(|sink| ("results", told_of(sink))).collect();
        let which = output.included().unwrap_or_else(|| "successes, each once".to_owned());
        rows.push((
            "written",
            format!("{which}; repeats are recognised by the method {}", output.dedup.name()),
        ));
        rows.extend(
            output.probes_file.iter().map(|file| ("probes", format!("copied to {}", printable(file)))),
        );
        rows
    }

    fn report_rows(&self) -> Vec<Row> {
        let (report, output) = (&self.report, &self.output);
        let none = || "none".to_owned();
        let log = match (&report.log_file, &report.log_directory) {
            (Some(file), _) => format!("appended to {file}"),
            (None, Some(folder)) => format!("a new file in {folder}"),
            (None, None) => "standard error".to_owned(),
        };
        let syslog = if report.syslog { ", and the system's log" } else { "" };
        let status = match (&report.status_file, output.status_line) {
            (Some((file, _)), true) => format!("a line per second, and {}", printable(file)),
            (Some((file, _)), false) => printable(file),
            (None, true) => "a line per second".to_owned(),
            (None, false) => none(),
        };
        let checkpoint = self.checkpoint.as_ref().map(|checkpoint| {
            format!("{}, every {} s", printable(&checkpoint.file), checkpoint.interval.as_secs_f64())
        });
        let control = match &report.control {
            ControlPlace::Default => "a socket in the runtime folder".to_owned(),
            ControlPlace::Named(path) => printable(path),
            ControlPlace::None => none(),
        };
        vec![
            ("metadata", output.metadata_file.as_ref().map_or_else(none, printable)),
            ("checkpoint", checkpoint.unwrap_or_else(none)),
            ("log", format!("{log}{syslog}, level {}", output.verbosity)),
            ("status", status),
            ("metrics", report.metrics.told().unwrap_or_else(none)),
            ("control", control),
        ]
    }

    /// Whether it could start now.
    fn start_rows(&self) -> Vec<Row> {
        let needs_one = self.workers.io_mode == IoMode::Packet;
        let missing = privileges::missing().unwrap_or_default();
        let missing = missing.iter().filter(|need| !needs_one || need.name == "CAP_NET_RAW");
        let missing: Vec<&str> = missing.map(|need| need.name).collect();
        let privileges = match missing.is_empty() {
            true => "all that the scan needs".to_owned(),
            false => {
                format!("missing: {}; run the scan as root, or `setcap {SETCAP} FILE`", missing.join(", "))
            }
        };
        let obstacle =
            self.obstacle.iter().map(|why| ("obstacle", format!("the scan could not start now: {why}")));
        [("privileges", privileges)].into_iter().chain(obstacle).collect()
    }
}

impl TargetPlan {
    fn rows(&self) -> Vec<Row> {
        let (space, expected) = (&self.space, self.expected());
        let addresses = several(space.addresses().len(), "address");
        let what = match space.is_list_of_pairs() {
            true => format!("pairs of {addresses} with a port"),
            false => format!("{addresses} x {}", several(space.ports().len().into(), "port")),
        };
        let share = match expected == space.len() {
            true => grouped(expected),
            false => format!("{} of {}", grouped(expected), grouped(space.len())),
        };
        let mut rows = vec![("targets", format!("{share} ({what})"))];
        rows.extend(self.sources().into_iter().map(|source| ("from", source)));
        if !space.is_list_of_pairs() && space.ports().as_slice() != [0] {
            rows.push(("ports", space.ports().to_string()));
        }
        let is_resumed = self.open != [self.arc];
        let seed = match self.seed_given || is_resumed {
            true => format!("seed {}", self.permutation.seed()),
            false => "random, another one in each scan (no --seed)".to_owned(),
        };
        rows.push(("order", format!("{seed}; shard {} of {}", self.shard, self.shards)));
        rows.extend(self.exclusions().into_iter().map(|what| ("excluded", what)));
        rows
    }

    /// What targets are chosen from.
    fn sources(&self) -> Vec<String> {
        let mut sources = Vec::new();
        if !self.typed.is_empty() {
            let more = self.typed.len().saturating_sub(NAMED_MAX);
            let more = if more > 0 { format!(" and {} more", grouped(more as u64)) } else { String::new() };
            let named: Vec<&str> = self.typed.iter().take(NAMED_MAX).map(String::as_str).collect();
            sources.push(format!("{}{more}", named.join(" ")));
        }
        sources.extend(self.allowlist_file.as_ref().map(|file| format!("allow list {file}")));
        sources.extend(self.hosts.as_ref().map(|hosts| {
            format!(
                "{}: {}; {} {} left out by other lists or reserved",
                hosts.file,
                several(hosts.distinct, "different target"),
                grouped(hosts.left_out),
                are(hosts.left_out)
            )
        }));
        if self.is_whole_internet() {
            sources.push("all of IPv4".to_owned());
        }
        sources
    }

    /// What is never probed.
    fn exclusions(&self) -> Vec<String> {
        let list = |list: &Blocklist| {
            let (entries, addresses) = (several(list.entries, "entry"), several(list.addresses, "address"));
            let reasons = list.reasons.told(REASONS_MAX).into_iter().map(|line| format!("  {line}"));
            std::iter::once(format!("{}: {entries}, {addresses}", list.name())).chain(reasons)
        };
        let mut exclusions: Vec<String> = self.blocklists.iter().flat_map(list).collect();
        if exclusions.is_empty() {
            exclusions
                .push(format!("no block list: there is no {DEFAULT_BLOCKLIST}, no -b and no --exclude"));
        }
        let since = self.withdrawn.len();
        if since > 0 {
            exclusions.push(format!("{} since the scan was started", several(since, "address")));
        }
        exclusions.push(format!("reserved networks: {}", several(self.floor.len(), "address")));
        exclusions
    }
}

impl ProbePlan {
    /// Whether its replies may be answered by a RST.
    fn may_reset(&self) -> bool {
        struct MayReset;
        impl Visitor for MayReset {
            type Output = bool;
            fn visit<P: Probe>(self, probes: &[P]) -> bool {
                probes.iter().any(|probe| probe.reset_template().is_some())
            }
        }
        self.module.visit(&[self.settings(&[], [MacAddr([0; 6]); 2], VlanTags::default(), 0)], MayReset)
    }
}

impl LimitPlan {
    /// What ends the scan before its last target.
    fn ends(&self) -> Vec<String> {
        let runtime =
            self.max_runtime.map(|limit| format!("after {}", Remaining { seconds: limit.as_secs() }));
        let results = self.max_results.map(|most| format!("after {}", several(most.get(), "result")));
        let failures = self
            .max_send_failures
            .map(|most| format!("after more than {most} refusals by the kernel to send"));
        let hitrate = (self.min_hitrate_percent > 0.0)
            .then(|| format!("if fewer than {} % of the targets answer", self.min_hitrate_percent));
        [runtime, results, failures, hitrate].into_iter().flatten().collect()
    }
}

impl NetworkPlan {
    /// The interface and its gateways, in lines; none if there is no interface.
    pub fn told(&self) -> Vec<String> {
        let Some(interface) = &self.interface else { return Vec::new() };
        let mut lines = Vec::new();
        if let Some(parent) = &self.parent {
            lines.push(format!("{} is VLAN {} of {}", interface.name, self.tags, parent.name));
        }
        if !interface.other_names.is_empty() {
            lines.push(format!("{} is also called {}", interface.name, interface.other_names.join(", ")));
        }
        let sources: Vec<String> = self.sources.iter().take(SOURCES_MAX).map(ToString::to_string).collect();
        lines.push(format!("{} from {} {}", interface.name, sources.join(","), self.way()));
        let by_own_route = self.networks.iter().filter_map(|(range, hop)| match hop {
            Hop::Gateway(number) => Some((range, self.other_gateways.get(number - 1)?)),
            _ => None,
        });
        for (range, (ip, mac)) in by_own_route.clone().take(NAMED_MAX) {
            lines.push(format!("targets in {range} have another route, to gateway {mac} ({ip})"));
        }
        let more = by_own_route.count().saturating_sub(NAMED_MAX);
        if more > 0 {
            lines.push(format!("targets in {more} more networks have other routes"));
        }
        lines
    }

    /// Where most of its frames go.
    fn way(&self) -> String {
        let is_open = self.gateway_resolved && self.gateway_mac == MacAddr::default();
        match (self.link, self.gateway_ip, &self.on_link) {
            (LinkHeader::Bare, ..) => "as bare IP packets".to_owned(),
            (_, Some(ip), _) if is_open => {
                format!("to gateway {ip}, whose MAC address is looked up at the start")
            }
            (_, Some(ip), _) => format!("to gateway {} ({ip})", self.gateway_mac),
            (_, None, Some(_)) => "to its own network".to_owned(),
            (_, None, None) if is_open => "without a route to the targets".to_owned(),
            (_, None, None) => format!("to gateway {} (as given)", self.gateway_mac),
        }
    }
}

/// A URI, and where it is.
fn told_of_uri(uri: &Uri, carried: Carried) -> String {
    match carried {
        Carried::All => format!("{uri} in each probe and in the metadata"),
        Carried::Some => format!("{uri} in probes to ports without a ready payload, and in the metadata"),
        Carried::None(_) => format!("{uri} in the metadata only"),
    }
}

/// An output, and what becomes of what is there.
fn told_of(sink: &SinkConfig) -> String {
    let place = if sink.file.as_os_str() == "-" && sink.redis.is_none() {
        "standard output".to_owned()
    } else {
        sink.place()
    };
    let names: Vec<&str> = sink.fields.fields().iter().map(|field| field.name).collect();
    let fields = if sink.has_fields() { format!(": {}", names.join(",")) } else { String::new() };
    let series = if sink.rotation.is_on() { "; a series of files" } else { "" };
    let is_there = || !sink.is_stream() && fs::metadata(&sink.file).is_ok();
    let interim = sink
        .interim()
        .map_or_else(String::new, |_| ", with .part behind its name until the scan is whole".to_owned());
    let parted = sink.partitions.map_or_else(String::new, |partitions| {
        format!(" in {0}=..., a folder for each {0}", partitions.by.column())
    });
    let there = match (&sink.resume_at, sink.append) {
        (_, false) if sink.partitions.is_some() => "",
        (Some(_), _) => "; results follow those that are there",
        (None, true) if is_there() => "; appended to what is there",
        (None, false) if is_there() => "; the file is there, and is replaced",
        _ => "",
    };
    format!("{place} as {}{parted}{fields}{series}{interim}{there}", sink.module)
}
