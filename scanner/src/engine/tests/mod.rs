//! The engine over a network in memory: which frames leave, what is received, and how the scan ends.

mod books;
mod canaries;
mod exclusions;
mod link;
mod lowwater;
mod neighbors;
mod pause;
mod second;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use targets::{
    AddressRange, AddressSet, Cursor, Leases, List, Permutation, PortList, RangeSet, Sample, TargetSpace,
    shard,
};
use wire::packet::{MacAddr, TCP_ACK, TCP_RST, TCP_SYN};
use wire::proof::cookie::cookie;
use wire::proof::{Copies, Key, PortRange, SourcePool};

use super::{
    Assignment, Control, Counts, EndReason, Exclusions, Gateways, Hop, LowWater, Neighborhood, Open, Pacer,
    Progress, RepeatPolicy, Scan, ScanEnd, SecondWalk, Tick, WorkerConfig,
};
use crate::io::Placement;
use crate::io::memory::{FakeNetwork, MemoryPort, Responder};
use crate::probe::tcp_synscan::Args;
use crate::probe::testing::{packet, segment};
use crate::probe::{Probe, ProbeSettings, TcpSynScan};
use crate::reply::record::{self, Header};

/// The settings of a test scan; the default is a /24 on two ports.
struct Setup {
    workers: usize,
    copies: u32,
    seed: u64,
    shard: (u32, u32),
    max_targets: Option<u64>,
    rate_pps: u64,
    caps_all: bool,
    lease_len: u64,
    ring_len: u64,
    record_ring_len: usize,
    responder: Responder,
    prepare: fn(&mut MemoryPort),
    kernel_resets: Vec<u32>,
    max_runtime: Option<Duration>,
    cooldown: Duration,
    neighborhood: Option<Neighborhood>,
    gateways: Arc<Gateways>,
    repeats: RepeatPolicy,
    /// How long answers take at most, for a checkpoint.
    overlap: Duration,
    /// With canaries, if it is above 0.
    canary_share_ppm: u32,
    /// With second probes to a share of the targets, after a time.
    second: Option<(f64, Duration)>,
    /// What is open for the first and the second walk; all, if it is not given.
    open: Option<Open>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            workers: 1,
            copies: 1,
            seed: 7,
            shard: (0, 1),
            max_targets: None,
            rate_pps: 0,
            caps_all: false,
            lease_len: 16,
            ring_len: 512,
            record_ring_len: 1 << 20,
            responder: Arc::new(|_| vec![]),
            prepare: |_| {},
            kernel_resets: vec![],
            max_runtime: None,
            cooldown: Duration::from_millis(60),
            neighborhood: None,
            gateways: Arc::new(Gateways::new([MacAddr([4; 6])])),
            repeats: RepeatPolicy::LeaveOut,
            overlap: Duration::from_millis(20),
            canary_share_ppm: 0,
            second: None,
            open: None,
        }
    }
}

struct Outcome {
    end: ScanEnd,
    /// (address, port) of each probe, in the order in which they left.
    probes: Vec<(u32, u16)>,
    probe_frames: Vec<Vec<u8>>,
    /// How many of them left at once, in the same order.
    bursts: Vec<usize>,
    resets: usize,
    reset_frames: Vec<Vec<u8>>,
    records: Vec<Header>,
    total: Counts,
    /// When the pacer would have granted the next frame.
    due: Duration,
    /// How many targets a checkpoint would have open.
    open: usize,
    /// What it would have open.
    low_water: Open,
}

/// The key of samples.
const SAMPLE_KEY: u64 = 11;

/// The copy numbers of a scan.
fn copies(setup: &Setup) -> Copies {
    let copies = Copies::of(setup.copies);
    let copies = if setup.second.is_some() { copies.with_seconds() } else { copies };
    if setup.canary_share_ppm > 0 { copies.with_canaries() } else { copies }
}

fn run(setup: &Setup) -> Outcome {
    run_with(setup, &Control::new(setup.workers))
}

