//! `xdpmap checkpoint show FILE`: what a checkpoint says, for people or as JSON. The cookie key is never shown.

use std::io::Write as _;
use std::path::PathBuf;

use serde::Serialize;

use super::Failure;
use crate::checkpoint::{BlocklistChange, Checkpoint, Decision, InputFile, SavedOutput, State};
use crate::cli::{SetOption, config};
use crate::input;
use crate::printable::printable;
use crate::secrets::redacted;
use crate::units::counted;

const NAME: &str = "checkpoint";

/// Show what a scan's checkpoint says: what was asked for, what is done and what is left.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "xdpmap checkpoint", version)]
pub(super) struct CheckpointOptions {
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Action {
    /// Show it
    Show {
        /// The checkpoint, such as results.csv.xdpmap
        file: PathBuf,
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
}

/// What is shown.
#[derive(Serialize)]
struct Shown<'a> {
    state: State,
    program: &'a str,
    targets_hash: &'a str,
    plan_hash: &'a str,
    plan: &'a [Decision],
    seed: u64,
    exponents_open: u64,
    intervals_open: &'a [[u64; 2]],
    /// The same for second probes; absent without them.
    #[serde(skip_serializing_if = "Option::is_none")]
    second_exponents_open: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    second_intervals_open: Option<&'a [[u64; 2]]>,
    outputs: Vec<ShownOutput>,
    lists: &'a [InputFile],
    blocklist_sha256: Option<&'a str>,
    targets_probed: u64,
    probes_sent: u64,
    results: u64,
    runs: &'a [String],
    withdrawn: &'a [String],
    blocklist_changes: &'a [BlocklistChange],
    options: &'a str,
    origins: &'a [SetOption],
    folder: String,
    targets: &'a [String],
}

/// An output that is shown.
#[derive(Serialize)]
struct ShownOutput {
    file: String,
    /// Which file of the series results go to.
    number: u32,
    bytes: u64,
    /// Whether results may be there several times after an interruption.
    at_least_once: bool,
}

impl ShownOutput {
    fn of(output: &SavedOutput) -> Self {
        Self {
            file: redacted(&printable(&output.file)).into_owned(),
            number: output.number,
            bytes: output.bytes,
            at_least_once: output.is_stream,
        }
    }

    fn for_people(&self) -> String {
        let Self { file, number, bytes, .. } = self;
        match (self.at_least_once, number) {
            (true, _) => format!("{file} (cannot be taken back: each result at least once)"),
            (false, 1) => format!("{file} ({})", counted(*bytes, "byte")),
            (false, _) => format!("{file} (file {number} of the series, {})", counted(*bytes, "byte")),
        }
    }
}

pub(super) fn run(options: CheckpointOptions) -> Result<(), Failure> {
    let Action::Show { file, json } = options.action;
    let bytes = input::read(&file).map_err(|error| Failure::io(NAME, &printable(&file), &error))?;
    let checkpoint = Checkpoint::parse(&bytes)
        .map_err(|what| Failure::usage(NAME, format!("{}: {what}", printable(&file))))?;
    let request = &checkpoint.request;
    let shown = Shown {
        state: checkpoint.state,
        program: &checkpoint.program,
        targets_hash: &request.targets_hash,
        plan_hash: &request.plan_hash,
        plan: &request.plan,
        seed: request.seed,
        exponents_open: exponents(&checkpoint.open),
        intervals_open: &checkpoint.open,
        second_exponents_open: checkpoint.second_open.as_deref().map(exponents),
        second_intervals_open: checkpoint.second_open.as_deref(),
        outputs: checkpoint.outputs.iter().map(ShownOutput::of).collect(),
        lists: &request.inputs,
        blocklist_sha256: request.blocked_sha256.as_deref(),
        targets_probed: checkpoint.counts.targets,
        probes_sent: checkpoint.counts.probes_sent,
        results: checkpoint.counts.results,
        runs: &checkpoint.runs,
        withdrawn: &checkpoint.withdrawn,
        blocklist_changes: &checkpoint.blocklist_changes,
        options: &request.options,
        origins: &request.origins,
        folder: printable(&request.folder),
        targets: &request.targets,
    };
    let text = if json {
        let text =
            serde_json::to_string(&shown).map_err(|error| Failure::io(NAME, "the text", &error.into()))?;
        text + "\n"
    } else {
        for_people(&shown)
    };
    // A reader that has closed the pipe is not an error.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(())
}

fn exponents(open: &[[u64; 2]]) -> u64 {
    open.iter().map(|[start, end]| end - start).sum()
}

fn for_people(shown: &Shown<'_>) -> String {
    let state = match shown.state {
        State::Unfinished => "unfinished",
        State::Finished => "finished",
    };
    let outputs: Vec<String> = shown.outputs.iter().map(ShownOutput::for_people).collect();
    let row = |name: &str, value: &str| format!("{name:<15} {value}\n");
    let mut text = row("state", state);
    text += &row(
        "left",
        &format!("{} places of the order, in {} intervals", shown.exponents_open, shown.intervals_open.len()),
    );
    if let (Some(exponents), Some(intervals)) = (shown.second_exponents_open, shown.second_intervals_open) {
        let left = format!(
            "{} of the order, in {}, for second probes",
            counted(exponents, "place"),
            counted(intervals.len() as u64, "interval")
        );
        text += &row("", &left);
    }
    text += &row(
        "probed",
        &format!("{}, {}", counted(shown.targets_probed, "target"), counted(shown.probes_sent, "probe")),
    );
    text += &row("results", &shown.results.to_string());
    text += &row("outputs", &outputs.join(", "));
    text += &row("started", &shown.runs.join(", "));
    if !shown.withdrawn.is_empty() {
        text += &row("left out since", &shown.withdrawn.join(", "));
    }
    for list in shown.lists {
        text += &row("list", &list_for_people(list));
    }
    for change in shown.blocklist_changes {
        text += &row("block list", &change.to_string());
    }
    text +=
        &row("targets", &if shown.targets.is_empty() { "all".to_owned() } else { shown.targets.join(" ") });
    text += &row("targets hash", shown.targets_hash);
    text += &row("plan hash", shown.plan_hash);
    text += &row("folder", &shown.folder);
    text += &row("written by", &format!("xdpmap {}", shown.program));
    text + "\n" + &with_origins(shown.options, shown.origins)
}

fn list_for_people(list: &InputFile) -> String {
    let InputFile { flag, file, sha256, bytes } = list;
    let content = match (bytes, sha256) {
        (Some(bytes), Some(sha256)) => format!("{}, SHA-256 {sha256}", counted(*bytes, "byte")),
        _ => "not a regular file".to_owned(),
    };
    format!("--{flag} {}: {content}", printable(file))
}

/// The options, with a remark at each that does not have its default: where it was set.
fn with_origins(options: &str, origins: &[SetOption]) -> String {
    let names = config::parse(options.as_bytes()).unwrap_or_default();
    let mut names = names.iter().peekable();
    let mut origins = origins.iter().peekable();
    let remark = |(place, line): (usize, &str)| {
        let name = names.next_if(|entry| entry.line == place + 1).map(|entry| &entry.name);
        let set = origins.next_if(|set| Some(&set.flag) == name);
        set.map_or_else(
            || line.to_owned() + "\n",
            |set| format!("{line}  # {}\n", printable(set.origin.to_string())),
        )
    };
    options.lines().enumerate().map(remark).collect()
}
