//! How the scan stands, for people and for programs that read along: the status line and bar,
//! the status updates, the metadata, the log.
//!
//! Nothing here knows the threads of a scan: it is handed plain numbers and turns them into text in ZMap's forms.

pub mod log;
pub mod metadata;
pub mod number;
pub mod progress;
pub mod status;
pub mod updates;
