//! Which replies are written, where to, and in which form.

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum as _;
use wire::packet::LinkHeader;

#[cfg(feature = "parquet")]
use super::batch::number_of_shard;
use super::{LimitPlan, PlanError, parse};
use crate::checkpoint::Checkpoint;
use crate::cli::{Args, DedupMethod, OnOutputError, OutputModule, Partition};
use crate::printable::printable;
use crate::probe::ModuleInfo;
use crate::reply::fields::{FieldSet, FieldSetError};
use crate::results::dedup::{Dedup, PortLimit};
use crate::results::filter::{self, Filter};
use crate::results::format::Form;
use crate::results::sink::{Module, Partitions, RecordFormat, RedisTarget, Rotation, SinkConfig};

/// Endings of files that hold compressed text.
const COMPRESSED: [&str; 4] = ["gz", "xz", "zst", "bz2"];
/// The file name that stands for standard output.
const STANDARD_OUTPUT: &str = "-";
/// How long a write that fails is tried again, if it is. Shorter: scans end before somebody has made room. Longer: a
/// scan that nobody looks after holds its interface for longer.
const RETRY_FOR: Duration = Duration::from_secs(600);
/// Most answers that deduplication by a window remembers. Higher: more than some 10 GB of memory. Lower: large scans
/// cannot use a window as large as they need.
const WINDOW_MAX: usize = 100_000_000;

/// What is done with the replies.
#[derive(Clone, Debug)]
pub struct OutputPlan {
    /// Where results go: at least one. All of them get the same replies.
    pub sinks: Vec<SinkConfig>,
    /// Which replies.
    pub filter: Filter,
    /// What `--output-filter` says.
    pub filter_text: Option<String>,
    /// Whether this is ZMap's default mode: no fields, format or filter were given.
    pub default_mode: bool,
    /// How repeats are recognised.
    pub dedup: DedupPlan,
    /// Most bytes that the exact table of repeats may take.
    pub dedup_memory: u64,
    /// How many successes the window next to the exact table remembers once that is full.
    pub dedup_window: NonZeroUsize,
    /// How long to wait at the end for an output that accepts nothing.
    pub wait: Duration,
    /// For how long to pause the sending and try again if an output cannot be written; `None`: the scan ends.
    pub retry: Option<Duration>,
    /// Most ports of one host that are written.
    pub max_ports_per_host: Option<u16>,
    /// Where copies of the probes go.
    pub probes_file: Option<PathBuf>,
    /// Where the metadata goes.
    pub metadata_file: Option<PathBuf>,
    /// Whether there is a status line.
    pub status_line: bool,
    /// How much is logged, 0 to 5.
    pub verbosity: u8,
}

/// Least memory for repeats. Less would hold only a few thousand targets, which is surely a typing error.
const MEMORY_MIN: u64 = 1_000_000;

/// How repeats are recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DedupPlan {
    /// Exactly, by address: one port is scanned.
    Full,
    /// Exactly, by address and port.
    Targets,
    /// Among the last N.
    Window(NonZeroUsize),
    /// Not at all.
    None,
}

impl DedupPlan {
    fn new(args: &Args, ports: u32, window: NonZeroUsize) -> Self {
        match args.dedup.dedup_method {
            DedupMethod::None => Self::None,
            DedupMethod::Window => Self::Window(window),
            DedupMethod::Default | DedupMethod::Full if ports > 1 => Self::Targets,
            DedupMethod::Default | DedupMethod::Full => Self::Full,
        }
    }

    /// Whether every target that has answered is remembered, as long as the memory suffices.
    pub fn is_exact(self) -> bool {
        matches!(self, Self::Full | Self::Targets)
    }

    /// ZMap's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full | Self::Targets => "full",
            Self::Window(_) => "window",
            Self::None => "none",
        }
    }

    /// The deduplication itself: exact in at most `memory` bytes, and then with a window.
    pub fn start(self, memory: u64, window: NonZeroUsize) -> Dedup {
        match self {
            Self::Full => Dedup::full().bounded(memory, window),
            Self::Targets => Dedup::targets().bounded(memory, window),
            Self::Window(size) => Dedup::window(size),
            Self::None => Dedup::None,
        }
    }
}

impl OutputPlan {
    /// The same plan for frames that begin with this header.
    pub(super) fn of_frames(mut self, link: LinkHeader) -> Self {
        self.sinks.iter_mut().for_each(|sink| sink.link = link);
        self
    }

    /// The same plan for files that say this of the scan.
    pub(super) fn described(mut self, scan: &str) -> Self {
        self.sinks.iter_mut().for_each(|sink| scan.clone_into(&mut sink.scan));
        self
    }

