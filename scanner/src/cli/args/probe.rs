//! What each target is sent.

use super::number;

/// Help section "Probe module".
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Probe module")]
pub struct ProbeArgs {
    /// What kind of probe to send (see --list-probe-modules)
    #[arg(short = 'M', long, value_name = "NAME", default_value = "tcp_synscan")]
    pub probe_module: String,

    /// Arguments of the probe module; tcp_synscan: windows, smallest-probes, linux, bsd (its TCP options)
    #[arg(long, value_name = "ARGS")]
    pub probe_args: Option<String>,

    /// IP time to live of the probes
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = number::<u8, 1, 255>)]
    pub probe_ttl: u8,

    /// Do not reset the connections that SYN-ACKs leave half open
    #[arg(long)]
    pub no_rst: bool,

    /// List the probe modules and exit
    #[arg(long)]
    pub list_probe_modules: bool,
}
