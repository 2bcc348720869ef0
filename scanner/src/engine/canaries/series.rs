//! The slots of a scan, one after the other: the last ones each, the earlier ones merged.
//!
//! The scan's own thread looks at the workers' counts some times in each slot. A slot is open as long as answers to its
//! canaries may come: its number is not used again for that time. What always holds: each canary, and each answer, is
//! in one slot. What is kept does not grow with the scan: when there are too many slots, each two of them become one.

use std::collections::VecDeque;
use std::time::Duration;

use super::cells::{NUMBERS, Tally};
use super::slot::Slot;

/// How long a slot is. Lower: fewer canaries in each, and late answers are mistaken for those of another slot. Higher:
/// a change is seen later.
pub const SLOT: Duration = Duration::from_millis(200);
/// Most slots that are kept for the whole scan. Fewer: the series is coarser. More: longer metadata.
const KEPT: usize = 240;

/// What the workers together have counted, apart from canaries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Probes that were completed.
    pub probes: u64,
    /// Frames that were received.
    pub received: u64,
    /// Frames that this host is known to have lost.
    pub own_losses: u64,
}

/// The slots of a scan.
#[derive(Clone, Debug)]
pub struct Series {
    /// Those whose answers may still come, the oldest first. The last one is in progress.
    open: VecDeque<Slot>,
    /// The number of the slot in progress; `None` before the first look.
    at: Option<u64>,
    /// For each number, the counts when it was last free.
    free: [Tally; NUMBERS],
    /// The counts when the slot in progress began.
    begun: Load,
    /// Closed slots, merged.
    closed: Vec<Slot>,
    /// How many slots the newest of them has, and how many it may get.
    filled: usize,
    per: usize,
    /// All closed slots in one.
    total: Slot,
}

impl Default for Series {
    fn default() -> Self {
        Self {
            open: VecDeque::with_capacity(NUMBERS),
            at: None,
            free: [Tally::default(); NUMBERS],
            begun: Load::default(),
            closed: Vec::with_capacity(KEPT),
            filled: 0,
            per: 1,
            total: Slot::default(),
        }
    }
}

impl Series {
    /// Follows the time: `load` and what `read` gives for a slot's number are the counts at `now`. Returns whether a
    /// slot has ended.
    pub fn look(&mut self, now: Duration, load: Load, read: impl Fn(u64) -> Tally) -> bool {
        let slot = (now.as_nanos() / SLOT.as_nanos()) as u64;
        let before = self.at.replace(slot);
        let has_ended = before != Some(slot);
        if has_ended {
            self.tell(before, load);
            // After a time in which this thread did not run, only as many slots as have numbers.
            let first =
                before.map_or(slot, |before| (before + 1).max(slot.saturating_sub(NUMBERS as u64 - 1)));
            for slot in first..=slot {
                self.begin(slot, load, &read);
            }
        }
        if let Some(current) = self.open.back_mut() {
            current.length = now.saturating_sub(current.start).min(SLOT);
        }
        self.tell(Some(slot), load);
        self.refresh(slot, read);
        has_ended
    }

    /// Notes what the slot in progress has had so far.
    fn tell(&mut self, slot: Option<u64>, load: Load) {
        if let Some(current) = self.open.back_mut().filter(|_| slot.is_some()) {
            current.probes = load.probes.saturating_sub(self.begun.probes);
            current.received = load.received.saturating_sub(self.begun.received);
            current.own_losses = load.own_losses.saturating_sub(self.begun.own_losses);
        }
    }

    /// Begins a slot. The number of the next one has to be free by then, so the slot that had it before is closed.
    fn begin(&mut self, slot: u64, load: Load, read: &impl Fn(u64) -> Tally) {
        if let Some(current) = self.open.back_mut() {
            current.length = SLOT;
        }
        if !self.open.is_empty() {
            self.begun = load;
        }
        if self.open.len() == NUMBERS - 1 {
            self.close(slot + 1, read(slot + 1));
        }
        self.open.push_back(Slot { start: SLOT * slot as u32, ..Slot::default() });
    }

    /// Closes the oldest slot, whose number the slot `next` is to have. The counts of that number are `now`.
    fn close(&mut self, next: u64, now: Tally) {
        let before = std::mem::replace(&mut self.free[(next % NUMBERS as u64) as usize], now);
        if let Some(mut slot) = self.open.pop_front() {
            fill(&mut slot, &now.since(&before));
            self.keep(&slot);
        }
    }

    fn keep(&mut self, slot: &Slot) {
        if self.total.length.is_zero() {
            self.total = *slot;
        } else {
            self.total.extend(slot);
        }
        match self.closed.last_mut().filter(|_| self.filled < self.per) {
            Some(last) => last.extend(slot),
            None => {
                if self.closed.len() == KEPT {
                    self.halve();
                }
                self.closed.push(*slot);
                self.filled = 0;
            }
        }
        self.filled += 1;
    }

    fn halve(&mut self) {
        let halves = self.closed.chunks(2).map(|two| {
            let mut one = two[0];
            two[1..].iter().for_each(|next| one.extend(next));
            one
        });
        self.closed = halves.collect();
        self.per *= 2;
    }

    /// Counts what the open slots have got so far.
    fn refresh(&mut self, slot: u64, read: impl Fn(u64) -> Tally) {
        let count = self.open.len() as u64;
        for (open, number) in self.open.iter_mut().zip(slot + 1 - count..) {
            fill(open, &read(number).since(&self.free[(number % NUMBERS as u64) as usize]));
        }
    }