    /// The same plan for a scan that goes on: results follow those of `checkpoint`, of which `limits` then has room for
    /// the rest.
    pub(super) fn going_on(
        mut self,
        checkpoint: &Checkpoint,
        limits: &mut LimitPlan,
    ) -> Result<Self, PlanError> {
        if self.sinks.len() != checkpoint.outputs.len() {
            return Err(PlanError::usage("resume", "the checkpoint has another number of outputs"));
        }
        for (sink, saved) in self.sinks.iter_mut().zip(&checkpoint.outputs) {
            sink.resume_at = saved.reach();
            // What a pipe or a device had stays, also if it has become a file since.
            sink.append |= saved.is_stream;
        }
        if let Some(max_results) = limits.max_results {
            let rest = max_results.get().saturating_sub(checkpoint.counts.results);
            limits.max_results = NonZeroU64::new(rest.max(1));
        }
        Ok(self)
    }

    /// A warning for each file whose name ends with another format than it gets.
    pub(super) fn misnamed(&self) -> impl Iterator<Item = String> {
        self.sinks.iter().filter(|sink| sink.redis.is_none()).filter_map(|sink| {
            let (name, module) = (printable(&sink.file), sink.module);
            let ending = sink.file.extension()?.to_str()?.to_ascii_lowercase();
            if COMPRESSED.contains(&ending.as_str()) {
                return Some(format!(
                    "--output-file: {name} is written as {module} and not compressed; compress it after the scan, or \
                     rename it"
                ));
            }
            let named = match ending.as_str() {
                "csv" => Module::Csv,
                _ => OutputModule::of_file(&sink.file)?.module(),
            };
            // Several formats share an ending.
            let is_fit = match module {
                Module::Ports(Form::MasscanJson) => named == Module::Json,
                Module::Zgrab2 => named == Module::Csv,
                _ => named == module,
            };
            (!is_fit).then(|| {
                format!("--output-file: {name} is written as {module}, and its name ends with another format; rename it")
            })
        })
    }

    /// ZMap's rule: giving fields, a format or a filter turns the implicit filter off and the header row on. Records
    /// that cannot tell a success from a failure are of successes alone.
    pub(super) fn new(args: &Args, module: &ModuleInfo, ports: u32) -> Result<Self, PlanError> {
        let fields = &module.fields;
        let default_mode = args.output.output_fields.is_none()
            && args.output.output_module.iter().all(|module| module.module().is_of_successes())
            && args.output.output_filter.is_none();
        let expression =
            args.output.output_filter.as_deref().map(|text| filter::parse(text, fields)).transpose()?;
        let window = window(args)?;
        let successes_only = default_mode || args.output.successes_only;
        let filter = Filter { successes_only, expression: expression.flatten() };
        let sinks = sinks(args, module, ports, default_mode)?;
        let of_successes = sinks.iter().find(|sink| sink.module.is_of_successes());
        if let Some(sink) = of_successes.filter(|_| !filter.successes_only && filter.expression.is_none()) {
            let module = sink.module;
            let what = format!(
                "{module} does not tell a success from a failure; give --successes-only, or {module} alone"
            );
            return Err(PlanError::usage("--output-module", what));
        }
        Ok(Self {
            sinks,
            filter,
            filter_text: args.output.output_filter.clone(),
            default_mode,
            dedup: DedupPlan::new(args, ports, window),
            dedup_memory: dedup_memory(args)?,
            dedup_window: window,
            wait: Duration::from_secs(args.output.output_wait),
            retry: (args.output.on_output_error == OnOutputError::Pause).then_some(RETRY_FOR),
            max_ports_per_host: max_ports_per_host(args)?,
            probes_file: args.output.probes_file.clone(),
            metadata_file: args.logging.metadata_file.clone(),
            status_line: args.logging.quiet == 0,
            verbosity: args.logging.level(),
        })
    }

    /// How many ports of a host are wanted, if fewer than are probed. Takes as much memory as the table of repeats may.
    pub fn port_limit(&self) -> Option<PortLimit> {
        // With one port, no host has two.
        let most = self.max_ports_per_host.filter(|_| self.dedup == DedupPlan::Targets)?;
        Some(PortLimit::new(most, self.dedup.start(self.dedup_memory, self.dedup_window)))
    }

