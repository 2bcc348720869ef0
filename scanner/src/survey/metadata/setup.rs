//! The first of ZMap's keys: where, what, how fast and until when was scanned.

use serde::Serialize;

use super::facts::Facts;
use super::values::{as_number, as_short_number, listed, name_of};

/// First keys of the metadata.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Setup {
    /// Host name.
    pub(super) local_hostname: String,
    /// Host name with its domain, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) full_hostname: Option<String>,
    /// First source port.
    pub(super) source_port_first: u16,
    /// Last source port.
    pub(super) source_port_last: u16,
    /// Target ports.
    pub(super) target_ports: Vec<u16>,
    /// Limit on targets; 0: none.
    pub(super) max_targets: u64,
    /// Limit on the time of sending in seconds; 0: none.
    pub(super) max_runtime: u64,
    /// Limit on results; 0: none.
    pub(super) max_results: u64,
    /// Results written.
    pub(super) output_results: u64,
    /// Interface.
    pub(super) iface: String,
    /// Probes per second that were requested; 0: not limited.
    #[serde(serialize_with = "as_short_number")]
    pub(super) rate: f64,
    /// Bits per second that were requested; 0: the limit is `rate`.
    pub(super) bandwidth: u64,
    /// Seconds that replies were awaited after the last probe.
    pub(super) cooldown_secs: u64,
    /// Sending workers.
    pub(super) senders: u32,
    /// Seed of the permutation.
    pub(super) seed: u64,
    /// Whether the seed was given by the user.
    #[serde(serialize_with = "as_number")]
    pub(super) seed_provided: bool,
    /// Generator of the permutation's group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) generator: Option<u64>,
    /// Unique successes in percent of the targets scanned; 0 when there were none.
    pub(super) hitrate: f64,
    /// This shard, from 0.
    pub(super) shard_num: u32,
    /// Shards of the scan.
    pub(super) total_shards: u32,
    /// Limit below which the hit rate in percent was not to stay; 0: none.
    pub(super) min_hitrate: f64,
    /// Limit on the probes that the kernel refused; -1: none.
    pub(super) max_sendto_failures: i64,
    /// Whether the system's log was written to, if there is one.
    #[serde(serialize_with = "as_number")]
    pub(super) syslog: bool,
    /// Whether only unique successes were written because nothing else was requested.
    #[serde(serialize_with = "as_number")]
    pub(super) default_mode: bool,
}

impl Setup {
    pub(super) fn of(facts: &Facts<'_>) -> Self {
        let plan = facts.plan;
        let (targets, limits, ports) = (&plan.targets, &plan.limits, plan.probe.source_ports);
        let host =
            nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
        Self {
            full_hostname: full_hostname(&host),
            local_hostname: host,
            source_port_first: ports.first,
            source_port_last: (u32::from(ports.first) + ports.count - 1) as u16,
            target_ports: targets.space.ports().as_slice().to_vec(),
            max_targets: targets.max_targets.unwrap_or(0),
            max_runtime: limits.max_runtime.map_or(0, |limit| limit.as_secs()),
            max_results: limits.max_results.map_or(0, Into::into),
            output_results: facts.results.written,
            iface: listed(plan.networks().map(name_of)),
            rate: limits.rate_pps,
            bandwidth: limits.bandwidth_bps.unwrap_or(0),
            cooldown_secs: limits.cooldown.as_secs(),
            senders: facts.finished.end.workers.len() as u32,
            seed: targets.permutation.seed(),
            seed_provided: targets.seed_given,
            generator: Some(targets.permutation.root()),
            hitrate: 100.0 * facts.results.success_unique as f64 / facts.total.targets.max(1) as f64,
            shard_num: targets.shard,
            total_shards: targets.shards,
            min_hitrate: limits.min_hitrate_percent,
            max_sendto_failures: limits.max_send_failures.map_or(-1, |most| most.min(i64::MAX as u64) as i64),
            syslog: plan.report.syslog,
            default_mode: plan.output.default_mode,
        }
    }
}

/// The name with domain that `/etc/hosts` has for this host, if it has one. No name server is queried: it may be slow,
/// and the scan should end.
fn full_hostname(host: &str) -> Option<String> {
    canonical_name(&std::fs::read_to_string("/etc/hosts").ok()?, host)
}

/// The first name of the first line of a hosts file that has the name `host`.
fn canonical_name(hosts: &str, host: &str) -> Option<String> {
    let mut lines = hosts.lines().map(|line| line.split('#').next().unwrap_or_default());
    lines.find_map(|line| {
        let mut names = line.split_whitespace().skip(1);
        let canonical = names.clone().next()?;
        names.any(|name| name.eq_ignore_ascii_case(host)).then(|| canonical.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_files() {
        let hosts = "127.0.0.1 localhost\n# 1.2.3.4 no.example host\n192.0.2.7\thost.example host # host x\n";
        assert_eq!(canonical_name(hosts, "HOST").as_deref(), Some("host.example"));
        assert_eq!(canonical_name(hosts, "x"), None);
        assert_eq!(canonical_name(hosts, "192.0.2.7"), None);
    }
}
