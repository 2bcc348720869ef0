//! The AF_XDP port: one worker's sockets, the first of which also sends.
//!
//! What always holds: every TX frame is on its stream's free list, or in the TX ring, the kernel or the completion
//! ring, where it counts as outstanding. Every RX frame is in the fill ring, the kernel or the RX ring, except while it
//! is copied. The kernel is woken to send only while a frame is outstanding, and once for the frames of a turn: what it
//! was woken for it sends by itself, unless it says otherwise. Frames that it drops in copy mode and reports are sent
//! again ([`super::again`]), so only [`XskPort::wake`] may make it send there.
//!
//! A port that polls (`--busy-poll`) instead makes one call per turn, for one of its sockets. The call does the
//! driver's work for that socket, in both directions. The port sleeps once no packet has come or gone for a while.

use std::io;
use std::time::Duration;

use wire::packet::{BATCH_MAX, Layout, PatchBatch, RxBatch, Template};
use xsk::{BindMode, Socket, TxDescriptor, TxFrame};

use super::again::Again;
use super::sleep::Sleep;
use super::{SocketStatistics, TX_RING_LEN};
use crate::io::{Port, PortCounts, PortStatistics, Stream};

/// Frames reserved for resets; the TX ring has this much room left when all probe frames are in it. Fewer delay resets;
/// more leave fewer frames for probes.
pub(super) const RESET_FRAMES: usize = 256;
/// Frames for probes.
pub(super) const PROBE_FRAMES: usize = TX_RING_LEN as usize - RESET_FRAMES;
/// How many packets one wake-up may send in copy mode: more than a batch, so that one call suffices. Lower means
/// several calls per batch; higher lets one call take longer.
const TX_BUDGET: u32 = 1024;

/// Turns after which the kernel is woken once more for frames that it has been woken for and not taken. Its driver
/// sends in an interrupt, which comes a moment later, and asks to be woken until then. Fewer wake it for nothing; with
/// more, a wake-up that a driver has lost delays frames for longer.
const WAKE_AGAIN_TURNS: u32 = 256;

/// Turns without any packet sent or received before a port that polls sleeps: about a millisecond. Fewer add the
/// latency of a wake-up to sparse replies; more waste CPU time.
const IDLE_TURNS: u32 = 1_000;

/// The state of a port that polls.
#[derive(Clone, Copy, Debug, Default)]
struct Polling {
    turn: usize,
    /// Turns since a packet was last sent or received.
    idle: u32,
}

impl Polling {
    /// The socket, of `sockets`, to poll next: the sending socket every other time, and the others in turn.
    fn next(&mut self, sockets: usize) -> usize {
        self.turn = self.turn.wrapping_add(1);
        match sockets - 1 {
            others if others > 0 && self.turn % 2 == 1 => 1 + self.turn / 2 % others,
            _ => 0,
        }
    }
}

/// The free frames of one stream.
#[derive(Debug)]
struct FreeList {
    frames: Vec<TxFrame>,
    layout: Layout,
    /// Bytes of the template.
    len: u32,
}

impl FreeList {
    /// Writes the template into every frame. Without a `template` nothing can be sent.
    fn new(socket: &mut Socket, mut frames: Vec<TxFrame>, template: Option<&Template>) -> Self {
        let Some(template) = template else {
            return Self { frames: Vec::new(), layout: Layout::default(), len: 0 };
        };
        let bytes = template.bytes();
        for frame in &mut frames {
            socket.bytes(frame)[..bytes.len()].copy_from_slice(bytes);
        }
        // Last in, first out: a frame that has just been sent is still in the cache.
        Self { frames, layout: template.layout(), len: bytes.len() as u32 }
    }
}

/// A worker's AF_XDP sockets.
#[derive(Debug)]
pub struct XskPort {
    /// One socket for each RX queue of the worker; the first is also the TX queue.
    sockets: Vec<Socket>,
    probes: FreeList,
    resets: FreeList,
    /// Frames from this address on belong to resets.
    resets_from: u64,
    outstanding: u64,
    /// Turns since the kernel was last woken; none of them has put frames into the TX ring. `None` if it has to be
    /// woken because there are such frames, or because the last wake-up is too long ago to be relied on.
    woken_for: Option<u32>,
    /// Frames that the kernel has dropped in copy mode.
    again: Again,
    /// The socket that the next receive starts with.
    receive_first: usize,
    counts: PortCounts,
    sleep: Sleep,
    /// How many of the sockets are on the sending interface.
    own_sockets: usize,
    /// The state of polling, if the port polls.
    polling: Option<Polling>,
}

