//! What to scan, and where the results go.

use std::path::PathBuf;

/// Help section "Basic".
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Basic")]
pub struct BasicArgs {
    /// Ports to scan, required: a list with ranges (80,443,8000-8100) or * for all
    #[arg(short = 'p', long, alias = "target-port", value_name = "PORTS")]
    pub target_ports: Option<String>,

    /// Where results go; - is standard output, redis takes a URL. May be given several times, each with its -O
    /// [default: -]
    #[arg(short = 'o', long, value_name = "FILE")]
    pub output_file: Vec<PathBuf>,

    /// Networks never to be probed, one a line; wins over everything. Of any list, - is standard input [default:
    /// /etc/xdpmap/blocklist.conf if there is one]
    #[arg(short = 'b', long, alias = "blacklist-file", value_name = "FILE")]
    pub blocklist_file: Option<PathBuf>,

    /// Networks to probe, one a line, beside TARGETS; nothing outside both is probed
    #[arg(short = 'w', long, alias = "whitelist-file", value_name = "FILE")]
    pub allowlist_file: Option<PathBuf>,

    /// Single addresses to probe, one a line, for lists of millions; of them, those that TARGETS and -w name, if given
    #[arg(short = 'I', long, value_name = "FILE")]
    pub list_of_ips_file: Option<PathBuf>,

    /// Addresses to probe, each with its port, one 192.0.2.1:80 or 192.0.2.1,80 a line; instead of -p and -I
    #[arg(long, value_name = "FILE")]
    pub pairs_file: Option<PathBuf>,

    /// Also probe private, shared, benchmarking and documentation networks that are named as targets
    #[arg(long)]
    pub allow_reserved: bool,

    /// Skip bad lines of lists, with a warning; what can be read in those of the block list is blocked all the same
    #[arg(long, aliases = ["ignore-blacklist-errors", "ignore-invalid-hosts"])]
    pub ignore_blocklist_errors: bool,

    /// Read options from this file, in ZMap's format, and from no other [default: the user's
    /// ~/.config/xdpmap/xdpmap.conf over /etc/xdpmap/xdpmap.conf]
    #[arg(short = 'C', long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Print the options in force as a config file, and exit
    #[arg(long)]
    pub print_config: bool,

    /// What ZMap 2 took to print a summary: it is logged anyway
    #[arg(short = 'g', long, hide = true)]
    pub summary: bool,
}
