//! AF_XDP: rings and frames shared with the kernel, one socket for each RX queue of a NIC.
//!
//! libxdp (through `libxdp-sys`) registers UMEM, maps the rings and binds the sockets; everything after that happens in
//! the rings themselves. `docs/design.md` says why not `xsk-rs`: it hands out the fill ring only after the bind, and
//! calls into C for each descriptor.

mod again;
mod name;
mod options;
mod port;
mod ring;
mod socket;
mod standin;
mod umem;

use std::os::fd::BorrowedFd;

pub use options::SocketStatistics;
pub use port::XskPort;
pub use socket::{BindMode, SocketError};

use crate::packet::Template;
use port::{PROBE_FRAMES, RESET_FRAMES};
use socket::{RING_LEN, Socket};
use umem::Cut;

/// One worker's share of a NIC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSet {
    /// RX queues, each of which gets a socket; the first is also the TX queue, and has that side. Never empty.
    pub queues: Vec<u32>,
}

/// Shares `queues` out to `workers` workers, so that every queue has exactly one owner and every worker a TX queue of its
/// own: one of the first `tx_queues`, for on a queue without that side the kernel takes nothing, and says so to nobody
/// (`__xsk_generic_xmit`). `workers` is at least 1 and at most the number of those queues.
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
    queues as usize * Cut::new(RING_LEN as usize, PROBE_FRAMES + RESET_FRAMES, 0).len()
}

/// A socket that has just been bound.
#[derive(Clone, Copy, Debug)]
pub struct Bound<'a> {
    /// Its queue.
    pub queue: u32,
    /// The mode it was bound in, as the kernel tells it.
    pub mode: BindMode,
    /// Why not in a better one.
    pub refusals: &'a [String],
    /// Its descriptor.
    pub fd: BorrowedFd<'a>,
}

/// Opens the sockets of one worker.
///
/// `modes` is the ladder of bind modes, best first; `busy_poll`, if the sockets are to be polled, for how many packets a
/// call. `register` is called for each bound socket, to put it into the XDP
/// program's map.
///
/// # Errors
/// The first socket that cannot be opened in any of the modes, or an error of `register`.
pub fn open_port<E: From<SocketError>>(
    interface: &str,
    set: &QueueSet,
    modes: &'static [BindMode],
    busy_poll: Option<u16>,
    probe: &Template,
    reset: Option<&Template>,
    mut register: impl FnMut(Bound<'_>) -> Result<(), E>,
) -> Result<XskPort, E> {
    let mut sockets = Vec::with_capacity(set.queues.len());
    let mut frames = Vec::new();
    let longest = longest(probe, reset);
    let mut modes = modes;
    for (i, &queue) in set.queues.iter().enumerate() {
        let tx_frames = if i == 0 { PROBE_FRAMES + RESET_FRAMES } else { 0 };
        let cut = Cut::new(RING_LEN as usize, tx_frames, longest);
        let (socket, mut tx) = Socket::open(interface, queue, modes, cut)?;
        busy_poll.map_or(Ok(()), |budget| socket.set_busy_poll(interface, budget))?;
        let mode = if socket.is_zero_copy() { BindMode::ZeroCopy } else { BindMode::Copy };
        if let Some(fd) = socket.fd() {
            register(Bound { queue, mode, refusals: &socket.refusals, fd })?;
        }
        // All in the mode that the first one got.
        modes = mode.alone();
        frames.append(&mut tx);
        sockets.push(socket);
    }
    let port = XskPort::new(sockets, frames, probe, reset);
    Ok(if busy_poll.is_some() { port.polling() } else { port })
}

/// Opens a socket that only receives, on queue `queue` of an interface that `port`'s worker does not send by, and adds it
/// to the port. `busy_poll` and `register` are as for [`open_port`].
///
/// # Errors
/// The socket cannot be opened in any of the modes, or an error of `register`.
pub fn open_receiver<E: From<SocketError>>(
    port: &mut XskPort,
    interface: &str,
    queue: u32,
    modes: &'static [BindMode],
    busy_poll: Option<u16>,
    register: impl FnOnce(Bound<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let (socket, _) = Socket::open(interface, queue, modes, Cut::new(RING_LEN as usize, 0, 0))?;
    busy_poll.map_or(Ok(()), |budget| socket.set_busy_poll(interface, budget))?;
    let mode = if socket.is_zero_copy() { BindMode::ZeroCopy } else { BindMode::Copy };
    if let Some(fd) = socket.fd() {
        register(Bound { queue, mode, refusals: &socket.refusals, fd })?;
    }
    port.hear(socket);
    Ok(())
}

/// Length of the longest frame that is sent.
fn longest(probe: &Template, reset: Option<&Template>) -> usize {
    probe.bytes().len().max(reset.map_or(0, |reset| reset.bytes().len()))
}

/// A port whose rings lead to a stand-in for the kernel: it completes what it is given, and nothing is received. The
/// benchmarks measure with it what a probe costs up to the kernel's door.
///
/// # Errors
/// If there is no memory for the frames.
pub fn stand_in_port(probe: &Template, reset: Option<&Template>) -> std::io::Result<XskPort> {
    let (socket, frames) =
        Socket::stand_in(Cut::new(RING_LEN as usize, PROBE_FRAMES + RESET_FRAMES, longest(probe, reset)))?;
    Ok(XskPort::new(vec![socket], frames, probe, reset))
}

/// Sends `count` frames, 256 at a time, through a stand-in for the kernel, with nothing done to a frame but copying
/// `line` over its first bytes: the floor beneath what any probe can cost in a ring.
///
/// # Errors
/// If there is no memory for the frames.
pub fn copy_lines(line: &[u8; 64], count: u64) -> std::io::Result<()> {
    let (mut socket, mut free) =
        Socket::stand_in(Cut::new(RING_LEN as usize, PROBE_FRAMES + RESET_FRAMES, 66))?;
    let descriptor = socket::TxDescriptor::new(64);
    for _ in 0..count.div_ceil(256) {
        let mut writer = socket.umem.writer();
        socket.tx.extend(free.drain(free.len() - 256..).map(|mut frame| {
            writer.bytes(&mut frame)[..64].copy_from_slice(line);
            descriptor.at(frame)
        }));
        socket.tx.publish();
        // A stand-in refuses nothing.
        let _ = socket.wake_tx();
        let sent = socket.completion.available();
        for run in socket.completion.pop_runs(sent) {
            free.extend(run.iter().map(|&address| socket.umem.completed(address)));
        }
        socket.completion.release();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

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
