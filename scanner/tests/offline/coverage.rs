//! Exactly once: exhaustive proofs that a scan meets every target once and nothing else, whatever the sizes, shards,
//! workers, limits and restarts.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;
use std::sync::Mutex;
use std::thread;

use proptest::prelude::*;
use support::scanner::xdpmap;
use targets::{
    AddressRange, AddressSet, Cursor, Interval, Lease, Leases, Permutation, PortList, TargetBatch,
    TargetSpace, shard,
};
use wire::packet::BATCH_MAX;

/// A set of numbers below a bound that detects repeats.
struct Seen {
    words: Vec<u64>,
    bound: u64,
    count: u64,
}

impl Seen {
    fn below(bound: u64) -> Self {
        Self { words: vec![0; bound.div_ceil(64) as usize], bound, count: 0 }
    }

    fn insert(&mut self, number: u64) {
        assert!(number < self.bound, "{number} of {}", self.bound);
        let (word, bit) = ((number / 64) as usize, 1 << (number % 64));
        assert_eq!(self.words[word] & bit, 0, "{number} of {} twice", self.bound);
        self.words[word] |= bit;
        self.count += 1;
    }

    fn assert_full(&self) {
        assert_eq!(self.count, self.bound);
    }
}

fn whole(order: &Permutation) -> Interval {
    Interval { start: 0, end: order.order() }
}

/// The indices of `interval` in order.
fn walk(order: &Permutation, interval: Interval) -> Vec<u64> {
    let mut cursor = Cursor::new(order, interval);
    let mut out = [0; BATCH_MAX];
    let mut all = vec![];
    loop {
        let count = cursor.fill(&mut out);
        if count == 0 {
            return all;
        }
        all.extend_from_slice(&out[..count]);
    }
}

/// Walks a whole order and sees each index once.
fn assert_exactly_once(targets: u64, seed: u64) {
    let order = Permutation::new(targets, seed).unwrap();
    let mut seen = Seen::below(targets);
    let mut cursor = Cursor::new(&order, whole(&order));
    let mut out = [0; BATCH_MAX];
    loop {
        let count = cursor.fill(&mut out);
        if count == 0 {
            break;
        }
        out[..count].iter().for_each(|&index| seen.insert(index));
    }
    seen.assert_full();
    assert_eq!(cursor.skipped(), order.order() - targets);
}

#[test]
fn every_size_up_to_3000() {
    for targets in 1..=3_000 {
        assert_exactly_once(targets, targets * 7_919);
        assert_exactly_once(targets, u64::MAX / targets);
    }
}

#[test]
fn sizes_around_powers_of_two() {
    for power in [1 << 8, 1 << 16, 1 << 24] {
        for targets in power - 3..=power + 3 {
            assert_exactly_once(targets, targets);
        }
    }
}

/// Resolves a whole walk and sees every (address, port) once.
fn assert_every_port_of_every_address(ranges: &[(u32, u32)], ports: &str) {
    let set = ranges.iter().map(|&(first, last)| AddressRange::new(first, last).unwrap()).collect();
    let space = TargetSpace::new(AddressSet::new(&set), PortList::parse(ports).unwrap());
    let order = Permutation::new(space.len(), 5).unwrap();
    let mut seen: Vec<Seen> = ranges.iter().map(|&(a, b)| Seen::below(u64::from(b - a + 1) << 16)).collect();
    let mut cursor = Cursor::new(&order, whole(&order));
    let mut indices = [0; BATCH_MAX];
    let mut batch = TargetBatch::default();
    loop {
        let count = cursor.fill(&mut indices);
        if count == 0 {
            break;
        }
        space.resolve(&indices[..count], &mut batch);
        for (&address, &port) in batch.addresses.iter().zip(&batch.ports).take(batch.len) {
            assert!(space.ports().contains(port));
            let range = ranges.iter().position(|&(first, last)| (first..=last).contains(&address)).unwrap();
            seen[range].insert(u64::from(address - ranges[range].0) << 16 | u64::from(port));
        }
    }
    // Only allowed pairs, none twice, as many as there are: so each once.
    assert_eq!(seen.iter().map(|seen| seen.count).sum::<u64>(), space.len());
}

#[test]
fn addresses_times_ports() {
    let one = [(u32::MAX, u32::MAX)];
    let few = [(0, 0), (0x0a00_0000, 0x0a00_0006), (0x0b00_0000, 0x0b00_001e), (u32::MAX - 1, u32::MAX)];
    let many = [(100, 612), (1_000, 1_000), (2_000, 2_401), (4_000_000_000, 4_000_000_099)];
    for ports in ["80", "80,443", "1-256", "0-256", "1-257", "7,100-900,65535"] {
        assert_every_port_of_every_address(&one, ports);
        assert_every_port_of_every_address(&few, ports);
        assert_every_port_of_every_address(&many, ports);
    }
    assert_every_port_of_every_address(&one, "*");
    assert_every_port_of_every_address(&few, "*");
    assert_every_port_of_every_address(&few, "1-65535");
}

