//! Frames in and out.
pub mod batch;
pub mod bpf;
