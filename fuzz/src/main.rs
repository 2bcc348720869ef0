//! One executable for all targets, for building one for each takes most of a short run. libFuzzer has the command line
//! to itself, so the target is named in the environment.
#![no_main]

mod support;
mod targets;

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

/// Names the target.
const VARIABLE: &str = "FUZZ_TARGET";
static TARGET: OnceLock<targets::Target> = OnceLock::new();

fuzz_target!(
    init: {
        let name = std::env::var(VARIABLE).unwrap_or_default();
        match targets::named(&name) {
            Ok(target) => _ = TARGET.set(target),
            Err(names) => {
                eprintln!("{VARIABLE}={name}: no such target; there are {names}");
                std::process::exit(2);
            }
        }
    },
    |bytes: &[u8]| TARGET.get().expect("set at the start")(bytes)
);
