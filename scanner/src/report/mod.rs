//! Reports of a scan for people and for programs that monitor it: the status line and bar, the status updates, the
//! metadata file, the log.
//!
//! Nothing here knows the threads of a scan. It gets plain numbers and turns them into text in ZMap's forms.

pub mod canaries;
pub mod log;
pub mod metadata_file;
pub mod number;
pub mod progress;
pub mod status;
pub mod updates;
