//! The benchmarks' programs in one executable, because each would have to link everything that it measures. The first
//! argument selects the program.

mod checkpoints;
mod engine;
mod knees;
mod results;
mod xdp;

use std::process::ExitCode;

// The simulation, a file of the library's tests, finds it at this place.
use xdpmap::governor;

fn main() -> ExitCode {
    let mut arguments = std::env::args();
    match arguments.by_ref().nth(1).as_deref() {
        Some("engine") => engine::main(arguments),
        Some("governor") => knees::main(arguments),
        Some("results") => results::main(arguments),
        Some("xdp") => xdp::main(arguments),
        _ => {
            eprintln!("the first argument is engine, governor, results or xdp");
            ExitCode::from(2)
        }
    }
}
