//! How a scan ends if something fails: outputs that accept nothing more, threads that panic.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tracing::warn;

use super::tap::Tapped;
use crate::engine::{Control, EndReason, ScanEnd};
use crate::exit::Exit;
use crate::plan::Plan;
use crate::printable::printable;
use crate::results::collector::Collected;
use crate::results::output::OutputError;
use crate::results::sink::SinkConfig;

/// How often to check whether the outputs are done. Lower: more CPU time while waiting. Higher: every scan ends later.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How long nothing may move before the log says what is waited for. Lower: messages about waits that the user does not
/// notice. Higher: the user wonders for longer why the scan does not end.
const TELL_AFTER: Duration = Duration::from_secs(1);
/// How long an output may take to notice that the wait for it is over. Lower: it is given up although it would have
/// ended in order. Higher: an interrupt takes longer to end the process.
const NOTICE: Duration = Duration::from_secs(2);
/// How many times longer a disk may take than a reader. Writing a lot of data to a disk takes long and shows no
/// progress. Lower: results on slow disks are given up. Higher: a disk that hangs delays the end.
const DISK_FACTOR: u32 = 10;

/// Ends the scan if it is dropped by a panic of its thread.
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

/// A wait for the outputs.
pub(super) struct Waiting<'a> {
    pub(super) control: &'a Control,
    /// How long nothing may move.
    pub(super) limit: Duration,
    /// Numbers that grow as long as something moves.
    pub(super) moved: &'a dyn Fn() -> [u64; 3],
    pub(super) is_done: &'a dyn Fn() -> bool,
    /// Makes the outputs stop waiting.
    pub(super) give_up: &'a dyn Fn(),
    /// The outputs' names in messages.
    pub(super) names: &'a str,
}

impl Waiting<'_> {
    /// Waits until all is done, nothing has moved for too long, or the user interrupts.
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
                    "the scan is over; {names}: accepting nothing at the moment, so waiting for at most {limit} s without \
                     progress (--output-wait; interrupt to skip)"
                );
            }
        }
    }
}

/// Whether the scan has done all that it should: its targets, or what a limit of the user allows, and nothing is in
/// doubt. That the reader of one output has gone says nothing about another.
pub(super) fn is_whole(end: &ScanEnd) -> bool {
    let has_ended_well = end.reason.exit_code() == Exit::Done && end.reason != EndReason::OutputClosed;
    has_ended_well && end.in_doubt.is_empty() && !end.has_lost_worker
}

/// Logs which files keep their interim names.
pub(super) fn tell_unnamed(plan: &Plan, collected: &Collected) {
    let kept = plan.checkpoint.as_ref().map(|checkpoint| printable(&checkpoint.file));
    let has_kept = !plan.dryrun && !collected.is_in_place;
    for file in plan.output.sinks.iter().filter(|_| has_kept).filter_map(SinkConfig::interim) {
        let name = printable(&file);
        match &kept {
            Some(kept) => warn!(
                target: "output",
                "{name} keeps this name, because the scan is not whole: `xdpmap resume {kept}` goes on with it"
            ),
            None => warn!(target: "output", "{name} keeps this name, because the scan is not whole"),
        }
    }
}

/// What the outputs' end means for the scan: sets the end reason, and returns the exit code.
pub(super) fn settle(
    end: &mut ScanEnd,
    collected: &Collected,
    tapped: Option<&Tapped>,
    outputs: usize,
) -> Exit {
    // A reader that has closed the pipe needs no more results. That is not a failure, whatever else ended the scan.
    let is_gone = matches!(collected.output, Err(OutputError::BrokenPipe { .. }));
    let has_failed =
        collected.output.is_err() && !is_gone || tapped.is_some_and(|tapped| tapped.failure.is_some());
    let ended_well = end.reason.exit_code() == Exit::Done;
    if has_failed {
        if ended_well {
            end.reason = EndReason::OutputFailed;
        }
        return Exit::Failed;
    }
    if is_gone && collected.counts.output_lost > 0 && ended_well {
        // With several outputs, another one has all results.
        if outputs == 1 {
            end.reason = EndReason::OutputClosed;
        }
        return Exit::ReaderGone;
    }
    end.reason.exit_code()
}
