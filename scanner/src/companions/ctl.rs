//! `xdpmap ctl`: asks a running scan for its status, and changes what it does, through its control socket.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use targets::AddressRange;
use targets::list::parse_range;

use super::Failure;
use crate::cli;
use crate::control_socket::{Answer, ClientError, Connection, Request, Status, running};
use crate::engine::RATE_MAX_PPS;
use crate::exit::Exit;
use crate::live;
use crate::plan;
use crate::printable::printable;

const NAME: &str = "ctl";

/// The words that are commands, the value that follows, and what they do.
pub(super) const COMMANDS: [(&str, &str, &str); 9] = [
    ("status", "", "how the scan stands"),
    ("watch", "", "the same in one line per second, until the scan ends"),
    ("pause", "", "send nothing until resume; replies are still received"),
    ("resume", "", "go on sending, without a burst"),
    ("rate", "PPS", "from now on, as with xdpmap -r: probes per second; 0 is no limit"),
    ("bandwidth", "BPS", "from now on, as with xdpmap -B: bits per second, with suffix K, M or G"),
    ("reload", "", "read the block list again; returns when nothing more goes to what it has gained"),
    (
        "exclude",
        "CIDR",
        "the same for one network, which no list needs to name: an address, a prefix or a range",
    ),
    ("stop", "", "end sending and wait for late replies, as Ctrl-C does; again: skip the wait"),
];

const EXAMPLES: &str = "\
Examples:
  xdpmap ctl status                           the only scan that runs
  xdpmap ctl /run/xdpmap/4711.sock rate 5000  one of several
  xdpmap ctl exclude 192.0.2.0/24             somebody asks to be left out
  xdpmap ctl --json watch | jq .status.sent   for programs";

/// What the help ends with.
fn after_help() -> String {
    let codes = crate::exit::section(&[
        (Exit::Done, "the scan did what was asked"),
        (Exit::Failed, "no scan runs, or it refused"),
        (Exit::Usage, "an argument is wrong, or several scans run and none is named"),
    ]);
    let row = |(name, value, help): (&str, &str, &str)| {
        format!("  {:<15} {help}\n", format!("{name} {value}").trim_end())
    };
    let commands: String = COMMANDS.map(row).concat();
    format!("Commands:\n{commands}\n{EXAMPLES}\n\n{codes}")
}

/// Control a running scan: ask how it stands, pause it, change its rate or its block list, stop it.
///
/// Only the user of the scan, and root, may do this. Without PATH, the scan is the one whose socket is in the runtime
/// folder: /run/xdpmap for root, xdpmap in $XDG_RUNTIME_DIR for others.
#[derive(Clone, Debug, clap::Parser)]
#[command(
    name = "xdpmap ctl",
    version,
    override_usage = "xdpmap ctl [OPTIONS] [PATH] COMMAND [VALUE]",
    after_help = after_help(),
    max_term_width = 110
)]
pub(super) struct CtlOptions {
    /// A command and its value; before them the path of the scan's socket, if there are several
    #[arg(value_name = "COMMAND", required = true, num_args = 1..=3, allow_negative_numbers = true)]
    words: Vec<OsString>,

    /// Print the answers as the scan gives them, one JSON object per line
    #[arg(long)]
    json: bool,

    /// With watch: show the scan on the whole terminal, with keys for pause and rate, as xdpmap --live does
    #[arg(long, conflicts_with = "json")]
    live: bool,
}

pub(super) fn run(options: CtlOptions) -> Result<(), Failure> {
    let (path, request) = parse(&options.words).map_err(|what| Failure::usage(NAME, what))?;
    if options.live && request != (Request::Watch {}) {
        return Err(Failure::usage(NAME, "--live shows a scan: xdpmap ctl watch --live"));
    }
    let path = path.map_or_else(the_only, Ok)?;
    if options.live {
        return live::watch(&path).map_err(|error| Failure {
            component: NAME,
            text: error.to_string(),
            exit_code: error.exit_code(),
        });
    }
    let failed =
        |error: ClientError| Failure { component: NAME, text: error.to_string(), exit_code: Exit::Failed };
    let mut scan = Connection::open(&path).map_err(failed)?;
    if matches!(request, Request::Reload {} | Request::Exclude { .. }) {
        // A list may be long, and what was handed over has to leave first.
        scan.be_patient().map_err(failed)?;
    }
    let mut answer = scan.ask(&request).map_err(failed)?;
    scan.be_patient().map_err(failed)?;
    loop {
        let is_heard = tell(&answer, &request, options.json)?;
        if !is_heard || !matches!(request, Request::Watch {}) {
            return Ok(());
        }
        match scan.receive().map_err(failed)? {
            Some(next) => answer = next,
            None if answer.status.is_some_and(|last| last.end_reason.is_some()) => return Ok(()),
            None => {
                let text = "the scan has gone without saying how it ended";
                return Err(Failure { component: NAME, text: text.to_owned(), exit_code: Exit::Failed });
            }
        }
    }
}

