//! The AF_PACKET port: one worker's socket.

use std::io;
use std::time::Duration;

use tracing::warn;

use super::Request;
use super::outbox::Outbox;
use super::socket::Socket;
use crate::io::bpf::abi::{COUNTERS, Counter, Counts};
use crate::io::xsk::SocketStatistics;
use crate::io::{Port, PortCounts, RX_BATCH_MAX, RxBatch, RxFrame, Stream};
use crate::packet::PatchBatch;
use crate::probe::{Check, Refusal};

/// Probes that may wait to be sent.
const PROBE_SLOTS: usize = 1024;
/// Resets likewise.
const RESET_SLOTS: usize = 256;
/// Strikes at which a frame is given up. In overload, where a frame is as likely to be refused as the one behind it, a frame
/// comes to so many once in 2^32 times.
const STRIKES_MAX: u8 = 32;
/// Frames refused one after the other, at which the kernel takes none for now.
const REFUSED_RUN: u32 = 4;
/// Most packets that are looked at for one batch: what is no answer takes no room in it.
const LOOK_MAX: usize = 4 * RX_BATCH_MAX;

/// A worker's packet socket.
pub struct PacketPort {
    socket: Socket,
    worker: u16,
    check: Check,
    probes: Outbox,
    resets: Outbox,
    counts: PortCounts,
    verdicts: Counts,
    /// Whether it has been said that a frame was lost.
    told: bool,
    /// Whether it has been said that the kernel refuses a frame whatever else it takes.
    told_refused: bool,
    /// Where the frame is that was refused last, if nothing has been handed over since.
    suspect: Option<(Stream, usize)>,
}

/// What an errno says about the frame that was to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It can be sent later.
    Later,
    /// It can be sent later, unless it is this very frame that is refused.
    Refused,
    /// It cannot be sent: a tunnel has no peer for it, or it is too long.
    Never,
    /// Nothing can be sent any more: the interface is gone.
    Over,
}

impl PacketPort {
    pub(super) fn new(socket: Socket, worker: u16, request: &Request<'_>) -> Self {
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
        }
    }

    fn outbox(&mut self, stream: Stream) -> &mut Outbox {
        match stream {
            Stream::Probe => &mut self.probes,
            Stream::Reset => &mut self.resets,
        }
    }

    /// Hands over what waits, as far as the kernel takes it now.
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
            let fate = fate(errno);
            if fate == Fate::Over {
                return Err(io::Error::from_raw_os_error(errno));
            }
            count(&mut self.counts, errno);
            match fate {
                Fate::Refused if outbox.strikes() < STRIKES_MAX => {
                    let place = outbox.set_aside();
                    self.suspect = Some((stream, place));
                    self.count_refused(stream);
                    refused_run += 1;
                    if refused_run == REFUSED_RUN {
                        return Ok(());
                    }
                }
                Fate::Refused => {
                    outbox.done(1);
                    self.count_lost(stream, 1);
                    if !std::mem::replace(&mut self.told_refused, true) {
                        tell_refused();
                    }
                }
                Fate::Later => {
                    self.count_refused(stream);
                    return Ok(());
                }
                Fate::Never | Fate::Over => {
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

    /// A frame was refused, and is handed over again.
    fn count_refused(&mut self, stream: Stream) {
        match stream {
            Stream::Probe => self.counts.probes_refused += 1,
            Stream::Reset => self.counts.resets_refused += 1,
        }
    }

    /// Frames were given up.
    fn count_lost(&mut self, stream: Stream, count: u64) {
        match stream {
            Stream::Probe => self.counts.probes_lost += count,
            Stream::Reset => self.counts.resets_lost += count,
        }
    }
}

fn fate(errno: i32) -> Fate {
    match errno {
        // A full queue of the driver's, or a rule that drops it (`packet_xmit`: NET_XMIT_DROP and NETDEV_TX_BUSY alike).
        libc::ENOBUFS => Fate::Refused,
        libc::EAGAIN | libc::EBUSY | libc::ENOMEM | libc::ENETDOWN | libc::EINTR => Fate::Later,
        libc::ENXIO | libc::ENODEV | libc::EBADF | libc::ENOTSOCK => Fate::Over,
        _ => Fate::Never,
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

/// Said once: a tunnel that has no peer for the targets refuses all of them.
#[cold]
fn tell(errno: i32) {
    let error = io::Error::from_raw_os_error(errno);
    warn!(target: "send", "the interface refuses a probe: {error}; such probes are counted as lost");
}

/// Said once, of a frame that never gets through.
#[cold]
fn tell_refused() {
    warn!(
        target: "send",
        "the kernel refuses some probes or resets whatever else it takes; is there an egress rule (`nft list ruleset`)? Such \
         probes are counted as lost"
    );
}

/// The counter of what is no answer: that of the XDP program.
fn counter(refusal: Refusal) -> Counter {
    match refusal {
        Refusal::NotIpv4 => Counter::PassNotIpv4,
        Refusal::Truncated => Counter::PassTruncated,
        Refusal::Fragment => Counter::PassFragment,
        Refusal::OtherProtocol => Counter::PassOtherProtocol,
        Refusal::OtherPort => Counter::PassOtherPort,
        Refusal::OtherFlags => Counter::PassOtherFlags,
        Refusal::OtherIcmp => Counter::PassOtherIcmp,
        Refusal::OtherAddress => Counter::PassOtherAddress,
        Refusal::BadCookie => Counter::PassBadCookie,
        Refusal::BadQuote => Counter::PassBadQuote,
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
        // What happens a moment later is no sign that there was room for what was refused.
        self.suspect = None;
        self.send(Stream::Reset)?;
        self.send(Stream::Probe)
    }

    fn give_up(&mut self) {
        for stream in [Stream::Probe, Stream::Reset] {
            let waiting = self.outbox(stream).waiting();
            self.outbox(stream).done(waiting);
            self.count_lost(stream, waiting as u64);
        }
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

    fn socket_statistics(&self) -> Vec<(u32, SocketStatistics)> {
        let counts = SocketStatistics {
            received: self.verdicts.iter().sum(),
            rx_ring_full: self.socket.dropped(),
            ..SocketStatistics::default()
        };
        vec![(self.worker.into(), counts)]
    }

    fn verdicts(&self) -> Option<Counts> {
        Some(self.verdicts)
    }
}
