//! The bare sender on xsk-rs: what the usual wrapper of AF_XDP sockets gives, beside `bare_xsk.c`, which needs none.
//!
//! ```text
//! bare_xsk_rs INTERFACE GATEWAY_MAC COUNT
//! ```
//!
//! Socket, mode, ring sizes, batch, budget and frame are those of `bare_xsk.c`, and the frames take as much memory. Two
//! things differ, because the wrapper has no way around them: it writes the descriptors of every batch and reads every
//! completion, and it makes a ring to receive with, which stays empty.

use std::error::Error;
use std::io::{self, Write as _};
use std::num::NonZeroU32;
use std::os::fd::AsRawFd as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use etherparse::{IpHeaders, IpNumber, Ipv4Header, PacketBuilder, TcpHeader, TcpOptionElement};
use xsk_rs::config::{
    BindFlags, FrameSize, Interface, LibxdpFlags, QueueSize, SocketConfig, UmemConfig,
    XDP_UMEM_MIN_CHUNK_SIZE,
};
use xsk_rs::{CompQueue, FrameDesc, Socket, TxQueue, Umem};

const RING_LEN: u32 = 2048;
const BATCH: usize = 256;
const TX_BUDGET: u32 = 1024;
/// As many as fit into the memory that `bare_xsk.c` uses: the wrapper puts each into a chunk of its own.
const FRAMES: NonZeroU32 = NonZeroU32::new(16).unwrap();
const FRAME_LEN: usize = 66;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// A socket that is ready to send.
struct Sender {
    tx: TxQueue,
    completion: CompQueue,
    /// The frames of a batch: each several times. They are never written again.
    batch: Vec<FrameDesc>,
    /// Where completions are put, which nothing reads.
    completed: Vec<FrameDesc>,
}

impl Sender {
    fn open(interface: &str, gateway_mac: [u8; 6]) -> Result<Self> {
        let source_mac =
            parse_mac(std::fs::read_to_string(format!("/sys/class/net/{interface}/address"))?.trim())?;
        let ring_len = QueueSize::new(RING_LEN)?;
        let memory = UmemConfig::builder()
            .frame_size(FrameSize::new(XDP_UMEM_MIN_CHUNK_SIZE)?)
            .fill_queue_size(ring_len)
            .comp_queue_size(ring_len)
            .build()?;
        let (umem, mut frames) = Umem::new(memory, FRAMES, false)?;
        let frame = make_frame(source_mac, gateway_mac)?;
        for descriptor in &mut frames {
            // SAFETY: the descriptor is one of this UMEM's, and no queue has it yet.
            let mut data = unsafe { umem.data_mut(descriptor) };
            data.cursor().write_all(&frame)?;
        }
        let (tx, completion) = bind(&umem, &interface.parse()?, ring_len)?;
        set_budget(&tx);
        let batch = frames.iter().cycle().take(BATCH).copied().collect();
        Ok(Self { tx, completion, batch, completed: vec![FrameDesc::default(); RING_LEN as usize] })
    }

    /// Sends `count` packets; returns how many times the kernel was woken.
    fn send_all(&mut self, count: u64) -> io::Result<u64> {
        let (mut handed_over, mut completed, mut wakeups) = (0, 0, 0);
        while completed < count {
            let room = u64::from(RING_LEN) - (handed_over - completed);
            let batch = (count - handed_over).min(BATCH as u64).min(room) as usize;
            // SAFETY: the frames are of this socket's UMEM. Some are with the kernel already, which only reads them,
            // and nothing else writes them.
            handed_over += unsafe { self.tx.produce(&self.batch[..batch]) } as u64;
            if self.tx.needs_wakeup() {
                wakeups += 1;
                self.tx.wakeup()?;
            }
            // SAFETY: the descriptors are only overwritten.
            completed += unsafe { self.completion.consume(&mut self.completed) } as u64;
        }
        Ok(wakeups)
    }
}

