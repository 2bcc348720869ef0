//! The four rings of an AF_XDP socket as seen from user space.
//!
//! A ring is an array of descriptors and two free-running 32-bit indices, shared with the kernel through a mapping
//! (Documentation/networking/af_xdp.rst). User space produces on the fill and TX rings and consumes from the completion
//! and RX rings. What always holds:
//!
//! - each ring has one user-side owner, which keeps its own copies of both indices and touches the shared ones only to
//!   learn more room or to publish a batch;
//! - indices wrap at 2^32 and are only ever compared by wrapping subtraction;
//! - a descriptor is written before the producer index that covers it (release) and read after it (acquire).

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use libxdp_sys::{XDP_RING_NEED_WAKEUP, xsk_ring_cons, xsk_ring_prod};

/// The shared part of a ring.
#[derive(Debug)]
struct Shared<T> {
    producer: NonNull<AtomicU32>,
    consumer: NonNull<AtomicU32>,
    flags: NonNull<AtomicU32>,
    descriptors: NonNull<T>,
    mask: u32,
}

impl<T> Shared<T> {
    /// The pointers and size that libxdp found for a mapped ring.
    ///
    /// # Safety
    /// The pointers must be those of one mapped ring of descriptors of type `T`, valid for as long as `self` is used,
    /// and `mask` + 1 its number of descriptors, a power of two.
    unsafe fn new(
        producer: *mut u32,
        consumer: *mut u32,
        flags: *mut u32,
        ring: *mut std::ffi::c_void,
        mask: u32,
    ) -> Option<Self> {
        Some(Self {
            producer: NonNull::new(producer.cast())?,
            consumer: NonNull::new(consumer.cast())?,
            flags: NonNull::new(flags.cast())?,
            descriptors: NonNull::new(ring.cast())?,
            mask,
        })
    }

    fn producer(&self) -> &AtomicU32 {
        // SAFETY: valid and aligned by the contract of `new`; the kernel accesses it atomically too.
        unsafe { self.producer.as_ref() }
    }

    fn consumer(&self) -> &AtomicU32 {
        // SAFETY: as for `producer`.
        unsafe { self.consumer.as_ref() }
    }

    fn flags(&self) -> &AtomicU32 {
        // SAFETY: as for `producer`.
        unsafe { self.flags.as_ref() }
    }

    #[inline]
    fn slot(&self, index: u32) -> NonNull<T> {
        // SAFETY: the masked index is below the number of descriptors, all in one mapping.
        unsafe { self.descriptors.add((index & self.mask) as usize) }
    }
}

/// A ring that user space fills: fill ring or TX ring.
#[derive(Debug)]
pub(super) struct Producer<T> {
    shared: Shared<T>,
    /// Index of the next descriptor to write.
    next: u32,
    /// What `next` was when last published.
    published: u32,
    /// The consumer index as last read.
    consumed: u32,
}

impl<T> Producer<T> {
    /// Takes over a ring that libxdp mapped.
    ///
    /// # Safety
    /// `ring` must be mapped, hold descriptors of type `T`, outlive the result, and have no other user-side producer.
    pub(super) unsafe fn new(ring: &xsk_ring_prod) -> Option<Self> {
        // SAFETY: handed on from our own contract.
        let shared = unsafe { Shared::new(ring.producer, ring.consumer, ring.flags, ring.ring, ring.mask) }?;
        let next = shared.producer().load(Ordering::Relaxed);
        let consumed = shared.consumer().load(Ordering::Acquire);
        Some(Self { shared, next, published: next, consumed })
    }

    /// Descriptors that can be pushed now; the kernel's index is read only when fewer than `wanted` are known free.
    #[inline]
    pub(super) fn room(&mut self, wanted: u32) -> u32 {
        let size = self.shared.mask + 1;
        let known = size - self.next.wrapping_sub(self.consumed);
        if known >= wanted {
            return known;
        }
        self.consumed = self.shared.consumer().load(Ordering::Acquire);
        size - self.next.wrapping_sub(self.consumed)
    }

    /// Writes the next descriptor. There must be room for it; the kernel sees it after [`Self::publish`].
    #[inline]
    pub(super) fn push(&mut self, descriptor: T) {
        debug_assert!(self.next.wrapping_sub(self.consumed) <= self.shared.mask);
        // SAFETY: a slot past the producer index belongs to user space until it is published.
        unsafe { self.shared.slot(self.next).write(descriptor) };
        self.next = self.next.wrapping_add(1);
    }

