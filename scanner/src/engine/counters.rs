//! The counters of a worker, and how other threads read them.
//!
//! A worker counts in plain integers ([`Counts`]) that only it accesses. From time to time it publishes them into a
//! [`Published`], which the monitor reads at any time: one writer, relaxed stores, each number exact as of a recent
//! moment. Counters only grow.

use crate::counters::counters;
use crate::io::PortCounts;

counters! {
    {
        /// The counters of one worker, or of all workers added up.
        Counts (
            /// The counts of its port.
            port: PortCounts
        ),
        /// The counters of one worker as other threads see them.
        Published
    }
    /// Targets whose probes were all handed to the transmit ring.
    targets,
    /// Targets on the own link that were left out because no host there answers ARP for them.
    targets_unreachable,
    /// Targets that the block list has gained since the scan first started, and that were not probed therefore.
    targets_excluded_late,
    /// Targets that were probed once more, because the link went down while their probes or replies were under way, or
    /// because the rate was found too high. They are not in `targets`; their frames are in `tx_submitted` and
    /// `tx_sent`.
    targets_again,
    /// Probe frames handed to the transmit ring.
    tx_submitted,
    tx_sent = port.probes_sent,
    tx_refused = port.probes_refused,
    tx_lost = port.probes_lost,
    /// RST frames handed to the transmit ring.
    rst_submitted,
    rst_sent = port.resets_sent,
    /// RSTs not sent because their responder, or all responders together, had reached the limit.
    rst_capped,
    /// SYN-ACKs to one of the host's own addresses, which its kernel received as well and therefore resets (AF_PACKET).
    rst_by_kernel,
    /// RSTs not sent because the transmit ring had no room or no RST frame was free, or because what had been handed
    /// over had to leave first, after the block list had grown.
    rst_no_room,
    wakeups = port.wakeups,
    wakeup_eagain = port.wakeup_eagain,
    wakeup_ebusy = port.wakeup_ebusy,
    wakeup_enobufs = port.wakeup_enobufs,
    wakeup_enetdown = port.wakeup_enetdown,
    wakeup_other = port.wakeup_other,
    rx_frames = port.rx_frames,
    /// Replies with a right cookie: SYN-ACK.
    rx_synack,
    /// Replies with a right cookie: RST.
    rx_rst,
    /// Replies with a right cookie: ICMP errors that quote a probe.
    rx_icmp_error,
    /// Replies with a right cookie: ICMP echo replies.
    rx_echo,
    /// Replies with a right cookie: UDP datagrams.
    rx_udp,
    /// Received frames that the probe's own check refused. If the XDP program checks first, this stays 0.
    rx_invalid,
    /// Records lost because the collector's ring was full.
    rx_record_drops,
    /// Frames that the kernel dropped at our sockets (`XDP_STATISTICS`, `PACKET_STATISTICS`), read about once per
    /// second.
    rx_socket_drops,
    /// Replies with a right cookie about an address or a port that is not a target of the scan: forged, or for another
    /// program. They are not results, and of the counters above only `rx_frames` contains them.
    rx_unasked,
    rst_refused = port.resets_refused,
    rst_lost = port.resets_lost,
    /// Replies that were dropped before the collector, because it did not keep up and their target had given the same
    /// reply before, so that first answers have room. If repeats are results, they are in `rx_record_drops` as well.
    rx_repeats,
    /// Of `rx_repeats`, the successes.
    rx_repeats_success,
    /// Of `rx_repeats`, those with a success of the application.
    rx_repeats_app_success,
    /// Of `rx_repeats`, the successes that came after the last probe was sent.
    rx_repeats_success_cooldown,
    /// RSTs not sent because their responder is in a network that the block list has gained since the scan first
    /// started.
    rst_excluded_late,
    /// Targets that the order has given, by the leases that were walked. Each of them is in `targets`,
    /// `targets_unreachable` or `targets_excluded_late`.
    targets_generated,
    /// Canaries handed to the transmit ring: probes to hosts that have answered before. They are in `tx_submitted` and
    /// `tx_sent`, and are not targets.
    canaries,
    /// Hosts that would have got a canary, but are in a network that the block list has gained since the scan first
    /// started.
    canaries_excluded_late,
    /// Replies to canaries. They are not results, and of the counters of replies above only `rx_frames` contains them.
    rx_canary,
    /// Of `rx_canary`, first answers that are a success, as the first time.
    rx_canary_answered,
    /// Of `rx_canary`, first answers of the host that are no success.
    rx_canary_refused,
    /// Of `rx_canary`, first answers that are ICMP errors.
    rx_canary_error,
    /// Of `rx_canary`, answers after the first one to the same canary.
    rx_canary_repeats,
    /// Of `rx_canary`, SYN-ACKs.
    rx_canary_synack,
    /// Targets whose second probes were due: those that the second walk has come to, and that are in its sample. Each
    /// of them is in `second_probed`, `second_unreachable` or `second_excluded_late`.
    second_generated,
    /// Targets whose second probes were handed to the transmit ring. These are in `tx_submitted` and `tx_sent`.
    second_probed,
    /// Targets on the own link that got no second probe, because no host there answers ARP for them.
    second_unreachable,
    /// Targets that got no second probe, because the block list has gained them since the scan first started.
    second_excluded_late,
    /// Second probes that were sent once more, for the reasons of `targets_again`. They are not in `second_probed`.
    second_again,
    /// Replies to second probes. They are replies like others, and in the counters of these.
    rx_second,
}

impl Counts {
    /// Targets that have been handled: probed, or left out and counted.
    pub fn targets_done(&self) -> u64 {
        self.targets + self.targets_unreachable + self.targets_excluded_late
    }

    /// Targets whose second probes have been handled: sent, or left out and counted.
    pub fn seconds_done(&self) -> u64 {
        self.second_probed + self.second_unreachable + self.second_excluded_late
    }

    /// Canaries that got an answer.
    pub fn canaries_replied(&self) -> u64 {
        self.rx_canary_answered + self.rx_canary_refused + self.rx_canary_error
    }

    /// Replies with a right cookie, without those to canaries.
    pub fn replies(&self) -> u64 {
        self.rx_synack + self.rx_rst + self.rx_icmp_error + self.rx_echo + self.rx_udp
    }
}
