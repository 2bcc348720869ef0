//! The four rings of an AF_XDP socket as seen from user space.
//!
//! A ring is an array of descriptors and two free-running 32-bit indices, shared with the kernel through a mapping
//! (Documentation/networking/af_xdp.rst). User space produces on the fill and TX rings and consumes from the completion
//! and RX rings. What always holds:
//!
//! - each ring has one user-side owner, which keeps its own copies of both indices and touches the shared ones only to
//!   learn more room or to publish a batch;
//! - indices wrap at 2^32 and are only ever compared by their distance (`index`);
//! - a descriptor is written before the producer index that covers it (release) and read after it (acquire).

use std::io;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::net::xdp::{XdpRingFlags, XdpRingOffset};
use zerocopy::FromBytes;

use crate::index;
use crate::mapping::Mapping;

const NEED_WAKEUP: u32 = XdpRingFlags::XDP_RING_NEED_WAKEUP.bits();

/// The shared part of a ring.
#[derive(Debug)]
struct Shared<T> {
    producer: NonNull<AtomicU32>,
    consumer: NonNull<AtomicU32>,
    flags: NonNull<AtomicU32>,
    descriptors: NonNull<T>,
    mask: u32,
    /// The memory that the pointers point into.
    _memory: Arc<Mapping>,
}

// SAFETY: the pointers lead into memory that goes along, and that is tied to no thread. User space's side of a ring
// has one owner, which may be moved.
unsafe impl<T: Send> Send for Shared<T> {}

impl<T: FromBytes> Shared<T> {
    /// The ring of `len` descriptors, a power of two, whose parts lie in `memory` at these offsets.
    fn new(memory: Arc<Mapping>, offsets: &XdpRingOffset, len: u32) -> io::Result<Self> {
        let outside = || io::Error::other("a part of the ring lies outside its mapping");
        let index = |offset| memory.place(offset, 1).ok_or_else(outside);
        let too_old = || io::Error::new(io::ErrorKind::Unsupported, "AF_XDP rings need Linux 5.4 or later");
        let flags = offsets.flags.ok_or_else(too_old)?;
        let odd = || io::Error::new(io::ErrorKind::InvalidInput, "the length of a ring is no power of two");
        let mask = len.checked_sub(1).filter(|_| len.is_power_of_two()).ok_or_else(odd)?;
        Ok(Self {
            producer: index(offsets.producer)?,
            consumer: index(offsets.consumer)?,
            flags: index(flags)?,
            descriptors: memory.place(offsets.desc, len as usize).ok_or_else(outside)?,
            mask,
            _memory: memory,
        })
    }

    /// Maps a ring of a socket: `page` is the offset that selects it in `mmap`.
    fn map(socket: impl AsFd, page: u64, offsets: &XdpRingOffset, len: u32) -> io::Result<Self> {
        let bytes = offsets.desc as usize + len as usize * size_of::<T>();
        Self::new(Arc::new(Mapping::of_descriptor(socket, bytes, page)?), offsets, len)
    }
}

/// Both sides of a ring of `len` descriptors, a power of two, in ordinary memory: the kernel has no part in it. Its
/// indices begin at `first`.
pub(crate) fn pair<T: FromBytes + Copy>(len: u32, first: u32) -> io::Result<(Producer<T>, Consumer<T>)> {
    /// Bytes from an index to the next: a cache line each, as the kernel has them.
    const LINE: u64 = 64;
    let offsets = XdpRingOffset { producer: 0, consumer: LINE, flags: Some(2 * LINE), desc: 3 * LINE };
    let memory = Arc::new(Mapping::anonymous(offsets.desc as usize + len as usize * size_of::<T>())?);
    let shared = Shared::new(Arc::clone(&memory), &offsets, len)?;
    shared.producer().store(first, Ordering::Relaxed);
    shared.consumer().store(first, Ordering::Relaxed);
    Ok((Producer::new(shared), Consumer::new(Shared::new(memory, &offsets, len)?)))
}

impl<T> Shared<T> {
    fn producer(&self) -> &AtomicU32 {
        // SAFETY: inside the mapping and aligned, as `new` has checked; the kernel accesses it atomically, too.
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
        unsafe { self.descriptors.add(index::slot(self.mask, index)) }
    }
}

