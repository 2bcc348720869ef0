//! A scan that goes on: its command line, made from its checkpoint and from what was typed after `xdpmap resume`.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, Command};

use super::{Randomness, checkpoint_of};
use crate::checkpoint::file::{Found, Held};
use crate::checkpoint::{Checkpoint, State};
use crate::cli::config::{self, ConfigLine};
use crate::cli::{self, CommandError, CommandLine, Surroundings};
use crate::printable::printable;

/// Options that may be other than before: how the scan is carried out, not what is asked of whom.
const CHANGEABLE: [&str; 49] = [
    "arp-rate",
    "bandwidth",
    "batch",
    "blocklist-file",
    "busy-poll",
    "canaries",
    "checkpoint-interval",
    "control",
    "cooldown-time",
    "cores",
    "dedup-memory",
    "disable-syslog",
    "drop-invalid",
    "exclude",
    "gateway-mac",
    "interface",
    "io-mode",
    "ledger",
    "live",
    "log-directory",
    "log-file",
    "max-link-down",
    "max-runtime",
    "max-sendto-failures",
    "metadata-file",
    "metrics-file",
    "metrics-listen",
    "min-hitrate",
    "no-sandbox",
    "notes",
    "on-output-error",
    "output-wait",
    "plan",
    "progress",
    "queues",
    "quiet",
    "rate",
    "reply-interface",
    "resume-overlap",
    "sender-threads",
    "source-ip",
    "source-mac",
    "status-format",
    "status-updates-file",
    "steer",
    "total-rate",
    "user-metadata",
    "verbosity",
    "yes",
];

/// A scan that can go on.
#[derive(Debug)]
pub struct Resumption {
    /// Its command line.
    pub line: CommandLine,
    /// What was random.
    pub draw: Randomness,
    /// What is known of it.
    pub checkpoint: Checkpoint,
    /// Its file, which no other process has.
    pub held: Held,
}

/// What there is to do.
#[derive(Debug)]
pub enum Resumed {
    /// The rest of the scan.
    Scan(Box<Resumption>),
    /// Nothing: the scan is finished, or it is only a text that was asked for.
    Nothing(String),
}

/// What `xdpmap resume` does, how it is written, and more about it.
const ABOUT: &str = "Continue a scan that was interrupted, however it ended";
const USAGE: &str = "xdpmap resume FILE [OPTIONS]";
const DETAILS: &str = "\
FILE is the checkpoint that the scan has kept: its first output with .xdpmap behind the name, unless --checkpoint has
named another one. Nothing needs to be typed again. Results follow those that are there; targets whose answers may have
been missed are probed again (--resume-overlap). `xdpmap checkpoint show FILE` says what is left to do.

OPTIONS are those of a scan that say how it is carried out, such as -i, -T, -r, --io-mode, -v; what is asked of whom
stays. Networks that the block list has gained since the start are left out. Paths are relative to the folder that the
scan was started in.
";

/// The grammar of `xdpmap resume`, for those that describe it: the checkpoint, and the options of a scan that it takes.
pub fn resume_command() -> Command {
    let scan = cli::command();
    let may_change = |arg: &&Arg| arg.get_long().is_some_and(|long| CHANGEABLE.contains(&long));
    let file = Arg::new("file").value_name("FILE").required(true);
    Command::new("xdpmap resume")
        .about(ABOUT)
        .long_about(format!("{ABOUT}.\n\n{DETAILS}"))
        .override_usage(USAGE)
        .arg(file.help("The checkpoint, such as results.csv.xdpmap"))
        .args(scan.get_arguments().filter(may_change).cloned())
}

/// What to do for `xdpmap resume` with these arguments.
///
/// # Errors
/// What is wrong with them or with the checkpoint, in one line.
pub fn resume(arguments: &[OsString]) -> Result<Resumed, String> {
    let (file, typed) = match arguments.split_first() {
        Some((first, _)) if first == "--help" || first == "-h" => {
            return Ok(Resumed::Nothing(format!("{ABOUT}.\n\nUsage: {USAGE}\n\n{DETAILS}")));
        }
        Some((file, typed)) if !file.to_string_lossy().starts_with('-') => (PathBuf::from(file), typed),
        _ => return Err("name the checkpoint: xdpmap resume FILE; see xdpmap resume --help".to_owned()),
    };
    unchanged(typed)?;
    match Held::take(&file).map_err(|error| error.to_string())? {
        Found::Nothing => Err(format!("{}: there is no such file", printable(&file))),
        Found::Checkpoint(held, checkpoint) => go_on(held, *checkpoint, typed),
    }
}

/// The options that differ between two texts of options in force, as flags. Values may be passwords, and are not named.
fn differing(one: &[u8], other: &[u8]) -> Vec<String> {
    let [one, other] = [one, other].map(|text| config::parse(text).unwrap_or_default());
    let values = |lines: &[ConfigLine], name: &str| -> Vec<Option<OsString>> {
        lines.iter().filter(|line| line.name == name).map(|line| line.value.clone()).collect()
    };
    let names: BTreeSet<&str> = one.iter().chain(&other).map(|line| line.name.as_str()).collect();
    let differs = |name: &&str| values(&one, name) != values(&other, name);
    names.into_iter().filter(differs).map(|name| format!("--{name}")).collect()
}

