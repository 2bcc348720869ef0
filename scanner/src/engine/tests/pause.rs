//! A scan that the user pauses.

use std::sync::atomic::AtomicU64;

use super::super::PauseCause;
use super::*;

/// Waits until a condition holds, but not for ever.
fn wait_for(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The number of probes that have left, and the responder that counts them.
fn counted() -> (Arc<AtomicU64>, Responder) {
    let sent = Arc::new(AtomicU64::new(0));
    let counting = Arc::clone(&sent);
    let responder: Responder = Arc::new(move |_| {
        counting.fetch_add(1, Ordering::Relaxed);
        vec![]
    });
    (sent, responder)
}

/// While a scan is paused nothing leaves. Afterwards it goes on, and each target is probed once: a pause puts nothing
/// in doubt.
#[test]
fn a_pause_sends_nothing_and_repeats_nothing() {
    for (workers, rate_pps) in [(1, 2_000), (3, 2_000)] {
        let (sent, responder) = counted();
        let control = Control::new(workers);
        let setup = Setup { workers, rate_pps, responder, ..Setup::default() };
        let outcome = std::thread::scope(|scope| {
            scope.spawn(|| {
                wait_for("probes", || sent.load(Ordering::Relaxed) > 50);
                control.pause(PauseCause::Command);
                wait_for("all workers pause", || control.is_quiet());
                let before = sent.load(Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(200));
                assert_eq!(sent.load(Ordering::Relaxed), before);
                // Another cause does not end it.
                control.unpause(PauseCause::Suspension);
                std::thread::sleep(Duration::from_millis(20));
                assert_eq!(sent.load(Ordering::Relaxed), before);
                control.unpause(PauseCause::Command);
            });
            run_with(&setup, &control)
        });
        assert_eq!(outcome.end.reason, EndReason::Complete);
        assert_eq!((outcome.probes.len(), outcome.total.targets_again), (512, 0), "{workers} workers");
        assert_eq!(outcome.probes.iter().collect::<BTreeSet<_>>().len(), 512);
        assert!(!control.is_quiet());
    }
}

/// Once a pause is over, the scan does not catch up on what it would have sent.
#[test]
fn no_burst_follows_a_pause() {
    let (sent, responder) = counted();
    let control = Control::new(1);
    let setup = Setup { rate_pps: 1_000, responder, ..Setup::default() };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            wait_for("probes", || sent.load(Ordering::Relaxed) > 20);
            control.pause(PauseCause::Suspension);
            wait_for("the worker pauses", || control.is_quiet());
            std::thread::sleep(Duration::from_millis(300));
            let (before, resumed) = (sent.load(Ordering::Relaxed), Instant::now());
            control.unpause(PauseCause::Suspension);
            wait_for("probes", || sent.load(Ordering::Relaxed) > before + 100);
            // Those 100 ms of frames that a late worker may catch up would leave in 50 ms.
            assert!(resumed.elapsed() >= Duration::from_millis(90), "{:?}", resumed.elapsed());
        });
        run_with(&setup, &control);
    });
}

/// A stop ends a scan that is paused, and so does the limit on its run time, which goes on meanwhile.
#[test]
fn a_paused_scan_ends() {
    for max_runtime in [None, Some(Duration::from_millis(200))] {
        let (sent, responder) = counted();
        let control = Control::new(2);
        let setup = Setup { workers: 2, rate_pps: 1_000, responder, max_runtime, ..Setup::default() };
        control.pause(PauseCause::Command);
        let outcome = std::thread::scope(|scope| {
            scope.spawn(|| {
                wait_for("all workers pause", || control.is_quiet());
                if max_runtime.is_none() {
                    control.stop(EndReason::Interrupted);
                }
            });
            run_with(&setup, &control)
        });
        let expected = if max_runtime.is_some() { EndReason::MaxRuntime } else { EndReason::Interrupted };
        assert_eq!((outcome.end.reason, sent.load(Ordering::Relaxed)), (expected, 0));
    }
}
