//! The cost of a probe up to the system call: the real worker over real rings, with a stand-in for the kernel that
//! completes every frame. In the same run it measures the floor: one 64-byte line copied into each frame.
//!
//! ```text
//! engine [--probes N] [--rounds N]                          prints a JSON object per case, level and round
//! engine --once NAME [--level LEVEL] --probes N             one case, once: to count its instructions
//!        [--checkpoint FILE]                                with a checkpoint every 5 s, as a scan keeps it
//! ```

use std::alloc::{GlobalAlloc, Layout, System};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use simd::Level;
use targets::list::List;
use targets::set::LookUp;
use targets::{
    AddressPages, AddressRange, AddressSet, Leases, Permutation, PortList, RangeSet, TargetSpace, shard,
};
use wire::packet::{LinkHeader, MacAddr};
use wire::proof::{Copies, Key, PortRange, SourcePool};
use xdpmap::engine::{
    Assignment, Control, Exclusions, Gateways, LowWater, Open, Pacer, Progress, RepeatPolicy, Scan,
    WorkerConfig,
};
use xdpmap::io::xsk::{copy_lines, stand_in_port};
use xdpmap::io::{Placement, affinity};
use xdpmap::probe::tcp_synscan::{Args, OptionLayout};
use xdpmap::probe::udp::Payload;
use xdpmap::probe::udp::template::PayloadTemplate;
use xdpmap::probe::{Module, Probe, ProbeSettings, TcpSynScan, Visitor};

use crate::checkpoints;

/// How long answers may take: the scanner's default.
const OVERLAP: Duration = Duration::from_secs(8);

/// Counts allocations, so that a run can show that probes allocate nothing.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

#[expect(unsafe_code, reason = "a counting allocator can only wrap the system's")]
// SAFETY: forwards every call to the system's allocator unchanged.
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
    /// Makes the addresses. Some take long, so only measured cases make them.
    addresses: fn() -> AddressSet,
    /// How ranks are looked up, if not in the best way for the set.
    look_up: Option<LookUp>,
    ports: &'static str,
    layout: OptionLayout,
}

fn cases() -> Vec<Case> {
    let case = |name, ports, layout| Case { name, addresses: shipped_only, look_up: None, ports, layout };
    let windows = OptionLayout::Windows;
    let mut cases = vec![
        case("blocklist", "80", windows),
        case("ports-100", "1-100", windows),
        case("ports-65536", "0-65535", windows),
        case("smallest-probes", "80", OptionLayout::SmallestProbes),
        case("linux", "80", OptionLayout::Linux),
        case("bsd", "80", OptionLayout::Bsd),
    ];
    cases.extend(look_ups().map(|(name, addresses, look_up)| Case {
        addresses,
        look_up,
        ..case(name, "80", windows)
    }));
    cases
}

/// Lists of each kind, with the best look-up, and with those that would be used without it.
fn look_ups() -> impl Iterator<Item = (&'static str, fn() -> AddressSet, Option<LookUp>)> {
    let (best, table, search) = (None, Some(LookUp::Table), Some(LookUp::Search));
    let lists: [(_, fn() -> AddressSet, _); 19] = [
        ("blocklist by table", shipped_only, table),
        ("blocklist by search", shipped_only, search),
        ("blocklist-3k", || allowed(&opted_out(3_000)), best),
        ("blocklist-3k by search", || allowed(&opted_out(3_000)), search),
        ("blocklist-30k", || allowed(&opted_out(30_000)), best),
        ("blocklist-30k by table", || allowed(&opted_out(30_000)), table),
        ("blocklist-100k", || allowed(&opted_out(100_000)), best),
        ("blocklist-100k by table", || allowed(&opted_out(100_000)), table),
        ("blocklist-100k by search", || allowed(&opted_out(100_000)), search),
        ("blocklist-300k", || allowed(&opted_out(300_000)), best),
        ("blocklist-300k by table", || allowed(&opted_out(300_000)), table),
        ("blocklist-1m", || allowed(&opted_out(1_000_000)), best),
        ("crowded-300k", || allowed(&crowded(300_000)), best),
        ("crowded-300k by search", || allowed(&crowded(300_000)), search),
        ("hosts-1m", || hosts(1_000_000), best),
        ("hosts-1m by search", || hosts(1_000_000), search),
        ("hosts-1m as ranges", || as_ranges(&hosts(1_000_000)), best),
        ("hosts-10m", || hosts(10_000_000), best),
        ("hosts-10m as ranges", || as_ranges(&hosts(10_000_000)), best),
    ];
    lists.into_iter()
}

