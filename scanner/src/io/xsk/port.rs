//! The AF_XDP port: one worker's sockets, the first of which also sends.
//!
//! What always holds: every TX frame is on its stream's free list, or in the TX ring, the kernel or the completion
//! ring, and counted there as outstanding; every RX frame is in the fill ring, the kernel or the RX ring, but for the
//! moment in which it is copied. The kernel is woken to send only while something is outstanding. What it drops in copy mode
//! and tells of is sent again ([`super::again`]); so nothing but [`XskPort::wake`] may make it send there.
//!
//! A port that polls (`--busy-poll`) makes one call a turn instead, for one of its sockets, which has the kernel do the
//! driver's work there, both ways; it sleeps once nothing has come or gone for a while.

use std::io;
use std::time::Duration;

use super::again::Again;
use super::options::SocketStatistics;
use super::socket::{BindMode, RING_LEN, Socket, TxDescriptor};
use super::umem::TxFrame;
use crate::io::{Port, PortCounts, RxBatch, Stream};
use crate::packet::{Layout, PatchBatch, Template};
use crate::targets::BATCH_MAX;

/// Frames kept for resets; the TX ring has as much room left when all probe frames are in it.
pub(super) const RESET_FRAMES: usize = 256;
/// Frames for probes.
pub(super) const PROBE_FRAMES: usize = RING_LEN as usize - RESET_FRAMES;
/// How many packets one wake-up may send in copy mode. More than a batch, so that one call suffices.
const TX_BUDGET: u32 = 1024;

/// Turns in which nothing came or went before a port that polls sleeps: about a millisecond.
const IDLE_TURNS: u32 = 1_000;

/// Where a port that polls is.
#[derive(Clone, Copy, Debug, Default)]
struct Polling {
    turn: usize,
    /// Turns since something came or went.
    idle: u32,
}

impl Polling {
    /// The socket, of `sockets`, whose turn it is: the one that sends every other time, and the others one by one.
    fn next(&mut self, sockets: usize) -> usize {
        self.turn = self.turn.wrapping_add(1);
        match sockets - 1 {
            others if others > 0 && self.turn % 2 == 1 => 1 + self.turn / 2 % others,
            _ => 0,
        }
    }
}

/// The frames of one stream that are at home.
#[derive(Debug)]
struct FreeList {
    frames: Vec<TxFrame>,
    layout: Layout,
    descriptor: TxDescriptor,
}

impl FreeList {
    /// Writes the template into every frame. `template` may be absent: then nothing can be sent.
    fn new(socket: &mut Socket, mut frames: Vec<TxFrame>, template: Option<&Template>) -> Self {
        let Some(template) = template else {
            return Self { frames: Vec::new(), layout: Layout::default(), descriptor: TxDescriptor::new(0) };
        };
        let bytes = template.bytes();
        let mut writer = socket.umem.writer();
        for frame in &mut frames {
            writer.bytes(frame)[..bytes.len()].copy_from_slice(bytes);
        }
        // Last in, first out: a frame that has just been sent is still in the cache.
        Self { frames, layout: template.layout(), descriptor: TxDescriptor::new(bytes.len() as u32) }
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
    /// What the kernel has dropped in copy mode.
    again: Again,
    /// The socket that is looked at first.
    receive_first: usize,
    counts: PortCounts,
    poll_fds: Vec<libc::pollfd>,
    /// How many of the sockets are on the interface that is sent by.
    own_sockets: usize,
    /// Where polling is, if the port polls.
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
        let poll_fds = sockets
            .iter()
            .map(|socket| libc::pollfd { fd: socket.raw_fd(), events: libc::POLLIN, revents: 0 })
            .collect();
        let counts = PortCounts::default();
        let own_sockets = sockets.len();
        Self {
            sockets,
            probes,
            resets,
            resets_from,
            outstanding: 0,
            again: Again::new(),
            receive_first: 0,
            counts,
            poll_fds,
            own_sockets,
            polling: None,
        }
    }

    /// The same, whose sockets are set to be polled.
    pub(super) fn polling(self) -> Self {
        Self { polling: Some(Polling::default()), ..self }
    }

