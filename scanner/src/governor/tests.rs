//! What the governor promises, over simulated paths.

use super::simulation::{Bottleneck, Point, Run, Scene, run};
use super::*;

const RUNS: u64 = 20;

fn scene(bottleneck: Bottleneck, hit_rate: f64, run: u64) -> Scene {
    Scene::of_run(bottleneck, hit_rate, run)
}

/// How the runs of a cell went.
#[derive(Debug, Default)]
struct Cell {
    estimates: u32,
    held: u32,
    both: u32,
    losses: u32,
}

fn judge(run: &Run, knee_pps: f64) -> (bool, bool, bool) {
    let found =
        run.points.iter().take_while(|point| point.at <= 15.0).last().and_then(|point| point.found_pps);
    let is_close = found.is_some_and(|found| (found / knee_pps - 1.0).abs() <= 0.05);
    let held: Vec<_> = run.points.iter().filter(|point| point.at > 15.0 && point.is_held).collect();
    let is_held =
        held.len() > 100 && held.iter().all(|point| (0.9..=1.0).contains(&(point.rate_pps / knee_pps)));
    let lost = held.iter().map(|point| point.lost * point.rate_pps).sum::<f64>();
    let sent = held.iter().map(|point| point.rate_pps).sum::<f64>();
    (is_close, is_held, lost <= 0.01 * sent)
}

/// 180 runs: three bottlenecks, three hit rates, 20 seeds.
#[test]
fn finds_hidden_knees() {
    let mut all = 0;
    for bottleneck in [Bottleneck::Policer, Bottleneck::Queue, Bottleneck::Receiver] {
        for hit_rate in [0.005, 0.05, 0.5] {
            let mut cell = Cell::default();
            for number in 0..RUNS {
                let scene = scene(bottleneck, hit_rate, number);
                let run = run(scene, 45.0);
                let (is_close, is_held, is_lossless) = judge(&run, scene.knee_pps);
                cell.estimates += u32::from(is_close);
                cell.held += u32::from(is_held);
                cell.both += u32::from(is_close && is_held);
                cell.losses += u32::from(!is_lossless);
            }
            all += cell.both;
            assert!(cell.both >= 16 && cell.losses == 0, "{bottleneck:?} {hit_rate}: {cell:?}");
        }
    }
    assert!(all >= 162, "{all} of 180");
}

/// The mean rate that was held from a time on.
fn mean_held(points: &[Point], from: f64) -> f64 {
    let held: Vec<f64> = points.iter().filter(|p| p.at > from && p.is_held).map(|p| p.rate_pps).collect();
    held.iter().sum::<f64>() / held.len().max(1) as f64
}

/// A loss that does not depend on the rate does not slow a scan down, with a knee and with a cap below it.
#[test]
fn constant_loss_costs_nothing() {
    for cap_pps in [0.0, 80_000.0] {
        let held = |constant_loss| -> f64 {
            let of = |number| {
                let scene = Scene { constant_loss, cap_pps, ..scene(Bottleneck::Policer, 0.05, number) };
                mean_held(&run(scene, 45.0).points, 15.0) / scene.knee_pps
            };
            (0..RUNS).map(of).sum::<f64>() / RUNS as f64
        };
        let without = held(0.0);
        for constant_loss in [0.05, 0.2] {
            let with = held(constant_loss);
            assert!(with > 0.98 * without, "{constant_loss} at a cap of {cap_pps}: {with} of {without}");
        }
    }
}

/// Where the knee halves while a rate is held, the rate is below the new one within 5 s.
#[test]
fn steps_back_where_the_knee_halves() {
    for bottleneck in [Bottleneck::Policer, Bottleneck::Queue, Bottleneck::Receiver] {
        for hit_rate in [0.005, 0.05, 0.5] {
            let is_below = |number| {
                let scene = Scene { change: Some((30.0, 0.5)), ..scene(bottleneck, hit_rate, number) };
                let run = run(scene, 60.0);
                let late = |from: f64, to: f64| run.points.iter().filter(move |p| p.at > from && p.at <= to);
                let first = late(30.0, 35.1).any(|p| p.rate_pps <= p.knee_pps);
                let then = mean_held(&run.points, 45.0) / (scene.knee_pps / 2.0);
                first && (0.88..=1.0).contains(&then)
            };
            let below = (0..RUNS).filter(|number| is_below(*number)).count();
            assert!(below >= 18, "{bottleneck:?} {hit_rate}: {below} of {RUNS}");
        }
    }
}

/// A path that carries more after a while is used, once that has been tried.
#[test]
fn tries_upwards() {
    let scene = Scene { change: Some((40.0, 2.0)), ..scene(Bottleneck::Policer, 0.05, 1) };
    let run = run(scene, 120.0);
    let last = run.points.last().unwrap();
    assert!((0.88..=1.0).contains(&(last.rate_pps / last.knee_pps)), "{last:?}");
    assert!(run.decisions.iter().any(|decision| decision.what == What::Try));
}

