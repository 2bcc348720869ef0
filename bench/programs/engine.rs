//! What a probe costs up to the kernel's door: the real worker over real rings, with a stand-in for the kernel that
//! completes what it is given. Beside it, in the same run, the floor: one 64-byte line copied into each frame.
//!
//! ```text
//! engine [--probes N] [--rounds N]                          prints a JSON object a case, level and round
//! engine --once NAME [--level LEVEL] --probes N             one case, once, and nothing else: for counting instructions
//! ```

use std::alloc::{GlobalAlloc, Layout, System};
use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use xdpmap::cookie::{Key, PortRange};
use xdpmap::engine::counters::Published;
use xdpmap::engine::{Control, Pacer, RepeatPolicy, Scan, Way};
use xdpmap::io::Port;
use xdpmap::io::xsk::{copy_lines, stand_in_port};
use xdpmap::nic::Gateways;
use xdpmap::packet::{Link, MacAddr};
use xdpmap::probe::tcp_synscan::{Args, OptionLayout};
use xdpmap::probe::udp::Payload;
use xdpmap::probe::udp::template::PayloadTemplate;
use xdpmap::probe::{Module, Probe, Settings, SourcePool, TcpSynScan, Visitor};
use xdpmap::simd::Level;
use xdpmap::targets::list::List;
use xdpmap::targets::{AddressSet, Leases, Permutation, PortList, RangeSet, TargetSpace, shard};

/// Counts what is allocated, so that a run can show that probes allocate nothing.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

#[expect(unsafe_code, reason = "an allocator that counts can only be put in front of the system's")]
// SAFETY: hands every call on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: our caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: our caller keeps the contract.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// One thing to measure.
struct Case {
    name: &'static str,
    /// Networks left out beside those of the shipped block list.
    opted_out: RangeSet,
    ports: &'static str,
    layout: OptionLayout,
}

fn cases() -> Vec<Case> {
    let case = |name, opted_out, ports, layout| Case { name, opted_out, ports, layout };
    let none = RangeSet::default;
    let windows = OptionLayout::Windows;
    vec![
        case("blocklist", none(), "80", windows),
        case("blocklist-100k", opted_out(100_000), "80", windows),
        case("ports-100", none(), "1-100", windows),
        case("ports-65536", none(), "0-65535", windows),
        case("smallest-probes", none(), "80", OptionLayout::SmallestProbes),
        case("linux", none(), "80", OptionLayout::Linux),
        case("bsd", none(), "80", OptionLayout::Bsd),
    ]
}

/// The networks of the block list that comes with xdpmap.
fn shipped() -> RangeSet {
    let networks = [
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",
    ];
    list(&networks)
}

fn list<A: AsRef<str>>(networks: &[A]) -> RangeSet {
    List::from_arguments(networks).unwrap_or_else(|error| unreachable!("{error}")).to_set()
}

/// `count` prefixes all over the address space, /20 to /32, as opt-outs are.
fn opted_out(count: u32) -> RangeSet {
    let mut state = 1u64;
    let prefixes = (0..count).map(|i| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let len = 20 + i % 13;
        let address = ((state >> 32) as u32 % 0xe000_0000) & (u32::MAX << (32 - len));
        format!("{}/{len}", Ipv4Addr::from(address))
    });
    let prefixes: Vec<String> = prefixes.collect();
    list(&prefixes)
}

/// What a run cost.
struct Cost {
    ns_per_probe: f64,
    allocations: u64,
}

/// A case made ready: what a scan makes before its first packet.
struct Ready {
    probe: TcpSynScan,
    space: TargetSpace,
    permutation: Permutation,
}

impl Ready {
    fn run(&self, probes: u64) -> std::io::Result<Cost> {
        run(&self.probe, &self.space, &self.permutation, probes)
    }
}

fn prepare(case: &Case, level: Level) -> Ready {
    let addresses = AddressSet::paint(None, &case.opted_out, &shipped());
    let ports = PortList::parse(case.ports).unwrap_or_else(|error| unreachable!("{error}"));
    let space = TargetSpace::new(addresses, ports).at_level(level);
    let permutation = Permutation::new(space.len(), 7).unwrap_or_else(|error| unreachable!("{error}"));
    let permutation = permutation.at_level(level);
    let probe = TcpSynScan::new(&settings(), Args { layout: case.layout, rtt: false }).at_level(level);
    Ready { probe, space, permutation }
}

fn settings() -> Settings {
    Settings {
        key: Key::from_bytes([9; 16]),
        sources: SourcePool {
            addresses: vec![0xc613_0001],
            ports: PortRange { first: 32_768, count: 28_233 },
        },
        other_sources: vec![],
        copies: 1,
        link: Link::Ethernet,
        source_mac: MacAddr([2; 6]),
        gateway_mac: MacAddr([4; 6]),
        tags: xdpmap::packet::VlanTags::default(),
        ttl: 64,
        timestamp: 0,
        reset: true,
        port_in_cookie: true,
    }
}

/// The other modules, each on one port of all of IPv4 but for the shipped block list.
fn modules() -> Vec<(&'static str, Module)> {
    let module = |name, args| Module::parse(name, args).unwrap_or_else(|error| unreachable!("{error}"));
    let template = PayloadTemplate::parse(b"${DADDR} ${SPORT} ${RAND_BYTE=16}", 1472)
        .unwrap_or_else(|error| unreachable!("{error}"));
    vec![
        ("tcp_synackscan", module("tcp_synackscan", None)),
        ("icmp_echoscan", module("icmp_echoscan", None)),
        ("icmp_echo_time", module("icmp_echo_time", None)),
        ("udp", module("udp", Some("text:hello"))),
        ("udp template", Module::Udp(Payload::Template(template))),
        ("dns", module("dns", Some("A,www.example.com"))),
        ("ntp", module("ntp", None)),
        ("upnp", module("upnp", None)),
        ("bacnet", module("bacnet", None)),
        ("ipip", module("ipip", None)),
    ]
}

