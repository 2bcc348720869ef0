//! Scans that measure, or that take all that the processors have: nothing else may run beside them, so
//! `scripts/test.sh` runs them last and one at a time.

#[path = "../support/mod.rs"]
mod support;

mod rates;
mod reachable;
mod steady;
