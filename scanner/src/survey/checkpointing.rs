//! The checkpoint of a running scan: written before the first probe, from time to time by a thread of its own, and once
//! more at the end.
//!
//! What always holds: the intervals are read before the outputs are asked how far they are, and both before the file is
//! written. So every answer to a target that counts as done is in the bytes that count. If results can no longer be
//! written, the last checkpoint stays as it is.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use targets::{RangeSet, merged};
use tracing::{debug, error, info, warn};

use super::aside;
use super::error::SurveyError;
use crate::checkpoint::file::{Found, Held};
use crate::checkpoint::{BlocklistChange, Checkpoint, SavedCounts, State};
use crate::engine::{Counts, EndReason, LowWater, Open, Progress, ScanEnd};
use crate::plan::{CheckpointPlan, Plan};
use crate::printable::printable;
use crate::results::collector::{Barrier, Collected, Places, Reached};
use crate::results::output::{folder_of, sync_folder};
use crate::sandbox::{self, Class};
use crate::secrets::redacted;

/// How long outputs may take to accept what they have been given. Lower: no checkpoint where a disk is slow. Higher: a
/// scan ends later if an output hangs.
const IN_OUTPUTS: Duration = Duration::from_secs(30);

/// A checkpoint that can be written: nobody else has it.
pub(super) struct OpenCheckpoint<'a> {
    plan: &'a CheckpointPlan,
    held: Held,
    /// That of another scan with the same outputs.
    earlier: Option<Box<Checkpoint>>,
}

impl OpenCheckpoint<'_> {
    /// Whether an unfinished scan is in the way.
    pub(super) fn is_in_the_way(&self) -> bool {
        self.earlier.as_ref().is_some_and(|earlier| earlier.state == State::Unfinished)
    }

    /// Moves that scan aside, with its output files.
    ///
    /// # Errors
    /// They cannot be moved.
    pub(super) fn make_room(self) -> Result<Self, SurveyError> {
        let Self { plan, held, earlier } = self;
        let Some(earlier) = earlier else { return Ok(Self { plan, held, earlier }) };
        aside::set_aside(held, earlier).map_err(|error| refused(plan, &error.to_string()))?;
        Ok(Self { plan, held: Held::at(plan.file.clone()), earlier: None })
    }
}

fn refused(plan: &CheckpointPlan, what: &str) -> SurveyError {
    let what = format!("{}: {what}; name another file, or give --no-checkpoint", printable(&plan.file));
    SurveyError::Refused { flag: "--checkpoint", what }
}

/// Takes the checkpoint of `plan`, if the scan keeps one, and changes nothing. `held` is that of a scan that goes on.
///
/// # Errors
/// The file there is in use, or is no checkpoint.
pub(super) fn open(plan: &Plan, held: Option<Held>) -> Result<Option<OpenCheckpoint<'_>>, SurveyError> {
    let Some(plan) = &plan.checkpoint else { return Ok(None) };
    let open = |held: Held, earlier| match held.check_place() {
        // When the first one is written, the outputs are changed already.
        Err(error) if plan.is_asked => Err(refused(plan, &error.to_string())),
        _ => Ok(Some(OpenCheckpoint { plan, held, earlier })),
    };
    if let Some(held) = held {
        return open(held, None);
    }
    match Held::take(&plan.file).map_err(|error| refused(plan, &error.what))? {
        Found::Nothing => open(Held::at(plan.file.clone()), None),
        Found::Checkpoint(held, earlier) => open(held, Some(earlier)),
    }
}

/// What a checkpoint counts of a run.
pub(super) fn saved(counts: &Counts, results: u64) -> SavedCounts {
    SavedCounts {
        targets: counts.targets,
        probes_sent: counts.port.probes_sent,
        results,
        canaries: counts.canaries,
        canaries_replied: counts.canaries_replied(),
    }
}

