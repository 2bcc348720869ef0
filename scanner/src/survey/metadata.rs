//! From a scan's plan and end to its metadata.

use std::net::Ipv4Addr;

use ipnet::Ipv4Subnets;
use jiff::{SignedDuration, Timestamp};

use super::Record;
use super::monitor::failures;
use super::neighbors::Neighbors as Found;
use super::watch::Outage;
use super::wire::Link;
use crate::engine::{Counts, cores};
use crate::plan::{DedupPlan, NetworkPlan, Plan};
use crate::printable::printable;
use crate::report::metadata::{
    Interface, LinkOutage, Metadata, NamedCounts, Neighbors, ResolvedName, Socket, Steered, Time, Worker,
};
use crate::results::sink::SinkConfig;
use crate::secrets::redacted;
use crate::steering::Steering;
use crate::targets::list::HostName;
use crate::targets::ranges::RangeSet;
use crate::targets::{BATCH_MAX, Cursor, Interval, TargetBatch, merged};
use crate::{nic, packet};

/// What an XDP program counted, by name.
type Verdicts = Vec<(&'static str, u64)>;

pub(super) fn describe(record: &Record<'_>) -> Metadata {
    let mut metadata = planned(record.plan);
    let total = record.end.total();
    let results = &record.collected.counts;
    let sent_at = time_after(record.started, record.end.send_elapsed.as_secs_f64());
    let verdicts = added_up(&record.xdp);
    let xdp = |name: &str| verdicts.iter().find(|(known, _)| *known == name).map_or(0, |(_, value)| *value);
    metadata.output_results = results.written;
    metadata.output_lost = results.output_lost;
    metadata.output_error = record.collected.output.as_ref().err().map(|error| shown(error.to_string()));
    metadata.deduplicated_by_window = results.deduplicated_by_window;
    if results.deduplicated_by_window > 0 {
        metadata.deduplication_window_size = Some(record.plan.output.dedup_window.get() as u64);
    }
    metadata.hitrate = 100.0 * results.success_unique as f64 / total.targets.max(1) as f64;
    metadata.pcap_recv = total.rx_frames;
    metadata.pcap_drop = total.rx_record_drops + total.rx_socket_drops;
    metadata.pcap_ifdrop = record.losses.dropped.incoming;
    metadata.interface_tx_dropped = record.losses.dropped.outgoing;
    metadata.replies_vanished = record.losses.vanished;
    metadata.ip_fragments = xdp("pass_fragment");
    metadata.validation_passed = total.replies();
    metadata.validation_failed =
        total.rx_invalid + total.rx_unasked + xdp("pass_bad_cookie") + xdp("drop_bad_cookie");
    metadata.send_to_failures = failures(&total);
    metadata.packets_sent = total.tx_sent;
    metadata.targets_scanned = total.targets;
    metadata.success_total = results.success_total + total.rx_repeats_success;
    metadata.success_unique = results.success_unique;
    if record.plan.probe.module.info().has_app_success {
        metadata.app_success_total = Some(results.app_success_total + total.rx_repeats_app_success);
        metadata.app_success_unique = Some(results.app_success_unique);
    }
    metadata.success_cooldown_total = results.success_cooldown_total + total.rx_repeats_success_cooldown;
    metadata.success_cooldown_unique = results.success_cooldown_unique;
    metadata.failure_total = results.failure_total + total.rx_repeats - total.rx_repeats_success;
    metadata.send_start_time = Some(Time::local(record.started));
    metadata.send_end_time = Some(Time::local(sent_at));
    metadata.recv_start_time = Some(Time::local(record.started));
    metadata.recv_end_time = Some(Time::local(Timestamp::now()));
    metadata.send_seconds = record.end.send_elapsed.as_secs_f64();
    metadata.io_mode.clone_from(&record.wire.mode);
    metadata.io_mode_reason = record.wire.reasons.join("; ");
    metadata.neighbors = neighbors(&record.plan.network, record.neighbors[0].as_ref());
    metadata.interfaces = interfaces(record);
    metadata.steered = steered(record);
    metadata.probes_file = record.plan.output.probes_file.as_ref().map(printable);
    metadata.probes_missed = record.probes_missed;
    metadata.workers = workers(record);
    metadata.senders = metadata.workers.len() as u32;
    metadata.tx_queues = metadata.senders;
    metadata.sockets = record
        .end
        .sockets
        .iter()
        .map(|(worker, queue, socket)| Socket {
            interface: match &record.plan.replies {
                Some(replies) if socket.is_reply_interface => Some(replies.name.clone()),
                _ => interface_of(record, *worker),
            },
            queue: *queue,
            zero_copy: socket.zero_copy,
            busy_polled: record.plan.workers.busy_poll.map(|_| socket.has_napi),
            received: socket.received,
            rx_dropped: socket.rx_dropped,
            rx_ring_full: socket.rx_ring_full,
            rx_fill_ring_empty: socket.rx_fill_ring_empty,
            tx_invalid_descriptors: socket.tx_invalid_descriptors,
        })
        .collect();
    metadata.counters = NamedCounts::from(&total);
    metadata.xdp_counters = verdicts.iter().copied().collect();
    metadata.link_outages = record.outages.iter().map(outage).collect();
    metadata.targets_left = match record.end.reason.is_whole() {
        true => 0,
        false => record.plan.targets.expected().saturating_sub(total.targets_done()),
    };
    metadata.targets_in_doubt = record.end.in_doubt.iter().map(|part| targets_in(record.plan, *part)).sum();
    let open = record.end.left.iter().chain(&record.end.in_doubt).copied().collect();
    metadata.intervals_left = merged(open).iter().map(|part| [part.start, part.end]).collect();
    metadata.end_reason = record.end.reason.name().to_owned();
    metadata.exit_code = record.exit_code;
    metadata
}

/// The verdicts of all programs together.
fn added_up(programs: &[Verdicts]) -> Verdicts {
    let mut sum = programs.first().cloned().unwrap_or_default();
    for program in programs.iter().skip(1) {
        sum.iter_mut().zip(program).for_each(|(sum, (_, value))| sum.1 += value);
    }
    sum
}

fn neighbors(network: &NetworkPlan, found: Option<&Found>) -> Option<Neighbors> {
    let (on_link, found) = (network.on_link.as_ref()?, found?);
    Some(Neighbors {
        networks: on_link.networks.iter().map(ToString::to_string).collect(),
        targets: on_link.targets.len(),
        answered: found.answered,
        requests: found.requests,
    })
}

fn name_of(network: &NetworkPlan) -> String {
    network.interface.as_ref().map(|interface| interface.name.clone()).unwrap_or_default()
}

/// The interface of a worker, where there are several.
fn interface_of(record: &Record<'_>, worker: usize) -> Option<String> {
    let several = !record.plan.other_networks.is_empty();
    let interface = record.wire.interfaces.get(worker).filter(|_| several)?;
    record.plan.networks().nth(*interface).map(name_of)
}

/// What each interface has of its own, where there are several.
fn interfaces(record: &Record<'_>) -> Vec<Interface> {
    let describe =
        |((network, link), (xdp, found)): ((&NetworkPlan, &Link), (&Verdicts, &Option<Found>))| Interface {
            interface: name_of(network),
            parent: network.parent.as_ref().map(|parent| parent.name.clone()),
            vlan_ids: network.tags.ids().collect(),
            driver: network.device().and_then(|device| device.driver.clone()),
            io_mode: link.mode.name().to_owned(),
            rx_queues: network.queues.len() as u32,
            workers: link.workers,
            source_mac: network.source_mac.to_string(),
            gateway_mac: network.gateway_mac.to_string(),
            gateway_ip: network.gateway_ip.map(|ip| ip.to_string()),
            source_ips: network.sources.iter().map(ToString::to_string).collect(),
            neighbors: neighbors(network, found.as_ref()),
            xdp_counters: xdp.iter().copied().collect(),
        };
    let several = !record.plan.other_networks.is_empty();
    let links = record.plan.networks().zip(&record.wire.links).filter(|_| several);
    links.zip(record.xdp.iter().zip(record.neighbors)).map(describe).collect()
}

/// The tables that replies were steered by.
fn steered(record: &Record<'_>) -> Vec<Steered> {
    let entries = record.steering.into_iter().flat_map(Steering::entries);
    let networks = record.plan.networks().filter_map(|network| Some((network.device()?, network)));
    let describe = |(entries, (device, network)): (usize, (&nic::Interface, &NetworkPlan))| Steered {
        interface: device.name.clone(),
        queues: network.queues.clone(),
        entries,
    };
    entries.zip(networks).map(describe).collect()
}

fn outage(outage: &Outage) -> LinkOutage {
    LinkOutage {
        interface: outage.interface.clone(),
        reason: if outage.gateway_moved { "gateway-moved" } else { "link-down" },
        began: Time::local(outage.began),
        seconds: outage.lasted.as_secs_f64(),
        recovered: outage.is_over,
    }
}

/// How many targets an interval of the order holds. It is walked for that, so let it be short.
fn targets_in(plan: &Plan, interval: Interval) -> u64 {
    let mut cursor = Cursor::new(&plan.targets.permutation, interval);
    let mut indices = [0; BATCH_MAX];
    std::iter::repeat_with(|| cursor.fill(&mut indices) as u64).take_while(|&found| found > 0).sum()
}

fn workers(record: &Record<'_>) -> Vec<Worker> {
    let wire = record.wire;
    let describe = |(i, counts): (usize, &Counts)| Worker {
        worker: i as u32,
        interface: interface_of(record, i),
        cpu: Some(wire.cores[i % wire.cores.len()]),
        numa_node: cores::node_of(wire.cores[i % wire.cores.len()]),
        sender_cpu: wire.sender_cores.get(i).copied(),
        tx_queue: wire.sets.get(i).and_then(|set| set.queues.first().copied()),
        rx_queues: wire.sets.get(i).map(|set| set.queues.clone()).unwrap_or_default(),
        counters: NamedCounts::from(counts),
    };
    record.end.workers.iter().enumerate().map(describe).collect()
}

/// What the plan alone says.
fn planned(plan: &Plan) -> Metadata {
    let (targets, probe, network) = (&plan.targets, &plan.probe, &plan.network);
    let addresses = targets.space.addresses();
    let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
    let on_ethernet = network.link == packet::Link::Ethernet;
    let last_port = u32::from(probe.source_ports.first) + probe.source_ports.count - 1;
    Metadata {
        full_hostname: full_hostname(&host),
        local_hostname: host,
        source_port_first: probe.source_ports.first,
        source_port_last: last_port as u16,
        target_ports: targets.space.ports().as_slice().to_vec(),
        max_targets: targets.max_targets.unwrap_or(0),
        max_runtime: plan.limits.max_runtime.map_or(0, |limit| limit.as_secs()),
        max_results: plan.limits.max_results.map_or(0, Into::into),
        iface: plan.networks().map(name_of).collect::<Vec<_>>().join(","),
        rate: plan.limits.rate_pps,
        bandwidth: plan.limits.bandwidth_bps.unwrap_or(0),
        cooldown_secs: plan.limits.cooldown.as_secs(),
        seed: targets.permutation.seed(),
        seed_provided: targets.seed_given,
        generator: Some(targets.permutation.root()),
        shard_num: targets.shard,
        total_shards: targets.shards,
        min_hitrate: plan.limits.min_hitrate_percent,
        max_sendto_failures: plan
            .limits
            .max_send_failures
            .map_or(-1, |most| most.min(i64::MAX as u64) as i64),
        syslog: plan.report.syslog,
        default_mode: plan.output.default_mode,
        blocklist_total_allowed: addresses.len(),
        blocklist_total_not_allowed: (1 << 32) - addresses.len(),
        first_scanned: first_scanned(plan),
        packet_streams: probe.copies,
        probe_module: probe.module.info().name.to_owned(),
        probe_args: probe.args.clone(),
        probe_ttl: probe.ttl,
        output_module: listed(plan.output.sinks.iter().map(|sink| sink.module.name())),
        log_file: plan.report.log_file.clone(),
        log_directory: plan.report.log_directory.clone(),
        cli_cidr_destinations: targets.typed.iter().map(shown).collect(),
        output_args: plan.report.output_args.as_ref().map(shown),
        gateway_mac: (on_ethernet && !network.has_neighbors_only()).then(|| network.gateway_mac.to_string()),
        gateway_ip: network.gateway_ip.map(|ip| ip.to_string()),
        source_mac: on_ethernet.then(|| network.source_mac.to_string()),
        source_ips: plan.sources().iter().map(ToString::to_string).collect(),
        output_filename: Some(listed(plan.output.sinks.iter().map(SinkConfig::place))),
        blocklist_filename: targets.blocklist.as_ref().map(|list| list.file.clone()),
        allowlist_filename: targets.allowlist_file.clone(),
        list_of_ips_filename: targets.hosts.as_ref().map(|hosts| hosts.file.clone()),
        list_of_ips_count: targets.hosts.as_ref().map(|hosts| hosts.distinct),
        resolved_names: targets.names.iter().map(resolved).collect(),
        blocklisted_networks: prefixes(&targets.excluded),
        allowlisted_networks: prefixes(&targets.explicit),
        dryrun: plan.dryrun,
        quiet: !plan.output.status_line,
        log_level: plan.output.verbosity,
        deduplication_method: plan.output.dedup.name().to_owned(),
        deduplication_window_size: match plan.output.dedup {
            DedupPlan::Window(size) => Some(size.get() as u64),
            DedupPlan::Full | DedupPlan::Targets | DedupPlan::None => None,
        },
        deduplication_memory: plan.output.dedup.is_exact().then_some(plan.output.dedup_memory),
        user_metadata: plan.report.user_metadata.clone(),
        notes: plan.report.notes.clone(),
        answer_bits: rounded(probe.proof().answer_bits),
        icmp_error_bits: rounded(probe.proof().error_bits),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        command_line: std::env::args_os().map(|word| shown(printable(word))).collect(),
        config_arguments: plan.report.config_arguments.iter().map(shown).collect(),
        kernel_release: nix::sys::utsname::uname()
            .map(|name| name.release().to_string_lossy().into_owned())
            .unwrap_or_default(),
        driver: network.device().and_then(|interface| interface.driver.clone()),
        reply_iface: plan.replies.as_ref().map(|replies| replies.name.clone()),
        parent_iface: network.parent.as_ref().map(|parent| parent.name.clone()),
        vlan_ids: network.tags.ids().collect(),
        rx_queues: plan.workers.queues,
        busy_poll: plan.workers.busy_poll.filter(|_| !plan.dryrun),
        targets_hash: targets.order_hash.to_string(),
        plan_hash: plan.hash(),
        ..Metadata::default()
    }
}

/// What was typed, as anybody may read it.
fn shown(word: impl AsRef<str>) -> String {
    redacted(word.as_ref()).into_owned()
}

/// To one digit behind the point.
fn rounded(bits: f64) -> f64 {
    (bits * 10.0).round() / 10.0
}

/// One word, or several with commas between them.
fn listed<S: Into<String>>(words: impl Iterator<Item = S>) -> String {
    words.map(Into::into).collect::<Vec<String>>().join(",")
}

fn resolved(name: &HostName) -> ResolvedName {
    let addresses = name.addresses.iter().map(ToString::to_string).collect();
    let suffix = if name.bits == 32 { String::new() } else { format!("/{}", name.bits) };
    ResolvedName { name: format!("{}{suffix}", name.name), addresses }
}

/// The name with domain that `/etc/hosts` has for this host, if it has one. Nobody else is asked: a name server may be
/// slow, and a scan should end.
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

/// The first address of the shard's arc.
fn first_scanned(plan: &Plan) -> u32 {
    let (targets, mut batch, mut first) = (&plan.targets, TargetBatch::default(), [0]);
    let found = Cursor::new(&targets.permutation, targets.arc).fill(&mut first);
    targets.space.resolve(&first[..found], &mut batch);
    if found == 1 { batch.addresses[0].swap_bytes() } else { 0 }
}

/// The fewest prefixes that make up `set`, ascending, as ZMap writes them: a single address is a /32.
fn prefixes(set: &RangeSet) -> Vec<String> {
    let prefixes = set.ranges().iter().flat_map(|range| {
        Ipv4Subnets::new(Ipv4Addr::from_bits(range.first()), Ipv4Addr::from_bits(range.last()), 0)
    });
    prefixes.map(|prefix| prefix.to_string()).collect()
}

fn time_after(start: Timestamp, seconds: f64) -> Timestamp {
    start.checked_add(SignedDuration::from_secs_f64(seconds)).unwrap_or(start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::targets::ranges::AddressRange;

    #[test]
    fn hosts_files() {
        let hosts = "127.0.0.1 localhost\n# 1.2.3.4 no.example host\n192.0.2.7\thost.example host # host x\n";
        assert_eq!(canonical_name(hosts, "HOST").as_deref(), Some("host.example"));
        assert_eq!(canonical_name(hosts, "x"), None);
        assert_eq!(canonical_name(hosts, "192.0.2.7"), None);
    }

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
