//! Whether the scan keeps a checkpoint, and what goes into it; and how a plan goes on from one.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use targets::{Cursor, Interval, Permutation};

use super::inputs::{InputList, Inputs, named};
use super::output::partitions;
use super::{OutputPlan, PlanError, Randomness, TargetPlan};
use crate::checkpoint::{Checkpoint, InputFile, Request, SavedOutput, digits};
use crate::cli::{Args, OutputModule, PASSWORD_LEFT_OUT};
use crate::lists::{self, STANDARD_INPUT};
use crate::printable::printable;
use crate::results::sink::{Module, Partitions, SinkConfig};

const FLAG: &str = "--checkpoint";

/// The checkpoint that a scan keeps.
#[derive(Clone, Debug)]
pub struct CheckpointPlan {
    /// Its file.
    pub file: PathBuf,
    /// Whether the user asked for it. Otherwise the scan goes on without it if it cannot be written.
    pub is_asked: bool,
    /// How often it is written.
    pub interval: Duration,
    /// How long answers may take at most.
    pub overlap: Duration,
    /// What was asked for.
    pub request: Request,
    /// The outputs, in the order of the flags, none of which has any results.
    pub outputs: Vec<SavedOutput>,
    /// The checkpoint that the scan goes on from.
    pub resumed: Option<Box<Checkpoint>>,
}

impl CheckpointPlan {
    pub(super) fn new(
        args: &Args,
        output: &OutputPlan,
        targets: &TargetPlan,
        inputs: &Inputs,
        draw: &Randomness,
        resumed: Option<&Checkpoint>,
    ) -> Result<Option<Self>, PlanError> {
        let asked = &args.checkpoint;
        let is_asked = asked.checkpoint.is_some() || asked.resume_or_start || resumed.is_some();
        if asked.no_checkpoint || args.scan.is_dry() {
            return Ok(None);
        }
        let options = match (why_not(args, &output.sinks), std::str::from_utf8(&args.in_force)) {
            (None, Ok(options)) => options.to_owned(),
            (None, Err(_)) if is_asked => {
                return Err(PlanError::usage(FLAG, "an option is not UTF-8, which a checkpoint must be"));
            }
            (Some(why), _) if is_asked => return Err(PlanError::usage(FLAG, why)),
            _ => return Ok(None),
        };
        let Some(file) = path_of(args) else {
            let what = "no output is a file that a checkpoint could be beside; name one with --checkpoint";
            return if is_asked { Err(PlanError::usage(FLAG, what)) } else { Ok(None) };
        };
        let outputs = output.sinks.iter().map(saved).collect();
        let request = match resumed {
            Some(checkpoint) => checkpoint.request.clone(),
            None => request(args, options, targets, inputs, draw)?,
        };
        let cooldown_s = args.scan.cooldown_time as f64;
        Ok(Some(Self {
            file: absolute(&file),
            is_asked,
            interval: Duration::from_secs_f64(asked.checkpoint_interval),
            overlap: Duration::from_secs_f64(asked.resume_overlap.unwrap_or(cooldown_s)),
            request,
            outputs,
            resumed: resumed.cloned().map(Box::new),
        }))
    }
}

/// The output of a sink, without results.
fn saved(sink: &SinkConfig) -> SavedOutput {
    let is_named = sink.redis.is_none() && sink.file != Path::new("-");
    let file = if is_named { absolute(&sink.file) } else { sink.file.clone() };
    SavedOutput { partitions: sink.partitions, ..SavedOutput::empty(file, sink.is_stream()) }
}

/// Where the checkpoint of this command line is: where it says, or else beside the first output that is a file.
pub fn path_of(args: &Args) -> Option<PathBuf> {
    let modules = &args.output.output_module;
    let beside_file = |(place, file): (usize, &PathBuf)| {
        let module = modules.get(place).or(modules.first()).copied().or_else(|| OutputModule::of_file(file));
        let partitions = module.and_then(|module| partitions(args, module));
        let is_special = || partitions.is_none() && fs::metadata(file).is_ok_and(|found| !found.is_file());
        let is_redis = module.is_some_and(|module| module.module() == Module::Redis);
        let is_file = !is_redis && *file != Path::new("-") && !is_special();
        is_file.then(|| beside(file, partitions))
    };
    let first = || args.basic.output_file.iter().enumerate().find_map(beside_file);
    args.checkpoint.checkpoint.clone().or_else(first)
}