impl XskPort {
    /// A port over these sockets. `tx_frames` are the frames of the first one: [`PROBE_FRAMES`] + [`RESET_FRAMES`].
    pub(super) fn new(
        mut sockets: Vec<Socket>,
        mut tx_frames: Vec<TxFrame>,
        probe: &Template,
        reset: Option<&Template>,
    ) -> Self {
        let reset_frames = tx_frames.split_off(PROBE_FRAMES);
        // Frames are in the order of their addresses, so the first reset frame divides the streams.
        let resets_from = reset_frames.first().map_or(1 << 63, TxFrame::address);
        let probes = FreeList::new(&mut sockets[0], tx_frames, Some(probe));
        let resets = FreeList::new(&mut sockets[0], reset_frames, reset);
        sockets[0].set_tx_budget(TX_BUDGET);
        let sleep = Sleep::new(&sockets, false);
        let counts = PortCounts::default();
        let own_sockets = sockets.len();
        Self {
            sockets,
            probes,
            resets,
            resets_from,
            outstanding: 0,
            woken_for: None,
            again: Again::new(),
            receive_first: 0,
            counts,
            sleep,
            own_sockets,
            polling: None,
        }
    }

    /// The same port, whose sockets are set to be polled.
    pub(super) fn polling(self) -> Self {
        Self { polling: Some(Polling::default()), sleep: Sleep::new(&self.sockets, true), ..self }
    }

    /// Makes the kernel do the driver's work for the next socket.
    fn poll(&mut self, mut polling: Polling) {
        let next = polling.next(self.sockets.len());
        self.polling = Some(polling);
        let socket = &mut self.sockets[next];
        let wants_frames = socket.mode() == BindMode::ZeroCopy && socket.fill_needs_wakeup();
        // Either call polls. Where the kernel does not know yet what to poll, each does its own work.
        if next == 0 && self.outstanding > 0 && !wants_frames && !self.again.pauses() {
            self.wake();
        } else {
            socket.wake_rx();
        }
    }

    /// Receives from `socket` as well, which is on another interface.
    pub(super) fn hear(&mut self, socket: Socket) {
        self.sleep.add(&socket);
        self.sockets.push(socket);
    }

    /// Returns sent frames to the free lists.
    fn reap(&mut self) {
        let before = self.at_home();
        self.reap_all();
        if !self.again.is_empty() {
            self.forget_sent(before, None);
        }
    }

    /// How many free frames each stream has.
    fn at_home(&self) -> [usize; 2] {
        [self.probes.frames.len(), self.resets.frames.len()]
    }

    /// The frames that came back since the free lists had these lengths.
    fn come_home(&self, before: [usize; 2]) -> impl Iterator<Item = &TxFrame> {
        self.probes.frames[before[0]..].iter().chain(&self.resets.frames[before[1]..])
    }

    /// Frames that have been sent in the end were not refused for good.
    #[cold]
    fn forget_sent(&mut self, before: [usize; 2], refused: Option<u64>) {
        let mut again = std::mem::take(&mut self.again);
        again.forget(|address| self.come_home(before).any(|frame| frame.address() == address), refused);
        self.again = again;
    }

    /// Handles a frame that the kernel has dropped and returned like a sent one: puts it into the TX ring once more.
    #[cold]
    fn take_back(&mut self) {
        let before = self.at_home();
        self.reap_all();
        let returned = self.at_home();
        let mut again = std::mem::take(&mut self.again);
        let dropped = again.dropped(&self.sockets[0], self.come_home(before).map(TxFrame::address));
        self.again = again;
        self.forget_sent(before, dropped.map(TxDescriptor::address));
        // More than this one frame came back, so others were accepted.
        let taken = returned[0] + returned[1] > before[0] + before[1] + 1;
        self.again.pause(taken);
        let Some(descriptor) = dropped else { return };
        let address = descriptor.address();
        let is_reset = address >= self.resets_from;
        let (list, sent, refused, lost) = match is_reset {
            false => (
                &mut self.probes.frames,
                &mut self.counts.probes_sent,
                &mut self.counts.probes_refused,
                &mut self.counts.probes_lost,
            ),
            true => (
                &mut self.resets.frames,
                &mut self.counts.resets_sent,
                &mut self.counts.resets_refused,
                &mut self.counts.resets_lost,
            ),
        };
        let Some(place) = list.iter().rposition(|frame| frame.address() == address) else { return };
        // The frame was counted among the returned ones.
        *sent -= 1;
        let behind = if is_reset { u64::MAX } else { *sent + *lost };
        if !self.again.try_again(address, taken, behind) {
            *lost += 1;
            return;
        }
        *refused += 1;
        self.outstanding += 1;
        self.woken_for = None;
        self.again.keep(list.swap_remove(place), descriptor.frame_len());
        self.again.hand_over(&mut self.sockets[0]);
    }

