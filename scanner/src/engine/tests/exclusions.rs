//! A block list that grows while the scan runs.

use std::sync::atomic::AtomicU64;

use super::*;

/// The half of the targets that is excluded.
fn half() -> RangeSet {
    AddressRange::new(0xc612_0780, 0xc612_07ff).into_iter().collect()
}

fn is_excluded(address: u32) -> bool {
    half().contains(address)
}

/// What leaves, and whether it may.
#[derive(Default)]
struct Gate {
    sent: AtomicU64,
    is_shut: AtomicBool,
    /// Probes to an excluded address after the gate was shut.
    violations: AtomicU64,
}

impl Gate {
    fn responder(self: &Arc<Self>, flags: Option<u8>) -> Responder {
        let gate = Arc::clone(self);
        Arc::new(move |probe: &[u8]| {
            gate.sent.fetch_add(1, Ordering::Relaxed);
            let is_violation = gate.is_shut.load(Ordering::SeqCst) && is_excluded(packet(probe).destination);
            gate.violations.fetch_add(is_violation.into(), Ordering::Relaxed);
            flags.map(|flags| reply(probe, flags)).into_iter().collect()
        })
    }

    /// Excludes half of the targets once some probes have left, and shuts the gate when that is certain.
    fn shut(&self, control: &Control, exclusions: &Exclusions) {
        while self.sent.load(Ordering::Relaxed) < 100 {
            std::hint::spin_loop();
        }
        let generation = exclusions.extend(&half());
        control.restart_pace();
        let since = Instant::now();
        while !exclusions.is_certain(generation) {
            assert!(since.elapsed() < Duration::from_secs(20), "never certain");
            std::hint::spin_loop();
        }
        self.is_shut.store(true, Ordering::SeqCst);
    }
}

/// Once it is certain, no probe of what is excluded leaves, also where frames wait in the port; and every target is
/// either probed or left out.
#[test]
fn nothing_leaves_once_it_is_certain() {
    for (workers, copies, lags) in [(1, 1, false), (3, 2, false), (1, 1, true), (3, 2, true)] {
        let gate = Arc::new(Gate::default());
        let prepare: fn(&mut MemoryPort) = if lags { |port| port.lags = true } else { |_| {} };
        let responder = gate.responder(None);
        let setup = Setup { workers, copies, rate_pps: 2_000, responder, prepare, ..Setup::default() };
        let (control, exclusions) =
            (Control::new(workers), Exclusions::new(RangeSet::default(), setup.workers));
        let outcome = std::thread::scope(|scope| {
            scope.spawn(|| gate.shut(&control, &exclusions));
            excluding(&setup, &control, &exclusions, |_| {})
        });
        let case = format!("{workers} workers, {copies} copies, lags: {lags}");
        assert_eq!(gate.violations.load(Ordering::Relaxed), 0, "{case}");
        let total = &outcome.total;
        assert!(total.targets_excluded_late > 0, "{case}: nothing was left");
        assert_eq!((total.targets_done(), outcome.end.reason), (512, EndReason::Complete), "{case}");
        assert_eq!(total.tx_submitted, total.targets * u64::from(copies), "{case}");
        let probed: BTreeSet<_> = outcome.probes.iter().copied().collect();
        let kept = whole_space().into_iter().filter(|(address, _)| !is_excluded(*address));
        assert!(kept.into_iter().all(|target| probed.contains(&target)), "{case}");
    }
}

/// A queue that stands still keeps it from being certain; the scan can be stopped all the same.
#[test]
fn frames_that_do_not_leave_are_waited_for() {
    let setup = Setup { prepare: |port| port.stuck = true, ring_len: 64, ..Setup::default() };
    let (control, exclusions) = (Control::new(1), Exclusions::new(RangeSet::default(), 1));
    let outcome = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(50));
            let generation = exclusions.extend(&half());
            control.restart_pace();
            std::thread::sleep(Duration::from_millis(200));
            assert!(!exclusions.is_certain(generation));
            control.stop(EndReason::Interrupted);
        });
        excluding(&setup, &control, &exclusions, |_| {})
    });
    assert_eq!((outcome.end.reason, outcome.total.tx_submitted), (EndReason::Interrupted, 64));
}

/// What is probed again after an outage is not probed if it is excluded by then, and is counted as the target that it
/// was.
#[test]
fn repeats_are_left_out() {
    let gate = Arc::new(Gate::default());
    let control = Control::new(2);
    let exclusions = Exclusions::new(RangeSet::default(), 2);
    let setup = Setup { workers: 2, rate_pps: 4_000, responder: gate.responder(None), ..Setup::default() };
    let began = Instant::now();
    let outcome = std::thread::scope(|scope| {
        scope.spawn(|| {
            while gate.sent.load(Ordering::Relaxed) < 200 {
                std::thread::sleep(Duration::from_millis(1));
            }
            control.hold(began);
            gate.shut(&control, &exclusions);
            control.resume();
        });
        excluding(&setup, &control, &exclusions, |_| {})
    });
    let total = &outcome.total;
    assert_eq!(gate.violations.load(Ordering::Relaxed), 0);
    assert!(total.targets_again > 0 && total.targets_excluded_late > 0, "{total:?}");
    assert_eq!((total.targets_done(), outcome.end.reason), (512, EndReason::Complete));
    let of_excluded = outcome.probes.iter().filter(|(address, _)| is_excluded(*address)).count();
    let different: BTreeSet<_> = outcome.probes.iter().filter(|(address, _)| is_excluded(*address)).collect();
    assert_eq!(of_excluded, different.len(), "nothing of it was repeated");
}

/// A host that has been excluded since it was probed gets no reset for its late answer, and that is counted.
#[test]
fn no_reset_for_what_is_excluded() {
    let gate = Arc::new(Gate::default());
    let late = Mutex::new(Vec::new());
    let (shared, counted) = (Arc::clone(&gate), gate.responder(Some(TCP_SYN | TCP_ACK)));
    let responder: Responder = Arc::new(move |probe: &[u8]| {
        let answers = counted(probe);
        let mut late = late.lock().unwrap();
        if is_excluded(packet(probe).destination) {
            late.extend(answers);
            return vec![];
        }
        // The first host that answers afterwards brings the late answers of the others.
        let due = if shared.is_shut.load(Ordering::SeqCst) { std::mem::take(&mut *late) } else { vec![] };
        due.into_iter().chain(answers).collect()
    });
    let setup = Setup { rate_pps: 2_000, responder, ..Setup::default() };
    let (control, exclusions) = (Control::new(1), Exclusions::new(RangeSet::default(), 1));
    let outcome = std::thread::scope(|scope| {
        scope.spawn(|| gate.shut(&control, &exclusions));
        excluding(&setup, &control, &exclusions, |_| {})
    });
    let total = &outcome.total;
    let of_excluded = outcome.probes.iter().filter(|(address, _)| is_excluded(*address)).count() as u64;
    assert!(of_excluded > 0 && total.rst_excluded_late == of_excluded, "{of_excluded} {total:?}");
    assert_eq!((outcome.resets as u64, total.rst_no_room), (512 / 2, 0), "{total:?}");
    let gets_reset = |frame: &Vec<u8>| is_excluded(packet(frame).destination);
    assert!(!outcome.reset_frames.iter().any(gets_reset));
}
