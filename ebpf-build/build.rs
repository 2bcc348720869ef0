//! Looks for clang before anything is compiled: a build without it ends at once, not after minutes.

use std::env;
use std::process::{Command, Stdio};

#[path = "src/names.rs"]
mod names;

fn main() {
    println!("cargo::rerun-if-changed=src/names.rs");
    println!("cargo::rerun-if-env-changed={}", names::CLANG_VARIABLE);
    let is_named = env::var_os(names::CLANG_VARIABLE).is_some_and(|value| !value.is_empty());
    let runs = |tool| {
        Command::new(tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
    };
    if !is_named && !names::usual("clang").any(runs) {
        println!("cargo::error={}", names::NO_CLANG);
    }
}
