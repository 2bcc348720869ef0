//! How often the intervals of real scans contain the truth, where the path loses packets and says nothing.
//!
//! Scans differ in their seeds, and so in their samples, canaries and losses; what there is to find is known. The test
//! makes few of them. As many per cell as `XDPMAP_TEST_COVERAGE_SCANS` says take longer, and with `XDPMAP_TEST_WRITE`
//! they go to `bench/results/coverage.json`, from which the tables of `docs/reference/estimates.md` are made.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Instant;

use lab::{Lab, have_root};
use serde_json::{Value, json};
use support::drops::dropped;
use support::{Scans as _, read};

use crate::estimates::{HOSTS as TARGETS, NETWORK, number};

/// Of so many targets hosts are there.
const THERE: usize = TARGETS as usize / 4;
/// Of the packets, so many are lost on their way there or on their way back.
const LOSSES_PERCENT: [u32; 3] = [1, 5, 20];
/// How hosts lie among the targets: a network of so many addresses is there as a whole, or not at all.
const POPULATIONS: [(&str, u32); 2] = [("single hosts", 1), ("networks", 256)];
/// What scans probe, and what of it twice. The test has the first alone: that has a sampling error as well.
const MANNERS: [&str; 2] = ["-n 50% --recheck 25%", "-P 2"];
/// What scans estimate: its name, where it stands in the metadata, and its bounds.
const QUANTITIES: [(&str, &str, [&str; 2]); 4] = [
    ("hit_rate", "/estimates/hit_rate_percent", ["lower", "upper"]),
    ("loss", "/estimates/missed_by_one_percent", ["lower", "upper"]),
    ("loss_of_canaries", "/canaries/loss", ["low_percent", "high_percent"]),
    ("missed_hosts", "/estimates/missed_hosts", ["lower", "upper"]),
];
/// Scans per cell of the test.
const FEW: u64 = 2;

/// The truth, and the bounds of the interval, for each of [`QUANTITIES`].
type Run = [[f64; 3]; QUANTITIES.len()];

/// Scans of one kind.
struct Cell {
    answers_by: &'static str,
    probes: &'static str,
    loss_percent: u32,
    runs: Vec<Run>,
}

/// The hosts that are there: as many blocks of this size as there have to be, drawn by their hashes.
fn hosts(block: u32) -> HashSet<Ipv4Addr> {
    let first = u32::from(NETWORK.split_once('/').unwrap().0.parse::<Ipv4Addr>().unwrap());
    let mut blocks: Vec<u32> = (0..TARGETS as u32 / block).map(|number| first + number * block).collect();
    blocks.sort_by_cached_key(|start| BuildHasherDefault::<DefaultHasher>::default().hash_one(start));
    blocks.truncate(THERE / block as usize);
    blocks.into_iter().flat_map(|start| start..start + block).map(Ipv4Addr::from).collect()
}

/// Has the far side answer for these hosts alone, and lose packets: each by itself, with one probability for probes and
/// for answers.
fn lose(lab: &Lab, hosts: &HashSet<Ipv4Addr>, loss_percent: u32) {
    let there = hosts.iter().map(Ipv4Addr::to_string).collect::<Vec<_>>().join(", ");
    let each = 1.0 - (1.0 - f64::from(loss_percent) / 100.0).sqrt();
    let lost = format!("numgen random mod 1000000 < {:.0} drop", 1e6 * each);
    let rules = format!(
        "add table ip lossy; delete table ip lossy; table ip lossy {{\n\
         set there {{ type ipv4_addr; elements = {{ {there} }}; }}\n\
         chain probes {{ type filter hook input priority 0; ip daddr != @there drop; {lost}; }}\n\
         chain answers {{ type filter hook output priority 0; {lost}; }}\n}}\n"
    );
    let file = lab.folder().join("lossy");
    std::fs::write(&file, rules).unwrap();
    lab.in_ns(&lab.net, "nft", ["-f".as_ref(), file.as_os_str()]);
}

