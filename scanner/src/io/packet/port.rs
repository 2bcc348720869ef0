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
}

/// What an errno says about the frame that was to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It can be sent later.
    Later,
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
        }
    }

    /// Hands over what waits; false where the kernel takes no more for now.
    fn send(&mut self, stream: Stream) -> io::Result<bool> {
        let outbox = match stream {
            Stream::Probe => &mut self.probes,
            Stream::Reset => &mut self.resets,
        };
        while outbox.waiting() > 0 {
            self.counts.wakeups += 1;
            let errno = match self.socket.send(outbox) {
                Ok(taken) => {
                    outbox.done(taken);
                    match stream {
                        Stream::Probe => self.counts.probes_sent += taken as u64,
                        Stream::Reset => self.counts.resets_sent += taken as u64,
                    }
                    continue;
                }
                Err(errno) => errno,
            };
            match fate(errno) {
                Fate::Later => {
                    count(&mut self.counts, errno);
                    // It is handed over again.
                    self.counts.probes_refused += u64::from(stream == Stream::Probe);
                    return Ok(false);
                }
                Fate::Never => {
                    count(&mut self.counts, errno);
                    self.counts.probes_lost += u64::from(stream == Stream::Probe);
                    outbox.done(1);
                    if !std::mem::replace(&mut self.told, true) {
                        tell(errno);
                    }
                }
                Fate::Over => return Err(io::Error::from_raw_os_error(errno)),
            }
        }
        Ok(true)
    }
}

fn fate(errno: i32) -> Fate {
    match errno {
        libc::EAGAIN | libc::EBUSY | libc::ENOBUFS | libc::ENOMEM | libc::ENETDOWN | libc::EINTR => {
            Fate::Later
        }
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
        // Where there is no room for a reset there is none for a probe.
        if self.send(Stream::Reset)? {
            self.send(Stream::Probe)?;
        }
        Ok(())
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
