//! Examines what this host and its interface can do for a scan, and what to change. No probe is sent, and only
//! `--repair`, `--apply` and `--undo` change anything. Only with `--reverse-dns` is anybody asked: this host's
//! resolver.
//!
//! `host` examines what all scans share, `interface` one interface and its route, and `outlook` says which back end a
//! scan would get. Each result is a [`Finding`]. If a scan would be refused, there is a finding with the verdict
//! `fail`, and the doctor's exit code is that of such a scan. `settings` knows what is wanted of each setting, and
//! `tuning` sets it.

mod finding;
mod host;
mod interface;
mod kernel;
mod outlook;
mod repair;
mod reverse_dns;
mod settings;
mod text;
mod tuning;

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::net::Ipv4Addr;

use clap::error::ErrorKind;
use clap::{Command, CommandFactory as _, Parser};
use serde::Serialize;

pub use finding::{Finding, Verdict};
pub use tuning::Journal;

use crate::cli;
use crate::exit::{self, Exit};
use crate::nic::{self, Interface, NicError};
use crate::plan::network_text;
use crate::privileges;
use crate::report::log;
use outlook::IoMode;
use wire::packet::LinkHeader;

/// What the doctor's exit codes mean.
const EXIT_CODES: [(Exit, &str); 5] = [
    (
        Exit::Done,
        "a scan can run; with --repair: nothing is left to restore; with --check, --apply and --undo: all is as it should be",
    ),
    (
        Exit::Failed,
        "with --check: something is not as it should be; with --repair, --apply and --undo: something could not be set",
    ),
    (Exit::Usage, "the block list cannot be read"),
    (Exit::Privilege, "a privilege is missing"),
    (Exit::Interface, "the interface is not there, or cannot carry a scan"),
];

/// Examine this host and an interface: can a scan run, how fast, and what would improve it? Sends no probe.
///
/// Each finding has a verdict. ok: as it should be. note: worth knowing. warn: a scan is slower or loses replies. fail:
/// no scan can run. A line that starts with > is a command that improves it.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "xdpmap doctor",
    version,
    after_help = exit::section(&EXIT_CODES),
    max_term_width = 110
)]
struct Options {
    /// Interface to examine, or several, comma separated [default: the interface of the default route]
    #[arg(short = 'i', long, value_name = "NAMES")]
    interface: Option<String>,

    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,

    /// Restore what killed scans with --steer have left changed, on all interfaces or those of -i, and do nothing else
    #[arg(long, conflicts_with = "json")]
    repair: bool,

    /// Also ask this host's resolver whether the addresses of the interface have names, for at most 3 seconds
    #[arg(long, conflicts_with = "repair")]
    reverse_dns: bool,

    #[command(flatten)]
    tuning: tuning::TuningArgs,
}

/// All findings.
#[derive(Debug, Serialize)]
struct Report {
    version: &'static str,
    /// Whether a scan can run.
    can_scan: bool,
    /// The exit code of a scan that cannot run.
    exit_code: Exit,
    host: Vec<Finding>,
    /// The first interface.
    #[serde(flatten)]
    first: Nic,
    /// The others, if there are any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    others: Vec<Nic>,
}

/// The findings about an interface.
#[derive(Debug, Serialize)]
struct Nic {
    /// Its name, if there is one.
    interface: Option<String>,
    /// The mode that `--io-mode auto` would choose, if that is known.
    io_mode: Option<&'static str>,
    nic: Vec<Finding>,
}

impl Nic {
    /// Examines it. `xdp` is whether a scan would use XDP there, and `asks` whether the names of its addresses are
    /// asked for.
    fn of(interface: Option<&Interface>, xdp: bool, asks: bool) -> Self {
        let (mut nic, outlook) = match interface {
            Some(interface) => interface::examine(interface, xdp),
            None => (vec![interface::none()], None),
        };
        if let Some(interface) = interface.filter(|_| asks) {
            let addresses: Vec<Ipv4Addr> = interface.addresses.iter().map(|own| own.address).collect();
            nic.extend(reverse_dns::examine(&addresses));
        }
        Self {
            interface: interface.map(|interface| interface.name.clone()),
            io_mode: outlook.and_then(|outlook| outlook.mode).map(IoMode::name),
            nic,
        }
    }
}

