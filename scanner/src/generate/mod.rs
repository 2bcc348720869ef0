//! Manual pages and completions for shells: what packages have beside the program, printed by the program itself.
//!
//! What always holds: every option, command and value in them is taken from the grammar that reads the command line, so
//! neither can lack a flag that the program has. The pages are the same on every machine: nothing in them is a date or
//! a fact about the host.

mod completions;
mod pages;

use clap::Command;

use crate::cli::Generated;
use crate::{cli, companions, doctor, plan};

/// The text of what `--generate` names.
pub fn text(what: Generated) -> Vec<u8> {
    let page = |name| commands().into_iter().find(|(word, _)| *word == name).map(pages::command);
    let text = match what {
        Generated::Man => Some(pages::scan()),
        Generated::ManConf => Some(pages::config_file()),
        Generated::ManBlocklist => page("blocklist"),
        Generated::ManCalibrate => page("calibrate"),
        Generated::ManCheckpoint => page("checkpoint"),
        Generated::ManCtl => page("ctl"),
        Generated::ManDiff => page("diff"),
        Generated::ManDoctor => page("doctor"),
        Generated::ManIterate => page("iterate"),
        Generated::ManMap => page("map"),
        Generated::ManMerge => page("merge"),
        Generated::ManReport => page("report"),
        Generated::ManProbingTxt => page("probing-txt"),
        Generated::ManResume => page("resume"),
        Generated::ManTee => page("tee"),
        Generated::ManVerify => page("verify"),
        Generated::CompleteBash => Some(completions::bash()),
        Generated::CompleteFish => Some(completions::fish()),
        Generated::CompleteZsh => Some(completions::zsh()),
    };
    text.unwrap_or_default().into_bytes()
}

/// The grammars of the commands beside a scan, each with the word that selects it, in the order of the words.
fn commands() -> Vec<(&'static str, Command)> {
    let mut commands = vec![
        ("calibrate", cli::calibrate::command()),
        ("doctor", doctor::command()),
        ("resume", plan::resume_command()),
    ];
    commands.extend(companions::commands());
    commands.sort_by_key(|(word, _)| *word);
    commands
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    /// Each command has a page of its name.
    #[test]
    fn every_command_is_there() {
        let words: Vec<&str> = commands().iter().map(|(word, _)| *word).collect();
        assert_eq!(words, cli::COMMANDS);
        let of_commands = Generated::value_variants().iter().filter_map(|what| {
            let value = what.to_possible_value()?;
            Some((*what, value.get_name().strip_prefix("man-")?.to_owned()))
        });
        let mut named: Vec<String> = vec![];
        for (what, name) in of_commands.filter(|(what, _)| *what != Generated::ManConf) {
            let text = String::from_utf8(text(what)).unwrap();
            let in_page = name.replace('-', "\\-");
            assert!(text.contains(&format!("\nxdpmap\\-{in_page} \\- ")), "{name}: {text}");
            named.push(name);
        }
        assert_eq!(named, cli::COMMANDS);
    }

    #[test]
    fn nothing_is_empty() {
        for what in Generated::value_variants() {
            assert!(text(*what).len() > 500, "{what:?}");
        }
    }
}
