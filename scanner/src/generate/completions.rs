//! Completions for bash, fish and zsh.
//!
//! clap's generator writes them for a grammar of all commands. It knows options, fixed values, files and folders. What
//! it does not know is put in afterwards, where the grammar has a mark: lists with commas, and the interfaces of the
//! host, which the shell looks up when it completes.

use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Arg, Command, ValueHint};
use clap_complete::{Generator, Shell, generate};

use super::commands;
use crate::probe::MODULES;
use crate::{cli, companions, doctor};

const NAME: &str = "xdpmap";

/// Values that the generator has no words for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Special {
    /// An interface of the host.
    Interface,
    /// Several of them, with commas between.
    Interfaces,
    /// Fields of results, with commas between.
    Fields,
    /// Stages of tuning, with commas between.
    Stages,
}

impl Special {
    const ALL: [Self; 4] = [Self::Interface, Self::Interfaces, Self::Fields, Self::Stages];

    /// Those that an option has, by its long name.
    fn of(long: &str) -> Option<Self> {
        match long {
            "reply-interface" => Some(Self::Interface),
            "interface" => Some(Self::Interfaces),
            "output-fields" => Some(Self::Fields),
            "only" => Some(Self::Stages),
            _ => None,
        }
    }

    /// The word that stands for them in what the generator writes.
    fn mark(self) -> &'static str {
        match self {
            Self::Interface => "xdpmap-mark-interface",
            Self::Interfaces => "xdpmap-mark-list-of-interfaces",
            Self::Fields => "xdpmap-mark-list-of-fields",
            Self::Stages => "xdpmap-mark-list-of-stages",
        }
    }

    /// The words, if they are known beforehand; otherwise they are the interfaces.
    fn words(self) -> Option<String> {
        let words: Vec<&str> = match self {
            Self::Interface | Self::Interfaces => return None,
            Self::Fields => fields(),
            Self::Stages => doctor::stages().collect(),
        };
        Some(words.join(" "))
    }
}

/// The fields of all modules, each once.
fn fields() -> Vec<&'static str> {
    let mut names: Vec<&str> = vec![];
    for module in MODULES {
        let extra = module.fields.extra.iter().flat_map(|group| group.iter());
        for field in module.fields.all().chain(extra) {
            if !names.contains(&field.name) {
                names.push(field.name);
            }
        }
    }
    names
}

/// The grammar of all commands.
fn all_commands() -> Command {
    // A target is nothing that a shell could know. The generator would take it for the first word, before a command.
    let scan = completable(NAME, &cli::command(), |arg| !arg.is_positional());
    let others = commands().into_iter().map(|(word, command)| completable(word, &command, |_| true));
    scan.subcommands(others)
}

/// A grammar by another name, with the values that can be completed, and without options that the help does not show.
fn completable(name: &'static str, command: &Command, is_wanted: impl Fn(&Arg) -> bool) -> Command {
    let args = command.get_arguments().filter(|arg| !arg.is_hide_set() && is_wanted(arg));
    let inner = command.get_subcommands().cloned();
    let command_line = Command::new(name);
    let command_line = match command.get_version() {
        Some(_) => command_line.version(env!("CARGO_PKG_VERSION")),
        None => command_line,
    };
    command_line
        .about(command.get_about().cloned().unwrap_or_default())
        .args(args.map(|arg| with_values(name, arg.clone())))
        .subcommands(inner)
        .disable_help_subcommand(true)
}

