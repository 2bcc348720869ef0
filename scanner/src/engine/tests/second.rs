//! Second probes: which targets get them, and when.

use proptest::prelude::*;

use super::*;

/// A probe that left: its target, whether it is a second one, and when.
type Left = ((u32, u16), bool, Instant);

/// Each probe that left.
#[derive(Default)]
struct Log(Mutex<Vec<Left>>);

impl Log {
    fn responder(self: &Arc<Self>) -> Responder {
        let log = Arc::clone(self);
        let ports = PortRange { first: 40_000, count: 1000 };
        Arc::new(move |probe: &[u8]| {
            let (packet, segment) = (packet(probe), segment(probe));
            let (address, port) = (packet.destination, segment.destination_port);
            let proof = cookie(Key::from_bytes([9; 16]), packet.source, address, port, 6);
            let number = ports.probe_number(proof, segment.source_port, 2).expect("a probe");
            log.0.lock().unwrap().push(((address, port), number == 1, Instant::now()));
            vec![]
        })
    }

    /// The targets of first or second probes, in order.
    fn targets(&self, second: bool) -> Vec<(u32, u16)> {
        let mut targets: Vec<_> = self
            .0
            .lock()
            .unwrap()
            .iter()
            .filter(|(_, is_second, _)| *is_second == second)
            .map(|(target, _, _)| *target)
            .collect();
        targets.sort_unstable();
        targets
    }

    /// The shortest time between the probes of a target.
    fn shortest_gap(&self) -> Duration {
        let log = self.0.lock().unwrap();
        let firsts = log.iter().filter(|(_, is_second, _)| !is_second);
        let gaps = firsts.filter_map(|(target, _, at)| {
            let second = log.iter().find(|(other, is_second, _)| *is_second && other == target);
            second.map(|(_, _, then)| then.saturating_duration_since(*at))
        });
        gaps.min().unwrap_or(Duration::MAX)
    }
}

/// The targets of the sample.
fn sampled(share: f64) -> Vec<(u32, u16)> {
    let sample = Sample::new(SAMPLE_KEY, share);
    whole_space().into_iter().filter(|&(address, port)| sample.holds(address, port)).collect()
}

fn all() -> Vec<(u32, u16)> {
    whole_space().into_iter().collect()
}

const GAP: Duration = Duration::from_millis(120);

/// Each target of the sample gets one probe more, and no sooner than the gap after its first, whatever the number of
/// workers, the rate and the length of leases.
#[test]
fn each_target_of_the_sample_once_more() {
    for (workers, share, rate_pps, lease_len) in
        [(1, 1.0, 0, 16), (3, 1.0, 4_000, 7), (1, 0.25, 2_000, 16), (2, 0.25, 0, 64), (3, 0.01, 20_000, 16)]
    {
        let log = Arc::<Log>::default();
        let outcome = run(&Setup {
            workers,
            rate_pps,
            lease_len,
            second: Some((share, GAP)),
            responder: log.responder(),
            ..Setup::default()
        });
        let case = format!("{workers} workers, {share} at {rate_pps}, leases of {lease_len}");
        assert_eq!(outcome.end.reason, EndReason::Complete, "{case}");
        assert_eq!(log.targets(false), all(), "{case}");
        assert_eq!(log.targets(true), sampled(share), "{case}");
        assert!(log.shortest_gap() >= GAP, "{case}: {:?}", log.shortest_gap());
        let total = &outcome.total;
        let expected = sampled(share).len() as u64;
        assert_eq!(
            (total.targets, total.second_generated, total.second_probed),
            (512, expected, expected),
            "{case}"
        );
        assert_eq!(total.tx_submitted, 512 + expected, "{case}");
        assert_eq!((outcome.end.second_left.len(), outcome.end.second_in_doubt.len()), (0, 0), "{case}");
        // Only sending counts as time of sending.
        if rate_pps == 0 {
            assert!(outcome.end.still >= GAP / 2, "{case}: {:?}", outcome.end.still);
        }
    }
}

/// A limit is one on targets, and these get their second probes.
#[test]
fn the_first_targets_and_no_others() {
    for (workers, max_targets) in [(1, 100), (3, 77), (2, 1)] {
        let log = Arc::<Log>::default();
        let outcome = run(&Setup {
            workers,
            max_targets: Some(max_targets),
            lease_len: 5,
            second: Some((1.0, GAP)),
            responder: log.responder(),
            ..Setup::default()
        });
        assert_eq!(outcome.total.targets, max_targets);
        assert_eq!(log.targets(false).len() as u64, max_targets);
        assert_eq!(log.targets(true), log.targets(false), "{workers} workers");
    }
}

/// Second probes that may be lost in an outage are sent again, as first ones are.
#[test]
fn an_outage_loses_none() {
    for (workers, after_ms) in [(1, 60), (2, 200), (3, 260)] {
        let log = Arc::<Log>::default();
        let is_down = Arc::new(AtomicBool::new(false));
        let control = Control::new(workers);
        let responder = {
            let (log, is_down) = (log.responder(), Arc::clone(&is_down));
            Arc::new(move |probe: &[u8]| match is_down.load(Ordering::Relaxed) {
                true => vec![],
                false => log(probe),
            })
        };
        let setup =
            Setup { workers, rate_pps: 3_000, second: Some((1.0, GAP)), responder, ..Setup::default() };
        let outcome = std::thread::scope(|scope| {
            scope.spawn(|| {
                let sleep = |ms| std::thread::sleep(Duration::from_millis(ms));
                sleep(after_ms);
                // A worker may be between the time of its turn and handing over.
                let doubt_from = Instant::now().checked_sub(Duration::from_millis(30)).unwrap();
                is_down.store(true, Ordering::Relaxed);
                sleep(30);
                control.hold(doubt_from);
                sleep(50);
                is_down.store(false, Ordering::Relaxed);
                control.resume();
            });
            run_with(&setup, &control)
        });
        let once = |second| log.targets(second).into_iter().collect::<BTreeSet<_>>();
        assert_eq!((once(false), once(true)), (whole_space(), whole_space()), "after {after_ms} ms");
        let total = &outcome.total;
        assert_eq!((total.targets, total.second_probed), (512, 512));
        assert!(total.targets_again + total.second_again > 0, "the link was never missed");
        assert_eq!(total.tx_submitted, 1024 + total.targets_again + total.second_again);
    }
}

