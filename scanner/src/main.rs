//! `xdpmap`: reads the command line, makes a plan, carries it out.

use std::process::ExitCode;

use xdpmap::cli::{self, CommandError, CommandLine, Surroundings};
use xdpmap::cookie::Key;
use xdpmap::plan::{self, Draw, EXIT_USAGE, Plan};
use xdpmap::report::log;
use xdpmap::survey;

fn main() -> ExitCode {
    // One line, wherever the log goes.
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current().name().unwrap_or("a thread").to_owned();
        log::fatal("panic", &format!("{thread}: {panic}; this is a fault of xdpmap's, please report it"));
    }));
    let line: Vec<_> = std::env::args_os().collect();
    let beside = [xdpmap::companions::run, xdpmap::doctor::run, xdpmap::steering::run];
    if let Some(code) = beside.iter().find_map(|run| run(&line)) {
        return ExitCode::from(code);
    }
    let line = match cli::parse(std::env::args_os(), &Surroundings::of_process()) {
        Ok(line) => line,
        Err(CommandError::Typed(asked)) if !asked.use_stderr() => {
            // The text of --help or --version; a reader that went away is no error.
            let _ = asked.print();
            if asked.kind() != clap::error::ErrorKind::DisplayVersion {
                cli::print(&cli::help_of_modules(std::env::args_os()));
            }
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            let (component, text) = match error {
                CommandError::Typed(error) => ("usage", cli::complaint(&error)),
                CommandError::Layer(text) => ("config", text),
            };
            log::fatal(component, &text);
            return ExitCode::from(EXIT_USAGE);
        }
    };
    match cli::list(&line.args).or_else(|| cli::config(&line)) {
        Some(text) => {
            cli::print(&text);
            ExitCode::SUCCESS
        }
        None => ExitCode::from(run(&line)),
    }
}

/// Runs a scan and returns the exit code; what went wrong has been said in one line.
fn run(line: &CommandLine) -> u8 {
    let args = &line.args;
    if let Err(error) = plan::distinct_files(args) {
        log::fatal("plan", &line.place(&error.to_string()));
        return error.exit_code();
    }
    let settings = log::Settings {
        verbosity: log::Verbosity::new(args.logging.verbosity).unwrap_or_default(),
        file: args.logging.log_file.as_deref(),
        directory: args.logging.log_directory.as_deref(),
        syslog: !args.logging.disable_syslog,
    };
    if let Err(error) = log::init(&settings) {
        log::fatal("log", &line.place(&error.to_string()));
        return EXIT_USAGE;
    }
    for warning in &line.warnings {
        tracing::warn!(target: "config", "{warning}");
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
            log::fatal("plan", &line.place(&error.to_string()));
            return error.exit_code();
        }
    };
    match survey::run(&plan, &draw) {
        Ok(code) => code,
        Err(error) => {
            log::fatal("scan", &line.place(&error.to_string()));
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