/// The scan's socket, if it is named, and what to ask for.
fn parse(words: &[OsString]) -> Result<(Option<PathBuf>, Request), String> {
    let [first, rest @ ..] = words else { return Err(missing()) };
    // A socket that is called like a command has to be named with its folder.
    let (path, command, values) = match (is_command(first), rest) {
        (true, values) => (None, first, values),
        (false, [command, values @ ..]) => (Some(PathBuf::from(first)), command, values),
        (false, []) => return Err(format!("'{}' is not a command; {}", printable(first), choice())),
    };
    let value = match (needs_value(command), values) {
        (true, [value]) => value.to_str().ok_or("the value is not UTF-8")?,
        (false, []) => "",
        (true, []) => return Err(format!("{}: give a value; see xdpmap ctl --help", printable(command))),
        (_, [.., extra]) => {
            return Err(format!("'{}' is one word too many; see xdpmap ctl --help", printable(extra)));
        }
    };
    let request = match command.to_str() {
        Some("status") => Request::Status {},
        Some("watch") => Request::Watch {},
        Some("pause") => Request::Pause {},
        Some("resume") => Request::Resume {},
        Some("stop") => Request::Stop {},
        Some("reload") => Request::Reload {},
        Some("exclude") => Request::Exclude { network: network(value)? },
        Some("rate") => Request::Rate { pps: rate(value)? },
        Some("bandwidth") => {
            Request::Bandwidth { bps: plan::bandwidth(value).map_err(|what| format!("bandwidth: {what}"))? }
        }
        _ => return Err(format!("'{}' is not a command; {}", printable(command), choice())),
    };
    Ok((path, request))
}

fn rate(text: &str) -> Result<f64, String> {
    let pps = cli::rate(text).map_err(|what| format!("rate: '{text}': {what}"))?;
    match pps <= RATE_MAX_PPS {
        true => Ok(pps),
        false => Err(format!("rate: '{text}': no NIC sends that many packets per second; 0 means no limit")),
    }
}

fn network(text: &str) -> Result<AddressRange, String> {
    parse_range(text).map_err(|problem| format!("exclude: '{text}' {problem}"))
}

fn is_command(word: &OsStr) -> bool {
    COMMANDS.iter().any(|(command, ..)| word == *command)
}

fn needs_value(word: &OsStr) -> bool {
    COMMANDS.iter().any(|(command, value, _)| word == *command && !value.is_empty())
}

fn choice() -> String {
    let [others @ .., last] = COMMANDS.map(|(command, ..)| command);
    format!("give {} or {last}", others.join(", "))
}

fn missing() -> String {
    format!("no command; {}", choice())
}

/// The socket of the only scan that runs.
fn the_only() -> Result<PathBuf, Failure> {
    let found = running().map_err(|error| Failure::io(NAME, "the runtime folder", &error))?;
    match &found[..] {
        [path] => Ok(path.clone()),
        [] => {
            let text = "no scan with a control socket runs; name the socket of one that has it elsewhere";
            Err(Failure { component: NAME, text: text.to_owned(), exit_code: Exit::Failed })
        }
        several => {
            let names: Vec<String> = several.iter().map(printable).collect();
            Err(Failure::usage(NAME, format!("several scans run; name one of {}", names.join(", "))))
        }
    }
}

