//! What a scan may have several of: an object each, in a list of the metadata.

use serde::Serialize;

use super::{NamedCounts, Time};

/// What one worker owned and counted.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Worker {
    /// Its number, from 0.
    pub worker: u32,
    /// Its interface, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// The CPU it ran on; absent when it was not pinned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<usize>,
    /// The NUMA node of that CPU; absent where the machine does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub numa_node: Option<u32>,
    /// The CPU of its sender of live frames; absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender_cpu: Option<usize>,
    /// Its TX queue; absent when it only received.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tx_queue: Option<u32>,
    /// Its RX queues.
    pub rx_queues: Vec<u32>,
    /// What it counted: [`Counts`](crate::engine::counters::Counts).
    pub counters: NamedCounts,
}

/// A host name among the targets or in a list, and what it was found to stand for.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ResolvedName {
    /// The name, with the prefix length if one was given.
    pub name: String,
    /// Its IPv4 addresses, ascending.
    pub addresses: Vec<String>,
}

/// What one of several interfaces had of its own.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Interface {
    /// Its name.
    pub interface: String,
    /// The interface below it, where it is a VLAN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Numbers of its VLANs, outer first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub vlan_ids: Vec<u16>,
    /// Its driver, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// Mode that was used.
    pub io_mode: String,
    /// RX queues that were listened on.
    pub rx_queues: u32,
    /// Workers, each with a TX queue.
    pub workers: u32,
    /// Source MAC address.
    pub source_mac: String,
    /// MAC address of its gateway.
    pub gateway_mac: String,
    /// Address of its gateway, if it was looked up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway_ip: Option<String>,
    /// Source addresses of its probes.
    pub source_ips: Vec<String>,
    /// Who was on its own network; absent where no target was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub neighbors: Option<Neighbors>,
    /// The verdicts of its XDP program.
    pub xdp_counters: NamedCounts,
}

/// Who was on the own network, among the targets.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Neighbors {
    /// The interface's networks.
    pub networks: Vec<String>,
    /// Targets there that were asked for by ARP.
    pub targets: u64,
    /// How many of them answered.
    pub answered: u64,
    /// ARP requests sent.
    pub requests: u64,
}

/// What the kernel said and counted of one AF_XDP socket.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Socket {
    /// Its interface, where there are several or it only heard replies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Its queue.
    pub queue: u32,
    /// Whether the kernel says that it is in zero-copy mode (`XDP_OPTIONS`).
    pub zero_copy: bool,
    /// Whether the kernel knew what to poll for it; absent without `--busy-poll`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub busy_polled: Option<bool>,
    /// Frames received through it.
    pub received: u64,
    /// Packets dropped for other reasons than those below.
    pub rx_dropped: u64,
    /// Packets dropped because the RX ring was full.
    pub rx_ring_full: u64,
    /// Times that the fill ring had no frame to take; no loss of its own.
    pub rx_fill_ring_empty: u64,
    /// TX descriptors that the kernel refused.
    pub tx_invalid_descriptors: u64,
}

/// An RSS indirection table that was set for the time of the scan.
#[derive(Clone, Debug, Serialize)]
pub struct Steered {
    /// The interface that frames come through.
    pub interface: String,
    /// The queues in it, each as often as the others or once more.
    pub queues: Vec<u32>,
    /// Its length.
    pub entries: usize,
}

/// A time in which the link was down, or in which a gateway moved to another MAC address.
#[derive(Clone, Debug, Serialize)]
pub struct LinkOutage {
    /// The interface.
    pub interface: String,
    /// `link-down`, or `gateway-moved`.
    pub reason: &'static str,
    /// When it was noticed.
    pub began: Time,
    /// How long nothing was sent.
    pub seconds: f64,
    /// Whether that was over before the scan ended.
    pub recovered: bool,
}
