//! What all scans on this host share: kernel, privileges, sandbox, memory, processor, ports, block list.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use rustix::process::{Resource, getrlimit};
use simd::Level;
use targets::list::{ListError, OnBadEntry, Problem, Purpose};
use wire::packet::VlanTags;
use wire::proof::{Copies, Echo, Key, PortRange, ProbeForm};

use super::finding::Finding;
use super::kernel::{LIVE_FRAMES, OLDEST, Version, XDP_FEATURES, release};
use super::settings::{self, GOVERNOR};
use crate::cli::presence::is_file_there;
use crate::engine::cores;
use crate::exit::Exit;
use crate::io::bpf::{ProgramSettings, XdpProgram};
use crate::io::xsk;
use crate::plan::DEFAULT_BLOCKLIST;
use crate::printable::without_numbers;
use crate::probe::{MODULES, Module};
use crate::sandbox::{self, Report};
use crate::units::counted;
use crate::{lists, nic, privileges};

/// The default source ports of a scan.
const SOURCE_PORTS: PortRange = PortRange { first: 32_768, count: 28_233 };

/// Examines the host. A scan would have this many AF_XDP sockets; `None` if it uses AF_PACKET.
pub(super) fn examine(sockets: Option<u32>) -> Vec<Finding> {
    let mut findings = vec![kernel(), types()];
    match sockets {
        Some(sockets) => findings.extend([capabilities(), memory(sockets), program()]),
        None => findings.push(capability_for_packet()),
    }
    findings.extend(confinement());
    findings.extend([sandbox(), processor(), governor(), ports(), replies(), block_list()]);
    findings
}

fn kernel() -> Finding {
    let (release, version) = (release(), Version::running());
    if version < OLDEST {
        return Finding::fail(Exit::Interface, "kernel", release).means("Linux 5.15 or later is needed");
    }
    if version < LIVE_FRAMES {
        return Finding::note("kernel", release).means("live frames need Linux 5.18");
    }
    if version < XDP_FEATURES {
        let means = "it does not report the drivers' XDP features (6.3 does): a scan tries the modes";
        return Finding::note("kernel", release).means(means);
    }
    Finding::ok("kernel", release)
}

fn types() -> Finding {
    match Path::new("/sys/kernel/btf/vmlinux").exists() {
        true => Finding::ok("BTF", "the kernel describes its types"),
        false => Finding::warn(
            "BTF",
            "the kernel does not describe its types (built without CONFIG_DEBUG_INFO_BTF)",
        )
        .means("no live frames: they watch a tracepoint, which needs these types"),
    }
}

fn capabilities() -> Finding {
    let missing = match privileges::missing() {
        Ok(missing) => missing,
        Err(error) => {
            return Finding::warn(
                "privileges",
                format!("the kernel does not report them: {}", without_numbers(&error.to_string())),
            );
        }
    };
    let names: Vec<&str> = missing.iter().map(|need| need.name).collect();
    let reasons: Vec<String> =
        missing.iter().map(|need| format!("{} {}", need.name, need.what_for)).collect();
    let (found, means) = (format!("missing: {}", names.join(", ")), reasons.join("; "));
    match names[..] {
        [] if privileges::in_user_namespace() => {
            Finding::fail(Exit::Privilege, "privileges", "all of them, in a user namespace")
                .means("BPF needs those of the host: a rootless container cannot scan")
        }
        [] => Finding::ok("privileges", "all that a scan needs"),
        // memory() then reports whether the limit is enough.
        ["CAP_IPC_LOCK"] => Finding::note("privileges", found).means(means),
        _ => Finding::fail(Exit::Privilege, "privileges", found).means(means).remedy(remedy()),
    }
}

fn capability_for_packet() -> Finding {
    let missing = privileges::missing().unwrap_or_default();
    match missing.iter().find(|need| need.name == "CAP_NET_RAW") {
        None => Finding::ok("privileges", "all that a scan over AF_PACKET needs"),
        Some(_) => Finding::fail(Exit::Privilege, "privileges", "missing: CAP_NET_RAW")
            .means("it opens AF_PACKET sockets")
            .remedy(remedy()),
    }
}

