//! What the ledger's losses mean: for each a line in plain words, with its likely cause and what to do.
//!
//! Every message about something that was lost, or that was not probed, is here and nowhere else.

use std::collections::BTreeMap;

use super::{Ledger, RowKind};
use crate::nic::InterfaceCounts;

/// Counts of the interface, which are of all programs, cause a warning if they are at least one in this many of the
/// frames received. A host normally drops a few frames per minute of protocols that it does not know. Lower: real
/// losses go unreported. Higher: warnings about such frames.
const WORTH_A_WARNING: u64 = 1_000;
/// What the names of counters end with by which a cloud says that it held a machine to its limits (Amazon's ENA).
const OF_A_CLOUD: &str = "_allowance_exceeded";

/// Words in the names by which drivers count frames below Ethernet's minimum (igb, mlx5, bnx2). No answer on a real
/// wire is so short. Emulated NICs count each answer so that was not padded, and deliver it.
const OF_SHORT_FRAMES: [&str; 3] = ["short_length", "undersize", "runt"];
/// Counters that have these frames in their sum.
const WITH_SHORT_FRAMES: [&str; 2] = ["rx_errors", "rx_length_errors"];

/// How serious it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Good to know.
    Info,
    /// The results lack something.
    Warning,
    /// The results lack something for a reason that ends a scan.
    Error,
}

/// Why an output did not accept all results.
#[derive(Clone, Copy, Debug)]
pub struct OutputTrouble<'a> {
    /// The cause in words.
    pub why: &'a str,
    /// Whether it is a reader that went away.
    pub has_reader_gone: bool,
    /// How many results were lost, added up over the outputs.
    pub lost: u64,
}

/// A line for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// How serious it is.
    pub level: Level,
    /// What was lost, why, and what to do.
    pub text: String,
}

/// The lines so far.
#[derive(Default)]
struct Remarks(Vec<Remark>);

impl Remarks {
    /// Adds a line about `count`, unless it is 0.
    fn add(&mut self, level: Level, count: u64, text: impl FnOnce(u64) -> String) {
        if count > 0 {
            self.0.push(Remark { level, text: text(count) });
        }
    }
}

/// A driver's counters without frames below Ethernet's minimum.
fn without_short_frames(driver: &BTreeMap<String, u64>) -> Vec<(&str, u64)> {
    let is_short = |name: &str| OF_SHORT_FRAMES.iter().any(|word| name.contains(word));
    let short = driver.iter().filter(|(name, _)| is_short(name)).map(|(_, count)| count).sum::<u64>();
    let counters = driver.iter().filter(|(name, _)| !is_short(name)).map(|(name, count)| {
        let among_them = if WITH_SHORT_FRAMES.contains(&name.as_str()) { short } else { 0 };
        (name.as_str(), count.saturating_sub(among_them))
    });
    counters.filter(|(_, count)| *count > 0).collect()
}

impl Ledger {
    /// A line for everything that was lost or left out. `trouble` is what an output had.
    pub fn remarks(&self, trouble: Option<OutputTrouble<'_>>) -> Vec<Remark> {
        let mut remarks = Remarks::default();
        self.of_sending(&mut remarks);
        self.of_interfaces(&mut remarks);
        self.of_receiving(&mut remarks);
        self.of_results(trouble, &mut remarks);
        remarks.0
    }

    /// Whether anything was lost that is in an account.
    pub fn has_losses(&self) -> bool {
        let rows = self.accounts.iter().flat_map(|account| &account.parts);
        rows.filter(|row| row.kind == RowKind::Loss).any(|row| row.count > 0)
    }

    fn of_sending(&self, remarks: &mut Remarks) {
        use Level::{Info, Warning};
        remarks.add(Info, self.count("targets", "unreachable"), |count| {
            format!(
                "{count} targets were not probed: there is no route to them, or no host on the own network has the address"
            )
        });
        remarks.add(Warning, self.count("probes", "lost"), |count| {
            format!(
                "{count} probes were lost: the kernel refused them for good, or lost them on the way to the driver; look \
                 for a rule that drops them (`nft list ruleset`) and for a tunnel without a peer, or send at a lower rate"
            )
        });
        remarks.add(Warning, self.count("probes", "unconfirmed"), |count| {
            format!(
                "{count} probes were handed over but never completed, and count as lost: the queue had stopped, or a worker \
                 ended early; look at `dmesg` and at the far end, and see `intervals_left` in the metadata"
            )
        });
        remarks.add(Info, self.count("targets", "again"), |count| {
            format!(
                "{count} targets were probed again because the link had been down, a gateway had moved, or the rate was \
                 found too high (--rate auto)"
            )
        });
        let resets = ["lost", "unconfirmed"].map(|row| self.count("reset_frames", row)).iter().sum::<u64>();
        remarks.add(Info, resets + self.count("resets", "no_room"), |count| {
            format!(
                "{count} resets were not sent, because the transmit ring was full or the kernel refused them; those hosts \
                 keep a half-open connection until their own timer ends"
            )
        });
    }

