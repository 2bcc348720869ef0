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
        let (punctual, late) = (|_, _| 0, |turn: u64, _| (60 + turn * 7_919 % 60) * (PS_PER_S / 1_000_000));
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
