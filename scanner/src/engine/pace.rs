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

#[cfg(test)]
mod tests {
    use super::*;

    /// How late a worker asks, given its turn and the time at which it should.
    type Lateness = dyn Fn(u64, u64) -> u64;

    /// Simulates a pacer of `workers`. As many of them ask as `lateness` has entries, each at the time that it was
    /// given, plus its lateness. Returns how many frames each sent, and the most that left within any window of 10 ms.
    fn run(
        (rate_pps, workers): (f64, usize),
        cost: u32,
        seconds: u64,
        lateness: &[&Lateness],
    ) -> (Vec<u64>, u64) {
        let pacer = Pacer::new(rate_pps, workers);
        let mut sent = vec![0; lateness.len()];
        let mut asks = vec![(0, 0); lateness.len()];
        let mut departures: Vec<(u64, u64)> = vec![];
        loop {
            let worker = (0..asks.len()).min_by_key(|&worker| asks[worker].0).unwrap();
            let (now, turn) = asks[worker];
            if now >= seconds * PS_PER_S {
                break;
            }
            let Grant { count, again_at_ps, behind, .. } = pacer.grant(now, 256 / cost as usize, cost);
            let frames = count as u64 * u64::from(cost);
            departures.push((now, frames));
            sent[worker] += frames;
            // A worker with a backlog does not sleep.
            let again = again_at_ps + if behind { 0 } else { lateness[worker](turn, again_at_ps) };
            asks[worker] = (again.max(now + 1), turn + 1);
        }
        let window = PS_PER_S / 100;
        let (mut most, mut inside, mut first) = (0, 0, 0);
        for (at, count) in &departures {
            inside += count;
            while departures[first].0 + window <= *at {
                inside -= departures[first].1;
                first += 1;
            }
            most = most.max(inside);
        }
        (sent, most)
    }

    /// From one frame in seven seconds to 10 GbE line rate, also when each turn is late by up to 100 us, or by 64
    /// frames where that is less, because so fast a worker does not sleep. The same holds with several workers, and
    /// with one that has the rate to itself because the others have nothing to send.
    #[test]
    fn keeps_the_rate() {
        for (rate, seconds) in [
            (0.15, 300),
            (0.5, 100),
            (1.0, 50),
            (10.0, 20),
            (999.0, 10),
            (1e4, 10),
            (123_456.7, 5),
            (2e6, 1),
            (14_880_952.0, 1),
        ] {
            for (cost, workers, active) in
                [(1, 1, 1), (3, 1, 1), (1, 2, 2), (3, 2, 1), (1, 8, 8), (1, 8, 1), (1, 64, 1), (3, 64, 64)]
            {
                for late_ps in [0, (64 * interval_ps(rate)).min(PS_PER_S / 10_000)] {
                    let late = move |turn: u64, _| turn * 7_919_000_011 % (late_ps + 1);
                    let (sent, _) = run((rate, workers), cost, seconds, &vec![&late as &Lateness; active]);
                    let total = sent.iter().sum::<u64>();
                    let asked = (rate * seconds as f64).round() as u64;
                    let tolerance = asked / 500 + u64::from(cost);
                    assert!(
                        total.abs_diff(asked) <= tolerance,
                        "{rate} x {cost}, {active} of {workers}: {total} of {asked}"
                    );
                }
            }
        }
    }

    /// 200 us of frames, or up to eight of them in at most a millisecond.
    #[test]
    fn portions() {
        for (rate_pps, frames) in [
            (0.5, 1),
            (1e3, 1),
            (2e3, 2),
            (5e3, 5),
            (8e3, 8),
            (1e4, 8),
            (4e4, 8),
            (5e4, 10),
            (1e6, 200),
            (14_880_952.0, 2_976),
        ] {
            assert_eq!(portion(interval_ps(rate_pps)), frames, "{rate_pps}");
        }
    }

