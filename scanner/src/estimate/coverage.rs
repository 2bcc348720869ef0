//! How often the intervals contain the truth: scans of simulated targets, in the order of real permutations, over a way
//! that loses probes and says nothing. The results are in `docs/reference/estimates.csv`.
//!
//! A share of the targets answers: drawn one by one, or all of a network together. The first half of the order is
//! probed, and half of that twice. Beside how often the truth was inside is how wide the intervals were, in units of
//! the narrowest that could contain it as often: 1 is best, and more is wide without need.

use std::fmt::Write as _;
use std::time::Duration;

use targets::{Cursor, Interval as Exponents, Permutation};

use super::{Dispersion, HitRate, Interval, Missed, NORMAL, Networks, Probed, Reading, Stretches, Twice};

/// The table, as it is in the documents.
const TABLE: &str = include_str!("../../../docs/reference/estimates.csv");
/// Scans per cell.
const SCANS: u64 = 1_000;
/// Notes that are taken of each scan.
const MOMENTS: u64 = 250;

/// Which targets answer.
#[derive(Clone, Copy, Debug)]
struct Population {
    name: &'static str,
    targets: u64,
    hit_rate: f64,
    /// Whether all targets of a network answer, or none.
    is_clustered: bool,
    /// Which share of the order is probed.
    covered: f64,
}

/// How probes are lost.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// Each by itself.
    Alone(f64),
    /// All of a moment together.
    Bursts(f64),
    /// All of a network together.
    Networks(f64),
}

/// SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014).
struct Random(u64);

impl Random {
    fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.0)
    }

    fn is(&mut self, probability: f64) -> bool {
        is(self.word(), probability)
    }
}

