//! Unfinished scans in the way of a new one: their files are moved aside, so that nothing is lost.
//!
//! The scan's own checkpoint is the matter of `checkpointing`. Here are those of others, which the outputs name: a scan
//! that keeps no checkpoint, or keeps it elsewhere, would overwrite their results.

use tracing::warn;

use super::error::SurveyError;
use crate::checkpoint::file::{Found, Held};
use crate::checkpoint::{Checkpoint, State};
use crate::plan::{Plan, checkpoint_beside};
use crate::printable::printable;

/// Unfinished scans with outputs of this one.
pub(super) struct Others(Vec<(Held, Box<Checkpoint>)>);

impl Others {
    /// Finds them, and changes nothing.
    ///
    /// # Errors
    /// One of them is running.
    pub(super) fn find(plan: &Plan) -> Result<Self, SurveyError> {
        let own = plan.checkpoint.as_ref();
        if plan.dryrun || own.is_some_and(|own| own.resumed.is_some()) {
            return Ok(Self(vec![]));
        }
        let mut others = Vec::new();
        for sink in plan.output.sinks.iter().filter(|sink| !sink.is_stream()) {
            let Ok(output) = std::path::absolute(&sink.file) else { continue };
            let file = checkpoint_beside(&output, sink.partitions);
            if own.is_some_and(|own| own.file == file) {
                continue;
            }
            match Held::take(&file) {
                Ok(Found::Checkpoint(held, scan)) if is_of(&scan, &output) => others.push((held, scan)),
                Err(error) if error.is_held => {
                    let what = format!(
                        "{} is of a scan that is running ({}); name another file",
                        printable(&output),
                        printable(&file)
                    );
                    return Err(SurveyError::Refused { flag: "--output-file", what });
                }
                // Whatever else is there is not touched.
                _ => {}
            }
        }
        Ok(Self(others))
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Moves them aside.
    ///
    /// # Errors
    /// A file cannot be moved.
    pub(super) fn make_room(self) -> Result<(), SurveyError> {
        for (held, scan) in self.0 {
            let file = printable(held.path());
            set_aside(held, scan).map_err(|error| {
                let what = format!("{file} is of an unfinished scan: {error}; name another file");
                SurveyError::Refused { flag: "--output-file", what }
            })?;
        }
        Ok(())
    }
}

/// Whether results that count are in this file.
fn is_of(scan: &Checkpoint, output: &std::path::Path) -> bool {
    scan.state == State::Unfinished && scan.outputs.iter().any(|one| one.file == output)
}

/// Moves a scan aside, and says so if it is unfinished.
pub(super) fn set_aside(held: Held, scan: Box<Checkpoint>) -> std::io::Result<()> {
    let file = printable(held.path());
    if let Some(moved) = held.set_aside(*scan)? {
        warn!(
            target: "checkpoint",
            "{file} was of an unfinished scan, which `xdpmap resume {}` continues: its results moved with it",
            printable(&moved)
        );
    }
    Ok(())
}
