//! `xdpmap`: reads the command line, makes a plan, carries it out.

use std::process::ExitCode;

use xdpmap::cli::Args;
use xdpmap::cookie::Key;
use xdpmap::plan::{Draw, EXIT_USAGE, Plan};
use xdpmap::report::log;
use xdpmap::survey;

fn main() -> ExitCode {
    let args = match xdpmap::cli::parse(std::env::args_os()) {
        Ok(args) => args,
        Err(error) if error.use_stderr() => {
            log::fatal("usage", &xdpmap::cli::complaint(&error));
            return ExitCode::from(EXIT_USAGE);
        }
        Err(asked) => {
            // The text of --help or --version; a reader that went away is no error.
            let _ = asked.print();
            return ExitCode::SUCCESS;
        }
    };
    match xdpmap::cli::list(&args) {
        Some(text) => {
            xdpmap::cli::print(&text);
            ExitCode::SUCCESS
        }
        None => ExitCode::from(run(&args)),
    }
}

/// Runs a scan and returns the exit code; what went wrong has been said in one line.
fn run(args: &Args) -> u8 {
    if let Some(verbosity) = log::Verbosity::new(args.logging.verbosity) {
        // Set once, first thing in the process.
        let _ = log::init(verbosity);
    }
    let draw = match draw() {
        Ok(draw) => draw,
        Err(error) => {
            log::fatal("random", &format!("reading /dev/urandom: {error}"));
            return 1;
        }
    };
    let plan = match Plan::new(args, &draw) {
        Ok(plan) => plan,
        Err(error) => {
            log::fatal("plan", &error.to_string());
            return error.exit_code();
        }
    };
    match survey::run(&plan, &draw) {
        Ok(code) => code,
        Err(error) => {
            log::fatal("scan", &error.to_string());
            error.exit_code()
        }
    }
}

/// What is left to chance: seed, cookie key, and the time in the probes' timestamps.
fn draw() -> std::io::Result<Draw> {
    use std::io::Read;
    let mut bytes = [0u8; 24];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    let mut seed = [0u8; 8];
    seed.copy_from_slice(&bytes[..8]);
    let mut key = [0u8; 16];
    key.copy_from_slice(&bytes[8..]);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let timestamp = now.map_or(0, |time| time.as_secs() as u32);
    Ok(Draw { seed: u64::from_le_bytes(seed), key: Key::from_bytes(key), timestamp })
}
