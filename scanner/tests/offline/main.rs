//! The program and its library without a network: what it prints, refuses and writes, and that each target comes once.
//!
//! Whatever would probe is a dry run, which can send nothing.

mod asn;
mod batch;
mod checkpoint;
mod companions;
mod compressed;
mod config;
mod coverage;
mod documents;
mod files;
mod generated;
mod house;
mod lists;
mod metrics;
mod names;
mod no_clang;
mod packages;
mod plan;
mod reference;
mod security;
mod stored;
mod text;
mod unit;
mod usage;
mod zmap;