/// A scan. `None` if the machine itself has lost frames: then more was lost than the truth says.
fn run(lab: &Lab, hosts: &HashSet<Ipv4Addr>, loss_percent: u32, manner: &str, seed: u64) -> Option<Run> {
    let before = dropped(lab);
    let scanned = lab.survey(&format!(
        "-M tcp_synackscan -p 80 -r 10000 -c 1 -e {seed} -f saddr --canaries 10% --probe-gap 0.2 {manner} {NETWORK}"
    ));
    assert_eq!(scanned.output.status.code(), Some(0), "{}", scanned.stderr());
    let drops = dropped(lab) - before;
    if drops > 0 || number(&scanned.metadata, "/canaries/loss/own_percent") > 0.0 {
        return None;
    }
    // The targets that it has probed.
    let limit = manner.split_once(" --recheck").map_or("", |(limit, _)| limit);
    let mut iterate = support::scanner::xdpmap();
    iterate
        .args(["iterate", "--allow-reserved", "-e", &seed.to_string(), NETWORK])
        .args(limit.split_whitespace());
    let targets = String::from_utf8(iterate.output().unwrap().stdout).unwrap();
    let targets: HashSet<Ipv4Addr> = targets.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(targets.len() as u64, scanned.row("targets", "probed"));
    let found: HashSet<Ipv4Addr> = scanned.lines().iter().map(|line| line.parse().unwrap()).collect();
    let there: HashSet<Ipv4Addr> = targets.intersection(hosts).copied().collect();
    assert!(found.is_subset(&there), "{:?}", found.difference(&there));
    let missed = (there.len() - found.len()) as f64;
    let loss = f64::from(loss_percent);
    let truths = [100.0 * hosts.len() as f64 / TARGETS as f64, loss, loss, missed];
    let bound = |place: &str, name: &str| number(&scanned.metadata, &format!("{place}/{name}"));
    Some(std::array::from_fn(|quantity| {
        let (_, place, [lower, upper]) = QUANTITIES[quantity];
        [truths[quantity], bound(place, lower), bound(place, upper)]
    }))
}