    /// A worker that always wakes late gets its share, even next to one that never does.
    #[test]
    fn who_sleeps_has_its_share() {
        for rate in [1e3, 2e4, 2.5e5, 1e6, 5e6] {
            let (punctual, late) =
                (|_, _| 0, |turn: u64, _| (60 + turn * 7_919 % 60) * (PS_PER_S / 1_000_000));
            let (sent, _) = run((rate, 2), 1, 2, &[&punctual, &late]);
            assert!(sent[1] * 20 > (sent[0] + sent[1]) * 9, "{rate}: {sent:?}");
        }
    }

    /// A single worker that asks when it was told to gets something: no sleep ends for nothing.
    #[test]
    fn nobody_asks_in_vain() {
        for rate in [10.0, 1e3, 1e4, 123_456.7, 1e6, 14_880_952.0] {
            let pacer = Pacer::new(rate, 1);
            let mut at_ps = pacer.grant(0, 256, 1).again_at_ps;
            for turn in 0..1_000 {
                let grant = pacer.grant(at_ps, 256, 1);
                assert!(grant.count > 0, "{rate}, turn {turn}: {grant:?}");
                at_ps = grant.again_at_ps;
            }
        }
    }

    /// Where the scheduler lets a worker wait for milliseconds each time it has slept, slow scans keep their rate.
    #[test]
    fn late_wakers_keep_the_rate() {
        for (rate, latest_ms) in [(1e3, 40), (1e4, 4)] {
            let late = |turn: u64| turn * 7_919 % (latest_ms + 1) * PS_PER_S / 1_000;
            let pacer = Pacer::new(rate, 1);
            let (mut now, mut sent, mut turn) = (0, 0, 0);
            while now < 5 * PS_PER_S {
                let grant = pacer.grant(now, 256, 1);
                sent += grant.count;
                turn += 1;
                now = grant.again_at_ps + late(turn);
            }
            let asked = 5.0 * rate;
            assert!((sent as f64 - asked).abs() < asked / 100.0, "{sent} of {asked}");
        }
    }

    /// A stall of 500 ms is partly caught up, without a burst beyond twice the rate.
    #[test]
    fn a_stall_is_no_burst() {
        let rate: u64 = 100_000;
        let stall = |_, at_ps: u64| match at_ps {
            at_ps if at_ps >= PS_PER_S / 2 => PS_PER_S.saturating_sub(at_ps),
            _ => 0,
        };
        let lost = rate / 2 - rate * CATCH_UP_PS / PS_PER_S;
        for workers in [1, 2, 8] {
            let (sent, most) = run((rate as f64, workers), 1, 2, &vec![&stall as &Lateness; workers]);
            let total = sent.iter().sum::<u64>();
            assert!(total.abs_diff(2 * rate - lost) < 200, "{workers}: {sent:?}");
            assert!(most <= 2 * rate / 100 + 50, "{workers}: {most} in 10 ms");
        }
    }

    /// A process that was stopped for longer than any worker waits for its core goes on at its rate, as if it had begun
    /// then.
    #[test]
    fn a_stopped_process_catches_nothing_up() {
        let rate: u64 = 100_000;
        let stop = |_, at_ps: u64| match at_ps {
            at_ps if at_ps >= PS_PER_S / 2 => (2 * PS_PER_S).saturating_sub(at_ps),
            _ => 0,
        };
        for workers in [1, 2, 8] {
            let (sent, most) = run((rate as f64, workers), 1, 3, &vec![&stop as &Lateness; workers]);
            let total = sent.iter().sum::<u64>();
            assert!(total.abs_diff(rate + rate / 2) < 200, "{workers}: {sent:?}");
            assert!(most <= rate / 100 + 100, "{workers}: {most} in 10 ms");
        }
    }