/// One run of a module's probe.
struct Run<'a> {
    space: &'a TargetSpace,
    permutation: &'a Permutation,
    probes: u64,
}

impl Visitor for Run<'_> {
    type Output = std::io::Result<Cost>;

    fn visit<P: Probe>(self, probes: &[P]) -> Self::Output {
        run(&probes[0], self.space, self.permutation, self.probes)
    }
}

fn run<P: Probe>(
    probe: &P,
    space: &TargetSpace,
    permutation: &Permutation,
    probes: u64,
) -> std::io::Result<Cost> {
    let port = stand_in_port(probe.template(), probe.reset_template())?;
    let (records, _ring) = rtrb::RingBuffer::new(1 << 16);
    let published = vec![Arc::<Published>::default()];
    let order = permutation.order();
    let gateways = Gateways::new([MacAddr([4; 6])]);
    let scan = Scan {
        ways: vec![Way { interface: "stand-in", probe, neighborhood: None, gateways: &gateways }],
        space,
        permutation,
        leases: &Leases::new(shard(order, 0, 1), Some(probes), 4096),
        pacer: &Pacer::new(0.0, 1),
        batch: 256,
        control: &Control::new(1),
        ports: vec![Box::new(port) as Box<dyn Port>],
        records: vec![records],
        published,
        cores: vec![
            core_affinity::get_core_ids().and_then(|cores| cores.last().map(|core| core.id)).unwrap_or(0),
        ],
        kernel_resets: &[],
        repeats: RepeatPolicy::LeaveOut,
        closing: Box::new(|| {}),
        max_runtime: None,
        cooldown: Duration::ZERO,
    };
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    let end = scan.run(Duration::from_secs(3600), |_| ());
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
    let sent: u64 = end.workers.iter().map(|worker| worker.tx_sent).sum();
    assert_eq!(sent, probes, "all probes leave");
    Ok(Cost { ns_per_probe: end.send_elapsed.as_nanos() as f64 / sent as f64, allocations })
}

fn floor(frames: u64) -> std::io::Result<f64> {
    let line = std::array::from_fn(|i| i as u8);
    let start = Instant::now();
    copy_lines(&line, frames)?;
    Ok(start.elapsed().as_nanos() as f64 / frames as f64)
}

/// What was asked for on the command line.
struct Asked {
    probes: u64,
    rounds: u32,
    level: Level,
    once: Option<String>,
}

fn asked() -> Result<Asked, String> {
    let mut asked = Asked { probes: 10_000_000, rounds: 7, level: Level::detect(), once: None };
    let mut arguments = std::env::args().skip(1);
    while let Some(flag) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{flag} needs a value"))?;
        let number = || value.parse().map_err(|_| format!("{flag} needs a number, not {value}"));
        match flag.as_str() {
            "--probes" => asked.probes = number()?,
            "--rounds" => asked.rounds = number()? as u32,
            "--level" => {
                let level = Level::available().into_iter().find(|level| level.name() == value);
                asked.level = level.ok_or_else(|| format!("this processor has no level {value}"))?;
            }
            "--once" => asked.once = Some(value),
            _ => return Err(format!("unknown argument {flag}")),
        }
    }
    Ok(asked)
}

/// Prints what a case cost. Twice the probes allocate no more: what is left is what the scan as a whole allocates.
fn report(name: &str, level: Level, round: u32, half: &Cost, whole: &Cost) {
    let allocations = whole.allocations.saturating_sub(half.allocations);
    println!(
        "{{\"case\":\"{name}\",\"level\":\"{}\",\"round\":{round},\"ns_per_probe\":{:.3},\"allocations\":{allocations}}}",
        level.name(),
        whole.ns_per_probe
    );
}

fn measure(asked: &Asked) -> Result<(), String> {
    let failed = |error: std::io::Error| error.to_string();
    if let Some(name) = &asked.once {
        let case = cases().into_iter().find(|case| case.name == name).ok_or("no such case")?;
        let ready = prepare(&case, asked.level);
        return ready.run(asked.probes).map(|_| ()).map_err(failed);
    }
    let mut ready: Vec<_> =
        cases().iter().map(|case| (case.name, asked.level, prepare(case, asked.level))).collect();
    let others = Level::available().into_iter().filter(|level| *level != asked.level);
    ready.extend(others.map(|level| (cases()[0].name, level, prepare(&cases()[0], level))));
    // What a module costs beyond its probe is what the first case costs.
    let targets = prepare(&cases()[0], asked.level);
    for round in 0..asked.rounds {
        let floor = floor(asked.probes).map_err(failed)?;
        println!(
            "{{\"case\":\"floor\",\"level\":\"\",\"round\":{round},\"ns_per_probe\":{floor:.3},\"allocations\":0}}"
        );
        for (name, level, ready) in &ready {
            let cost = |probes| ready.run(probes).map_err(failed);
            report(name, *level, round, &cost(asked.probes / 2)?, &cost(asked.probes)?);
        }
        for (name, module) in modules() {
            let (space, permutation) = (&targets.space, &targets.permutation);
            let cost =
                |probes| module.visit(&[settings()], Run { space, permutation, probes }).map_err(failed);
            report(name, asked.level, round, &cost(asked.probes / 2)?, &cost(asked.probes)?);
        }
    }
    Ok(())
}

/// Runs it; the arguments are those of the process.
pub(crate) fn main() -> ExitCode {
    match asked().and_then(|asked| measure(&asked)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("engine: {error}");
            ExitCode::from(2)
        }
    }
}
