//! A worker's walk through the order: its lease, what it has handed over of it and when, and what is to be probed
//! again. A worker has one for the probes of all targets, and a second one in a scan with second probes.

use targets::{Cursor, Interval, Lease, Leases, Permutation, merged};

use super::super::history::History;
use super::super::standing::Stand;

/// A walk.
#[derive(Debug)]
pub(super) struct Walk {
    lease: Option<(Interval, Cursor)>,
    /// Targets that the leases before it have given.
    generated: u64,
    history: History,
    /// Intervals to probe again, the last one first, and the position of the walk through them.
    again: Vec<Interval>,
    again_cursor: Option<Cursor>,
}

impl Walk {
    pub(super) fn new() -> Self {
        Self { lease: None, generated: 0, history: History::new(), again: Vec::new(), again_cursor: None }
    }

    /// Whether there is a lease.
    #[inline]
    pub(super) fn has_lease(&self) -> bool {
        self.lease.is_some()
    }

    /// Takes the next lease. Returns what the table said.
    pub(super) fn take_lease(&mut self, leases: &Leases, permutation: &Permutation) -> Lease {
        let lease = leases.lease();
        if let Lease::Grant(interval) = lease {
            self.lease = Some((interval, Cursor::new(permutation, interval)));
        }
        lease
    }

    /// Fills `indices` from the lease; returns how many there were.
    #[inline]
    pub(super) fn fill(&mut self, leases: &Leases, indices: &mut [u64], now_ps: u64) -> usize {
        let Some((interval, cursor)) = &mut self.lease else { return 0 };
        let start = cursor.position();
        let found = cursor.fill(indices);
        self.history.push(Interval { start, end: cursor.position() }, now_ps);
        // At once, because other workers may wait for the rest of the last targets.
        if cursor.remaining().is_empty() {
            leases.finish(*interval, cursor.skipped());
            self.generated += given(*interval, cursor);
            self.lease = None;
        }
        found
    }

    /// How many targets it has given so far, without those that it gave again.
    #[inline]
    pub(super) fn generated(&self) -> u64 {
        self.generated + self.lease.as_ref().map_or(0, |(interval, cursor)| given(*interval, cursor))
    }

    /// The part of the lease that was not walked.
    #[inline]
    pub(super) fn left(&self) -> Interval {
        self.lease.as_ref().map_or(Stand::default().left, |(_, cursor)| cursor.remaining())
    }

    /// Whether there are targets to probe again.
    #[inline]
    pub(super) fn has_doubts(&self) -> bool {
        self.again_cursor.is_some() || !self.again.is_empty()
    }

    /// Adds the intervals that were handed over at `from_ps` or later to those that are probed again. Returns false if
    /// some of them are not known any more.
    #[cold]
    pub(super) fn doubt(&mut self, from_ps: u64) -> bool {
        let is_all = self.history.since(from_ps, &mut self.again);
        self.again.extend(self.again_cursor.take().map(|cursor| cursor.remaining()));
        self.again = merged(std::mem::take(&mut self.again));
        is_all
    }

    /// Fills `indices` with targets to probe again; returns how many there were.
    #[cold]
    pub(super) fn fill_again(
        &mut self,
        permutation: &Permutation,
        indices: &mut [u64],
        now_ps: u64,
    ) -> usize {
        let mut found = 0;
        while found < indices.len() {
            let Some(cursor) = &mut self.again_cursor else {
                let Some(interval) = self.again.pop() else { break };
                self.again_cursor = Some(Cursor::new(permutation, interval));
                continue;
            };
            let start = cursor.position();
            found += cursor.fill(&mut indices[found..]);
            self.history.push(Interval { start, end: cursor.position() }, now_ps);
            if cursor.remaining().is_empty() {
                self.again_cursor = None;
            }
        }
        found
    }

    /// What is in doubt at the end: what was to be probed again, and the last `unconfirmed` targets.
    pub(super) fn in_doubt(mut self, unconfirmed: u64) -> Vec<Interval> {
        self.history.newest(unconfirmed, &mut self.again);
        self.again.extend(self.again_cursor.map(|cursor| cursor.remaining()));
        self.again
    }
}

/// How many targets a cursor has given of its lease so far.
#[inline]
fn given(lease: Interval, cursor: &Cursor) -> u64 {
    cursor.position().saturating_sub(lease.start).saturating_sub(cursor.skipped())
}