    /// Writes a descriptor for each item, one after the other. There must be room for all of them.
    #[inline]
    pub(super) fn extend(&mut self, descriptors: impl Iterator<Item = T>) {
        // Copies, which no store through a pointer can change: they stay in registers from one descriptor to the next.
        let (first, mask, mut next) = (self.shared.descriptors, self.shared.mask, self.next);
        descriptors.for_each(|descriptor| {
            // SAFETY: the masked index is below the number of descriptors, all in one mapping.
            let slot = unsafe { first.add((next & mask) as usize) };
            // SAFETY: a slot past the producer index belongs to user space until it is published.
            unsafe { slot.write(descriptor) };
            next = next.wrapping_add(1);
        });
        debug_assert!(
            next.wrapping_sub(self.consumed) <= mask + 1,
            "more descriptors than there was room for"
        );
        self.next = next;
    }

    /// Shows the kernel everything pushed so far.
    #[inline]
    pub(super) fn publish(&mut self) {
        if self.published != self.next {
            self.shared.producer().store(self.next, Ordering::Release);
            self.published = self.next;
        }
    }

    /// Whether the kernel may still have descriptors to take. It may tell late that it has taken some.
    #[inline]
    pub(super) fn is_pending(&self) -> bool {
        self.shared.consumer().load(Ordering::Acquire) != self.published
    }

    /// What was pushed last, the newest first: as many descriptors as the ring holds.
    pub(super) fn newest(&self) -> impl Iterator<Item = T>
    where
        T: Copy,
    {
        (1..=self.shared.mask + 1).map(|back| {
            // SAFETY: a slot of the mapping, in zeroed memory of the kernel's or written by us. The kernel only reads it.
            unsafe { self.shared.slot(self.next.wrapping_sub(back)).read() }
        })
    }

    /// Whether the kernel asks to be woken for this ring (`XDP_USE_NEED_WAKEUP`).
    #[inline]
    pub(super) fn needs_wakeup(&self) -> bool {
        self.shared.flags().load(Ordering::Relaxed) & XDP_RING_NEED_WAKEUP != 0
    }
}

/// A ring that the kernel fills: completion ring or RX ring.
#[derive(Debug)]
pub(super) struct Consumer<T> {
    shared: Shared<T>,
    /// Index of the next descriptor to read.
    next: u32,
    /// The producer index as last read.
    produced: u32,
}

impl<T: Copy> Consumer<T> {
    /// Takes over a ring that libxdp mapped.
    ///
    /// # Safety
    /// `ring` must be mapped, hold descriptors of type `T`, outlive the result, and have no other user-side consumer.
    pub(super) unsafe fn new(ring: &xsk_ring_cons) -> Option<Self> {
        // SAFETY: handed on from our own contract.
        let shared = unsafe { Shared::new(ring.producer, ring.consumer, ring.flags, ring.ring, ring.mask) }?;
        let next = shared.consumer().load(Ordering::Relaxed);
        Some(Self { shared, next, produced: next })
    }

    /// Descriptors that can be popped now, at least those there were when the ring was last found empty.
    #[inline]
    pub(super) fn available(&mut self) -> u32 {
        if self.produced == self.next {
            self.produced = self.shared.producer().load(Ordering::Acquire);
        }
        self.produced.wrapping_sub(self.next)
    }

    /// Descriptors that the kernel has put there and nobody has taken.
    pub(super) fn untaken(&self) -> u32 {
        self.shared.producer().load(Ordering::Acquire).wrapping_sub(self.next)
    }

    /// Reads the next descriptor. There must be one; its slot goes back to the kernel by [`Self::release`].
    #[inline]
    pub(super) fn pop(&mut self) -> T {
        debug_assert!(self.produced != self.next);
        // SAFETY: a slot between consumer and producer index belongs to user space and was written by the kernel.
        let descriptor = unsafe { self.shared.slot(self.next).read() };
        self.next = self.next.wrapping_add(1);
        descriptor
    }

    /// Reads the next `count` descriptors, of which there must be as many: those up to the end of the ring, then those
    /// from its beginning. Their slots go back to the kernel by [`Self::release`].
    #[inline]
    pub(super) fn pop_runs(&mut self, count: u32) -> [&[T]; 2] {
        assert!(count <= self.produced.wrapping_sub(self.next), "fewer descriptors than were asked for");
        let start = self.next & self.shared.mask;
        let first = count.min(self.shared.mask + 1 - start);
        self.next = self.next.wrapping_add(count);
        let run = |start: u32, len: u32| {
            // SAFETY: as for `slot`; both runs are inside the mapping.
            let start = unsafe { self.shared.descriptors.add(start as usize) };
            // SAFETY: slots between consumer and producer index belong to user space, and were written by the kernel, until
            // they are released, which the borrow of `self` does not allow.
            unsafe { std::slice::from_raw_parts(start.as_ptr(), len as usize) }
        };
        [run(start, first), run(0, count - first)]
    }