/// A ring that user space fills: fill ring or TX ring.
#[derive(Debug)]
pub(crate) struct Producer<T> {
    shared: Shared<T>,
    /// Index of the next descriptor to write.
    next: u32,
    /// The value of `next` when it was last published.
    published: u32,
    /// The consumer index as last read.
    consumed: u32,
}

impl<T: FromBytes> Producer<T> {
    /// Maps a ring of a socket. `page` is the offset that selects the ring in `mmap`, `len` the number of its
    /// descriptors.
    ///
    /// # Safety
    /// The socket's ring must be one that user space fills, and nothing else may do so.
    pub(crate) unsafe fn map(
        socket: impl AsFd,
        page: u64,
        offsets: &XdpRingOffset,
        len: u32,
    ) -> io::Result<Self> {
        Shared::map(socket, page, offsets, len).map(Self::new)
    }

    fn new(shared: Shared<T>) -> Self {
        let next = shared.producer().load(Ordering::Relaxed);
        let consumed = shared.consumer().load(Ordering::Acquire);
        Self { shared, next, published: next, consumed }
    }

    /// Descriptors that can be pushed now; the kernel's index is read only when fewer than `wanted` are known free.
    #[inline]
    pub(crate) fn room(&mut self, wanted: u32) -> u32 {
        let known = index::room(self.shared.mask, self.next, self.consumed);
        if known >= wanted {
            return known;
        }
        self.consumed = self.shared.consumer().load(Ordering::Acquire);
        index::room(self.shared.mask, self.next, self.consumed)
    }

    /// Writes the next descriptor. There must be room for it; the kernel sees it after [`Self::publish`].
    #[inline]
    pub(crate) fn push(&mut self, descriptor: T) {
        debug_assert!(index::distance(self.consumed, self.next) <= self.shared.mask);
        // SAFETY: a slot past the producer index belongs to user space until it is published.
        unsafe { self.shared.slot(self.next).write(descriptor) };
        self.next = self.next.wrapping_add(1);
    }

    /// Writes a descriptor for each item, one after the other. There must be room for all of them.
    #[inline]
    pub(crate) fn extend(&mut self, descriptors: impl Iterator<Item = T>) {
        // Copies, which no store through a pointer can change: they stay in registers from one descriptor to the next.
        let (first, mask, mut next) = (self.shared.descriptors, self.shared.mask, self.next);
        descriptors.for_each(|descriptor| {
            // SAFETY: the masked index is below the number of descriptors, all in one mapping.
            let slot = unsafe { first.add(index::slot(mask, next)) };
            // SAFETY: a slot past the producer index belongs to user space until it is published.
            unsafe { slot.write(descriptor) };
            next = next.wrapping_add(1);
        });
        debug_assert!(
            index::distance(self.consumed, next) <= mask + 1,
            "more descriptors than the ring has room for"
        );
        self.next = next;
    }

    /// Makes everything pushed so far visible to the kernel.
    #[inline]
    pub(crate) fn publish(&mut self) {
        if self.published != self.next {
            self.shared.producer().store(self.next, Ordering::Release);
            self.published = self.next;
        }
    }

    /// Whether the kernel may still have descriptors to take. It may report late that it has taken some.
    #[inline]
    pub(crate) fn is_pending(&self) -> bool {
        self.shared.consumer().load(Ordering::Acquire) != self.published
    }

    /// What was pushed last, the newest first: as many descriptors as the ring holds.
    pub(crate) fn newest(&self) -> impl Iterator<Item = T>
    where
        T: Copy,
    {
        (1..=self.shared.mask + 1).map(|back| {
            // SAFETY: a slot of the mapping, and any bytes are a descriptor. The kernel only reads it.
            unsafe { self.shared.slot(self.next.wrapping_sub(back)).read() }
        })
    }

    /// Whether the kernel asks to be woken for this ring (`XDP_USE_NEED_WAKEUP`).
    #[inline]
    pub(crate) fn needs_wakeup(&self) -> bool {
        self.shared.flags().load(Ordering::Relaxed) & NEED_WAKEUP != 0
    }
}

