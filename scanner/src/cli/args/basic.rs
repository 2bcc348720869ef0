//! What to scan, and where the results go.

use std::path::PathBuf;

/// Help section "Basic".
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Basic")]
pub struct BasicArgs {
    /// Ports to scan, required: a list with ranges (80,443,8000-8100) or * for all
    #[arg(short = 'p', long, value_name = "PORTS")]
    pub target_ports: Option<String>,

    /// Where results go; - is standard output
    #[arg(short = 'o', long, value_name = "FILE", default_value = "-")]
    pub output_file: String,

    /// Networks never to be probed, one a line; wins over everything [default: /etc/xdpmap/blocklist.conf if there is one]
    #[arg(short = 'b', long, value_name = "FILE")]
    pub blocklist_file: Option<PathBuf>,

    /// Networks to probe, one a line, beside TARGETS; nothing outside both is probed
    #[arg(short = 'w', long, value_name = "FILE")]
    pub allowlist_file: Option<PathBuf>,

    /// Single addresses to probe, one a line, for lists of millions
    #[arg(short = 'I', long, value_name = "FILE")]
    pub list_of_ips_file: Option<PathBuf>,

    /// Also probe private, shared, benchmarking and documentation networks that are named as targets
    #[arg(long)]
    pub allow_reserved: bool,

    /// Skip bad lines of block and allow lists, with a warning
    #[arg(long)]
    pub ignore_blocklist_errors: bool,
}
