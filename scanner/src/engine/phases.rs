//! The phases of a scan, from sending through cooldown to the end, as a function of observations and their times. The
//! scan's thread observes, and carries out the result.

use std::time::Duration;

use super::control::{Control, EndReason, Phase};

/// One observation of a scan.
#[derive(Clone, Copy, Debug)]
pub(super) struct Situation {
    /// Time since the scan started.
    pub(super) elapsed: Duration,
    /// Whether a worker has ended, which happens before the end of the scan only by a panic.
    pub(super) has_lost_worker: bool,
    /// Whether nothing is held by an outage, and probes that must be repeated are being repeated.
    pub(super) is_settled: bool,
    /// Whether sending is paused.
    pub(super) is_paused: bool,
    /// When the last worker had sent its last probe; `None` while any is still sending.
    pub(super) sent_after: Option<Duration>,
    /// Why the scan is to stop, if it is.
    pub(super) stop: Option<EndReason>,
    /// Whether the cooldown is to be skipped.
    pub(super) is_hurried: bool,
}

impl Situation {
    pub(super) fn of(control: &Control, elapsed: Duration, has_lost_worker: bool) -> Self {
        Self {
            elapsed,
            has_lost_worker,
            // Read before the number of senders: a worker that resumes adds itself to that number first.
            is_settled: control.is_settled(),
            is_paused: control.is_paused(),
            sent_after: control.sent_after(),
            stop: control.stop_reason(),
            is_hurried: control.is_hurried(),
        }
    }
}

/// What to do after an observation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Step {
    /// Make the workers stop sending.
    pub(super) stop: Option<EndReason>,
    /// Enter this phase.
    pub(super) enter: Option<Phase>,
    /// End the scan.
    pub(super) end: Option<EndReason>,
}

/// The phase of a scan.
#[derive(Clone, Copy, Debug)]
pub(super) struct Phases {
    max_runtime: Duration,
    cooldown: Duration,
    /// When the last probe was sent, while none is being sent.
    sent_after: Option<Duration>,
    /// Until when the cooldown was kept from starting by a pause.
    paused_until: Duration,
}

impl Phases {
    /// The phases of a scan that is about to send for at most `max_runtime`, and then waits for late replies for
    /// `cooldown`.
    pub(super) fn new(max_runtime: Duration, cooldown: Duration) -> Self {
        Self { max_runtime, cooldown, sent_after: None, paused_until: Duration::ZERO }
    }

    /// When the last probe was sent, since the scan's start; `None` while any is being sent.
    pub(super) fn sent_after(&self) -> Option<Duration> {
        self.sent_after
    }

    /// Processes an observation.
    pub(super) fn step(&mut self, now: &Situation) -> Step {
        if now.has_lost_worker {
            let reason = Some(EndReason::SendFailed);
            return Step { stop: reason, enter: None, end: reason };
        }
        let is_late = self.sent_after.is_none() && now.elapsed >= self.max_runtime;
        let stop = is_late.then_some(EndReason::MaxRuntime);
        // A pause delays the cooldown, but neither the limit on the run time nor a stop.
        let waits = now.is_paused && self.sent_after.is_none() && now.stop.or(stop).is_none();
        if waits {
            self.paused_until = now.elapsed;
        }
        let sent_after = now.sent_after.filter(|_| !waits);
        let enter = match (self.sent_after, sent_after) {
            (None, Some(_)) => Some(Phase::Cooldown),
            (Some(_), None) => Some(Phase::Sending),
            _ => None,
        };
        self.sent_after = sent_after;
        Step { stop, enter, end: self.end(now, now.stop.or(stop)) }
    }

