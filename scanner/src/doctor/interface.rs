//! One interface and its route, as a scan would find them.

use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use super::finding::Finding;
use super::kernel::{Version, XDP_FEATURES};
use super::outlook::Outlook;
use crate::engine::cores;
use crate::io::bpf::{Features, holder};
use crate::io::ethtool::{Ethtool, Setting};
use crate::nic::{self, Interface, Route};
use crate::packet::Link;
use crate::plan::EXIT_INTERFACE;

/// Offloads that keep a program out of the driver, by the kernel's name and by that of `ethtool -K`.
const AGAINST_XDP: [(&str, &str); 2] = [("rx-lro", "lro"), ("rx-gro-hw", "rx-gro-hw")];
/// Descriptors of a receive ring that hold less than a burst.
const RX_RING_SHORT: u32 = 1024;

/// What is found where there is no interface to look at.
pub(super) fn none() -> Finding {
    Finding::fail(EXIT_INTERFACE, "interface", "there is no default route to take it from")
        .means("name one with -i, here as for a scan")
}

/// Looks at `interface`. Where it cannot carry a scan there is no outlook. `xdp` is whether a scan would use XDP there.
pub(super) fn examine(interface: &Interface, xdp: bool) -> (Vec<Finding>, Option<Outlook>) {
    let mut findings = vec![link(interface)];
    if interface.is_loopback || interface.link.is_none() {
        return (findings, None);
    }
    if interface.link == Some(Link::Bare) {
        findings.extend([driver(interface), source(interface)]);
        let outlook = Outlook::packet("XDP wants Ethernet headers");
        findings.extend(outlook.findings(None));
        return (findings, Some(outlook));
    }
    let below = below(interface);
    // The one that frames go through.
    let device = below.as_ref().unwrap_or(interface);
    let name = device.name.as_str();
    if let (Some(vlan), Some(below)) = (interface.vlan, &below) {
        let found = format!("{} on {}, which the following is about", vlan.id, below.name);
        findings.push(Finding::ok("VLAN", found));
    }
    if device.is_bond() {
        findings.extend([driver(device), source(interface), gateway(interface)]);
        let outlook =
            Outlook::packet("XDP on a bond runs on its members, whose packets reach no socket of the bond's");
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
        false => Outlook::packet("CAP_NET_RAW is all that is there, and XDP takes more"),
    };
    findings.extend(outlook.findings(speed_mbps(name)));
    (findings, Some(outlook))
}

/// The interface below a VLAN, or below two.
fn below(interface: &Interface) -> Option<Interface> {
    let parent = Interface::by_index(interface.vlan?.parent).ok()?;
    Some(below(&parent).unwrap_or(parent))
}

fn link(interface: &Interface) -> Finding {
    let name = &interface.name;
    let fail = |found: &str| Finding::fail(EXIT_INTERFACE, "link", found);
    if interface.is_loopback {
        return fail("it leads back to this host")
            .means("the kernel takes nothing there that comes from one of its own addresses");
    }
    let header = match (interface.link, interface.mac) {
        (None, _) => return fail("its frames have a header that is not Ethernet's"),
        (Some(Link::Bare), _) => "no Ethernet header (a tunnel)".to_owned(),
        (Some(Link::Ethernet), mac) => mac.unwrap_or_default().to_string(),
    };
    match (interface.is_up, interface.has_carrier) {
        (false, _) => fail("down").remedy(format!("ip link set dev {name} up")),
        (_, false) => fail("no carrier").means("plug the cable in, or set its other end up"),
        (true, true) => {
            // A tunnel's is made up.
            let speed = speed_mbps(name).filter(|_| interface.link == Some(Link::Ethernet));
            let speed = speed.map_or_else(String::new, |mbps| format!(", {mbps} Mbit/s"));
            Finding::ok("link", format!("up, {header}{speed}"))
        }
    }
}

fn speed_mbps(name: &str) -> Option<u64> {
    // -1 where nobody knows.
    fs::read_to_string(format!("/sys/class/net/{name}/speed")).ok()?.trim().parse().ok()
}

fn driver(interface: &Interface) -> Finding {
    Finding::ok("driver", interface.driver.as_deref().unwrap_or("none of its own"))
}

