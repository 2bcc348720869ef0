//! What the benchmarks run: one executable, as each takes a link of all that it measures. Which one is meant, its name says:
//! `bench-engine`, `bench-results` or `bench-xdp`, links that bench/lib.sh makes.

mod engine;
mod results;
mod xdp;

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let called = std::env::args_os().next().unwrap_or_default();
    let name = Path::new(&called).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    match name.strip_prefix("bench-") {
        Some("engine") => engine::main(),
        Some("results") => results::main(),
        Some("xdp") => xdp::main(),
        _ => {
            eprintln!("called as {name:?}: call it as bench-engine, bench-results or bench-xdp");
            ExitCode::from(2)
        }
    }
}