/// A xorshift generator: which worker moves next (G. Marsaglia, "Xorshift RNGs", 2003).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// A worker with the lease it holds.
#[derive(Default)]
struct Worker {
    held: Option<(Interval, Cursor)>,
    done: bool,
}

/// Workers on one lease table, moved one at a time in any order the dice say.
struct Crew<'a> {
    order: &'a Permutation,
    leases: Leases,
    workers: Vec<Worker>,
    found: Vec<u64>,
    dice: Dice,
}

impl<'a> Crew<'a> {
    fn new(order: &'a Permutation, leases: Leases, workers: usize, dice: u64) -> Self {
        let workers = (0..workers).map(|_| Worker::default()).collect();
        Self { order, leases, workers, found: vec![], dice: Dice(dice | 1) }
    }

    /// Moves one worker by one step: ask for a lease, or take some targets of the one it holds.
    fn step(&mut self) {
        let pick = self.dice.below(self.workers.len() as u64) as usize;
        let worker = &mut self.workers[pick];
        let Some((granted, cursor)) = &mut worker.held else {
            match self.leases.lease() {
                Lease::Grant(interval) => {
                    assert!(!interval.is_empty());
                    worker.held = Some((interval, Cursor::new(self.order, interval)));
                }
                Lease::Wait => assert!(self.workers.iter().any(|worker| worker.held.is_some()), "all wait"),
                Lease::Done => worker.done = true,
            }
            return;
        };
        let mut out = vec![0; 1 + self.dice.below(12) as usize];
        let count = cursor.fill(&mut out);
        self.found.extend_from_slice(&out[..count]);
        if cursor.remaining().is_empty() {
            self.leases.finish(*granted, cursor.skipped());
            worker.held = None;
        }
    }

    fn is_done(&self) -> bool {
        self.workers.iter().all(|worker| worker.done)
    }

    /// Runs to the end and returns what was found.
    fn run(mut self) -> Vec<u64> {
        while !self.is_done() {
            self.step();
        }
        let progress = self.leases.progress();
        assert_eq!((progress.finished, progress.targets), (progress.total, self.found.len() as u64));
        self.found
    }
}

fn sorted(mut indices: Vec<u64>) -> Vec<u64> {
    indices.sort_unstable();
    indices
}

/// Shards 1 to 7 by workers 1 to 5, with and without a limit.
#[test]
fn shards_by_workers() {
    let mut dice = Dice(0x5eed);
    for targets in [1, 6, 113, 1_000, 1_327] {
        let order = Permutation::new(targets, targets).unwrap();
        for shards in 1..=7 {
            for workers in 1..=5 {
                let mut seen = Seen::below(targets);
                for index in 0..shards {
                    let arc = shard(order.order(), index, shards);
                    let expected = walk(&order, arc);
                    let lease_len = 1 + dice.below(40);
                    let all =
                        Crew::new(&order, Leases::new(arc, None, lease_len), workers, dice.below(u64::MAX))
                            .run();
                    all.iter().for_each(|&index| seen.insert(index));
                    assert_eq!(sorted(all), sorted(expected.clone()));

                    let limit = dice.below(expected.len() as u64 + 2);
                    let leases = Leases::new(arc, Some(limit), lease_len);
                    let some = Crew::new(&order, leases, workers, dice.below(u64::MAX)).run();
                    let first = expected[..expected.len().min(limit as usize)].to_vec();
                    assert_eq!(
                        sorted(some),
                        sorted(first),
                        "{targets} targets, shard {index}/{shards}, -n {limit}"
                    );
                }
                seen.assert_full();
            }
        }
    }
}

/// Every limit of a space whose group has long gaps (113 targets, p = 127; 1,327 targets, p = 1,361).
#[test]
fn every_limit_is_exact_with_any_number_of_workers() {
    for (targets, prime) in [(113, 127), (1_327, 1_361)] {
        let order = Permutation::new(targets, 21).unwrap();
        assert_eq!(order.prime(), prime);
        let expected = walk(&order, whole(&order));
        for limit in 0..=targets + 2 {
            for (workers, lease_len) in [(1, 16), (2, 1), (3, 5), (4, 64), (5, 3)] {
                let leases = Leases::new(whole(&order), Some(limit), lease_len);
                let found = Crew::new(&order, leases, workers, limit * 5 + 1).run();
                assert_eq!(sorted(found), sorted(expected[..targets.min(limit) as usize].to_vec()));
            }
        }
    }
}

