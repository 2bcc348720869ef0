//! The ring of entries between a worker and the live-frame program: a BPF map that is mapped into our memory.

use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{NonNull, null_mut};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::abi::{ENTRIES, LiveEntry, REFUSALS, RefusedBulk, Ring};

/// The mapping of a ring. The last of its users unmaps it.
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
        // SAFETY: mapped by `new` with this length, and nothing borrows it any more.
        unsafe { libc::munmap(self.ring.as_ptr().cast(), LEN) };
    }
}

/// The outcome of the entries that a worker has fed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FeedTotals {
    /// Entries that the driver accepted, since the start.
    pub(super) sent: u64,
    /// Times that the driver refused an entry, since the start. Each was fed again.
    pub(super) refused: u64,
    /// Entries that were lost before the driver, since the start.
    pub(super) lost: u64,
}

/// The worker's end of the ring.
#[derive(Debug)]
pub(super) struct Feed {
    mapping: Arc<Mapping>,
    head: u64,
    accounted: u64,
    refusals_read: u64,
    /// Entries fed for the first time whose outcome is known, if only that they were refused.
    first_outcomes: u64,
    /// Of each slot that holds an entry which was fed again: how many entries were first fed before it. Otherwise
    /// `u64::MAX`.
    behind: Box<[u64]>,
    /// How many such entries there are.
    fed_again: usize,
    last_error: i32,
}

impl Feed {
    /// The only feed of a ring that has not been used yet.
    pub(super) fn new(mapping: Arc<Mapping>) -> Self {
        Self {
            mapping,
            head: 0,
            accounted: 0,
            refusals_read: 0,
            first_outcomes: 0,
            behind: vec![u64::MAX; ENTRIES].into_boxed_slice(),
            fed_again: 0,
            last_error: 0,
        }
    }

    /// Entries that can be pushed now.
    #[inline]
    pub(super) fn room(&self) -> usize {
        ENTRIES - (self.head - self.accounted) as usize
    }

    /// Entries pushed whose outcome is not known.
    #[inline]
    pub(super) fn outstanding(&self) -> u64 {
        self.head - self.accounted
    }

    /// Of the entries in the order in which they were first fed, how many have all been sent or lost.
    pub(super) fn left_in_order(&self) -> u64 {
        if self.fed_again == 0 {
            return self.first_outcomes;
        }
        let behind = |position| self.behind[position as usize % ENTRIES];
        (self.accounted..self.head).fold(self.first_outcomes, |all, position| all.min(behind(position)))
    }

    /// The driver's error when it last refused an entry.
    pub(super) fn last_error(&self) -> io::Error {
        match self.last_error {
            0 => io::Error::other("the driver gave no reason"),
            errno => io::Error::from_raw_os_error(errno),
        }
    }

    /// Writes the next entry. There must be room for it. The program sees it after [`Self::publish`].
    #[inline]
    pub(super) fn push(&mut self, entry: LiveEntry) {
        debug_assert!(self.room() > 0);
        let slot = self.mapping.ring().entries[self.head as usize % ENTRIES].get();
        // SAFETY: the program reads slots between `tail` and `head` only, and this one is past `head`.
        unsafe { slot.write(entry) };
        self.head += 1;
    }

    /// Makes everything pushed so far visible to the program.
    #[inline]
    pub(super) fn publish(&self) {
        self.mapping.ring().head.store(self.head, Ordering::Release);
    }

    /// Reads the outcome of entries, and feeds those again that were refused.
    pub(super) fn account(&mut self) -> FeedTotals {
        let mapping = Arc::clone(&self.mapping);
        let ring = mapping.ring();
        // This read comes first, so all later reads are at least as new.
        let accounted = ring.accounted.load(Ordering::Acquire);
        let written = ring.refusals_written.load(Ordering::Relaxed);
        let mut refused_again = 0;
        let mut from = self.accounted;
        while self.refusals_read != written {
            let slot = ring.refusals[self.refusals_read as usize % REFUSALS].get();
            // SAFETY: written before `accounted` and `refusals_written`, and not again before `refusals_read` is past
            // it.
            let refusal: RefusedBulk = unsafe { slot.read() };
            let past = refusal.position + u64::from(refusal.count);
            if past > accounted {
                break; // newer than `accounted`: next time
            }
            for position in refusal.position..past {
                let slot = ring.entries[position as usize % ENTRIES].get();
                // SAFETY: past `tail`, so the program is done with it, and not yet given back by us.
                let entry = unsafe { slot.read() };
                refused_again += 1;
                self.pass(from..position);
                let behind = self.pass_one(position);
                from = position + 1;
                // The entry's old slot has room for it: that slot and all before it are free once this loop is done.
                self.accounted = self.accounted.max(position + 1);
                self.behind[self.head as usize % ENTRIES] = behind;
                self.fed_again += 1;
                self.push(entry);
            }
            self.refusals_read += 1;
            self.last_error = -refusal.error;
        }
        self.pass(from..accounted);
        self.accounted = accounted;
        if refused_again > 0 {
            self.publish();
            ring.refusals_read.store(self.refusals_read, Ordering::Release);
        }
        FeedTotals {
            sent: ring.sent.load(Ordering::Relaxed),
            refused: ring.refused.load(Ordering::Relaxed),
            lost: ring.lost.load(Ordering::Relaxed),
        }
    }

    /// Notes that the outcome of the entries at these positions is known.
    #[inline]
    fn pass(&mut self, positions: Range<u64>) {
        if self.fed_again == 0 {
            self.first_outcomes += positions.end - positions.start;
            return;
        }
        for position in positions {
            self.pass_one(position);
        }
    }

