//! The ring of entries between a worker and the live-frame program: a map of the kernel's, mapped into our memory.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{NonNull, null_mut};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::abi::{ENTRIES, Entry, REFUSALS, Refusal, Ring};

/// The mapping of a ring; unmapped when the last of its users goes.
#[derive(Debug)]
pub(super) struct Mapping {
    ring: NonNull<Ring>,
}

// SAFETY: the counters are atomics; entries and refusals are touched by the one [`Feed`] only.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

/// Bytes of the mapping: the map's value in whole pages.
const LEN: usize = size_of::<Ring>().next_multiple_of(4096);

impl Mapping {
    /// Maps the one value of the array map `map`, which must be that of the live-frame program.
    pub(super) fn new(map: BorrowedFd<'_>) -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping touches no memory of ours.
        let area = unsafe { libc::mmap(null_mut(), LEN, protection, libc::MAP_SHARED, map.as_raw_fd(), 0) };
        if area == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let ring = NonNull::new(area.cast()).ok_or_else(|| io::Error::other("mmap returned null"))?;
        Ok(Self { ring })
    }

    pub(super) fn ring(&self) -> &Ring {
        // SAFETY: mapped, page-aligned, as long as a ring, and every bit pattern is a valid ring.
        unsafe { self.ring.as_ref() }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this length, and nobody borrows it any more.
        unsafe { libc::munmap(self.ring.as_ptr().cast(), LEN) };
    }
}

/// What a worker learns of the entries it has fed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fate {
    /// Entries that the driver took, since the start.
    pub(super) sent: u64,
    /// Times that the driver refused an entry, since the start. Each was fed again.
    pub(super) refused: u64,
    /// Entries that were lost on the way to the driver, since the start.
    pub(super) lost: u64,
}

/// The worker's end of the ring.
#[derive(Debug)]
pub(super) struct Feed {
    mapping: Arc<Mapping>,
    head: u64,
    accounted: u64,
    refusals_read: u64,
    last_error: i32,
}

impl Feed {
    /// The only feed of a ring that nothing has gone through yet.
    pub(super) fn new(mapping: Arc<Mapping>) -> Self {
        Self { mapping, head: 0, accounted: 0, refusals_read: 0, last_error: 0 }
    }

    /// Entries that can be pushed now.
    #[inline]
    pub(super) fn room(&self) -> usize {
        ENTRIES - (self.head - self.accounted) as usize
    }

    /// Entries pushed whose fate is not known.
    #[inline]
    pub(super) fn outstanding(&self) -> u64 {
        self.head - self.accounted
    }

    /// What the driver said when it last refused an entry.
    pub(super) fn last_error(&self) -> io::Error {
        match self.last_error {
            0 => io::Error::other("it gave no reason"),
            errno => io::Error::from_raw_os_error(errno),
        }
    }

    /// Writes the next entry, for which there must be room; the program sees it after [`Self::publish`].
    #[inline]
    pub(super) fn push(&mut self, entry: Entry) {
        debug_assert!(self.room() > 0);
        let slot = self.mapping.ring().entries[self.head as usize % ENTRIES].get();
        // SAFETY: the program reads slots between `tail` and `head` only, and this one is past `head`.
        unsafe { slot.write(entry) };
        self.head += 1;
    }

    /// Shows the program everything pushed so far.
    #[inline]
    pub(super) fn publish(&self) {
        self.mapping.ring().head.store(self.head, Ordering::Release);
    }

    /// Learns what became of entries, and feeds those again that were refused.
    pub(super) fn account(&mut self) -> Fate {
        let mapping = Arc::clone(&self.mapping);
        let ring = mapping.ring();
        // First: what is read after it is at least as new.
        let accounted = ring.accounted.load(Ordering::Acquire);
        let written = ring.refusals_written.load(Ordering::Relaxed);
        let mut refused_again = 0;
        while self.refusals_read != written {
            let slot = ring.refusals[self.refusals_read as usize % REFUSALS].get();
            // SAFETY: written before `accounted` and `refusals_written`, and not again before `refusals_read` is past it.
            let refusal: Refusal = unsafe { slot.read() };
            let past = refusal.position + u64::from(refusal.count);
            if past > accounted {
                break; // newer than `accounted`: next time
            }
            for position in refusal.position..past {
                let slot = ring.entries[position as usize % ENTRIES].get();
                // SAFETY: past `tail`, so the program is done with it, and not yet given back by us.
                let entry = unsafe { slot.read() };
                refused_again += 1;
                // There is room for it where it was: its own slot and all before it are free when this is done.
                self.accounted = self.accounted.max(position + 1);
                self.push(entry);
            }
            self.refusals_read += 1;
            self.last_error = -refusal.error;
        }
        self.accounted = accounted;
        if refused_again > 0 {
            self.publish();
            ring.refusals_read.store(self.refusals_read, Ordering::Release);
        }
        Fate {
            sent: ring.sent.load(Ordering::Relaxed),
            refused: ring.refused.load(Ordering::Relaxed),
            lost: ring.lost.load(Ordering::Relaxed),
        }
    }
}
