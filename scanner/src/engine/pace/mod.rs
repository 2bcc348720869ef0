//! Pacing: when the next frames may leave.
//!
//! One pacer serves all workers of a scan, so that all together keep the requested rate, and the share of a slow queue
//! goes to the others. It is a token bucket in its deadline form (the generic cell rate algorithm, ITU-T I.371): its
//! state is the time at which the next frame is due, and each grant moves that time forward. Time is in picoseconds
//! since the scan's start: at 14.88 million packets/s a frame takes 67,204 of them, and 64 bits last 213 days.
//!
//! Workers that were not scheduled catch up, but never by more than 100 ms of frames, and all together at no more than
//! twice the rate: a stall must not turn into a burst that the receiver loses. A second time enforces that; each grant
//! moves it forward by half of what is granted.
//!
//! A worker kept awake by replies asks the moment a portion is due; a sleeping one wakes about 50 us later and would
//! get nothing. So after a grant a worker first waits one turn for the others, and then takes what they have left.
//!
//! A process that was stopped (SIGSTOP, a suspended machine) catches nothing up, because nobody waits for those frames
//! any more; the same holds after a pause.
//!
//! The pacer counts probes or, if the limit is a bandwidth, all frames: resets are sent without asking and charged
//! afterwards.

#[cfg(test)]
mod tests;

use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Picoseconds in a second.
pub const PS_PER_S: u64 = 1_000_000_000_000;
/// How much lost time is caught up: 100 ms, for which a worker on a busy machine may have to wait for its core. Lower:
/// such a scan stays below its rate. Higher: longer bursts after a stall.
const CATCH_UP_PS: u64 = PS_PER_S / 10;
/// From which delay on nothing is caught up. No worker waits that long for its core, so the process was stopped. Lower:
/// a machine that is overloaded falls behind its rate. Higher: after a short stop some frames leave at twice the rate.
const STOPPED_PS: u64 = PS_PER_S;
/// The least rate: one frame in three hours. Lower: the time of a few hundred frames no longer fits in 64 bits.
pub const RATE_MIN_PPS: f64 = 1e-4;
/// The greatest rate: one frame per nanosecond.
pub const RATE_MAX_PPS: f64 = 1e9;
/// Frames are granted in portions of about this duration: 200 us. Lower: a fast sender wakes more often, and batches
/// are smaller. Higher: longer bursts.
const PORTION_PS: u64 = PS_PER_S / 5_000;
/// A portion of fewer frames lasts longer, until it has so many: a slow scan costs little but waking up. Lower: it
/// costs more. Higher: longer bursts. A switch or a policer that does not take eight short frames at once takes no
/// scan.
const PORTION_FRAMES: u64 = 8;
/// But it does not last longer than this: 1 ms. Lower: a slow scan wakes more often. Higher: its bursts are longer.
const PORTION_MAX_PS: u64 = PS_PER_S / 1_000;
/// So many frames of a backlog may leave at once, or two portions if that is more. Lower: where the scheduler lets a
/// worker wait for milliseconds each time, the scan stays below its rate. Higher: longer bursts after each such wait.
const BACKLOG_FRAMES: u64 = 64;
/// The longest time that a worker waits for the others' turn; with few workers it is one portion's time for each.
/// Lower: a sleeping worker may miss its turn and get less than its share. Higher: a worker that sends alone waits
/// longer than needed. Waking up seldom takes longer, and the wait loses no part of the rate.
const TURN_PS: u64 = PS_PER_S / 1_000;

/// The result of [`Pacer::grant`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// How many may leave now; 0 if none yet.
    pub count: usize,
    /// When to ask again, at the earliest.
    pub again_at_ps: u64,
    /// Whether more is due than the next portion covers. If so, the caller should sleep until then only if it is long.
    pub behind: bool,
    /// How long ago the first of the granted portions was complete; `None` without a limit, or if nothing is granted.
    pub late_ps: Option<u64>,
}

