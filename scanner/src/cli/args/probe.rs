//! Help section "Probe module": what is sent to each target.

use std::ffi::OsString;

use super::number;

/// Help section "Probe module".
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Probe module")]
pub struct ProbeArgs {
    /// What kind of probe to send (see --list-probe-modules)
    #[arg(short = 'M', long, value_name = "NAME", default_value = "tcp_synscan")]
    pub probe_module: String,

    /// Arguments of the probe module; for tcp_synscan the layout of TCP options: windows, smallest-probes, linux or bsd
    #[arg(long, value_name = "ARGS")]
    pub probe_args: Option<OsString>,

    /// IP time to live (TTL) of the probes
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = number::<u8, 1, 255>)]
    pub probe_ttl: u8,

    /// Do not reset the connections that SYN-ACKs leave half open
    #[arg(long)]
    pub no_rst: bool,

    /// List the probe modules and exit
    #[arg(long)]
    pub list_probe_modules: bool,
}