/// A ring that the kernel fills: completion ring or RX ring.
#[derive(Debug)]
pub(crate) struct Consumer<T> {
    shared: Shared<T>,
    /// Index of the next descriptor to read.
    next: u32,
    /// The producer index as last read.
    produced: u32,
}

impl<T: FromBytes + Copy> Consumer<T> {
    /// Maps a ring of a socket. `page` is the offset that selects the ring in `mmap`, `len` the number of its
    /// descriptors.
    ///
    /// # Safety
    /// The socket's ring must be one that the kernel fills, and nothing else may consume from it.
    pub(crate) unsafe fn map(
        socket: impl AsFd,
        page: u64,
        offsets: &XdpRingOffset,
        len: u32,
    ) -> io::Result<Self> {
        Shared::map(socket, page, offsets, len).map(Self::new)
    }

    fn new(shared: Shared<T>) -> Self {
        let next = shared.consumer().load(Ordering::Relaxed);
        Self { shared, next, produced: next }
    }

    /// In the kernel's role: asks the producer to wake this side for what it publishes, or no longer.
    pub(crate) fn ask_for_wakeups(&self, wanted: bool) {
        self.shared.flags().store(if wanted { NEED_WAKEUP } else { 0 }, Ordering::Relaxed);
    }

    /// Descriptors that can be popped now: at least those that were in the ring when it was last found empty.
    #[inline]
    pub(crate) fn available(&mut self) -> u32 {
        if self.produced == self.next {
            self.produced = self.shared.producer().load(Ordering::Acquire);
        }
        index::distance(self.next, self.produced)
    }

    /// Descriptors that the kernel has put there and nobody has taken.
    pub(crate) fn untaken(&self) -> u32 {
        index::distance(self.next, self.shared.producer().load(Ordering::Acquire))
    }

    /// Reads the next descriptor. There must be one. [`Self::release`] returns its slot to the kernel.
    #[inline]
    pub(crate) fn pop(&mut self) -> T {
        debug_assert!(self.produced != self.next);
        // SAFETY: a slot between consumer and producer index belongs to user space and was written by the kernel.
        let descriptor = unsafe { self.shared.slot(self.next).read() };
        self.next = self.next.wrapping_add(1);
        descriptor
    }

    /// Reads the next `count` descriptors; there must be that many. Returns those up to the end of the ring, then those
    /// from its beginning. [`Self::release`] returns their slots to the kernel.
    #[inline]
    pub(crate) fn pop_runs(&mut self, count: u32) -> [&[T]; 2] {
        assert!(count <= index::distance(self.next, self.produced), "fewer descriptors than were asked for");
        let (start, [first, second]) = index::runs(self.shared.mask, self.next, count);
        self.next = self.next.wrapping_add(count);
        let run = |start: usize, len: u32| {
            // SAFETY: as for `slot`; both runs are inside the mapping.
            let start = unsafe { self.shared.descriptors.add(start) };
            // SAFETY: slots between consumer and producer index belong to user space, and were written by the kernel,
            // until they are released, which the borrow of `self` does not allow.
            unsafe { std::slice::from_raw_parts(start.as_ptr(), len as usize) }
        };
        [run(start, first), run(0, second)]
    }