proptest! {
    /// A scan stopped anywhere and taken up from its open intervals, again and again, with other numbers of workers.
    #[test]
    fn restarts_lose_and_repeat_nothing(
        targets in 1u64..3_000,
        seed: u64,
        lives in prop::collection::vec((1usize..6, 1u64..50, 0usize..300), 1..5),
    ) {
        let order = Permutation::new(targets, seed).unwrap();
        let mut seen = Seen::below(targets);
        let mut open = vec![whole(&order)];
        for (workers, lease_len, steps) in lives {
            let mut still_open = vec![];
            for interval in open {
                let mut crew = Crew::new(&order, Leases::new(interval, None, lease_len), workers, seed);
                for _ in 0..steps {
                    crew.step();
                }
                crew.found.iter().for_each(|&index| seen.insert(index));
                still_open.extend(crew.leases.unleased());
                still_open.extend(crew.workers.iter().filter_map(|w| Some(w.held.as_ref()?.1.remaining())));
            }
            open = still_open;
        }
        for interval in open {
            walk(&order, interval).into_iter().for_each(|index| seen.insert(index));
        }
        seen.assert_full();
    }
}

/// Real threads on one table: what they find together, with and without a limit.
#[test]
fn threads_share_an_arc() {
    let targets = 1_000_000;
    let order = Permutation::new(targets, 99).unwrap();
    let arc = shard(order.order(), 1, 3);
    let expected = walk(&order, arc);
    for limit in [None, Some(0), Some(1), Some(1_000), Some(99_991), Some(targets)] {
        for lease_len in [7, 1_024] {
            let leases = Leases::new(arc, limit, lease_len);
            let found = sorted(run_threads(&order, &leases, 4));
            let count = limit.map_or(expected.len(), |limit| expected.len().min(limit as usize));
            assert!(found == sorted(expected[..count].to_vec()), "limit {limit:?}, leases of {lease_len}");
        }
    }
}

/// Many short scans with gaps: the end of a limit, where workers wait for each other, again and again.
#[test]
fn threads_meet_at_a_limit() {
    let order = Permutation::new(113, 2).unwrap();
    let expected = walk(&order, whole(&order));
    for round in 0..600 {
        let limit = round % 115;
        let found = run_threads(&order, &Leases::new(whole(&order), Some(limit), 1 + round % 4), 3);
        assert_eq!(sorted(found), sorted(expected[..113.min(limit as usize)].to_vec()));
    }
}

fn run_threads(order: &Permutation, leases: &Leases, threads: usize) -> Vec<u64> {
    let found = Mutex::new(vec![]);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut own = vec![];
                loop {
                    match leases.lease() {
                        Lease::Grant(interval) => {
                            let before = own.len() as u64;
                            own.extend(walk(order, interval));
                            leases.finish(interval, interval.len() - (own.len() as u64 - before));
                        }
                        Lease::Wait => thread::yield_now(),
                        Lease::Done => break,
                    }
                }
                found.lock().unwrap().append(&mut own);
            });
        }
    });
    found.into_inner().unwrap()
}

/// A whole /10 on three ports, through the binary, its engine and a dry run: each target once, nothing else.
#[test]
fn a_slash_10_on_three_ports() {
    const FIRST: u32 = 0x4000_0000;
    const PORTS: [u16; 3] = [80, 443, 8_080];
    let mut scan = xdpmap()
        .args([
            "--fast-dryrun",
            "-p",
            "8080,80,443",
            "-e",
            "20",
            "-r",
            "0",
            "-q",
            "-v",
            "1",
            "-b",
            "/dev/null",
        ])
        .arg("64.0.0.0/10")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut targets = BufReader::with_capacity(1 << 20, scan.stdout.take().unwrap());
    let mut seen = Seen::below(3 << 22);
    let mut target = [0; 6];
    while !targets.fill_buf().unwrap().is_empty() {
        targets.read_exact(&mut target).unwrap();
        let [a, b, c, d, high, low] = target;
        let (address, port) = (u32::from_be_bytes([a, b, c, d]), u16::from_be_bytes([high, low]));
        let place = PORTS.iter().position(|&known| known == port).unwrap();
        seen.insert(u64::from(address.checked_sub(FIRST).unwrap()) * 3 + place as u64);
    }
    seen.assert_full();
    assert!(scan.wait().unwrap().success());
}