/// The command that gives this file the capabilities.
fn remedy() -> String {
    let file = std::env::current_exe().map(|path| path.display().to_string());
    format!("sudo setcap {} {}", privileges::SETCAP, file.as_deref().unwrap_or("xdpmap"))
}

/// Locked memory: what the sockets need, and the limit.
fn memory(queues: u32) -> Finding {
    let needed = xsk::memory_bytes(queues) as u64;
    let takes = format!("{} KiB for {}", needed >> 10, counted(queues.into(), "queue"));
    let limited = privileges::memory_is_limited();
    match getrlimit(Resource::Memlock).current {
        _ if !limited => Finding::ok("memory", format!("{takes}, locked without a limit (CAP_IPC_LOCK)")),
        None => Finding::ok("memory", format!("{takes}, locked without a limit")),
        Some(limit) if limit >= needed => {
            Finding::ok("memory", format!("{takes}, locked within {} KiB", limit >> 10))
        }
        Some(limit) => Finding::fail(
            Exit::Privilege,
            "memory",
            format!("{takes}, locked; the limit is {} KiB", limit >> 10),
        )
        .means("the kernel refuses the sockets' memory (ENOBUFS)")
        .remedy("ulimit -l unlimited"),
    }
}

/// Loads the program itself and discards it, so that anything that prevents loading shows.
fn program() -> Finding {
    let settings = ProgramSettings {
        key: Key::from_bytes([0; 16]),
        ports: PortRange { first: SOURCE_PORTS.first, count: 1 },
        copies: Copies::of(1),
        form: ProbeForm::TcpSyn,
        port_in_cookie: true,
        echo: Echo::Nothing,
        drop_invalid: false,
        own_sockets: true,
        sources: &[Ipv4Addr::LOCALHOST],
        tags: VlanTags::default(),
    };
    match XdpProgram::load(&settings) {
        Ok(_) => Finding::ok("XDP program", "the kernel accepts it"),
        Err(error) if matches!(error.errno(), Some(libc::EPERM | libc::EACCES)) => {
            Finding::fail(Exit::Privilege, "XDP program", error.to_string())
        }
        Err(error) => Finding::fail(Exit::Interface, "XDP program", error.to_string()),
    }
}

/// Mechanisms that may refuse despite all capabilities; `None` if there are none.
fn confinement() -> Option<Finding> {
    let mut found = Vec::new();
    if privileges::is_filtered() {
        found.push("a seccomp filter");
    }
    if privileges::lockdown().is_some_and(|level| level == "confidentiality") {
        found.push("lockdown (confidentiality)");
    }
    let means = "it may refuse bpf(2) despite all capabilities; lockdown forbids reads that live frames need";
    (!found.is_empty()).then(|| Finding::note("confinement", found.join(", ")).means(means))
}

/// What would confine a running scan.
fn sandbox() -> Finding {
    let Report { landlock, seccomp } = sandbox::available();
    let seccomp = seccomp.into_values().next().unwrap_or_default();
    let found = format!("landlock: {landlock}; seccomp: {seccomp}");
    if landlock.starts_with("ABI") && seccomp == "on" {
        return Finding::ok("sandbox", found);
    }
    Finding::note("sandbox", found).means(
        "a scan runs without the part that is unavailable; a fault in it could then do more to the host",
    )
}

fn processor() -> Finding {
    let usable = cores::choose(&[]).map_or(1, |cores| cores.len());
    let level = Level::detect().name();
    let found = format!("{} that a scan may use, {level}", counted(usable as u64, "core"));
    match usable {
        1 => Finding::note("processor", found).means("live frames need two cores per worker"),
        _ => Finding::ok("processor", found),
    }
}

fn governor() -> Finding {
    let governors: Vec<String> = cores::choose(&[])
        .unwrap_or_default()
        .iter()
        .filter_map(|core| settings::governor(&core.to_string()))
        .collect();
    match governors.iter().find(|governor| *governor != GOVERNOR) {
        None if governors.is_empty() => {
            Finding::ok("governor", "none: this system does not control the clock rate")
        }
        None => Finding::ok("governor", GOVERNOR),
        Some(governor) => Finding::warn("governor", governor.as_str())
            .means("cores that clock down between batches send less, and with more jitter")
            .remedy(format!("cpupower frequency-set -g {GOVERNOR}")),
    }
}

