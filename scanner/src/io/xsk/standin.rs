//! A stand-in for the kernel behind the rings, for benchmarks: it completes what it is given.
//!
//! It takes the kernel's role in rings of ordinary memory, with the very ring types that user space uses on its side,
//! so that everything up to the kernel's door is what runs in a scan.

use libxdp_sys::{XDP_RING_NEED_WAKEUP, xdp_desc, xsk_ring_cons, xsk_ring_prod};

use super::ring::{Consumer, Producer};
use super::socket::TxDescriptor;

/// The kernel's side of a TX ring and a completion ring.
#[derive(Debug)]
pub(super) struct StandIn {
    tx: Consumer<TxDescriptor>,
    completion: Producer<u64>,
}

/// Four rings: user space's sides of them and, in `kernel`, the other sides of those that carry frames out.
pub(super) struct Sides {
    pub(super) rx: Consumer<xdp_desc>,
    pub(super) tx: Producer<TxDescriptor>,
    pub(super) fill: Producer<u64>,
    pub(super) completion: Consumer<u64>,
    pub(super) kernel: StandIn,
}

/// Rings of `len` descriptors each, a power of two. Their memory is never freed: a benchmark makes a few.
pub(super) fn rings(len: u32) -> Sides {
    let (rx, tx) = (ring::<xdp_desc>(len), ring::<TxDescriptor>(len));
    let [fill, completion] = [ring::<u64>(len), ring::<u64>(len)];
    Sides {
        rx: consumer(&rx),
        tx: producer(&tx),
        fill: producer(&fill),
        completion: consumer(&completion),
        kernel: StandIn { tx: consumer(&tx), completion: producer(&completion) },
    }
}

impl StandIn {
    /// Completes everything in the TX ring. The completion ring has room: it is as long as the TX ring, and user space
    /// empties it after each wake-up.
    pub(super) fn complete(&mut self) {
        let sent = self.tx.available().min(self.completion.room(u32::MAX));
        for run in self.tx.pop_runs(sent) {
            self.completion.extend(run.iter().map(|descriptor| descriptor.address()));
        }
        self.tx.release();
        self.completion.publish();
    }
}

/// A ring of descriptors of type `T` that always asks to be woken.
struct Memory<T> {
    raw: xsk_ring_prod,
    _descriptors: std::marker::PhantomData<T>,
}

fn ring<T: Copy>(len: u32) -> Memory<T> {
    // Indices a cache line apart, as the kernel lays them out.
    let indices = Box::leak(vec![[0u32; 16]; 3].into_boxed_slice());
    indices[2][0] = XDP_RING_NEED_WAKEUP;
    let [producer, consumer, flags] = [0, 1, 2].map(|i| indices[i].as_mut_ptr());
    // Zeroed memory of the right size and alignment, which `u64` has for every descriptor type.
    let words = len as usize * size_of::<T>() / size_of::<u64>();
    let descriptors = Box::leak(vec![0u64; words].into_boxed_slice()).as_mut_ptr().cast();
    let (mask, size) = (len - 1, len);
    let raw = xsk_ring_prod {
        cached_prod: 0,
        cached_cons: 0,
        mask,
        size,
        producer,
        consumer,
        ring: descriptors,
        flags,
    };
    Memory { raw, _descriptors: std::marker::PhantomData }
}

fn producer<T>(memory: &Memory<T>) -> Producer<T> {
    // SAFETY: leaked memory for descriptors of this type; each role in each ring is taken once.
    let producer = unsafe { Producer::new(&memory.raw) };
    producer.unwrap_or_else(|| unreachable!("no pointer is null"))
}

fn consumer<T: Copy>(memory: &Memory<T>) -> Consumer<T> {
    let raw = &memory.raw;
    let raw = xsk_ring_cons {
        cached_prod: 0,
        cached_cons: 0,
        mask: raw.mask,
        size: raw.size,
        producer: raw.producer,
        consumer: raw.consumer,
        ring: raw.ring,
        flags: raw.flags,
    };
    // SAFETY: as for `producer`.
    let consumer = unsafe { Consumer::new(&raw) };
    consumer.unwrap_or_else(|| unreachable!("no pointer is null"))
}