/// Binds a socket to queue 0. No program is attached to the interface.
fn bind(umem: &Umem, interface: &Interface, ring_len: QueueSize) -> Result<(TxQueue, CompQueue)> {
    let config = SocketConfig::builder()
        .rx_queue_size(ring_len)
        .tx_queue_size(ring_len)
        .libxdp_flags(LibxdpFlags::XSK_LIBXDP_FLAGS_INHIBIT_PROG_LOAD)
        .bind_flags(BindFlags::XDP_COPY | BindFlags::XDP_USE_NEED_WAKEUP)
        .build();
    let mut tries = 0;
    loop {
        // SAFETY: the UMEM has no other socket.
        match unsafe { Socket::new(config, umem, interface, 0) } {
            Ok((tx, _, Some((_, completion)))) => return Ok((tx, completion)),
            Ok(_) => return Err("the socket has no completion ring".into()),
            // A queue whose last socket has just been closed stays taken for a moment.
            Err(error) if is_busy(&error) && tries < 50 => std::thread::sleep(Duration::from_millis(10)),
            Err(error) => return Err(error.into()),
        }
        tries += 1;
    }
}

fn is_busy(error: &dyn Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.and_then(io::Error::raw_os_error) == Some(libc::EBUSY)
}

/// How many packets a system call sends. Older kernels do not know the option; xdpmap lets that pass as well.
fn set_budget(tx: &TxQueue) {
    const XDP_MAX_TX_SKB_BUDGET: libc::c_int = 9;
    let (budget, len) = (TX_BUDGET, size_of::<u32>() as libc::socklen_t);
    let (fd, value) = (tx.fd().as_raw_fd(), (&raw const budget).cast());
    // SAFETY: the value is as long as `len` says, and lives until the call is over.
    unsafe { libc::setsockopt(fd, libc::SOL_XDP, XDP_MAX_TX_SKB_BUDGET, value, len) };
}

/// The frame of `frame.h`: a SYN from 198.19.0.1:32768 to 10.0.0.1:80 with the options of xdpmap's default layout.
fn make_frame(source: [u8; 6], destination: [u8; 6]) -> Result<Vec<u8>> {
    use TcpOptionElement::{MaximumSegmentSize, Noop, SelectiveAcknowledgementPermitted, WindowScale};
    let ip = Ipv4Header {
        source: [198, 19, 0, 1],
        destination: [10, 0, 0, 1],
        time_to_live: 64,
        dont_fragment: false,
        protocol: IpNumber::TCP,
        ..Ipv4Header::default()
    };
    let mut tcp = TcpHeader { syn: true, ..TcpHeader::new(32768, 80, 0x0102_0304, 0xffff) };
    tcp.set_options(&[
        MaximumSegmentSize(1460),
        Noop,
        WindowScale(8),
        Noop,
        Noop,
        SelectiveAcknowledgementPermitted,
    ])?;
    let mut frame = vec![];
    PacketBuilder::ethernet2(source, destination)
        .ip(IpHeaders::Ipv4(ip, Default::default()))
        .tcp_header(tcp)
        .write(&mut frame, &[])?;
    if frame.len() == FRAME_LEN {
        Ok(frame)
    } else {
        Err("the frame is not as long as that of frame.h".into())
    }
}

fn parse_mac(text: &str) -> Result<[u8; 6]> {
    let bytes: std::result::Result<Vec<u8>, _> =
        text.split(':').map(|byte| u8::from_str_radix(byte, 16)).collect();
    bytes?.try_into().map_err(|_| format!("{text} is not a MAC address").into())
}

fn run(interface: &str, gateway_mac: &str, count: &str) -> Result<()> {
    let count = count.parse()?;
    let mut sender = Sender::open(interface, parse_mac(gateway_mac)?)?;
    let start = Instant::now();
    let wakeups = sender.send_all(count)?;
    let seconds = start.elapsed().as_secs_f64();
    println!(r#"{{"packets_sent": {count}, "send_seconds": {seconds:.6}, "wakeups": {wakeups}}}"#);
    Ok(())
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match &words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--version"] => println!("xsk-rs {}", env!("CARGO_PKG_VERSION")),
        [interface, gateway_mac, count] => {
            if let Err(error) = run(interface, gateway_mac, count) {
                let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
                eprintln!("bare_xsk_rs: {error}{cause}");
                return ExitCode::FAILURE;
            }
        }
        _ => {
            eprintln!("usage: bare_xsk_rs INTERFACE GATEWAY_MAC COUNT");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}
