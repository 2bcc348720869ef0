//! What the kernel and the driver count for an interface, for all programs together: an upper bound for what a scan has
//! lost there.

use std::collections::BTreeMap;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, Stats64};
use netlink_packet_route::tc::{TcAttribute, TcMessage};
use serde::{Deserialize, Serialize};

use super::ethtool::Ethtool;
use super::interface::{Interface, links};
use super::netlink;

/// The parent of a queueing discipline that has none (`TC_H_ROOT` of `linux/pkt_sched.h`).
const ROOT: u32 = u32::MAX;
/// Words in the names of drivers' counters which say that something was lost or refused. Fewer hide losses; more show
/// counters that are none.
const OF_LOSSES: [&str; 22] = [
    "drop",
    "discard",
    "err",
    "miss",
    "no_buf",
    "nobuf",
    "no_dma_res",
    "out_of_buf",
    "alloc_fail",
    "fifo",
    "overrun",
    "overflow",
    "exceeded",
    "fail",
    "timeout",
    "abort",
    "starv",
    "full",
    "invalid",
    "collision",
    "bad_",
    "no_tx_desc",
];

/// Counts of an interface, since it was created or over a time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InterfaceCounts {
    /// Its name.
    pub interface: String,
    /// Frames received.
    pub rx_packets: u64,
    /// Frames sent.
    pub tx_packets: u64,
    /// Received frames that were damaged.
    pub rx_errors: u64,
    /// Received frames that were dropped, for want of memory or of a receiver.
    pub rx_dropped: u64,
    /// Frames that the device had no room for.
    pub rx_missed: u64,
    /// Frames that could not be sent.
    pub tx_errors: u64,
    /// Frames that were dropped instead of being sent.
    pub tx_dropped: u64,
    /// Packets that the queueing discipline dropped.
    pub qdisc_drops: u64,
    /// The driver's own counters of losses that are not 0, by their names (`ethtool -S`).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub driver: BTreeMap<String, u64>,
}

impl InterfaceCounts {
    /// The counts of an interface since it was created. What the kernel does not tell is 0.
    pub fn of(interface: &Interface) -> Self {
        let counts = stats64(interface.index).unwrap_or_default();
        Self {
            interface: interface.name.clone(),
            rx_packets: counts.rx_packets,
            tx_packets: counts.tx_packets,
            rx_errors: counts.rx_errors,
            rx_dropped: counts.rx_dropped,
            rx_missed: counts.rx_missed_errors,
            tx_errors: counts.tx_errors,
            tx_dropped: counts.tx_dropped,
            qdisc_drops: qdisc_drops(interface.index).unwrap_or_default(),
            driver: driver(&interface.name),
        }
    }

    /// What was counted since `before`. A count that has become smaller was reset meanwhile, and is taken as it is.
    #[must_use]
    pub fn since(mut self, before: &Self) -> Self {
        for (count, before) in [
            (&mut self.rx_packets, before.rx_packets),
            (&mut self.tx_packets, before.tx_packets),
            (&mut self.rx_errors, before.rx_errors),
            (&mut self.rx_dropped, before.rx_dropped),
            (&mut self.rx_missed, before.rx_missed),
            (&mut self.tx_errors, before.tx_errors),
            (&mut self.tx_dropped, before.tx_dropped),
            (&mut self.qdisc_drops, before.qdisc_drops),
        ] {
            *count = grown(*count, before);
        }
        for (name, count) in &mut self.driver {
            *count = grown(*count, before.driver.get(name).copied().unwrap_or_default());
        }
        self.driver.retain(|_, count| *count > 0);
        self
    }

    /// Received frames that were dropped.
    pub fn dropped_incoming(&self) -> u64 {
        self.rx_dropped + self.rx_missed
    }
}

/// How much a count has grown. Where it was reset meanwhile, it has at least its present value.
fn grown(now: u64, before: u64) -> u64 {
    now.checked_sub(before).unwrap_or(now)
}

