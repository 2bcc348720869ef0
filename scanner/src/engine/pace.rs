//! Pacing: when the next frames may leave.
//!
//! One pacer serves all workers of a scan, so that the asked-for rate is kept by all together and a slow queue's
//! share goes to the others. It is a token bucket in its deadline form (the generic cell rate algorithm, ITU-T
//! I.371): its state is the time at which the next frame is due, moved forward by what is granted. Time is in
//! picoseconds since the scan's start: at 14.88 million packets/s a frame takes 67,204 of them, and 64 bits last 213
//! days.
//!
//! Workers that were kept from the processor catch up, but never by more than 100 ms of frames, and at twice the rate at
//! most, all together: a stall must not turn into a burst that the receiver loses. A second time bounds that, which is
//! moved by half of what is granted.
//!
//! A worker that many replies keep awake asks at the very moment a portion is complete, one that sleeps is woken some
//! 50 us later. So that the former does not take every portion, whoever was given one lets the others have their turn
//! first, and takes what they have left.
//!
//! What is paced are probes, or, where a cap on the link is meant, all frames: resets are sent without asking, and charged
//! afterwards.

use std::sync::atomic::{AtomicU64, Ordering};

/// Picoseconds in a second.
pub const PS_PER_S: u64 = 1_000_000_000_000;
/// How much lost time is made good: 100 ms, what a worker on a busy machine may have to wait for its core.
const CATCH_UP_PS: u64 = PS_PER_S / 10;
/// The least rate: a frame in three hours, so that a few hundred of them are still a time that can be counted.
pub const RATE_MIN_PPS: f64 = 1e-4;
/// The greatest rate: a frame takes a nanosecond.
pub const RATE_MAX_PPS: f64 = 1e9;
/// Frames are granted in portions that last about this long, so that a fast sender is not woken for each: 200 us.
const PORTION_PS: u64 = PS_PER_S / 5_000;
/// How long a worker lets the others have their turn, at most; with few of them it is a portion's time for each. A
/// sleeper seldom needs longer to be woken, and no share of the rate is lost in it.
const TURN_PS: u64 = PS_PER_S / 1_000;

/// What [`Pacer::grant`] gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// How many may leave now; 0: none yet.
    pub count: usize,
    /// When to ask again, not before.
    pub again_at_ps: u64,
    /// Whether more is due than the next portion makes up for: the caller should not sleep until then.
    pub behind: bool,
}

/// The rate of a scan.
#[derive(Debug)]
pub struct Pacer {
    /// Time that one frame takes at the asked-for rate; 0: no limit.
    interval_ps: AtomicU64,
    /// When the next frame is due.
    due_ps: AtomicU64,
    /// Until when those who are behind wait, so that all together send at twice the rate at most.
    burst_ps: AtomicU64,
    /// The bits of the asked-for rate itself, which the interval has rounded; 0: no limit.
    rate_pps: AtomicU64,
    /// Whether what is sent without asking counts.
    caps_all: bool,
    /// How many workers share it with the one that asks, whether they have anything to send or not.
    others: u64,
}

impl Pacer {
    /// A pacer for `rate_pps` probes a second over all `workers`, of which there is at least one; 0 means as fast as the
    /// NIC takes them.
    pub fn new(rate_pps: f64, workers: usize) -> Self {
        Self {
            interval_ps: AtomicU64::new(interval_ps(rate_pps)),
            due_ps: AtomicU64::new(0),
            burst_ps: AtomicU64::new(0),
            rate_pps: AtomicU64::new(rate_pps.to_bits()),
            caps_all: false,
            others: workers as u64 - 1,
        }
    }

    /// The same for all frames, those included that are sent without asking: a cap on what the link carries.
    pub fn capping_all(self, caps_all: bool) -> Self {
        Self { caps_all, ..self }
    }

