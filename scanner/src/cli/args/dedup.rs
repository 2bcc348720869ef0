//! Help section "Response deduplication": when an answer is a repeat.

use clap::ValueEnum;

use super::{MAX_64, count};

/// Help section "Response deduplication".
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Response deduplication")]
pub struct DedupArgs {
    /// How repeated answers are recognised
    #[arg(long, value_name = "METHOD", default_value = "default")]
    pub dedup_method: DedupMethod,

    /// How many answers the window method remembers
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = count::<usize, 0, MAX_64>)]
    pub dedup_window_size: usize,

    /// Most memory for the full method, in bytes, with suffix K, M or G; once it is full, further answers are looked up
    /// in a window
    #[arg(long, value_name = "BYTES", default_value = "1G")]
    pub dedup_memory: String,
}

/// Ways to recognise repeated answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DedupMethod {
    /// full
    Default,
    /// No answer counts as a repeat
    None,
    /// Exact. One port: a bit for each IPv4 address; several: up to 21 bytes for each target that succeeds
    Full,
    /// A repeat is one of the last --dedup-window-size answers
    Window,
}