    /// Which replies are written, in words; `None` if that is what a user of ZMap expects by default.
    pub fn included(&self) -> Option<String> {
        let expression = self.filter.expression.as_ref().and(self.filter_text.as_deref());
        let what = match (self.filter.successes_only, expression) {
            _ if self.default_mode => return None,
            (false, None) => {
                "all replies, including failures and repeats (--successes-only excludes them)".to_owned()
            }
            (true, None) => "successes, each once".to_owned(),
            (false, Some(text)) => format!(
                "replies that pass the filter ({text}), including failures and repeats (--successes-only excludes them)"
            ),
            (true, Some(text)) => format!("successes, each once, that pass the filter ({text})"),
        };
        Some(what)
    }
}

/// The ports of a host are counted once each, so it must be known which replies are repeats.
fn max_ports_per_host(args: &Args) -> Result<Option<u16>, PlanError> {
    let knows_repeats = matches!(args.dedup.dedup_method, DedupMethod::Default | DedupMethod::Full);
    match args.output.max_ports_per_host {
        Some(_) if !knows_repeats => {
            let what = "repeats have to be found exactly, so that each port of a host counts once; leave --dedup-method out";
            Err(PlanError::usage("--max-ports-per-host", what))
        }
        most => Ok(most),
    }
}

fn window(args: &Args) -> Result<NonZeroUsize, PlanError> {
    let window = NonZeroUsize::new(args.dedup.dedup_window_size).filter(|size| size.get() <= WINDOW_MAX);
    window.ok_or_else(|| {
        let what = format!("give a number from 1 to {WINDOW_MAX}, or --dedup-method none");
        PlanError::usage("--dedup-window-size", what)
    })
}

fn dedup_memory(args: &Args) -> Result<u64, PlanError> {
    let flag = "--dedup-memory";
    match parse::bytes(flag, &args.dedup.dedup_memory)? {
        bytes @ MEMORY_MIN.. => Ok(bytes),
        _ => Err(PlanError::usage(flag, "give 1M or more, or --dedup-method window or none")),
    }
}

/// An error in the fields. Those of `--for` are not the user's choice.
fn of_reader(args: &Args, info: &ModuleInfo, error: FieldSetError) -> PlanError {
    let Some(reader) = args.output.reader.and_then(|reader| reader.to_possible_value()) else {
        return error.into();
    };
    let (reader, module) = (reader.get_name().to_owned(), info.name);
    let what = format!("{reader} goes on with TCP connections, and {module} makes none; use -M tcp_synscan");
    PlanError::usage("--for", what)
}

/// The first `--output-module` belongs to the first `--output-file`, and so on. A single module is for all files. A
/// module without a file writes to standard output.
fn sinks(
    args: &Args,
    info: &ModuleInfo,
    ports: u32,
    default_mode: bool,
) -> Result<Vec<SinkConfig>, PlanError> {
    // Every pair has its own port, even if all ports are the same.
    let several_ports = ports > 1 || args.basic.pairs_file.is_some();
    let fields = match &args.output.output_fields {
        Some(text) => FieldSet::parse(text, &info.fields).map_err(|error| of_reader(args, info, error))?,
        None => FieldSet::default_for(&info.fields, several_ports),
    };
    let rotation = Rotation {
        after: args.output.rotate_seconds.map(Duration::from_secs),
        bytes: args
            .output
            .rotate_bytes
            .as_deref()
            .map(|text| parse::bytes("--rotate-bytes", text))
            .transpose()?,
    };
    let modules = &args.output.output_module;
    let count = modules.len().max(args.basic.output_file.len()).max(1);
    if modules.len() > 1 && modules.len() < args.basic.output_file.len() {
        let what = format!(
            "{} for {} of --output-file; give one for each, or one for all",
            modules.len(),
            args.basic.output_file.len()
        );
        return Err(PlanError::usage("--output-module", what));
    }
    let sink = |place: usize| {
        let file = args.basic.output_file.get(place).map_or(Path::new(STANDARD_OUTPUT), PathBuf::as_path);
        let asked = modules.get(place).or(modules.first()).copied();
        let module = asked.or_else(|| OutputModule::of_file(file)).unwrap_or(OutputModule::Csv);
        Ok(SinkConfig {
            module: module.module(),
            file: file.to_owned(),
            redis: redis(module, file, args.output.output_args.as_deref())?,
            fields: fields.clone(),
            scan: String::new(),
            header_row: !default_mode && !args.output.no_header_row,
            append: args.output.append,
            resume_at: None,
            rotation,
            atomic: args.output.atomic_output,
            partitions: partitions(args, module),
            several_ports,
            has_ports: info.has_ports(),
            link: LinkHeader::Ethernet,
        })
    };
    let sinks = (0..count).map(sink).collect::<Result<Vec<_>, PlanError>>()?;
    check(args, &sinks)?;
    if args.output.partition.is_some() {
        check_partitions(args, info, &sinks)?;
    }
    Ok(sinks)
}

