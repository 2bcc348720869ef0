//! The first of xdpmap's own keys: the means by which was scanned.

use serde::Serialize;
use targets::list::HostName;

use super::facts::Facts;
use super::parts::{Interface, Neighbors, ResolvedName, Steered};
use super::values::{ShortNumber, name_of, shown};
use crate::nic;
use crate::plan::NetworkPlan;
use crate::printable::printable;
use crate::sandbox;
use crate::survey::finished::Finished;
use crate::survey::neighbors::Neighbors as Found;
use crate::survey::nics::ClosedLink;

/// The means by which was scanned.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Means {
    /// Host names, and the addresses that they resolved to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) resolved_names: Vec<ResolvedName>,
    /// Which targets were on the interface's own network; absent if none was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) neighbors: Option<Neighbors>,
    /// What differs per interface, if there are several. Otherwise other keys have it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) interfaces: Vec<Interface>,
    /// Bits of the cookie that a target's answer has to repeat. If kinds of answers differ, the fewest.
    pub(super) answer_bits: f64,
    /// Bits of the cookie that an ICMP error has to quote.
    pub(super) icmp_error_bits: f64,
    /// Version of xdpmap.
    pub(super) version: String,
    /// The git commit that xdpmap was built on; absent if it was not built in a repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) commit: Option<&'static str>,
    /// The command line, one string per argument, the program's name first.
    pub(super) command_line: Vec<String>,
    /// Arguments from the environment and from config files, which precede those of the command line.
    pub(super) config_arguments: Vec<String>,
    /// Where it is described who sent the probes and why; absent if that was not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) attribution: Option<String>,
    /// Which probes had it in them: `all`, `some` or `none`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) attribution_in_probes: Option<&'static str>,
    /// The batch system that has chosen the shard; absent if none has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) batch_engine: Option<&'static str>,
    /// How it was reckoned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) batch_reckoning: Option<String>,
    /// How often the batch system had started the task again; absent if it does not say so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) batch_restarts: Option<u64>,
    /// Probes per second of all shards together that were requested; absent if `rate` was requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) total_rate: Option<ShortNumber>,
    /// Release of the kernel, as `uname -r` prints it.
    pub(super) kernel_release: String,
    /// The other interface on which replies were received, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reply_iface: Option<String>,
    /// The interface below the scan's, if that is a VLAN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) parent_iface: Option<String>,
    /// Numbers of the VLANs that the frames are tagged with, outer first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) vlan_ids: Vec<u16>,
    /// Driver of the interface that frames go through, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) driver: Option<String>,
    /// The driver's version; the kernel's, if it came with the kernel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) driver_version: Option<String>,
    /// The version of the device's firmware, if the driver tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) firmware: Option<String>,
    /// Back end and mode that were used.
    pub(super) io_mode: String,
    /// Why no better mode was used.
    pub(super) io_mode_reason: String,
    /// Packets per poll of the driver; absent without `--busy-poll`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) busy_poll: Option<u16>,
    /// Where copies of the probes went; absent if none were kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) probes_file: Option<String>,
    /// Probes that are not in that file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) probes_missed: Option<u64>,
    /// RX queues of the interface that were read.
    pub(super) rx_queues: u32,
    /// RSS indirection tables that were set for the duration of the scan; absent if none was.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) steered: Vec<Steered>,
    /// TX queues of the interface that were used for sending.
    pub(super) tx_queues: u32,
    /// What confined the scan.
    pub(super) sandbox: sandbox::Report,
    /// Seconds from the first probe to the last.
    pub(super) send_seconds: f64,
}