/// What a scan tells its checkpoint.
pub(super) struct Telling {
    low_water: Arc<LowWater>,
    overlap: Duration,
    counts: Arc<Mutex<SavedCounts>>,
    /// The knee of `--rate auto`; 0: unknown.
    knee_pps: Arc<AtomicU64>,
}

impl Telling {
    /// Where the scan keeps what is open.
    pub(super) fn progress(&self) -> Progress<'_> {
        Progress { low_water: &self.low_water, overlap: self.overlap }
    }

    /// The rate from which on more is lost, if it is known.
    pub(super) fn know(&self, knee_pps: Option<f64>) {
        if let Some(knee_pps) = knee_pps {
            self.knee_pps.store(knee_pps as u64, Ordering::Relaxed);
        }
    }

    /// This run has these counts so far.
    pub(super) fn count(&self, counts: SavedCounts) {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner) = counts;
    }
}

/// The running checkpoint.
pub(super) struct Checkpointing {
    telling: Telling,
    thread: JoinHandle<()>,
    news: Sender<News>,
}

/// What the thread is told.
enum News {
    /// The block list has changed, and this is left out now.
    Changed(BlocklistChange, Arc<RangeSet>, Sender<()>),
    /// The scan has ended.
    Ended(Last),
}

/// Where changes of the block list are told.
pub(super) struct Recorder(Sender<News>);

/// A change that is told to the checkpoint.
pub(super) struct Recorded(Receiver<()>);

impl Recorder {
    /// Writes a checkpoint with this change at once. `withdrawn` is all that is left out then.
    pub(super) fn record(&self, change: &BlocklistChange, withdrawn: Arc<RangeSet>) -> Recorded {
        let (done, recorded) = mpsc::channel();
        // If the thread has ended, so has the scan.
        let _ = self.0.send(News::Changed(change.clone(), withdrawn, done));
        Recorded(recorded)
    }
}

impl Recorded {
    /// Whether it is written, or was tried: if that fails, the log says so.
    pub(super) fn is_over(&self) -> bool {
        self.0.try_recv() != Err(TryRecvError::Empty)
    }
}

/// How a scan ends.
struct Last {
    /// What is not done.
    open: Open,
    /// Whether nothing is left to do.
    is_finished: bool,
    /// How far the outputs are, if they hold all results.
    reached: Option<Places>,
}

/// Writes the checkpoint.
struct Writer {
    held: Held,
    checkpoint: Checkpoint,
    /// The counts of the runs before.
    before: SavedCounts,
    low_water: Arc<LowWater>,
    counts: Arc<Mutex<SavedCounts>>,
    knee_pps: Arc<AtomicU64>,
    /// Whether the scan has second probes.
    has_seconds: bool,
    barrier: Arc<Barrier>,
    /// Whether the last attempt has failed.
    is_failing: bool,
}

