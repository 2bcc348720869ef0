//! The facts that the ledger is made from, each read at the moment at which it counts.

use super::nics::{ClosedNics, Nics};
use super::repeats;
use crate::engine::{Counts, ScanEnd, WorkerReport};
use crate::io::bpf::abi::Counter;
use crate::io::open::Mode;
use crate::ledger::{EndFacts, Facts, Ledger, OutputFacts, SocketFacts};
use crate::nic::{Interface, InterfaceCounts};
use crate::plan::{NetworkPlan, Plan};
use crate::results::collector::Collected;
use crate::results::counts::Counts as ResultCounts;
use crate::results::sink::SinkConfig;

/// The interfaces of a scan, each once, with that for replies; none in a dry run.
fn devices(plan: &Plan) -> Vec<&Interface> {
    let own = plan.networks().filter_map(NetworkPlan::device);
    let mut devices: Vec<&Interface> = Vec::new();
    for device in own.chain(plan.replies.as_ref().map(|replies| &replies.device)).filter(|_| !plan.dryrun) {
        if devices.iter().all(|known| known.index != device.index) {
            devices.push(device);
        }
    }
    devices
}

/// What the interfaces have counted since they were created.
pub(super) fn interfaces(plan: &Plan) -> Vec<InterfaceCounts> {
    devices(plan).into_iter().map(InterfaceCounts::of).collect()
}

/// What they have counted since `before`.
pub(super) fn interfaces_since(plan: &Plan, before: &[InterfaceCounts]) -> Vec<InterfaceCounts> {
    interfaces(plan).into_iter().zip(before).map(|(now, before)| now.since(before)).collect()
}

/// Valid replies that the programs have redirected to sockets so far.
pub(super) fn redirected_by(nics: &Nics) -> u64 {
    let counts = nics.programs().filter_map(|program| program.counters().ok());
    counts.map(|counts| counts[Counter::ValidRedirected as usize]).sum()
}

/// What was read when the workers ended.
pub(super) struct Readings {
    /// Valid replies that the programs had redirected, read just before the sockets were read for the last time.
    pub(super) redirected: u64,
    /// What the interfaces counted during the scan.
    pub(super) interfaces: Vec<InterfaceCounts>,
}

/// The ledger of a scan while it runs.
pub(super) fn running(
    plan: &Plan,
    has_resets: bool,
    counts: &Counts,
    results: &ResultCounts,
    verdicts: &[(&'static str, u64)],
) -> Ledger {
    Ledger::of(&facts(plan, has_resets, counts, results, verdicts))
}

/// The ledger of a scan that has ended.
pub(super) fn ledger(
    plan: &Plan,
    has_resets: bool,
    end: &ScanEnd,
    nics: &ClosedNics,
    collected: &Collected,
    readings: Readings,
) -> Ledger {
    let is_packet = |worker: &&WorkerReport| worker.statistics.verdicts.is_some();
    let packet: Vec<&WorkerReport> = end.workers.iter().filter(is_packet).collect();
    let verdicts = packet.iter().filter_map(|worker| worker.statistics.verdicts);
    let dropped = packet.iter().flat_map(|worker| &worker.statistics.sockets);
    let dropped = dropped.map(|(_, socket)| socket.counts.rx_ring_full).sum();
    let judged = verdicts.clone().flatten().sum();
    let facts_at_end = EndFacts {
        unconfirmed: end.unconfirmed,
        outstanding: end.outstanding,
        has_lost_worker: end.has_lost_worker,
        is_dry: plan.dryrun,
        sockets: sockets(end, nics, readings.redirected),
        packet_sockets: (!packet.is_empty()).then_some([judged, dropped]),
        packet_replies: verdicts.map(|verdicts| verdicts[Counter::ValidRedirected as usize]).sum(),
        canary_slots: plan.probe.copies.has_canaries().then(|| {
            let slots = end.canaries.total();
            [slots.sent, slots.answered + slots.refused + slots.errors]
        }),
        outputs: outputs(plan, collected),
        interfaces: readings.interfaces,
    };
    let (total, verdicts) = (end.total(), nics.verdicts());
    let facts = facts(plan, has_resets, &total, &collected.counts, &verdicts);
    Ledger::of(&Facts { end: Some(facts_at_end), ..facts })
}

fn facts<'a>(
    plan: &Plan,
    has_resets: bool,
    counts: &'a Counts,
    results: &'a ResultCounts,
    verdicts: &'a [(&'static str, u64)],
) -> Facts<'a> {
    Facts {
        counts,
        results,
        verdicts,
        copies: plan.probe.copies.probes(),
        has_resets,
        repeats: repeats::policy(&plan.output),
        end: None,
    }
}

/// The AF_XDP sockets, and what was redirected to them.
fn sockets(end: &ScanEnd, nics: &ClosedNics, redirected_before: u64) -> SocketFacts {
    let links = nics.links.iter().filter(|link| link.mode != Mode::Packet);
    let programs: Vec<_> = links.map(|link| &link.verdicts).chain(&nics.reply_verdicts).collect();
    let redirected = programs.iter().flat_map(|verdicts| verdicts.iter());
    let redirected = redirected.filter(|(name, _)| *name == Counter::ValidRedirected.name());
    let mut facts = SocketFacts {
        redirected: redirected.map(|(_, count)| count).sum(),
        // What arrived at the sockets of a worker that panicked is unknown: they are gone with it.
        redirected_before: if end.has_lost_worker { 0 } else { redirected_before },
        is_known: programs.iter().all(|verdicts| !verdicts.is_empty()),
        ..SocketFacts::default()
    };
    for (worker, _, socket) in end.sockets() {
        if worker.statistics.verdicts.is_none() {
            let counts = socket.counts;
            facts.received += counts.received;
            facts.untaken += counts.untaken;
            facts.ring_full += counts.rx_ring_full;
            facts.dropped += counts.rx_dropped;
            facts.fill_ring_empty += counts.rx_fill_ring_empty;
        }
    }
    facts
}

/// The outputs; `None` if the collector has not ended by itself.
fn outputs(plan: &Plan, collected: &Collected) -> Option<Vec<OutputFacts>> {
    let places = plan.output.sinks.iter().map(SinkConfig::place);
    let known =
        collected.outputs.iter().zip(places).map(|(counts, place)| OutputFacts { place, counts: *counts });
    (plan.dryrun || !collected.outputs.is_empty()).then(|| known.collect())
}
