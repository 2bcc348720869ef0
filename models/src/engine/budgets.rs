//! What workers draw from together: the budget of resets, and the pacer.

use loom::sync::Arc;
use loom::thread;

use super::pace::{PS_PER_S, Pacer};
use super::resets::{ResetBudget, ResetCap};

/// Two workers ask for more resets than there are probes, while one of them sends another probe.
pub(super) fn resets_never_outnumber_probes() {
    let budget = Arc::new(ResetBudget::default());
    budget.add_probes(1);
    let other = {
        let budget = Arc::clone(&budget);
        thread::spawn(move || {
            let mut cap = ResetCap::new();
            (0..2).filter(|&host| cap.allows(host, 80, &budget)).count()
        })
    };
    let mut cap = ResetCap::new();
    let mut sent = usize::from(cap.allows(7, 80, &budget));
    assert!(sent <= 1, "one probe has left");
    budget.add_probes(1);
    sent += usize::from(cap.allows(8, 80, &budget));
    sent += other.join().expect("a worker");
    assert!(sent <= 2, "{sent} resets for two probes");
    // A refusal takes nothing out of the budget for good.
    let rest = (9..14).filter(|&host| cap.allows(host, 80, &budget)).count();
    assert_eq!(sent + rest, 2);
}

/// A thousand frames per second, so that a millisecond is due for each.
const INTERVAL_PS: u64 = PS_PER_S / 1_000;

/// Two workers ask at the same time, twice each for two: together they get no more than is due, and all that they get
/// moves the next frame's time and the burst's end.
pub(super) fn the_rate_is_kept() {
    let pacer = Arc::new(Pacer::new(1_000.0, 2));
    let now_ps = 3 * INTERVAL_PS;
    let ask = move |pacer: &Pacer| (0..2).map(|_| pacer.grant(now_ps, 2, 1).count as u64).sum::<u64>();
    let other = {
        let pacer = Arc::clone(&pacer);
        thread::spawn(move || ask(&pacer))
    };
    let granted = ask(&pacer) + other.join().expect("a worker");
    assert!((1..=4).contains(&granted), "{granted} of four frames");
    // Nobody may ask before the end of the bursts of all that was granted.
    let end_ps = now_ps + granted * INTERVAL_PS / 2;
    let next = pacer.grant(end_ps - 1, 2, 1);
    assert_eq!((next.count, next.again_at_ps), (0, end_ps.max(granted * INTERVAL_PS)));
}

/// A worker gives back what it has no targets for, while another one asks: the next frame is due as if only the other's
/// had left.
pub(super) fn what_is_given_back_is_due() {
    let pacer = Arc::new(Pacer::new(1_000.0, 2));
    let now_ps = 3 * INTERVAL_PS;
    let other = {
        let pacer = Arc::clone(&pacer);
        thread::spawn(move || {
            let granted = pacer.grant(now_ps, 2, 1).count as u64;
            pacer.refund(granted);
        })
    };
    let sent = pacer.grant(now_ps, 2, 1).count as u64;
    other.join().expect("a worker");
    if sent == 0 {
        assert!(pacer.grant(now_ps, 2, 1).count > 0, "all was given back");
    } else {
        let next = pacer.grant(0, 2, 1);
        assert_eq!((next.count, next.again_at_ps), (0, sent * INTERVAL_PS));
    }
}