/// What to do for a command line with `--resume-or-start`; `None` if the scan is to be started.
///
/// # Errors
/// The checkpoint cannot be used, or is of another command line.
pub fn resume_or_start(line: &CommandLine) -> Result<Option<Resumed>, String> {
    let Some(file) = checkpoint_of(&line.args) else { return Ok(None) };
    match Held::take(&file).map_err(|error| error.to_string())? {
        Found::Nothing => Ok(None),
        Found::Checkpoint(held, checkpoint) => {
            let request = &checkpoint.request;
            if request.options.as_bytes() != line.args.in_force || request.targets != line.args.targets {
                let mut others = differing(request.options.as_bytes(), &line.args.in_force);
                if request.targets != line.args.targets {
                    others.push("the targets".to_owned());
                }
                return Err(format!(
                    "{}: it is the checkpoint of another command line, which differs in {}; `xdpmap resume` continues \
                     that scan, and without --resume-or-start this one starts anew",
                    printable(&file),
                    others.join(", ")
                ));
            }
            // It is not among the options that the checkpoint has.
            let typed = line.args.scan.plan.then(|| OsString::from("--plan"));
            let mut resumed = go_on(held, *checkpoint, typed.as_slice())?;
            if let Resumed::Scan(scan) = &mut resumed {
                scan.line.args.sharding.task.clone_from(&line.args.sharding.task);
            }
            Ok(Some(resumed))
        }
    }
}

/// Refuses options that say what is asked of whom.
fn unchanged(typed: &[OsString]) -> Result<(), String> {
    let given = cli::given(typed).map_err(|error| cli::complaint(&error))?;
    match given.iter().find(|name| !CHANGEABLE.contains(&name.as_str())) {
        Some(name) if name == "targets" => Err("a resumed scan keeps its targets; leave them out".to_owned()),
        Some(name) => Err(format!("a resumed scan keeps its --{name}; leave it out")),
        None => Ok(()),
    }
}

fn go_on(held: Held, mut checkpoint: Checkpoint, typed: &[OsString]) -> Result<Resumed, String> {
    let (State::Unfinished, Some(key)) = (checkpoint.state, checkpoint.key()) else {
        if !typed.iter().any(|word| word == "--plan") {
            // Its process may have been killed before it had done so. What stays harms nobody.
            let _ = held.remove_beside();
        }
        let path = printable(held.path());
        return Ok(Resumed::Nothing(format!("{path}: the scan is finished; there is nothing left to do\n")));
    };
    let path = std::path::absolute(held.path()).map_err(|error| error.to_string())?;
    checkpoint.request.blocked = held.read_blocked(&checkpoint.request).map_err(|error| error.to_string())?;
    let request = &checkpoint.request;
    std::env::set_current_dir(&request.folder).map_err(|error| {
        format!("the folder that the scan was started in: {}: {error}", printable(&request.folder))
    })?;
    let surroundings = Surroundings { saved: Some(request.options.clone()), ..Surroundings::default() };
    let program = [OsString::from("xdpmap")];
    let targets = request.targets.iter().map(OsString::from);
    let arguments = program.into_iter().chain(typed.iter().cloned()).chain(["--".into()]).chain(targets);
    let mut line = cli::parse(arguments, &surroundings).map_err(|error| match error {
        CommandError::Typed(error) => cli::complaint(&error),
        CommandError::Layer(text) => text,
    })?;
    line.args.basic.output_file = checkpoint.outputs.iter().map(|output| output.file.clone()).collect();
    (line.args.checkpoint.checkpoint, line.args.checkpoint.no_checkpoint) = (Some(path), false);
    let draw = Randomness { seed: request.seed, key, timestamp: request.timestamp };
    Ok(Resumed::Scan(Box::new(Resumption { line, draw, checkpoint, held })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_named() {
        let one = b"# Basic\ntarget-ports 80\nexclude 192.0.2.0/24\nquiet 2\nrate 5\n";
        let other =
            b"target-ports 80\nexclude 192.0.2.0/24\nexclude 198.51.100.0/24\nquiet\n# a remark\nrate 5\n";
        assert_eq!(differing(one, other), ["--exclude", "--quiet"]);
        assert_eq!(differing(b"allow-reserved\n", b""), ["--allow-reserved"]);
        assert_eq!(differing(one, one), [""; 0]);
    }

    /// Options that say what is asked of whom, or where the results are, and those that end before a scan.
    const KEPT: [&str; 49] = [
        "allow-reserved",
        "allowlist-file",
        "append",
        "asn-file",
        "atomic-output",
        "attribution",
        "checkpoint",
        "config",
        "dedup-method",
        "dedup-window-size",
        "dryrun",
        "fast-dryrun",
        "for",
        "generate",
        "ignore-blocklist-errors",
        "iplayer",
        "list-of-ips-file",
        "list-output-fields",
        "list-output-modules",
        "list-probe-modules",
        "max-ports-per-host",
        "max-results",
        "max-targets",
        "netmap-wait-ping",
        "no-checkpoint",
        "no-header-row",
        "no-rst",
        "output-args",
        "output-dir",
        "output-fields",
        "output-file",
        "output-filter",
        "output-module",
        "pairs-file",
        "print-config",
        "probe-args",
        "probe-gap",
        "probe-module",
        "probe-ttl",
        "probes",
        "probes-file",
        "recheck",
        "resume-or-start",
        "retries",
        "rotate-bytes",
        "rotate-seconds",
        "seed",
        "shard",
        "shards",
    ];
    /// More of them.
    const KEPT_TOO: [&str; 7] = [
        "partition",
        "source-port",
        "successes-only",
        "summary",
        "target-ports",
        "top-ports",
        "validate-source-port",
    ];

    /// Whoever adds an option has to decide.
    #[test]
    fn every_option_is_kept_or_may_change() {
        let mut decided: Vec<&str> = [&CHANGEABLE[..], &KEPT, &KEPT_TOO].concat();
        decided.sort_unstable();
        let mut command = cli::command();
        command.build();
        let names = command.get_arguments().filter_map(Arg::get_long);
        let mut options: Vec<&str> = names.filter(|name| !["help", "version"].contains(name)).collect();
        options.sort_unstable();
        assert_eq!(options, decided);
    }
}
