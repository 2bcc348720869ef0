//! The moment before a large scan in which a person can still end it.
//!
//! What always holds: without a terminal nobody is kept waiting, and nothing has been opened or sent before.

use std::io::{self, IsTerminal as _, Write as _};
use std::thread;
use std::time::Duration;

use crate::live;
use crate::plan::Plan;
use crate::units::grouped;

/// Targets above which there is such a moment, as many as a /8 has addresses.
const TARGETS_MAX: u64 = 1 << 24;
const SECONDS: u32 = 5;

/// Counts down where standard error is a terminal and the scan is large. Until then Ctrl-C ends the process.
pub(super) fn wait(plan: &Plan) {
    let targets = plan.targets.expected();
    let goes_on = plan.checkpoint.as_ref().is_some_and(|checkpoint| checkpoint.resumed.is_some());
    if targets <= TARGETS_MAX || plan.dryrun || plan.begins_at_once || goes_on {
        return;
    }
    let mut terminal = io::stderr();
    let is_viewed = live::is_viewed();
    if !terminal.is_terminal() && !is_viewed {
        return;
    }
    // A view shows lines.
    let (start, end) = if is_viewed { ("", "\n") } else { ("\r", "") };
    let targets = grouped(targets);
    for left in (1..=SECONDS).rev() {
        // What cannot be shown need not be.
        let _ = write!(
            terminal,
            "{start}probing {targets} targets in {left} s; Ctrl-C ends this, --yes skips it {end}"
        );
        let _ = terminal.flush();
        thread::sleep(Duration::from_secs(1));
    }
    let _ = writeln!(terminal);
}
