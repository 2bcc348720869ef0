//! Forges replies at a given rate: frames that the kernel makes and a BPF program fills, which go out of the far side's
//! interface without an skb.
//!
//! The forger knows everything but the key: which addresses and which port are scanned, from where, and from which
//! source ports.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use aya::maps::Array;
use aya::programs::Xdp;
use aya::{Ebpf, EbpfLoader, TestRun as _, TestRunAttrs, TestRunOptions};
use etherparse::PacketBuilder;
use lab::Lab;
use lab::wires::mac;

/// The targets of a scan: the first, and how many.
pub(crate) const FIRST: u32 = 0xc612_6000;
pub(crate) const TARGETS: u32 = 16_384;
/// The source ports of a scan: the first, and how many.
pub(crate) const PORTS: (u16, u16) = (32_768, 28_233);
/// Every frame has this length; what is beyond the packet is padding.
const FRAME_LEN: usize = 64;
/// Frames that the kernel makes together.
const BATCH_FRAMES: u32 = 64;
/// Frames per call into the kernel, which takes some milliseconds to begin and to end.
const RUN_FRAMES: u32 = 1 << 18;

/// What is forged. The numbers are those of `forger.bpf.c`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forged {
    SynAck,
    EchoReply,
    Datagram,
}

impl Forged {
    /// A frame to the scanning host, with zeroes where frames differ.
    fn template(self, from: [u8; 6], to: [u8; 6]) -> Vec<u8> {
        let packet = PacketBuilder::ethernet2(from, to).ipv4([0; 4], [198, 19, 0, 1], 64);
        let mut frame = vec![];
        match self {
            Self::SynAck => packet.tcp(80, 0, 0, 1_024).syn().ack(0).write(&mut frame, &[]),
            Self::EchoReply => packet.icmpv4_echo_reply(0, 0).write(&mut frame, &[0; 20]),
            Self::Datagram => packet.udp(9, 0).write(&mut frame, &[b'x'; 12]),
        }
        .unwrap();
        for at in [24, self.checksum_at()] {
            frame[at..at + 2].fill(0);
        }
        frame
    }

    /// Where the checksum of what follows the IP header is.
    fn checksum_at(self) -> usize {
        match self {
            Self::SynAck => 50,
            Self::EchoReply => 36,
            Self::Datagram => 40,
        }
    }

    /// The sum of the pseudo-header but for the source.
    fn pseudo_sum(self, part_len: usize) -> u32 {
        let protocol = match self {
            Self::SynAck => 6,
            Self::EchoReply => return 0,
            Self::Datagram => 17,
        };
        sum(&[198, 19, 0, 1, 0, protocol, 0, part_len as u8])
    }
}

/// The sum of the 16-bit words of these bytes, as this processor reads them.
fn sum(bytes: &[u8]) -> u32 {
    bytes.chunks_exact(2).map(|word| u32::from(u16::from_ne_bytes([word[0], word[1]]))).sum()
}

fn bytes_of(mac: &str) -> [u8; 6] {
    let bytes: Vec<u8> = mac.split(':').map(|part| u8::from_str_radix(part, 16).unwrap()).collect();
    bytes.try_into().unwrap()
}

/// The program's `config`.
fn config(lab: &Lab, forged: Forged, rate_pps: u32) -> Vec<u8> {
    let [from, to] = [mac(&lab.net, "net0"), mac(&lab.scan, "scan0")].map(|mac| bytes_of(&mac));
    let mut template = forged.template(from, to);
    let (ip, part) = (&template[14..34], &template[34..]);
    let part_sum = sum(part) + forged.pseudo_sum(part.len());
    let index = lab.in_ns(&lab.net, "cat", ["/sys/class/net/net0/ifindex"]).trim().parse().unwrap();
    let numbers = [
        forged as u32,
        index,
        rate_pps,
        FIRST,
        TARGETS,
        PORTS.0.into(),
        PORTS.1.into(),
        sum(ip),
        part_sum,
        forged.checksum_at() as u32,
    ];
    template.resize(FRAME_LEN, 0);
    numbers.iter().flat_map(|number| number.to_ne_bytes()).chain(template).collect()
}

/// A program that forges.
pub(crate) struct Forger(Ebpf);

impl Forger {
    /// Compiles and loads it.
    pub(crate) fn load(lab: &Lab, forged: Forged, rate_pps: u32) -> Self {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/forger.bpf.c");
        let object = lab.folder().join("forger.bpf.o");
        ebpf_build::compile(&source, &object).unwrap();
        let config = config(lab, forged, rate_pps);
        let mut ebpf =
            EbpfLoader::new().override_global("config", &config[..], true).load_file(object).unwrap();
        let program: &mut Xdp = ebpf.program_mut("forge").unwrap().try_into().unwrap();
        program.load().unwrap();
        Self(ebpf)
    }

    /// Forges until stopped. The thread returns how many frames it has forged. Whoever receives them must have an XDP
    /// program.
    pub(crate) fn start(self, lab: &Lab, stop: &Arc<AtomicBool>) -> JoinHandle<u64> {
        let stop = Arc::clone(stop);
        lab.thread_in(&lab.net, move || {
            let program: &Xdp = self.0.program("forge").unwrap().try_into().unwrap();
            while !stop.load(Ordering::Relaxed) {
                let mut options = TestRunOptions::new();
                options.data_in = Some(&[0; FRAME_LEN]);
                options.repeat = RUN_FRAMES;
                options.attrs = TestRunAttrs::new().xdp_live_frames(BATCH_FRAMES);
                program.test_run(options).unwrap();
            }
            let state: Array<_, [u64; 4]> = self.0.map("state").unwrap().try_into().unwrap();
            state.get(&0, 0).unwrap()[3]
        })
    }
}
