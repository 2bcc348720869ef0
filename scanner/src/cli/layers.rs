//! Where an option's value comes from: flags over environment over the user's config file over the system's.
//!
//! What the lower layers set becomes arguments before those that were typed, unless a higher layer has said something
//! about the same option, or about one that excludes it. So an option means the same wherever it is set, and an error is
//! told by the place that has to be mended.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, FromArgMatches};

use super::{Args, complaint, config};

/// The system's config file.
const SYSTEM_FILE: &str = "/etc/xdpmap/xdpmap.conf";
/// What the names of environment variables begin with.
const PREFIX: &str = "XDPMAP_";
/// Options of which one takes the other's place.
const EXCLUSIVE: [(&str, &str); 2] = [("rate", "bandwidth"), ("log_file", "log_directory")];
/// Options that are for the command line only.
const TYPED_ONLY: [&str; 4] = ["config", "print_config", "help", "version"];

/// What surrounds the command line.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// The environment's variables that begin with `XDPMAP_`.
    pub variables: BTreeMap<String, OsString>,
    /// Config files that are read if they exist, the one that counts more first.
    pub files: Vec<PathBuf>,
}

impl Surroundings {
    /// Those of this process.
    pub fn of_process() -> Self {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .filter(|(name, _)| name.starts_with(PREFIX))
            .collect();
        let folder = |name: &str| std::env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
        let user = folder("XDG_CONFIG_HOME").or_else(|| Some(folder("HOME")?.join(".config")));
        let user = user.map(|folder| folder.join("xdpmap/xdpmap.conf"));
        Self { variables, files: user.into_iter().chain([PathBuf::from(SYSTEM_FILE)]).collect() }
    }
}

/// Why a command line, or what it is completed from, cannot be used.
#[derive(Debug)]
pub enum CommandError {
    /// What clap says about the command line, or the text that `--help` or `--version` asks for.
    Typed(clap::Error),
    /// What is wrong with a config file or with the environment, in a line that names the place and the remedy.
    Layer(String),
}

/// A command line, completed from the layers below it.
#[derive(Clone, Debug)]
pub struct CommandLine {
    /// All options.
    pub args: Args,
    /// What the user should know about the config files.
    pub warnings: Vec<String>,
    matches: ArgMatches,
    /// Where options were set that were not typed: long name and place.
    origins: Vec<(String, String)>,
}

/// What one layer says about one option.
struct Setting {
    name: String,
    value: Option<String>,
    /// File and line, or variable.
    origin: String,
}

