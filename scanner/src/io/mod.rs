//! Frames in and out.
pub mod batch;