    /// Notes that the outcome of the entry at this position is known. Returns how many were first fed before it.
    fn pass_one(&mut self, position: u64) -> u64 {
        let behind = std::mem::replace(&mut self.behind[position as usize % ENTRIES], u64::MAX);
        if behind != u64::MAX {
            self.fed_again -= 1;
            return behind;
        }
        self.first_outcomes += 1;
        self.first_outcomes - 1
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::os::fd::AsFd;

    use proptest::prelude::*;

    use super::*;

    /// The part of the live-frame program, and of the driver behind it, over a ring of ordinary memory: it accounts for
    /// entries in bulks, as `xdp-prog/live.bpf.c` does.
    struct Program {
        mapping: Arc<Mapping>,
        tail: u64,
        /// How often each entry, by the number in it, was sent.
        sent: BTreeMap<u64, u32>,
        lost: BTreeSet<u64>,
    }

    impl Program {
        /// Takes up to `count` entries as one bulk, of which the driver accepts the first `accepted`.
        fn bulk(&mut self, count: u64, accepted: u64) {
            let ring = self.mapping.ring();
            let count = count.min(ring.head.load(Ordering::Acquire) - self.tail);
            let written = ring.refusals_written.load(Ordering::Relaxed);
            if count == 0 || written - ring.refusals_read.load(Ordering::Acquire) >= REFUSALS as u64 - 2 {
                return;
            }
            let accepted = accepted.min(count);
            for position in self.tail..self.tail + accepted {
                let slot = ring.entries[position as usize % ENTRIES].get();
                // SAFETY: between `tail` and `head`, where only the program reads and nobody writes.
                let entry = unsafe { slot.read() };
                *self.sent.entry(entry.addresses).or_default() += 1;
            }
            let refused = count - accepted;
            if refused > 0 {
                let slot = ring.refusals[written as usize % REFUSALS].get();
                let position = self.tail + accepted;
                // SAFETY: past what the worker may read before `refusals_written` moves.
                unsafe { slot.write(RefusedBulk { position, count: refused as u32, error: -libc::ENOBUFS }) };
                ring.refusals_written.store(written + 1, Ordering::Release);
            }
            self.tail += count;
            ring.tail.store(self.tail, Ordering::Relaxed);
            ring.sent.fetch_add(accepted, Ordering::Relaxed);
            ring.refused.fetch_add(refused, Ordering::Relaxed);
            ring.accounted.store(self.tail, Ordering::Release);
        }

        /// Takes up to `count` entries that never reach the driver.
        fn lose(&mut self, count: u64) {
            let ring = self.mapping.ring();
            let count = count.min(ring.head.load(Ordering::Acquire) - self.tail);
            for position in self.tail..self.tail + count {
                let slot = ring.entries[position as usize % ENTRIES].get();
                // SAFETY: between `tail` and `head`, where only the program reads and nobody writes.
                let entry = unsafe { slot.read() };
                self.lost.insert(entry.addresses);
            }
            self.tail += count;
            ring.tail.store(self.tail, Ordering::Relaxed);
            ring.lost.fetch_add(count, Ordering::Relaxed);
            ring.accounted.store(self.tail, Ordering::Release);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

        /// Every entry is sent once or lost, however often it is refused before, and the ring is never overrun; also
        /// where positions pass its end. What counts as left in order has left, and all of it counts.
        #[test]
        fn each_entry_is_sent_once_or_lost(
            steps in prop::collection::vec((0_u8..8, 0_u64..3_000, 0_u64..3_000), 1..120),
        ) {
            let file = tempfile::tempfile().unwrap();
            file.set_len(LEN as u64).unwrap();
            let mapping = Arc::new(Mapping::new(file.as_fd()).unwrap());
            let mut feed = Feed::new(Arc::clone(&mapping));
            let mut program = Program { mapping, tail: 0, sent: BTreeMap::new(), lost: BTreeSet::new() };
            let mut pushed = 0;
            for (what, count, accepted) in steps {
                match what {
                    0..=2 => {
                        for _ in 0..count.min(feed.room() as u64) {
                            feed.push(LiveEntry { addresses: pushed, ..LiveEntry::default() });
                            pushed += 1;
                        }
                        feed.publish();
                    }
                    3..=5 => program.bulk(count, accepted),
                    6 if accepted < 300 => program.lose(count % 16),
                    _ => {
                        let totals = feed.account();
                        prop_assert!(feed.room() <= ENTRIES);
                        prop_assert!(program.sent.values().all(|&times| times == 1), "sent twice");
                        let (sent, lost) = (program.sent.len() as u64, program.lost.len() as u64);
                        prop_assert_eq!((totals.sent, totals.lost), (sent, lost));
                        let is_over = |entry: &u64| program.sent.contains_key(entry) || program.lost.contains(entry);
                        let first_open = (0..pushed).find(|entry| !is_over(entry)).unwrap_or(pushed);
                        prop_assert_eq!(feed.left_in_order(), first_open);
                        prop_assert_eq!(totals.sent + totals.lost + feed.outstanding(), pushed);
                    }
                }
            }
            while feed.outstanding() > 0 {
                program.bulk(u64::MAX, u64::MAX);
                feed.account();
            }
            prop_assert!(program.sent.values().all(|&times| times == 1));
            prop_assert_eq!(program.sent.len() as u64 + program.lost.len() as u64, pushed);
            prop_assert_eq!(feed.left_in_order(), pushed);
            prop_assert_eq!(feed.room(), ENTRIES);
        }
    }
}