    /// After a pause and after a change of the rate, there is neither a backlog nor a wait of the rate before.
    #[test]
    fn a_restart_forgets() {
        let paused = PS_PER_S / 2;
        let pacer = Pacer::new(1e5, 1);
        pacer.grant(0, 1, 1);
        pacer.restart(paused);
        assert_eq!(pacer.due_ps(), paused);
        let first = pacer.grant(paused + PORTION_PS, 256, 1);
        assert!(first.count <= 21 && !first.behind, "{first:?}");
        // One frame in three hours has just been sent.
        let slow = Pacer::new(RATE_MIN_PPS, 1);
        assert_eq!(slow.grant(paused, 1, 1).count, 1);
        slow.set_rate_pps(1e3);
        slow.restart(paused);
        assert_eq!(slow.due_ps(), paused + PS_PER_S / 1_000);
        assert_eq!(slow.grant(paused + 2 * PS_PER_S / 1_000, 1, 1).count, 1);
        assert_eq!(slow.changes(), 1);
    }

    /// A scan without a limit may get one at any time, and then keeps it from there on.
    #[test]
    fn a_limit_from_now_on() {
        let pacer = Pacer::new(0.0, 1);
        let begun = 60 * PS_PER_S;
        assert_eq!(pacer.grant(begun, 256, 1).count, 256);
        pacer.set_rate_pps(1e3);
        pacer.restart(begun);
        let mut sent = 0;
        for ms in 0..1_000 {
            sent += pacer.grant(begun + ms * PS_PER_S / 1_000, 256, 1).count;
        }
        assert!((998..=1_001).contains(&sent), "{sent}");
    }

    /// Frames that are charged without asking reduce later grants if all frames are limited, and otherwise do not.
    #[test]
    fn charges_count() {
        for (caps_all, expected) in [(true, (0, PS_PER_S / 2)), (false, (1, PS_PER_S / 1_000))] {
            let pacer = Pacer::new(1e3, 1).capping_all(caps_all);
            pacer.charge(500);
            let early = pacer.grant(0, 64, 1);
            assert_eq!((early.count, early.again_at_ps.max(pacer.due_ps())), expected);
        }
    }

    /// The extreme rates give times that can be represented, whatever is granted, charged and taken back at once.
    #[test]
    fn extreme_rates() {
        for (rate, interval) in [(RATE_MIN_PPS, 10_000 * PS_PER_S), (RATE_MAX_PPS, 1_000)] {
            let pacer = Pacer::new(rate, 1).capping_all(true);
            assert_eq!((pacer.grant(0, 1, 255).count, pacer.due_ps()), (1, 255 * interval));
            pacer.charge(256);
            pacer.refund(255);
            assert_eq!((pacer.due_ps(), pacer.rate_pps()), (256 * interval, rate));
        }
    }

    /// A grant that is partly used counts in part.
    #[test]
    fn refunds_count() {
        let pacer = Pacer::new(1e5, 1);
        let now = PS_PER_S / 1_000;
        assert_eq!(pacer.grant(now, 64, 1).count, 64);
        pacer.refund(61);
        assert_eq!(pacer.due_ps(), 3 * PS_PER_S / 100_000);
        let again = pacer.grant(now + PS_PER_S / 50_000, 64, 1);
        assert_eq!(again.count, 64, "what was not sent is no burst: {again:?}");
        pacer.set_rate_pps(1.0);
        pacer.refund(1);
        assert_eq!(pacer.due_ps(), 0);
        pacer.set_rate_pps(0.0);
        pacer.refund(1);
        assert_eq!(pacer.due_ps(), 0);
    }

    #[test]
    fn zero_is_unlimited() {
        let pacer = Pacer::new(0.0, 1);
        assert_eq!(pacer.grant(7, 64, 3), Grant { count: 64, again_at_ps: 7, behind: false, late_ps: None });
        pacer.set_rate_pps(10.0);
        assert_eq!([0, 1].map(|_| pacer.grant(0, 64, 1).count), [1, 0]);
    }
}