    /// Returns the slots of everything popped so far to the kernel.
    #[inline]
    pub(crate) fn release(&mut self) {
        self.shared.consumer().store(self.next, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One side's producer feeds the other's consumer across the wrap of the 32-bit indices. Nothing is lost and
    /// nothing overtakes, with batches that do not divide the ring.
    #[test]
    fn indices_wrap() {
        let (mut producer, mut consumer) = pair::<u64>(8, u32::MAX - 20).unwrap();
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

    /// A full ring has no room and an empty one has room for all its descriptors, whatever the index.
    #[test]
    fn room_is_exact() {
        for start in [0, 5, u32::MAX - 3, u32::MAX] {
            let (mut producer, mut consumer) = pair::<u64>(8, start).unwrap();
            for pushed in 0..8 {
                assert_eq!(producer.room(1), 8 - pushed);
                producer.push(0);
            }
            assert_eq!(producer.room(1), 0);
            producer.publish();
            assert_eq!(consumer.available(), 8);
            consumer.pop_runs(3);
            assert_eq!(producer.room(1), 0, "nothing is returned yet");
            consumer.release();
            assert_eq!(producer.room(1), 3);
        }
    }

    /// The newest descriptors come first, also those before the wrap.
    #[test]
    fn newest_first() {
        let (mut producer, _consumer) = pair::<u64>(4, u32::MAX - 1).unwrap();
        producer.extend([1, 2, 3].into_iter());
        assert_eq!(producer.newest().collect::<Vec<_>>(), [3, 2, 1, 0]);
    }

    #[test]
    fn wakeup_flag_is_read() {
        let (producer, consumer) = pair::<u64>(8, 0).unwrap();
        assert!(!producer.needs_wakeup());
        consumer.ask_for_wakeups(true);
        assert!(producer.needs_wakeup());
        consumer.ask_for_wakeups(false);
        assert!(!producer.needs_wakeup());
    }

    /// Nothing outside the memory is touched, whatever offsets the kernel gives.
    #[test]
    fn rings_outside_their_memory_are_refused() {
        let good = XdpRingOffset { producer: 0, consumer: 64, flags: Some(128), desc: 192 };
        let memory = Arc::new(Mapping::anonymous(192 + 8 * 8).unwrap());
        let ring = |offsets, len| Shared::<u64>::new(Arc::clone(&memory), &offsets, len);
        assert!(ring(good, 8).is_ok());
        for (offsets, len) in [
            (good, 16),
            (good, 6),
            (good, 0),
            (XdpRingOffset { producer: 256, ..good }, 8),
            (XdpRingOffset { consumer: 66, ..good }, 8),
            (XdpRingOffset { flags: Some(u64::MAX), ..good }, 8),
            (XdpRingOffset { desc: 200, ..good }, 8),
        ] {
            assert!(ring(offsets, len).is_err(), "{offsets:?} {len}");
        }
        let old = ring(XdpRingOffset { flags: None, ..good }, 8).unwrap_err();
        assert_eq!(old.kind(), io::ErrorKind::Unsupported);
    }

    /// The two sides in threads of their own, as a program and the kernel are: a descriptor is read as it was written,
    /// once, and in its order. Miri finds a read that races with the write.
    #[test]
    fn both_sides_run_at_once() {
        let count: u64 = if cfg!(miri) { 300 } else { 300_000 };
        let (mut producer, mut consumer) = pair::<[u64; 2]>(8, u32::MAX - 99).unwrap();
        let sending = std::thread::spawn(move || {
            let mut sent = 0;
            while sent < count {
                let batch = u64::from(producer.room(3)).min(1 + sent % 5).min(count - sent);
                match sent % 2 {
                    0 => producer.extend((sent..sent + batch).map(|number| [number, !number])),
                    _ => (sent..sent + batch).for_each(|number| producer.push([number, !number])),
                }
                sent += batch;
                producer.publish();
                if batch == 0 {
                    std::thread::yield_now();
                }
            }
        });
        let mut received = 0;
        while received < count {
            let available = consumer.available();
            match received % 3 {
                0 if available > 0 => {
                    assert_eq!(consumer.pop(), [received, !received]);
                    received += 1;
                }
                _ => {
                    for descriptor in consumer.pop_runs(available).into_iter().flatten() {
                        assert_eq!(*descriptor, [received, !received]);
                        received += 1;
                    }
                }
            }
            consumer.release();
            if available == 0 {
                std::thread::yield_now();
            }
        }
        sending.join().unwrap();
        assert_eq!((consumer.available(), received), (0, count));
    }

    /// The memory lives as long as either side.
    #[test]
    fn either_side_may_go_first() {
        let (mut producer, mut consumer) = pair::<u64>(8, 0).unwrap();
        producer.push(7);
        producer.publish();
        drop(producer);
        assert_eq!((consumer.available(), consumer.pop()), (1, 7));
        let (mut producer, consumer) = pair::<u64>(8, 0).unwrap();
        drop(consumer);
        producer.extend(0..8);
        producer.publish();
        assert_eq!(producer.room(8), 0);
    }
}
