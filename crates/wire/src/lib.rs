//! Frames of probes and replies, and what ties the one to the other.
//!
//! - [`packet`]: headers, checksums and templates that probes share, batches of frames
//! - [`proof`]: the cookie that ties a reply to a probe, and the test of received frames for it
//!
//! Everything here is a pure function over values and byte slices: nothing is sent, and no clock is read.

#![forbid(unsafe_code)]

pub mod packet;
pub mod proof;

/// The example in the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
