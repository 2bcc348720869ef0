//! What a scan does while an output cannot be written: it pauses the sending and says so (`--on-output-error pause`).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tracing::{info, warn};

use crate::engine::{Control, PauseCause, Phase};
use crate::results::output::{Retry, Trouble};

/// Tries writes again for as long as `limit`, during which `control` pauses. If that does not help, the output's error
/// ends the scan, whose pause stays: nothing more is sent.
pub(super) fn pausing(limit: Duration, control: &Arc<Control>) -> Retry {
    let control = Arc::clone(control);
    // How many outputs cannot be written.
    let failing = Mutex::new(0_usize);
    let tell = move |trouble: Trouble<'_>| {
        let mut failing = failing.lock().unwrap_or_else(PoisonError::into_inner);
        match trouble {
            Trouble::Begun { name, error } => {
                *failing += 1;
                control.pause(PauseCause::Output);
                let what = match control.phase() {
                    Phase::Sending => "sending is paused, and the write",
                    Phase::Cooldown | Phase::Done => "it",
                };
                let limit_s = limit.as_secs();
                warn!(
                    target: "output",
                    "cannot write to {name} ({error}): {what} is tried again for at most {limit_s} s (--on-output-error)"
                );
            }
            Trouble::Over { name, lasted } => {
                *failing -= 1;
                if *failing == 0 {
                    control.unpause(PauseCause::Output);
                }
                let seconds = lasted.as_secs_f64();
                info!(target: "output", "{name} accepts everything again, after {seconds:.1} s");
            }
        }
    };
    Retry { limit, tell: Box::new(tell) }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// Sending goes on once all outputs accept everything.
    #[test]
    fn sending_waits_for_all_outputs() {
        let control = Arc::new(Control::new(1));
        let retry = pausing(Duration::from_secs(1), &control);
        let error = io::Error::from(io::ErrorKind::StorageFull);
        let begin = |name| (retry.tell)(Trouble::Begun { name, error: &error });
        let end = |name| (retry.tell)(Trouble::Over { name, lasted: Duration::ZERO });
        control.pause(PauseCause::Command);
        begin("first");
        begin("second");
        control.unpause(PauseCause::Command);
        end("second");
        assert!(control.is_paused_by(PauseCause::Output));
        end("first");
        assert!(!control.is_paused());
    }
}