    /// Asks for up to `wanted` units of `cost` frames each at time `now_ps`. `cost` and `wanted` are at least 1.
    #[inline]
    pub fn grant(&self, now_ps: u64, wanted: usize, cost: u32) -> Grant {
        let interval = self.interval_ps.load(Ordering::Relaxed) * u64::from(cost);
        if interval == 0 {
            return Grant { count: wanted, again_at_ps: now_ps, behind: false };
        }
        let portion = (PORTION_PS / interval).clamp(1, wanted as u64);
        loop {
            let due = self.due_ps.load(Ordering::Relaxed);
            let from = due.max(now_ps.saturating_sub(CATCH_UP_PS));
            let complete = from + (portion - 1) * interval;
            if complete > now_ps {
                return Grant { count: 0, again_at_ps: complete, behind: false };
            }
            let burst_ps = self.burst_ps.load(Ordering::Relaxed);
            if burst_ps > now_ps {
                return Grant { count: 0, again_at_ps: burst_ps, behind: true };
            }
            let accrued = (now_ps - from) / interval + 1;
            let count = accrued.min(2 * portion).min(wanted as u64);
            let granted = self.due_ps.compare_exchange_weak(
                due,
                from + count * interval,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            if granted.is_ok() {
                let burst_ps = self.extend_burst(now_ps, (count * interval).div_ceil(2));
                let turn = (self.others * PORTION_PS.max(interval)).min(TURN_PS);
                let again_at_ps =
                    if count < accrued || turn == 0 { burst_ps } else { complete + count * interval + turn };
                // What the next portion makes up for came due while the others had their turn: that is no arrears.
                let behind = accrued - count > if turn == 0 { 0 } else { count };
                return Grant { count: count as usize, again_at_ps, behind };
            }
        }
    }

    /// Has those who are behind wait until a burst of this length is over, and says when that is. Two who were given
    /// theirs at the same moment make one burst, twice as long.
    #[inline]
    fn extend_burst(&self, now_ps: u64, len_ps: u64) -> u64 {
        let extend = |burst: u64| Some(burst.max(now_ps) + len_ps);
        let before = self.burst_ps.fetch_update(Ordering::Relaxed, Ordering::Relaxed, extend);
        before.unwrap_or_default().max(now_ps) + len_ps
    }

    /// Charges `frames` that were sent without asking, if they count: what is due next waits for them.
    #[inline]
    pub fn charge(&self, frames: u64) {
        if !self.caps_all {
            return;
        }
        let interval = self.interval_ps.load(Ordering::Relaxed);
        if interval > 0 {
            self.due_ps.fetch_add(interval * frames, Ordering::Relaxed);
        }
    }

    /// Takes back `frames` that were granted and did not leave, as there was nothing to send: they are due still.
    #[inline]
    pub fn refund(&self, frames: u64) {
        let unused = self.interval_ps.load(Ordering::Relaxed) * frames;
        if unused > 0 {
            for (time_ps, unused) in [(&self.due_ps, unused), (&self.burst_ps, unused / 2)] {
                // Saturating: the rate may have changed since the grant.
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

    /// Changes the rate from now on; 0 means no limit.
    pub fn set_rate_pps(&self, rate_pps: f64) {
        self.rate_pps.store(rate_pps.to_bits(), Ordering::Relaxed);
        self.interval_ps.store(interval_ps(rate_pps), Ordering::Relaxed);
    }

    /// The rate in force; 0 means no limit.
    pub fn rate_pps(&self) -> f64 {
        f64::from_bits(self.rate_pps.load(Ordering::Relaxed))
    }
}

fn interval_ps(rate_pps: f64) -> u64 {
    if rate_pps > 0.0 { (PS_PER_S as f64 / rate_pps).max(1.0) as u64 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How late a worker asks, by its turn and the time at which it should.
    type Lateness = dyn Fn(u64, u64) -> u64;

    /// Runs a pacer of `workers` for a simulated time. As many of them ask as `lateness` has entries, each when it is
    /// told to, but late. Returns how many frames each sent, and the most that left within any window of 10 ms.
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
            let Grant { count, again_at_ps, behind } = pacer.grant(now, 256 / cost as usize, cost);
            let frames = count as u64 * u64::from(cost);
            departures.push((now, frames));
            sent[worker] += frames;
            // Who is behind does not sleep.
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

    /// From a frame in seven seconds to 10 GbE line rate, also when each turn comes late by up to 100 us, or by 64 frames
    /// where that is less: a worker that fast does not sleep. So it is with several workers, and where one of them is
    /// left alone with the rate, for the others have nothing to send.
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
                    let late = move |turn: u64, _| turn * 7_919 % (late_ps + 1);
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

    /// A worker that is woken late each time has its share all the same, next to one that never is.
    #[test]
    fn who_sleeps_has_its_share() {
        for rate in [1e3, 2e4, 2.5e5, 1e6, 5e6] {
            let (punctual, late) =
                (|_, _| 0, |turn: u64, _| (60 + turn * 7_919 % 60) * (PS_PER_S / 1_000_000));
            let (sent, _) = run((rate, 2), 1, 2, &[&punctual, &late]);
            assert!(sent[1] * 20 > (sent[0] + sent[1]) * 9, "{rate}: {sent:?}");
        }
    }

    /// A stall of 500 ms is made good in part, and without a burst beyond twice the rate.
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

    /// Frames charged without asking come off what is granted later where all are capped, and else do not.
    #[test]
    fn charges_count() {
        for (caps_all, expected) in [(true, (0, PS_PER_S / 2)), (false, (1, PS_PER_S / 1_000))] {
            let pacer = Pacer::new(1e3, 1).capping_all(caps_all);
            pacer.charge(500);
            let early = pacer.grant(0, 64, 1);
            assert_eq!((early.count, early.again_at_ps.max(pacer.due_ps())), expected);
        }
    }

    /// The ends of what may be asked for are times that can be counted, whatever is granted, charged and taken back at once.
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

    /// A grant that is used in part counts in part.
    #[test]
    fn refunds_count() {
        let pacer = Pacer::new(1e5, 1);
        let now = PS_PER_S / 1_000;
        assert_eq!(pacer.grant(now, 64, 1).count, 40);
        pacer.refund(37);
        assert_eq!(pacer.due_ps(), 3 * PS_PER_S / 100_000);
        let again = pacer.grant(now + PS_PER_S / 50_000, 64, 1);
        assert_eq!(again.count, 40, "what was not sent is no burst: {again:?}");
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
        assert_eq!(pacer.grant(7, 64, 3), Grant { count: 64, again_at_ps: 7, behind: false });
        pacer.set_rate_pps(10.0);
        assert_eq!([0, 1].map(|_| pacer.grant(0, 64, 1).count), [1, 0]);
    }
}