/// How the results in this format are parted.
#[cfg_attr(not(feature = "parquet"), expect(unused_variables, reason = "only Parquet is parted"))]
pub(super) fn partitions(args: &Args, module: OutputModule) -> Option<Partitions> {
    #[cfg(feature = "parquet")]
    if module == OutputModule::Parquet {
        let shards = args.sharding.shards.unwrap_or(1);
        let shard = number_of_shard(args);
        return args.output.partition.map(|column| Partitions { by: column.by(), shard, shards });
    }
    None
}

/// Refuses data sets that are none.
fn check_partitions(args: &Args, info: &ModuleInfo, sinks: &[SinkConfig]) -> Result<(), PlanError> {
    const FLAG: &str = "--partition";
    if !sinks.iter().any(|sink| sink.partitions.is_some()) {
        return Err(PlanError::usage(
            FLAG,
            "only Parquet is written as a data set; give -O parquet -o FOLDER",
        ));
    }
    if args.output.partition == Some(Partition::Port) && !info.has_ports() {
        let what =
            format!("probes of {} have no ports; give --partition shard, or leave this out", info.name);
        return Err(PlanError::usage(FLAG, what));
    }
    Ok(())
}

/// The server of an output, if it goes to one.
fn redis(module: OutputModule, file: &Path, args: Option<&str>) -> Result<Option<RedisTarget>, PlanError> {
    let format = match module {
        OutputModule::Redis | OutputModule::RedisPacked => RecordFormat::Packed,
        OutputModule::RedisCsv => RecordFormat::Csv,
        _ => return Ok(None),
    };
    let file = file.to_str().ok_or_else(|| {
        PlanError::usage("--output-file", format!("{} is not UTF-8; name a server", printable(file)))
    })?;
    let parse = |flag, args| {
        RedisTarget::parse(file, args, format).map(Some).map_err(|what| {
            PlanError::usage(flag, format!("{what}; --list-output-modules lists the arguments"))
        })
    };
    // Parse the server alone first, so that a mistake in it is not blamed on the arguments.
    parse("--output-file", "")?;
    parse("--output-args", args.unwrap_or_default())
}

/// Refuses outputs whose files cannot wait for their names.
fn check_atomic(sinks: &[SinkConfig]) -> Result<(), PlanError> {
    const FLAG: &str = "--atomic-output";
    #[cfg(feature = "parquet")]
    if sinks.iter().any(|sink| sink.module == Module::Parquet) {
        let what = "Parquet is written as a series of files, each of which has .part behind its name until it is complete; \
                    leave this out, or choose another format";
        return Err(PlanError::usage(FLAG, what));
    }
    if sinks.iter().all(SinkConfig::is_stream) {
        let what = "no output is a regular file, and nothing else has a name that can wait; name one with -o";
        return Err(PlanError::usage(FLAG, what));
    }
    Ok(())
}

/// Refuses combinations that make no sense.
fn check(args: &Args, sinks: &[SinkConfig]) -> Result<(), PlanError> {
    let printed =
        || sinks.iter().filter(|sink| sink.file == Path::new(STANDARD_OUTPUT) && sink.redis.is_none());
    if printed().count() > 1 {
        let what = "two outputs go to standard output; name a file for each but one";
        return Err(PlanError::usage("--output-file", what));
    }
    let rotates = if args.output.rotate_seconds.is_some() { "--rotate-seconds" } else { "--rotate-bytes" };
    if args.output.probes_file.as_deref() == Some(Path::new(STANDARD_OUTPUT)) {
        let what = "probes can only be written to a named file, not to standard output; name one";
        return Err(PlanError::usage("--probes-file", what));
    }
    if args.output.atomic_output {
        check_atomic(sinks)?;
    }
    for sink in printed() {
        if sink.rotation.is_on() {
            return Err(PlanError::usage(
                rotates,
                "standard output cannot be split into files; name a file with -o",
            ));
        }
    }
    if args.output.output_fields.is_some() && !sinks.iter().any(SinkConfig::has_fields) {
        let what = "pcap holds frames, and hostport, packed records and the forms of nmap and masscan hold targets, so none of \
                    them has fields; leave this out, or choose another format";
        return Err(PlanError::usage("--output-fields", what));
    }
    #[cfg(feature = "parquet")]
    if printed().any(|sink| sink.module == Module::Parquet) {
        let what = "Parquet can only be written to named files; name one with -o";
        return Err(PlanError::usage("--output-file", what));
    }
    Ok(())
}