fn features(interface: &Interface) -> Finding {
    if Version::running() < XDP_FEATURES {
        return Finding::note("XDP", "unknown: the kernel does not tell before 6.3");
    }
    let features = match Features::of(interface.index) {
        Ok(features) => features,
        Err(error) => return Finding::note("XDP", format!("the kernel does not tell: {error}")),
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
        None => Finding::ok("XDP holder", "nobody"),
        Some(holder) => {
            Finding::fail(EXIT_INTERFACE, "XDP holder", holder::describe(Some(holder), &interface.name))
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
        return Finding::ok("queues", format!("{rx_queues} to receive; the driver does not tell more"));
    };
    let said = |word: &str, setting: Setting| {
        (setting.max > 0).then(|| format!("{word} {} of at most {}", setting.now, setting.max))
    };
    let words =
        [said("combined", channels.combined), said("receive", channels.rx), said("transmit", channels.tx)];
    let channels_said = words.into_iter().flatten().collect::<Vec<_>>().join(", ");
    let found = format!("{rx_queues} to receive; channels: {channels_said}");
    // Amazon's driver runs no XDP program while more than half of its channels are in use.
    let most = match interface.driver.as_deref() {
        Some("ena") if channels.combined.max > 1 => channels.combined.max / 2,
        _ => channels.combined.max,
    };
    if channels.combined.now > most {
        return Finding::warn("queues", found)
            .means("this driver runs no XDP program while more than half of its channels are in use")
            .remedy(format!("ethtool -L {name} combined {most}"));
    }
    if interface.tx_queues < *rx_queues {
        let sending = interface.tx_queues;
        return Finding::note("queues", found)
            .means(format!(
                "replies are taken on all of them, but only {sending} can send: a scan has no more workers"
            ))
            .remedy(format!("ethtool -L {name} tx {rx_queues}"));
    }
    let wanted = cores.min(most);
    match channels.combined.now {
        now if wanted > now => Finding::note("queues", found)
            .means(format!("a scan has at most one worker a queue: {cores} cores could work"))
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
            .remedy(format!("ethtool -G {name} rx {}", rings.rx.max.min(4 * RX_RING_SHORT))),
        false => Finding::ok("rings", found),
    })
}

fn offloads(name: &str, ethtool: Option<&Ethtool>) -> Option<Finding> {
    let active = ethtool?.active_features().ok()?;
    let on: Vec<&str> = AGAINST_XDP
        .iter()
        .filter(|(kernel, _)| active.iter().any(|feature| feature == kernel))
        .map(|(_, switch)| *switch)
        .collect();
    Some(match on[..] {
        [] => Finding::ok("offloads", "none that stands in the way of XDP"),
        _ => Finding::warn("offloads", format!("{} on", on.join(" and ")))
            .means("frames are merged before XDP could see them: most drivers then run no program")
            .remedy(format!("ethtool -K {name} {} off", on.join(" off "))),
    })
}

/// VLAN tags that the NIC takes off, where there are VLANs on top.
fn hidden_tags(name: &str, ethtool: Option<&Ethtool>) -> Option<Finding> {
    let active = ethtool?.active_features().ok()?;
    let on = active.iter().any(|feature| feature == "rx-vlan-hw-parse");
    let upper = fs::read_dir(format!("/sys/class/net/{name}")).ok()?.flatten().any(|entry| {
        let file = entry.file_name().to_string_lossy().into_owned();
        file.strip_prefix("upper_").is_some_and(|upper| Path::new("/proc/net/vlan").join(upper).exists())
    });
    (on && upper).then(|| {
        Finding::note("VLAN tags", "there are VLANs on it, and the NIC takes their tags off (rxvlan)")
            .means("an XDP program does not see the tags: turn that off to scan through a VLAN")
            .remedy(format!("ethtool -K {name} rxvlan off"))
    })
}

/// Where interrupts go, and whether that is near the NIC.
fn placement(interface: &Interface) -> Vec<Finding> {
    let name = &interface.name;
    let mut findings = Vec::new();
    if let Some(node) = interface.numa_node {
        let near = fs::read_to_string(format!("/sys/devices/system/node/node{node}/cpulist"));
        let near = near.map_or_else(|_| "unknown".to_owned(), |list| list.trim().to_owned());
        findings.push(Finding::ok("NUMA", format!("node {node}, cores {near}")));
    }
    let device = Path::new("/sys/class/net").join(name).join("device");
    // A virtio device's interrupts are those of the PCI device above it.
    let list = [device.join("msi_irqs"), device.join("../msi_irqs")]
        .into_iter()
        .find_map(|folder| fs::read_dir(folder).ok());
    let Some(list) = list else { return findings };
    let irqs: Vec<String> =
        list.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
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
            .remedy(format!("scripts/tune-nic.sh {name} apply")),
        _ => Finding::ok("interrupts", found),
    });
    findings
}

/// The way to the Internet through it. The question sends nothing.
fn route(interface: &Interface) -> Option<Route> {
    // Any address that no host owns specially.
    let ask = |source| nic::route_to(Ipv4Addr::new(8, 8, 8, 8), interface.index, source).ok()?.ok();
    // A rule may show the way to packets from its own address only.
    ask(None).or_else(|| ask(Some(interface.addresses.first()?.address)))
}

/// An address to send from.
fn source(interface: &Interface) -> Finding {
    let preferred = route(interface).and_then(|route| route.preferred_source);
    let first = interface.addresses.first().map(|own| own.address);
    match preferred.or(first) {
        Some(source) => Finding::ok("source", source.to_string()),
        None => Finding::fail(EXIT_INTERFACE, "source", "no IPv4 address")
            .means("give the interface one, or the scan one that somebody answers ARP for with -S"),
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
        return Finding::note("gateway", "none: the Internet is on the link, by its route")
            .means("a scan asks for each target by ARP, and for a million at most");
    };
    match nic::neighbor::lookup(interface, gateway) {
        Ok(Some(mac)) => Finding::ok("gateway", format!("{gateway} at {mac}")),
        Ok(None) => Finding::note("gateway", format!("{gateway}, whose MAC address is not known yet"))
            .means("a scan asks for it at its start"),
        Err(error) => Finding::note("gateway", error.to_string()),
    }
}
