//! The last of ZMap's keys: the times, and the other options.

use std::net::Ipv4Addr;
use std::time::Duration;

use ipnet::Ipv4Subnets;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::value::RawValue;
use targets::ranges::RangeSet;
use wire::packet::LinkHeader;

use super::facts::Facts;
use super::values::{Time, as_number, listed, shown};
use crate::plan::DedupPlan;
use crate::results::sink::SinkConfig;

/// The times of a scan, and its other options.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Settings {
    /// Probes for each target, under ZMap's old name.
    pub(super) packet_streams: u32,
    /// Probe module.
    pub(super) probe_module: String,
    /// Output module.
    pub(super) output_module: String,
    /// When the first probe was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) send_start_time: Option<Time>,
    /// When the last probe was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) send_end_time: Option<Time>,
    /// When receiving began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) recv_start_time: Option<Time>,
    /// When receiving ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) recv_end_time: Option<Time>,
    /// Output filter as given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) output_filter: Option<String>,
    /// The log's file, if it was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) log_file: Option<String>,
    /// The folder of the log's file, if it was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) log_directory: Option<String>,
    /// Targets given on the command line.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) cli_cidr_destinations: Vec<String>,
    /// Arguments of the probe module.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) probe_args: Option<String>,
    /// Time to live of the probes.
    pub(super) probe_ttl: u8,
    /// Arguments of the output module.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) output_args: Option<String>,
    /// MAC address of the gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) gateway_mac: Option<String>,
    /// Address of the gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) gateway_ip: Option<String>,
    /// Source MAC address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) source_mac: Option<String>,
    /// Source addresses.
    pub(super) source_ips: Vec<String>,
    /// Where results went.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) output_filename: Option<String>,
    /// Files of the block lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) blocklist_filename: Option<String>,
    /// Allow list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) allowlist_filename: Option<String>,
    /// List of addresses, or of pairs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) list_of_ips_filename: Option<String>,
    /// Different targets in that list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) list_of_ips_count: Option<u64>,
    /// Whether no packet was sent.
    #[serde(serialize_with = "as_number")]
    pub(super) dryrun: bool,
    /// Whether there was no status line.
    #[serde(serialize_with = "as_number")]
    pub(super) quiet: bool,
    /// Verbosity of the log, 0 to 5.
    pub(super) log_level: u8,
    /// `full`, `window` or `none`.
    pub(super) deduplication_method: String,
    /// Size of the window, with that method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) deduplication_window_size: Option<u64>,
    /// The user's own metadata, any JSON.
    #[serde(rename = "user-metadata", skip_serializing_if = "Option::is_none")]
    pub(super) user_metadata: Option<Box<RawValue>>,
    /// The user's notes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) notes: Option<String>,
    /// Networks that were never probed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) blocklisted_networks: Vec<String>,
    /// Networks that the targets were chosen from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) allowlisted_networks: Vec<String>,
}

impl Settings {
    pub(super) fn of(facts: &Facts<'_>) -> Self {
        let Facts { plan, finished, .. } = facts;
        let (targets, probe, network, sinks) =
            (&plan.targets, &plan.probe, &plan.network, &plan.output.sinks);
        let blocklists = targets.blocklists.iter().filter_map(|list| list.file.clone());
        let (on_ethernet, started) = (network.link == LinkHeader::Ethernet, finished.started);
        Self {
            packet_streams: plan
                .second
                .filter(|second| second.is_for_all)
                .map_or(probe.copies.probes(), |_| 2),
            probe_module: probe.module.info().name.to_owned(),
            output_module: listed(sinks.iter().map(|sink| sink.module.name())),
            send_start_time: Some(Time::local(started)),
            send_end_time: Some(Time::local(time_after(started, finished.end.send_elapsed))),
            recv_start_time: Some(Time::local(started)),
            recv_end_time: Some(Time::local(Timestamp::now())),
            output_filter: plan.output.filter_text.clone(),
            log_file: plan.report.log_file.clone(),
            log_directory: plan.report.log_directory.clone(),
            cli_cidr_destinations: targets.typed.iter().map(shown).collect(),
            probe_args: probe.args.clone(),
            probe_ttl: probe.ttl,
            output_args: plan.report.output_args.as_ref().map(shown),
            gateway_mac: (on_ethernet && !network.has_neighbors_only())
                .then(|| network.gateway_mac.to_string()),
            gateway_ip: network.gateway_ip.map(|ip| ip.to_string()),
            source_mac: on_ethernet.then(|| network.source_mac.to_string()),
            source_ips: plan.sources().iter().map(ToString::to_string).collect(),
            output_filename: Some(listed(sinks.iter().map(SinkConfig::place))),
            blocklist_filename: Some(listed(blocklists)).filter(|files| !files.is_empty()),
            allowlist_filename: targets.allowlist_file.clone(),
            list_of_ips_filename: targets.hosts.as_ref().map(|hosts| hosts.file.clone()),
            list_of_ips_count: targets.hosts.as_ref().map(|hosts| hosts.distinct),
            dryrun: plan.dryrun,
            quiet: !plan.output.status_line,
            log_level: plan.output.verbosity,
            deduplication_method: plan.output.dedup.name().to_owned(),
            deduplication_window_size: window_size(facts),
            user_metadata: plan.report.user_metadata.clone(),
            notes: plan.report.notes.clone(),
            blocklisted_networks: prefixes(&targets.excluded.union(&finished.excluded)),
            allowlisted_networks: prefixes(&targets.explicit),
        }
    }
}

/// The window in which repeats were looked up, if there was one.
fn window_size(facts: &Facts<'_>) -> Option<u64> {
    let output = &facts.plan.output;
    match output.dedup {
        _ if facts.results.deduplicated_by_window > 0 => Some(output.dedup_window.get() as u64),
        DedupPlan::Window(size) => Some(size.get() as u64),
        DedupPlan::Full | DedupPlan::Targets | DedupPlan::None => None,
    }
}

/// The fewest prefixes that make up `set`, ascending, as ZMap writes them: a single address is a /32.
pub(super) fn prefixes(set: &RangeSet) -> Vec<String> {
    let prefixes = set.ranges().iter().flat_map(|range| {
        Ipv4Subnets::new(Ipv4Addr::from_bits(range.first()), Ipv4Addr::from_bits(range.last()), 0)
    });
    prefixes.map(|prefix| prefix.to_string()).collect()
}

fn time_after(start: Timestamp, elapsed: Duration) -> Timestamp {
    start.checked_add(SignedDuration::from_secs_f64(elapsed.as_secs_f64())).unwrap_or(start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use targets::ranges::AddressRange;

    #[test]
    fn sets_become_the_fewest_prefixes() {
        let range = |first, last| AddressRange::new(first, last).unwrap();
        let set: RangeSet =
            [range(0x0a00_0001, 0x0a00_0006), range(0xffff_ffff, 0xffff_ffff)].into_iter().collect();
        assert_eq!(
            prefixes(&set),
            ["10.0.0.1/32", "10.0.0.2/31", "10.0.0.4/31", "10.0.0.6/32", "255.255.255.255/32"]
        );
        assert_eq!(prefixes(&RangeSet::all()), ["0.0.0.0/0"]);
        assert!(prefixes(&RangeSet::default()).is_empty());
    }
}