    /// Has the kernel do the driver's work for the socket whose turn it is.
    fn poll(&mut self, mut polling: Polling) {
        let next = polling.next(self.sockets.len());
        self.polling = Some(polling);
        let socket = &mut self.sockets[next];
        let wants_frames = socket.mode == BindMode::ZeroCopy && socket.fill.needs_wakeup();
        // Either call polls. Where the kernel does not know yet what to poll, each does its own work.
        if next == 0 && self.outstanding > 0 && !wants_frames && !self.again.pauses() {
            self.wake();
        } else {
            socket.wake_rx();
        }
    }

    /// Receives from `socket` as well, which is on another interface.
    pub(super) fn hear(&mut self, socket: Socket) {
        self.poll_fds.push(libc::pollfd { fd: socket.raw_fd(), events: libc::POLLIN, revents: 0 });
        self.sockets.push(socket);
    }

    /// Takes sent frames home.
    fn reap(&mut self) {
        let before = self.at_home();
        self.reap_all();
        if !self.again.is_empty() {
            self.forget_sent(before, None);
        }
    }

    /// How many frames each stream has at home.
    fn at_home(&self) -> [usize; 2] {
        [self.probes.frames.len(), self.resets.frames.len()]
    }

    /// Those that came home when so many were there before.
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

    /// The kernel has dropped a frame, and handed it back as it does those that it has sent: it goes into the TX ring once more.
    #[cold]
    fn take_back(&mut self) {
        let before = self.at_home();
        self.reap_all();
        let returned = self.at_home();
        let mut again = std::mem::take(&mut self.again);
        let dropped = again.dropped(&self.sockets[0].tx, self.come_home(before).map(TxFrame::address));
        self.again = again;
        self.forget_sent(before, dropped.map(TxDescriptor::address));
        // More came back than the one: others were taken.
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
        // It was counted among those that were handed back.
        *sent -= 1;
        if !self.again.try_again(address, taken) {
            *lost += 1;
            return;
        }
        *refused += 1;
        self.outstanding += 1;
        self.again.keep(list.swap_remove(place), descriptor);
        self.again.hand_over(&mut self.sockets[0].tx);
    }

    fn reap_all(&mut self) {
        let socket = &mut self.sockets[0];
        let mut reaped = 0;
        let free_before = [self.probes.frames.len(), self.resets.frames.len()];
        loop {
            let available = socket.completion.available();
            if available == 0 {
                break;
            }
            for run in socket.completion.pop_runs(available) {
                let frames = run.iter().map(|&address| socket.umem.completed(address));
                // Nearly every run is of one stream: a list then takes it whole.
                let below =
                    run.iter().fold(u64::MAX, |all, address| all & address.wrapping_sub(self.resets_from));
                if below >> 63 == 1 {
                    self.probes.frames.extend(frames);
                    continue;
                }
                for frame in frames {
                    let is_reset = frame.address() >= self.resets_from;
                    let list = if is_reset { &mut self.resets } else { &mut self.probes };
                    list.frames.push(frame);
                }
            }
            reaped += u64::from(available);
        }
        if reaped > 0 {
            socket.completion.release();
            self.outstanding -= reaped;
            self.counts.probes_sent += (self.probes.frames.len() - free_before[0]) as u64;
            self.counts.resets_sent += (self.resets.frames.len() - free_before[1]) as u64;
        }
    }

