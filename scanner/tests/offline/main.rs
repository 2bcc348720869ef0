//! The program and its library without a network: what it prints, refuses and writes, and that each target comes once.
//!
//! Whatever would probe is a dry run, which can send nothing.

#[path = "../support/mod.rs"]
mod support;

mod companions;
mod config;
mod coverage;
mod files;
mod lists;
mod names;
mod no_clang;
mod packages;
mod text;
mod usage;
mod zmap;