/// The checkpoint that a scan with this output keeps unless it is told otherwise. Shards that share the folder of a
/// data set have one each.
pub fn beside(output: &Path, partitions: Option<Partitions>) -> PathBuf {
    let mut name = output.as_os_str().to_owned();
    if let Some(Partitions { shard, shards: 2.., .. }) = partitions {
        name.push(format!(".shard-{shard:05}"));
    }
    name.push(".xdpmap");
    name.into()
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Why a scan with these outputs cannot be continued.
fn why_not(args: &Args, sinks: &[SinkConfig]) -> Option<String> {
    if let Some(sink) = sinks.iter().find(|sink| sink.is_all_or_nothing()) {
        let (name, module) = (printable(&sink.file), sink.module);
        return Some(format!(
            "{name} is not a regular file, and {module} cannot go on in it; name another with -o"
        ));
    }
    let in_force = String::from_utf8_lossy(&args.in_force);
    if in_force.contains(PASSWORD_LEFT_OUT) {
        let what = "an option has a password, which a checkpoint does not keep; name a file that has it (--output-args \
                    password-file=FILE)";
        return Some(what.to_owned());
    }
    let from_input = named(args).into_iter().find(|(_, path)| *path == Path::new(STANDARD_INPUT));
    from_input.map(|(flag, _)| format!("standard input ({flag} -) cannot be read again; name a file"))
}

fn request(
    args: &Args,
    options: String,
    targets: &TargetPlan,
    inputs: &Inputs,
    draw: &Randomness,
) -> Result<Request, PlanError> {
    let folder = std::env::current_dir()
        .map_err(|error| PlanError::usage(FLAG, format!("the folder of this process: {error}")))?;
    let mut key = [0; 16];
    key[..8].copy_from_slice(&draw.key.k0.to_le_bytes());
    key[8..].copy_from_slice(&draw.key.k1.to_le_bytes());
    Ok(Request {
        options,
        origins: args.origins.clone(),
        targets: args.targets.clone(),
        folder,
        inputs: inputs.read()?.iter().map(input).collect(),
        blocked: targets.blocked.clone(),
        blocked_sha256: None,
        targets_hash: targets.order_hash.to_string(),
        plan_hash: String::new(),
        plan: Vec::new(),
        seed: args.scan.seed.unwrap_or(draw.seed),
        key: Some(digits(&key)),
        timestamp: draw.timestamp,
    })
}

/// A list, as a checkpoint names it.
fn input(list: &InputList) -> InputFile {
    InputFile {
        flag: list.flag.trim_start_matches('-').to_owned(),
        file: list.file.clone(),
        sha256: list.content.as_ref().map(|content| content.sha256.clone()),
        bytes: list.content.as_ref().map(|content| content.bytes),
    }
}

/// Leaves only what is still open in `checkpoint`.
///
/// # Errors
/// The targets, or their order, are not those of the checkpoint.
pub(super) fn go_on(targets: &mut TargetPlan, checkpoint: &Checkpoint) -> Result<(), PlanError> {
    let request = &checkpoint.request;
    if targets.order_hash.to_string() != request.targets_hash {
        let today = |file: &Path| lists::content(file).ok().flatten().map(|content| content.sha256);
        let has_changed =
            |input: &&InputFile| input.flag != "blocklist-file" && input.sha256 != today(&input.file);
        let what = match request.inputs.iter().find(has_changed) {
            Some(input) => format!(
                "--{}: {} is not what it was when the scan started; put the old one back, or start a new scan",
                input.flag,
                printable(&input.file)
            ),
            None => format!(
                "the targets, or their order, are not those of the checkpoint, which xdpmap {} wrote: host names may \
                 have other addresses now; start a new scan",
                checkpoint.program
            ),
        };
        return Err(PlanError::usage("resume", what));
    }
    let open = checkpoint.open();
    let arc = targets.arc;
    let second_open = checkpoint.second_open().unwrap_or_default();
    if open.iter().chain(&second_open).any(|interval| interval.start < arc.start || interval.end > arc.end) {
        return Err(PlanError::usage("resume", "the checkpoint's intervals are not in this scan's shard"));
    }
    if let Some(max_targets) = &mut targets.max_targets {
        *max_targets = max_targets.saturating_sub(done(&targets.permutation, arc, &open));
    }
    (targets.open, targets.second_open) = (open, second_open);
    Ok(())
}

/// How many targets of `arc` are not in `open`.
fn done(permutation: &Permutation, arc: Interval, open: &[Interval]) -> u64 {
    let starts = std::iter::once(arc.start).chain(open.iter().map(|interval| interval.end));
    let ends = open.iter().map(|interval| interval.start).chain([arc.end]);
    let mut indices = [0; 1024];
    let mut count = 0;
    for (start, end) in starts.zip(ends) {
        let mut cursor = Cursor::new(permutation, Interval { start, end });
        loop {
            match cursor.fill(&mut indices) {
                0 => break,
                found => count += found as u64,
            }
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::fmt::Write as _;

    use wire::proof::Key;

    use super::super::targets::TargetRequest;
    use super::*;
    use crate::checkpoint::file::{Found, Held};
    use crate::cli::{self, Surroundings};
    use crate::probe::Module;

    /// Largest checkpoint of a scan of all of IPv4.
    const LEN_MAX: u64 = 1 << 20;

    /// A scan of all of IPv4, with the block list that comes with xdpmap and a hundred thousand addresses more, in as
    /// many pieces as two hundred workers leave.
    #[test]
    fn a_checkpoint_of_all_of_ipv4_is_small() {
        let folder = tempfile::tempdir().unwrap();
        let [list, results] = ["blocklist.conf", "r.csv"].map(|name| folder.path().join(name));
        let mut text =
            fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../conf/blocklist.conf")).unwrap();
        for number in 0..100_000u32 {
            let address = std::net::Ipv4Addr::from(0x0100_0000 + number * 30_011);
            let _ = write!(text, "\n{address}");
        }
        fs::write(&list, text).unwrap();
        let line = ["xdpmap", "-p", "443", "-b"].map(OsString::from).into_iter();
        let line = line.chain([list.into(), "-o".into(), results.into()]);
        let line =
            cli::parse(line, &Surroundings::default()).unwrap_or_else(|_| panic!("it is a command line"));
        let (args, draw) = (&line.args, Randomness { seed: 1, key: Key::from_bytes([9; 16]), timestamp: 0 });
        let module = Module::parse("tcp_synscan", None).unwrap();
        let request = TargetRequest::of_scan(args, &module).unwrap();
        let targets = TargetPlan::new(&request, draw.seed, &mut Vec::new()).unwrap();
        let output = OutputPlan::new(args, module.info(), 1).unwrap();
        let inputs = Inputs::of(args, &targets);
        let plan = CheckpointPlan::new(args, &output, &targets, &inputs, &draw, None).unwrap().unwrap();
        assert!(plan.file == folder.path().join("r.csv.xdpmap") && targets.space.len() > 3_600_000_000);

        let open = |number: u64| Interval { start: number * 18_000_000, end: number * 18_000_000 + 4_096 };
        let open: Vec<Interval> = (0..200).map(open).collect();
        let started = "2026-01-31T12:00:00Z".to_owned();
        let mut checkpoint = Checkpoint::new(plan.request.clone(), &open, plan.outputs.clone(), started);
        let mut held = Held::at(plan.file.clone());
        held.write_blocked(&mut checkpoint.request).unwrap();
        held.write(&checkpoint).unwrap();
        let len = fs::metadata(&plan.file).unwrap().len();
        assert!(len < LEN_MAX / 16, "{len} bytes");
        drop(held);
        let Found::Checkpoint(held, read) = Held::take(&plan.file).unwrap() else { panic!("it is there") };
        assert_eq!(held.read_blocked(&read.request).unwrap(), targets.blocked);
        assert!(targets.blocked.ranges().len() > 50_000);
        // Another list in its place is refused.
        fs::write(folder.path().join("r.csv.xdpmap-blocklist"), "10.0.0.0/8").unwrap();
        assert!(held.read_blocked(&read.request).is_err());
    }

    #[test]
    fn what_is_not_open_is_done() {
        let order = Permutation::new(113, 4).unwrap();
        let arc = Interval { start: 10, end: 120 };
        let in_order =
            |interval: Interval| (interval.start..interval.end).filter_map(|e| order.index_at(e)).count();
        let open = [Interval { start: 10, end: 30 }, Interval { start: 50, end: 60 }];
        let expected = in_order(Interval { start: 30, end: 50 }) + in_order(Interval { start: 60, end: 120 });
        assert_eq!(done(&order, arc, &open), expected as u64);
        assert_eq!(done(&order, arc, &[]), in_order(arc) as u64);
        assert_eq!(done(&order, arc, &[arc]), 0);
    }
}
