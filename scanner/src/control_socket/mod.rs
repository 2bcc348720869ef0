//! The control socket of a scan: a Unix stream socket through which its owner, and root, ask a running scan for its
//! status and change what it does.
//!
//! Owns the protocol (one JSON object per line in both directions), the socket's file, and the client's side. What
//! always holds: only the scan's user and root are served, and a line has at most [`LINE_MAX`] bytes. What a request
//! does is up to the scan (`survey`).

mod client;
mod details;
mod listener;
mod place;
mod protocol;
mod status;

pub use client::{ClientError, Connection, running};
pub use details::{Details, LINES_MAX, LossLine, NAME_LEN_MAX, PortLine, WorkerLine};
pub use listener::{Listener, ListenerError};
pub use place::default_socket;
pub use protocol::{Answer, LINE_MAX, Lines, Request};
pub use status::Status;
