//! `xdpmap`: reads the command line, makes a plan, carries it out.

use std::process::ExitCode;

use rustix::rand::{GetRandomFlags, getrandom};
use wire::proof::Key;
use xdpmap::calibrate;
use xdpmap::checkpoint::Checkpoint;
use xdpmap::checkpoint::file::Held;
use xdpmap::cli::calibrate::Calibration;
use xdpmap::cli::{self, CommandError, CommandLine, Surroundings};
use xdpmap::exit::Exit;
use xdpmap::live;
use xdpmap::plan::{self, Plan, Randomness, Resumed};
use xdpmap::report::log;
use xdpmap::survey;

fn main() -> ExitCode {
    // One line, wherever the log goes.
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current().name().unwrap_or("a thread").to_owned();
        log::fatal("panic", &format!("{thread}: {panic}; this is a fault of xdpmap's, please report it"));
    }));
    xdpmap::name_service::settle();
    let line: Vec<_> = std::env::args_os().collect();
    let beside = [xdpmap::companions::run, xdpmap::doctor::run, xdpmap::steering::run];
    if let Some(code) = beside.iter().find_map(|run| run(&line)) {
        return code.into();
    }
    if line.get(1).is_some_and(|word| word == "resume") {
        return resume(log::on_stderr(|| plan::resume(&line[2..]))).into();
    }
    if line.get(1).is_some_and(|word| word == "calibrate") {
        let parsed = log::on_stderr(|| cli::calibrate::parse(&line[2..], &Surroundings::of_process()));
        return match parsed {
            Ok((line, asked)) => run(&line, None, Some(&asked)).into(),
            Err(error) => not_parsed(error, String::new).into(),
        };
    }
    let parsed = log::on_stderr(|| cli::parse(std::env::args_os(), &Surroundings::of_process()));
    let mut line = match parsed {
        Ok(line) => line,
        Err(error) => return not_parsed(error, || cli::help_of_modules(std::env::args_os())).into(),
    };
    let listed = cli::list(&line.args).map(String::into_bytes).or_else(|| cli::config(&line));
    if let Some(text) = listed.or_else(|| line.args.basic.generate.map(xdpmap::generate::text)) {
        cli::print(&text);
        return Exit::Done.into();
    }
    if let Err(error) = log::on_stderr(|| plan::batch::settle(&mut line, &plan::batch::variables())) {
        log::fatal("plan", &line.place(&error.to_string()));
        return error.exit_code().into();
    }
    if !line.args.checkpoint.resume_or_start {
        return run(&line, None, None).into();
    }
    match log::on_stderr(|| plan::resume_or_start(&line)).transpose() {
        None => run(&line, None, None).into(),
        Some(resumed) => resume(resumed).into(),
    }
}

/// Says what is wrong with a command line, or prints what it asks for: the text of --help, which `more` follows, or of
/// --version.
fn not_parsed(error: CommandError, more: impl FnOnce() -> String) -> Exit {
    let (component, text) = match error {
        CommandError::Typed(asked) if !asked.use_stderr() => {
            // A reader that has closed the pipe is not an error.
            let _ = asked.print();
            if asked.kind() != clap::error::ErrorKind::DisplayVersion {
                cli::print(more());
            }
            return Exit::Done;
        }
        CommandError::Typed(error) => ("usage", cli::complaint(&error)),
        CommandError::Layer(text) => ("config", text),
    };
    log::fatal(component, &text);
    Exit::Usage
}

/// Goes on with a scan, if there is anything left to do.
fn resume(resumed: Result<Resumed, String>) -> Exit {
    match resumed {
        Ok(Resumed::Scan(scan)) => run(&scan.line, Some((scan.draw, scan.checkpoint, scan.held)), None),
        Ok(Resumed::Nothing(text)) => {
            cli::print(text);
            Exit::Done
        }
        Err(error) => {
            log::fatal("resume", &error);
            Exit::Usage
        }
    }
}

