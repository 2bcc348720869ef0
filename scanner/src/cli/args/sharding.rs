//! Help section "Sharding": which part of a scan this machine does.

use super::{MAX_32, number};

/// Help section "Sharding".
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Sharding")]
pub struct ShardingArgs {
    /// Split the scan into this many shards; needs --shard and --seed
    #[arg(long, value_name = "N", value_parser = number::<u32, 0, MAX_32>)]
    pub shards: Option<u32>,

    /// Which shard this machine scans, from 0; needs --shards
    #[arg(long, value_name = "N", value_parser = number::<u32, 0, MAX_32>)]
    pub shard: Option<u32>,
}
