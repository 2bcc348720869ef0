//! The metadata: one JSON object that says what was scanned, how, and how it ended.
//!
//! The keys that ZMap writes keep its names, types and order, so that what reads ZMap's metadata reads ours; where
//! ZMap writes a truth value as 0 or 1, so do we. After them come ours, which let a reader repeat the scan and account
//! for every packet. Times are local with their offset, as ZMap writes them.

mod parts;
mod write;

use std::borrow::Cow;

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

pub use self::parts::{Interface, LinkOutage, Neighbors, ResolvedName, Socket, Steered, Worker};
pub use self::write::{MetadataError, MetadataFile};
use crate::engine::counters;

/// Counters by name, in order: a JSON object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamedCounts(pub Vec<(Cow<'static, str>, u64)>);

impl<K: Into<Cow<'static, str>>> FromIterator<(K, u64)> for NamedCounts {
    fn from_iter<I: IntoIterator<Item = (K, u64)>>(counts: I) -> Self {
        Self(counts.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }
}

impl From<&counters::Counts> for NamedCounts {
    fn from(counts: &counters::Counts) -> Self {
        counts.named().into_iter().collect()
    }
}

impl Serialize for NamedCounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// A moment in ZMap's form, local time with offset: `2026-01-31T12:00:00+0100`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Time(Zoned);

impl Time {
    /// The moment as local time.
    pub fn local(timestamp: Timestamp) -> Self {
        Self(timestamp.to_zoned(TimeZone::system()))
    }
}

impl From<Zoned> for Time {
    fn from(zoned: Zoned) -> Self {
        Self(zoned)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0.strftime("%Y-%m-%dT%H:%M:%S%z"))
    }
}

/// A whole number as such, as ZMap writes it.
fn as_short_number<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    match *number {
        number if number.fract() == 0.0 => serializer.serialize_u64(number as u64),
        number => serializer.serialize_f64(number),
    }
}

fn as_number<S: Serializer>(yes: &bool, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u8((*yes).into())
}