/// The option with the values that can be completed.
fn with_values(command: &str, arg: Arg) -> Arg {
    if !arg.get_action().takes_values() {
        return arg;
    }
    let long = arg.get_long().unwrap_or_default().to_owned();
    if let Some(special) = Special::of(&long) {
        return arg.value_parser(PossibleValuesParser::new([special.mark()]));
    }
    if long == "shard" {
        return arg.value_parser(PossibleValuesParser::new([
            PossibleValue::new("auto").help("The task of a batch system that this is")
        ]));
    }
    if long == "probe-module" {
        let value = |module: &&crate::probe::ModuleInfo| {
            let about = module.help.split(['.', '\n']).next().unwrap_or_default();
            PossibleValue::new(module.name).help(about)
        };
        return arg.value_parser(PossibleValuesParser::new(MODULES.iter().map(value)));
    }
    if command == "ctl" && arg.is_positional() {
        let value = |(word, _, help)| PossibleValue::new(word).help(help);
        return arg.value_parser(PossibleValuesParser::new(companions::ctl_commands().map(value)));
    }
    let names = arg.get_value_names().unwrap_or_default();
    let hint = match names.first().map(clap::builder::Str::as_str) {
        Some("FILE" | "PATH" | "OUTPUT_FILE") => ValueHint::FilePath,
        Some("FOLDER") => ValueHint::DirPath,
        _ => ValueHint::Other,
    };
    arg.value_hint(hint)
}

