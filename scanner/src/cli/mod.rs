//! What was typed: flags as values; no side effects but for the lists that are printed on demand.

mod args;

use std::ffi::OsString;
use std::io::Write as _;

use clap::{CommandFactory, FromArgMatches};

pub use args::{Args, DedupMethod, IoMode, OutputModule};

use crate::probe::MODULES;
use crate::results::sink::Module;

/// Reads the command line `line`, the program's name first.
///
/// # Errors
/// What clap says about it, or the text that `--help` or `--version` asks for.
pub fn parse<A: Into<OsString> + Clone>(line: impl IntoIterator<Item = A>) -> Result<Args, clap::Error> {
    // `-r -5` is a bad rate, not an unknown flag.
    let signed = |arg: clap::Arg| {
        let takes_values = arg.get_action().takes_values();
        arg.allow_negative_numbers(takes_values)
    };
    let command = Args::command().mut_args(signed);
    Args::from_arg_matches(&command.try_get_matches_from(line)?)
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

/// The text that a `--list-...` flag asks for, if one is given.
pub fn list(args: &Args) -> Option<String> {
    let mut text = String::new();
    if args.list_probe_modules {
        MODULES.iter().for_each(|module| text.push_str(&format!("{}\n", module.name)));
    } else if args.list_output_modules {
        for module in Module::ALL {
            match args.output_module.as_slice() {
                [] => text.push_str(&format!("{module}\n")),
                asked if asked.iter().any(|asked| asked.module() == *module) => {
                    text.push_str(&format!("{module}: {}\n", module.help()));
                }
                _ => {}
            }
        }
    } else if args.list_output_fields {
        let module = MODULES.iter().find(|module| module.name == args.probe_module);
        text = module?.fields.listing();
    } else {
        return None;
    }
    Some(text)
}

/// Prints `text` to standard output; a reader that went away is no error.
pub fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}
