//! The log lines about a scan before its first packet and after its end.

use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::Duration;

use tracing::{error, info, warn};

use super::ending;
use super::finished::Finished;
use crate::ledger::{Level, OutputTrouble, Remark};
use crate::lists::name;
use crate::plan::{NetworkPlan, Plan};
use crate::report::canaries;
use crate::report::number::number_string;
use crate::results::output::{OutputError, has_room};
use crate::units::{are, counted, several, were};

/// Logs what will be scanned, and how.
pub(super) fn announce(plan: &Plan, may_reset: bool) {
    for warning in &plan.warnings {
        warn!(target: "plan", "{warning}");
    }
    let targets = &plan.targets;
    for list in &targets.blocklists {
        let (name, entries, addresses) = (list.name(), list.entries, list.addresses);
        let (entries, addresses) = (counted(entries, "entry"), counted(addresses, "address"));
        info!(target: "plan", "block list {name}: {entries}, {addresses}");
    }
    if let Some(hosts) = &targets.hosts {
        info!(
            target: "plan",
            "{}: {} and {}; {} {} left out by other lists or reserved",
            name(Path::new(&hosts.file)),
            counted(hosts.distinct, "different target"),
            counted(hosts.duplicates, "duplicate"),
            hosts.left_out,
            are(hosts.left_out),
        );
    }
    info!(
        target: "plan",
        "{} of {} {} {}, shard {} of {}, seed {}",
        several(targets.expected(), "target"),
        several(targets.space.addresses().len(), "address"),
        if targets.space.is_list_of_pairs() { "with" } else { "x" },
        counted(targets.space.ports().len().into(), "port"),
        targets.shard,
        targets.shards,
        targets.permutation.seed(),
    );
    if let Some(rate) = plan.limits.rate_told(may_reset) {
        info!(target: "plan", "{rate}");
    }
    if let Some(duration) = plan.duration_told().filter(|_| !plan.dryrun) {
        info!(target: "plan", "{duration}");
        plan.loads.iter().for_each(|load| info!(target: "plan", "{}", load.told()));
    }
    if let Some(second) = plan.second {
        info!(target: "plan", "second probes: {}", second.told());
    }
    if let Some(canaries) = plan.canaries.told() {
        info!(target: "plan", "canaries: {canaries}");
    }
    info!(target: "plan", "a reply must repeat {}", plan.probe.proof());
    if let Some(what) = plan.output.included() {
        info!(target: "output", "writing {what}");
    }
    if !plan.dryrun {
        let lines = plan.networks().flat_map(NetworkPlan::told);
        lines.for_each(|line| info!(target: "network", "{line}"));
    }
}

/// Logs the outcome of the scan.
pub(super) fn conclude(finished: &Finished<'_>) {
    let total = finished.end.total();
    let results = &finished.outputs.collected.counts;
    info!(
        target: "summary",
        "{}: {}, {} {} in {:.2} s; {}, {}, {} written",
        finished.end.reason.name(),
        counted(total.targets, "target"),
        counted(total.port.probes_sent, "probe"),
        if finished.plan.dryrun { "printed and none sent" } else { "sent" },
        finished.end.send_elapsed.as_secs_f64(),
        counted(total.replies(), "reply"),
        counted(results.success_unique, "distinct success"),
        counted(results.written, "result"),
    );
    if let Some(estimates) = &finished.estimates {
        info!(target: "summary", "{estimates}");
    }
    tell_times(finished, total.port.probes_sent);
    if results.deduplicated_by_window > 0 {
        warn!(
            target: "summary",
            "{} came when the table of repeats was full, so that repeats may be among the results: --dedup-memory \
             allows a larger table, and --dedup-window-size a larger window beside it",
            counted(results.deduplicated_by_window, "success")
        );
    }
    if results.past_ports > 0 {
        let most = finished.plan.output.max_ports_per_host.unwrap_or_default();
        info!(
            target: "summary",
            "{} of {} {} left out, because those had {} before (--max-ports-per-host)",
            counted(results.past_ports, "answer"),
            counted(results.hosts_past_ports, "host"),
            are(results.past_ports),
            counted(most.into(), "open port")
        );
    }
    let polls = finished.plan.workers.busy_poll.is_some();
    let unpolled = finished.end.sockets().filter(|(_, _, socket)| {
        let counts = socket.counts;
        counts.received > 0 && !counts.has_napi
    });
    let unpolled = unpolled.filter(|_| polls).count();
    if unpolled > 0 {
        warn!(
            target: "summary",
            "--busy-poll: {} {} not polled, because the kernel did not know which queue to poll",
            counted(unpolled as u64, "socket"),
            were(unpolled as u64)
        );
    }
    tell_losses(finished);
    if let Some(loss) = canaries::Loss::of(finished.end.canaries.total(), finished.lost_here()) {
        match loss.is_significant() {
            true => warn!(target: "summary", "{}", loss.told()),
            false => info!(target: "summary", "{}", loss.told()),
        }
    }
}