/// Prints an answer. Returns whether anybody reads it.
fn tell(answer: &Answer, request: &Request, json: bool) -> Result<bool, Failure> {
    let mut text = match (&answer.status, request) {
        _ if json => answer.to_line(),
        _ if answer.change.is_some() => answer.change.iter().map(|change| format!("{change}\n")).collect(),
        (Some(status), Request::Status {}) => listing(status),
        (Some(status), _) => format!("{status}\n"),
        (None, _) => String::new(),
    };
    if !answer.ok {
        let why = answer.error.as_deref().unwrap_or("the scan refuses");
        if json {
            print(&text)?;
        }
        return Err(Failure { component: NAME, text: why.to_owned(), exit_code: Exit::Failed });
    }
    if text.is_empty() {
        text.push_str("done\n");
    }
    print(&text)
}

/// Prints a text at once. Returns whether anybody reads it.
fn print(text: &str) -> Result<bool, Failure> {
    let mut out = io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::io(NAME, "standard output", &error)),
    }
}

/// A status in a line for each number, by the names that it has for programs.
fn listing(status: &Status) -> String {
    let value = serde_json::to_value(status).unwrap_or_default();
    let entries = value.as_object().into_iter().flatten();
    let line = |(name, value): (&String, &serde_json::Value)| match value {
        serde_json::Value::String(text) => format!("{name:<20} {}\n", printable(Path::new(text))),
        serde_json::Value::Number(number) => format!("{name:<20} {}\n", short(number)),
        value => format!("{name:<20} {value}\n"),
    };
    entries.map(line).collect()
}

/// A number with at most three digits after the point.
fn short(number: &serde_json::Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() => {
            let text = format!("{float:.3}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        _ => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<(Option<PathBuf>, Request), String> {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        parse(&words)
    }

    #[test]
    fn commands_with_and_without_a_path() {
        for (line, path, request) in [
            ("status", None, Request::Status {}),
            ("watch", None, Request::Watch {}),
            ("/run/a.sock pause", Some("/run/a.sock"), Request::Pause {}),
            ("./status resume", Some("./status"), Request::Resume {}),
            ("rate 5000", None, Request::Rate { pps: 5_000.0 }),
            ("a.sock rate 0.5", Some("a.sock"), Request::Rate { pps: 0.5 }),
            ("rate 0", None, Request::Rate { pps: 0.0 }),
            ("bandwidth 2.5G", None, Request::Bandwidth { bps: 2_500_000_000 }),
            ("a bandwidth 10M", Some("a"), Request::Bandwidth { bps: 10_000_000 }),
            ("stop", None, Request::Stop {}),
            ("a.sock reload", Some("a.sock"), Request::Reload {}),
            ("exclude 192.0.2.0/24", None, Request::Exclude { network: network("192.0.2.0/24").unwrap() }),
            ("a exclude 192.0.2.7", Some("a"), Request::Exclude { network: network("192.0.2.7").unwrap() }),
        ] {
            assert_eq!(parsed(line), Ok((path.map(PathBuf::from), request)), "{line}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, words) in [
            ("", "no command"),
            ("halt", "'halt' is not a command"),
            ("a.sock halt", "'halt' is not a command"),
            ("status now", "'now' is one word too many"),
            ("rate", "rate: give a value"),
            ("a.sock rate", "rate: give a value"),
            ("rate fast", "rate: 'fast'"),
            ("rate -5", "rate: '-5'"),
            ("rate 2000000000", "no NIC"),
            ("rate 5 6", "'6' is one word too many"),
            ("bandwidth 10X", "bandwidth: '10X'"),
            ("reload list.conf", "'list.conf' is one word too many"),
            ("exclude", "exclude: give a value"),
            ("exclude example.org", "exclude: 'example.org' is a host name"),
            ("exclude 192.0.2.0/33", "exclude: '192.0.2.0/33' has a bad prefix length"),
        ] {
            let error = parsed(line).unwrap_err();
            assert!(error.contains(words), "{line}: {error}");
        }
    }

    #[test]
    fn a_status_as_lines() {
        let status = Status { phase: "sending".to_owned(), elapsed_s: 1.25, sent: 7, ..Status::default() };
        let text = listing(&status);
        assert!(text.contains("phase                sending\n"), "{text}");
        assert!(
            text.contains("elapsed_s            1.25\n") && text.contains("sent                 7\n"),
            "{text}"
        );
    }
}
