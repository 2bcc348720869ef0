//! What this host and its interface can do for a scan, and what to change. No probe is sent, and nothing is
//! changed, but by `--repair`.
//!
//! `host` looks at what all scans share, `interface` at one interface and its route, `outlook` says which back end a scan
//! would get. Each thing that is looked at is a [`Finding`]. What a scan is refused for has a finding of verdict `fail`,
//! and the doctor's exit code is that of such a scan.

mod finding;
mod host;
mod interface;
mod kernel;
mod outlook;
mod repair;
mod text;

use std::ffi::OsString;
use std::io::IsTerminal as _;

use clap::Parser;
use clap::error::ErrorKind;
use serde::Serialize;

pub use finding::{Finding, Verdict};

use crate::cli;
use crate::nic::{self, Interface, NicError};
use crate::packet::Link;
use crate::plan::{EXIT_PRIVILEGES, EXIT_USAGE};
use crate::privileges;
use crate::report::log;
use outlook::IoMode;

/// Look at this host and an interface: can a scan run, how fast, and what makes it better? Sends no probe.
///
/// Each finding has a verdict: ok; note, which is worth knowing; warn, by which a scan suffers; fail, with which none
/// runs. A line that starts with > is a command that improves it.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "xdpmap doctor",
    version,
    after_help = "Exit codes:
  0  a scan can run; with --repair: nothing is left to put back
  1  with --repair: something could not be put back
  2  the block list cannot be read
  3  a privilege is missing
  4  the interface is not there, or cannot carry a scan",
    max_term_width = 110
)]
struct Options {
    /// Interface to look at, or several, comma separated [default: that of the default route]
    #[arg(short = 'i', long, value_name = "NAMES")]
    interface: Option<String>,

    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,

    /// Put back what killed scans with --steer have left, on all interfaces or that of -i, and do nothing else
    #[arg(long, conflicts_with = "json")]
    repair: bool,
}

/// All that was found.
#[derive(Debug, Serialize)]
struct Report {
    version: &'static str,
    /// Whether a scan can run.
    can_scan: bool,
    /// The exit code of one that cannot.
    exit_code: u8,
    host: Vec<Finding>,
    /// The first interface.
    #[serde(flatten)]
    first: Nic,
    /// The others, if there are any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    others: Vec<Nic>,
}

/// What was found of an interface.
#[derive(Debug, Serialize)]
struct Nic {
    /// Its name, if there is one.
    interface: Option<String>,
    /// What `--io-mode auto` would choose, where that is known.
    io_mode: Option<&'static str>,
    nic: Vec<Finding>,
}

impl Nic {
    /// Looks at it. `xdp` is whether a scan would use XDP there.
    fn of(interface: Option<&Interface>, xdp: bool) -> Self {
        let (nic, outlook) = match interface {
            Some(interface) => interface::examine(interface, xdp),
            None => (vec![interface::none()], None),
        };
        Self {
            interface: interface.map(|interface| interface.name.clone()),
            io_mode: outlook.and_then(|outlook| outlook.mode).map(IoMode::name),
            nic,
        }
    }
}

/// Runs the doctor if the command line `line`, the program's name first, asks for it, and returns the exit code.
pub fn run(line: &[OsString]) -> Option<u8> {
    let (_, arguments) = line.split_first()?;
    let (first, rest) = arguments.split_first()?;
    if first != "doctor" {
        return None;
    }
    let line = [&[OsString::from("xdpmap doctor")], rest].concat();
    let options = match Options::try_parse_from(line) {
        Ok(options) => options,
        Err(asked) if matches!(asked.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            // A reader that went away is no error.
            let _ = asked.print();
            return Some(0);
        }
        Err(error) => {
            let complaint = cli::complaint(&error);
            let what = complaint.strip_suffix("xdpmap --help").unwrap_or(&complaint);
            log::fatal("doctor", &format!("{what}xdpmap doctor --help"));
            return Some(EXIT_USAGE);
        }
    };
    if options.repair {
        return Some(repair::repair(options.interface.as_deref()));
    }
    Some(examine(&options).unwrap_or_else(|error| {
        log::fatal("doctor", &error.to_string());
        error.exit_code()
    }))
}

fn examine(options: &Options) -> Result<u8, NicError> {
    let interfaces: Vec<Interface> = match &options.interface {
        Some(names) => {
            names.split(',').map(|name| Interface::by_name(name.trim())).collect::<Result<_, _>>()?
        }
        None => nic::default_interface().into_iter().collect(),
    };
    let xdp = !privileges::has_net_raw_alone();
    let first = Nic::of(interfaces.first(), xdp);
    let others: Vec<Nic> = interfaces.iter().skip(1).map(|interface| Nic::of(Some(interface), xdp)).collect();
    // A tunnel's packets come through no AF_XDP socket.
    let bare = |interface: &&Interface| interface.link == Some(Link::Bare);
    let all_bare = !interfaces.is_empty() && interfaces.iter().all(|interface| bare(&interface));
    let queues = interfaces.iter().filter(|interface| !bare(interface)).map(|interface| interface.rx_queues);
    let mut host = host::examine((xdp && !all_bare).then(|| queues.sum::<u32>().max(1)));
    host.extend(repair::examine());
    let nics = || std::iter::once(&first).chain(&others);
    let findings = host.iter().chain(nics().flat_map(|nic| &nic.nic));
    let codes: Vec<u8> = findings.map(|finding| finding.exit_code).collect();
    // Privileges first: without them an interface cannot be judged.
    let exit_code = match codes.contains(&EXIT_PRIVILEGES) {
        true => EXIT_PRIVILEGES,
        false => codes.into_iter().find(|code| *code != 0).unwrap_or(0),
    };
    let report = Report {
        version: env!("CARGO_PKG_VERSION"),
        can_scan: exit_code == 0,
        exit_code,
        host,
        first,
        others,
    };
    match options.json {
        // Findings are text and numbers, which JSON has.
        true => cli::print(&format!("{}\n", serde_json::to_string(&report).unwrap_or_default())),
        false => cli::print(&to_text(&report)),
    }
    Ok(exit_code)
}

fn to_text(report: &Report) -> String {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let coloured = !refused && std::io::stdout().is_terminal();
    let mut text = text::section("host", &report.host, coloured);
    for nic in std::iter::once(&report.first).chain(&report.others) {
        let name = nic.interface.as_deref().unwrap_or("none");
        text.push_str(&text::section(&format!("interface {name}"), &nic.nic, coloured));
    }
    text.push_str(match (report.can_scan, report.exit_code) {
        (true, _) => "a scan can run\n",
        (false, EXIT_PRIVILEGES) => "no scan can run: a privilege is missing\n",
        (false, EXIT_USAGE) => "no scan can run: the block list cannot be read\n",
        (false, _) if report.others.is_empty() => "no scan can run through this interface\n",
        (false, _) => "no scan can run through these interfaces together\n",
    });
    text
}
