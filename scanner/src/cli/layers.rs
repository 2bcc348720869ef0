//! Where an option's value comes from: flags over environment over the user's config file over the system's.
//!
//! What the lower layers set becomes arguments before those that were typed, unless a higher layer has said something
//! about the same option, or about one that excludes it. So an option means the same wherever it is set, and an error is
//! told by the place that has to be mended.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, FromArgMatches};

use super::presence::is_there;
use super::{Args, complaint, config};
use crate::printable::printable;
use crate::secrets;

/// The system's config file.
const SYSTEM_FILE: &str = "/etc/xdpmap/xdpmap.conf";
/// The user's, in the folder of all programs' config files.
const OWN_FILE: &str = "xdpmap/xdpmap.conf";
/// What the names of environment variables begin with.
const PREFIX: &str = "XDPMAP_";
/// Variables of that prefix that are for the build, for scripts and for tests.
const NO_OPTIONS: [&str; 5] =
    ["XDPMAP_CLANG", "XDPMAP_LLVM_STRIP", "XDPMAP_TUNE_STATE", "XDPMAP_PYTHON", "XDPMAP_REQUIRE_ROOT"];
/// How much an unknown name must be like a known one to be taken for a slip (Jaro-Winkler).
const ALIKE: f64 = 0.85;
/// Options of which one takes the other's place.
const EXCLUSIVE: [(&str, &str); 2] = [("rate", "bandwidth"), ("log_file", "log_directory")];
/// Options that are for the command line only.
const TYPED_ONLY: [&str; 4] = ["config", "print_config", "help", "version"];

/// What surrounds the command line.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// The environment's variables that begin with `XDPMAP_`.
    pub variables: BTreeMap<String, OsString>,
    /// Config files that are read unless there are none, the one that counts more first.
    pub files: Vec<PathBuf>,
}

impl Surroundings {
    /// Those of this process.
    pub fn of_process() -> Self {
        let variables = std::env::vars_os()
            .map(|(name, value)| (printable(name), value))
            .filter(|(name, _)| name.starts_with(PREFIX))
            .collect();
        let folder = |name: &str| std::env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
        let in_home = |home: PathBuf| {
            let file = home.join(".config").join(OWN_FILE);
            // Not even to be looked up in what is no folder of this user's, as root's for one that keeps root's HOME: nobody's.
            (is_own_folder(&home) || is_there(&file).is_ok()).then_some(file)
        };
        let user = folder("XDG_CONFIG_HOME").map(|folder| folder.join(OWN_FILE));
        let user = user.or_else(|| folder("HOME").and_then(in_home));
        Self { variables, files: user.into_iter().chain([PathBuf::from(SYSTEM_FILE)]).collect() }
    }
}

fn is_own_folder(path: &Path) -> bool {
    std::fs::metadata(path)
        .is_ok_and(|found| found.is_dir() && found.uid() == nix::unistd::geteuid().as_raw())
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
    /// What the user should know about the config files and the environment.
    pub warnings: Vec<String>,
    matches: ArgMatches,
    /// Where options were set that were not typed: long name and place.
    origins: Vec<(String, String)>,
}

/// What one layer says about one option.
struct Setting {
    name: String,
    value: Option<OsString>,
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
        let mut lower: Vec<OsString> = Vec::new();
        for layer in layers(&command, &completed.args, surroundings, &mut completed.warnings)? {
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
        line.splice(first..first, lower.iter().cloned());
        let matches = command
            .try_get_matches_from(&line)
            .map_err(|error| CommandError::Layer(completed.place(&complaint(&error))))?;
        completed.args = from(&matches)?;
        completed.args.inherited = lower.iter().map(printable).collect();
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
            let mut has_secret = false;
            let value = if arg.get_action().takes_values() {
                let values = self.matches.get_raw(id).into_iter().flatten();
                let values: Vec<_> = values.map(|value| value.to_string_lossy()).collect();
                has_secret = values.iter().any(|value| secrets::has_secret(value));
                let values: Vec<_> = values.iter().map(|value| secrets::redacted(value)).collect();
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
            let remarks = origin.map(|(_, origin)| origin.as_str()).into_iter();
            let remarks: Vec<&str> =
                remarks.chain(has_secret.then_some("its password is left out")).collect();
            let remark =
                if remarks.is_empty() { String::new() } else { format!("  # {}", remarks.join("; ")) };
            text.push_str(&format!("{long}{value}{remark}\n"));
        }
        if !self.args.targets.is_empty() {
            text.push_str(&format!(
                "\n# Targets, to be given as arguments: {}\n",
                secrets::redacted(&self.args.targets.join(" "))
            ));
        }
        text
    }

    /// The option that a setting is about.
    fn find<'a>(&mut self, command: &'a Command, setting: &Setting) -> Result<&'a Arg, CommandError> {
        let (name, origin) = (setting.name.as_str(), &setting.origin);
        let Some(arg) = named(command, name) else {
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

/// The option with this long name, or that had it once.
fn named<'a>(command: &'a Command, name: &str) -> Option<&'a Arg> {
    command.get_arguments().find(|arg| names_of(arg).any(|known| known == name))
}

/// The long names of an option, the present one first.
fn names_of(arg: &Arg) -> impl Iterator<Item = &str> {
    arg.get_long().into_iter().chain(arg.get_all_aliases().into_iter().flatten())
}

