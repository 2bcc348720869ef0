//! `xdpmap calibrate`: how much is lost at which rate, from this host through its network, and which rate to scan with.
//!
//! A scan carries a ladder of rates out, and this says beforehand what it will do, and afterwards what it has found:
//! `table` as text or JSON, `picture` as SVG.
//!
//! What always holds: a file for the picture that cannot be written is noticed before the first packet, and then it has
//! not been changed.

mod picture;
mod table;

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use tracing::{info, warn};

use crate::cli;
use crate::cli::calibrate::Calibration;
use crate::exit::Exit;
use crate::governor::{Ladder, Steps};
use crate::plan::{Plan, Randomness};
use crate::printable::printable;
use crate::survey::{self, SurveyError};
use crate::units::{are, grouped, several};

/// Why there is no calibration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CalibrateError {
    /// The picture cannot be written.
    #[error("--output-file: cannot write {path} ({source}); name a file in a directory you may write to")]
    Picture {
        /// Its file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The scan could not start, or failed.
    #[error(transparent)]
    Scan(#[from] SurveyError),
}

impl CalibrateError {
    /// The process's exit code.
    pub fn exit_code(&self) -> Exit {
        match self {
            Self::Picture { .. } => Exit::Usage,
            Self::Scan(error) => error.exit_code(),
        }
    }
}

/// What will be done, in lines.
pub fn told(asked: &Calibration, plan: &Plan) -> Vec<String> {
    let steps = Steps::up_to(asked.most_pps);
    let rates = steps.rates_pps();
    let (first, stage) = (rates[0], Steps::stage().as_secs_f64());
    let mut lines = vec![format!(
        "{} stages of {stage:.1} s from {first:.0} to {:.0} probes per second, and two around the rate from which on \
         more is lost: {:.0} s and {} probes at most, if enough targets answer. It ends above that rate",
        rates.len(),
        asked.most_pps,
        steps.longest().as_secs_f64(),
        grouped(steps.most_probes()),
    )];
    let targets = plan.targets.expected() * u64::from(plan.probe.copies.probes());
    if targets < steps.most_probes() {
        lines.push(format!(
            "there {} {}: if nothing is lost, that does not suffice for the fastest stages",
            are(targets),
            several(targets, "target")
        ));
    }
    lines
}

/// Carries it out, and prints what it has found. Returns the process's exit code.
///
/// # Errors
/// Why it could not be carried out.
pub fn run(asked: &Calibration, plan: &Plan, draw: &Randomness) -> Result<Exit, CalibrateError> {
    let picture = asked.picture.as_deref().map(Picture::open).transpose()?;
    for line in told(asked, plan) {
        info!(target: "calibrate", "{line}");
    }
    let (exit, ladder) = survey::climb(plan, draw, Ladder::new(Steps::up_to(asked.most_pps)))?;
    let Some(ladder) = ladder else { return Ok(exit) };
    if ladder.begins_with_loss() {
        warn!(
            target: "calibrate",
            "many probes are lost at the first rate already: either whatever the rate is, or the path carries less \
             than that; a lower --max-rate begins lower"
        );
    }
    cli::print(if asked.json { table::json(asked.most_pps, &ladder) } else { table::text(&ladder) });
    if let Some(picture) = picture {
        picture.write(&picture::svg(&ladder))?;
    }
    Ok(match (exit, ladder.outcome().recommended_pps()) {
        (Exit::Done, None) => Exit::Failed,
        _ => exit,
    })
}

/// The file for the picture.
struct Picture {
    path: PathBuf,
    file: File,
}

impl Picture {
    fn open(path: &Path) -> Result<Self, CalibrateError> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path);
        let path = path.to_owned();
        match file {
            Ok(file) => Ok(Self { path, file }),
            Err(source) => Err(CalibrateError::Picture { path: printable(&path), source }),
        }
    }

    fn write(mut self, text: &str) -> Result<(), CalibrateError> {
        let mut write = || {
            // A device has no length.
            let _ = self.file.set_len(0);
            self.file.write_all(text.as_bytes())
        };
        write().map_err(|source| CalibrateError::Picture { path: printable(&self.path), source })
    }
}
