//! What was typed: flags as values; no side effects but for the lists that are printed on demand.

mod args;
pub mod config;
mod layers;
mod modules;
pub(crate) mod presence;

use std::ffi::OsString;
use std::io::Write as _;

use clap::{Command, CommandFactory};

pub use args::{
    Args, BasicArgs, DedupArgs, DedupMethod, EngineArgs, IoMode, LoggingArgs, NetworkArgs, OutputArgs,
    OutputModule, ProbeArgs, ScanArgs, ShardingArgs, StatusFormat, Toggle,
};

pub use layers::{CommandError, CommandLine, Surroundings};

use crate::probe::{MODULES, udp};
use crate::results::sink::Module;

/// The command line's grammar. Long names may be cut short as long as they are clear, as ZMap's may.
pub fn command() -> Command {
    // `-r -5` is a bad rate, not an unknown flag.
    let signed = |arg: clap::Arg| {
        let takes_values = arg.get_action().takes_values();
        arg.allow_negative_numbers(takes_values)
    };
    Args::command().mut_args(signed).infer_long_args(true)
}

/// Reads the command line `line`, the program's name first, and what surrounds it.
///
/// # Errors
/// What is wrong with it, or the text that `--help` or `--version` asks for.
pub fn parse<A: Into<OsString>>(
    line: impl IntoIterator<Item = A>,
    surroundings: &Surroundings,
) -> Result<CommandLine, CommandError> {
    CommandLine::read(&command(), line, surroundings)
}

/// What `--help` tells about the modules that `line` chooses, after the flags.
pub fn help_of_modules<A: Into<OsString> + Clone>(line: impl IntoIterator<Item = A>) -> String {
    let lenient = command().disable_help_flag(true).ignore_errors(true);
    let chosen = lenient.try_get_matches_from(line).ok();
    let name = |id: &str| {
        let raw = chosen.as_ref().and_then(|matches| matches.get_raw(id))?.next()?;
        raw.to_str().map(str::to_owned)
    };
    modules::help(name("probe_module").as_deref(), name("output_module").as_deref())
}

/// What is wrong with a command line, as one line: what clap spreads over a paragraph, less the usage.
pub fn complaint(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let lines = text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
    // How to pass it as a value is the last thing that somebody with a mistyped flag wants to know.
    let idle = |line: &str| line.starts_with("For more information") || line.starts_with("tip: to pass");
    let lines = lines.filter(|line| !line.is_empty() && !idle(line));
    let mut complaint = String::new();
    for line in lines {
        let joint = match (complaint.is_empty(), line.starts_with("tip:")) {
            (true, _) => "",
            (false, true) => "; ",
            (false, false) => " ",
        };
        complaint.push_str(joint);
        complaint.push_str(line.strip_prefix("error: ").unwrap_or(line));
    }
    complaint + "; see xdpmap --help"
}

/// The text that a `--list-...` flag asks for, or ZMap's word for it in `--probe-args`, if one is given.
pub fn list(args: &Args) -> Option<String> {
    let mut text = String::new();
    if args.probe.list_probe_modules {
        MODULES.iter().for_each(|module| text.push_str(&format!("{}\n", module.name)));
    } else if args.output.list_output_modules {
        Module::ALL.iter().for_each(|module| text.push_str(&format!("{module}\n")));
    } else if args.output.list_output_fields {
        let module = MODULES.iter().find(|module| module.name == args.probe.probe_module);
        text = module?.fields.listing();
    } else if args.probe.probe_module == udp::INFO.name
        && args.probe.probe_args.as_deref() == Some(udp::LIST_FIELDS)
    {
        text = udp::template::listing();
    } else {
        return None;
    }
    Some(text)
}

/// The options in force as a config file, if `--print-config` asks for it.
pub fn config(line: &CommandLine) -> Option<String> {
    line.args.basic.print_config.then(|| line.to_config(&command()))
}

/// Prints `text` to standard output; a reader that went away is no error.
pub fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}
