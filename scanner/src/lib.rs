//! xdpmap: an Internet scanner on the kernel's AF_XDP.
//!
//! Data flows down this list, never up: what was typed (`cli`) becomes a [`plan`]; its [`targets`] are walked by
//! the [`engine`]'s workers, which let a [`probe`] fill batches that [`io`] puts on the wire; what comes back is
//! classified by the probe and handed to [`results`]; [`report`] tells how the scan stands.
//!
//! `docs/design.md` holds the architecture and the invariants that the modules refer to.

pub mod cli;
pub mod companions;
pub mod cookie;
pub mod doctor;
pub mod engine;
pub mod io;
pub mod nic;
pub mod packet;
pub mod plan;
pub mod printable;
pub mod privileges;
pub mod probe;
pub mod report;
pub mod results;
pub mod secrets;
pub mod simd;
pub mod steering;
pub mod survey;
pub mod targets;
