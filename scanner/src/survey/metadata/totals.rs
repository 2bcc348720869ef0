//! ZMap's keys about the outcome, in numbers.

use serde::Serialize;
use targets::{Cursor, TargetBatch};

use super::facts::Facts;
use crate::nic::InterfaceCounts;
use crate::plan::TargetPlan;
use crate::survey::monitor::failures;

/// The outcome of a scan, in numbers.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Totals {
    /// Frames that the back end passed to the workers (ZMap: that pcap received).
    pub(super) pcap_recv: u64,
    /// Replies lost between the kernel and the output (ZMap: that pcap dropped).
    pub(super) pcap_drop: u64,
    /// Frames that the interface dropped during the scan.
    pub(super) pcap_ifdrop: u64,
    /// Received fragments that are not the beginning of a reply: later fragments, and in a TCP scan all fragments.
    pub(super) ip_fragments: u64,
    /// Addresses that may be probed.
    pub(super) blocklist_total_allowed: u64,
    /// Addresses that may not be probed.
    pub(super) blocklist_total_not_allowed: u64,
    /// Replies whose cookie was right.
    pub(super) validation_passed: u64,
    /// Packets to our scan ports with a wrong cookie, or about something that is not a target.
    pub(super) validation_failed: u64,
    /// The first address of the order, as ZMap writes it: its bytes read as a number on a little-endian machine.
    pub(super) first_scanned: u32,
    /// Probes that could not be sent.
    pub(super) send_to_failures: u64,
    /// Probes sent.
    pub(super) packets_sent: u64,
    /// Targets whose probes were all sent.
    pub(super) targets_scanned: u64,
    /// Successes, repeats included.
    pub(super) success_total: u64,
    /// Targets with a success.
    pub(super) success_unique: u64,
    /// Successes of the application, including repeats, if the probe module reports them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) app_success_total: Option<u64>,
    /// Targets with a success of the application.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) app_success_unique: Option<u64>,
    /// Of `success_total`, those after the last probe.
    pub(super) success_cooldown_total: u64,
    /// Of `success_unique`, those after the last probe.
    pub(super) success_cooldown_unique: u64,
    /// Replies that are not a success.
    pub(super) failure_total: u64,
}

impl Totals {
    pub(super) fn of(facts: &Facts<'_>) -> Self {
        let Facts { plan, total, results, .. } = facts;
        let allowed = plan.targets.space.addresses().len();
        let has_app_success = plan.probe.module.info().has_app_success;
        Self {
            pcap_recv: total.port.rx_frames,
            pcap_drop: total.rx_record_drops + total.rx_socket_drops,
            pcap_ifdrop: facts.finished.ledger.interfaces.iter().map(InterfaceCounts::dropped_incoming).sum(),
            ip_fragments: facts.verdict("pass_fragment"),
            blocklist_total_allowed: allowed,
            blocklist_total_not_allowed: (1 << 32) - allowed,
            validation_passed: total.replies(),
            validation_failed: total.rx_invalid
                + total.rx_unasked
                + facts.verdict("pass_bad_cookie")
                + facts.verdict("drop_bad_cookie"),
            first_scanned: first_scanned(&plan.targets),
            send_to_failures: failures(total),
            packets_sent: total.port.probes_sent,
            targets_scanned: total.targets,
            success_total: results.success_total + total.rx_repeats_success,
            success_unique: results.success_unique,
            app_success_total: has_app_success
                .then(|| results.app_success_total + total.rx_repeats_app_success),
            app_success_unique: has_app_success.then_some(results.app_success_unique),
            success_cooldown_total: results.success_cooldown_total + total.rx_repeats_success_cooldown,
            success_cooldown_unique: results.success_cooldown_unique,
            failure_total: results.failure_total + total.rx_repeats - total.rx_repeats_success,
        }
    }
}

/// The first address of the shard's arc.
fn first_scanned(targets: &TargetPlan) -> u32 {
    let (mut batch, mut first) = (TargetBatch::default(), [0]);
    let found = Cursor::new(&targets.permutation, targets.arc).fill(&mut first);
    targets.space.resolve(&first[..found], &mut batch);
    if found == 1 { batch.addresses[0].swap_bytes() } else { 0 }
}
