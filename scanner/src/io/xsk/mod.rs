//! What a scan makes of AF_XDP sockets, of which each RX queue of a NIC gets one.
//!
//! The sockets themselves, with their rings and frames, are the crate `xsk` (`crates/xsk`). Here are a worker's port
//! over several of them (`port`), what it sleeps on (`sleep`), and the frames that the kernel has dropped in copy mode
//! (`again`).

mod again;
mod port;
mod sleep;

use std::os::fd::BorrowedFd;

pub use port::XskPort;
pub use xsk::{BindMode, SocketError};

use port::{PROBE_FRAMES, RESET_FRAMES};
use wire::packet::Template;
use xsk::{Layout, Socket, testing};

use crate::privileges;

/// Descriptors in the TX ring and in the completion ring. 2,048 hold 138 us of frames at 10 GbE line rate. With fewer,
/// the driver idles between two wake-ups; with more, probes only wait longer in the kernel.
const TX_RING_LEN: u32 = 2048;

/// Frames that a socket receives into, at least. Packets that arrive while all of them hold replies are lost, so they
/// cover the time that a worker may be off its core: 3,584 are 360 ms at 10,000 replies per second. Fewer lose replies
/// in longer pauses; with more, a socket and its frames for short probes exceed 8 MiB, the usual limit on locked
/// memory.
const RX_FRAMES_MIN: u32 = 3584;

/// As many where locked memory has no limit: 1.4 s at 10,000 replies per second. Fewer lose replies on a busy machine;
/// more take memory that a machine that falls behind for longer than this needs for something else.
const RX_FRAMES_MAX: u32 = 4 * RX_FRAMES_MIN;

/// As many for all sockets of an interface together, which share its replies, if each has its minimum: 112 MiB. Fewer
/// shorten the time that a worker may be off its core on NICs of few queues; more may exceed what a container may use.
const RX_FRAMES_ALL: u32 = 4 * RX_FRAMES_MAX;

/// One part in this many of the machine's memory is the most that the frames of [`RX_FRAMES_ALL`] take. Lower: a small
/// machine gets short of memory. Higher: it loses replies earlier.
const PART_OF_MEMORY: u64 = 16;

/// How many frames each socket of an interface receives into, if that has so many queues to receive on.
pub fn rx_frames(queues: u32) -> u32 {
    if privileges::memory_is_limited() {
        return RX_FRAMES_MIN;
    }
    let info = rustix::system::sysinfo();
    let memory = u128::from(info.totalram) * u128::from(info.mem_unit);
    rx_frames_within(queues, u64::try_from(memory).unwrap_or(u64::MAX))
}

/// As [`rx_frames`], on a machine with this many bytes of memory that may all be locked.
fn rx_frames_within(queues: u32, memory: u64) -> u32 {
    let room = memory / PART_OF_MEMORY / xsk::CHUNK_LEN as u64;
    let all = u64::from(RX_FRAMES_ALL).min(room) as u32;
    (all / queues.max(1)).clamp(RX_FRAMES_MIN, RX_FRAMES_MAX)
}

/// Frames to send from, of a socket that sends.
const TX_FRAMES: usize = PROBE_FRAMES + RESET_FRAMES;

/// The layout of a socket with these numbers of frames to receive into and to send from, the longest of this length.
fn layout(rx_frames: u32, tx_frames: usize, tx_longest: usize) -> Layout {
    Layout { rx_frames, tx_ring_len: TX_RING_LEN, tx_frames: tx_frames as u32, tx_longest }
}

/// What is known of a port's socket at the end of a scan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketStatistics {
    /// Whether it is on an interface that only receives replies.
    pub is_reply_interface: bool,
    /// What the kernel says and counts of it, and what was received through it.
    pub counts: xsk::Statistics,
}

/// One worker's share of a NIC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSet {
    /// RX queues, each of which gets a socket; the first is also the TX queue, and has that side. Never empty.
    pub queues: Vec<u32>,
}

/// Shares `queues` out to `workers` workers. Every queue gets exactly one owner, and every worker a TX queue that it
/// does not share: one of the first `tx_queues`. On a queue without a TX side the kernel accepts nothing and reports no
/// error (`__xsk_generic_xmit`). `workers` is at least 1 and at most the number of those queues.
pub fn share_out(queues: &[u32], workers: u32, tx_queues: u32) -> Vec<QueueSet> {
    let workers = workers as usize;
    let (both_sides, receive_only): (Vec<u32>, Vec<u32>) =
        queues.iter().partition(|&&queue| queue < tx_queues);
    let queues = [both_sides, receive_only].concat();
    let set = |worker| QueueSet { queues: queues.iter().copied().skip(worker).step_by(workers).collect() };
    (0..workers).map(set).collect()
}

/// Bytes of memory that the sockets of `queues` queues lock at most, for the shortest probe.
pub fn memory_bytes(queues: u32) -> usize {
    queues as usize * layout(rx_frames(queues), TX_FRAMES, 0).umem_len()
}

/// What the sockets of an interface have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketOptions {
    /// Frames that each receives into ([`rx_frames`]).
    pub rx_frames: u32,
    /// Packets per call, if the sockets are to be polled.
    pub busy_poll: Option<u16>,
}

/// A socket that has just been bound.
#[derive(Clone, Copy, Debug)]
pub struct Bound<'a> {
    /// Its queue.
    pub queue: u32,
    /// The mode it was bound in, as the kernel reports it.
    pub mode: BindMode,
    /// Why not in a better one.
    pub refusals: &'a [SocketError],
    /// Its descriptor.
    pub fd: BorrowedFd<'a>,
}