/// The rate of a scan.
#[derive(Debug)]
pub struct Pacer {
    /// Time per frame at the requested rate; 0: no limit.
    interval_ps: AtomicU64,
    /// When the next frame is due.
    due_ps: AtomicU64,
    /// Until when workers with a backlog wait, so that all together send at no more than twice the rate.
    burst_ps: AtomicU64,
    /// The bits of the requested rate, because the interval is rounded; 0: no limit.
    rate_pps: AtomicU64,
    /// How often the rate was changed.
    changes: AtomicU64,
    /// Whether frames that are sent without asking count.
    caps_all: AtomicBool,
    /// How many other workers share the pacer, whether or not they have anything to send.
    others: u64,
}

impl Pacer {
    /// A pacer for `rate_pps` probes per second over all `workers`, of which there is at least one; 0 means as fast as
    /// the NIC accepts them.
    pub fn new(rate_pps: f64, workers: usize) -> Self {
        Self {
            interval_ps: AtomicU64::new(interval_ps(rate_pps)),
            due_ps: AtomicU64::new(0),
            burst_ps: AtomicU64::new(0),
            rate_pps: AtomicU64::new(rate_pps.to_bits()),
            changes: AtomicU64::new(0),
            caps_all: AtomicBool::new(false),
            others: workers as u64 - 1,
        }
    }

    /// The same for all frames, including those that are sent without asking: a limit on the load of the link.
    pub fn capping_all(self, caps_all: bool) -> Self {
        Self { caps_all: AtomicBool::new(caps_all), ..self }
    }

