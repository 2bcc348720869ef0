//! The last keys: the accounting, in which every packet and target appears.

use serde::Serialize;
use targets::{Cursor, Interval, merged};
use wire::packet::BATCH_MAX;

use super::facts::Facts;
use super::parts::{LinkOutage, ListChange, Socket, Worker};
use super::rate::RateAuto;
use super::values::{NamedCounts, Time, name_of, shown};
use crate::checkpoint::BlocklistChange;
use crate::engine::{WorkerReport, cores};
use crate::estimate::Estimates;
use crate::exit::Exit;
use crate::ledger::StoredLedger;
use crate::plan::Plan;
use crate::report::canaries::StoredCanaries;
use crate::survey::error::output_text;
use crate::survey::finished::Finished;
use crate::survey::watch::Outage;

/// What became of every packet and target.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Books {
    /// Workers, with each one's counters.
    pub(super) workers: Vec<Worker>,
    /// AF_XDP sockets, with the kernel's counters for each.
    pub(super) sockets: Vec<Socket>,
    /// The workers' counters added up.
    pub(super) counters: NamedCounts,
    /// The verdicts of the XDP program, by name.
    pub(super) xdp_counters: NamedCounts,
    /// What became of every target, probe, frame and reply.
    pub(super) ledger: StoredLedger,
    /// What became of canaries; absent if there were none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) canaries: Option<StoredCanaries>,
    /// Targets that get a second probe some time after the first, in percent; absent if none does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) recheck_percent: Option<f64>,
    /// How long after the first probe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) probe_gap_seconds: Option<f64>,
    /// The exponents whose second probes were not sent, or may have been lost, as in `intervals_left`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) second_intervals_left: Vec<[u64; 2]>,
    /// What is estimated of what was not seen; absent in a dry run, and if repeats were not recognised.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) estimates: Option<Estimates>,
    /// Valid replies that the XDP program redirected, but that did not reach a socket. No other counter contains them.
    pub(super) replies_vanished: u64,
    /// Frames of any program that the interface dropped on transmission, including refused probes and resets.
    pub(super) interface_tx_dropped: u64,
    /// Results that an output did not accept, added up over the outputs: its reader closed the pipe, it stopped
    /// accepting, or it failed. Unread data in a pipe counts as accepted.
    pub(super) output_lost: u64,
    /// Why an output did not accept all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) output_error: Option<String>,
    /// Most bytes that the table of repeats may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) deduplication_memory: Option<u64>,
    /// Successes whose repeats were looked up in the window, because that table was full.
    pub(super) deduplicated_by_window: u64,
    /// How often the rate was changed while the scan ran, by signals and commands.
    pub(super) rate_changes: u64,
    /// Probes per second at the end, if the rate was changed; 0: not limited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rate_last: Option<f64>,
    /// How the rate was found (`--rate auto`); absent if it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rate_auto: Option<RateAuto>,
    /// Changes of the block list while the scan ran.
    pub(super) blocklist_changes: Vec<ListChange>,
    /// When the link was down, or a gateway moved.
    pub(super) link_outages: Vec<LinkOutage>,
    /// Targets that were never probed. 0 where a limit on targets was reached.
    pub(super) targets_left: u64,
    /// Targets that were probed when the link may already have been down, and that were not probed again.
    pub(super) targets_in_doubt: u64,
    /// The exponents of both, as pairs: the first one, and the one after the last.
    pub(super) intervals_left: Vec<[u64; 2]>,
    /// Why the scan ended.
    pub(super) end_reason: String,
    /// Exit code of the process.
    pub(super) exit_code: Exit,
    /// Hash of the targets and their order: equal for all shards of one scan.
    pub(super) targets_hash: String,
    /// Hash of what every run of the scan keeps: targets, their order, probes, and what is written of the answers.
    pub(super) plan_hash: String,
}