/// The addresses that the shipped block list leaves.
fn shipped_only() -> AddressSet {
    allowed(&RangeSet::default())
}

/// The addresses that the shipped block list leaves, without `opted_out`.
fn allowed(opted_out: &RangeSet) -> AddressSet {
    AddressSet::paint(None, opted_out, &shipped())
}

/// A set in the form of ranges, however many.
fn as_ranges(set: &AddressSet) -> AddressSet {
    AddressSet::new(&set.ranges().collect())
}

/// The networks of the shipped block list.
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

/// Numbers that look random, the same ones each time.
fn numbers() -> impl FnMut() -> u32 {
    let mut state = 1u64;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 32) as u32
    }
}

/// The prefix of this length in which `address` lies.
fn prefix(address: u32, bits: u32) -> AddressRange {
    AddressRange::prefix(Ipv4Addr::from_bits(address), bits)
}

/// `count` prefixes all over the address space, /20 to /32, as in opt-out lists.
fn opted_out(count: u32) -> RangeSet {
    let mut number = numbers();
    (0..count).map(|i| prefix(number() % 0xe000_0000, 20 + i % 13)).collect()
}

/// `count` prefixes, /24 to /32, that lie close together in some networks and far apart in others: half of them are
/// anywhere, a quarter in a sixteenth of the /16s, an eighth in a sixteenth of those, and the rest in a sixteenth of
/// these.
fn crowded(count: u32) -> RangeSet {
    let mut number = numbers();
    let prefixes = (0..count).map(|i| {
        let crowd = 4 * number().trailing_zeros().min(3);
        let network = ((number() % 0xe000) >> crowd).wrapping_mul(40_503) as u16 % 0xe000;
        prefix(u32::from(network) << 16 | number() >> 16, 24 + i % 9)
    });
    prefixes.collect()
}

/// `count` single hosts all over the address space, as in a list of responders.
fn hosts(count: u32) -> AddressSet {
    let (mut number, mut pages) = (numbers(), AddressPages::default());
    (0..count).for_each(|_| pages.insert(number()));
    pages.settle(&RangeSet::paint(None, &RangeSet::default(), &shipped()));
    AddressSet::from_pages(&pages)
}

/// The cost of a run.
struct Cost {
    ns_per_probe: f64,
    allocations: u64,
}

/// A prepared case: everything that a scan makes before its first packet.
struct Ready {
    probe: TcpSynScan,
    space: TargetSpace,
    permutation: Permutation,
}

impl Ready {
    /// Sends this many probes, or one per target if there are fewer.
    fn run(&self, probes: u64, checkpoint: Option<&Path>) -> std::io::Result<Cost> {
        run(&self.probe, &self.space, &self.permutation, probes.min(self.space.len()), checkpoint)
    }
}

fn prepare(case: &Case, level: Level) -> Ready {
    let addresses = (case.addresses)();
    let addresses = match case.look_up {
        Some(look_up) => addresses.looked_up_by(look_up),
        None => addresses,
    };
    let ports = PortList::parse(case.ports).unwrap_or_else(|error| unreachable!("{error}"));
    let space = TargetSpace::new(addresses, ports).at_level(level);
    let permutation = Permutation::new(space.len(), 7).unwrap_or_else(|error| unreachable!("{error}"));
    let permutation = permutation.at_level(level);
    let probe = TcpSynScan::new(&settings(), Args { layout: case.layout, rtt: false }).at_level(level);
    Ready { probe, space, permutation }
}

fn settings() -> ProbeSettings {
    ProbeSettings {
        key: Key::from_bytes([9; 16]),
        sources: SourcePool {
            addresses: vec![0xc613_0001],
            ports: PortRange { first: 32_768, count: 28_233 },
        },
        other_sources: vec![],
        copies: Copies::of(1),
        link: LinkHeader::Ethernet,
        source_mac: MacAddr([2; 6]),
        gateway_mac: MacAddr([4; 6]),
        tags: wire::packet::VlanTags::default(),
        ttl: 64,
        timestamp: 0,
        reset: true,
        port_in_cookie: true,
    }
}

/// The other modules, each on one port of all of IPv4 without the shipped block list.
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
        run(&probes[0], self.space, self.permutation, self.probes, None)
    }
}

