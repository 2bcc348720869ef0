//! A path with a hidden knee, in process and in simulated time: what the governor's promises are tested against, and
//! what the curves in `docs/rate.md` are drawn from.
//!
//! In ticks of 10 ms. Frames pass a bottleneck; targets and canaries answer by chance, after round-trip times that are
//! log-normal with a median of 80 ms; replies pass our own side. Replies come in clusters of two, so that their
//! variance is twice the binomial one. Every draw comes from the seed.

use std::collections::VecDeque;
use std::time::Duration;

use wire::proof::Copies;

use crate::governor::{Decision, Governor, HOLD_SHARE, LAG_SLOTS, SLOT, SPACING_SLOTS, Slot, What};

/// Where the excess goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bottleneck {
    /// A policer drops it, except for bursts of up to 50 ms of its rate.
    Policer,
    /// A queue takes up 150 ms of it, which delays the others, and drops the rest.
    Queue,
    /// We receive replies too slowly, and count those that are lost.
    Receiver,
}

/// What is simulated.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scene {
    /// Where the knee is.
    pub(super) bottleneck: Bottleneck,
    /// The rate of probes from which on more is lost.
    pub(super) knee_pps: f64,
    /// The share of targets that answer.
    pub(super) hit_rate: f64,
    /// What is lost whatever the rate is.
    pub(super) constant_loss: f64,
    /// When the knee moves, in seconds, and by which factor.
    pub(super) change: Option<(f64, f64)>,
    /// The cap; 0: none.
    pub(super) cap_pps: f64,
    /// Whether there are canaries.
    pub(super) has_canaries: bool,
    /// The seed of all draws.
    pub(super) seed: u64,
}

/// How a slot went.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    /// Its end, in seconds.
    pub(super) at: f64,
    /// The rate that was asked for in it.
    pub(super) rate_pps: f64,
    /// The knee in it.
    pub(super) knee_pps: f64,
    /// The share that was lost because of the rate.
    pub(super) lost: f64,
    /// Whether the governor held its rate.
    pub(super) is_held: bool,
    /// The knee that the governor knew.
    pub(super) found_pps: Option<f64>,
}

/// What a simulated scan left.
#[derive(Debug)]
pub(super) struct Run {
    /// Each slot.
    pub(super) points: Vec<Point>,
    /// What was decided.
    pub(super) decisions: Vec<Decision>,
}

const KNEES_PPS: [f64; 5] = [100_000.0, 160_000.0, 270_000.0, 510_000.0, 1_000_000.0];
const TICK_S: f64 = 0.01;
/// The share of canaries that answer if nothing is lost.
const CANARY_ANSWERS: f64 = 0.97;
/// The bins of round-trip times, each with the same probability, in ticks.
const RTT_BINS: usize = 16;
/// The frames that our own side has room for.
const RECEIVER_ROOM: f64 = 2_048.0;

/// Draws (SplitMix64; Steele, Lea and Flood, Fast splittable pseudorandom number generators, 2014).
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// Between 0 and 1.
    fn uniform(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Successes among that many trials.
    fn binomial(&mut self, trials: f64, share: f64) -> f64 {
        let (trials, share) = (trials.round(), share.clamp(0.0, 1.0));
        if trials <= 40.0 {
            return (0..trials as u32).filter(|_| self.uniform() < share).count() as f64;
        }
        let (mean, variance) = (trials * share, trials * share * (1.0 - share));
        if variance < 30.0 && mean < 30.0 {
            return self.poisson(mean).min(trials);
        }
        (mean + variance.sqrt() * self.normal()).round().clamp(0.0, trials)
    }

    fn poisson(&mut self, mean: f64) -> f64 {
        let (least, mut product, mut count) = ((-mean).exp(), self.uniform(), 0.0);
        while product > least {
            product *= self.uniform();
            count += 1.0;
        }
        count
    }
}

/// Replies that will arrive in a tick: to probes, and to the canaries of each slot.
#[derive(Clone, Debug, Default)]
struct Arrivals {
    replies: f64,
    canaries: Vec<(usize, f64)>,
    /// The sum of the round-trip times of the canaries.
    rtt_s: f64,
}

/// A slot while its facts come in.
#[derive(Clone, Copy, Debug, Default)]
struct Open {
    slot: Slot,
    rtt_s: f64,
    rate_pps: f64,
    frames: f64,
    lost: f64,
}

struct Path {
    scene: Scene,
    draws: Draws,
    rtt_ticks: Vec<usize>,
    /// Tokens of the policer, or frames in the queue.
    level: f64,
    waiting: f64,
    arrivals: VecDeque<Arrivals>,
    carry: [f64; 2],
    resets: f64,
    hosts: f64,
    slots: Vec<Open>,
}

