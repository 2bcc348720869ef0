//! What is probed, and in which order.
pub mod batch;
pub use batch::{BATCH_MAX, TargetBatch};
