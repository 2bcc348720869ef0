//! The AF_PACKET port: one worker's socket.

use std::io;
use std::time::Duration;

use tracing::warn;
use wire::packet::{PatchBatch, RX_BATCH_MAX, RxBatch, RxFrame};
use wire::proof::{Check, Reject};

use super::PacketRequest;
use super::outbox::Outbox;
use super::socket::PacketSocket;
use crate::io::bpf::abi::{COUNTERS, Counter, Counts};
use crate::io::xsk::SocketStatistics;
use crate::io::{Port, PortCounts, PortStatistics, Stream};

/// Probes that may wait to be sent. Fewer mean more calls; more only keep probes waiting.
const PROBE_SLOTS: usize = 1024;
/// Resets that may wait to be sent. With fewer, more resets find no room when many connections open at once; more only
/// take memory.
const RESET_SLOTS: usize = 256;
/// Strikes at which a frame is dropped as lost. In overload the kernel refuses a frame as often as the one behind it,
/// so a frame reaches this number once in 2^32 times. Fewer would lose good frames; more keep trying a frame that never
/// gets through.
const STRIKES_MAX: u8 = 32;
/// Frames refused in a row after which the port stops for now. Fewer stop at single refused frames; more waste calls in
/// overload.
const REFUSED_RUN: u32 = 4;
/// Most packets to look at for one batch: packets that are not answers take no room in it. Fewer leave other packets in
/// the ring; more keep the worker from sending.
const LOOK_MAX: usize = 4 * RX_BATCH_MAX;

/// A worker's packet socket.
pub struct PacketPort {
    socket: PacketSocket,
    worker: u16,
    check: Check,
    probes: Outbox,
    resets: Outbox,
    counts: PortCounts,
    verdicts: Counts,
    /// Whether the log already says that a frame was lost.
    told: bool,
    /// Whether the log already says that the kernel refuses a frame while it accepts others.
    told_refused: bool,
    /// The slot of the frame that was refused last, if nothing has been submitted since.
    suspect: Option<(Stream, usize)>,
    /// Whether the kernel last asked for a frame to wait, rather than refusing that frame.
    is_delayed: bool,
}

/// The meaning of an errno for the frame that was to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SendOutcome {
    /// It can be sent later.
    Later,
    /// It can be sent later, unless the kernel refuses this very frame.
    Refused,
    /// It cannot be sent: a tunnel has no peer for it, or it is too long.
    Never,
    /// Nothing can be sent any more: the interface is gone.
    Over,
}

impl PacketPort {
    pub(super) fn new(socket: PacketSocket, worker: u16, request: &PacketRequest<'_>) -> Self {
        Self {
            socket,
            worker,
            check: request.check.clone(),
            probes: Outbox::new(PROBE_SLOTS, Some(request.probe)),
            resets: Outbox::new(RESET_SLOTS, request.reset),
            counts: PortCounts::default(),
            verdicts: [0; COUNTERS],
            told: false,
            told_refused: false,
            suspect: None,
            is_delayed: false,
        }
    }

    fn outbox(&mut self, stream: Stream) -> &mut Outbox {
        match stream {
            Stream::Probe => &mut self.probes,
            Stream::Reset => &mut self.resets,
        }
    }

    /// Submits waiting frames, as far as the kernel accepts them now.
    fn send(&mut self, stream: Stream) -> io::Result<()> {
        let mut refused_run = 0;
        while self.outbox(stream).waiting() > 0 {
            let outbox = match stream {
                Stream::Probe => &mut self.probes,
                Stream::Reset => &mut self.resets,
            };
            self.counts.wakeups += 1;
            let errno = match self.socket.send(outbox) {
                Ok(taken) => {
                    outbox.done(taken);
                    match stream {
                        Stream::Probe => self.counts.probes_sent += taken as u64,
                        Stream::Reset => self.counts.resets_sent += taken as u64,
                    }
                    refused_run = 0;
                    if let Some((stream, place)) = self.suspect.take() {
                        self.outbox(stream).strike(place);
                    }
                    continue;
                }
                Err(errno) => errno,
            };
            let outcome = outcome(errno);
            if outcome == SendOutcome::Over {
                return Err(io::Error::from_raw_os_error(errno));
            }
            self.is_delayed = outcome == SendOutcome::Later;
            count(&mut self.counts, errno);
            match outcome {
                SendOutcome::Refused if outbox.strikes() < STRIKES_MAX => {
                    let place = outbox.set_aside();
                    self.suspect = Some((stream, place));
                    self.count_refused(stream);
                    refused_run += 1;
                    if refused_run == REFUSED_RUN {
                        return Ok(());
                    }
                }
                SendOutcome::Refused => {
                    outbox.done(1);
                    self.count_lost(stream, 1);
                    if !std::mem::replace(&mut self.told_refused, true) {
                        tell_refused();
                    }
                }
                SendOutcome::Later => {
                    self.count_refused(stream);
                    return Ok(());
                }
                SendOutcome::Never | SendOutcome::Over => {
                    outbox.done(1);
                    self.count_lost(stream, 1);
                    if !std::mem::replace(&mut self.told, true) {
                        tell(errno);
                    }
                }
            }
        }
        Ok(())
    }

    /// Counts a refused frame, which is submitted again.
    fn count_refused(&mut self, stream: Stream) {
        match stream {
            Stream::Probe => self.counts.probes_refused += 1,
            Stream::Reset => self.counts.resets_refused += 1,
        }
    }