/// The metadata of one scan. Fields up to `allowlisted_networks` are ZMap's; an `Option` is left out when `None`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Metadata {
    /// Host name.
    pub local_hostname: String,
    /// Host name with its domain, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub full_hostname: Option<String>,
    /// First source port.
    pub source_port_first: u16,
    /// Last source port.
    pub source_port_last: u16,
    /// Target ports.
    pub target_ports: Vec<u16>,
    /// Limit on targets; 0: none.
    pub max_targets: u64,
    /// Limit on the time of sending in seconds; 0: none.
    pub max_runtime: u64,
    /// Limit on results; 0: none.
    pub max_results: u64,
    /// Results written.
    pub output_results: u64,
    /// Interface.
    pub iface: String,
    /// Probes a second that were asked for; 0: not limited.
    #[serde(serialize_with = "as_short_number")]
    pub rate: f64,
    /// Bits a second that were asked for; 0: the limit is `rate`.
    pub bandwidth: u64,
    /// Seconds that replies were awaited after the last probe.
    pub cooldown_secs: u64,
    /// Sending workers.
    pub senders: u32,
    /// Seed of the permutation.
    pub seed: u64,
    /// Whether the seed was given by the user.
    #[serde(serialize_with = "as_number")]
    pub seed_provided: bool,
    /// Generator of the permutation's group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generator: Option<u64>,
    /// Unique successes in percent of the targets scanned; 0 when there were none.
    pub hitrate: f64,
    /// This shard, from 0.
    pub shard_num: u32,
    /// Shards of the scan.
    pub total_shards: u32,
    /// Limit below which the hit rate in percent was not to stay; 0: none.
    pub min_hitrate: f64,
    /// Limit on the probes that the kernel refused; -1: none.
    pub max_sendto_failures: i64,
    /// Whether the system's log was written to, if there is one.
    #[serde(serialize_with = "as_number")]
    pub syslog: bool,
    /// Whether only unique successes were written because nothing else was asked for.
    #[serde(serialize_with = "as_number")]
    pub default_mode: bool,
    /// Frames that the back end handed to the workers (ZMap: that pcap received).
    pub pcap_recv: u64,
    /// Replies lost between the kernel and the output (ZMap: that pcap dropped).
    pub pcap_drop: u64,
    /// Frames that the interface dropped during the scan.
    pub pcap_ifdrop: u64,
    /// Fragments that were received and begin no reply: later ones, in a scan of TCP all.
    pub ip_fragments: u64,
    /// Addresses that may be probed.
    pub blocklist_total_allowed: u64,
    /// Addresses that may not be probed.
    pub blocklist_total_not_allowed: u64,
    /// Replies whose cookie was right.
    pub validation_passed: u64,
    /// Packets to our scan ports whose cookie was wrong, or that were about no target.
    pub validation_failed: u64,
    /// The first address of the order, as ZMap writes it: the number that its bytes are on a little-endian machine.
    pub first_scanned: u32,
    /// Probes that could not be sent.
    pub send_to_failures: u64,
    /// Probes sent.
    pub packets_sent: u64,
    /// Targets whose probes were all sent.
    pub targets_scanned: u64,
    /// Successes, repeats included.
    pub success_total: u64,
    /// Targets with a success.
    pub success_unique: u64,
    /// Successes of the application, repeats included, where the probe module tells them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_success_total: Option<u64>,
    /// Targets with a success of the application.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_success_unique: Option<u64>,
    /// Of `success_total`, those after the last probe.
    pub success_cooldown_total: u64,
    /// Of `success_unique`, those after the last probe.
    pub success_cooldown_unique: u64,
    /// Replies that are no success.
    pub failure_total: u64,
    /// Probes for each target, under ZMap's old name.
    pub packet_streams: u32,
    /// Probe module.
    pub probe_module: String,
    /// Output module.
    pub output_module: String,
    /// When the first probe was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub send_start_time: Option<Time>,
    /// When the last probe was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub send_end_time: Option<Time>,
    /// When receiving began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recv_start_time: Option<Time>,
    /// When receiving ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recv_end_time: Option<Time>,
    /// Output filter as given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_filter: Option<String>,
    /// The log's file, if it was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_file: Option<String>,
    /// The folder of the log's file, if it was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_directory: Option<String>,
    /// Targets given on the command line.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cli_cidr_destinations: Vec<String>,
    /// Arguments of the probe module.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe_args: Option<String>,
    /// Time to live of the probes.
    pub probe_ttl: u8,
    /// Arguments of the output module.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_args: Option<String>,
    /// MAC address of the gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway_mac: Option<String>,
    /// Address of the gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway_ip: Option<String>,
    /// Source MAC address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_mac: Option<String>,
    /// Source addresses.
    pub source_ips: Vec<String>,
    /// Where results went.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_filename: Option<String>,
    /// Block list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocklist_filename: Option<String>,
    /// Allow list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowlist_filename: Option<String>,
    /// List of addresses, or of pairs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub list_of_ips_filename: Option<String>,
    /// Different targets in that list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub list_of_ips_count: Option<u64>,
    /// Whether no packet was sent.
    #[serde(serialize_with = "as_number")]
    pub dryrun: bool,
    /// Whether there was no status line.
    #[serde(serialize_with = "as_number")]
    pub quiet: bool,
    /// Verbosity of the log, 0 to 5.
    pub log_level: u8,
    /// `full`, `window` or `none`.
    pub deduplication_method: String,
    /// Size of the window, with that method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deduplication_window_size: Option<u64>,
    /// The user's own metadata, any JSON.
    #[serde(rename = "user-metadata", skip_serializing_if = "Option::is_none")]
    pub user_metadata: Option<Box<RawValue>>,
    /// The user's notes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
    /// Networks that were never probed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub blocklisted_networks: Vec<String>,
    /// Networks that the targets were chosen from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowlisted_networks: Vec<String>,

    /// Host names, and what they stood for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resolved_names: Vec<ResolvedName>,
    /// Who was on the own network; absent where no target was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub neighbors: Option<Neighbors>,
    /// What each interface had of its own, where there are several; else the keys for one say it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<Interface>,
    /// Bits of the cookie that an answer of a target has to repeat: those of the kind that is the easiest to forge.
    pub answer_bits: f64,
    /// Bits of the cookie that an ICMP error has to quote.
    pub icmp_error_bits: f64,
    /// Version of xdpmap.
    pub version: String,
    /// The command line, one string an argument, the program's name first.
    pub command_line: Vec<String>,
    /// Arguments from the environment and from config files, which go before those of the command line.
    pub config_arguments: Vec<String>,
    /// Release of the kernel, as `uname -r` prints it.
    pub kernel_release: String,
    /// The interface on which replies were taken beside the scan's, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_iface: Option<String>,
    /// The interface below the scan's, where that is a VLAN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_iface: Option<String>,
    /// Numbers of the VLANs that the frames are tagged with, outer first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub vlan_ids: Vec<u16>,
    /// Driver of the interface that frames go through, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// Back end and mode that were used.
    pub io_mode: String,
    /// Why no better one.
    pub io_mode_reason: String,
    /// Packets that a call polled the driver for; absent without `--busy-poll`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub busy_poll: Option<u16>,
    /// Where copies of the probes went; absent where none were kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probes_file: Option<String>,
    /// Probes that are not in that file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probes_missed: Option<u64>,
    /// RX queues of the interface that were listened on.
    pub rx_queues: u32,
    /// RSS indirection tables that were set for the time of the scan; absent where none was.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steered: Vec<Steered>,
    /// TX queues of the interface that were sent on.
    pub tx_queues: u32,
    /// Seconds from the first probe to the last.
    pub send_seconds: f64,
    /// Workers, with what each of them counted.
    pub workers: Vec<Worker>,
    /// AF_XDP sockets, with what the kernel counted of each.
    pub sockets: Vec<Socket>,
    /// The workers' counters added up.
    pub counters: NamedCounts,
    /// The verdicts of the XDP program, by name.
    pub xdp_counters: NamedCounts,
    /// Valid replies that the XDP program redirected, and that reached no socket: nothing else counts them.
    pub replies_vanished: u64,
    /// Frames that the interface dropped on their way out, whosever they were, refused probes and resets among them.
    pub interface_tx_dropped: u64,
    /// Results that an output did not take, added up over the outputs: its reader went away, it took nothing any more, or it
    /// failed. What lies unread in a pipe counts as taken.
    pub output_lost: u64,
    /// Why an output did not take all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_error: Option<String>,
    /// Most bytes that the table of repeats may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deduplication_memory: Option<u64>,
    /// Successes whose repeats were looked for in the window, as that table was full.
    pub deduplicated_by_window: u64,
    /// When the link was down, or a gateway moved.
    pub link_outages: Vec<LinkOutage>,
    /// Targets that were never probed. 0 where a limit on targets was reached.
    pub targets_left: u64,
    /// Targets that were probed when the link may have been down already, and not again.
    pub targets_in_doubt: u64,
    /// The exponents of both, as pairs of the first and one past the last.
    pub intervals_left: Vec<[u64; 2]>,
    /// Why the scan ended.
    pub end_reason: String,
    /// Exit code of the process.
    pub exit_code: u8,
    /// Hash of the targets and their order: equal for all shards of one scan.
    pub targets_hash: String,
    /// Hash of the whole plan.
    pub plan_hash: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_types() {
        let time = "2026-01-31T12:00:00+01:00[+01:00]".parse::<Zoned>().unwrap();
        let counts = counters::Counts { targets: 5, rx_synack: 2, ..Default::default() };
        let worker = Worker { worker: 0, tx_queue: Some(0), counters: (&counts).into(), ..Worker::default() };
        let metadata = Metadata {
            target_ports: vec![80, 443],
            seed: u64::MAX,
            seed_provided: true,
            send_start_time: Some(time.into()),
            user_metadata: Some(RawValue::from_string("{\"who\":\"me\"}".to_owned()).unwrap()),
            workers: vec![worker],
            xdp_counters: [("pass_not_ipv4", 7)].into_iter().collect(),
            ..Metadata::default()
        };
        let json = serde_json::to_string(&metadata).unwrap();
        assert!(json.starts_with(
            "{\"local_hostname\":\"\",\"source_port_first\":0,\"source_port_last\":0,\"target_ports\":[80,443],"
        ));
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["seed"], u64::MAX);
        assert_eq!(value["seed_provided"], 1);
        assert_eq!(value["dryrun"], 0);
        assert_eq!(value["hitrate"], 0.0);
        assert_eq!(value["send_start_time"], "2026-01-31T12:00:00+0100");
        assert_eq!(value["user-metadata"]["who"], "me");
        assert_eq!(value["workers"][0]["counters"]["rx_synack"], 2);
        assert_eq!(value["workers"][0].get("cpu"), None);
        assert_eq!(value["xdp_counters"]["pass_not_ipv4"], 7);
        assert_eq!(value.get("send_end_time"), None);
        assert_eq!(value.get("notes"), None);
    }
}
