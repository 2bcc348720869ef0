//! XDP live frames: probes leave through the driver's `ndo_xdp_xmit`, without an skb and without a zero-copy driver.
//!
//! `BPF_PROG_TEST_RUN` with `BPF_F_TEST_XDP_LIVE_FRAMES` (Linux 5.18) runs a program over frames that the kernel makes,
//! and really sends the frames that the program redirects. `xdp-prog/live.bpf.c` patches each frame with the next entry
//! of a ring that a worker fills (`ring.rs`). A thread on a separate core stays in the kernel and runs the program
//! (`sender.rs`). Replies arrive through the worker's AF_XDP sockets, and resets leave through them ([`LivePort`]).
//!
//! What always holds: a slot is reused only after its entry is accounted for; an entry that the driver refused goes
//! into the ring again; an entry that was lost before the driver is counted as lost.

pub mod abi;
mod doze;
mod port;
mod ring;
mod sender;

pub use port::LivePort;
pub use sender::{LiveError, Sender, SenderSettings};
