//! Where an option's value comes from. Flags take precedence over the environment, the environment over the user's
//! config file, and that file over the system's. Networks that any of them excludes are excluded.
//!
//! Settings of the lower layers are put before the arguments that were typed, unless a higher layer has set the same
//! option, or one that excludes it. So an option means the same wherever it is set, and an error names the place where
//! it was set.

mod decided;
mod printed;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, FromArgMatches};

pub use decided::Decided;
pub use printed::PASSWORD_LEFT_OUT;

use super::args::TYPED_ONLY;
use super::origin::{Origin, SetOption};
use super::presence::{is_file_there, is_there};
use super::{Args, complaint, config};
use crate::input;
use crate::printable::printable;

/// The system's config file.
pub const SYSTEM_FILE: &str = "/etc/xdpmap/xdpmap.conf";
/// The user's config file, inside the folder for config files.
const OWN_FILE: &str = "xdpmap/xdpmap.conf";
/// Names of environment variables begin with this.
const PREFIX: &str = "XDPMAP_";
/// Variables of that prefix that are for the build, for scripts and for tests.
const NO_OPTIONS: [&str; 5] =
    ["XDPMAP_CLANG", "XDPMAP_LLVM_STRIP", "XDPMAP_TUNE_STATE", "XDPMAP_PYTHON", "XDPMAP_REQUIRE_ROOT"];
/// The option that names the config file: of those that are for the command line only, a variable sets this one.
const CONFIG: &str = "config";
/// The option whose values in all layers add up: what somebody has excluded is not probed because somebody else
/// excludes more.
const ADDS_UP: &str = "exclude";
/// How similar an unknown name must be to a known one to be suggested (Jaro-Winkler). Lower: suggestions that have
/// nothing to do with the name. Higher: plain typing errors get none.
const ALIKE: f64 = 0.85;

/// The environment and the config files of a command line.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// The environment's variables that begin with `XDPMAP_`.
    pub variables: BTreeMap<String, OsString>,
    /// Config files that are read if they exist; the one that takes precedence is first.
    pub files: Vec<PathBuf>,
    /// The options of a scan that goes on, as a config file; then there are no other layers.
    pub saved: Option<String>,
}

impl Surroundings {
    /// The surroundings of this process.
    pub fn of_process() -> Self {
        let variables = std::env::vars_os()
            .map(|(name, value)| (printable(name), value))
            .filter(|(name, _)| name.starts_with(PREFIX))
            .collect();
        let folder = |name: &str| std::env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
        let in_home = |home: PathBuf| {
            let file = home.join(".config").join(OWN_FILE);
            // If HOME is not a folder of this user, a file there that cannot be looked up is ignored. An example is the
            // user nobody, with HOME left over from root.
            (is_own_folder(&home) || is_there(&file).is_ok()).then_some(file)
        };
        let user = folder("XDG_CONFIG_HOME").map(|folder| folder.join(OWN_FILE));
        let user = user.or_else(|| folder("HOME").and_then(in_home));
        Self { variables, files: user.into_iter().chain([PathBuf::from(SYSTEM_FILE)]).collect(), saved: None }
    }
}

fn is_own_folder(path: &Path) -> bool {
    std::fs::metadata(path)
        .is_ok_and(|found| found.is_dir() && found.uid() == nix::unistd::geteuid().as_raw())
}

