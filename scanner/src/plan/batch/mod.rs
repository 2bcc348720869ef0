//! A scan as a task of a batch system: its shard, and the folder that it shares with the other tasks.
//!
//! No task needs to know of another one, because a shard is a function of the seed, the targets and its number. What
//! always holds: what is decided here depends on the command line, on the variables of the environment and on the names
//! in the shared folder alone, and stays with the scan when it goes on elsewhere.

mod engines;
mod folder;
mod reckon;

pub use engines::{Count, ENGINES, Engine, Numbering};
pub(super) use folder::number as number_of_shard;
pub use folder::{Made, make as make_folder, number_of as number_of_folder};
pub use reckon::{Variables, reckon};

use crate::cli::{CommandLine, Decided, ShardChoice, Task};
use crate::plan::PlanError;
use crate::printable::printable;

/// The variables of this process.
pub fn variables() -> Variables {
    std::env::vars_os().map(|(name, value)| (printable(name), printable(value))).collect()
}

/// Decides what a command line leaves to the place where it is carried out: the shard, and the files of its folder.
///
/// # Errors
/// The shard is not certain, or the folder is that of another scan.
pub fn settle(line: &mut CommandLine, variables: &Variables) -> Result<(), PlanError> {
    let sharding = &line.args.sharding;
    if sharding.shard == Some(ShardChoice::Auto) {
        let task = Some(task(variables, sharding.shards)?);
        line.settle(Decided { task, ..Decided::default() });
    }
    if let Some(folder) = &line.args.output.output_dir {
        folder::refuse_foreign(folder, line.args.sharding.shards.unwrap_or(1))?;
        let decided = folder::files(&line.args, folder)?;
        line.settle(decided);
    }
    Ok(())
}

/// The number of a shard that may be left to the batch system, and how many shards there are.
///
/// # Errors
/// The shard is not certain.
pub fn shard_of(
    choice: Option<ShardChoice>,
    shards: Option<u32>,
    variables: &Variables,
) -> Result<(Option<u32>, Option<u32>), PlanError> {
    match choice {
        Some(ShardChoice::Auto) => task(variables, shards).map(|task| (Some(task.shard), Some(task.shards))),
        Some(ShardChoice::Number(number)) => Ok((Some(number), shards)),
        None => Ok((None, shards)),
    }
}

fn task(variables: &Variables, shards: Option<u32>) -> Result<Task, PlanError> {
    reckon(variables, shards).map_err(|what| PlanError::usage("--shard", format!("auto: {what}")))
}