impl Checkpointing {
    /// Writes the first checkpoint, and starts the thread. `None` if it cannot be written and nobody asked for it.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn start(
        open: OpenCheckpoint<'_>,
        plan: &Plan,
        barrier: Arc<Barrier>,
    ) -> Result<Option<Self>, SurveyError> {
        let OpenCheckpoint { plan: asked, held, .. } = open;
        let started = Timestamp::now().to_string();
        let mut checkpoint = match &asked.resumed {
            Some(earlier) => {
                let mut checkpoint = Checkpoint::clone(earlier);
                checkpoint.runs.push(started);
                checkpoint
            }
            None => {
                Checkpoint::new(asked.request.clone(), &plan.targets.open, asked.outputs.clone(), started)
            }
        };
        checkpoint.set_withdrawn(&plan.targets.withdrawn);
        let open = Open { first: plan.targets.open.clone(), second: plan.targets.second_open.clone() };
        let low_water = Arc::new(LowWater::new(open));
        let counts = Arc::<Mutex<SavedCounts>>::default();
        let knee_pps = Arc::new(AtomicU64::new(checkpoint.knee_pps.unwrap_or(0)));
        let telling = Telling {
            low_water: Arc::clone(&low_water),
            overlap: asked.overlap,
            counts: Arc::clone(&counts),
            knee_pps: Arc::clone(&knee_pps),
        };
        let before = checkpoint.counts;
        let mut writer = Writer {
            held,
            checkpoint,
            before,
            low_water,
            counts,
            knee_pps,
            has_seconds: plan.second.is_some(),
            barrier,
            is_failing: false,
        };
        match writer.begin(asked.resumed.is_none()) {
            Err(error) if asked.is_asked => return Err(refused(asked, &error.to_string())),
            Err(error) => {
                let _ = writer.held.remove_beside();
                warn!(target: "checkpoint", "none is kept: cannot write {}: {error}", printable(&asked.file));
                return Ok(None);
            }
            Ok(()) => {}
        }
        tell_of_streams(asked);
        let (news, told) = mpsc::channel();
        let every = asked.interval;
        let run = move || {
            sandbox::enter(Class::Checkpoint);
            let mut write_at = Instant::now() + every;
            loop {
                match told.recv_timeout(write_at.saturating_duration_since(Instant::now())) {
                    Err(RecvTimeoutError::Timeout) => {
                        writer.write();
                        write_at = Instant::now() + every;
                    }
                    Err(RecvTimeoutError::Disconnected) => return,
                    Ok(News::Changed(change, withdrawn, done)) => {
                        writer.change(change, &withdrawn);
                        let _ = done.send(());
                    }
                    Ok(News::Ended(last)) => return writer.write_last(last),
                }
            }
        };
        let thread = thread::Builder::new().name("checkpoint".to_owned()).spawn(run);
        let thread = thread
            .map_err(|source| SurveyError::Setup { what: "starting the checkpoint's thread", source })?;
        Ok(Some(Self { telling, thread, news }))
    }

    /// Where changes of the block list are told.
    pub(super) fn recorder(&self) -> Recorder {
        Recorder(self.news.clone())
    }

    /// Where the scan tells what it has done.
    pub(super) fn telling(&self) -> &Telling {
        &self.telling
    }

    /// Writes the last checkpoint. The outputs have ended.
    pub(super) fn finish(self, end: &ScanEnd, collected: &mut Collected) {
        let has_waited = end.waited >= self.telling.overlap && !end.has_lost_worker;
        let left = || Open { first: end.left.clone(), second: end.second_left.clone() };
        let mut open = if has_waited { left() } else { self.telling.low_water.open() };
        open.first.extend(&end.in_doubt);
        open.second.extend(&end.second_in_doubt);
        let has_doubts = !end.in_doubt.is_empty() || !end.second_in_doubt.is_empty();
        let has_enough = end.reason == EndReason::MaxResults;
        self.telling.count(saved(&end.total(), collected.counts.written));
        let last = Last {
            open: Open { first: merged(open.first), second: merged(open.second) },
            is_finished: has_enough || end.reason.is_whole() && !has_doubts,
            reached: collected.reached.take().filter(|_| collected.output.is_ok()),
        };
        let _ = self.news.send(News::Ended(last));
        if self.thread.join().is_err() {
            error!(target: "checkpoint", "its thread panicked: the checkpoint is the one before");
        }
    }
}

impl Writer {
    /// Writes a checkpoint, or says why not, once for every trouble.
    fn write(&mut self) {
        let written = self.write_now();
        self.tell(written);
    }

    /// Writes the last checkpoint once more, with a change of the block list. The outputs are not waited for: what is
    /// open and how much of the outputs counts belong together, and stay as they are.
    fn change(&mut self, change: BlocklistChange, withdrawn: &RangeSet) {
        self.checkpoint.blocklist_changes.push(change);
        self.checkpoint.set_withdrawn(withdrawn);
        let written = self.held.write(&self.checkpoint);
        self.tell(written);
    }

    fn tell(&mut self, written: io::Result<()>) {
        let was_failing = std::mem::replace(&mut self.is_failing, written.is_err());
        match written {
            Ok(()) if was_failing => info!(target: "checkpoint", "checkpoints are written again"),
            Err(error) if !was_failing => warn!(
                target: "checkpoint",
                "cannot write {}: {error}; the scan goes on, and would resume from the one before",
                printable(self.held.path())
            ),
            _ => {}
        }
    }