fn mixed(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// Whether a uniform word falls to something of this probability.
fn is(word: u64, probability: f64) -> bool {
    ((word >> 11) as f64) < probability * (1u64 << 53) as f64
}

/// The hosts of a scan in the order in which they are probed, each with the number of targets before it; and how many
/// there are in all, and how many targets are probed.
struct Hosts {
    probed: Vec<(u64, u32)>,
    all: u64,
    targets: u64,
}

impl Hosts {
    fn of(population: &Population, seed: u64) -> Self {
        let mut random = Random(mixed(seed));
        let mut bits = vec![0u64; population.targets.div_ceil(64) as usize];
        for network in bits.chunks_mut(256 / 64) {
            if population.is_clustered {
                network.fill(if random.is(population.hit_rate) { u64::MAX } else { 0 });
                continue;
            }
            for bit in 0..256 {
                network[bit / 64] |= u64::from(random.is(population.hit_rate)) << (bit % 64);
            }
        }
        let order = Permutation::new(population.targets, seed).unwrap();
        let end = (order.order() as f64 * population.covered) as u64;
        let mut cursor = Cursor::new(&order, Exponents { start: 0, end });
        let (mut batch, mut probed, mut targets) = ([0; 256], Vec::new(), 0);
        loop {
            let found = cursor.fill(&mut batch);
            if found == 0 {
                break;
            }
            for (place, &index) in batch[..found].iter().enumerate() {
                if bits[(index / 64) as usize] >> (index % 64) & 1 != 0 {
                    probed.push((targets + place as u64, index as u32));
                }
            }
            targets += found as u64;
        }
        let all = bits.iter().map(|word| u64::from(word.count_ones())).sum();
        Self { probed, all, targets }
    }
}

/// What a scan found.
struct Scan {
    stretches: Stretches,
    networks: Networks,
    once: u64,
    found: u64,
    missed: u64,
}

/// Scans hosts, of which this share is probed twice.
fn scan(hosts: &Hosts, way: Way, twice: f64, seed: u64) -> Scan {
    let mut random = Random(seed ^ 0x5eed);
    let (key, other) = (random.word(), random.word());
    let mut scan =
        Scan { stretches: Stretches::default(), networks: Networks::default(), once: 0, found: 0, missed: 0 };
    let (mut noted, moment) = (0, hosts.targets / MOMENTS);
    for &(place, index) in &hosts.probed {
        while place >= (noted + 1) * moment {
            noted += 1;
            let at = Duration::from_secs(noted);
            scan.stretches.note(Reading { at, probed: noted * moment, found: scan.found });
        }
        // A burst takes a quarter of a moment.
        let mut is_lost = |key: u64| match way {
            Way::Alone(loss) => random.is(loss),
            Way::Bursts(loss) => is(mixed(key ^ (4 * place / moment)), loss),
            Way::Networks(loss) => is(mixed(key ^ u64::from(index >> 8)), loss),
        };
        let first = !is_lost(key);
        if !is(mixed(key.rotate_left(32) ^ u64::from(index)), twice) {
            scan.once += u64::from(first);
            scan.found += u64::from(first);
            scan.missed += u64::from(!first);
            continue;
        }
        let second = !is_lost(other);
        let seen = scan.networks.of(index);
        match (first, second) {
            (true, true) => seen.both += 1,
            (true, false) => seen.first_only += 1,
            (false, true) => seen.second_only += 1,
            (false, false) => scan.missed += 1,
        }
        scan.found += u64::from(first || second);
    }
    scan
}

/// How an estimate of a quantity did.
#[derive(Clone, Debug)]
struct Trial {
    quantity: &'static str,
    scans: u64,
    inside: u64,
    widths: f64,
    errors: f64,
    squares: f64,
}

impl Trial {
    fn of(quantity: &'static str) -> Self {
        Self { quantity, scans: 0, inside: 0, widths: 0.0, errors: 0.0, squares: 0.0 }
    }

    fn add(&mut self, estimate: f64, interval: Interval, truth: f64) {
        self.scans += 1;
        self.inside += u64::from(interval.contains(truth));
        self.widths += interval.upper - interval.lower;
        self.errors += estimate - truth;
        self.squares += (estimate - truth).powi(2);
    }

    /// The average width, in units of that of the narrowest interval.
    fn width(&self) -> f64 {
        let scans = self.scans as f64;
        let deviation = (self.squares / scans - (self.errors / scans).powi(2)).sqrt();
        self.widths / scans / (2.0 * NORMAL * deviation)
    }
}

/// Estimates from simulated scans: the hit rate, the share that a probe misses, and the hosts that are missing.
fn measured(population: &Population, ways: &[Way], scans: u64) -> Vec<[Trial; 3]> {
    let mut trials = vec![["hit rate", "loss", "missed hosts"].map(Trial::of); ways.len()];
    for seed in 0..scans {
        let hosts = Hosts::of(population, seed);
        for (way, trials) in ways.iter().zip(&mut trials) {
            let &(Way::Alone(loss) | Way::Bursts(loss) | Way::Networks(loss)) = way;
            let scan = scan(&hosts, *way, 0.5, seed);
            let twice: Twice = scan.networks.total();
            let missed = Missed::estimate(twice, scan.once, &scan.networks.dispersion()).unwrap();
            let covered = hosts.targets as f64 / population.targets as f64;
            let probed = Probed { targets: hosts.targets, found: scan.found, covered };
            let stretches = Dispersion::between(scan.stretches.groups());
            let hit_rate = HitRate::estimate(&probed, &stretches, Some(&missed)).unwrap();
            let truth = hosts.all as f64 / population.targets as f64;
            let [of_rate, of_loss, of_missed] = trials;
            of_rate.add(hit_rate.rate, hit_rate.interval, truth);
            of_loss.add(missed.share, missed.share_interval, loss);
            of_missed.add(missed.hosts, missed.hosts_interval, scan.missed as f64);
        }
    }
    trials
}

fn population(name: &'static str, targets: u64, hit_rate: f64, is_clustered: bool) -> Population {
    Population { name, targets, hit_rate, is_clustered, covered: 0.5 }
}

/// The table's rows of these populations, each in a thread of its own, and the trials in them.
fn rows(populations: &[Population], scans: u64) -> (String, Vec<(String, Trial)>) {
    const LOSSES: [f64; 3] = [0.01, 0.05, 0.2];
    let trials: Vec<Vec<[Trial; 3]>> = std::thread::scope(|scope| {
        let started: Vec<_> = populations
            .iter()
            .map(|population| scope.spawn(|| measured(population, &LOSSES.map(Way::Alone), scans)))
            .collect();
        started.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let (mut text, mut all) = (String::new(), Vec::new());
    for (population, trials) in populations.iter().zip(trials) {
        for (loss, trials) in LOSSES.iter().zip(trials) {
            for trial in trials {
                let Population { name, hit_rate, .. } = population;
                let cell = format!("{hit_rate},{name},{loss},{}", trial.quantity);
                writeln!(text, "{cell},{},{:.2}", trial.inside, trial.width()).unwrap();
                all.push((cell, trial));
            }
        }
    }
    (text, all)
}

/// The truth is inside 95 % of the intervals, and they are not wider than that takes.
#[test]
fn intervals_hold_the_truth() {
    let wanted = std::env::var("XDPMAP_TEST_COVERAGE").ok().map(|scans| scans.parse::<u64>().unwrap());
    let mut populations = vec![
        population("single hosts", 1 << 16, 0.05, false),
        population("networks", 1 << 16, 0.05, true),
        population("single hosts", 1 << 14, 0.2, false),
        population("networks", 1 << 14, 0.2, true),
        population("single hosts", 1 << 13, 0.5, false),
        population("networks", 1 << 13, 0.5, true),
    ];
    if wanted.is_some() {
        populations.extend([false, true].map(|is_clustered| {
            population(if is_clustered { "networks" } else { "single hosts" }, 1 << 20, 0.005, is_clustered)
        }));
    }
    let scans = wanted.unwrap_or(SCANS);
    let (text, trials) = rows(&populations, scans);
    println!("{text}");
    for (cell, trial) in trials {
        let share = trial.inside as f64 / scans as f64;
        assert!((0.93..=0.97).contains(&share), "{cell}: {share} of {scans}\n{text}");
        assert!((0.9..=1.15).contains(&trial.width()), "{cell}: width {}\n{text}", trial.width());
    }
    let table = format!("hit_rate,answers_by,loss,quantity,inside_of_1000,width\n{text}");
    assert!(wanted.is_some() || table == TABLE, "docs/reference/estimates.csv has to be:\n{table}");
}

/// Where less than one host is missed in most scans, the interval contains the others as well. It cannot contain the
/// truth in just 95 % of them, because that is a whole number.
#[test]
fn few_missed_hosts() {
    let population = Population { covered: 1.0, ..population("single hosts", 1 << 14, 0.25, false) };
    let mut trials = [0.005, 0.01, 0.015].map(|loss| (loss, Trial::of("missed hosts")));
    for seed in 0..SCANS {
        let hosts = Hosts::of(&population, seed);
        for (loss, trial) in &mut trials {
            let scan = scan(&hosts, Way::Alone(*loss), 1.0, seed);
            let missed = Missed::estimate(scan.networks.total(), 0, &scan.networks.dispersion()).unwrap();
            trial.add(missed.hosts, missed.hosts_interval, scan.missed as f64);
        }
    }
    for (loss, trial) in trials {
        let share = trial.inside as f64 / trial.scans as f64;
        assert!(share >= 0.95, "{loss}: {share}, {trial:?}");
    }
}

/// Bursts of loss make the binomial interval too narrow, but not the one by stretches of the order.
#[test]
fn bursts_are_seen_between_stretches() {
    let population = Population { covered: 1.0 / 16.0, ..population("single hosts", 1 << 18, 0.5, false) };
    let (mut known, mut independent) = (Trial::of("hit rate"), Trial::of("hit rate"));
    for seed in 0..SCANS / 2 {
        let hosts = Hosts::of(&population, seed);
        let scan = scan(&hosts, Way::Bursts(0.2), 0.0, seed);
        let covered = hosts.targets as f64 / population.targets as f64;
        let probed = Probed { targets: hosts.targets, found: scan.found, covered };
        let truth = 0.8 * hosts.all as f64 / population.targets as f64;
        for (trial, dispersion) in [
            (&mut known, Dispersion::between(scan.stretches.groups())),
            (&mut independent, Dispersion::INDEPENDENT),
        ] {
            let estimate = HitRate::estimate(&probed, &dispersion, None).unwrap();
            trial.add(estimate.rate, estimate.interval, truth);
        }
    }
    let share = |trial: &Trial| trial.inside as f64 / trial.scans as f64;
    let text = format!("{} and {}, {known:?}, {independent:?}", share(&known), share(&independent));
    assert!((0.93..=0.97).contains(&share(&known)) && known.width() < 1.15, "{text}");
    assert!(share(&independent) < 0.8, "{text}");
}

/// Where a place does not see whole networks, hosts that neither place sees are within the interval by networks, but
/// not within one that takes hosts for independent.
#[test]
fn networks_that_a_place_does_not_see() {
    let population = Population { covered: 1.0, ..population("single hosts", 1 << 18, 0.1, false) };
    let (mut known, mut independent) = (Trial::of("missed hosts"), Trial::of("missed hosts"));
    for seed in 0..SCANS / 4 {
        let scan = scan(&Hosts::of(&population, seed), Way::Networks(0.2), 1.0, seed);
        for (trial, dispersion) in
            [(&mut known, scan.networks.dispersion()), (&mut independent, Dispersion::INDEPENDENT)]
        {
            let missed = Missed::estimate(scan.networks.total(), 0, &dispersion).unwrap();
            trial.add(missed.hosts, missed.hosts_interval, scan.missed as f64);
        }
    }
    let share = |trial: &Trial| trial.inside as f64 / trial.scans as f64;
    let text = format!("{} and {}, {known:?}, {independent:?}", share(&known), share(&independent));
    assert!((0.92..=0.98).contains(&share(&known)) && known.width() < 1.2, "{text}");
    assert!(share(&independent) < 0.5, "{text}");
}