fn run<P: Probe>(
    probe: &P,
    space: &TargetSpace,
    permutation: &Permutation,
    probes: u64,
    checkpoint: Option<&Path>,
) -> std::io::Result<Cost> {
    let port = stand_in_port(probe.template(), probe.reset_template())?;
    let (records, _ring) = rtrb::RingBuffer::new(1 << 16);
    let order = permutation.order();
    let gateways = Gateways::new([MacAddr([4; 6])]);
    let core = affinity::allowed().last().copied();
    let worker = WorkerConfig {
        interface: 0,
        assignment: Assignment { interface: "stand-in", probe, neighborhood: None, gateways: &gateways },
        placement: Placement { core: core.unwrap_or(0), ..Placement::default() },
        port: Box::new(port),
        records,
    };
    let low_water = Arc::new(LowWater::new(Open { first: vec![shard(order, 0, 1)], second: vec![] }));
    let checkpoint =
        checkpoint.map(|file| checkpoints::Writer::start(file, Arc::clone(&low_water))).transpose()?;
    let progress = Progress { low_water: &low_water, overlap: OVERLAP };
    let scan = Scan {
        has_canaries: false,
        workers: vec![worker],
        space,
        permutation,
        leases: &Leases::new(shard(order, 0, 1), Some(probes), 4096),
        second: None,
        pacer: &Pacer::new(0.0, 1),
        batch: 256,
        control: &Control::new(1),
        kernel_resets: &[],
        repeats: RepeatPolicy::LeaveOut,
        closing: Box::new(|| {}),
        max_runtime: None,
        cooldown: Duration::ZERO,
        progress: checkpoint.as_ref().map(|_| progress),
        pulse: None,
        exclusions: &Exclusions::new(RangeSet::default(), 1),
    };
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    let end = scan.run(Duration::from_secs(3600), |_| ());
    if let Some(writer) = checkpoint {
        eprintln!("{} checkpoints", writer.finish()?);
    }
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
    let sent: u64 = end.workers.iter().map(|worker| worker.counts.port.probes_sent).sum();
    assert_eq!(sent, probes, "all probes leave");
    Ok(Cost { ns_per_probe: end.send_elapsed.as_nanos() as f64 / sent as f64, allocations })
}

fn floor(frames: u64) -> std::io::Result<f64> {
    let line = std::array::from_fn(|i| i as u8);
    let start = Instant::now();
    copy_lines(&line, frames)?;
    Ok(start.elapsed().as_nanos() as f64 / frames as f64)
}

/// The command line.
struct Asked {
    probes: u64,
    rounds: u32,
    level: Level,
    once: Option<String>,
    checkpoint: Option<PathBuf>,
}

fn asked(mut arguments: std::env::Args) -> Result<Asked, String> {
    let mut asked =
        Asked { probes: 10_000_000, rounds: 7, level: Level::detect(), once: None, checkpoint: None };
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
            "--checkpoint" => asked.checkpoint = Some(value.into()),
            _ => return Err(format!("unknown argument {flag}")),
        }
    }
    Ok(asked)
}

/// Prints the cost of a case. Twice as many probes allocate no more: the rest is allocated by the scan as a whole.
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
        return ready.run(asked.probes, asked.checkpoint.as_deref()).map(|_| ()).map_err(failed);
    }
    let mut ready: Vec<_> =
        cases().iter().map(|case| (case.name, asked.level, prepare(case, asked.level))).collect();
    let others = Level::available().into_iter().filter(|level| *level != asked.level);
    ready.extend(others.map(|level| (cases()[0].name, level, prepare(&cases()[0], level))));
    // The set-up of a scan costs the same for a module as for the first case.
    let targets = prepare(&cases()[0], asked.level);
    for round in 0..asked.rounds {
        let floor = floor(asked.probes).map_err(failed)?;
        println!(
            "{{\"case\":\"floor\",\"level\":\"\",\"round\":{round},\"ns_per_probe\":{floor:.3},\"allocations\":0}}"
        );
        for (name, level, ready) in &ready {
            let cost = |probes| ready.run(probes, None).map_err(failed);
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

/// Runs the program.
pub(crate) fn main(arguments: std::env::Args) -> ExitCode {
    match asked(arguments).and_then(|asked| measure(&asked)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("engine: {error}");
            ExitCode::from(2)
        }
    }
}
