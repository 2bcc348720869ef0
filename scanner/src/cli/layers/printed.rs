//! The options in force as a config file, and where each of them was set.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, Command};

use super::{CommandLine, exclude_each_other, is_typed_only, may_repeat};
use crate::cli::config;
use crate::cli::origin::{Origin, SetOption};
use crate::secrets;

/// The remark on an option in a config file that is printed.
pub const PASSWORD_LEFT_OUT: &str = "its password is left out";

/// An option that is in force.
struct InForce<'a> {
    arg: &'a Arg,
    long: &'a str,
    /// Its values, of which a config file has each in a line.
    values: Vec<OsString>,
    /// Where each of them was set; none is its default.
    origins: Vec<Option<Origin>>,
}

impl CommandLine {
    /// All options as a config file, with remarks about where they were set if they were not typed.
    pub fn to_config(&self, command: &Command) -> Vec<u8> {
        let mut command = command.clone();
        command.build();
        self.text(&self.in_force(&command), true)
    }

    /// Keeps what is in force among the arguments. `command` has been built.
    pub(super) fn keep_what_is_in_force(&mut self, command: &Command) {
        let in_force = self.in_force(command);
        let text = self.text(&in_force, false);
        let set = |option: &InForce<'_>| {
            let flag = option.long.to_owned();
            let origins = option.origins.clone().into_iter().flatten();
            origins.map(move |origin| SetOption { flag: flag.clone(), origin }).collect::<Vec<_>>()
        };
        self.args.origins = in_force.iter().flat_map(set).collect();
        self.args.in_force = text;
    }

    /// All options that have a value or a default, in the order of the help. `command` has been built.
    fn in_force<'a>(&self, command: &'a Command) -> Vec<InForce<'a>> {
        let source_of = |arg: &Arg| self.matches.value_source(arg.get_id().as_str());
        let is_set = |arg: &Arg| source_of(arg) == Some(ValueSource::CommandLine);
        let replaces = |other: &Arg, arg: &Arg| exclude_each_other(command, other, arg) && is_set(other);
        let option = |arg: &'a Arg| {
            let long = arg.get_long().filter(|_| !is_typed_only(command, arg))?;
            let decided = self.decided(long);
            let is_replaced = || command.get_arguments().any(|other| replaces(other, arg));
            if source_of(arg).is_none() && decided.is_none() || !is_set(arg) && is_replaced() {
                return None;
            }
            let values = decided.map_or_else(|| self.values(arg), <[OsString]>::to_vec);
            // Those of the lower layers come first, and so do their places.
            let lower = self.origins.iter().filter(|set| set.flag == long).map(|set| set.origin.clone());
            let origins = lower.chain(std::iter::repeat(Origin::CommandLine));
            let origins = origins.take(values.len()).map(|origin| is_set(arg).then_some(origin)).collect();
            (!values.is_empty()).then_some(InForce { arg, long, values, origins })
        };
        command.get_arguments().filter_map(option).collect()
    }

    fn text(&self, in_force: &[InForce<'_>], has_remarks: bool) -> Vec<u8> {
        let mut text = b"# xdpmap's options in force\n".to_vec();
        let mut heading = None;
        for InForce { arg, long, values, origins } in in_force {
            if heading != arg.get_help_heading() {
                heading = arg.get_help_heading();
                text.extend(format!("\n# {}\n", heading.unwrap_or_default()).into_bytes());
            }
            for (value, origin) in values.iter().zip(origins) {
                let origin = origin.as_ref().filter(|origin| has_remarks && **origin != Origin::CommandLine);
                let mut remarks: Vec<String> = origin.into_iter().map(ToString::to_string).collect();
                let shown = value.to_string_lossy();
                let has_secret = secrets::has_secret(&shown);
                let hidden = OsString::from(secrets::redacted(&shown).into_owned());
                remarks.extend(has_secret.then(|| PASSWORD_LEFT_OUT.to_owned()));
                text.extend(long.as_bytes());
                if arg.get_action().takes_values() || !value.is_empty() {
                    let value = if has_secret { &hidden } else { value };
                    text.extend([b" ", config::quoted(value).as_bytes()].concat());
                }
                if !remarks.is_empty() {
                    text.extend(format!("  # {}", remarks.join("; ")).into_bytes());
                }
                text.push(b'\n');
            }
        }
        if !self.args.targets.is_empty() {
            let targets = self.args.targets.join(" ");
            let targets = secrets::redacted(&targets);
            text.extend(format!("\n# Targets, to be given as arguments: {targets}\n").into_bytes());
        }
        text
    }

    /// The values of an option that a config file has in a line each. That of a flag is empty, or how often it was
    /// given.
    fn values(&self, arg: &Arg) -> Vec<OsString> {
        let id = arg.get_id().as_str();
        if arg.get_action().takes_values() {
            let values: Vec<&OsStr> = self.matches.get_raw(id).into_iter().flatten().collect();
            return match may_repeat(arg) {
                true => values.into_iter().map(OsStr::to_owned).collect(),
                false => vec![values.join(OsStr::new(","))],
            };
        }
        let times = match arg.get_action() {
            ArgAction::Count => self.matches.get_count(id),
            _ => self.matches.get_flag(id).into(),
        };
        match times {
            0 => vec![],
            1 => vec![OsString::new()],
            times => vec![times.to_string().into()],
        }
    }
}