    /// Writes the first checkpoint. Beside that of a new scan is the block list.
    fn begin(&mut self, is_new: bool) -> io::Result<()> {
        if is_new {
            self.held.write_blocked(&mut self.checkpoint.request)?;
        }
        self.write_now()
    }

    fn write_last(&mut self, last: Last) {
        let path = printable(self.held.path());
        let Some(reached) = last.reached else {
            return warn!(target: "checkpoint", "not all results are written: `xdpmap resume {path}` goes on before that");
        };
        let written = self.count(&reached).and_then(|()| {
            self.set_open(&last.open);
            if last.is_finished {
                self.checkpoint.finish();
            }
            self.held.write(&self.checkpoint)
        });
        match written {
            Err(error) => warn!(target: "checkpoint", "cannot write {path}: {error}; it is the one before"),
            Ok(()) if last.is_finished => {
                debug!(target: "checkpoint", "{path}: the scan is finished");
                if let Err(error) = self.held.remove_beside() {
                    warn!(target: "checkpoint", "cannot remove what is beside {path}: {error}");
                }
            }
            Ok(()) => info!(target: "checkpoint", "`xdpmap resume {path}` goes on with what is left"),
        }
    }

    fn set_open(&mut self, open: &Open) {
        let second = self.has_seconds.then_some(&open.second[..]);
        self.checkpoint.set_open(&open.first, second);
    }

    fn write_now(&mut self) -> io::Result<()> {
        let open = self.low_water.open();
        match self.barrier.wait(IN_OUTPUTS) {
            Reached::Places(places) => self.count(&places)?,
            Reached::Trouble => return Err(io::Error::other("the outputs do not accept all results")),
            // The last checkpoint is about to be written.
            Reached::Over => return Ok(()),
        }
        self.set_open(&open);
        self.held.write(&self.checkpoint)
    }

    /// Brings to disk what the outputs have, and counts it.
    fn count(&mut self, places: &Places) -> io::Result<()> {
        let outputs = &mut self.checkpoint.outputs;
        if places.outputs.len() != outputs.len() {
            return Err(io::Error::other("an output does not accept results any more"));
        }
        let deadline = Instant::now() + IN_OUTPUTS;
        for (place, output) in places.outputs.iter().zip(&*outputs) {
            if place.under_way.as_ref().is_some_and(|under_way| !under_way.wait(deadline)) {
                return Err(io::Error::other(format!("{} does not accept results", printable(&output.file))));
            }
            let Some(file) = &place.file else { continue };
            file.sync_data()?;
            if output.bytes == 0 || output.number != place.reach.number {
                // The file is new.
                folder_of(&output.file).as_deref().map_or(Ok(()), sync_folder)?;
            }
        }
        if let Some((file, _)) = &places.seen {
            file.sync_data()?;
        }
        for (place, output) in places.outputs.iter().zip(outputs) {
            output.set_reach(&place.reach);
        }
        self.checkpoint.seen_bytes = places.seen.as_ref().map(|(_, bytes)| *bytes);
        self.checkpoint.counts = self.before.plus(SavedCounts { results: places.results, ..self.counts() });
        self.checkpoint.knee_pps = Some(self.knee_pps.load(Ordering::Relaxed)).filter(|pps| *pps > 0);
        Ok(())
    }

    fn counts(&self) -> SavedCounts {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says what a scan that goes on may write again.
fn tell_of_streams(plan: &CheckpointPlan) {
    let streams = plan.outputs.iter().filter(|output| output.is_stream);
    let names: Vec<String> = streams.map(|output| redacted(&printable(&output.file)).into_owned()).collect();
    if !names.is_empty() {
        info!(
            target: "checkpoint",
            "what {} was given stays there: a scan that goes on writes some results there again (each at least once)",
            names.join(", ")
        );
    }
}
