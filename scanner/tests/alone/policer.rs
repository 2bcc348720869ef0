//! A path that carries so many frames per second and no more, in front of a network of which a half exists.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use aya::maps::Array;
use aya::programs::Xdp;
use aya::programs::xdp::XdpMode;
use aya::{Ebpf, EbpfLoader};
use lab::Lab;

/// What the path carries, in probes per second. A machine that is busy keeps twice that rate.
pub(crate) const KNEE_PPS: u64 = 15_000;
/// The addresses of the network: so many from the first on.
const FIRST: u32 = 0xc612_8000;
const ADDRESSES: u32 = 1 << 15;
/// Of 65,536 targets, so many exist: a half.
const SHARE: u32 = 1 << 15;

/// Whether a target exists. `policer.bpf.c` has the same.
pub(crate) fn exists(address: u32, port: u16) -> bool {
    let mixed = (address ^ u32::from(port) << 16).wrapping_mul(0x9e37_79b1);
    (mixed ^ mixed >> 15).wrapping_mul(0x85eb_ca77) >> 16 < SHARE
}

/// How many targets of these ports exist.
pub(crate) fn there(ports: std::ops::Range<u16>) -> usize {
    let at = |address| ports.clone().filter(|port| exists(address, *port)).count();
    (FIRST..FIRST + ADDRESSES).map(at).sum()
}

/// Whether the target of a line exists.
pub(crate) fn is_there(line: &str) -> bool {
    let (address, port) = line.split_once(',').unwrap();
    exists(address.parse::<Ipv4Addr>().unwrap().into(), port.parse().unwrap())
}

/// Puts the path in front of the far side. It stays for as long as the program is held.
pub(crate) fn police(lab: &Lab) -> Ebpf {
    police_bursts(lab, Duration::from_millis(50))
}

/// The same for a path that lets no more frames pass at once than it carries in this time, and one.
pub(crate) fn police_bursts(lab: &Lab, burst: Duration) -> Ebpf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/policer.bpf.c");
    let object = lab.folder().join("policer.bpf.o");
    ebpf_build::compile(&source, &object).unwrap();
    let numbers = [1_000_000_000 / KNEE_PPS, burst.as_nanos() as u64, u64::from(SHARE)];
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
pub(crate) fn counted(path: &Ebpf) -> [u64; 2] {
    let state: Array<_, [u64; 3]> = path.map("state").unwrap().try_into().unwrap();
    let [_, passed, dropped] = state.get(&0, 0).unwrap();
    [passed, dropped]
}