/// Logs how fast probes left, how late they were, how long replies took, and what CPU time that took.
fn tell_times(finished: &Finished<'_>, sent: u64) {
    let end = &finished.end;
    let sending = end.send_elapsed.saturating_sub(end.still).as_secs_f64();
    if finished.plan.dryrun || sent == 0 || sending == 0.0 {
        return;
    }
    let mut said = vec![format!("{}p/s on average", number_string((sent as f64 / sending) as u64))];
    if end.still > Duration::ZERO {
        said.push(format!("without {:.1} s of pauses", end.still.as_secs_f64()));
    }
    if let Some(late) = end.lateness.percentiles() {
        let [half, most] = [late.p50, late.p99].map(|ns| short(Duration::from_nanos(ns)));
        said.push(format!("half of the probes within {half} of their time, 99 % within {most}"));
    }
    if let Some(rtt) = finished.outputs.collected.rtt.percentiles() {
        let [half, most] = [rtt.p50, rtt.p99].map(|us| short(Duration::from_micros(us)));
        said.push(format!("round-trip times: median {half}, 99 % within {most}"));
    }
    info!(target: "summary", "{}", said.join("; "));
    // The machine's time is counted in hundredths of a second.
    if sent < 1_000 {
        return;
    }
    let million = 1e6 / sent as f64;
    let own = finished.cpu.process.as_secs_f64() * million;
    let machine = finished.cpu.machine.map(|machine| {
        let [all, softirq] = [machine.total, machine.softirq].map(|time| time.as_secs_f64() * million);
        format!(
            ", {all:.2} s of the whole machine with all of its programs ({softirq:.2} s in soft interrupts)"
        )
    });
    info!(
        target: "summary",
        "CPU time of a million probes: {own:.2} s of the scan{}", machine.unwrap_or_default()
    );
}

/// A duration with two or three digits and its unit.
fn short(duration: Duration) -> String {
    match duration.as_nanos() as f64 {
        ns @ ..1e3 => format!("{ns:.0} ns"),
        ns @ ..1e4 => format!("{:.1} us", ns / 1e3),
        ns @ ..1e6 => format!("{:.0} us", ns / 1e3),
        ns @ ..1e7 => format!("{:.1} ms", ns / 1e6),
        ns @ ..1e9 => format!("{:.0} ms", ns / 1e6),
        ns => format!("{:.1} s", ns / 1e9),
    }
}

/// Logs what was lost or left out, and prints the ledger if requested.
fn tell_losses(finished: &Finished<'_>) {
    let collected = &finished.outputs.collected;
    let why = collected.output.as_ref().err().map(ToString::to_string);
    let trouble = why.as_deref().map(|why| OutputTrouble {
        why,
        has_reader_gone: matches!(collected.output, Err(OutputError::BrokenPipe { .. })),
        lost: collected.counts.output_lost,
    });
    for Remark { level, text } in finished.ledger.remarks(trouble) {
        match level {
            Level::Info => info!(target: "summary", "{text}"),
            Level::Warning => warn!(target: "summary", "{text}"),
            Level::Error => error!(target: "summary", "{text}"),
        }
    }
    ending::tell_unnamed(finished.plan, collected);
    for fault in finished.ledger.faults() {
        error!(
            target: "summary",
            "the ledger does not add up ({fault}): this is a fault of xdpmap; please report it with the metadata"
        );
    }
    // A terminal or pager that is paused does not delay the end.
    if finished.plan.report.ledger && has_room(std::io::stderr().as_fd()) {
        let _ = std::io::stderr().write_all(finished.ledger.to_string().as_bytes());
    }
}