fn stats64(index: u32) -> Option<Stats64> {
    let links = links().ok()?;
    let link = links.into_iter().find(|link| link.header.index == index)?;
    link.attributes.into_iter().find_map(|attribute| match attribute {
        LinkAttribute::Stats64(counts) => Some(counts),
        _ => None,
    })
}

/// Packets that the interface's queueing discipline has dropped. One with others below it counts theirs as well.
fn qdisc_drops(index: u32) -> Option<u64> {
    let question = TcMessage::with_index(index.cast_signed());
    let answers = netlink::dump(RouteNetlinkMessage::GetQueueDiscipline(question)).ok()?;
    let own = answers.into_iter().filter_map(|answer| match answer {
        RouteNetlinkMessage::NewQueueDiscipline(qdisc) => Some(qdisc),
        _ => None,
    });
    let mut own = own
        .filter(|qdisc| qdisc.header.index == index.cast_signed() && u32::from(qdisc.header.parent) == ROOT);
    own.next()?.attributes.iter().find_map(|attribute| match attribute {
        TcAttribute::Stats(counts) => Some(counts.drops.into()),
        _ => None,
    })
}

/// The driver's counters of losses that are not 0.
fn driver(name: &str) -> BTreeMap<String, u64> {
    let counts = Ethtool::new(name).and_then(|driver| driver.statistics()).unwrap_or_default();
    counts.into_iter().filter(|(name, count)| *count > 0 && is_of_losses(name)).collect()
}

/// Whether the driver's counter of this name is about something that was lost or refused.
fn is_of_losses(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    OF_LOSSES.iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names as drivers have them: virtio_net, veth, ena, mlx5, i40e, ixgbe, igb, gve.
    #[test]
    fn names_of_losses() {
        for name in [
            "rx_queue_0_drops",
            "rx_queue_0_xdp_drops",
            "xdp_tx_errors",
            "bw_in_allowance_exceeded",
            "pps_allowance_exceeded",
            "conntrack_allowance_exceeded",
            "linklocal_allowance_exceeded",
            "rx_out_of_buffer",
            "rx_steer_missed_packets",
            "rx_discards_phy",
            "port.rx_dropped",
            "rx_no_dma_resources",
            "rx_missed_errors",
            "rx_fifo_errors",
            "tx_timeout_count",
            "alloc_rx_buff_failed",
        ] {
            assert!(is_of_losses(name), "{name}");
        }
        for name in [
            "rx_packets",
            "tx_bytes",
            "rx_queue_0_kicks",
            "conntrack_allowance_available",
            "peer_ifindex",
            "rx_xdp_redirect",
            "tx_queue_0_xdp_xmit",
            "multicast",
            "suspend",
        ] {
            assert!(!is_of_losses(name), "{name}");
        }
    }

    #[test]
    fn differences() {
        let before = InterfaceCounts {
            rx_packets: 10,
            tx_dropped: 7,
            driver: BTreeMap::from([("a_drops".to_owned(), 5), ("b_drops".to_owned(), 2)]),
            ..InterfaceCounts::default()
        };
        let after = InterfaceCounts {
            rx_packets: 15,
            rx_dropped: 1,
            rx_missed: 2,
            tx_dropped: 3,
            driver: BTreeMap::from([
                ("a_drops".to_owned(), 5),
                ("b_drops".to_owned(), 9),
                ("c_drops".to_owned(), 1),
            ]),
            ..InterfaceCounts::default()
        };
        let grown = after.since(&before);
        assert_eq!((grown.rx_packets, grown.dropped_incoming()), (5, 3));
        assert_eq!(grown.tx_dropped, 3, "it was reset meanwhile");
        assert_eq!(grown.driver, BTreeMap::from([("b_drops".to_owned(), 7), ("c_drops".to_owned(), 1)]));
    }

    /// The loopback interface has counts, and no driver that counts.
    #[test]
    fn loopback() {
        let loopback = Interface::by_name("lo").unwrap();
        let counts = InterfaceCounts::of(&loopback);
        assert_eq!((counts.interface.as_str(), counts.driver.len()), ("lo", 0));
        assert_eq!(counts.rx_packets, counts.tx_packets);
    }
}