/// Runs a scan, or the rest of one, or that of a calibration, or prints its plan. Returns the exit code. An error has
/// been logged in one line by then.
fn run(
    line: &CommandLine,
    resumed: Option<(Randomness, Checkpoint, Held)>,
    calibration: Option<&Calibration>,
) -> Exit {
    let args = &line.args;
    if let Err(error) = plan::distinct_files(args) {
        log::fatal("plan", &line.place(&error.to_string()));
        return error.exit_code();
    }
    if args.logging.live && !live::is_viewed() {
        // The process that is shown takes the checkpoint.
        drop(resumed);
        let shown = live::scan(args);
        return shown.unwrap_or_else(|error| {
            log::fatal("live", &error.to_string());
            error.exit_code()
        });
    }
    // A plan that is only printed changes no file.
    let is_carried_out = !args.scan.plan;
    let settings = log::LogSettings {
        verbosity: log::Verbosity::new(args.logging.level()).unwrap_or_default(),
        file: args.logging.log_file.as_deref().filter(|_| is_carried_out),
        directory: args.logging.log_directory.as_deref().filter(|_| is_carried_out),
        syslog: is_carried_out && !args.logging.disable_syslog,
    };
    if let Err(error) = log::init(&settings) {
        log::fatal("log", &line.place(&error.to_string()));
        return Exit::Usage;
    }
    for warning in &line.warnings {
        tracing::warn!(target: "config", "{warning}");
    }
    if let Some(task) = &args.sharding.task {
        tracing::info!(target: "plan", "{task}");
    }
    let drawn = match &resumed {
        Some((draw, ..)) => Ok(*draw),
        None => draw(),
    };
    let draw = match drawn {
        Ok(draw) => draw,
        Err(error) => {
            log::fatal("random", &format!("the kernel provides no random numbers: {error}"));
            return Exit::Failed;
        }
    };
    let made = match &resumed {
        Some((_, checkpoint, _)) => Plan::resumed(args, &draw, checkpoint),
        None => Plan::new(args, &draw),
    };
    let plan = match made {
        Ok(plan) => plan,
        Err(error) => {
            log::fatal("plan", &line.place(&error.to_string()));
            return error.exit_code();
        }
    };
    if !is_carried_out {
        for warning in &plan.warnings {
            tracing::warn!(target: "plan", "{warning}");
        }
        for told in calibration.iter().flat_map(|asked| calibrate::told(asked, &plan)) {
            cli::print(told + "\n");
        }
        cli::print(plan.outline());
        return Exit::Done;
    }
    let made = match plan::batch::make_folder(args) {
        Ok(made) => made,
        Err(error) => {
            log::fatal("plan", &line.place(&error.to_string()));
            return error.exit_code();
        }
    };
    let failed = |component, text: String, exit| {
        log::fatal(component, &line.place(&text));
        exit
    };
    let exit = match calibration {
        Some(asked) => calibrate::run(asked, &plan, &draw)
            .unwrap_or_else(|error| failed("calibrate", error.to_string(), error.exit_code())),
        None => survey::run(&plan, &draw, resumed.map(|(_, _, held)| held))
            .unwrap_or_else(|error| failed("scan", error.to_string(), error.exit_code())),
    };
    // Of a scan that has not begun nothing is in them.
    drop(made);
    exit
}

/// What is random: seed and cookie key; also the time for the probes' timestamps.
fn draw() -> std::io::Result<Randomness> {
    let mut bytes = [0u8; 24];
    // Always the full length: for up to 256 bytes the kernel never returns less.
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    let mut seed = [0u8; 8];
    seed.copy_from_slice(&bytes[..8]);
    let mut key = [0u8; 16];
    key.copy_from_slice(&bytes[8..]);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let timestamp = now.map_or(0, |time| time.as_secs() as u32);
    Ok(Randomness { seed: plan::drawn_seed(seed), key: Key::from_bytes(key), timestamp })
}
