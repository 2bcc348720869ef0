//! The files that a command line names: no two of them are one, and no list is written over.

use std::fs;
use std::path::{Path, PathBuf};

use super::inputs::named;
use super::{PlanError, checkpoint_of};
use crate::cli::Args;
use crate::printable::printable;

/// The value of `--control` for no socket.
const NO_CONTROL: &str = "none";

/// The path of the control socket, if one is named.
pub(super) fn control_path(args: &Args) -> Option<&Path> {
    args.logging.control.as_deref().filter(|path| *path != Path::new(NO_CONTROL))
}

/// Where a file is, or would be: equal for two paths of one file. `None` if it is a device, a pipe or a folder, or
/// cannot be known.
pub fn place_of_file(path: &Path) -> Option<PathBuf> {
    match fs::metadata(path) {
        Ok(found) if !found.is_file() => None,
        Ok(_) => fs::canonicalize(path).ok(),
        Err(_) => std::path::absolute(path).ok(),
    }
}

/// Refuses to overwrite a list, or to write two things to one file. Devices and pipes may be named twice. Opens
/// nothing.
///
/// # Errors
/// [`PlanError::Usage`] of the second flag that names a file.
pub fn distinct_files(args: &Args) -> Result<(), PlanError> {
    let (basic, logging) = (&args.basic, &args.logging);
    let is_file = |path: &&Path| *path != Path::new("-");
    let inputs = named(args).into_iter().chain(basic.config.as_deref().map(|path| ("--config", path)));
    let mut others: Vec<(&str, &Path)> = inputs.filter(|(_, path)| is_file(path)).collect();
    let outputs = basic.output_file.iter().map(|file| ("--output-file", Some(file.as_path())));
    let keeps_checkpoint = !args.checkpoint.no_checkpoint && !args.scan.is_dry();
    let checkpoint = checkpoint_of(args).filter(|_| keeps_checkpoint);
    for (flag, path) in outputs.chain([
        ("--probes-file", args.output.probes_file.as_deref()),
        ("--metadata-file", logging.metadata_file.as_deref()),
        ("--status-updates-file", logging.status_updates_file.as_deref()),
        ("--metrics-file", logging.metrics_file.as_deref()),
        ("--log-file", logging.log_file.as_deref()),
        ("--control", control_path(args)),
        ("--checkpoint", checkpoint.as_deref()),
    ]) {
        let Some(path) = path.filter(is_file) else { continue };
        let same = |(_, other): &&(&str, &Path)| {
            place_of_file(other).is_some_and(|other| Some(other) == place_of_file(path))
        };
        if let Some((other, _)) = others.iter().find(same) {
            let what = format!("{} is also {other}; name another file", printable(path));
            return Err(PlanError::usage(flag, what));
        }
        others.push((flag, path));
    }
    Ok(())
}