/// What was lost on the way to the knee is in the time that is probed again.
#[test]
fn the_search_costs_no_hosts() {
    for bottleneck in [Bottleneck::Policer, Bottleneck::Queue, Bottleneck::Receiver] {
        for number in 0..RUNS {
            let run = run(scene(bottleneck, 0.05, number), 20.0);
            let again = |at: f64| {
                let covers = |decision: &Decision| match decision.what {
                    What::Again(from) => from.as_secs_f64() < at && at <= decision.at.as_secs_f64() + 1e-9,
                    _ => false,
                };
                run.decisions.iter().any(covers)
            };
            let lost = |points: &mut dyn Iterator<Item = &Point>| -> f64 {
                points.map(|p| p.lost * p.rate_pps).sum()
            };
            let missed = lost(&mut run.points.iter().filter(|p| !again(p.at)));
            let all = lost(&mut run.points.iter());
            let sent = run.points.iter().map(|p| p.rate_pps).sum::<f64>();
            assert!(
                all > 0.01 * sent && missed < 0.001 * sent,
                "{bottleneck:?} {number}: {missed} of {sent}"
            );
        }
    }
}

/// Without canaries, ordinary replies tell, if there are many.
#[test]
fn goes_by_the_hit_rate_without_canaries() {
    let is_good = |number| {
        let scene = Scene { has_canaries: false, ..scene(Bottleneck::Policer, 0.5, number) };
        let run = run(scene, 60.0);
        (0.85..=1.02).contains(&(mean_held(&run.points, 30.0) / scene.knee_pps))
    };
    let good = (0..RUNS).filter(|number| is_good(*number)).count();
    assert!(good >= 18, "{good} of {RUNS}");
}

/// Never above the cap, and at the cap if nothing is lost there.
#[test]
fn keeps_the_cap() {
    for cap_pps in [500.0, 50_000.0, 95_000.0, 1e6] {
        let scene = Scene { cap_pps, ..scene(Bottleneck::Policer, 0.05, 0) };
        let run = run(scene, 30.0);
        assert!(run.points.iter().all(|point| point.rate_pps <= cap_pps));
        let last = run.points.last().unwrap();
        assert!(last.rate_pps >= 0.9 * cap_pps.min(scene.knee_pps), "{cap_pps}: {last:?}");
    }
}

/// Nothing answers: the rate stays where it began, or creeps up to the cap.
#[test]
fn blind() {
    for (cap_pps, least, most) in [(0.0, START_PPS, START_PPS), (30_000.0, 30_000.0, 30_000.0)] {
        let scene = Scene { hit_rate: 0.0, cap_pps, ..scene(Bottleneck::Policer, 0.0, 0) };
        let last = *run(scene, 300.0).points.last().unwrap();
        assert!(last.is_held && (least..=most).contains(&last.rate_pps), "{cap_pps}: {last:?}");
    }
}

/// A machine that sends no faster is no reason to ask for more.
#[test]
fn a_slow_sender() {
    let mut governor = Governor::new(0.0, None);
    let mut last = None;
    for number in 0..200_u32 {
        let wish = governor.wish();
        let sent = (wish.rate_pps.min(50_000.0) * SLOT.as_secs_f64()) as u64;
        let canaries = (sent as f64 * wish.canary_share) as u64;
        let slot = Slot {
            at: SLOT * number,
            length: SLOT,
            probes: sent - canaries,
            canaries,
            answered: (canaries * 97 + 50) / 100,
            replies: sent / 50,
            ..Slot::default()
        };
        let decided = governor.observe(slot.at + SLOT, &slot);
        last = decided.last().copied().or(last);
    }
    assert_eq!(last.map(|decision| decision.what), Some(What::Hold(Bound::Sender)));
    assert!((48_000.0..=51_000.0).contains(&governor.wish().rate_pps), "{:?}", governor.wish());
}

/// A minute's pause while a rate is held changes nothing.
#[test]
fn an_interruption_is_no_loss() {
    let mut governor = Governor::new(20_000.0, None);
    let mut decided = Vec::new();
    for number in 0..400_u32 {
        let sent = (governor.wish().rate_pps * SLOT.as_secs_f64()) as u64;
        let canaries = (sent as f64 * governor.wish().canary_share) as u64;
        let at = SLOT * number + if number >= 200 { Duration::from_secs(60) } else { Duration::ZERO };
        let slot = Slot {
            at,
            length: SLOT,
            probes: sent - canaries,
            canaries,
            replies: sent / 50,
            ..Slot::default()
        };
        if (200..205).contains(&number) {
            governor.interrupt(at + SLOT);
            continue;
        }
        let answered = (canaries * 97 + 50) / 100;
        decided.extend(governor.observe(at + SLOT, &Slot { answered, ..slot }));
    }
    assert_eq!(governor.bound(), Some(Bound::Cap));
    assert!(decided.iter().all(|decision| decision.at < Duration::from_secs(10)), "{decided:?}");
}

/// An hour at a rate that loses nothing has few false alarms.
#[test]
fn false_alarms_are_rare() {
    let scene = Scene { cap_pps: 50_000.0, ..scene(Bottleneck::Policer, 0.05, 7) };
    let run = run(scene, 3_600.0);
    let alarms = run.decisions.iter().filter(|decision| matches!(decision.what, What::StepBack(_))).count();
    assert!(alarms <= 1, "{alarms}");
}
