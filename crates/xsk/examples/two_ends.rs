//! Sends frames from one end of a veth pair and receives them at the other: two sockets in copy mode.
//!
//! ```text
//! ip link add left type veth peer name right
//! ip link set left up
//! ip link set right up
//! cargo run --example two_ends -- left right
//! ```
//!
//! It needs root, and clang: the XDP program that redirects packets to the receiving socket (`redirect.bpf.c`) is
//! compiled when the example starts.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{env, fs, io, process, thread};

use aya::Ebpf;
use aya::maps::XskMap;
use aya::programs::{Xdp, XdpMode};
use xsk::{BindMode, Layout, Socket};

/// How many frames are sent.
pub(crate) const FRAMES: u32 = 10_000;
/// At most so many are on the way.
const WINDOW: u32 = 256;
/// Bytes of a frame.
const LEN: usize = 60;
/// The EtherType for experiments (IEEE 802): no network stack knows it.
const ETHERTYPE: [u8; 2] = [0x88, 0xb5];
/// Where the number is in a frame: behind the Ethernet header.
const NUMBER: usize = 14;
/// How long to wait for the last frame.
const PATIENCE: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [sender, receiver] = &arguments[..] else {
        eprintln!("usage: two_ends SENDER RECEIVER (two interfaces, such as the ends of a veth pair)");
        return ExitCode::from(2);
    };
    match run(sender, receiver) {
        Ok(()) => println!("{FRAMES} frames went from {sender} to {receiver}, in order"),
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Sends [`FRAMES`] frames out by the first queue of `sender`, and receives them from the first queue of `receiver`.
pub(crate) fn run(sender: &str, receiver: &str) -> Result<(), Box<dyn Error>> {
    let layout = Layout { rx_frames: 1024, tx_ring_len: 256, tx_frames: 256, tx_longest: LEN };
    let (mut output, mut free) = Socket::open(sender, 0, &[BindMode::Copy], layout)?;
    let (mut input, _) = Socket::open(receiver, 0, &[BindMode::Copy], Layout { tx_frames: 0, ..layout })?;
    // It leaves the interface when it is dropped.
    let _program = redirect_to(&input, receiver)?;

    // What is the same in all frames is written once: it stays in their memory.
    for frame in &mut free {
        let bytes = output.bytes(frame);
        // To all, from a locally administered address.
        bytes[..6].fill(0xff);
        bytes[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
        bytes[12..14].copy_from_slice(&ETHERTYPE);
    }

    let (mut sent, mut received, mut in_order) = (0, 0, true);
    let mut last = Instant::now();
    while received < FRAMES || free.len() < layout.tx_frames as usize {
        let window = (WINDOW - (sent - received)).min(FRAMES - sent);
        let count = output.tx_room(window).min(window).min(free.len() as u32);
        output.transmit(free.drain(..count as usize), |bytes| {
            bytes[NUMBER..NUMBER + 4].copy_from_slice(&sent.to_be_bytes());
            sent += 1;
            LEN as u32
        });
        if free.len() < layout.tx_frames as usize && output.tx_needs_wakeup() {
            wake(&mut output)?;
        }
        output.reap(|frames| free.extend(frames.into_frames()));

        let before = received;
        input.receive(WINDOW, |packet| {
            // The network stacks of the two ends may have something to say, too.
            if packet.len() >= LEN && packet[12..14] == ETHERTYPE {
                in_order &= packet[NUMBER..NUMBER + 4] == received.to_be_bytes();
                received += 1;
            }
        });
        if received > before {
            last = Instant::now();
        } else if last.elapsed() > PATIENCE {
            let statistics = input.statistics();
            return Err(format!("{received} of {FRAMES} frames have arrived: {statistics:?}").into());
        } else {
            // A program with nothing else to do would sleep in `poll` instead, on the sockets' descriptors.
            thread::sleep(Duration::from_micros(50));
        }
    }
    if in_order { Ok(()) } else { Err("the frames have arrived in another order".into()) }
}

/// Has the kernel send what is in the TX ring.
fn wake(socket: &mut Socket) -> io::Result<()> {
    match socket.wake_tx() {
        // More is left than one call sends, or there was no memory for a moment: the next call goes on.
        Err(error) if [Some(EAGAIN), Some(ENOBUFS)].contains(&error.raw_os_error()) => Ok(()),
        outcome => outcome,
    }
}

const EAGAIN: i32 = 11;
const ENOBUFS: i32 = 105;

/// Puts an XDP program on `interface` that redirects packets of the socket's queue to it.
fn redirect_to(socket: &Socket, interface: &str) -> Result<Ebpf, Box<dyn Error>> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/redirect.bpf.c");
    let object = env::temp_dir().join(format!("redirect-{}.bpf.o", process::id()));
    let bytes = ebpf_build::compile(&source, &object).map(|_| fs::read(&object));
    let _ = fs::remove_file(&object);
    let mut ebpf = Ebpf::load(&bytes??)?;
    let program: &mut Xdp = ebpf.program_mut("redirect").ok_or("no program")?.try_into()?;
    program.load()?;
    // By the network stack, which every interface can.
    program.attach(interface, XdpMode::Skb)?;
    let mut sockets = XskMap::try_from(ebpf.map_mut("xsks").ok_or("no map")?)?;
    sockets.set(socket.queue(), socket.fd().ok_or("no descriptor")?, 0)?;
    Ok(ebpf)
}
