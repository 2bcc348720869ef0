//! Small programs that stand beside a scan in a pipe: what ziterate, zblocklist and ztee are to ZMap, in the same binary.
//!
//! Which one is meant says the name that the binary was called by (`ziterate`, `xdpmap-iterate`, ...) or else its first
//! argument (`xdpmap iterate`). None of them sends a packet. Their flags are those of their originals.

mod blocklist;
mod iterate;
mod options;
pub mod rows;
mod tee;
pub mod tee_layout;

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;

use crate::plan::EXIT_USAGE;
use crate::report::log;

/// Exit code of a failure while running.
const EXIT_FAILURE: u8 = 1;

/// Why a companion could not do its work; the text is one line.
#[derive(Debug)]
struct Failure {
    component: &'static str,
    text: String,
    exit_code: u8,
}

impl Failure {
    /// A flag or a file that is wrong.
    fn usage(component: &'static str, text: impl Into<String>) -> Self {
        Self { component, text: text.into(), exit_code: EXIT_USAGE }
    }

    /// What went wrong on the way; `what` names the file.
    fn io(component: &'static str, what: &str, error: &io::Error) -> Self {
        Self { component, text: format!("{what}: {error}"), exit_code: EXIT_FAILURE }
    }
}

/// One of the programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Companion {
    Iterate,
    Blocklist,
    Tee,
}

impl Companion {
    /// The program that a file name stands for.
    fn named(file_name: &OsStr) -> Option<Self> {
        match file_name.to_str()? {
            "ziterate" | "xdpmap-iterate" => Some(Self::Iterate),
            "zblocklist" | "zblacklist" | "xdpmap-blocklist" => Some(Self::Blocklist),
            "ztee" | "xdpmap-tee" => Some(Self::Tee),
            _ => None,
        }
    }

    /// The program that a first argument stands for.
    fn asked_for(argument: &OsStr) -> Option<Self> {
        match argument.to_str()? {
            "iterate" => Some(Self::Iterate),
            "blocklist" => Some(Self::Blocklist),
            "tee" => Some(Self::Tee),
            _ => None,
        }
    }
}

/// The companion that a command line asks for, with its own command line, the name first.
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

/// Runs the companion that the command line `line` asks for, the program's name first, and returns the process's exit
/// code; `None` if it asks for a scan. What went wrong has been said in one line.
pub fn run(line: &[OsString]) -> Option<u8> {
    let (companion, line) = find(line)?;
    let done = match companion {
        Companion::Iterate => {
            options::parse("iterate", &line).and_then(|given| given.map_or(Ok(()), iterate::run))
        }
        Companion::Blocklist => {
            options::parse("blocklist", &line).and_then(|given| given.map_or(Ok(()), blocklist::run))
        }
        Companion::Tee => options::parse("tee", &line).and_then(|given| given.map_or(Ok(()), tee::run)),
    };
    Some(match done {
        Ok(()) => 0,
        Err(failure) => {
            log::fatal(failure.component, &failure.text);
            failure.exit_code
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(line: &str) -> Option<(Companion, String)> {
        let line: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        find(&line).map(|(companion, line)| (companion, line.join(OsStr::new(" ")).into_string().unwrap()))
    }

    #[test]
    fn names_and_first_arguments() {
        use Companion::{Blocklist, Iterate, Tee};
        for (line, companion, own) in [
            ("xdpmap iterate -p 80", Iterate, "xdpmap iterate -p 80"),
            ("/usr/bin/xdpmap blocklist", Blocklist, "xdpmap blocklist"),
            ("./xdpmap tee out.csv", Tee, "xdpmap tee out.csv"),
            ("/usr/local/bin/ziterate 10.0.0.0/8", Iterate, "ziterate 10.0.0.0/8"),
            ("zblacklist -b a", Blocklist, "zblacklist -b a"),
            ("zblocklist iterate", Blocklist, "zblocklist iterate"),
            ("xdpmap-tee -r x", Tee, "xdpmap-tee -r x"),
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
