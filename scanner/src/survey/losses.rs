//! What was lost outside of all books of ours: in the interface, and between the XDP program and the sockets.

use tracing::{info, warn};

use super::wire::Wire;
use crate::engine::{Counts, ScanEnd};
use crate::io::bpf::abi::Counter;
use crate::nic::{Dropped, Interface};
use crate::plan::{NetworkPlan, Plan};

/// Frames that the interface dropped on their way in are worth a warning if they are one in so many of those received: a host
/// drops a few a minute of what it has no protocol for.
const WORTH_A_WARNING: u64 = 1_000;

/// What was lost during a scan.
#[derive(Clone, Copy, Debug)]
pub(super) struct Losses {
    /// Frames that the interfaces dropped.
    pub(super) dropped: Dropped,
    /// Valid replies that were redirected, and reached no socket.
    pub(super) vanished: u64,
}

/// Frames that the interfaces have dropped since they were made.
pub(super) fn dropped(plan: &Plan) -> Dropped {
    let devices = plan.networks().filter_map(NetworkPlan::device).filter(|_| !plan.dryrun);
    let each = devices.filter_map(Interface::dropped);
    each.fold(Dropped::default(), |sum, own| Dropped {
        incoming: sum.incoming + own.incoming,
        outgoing: sum.outgoing + own.outgoing,
    })
}

/// Valid replies that the programs have redirected to a socket so far.
pub(super) fn redirected_by(wire: &Wire) -> u64 {
    let counts = wire.programs().filter_map(|program| program.counters().ok());
    counts.map(|counts| counts[Counter::ValidRedirected as usize]).sum()
}

impl Losses {
    /// Of a scan that has ended: what the interfaces had dropped before it, and what had been redirected just before the sockets
    /// were asked for the last time.
    pub(super) fn new(plan: &Plan, before: Dropped, redirected: u64, end: &ScanEnd) -> Self {
        let after = dropped(plan);
        let arrived: u64 = end.sockets.iter().map(|(_, _, socket)| socket.arrived()).sum();
        Self {
            dropped: Dropped {
                incoming: after.incoming.saturating_sub(before.incoming),
                outgoing: after.outgoing.saturating_sub(before.outgoing),
            },
            vanished: redirected.saturating_sub(arrived),
        }
    }

    /// Says it in the log.
    pub(super) fn tell(&self, total: &Counts) {
        let Dropped { incoming, outgoing } = self.dropped;
        if incoming > 0 {
            let said = format!(
                "the interface dropped {incoming} frames on their way in (pcap_ifdrop), and replies may be among them; a longer \
                 receive ring (ethtool -G), more queues or a lower rate may help"
            );
            match incoming * WORTH_A_WARNING >= total.rx_frames {
                true => warn!(target: "summary", "{said}"),
                false => info!(target: "summary", "{said}"),
            }
        }
        let told = total.tx_refused + total.rst_refused + total.tx_lost + total.rst_lost;
        let unseen = outgoing.saturating_sub(told);
        if unseen > 0 {
            warn!(
                target: "summary",
                "the interface dropped {unseen} frames on their way out without telling the sender, and probes may be among \
                 them, whose targets were not scanned; send at a lower rate"
            );
        }
        if self.vanished > 0 {
            let count = self.vanished;
            warn!(
                target: "summary",
                "{count} valid replies were redirected by the XDP program and reached no socket; the driver or what lies above \
                 it (a bond, a bridge) is at fault, and --io-mode generic or packet is the way around"
            );
        }
    }
}