/// Opens the sockets of one worker.
///
/// `modes` lists the bind modes to try, best first. `register` is called for each bound socket, to put it into the XDP
/// program's map.
///
/// # Errors
/// The first socket that cannot be opened in any of the modes, or an error of `register`.
pub fn open_port<E: From<SocketError>>(
    interface: &str,
    set: &QueueSet,
    modes: &'static [BindMode],
    options: SocketOptions,
    probe: &Template,
    reset: Option<&Template>,
    mut register: impl FnMut(Bound<'_>) -> Result<(), E>,
) -> Result<XskPort, E> {
    let mut sockets = Vec::with_capacity(set.queues.len());
    let mut frames = Vec::new();
    let longest = longest(probe, reset);
    let mut modes = modes;
    for (i, &queue) in set.queues.iter().enumerate() {
        let tx_frames = if i == 0 { TX_FRAMES } else { 0 };
        let (socket, mut tx) =
            Socket::open(interface, queue, modes, layout(options.rx_frames, tx_frames, longest))?;
        options.busy_poll.map_or(Ok(()), |budget| socket.busy_poll(budget))?;
        let mode = if socket.is_zero_copy() { BindMode::ZeroCopy } else { BindMode::Copy };
        if let Some(fd) = socket.fd() {
            register(Bound { queue, mode, refusals: socket.refusals(), fd })?;
        }
        // Bind all in the mode that the first one got.
        modes = mode.alone();
        frames.append(&mut tx);
        sockets.push(socket);
    }
    let port = XskPort::new(sockets, frames, probe, reset);
    Ok(if options.busy_poll.is_some() { port.polling() } else { port })
}

/// Opens a socket that only receives, on queue `queue` of an interface that `port`'s worker does not send through, and
/// adds it to the port. `modes` and `register` are as for [`open_port`].
///
/// # Errors
/// The socket cannot be opened in any of the modes, or an error of `register`.
pub fn open_receiver<E: From<SocketError>>(
    port: &mut XskPort,
    interface: &str,
    queue: u32,
    modes: &'static [BindMode],
    options: SocketOptions,
    register: impl FnOnce(Bound<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let (socket, _) = Socket::open(interface, queue, modes, layout(options.rx_frames, 0, 0))?;
    options.busy_poll.map_or(Ok(()), |budget| socket.busy_poll(budget))?;
    let mode = if socket.is_zero_copy() { BindMode::ZeroCopy } else { BindMode::Copy };
    if let Some(fd) = socket.fd() {
        register(Bound { queue, mode, refusals: socket.refusals(), fd })?;
    }
    port.hear(socket);
    Ok(())
}

/// Length of the longest frame that is sent.
fn longest(probe: &Template, reset: Option<&Template>) -> usize {
    probe.bytes().len().max(reset.map_or(0, |reset| reset.bytes().len()))
}

/// A port whose rings lead to a stand-in for the kernel: it completes all frames and receives nothing. Benchmarks use
/// it to measure the cost of a probe up to the system call.
///
/// # Errors
/// If there is no memory for the frames.
pub fn stand_in_port(probe: &Template, reset: Option<&Template>) -> std::io::Result<XskPort> {
    let (socket, frames) = testing::open(layout(RX_FRAMES_MIN, TX_FRAMES, longest(probe, reset)), 0)?;
    Ok(XskPort::new(vec![socket], frames, probe, reset))
}

/// Sends `count` frames, 256 at a time, through a stand-in for the kernel, and does nothing to a frame but copy `line`
/// over its first bytes. No probe in a ring can cost less than this.
///
/// # Errors
/// If there is no memory for the frames.
pub fn copy_lines(line: &[u8; 64], count: u64) -> std::io::Result<()> {
    let (mut socket, mut free) = testing::open(layout(RX_FRAMES_MIN, TX_FRAMES, 66), 0)?;
    for _ in 0..count.div_ceil(256) {
        socket.transmit(free.drain(free.len() - 256..), |bytes| {
            bytes[..64].copy_from_slice(line);
            64
        });
        // A stand-in refuses nothing.
        let _ = socket.wake_tx();
        socket.reap(|run| free.extend(run.into_frames()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More queues have fewer frames each; no machine is taken more memory from than it has to spare.
    #[test]
    fn frames_to_receive_into() {
        for (queues, memory, expected) in [
            (1, 64 << 30, 14_336),
            (4, 64 << 30, 14_336),
            (8, 64 << 30, 7_168),
            (16, 64 << 30, 3_584),
            (128, 64 << 30, 3_584),
            (0, 64 << 30, 14_336),
            (2, 1 << 30, 14_336),
            (4, 1 << 30, 8_192),
            (1, 128 << 20, 4_096),
            (1, 1, 3_584),
            (1, u64::MAX, 14_336),
        ] {
            assert_eq!(rx_frames_within(queues, memory), expected, "{queues} queues, {memory} bytes");
        }
    }

    /// Every queue has one owner, every worker a queue to send on that can send, whatever the numbers.
    #[test]
    fn every_queue_has_one_owner() {
        for queues in 1..=16 {
            for (workers, tx_queues) in
                (1..=queues).flat_map(|workers| [(workers, 3 * workers), (workers, 99)])
            {
                let given: Vec<u32> = (0..queues).map(|queue| 3 * queue + 1).collect();
                let sets = share_out(&given, workers, tx_queues);
                assert_eq!(sets.len(), workers as usize);
                assert!(sets.iter().all(|set| set.queues.first().is_some_and(|queue| *queue < tx_queues)));
                let mut all: Vec<u32> = sets.into_iter().flat_map(|set| set.queues).collect();
                all.sort_unstable();
                assert_eq!(all, given);
            }
        }
    }
}