    /// Closes all slots: nothing is counted any more.
    pub fn finish(&mut self, now: Duration, load: Load, read: impl Fn(u64) -> Tally) {
        self.look(now, load, &read);
        // In a short scan, and after this thread was late, some numbers belong to no open slot.
        let slot = self.at.unwrap_or_default();
        for other in slot + 1..=slot + NUMBERS as u64 - self.open.len() as u64 {
            let rest = read(other).since(&self.free[(other % NUMBERS as u64) as usize]);
            if let Some(last) = self.open.back_mut() {
                let mut more = Slot { start: last.end(), ..Slot::default() };
                fill(&mut more, &rest);
                last.extend(&more);
            }
        }
        while let Some(slot) = self.open.pop_front() {
            self.keep(&slot);
        }
    }

    /// The slots whose answers may still come, the oldest first. The last one is in progress.
    pub fn open(&self) -> impl ExactSizeIterator<Item = &Slot> {
        self.open.iter()
    }

    /// The closed slots, the oldest first. Early ones are of one length, and longer in a longer scan.
    pub fn closed(&self) -> &[Slot] {
        &self.closed
    }

    /// All closed slots in one.
    pub fn total(&self) -> &Slot {
        &self.total
    }
}

fn fill(slot: &mut Slot, tally: &Tally) {
    (slot.sent, slot.answered) = (tally.sent, tally.answered);
    (slot.refused, slot.errors, slot.rtts) = (tally.refused, tally.errors, tally.rtts);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::cells::{Answer, Cells};
    use super::*;

    fn slot_of(slot: u64) -> Duration {
        SLOT * slot as u32
    }

    proptest! {
        /// Whatever is sent and answered, and however seldom this thread runs: each canary and each answer is in one
        /// slot. If it runs in each slot, each is in its own, although answers are up to six slots late.
        #[test]
        fn each_in_one_slot(
            canaries in prop::collection::vec((0u64..700, 0u64..7, any::<bool>()), 0..400),
            stalls in any::<bool>(),
        ) {
            let (cells, mut series) = ([Cells::default(), Cells::default()], Series::default());
            let read = |slot| {
                let mut sum = cells[0].read(slot);
                sum.add(&cells[1].read(slot));
                sum
            };
            for slot in 0..800u64 {
                let load = |slot: u64| Load { probes: 10 * slot, received: slot, own_losses: slot / 2 };
                if !stalls || slot % 13 < 3 {
                    series.look(slot_of(slot), load(slot), read);
                }
                for (at, (sent, late, is_answered)) in canaries.iter().enumerate() {
                    if *sent == slot {
                        cells[at % 2].sent(slot, 1);
                    }
                    if sent + late == slot && *is_answered {
                        cells[(at + 1) % 2].answered((sent % 8) as u32, Answer::Alike, Some(900));
                    }
                }
                if !stalls || slot % 13 < 3 {
                    series.look(slot_of(slot) + SLOT / 2, load(slot), read);
                }
            }
            let load = Load { probes: 9_000, received: 900, own_losses: 450 };
            series.finish(slot_of(800), load, read);
            let answered = canaries.iter().filter(|(_, _, is_answered)| *is_answered).count() as u64;
            let total = series.total();
            prop_assert_eq!((total.sent, total.answered), (canaries.len() as u64, answered));
            prop_assert_eq!((total.rtts.count(), total.probes, total.received), (answered, 9_000, 900));
            prop_assert!(series.closed().len() <= KEPT && series.open().len() == 0);
            let sum = |count: fn(&Slot) -> u64| series.closed().iter().map(count).sum::<u64>();
            prop_assert_eq!((sum(|slot| slot.sent), sum(|slot| slot.answered)), (total.sent, total.answered));
            prop_assert_eq!(sum(|slot| slot.own_losses), total.own_losses);
            if !stalls {
                for slot in series.closed() {
                    let own = |sent: &u64| slot_of(*sent) >= slot.start && slot_of(*sent) < slot.end();
                    let sent = canaries.iter().filter(|(sent, _, _)| own(sent));
                    let answered = sent.clone().filter(|(_, _, is_answered)| *is_answered).count() as u64;
                    prop_assert_eq!((slot.sent, slot.answered), (sent.count() as u64, answered));
                }
            }
        }
    }

    /// The slot that has just ended is told at once, with what is known of it by then.
    #[test]
    fn an_open_slot_is_seen() {
        let (cells, mut series) = (Cells::default(), Series::default());
        let read = |slot| cells.read(slot);
        assert!(series.look(Duration::from_millis(20), Load::default(), read));
        cells.sent(0, 5);
        cells.answered(0, Answer::Refused, None);
        let load = Load { probes: 100, received: 9, own_losses: 1 };
        assert!(!series.look(SLOT - Duration::from_millis(20), load, read));
        assert!(series.look(SLOT, load, read));
        let slots: Vec<_> = series.open().copied().collect();
        assert_eq!((slots.len(), slots[0].length, slots[0].probes, slots[1].probes), (2, SLOT, 100, 0));
        assert_eq!((slots[0].sent, slots[0].unanswered(), slots[0].own_loss()), (5, 4, 0.1));
        assert_eq!((slots[0].loss(), slots[1].loss()), (0.8, 0.0));
    }
}
