//! Samples of where the workers are, which the scan's thread takes: for checkpoints, what is done; for the second walk,
//! what has been probed for long enough.

use std::sync::Arc;
use std::time::{Duration, Instant};

use targets::{Leases, merged};

use super::control::Control;
use super::lowwater::{LowWater, Open, Progress, Samples};
use super::second::SecondWalk;
use super::standing::{Stand, Standing};

/// Up to where second probes may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Release {
    /// All exponents below it have been probed.
    end: u64,
    /// Whether no more will be.
    is_last: bool,
}

/// Keeps up to date what is still open, and what is released for the second walk.
pub(super) struct Sampler<'a> {
    leases: &'a Leases,
    control: &'a Control,
    standings: Vec<Arc<Standing>>,
    started: Instant,
    /// Changes of the hold that it has acted on.
    holds: u32,
    second: Option<&'a SecondWalk>,
    done: Option<(&'a LowWater, Samples<Open>)>,
    releases: Option<Samples<Release>>,
}

impl<'a> Sampler<'a> {
    /// For a scan that keeps `progress`, or has a second walk, or both.
    pub(super) fn new(
        leases: &'a Leases,
        control: &'a Control,
        standings: Vec<Arc<Standing>>,
        started: Instant,
        progress: Option<Progress<'a>>,
        second: Option<&'a SecondWalk>,
    ) -> Self {
        Self {
            leases,
            control,
            standings,
            started,
            holds: 0,
            second,
            done: progress.map(|progress| (progress.low_water, Samples::new(progress.overlap))),
            releases: second.map(|second| Samples::new(second.gap)),
        }
    }

    /// Whether nothing can be sent before the time has come for more second probes.
    pub(super) fn is_between_walks(&self) -> bool {
        self.second.is_some_and(|second| second.leases.waits_for_release()) && self.leases.is_over()
    }

    /// Takes a sample if it is due, and moves on.
    pub(super) fn look(&mut self, now: Duration) {
        if self.done.is_none() && self.releases.is_none() {
            return;
        }
        // A hold may have begun and ended since the last look.
        let holds = self.control.orders().holds();
        if std::mem::replace(&mut self.holds, holds) != holds || !self.control.is_settled() {
            // What was handed over when the link may already have been down does not count.
            let from = self.control.doubt_from().saturating_duration_since(self.started);
            self.done.iter_mut().for_each(|(_, samples)| samples.doubt(from));
            self.releases.iter_mut().for_each(|samples| samples.doubt(from));
        } else {
            self.sample_if_due(now);
        }
        let gone: Vec<u64> = self.standings.iter().map(|standing| standing.gone()).collect();
        // Not earlier than what was read: this thread may not have run in between.
        let left_at = self.started.elapsed();
        // A worker that has not run for a while has answers that nobody has seen.
        let received_ps = self.standings.iter().map(|standing| standing.received_ps()).min();
        let received = Duration::from_nanos(received_ps.unwrap_or(0) / 1_000);
        if let Some((low_water, samples)) = &mut self.done {
            samples.leave(left_at, &gone);
            if let Some(open) = samples.settle(received) {
                low_water.set(open);
            }
        }
        if let (Some(second), Some(samples)) = (self.second, &mut self.releases) {
            samples.leave(left_at, &gone);
            if let Some(Release { end, is_last }) = samples.settle(received) {
                second.leases.release(end, is_last);
            }
        }
    }

    fn sample_if_due(&mut self, now: Duration) {
        let is_for_done = self.done.as_ref().is_some_and(|(_, samples)| samples.is_due(now));
        let is_for_release = self.releases.as_ref().is_some_and(|samples| samples.is_due(now));
        if !is_for_done && !is_for_release {
            return;
        }
        let Some((open, release, submitted)) = self.sample() else { return };
        let at = self.started.elapsed();
        if let Some((_, samples)) = self.done.as_mut().filter(|_| is_for_done) {
            samples.take(at, open, submitted.clone());
        }
        if let Some(samples) = self.releases.as_mut().filter(|_| is_for_release) {
            samples.take(at, release, submitted);
        }
    }

    /// Where the workers are, and how many frames each has handed over. `None` if one of them is just leasing, or has
    /// targets to probe again: the next look is soon.
    fn sample(&self) -> Option<(Open, Release, Vec<u64>)> {
        // Before the workers: what is leased afterwards is in both.
        let is_over = self.leases.is_over();
        let mut first = self.leases.unleased();
        let mut second = self.second.map(|second| second.leases.unleased()).unwrap_or_default();
        let stands: Option<Vec<Stand>> = self.standings.iter().map(|standing| standing.read()).collect();
        let stands = stands.filter(|stands| stands.iter().all(|stand| !stand.has_doubts))?;
        first.extend(stands.iter().map(|stand| stand.left));
        second.extend(stands.iter().map(|stand| stand.second_left));
        let (first, second) = (merged(first), merged(second));
        let release = Release {
            end: first.first().map_or(u64::MAX, |open| open.start),
            is_last: is_over && stands.iter().all(|stand| stand.left.is_empty()),
        };
        let submitted = stands.iter().map(|stand| stand.submitted).collect();
        Some((Open { first, second }, release, submitted))
    }
}