/// Why a command line, or a layer below it, cannot be used.
#[derive(Debug)]
pub enum CommandError {
    /// An error of clap about the command line, or the text of `--help` or `--version`.
    Typed(clap::Error),
    /// An error in a config file or in the environment, in one line that names the place and the remedy.
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
    /// What was decided in place of what was given: options by their long names, and their values.
    decided: Vec<(&'static str, Vec<OsString>)>,
    /// Options that were not typed, in the order of their arguments.
    origins: Vec<SetOption>,
}

/// The setting of one option in one layer.
struct Setting {
    name: String,
    value: Option<OsString>,
    origin: Origin,
}

impl CommandLine {
    /// Reads `line`, the program's name first, and its surroundings.
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
        let typed = command.clone().try_get_matches_from(&line).map_err(|error| {
            CommandError::Typed(match not_text(&command, &error, line.get(1..).unwrap_or_default()) {
                Some(what) => clap::Error::raw(ErrorKind::InvalidUtf8, what),
                None => error,
            })
        })?;
        let is_typed =
            |arg: &&Arg| typed.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine);
        let mut said: Vec<&Arg> = command.get_arguments().filter(is_typed).collect();
        let mut completed = Self {
            args: from(&typed)?,
            warnings: Vec::new(),
            matches: typed,
            decided: Vec::new(),
            origins: Vec::new(),
        };
        let mut lower: Vec<OsString> = Vec::new();
        for layer in layers(&command, &completed.args, surroundings, &mut completed.warnings)? {
            let mut now: Vec<(&Arg, String)> = Vec::new();
            for setting in layer {
                let arg = completed.find(&command, &setting)?;
                // Two names of one option are two opinions about it.
                let is_second = |(other, name): &(&Arg, String)| {
                    *other == arg && (!may_repeat(arg) || *name != setting.name)
                };
                if now.iter().any(is_second) {
                    return Err(CommandError::Layer(format!(
                        "{}: {} is set twice; set it once",
                        setting.origin, setting.name
                    )));
                }
                let argument = argument(arg, &setting)?;
                now.push((arg, setting.name.clone()));
                let long = arg.get_long().unwrap_or_default().to_owned();
                let takes_its_place = |other: &&Arg| {
                    *other == arg && long != ADDS_UP || exclude_each_other(&command, other, arg)
                };
                if said.iter().any(takes_its_place) {
                    continue;
                }
                check(&command, argument.as_ref(), &setting)?;
                lower.extend(argument);
                completed.origins.push(SetOption { flag: long, origin: setting.origin });
            }
            said.extend(now.into_iter().map(|(arg, _)| arg));
        }
        if lower.is_empty() {
            completed.keep_what_is_in_force(&command);
            return Ok(completed);
        }
        let first = line.len().min(1);
        line.splice(first..first, lower.iter().cloned());
        let matches = command
            .clone()
            .try_get_matches_from(&line)
            .map_err(|error| CommandError::Layer(completed.place(&complaint(&error))))?;
        completed.args = from(&matches)?;
        completed.args.inherited = lower.iter().map(printable).collect();
        completed.matches = matches;
        completed.keep_what_is_in_force(&command);
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
        for SetOption { flag, origin } in self.origins.iter().filter(|set| names(&set.flag)) {
            text_and_places.push_str(&format!("; --{flag} is set in {origin}"));
        }
        text_and_places
    }

    /// The option that a setting names.
    fn find<'a>(&mut self, command: &'a Command, setting: &Setting) -> Result<&'a Arg, CommandError> {
        let (name, origin) = (setting.name.as_str(), &setting.origin);
        let Some(arg) = named(command, name) else {
            let flag = format!("--{name}");
            let what = match command.clone().try_get_matches_from(["xdpmap", &flag]) {
                Err(error) if error.kind() == ErrorKind::UnknownArgument => complaint(&error),
                _ => format!("there is no option '{name}'; names are written in full; see xdpmap --help"),
            };
            return Err(CommandError::Layer(format!("{origin}: {what}")));
        };
        if is_typed_only(command, arg) {
            let what = format!("{origin}: {name} is for the command line only; remove it");
            return Err(CommandError::Layer(what));
        }
        if let Some(long) = arg.get_long().filter(|long| *long != name) {
            self.warnings.push(format!("{origin}: {name} is called {long} now"));
        }
        Ok(arg)
    }
}

fn from(matches: &ArgMatches) -> Result<Args, CommandError> {
    let mut args = Args::from_arg_matches(matches).map_err(CommandError::Typed)?;
    args.output.settle();
    Ok(args)
}

/// Whether an option may be given several times, each time with one value: then a config file may have it in several
/// lines.
fn may_repeat(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append) && arg.get_value_delimiter().is_none()
}

/// Whether only one of two options can be given, so that one takes the other's place.
fn exclude_each_other(command: &Command, one: &Arg, other: &Arg) -> bool {
    let excludes = |one: &Arg, other: &Arg| command.get_arg_conflicts_with(one).contains(&other);
    excludes(one, other) || excludes(other, one)
}

