//! `docs/reference/flags.md`: the options of a scan and of the commands beside it.

use clap::{Arg, Command};
use xdpmap::{cli, companions, doctor, plan};

use super::{cell, page_has, table};

/// An option's row: its names, what it takes, what it means, and its default.
fn row(arg: &Arg) -> [String; 4] {
    let long = arg.get_long().map(|long| format!("`--{long}`"));
    let short = arg.get_short().map(|short| format!("`-{short}`"));
    let names: Vec<String> = short.into_iter().chain(long).collect();
    let takes_values = arg.get_action().takes_values();
    let value = match takes_values {
        true => format!("`{}`", cell(&arg.get_value_names().unwrap_or_default().join(" ").replace('<', ""))),
        false => String::new(),
    };
    let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
    // Some defaults are no value, so the help says them in words.
    let (text, told) = match help.rsplit_once(" [default: ") {
        Some((text, told)) => (text.to_owned(), told.trim_end().trim_end_matches(']').to_owned()),
        None => (help, String::new()),
    };
    let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    let default = if defaults.is_empty() || !takes_values { told } else { defaults.join(",") };
    let mut meaning = cell(&text);
    if takes_values && !arg.is_hide_possible_values_set() {
        for value in arg.get_possible_values().iter().filter(|value| !value.is_hide_set()) {
            let help = value.get_help().map(|help| format!(": {}", cell(&help.to_string())));
            meaning.push_str(&format!("<br>`{}`{}", value.get_name(), help.unwrap_or_default()));
        }
    }
    [names.join(", "), value, meaning, cell(&default)]
}

/// The options of a command that its help shows, in the order of the help, other than `--help` and `--version`.
fn shown(command: &Command) -> Vec<&Arg> {
    let is_common = |arg: &Arg| ["help", "version"].contains(&arg.get_id().as_str());
    let options = command.get_arguments().filter(|arg| !arg.is_positional());
    options.filter(|arg| !arg.is_hide_set() && !is_common(arg)).collect()
}

/// The options of a scan, under the headings of its help.
fn of_scans() -> String {
    let mut command = cli::command();
    command.build();
    let options = shown(&command);
    let mut text = String::new();
    for part in options.chunk_by(|a, b| a.get_help_heading() == b.get_help_heading()) {
        let heading = part[0].get_help_heading().expect("each option is in a group");
        let rows = part.iter().map(|arg| row(arg));
        text.push_str(&format!("## {heading}\n\n{}\n", table(["flag", "value", "meaning", "default"], rows)));
    }
    text
}

/// The options of a command beside a scan, with its own commands.
fn of_command(words: &str, command: &Command) -> String {
    let about = command.get_about().map(|about| cell(&about.to_string())).unwrap_or_default();
    let mut text = format!("### {words}\n\n{about}.\n\n");
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help") {
        let about = sub.get_about().map(|about| cell(&about.to_string())).unwrap_or_default();
        text.push_str(&format!("- `{words} {}`: {about}\n", sub.get_name()));
    }
    let rows: Vec<_> = shown(command).into_iter().map(row).collect();
    if !rows.is_empty() {
        text.push_str(&format!("\n{}", table(["option", "value", "meaning", "default"], rows)));
    }
    text.replace("\n\n\n", "\n\n") + "\n"
}

#[test]
fn flags_are_those_of_the_help() {
    let mut text = of_scans() + "## Other commands\n\n";
    let mut commands = vec![
        ("calibrate", cli::calibrate::command()),
        ("doctor", doctor::command()),
        ("resume", plan::resume_command()),
    ];
    commands.extend(companions::commands());
    commands.sort_by_key(|(word, _)| *word);
    let words: Vec<&str> = commands.iter().map(|(word, _)| *word).collect();
    assert_eq!(words, cli::COMMANDS);
    for (word, mut command) in commands {
        command.build();
        text.push_str(&of_command(&format!("xdpmap {word}"), &command));
    }
    page_has("flags.md", &text);
}