/// Simulates a scan of that many seconds. Its end is as in a scan: what is in doubt then is probed again as well.
pub(super) fn run(scene: Scene, seconds: f64) -> Run {
    let mut governor = Governor::new(scene.cap_pps, None);
    let mut path = Path::new(scene);
    let (mut points, mut decisions) = (Vec::new(), Vec::new());
    let ticks = (SLOT.as_secs_f64() / TICK_S).round() as usize;
    for number in 0..(seconds / SLOT.as_secs_f64()).round() as usize {
        let wish = governor.wish();
        path.slots.push(Open {
            slot: Slot { at: SLOT * number as u32, length: SLOT, ..Slot::default() },
            rate_pps: wish.rate_pps,
            ..Open::default()
        });
        let is_held = governor.bound().is_some();
        for tick in 0..ticks {
            path.tick((number * ticks + tick) as f64 * TICK_S, wish.rate_pps, wish.canary_share);
        }
        let now = SLOT * (number as u32 + 1);
        if let Some(reported) = number.checked_sub(LAG_SLOTS as usize) {
            decisions.extend(governor.observe(now, &path.report(reported)));
        }
        let open = path.slots[number];
        points.push(Point {
            at: now.as_secs_f64(),
            rate_pps: wish.rate_pps,
            knee_pps: scene.knee_at(now.as_secs_f64() - TICK_S),
            lost: open.lost / open.frames.max(1.0),
            is_held,
            found_pps: governor.knee().map(|knee| knee.pps),
        });
    }
    let end = SLOT * path.slots.len() as u32;
    let again = governor.finish(end);
    decisions.extend(again.map(|since| Decision { at: end, what: What::Again(since), rate_pps: 0.0 }));
    Run { points, decisions }
}

impl Scene {
    /// That of a run of a cell: seeds and knees differ between runs. Knees are anywhere between those of the list, not
    /// only at twice, four times and so on of the first rate.
    pub(super) fn of_run(bottleneck: Bottleneck, hit_rate: f64, run: u64) -> Self {
        Self {
            bottleneck,
            knee_pps: KNEES_PPS[run as usize % KNEES_PPS.len()] * (1.0 + 0.05 * ((run / 5) % 4) as f64),
            hit_rate,
            constant_loss: 0.0,
            change: None,
            cap_pps: 0.0,
            has_canaries: true,
            seed: bottleneck as u64 * 1_000 + (hit_rate * 1e4) as u64 * 10_000 + run,
        }
    }

    fn knee_at(&self, at: f64) -> f64 {
        self.knee_pps * self.change.filter(|(from, _)| at >= *from).map_or(1.0, |(_, factor)| factor)
    }

    /// Replies for each probe or canary while a rate is held.
    fn replies_per_probe(&self) -> f64 {
        let answers = (1.0 - HOLD_SHARE) * self.hit_rate + HOLD_SHARE * CANARY_ANSWERS;
        answers * (1.0 - self.constant_loss)
    }
}

impl Path {
    fn new(scene: Scene) -> Self {
        // Quantiles of the log-normal distribution, by its normal ones in the middles of equal bins.
        let quantile = |bin: usize| {
            let share = (bin as f64 + 0.5) / RTT_BINS as f64;
            let sign = if share < 0.5 { -1.0 } else { 1.0 };
            // Abramowitz and Stegun 26.2.22; off by less than 0.003.
            let t = (-2.0 * share.min(1.0 - share).ln()).sqrt();
            sign * (t - (2.307_53 + 0.270_61 * t) / (1.0 + 0.992_29 * t + 0.044_81 * t * t))
        };
        let rtt_ticks =
            (0..RTT_BINS).map(|bin| (0.08 * (0.6 * quantile(bin)).exp() / TICK_S).round() as usize);
        Self {
            scene,
            draws: Draws(scene.seed),
            rtt_ticks: rtt_ticks.collect(),
            level: 0.0,
            waiting: 0.0,
            arrivals: VecDeque::new(),
            carry: [0.0; 2],
            resets: 0.0,
            hosts: 0.0,
            slots: Vec::new(),
        }
    }

    /// Sends for a tick at this rate and with this share of canaries, and receives.
    fn tick(&mut self, at: f64, rate_pps: f64, share: f64) {
        let sent = self.whole(0, rate_pps * TICK_S);
        let wanted = self.whole(1, sent * share);
        // Each host gets each number once, and two of its canaries are a time apart.
        let uses = self.hosts * TICK_S / (SPACING_SLOTS as f64 * SLOT.as_secs_f64());
        let canaries = if self.scene.has_canaries { wanted.min(uses.ceil()).min(sent) } else { 0.0 };
        self.hosts -= canaries / f64::from(Copies::CANARIES);
        let probes = sent - canaries;
        let resets = std::mem::take(&mut self.resets);
        let (admitted, delay_s) = self.pass(at, sent + resets);
        let arrive = admitted * (1.0 - self.scene.constant_loss);
        let hits = 2.0 * self.draws.binomial(probes / 2.0, arrive * self.scene.hit_rate);
        let answers = self.draws.binomial(canaries, arrive * CANARY_ANSWERS);
        let number = self.slots.len() - 1;
        let open = &mut self.slots[number];
        open.slot.probes += probes as u64;
        open.slot.canaries += canaries as u64;
        open.slot.resets += resets as u64;
        open.frames += sent;
        open.lost += sent * (1.0 - admitted);
        self.spread(number, hits, answers, delay_s);
        self.receive(at);
    }

