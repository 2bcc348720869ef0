//! How a worker waits that has nothing to do: it spins, yields or sleeps, by how soon there will be something.

use std::time::Duration;

use super::super::pace::PS_PER_S;
use super::{Sending, Worker};
use crate::probe::Probe;

/// Longest sleep of a worker that has nothing to do. Lower: more wake-ups while idle. Higher: a change of phase is
/// noticed later.
const NAP: Duration = Duration::from_millis(5);
/// Longest sleep while frames are with the kernel that it may need another wake-up for, or that something waits for.
/// Lower: more system calls. Higher: frames are delayed if the kernel needs that wake-up.
const NAP_OUTSTANDING: Duration = Duration::from_micros(200);
/// A wait shorter than this is spent spinning, because sleeping and waking takes as long. Lower: frames leave late at
/// high rates. Higher: more CPU time.
const SPIN_PS: u64 = 20 * PS_PER_S / 1_000_000;
/// A worker with a backlog yields its core in a wait shorter than this, since a sleep ends some 50 us late and would
/// keep the backlog. In longer waits it sleeps: on a busy machine who yields waits for all others, and who sleeps has
/// the core soon after waking. Lower: a worker that is behind at a high rate stays so. Higher: one at a low rate does.
const BACKLOG_YIELD_PS: u64 = 500 * PS_PER_S / 1_000_000;
/// How long to spin on a full TX ring before sleeping. Longer than line rate needs to drain it, so a ring that is still
/// full is blocked, for example by a link that is down. Lower: a worker at full rate sleeps although there is room
/// soon. Higher: more CPU time during an outage.
const PATIENCE_PS: u64 = 1_000 * PS_PER_S / 1_000_000;

impl<P: Probe> Worker<'_, P> {
    /// Sleeps until there may be something to do.
    pub(super) fn rest(&mut self, now_ps: u64) {
        if self.orders.is_paused() {
            self.quiet_down();
        }
        if self.waits_for_reset_room() {
            // On few cores the kernel's own thread sends, and may need this very core.
            return std::thread::yield_now();
        }
        let is_held = self.orders.is_held();
        // Nobody waits for frames that the kernel has taken, unless the next probes do, or the end.
        let waits = match self.sending {
            Sending::Open if self.ask_at_ps > now_ps => self.port.is_kernel_behind(),
            _ => self.port.outstanding() > 0,
        };
        let longest = if waits && !is_held { NAP_OUTSTANDING } else { NAP };
        let until_due = match self.sending {
            _ if self.orders.is_still() || self.drains => u64::MAX,
            // Probes are due, and none has left for a while: the ring is full.
            Sending::Open
                if self.ask_at_ps + PATIENCE_PS < now_ps && self.sent_at_ps + PATIENCE_PS < now_ps =>
            {
                u64::MAX
            }
            Sending::Open => self.ask_at_ps.saturating_sub(now_ps),
            Sending::Draining(_) | Sending::Finished => u64::MAX,
        };
        if until_due <= SPIN_PS {
            std::hint::spin_loop();
        } else if self.behind && until_due < BACKLOG_YIELD_PS {
            std::thread::yield_now();
        } else {
            self.port.wait(longest.min(Duration::from_nanos(until_due / 1_000)));
        }
    }
}