impl CommandLine {
    /// Reads `line`, the program's name first, and what surrounds it.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn read<A: Into<OsString>>(
        command: &Command,
        line: impl IntoIterator<Item = A>,
        surroundings: &Surroundings,
    ) -> Result<Self, CommandError> {
        let mut command = command.clone();
        command.build();
        let mut line: Vec<OsString> = line.into_iter().map(Into::into).collect();
        let typed = command.clone().try_get_matches_from(&line).map_err(CommandError::Typed)?;
        let is_typed = |id: &str| typed.value_source(id) == Some(ValueSource::CommandLine);
        let mut said: Vec<String> =
            command.get_arguments().map(|arg| arg.get_id().to_string()).filter(|id| is_typed(id)).collect();
        let mut completed =
            Self { args: from(&typed)?, warnings: Vec::new(), matches: typed, origins: Vec::new() };
        let mut lower: Vec<String> = Vec::new();
        for layer in layers(&command, &completed.args, surroundings)? {
            let mut now = Vec::new();
            for setting in layer {
                let arg = completed.find(&command, &setting)?;
                let id = arg.get_id().as_str();
                if now.iter().any(|other| other == id) {
                    return Err(CommandError::Layer(format!(
                        "{}: {} is set twice; set it once",
                        setting.origin, setting.name
                    )));
                }
                let argument = argument(arg, &setting)?;
                now.push(id.to_owned());
                if said.iter().any(|other| other == id || exclusive(other, id)) {
                    continue;
                }
                let long = arg.get_long().unwrap_or_default().to_owned();
                check(&command, argument.as_ref(), &setting)?;
                lower.extend(argument);
                completed.origins.push((long, setting.origin));
            }
            said.extend(now);
        }
        if lower.is_empty() {
            return Ok(completed);
        }
        let first = line.len().min(1);
        line.splice(first..first, lower.iter().map(OsString::from));
        let matches = command
            .try_get_matches_from(&line)
            .map_err(|error| CommandError::Layer(completed.place(&complaint(&error))))?;
        completed.args = from(&matches)?;
        completed.args.inherited = lower;
        completed.matches = matches;
        Ok(completed)
    }

    /// An error's text, followed by where the options that it names were set, if they were not typed.
    pub fn place(&self, text: &str) -> String {
        let names = |long: &str| {
            text.match_indices(&format!("--{long}")).any(|(at, flag)| {
                !text[at + flag.len()..].starts_with(|c: char| c == '-' || c.is_ascii_alphanumeric())
            })
        };
        let mut text_and_places = text.to_owned();
        for (long, origin) in self.origins.iter().filter(|(long, _)| names(long)) {
            text_and_places.push_str(&format!("; --{long} is set in {origin}"));
        }
        text_and_places
    }

    /// All options as a config file.
    pub fn to_config(&self, command: &Command) -> String {
        let mut text = String::from("# xdpmap's options in force\n");
        let mut heading = None;
        for arg in command.get_arguments() {
            let (id, Some(long)) = (arg.get_id().as_str(), arg.get_long()) else { continue };
            let source = self.matches.value_source(id);
            let replaced = source == Some(ValueSource::DefaultValue)
                && command.get_arguments().any(|other| {
                    exclusive(other.get_id().as_str(), id)
                        && self.matches.value_source(other.get_id().as_str())
                            == Some(ValueSource::CommandLine)
                });
            if TYPED_ONLY.contains(&id) || source.is_none() || replaced {
                continue;
            }
            let value = if arg.get_action().takes_values() {
                let values = self.matches.get_raw(id).into_iter().flatten();
                let values: Vec<_> = values.map(|value| value.to_string_lossy()).collect();
                format!(" {}", config::quoted(&values.join(",")))
            } else if self.matches.get_flag(id) {
                String::new()
            } else {
                continue;
            };
            if heading != arg.get_help_heading() {
                heading = arg.get_help_heading();
                text.push_str(&format!("\n# {}\n", heading.unwrap_or_default()));
            }
            let origin = self.origins.iter().find(|(name, _)| name == long);
            let origin = origin.map(|(_, origin)| format!("  # {origin}")).unwrap_or_default();
            text.push_str(&format!("{long}{value}{origin}\n"));
        }
        if !self.args.targets.is_empty() {
            text.push_str(&format!(
                "\n# Targets, to be given as arguments: {}\n",
                self.args.targets.join(" ")
            ));
        }
        text
    }

    /// The option that a setting is about.
    fn find<'a>(&mut self, command: &'a Command, setting: &Setting) -> Result<&'a Arg, CommandError> {
        let (name, origin) = (setting.name.as_str(), &setting.origin);
        let known = |arg: &&Arg| {
            arg.get_long() == Some(name)
                || arg.get_all_aliases().is_some_and(|aliases| aliases.contains(&name))
        };
        let Some(arg) = command.get_arguments().find(known) else {
            let flag = format!("--{name}");
            let what = match command.clone().try_get_matches_from(["xdpmap", &flag]) {
                Err(error) if error.kind() == clap::error::ErrorKind::UnknownArgument => complaint(&error),
                _ => format!("there is no option '{name}'; names are written in full; see xdpmap --help"),
            };
            return Err(CommandError::Layer(format!("{origin}: {what}")));
        };
        if TYPED_ONLY.contains(&arg.get_id().as_str()) {
            let what = format!("{origin}: {name} is for the command line only; take it out");
            return Err(CommandError::Layer(what));
        }
        if let Some(long) = arg.get_long().filter(|long| *long != name) {
            self.warnings.push(format!("{origin}: {name} is called {long} now"));
        }
        Ok(arg)
    }
}

