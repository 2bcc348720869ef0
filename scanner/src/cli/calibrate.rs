//! The command line of `xdpmap calibrate`: that of a scan without what is about results, and with options of its own.
//!
//! What always holds: what protects others (block lists, exclusions, in all layers) is read as for a scan. An option of
//! a scan that is not named here is refused when it is typed, and ignored where a config file sets it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args as _, Command, FromArgMatches as _, Parser as _};

use super::args::TYPED_ONLY;
use super::{
    Args, BasicArgs, CheckpointArgs, CommandError, CommandLine, LoggingArgs, ProbeArgs, Rate, ScanArgs,
};
use super::{Surroundings, usage};
use crate::exit::{self, Exit};
use crate::governor::Steps;
use crate::units;

/// The options of a scan that it takes, by their long names.
const KEPT: [&str; 50] = [
    "allow-reserved",
    "allowlist-file",
    "arp-rate",
    "asn-file",
    "attribution",
    "batch",
    "blocklist-file",
    "busy-poll",
    "canaries",
    "config",
    "control",
    "cooldown-time",
    "cores",
    "disable-syslog",
    "drop-invalid",
    "exclude",
    "gateway-mac",
    "ignore-blocklist-errors",
    "interface",
    "io-mode",
    "iplayer",
    "ledger",
    "list-of-ips-file",
    "log-directory",
    "log-file",
    "max-link-down",
    "max-runtime",
    "max-targets",
    "no-rst",
    "no-sandbox",
    "output-file",
    "pairs-file",
    "plan",
    "probe-args",
    "probe-module",
    "probe-ttl",
    "queues",
    "quiet",
    "reply-interface",
    "seed",
    "sender-threads",
    "source-ip",
    "source-mac",
    "source-port",
    "steer",
    "target-ports",
    "top-ports",
    "validate-source-port",
    "verbosity",
    "yes",
];
/// The most probes per second, unless another number is given. Lower: the knees of most paths are not seen. Higher:
/// a link that is shared with others is filled although nobody asked for it.
const MOST_PPS: &str = "100K";
/// The lowest such rate. Lower: canaries are too few to see anything.
const LEAST_PPS: f64 = 1_000.0;
/// How long late replies are waited for, in seconds: each stage has waited for its own already.
const COOLDOWN_S: u64 = 1;

/// What its exit codes mean.
const EXIT_CODES: [(Exit, &str); 6] = [
    (Exit::Done, "a rate is recommended"),
    (Exit::Failed, "nothing can be said, because too few targets answer or it ended early; or it failed"),
    (Exit::Usage, Exit::Usage.meaning()),
    (Exit::Privilege, Exit::Privilege.meaning()),
    (Exit::Interface, Exit::Interface.meaning()),
    (Exit::Interrupted, "interrupted"),
];

/// What is asked of a calibration, apart from its scan.
#[derive(Clone, Debug, clap::Args)]
pub struct Calibration {
    /// Go up to this many probes per second, and no further
    #[arg(
        long = "max-rate",
        value_name = "PPS",
        default_value = MOST_PPS,
        value_parser = most,
        group = TYPED_ONLY,
        help_heading = "Calibration"
    )]
    pub most_pps: f64,

    /// Print one JSON object instead of the table
    #[arg(long, group = TYPED_ONLY, help_heading = "Calibration")]
    pub json: bool,

    /// Where the picture goes.
    #[arg(skip)]
    pub picture: Option<PathBuf>,
}

/// The most probes per second.
fn most(text: &str) -> Result<f64, String> {
    let pps = units::amount(text).filter(|pps| *pps >= LEAST_PPS);
    pps.ok_or_else(|| format!("give the most probes per second, {LEAST_PPS} or more, such as 20K"))
}

/// Whether it takes the option of a scan with this long name.
fn is_kept(long: &str) -> bool {
    KEPT.contains(&long)
}