impl Means {
    pub(super) fn of(facts: &Facts<'_>) -> Self {
        let Facts { plan, finished, .. } = facts;
        let (network, proof) = (&plan.network, plan.probe.proof());
        let task = plan.report.task.as_ref();
        let kernel = nix::sys::utsname::uname();
        Self {
            resolved_names: plan.targets.names.iter().map(resolved).collect(),
            neighbors: neighbors(network, finished.neighbors[0].as_ref()),
            interfaces: interfaces(finished),
            answer_bits: rounded(proof.answer_bits),
            icmp_error_bits: rounded(proof.error_bits),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: option_env!("XDPMAP_BUILT_ON"),
            command_line: std::env::args_os().map(|word| shown(printable(word))).collect(),
            config_arguments: plan.report.config_arguments.iter().map(shown).collect(),
            attribution: plan.probe.attribution.as_ref().map(ToString::to_string),
            attribution_in_probes: plan.probe.attributed().map(|(_, carried)| carried.name()),
            batch_engine: task.map(|task| task.engine),
            batch_reckoning: task.map(|task| task.reckoning.clone()),
            batch_restarts: task.and_then(|task| task.restarts),
            total_rate: plan.limits.total_rate_pps.map(ShortNumber),
            kernel_release: kernel
                .map(|name| name.release().to_string_lossy().into_owned())
                .unwrap_or_default(),
            reply_iface: plan.replies.as_ref().map(|replies| replies.name.clone()),
            parent_iface: network.parent.as_ref().map(|parent| parent.name.clone()),
            vlan_ids: network.tags.ids().collect(),
            driver: network.device().and_then(|device| device.driver.clone()),
            driver_version: network.device().and_then(|device| device.driver_info.version.clone()),
            firmware: network.device().and_then(|device| device.driver_info.firmware.clone()),
            io_mode: finished.nics.mode.clone(),
            io_mode_reason: finished.nics.reasons.join("; "),
            busy_poll: plan.workers.busy_poll.filter(|_| !plan.dryrun),
            probes_file: plan.output.probes_file.as_ref().map(printable),
            probes_missed: finished.outputs.tapped.as_ref().map(|tapped| tapped.missed),
            rx_queues: plan.workers.queues,
            steered: steered(finished),
            tx_queues: finished.end.workers.len() as u32,
            sandbox: sandbox::report(),
            send_seconds: finished.end.send_elapsed.as_secs_f64(),
        }
    }
}

fn resolved(name: &HostName) -> ResolvedName {
    let addresses = name.addresses.iter().map(ToString::to_string).collect();
    let suffix = if name.bits == 32 { String::new() } else { format!("/{}", name.bits) };
    ResolvedName { name: format!("{}{suffix}", name.name), addresses }
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

/// What differs per interface, if there are several.
fn interfaces(finished: &Finished<'_>) -> Vec<Interface> {
    let describe = |((network, link), found): ((&NetworkPlan, &ClosedLink), &Option<Found>)| Interface {
        interface: name_of(network),
        parent: network.parent.as_ref().map(|parent| parent.name.clone()),
        vlan_ids: network.tags.ids().collect(),
        driver: network.device().and_then(|device| device.driver.clone()),
        driver_version: network.device().and_then(|device| device.driver_info.version.clone()),
        firmware: network.device().and_then(|device| device.driver_info.firmware.clone()),
        io_mode: link.mode.name().to_owned(),
        rx_queues: network.queues.len() as u32,
        workers: link.workers,
        source_mac: network.source_mac.to_string(),
        gateway_mac: network.gateway_mac.to_string(),
        gateway_ip: network.gateway_ip.map(|ip| ip.to_string()),
        source_ips: network.sources.iter().map(ToString::to_string).collect(),
        neighbors: neighbors(network, found.as_ref()),
        xdp_counters: link.verdicts.iter().copied().collect(),
    };
    let several = !finished.plan.other_networks.is_empty();
    let links = finished.plan.networks().zip(&finished.nics.links).filter(|_| several);
    links.zip(&finished.neighbors).map(describe).collect()
}

/// The tables that steered the replies.
fn steered(finished: &Finished<'_>) -> Vec<Steered> {
    let entries = finished.nics.steered.iter();
    let networks = finished.plan.networks().filter_map(|network| Some((network.device()?, network)));
    let describe = |(&entries, (device, network)): (&usize, (&nic::Interface, &NetworkPlan))| Steered {
        interface: device.name.clone(),
        queues: network.queues.clone(),
        entries,
    };
    entries.zip(networks).map(describe).collect()
}

/// Rounded to one decimal.
fn rounded(bits: f64) -> f64 {
    (bits * 10.0).round() / 10.0
}