    fn of_interfaces(&self, remarks: &mut Remarks) {
        let sum = |count: fn(&InterfaceCounts) -> u64| self.interfaces.iter().map(count).sum::<u64>();
        let received = self.total("frames");
        let level = |count: u64| match count.saturating_mul(WORTH_A_WARNING) >= received {
            true => Level::Warning,
            false => Level::Info,
        };
        let incoming = sum(InterfaceCounts::dropped_incoming);
        remarks.add(level(incoming), incoming, |count| {
            format!(
                "the interface dropped {count} received frames (pcap_ifdrop), and replies may be among them; a longer \
                 receive ring (ethtool -G), more queues or a lower rate may help"
            )
        });
        let told = ["probes", "reset_frames"]
            .map(|account| self.count(account, "refused") + self.count(account, "lost"))
            .iter()
            .sum::<u64>();
        let unseen = sum(|interface| interface.tx_dropped).saturating_sub(told);
        remarks.add(Level::Warning, unseen, |count| {
            format!(
                "the interface dropped {count} frames on transmission without reporting it, and probes may be among them, \
                 whose targets were not scanned; send at a lower rate"
            )
        });
        remarks.add(Level::Info, sum(|interface| interface.qdisc_drops), |count| {
            format!(
                "the interface's queueing discipline dropped {count} packets; probes do not go through it, but packets of \
                 the host do, such as its resets"
            )
        });
        for InterfaceCounts { interface, driver, .. } in &self.interfaces {
            let driver = without_short_frames(driver);
            let listed = |is_of_cloud: bool| {
                let own = driver.iter().filter(|(name, _)| name.ends_with(OF_A_CLOUD) == is_of_cloud);
                let count = own.clone().map(|(_, count)| count).sum::<u64>();
                (count, own.map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", "))
            };
            let (count, names) = listed(true);
            remarks.add(Level::Warning, count, |_| {
                format!(
                    "{interface}: the cloud's network held this machine to its limits ({names}), and lost or delayed probes \
                     and replies; send at a lower rate, or use a larger instance"
                )
            });
            let (count, names) = listed(false);
            remarks.add(level(count), count, |_| {
                format!(
                    "{interface}: the driver counted losses or errors of all programs ({names}); if they grow with the \
                     rate, longer rings (ethtool -G), more queues or a lower rate may help"
                )
            });
        }
    }

    fn of_receiving(&self, remarks: &mut Remarks) {
        use Level::{Error, Warning};
        remarks.add(Warning, self.count("judged", "pass_own_socket"), |count| {
            format!(
                "{count} datagrams with a right cookie, or ICMP errors about such datagrams, came to ports of this host's \
                 own sockets and were left to them; use other source ports (--source-port) or another source address"
            )
        });
        remarks.add(Warning, self.count("judged", "valid_no_socket"), |count| {
            format!(
                "{count} valid replies were lost: they came in on RX queues that are not read, or when the scan had ended; \
                 name those queues with --queues, or have the NIC steer replies to the others (--steer)"
            )
        });
        remarks.add(Warning, self.count("sockets", "vanished"), |count| {
            format!(
                "{count} valid replies were redirected by the XDP program but did not reach a socket, because of the driver \
                 or a device above it (a bond, a bridge); use --io-mode generic or packet"
            )
        });
        remarks.add(Warning, self.count("sockets", "untaken"), |count| {
            format!(
                "{count} replies were still in the rings when the scan ended; wait longer for late replies (-c), or send at \
                 a lower rate"
            )
        });
        let of_sockets = ["ring_full", "dropped"].map(|row| self.count("sockets", row)).iter().sum::<u64>();
        remarks.add(Warning, of_sockets + self.count("packet_sockets", "ring_full"), |count| {
            format!(
                "{count} replies were lost in the kernel because a ring was full, no frame was free, or they were longer \
                 than a frame (some 1,790 bytes); use more queues or workers (-T), or a lower rate"
            )
        });
        remarks.add(Warning, self.count("frames", "unasked"), |count| {
            format!(
                "{count} replies were not about a target of the scan and are not results: forged, or for another program"
            )
        });
        remarks.add(Error, self.count("frames", "invalid"), |count| {
            format!(
                "{count} frames that the XDP program took for replies were refused by the worker: this is a fault of \
                 xdpmap; please report it"
            )
        });
    }

    fn of_results(&self, trouble: Option<OutputTrouble<'_>>, remarks: &mut Remarks) {
        use Level::{Error, Info, Warning};
        let repeats = self.count("replies", "repeats");
        let full = self.count("replies", "ring_full");
        let are_results = self.is_loss("replies", "repeats");
        remarks.add(Warning, if are_results { full + repeats } else { full }, |count| {
            format!(
                "{count} replies were lost because the output was too slow; write to a faster disk or reader, write fewer \
                 fields or only successes (--successes-only), or send at a lower rate"
            )
        });
        remarks.add(Info, if are_results || full > 0 { 0 } else { repeats }, |count| {
            format!("{count} repeats were dropped early because the output was slow; they are counted")
        });
        if let Some(OutputTrouble { why, has_reader_gone, lost }) = trouble {
            let level = if has_reader_gone { Warning } else { Error };
            remarks.add(level, lost, |count| match has_reader_gone {
                true => format!("{count} results were lost: {why} before it had received them"),
                false => format!("{count} results were lost with the output"),
            });
        }
    }

    fn total(&self, account: &str) -> u64 {
        self.accounts.iter().find(|known| known.name == account).map_or(0, |account| account.total)
    }

    fn is_loss(&self, account: &str, row: &str) -> bool {
        let account = self.accounts.iter().find(|known| known.name == account);
        let mut rows = account.into_iter().flat_map(|account| &account.parts);
        rows.any(|known| known.name == row && known.kind == RowKind::Loss)
    }
}
