//! One interface and its route, as a scan would find them.

use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;

use wire::packet::LinkHeader;

use super::finding::Finding;
use super::kernel::{Version, XDP_FEATURES};
use super::outlook::Outlook;
use super::settings::{self, interrupts};
use crate::engine::cores;
use crate::exit::Exit;
use crate::io::bpf::holder;
use crate::nic::ethtool::{Ethtool, Setting};
use crate::nic::{self, Interface, Route, XdpFeatures};
use crate::plan::PACKET_MAY_HELP;
use crate::printable::without_numbers;

/// Offloads that prevent an XDP program in the driver.
const AGAINST_XDP: [&str; 2] = [settings::LRO, settings::GRO_HW];
/// A receive ring with fewer descriptors loses packets in a burst. Lower: rings that are too short are not reported.
/// Higher: rings that suffice are reported.
const RX_RING_SHORT: u32 = 1024;

/// The finding if there is no interface to examine.
pub(super) fn none() -> Finding {
    Finding::fail(Exit::Interface, "interface", "there is no default route, so the interface is not known")
        .means("name one with -i, here as for a scan")
}

/// Examines `interface`. If it cannot carry a scan, there is no outlook. `xdp` is whether a scan would use XDP there.
pub(super) fn examine(interface: &Interface, xdp: bool) -> (Vec<Finding>, Option<Outlook>) {
    let mut findings = vec![link(interface)];
    if interface.is_loopback || interface.link.is_none() {
        return (findings, None);
    }
    if interface.link == Some(LinkHeader::Bare) {
        findings.extend([driver(interface), source(interface)]);
        let outlook = Outlook::packet("XDP needs Ethernet headers");
        findings.extend(outlook.findings(None));
        return (findings, Some(outlook));
    }
    let below = below(interface);
    // The interface that frames go through.
    let device = below.as_ref().unwrap_or(interface);
    let name = device.name.as_str();
    if let (Some(vlan), Some(below)) = (interface.vlan, &below) {
        let found = format!("{} on {}, which the following is about", vlan.id, below.name);
        findings.push(Finding::ok("VLAN", found));
    }
    if device.is_bond() {
        findings.extend([driver(device), source(interface), gateway(interface)]);
        let outlook = Outlook::packet(
            "XDP on a bond runs on its members, whose packets do not reach sockets of the bond",
        );
        findings.extend(outlook.findings(speed_mbps(name)));
        return (findings, Some(outlook));
    }
    let ethtool = Ethtool::new(name).ok();
    let ethtool = ethtool.as_ref();
    findings.push(driver(device));
    findings.push(features(device));
    if xdp {
        findings.push(holder(device));
    }
    findings.push(mtu(device));
    findings.push(queues(device, ethtool));
    findings.extend(rings(name, ethtool));
    findings.extend(offloads(name, ethtool));
    findings.extend(hidden_tags(name, ethtool));
    findings.extend(placement(device));
    findings.push(source(interface));
    findings.push(gateway(interface));
    let outlook = match xdp {
        true => Outlook::of(device),
        false => Outlook::packet("only CAP_NET_RAW is present, and XDP needs more"),
    };
    findings.extend(outlook.findings(speed_mbps(name)));
    (findings, Some(outlook))
}

/// The interface below a VLAN, or below two.
pub(super) fn below(interface: &Interface) -> Option<Interface> {
    let parent = Interface::by_index(interface.vlan?.parent).ok()?;
    Some(below(&parent).unwrap_or(parent))
}

fn link(interface: &Interface) -> Finding {
    let name = &interface.name;
    let fail = |found: &str| Finding::fail(Exit::Interface, "link", found);
    if interface.is_loopback {
        return fail("it leads back to this host")
            .means("the kernel drops packets there that come from one of its own addresses");
    }
    let header = match (interface.link, interface.mac) {
        (None, _) => return fail("its frames have a header that is not Ethernet's"),
        (Some(LinkHeader::Bare), _) => "no Ethernet header (a tunnel)".to_owned(),
        (Some(LinkHeader::Ethernet), mac) => mac.unwrap_or_default().to_string(),
    };
    match (interface.is_up, interface.has_carrier) {
        (false, _) => fail("down").remedy(format!("ip link set dev {name} up")),
        (_, false) => fail("no carrier").means("plug the cable in, or bring the other end up"),
        (true, true) => {
            // A tunnel's speed is invented by its driver.
            let speed = speed_mbps(name).filter(|_| interface.link == Some(LinkHeader::Ethernet));
            let speed = speed.map_or_else(String::new, |mbps| format!(", {mbps} Mbit/s"));
            Finding::ok("link", format!("up, {header}{speed}"))
        }
    }
}

