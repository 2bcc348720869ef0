//! Help section "Engine": the workers, and how they reach the NIC.

use clap::ValueEnum;

use super::{MAX_16, MAX_32, number};

/// Help section "Engine".
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Engine")]
pub struct EngineArgs {
    /// Workers that send; each owns a TX queue. All RX queues are read, whatever their number [default: one per core,
    /// at most one per queue]
    #[arg(short = 'T', long, value_name = "N", value_parser = number::<u32, 0, MAX_32>)]
    pub sender_threads: Option<u32>,

    /// Cores for the workers, comma separated [default: all that this process may use: those on the NIC's NUMA node
    /// first, and one thread of each core before its second]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = number::<usize, 0, MAX_32>)]
    pub cores: Vec<usize>,

    /// RX queues to receive on, such as 0,2-3; replies on other queues stay with the host, and are counted [default:
    /// all]
    #[arg(long, value_name = "LIST")]
    pub queues: Option<String>,

    /// Set the NIC's RSS indirection table so that replies spread evenly over the queues that are read; it is restored
    /// at the end
    #[arg(long)]
    pub steer: bool,

    /// How to reach the NIC; if a mode other than auto is unavailable, the scan fails
    #[arg(long, value_name = "MODE", default_value = "auto")]
    pub io_mode: IoMode,

    /// Poll the driver's queues from the workers instead of waiting for interrupts, this many packets at a time
    /// [default: off; 64 without a number]
    #[arg(long, value_name = "BUDGET", num_args = 0..=1, require_equals = true, default_missing_value = "64",
        value_parser = number::<u16, 1, MAX_16>)]
    pub busy_poll: Option<u16>,

    /// Drop, rather than pass to the host, packets to our source ports that are neither valid replies nor for a socket
    /// of the host
    #[arg(long)]
    pub drop_invalid: bool,

    /// Do not confine the running scan by landlock and seccomp: it keeps access to files, and all system calls
    #[arg(long)]
    pub no_sandbox: bool,
}

/// Ways to reach the NIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum IoMode {
    /// The best mode that is available, in the order of this list
    Auto,
    /// AF_XDP; the driver reads and writes our memory
    Zerocopy,
    /// XDP live frames: the driver sends without the kernel's packet buffers; replies over AF_XDP. Two cores per worker
    Live,
    /// AF_XDP; the kernel copies, and the driver runs the XDP program
    Copy,
    /// AF_XDP; the kernel copies, and the network stack runs the XDP program
    Generic,
    /// AF_PACKET, without XDP: works on every kernel and interface, also tunnels, and next to another XDP program
    Packet,
}