/// Whether an option is for the command line only. `command` has been built.
fn is_typed_only(command: &Command, arg: &Arg) -> bool {
    use ArgAction::{Help, HelpLong, HelpShort, Version};
    let is_marked = || {
        let mut groups = command.get_groups().filter(|group| group.get_id() == TYPED_ONLY);
        groups.any(|group| group.get_args().any(|id| id == arg.get_id()))
    };
    matches!(arg.get_action(), Help | HelpLong | HelpShort | Version) || is_marked()
}

/// The options of a scan that config files set, in the order of the help. `command` has been built.
pub fn in_config_files(command: &Command) -> impl Iterator<Item = &Arg> {
    // A flag that lists something ends the program, wherever it is set.
    let lists = |arg: &Arg, long: &str| long.starts_with("list-") && !arg.get_action().takes_values();
    let sets = move |arg: &&Arg| arg.get_long().is_some_and(|long| !lists(arg, long));
    command.get_arguments().filter(sets).filter(|arg| !arg.is_hide_set() && !is_typed_only(command, arg))
}

/// The option with this long name, or with this former name.
fn named<'a>(command: &'a Command, name: &str) -> Option<&'a Arg> {
    command.get_arguments().find(|arg| names_of(arg).any(|known| known == name))
}

/// The long names of an option, the current one first.
fn names_of(arg: &Arg) -> impl Iterator<Item = &str> {
    arg.get_long().into_iter().chain(arg.get_all_aliases().into_iter().flatten())
}

/// The settings of the layers below the command line; the layer that takes precedence is first.
fn layers(
    command: &Command,
    typed: &Args,
    around: &Surroundings,
    warnings: &mut Vec<String>,
) -> Result<Vec<Vec<Setting>>, CommandError> {
    if let Some(saved) = &around.saved {
        return Ok(vec![settings("the checkpoint", saved.as_bytes())?]);
    }
    let named = around.variables.get(&variable_of(CONFIG)).filter(|path| !path.is_empty());
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

/// The settings of the environment. A variable that sets nothing is reported: its name may be misspelt.
fn environment(command: &Command, around: &Surroundings, warnings: &mut Vec<String>) -> Vec<Setting> {
    let mut settings = Vec::new();
    let given = around.variables.iter().filter(|(_, value)| !value.is_empty());
    for (variable, value) in given.filter(|(variable, _)| !NO_OPTIONS.contains(&variable.as_str())) {
        let origin = Origin::Environment(variable.clone());
        let name = variable[PREFIX.len()..].to_lowercase().replace('_', "-");
        let arg = named(command, &name).filter(|_| *variable == variable_of(&name));
        match arg {
            Some(arg) if arg.get_id() == CONFIG => {}
            Some(arg) if is_typed_only(command, arg) => {
                warnings.push(format!("{origin} sets nothing: {name} is for the command line only"));
            }
            Some(_) => settings.push(Setting { name, value: Some(value.clone()), origin }),
            None => {
                let remedy = alike(command, &name).map_or_else(
                    || "unset it, or see xdpmap --help for the options".to_owned(),
                    |name| format!("is {} meant?", variable_of(name)),
                );
                warnings.push(format!("{origin} sets nothing because there is no such option: {remedy}"));
            }
        }
    }
    settings
}

/// The variable that sets an option.
fn variable_of(name: &str) -> String {
    format!("{PREFIX}{}", name.to_uppercase().replace('-', "_"))
}

/// The option with the most similar name, if any is similar enough.
fn alike<'a>(command: &'a Command, name: &str) -> Option<&'a str> {
    let options =
        command.get_arguments().filter(|arg| arg.get_id() == CONFIG || !is_typed_only(command, arg));
    let likeness = options.flat_map(names_of).map(|known| (strsim::jaro_winkler(known, name), known));
    let most = likeness.max_by(|one, other| one.0.total_cmp(&other.0))?;
    (most.0 >= ALIKE).then_some(most.1)
}

