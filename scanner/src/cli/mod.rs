//! What was typed: flags as values; no side effects.

mod args;

pub use args::{Args, DedupMethod, IoMode, OutputModule};