/// The host's own ports compared with those of probes.
fn ports() -> Finding {
    let (first, last) = (SOURCE_PORTS.first, SOURCE_PORTS.first + (SOURCE_PORTS.count - 1) as u16);
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut bounds = range.split_whitespace().filter_map(|word| word.parse::<u16>().ok());
    let (own_first, own_last) = (bounds.next().unwrap_or(0), bounds.next().unwrap_or(0));
    let (listening, connected) = own_sockets(SOURCE_PORTS);
    let now = format!("{connected} connections and {listening} listening sockets there now");
    if (own_first > last || own_last < first) && listening + connected == 0 {
        let found = format!(
            "probes leave from {first}-{last}, the host's own connections from {own_first}-{own_last}"
        );
        return Finding::ok("ports", found);
    }
    let found = format!(
        "probes leave from {first}-{last}, the host's own connections from {own_first}-{own_last}; {now}"
    );
    Finding::note("ports", found).means(
        "harmless over AF_XDP: only replies with the scan's cookie are kept from the host, and no UDP reply for which a \
         socket waits; without AF_XDP, or if this host translates addresses for others (containers) and --drop-invalid is \
         used, give the scan separate ports with -s",
    )
}

/// Sockets of this network namespace with a local port in the range: those that listen, and those that do not.
fn own_sockets(ports: PortRange) -> (usize, usize) {
    let sockets = nic::own_sockets().into_iter().filter(|socket| ports.contains(socket.port));
    let (listening, connected): (Vec<_>, Vec<_>) = sockets.partition(|socket| socket.listens);
    (listening.len(), connected.len())
}

/// By how many bits the replies of each module prove themselves.
fn replies() -> Finding {
    let modules = MODULES.iter().filter_map(|info| {
        let needed = (info.name == "udp").then_some("auto");
        Module::parse(info.name, needed).ok()
    });
    let mut found: Vec<(u64, Vec<&str>)> = Vec::new();
    for module in modules {
        let bits = module.proof(SOURCE_PORTS, 1).answer_bits as u64;
        match found.iter_mut().find(|(known, _)| *known == bits) {
            Some((_, names)) => names.push(module.info().name),
            None => found.push((bits, vec![module.info().name])),
        }
    }
    found.sort_by_key(|(bits, _)| std::cmp::Reverse(*bits));
    let found: Vec<String> =
        found.iter().map(|(bits, names)| format!("{bits} bits: {}", names.join(", "))).collect();
    Finding::ok("replies", found.join("; ")).means(
        "with the default source ports, a reply must repeat this many bits of its probe; if they are few (UDP), a forger \
         can try all values; fewer ports (-s) or more probes (-P) lower the number",
    )
}

fn block_list() -> Finding {
    const MEANS: &str = "a scan would not start: a list with errors does not protect the networks in it";
    let path = Path::new(DEFAULT_BLOCKLIST);
    match is_file_there(path) {
        Ok(true) => {}
        Ok(false) => {
            return Finding::note("block list", format!("there is no {DEFAULT_BLOCKLIST}"))
                .means("reserved networks are left out even without it; list there the networks that have opted out, one per line")
                .remedy(format!("sudo install -D -m 644 /dev/null {DEFAULT_BLOCKLIST}"));
        }
        Err(why) => {
            return Finding::fail(Exit::Usage, "block list", format!("{DEFAULT_BLOCKLIST} {why}"))
                .means(MEANS);
        }
    }
    match lists::read(path, Purpose::Block, OnBadEntry::Fail, None) {
        Ok(list) => {
            let names = match list.names.len() {
                0 => String::new(),
                names => format!(" and {names} host names"),
            };
            let addresses = list.to_set().len();
            let found =
                format!("{DEFAULT_BLOCKLIST}: {} networks{names}, {addresses} addresses", list.entries.len());
            Finding::ok("block list", found)
        }
        Err(error @ ListError::BadEntry { problem: Problem::NoSystems, .. }) => {
            Finding::warn("block list", error.to_string())
                .means("without a table of AS numbers, a scan with this list does not start")
                .remedy("give --asn-file with each scan, or put it into the config file")
        }
        Err(error) => Finding::fail(Exit::Usage, "block list", error.to_string()).means(MEANS),
    }
}
