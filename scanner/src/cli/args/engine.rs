//! With which workers, and how they reach the NIC.

use clap::ValueEnum;

use super::{MAX_16, MAX_32, number};

/// Help section "Engine".
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Engine")]
pub struct EngineArgs {
    /// Workers that send; each owns a TX queue. All RX queues are read, whatever their number [default: one a core, at
    /// most one a queue]
    #[arg(short = 'T', long, value_name = "N", value_parser = number::<u32, 0, MAX_32>)]
    pub sender_threads: Option<u32>,

    /// Cores for the workers, comma separated [default: all this process may use: those on the NIC's node first, and one
    /// thread of each core before its second]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = number::<usize, 0, MAX_32>)]
    pub cores: Vec<usize>,

    /// RX queues to listen on, such as 0,2-3; replies on the others stay with the host, and are counted [default: all]
    #[arg(long, value_name = "LIST")]
    pub queues: Option<String>,

    /// Set the NIC's RSS indirection table so that replies come to the queues that are listened to, evenly; it is put back at
    /// the end
    #[arg(long)]
    pub steer: bool,

    /// How to reach the NIC; anything but auto must be had or the scan fails
    #[arg(long, value_name = "MODE", default_value = "auto")]
    pub io_mode: IoMode,

    /// Poll the driver's queues from the workers instead of waiting for interrupts, so many packets at a time [default: off;
    /// 64 without a number]
    #[arg(long, value_name = "BUDGET", num_args = 0..=1, require_equals = true, default_missing_value = "64",
        value_parser = number::<u16, 1, MAX_16>)]
    pub busy_poll: Option<u16>,

    /// Drop, rather than pass to the host, what is sent to our source ports and is neither a valid reply nor for a socket of
    /// the host
    #[arg(long)]
    pub drop_invalid: bool,
}

/// Ways to reach the NIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum IoMode {
    /// The best that can be had, down the list
    Auto,
    /// AF_XDP, the driver reads and writes our memory
    Zerocopy,
    /// XDP live frames: the driver sends without the kernel's packets; replies over AF_XDP. Two cores a worker
    Live,
    /// AF_XDP, the kernel copies; program run by the driver
    Copy,
    /// AF_XDP, the kernel copies; program run by the network stack
    Generic,
    /// AF_PACKET, without XDP: every kernel and interface, tunnels too, and beside another XDP program
    Packet,
}
