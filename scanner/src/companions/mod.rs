//! Small programs beside a scan, in the same binary: the equivalents of ZMap's ziterate, zblocklist and ztee; `ctl`,
//! which controls a running scan; `checkpoint`, which shows what one has done; `verify`, `merge` and `diff`, which read
//! what scans have written; `report` and `map`, which draw it; and `probing-txt`, which writes who sends probes and
//! why.
//!
//! The name that the binary was called by (`ziterate`, `xdpmap-iterate`, ...) selects the program, or else the first
//! argument (`xdpmap iterate`). None of them sends a packet. The equivalents accept the flags of the ZMap programs.

mod answers;
mod blocklist;
mod checkpoint;
mod ctl;
mod diff;
mod hilbert;
mod iterate;
mod map;
mod merge;
pub mod metadata;
mod options;
mod probing_txt;
mod report;
pub mod rows;
pub mod stored;
mod tee;
pub mod tee_layout;
mod verify;
mod written;

use std::ffi::{OsStr, OsString};
use std::io::{self, Write as _};
use std::path::Path;

use clap::{Command, CommandFactory as _};

use crate::exit::Exit;
use crate::report::log;

/// Why a companion could not do its work, in one line.
#[derive(Debug)]
struct Failure {
    component: &'static str,
    text: String,
    exit_code: Exit,
}

impl Failure {
    /// A flag or a file that is wrong.
    fn usage(component: &'static str, text: impl Into<String>) -> Self {
        Self { component, text: text.into(), exit_code: Exit::Usage }
    }

    /// An error while running; `what` names the file.
    fn io(component: &'static str, what: &str, error: &io::Error) -> Self {
        Self { component, text: format!("{what}: {error}"), exit_code: Exit::Failed }
    }
}

/// One of the programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Companion {
    Iterate,
    Blocklist,
    Tee,
    Checkpoint,
    Ctl,
    Verify,
    Merge,
    Diff,
    Map,
    Report,
    ProbingTxt,
}

impl Companion {
    /// The program with this file name.
    fn named(file_name: &OsStr) -> Option<Self> {
        match file_name.to_str()? {
            "ziterate" | "xdpmap-iterate" => Some(Self::Iterate),
            "zblocklist" | "zblacklist" | "xdpmap-blocklist" => Some(Self::Blocklist),
            "ztee" | "xdpmap-tee" => Some(Self::Tee),
            "xdpmap-ctl" => Some(Self::Ctl),
            _ => None,
        }
    }

    /// The program that this first argument selects.
    fn asked_for(argument: &OsStr) -> Option<Self> {
        match argument.to_str()? {
            "iterate" => Some(Self::Iterate),
            "blocklist" => Some(Self::Blocklist),
            "tee" => Some(Self::Tee),
            "checkpoint" => Some(Self::Checkpoint),
            "ctl" => Some(Self::Ctl),
            "verify" => Some(Self::Verify),
            "merge" => Some(Self::Merge),
            "diff" => Some(Self::Diff),
            "map" => Some(Self::Map),
            "report" => Some(Self::Report),
            "probing-txt" => Some(Self::ProbingTxt),
            _ => None,
        }
    }
}