/// So many scans of hosts that lie like this, over a path with this loss; and how many more there were in which the
/// machine has lost frames.
fn cells(
    (answers_by, block): (&'static str, u32),
    loss_percent: u32,
    manners: &[&'static str],
    scans: u64,
) -> (Vec<Cell>, u64) {
    let lab = Lab::new(1);
    let hosts = hosts(block);
    assert_eq!(hosts.len(), THERE);
    lose(&lab, &hosts, loss_percent);
    let (mut cells, mut left_out) = (Vec::new(), 0);
    // No two scans probe the same sample.
    let mut seed = u64::from(loss_percent * block) << 32;
    for &probes in manners {
        let mut runs = Vec::new();
        while (runs.len() as u64) < scans {
            seed += 1;
            match run(&lab, &hosts, loss_percent, probes, seed) {
                Some(run) => runs.push(run),
                None => left_out += 1,
            }
            assert!(left_out <= scans, "the machine has lost frames in {left_out} scans: it is too busy");
        }
        cells.push(Cell { answers_by, probes, loss_percent, runs });
    }
    (cells, left_out)
}

/// How many of these intervals contain the truth.
fn inside(runs: &[Run], quantity: usize) -> usize {
    let is_inside = |run: &&Run| {
        let [truth, lower, upper] = run[quantity];
        // As it is written, 100 % may be a little less.
        lower - 1e-9 <= truth && truth <= upper + 1e-9
    };
    runs.iter().filter(is_inside).count()
}

/// The average width of these intervals.
fn width(runs: &[Run], quantity: usize) -> f64 {
    runs.iter().map(|run| run[quantity][2] - run[quantity][1]).sum::<f64>() / runs.len() as f64
}

/// The results of an earlier test of many scans.
fn stored() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../bench/results/coverage.json")
}

/// The results, each run on a line.
fn written(cells: &[Cell], head: &Value) -> String {
    let mut text = serde_json::to_string_pretty(head).unwrap();
    let end = text.rfind("\n}").unwrap();
    text.truncate(end);
    text.push_str(",\n  \"cells\": [");
    for (number, Cell { answers_by, probes, loss_percent, runs }) in cells.iter().enumerate() {
        let before = if number == 0 { "" } else { "," };
        let about = format!(
            "\"answers_by\": \"{answers_by}\", \"probes\": \"{probes}\", \"loss_percent\": {loss_percent}"
        );
        let rounded = |run: &Run| run.map(|numbers| numbers.map(|number| (1e4 * number).round() / 1e4));
        let runs: Vec<String> = runs.iter().map(|run| format!("\n      {}", json!(rounded(run)))).collect();
        write!(text, "{before}\n    {{{about}, \"runs\": [{}\n    ]}}", runs.join(",")).unwrap();
    }
    text + "\n  ]\n}\n"
}

/// The machine, and how the numbers of a run are read.
fn head(scans: u64, left_out: u64, started: Instant) -> Value {
    let cpuinfo = read("/proc/cpuinfo".as_ref());
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    json!({
        "schema": 1,
        "machine": {
            "cpu_model": model.map(|(_, model)| model),
            "cores": std::thread::available_parallelism().unwrap(),
            "kernel": read("/proc/sys/kernel/osrelease".as_ref()).trim(),
        },
        "settings": { "scans": scans, "targets": TARGETS, "hosts": THERE },
        "scans_in_which_the_machine_lost_frames": left_out,
        "seconds": started.elapsed().as_secs(),
        "each_run": QUANTITIES.map(|(name, ..)| json!([format!("{name}: truth"), "lower", "upper"])),
    })
}

/// 12 scans over paths that lose 1, 5 and 20 % of all probes or their answers. If an interval misses the truth in one
/// scan of 20, it does in more than 5 of 12 once in 90,000 tests, and one of four intervals once in 22,500: the sum of
/// `C(12, k) 0.05^k 0.95^(12 - k)` from k = 6 on is 1.11e-5. It has to be as wide as in many scans, too, because an
/// endless one misses nothing.
#[test]
fn intervals_hold_the_truth() {
    if !have_root() {
        return;
    }
    let wanted = std::env::var("XDPMAP_TEST_COVERAGE_SCANS").ok();
    let wanted = wanted.map(|scans| scans.parse::<u64>().expect("XDPMAP_TEST_COVERAGE_SCANS is a number"));
    let (scans, manners) = wanted.map_or((FEW, &MANNERS[..1]), |scans| (scans, &MANNERS));
    let started = Instant::now();
    let (mut all, mut left_out) = (Vec::new(), 0);
    std::thread::scope(|scope| {
        let kinds =
            POPULATIONS.map(|population| LOSSES_PERCENT.map(|loss_percent| (population, loss_percent)));
        let started = kinds.as_flattened().iter().map(|&(population, loss_percent)| {
            scope.spawn(move || cells(population, loss_percent, manners, scans))
        });
        for thread in started.collect::<Vec<_>>() {
            let (cells, without) = thread.join().unwrap();
            all.extend(cells);
            left_out += without;
        }
    });
    all.sort_by_key(|cell| manners.iter().position(|probes| *probes == cell.probes));
    if wanted.is_some() && std::env::var_os("XDPMAP_TEST_WRITE").is_some() {
        std::fs::write(stored(), written(&all, &head(scans, left_out, started))).unwrap();
    }
    for Cell { answers_by, probes, loss_percent, runs } in &all {
        let counts: [usize; QUANTITIES.len()] = std::array::from_fn(|quantity| inside(runs, quantity));
        println!("{answers_by}, {probes}, {loss_percent} %: {counts:?} of {}", runs.len());
        // Fewer in 15 of 10,000 cells, if 95 of 100 are inside.
        assert!(scans < 100 || counts.iter().all(|inside| 100 * *inside as u64 >= 88 * scans), "{probes}");
    }
    if wanted.is_some() {
        return;
    }
    let known: Value = serde_json::from_str(&read(&stored())).unwrap();
    for (quantity, (name, ..)) in QUANTITIES.iter().enumerate() {
        let runs: Vec<Run> = all.iter().flat_map(|cell| &cell.runs).copied().collect();
        let inside = inside(&runs, quantity);
        assert!(runs.len() == 12 && inside >= 7, "{name}: {inside} of {}: {runs:?}", runs.len());
        let widths = all.iter().map(|cell| {
            let is_same = |known: &&Value| {
                known["answers_by"] == cell.answers_by
                    && known["probes"] == cell.probes
                    && known["loss_percent"] == cell.loss_percent
            };
            let known = known["cells"].as_array().unwrap().iter().find(is_same).unwrap();
            let known: Vec<Run> = serde_json::from_value(known["runs"].clone()).unwrap();
            width(&cell.runs, quantity) / width(&known, quantity)
        });
        let widths = widths.sum::<f64>() / all.len() as f64;
        assert!(
            (0.6..1.6).contains(&widths),
            "{name}: intervals of {widths} times the width of others: {runs:?}"
        );
    }
}
