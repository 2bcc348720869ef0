//! What the log says of a scan before its first packet, and after its end.

use std::path::Path;

use tracing::{info, warn};

use super::{Record, ending};
use crate::nic::Hop;
use crate::packet::Link;
use crate::plan::{NetworkPlan, Plan};
use crate::targets::lines::name;

/// Says what is about to be scanned, and how.
pub(super) fn announce(plan: &Plan, may_reset: bool) {
    for warning in &plan.warnings {
        warn!(target: "plan", "{warning}");
    }
    let targets = &plan.targets;
    if let Some(list) = &targets.blocklist {
        let (file, entries, addresses) = (name(Path::new(&list.file)), list.entries, list.addresses);
        info!(target: "plan", "block list {file}: {entries} entries, {addresses} addresses");
    }
    if let Some(hosts) = &targets.hosts {
        info!(
            target: "plan",
            "{}: {} different targets and {} duplicates; {} are left out by other lists or reserved",
            name(Path::new(&hosts.file)),
            hosts.distinct,
            hosts.duplicates,
            hosts.left_out,
        );
    }
    info!(
        target: "plan",
        "{} targets of {} addresses {} {} ports, shard {} of {}, seed {}",
        targets.expected(),
        targets.space.addresses().len(),
        if targets.space.is_list_of_pairs() { "with" } else { "x" },
        targets.space.ports().len(),
        targets.shard,
        targets.shards,
        targets.permutation.seed(),
    );
    if let Some(rate) = plan.limits.rate_told(may_reset) {
        info!(target: "plan", "{rate}");
    }
    info!(target: "plan", "a reply proves itself by {}", plan.probe.proof());
    if let Some(what) = plan.output.included() {
        info!(target: "output", "what is written: {what}");
    }
    if !plan.dryrun {
        plan.networks().for_each(announce_network);
    }
}

fn announce_network(network: &NetworkPlan) {
    let Some(interface) = &network.interface else { return };
    let way = match (network.link, network.gateway_ip, &network.on_link) {
        (Link::Bare, ..) => "as bare IP packets".to_owned(),
        (_, Some(ip), _) => format!("to gateway {} ({ip})", network.gateway_mac),
        (_, None, None) => format!("to gateway {} (a given address)", network.gateway_mac),
        (_, None, Some(_)) => "to its own network".to_owned(),
    };
    if let Some(parent) = &network.parent {
        info!(target: "network", "{} is VLAN {} of {}", interface.name, network.tags, parent.name);
    }
    if !interface.other_names.is_empty() {
        info!(target: "network", "{} is also called {}", interface.name, interface.other_names.join(", "));
    }
    let sources: Vec<String> = network.sources.iter().take(4).map(ToString::to_string).collect();
    info!(target: "network", "{} from {} {way}", interface.name, sources.join(","));
    const TOLD: usize = 8;
    let by_own_route = network.networks.iter().filter_map(|(range, hop)| match hop {
        Hop::Gateway(number) => Some((range, network.other_gateways.get(number - 1)?)),
        _ => None,
    });
    for (range, (ip, mac)) in by_own_route.clone().take(TOLD) {
        info!(target: "network", "targets in {range} have a route of their own, to gateway {mac} ({ip})");
    }
    let more = by_own_route.count().saturating_sub(TOLD);
    if more > 0 {
        info!(target: "network", "targets in {more} more networks have routes of their own");
    }
}

/// What all programs counted under this name.
fn verdicts_of(record: &Record<'_>, name: &str) -> u64 {
    record.xdp.iter().flatten().filter(|(known, _)| *known == name).map(|(_, count)| count).sum()
}

/// Says how the scan went.
pub(super) fn conclude(record: &Record<'_>) {
    let total = record.end.total();
    let results = &record.collected.counts;
    info!(
        target: "summary",
        "{}: {} targets, {} probes sent in {:.2} s; {} replies, {} distinct successes, {} results written",
        record.end.reason.name(),
        total.targets,
        total.tx_sent,
        record.end.send_elapsed.as_secs_f64(),
        total.replies(),
        results.success_unique,
        results.written,
    );
    if total.targets_unreachable > 0 {
        let count = total.targets_unreachable;
        info!(target: "summary", "{count} targets were not probed: no route leads to them, or nobody on the own network has their addresses");
    }
    let own = verdicts_of(record, "pass_own_socket");
    if own > 0 {
        warn!(
            target: "summary",
            "{own} datagrams with a right cookie, or errors about such, came to ports of this host's own sockets and were left \
             to those"
        );
    }
    let unheard: u64 = verdicts_of(record, "valid_no_socket");
    if unheard > 0 {
        warn!(
            target: "summary",
            "{unheard} valid replies were lost: they came in on RX queues that nobody listens to, or as the scan ended"
        );
    }
    let polls = record.plan.workers.busy_poll.is_some();
    let unpolled = record.end.sockets.iter().filter(|(_, _, socket)| socket.received > 0 && !socket.has_napi);
    let unpolled = unpolled.filter(|_| polls).count();
    if unpolled > 0 {
        warn!(target: "summary", "--busy-poll: the kernel did not know what to poll for {unpolled} sockets, so it did not");
    }
    if total.tx_lost > 0 {
        let count = total.tx_lost;
        warn!(target: "summary", "{count} probes were lost: refused for good, or on the way to the driver");
    }
    let unconfirmed = total.tx_submitted - total.tx_sent - total.tx_lost;
    if unconfirmed > 0 {
        warn!(target: "summary", "{unconfirmed} probes were handed over and never reported sent");
    }
    if total.targets_again > 0 {
        info!(target: "summary", "{} targets were probed again, as the link had been down or a gateway had moved", total.targets_again);
    }
    record.losses.tell(&total);
    if total.rx_repeats > 0 && total.rx_record_drops == 0 {
        let count = total.rx_repeats;
        info!(target: "summary", "{count} repeats were left out early, as the output was slow; they are counted");
    }
    if total.rx_record_drops > 0 {
        warn!(target: "summary", "{} replies were lost because the output was too slow", total.rx_record_drops);
    }
    ending::tell_lost(record.collected);
    if total.rx_unasked > 0 {
        let count = total.rx_unasked;
        warn!(
            target: "summary",
            "{count} replies were about no target of the scan, so they are no results: forged, or another program's"
        );
    }
    if total.rx_socket_drops > 0 {
        let lost = total.rx_socket_drops;
        warn!(
            target: "summary",
            "{lost} replies were lost in the kernel because a ring was full, no frame was free, or they were longer than a frame \
             (some 1,790 bytes)"
        );
    }
}
