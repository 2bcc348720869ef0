//! The folder of a scan that many machines share: a folder for each shard, and the files in it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cli::{Args, Decided, OutputModule, ShardChoice};
use crate::plan::PlanError;
use crate::printable::printable;

const FLAG: &str = "--output-dir";
/// What the name of a shard's folder begins with. Its number follows, with five digits.
const PREFIX: &str = "shard-";

/// The folder of the shard with this number.
fn of_shard(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("{PREFIX}{number:05}"))
}

/// The number of the shard that a folder is for, by its name.
pub fn number_of(name: &Path) -> Option<u32> {
    let digits = name.file_name()?.to_str()?.strip_prefix(PREFIX)?;
    let is_number = digits.len() >= 5 && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| is_number)
}

/// Refuses the folder of a scan that was split into more shards: part of its tasks may have been submitted again as if
/// they were all, and would replace the results of others.
pub(super) fn refuse_foreign(folder: &Path, shards: u32) -> Result<(), PlanError> {
    // What cannot be read is found out when something is written.
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let foreign = entries.filter_map(|entry| number_of(&entry.path())).find(|number| *number >= shards);
    let Some(number) = foreign else { return Ok(()) };
    let name = printable(of_shard(folder, number));
    let what = format!(
        "{name} is there, and a scan in {shards} shards has none with this number: give the --shards and the --shard of \
         before, or name another folder"
    );
    Err(PlanError::usage(FLAG, what))
}

/// The files of this shard that the user has not named.
///
/// # Errors
/// An output goes to no file.
pub(super) fn files(args: &Args, folder: &Path) -> Result<Decided, PlanError> {
    let own = of_shard(folder, number(args));
    let modules = match &args.output.output_module[..] {
        [] => &[OutputModule::Csv],
        modules => modules,
    };
    let named = |module: &OutputModule| Some(own.join(format!("results.{}", module.ending()?)));
    let output_files = match args.basic.output_file.is_empty() {
        true => modules.iter().map(named).collect(),
        false => Some(Vec::new()),
    };
    let refused = || PlanError::usage(FLAG, "redis is no file in a folder; give -o for each output");
    Ok(Decided {
        task: None,
        output_files: output_files.ok_or_else(refused)?,
        metadata_file: args.logging.metadata_file.is_none().then(|| own.join("metadata.json")),
    })
}

/// Folders that were made for a scan. If nothing is in them in the end, because the scan has not begun, they are
/// removed.
#[derive(Debug, Default)]
pub struct Made(Vec<PathBuf>);

impl Drop for Made {
    fn drop(&mut self) {
        for folder in &self.0 {
            // What is not empty stays, and so does what is above it.
            let _ = fs::remove_dir(folder);
        }
    }
}

/// Makes the shard's folder, if the files of a scan are in one.
///
/// # Errors
/// It cannot be made.
pub fn make(args: &Args) -> Result<Made, PlanError> {
    let Some(folder) = &args.output.output_dir else { return Ok(Made::default()) };
    let own = of_shard(folder, number(args));
    let missing = own.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists());
    let made = Made(missing.map(Path::to_owned).collect());
    fs::create_dir_all(&own).map_err(|error| {
        let what = format!("cannot make {} ({error}); check the path and its permissions", printable(&own));
        PlanError::usage(FLAG, what)
    })?;
    Ok(made)
}

/// The number of the shard that a command line is for. A scan that is not split has that of the first.
pub(in crate::plan) fn number(args: &Args) -> u32 {
    match args.sharding.shard {
        Some(ShardChoice::Number(number)) => number,
        _ => 0,
    }
}