/// The grammars of the companions, each with the word that selects it.
pub fn commands() -> [(&'static str, Command); 11] {
    [
        ("blocklist", blocklist::BlocklistOptions::command()),
        ("checkpoint", checkpoint::CheckpointOptions::command()),
        ("ctl", ctl::CtlOptions::command()),
        ("diff", diff::DiffOptions::command()),
        ("iterate", iterate::IterateOptions::command()),
        ("map", map::MapOptions::command()),
        ("merge", merge::MergeOptions::command()),
        ("probing-txt", probing_txt::ProbingTxtOptions::command()),
        ("report", report::ReportOptions::command()),
        ("tee", tee::TeeOptions::command()),
        ("verify", verify::VerifyOptions::command()),
    ]
}

/// What `ctl` can be asked for: each command, the value that follows or nothing, and what it does.
pub fn ctl_commands() -> [(&'static str, &'static str, &'static str); 9] {
    ctl::COMMANDS
}

/// The companion that a command line selects, with its own command line, the name first.
fn find(line: &[OsString]) -> Option<(Companion, Vec<OsString>)> {
    let (called, arguments) = line.split_first()?;
    let name = Path::new(called).file_name()?;
    if let Some(companion) = Companion::named(name) {
        let name = name.to_owned();
        return Some((companion, [&[name], arguments].concat()));
    }
    let (first, rest) = arguments.split_first()?;
    let companion = Companion::asked_for(first)?;
    let name = OsString::from(format!("xdpmap {}", first.to_str()?));
    Some((companion, [&[name], rest].concat()))
}

/// Runs the companion that the command line `line` selects, the program's name first, and returns the process's exit
/// code; `None` if it selects none. An error has been logged in one line by then.
pub fn run(line: &[OsString]) -> Option<Exit> {
    let (companion, line) = find(line)?;
    let done = match companion {
        Companion::Iterate => done("iterate", &line, iterate::run),
        Companion::Blocklist => done("blocklist", &line, blocklist::run),
        Companion::Checkpoint => done("checkpoint", &line, checkpoint::run),
        Companion::Tee => done("tee", &line, tee::run),
        Companion::Ctl => done("ctl", &line, ctl::run),
        Companion::Verify => answered("verify", &line, verify::run),
        Companion::Merge => answered("merge", &line, merge::run),
        Companion::Diff => answered("diff", &line, diff::run),
        Companion::Map => answered("map", &line, map::run),
        Companion::Report => answered("report", &line, report::run),
        Companion::ProbingTxt => done("probing-txt", &line, probing_txt::run),
    };
    Some(done.unwrap_or_else(|failure| {
        log::fatal(failure.component, &failure.text);
        failure.exit_code
    }))
}

/// Runs a companion whose exit code is its answer.
fn answered<P: clap::Parser>(
    component: &'static str,
    line: &[OsString],
    run: impl FnOnce(P) -> Result<Exit, Failure>,
) -> Result<Exit, Failure> {
    options::parse(component, line)?.map_or(Ok(Exit::Done), run)
}

/// Runs a companion that does what is asked or fails.
fn done<P: clap::Parser>(
    component: &'static str,
    line: &[OsString],
    run: impl FnOnce(P) -> Result<(), Failure>,
) -> Result<Exit, Failure> {
    answered(component, line, |options| run(options).map(|()| Exit::Done))
}

/// Prints to standard output. A reader that has closed the pipe is not an error.
fn tell(component: &'static str, text: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::io(component, "standard output", &error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli;

    fn found(line: &str) -> Option<(Companion, String)> {
        let line: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        find(&line).map(|(companion, line)| (companion, line.join(OsStr::new(" ")).into_string().unwrap()))
    }

    /// A flag of a companion that a scan has as well is spelled as there. `tee` is left out: its flags are ztee's.
    #[test]
    fn shared_flags_are_those_of_a_scan() {
        let scan = cli::command();
        let companions = [iterate::IterateOptions::command(), blocklist::BlocklistOptions::command()];
        let mut shared = 0;
        for arg in companions.iter().flat_map(Command::get_arguments) {
            let Some(original) = scan.get_arguments().find(|original| original == &arg) else { continue };
            let aliases = |arg: &clap::Arg| -> Vec<String> {
                arg.get_all_aliases().into_iter().flatten().map(str::to_owned).collect()
            };
            let of = |arg: &clap::Arg| {
                let values = arg.get_value_names().map(<[_]>::to_vec);
                let defaults = arg.get_default_values().to_vec();
                (arg.get_short(), arg.get_long().map(str::to_owned), values, defaults)
            };
            assert_eq!(of(arg), of(original), "{}", arg.get_id());
            let known = aliases(original);
            assert!(aliases(arg).iter().all(|alias| known.contains(alias)), "{}", arg.get_id());
            shared += 1;
        }
        assert!(shared > 15, "only {shared} flags are shared");
    }

    /// What a scan refuses to take for a host.
    #[test]
    fn commands_are_known_to_the_command_line() {
        for word in cli::COMMANDS {
            let is_elsewhere = ["calibrate", "doctor", "resume"].contains(&word);
            assert_eq!(Companion::asked_for(OsStr::new(word)).is_none(), is_elsewhere, "{word}");
        }
    }

    #[test]
    fn names_and_first_arguments() {
        use Companion::{Blocklist, Ctl, Diff, Iterate, Map, Report, Tee, Verify};
        for (line, companion, own) in [
            ("xdpmap iterate -p 80", Iterate, "xdpmap iterate -p 80"),
            ("/usr/bin/xdpmap blocklist", Blocklist, "xdpmap blocklist"),
            ("./xdpmap tee out.csv", Tee, "xdpmap tee out.csv"),
            ("/usr/local/bin/ziterate 10.0.0.0/8", Iterate, "ziterate 10.0.0.0/8"),
            ("zblacklist -b a", Blocklist, "zblacklist -b a"),
            ("zblocklist iterate", Blocklist, "zblocklist iterate"),
            ("xdpmap-tee -r x", Tee, "xdpmap-tee -r x"),
            ("xdpmap ctl rate 5", Ctl, "xdpmap ctl rate 5"),
            ("xdpmap-ctl status", Ctl, "xdpmap-ctl status"),
            ("xdpmap verify m.json", Verify, "xdpmap verify m.json"),
            ("xdpmap diff a b", Diff, "xdpmap diff a b"),
            ("xdpmap map a -o b.png", Map, "xdpmap map a -o b.png"),
            ("xdpmap report m.json", Report, "xdpmap report m.json"),
        ] {
            assert_eq!(found(line), Some((companion, own.to_owned())), "{line}");
        }
        for line in
            ["xdpmap", "xdpmap -p 80 iterate", "xdpmap iterate.", "xdpmap iterate.example", "zmap iter"]
        {
            assert_eq!(found(line), None, "{line}");
        }
        assert_eq!(find(&[]), None);
    }
}