fn from(matches: &ArgMatches) -> Result<Args, CommandError> {
    Args::from_arg_matches(matches).map_err(CommandError::Typed)
}

fn exclusive(one: &str, other: &str) -> bool {
    EXCLUSIVE.iter().any(|&pair| pair == (one, other) || pair == (other, one))
}

/// What the layers below the command line say, the one that counts most first.
fn layers(command: &Command, typed: &Args, around: &Surroundings) -> Result<Vec<Vec<Setting>>, CommandError> {
    let mut environment = Vec::new();
    for arg in command.get_arguments().filter(|arg| !TYPED_ONLY.contains(&arg.get_id().as_str())) {
        let Some(long) = arg.get_long() else { continue };
        let name = format!("{PREFIX}{}", long.to_uppercase().replace('-', "_"));
        let Some(value) = around.variables.get(&name).filter(|value| !value.is_empty()) else { continue };
        let origin = format!("the environment's {name}");
        let value = value
            .to_str()
            .ok_or_else(|| CommandError::Layer(format!("{origin}: this is no UTF-8; mend or unset it")))?;
        environment.push(Setting { name: long.to_owned(), value: Some(value.to_owned()), origin });
    }
    let named = around.variables.get("XDPMAP_CONFIG").filter(|path| !path.is_empty());
    let mut layers = vec![environment];
    match typed.basic.config.clone().or_else(|| named.map(PathBuf::from)) {
        Some(path) => layers.push(file(&path, true)?),
        None => {
            for path in &around.files {
                layers.push(file(path, false)?);
            }
        }
    }
    Ok(layers)
}

/// The settings of a config file; none if it need not exist and does not.
fn file(path: &Path, must_exist: bool) -> Result<Vec<Setting>, CommandError> {
    let name = path.display();
    // Not even to be looked up, as root's for a user that keeps root's HOME: this is nobody's file.
    if !must_exist && std::fs::metadata(path).is_err() {
        return Ok(Vec::new());
    }
    let text = std::fs::read_to_string(path).map_err(|error| {
        CommandError::Layer(format!(
            "--config: cannot read {name} ({error}); check the path and its permissions"
        ))
    })?;
    let entries = config::parse(&text)
        .map_err(|bad| CommandError::Layer(format!("{name}:{}: {}", bad.line, bad.what)))?;
    let setting = |entry: config::Entry| Setting {
        name: entry.name,
        value: entry.value,
        origin: format!("{name}:{}", entry.line),
    };
    Ok(entries.into_iter().map(setting).collect())
}

/// The argument that sets `arg`; `None` for a flag that is switched off.
fn argument(arg: &Arg, setting: &Setting) -> Result<Option<String>, CommandError> {
    let long = arg.get_long().unwrap_or_default();
    let value = setting.value.as_deref();
    if arg.get_action().takes_values() {
        return Ok(Some(value.map_or_else(|| format!("--{long}"), |value| format!("--{long}={value}"))));
    }
    match value.map(str::to_ascii_lowercase).as_deref() {
        None | Some("1" | "yes" | "true" | "on") => Ok(Some(format!("--{long}"))),
        Some("0" | "no" | "false" | "off") => Ok(None),
        Some(other) => Err(CommandError::Layer(format!(
            "{}: {} is on or off and not '{other}'; leave the value out, or write yes or no",
            setting.origin, setting.name
        ))),
    }
}

/// Refuses what the option itself would not take.
fn check(command: &Command, argument: Option<&String>, setting: &Setting) -> Result<(), CommandError> {
    let Some(argument) = argument else { return Ok(()) };
    match command.clone().try_get_matches_from(["xdpmap", argument.as_str()]) {
        Ok(_) => Ok(()),
        Err(error) => Err(CommandError::Layer(format!("{}: {}", setting.origin, complaint(&error)))),
    }
}

#[cfg(test)]
mod tests;