    /// Requests up to `wanted` units of `cost` frames each at time `now_ps`. `cost` and `wanted` are at least 1.
    #[inline]
    pub fn grant(&self, now_ps: u64, wanted: usize, cost: u32) -> Grant {
        let interval = self.interval_ps.load(Ordering::Relaxed) * u64::from(cost);
        if interval == 0 {
            return Grant { count: wanted, again_at_ps: now_ps, behind: false, late_ps: None };
        }
        let whole_portion = portion(interval);
        let portion = whole_portion.min(wanted as u64);
        loop {
            let due = self.due_ps.load(Ordering::Relaxed);
            if now_ps.saturating_sub(due) > STOPPED_PS {
                self.restart(now_ps);
                continue;
            }
            let from = due.max(now_ps.saturating_sub(CATCH_UP_PS));
            let complete = from + (portion - 1) * interval;
            if complete > now_ps {
                return Grant { count: 0, again_at_ps: complete, behind: false, late_ps: None };
            }
            let burst_ps = self.burst_ps.load(Ordering::Relaxed);
            if burst_ps > now_ps {
                return Grant { count: 0, again_at_ps: burst_ps, behind: true, late_ps: None };
            }
            let accrued = (now_ps - from) / interval + 1;
            let count = accrued.min((2 * portion).max(BACKLOG_FRAMES / u64::from(cost))).min(wanted as u64);
            let granted = self.due_ps.compare_exchange_weak(
                due,
                from + count * interval,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            if granted.is_ok() {
                let burst_ps = self.extend_burst(now_ps, (count * interval).div_ceil(2));
                let turn = (self.others * whole_portion * interval).min(TURN_PS);
                // There is nothing to get before the next portion is complete.
                let again_at_ps = if count < accrued {
                    burst_ps
                } else {
                    (complete + count * interval + turn).max(burst_ps)
                };
                // Frames that came due during the others' turn are covered by the next portion; they are not a backlog.
                let behind = accrued - count > if turn == 0 { 0 } else { count };
                let late_ps = Some(now_ps - complete);
                return Grant { count: count as usize, again_at_ps, behind, late_ps };
            }
        }
    }

    /// Extends the current burst by `len_ps` and returns its new end; workers with a backlog wait until then. The
    /// bursts of simultaneous grants add up.
    #[inline]
    fn extend_burst(&self, now_ps: u64, len_ps: u64) -> u64 {
        let extend = |burst: u64| Some(burst.max(now_ps) + len_ps);
        let before = self.burst_ps.fetch_update(Ordering::Relaxed, Ordering::Relaxed, extend);
        before.unwrap_or_default().max(now_ps) + len_ps
    }

    /// Charges `frames` that were sent without asking, if such frames count: the next frame is due that much later.
    #[inline]
    pub fn charge(&self, frames: u64) {
        if self.caps_all() {
            self.spend(frames);
        }
    }

    /// Takes `frames` that were sent in addition to those granted: the next frame is due that much later.
    #[inline]
    pub fn spend(&self, frames: u64) {
        let interval = self.interval_ps.load(Ordering::Relaxed);
        if interval > 0 {
            self.due_ps.fetch_add(interval * frames, Ordering::Relaxed);
        }
    }

    /// Takes back `frames` that were granted but not sent, because there was nothing to send: they are still due.
    #[inline]
    pub fn refund(&self, frames: u64) {
        let unused = self.interval_ps.load(Ordering::Relaxed) * frames;
        if unused > 0 {
            for (time_ps, unused) in [(&self.due_ps, unused), (&self.burst_ps, unused / 2)] {
                // Saturating, because the rate may have changed since the grant.
                let earlier = |time: u64| Some(time.saturating_sub(unused));
                let _ = time_ps.fetch_update(Ordering::Relaxed, Ordering::Relaxed, earlier);
            }
        }
    }

    /// When the next frame is due.
    #[cfg(test)]
    pub(super) fn due_ps(&self) -> u64 {
        self.due_ps.load(Ordering::Relaxed)
    }

    /// Begins anew at `now_ps`, at the rate in force: with no backlog, and with no wait that is longer than a portion
    /// or a frame takes.
    pub fn restart(&self, now_ps: u64) {
        let interval = self.interval_ps.load(Ordering::Relaxed);
        let longest = if interval == 0 { PORTION_PS } else { portion(interval) * interval };
        for time_ps in [&self.due_ps, &self.burst_ps] {
            let clamped = |time: u64| Some(time.clamp(now_ps, now_ps + longest));
            let _ = time_ps.fetch_update(Ordering::Relaxed, Ordering::Relaxed, clamped);
        }
    }

    /// Changes the rate from now on; 0 means no limit. A wait that the former rate has made goes on until
    /// [`Self::restart`].
    pub fn set_rate_pps(&self, rate_pps: f64) {
        self.rate_pps.store(rate_pps.to_bits(), Ordering::Relaxed);
        self.interval_ps.store(interval_ps(rate_pps), Ordering::Relaxed);
        self.changes.fetch_add(1, Ordering::Relaxed);
    }

    /// Changes whether frames that are sent without asking count.
    pub fn set_capping_all(&self, caps_all: bool) {
        self.caps_all.store(caps_all, Ordering::Relaxed);
    }

    /// Whether frames that are sent without asking count.
    #[inline]
    pub fn caps_all(&self) -> bool {
        self.caps_all.load(Ordering::Relaxed)
    }

    /// How often the rate was changed.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// The rate in force; 0 means no limit.
    pub fn rate_pps(&self) -> f64 {
        f64::from_bits(self.rate_pps.load(Ordering::Relaxed))
    }
}

/// How many frames are a portion, at one frame in this many picoseconds.
#[inline]
fn portion(interval: u64) -> u64 {
    match PORTION_PS / interval {
        frames @ PORTION_FRAMES.. => frames,
        _ => (PORTION_MAX_PS / interval).clamp(1, PORTION_FRAMES),
    }
}

fn interval_ps(rate_pps: f64) -> u64 {
    if rate_pps > 0.0 { (PS_PER_S as f64 / rate_pps).max(1.0) as u64 } else { 0 }
}