fn run_with(setup: &Setup, control: &Control) -> Outcome {
    observed(setup, control, |_| {})
}

fn observed(setup: &Setup, control: &Control, observe: impl FnMut(&Tick<'_>)) -> Outcome {
    excluding(setup, control, &Exclusions::new(RangeSet::default(), setup.workers), observe)
}

fn excluding(
    setup: &Setup,
    control: &Control,
    exclusions: &Exclusions,
    observe: impl FnMut(&Tick<'_>),
) -> Outcome {
    let list = List::from_arguments(&["198.18.7.0/24"]).unwrap();
    let addresses = AddressSet::paint(Some(&list.to_set()), &RangeSet::default(), &RangeSet::default());
    let space = TargetSpace::new(addresses, PortList::parse("80,443").unwrap());
    let permutation = Permutation::new(space.len(), setup.seed).unwrap();
    let arc = shard(permutation.order(), setup.shard.0, setup.shard.1);
    let probe = TcpSynScan::new(
        &ProbeSettings {
            key: Key::from_bytes([9; 16]),
            sources: SourcePool {
                addresses: vec![0xc613_0001],
                ports: PortRange { first: 40_000, count: 1000 },
            },
            other_sources: vec![],
            copies: copies(setup),
            link: wire::packet::LinkHeader::Ethernet,
            source_mac: MacAddr([2; 6]),
            gateway_mac: MacAddr([4; 6]),
            tags: wire::packet::VlanTags::default(),
            ttl: 64,
            timestamp: 0,
            reset: true,
            port_in_cookie: true,
        },
        Args::default(),
    );
    if setup.canary_share_ppm > 0 {
        control.set_canary_share_ppm(setup.canary_share_ppm);
    }
    let wire = Arc::new(Mutex::new(FakeNetwork::default()));
    let assignment = Assignment {
        interface: "memory",
        probe: &probe,
        neighborhood: setup.neighborhood.as_ref(),
        gateways: &setup.gateways,
    };
    let cores = super::cores::choose(&[]).unwrap();
    let mut rings = vec![];
    let workers = (0..setup.workers).map(|number| {
        let mut port = MemoryPort::new(
            &wire,
            &setup.responder,
            probe.template(),
            probe.reset_template(),
            setup.ring_len,
        );
        (setup.prepare)(&mut port);
        let (records, ring) = rtrb::RingBuffer::new(setup.record_ring_len);
        rings.push(ring);
        let placement = Placement { core: cores[number % cores.len()], ..Placement::default() };
        WorkerConfig { interface: 0, assignment, placement, port: Box::new(port), records }
    });
    let workers = workers.collect();
    let pacer = Pacer::new(setup.rate_pps as f64, setup.workers).capping_all(setup.caps_all);
    let open = setup.open.clone().unwrap_or_else(|| Open { first: vec![arc], second: vec![arc] });
    let low_water = LowWater::new(open.clone());
    let second = setup.second.map(|(share, gap)| {
        SecondWalk::new(&open.second, setup.lease_len, Sample::new(SAMPLE_KEY, share), gap)
    });
    let scan = Scan {
        workers,
        space: &space,
        permutation: &permutation,
        leases: &Leases::over(&open.first, setup.max_targets, setup.lease_len),
        second: second.as_ref(),
        pacer: &pacer,
        batch: 256,
        control,
        kernel_resets: &setup.kernel_resets,
        repeats: setup.repeats,
        closing: Box::new(|| {}),
        max_runtime: setup.max_runtime,
        cooldown: setup.cooldown,
        has_canaries: probe.check().copies.has_canaries(),
        progress: Some(Progress { low_water: &low_water, overlap: setup.overlap }),
        pulse: None,
        exclusions,
    };
    let end = scan.run(Duration::from_secs(1), observe);
    // A worker that panicked may have held the lock.
    let wire = wire.lock().unwrap_or_else(PoisonError::into_inner);
    let target = |frame: &Vec<u8>| (packet(frame).destination, segment(frame).destination_port);
    let mut captured = vec![];
    let records = rings
        .iter_mut()
        .flat_map(|ring| std::iter::from_fn(|| record::pop(ring, &mut captured)).collect::<Vec<_>>());
    let total = end.total();
    let mut indices = [0; 1024];
    let mut left = |interval| Cursor::new(&permutation, interval).fill(&mut indices);
    Outcome {
        open: low_water.open().first.into_iter().map(&mut left).sum(),
        low_water: low_water.open(),
        probes: wire.probes.iter().map(target).collect(),
        probe_frames: wire.probes.clone(),
        bursts: wire.bursts.clone(),
        resets: wire.resets.len(),
        reset_frames: wire.resets.clone(),
        records: records.collect(),
        total,
        due: Duration::from_nanos(pacer.due_ps() / 1_000),
        end,
    }
}

/// A reply to a probe frame: ports and addresses swapped, sequence acknowledged.
fn reply(probe: &[u8], flags: u8) -> Vec<u8> {
    let (ip, segment) = (packet(probe), segment(probe));
    let mut frame = probe.to_vec();
    frame[26..30].copy_from_slice(&ip.destination.to_be_bytes());
    frame[30..34].copy_from_slice(&ip.source.to_be_bytes());
    frame[34..36].copy_from_slice(&segment.destination_port.to_be_bytes());
    frame[36..38].copy_from_slice(&segment.source_port.to_be_bytes());
    frame[42..46].copy_from_slice(&segment.sequence.wrapping_add(1).to_be_bytes());
    frame[47] = flags;
    frame
}

fn whole_space() -> BTreeSet<(u32, u16)> {
    (0..256).flat_map(|host| [(0xc612_0700 + host, 80), (0xc612_0700 + host, 443)]).collect()
}

/// Each target is probed once per copy, whatever the number of workers, the length of the ring and the rate.
#[test]
fn every_target_once() {
    for (workers, copies, ring_len, rate_pps) in
        [(1, 1, 512, 0), (2, 1, 64, 0), (3, 3, 5, 0), (2, 2, 512, 20_000)]
    {
        let outcome = run(&Setup { workers, copies, ring_len, rate_pps, ..Setup::default() });
        assert_eq!(outcome.probes.len(), 512 * copies as usize);
        assert_eq!(outcome.probes.iter().copied().collect::<BTreeSet<_>>(), whole_space());
        assert_eq!(outcome.end.reason, EndReason::Complete);
        assert_eq!(outcome.total.targets, 512);
        assert_eq!(outcome.total.tx_submitted, outcome.total.port.probes_sent);
        assert_eq!(outcome.total.port.probes_sent, outcome.probes.len() as u64);
    }
}

/// The pacer is charged for the frames that left and no more, although at this rate (grants of 100 frames and more,
/// leases of 16 targets) hardly any grant is used up.
#[test]
fn pays_for_what_it_sends() {
    for copies in [1, 3] {
        let outcome = run(&Setup { copies, rate_pps: 500_000, ..Setup::default() });
        assert_eq!(outcome.probes.len(), 512 * copies as usize);
        // A worker that is later than that skips some of its frames.
        if outcome.end.send_elapsed < Duration::from_millis(100) {
            assert_eq!(outcome.due, Duration::from_micros(2) * outcome.probes.len() as u32);
        }
    }
}

/// Probes have the requested rate, whatever answers. If all frames are limited, resets count as well.
#[test]
fn resets_count_only_where_all_is_capped() {
    for caps_all in [false, true] {
        let responder: Responder = Arc::new(|probe: &[u8]| vec![reply(probe, TCP_SYN | TCP_ACK)]);
        let outcome = run(&Setup { rate_pps: 4_000, caps_all, responder, ..Setup::default() });
        assert_eq!((outcome.probes.len(), outcome.resets), (512, 512));
        let time_of = |frames: u32| Duration::from_micros(250) * frames;
        let least = time_of(if caps_all { 2 * 512 } else { 512 });
        // A worker that is late by more than 100 ms skips some of its frames.
        let late = outcome.end.send_elapsed.saturating_sub(least);
        assert!((least..least + time_of(256) + late).contains(&outcome.due), "{caps_all}: {:?}", outcome.due);
    }
}

/// `-n` is the same set for any number of workers, and the first targets of the order for one.
#[test]
fn max_targets_is_the_same_set() {
    let order = run(&Setup::default()).probes;
    for workers in 1..=4 {
        let outcome = run(&Setup { workers, max_targets: Some(100), ..Setup::default() });
        let set: BTreeSet<_> = outcome.probes.iter().copied().collect();
        assert_eq!(set, order[..100].iter().copied().collect());
        assert_eq!(outcome.probes.len(), 100);
    }
}

/// Shards scanned with different numbers of workers and at different rates cover the space once.
#[test]
fn shards_make_up_the_whole() {
    let mut all = vec![];
    for (index, workers, rate_pps) in [(0, 1, 0), (1, 3, 50_000), (2, 2, 0)] {
        all.extend(run(&Setup { workers, rate_pps, shard: (index, 3), ..Setup::default() }).probes);
    }
    assert_eq!(all.len(), 512);
    assert_eq!(all.into_iter().collect::<BTreeSet<_>>(), whole_space());
}

/// Replies become records; each SYN-ACK is reset once; forged ones are counted and leave no record.
#[test]
fn replies_are_recorded_and_reset() {
    let responder: Responder = Arc::new(|probe: &[u8]| {
        let segment = segment(probe);
        if segment.destination_port == 80 {
            return vec![reply(probe, TCP_SYN | TCP_ACK)];
        }
        let mut forged = reply(probe, TCP_SYN | TCP_ACK);
        forged[45] ^= 1;
        vec![reply(probe, TCP_RST | TCP_ACK), forged]
    });
    let outcome = run(&Setup { workers: 2, responder, ..Setup::default() });
    assert_eq!((outcome.total.rx_synack, outcome.total.rx_rst, outcome.total.rx_invalid), (256, 256, 256));
    assert_eq!(outcome.records.len(), 512);
    assert_eq!(outcome.resets, 256);
    assert_eq!((outcome.total.rst_submitted, outcome.total.port.resets_sent), (256, 256));
    let responders: BTreeSet<_> =
        outcome.records.iter().map(|record| (record.target, record.target_port)).collect();
    assert_eq!(responders.len(), 512);
}

/// Replies with a right cookie about an address or a port that was not probed are only counted: neither recorded nor
/// reset.
#[test]
fn replies_about_no_target_are_none() {
    let responder: Responder = Arc::new(|probe: &[u8]| {
        let target = (packet(probe).destination, segment(probe).destination_port);
        let forged = |(address, port): (u32, u16)| {
            let cookie = cookie(Key::from_bytes([9; 16]), 0xc613_0001, address, port, 6);
            let ours = PortRange { first: 40_000, count: 1000 }.source_port(cookie, 0);
            let mut frame = reply(probe, TCP_SYN | TCP_ACK);
            frame[26..30].copy_from_slice(&address.to_be_bytes());
            frame[34..36].copy_from_slice(&port.to_be_bytes());
            frame[36..38].copy_from_slice(&ours.to_be_bytes());
            frame[42..46].copy_from_slice(&cookie.sequence().wrapping_add(1).to_be_bytes());
            frame
        };
        vec![forged(target), forged((target.0 + 256, target.1)), forged((target.0, target.1 + 1))]
    });
    let outcome = run(&Setup { workers: 2, responder, ..Setup::default() });
    let total = outcome.total;
    assert_eq!(
        (total.port.rx_frames, total.rx_synack, total.rx_unasked, total.rx_invalid),
        (1536, 512, 1024, 0)
    );
    let found: BTreeSet<_> =
        outcome.records.iter().map(|record| (record.target, record.target_port)).collect();
    assert_eq!((outcome.records.len(), found.len()), (512, 512));
    assert_eq!(total.rst_submitted + total.rst_capped + total.rst_no_room, 512);
}

/// A host that answers a hundred times is reset a few times, and all of its records are kept.
#[test]
fn a_chatty_host_is_not_amplified() {
    let responder: Responder = Arc::new(|probe: &[u8]| vec![reply(probe, TCP_SYN | TCP_ACK); 100]);
    let outcome = run(&Setup { max_targets: Some(10), responder, ..Setup::default() });
    assert_eq!(outcome.records.len(), 1000);
    assert!(outcome.resets <= 10, "{} resets for 10 probes", outcome.resets);
    assert_eq!(outcome.total.rst_capped + outcome.total.rst_submitted, 1000);
}

/// A full record ring drops records, counts them, and delays nothing.
#[test]
fn a_slow_collector_costs_records_only() {
    let responder: Responder = Arc::new(|probe: &[u8]| vec![reply(probe, TCP_RST)]);
    let outcome = run(&Setup { responder, record_ring_len: 4096, ..Setup::default() });
    assert_eq!(outcome.probes.len(), 512);
    assert!(outcome.total.rx_record_drops > 0);
    assert_eq!(outcome.records.len() as u64 + outcome.total.rx_record_drops, outcome.total.rx_rst);
}

/// A stop ends sending early; frames that were handed over are sent and counted.
#[test]
fn stopping_drains() {
    let control = Control::new(2);
    control.stop(EndReason::Interrupted);
    let outcome = run_with(&Setup { workers: 2, ..Setup::default() }, &control);
    assert_eq!(outcome.end.reason, EndReason::Interrupted);
    assert_eq!(outcome.total.tx_submitted, outcome.total.port.probes_sent);
    let slow = Setup { rate_pps: 100, max_runtime: Some(Duration::from_millis(100)), ..Setup::default() };
    let outcome = run(&slow);
    assert_eq!(outcome.end.reason, EndReason::MaxRuntime);
    assert!((5..=30).contains(&outcome.probes.len()), "{}", outcome.probes.len());
}

/// Frames that the kernel never completes are given up in the end, and counted as such.
#[test]
fn a_stuck_queue_ends() {
    let outcome =
        run(&Setup { prepare: |port| port.stuck = true, max_targets: Some(100), ..Setup::default() });
    assert_eq!((outcome.total.tx_submitted, outcome.total.port.probes_sent), (100, 0));
}

#[test]
fn a_broken_port_ends_the_scan() {
    let outcome = run(&Setup { prepare: |port| port.broken = true, ..Setup::default() });
    assert_eq!(outcome.end.reason, EndReason::SendFailed);
}

/// Workers without targets, because one worker has leased them all, do not use any of the rate.
#[test]
fn idle_workers_take_no_rate() {
    let limits =
        Setup { workers: 4, rate_pps: 500, max_targets: Some(200), lease_len: 4096, ..Setup::default() };
    let outcome = run(&limits);
    assert_eq!(outcome.probes.len(), 200);
    let elapsed = outcome.end.send_elapsed;
    assert!(elapsed >= Duration::from_millis(350), "200 probes at 500 a second took only {elapsed:?}");
    assert!(elapsed < Duration::from_millis(1_000), "200 probes at 500 a second took {elapsed:?}");
}

/// A worker that panics ends the scan; the others end in order, with their counters.
#[test]
fn a_panic_of_a_worker_ends_the_scan() {
    let fault: Responder = Arc::new(|_| panic!("a fault"));
    let outcome =
        run(&Setup { workers: 3, responder: fault, cooldown: Duration::from_secs(60), ..Setup::default() });
    assert_eq!(outcome.end.reason, EndReason::SendFailed);
    assert_eq!(outcome.end.workers.len(), 3);
}

/// If the observer panics, the workers end as well.
#[test]
fn a_panic_of_the_observer_holds_nobody() {
    let control = Control::new(1);
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        observed(&Setup { cooldown: Duration::from_secs(60), ..Setup::default() }, &control, |_| {
            panic!("a fault")
        })
    }));
    assert!(ended.is_err());
}
