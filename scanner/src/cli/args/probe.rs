//! Help section "Probe module": what is sent to each target.

use std::ffi::OsString;

use super::number;
use crate::probe::attribution::Uri;

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

    /// Where it is described who sends the probes and why, as RFC 9511 has it: https://HOST/.well-known/probing.txt,
    /// mailto:ADDRESS or tel:NUMBER. It is in the metadata, and in the probes of icmp_echoscan, icmp_echo_time, udp and
    /// ipip unless they have a payload of their own
    #[arg(long, value_name = "URI", value_parser = Uri::for_probes)]
    pub attribution: Option<Uri>,

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
