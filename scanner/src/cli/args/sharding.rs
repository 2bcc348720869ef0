//! Help section "Sharding": which part of a scan this machine does.

use std::fmt;

use super::{MAX_32, number};

/// The word for a shard that the batch system names.
const AUTO: &str = "auto";

/// Help section "Sharding".
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Sharding")]
pub struct ShardingArgs {
    /// Split the scan into this many shards; needs --shard and --seed
    #[arg(long, value_name = "N", value_parser = number::<u32, 0, MAX_32>)]
    pub shards: Option<u32>,

    /// Which shard this machine scans, from 0, with --shards; or auto: the task of a batch system that this is (Slurm,
    /// Kubernetes, AWS and Google Batch, Nomad, PBS, Grid Engine, LSF, GNU parallel), with --shards where that does not
    /// say how many there are
    #[arg(long, value_name = "N|auto", value_parser = choice)]
    pub shard: Option<ShardChoice>,

    /// The task that stood for `auto`, once that is decided.
    #[arg(skip)]
    pub task: Option<Task>,
}

/// How the shard is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShardChoice {
    /// It is this one, from 0.
    Number(u32),
    /// The batch system says which.
    Auto,
}

/// A task of a batch system, and the shard that it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// The batch system's name.
    pub engine: &'static str,
    /// The shard, from 0.
    pub shard: u32,
    /// How many shards there are.
    pub shards: u32,
    /// How both were reckoned, in words with the variables that say so.
    pub reckoning: String,
    /// How often the task was started again, if the batch system says so.
    pub restarts: Option<u64>,
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { engine, shard, shards, reckoning, restarts } = self;
        write!(f, "shard {shard} of {shards} by {engine}: {reckoning}")?;
        match restarts {
            None | Some(0) => Ok(()),
            Some(1) => write!(f, "; started again once"),
            Some(times) => write!(f, "; started again {times} times"),
        }
    }
}

/// A shard's number, or the word for that of the batch system.
///
/// # Errors
/// Why it is neither.
pub fn choice(text: &str) -> Result<ShardChoice, String> {
    match text {
        AUTO => Ok(ShardChoice::Auto),
        text => number::<u32, 0, MAX_32>(text)
            .map(ShardChoice::Number)
            .map_err(|what| format!("{what}, or {AUTO} for the task of a batch system")),
    }
}
