//! XDP live frames: probes that leave through the driver's `ndo_xdp_xmit`, with no skb and no zero-copy driver.
//!
//! `BPF_PROG_TEST_RUN` with `BPF_F_TEST_XDP_LIVE_FRAMES` (Linux 5.18) runs a program over frames of its own and really
//! sends what the program redirects. `xdp-prog/live.bpf.c` patches each frame with the next entry of a ring that a
//! worker fills (`ring.rs`); a thread on a core of its own stays in the kernel and runs it (`sender.rs`). Replies come in
//! through the worker's AF_XDP sockets, and resets go out through them ([`LivePort`]).
//!
//! What always holds: an entry's slot is used again only when the entry is accounted for; an entry that the driver
//! refused goes into the ring again; one that was lost on the way to the driver is counted as lost.

pub mod abi;
mod port;
mod ring;
mod sender;

pub use port::LivePort;
pub use sender::{LiveError, Sender, Settings};
