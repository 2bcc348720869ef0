//! Scans that measure, or that use all processors: nothing else may run at the same time, so `scripts/test.sh` runs
//! them last and one at a time.

mod calibrate;
mod canaries;
mod chatty;
mod flood;
mod forger;
mod governor;
mod links;
mod policer;
mod rates;
mod reachable;
