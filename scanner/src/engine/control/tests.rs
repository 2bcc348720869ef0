//! Holds, pauses, and what they tell the workers.

use super::*;

#[test]
fn a_hold_is_settled_when_all_have_seen_its_end() {
    let control = Control::new(2);
    assert!(control.is_settled());
    let from = control.origin + Duration::from_millis(7);
    control.hold(from);
    control.hold(control.origin);
    assert!(control.is_held() && !control.is_settled());
    assert_eq!(control.doubt_from(), from, "a second hold inside the first changes nothing");
    control.saw(1);
    control.resume();
    control.resume();
    assert!(!control.is_held() && !control.is_settled());
    control.saw(1);
    assert!(!control.is_settled());
    control.saw(2);
    assert!(control.is_settled());
}

/// What is to be repeated joins a hold that has not ended, and waits for one whose end not all have seen.
#[test]
fn repeating_without_an_outage() {
    let control = Control::new(1);
    let ms = |ms| control.origin + Duration::from_millis(ms);
    assert!(control.repeat_since(Duration::from_millis(9)));
    assert!(control.is_held() && control.doubt_from() == ms(9));
    assert!(control.repeat_since(Duration::from_millis(5)) && control.repeat_since(Duration::from_millis(7)));
    assert_eq!((control.doubt_from(), control.orders().holds()), (ms(5), 1));
    control.resume();
    assert!(!control.repeat_since(Duration::from_millis(3)));
    assert_eq!(control.doubt_from(), ms(5));
    control.saw(2);
    assert!(control.repeat_since(Duration::from_millis(8)));
    control.hold(ms(2));
    assert_eq!((control.doubt_from(), control.orders().holds()), (ms(8), 3));
}

/// A pause puts nothing in doubt, and each cause ends its own. It leaves a hold as it is.
#[test]
fn a_pause_is_no_hold() {
    let control = Control::new(1);
    let restarts = |control: &Control| control.orders().restarts();
    control.unpause(PauseCause::Command);
    assert_eq!(control.orders(), Orders::default());
    for cause in [PauseCause::Command, PauseCause::Command, PauseCause::Suspension] {
        control.pause(cause);
        assert!(control.is_paused() && control.orders().is_still() && !control.is_held());
        assert!(control.is_settled());
    }
    control.unpause(PauseCause::Suspension);
    assert!(control.is_paused());
    assert_eq!(restarts(&control), 1);
    control.hold(Instant::now());
    control.unpause(PauseCause::Command);
    assert!(!control.is_paused() && control.is_held() && control.orders().is_still());
    assert_eq!((restarts(&control), control.orders().holds()), (2, 1));
    control.resume();
    control.restart_pace();
    assert!(!control.orders().is_still());
    assert_eq!((restarts(&control), control.orders().holds()), (3, 2));
    PauseCause::ALL.into_iter().for_each(|cause| control.pause(cause));
    control.unpause(PauseCause::Command);
    assert_eq!(control.pauses().collect::<Vec<_>>(), [PauseCause::Suspension, PauseCause::Output]);
}

#[test]
fn quiet_is_when_all_are() {
    let control = Control::new(2);
    assert!(!control.is_quiet());
    control.set_quiet(true);
    assert!(!control.is_quiet());
    control.set_quiet(true);
    assert!(control.is_quiet());
    control.set_quiet(false);
    assert!(!control.is_quiet());
    control.beat(1);
    assert_eq!(control.beats(), [0, 1]);
}

#[test]
fn the_first_reason_stays() {
    let control = Control::new(1);
    assert!(!control.is_stopping());
    assert_eq!(control.stop_reason(), None);
    for reason in EndReason::ALL {
        control.stop(reason);
    }
    assert_eq!(control.stop_reason(), Some(EndReason::Complete));
    for reason in EndReason::ALL {
        let control = Control::new(1);
        control.stop(reason);
        assert_eq!(control.stop_reason(), Some(reason));
    }
}