/// The settings of a config file; none if it need not exist and does not.
fn file(path: &Path, must_exist: bool) -> Result<Vec<Setting>, CommandError> {
    let name = printable(path);
    let refused = |what: String| CommandError::Layer(format!("--config: {what}"));
    if !must_exist {
        // Only a file that does not exist may be skipped: any other may name a block list.
        let is_there = is_file_there(path);
        let remedy = "fix that, or name the file to use (-C /dev/null is an empty one)";
        if !is_there.map_err(|why| refused(format!("{name} {why}; {remedy}")))? {
            return Ok(Vec::new());
        }
    }
    let bytes = input::read(path).map_err(|error| {
        refused(format!("cannot read {name} ({error}); check the path and its permissions"))
    })?;
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(refused(format!("{name} is UTF-16 text; save it as UTF-8")));
    }
    settings(&name, &bytes)
}

/// The settings in the text of the config file `name`.
fn settings(name: &str, bytes: &[u8]) -> Result<Vec<Setting>, CommandError> {
    let entries = config::parse(bytes)
        .map_err(|bad| CommandError::Layer(format!("{name}:{}: {}", bad.line, bad.what)))?;
    let setting = |entry: config::ConfigLine| Setting {
        name: entry.name,
        value: entry.value,
        origin: Origin::ConfigFile(format!("{name}:{}", entry.line)),
    };
    Ok(entries.into_iter().map(setting).collect())
}

/// The argument that sets `arg`; `None` for a flag that is turned off.
fn argument(arg: &Arg, setting: &Setting) -> Result<Option<OsString>, CommandError> {
    let mut argument = OsString::from(format!("--{}", arg.get_long().unwrap_or_default()));
    if arg.get_action().takes_values() {
        if let Some(value) = &setting.value {
            argument.push("=");
            argument.push(value);
        }
        return Ok(Some(argument));
    }
    let value = setting.value.as_ref().map(|value| printable(value).to_ascii_lowercase());
    let times = || value.as_ref()?.parse::<usize>().ok().filter(|times| (2..10).contains(times));
    if let (ArgAction::Count, Some(short), Some(times)) = (arg.get_action(), arg.get_short(), times()) {
        return Ok(Some(format!("-{}", short.to_string().repeat(times)).into()));
    }
    match value.as_deref() {
        None | Some("1" | "yes" | "true" | "on") => Ok(Some(argument)),
        Some("0" | "no" | "false" | "off") => Ok(None),
        Some(other) => Err(CommandError::Layer(format!(
            "{}: {} is on or off and not '{other}'; leave the value out, or write yes or no",
            setting.origin, setting.name
        ))),
    }
}

/// Refuses a value that the option itself would refuse.
fn check(command: &Command, argument: Option<&OsString>, setting: &Setting) -> Result<(), CommandError> {
    let Some(argument) = argument else { return Ok(()) };
    match command.clone().try_get_matches_from([&OsString::from("xdpmap"), argument]) {
        Ok(_) => Ok(()),
        Err(error) => {
            let what = not_text(command, &error, std::slice::from_ref(argument))
                .unwrap_or_else(|| complaint(&error));
            Err(CommandError::Layer(format!("{}: {what}", setting.origin)))
        }
    }
}

/// The word of `words` that would have to be text, if `error` says only that one of them is not.
fn not_text(command: &Command, error: &clap::Error, words: &[OsString]) -> Option<String> {
    if error.kind() != ErrorKind::InvalidUtf8 {
        return None;
    }
    let is_refused = |words: &[OsString]| {
        let line = [OsString::from("xdpmap")].into_iter().chain(words.iter().cloned());
        command.clone().try_get_matches_from(line).is_err_and(|error| error.kind() == ErrorKind::InvalidUtf8)
    };
    let is_flag = |at: usize| words[at].as_bytes().starts_with(b"-");
    // Together with its option, if it is an option's value.
    let with_option = |at: usize| &words[at - usize::from(at > 0 && is_flag(at - 1) && !is_flag(at))..=at];
    let strange = (0..words.len()).filter(|&at| words[at].to_str().is_none());
    let refused = strange.map(with_option).find(|words| is_refused(words))?;
    let word: Vec<String> = refused.iter().map(printable).collect();
    Some(format!(
        "'{}' is not UTF-8, and this option needs text; for a file with such a name, give a link to it (ln -s)",
        word.join(" ")
    ))
}

#[cfg(test)]
mod tests;