    /// A whole number of frames; what remains is for the next tick.
    fn whole(&mut self, which: usize, count: f64) -> f64 {
        let whole = (count + self.carry[which]).floor();
        self.carry[which] += count - whole;
        whole
    }

    /// The share of `frames` that pass the bottleneck, and how long they are delayed.
    fn pass(&mut self, at: f64, frames: f64) -> (f64, f64) {
        let knee_pps = self.scene.knee_at(at);
        let carried = knee_pps * (1.0 + self.scene.replies_per_probe()) * TICK_S;
        match self.scene.bottleneck {
            Bottleneck::Policer => {
                self.level = (self.level + carried).min(carried * 0.05 / TICK_S);
                let passed = frames.min(self.level);
                self.level -= passed;
                (passed / frames.max(1.0), 0.0)
            }
            Bottleneck::Queue => {
                let room = carried * 0.15 / TICK_S;
                self.level = (self.level - carried).max(0.0);
                let passed = frames.min(room - self.level.min(room));
                self.level += passed;
                (passed / frames.max(1.0), self.level / carried * TICK_S)
            }
            Bottleneck::Receiver => (1.0, 0.0),
        }
    }

    /// Gives replies their times of arrival.
    fn spread(&mut self, number: usize, mut hits: f64, mut answers: f64, delay_s: f64) {
        for bin in 0..RTT_BINS {
            let share = 1.0 / (RTT_BINS - bin) as f64;
            let (some, few) = (self.draws.binomial(hits, share), self.draws.binomial(answers, share));
            (hits, answers) = (hits - some, answers - few);
            let ticks = self.rtt_ticks[bin] + (delay_s / TICK_S).round() as usize;
            while self.arrivals.len() <= ticks {
                self.arrivals.push_back(Arrivals::default());
            }
            let arrivals = &mut self.arrivals[ticks];
            arrivals.replies += some;
            arrivals.rtt_s += few * ticks as f64 * TICK_S;
            match arrivals.canaries.last_mut() {
                Some((slot, count)) if *slot == number => *count += few,
                _ => arrivals.canaries.push((number, few)),
            }
        }
    }

    /// Receives what arrives in this tick.
    fn receive(&mut self, at: f64) {
        let Some(arrivals) = self.arrivals.pop_front() else { return };
        let of_canaries: f64 = arrivals.canaries.iter().map(|(_, count)| count).sum();
        let all = arrivals.replies + of_canaries;
        let mut kept = 1.0;
        if self.scene.bottleneck == Bottleneck::Receiver {
            let taken = self.scene.knee_at(at) * self.scene.replies_per_probe() * TICK_S;
            self.waiting = (self.waiting - taken).max(0.0);
            let room = RECEIVER_ROOM.min(taken * 0.05 / TICK_S) + taken;
            kept = (room - self.waiting).clamp(0.0, all) / all.max(1.0);
            self.waiting += all * kept;
        }
        let lost = ((1.0 - kept) * all).round().min(all);
        let mut lost_canaries = self.draws.binomial(of_canaries, lost / all.max(1.0)).min(lost);
        let replies = arrivals.replies - (lost - lost_canaries).min(arrivals.replies);
        let number = self.slots.len() - 1;
        self.slots[number].slot.replies += replies as u64;
        self.slots[number].slot.own_losses += lost as u64;
        if self.scene.bottleneck == Bottleneck::Receiver {
            // Of probes, seen from the other side.
            let open = &mut self.slots[number];
            open.lost += lost / all.max(1.0) * open.rate_pps * TICK_S;
        }
        self.resets = replies + of_canaries - lost_canaries;
        self.hosts += replies;
        for (slot, count) in &arrivals.canaries {
            let missed = lost_canaries.min(*count);
            lost_canaries -= missed;
            let is_in_time = number <= slot + LAG_SLOTS as usize;
            if is_in_time {
                self.slots[*slot].slot.answered += (count - missed) as u64;
                self.slots[*slot].rtt_s += arrivals.rtt_s * (count - missed) / of_canaries.max(1.0);
            }
        }
    }

    /// The facts of a slot.
    fn report(&self, number: usize) -> Slot {
        let Open { slot, rtt_s, .. } = self.slots[number];
        let answered = slot.answered as f64;
        Slot { rtt: (answered > 0.0).then(|| Duration::from_secs_f64(rtt_s / answered)), ..slot }
    }
}