/// What is excluded gets no second probe either.
#[test]
fn excluded_targets_get_none() {
    let log = Arc::<Log>::default();
    let half: RangeSet = AddressRange::new(0xc612_0780, 0xc612_07ff).into_iter().collect();
    let (control, exclusions) = (Control::new(2), Exclusions::new(RangeSet::default(), 2));
    let setup =
        Setup { workers: 2, second: Some((1.0, 3 * GAP)), responder: log.responder(), ..Setup::default() };
    let outcome = std::thread::scope(|scope| {
        scope.spawn(|| {
            // All first probes have left by then, and no second one.
            while log.targets(false).len() < 512 {
                std::thread::sleep(Duration::from_millis(1));
            }
            exclusions.extend(&half);
            control.restart_pace();
        });
        excluding(&setup, &control, &exclusions, |_| {})
    });
    assert!(log.targets(true).iter().all(|(address, _)| !half.contains(*address)));
    let total = &outcome.total;
    assert_eq!((total.second_generated, total.second_probed, total.second_excluded_late), (512, 256, 256));
}

/// A neighbour that is not there is not probed a second time either, and counted.
#[test]
fn neighbours_that_are_not_there() {
    let network = AddressRange::prefix([198, 18, 7, 0].into(), 25);
    let known = [(0xc612_0707, MacAddr([7; 6]))];
    let gateways = Arc::new(Gateways::new([MacAddr([4; 6])]));
    let neighborhood = Neighborhood::new(vec![(network, Hop::Neighbor)], known, gateways);
    let log = Arc::<Log>::default();
    let outcome = run(&Setup {
        neighborhood: Some(neighborhood),
        second: Some((1.0, GAP)),
        responder: log.responder(),
        ..Setup::default()
    });
    let total = &outcome.total;
    assert_eq!((total.targets, total.targets_unreachable), (258, 254));
    assert_eq!((total.second_generated, total.second_probed, total.second_unreachable), (512, 258, 254));
    assert_eq!(log.targets(true), log.targets(false));
}

/// How a run ends before its time.
#[derive(Clone, Copy, Debug)]
enum Interruption {
    /// It is stopped, and knows what is left.
    Stopped,
    /// It is killed: what is left is what its checkpoint said.
    Killed,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// However a scan is interrupted, each target gets its first probe, and each of the sample its second one, later
    /// than the gap after a first one; and each once, unless a run is killed.
    #[test]
    fn interruptions(
        workers in 1usize..4,
        lease_len in 1u64..40,
        share in prop_oneof![Just(1.0), 0.05f64..1.0],
        stops in prop::collection::vec((10u64..300, prop_oneof![Just(Interruption::Stopped), Just(Interruption::Killed)]), 1..3),
    ) {
        let log = Arc::<Log>::default();
        let mut open = None;
        let mut was_killed = false;
        for (after_ms, interruption) in stops.iter().map(|&(ms, how)| (Some(ms), how)).chain([(None, Interruption::Stopped)]) {
            let control = Control::new(workers);
            let setup = Setup {
                workers,
                lease_len,
                rate_pps: 4_000,
                second: Some((share, GAP / 2)),
                responder: log.responder(),
                open: open.clone(),
                // Answers come at once here.
                overlap: Duration::from_millis(5),
                cooldown: Duration::from_millis(20),
                ..Setup::default()
            };
            let outcome = std::thread::scope(|scope| {
                let (sender, receiver) = std::sync::mpsc::channel::<()>();
                scope.spawn({
                    let control = &control;
                    move || {
                        // Until the time has come, or the run is over.
                        let Some(after_ms) = after_ms else { return };
                        if receiver.recv_timeout(Duration::from_millis(after_ms)).is_err() {
                            control.stop(EndReason::Interrupted);
                        }
                    }
                });
                let outcome = run_with(&setup, &control);
                drop(sender);
                outcome
            });
            if outcome.end.reason == EndReason::Complete {
                break;
            }
            prop_assert!(after_ms.is_some());
            was_killed |= matches!(interruption, Interruption::Killed);
            open = Some(match interruption {
                Interruption::Killed => outcome.low_water,
                Interruption::Stopped => Open {
                    first: targets::merged([outcome.end.left, outcome.end.in_doubt].concat()),
                    second: targets::merged([outcome.end.second_left, outcome.end.second_in_doubt].concat()),
                },
            });
        }
        let [mut firsts, mut seconds] = [false, true].map(|second| log.targets(second));
        if was_killed {
            firsts.dedup();
            seconds.dedup();
        }
        prop_assert_eq!(firsts, all());
        prop_assert_eq!(seconds, sampled(share));
        prop_assert!(was_killed || log.shortest_gap() >= GAP / 2, "{:?}", log.shortest_gap());
    }
}