fn speed_mbps(name: &str) -> Option<u64> {
    // -1 if it is not known.
    fs::read_to_string(format!("/sys/class/net/{name}/speed")).ok()?.trim().parse().ok()
}

fn driver(interface: &Interface) -> Finding {
    Finding::ok("driver", interface.driver.as_deref().unwrap_or("none"))
}

fn features(interface: &Interface) -> Finding {
    if Version::running() < XDP_FEATURES {
        return Finding::note("XDP", "unknown: the kernel reports it from 6.3 on");
    }
    let features = match XdpFeatures::of(interface.index) {
        Ok(features) => features,
        Err(error) => {
            return Finding::note(
                "XDP",
                format!("the kernel does not report it: {}", without_numbers(&error.to_string())),
            );
        }
    };
    let all = [
        (features.native(), "native"),
        (features.zero_copy(), "zero-copy"),
        (features.redirect(), "redirect"),
        (features.redirect_target(), "redirect target (live frames)"),
        (features.multi_buffer(), "multi-buffer"),
    ];
    let listed = |wanted: bool| {
        let words: Vec<&str> = all.iter().filter(|(has, _)| *has == wanted).map(|(_, word)| *word).collect();
        words.join(", ")
    };
    match (listed(true).as_str(), listed(false).as_str()) {
        ("", _) => {
            Finding::note("XDP", "not in the driver").means("the network stack runs the program: slower")
        }
        (has, "") => Finding::ok("XDP", has),
        (has, lacks) if features.zero_copy() => Finding::ok("XDP", format!("{has}; not: {lacks}")),
        (has, lacks) => Finding::note("XDP", format!("{has}; not: {lacks}")),
    }
}

fn holder(interface: &Interface) -> Finding {
    match &interface.xdp {
        None => Finding::ok("XDP holder", "none"),
        Some(holder) => {
            let text = holder::describe(Some(holder), &interface.name) + PACKET_MAY_HELP;
            Finding::fail(Exit::Interface, "XDP holder", text)
        }
    }
}

fn mtu(interface: &Interface) -> Finding {
    let Interface { mtu, name, .. } = interface;
    match mtu {
        ..=1_500 => Finding::ok("MTU", mtu.to_string()),
        _ => Finding::note("MTU", mtu.to_string())
            .means("many drivers run no XDP program, or no zero-copy, above about 3,500 bytes, and probes need 60")
            .remedy(format!("ip link set dev {name} mtu 1500")),
    }
}

fn queues(interface: &Interface, ethtool: Option<&Ethtool>) -> Finding {
    let Interface { name, rx_queues, .. } = interface;
    let cores = cores::choose(&[]).map_or(1, |cores| cores.len()) as u32;
    let Some(channels) = ethtool.and_then(|ethtool| ethtool.channels().ok()) else {
        return Finding::ok("queues", format!("{rx_queues} to receive; the driver reports nothing else"));
    };
    let said = |word: &str, setting: Setting| {
        (setting.max > 0).then(|| format!("{word} {} of at most {}", setting.now, setting.max))
    };
    let words =
        [said("combined", channels.combined), said("receive", channels.rx), said("transmit", channels.tx)];
    let channels_said = words.into_iter().flatten().collect::<Vec<_>>().join(", ");
    let found = format!("{rx_queues} to receive; channels: {channels_said}");
    let most = settings::usable_channels(interface.driver.as_deref(), channels.combined.max);
    if channels.combined.now > most {
        return Finding::warn("queues", found)
            .means("this driver runs no XDP program while more than half of its channels are in use")
            .remedy(format!("ethtool -L {name} combined {most}"));
    }
    if interface.tx_queues < *rx_queues {
        let sending = interface.tx_queues;
        return Finding::note("queues", found)
            .means(format!(
                "replies are received on all of them, but only {sending} can send, so a scan has no more workers"
            ))
            .remedy(format!("ethtool -L {name} tx {rx_queues}"));
    }
    let wanted = cores.min(most);
    match channels.combined.now {
        now if wanted > now => Finding::note("queues", found)
            .means(format!("a scan has at most one worker per queue, and {cores} cores are available"))
            .remedy(format!("ethtool -L {name} combined {wanted}")),
        _ => Finding::ok("queues", found),
    }
}

fn rings(name: &str, ethtool: Option<&Ethtool>) -> Option<Finding> {
    let rings = ethtool?.rings().ok().filter(|rings| rings.rx.max > 0)?;
    let found = format!(
        "receive {} of at most {}, transmit {} of at most {}",
        rings.rx.now, rings.rx.max, rings.tx.now, rings.tx.max
    );
    Some(match rings.rx.now < RX_RING_SHORT.min(rings.rx.max) {
        true => Finding::note("rings", found)
            .means("a short receive ring loses replies in bursts")
            .remedy(format!("ethtool -G {name} rx {}", settings::ring_len(rings.rx))),
        false => Finding::ok("rings", found),
    })
}

