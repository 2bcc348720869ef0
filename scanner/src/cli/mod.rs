//! The command line as values. There are no side effects, except that lists are printed on request.

mod args;
pub mod calibrate;
pub mod config;
mod habits;
mod layers;
mod modules;
mod origin;
pub(crate) mod presence;

use std::ffi::{OsStr, OsString};
use std::io::Write as _;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, CommandFactory};

pub use args::{
    Args, BasicArgs, CheckpointArgs, DedupArgs, DedupMethod, EngineArgs, Generated, IoMode, LoggingArgs,
    NetworkArgs, OnOutputError, OutputArgs, OutputModule, Partition, ProbeArgs, Rate, ScanArgs, ShardChoice,
    ShardingArgs, StatusFormat, Task, Toggle, rate, shard_choice,
};

pub use habits::COMMANDS;
pub use layers::{
    CommandError, CommandLine, Decided, PASSWORD_LEFT_OUT, SYSTEM_FILE, Surroundings, in_config_files,
};
pub use origin::{Origin, SetOption};

use crate::probe::{MODULES, udp};
use crate::results::sink::Module;

/// The command line's grammar. Long names may be abbreviated as long as they are unambiguous, as with ZMap.
pub fn command() -> Command {
    // `-r -5` is a bad rate, not an unknown flag.
    let signed = |arg: clap::Arg| {
        let takes_values = arg.get_action().takes_values();
        arg.allow_negative_numbers(takes_values)
    };
    Args::command().mut_args(signed).infer_long_args(true)
}

/// Reads the command line `line`, the program's name first, and its surroundings.
///
/// # Errors
/// What is wrong with it, or the text of `--help` or `--version`.
pub fn parse<A: Into<OsString>>(
    line: impl IntoIterator<Item = A>,
    surroundings: &Surroundings,
) -> Result<CommandLine, CommandError> {
    let line: Vec<OsString> = line.into_iter().map(Into::into).collect();
    if let Some(what) = habits::misread(line.get(1..).unwrap_or_default()) {
        return Err(usage(what));
    }
    let read = CommandLine::read(&command(), line, surroundings)?;
    match habits::misplaced_command(&read.args.targets) {
        Some(what) => Err(usage(what)),
        None => Ok(read),
    }
}

fn usage(what: String) -> CommandError {
    CommandError::Typed(command().error(ErrorKind::InvalidValue, what))
}

/// The long names of the options that `words` give, and `targets` if there are any.
///
/// # Errors
/// What is wrong with them.
pub fn given(words: &[OsString]) -> Result<Vec<String>, clap::Error> {
    let mut command = command();
    command.build();
    let line = std::iter::once(OsString::from("xdpmap")).chain(words.iter().cloned());
    let matches = command.clone().try_get_matches_from(line)?;
    let is_given = |arg: &&clap::Arg| {
        matches.value_source(arg.get_id().as_str()) == Some(clap::parser::ValueSource::CommandLine)
    };
    let name = |arg: &clap::Arg| arg.get_long().unwrap_or(arg.get_id().as_str()).to_owned();
    Ok(command.get_arguments().filter(is_given).map(name).collect())
}

/// Whether the option with this long name takes a value.
pub fn takes_value(long: &str) -> bool {
    let command = command();
    let mut options = command.get_arguments().filter(|arg| arg.get_long() == Some(long));
    options.any(|arg| arg.get_action().takes_values())
}

/// The part of the help about the modules that `line` selects; it follows the flags.
pub fn help_of_modules<A: Into<OsString> + Clone>(line: impl IntoIterator<Item = A>) -> String {
    let lenient = command().disable_help_flag(true).ignore_errors(true);
    let chosen = lenient.try_get_matches_from(line).ok();
    let name = |id: &str| {
        let raw = chosen.as_ref().and_then(|matches| matches.get_raw(id))?.next()?;
        raw.to_str().map(str::to_owned)
    };
    modules::help(name("probe_module").as_deref(), name("output_module").as_deref())
}

/// A command line error in one line: clap's paragraph without the usage.
pub fn complaint(error: &clap::Error) -> String {
    if let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg)
        && error.kind() == ErrorKind::UnknownArgument
        && let Some(instead) = habits::instead_of_option(flag)
    {
        return format!("xdpmap has no {flag}: {instead}; see xdpmap --help");
    }
    let text = error.render().to_string();
    let lines = text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
    // A user with a mistyped flag does not need to know how to pass it as a value.
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

/// The text for a `--list-...` flag, or for ZMap's equivalent in `--probe-args`, if one is given.
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
        && args.probe.probe_args.as_deref() == Some(OsStr::new(udp::LIST_FIELDS))
    {
        text = udp::template::listing();
    } else {
        return None;
    }
    Some(text)
}

/// The options in force as a config file, if `--print-config` is given.
pub fn config(line: &CommandLine) -> Option<Vec<u8>> {
    line.args.basic.print_config.then(|| line.to_config(&command()))
}

/// Prints `text` to standard output. A reader that has closed the pipe is not an error.
pub fn print(text: impl AsRef<[u8]>) {
    let _ = std::io::stdout().write_all(text.as_ref());
}
