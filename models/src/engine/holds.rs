//! The scan's control word: pausing, repeating what may have been lost, and the end.
//!
//! The workers of these models follow a hold in the order of `engine/worker/again.rs`: gateway and doubtful time first,
//! then the number of senders, and at last the report that it was seen.

use std::time::{Duration, Instant};

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use wire::packet::MacAddr;

use super::control::{Control, EndReason};
use super::gateways::Gateways;
use super::orders::Orders;
use super::phases::Situation;

const OLD: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const NEW: MacAddr = MacAddr([4, 0xff, 0, 0, 0xff, 2]);

/// Lets `each` act on every change of the hold up to `last`, as a worker does once per turn. It is told whether sending
/// is paused.
fn follow(control: &Control, last: u32, mut each: impl FnMut(bool)) {
    let mut seen = Orders::default();
    while seen.holds() < last {
        let orders = control.orders();
        if orders == seen {
            thread::yield_now();
            continue;
        }
        let changes = orders.holds() - seen.holds();
        seen = orders;
        each(orders.is_held());
        control.saw(changes);
    }
}

/// The link is lost twice and a gateway moves in the second outage. Every worker repeats what left since either
/// doubtful time, to the new address.
pub(super) fn each_hold_is_followed(workers: usize) {
    let control = Arc::new(Control::new(workers));
    let gateways = Arc::new(Gateways::new([OLD]));
    let start = Instant::now() + Duration::from_secs(1);
    let doubts = [start, start + Duration::from_secs(5)];
    let followers: Vec<_> = (0..workers)
        .map(|_| {
            let (control, gateways) = (Arc::clone(&control), Arc::clone(&gateways));
            thread::spawn(move || {
                let (mut from, mut gateway) = (Vec::new(), OLD);
                follow(&control, 4, |is_held| {
                    if !is_held {
                        gateway = gateways.mac(0);
                        from.push(control.doubt_from());
                    }
                });
                assert!(from.iter().all(|time| doubts.contains(time)), "a time that was never given");
                assert_eq!(
                    from.iter().min(),
                    Some(&doubts[0]),
                    "what left since the first loss is not repeated"
                );
                assert_eq!(gateway, NEW);
            })
        })
        .collect();
    for doubt in doubts {
        control.hold(doubt);
        if doubt == doubts[1] {
            gateways.set(0, NEW);
        }
        control.resume();
    }
    followers.into_iter().for_each(|follower| follower.join().expect("a worker"));
    assert!(control.is_settled());
}

/// All probes were sent when the link was lost, and it is back. The scan does not take itself for complete before every
/// worker has repeated its probes.
pub(super) fn the_end_waits_for_repeats(workers: usize) {
    let control = Arc::new(Control::new(workers));
    (0..workers).for_each(|_| control.sender_finished(Duration::from_secs(1)));
    control.hold(Instant::now());
    control.resume();
    let repeated: Arc<Vec<AtomicBool>> = Arc::new((0..workers).map(|_| AtomicBool::new(false)).collect());
    let followers: Vec<_> = (0..workers)
        .map(|number| {
            let (control, repeated) = (Arc::clone(&control), Arc::clone(&repeated));
            thread::spawn(move || {
                let mut sends = false;
                follow(&control, 2, |is_held| {
                    if !is_held {
                        control.sender_resumes();
                        sends = true;
                    }
                });
                assert!(sends);
                repeated[number].store(true, Ordering::Relaxed);
                control.sender_finished(Duration::from_secs(2));
            })
        })
        .collect();
    for _ in 0..2 {
        let now = Situation::of(&control, Duration::from_secs(3), false);
        if now.is_settled && now.sent_after.is_some() {
            assert!(repeated.iter().all(|done| done.load(Ordering::Relaxed)), "an end before the repeats");
            assert_eq!(now.sent_after, Some(Duration::from_secs(2)));
        }
    }
    followers.into_iter().for_each(|follower| follower.join().expect("a worker"));
    let end = Situation::of(&control, Duration::from_secs(3), false);
    assert!(end.is_settled && end.sent_after == Some(Duration::from_secs(2)));
}

/// Once no worker sends any more, the time of the last probe is the latest of all.
pub(super) fn the_last_probe_is_known() {
    let control = Arc::new(Control::new(2));
    let workers = [3, 5].map(|seconds| {
        let control = Arc::clone(&control);
        thread::spawn(move || control.sender_finished(Duration::from_secs(seconds)))
    });
    assert!(control.sent_after().is_none_or(|after| after == Duration::from_secs(5)));
    workers.into_iter().for_each(|worker| worker.join().expect("a worker"));
    assert_eq!(control.sent_after(), Some(Duration::from_secs(5)));
}

/// Whatever stops a scan first is its reason, for every thread that asks.
pub(super) fn one_reason_stays() {
    let control = Arc::new(Control::new(1));
    let [one, other] = [EndReason::Interrupted, EndReason::LinkDown].map(|reason| {
        let control = Arc::clone(&control);
        thread::spawn(move || {
            control.stop(reason);
            assert!(control.is_stopping());
            control.stop_reason()
        })
    });
    let seen = control.stop_reason();
    let one = one.join().expect("a thread");
    assert!(one.is_some() && one == other.join().expect("a thread") && one == control.stop_reason());
    assert!(seen.is_none() || seen == one);
}
