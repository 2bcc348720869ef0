//! What a worker counts, and how others read it.
//!
//! A worker counts in plain integers of its own ([`Counts`]) and publishes them now and then into a [`Published`],
//! which the monitor reads at any time: single writer, relaxed stores, each number exact as of some recent moment.
//! Counters only grow.

use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The counters of one worker, or of all workers added up.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counts {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counts {
            /// Names and values, in the order of declaration: how metadata and status files print them.
            pub fn named(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)*]
            }

            /// Adds the counters of another worker.
            pub fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
            }
        }

        #[derive(Debug, Default)]
        struct Cells {
            $($name: AtomicU64,)*
        }

        impl Published {
            /// Makes the worker's present counts visible. Only the worker that owns them calls this.
            pub fn publish(&self, counts: &Counts) {
                $(self.cells.$name.store(counts.$name, Ordering::Relaxed);)*
            }

            /// The counts as last published.
            pub fn read(&self) -> Counts {
                Counts { $($name: self.cells.$name.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counters! {
    /// Targets whose probes were all handed to the transmit ring.
    targets,
    /// Targets on the own link that were left out, as nobody there answers ARP for them.
    targets_unreachable,
    /// Targets that were probed once more, because the link went down while their probes or replies were underway. Not in
    /// `targets`; their frames are in `tx_submitted` and `tx_sent`.
    targets_again,
    /// Probe frames handed to the transmit ring.
    tx_submitted,
    /// Probe frames that the back end reports as sent; what "sent" means for each back end is in `docs/design.md`.
    tx_sent,
    /// Times that the driver (live frames) or the kernel (copy mode, AF_PACKET) refused a probe frame, which was then handed
    /// over again.
    tx_refused,
    /// Probe frames that were lost on the way to the driver (live frames), or that were refused for good: by the interface
    /// (AF_PACKET; a tunnel has no peer for the target), or as often as they were tried (copy mode, AF_PACKET). Neither sent
    /// nor sent again.
    tx_lost,
    /// RST frames handed to the transmit ring.
    rst_submitted,
    /// RST frames reported as sent.
    rst_sent,
    /// RSTs not sent because their responder, or all responders together, had had their share.
    rst_capped,
    /// SYN-ACKs to an address of the host's own that its kernel saw, too, and so resets by itself (AF_PACKET).
    rst_by_kernel,
    /// RSTs not sent because the transmit ring had no room or no RST frame was free.
    rst_no_room,
    /// Wake-ups of the kernel's transmit side.
    wakeups,
    /// Wake-ups that ended in EAGAIN: the kernel has more to do (in copy mode: its budget ran out); with zero-copy in EBUSY,
    /// too: it is at it already.
    wakeup_eagain,
    /// Wake-ups that ended in EBUSY: the driver had no room for a frame, which was then handed over again.
    wakeup_ebusy,
    /// Wake-ups that ended in ENOBUFS: the kernel had no memory or the device queue was full.
    wakeup_enobufs,
    /// Wake-ups that ended in ENETDOWN: the interface was down.
    wakeup_enetdown,
    /// Wake-ups that ended in any other error.
    wakeup_other,
    /// Frames received from the RX rings.
    rx_frames,
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
    /// Received frames that the probe's own check refused. Where the XDP program checked first this stays 0.
    rx_invalid,
    /// Records lost because the collector's ring was full.
    rx_record_drops,
    /// Frames that the kernel dropped at our sockets (`XDP_STATISTICS`, `PACKET_STATISTICS`), asked for about once a second.
    rx_socket_drops,
    /// Replies with a right cookie about an address or a port that is no target of the scan: forged, or somebody else's. They
    /// are no results, and none of the counters above has them but `rx_frames`.
    rx_unasked,
    /// Times that the kernel refused a RST frame (copy mode, AF_PACKET), which was then handed over again.
    rst_refused,
    /// RST frames that were refused as often as they were tried.
    rst_lost,
    /// Replies that were left out before the collector, because it did not keep up and their target had given the same before:
    /// first answers had the room. Where repeats are results they are in `rx_record_drops` as well.
    rx_repeats,
    /// Of `rx_repeats`, the successes.
    rx_repeats_success,
    /// Of `rx_repeats`, those whose application did what it was asked for.
    rx_repeats_app_success,
    /// Of `rx_repeats`, the successes that came after the last probe was sent.
    rx_repeats_success_cooldown,
}

impl Counts {
    /// Targets that have had their turn: probed, or left out and counted.
    pub fn targets_done(&self) -> u64 {
        self.targets + self.targets_unreachable
    }

    /// Replies with a right cookie.
    pub fn replies(&self) -> u64 {
        self.rx_synack + self.rx_rst + self.rx_icmp_error + self.rx_echo + self.rx_udp
    }
}

/// The counters of one worker as others see them, on cache lines of their own.
#[derive(Debug, Default)]
pub struct Published {
    cells: CachePadded<Cells>,
}