    /// Why the scan ends now, if it does.
    fn end(&self, now: &Situation, stop: Option<EndReason>) -> Option<EndReason> {
        let since_sent = now.elapsed.saturating_sub(self.sent_after?.max(self.paused_until));
        let skips = now.is_hurried || stop.is_some_and(|reason| !reason.cools_down());
        let may_end = now.is_settled || stop.is_some();
        let ends = skips || may_end && since_sent >= self.cooldown;
        ends.then(|| stop.unwrap_or(EndReason::Complete))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_RUNTIME_MS: u64 = 10_000;
    const COOLDOWN_MS: u64 = 1_000;

    fn phases() -> Phases {
        Phases::new(Duration::from_millis(MAX_RUNTIME_MS), Duration::from_millis(COOLDOWN_MS))
    }

    /// An observation at this time, of a scan that runs well and sends probes.
    fn at(ms: u64) -> Situation {
        Situation {
            elapsed: Duration::from_millis(ms),
            has_lost_worker: false,
            is_settled: true,
            is_paused: false,
            sent_after: None,
            stop: None,
            is_hurried: false,
        }
    }

    /// An observation at this time, if the last probe was sent at `sent_ms`.
    fn sent(ms: u64, sent_ms: u64) -> Situation {
        Situation { sent_after: Some(Duration::from_millis(sent_ms)), ..at(ms) }
    }

    const ON: Step = Step { stop: None, enter: None, end: None };

    fn enter(phase: Phase) -> Step {
        Step { enter: Some(phase), ..ON }
    }

    fn end(reason: EndReason) -> Step {
        Step { end: Some(reason), ..ON }
    }

    #[test]
    fn all_is_sent_and_late_replies_are_waited_for() {
        let mut phases = phases();
        assert_eq!(phases.step(&at(20)), ON);
        assert_eq!(phases.step(&sent(520, 501)), enter(Phase::Cooldown));
        assert_eq!(phases.sent_after(), Some(Duration::from_millis(501)));
        assert_eq!(phases.step(&sent(1_500, 501)), ON);
        assert_eq!(phases.step(&sent(1_501, 501)), end(EndReason::Complete));
    }

    #[test]
    fn without_a_cooldown_the_end_is_at_once() {
        let mut phases = Phases::new(Duration::MAX, Duration::ZERO);
        assert_eq!(
            phases.step(&sent(20, 7)),
            Step { end: Some(EndReason::Complete), ..enter(Phase::Cooldown) }
        );
    }

    /// The first cause that stops a scan is its reason. Its frames are sent first, and the scan waits for late replies
    /// if they are worth it.
    #[test]
    fn every_reason_ends_it() {
        for reason in EndReason::ALL {
            let mut phases = phases();
            let stopped = |situation| Situation { stop: Some(reason), ..situation };
            assert_eq!(phases.step(&stopped(at(100))), ON, "{reason:?}: frames are under way");
            let first = phases.step(&stopped(sent(120, 110)));
            assert_eq!(first.enter, Some(Phase::Cooldown), "{reason:?}");
            assert_eq!(first.end, (!reason.cools_down()).then_some(reason), "{reason:?}");
            if reason.cools_down() {
                assert_eq!(phases.step(&stopped(sent(1_109, 110))), ON, "{reason:?}");
                assert_eq!(phases.step(&stopped(sent(1_110, 110))), end(reason));
            }
        }
    }

    #[test]
    fn hurry_skips_the_cooldown_and_nothing_else() {
        let mut phases = phases();
        let hurried = |situation| Situation { is_hurried: true, ..situation };
        assert_eq!(phases.step(&hurried(at(100))), ON);
        let stopped = Situation { stop: Some(EndReason::Interrupted), ..hurried(sent(120, 110)) };
        let both = Step { end: Some(EndReason::Interrupted), ..enter(Phase::Cooldown) };
        assert_eq!(phases.step(&stopped), both);
    }

    /// The limit applies to the time of sending: it ends the scan once, and has no effect in the cooldown.
    #[test]
    fn sending_takes_no_longer_than_it_may() {
        let mut late = phases();
        let stop = Step { stop: Some(EndReason::MaxRuntime), ..ON };
        assert_eq!(late.step(&at(MAX_RUNTIME_MS - 1)), ON);
        assert_eq!(late.step(&at(MAX_RUNTIME_MS)), stop);
        let stopped = |situation| Situation { stop: Some(EndReason::MaxRuntime), ..situation };
        let drained = Step { enter: Some(Phase::Cooldown), ..stop };
        assert_eq!(late.step(&stopped(sent(10_020, 10_010))), drained);
        assert_eq!(late.step(&stopped(sent(11_010, 10_010))), end(EndReason::MaxRuntime));
        let mut in_time = phases();
        assert_eq!(in_time.step(&sent(9_990, 9_980)), enter(Phase::Cooldown));
        assert_eq!(in_time.step(&sent(MAX_RUNTIME_MS, 9_980)), ON);
        assert_eq!(in_time.step(&sent(10_980, 9_980)), end(EndReason::Complete));
        // The earlier cause stays the reason.
        let interrupted = Situation { stop: Some(EndReason::Interrupted), ..sent(12_000, 10_500) };
        assert_eq!(phases().step(&interrupted).end, Some(EndReason::Interrupted));
    }

    /// After a link outage some probes are sent again. The cooldown restarts with the last of them, even if all of that
    /// happened between two observations.
    #[test]
    fn senders_that_resume_are_waited_for() {
        let mut phases = phases();
        assert_eq!(phases.step(&sent(100, 90)), enter(Phase::Cooldown));
        let held = Situation { is_settled: false, ..sent(1_200, 90) };
        assert_eq!(phases.step(&held), ON, "the link is down, and there is something to be probed again");
        assert_eq!(phases.step(&at(1_220)), enter(Phase::Sending));
        assert_eq!(phases.sent_after(), None);
        assert_eq!(phases.step(&sent(1_300, 1_290)), enter(Phase::Cooldown));
        assert_eq!(phases.step(&sent(2_280, 1_290)), ON);
        assert_eq!(phases.step(&sent(2_290, 2_285)), ON, "more was sent since the look before");
        assert_eq!(phases.step(&sent(3_285, 2_285)), end(EndReason::Complete));
    }

    /// A link that is down delays the end of a complete scan, but not of one that is stopped.
    #[test]
    fn a_stopped_scan_waits_for_no_link() {
        let held = |situation| Situation { is_settled: false, ..situation };
        assert_eq!(phases().step(&held(sent(9_000, 90))).end, None);
        let stopped = Situation { stop: Some(EndReason::Interrupted), ..held(sent(9_000, 90)) };
        assert_eq!(phases().step(&stopped).end, Some(EndReason::Interrupted));
    }

    /// The cooldown does not start while the user has paused the scan, and is then as long as ever.
    #[test]
    fn a_pause_delays_the_cooldown() {
        let paused = |situation| Situation { is_paused: true, ..situation };
        let mut phases = phases();
        assert_eq!(phases.step(&paused(at(100))), ON);
        // The last probes were on their way when the pause began.
        assert_eq!(phases.step(&paused(sent(120, 110))), ON);
        assert_eq!(phases.step(&paused(sent(5_000, 110))), ON);
        assert_eq!(phases.step(&sent(5_020, 110)), enter(Phase::Cooldown));
        assert_eq!(phases.sent_after(), Some(Duration::from_millis(110)));
        assert_eq!(phases.step(&sent(5_990, 110)), ON);
        assert_eq!(phases.step(&sent(6_000, 110)), end(EndReason::Complete));
    }

    /// In the cooldown nothing is sent, so that there is nothing to pause.
    #[test]
    fn a_pause_in_the_cooldown_changes_nothing() {
        let mut phases = phases();
        assert_eq!(phases.step(&sent(120, 110)), enter(Phase::Cooldown));
        let paused = |situation| Situation { is_paused: true, ..situation };
        assert_eq!(phases.step(&paused(sent(1_109, 110))), ON);
        assert_eq!(phases.step(&paused(sent(1_110, 110))), end(EndReason::Complete));
    }

    /// A stop and the limit on the run time end a scan that is paused.
    #[test]
    fn a_paused_scan_can_be_ended() {
        let paused = |situation| Situation { is_paused: true, ..situation };
        let stopped = |situation| Situation { stop: Some(EndReason::Interrupted), ..paused(situation) };
        let mut phases = phases();
        assert_eq!(phases.step(&paused(at(100))), ON);
        assert_eq!(phases.step(&stopped(sent(120, 110))), enter(Phase::Cooldown));
        assert_eq!(phases.step(&stopped(sent(1_110, 110))), end(EndReason::Interrupted));
        let mut late = self::phases();
        assert_eq!(late.step(&paused(at(MAX_RUNTIME_MS - 1))), ON);
        let stop = Step { stop: Some(EndReason::MaxRuntime), ..ON };
        assert_eq!(late.step(&paused(at(MAX_RUNTIME_MS))), stop);
    }

    #[test]
    fn a_worker_that_is_lost_ends_it() {
        let both = Step { stop: Some(EndReason::SendFailed), ..end(EndReason::SendFailed) };
        for situation in [at(20), sent(120, 110), Situation { stop: Some(EndReason::Interrupted), ..at(40) }]
        {
            assert_eq!(phases().step(&Situation { has_lost_worker: true, ..situation }), both);
        }
    }
}
