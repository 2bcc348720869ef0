//! Things of which a scan may have several: an object for each, in a list of the metadata.

use serde::Serialize;

use super::values::{NamedCounts, Time};
use crate::checkpoint::ChangeKind;

/// What one worker owned and counted.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Worker {
    /// Its number, from 0.
    pub(super) worker: u32,
    /// Its interface, if there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) interface: Option<String>,
    /// The CPU it ran on; absent if it was not pinned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cpu: Option<usize>,
    /// The NUMA node of that CPU; absent if the machine does not report it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) numa_node: Option<u32>,
    /// The CPU of its sender of live frames; absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sender_cpu: Option<usize>,
    /// Its TX queue; absent if it only received.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tx_queue: Option<u32>,
    /// Its RX queues.
    pub(super) rx_queues: Vec<u32>,
    /// What it counted: [`Counts`](crate::engine::counters::Counts).
    pub(super) counters: NamedCounts,
}

/// A host name among the targets or in a list, and the addresses that it resolved to.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct ResolvedName {
    /// The name, with the prefix length if one was given.
    pub(super) name: String,
    /// Its IPv4 addresses, ascending.
    pub(super) addresses: Vec<String>,
}

/// What differs per interface, if there are several.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Interface {
    /// Its name.
    pub(super) interface: String,
    /// The interface below it, if it is a VLAN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) parent: Option<String>,
    /// Numbers of its VLANs, outer first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) vlan_ids: Vec<u16>,
    /// Its driver, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) driver: Option<String>,
    /// The driver's version; the kernel's, if it came with the kernel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) driver_version: Option<String>,
    /// The version of its firmware, if the driver tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) firmware: Option<String>,
    /// Mode that was used.
    pub(super) io_mode: String,
    /// RX queues that were read.
    pub(super) rx_queues: u32,
    /// Workers, each with a TX queue.
    pub(super) workers: u32,
    /// Source MAC address.
    pub(super) source_mac: String,
    /// MAC address of its gateway.
    pub(super) gateway_mac: String,
    /// Address of its gateway, if it was looked up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) gateway_ip: Option<String>,
    /// Source addresses of its probes.
    pub(super) source_ips: Vec<String>,
    /// Which targets were on its own network; absent if none was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) neighbors: Option<Neighbors>,
    /// The verdicts of its XDP program.
    pub(super) xdp_counters: NamedCounts,
}

/// The targets on the own network.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Neighbors {
    /// The interface's networks.
    pub(super) networks: Vec<String>,
    /// Targets there that were looked up by ARP.
    pub(super) targets: u64,
    /// How many of them answered.
    pub(super) answered: u64,
    /// ARP requests sent.
    pub(super) requests: u64,
}

/// What the kernel reported and counted for one AF_XDP socket.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Socket {
    /// Its interface, if there are several or if it only received replies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) interface: Option<String>,
    /// Its queue.
    pub(super) queue: u32,
    /// Whether the kernel says that it is in zero-copy mode (`XDP_OPTIONS`).
    pub(super) zero_copy: bool,
    /// Whether the kernel could poll a queue for it; absent without `--busy-poll`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) busy_polled: Option<bool>,
    /// Frames received through it.
    pub(super) received: u64,
    /// Packets dropped for other reasons than those below.
    pub(super) rx_dropped: u64,
    /// Packets dropped because the RX ring was full.
    pub(super) rx_ring_full: u64,
    /// Times that the fill ring held no frame; such times are not losses by themselves.
    pub(super) rx_fill_ring_empty: u64,
    /// TX descriptors that the kernel refused.
    pub(super) tx_invalid_descriptors: u64,
}

/// An RSS indirection table that was set for the duration of the scan.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Steered {
    /// The interface that frames come through.
    pub(super) interface: String,
    /// The queues in it. Each occurs as often as the others, or once more.
    pub(super) queues: Vec<u32>,
    /// Its length.
    pub(super) entries: usize,
}

/// A change of the block list.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ListChange {
    /// When it was made.
    pub(super) time: Time,
    /// `reload` or `exclude`.
    pub(super) command: ChangeKind,
    /// Who wanted it: `user` and its number, or `SIGHUP`.
    pub(super) by: String,
    /// The file that was read, or the network; absent if there is no block list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) what: Option<String>,
    /// Entries of the list: networks and host names.
    pub(super) entries: u64,
    /// Addresses in them.
    pub(super) addresses: u64,
    /// Addresses of targets that are left out since, and were not before.
    pub(super) addresses_taken_out: u64,
}

/// A time in which the link was down, or after which a gateway had another MAC address.
#[derive(Clone, Debug, Serialize)]
pub(super) struct LinkOutage {
    /// The interface.
    pub(super) interface: String,
    /// `link-down`, or `gateway-moved`.
    pub(super) reason: &'static str,
    /// When it was noticed.
    pub(super) began: Time,
    /// How long nothing was sent.
    pub(super) seconds: f64,
    /// Whether that was over before the scan ended.
    pub(super) recovered: bool,
}