/// Its grammar.
pub fn command() -> Command {
    let hidden = |arg: clap::Arg| {
        let is_hidden = arg.get_long().is_some_and(|long| !is_kept(long));
        if is_hidden { arg.hide(true) } else { arg }
    };
    let scan = super::command().mut_args(hidden).mut_arg("output_file", |arg| {
        arg.value_name("FILE")
            .help("Draw loss against rate into this file, as SVG")
            .help_heading("Calibration")
    });
    let after = format!(
        "Examples:\n  xdpmap calibrate -p 443                         up to 100,000 probes per second, to random hosts\n  \
         xdpmap calibrate -p 443 --max-rate 1M -o a.svg  further, and with a picture\n\n{}",
        exit::section(&EXIT_CODES)
    );
    Calibration::augment_args(scan)
        .name("xdpmap calibrate")
        .about("Measure how much is lost at which rate, from this host through its network, and recommend a rate")
        .long_about(
            "Measure how much is lost at which rate, from this host through its network, and recommend a rate.\n\n\
             It is a scan of the TARGETS, without results: it probes them at one rate after the other, from slow to \
             fast, and sends some probes again to hosts that have answered. It ends above the rate from which on more \
             is lost. Block lists, exclusions and opt-outs hold as in a scan.",
        )
        .after_help(after)
}

/// Reads the words behind `xdpmap calibrate`, and their surroundings: the scan that is to be made, and what else is
/// asked for.
///
/// # Errors
/// What is wrong with them, or the text of `--help` or `--version`.
pub fn parse(words: &[OsString], around: &Surroundings) -> Result<(CommandLine, Calibration), CommandError> {
    let mut command = command();
    command.build();
    let line: Vec<OsString> =
        std::iter::once(OsString::from("xdpmap calibrate")).chain(words.iter().cloned()).collect();
    if let Some(what) = super::habits::misread(words) {
        return Err(usage(what));
    }
    let mut read = CommandLine::read(&command, line.clone(), around)?;
    let typed = command.clone().try_get_matches_from(line).map_err(CommandError::Typed)?;
    let is_typed = |id: &str| typed.value_source(id) == Some(ValueSource::CommandLine);
    let refused = command.get_arguments().find(|arg| arg.is_hide_set() && is_typed(arg.get_id().as_str()));
    if let Some(long) = refused.and_then(clap::Arg::get_long) {
        let what = match long {
            "rate" | "bandwidth" | "total-rate" => {
                "calibrate finds the rate: give --max-rate PPS for the most"
            }
            _ => "it is for a scan that has results, and not for calibrate; leave it out",
        };
        return Err(CommandError::Typed(
            command.error(ErrorKind::ArgumentConflict, format!("--{long}: {what}")),
        ));
    }
    let mut asked = Calibration::from_arg_matches(&typed).map_err(CommandError::Typed)?;
    asked.picture = picture(&typed, is_typed("output_file"))?;
    read.args = of_scan(read.args, asked.most_pps, is_typed("cooldown_time"))?;
    match super::habits::misplaced_command(&read.args.targets) {
        Some(what) => Err(usage(what)),
        None => Ok((read, asked)),
    }
}

/// The file for the picture.
fn picture(typed: &ArgMatches, is_typed: bool) -> Result<Option<PathBuf>, CommandError> {
    let files: Vec<&PathBuf> = typed.get_many("output_file").into_iter().flatten().collect();
    match &files[..] {
        [file] if is_typed && *file == Path::new("-") => {
            Err(usage("--output-file: standard output has the table; name a file for the picture".to_owned()))
        }
        [file] if is_typed => Ok(Some((*file).clone())),
        [_, _, ..] if is_typed => Err(usage("--output-file: there is one picture; name one file".to_owned())),
        _ => Ok(None),
    }
}

