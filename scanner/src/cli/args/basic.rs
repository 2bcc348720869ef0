//! Help section "Basic": what to scan, and where the results go.

use std::path::PathBuf;

use clap::{ArgGroup, ValueEnum};

use super::TYPED_ONLY;

/// Help section "Basic".
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Basic", group = ArgGroup::new(TYPED_ONLY).multiple(true))]
pub struct BasicArgs {
    /// Ports to scan: a list with ranges and names (80,https,8000-8100), * for all [default: the port of the probe
    /// module, if it has one]
    #[arg(short = 'p', long, alias = "target-port", value_name = "PORTS")]
    pub target_ports: Option<String>,

    /// Instead of -p, the N ports that are open most often according to FILE: a port and a number per line, as http
    /// 80/tcp 0.48 or 80 12345. nmap's file nmap-services has this form
    #[arg(long, value_name = "N:FILE", conflicts_with = "target_ports")]
    pub top_ports: Option<String>,

    /// Where results go; - is standard output, redis takes a URL. May be given several times, each with its -O
    /// [default: -]
    #[arg(short = 'o', long, value_name = "FILE")]
    pub output_file: Vec<PathBuf>,

    /// Networks that are never probed, one per line; takes precedence over everything. May be given several times. For
    /// any list, - is standard input, and what gzip, xz or zstd have compressed is read as it is [default:
    /// /etc/xdpmap/blocklist.conf if it exists]
    #[arg(short = 'b', long, alias = "blacklist-file", value_name = "FILE")]
    pub blocklist_file: Vec<PathBuf>,

    /// Networks that are never probed, in addition to the block list: addresses, CIDR blocks, a-b ranges, host names
    /// and AS numbers, comma separated. May be given several times, and adds to what config files exclude
    #[arg(long, value_name = "NETWORKS")]
    pub exclude: Vec<String>,

    /// Networks to probe, one per line, in addition to TARGETS; nothing outside both is probed
    #[arg(short = 'w', long, alias = "whitelist-file", value_name = "FILE")]
    pub allowlist_file: Option<PathBuf>,

    /// Single addresses to probe, one per line, for lists of millions; if TARGETS or -w are given, only addresses
    /// inside them are probed
    #[arg(short = 'I', long, value_name = "FILE")]
    pub list_of_ips_file: Option<PathBuf>,

    /// Addresses to probe, each with its port, as 192.0.2.1:80 or 192.0.2.1,80, one per line; instead of -p and -I
    #[arg(long, value_name = "FILE")]
    pub pairs_file: Option<PathBuf>,

    /// Table of AS numbers and their prefixes, for targets and lists that have some, as AS64500: the forms of pyasn,
    /// CAIDA's prefix2as and RIPE's RIS
    #[arg(long, value_name = "FILE")]
    pub asn_file: Option<PathBuf>,

    /// Also probe private, shared, benchmarking and documentation networks that are named as targets
    #[arg(long)]
    pub allow_reserved: bool,

    /// Skip bad lines of lists, with a warning; addresses that can be read in bad lines of the block list are still
    /// blocked
    #[arg(long, aliases = ["ignore-blacklist-errors", "ignore-invalid-hosts"])]
    pub ignore_blocklist_errors: bool,

    /// Read options from this file only, in ZMap's format [default: the user's ~/.config/xdpmap/xdpmap.conf, then
    /// /etc/xdpmap/xdpmap.conf]
    #[arg(short = 'C', long, value_name = "FILE", group = TYPED_ONLY)]
    pub config: Option<PathBuf>,

    /// Print the options in force as a config file, and exit
    #[arg(long, group = TYPED_ONLY)]
    pub print_config: bool,

    /// Print a manual page or completions for a shell, and exit: man, man-conf for config files, man-COMMAND such as
    /// man-doctor, complete-bash, complete-zsh or complete-fish
    #[arg(long, value_name = "WHAT", group = TYPED_ONLY, hide_possible_values = true)]
    pub generate: Option<Generated>,

    /// Ignored, for ZMap 2 compatibility: the summary is always logged
    #[arg(short = 'g', long, hide = true)]
    pub summary: bool,
}

/// What packages have beside the program, and the program prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Generated {
    /// Manual page of a scan
    Man,
    /// Manual page of xdpmap blocklist
    ManBlocklist,
    /// Manual page of xdpmap calibrate
    ManCalibrate,
    /// Manual page of xdpmap checkpoint
    ManCheckpoint,
    /// Manual page of config files
    ManConf,
    /// Manual page of xdpmap ctl
    ManCtl,
    /// Manual page of xdpmap diff
    ManDiff,
    /// Manual page of xdpmap doctor
    ManDoctor,
    /// Manual page of xdpmap iterate
    ManIterate,
    /// Manual page of xdpmap map
    ManMap,
    /// Manual page of xdpmap merge
    ManMerge,
    /// Manual page of xdpmap probing-txt
    ManProbingTxt,
    /// Manual page of xdpmap report
    ManReport,
    /// Manual page of xdpmap resume
    ManResume,
    /// Manual page of xdpmap tee
    ManTee,
    /// Manual page of xdpmap verify
    ManVerify,
    /// Completions for bash
    CompleteBash,
    /// Completions for fish
    CompleteFish,
    /// Completions for zsh
    CompleteZsh,
}
