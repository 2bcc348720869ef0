//! The arithmetic of ring indices: free-running 32-bit numbers, which wrap at 2^32.
//!
//! A ring has a power of two of slots, at most 2^31; its mask is one less. What always holds: the producer's index is
//! at most as many ahead of the consumer's as there are slots. From this follows, also across the wrap, what `proofs`
//! states for all indices.

/// How far `ahead` is ahead of `behind`.
#[inline(always)]
pub(crate) fn distance(behind: u32, ahead: u32) -> u32 {
    ahead.wrapping_sub(behind)
}

/// Free slots of a ring with this mask, whose producer is at `next` and whose consumer is at `consumed`.
#[inline(always)]
pub(crate) fn room(mask: u32, next: u32, consumed: u32) -> u32 {
    mask + 1 - distance(consumed, next)
}

/// The slot of an index.
#[inline(always)]
pub(crate) fn slot(mask: u32, index: u32) -> usize {
    (index & mask) as usize
}

/// The slots of `count` indices from `next` on, at most as many as there are: the first slot and the number of those up
/// to the end of the ring, and the number of those from its beginning.
#[inline(always)]
pub(crate) fn runs(mask: u32, next: u32, count: u32) -> (usize, [u32; 2]) {
    let start = slot(mask, next);
    let first = count.min(mask + 1 - start as u32);
    (start, [first, count - first])
}

/// Proofs for all indices and all lengths of a ring, by Kani (`cargo kani`).
#[cfg(kani)]
mod proofs {
    use super::*;

    /// The mask of any ring.
    fn mask() -> u32 {
        let bits: u32 = kani::any();
        kani::assume(bits < 32);
        (1 << bits) - 1
    }

    /// Indices that can be those of a ring: the consumer's, and the producer's.
    fn indices(mask: u32) -> [u32; 2] {
        let [consumed, next]: [u32; 2] = kani::any();
        kani::assume(distance(consumed, next) <= mask + 1);
        [consumed, next]
    }

    /// A ring is full, empty or between, and what is free and what is not are all of its slots.
    #[kani::proof]
    fn every_slot_is_free_or_not() {
        let mask = mask();
        let [consumed, next] = indices(mask);
        let room = room(mask, next, consumed);
        assert!(room <= mask + 1);
        assert_eq!(room + distance(consumed, next), mask + 1);
        // Whatever is pushed into that room leaves the indices as they may be.
        let pushed: u32 = kani::any();
        kani::assume(pushed <= room);
        assert!(distance(consumed, next.wrapping_add(pushed)) <= mask + 1);
    }

    /// What is pushed where there is room overwrites nothing that was not consumed, and nothing that was just pushed.
    #[kani::proof]
    fn nothing_is_overwritten() {
        let mask = mask();
        let [consumed, next] = indices(mask);
        let room = room(mask, next, consumed);
        let [one, other]: [u32; 2] = kani::any();
        kani::assume(one < room);
        let written = slot(mask, next.wrapping_add(one));
        assert!(written <= mask as usize);
        if other < distance(consumed, next) {
            assert_ne!(written, slot(mask, consumed.wrapping_add(other)));
        }
        if other < room && other != one {
            assert_ne!(written, slot(mask, next.wrapping_add(other)));
        }
    }

    /// The runs are inside the ring, and have the slots of the indices in their order.
    #[kani::proof]
    fn runs_are_the_slots_in_order() {
        let mask = mask();
        let [next, count, at]: [u32; 3] = kani::any();
        kani::assume(count <= mask + 1 && at < count);
        let (start, [first, second]) = runs(mask, next, count);
        assert_eq!(first + second, count);
        assert!(start + first as usize <= mask as usize + 1 && second as usize <= start);
        let found = if at < first { start + at as usize } else { (at - first) as usize };
        assert_eq!(found, slot(mask, next.wrapping_add(at)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All states of small rings, with indices on both sides of the wrap: what the proofs say, by trying.
    #[test]
    fn small_rings() {
        for mask in [0_u32, 1, 3, 7] {
            let len = mask + 1;
            for (consumed, used) in (0..3 * len).flat_map(|at| (0..=len).map(move |used| (at, used))) {
                let consumed = consumed.wrapping_sub(2 * len);
                let next = consumed.wrapping_add(used);
                assert_eq!(room(mask, next, consumed), len - used);
                let taken: Vec<usize> = (0..used).map(|i| slot(mask, consumed.wrapping_add(i))).collect();
                let free: Vec<usize> = (0..len - used).map(|i| slot(mask, next.wrapping_add(i))).collect();
                let mut all = [taken.clone(), free].concat();
                all.sort_unstable();
                assert!(all.into_iter().eq(0..len as usize), "each slot is free or not");
                let (start, [first, second]) = runs(mask, consumed, used);
                let in_runs = (start..start + first as usize).chain(0..second as usize);
                assert!(in_runs.eq(taken));
            }
        }
    }
}