    fn wake(&mut self) {
        self.counts.wakeups += 1;
        match self.sockets[0].wake_tx() {
            Ok(()) => self.again.went_well(),
            Err(libc::EAGAIN) => self.counts.wakeup_eagain += 1,
            Err(libc::EBUSY) if self.sockets[0].mode == BindMode::Copy => {
                self.counts.wakeup_ebusy += 1;
                self.take_back();
            }
            // The driver is at it already.
            Err(libc::EBUSY) => self.counts.wakeup_eagain += 1,
            Err(libc::ENOBUFS) => self.counts.wakeup_enobufs += 1,
            Err(libc::ENETDOWN) => self.counts.wakeup_enetdown += 1,
            Err(_) => self.counts.wakeup_other += 1,
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
        free.min(self.sockets[0].tx.room(wanted as u32) as usize)
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
        let socket = &mut self.sockets[0];
        let (layout, descriptor) = (list.layout, list.descriptor);
        let from = list.frames.len().saturating_sub(patches.len);
        self.outstanding += (list.frames.len() - from) as u64;
        let frames = (0..BATCH_MAX).zip(list.frames.drain(from..));
        let mut writer = socket.umem.writer();
        // Asked once a batch: frames of one length to one next hop need no more than their patch.
        let one_hop = patches.next_hops.is_empty();
        match layout.tail {
            None if one_hop => socket.tx.extend(frames.map(|(i, mut frame)| {
                layout.patch(writer.bytes(&mut frame), patches, i);
                descriptor.at(frame)
            })),
            None => socket.tx.extend(frames.map(|(i, mut frame)| {
                let bytes = writer.bytes(&mut frame);
                patches.write_next_hop(bytes, i);
                layout.patch(bytes, patches, i);
                descriptor.at(frame)
            })),
            Some(tail) => socket.tx.extend(frames.map(|(i, mut frame)| {
                let bytes = writer.bytes(&mut frame);
                patches.write_next_hop(bytes, i);
                let len = layout.patch_with_tail(bytes, patches, i, tail);
                TxDescriptor::new(len as u32).at(frame)
            })),
        }
        socket.tx.publish();
    }

    fn flush(&mut self) -> io::Result<()> {
        if let Some(polling) = self.polling {
            self.poll(polling);
        }
        if self.outstanding > 0 {
            if self.again.is_waiting() {
                self.again.hand_over(&mut self.sockets[0].tx);
            }
            if self.polling.is_none() && self.sockets[0].tx.needs_wakeup() && !self.again.pauses() {
                self.wake();
            }
            self.reap();
        }
        Ok(())
    }

    fn outstanding(&self) -> u64 {
        self.outstanding
    }

    fn receive(&mut self, batch: &mut RxBatch) {
        let before = self.counts.rx_frames;
        // Each time from another one on: a busy queue must not leave the others without room in the batch.
        self.receive_first = (self.receive_first + 1) % self.sockets.len();
        let (later, first) = self.sockets.split_at_mut(self.receive_first);
        for socket in first.iter_mut().chain(later) {
            let wanted = socket.rx.available().min(batch.room() as u32);
            // Always all of them: the fill ring holds every frame. Asking refreshes what is known of the kernel's side.
            let taken = socket.fill.room(wanted).min(wanted);
            for _ in 0..taken {
                let packet = socket.rx.pop();
                let frame = socket.umem.received(packet.addr);
                batch.push(socket.umem.rx_bytes(&frame, packet.addr, packet.len), socket.queue as u16);
                socket.fill.push(frame.into_address());
            }
            if taken > 0 {
                socket.rx.release();
                socket.fill.publish();
                socket.received += u64::from(taken);
                self.counts.rx_frames += u64::from(taken);
            }
            // A port that polls makes that call anyway.
            if self.polling.is_none() && socket.fill.needs_wakeup() && socket.mode == BindMode::ZeroCopy {
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
        let timeout = libc::timespec {
            tv_sec: timeout.as_secs() as libc::time_t,
            tv_nsec: timeout.subsec_nanos().into(),
        };
        let count = self.poll_fds.len() as libc::nfds_t;
        // In copy mode the kernel sends for whoever polls (`xsk_poll`), and tells nobody what it drops.
        let sends =
            self.outstanding > 0 && self.sockets[0].mode == BindMode::Copy && self.sockets[0].tx.is_pending();
        self.poll_fds[0].fd = if sends { -1 } else { self.sockets[0].raw_fd() };
        // SAFETY: the array is valid for the count given; the sockets are open. Its result tells nothing that the rings
        // do not; a signal only ends the sleep.
        unsafe { libc::ppoll(self.poll_fds.as_mut_ptr(), count, &raw const timeout, std::ptr::null()) };
    }

    fn counts(&self) -> PortCounts {
        self.counts
    }

    fn socket_drops(&self) -> u64 {
        self.sockets.iter().map(|socket| socket.statistics().lost()).sum()
    }

    fn socket_statistics(&self) -> Vec<(u32, SocketStatistics)> {
        let statistics = |(i, socket): (usize, &Socket)| {
            let is_reply_interface = i >= self.own_sockets;
            (socket.queue, SocketStatistics { is_reply_interface, ..socket.statistics() })
        };
        self.sockets.iter().enumerate().map(statistics).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The socket that sends has every other turn at least, and no other one is forgotten.
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