impl Books {
    pub(super) fn of(facts: &Facts<'_>) -> Self {
        let Facts { plan, finished, total, .. } = facts;
        let (end, collected, expected) =
            (&finished.end, &finished.outputs.collected, plan.targets.expected());
        let open = end.left.iter().chain(&end.in_doubt).copied().collect();
        let second_open = end.second_left.iter().chain(&end.second_in_doubt).copied().collect();
        Self {
            workers: workers(finished),
            sockets: sockets(finished),
            counters: NamedCounts::from(total),
            xdp_counters: facts.verdicts.iter().copied().collect(),
            ledger: StoredLedger::from(&finished.ledger),
            canaries: plan
                .probe
                .copies
                .has_canaries()
                .then(|| StoredCanaries::of(&end.canaries, plan.canaries.share_ppm, finished.lost_here())),
            recheck_percent: plan.second.map(|second| second.percent()),
            probe_gap_seconds: plan.second.map(|second| second.gap.as_secs_f64()),
            second_intervals_left: pairs(second_open),
            estimates: finished.estimates,
            replies_vanished: finished.ledger.count("sockets", "vanished"),
            interface_tx_dropped: finished.ledger.interfaces.iter().map(|counts| counts.tx_dropped).sum(),
            output_lost: collected.counts.output_lost,
            output_error: collected.output.as_ref().err().map(|error| shown(output_text(error))),
            deduplication_memory: plan.output.dedup.is_exact().then_some(plan.output.dedup_memory),
            deduplicated_by_window: collected.counts.deduplicated_by_window,
            rate_changes: finished.rate.changes,
            rate_last: (finished.rate.changes > 0).then_some(finished.rate.pps),
            rate_auto: finished.rate.governed.as_ref().map(RateAuto::of),
            blocklist_changes: finished.keeper.changes().into_iter().map(list_change).collect(),
            link_outages: finished.outages.iter().map(outage).collect(),
            targets_left: if end.reason.is_whole() {
                0
            } else {
                expected.saturating_sub(total.targets_done())
            },
            targets_in_doubt: end.in_doubt.iter().map(|part| targets_in(plan, *part)).sum(),
            intervals_left: pairs(open),
            end_reason: end.reason.name().to_owned(),
            exit_code: finished.exit_code,
            targets_hash: plan.targets.order_hash.to_string(),
            plan_hash: plan.kept.hash().to_owned(),
        }
    }
}

/// Intervals as pairs, each exponent once.
fn pairs(intervals: Vec<Interval>) -> Vec<[u64; 2]> {
    merged(intervals).iter().map(|part| [part.start, part.end]).collect()
}

fn workers(finished: &Finished<'_>) -> Vec<Worker> {
    let describe = |(number, worker): (usize, &WorkerReport)| Worker {
        worker: number as u32,
        interface: interface_of(finished, worker),
        cpu: Some(worker.placement.core),
        numa_node: cores::node_of(worker.placement.core),
        sender_cpu: worker.placement.sender_core,
        tx_queue: worker.placement.queues.first().copied(),
        rx_queues: worker.placement.queues.clone(),
        counters: NamedCounts::from(&worker.counts),
    };
    finished.end.workers.iter().enumerate().map(describe).collect()
}

/// The interface of a worker, if there are several.
fn interface_of(finished: &Finished<'_>, worker: &WorkerReport) -> Option<String> {
    let several = !finished.plan.other_networks.is_empty();
    finished.plan.networks().nth(worker.interface).filter(|_| several).map(name_of)
}

fn sockets(finished: &Finished<'_>) -> Vec<Socket> {
    let plan = finished.plan;
    let sockets = finished.end.sockets().map(|(worker, queue, socket)| Socket {
        interface: match &plan.replies {
            Some(replies) if socket.is_reply_interface => Some(replies.name.clone()),
            _ => interface_of(finished, worker),
        },
        queue,
        zero_copy: socket.counts.zero_copy,
        busy_polled: plan.workers.busy_poll.map(|_| socket.counts.has_napi),
        received: socket.counts.received,
        rx_dropped: socket.counts.rx_dropped,
        rx_ring_full: socket.counts.rx_ring_full,
        rx_fill_ring_empty: socket.counts.rx_fill_ring_empty,
        tx_invalid_descriptors: socket.counts.tx_invalid_descriptors,
    });
    sockets.collect()
}

fn outage(outage: &Outage) -> LinkOutage {
    LinkOutage {
        interface: outage.interface.clone(),
        reason: if outage.gateway_moved { "gateway-moved" } else { "link-down" },
        began: Time::local(outage.began),
        seconds: outage.lasted.as_secs_f64(),
        recovered: outage.is_over,
    }
}

fn list_change(change: BlocklistChange) -> ListChange {
    ListChange {
        // It was written by the same library.
        time: Time::local(change.time.parse().unwrap_or_default()),
        command: change.command,
        by: change.by,
        what: change.what.map(shown),
        entries: change.entries,
        addresses: change.addresses,
        addresses_taken_out: change.addresses_taken_out,
    }
}

/// How many targets an interval of the order holds. It is walked for that, so it should be short.
fn targets_in(plan: &Plan, interval: Interval) -> u64 {
    let mut cursor = Cursor::new(&plan.targets.permutation, interval);
    let mut indices = [0; BATCH_MAX];
    std::iter::repeat_with(|| cursor.fill(&mut indices) as u64).take_while(|&found| found > 0).sum()
}