    fn reap_all(&mut self) {
        let free_before = self.at_home();
        let (probes, resets, resets_from) =
            (&mut self.probes.frames, &mut self.resets.frames, self.resets_from);
        let reaped = self.sockets[0].reap(|run| {
            // Nearly every run is of one stream: a list then takes it whole.
            let below =
                run.addresses().iter().fold(u64::MAX, |all, address| all & address.wrapping_sub(resets_from));
            if below >> 63 == 1 {
                probes.extend(run.into_frames());
                return;
            }
            for frame in run.into_frames() {
                let is_reset = frame.address() >= resets_from;
                let list = if is_reset { &mut *resets } else { &mut *probes };
                list.push(frame);
            }
        });
        if reaped > 0 {
            self.outstanding -= u64::from(reaped);
            self.counts.probes_sent += (self.probes.frames.len() - free_before[0]) as u64;
            self.counts.resets_sent += (self.resets.frames.len() - free_before[1]) as u64;
        }
    }

    /// Whether the kernel has to be woken to send.
    #[inline]
    fn must_wake(&mut self) -> bool {
        if !self.sockets[0].tx_needs_wakeup() || self.again.pauses() {
            return false;
        }
        let Some(turns) = &mut self.woken_for else { return true };
        *turns += 1;
        // In copy mode it sends in the call alone, and may have left frames for the next one.
        let patience = if self.sockets[0].mode() == BindMode::Copy { 0 } else { WAKE_AGAIN_TURNS };
        *turns > patience && self.sockets[0].is_tx_pending()
    }

    fn wake(&mut self) {
        self.counts.wakeups += 1;
        let refused = self.sockets[0].wake_tx().err();
        self.woken_for = refused.is_none().then_some(0);
        match refused.map(|error| error.raw_os_error()) {
            None => self.again.went_well(),
            Some(Some(libc::EAGAIN)) => self.counts.wakeup_eagain += 1,
            Some(Some(libc::EBUSY)) if self.sockets[0].mode() == BindMode::Copy => {
                self.counts.wakeup_ebusy += 1;
                self.take_back();
            }
            // The driver is at it already.
            Some(Some(libc::EBUSY)) => self.counts.wakeup_eagain += 1,
            Some(Some(libc::ENOBUFS)) => self.counts.wakeup_enobufs += 1,
            Some(Some(libc::ENETDOWN)) => self.counts.wakeup_enetdown += 1,
            Some(_) => self.counts.wakeup_other += 1,
        }
    }
}

impl Port for XskPort {
    fn room(&mut self, stream: Stream, wanted: usize) -> usize {
        let free = match stream {
            Stream::Probe => self.probes.frames.len(),
            Stream::Reset => self.resets.frames.len(),
        };
        let wanted = wanted.min(free);
        free.min(self.sockets[0].tx_room(wanted as u32) as usize)
    }

