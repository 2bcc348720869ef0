//! Help section "Checkpoint": how a scan can go on after an interruption.

use std::path::PathBuf;

use clap::builder::ArgPredicate;

use super::{TYPED_ONLY, interval};

/// Help section "Checkpoint".
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Checkpoint")]
pub struct CheckpointArgs {
    /// Keep here what `xdpmap resume FILE` needs to continue the scan however it ended [default: the first -o that is a
    /// file, with .xdpmap behind its name]
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Option<PathBuf>,

    /// Keep no checkpoint
    #[arg(long, conflicts_with = "checkpoint")]
    pub no_checkpoint: bool,

    /// How often the checkpoint is written, in seconds or as 1m; with --partition every 5 minutes, because each
    /// checkpoint completes all files
    #[arg(long, value_name = "TIME", default_value_t = 5.0, value_parser = interval)]
    #[arg(default_value_if("partition", ArgPredicate::IsPresent, "300"))]
    pub checkpoint_interval: f64,

    /// A resumed scan probes again what was sent within this time before the interruption, because answers that came
    /// while nobody listened are lost [default: the cooldown]
    #[arg(long, value_name = "TIME", value_parser = interval)]
    pub resume_overlap: Option<f64>,

    /// Resume the scan if its checkpoint is there, start it otherwise; if it is finished, do nothing. So a batch system
    /// may run the same command again
    #[arg(long, group = TYPED_ONLY, conflicts_with = "no_checkpoint")]
    pub resume_or_start: bool,
}
