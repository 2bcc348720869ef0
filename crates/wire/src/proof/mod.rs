//! What proves that a packet answers a probe of ours, and how strong the proof is.
//!
//! Owns the cookie, its place in probes and answers, and the test of received frames for it. The XDP program makes the
//! same test; `xdp-prog/abi.h` states it for both. Back ends and probes both import it from here, so neither needs to
//! know the other.

mod check;
pub mod cookie;
mod copies;
mod source;
mod strength;

pub use check::{Answer, AnswerBody, Check, Cookies, Echo, NTP_ORIGIN, ProbeForm, Reject};
pub use cookie::{Cookie, Halves, Key, PortRange, QuadCookies};
pub use copies::{Copies, CopyKind, Numbers};
pub use source::SourcePool;
pub use strength::Proof;
