//! How a scan comes to its end when something else does not: outputs that take nothing any more, threads that panic.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tracing::{error, warn};

use super::tap::Tapped;
use crate::engine::{Control, EndReason, ScanEnd};
use crate::results::collector::Collected;
use crate::results::output::OutputError;

/// Exit code where results were lost because their reader went away, as shells have it for SIGPIPE.
const EXIT_READER_GONE: u8 = 141;

/// How often is looked whether the outputs are done.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How long nothing may move before the user is told what is waited for.
const TELL_AFTER: Duration = Duration::from_secs(1);
/// How long an output may take to notice that nobody waits for it.
const NOTICE: Duration = Duration::from_secs(2);
/// How many times longer a disk may take than a reader: bringing much to it takes its time, and shows no movement.
const DISK_FACTOR: u32 = 10;

/// Ends the scan when it is dropped by a panic of the thread that has it.
pub(super) struct OnPanic {
    control: Arc<Control>,
    reason: EndReason,
}

impl OnPanic {
    pub(super) fn new(control: &Arc<Control>, reason: EndReason) -> Self {
        Self { control: Arc::clone(control), reason }
    }
}

impl Drop for OnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            self.control.stop(self.reason);
            self.control.hurry();
        }
    }
}

/// What is waited for.
pub(super) struct Waiting<'a> {
    pub(super) control: &'a Control,
    /// How long nothing may move.
    pub(super) limit: Duration,
    /// What grows as long as something moves.
    pub(super) moved: &'a dyn Fn() -> [u64; 3],
    pub(super) is_done: &'a dyn Fn() -> bool,
    /// Has the outputs wait for nothing any more.
    pub(super) give_up: &'a dyn Fn(),
    /// How messages call them.
    pub(super) names: &'a str,
}

impl Waiting<'_> {
    /// Waits until all is done, nothing has moved for long enough, or the user wants out.
    pub(super) fn wait(&self) {
        let was_interrupted = self.control.stop_reason() == Some(EndReason::Interrupted);
        let (mut moved, mut since, mut told, mut given_up) = ((self.moved)(), Instant::now(), false, None);
        while !(self.is_done)() {
            thread::sleep(LOOK_EVERY);
            let now = (self.moved)();
            if now != moved {
                (moved, since) = (now, Instant::now());
            }
            let still = since.elapsed();
            let is_interrupted = self.control.is_hurried()
                || !was_interrupted && self.control.stop_reason() == Some(EndReason::Interrupted);
            if given_up.is_none() && (is_interrupted || still >= self.limit) {
                given_up = Some(Instant::now());
                (self.give_up)();
            }
            let patience = if is_interrupted { NOTICE } else { self.limit * DISK_FACTOR + NOTICE };
            if given_up.is_some_and(|since| since.elapsed() >= patience) {
                return;
            }
            if !told && given_up.is_none() && still >= TELL_AFTER {
                told = true;
                let (names, limit) = (self.names, self.limit.as_secs());
                warn!(
                    target: "output",
                    "the scan is over; {names}: taking nothing at the moment, and waited for as long as that is for no more \
                     than {limit} s (--output-wait; interrupt to skip)"
                );
            }
        }
    }
}

/// How the outputs' end bears on the scan's: sets the reason, and returns the exit code.
pub(super) fn settle(
    end: &mut ScanEnd,
    collected: &Collected,
    tapped: Option<&Tapped>,
    outputs: usize,
) -> u8 {
    // A reader that went away wants no more: that is no failure, whatever else ended the scan.
    let is_gone = matches!(collected.output, Err(OutputError::BrokenPipe { .. }));
    let has_failed =
        collected.output.is_err() && !is_gone || tapped.is_some_and(|tapped| tapped.failure.is_some());
    let ended_well = end.reason.exit_code() == 0;
    if has_failed {
        if ended_well {
            end.reason = EndReason::OutputFailed;
        }
        return 1;
    }
    if is_gone && collected.counts.output_lost > 0 && ended_well {
        // Another output has them all.
        if outputs == 1 {
            end.reason = EndReason::OutputClosed;
        }
        return EXIT_READER_GONE;
    }
    end.reason.exit_code()
}

/// Says in the log what an output did not take.
pub(super) fn tell_lost(collected: &Collected) {
    let lost = collected.counts.output_lost;
    match &collected.output {
        Err(why @ OutputError::BrokenPipe { .. }) if lost > 0 => {
            warn!(target: "summary", "{lost} results were lost: {why} before it had them");
        }
        Err(_) if lost > 0 => error!(target: "summary", "{lost} results were lost with the output"),
        _ => {}
    }
}
