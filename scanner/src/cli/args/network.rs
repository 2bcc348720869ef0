//! Help section "Network": from which addresses, through which interface.

use clap::ValueEnum;

use super::{MAX_32, number};

/// Help section "Network".
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Network")]
pub struct NetworkArgs {
    /// Source port, or range of source ports; the fewer ports, the easier it is to forge UDP replies
    #[arg(short = 's', long, value_name = "PORT|A-B", default_value = "32768-61000")]
    pub source_port: String,

    /// Whether a reply counts only if it comes from a port that was probed [default: as the probe module needs it]
    #[arg(long, value_name = "enable|disable", hide_possible_values = true)]
    pub validate_source_port: Option<Toggle>,

    /// Source addresses: a list, with a-b ranges, of up to 256 [default: the interface's address]
    #[arg(short = 'S', long, value_name = "ADDRESSES")]
    pub source_ip: Option<String>,

    /// MAC address of the gateway; with several interfaces, one for each [default: resolved by the kernel]
    #[arg(short = 'G', long, value_name = "MAC")]
    pub gateway_mac: Option<String>,

    /// MAC address to send from [default: the interface's]
    #[arg(long, value_name = "MAC")]
    pub source_mac: Option<String>,

    /// ARP requests per second, for targets on the interface's own network; never more than probes
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = number::<u64, 1, MAX_32>)]
    pub arp_rate: u64,

    /// Interface to scan through, or several, comma separated [default: the interface of the default route]
    #[arg(short = 'i', long, value_name = "NAMES")]
    pub interface: Option<String>,

    /// Another interface on which replies may arrive; probes and resets leave by --interface
    #[arg(long, value_name = "NAME")]
    pub reply_interface: Option<String>,

    /// Send IP packets without an Ethernet header (tun, WireGuard, PPP) [default: as the interface needs it]
    #[arg(short = 'X', long, alias = "vpn")]
    pub iplayer: bool,

    /// Wait until this address answers a ping: not supported
    #[arg(long, value_name = "ADDRESS", hide = true)]
    pub netmap_wait_ping: Option<String>,
}

/// Something that is on or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Toggle {
    /// On.
    Enable,
    /// Off.
    Disable,
}
