//! How long a scan could not send: it was paused or held, or its process did not run. Averages leave this time out.

use std::time::Duration;

/// A look that comes later than this after the one before is late because the process did not run. Lower: a busy
/// machine looks like a stopped process. Higher: short stops count as time of sending.
const STOPPED: Duration = Duration::from_secs(1);

/// What was seen so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stillness {
    looked_at: Duration,
    /// How long nothing could be sent.
    pub(super) lasted: Duration,
}

impl Stillness {
    /// Looks at a scan at this time after its start: whether it may send nothing now, and when the last probe was sent.
    pub(super) fn look(&mut self, now: Duration, is_still: bool, sent_after: Option<Duration>) {
        let since = std::mem::replace(&mut self.looked_at, now);
        // After the last probe there is nothing to send.
        let until = sent_after.map_or(now, |sent| now.min(sent));
        let passed = until.saturating_sub(since);
        if is_still || passed >= STOPPED {
            self.lasted += passed;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The time without sending, in milliseconds, of looks at these times.
    fn lasted(looks: &[(u64, bool, Option<u64>)]) -> u64 {
        let mut stillness = Stillness::default();
        for (now, is_still, sent_after) in looks {
            stillness.look(Duration::from_millis(*now), *is_still, sent_after.map(Duration::from_millis));
        }
        stillness.lasted.as_millis() as u64
    }

    #[test]
    fn pauses_and_stops() {
        assert_eq!(lasted(&[(20, false, None), (40, true, None), (60, true, None), (80, false, None)]), 40);
        assert_eq!(
            lasted(&[(20, false, None), (5_020, false, None), (5_040, false, None)]),
            5_000,
            "SIGSTOP"
        );
        assert_eq!(lasted(&[(20, false, None), (920, false, None)]), 0, "a busy machine");
        assert_eq!(
            lasted(&[(20, false, None), (40, true, Some(30)), (60, true, Some(30))]),
            10,
            "it has ended"
        );
    }
}