/// What the layers below the command line say, the one that counts most first.
fn layers(
    command: &Command,
    typed: &Args,
    around: &Surroundings,
    warnings: &mut Vec<String>,
) -> Result<Vec<Vec<Setting>>, CommandError> {
    let named = around.variables.get("XDPMAP_CONFIG").filter(|path| !path.is_empty());
    let mut layers = vec![environment(command, around, warnings)];
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

/// What the environment sets. A variable that sets nothing is told: its name may be a slip.
fn environment(command: &Command, around: &Surroundings, warnings: &mut Vec<String>) -> Vec<Setting> {
    let mut settings = Vec::new();
    let given = around.variables.iter().filter(|(_, value)| !value.is_empty());
    for (variable, value) in given.filter(|(variable, _)| !NO_OPTIONS.contains(&variable.as_str())) {
        let origin = format!("the environment's {variable}");
        let name = variable[PREFIX.len()..].to_lowercase().replace('_', "-");
        let arg = named(command, &name).filter(|_| *variable == variable_of(&name));
        match arg.map(|arg| arg.get_id().as_str()) {
            Some("config") => {}
            Some(id) if TYPED_ONLY.contains(&id) => {
                warnings.push(format!("{origin} sets nothing: {name} is for the command line only"));
            }
            Some(_) => settings.push(Setting { name, value: Some(value.clone()), origin }),
            None => {
                let remedy = alike(command, &name).map_or_else(
                    || "unset it, or see xdpmap --help for the options".to_owned(),
                    |name| format!("is {} meant?", variable_of(name)),
                );
                warnings.push(format!("{origin} sets nothing, for there is no such option: {remedy}"));
            }
        }
    }
    settings
}

/// The variable that sets an option.
fn variable_of(name: &str) -> String {
    format!("{PREFIX}{}", name.to_uppercase().replace('-', "_"))
}

/// The option whose name is most like this one, if it is like it at all.
fn alike<'a>(command: &'a Command, name: &str) -> Option<&'a str> {
    let options = command.get_arguments().filter(|arg| !TYPED_ONLY[1..].contains(&arg.get_id().as_str()));
    let likeness = options.flat_map(names_of).map(|known| (strsim::jaro_winkler(known, name), known));
    let most = likeness.max_by(|one, other| one.0.total_cmp(&other.0))?;
    (most.0 >= ALIKE).then_some(most.1)
}

/// The settings of a config file; none if it need not exist and does not.
fn file(path: &Path, must_exist: bool) -> Result<Vec<Setting>, CommandError> {
    let name = printable(path);
    let refused = |what: String| CommandError::Layer(format!("--config: {what}"));
    if !must_exist {
        // Only that there is none is a reason to go on without: it may name a block list.
        let is_there = is_there(path);
        let remedy = "mend it, or name the file that counts (-C /dev/null is an empty one)";
        if !is_there.map_err(|why| refused(format!("{name} {why}; {remedy}")))? {
            return Ok(Vec::new());
        }
    }
    let bytes = std::fs::read(path).map_err(|error| {
        refused(format!("cannot read {name} ({error}); check the path and its permissions"))
    })?;
    let text = str::from_utf8(&bytes).map_err(|error| {
        let line = bytes[..error.valid_up_to()].iter().filter(|&&byte| byte == b'\n').count() + 1;
        CommandError::Layer(format!("{name}:{line}: this is no UTF-8; save the file as UTF-8"))
    })?;
    let entries = config::parse(text)
        .map_err(|bad| CommandError::Layer(format!("{name}:{}: {}", bad.line, bad.what)))?;
    let setting = |entry: config::Entry| Setting {
        name: entry.name,
        value: entry.value.map(OsString::from),
        origin: format!("{name}:{}", entry.line),
    };
    Ok(entries.into_iter().map(setting).collect())
}

/// The argument that sets `arg`; `None` for a flag that is switched off.
fn argument(arg: &Arg, setting: &Setting) -> Result<Option<OsString>, CommandError> {
    let mut argument = OsString::from(format!("--{}", arg.get_long().unwrap_or_default()));
    if arg.get_action().takes_values() {
        if let Some(value) = &setting.value {
            argument.push("=");
            argument.push(value);
        }
        return Ok(Some(argument));
    }
    match setting.value.as_ref().map(|value| printable(value).to_ascii_lowercase()).as_deref() {
        None | Some("1" | "yes" | "true" | "on") => Ok(Some(argument)),
        Some("0" | "no" | "false" | "off") => Ok(None),
        Some(other) => Err(CommandError::Layer(format!(
            "{}: {} is on or off and not '{other}'; leave the value out, or write yes or no",
            setting.origin, setting.name
        ))),
    }
}

/// Refuses what the option itself would not take.
fn check(command: &Command, argument: Option<&OsString>, setting: &Setting) -> Result<(), CommandError> {
    let Some(argument) = argument else { return Ok(()) };
    match command.clone().try_get_matches_from([&OsString::from("xdpmap"), argument]) {
        Ok(_) => Ok(()),
        Err(error) => Err(CommandError::Layer(format!("{}: {}", setting.origin, complaint(&error)))),
    }
}

#[cfg(test)]
mod tests;