/// The scan: what was asked for of what is kept, and nothing else.
fn of_scan(read: Args, most_pps: f64, has_cooldown: bool) -> Result<Args, CommandError> {
    let plain = Args::try_parse_from(["xdpmap"]).map_err(CommandError::Typed)?;
    let (scan, logging) = (read.scan, read.logging);
    let most_probes = Steps::up_to(most_pps).most_probes();
    Ok(Args {
        basic: BasicArgs {
            // Answers are counted, and nobody reads them.
            output_file: vec![PathBuf::from("/dev/null")],
            print_config: false,
            generate: None,
            ..read.basic
        },
        scan: ScanArgs {
            rate: Rate::Steps(most_pps),
            batch: scan.batch,
            max_targets: Some(scan.max_targets.unwrap_or_else(|| most_probes.to_string())),
            max_runtime: scan.max_runtime,
            canaries: scan.canaries,
            cooldown_time: if has_cooldown { scan.cooldown_time } else { COOLDOWN_S },
            seed: scan.seed,
            max_link_down: scan.max_link_down,
            yes: scan.yes,
            plan: scan.plan,
            ..plain.scan
        },
        sharding: plain.sharding,
        probe: ProbeArgs { list_probe_modules: false, ..read.probe },
        output: plain.output,
        checkpoint: CheckpointArgs { no_checkpoint: true, ..plain.checkpoint },
        dedup: plain.dedup,
        logging: LoggingArgs {
            verbosity: logging.verbosity,
            log_file: logging.log_file,
            log_directory: logging.log_directory,
            disable_syslog: logging.disable_syslog,
            quiet: logging.quiet,
            control: logging.control,
            ledger: logging.ledger,
            ..plain.logging
        },
        ..read
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<(CommandLine, Calibration), CommandError> {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        parse(&words, &Surroundings::default())
    }

    #[test]
    fn a_scan_without_results() {
        let (line, asked) = parsed("-p 80 --max-rate 20K -o a.svg -b list --json 198.51.100.0/24").unwrap();
        assert_eq!(line.args.scan.rate, Rate::Steps(20_000.0));
        assert_eq!((line.args.scan.cooldown_time, line.args.basic.blocklist_file.len()), (1, 1));
        assert_eq!(line.args.basic.output_file, [Path::new("/dev/null")]);
        assert!(asked.json && asked.picture.as_deref() == Some(Path::new("a.svg")));
        let (line, asked) = parsed("-p 80 -c 5").unwrap();
        assert_eq!((line.args.scan.cooldown_time, asked.most_pps), (5, 100_000.0));
    }

    #[test]
    fn what_a_config_file_sets_about_results_is_ignored() {
        let saved = "rate=5\noutput-file=all.csv\nmetadata-file=m.json\nexclude=192.0.2.0/24\nseed=7\n";
        let around = Surroundings { saved: Some(saved.to_owned()), ..Surroundings::default() };
        let (line, asked) = parse(&["-p".into(), "80".into()], &around).unwrap();
        assert_eq!((line.args.scan.rate, asked.picture), (Rate::Steps(100_000.0), None));
        assert_eq!((line.args.scan.seed, line.args.logging.metadata_file), (Some(7), None));
        assert_eq!(line.args.basic.exclude, ["192.0.2.0/24"]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (line, words) in [
            ("-r 5", "--max-rate"),
            ("-m m.json", "--metadata-file"),
            ("--shards 3 --shard 1", "leave it out"),
            ("-o a.svg -o b.svg", "one picture"),
            ("-o -", "name a file"),
            ("--max-rate 10", "1000 or more"),
            ("doctor", "is a command"),
        ] {
            let Err(CommandError::Typed(error)) = parsed(line) else { panic!("{line}") };
            let text = super::super::complaint(&error);
            assert!(text.contains(words), "{line}: {text}");
        }
    }

    /// Each of them is an option of a scan.
    #[test]
    fn kept_options_exist() {
        let scan = super::super::command();
        let mut known = scan.get_arguments().filter_map(clap::Arg::get_long).collect::<Vec<_>>();
        known.sort_unstable();
        for long in KEPT {
            assert!(known.binary_search(&long).is_ok(), "{long}");
        }
    }
}