    /// Counts frames that were dropped.
    fn count_lost(&mut self, stream: Stream, count: u64) {
        match stream {
            Stream::Probe => self.counts.probes_lost += count,
            Stream::Reset => self.counts.resets_lost += count,
        }
    }
}

fn outcome(errno: i32) -> SendOutcome {
    match errno {
        // A full queue of the driver's, or a rule that drops the frame (`packet_xmit`: NET_XMIT_DROP and NETDEV_TX_BUSY
        // alike).
        libc::ENOBUFS => SendOutcome::Refused,
        libc::EAGAIN | libc::EBUSY | libc::ENOMEM | libc::ENETDOWN | libc::EINTR => SendOutcome::Later,
        libc::ENXIO | libc::ENODEV | libc::EBADF | libc::ENOTSOCK => SendOutcome::Over,
        _ => SendOutcome::Never,
    }
}

fn count(counts: &mut PortCounts, errno: i32) {
    *match errno {
        libc::EAGAIN => &mut counts.wakeup_eagain,
        libc::EBUSY => &mut counts.wakeup_ebusy,
        libc::ENOBUFS => &mut counts.wakeup_enobufs,
        libc::ENETDOWN => &mut counts.wakeup_enetdown,
        _ => &mut counts.wakeup_other,
    } += 1;
}

/// Logged once: a tunnel that has no peer for the targets refuses all of them.
#[cold]
fn tell(errno: i32) {
    let error = io::Error::from_raw_os_error(errno);
    warn!(target: "send", "the interface refuses a probe: {error}; such probes are counted as lost");
}

/// Logged once, when a frame never gets through.
#[cold]
fn tell_refused() {
    warn!(
        target: "send",
        "the kernel refuses some probes or resets and accepts others; is there an egress rule (`nft list \
         ruleset`)? Such probes are counted as lost"
    );
}

/// The counter of a packet that is not an answer: that of the XDP program.
fn counter(refusal: Reject) -> Counter {
    match refusal {
        Reject::NotIpv4 => Counter::PassNotIpv4,
        Reject::Truncated => Counter::PassTruncated,
        Reject::Fragment => Counter::PassFragment,
        Reject::OtherProtocol => Counter::PassOtherProtocol,
        Reject::OtherPort => Counter::PassOtherPort,
        Reject::OtherFlags => Counter::PassOtherFlags,
        Reject::OtherIcmp => Counter::PassOtherIcmp,
        Reject::OtherAddress => Counter::PassOtherAddress,
        Reject::BadCookie => Counter::PassBadCookie,
        Reject::BadQuote => Counter::PassBadQuote,
    }
}

impl Port for PacketPort {
    fn room(&mut self, stream: Stream, wanted: usize) -> usize {
        match stream {
            Stream::Probe => self.probes.room().min(wanted),
            Stream::Reset => self.resets.room().min(wanted),
        }
    }

    fn transmit(&mut self, stream: Stream, patches: &PatchBatch) {
        match stream {
            Stream::Probe => self.probes.add(patches),
            Stream::Reset => self.resets.add(patches),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        // A frame accepted later does not prove that there was room for the refused one.
        self.suspect = None;
        self.send(Stream::Reset)?;
        self.send(Stream::Probe)
    }

    fn give_up(&mut self) -> u64 {
        let delayed = if self.is_delayed { self.probes.waiting() as u64 } else { 0 };
        for stream in [Stream::Probe, Stream::Reset] {
            let waiting = self.outbox(stream).waiting();
            self.outbox(stream).done(waiting);
            self.count_lost(stream, waiting as u64);
        }
        delayed
    }

    fn left_in_order(&self) -> u64 {
        self.probes.left_in_order()
    }

    fn outstanding(&self) -> u64 {
        (self.probes.waiting() + self.resets.waiting()) as u64
    }

    fn receive(&mut self, batch: &mut RxBatch) {
        for _ in 0..LOOK_MAX {
            if batch.room() == 0 {
                return;
            }
            let Some(packet) = self.socket.ring.peek() else { return };
            let frame = RxFrame { captured: packet.captured, frame_len: packet.len, queue: self.worker };
            let verdict = match self.check.verdict(frame) {
                Ok(_) => {
                    batch.push_captured(packet.captured, packet.len, self.worker);
                    self.counts.rx_frames += 1;
                    Counter::ValidRedirected
                }
                Err(refusal) => counter(refusal),
            };
            self.verdicts[verdict as usize] += 1;
            self.socket.ring.release();
        }
    }

    fn wait(&mut self, timeout: Duration) {
        self.socket.wait(libc::timespec {
            tv_sec: timeout.as_secs() as libc::time_t,
            tv_nsec: timeout.subsec_nanos().into(),
        });
    }

    fn counts(&self) -> PortCounts {
        self.counts
    }

    fn socket_drops(&self) -> u64 {
        self.socket.dropped()
    }

    fn statistics(&self) -> PortStatistics {
        let counts = xsk::Statistics {
            received: self.verdicts.iter().sum(),
            rx_ring_full: self.socket.dropped(),
            ..xsk::Statistics::default()
        };
        let socket = SocketStatistics { is_reply_interface: false, counts };
        PortStatistics { sockets: vec![(self.worker.into(), socket)], verdicts: Some(self.verdicts) }
    }
}