/// What the generator writes.
fn generated(shell: impl Generator) -> String {
    let mut text = Vec::new();
    generate(shell, &mut all_commands(), NAME, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// Functions in front of the completions for bash.
const BASH: &str = r#"# Completions of xdpmap for bash.

_xdpmap_interfaces() {
    (cd /sys/class/net 2>/dev/null && printf '%s\n' *)
}

# Completes the last item of the list $1 to the words $2.
_xdpmap_list() {
    local before=
    if [[ "$1" == *,* ]]; then before="${1%,*},"; fi
    compgen -P "${before}" -W "$2" -- "${1##*,}"
}

"#;

/// An option and its value with = between them are three words to bash, and the generator expects two.
const BASH_EQUALS: &str = r#"    if [[ "${cur}" == "=" ]]; then
        cur=""
    elif [[ "${prev}" == "=" && ${COMP_CWORD} -ge 2 ]]; then
        prev="${COMP_WORDS[COMP_CWORD-2]}"
    fi
"#;

/// For bash.
pub(super) fn bash() -> String {
    let mut text = generated(Shell::Bash);
    for special in Special::ALL {
        let generated = format!("compgen -W \"{}\" -- \"${{cur}}\"", special.mark());
        let words = special.words().unwrap_or_else(|| "$(_xdpmap_interfaces)".to_owned());
        let ours = match special {
            Special::Interface => format!("compgen -W \"{words}\" -- \"${{cur}}\""),
            _ => format!("_xdpmap_list \"${{cur}}\" \"{words}\""),
        };
        text = text.replace(&generated, &ours);
    }
    let begins = "    prev=\"$3\"\n";
    format!("{BASH}{}", text.replacen(begins, &format!("{begins}{BASH_EQUALS}"), 1))
}

/// Functions in front of the completions for fish.
const FISH: &str = r#"# Completions of xdpmap for fish.

function __fish_xdpmap_interfaces
    for path in /sys/class/net/*
        string replace -r '.*/' '' -- $path
    end
end

# The words, each behind the items that the list on the command line has already.
function __fish_xdpmap_list
    set -l before (commandline -ct | string replace -r '^--[^=]*=' '' | string match -r '.*,')
    set -q before[1]; or set before ''
    printf '%s\n' $before$argv
end

"#;

/// The generator finds no command where an option still waits for the value that is completed.
const FISH_RETURN: &str = "    or return\n";
const FISH_RETRY: &str = "    \
    or begin
        # The last option waits for the value that is completed.
        set -e cmd[-1]
        argparse -s (__fish_xdpmap_global_optspecs) -- $cmd 2>/dev/null
    end
";

/// For fish.
pub(super) fn fish() -> String {
    let mut text = generated(Shell::Fish);
    for special in Special::ALL {
        let words = special.words().unwrap_or_else(|| "(__fish_xdpmap_interfaces)".to_owned());
        let ours = match special {
            Special::Interface => words,
            _ => format!("(__fish_xdpmap_list {words})"),
        };
        text = text.replace(&format!("{}\\t''", special.mark()), &ours);
    }
    // A target before an option is not a command.
    let words: Vec<&str> = commands().iter().map(|(word, _)| *word).collect();
    let is_command = format!("if set -q argv[1]; and contains -- $argv[1] {}\n", words.join(" "));
    text = text.replacen("if set -q argv[1]\n", &is_command, 1);
    text = text.replacen(FISH_RETURN, &format!("{FISH_RETRY}{FISH_RETURN}"), 1);
    // The generator does not complete words that belong to no option.
    for (word, _, help) in companions::ctl_commands() {
        let help = help.replace('\\', "\\\\").replace('\'', "\\'");
        text.push_str(&format!(
            "complete -c xdpmap -n \"__fish_xdpmap_using_subcommand ctl\" -f -a {word} -d '{help}'\n"
        ));
    }
    format!("{FISH}{text}")
}

/// A function before the completions for zsh, behind the line that must be first.
const ZSH: &str = r#"
(( $+functions[_xdpmap_interfaces] )) ||
_xdpmap_interfaces() {
    local -a found=(/sys/class/net/*(N:t))
    compadd "$@" -a found
}
"#;

/// For zsh.
pub(super) fn zsh() -> String {
    let mut text = generated(Shell::Zsh);
    for special in Special::ALL {
        let ours = match (special, special.words()) {
            (_, Some(words)) => format!("_values -s , item {words}"),
            (Special::Interface, None) => "_xdpmap_interfaces".to_owned(),
            (_, None) => "_sequence _xdpmap_interfaces".to_owned(),
        };
        text = text.replace(&format!("({})", special.mark()), &ours);
    }
    text.replacen("#compdef xdpmap\n", &format!("#compdef xdpmap\n{ZSH}"), 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_all_shells() -> [(&'static str, String); 3] {
        [("bash", bash()), ("fish", fish()), ("zsh", zsh())]
    }

    /// Wherever a mark was, there are now words or a function.
    #[test]
    fn no_mark_is_left() {
        for (shell, text) in of_all_shells() {
            assert!(!text.contains("xdpmap-mark"), "{shell}: {text}");
            for words in ["channels", "rtt_us", "/sys/class/net", "tcp_synscan", "icmp_echo_time", "zerocopy"]
            {
                assert!(text.contains(words), "{shell}: {words}");
            }
        }
        let (bash, fish, zsh) = (bash(), fish(), zsh());
        assert!(
            bash.contains(BASH_EQUALS) && bash.contains("_xdpmap_list \"${cur}\" \"$(_xdpmap_interfaces)\"")
        );
        assert!(fish.contains(&format!("2>/dev/null\n{FISH_RETRY}{FISH_RETURN}    if set -q argv[1]")));
        assert!(fish.contains("; and contains -- $argv[1] blocklist calibrate checkpoint ctl"));
        assert!(fish.contains("-a \"(__fish_xdpmap_list (__fish_xdpmap_interfaces))\""));
        assert!(zsh.starts_with("#compdef xdpmap\n\n(( $+functions[_xdpmap_interfaces] ))"));
        assert!(
            zsh.contains(":NAME:_xdpmap_interfaces'") && zsh.contains(":NAMES:_sequence _xdpmap_interfaces'")
        );
    }

    /// Every option that the help shows is completed, and none that it hides.
    #[test]
    fn options_are_those_of_the_help() {
        let command = cli::command();
        for (shell, text) in of_all_shells() {
            for arg in command.get_arguments() {
                let Some(long) = arg.get_long() else { continue };
                let flag = match shell {
                    "fish" => format!(" -l {long} "),
                    "zsh" => format!("--{long}"),
                    _ => format!("--{long} "),
                };
                let is_there = text.contains(&flag);
                assert_eq!(is_there, !arg.is_hide_set(), "{shell}: {long}");
            }
        }
    }
}