    /// Gives the kernel back the slots of everything popped so far.
    #[inline]
    pub(super) fn release(&mut self) {
        self.shared.consumer().store(self.next, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ptr::{from_mut, null_mut};

    /// A ring in ordinary memory, with the test in the kernel's role.
    struct Memory {
        producer: u32,
        consumer: u32,
        flags: u32,
        slots: [u64; 8],
    }

    impl Memory {
        fn starting_at(index: u32) -> Box<Self> {
            Box::new(Self { producer: index, consumer: index, flags: 0, slots: [0; 8] })
        }

        fn raw(&mut self) -> xsk_ring_prod {
            xsk_ring_prod {
                cached_prod: 0,
                cached_cons: 0,
                mask: 7,
                size: 8,
                producer: from_mut(&mut self.producer),
                consumer: from_mut(&mut self.consumer),
                ring: from_mut(&mut self.slots).cast(),
                flags: from_mut(&mut self.flags),
            }
        }
    }

    fn as_consumer(ring: &xsk_ring_prod) -> xsk_ring_cons {
        xsk_ring_cons {
            cached_prod: 0,
            cached_cons: 0,
            mask: ring.mask,
            size: ring.size,
            producer: ring.producer,
            consumer: ring.consumer,
            ring: ring.ring,
            flags: ring.flags,
        }
    }

    /// One side's producer feeds the other's consumer across the wrap of the 32-bit indices, never losing, never
    /// overtaking, with batches that do not divide the ring.
    #[test]
    fn indices_wrap() {
        let mut memory = Memory::starting_at(u32::MAX - 20);
        let raw = memory.raw();
        // SAFETY: `memory` outlives both, and each role is taken once.
        let mut producer = unsafe { Producer::<u64>::new(&raw) }.unwrap();
        // SAFETY: as above.
        let mut consumer = unsafe { Consumer::<u64>::new(&as_consumer(&raw)) }.unwrap();
        let (mut sent, mut received) = (0u64, 0u64);
        for round in 0..1_000u32 {
            let batch = producer.room(8).min(1 + round % 8);
            if round % 2 == 0 {
                producer.extend(sent..sent + u64::from(batch));
                sent += u64::from(batch);
            } else {
                for _ in 0..batch {
                    producer.push(sent);
                    sent += 1;
                }
            }
            assert_eq!(consumer.available(), u32::try_from(sent - u64::from(batch) - received).unwrap());
            producer.publish();
            if round % 5 == 0 {
                let count = consumer.available();
                for descriptor in consumer.pop_runs(count).concat() {
                    assert_eq!(descriptor, received);
                    received += 1;
                }
            }
            while consumer.available() > u32::from(round % 3 == 0) {
                assert_eq!(consumer.pop(), received);
                received += 1;
            }
            consumer.release();
        }
        assert!(sent - received <= 8 && sent > 1_000);
    }

    /// A full ring has no room, an empty one all of it, whatever the index.
    #[test]
    fn room_is_exact() {
        for start in [0, 5, u32::MAX - 3, u32::MAX] {
            let mut memory = Memory::starting_at(start);
            let raw = memory.raw();
            // SAFETY: `memory` outlives it, and it is the only producer.
            let mut producer = unsafe { Producer::<u64>::new(&raw) }.unwrap();
            for pushed in 0..8 {
                assert_eq!(producer.room(1), 8 - pushed);
                producer.push(0);
            }
            assert_eq!(producer.room(1), 0);
            memory.consumer = start.wrapping_add(3);
            assert_eq!(producer.room(1), 3);
        }
    }

    #[test]
    fn unmapped_rings_are_refused() {
        let mut memory = Memory::starting_at(0);
        let mut raw = memory.raw();
        raw.ring = null_mut();
        // SAFETY: nothing is read through a null ring: it is refused.
        assert!(unsafe { Producer::<u64>::new(&raw) }.is_none());
    }

    #[test]
    fn wakeup_flag_is_read() {
        let mut memory = Memory::starting_at(0);
        let raw = memory.raw();
        // SAFETY: `memory` outlives it, and it is the only producer.
        let producer = unsafe { Producer::<u64>::new(&raw) }.unwrap();
        assert!(!producer.needs_wakeup());
        memory.flags = XDP_RING_NEED_WAKEUP;
        assert!(producer.needs_wakeup());
    }
}
