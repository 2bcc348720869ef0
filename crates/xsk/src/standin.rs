//! A stand-in for the kernel behind the rings, for tests and benchmarks.
//!
//! It has the kernel's role in rings of ordinary memory, with the very ring types that user space uses on its side, so
//! that everything up to the kernel's door is what runs with a real socket.

use std::io;

use crate::descriptor::{RxDescriptor, TxDescriptor};
use crate::ring::{Consumer, Producer, pair};
use crate::umem::{Layout, Umem, chunk_at};

/// The kernel's sides of the four rings.
#[derive(Debug)]
pub(crate) struct StandIn {
    tx: Consumer<TxDescriptor>,
    completion: Producer<u64>,
    fill: Consumer<u64>,
    rx: Producer<RxDescriptor>,
}

/// Four rings: user space's sides of them and, in `kernel`, the other sides.
pub(crate) struct Sides {
    pub(crate) rx: Consumer<RxDescriptor>,
    pub(crate) tx: Producer<TxDescriptor>,
    pub(crate) fill: Producer<u64>,
    pub(crate) completion: Consumer<u64>,
    pub(crate) kernel: StandIn,
}

/// Rings of these lengths, whose indices begin at `first`. The TX ring always asks to be woken.
pub(crate) fn rings(layout: Layout, first: u32) -> io::Result<Sides> {
    let (kernel_rx, rx) = pair(layout.rx_ring_len(), first)?;
    let (fill, kernel_fill) = pair(layout.rx_ring_len(), first)?;
    let (tx, kernel_tx) = pair(layout.tx_ring_len, first)?;
    let (kernel_completion, completion) = pair(layout.tx_ring_len, first)?;
    kernel_tx.ask_for_wakeups(true);
    let kernel = StandIn { tx: kernel_tx, completion: kernel_completion, fill: kernel_fill, rx: kernel_rx };
    Ok(Sides { rx, tx, fill, completion, kernel })
}

impl StandIn {
    /// Completes everything in the TX ring for which the completion ring has room.
    pub(crate) fn complete(&mut self) {
        let sent = self.tx.available().min(self.completion.room(u32::MAX));
        for run in self.tx.pop_runs(sent) {
            self.completion.extend(run.iter().map(|descriptor| descriptor.address()));
        }
        self.tx.release();
        self.completion.publish();
    }

    /// Completes up to `limit` frames and shows each to `sent`. How many there were.
    pub(crate) fn complete_some(&mut self, umem: &Umem, limit: u32, mut sent: impl FnMut(&[u8])) -> u32 {
        let count = self.tx.available().min(self.completion.room(u32::MAX)).min(limit);
        for _ in 0..count {
            let descriptor = self.tx.pop();
            sent(umem.sent(descriptor.address(), descriptor.frame_len()));
            self.completion.push(descriptor.address());
        }
        self.tx.release();
        self.completion.publish();
        count
    }

    /// Receives a packet into a chunk of the fill ring. False if there is none, or if the RX ring is full.
    pub(crate) fn deliver(&mut self, umem: &mut Umem, packet: &[u8]) -> bool {
        if self.fill.available() == 0 || self.rx.room(1) == 0 {
            return false;
        }
        let address = umem.put(chunk_at(self.fill.pop()), packet);
        self.rx.push(RxDescriptor::new(address, packet.len() as u32));
        self.fill.release();
        self.rx.publish();
        true
    }
}