    fn transmit(&mut self, stream: Stream, patches: &PatchBatch) {
        let list = match stream {
            Stream::Probe => &mut self.probes,
            Stream::Reset => &mut self.resets,
        };
        if let Some(polling) = &mut self.polling {
            polling.idle = 0;
        }
        debug_assert!(patches.len <= list.frames.len(), "more frames than there was room for");
        self.woken_for = None;
        let socket = &mut self.sockets[0];
        let (layout, len) = (list.layout, list.len);
        let from = list.frames.len().saturating_sub(patches.len);
        self.outstanding += (list.frames.len() - from) as u64;
        let frames = list.frames.drain(from..);
        // Ends before the arrays of a batch do, which the compiler then need not check for each frame.
        let places = 0..BATCH_MAX;
        // Asked once a batch: frames of one length to one next hop need no more than their patch.
        let one_hop = patches.next_hops.is_empty();
        match layout.tail {
            None if one_hop => socket.transmit_each(places, frames, |i, bytes| {
                layout.patch(bytes, patches, i);
                len
            }),
            None => socket.transmit_each(places, frames, |i, bytes| {
                patches.write_next_hop(bytes, i);
                layout.patch(bytes, patches, i);
                len
            }),
            Some(tail) => socket.transmit_each(places, frames, |i, bytes| {
                patches.write_next_hop(bytes, i);
                layout.patch_with_tail(bytes, patches, i, tail) as u32
            }),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        if let Some(polling) = self.polling {
            self.poll(polling);
        }
        if self.outstanding > 0 {
            if self.again.is_waiting() {
                self.again.hand_over(&mut self.sockets[0]);
                self.woken_for = None;
            }
            if self.polling.is_none() && self.must_wake() {
                self.wake();
            }
            self.reap();
        }
        Ok(())
    }

    fn outstanding(&self) -> u64 {
        self.outstanding
    }

    fn left_in_order(&self) -> u64 {
        self.counts.probes_over().min(self.again.before_all())
    }

    /// What the kernel has taken, it returns without being asked.
    fn is_kernel_behind(&self) -> bool {
        self.outstanding > 0 && (self.again.is_waiting() || self.sockets[0].is_tx_pending())
    }

    /// Frames in line to be sent again may still be sent, until the end.
    fn give_up(&mut self) -> u64 {
        0
    }

    fn receive(&mut self, batch: &mut RxBatch) {
        let before = self.counts.rx_frames;
        // Start with another socket each time, so that a busy queue does not leave the others without room in the
        // batch.
        self.receive_first = (self.receive_first + 1) % self.sockets.len();
        let (later, first) = self.sockets.split_at_mut(self.receive_first);
        for socket in first.iter_mut().chain(later) {
            let queue = socket.queue() as u16;
            let taken = socket.receive(batch.room() as u32, |packet| batch.push(packet, queue));
            self.counts.rx_frames += u64::from(taken);
            // A port that polls makes that call anyway.
            if self.polling.is_none() && socket.fill_needs_wakeup() && socket.mode() == BindMode::ZeroCopy {
                socket.wake_rx();
            }
        }
        if let Some(polling) = &mut self.polling
            && self.counts.rx_frames > before
        {
            polling.idle = 0;
        }
    }

    fn wait(&mut self, timeout: Duration) {
        if let Some(polling) = &mut self.polling
            && polling.idle < IDLE_TURNS
        {
            polling.idle += 1;
            return;
        }
        let timeout = self.again.pause_left().map_or(timeout, |left| timeout.min(left));
        // In copy mode the kernel sends for whoever polls (`xsk_poll`), and tells nobody what it drops.
        let sends = self.outstanding > 0
            && self.sockets[0].mode() == BindMode::Copy
            && self.sockets[0].is_tx_pending();
        self.sleep.until(timeout, !sends);
        // Frames that are not back by now may need another wake-up.
        if self.outstanding > 0 {
            self.reap();
            self.woken_for = None;
        }
    }

    fn counts(&self) -> PortCounts {
        self.counts
    }

    fn socket_drops(&self) -> u64 {
        self.sockets.iter().map(|socket| socket.statistics().lost()).sum()
    }

    fn statistics(&self) -> PortStatistics {
        let statistics = |(i, socket): (usize, &Socket)| {
            let is_reply_interface = i >= self.own_sockets;
            (socket.queue(), SocketStatistics { is_reply_interface, counts: socket.statistics() })
        };
        PortStatistics { sockets: self.sockets.iter().enumerate().map(statistics).collect(), verdicts: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sending socket has at least every other turn, and no other one is left out.
    #[test]
    fn turns_of_polling() {
        for (sockets, expected) in
            [(1, [0, 0, 0, 0, 0, 0, 0, 0]), (2, [1, 0, 1, 0, 1, 0, 1, 0]), (4, [1, 0, 2, 0, 3, 0, 1, 0])]
        {
            let mut polling = Polling::default();
            assert_eq!(expected.map(|_| polling.next(sockets)), expected, "{sockets} sockets");
        }
    }
}
