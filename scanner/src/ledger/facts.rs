//! What the ledger is made from: plain numbers, as those who count them report them.

use crate::engine::{Counts, RepeatPolicy};
use crate::nic::InterfaceCounts;
use crate::results::counts::{Counts as ResultCounts, OutputCounts};

/// The counters of a scan.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// Those of all workers, added up.
    pub counts: &'a Counts,
    /// Those of the collector.
    pub results: &'a ResultCounts,
    /// The verdicts on received frames, added up, by the names of [`Counter`](crate::io::bpf::abi::Counter).
    pub verdicts: &'a [(&'static str, u64)],
    /// Probes of each target.
    pub copies: u32,
    /// Whether a reset is due for each SYN-ACK.
    pub has_resets: bool,
    /// What workers do with repeats while the collector does not keep up.
    pub repeats: RepeatPolicy,
    /// What is known once the scan has ended.
    pub end: Option<EndFacts>,
}

/// What is known once a scan has ended.
#[derive(Clone, Debug, Default)]
pub struct EndFacts {
    /// Probes that were handed over and never completed.
    pub unconfirmed: u64,
    /// Frames that the ports held at the end.
    pub outstanding: u64,
    /// Whether a worker panicked: its sockets are gone, and its last counts may be old.
    pub has_lost_worker: bool,
    /// Whether nothing was sent.
    pub is_dry: bool,
    /// The AF_XDP sockets.
    pub sockets: SocketFacts,
    /// The sockets of AF_PACKET, if there are any: frames that were judged, and frames that found no room.
    pub packet_sockets: Option<[u64; 2]>,
    /// Frames of AF_PACKET that were replies.
    pub packet_replies: u64,
    /// Canaries in all slots of time, and those of them that were answered; `None` if there are no slots.
    pub canary_slots: Option<[u64; 2]>,
    /// The outputs; `None` if the collector has not ended by itself.
    pub outputs: Option<Vec<OutputFacts>>,
    /// What the kernel and the drivers counted meanwhile.
    pub interfaces: Vec<InterfaceCounts>,
}

/// An output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutputFacts {
    /// The file or server, for people.
    pub place: String,
    /// What became of the results.
    pub counts: OutputCounts,
}

/// What the XDP programs have redirected, and what the kernel says of the sockets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketFacts {
    /// Frames that the programs have redirected, until they were detached.
    pub redirected: u64,
    /// The same before the sockets were read for the last time. What came later may have found them closed.
    pub redirected_before: u64,
    /// Whether all programs could be read.
    pub is_known: bool,
    /// Frames that the workers have received.
    pub received: u64,
    /// Frames in the RX rings that were not received any more.
    pub untaken: u64,
    /// Frames dropped because an RX ring was full.
    pub ring_full: u64,
    /// Frames dropped for other reasons: there was no free frame, or they were too long.
    pub dropped: u64,
    /// How often a fill ring was empty.
    pub fill_ring_empty: u64,
}

impl SocketFacts {
    /// Frames that have reached the sockets, including those lost there.
    pub fn arrived(&self) -> u64 {
        self.received + self.untaken + self.ring_full + self.dropped
    }

    /// Frames that were redirected in time and did not reach a socket.
    pub fn vanished(&self) -> u64 {
        self.redirected_before.saturating_sub(self.arrived())
    }
}

/// Replies that the collector's rings had no room for, other than repeats.
pub(super) fn ring_full(counts: &Counts, repeats: RepeatPolicy) -> u64 {
    let among_them = if repeats == RepeatPolicy::Lose { counts.rx_repeats } else { 0 };
    counts.rx_record_drops.saturating_sub(among_them)
}

/// Replies that the workers have handed over to the collector.
pub fn handed_over(counts: &Counts, repeats: RepeatPolicy) -> u64 {
    counts.replies().saturating_sub(counts.rx_repeats + ring_full(counts, repeats))
}
