//! One executable for all targets, because building one for each takes most of a short run. libFuzzer uses the whole
//! command line, so an environment variable names the target.
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
