//! `--rate auto` over a path with a hidden knee: it is found, kept, and nothing is lost for it.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::Path;

use aya::maps::Array;
use aya::programs::Xdp;
use aya::programs::xdp::XdpMode;
use aya::{Ebpf, EbpfLoader};
use lab::{Lab, have_root};
use support::Scans as _;

/// The targets: so many addresses from the first on, and the ports from the first on.
const FIRST: u32 = 0xc612_8000;
const ADDRESSES: u32 = 1 << 15;
const FIRST_PORT: u16 = 80;
/// What the path carries, in probes per second. A machine that is busy keeps twice that rate.
const KNEE_PPS: u64 = 15_000;
/// Of 65,536 targets, so many exist: a half.
const SHARE: u32 = 1 << 15;
/// Whether a target exists. `policer.bpf.c` has the same.
fn exists(address: u32, port: u16) -> bool {
    let mixed = (address ^ u32::from(port) << 16).wrapping_mul(0x9e37_79b1);
    (mixed ^ mixed >> 15).wrapping_mul(0x85eb_ca77) >> 16 < SHARE
}

/// Puts the path in front of the far side. It stays for as long as the program is held.
fn police(lab: &Lab) -> Ebpf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/policer.bpf.c");
    let object = lab.folder().join("policer.bpf.o");
    ebpf_build::compile(&source, &object).unwrap();
    let numbers = [1_000_000_000 / KNEE_PPS, 50_000_000, u64::from(SHARE)];
    let config: Vec<u8> = numbers.iter().flat_map(|number| number.to_ne_bytes()).collect();
    let attach = move || {
        let mut ebpf =
            EbpfLoader::new().override_global("config", &config[..], true).load_file(object).unwrap();
        let program: &mut Xdp = ebpf.program_mut("police").unwrap().try_into().unwrap();
        program.load().unwrap();
        program.attach("net0", XdpMode::Driver).unwrap();
        ebpf
    };
    lab.thread_in(&lab.net, attach).join().unwrap()
}

/// What the path has passed and dropped.
fn counted(path: &Ebpf) -> [u64; 2] {
    let state: Array<_, [u64; 3]> = path.map("state").unwrap().try_into().unwrap();
    let [_, passed, dropped] = state.get(&0, 0).unwrap();
    [passed, dropped]
}

/// A policer drops what is beyond 15,000 probes per second. Without resets, which a path without delay would get all at
/// once, when no room is left. The knee is found, the rate stays below it,
/// and all hosts are found but for a few: what was lost on the way to the knee was probed again.
#[test]
fn finds_the_knee_of_a_policer_and_loses_nobody() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let path = police(&lab);
    let ports = FIRST_PORT..FIRST_PORT + 10;
    let asked = format!("-p {}-{} --rate auto --io-mode copy --no-rst -c 2", ports.start, ports.end - 1);
    let scanned = lab.survey(&format!("{asked} -f saddr,sport 198.18.128.0/17"));
    let log = scanned.stderr();
    let rate = &scanned.metadata["rate_auto"];
    let number = |key: &str| rate["state"][key].as_f64().unwrap_or_else(|| panic!("{key}: {rate:#}\n{log}"));
    let [passed, dropped] = counted(&path);
    assert!(
        dropped > passed / 100,
        "the knee was passed in the search: {dropped} of {passed} dropped\n{log}"
    );
    let knee = number("knee_pps") / KNEE_PPS as f64;
    assert!((0.93..=1.07).contains(&knee), "{knee} of the knee\n{log}");
    assert_eq!(rate["state"]["held_for"], "knee", "{log}");
    let held = scanned.metadata["rate_last"].as_f64().unwrap() / KNEE_PPS as f64;
    assert!((0.85..=1.0).contains(&held), "{held} of the knee\n{log}");
    assert!(scanned.number("/counters/targets_again") > 0);
    let words: Vec<&str> = rate["log"]
        .as_array()
        .unwrap()
        .iter()
        .map(|decision| decision["decision"].as_str().unwrap())
        .collect();
    let has = |word| words.contains(&word);
    assert!(has("rise") && has("loss") && has("measure") && has("found") && has("again"), "{words:?}");
    assert!(log.contains("the path carries") && log.contains("is probed again"), "{log}");
    let there: usize = (FIRST..FIRST + ADDRESSES)
        .map(|address| ports.clone().filter(|port| exists(address, *port)).count())
        .sum();
    let found: BTreeSet<&str> = scanned.results.lines().skip(1).collect();
    let is_there = |line: &&str| {
        let (address, port) = line.split_once(',').unwrap();
        exists(address.parse::<Ipv4Addr>().unwrap().into(), port.parse().unwrap())
    };
    assert!(found.iter().all(is_there), "nothing else answers");
    assert!(found.len() * 100 >= there * 99, "{} of {there} found\n{log}", found.len());
}