fn offloads(name: &str, ethtool: Option<&Ethtool>) -> Option<Finding> {
    let mut on = Vec::new();
    for name in AGAINST_XDP {
        if settings::is_offload_on(ethtool?, name).ok()? {
            on.push(name);
        }
    }
    Some(match on[..] {
        [] => Finding::ok("offloads", "none that conflicts with XDP"),
        _ => Finding::warn("offloads", format!("{} on", on.join(" and ")))
            .means("they merge frames before XDP sees them: most drivers then run no XDP program")
            .remedy(format!("ethtool -K {name} {} off", on.join(" off "))),
    })
}

/// VLAN tags that the NIC removes, if there are VLANs on the interface.
fn hidden_tags(name: &str, ethtool: Option<&Ethtool>) -> Option<Finding> {
    let is_on = settings::is_offload_on(ethtool?, settings::RX_VLAN).ok()?;
    (is_on && settings::has_vlans(name)).then(|| {
        Finding::note("VLAN tags", "there are VLANs on it, and the NIC removes their tags (rxvlan)")
            .means("an XDP program does not see the tags: turn that off to scan through a VLAN")
            .remedy(format!("ethtool -K {name} {} off", settings::RX_VLAN))
    })
}

/// Which cores handle interrupts, and whether they are near the NIC.
fn placement(interface: &Interface) -> Vec<Finding> {
    let name = &interface.name;
    let mut findings = Vec::new();
    if let Some(node) = interface.numa_node {
        let near = fs::read_to_string(format!("/sys/devices/system/node/node{node}/cpulist"));
        let near = near.map_or_else(|_| "unknown".to_owned(), |list| list.trim().to_owned());
        findings.push(Finding::ok("NUMA", format!("node {node}, cores {near}")));
    }
    let Some(irqs) = interrupts::numbers(name) else { return findings };
    let homes: BTreeSet<String> = irqs
        .iter()
        .filter_map(|irq| fs::read_to_string(format!("/proc/irq/{irq}/effective_affinity_list")).ok())
        .map(|cores| cores.trim().to_owned())
        .filter(|cores| !cores.is_empty())
        .collect();
    let homes: Vec<&str> = homes.iter().map(String::as_str).collect();
    let found = format!("{} on core {}", irqs.len(), homes.join(", "));
    let cores = cores::choose(&[]).map_or(1, |cores| cores.len());
    findings.push(match homes[..] {
        [] => Finding::note("interrupts", format!("{}, not placed yet", irqs.len())),
        [_] if interface.rx_queues > 1 && cores > 1 => Finding::warn("interrupts", found)
            .means("one core serves all queues")
            .remedy(format!("xdpmap doctor --apply -i {name} --only irq")),
        _ => Finding::ok("interrupts", found),
    });
    findings
}

/// The route to the Internet through it. The query sends nothing.
fn route(interface: &Interface) -> Option<Route> {
    // Any address without a special meaning.
    let ask = |source| nic::route_to(Ipv4Addr::new(8, 8, 8, 8), interface.index, source).ok()?.ok();
    // A routing rule may apply only to packets from the interface's own address.
    ask(None).or_else(|| ask(Some(interface.addresses.first()?.address)))
}

/// An address to send from.
fn source(interface: &Interface) -> Finding {
    let preferred = route(interface).and_then(|route| route.preferred_source);
    let first = interface.addresses.first().map(|own| own.address);
    match preferred.or(first) {
        Some(source) => Finding::ok("source", source.to_string()),
        None => Finding::fail(Exit::Interface, "source", "no IPv4 address")
            .means("give the interface one, or give -S an address for which a host on the link answers ARP"),
    }
}

fn gateway(interface: &Interface) -> Finding {
    let name = &interface.name;
    let Some(route) = route(interface) else {
        return Finding::warn("gateway", "no route through it to the Internet")
            .means("only its own network can be scanned, unless -G gives the next hop of all probes")
            .remedy(format!("ip route add default via ADDRESS dev {name}"));
    };
    let Some(gateway) = route.gateway else {
        return Finding::note("gateway", "none: according to the route, the Internet is on the link")
            .means("a scan looks up each target by ARP, at most a million");
    };
    match nic::neighbor::lookup(interface, gateway) {
        Ok(Some(mac)) => Finding::ok("gateway", format!("{gateway} at {mac}")),
        Ok(None) => Finding::note("gateway", format!("{gateway}, whose MAC address is not known yet"))
            .means("a scan resolves it at its start"),
        Err(error) => Finding::note("gateway", error.to_string()),
    }
}