/// The doctor's grammar.
pub fn command() -> Command {
    Options::command()
}

/// The names of what tuning can be limited to (`--only`).
pub fn stages() -> impl Iterator<Item = &'static str> {
    settings::Stage::ALL.into_iter().map(|(_, name)| name)
}

/// Runs the doctor if the command line `line`, the program's name first, selects it, and returns the exit code.
pub fn run(line: &[OsString]) -> Option<Exit> {
    let (_, arguments) = line.split_first()?;
    let (first, rest) = arguments.split_first()?;
    if first != "doctor" {
        return None;
    }
    let line = [&[OsString::from("xdpmap doctor")], rest].concat();
    let options = match Options::try_parse_from(line) {
        Ok(options) => options,
        Err(asked) if matches!(asked.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            // A reader that has closed the pipe is not an error.
            let _ = asked.print();
            return Some(Exit::Done);
        }
        Err(error) => {
            let complaint = cli::complaint(&error);
            let what = complaint.strip_suffix("xdpmap --help").unwrap_or(&complaint);
            log::fatal("doctor", &format!("{what}xdpmap doctor --help"));
            return Some(Exit::Usage);
        }
    };
    if options.repair {
        return Some(repair::repair(options.interface.as_deref()));
    }
    if let Some(code) = tuning::run(&options.tuning, options.interface.as_deref()) {
        return Some(code);
    }
    Some(examine(&options).unwrap_or_else(|error| {
        log::fatal("doctor", &network_text(&error));
        error.exit_code()
    }))
}

fn examine(options: &Options) -> Result<Exit, NicError> {
    let interfaces: Vec<Interface> = match &options.interface {
        Some(names) => {
            names.split(',').map(|name| Interface::by_name(name.trim())).collect::<Result<_, _>>()?
        }
        None => nic::default_interface().into_iter().collect(),
    };
    let xdp = !privileges::has_net_raw_alone();
    let asks = options.reverse_dns;
    let first = Nic::of(interfaces.first(), xdp, asks);
    let others: Vec<Nic> =
        interfaces.iter().skip(1).map(|interface| Nic::of(Some(interface), xdp, asks)).collect();
    // A tunnel's packets do not reach AF_XDP sockets.
    let bare = |interface: &&Interface| interface.link == Some(LinkHeader::Bare);
    let all_bare = !interfaces.is_empty() && interfaces.iter().all(|interface| bare(&interface));
    let queues = interfaces.iter().filter(|interface| !bare(interface)).map(|interface| interface.rx_queues);
    let mut host = host::examine((xdp && !all_bare).then(|| queues.sum::<u32>().max(1)));
    host.extend(repair::examine());
    let nics = || std::iter::once(&first).chain(&others);
    let findings = host.iter().chain(nics().flat_map(|nic| &nic.nic));
    let codes: Vec<Exit> = findings.map(|finding| finding.exit_code).collect();
    // Privileges take precedence: without them an interface cannot be judged.
    let exit_code = match codes.contains(&Exit::Privilege) {
        true => Exit::Privilege,
        false => codes.into_iter().find(|code| *code != Exit::Done).unwrap_or(Exit::Done),
    };
    let report = Report {
        version: env!("CARGO_PKG_VERSION"),
        can_scan: exit_code == Exit::Done,
        exit_code,
        host,
        first,
        others,
    };
    match options.json {
        // Findings are text and numbers, which JSON can express.
        true => cli::print(format!("{}\n", serde_json::to_string(&report).unwrap_or_default())),
        false => cli::print(to_text(&report)),
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
        (false, Exit::Privilege) => "no scan can run: a privilege is missing\n",
        (false, Exit::Usage) => "no scan can run: the block list cannot be read\n",
        (false, _) if report.others.is_empty() => "no scan can run through this interface\n",
        (false, _) => "no scan can run through these interfaces together\n",
    });
    text
}
