//! What becomes of the replies: which of them are written, where to, and in which form.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{PlanError, parse};
use crate::cli::{Args, DedupMethod, OutputModule};
use crate::packet::Link;
use crate::printable::printable;
use crate::results::dedup::Dedup;
use crate::results::fields::{FieldSet, Table};
use crate::results::filter::{self, Filter};
#[cfg(feature = "parquet")]
use crate::results::sink::Module;
use crate::results::sink::{RecordFormat, RedisTarget, Rotation, SinkConfig};

/// The file name that stands for standard output.
const STANDARD_OUTPUT: &str = "-";
/// Most answers that deduplication by a window remembers: some 10 GB of them.
const WINDOW_MAX: usize = 100_000_000;

/// What becomes of the replies.
#[derive(Clone, Debug)]
pub struct OutputPlan {
    /// Where results go: one at least. All get the same.
    pub sinks: Vec<SinkConfig>,
    /// Which replies.
    pub filter: Filter,
    /// What `--output-filter` says.
    pub filter_text: Option<String>,
    /// Whether this is ZMap's default mode: neither fields nor format nor filter were asked for.
    pub default_mode: bool,
    /// How repeats are recognised.
    pub dedup: DedupPlan,
    /// Most bytes of an exact table of repeats.
    pub dedup_memory: u64,
    /// Successes that are remembered beside it once it is full.
    pub dedup_window: NonZeroUsize,
    /// How long at the end an output is waited for that takes nothing.
    pub wait: Duration,
    /// Where copies of the probes go.
    pub probes_file: Option<PathBuf>,
    /// Where the metadata goes.
    pub metadata_file: Option<PathBuf>,
    /// Whether there is a status line.
    pub status_line: bool,
    /// How much is logged, 0 to 5.
    pub verbosity: u8,
}

/// Least memory for repeats: less would hold a few thousand targets, and be a slip.
const MEMORY_MIN: u64 = 1_000_000;

/// How repeats are recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DedupPlan {
    /// Exactly, by address: one port is scanned.
    Full,
    /// Exactly, by address and port.
    Targets,
    /// Among the last so many.
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

    /// Whether all targets are known that have answered, as far as the memory goes.
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

    /// What recognises them: exactly in at most `memory` bytes, and then in a window.
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
    /// ZMap's rule: giving fields, a format or a filter turns the implicit filter off and the header row on.
    pub(super) fn new(args: &Args, fields: &Table, ports: u32) -> Result<Self, PlanError> {
        let default_mode = args.output.output_fields.is_none()
            && args.output.output_module.is_empty()
            && args.output.output_filter.is_none();
        let expression =
            args.output.output_filter.as_deref().map(|text| filter::parse(text, fields)).transpose()?;
        let window = window(args)?;
        Ok(Self {
            sinks: sinks(args, fields, ports, default_mode)?,
            filter: Filter {
                successes_only: default_mode || args.output.successes_only,
                expression: expression.flatten(),
            },
            filter_text: args.output.output_filter.clone(),
            default_mode,
            dedup: DedupPlan::new(args, ports, window),
            dedup_memory: dedup_memory(args)?,
            dedup_window: window,
            wait: Duration::from_secs(args.output.output_wait),
            probes_file: args.output.probes_file.clone(),
            metadata_file: args.logging.metadata_file.clone(),
            status_line: !args.logging.quiet,
            verbosity: args.logging.verbosity,
        })
    }

    /// What is written, in words; `None` where that is what a user of ZMap expects who asked for nothing.
    pub fn included(&self) -> Option<String> {
        let expression = self.filter.expression.as_ref().and(self.filter_text.as_deref());
        let what = match (self.filter.successes_only, expression) {
            _ if self.default_mode => return None,
            (false, None) => {
                "all replies, failures and repeats too (--successes-only leaves them out)".to_owned()
            }
            (true, None) => "successes, each once".to_owned(),
            (false, Some(text)) => format!(
                "replies that pass the filter ({text}), failures and repeats too if they do (--successes-only leaves \
                 them out)"
            ),
            (true, Some(text)) => format!("successes, each once, that pass the filter ({text})"),
        };
        Some(what)
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

/// The first `--output-module` belongs to the first `--output-file`, and so on. One module alone is for all files; a
/// module without a file writes to standard output.
fn sinks(args: &Args, table: &Table, ports: u32, default_mode: bool) -> Result<Vec<SinkConfig>, PlanError> {
    // Pairs have a port each, even if it is the same one for all.
    let several_ports = ports > 1 || args.basic.pairs_file.is_some();
    let fields = match &args.output.output_fields {
        Some(text) => FieldSet::parse(text, table)?,
        None => FieldSet::default_for(table, several_ports),
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
        let module = modules.get(place).or(modules.first()).copied().unwrap_or(OutputModule::Csv);
        let file = args.basic.output_file.get(place).map_or(Path::new(STANDARD_OUTPUT), PathBuf::as_path);
        Ok(SinkConfig {
            module: module.module(),
            file: file.to_owned(),
            redis: redis(module, file, args.output.output_args.as_deref())?,
            fields: fields.clone(),
            header_row: !default_mode && !args.output.no_header_row,
            append: args.output.append,
            rotation,
            several_ports,
            link: Link::Ethernet,
        })
    };
    let sinks = (0..count).map(sink).collect::<Result<Vec<_>, PlanError>>()?;
    check(args, &sinks)?;
    Ok(sinks)
}

/// The server of an output, if it goes to one.
fn redis(module: OutputModule, file: &Path, args: Option<&str>) -> Result<Option<RedisTarget>, PlanError> {
    let format = match module {
        OutputModule::Redis | OutputModule::RedisPacked => RecordFormat::Packed,
        OutputModule::RedisCsv => RecordFormat::Csv,
        _ => return Ok(None),
    };
    let file = file.to_str().ok_or_else(|| {
        PlanError::usage("--output-file", format!("{} is no UTF-8; name a server", printable(file)))
    })?;
    let parse = |flag, args| {
        RedisTarget::parse(file, args, format).map(Some).map_err(|what| PlanError::usage(flag, what))
    };
    // The server alone first: a mistake in it is not one of the arguments'.
    parse("--output-file", "")?;
    parse("--output-args", args.unwrap_or_default())
}

/// Refuses what cannot be meant.
fn check(args: &Args, sinks: &[SinkConfig]) -> Result<(), PlanError> {
    let printed =
        || sinks.iter().filter(|sink| sink.file == Path::new(STANDARD_OUTPUT) && sink.redis.is_none());
    if printed().count() > 1 {
        let what = "two outputs go to standard output; name a file for each but one";
        return Err(PlanError::usage("--output-file", what));
    }
    let rotates = if args.output.rotate_seconds.is_some() { "--rotate-seconds" } else { "--rotate-bytes" };
    if args.output.probes_file.as_deref() == Some(Path::new(STANDARD_OUTPUT)) {
        let what = "probes are written to a file that has a name, and not to standard output; give one";
        return Err(PlanError::usage("--probes-file", what));
    }
    for sink in printed() {
        if sink.rotation.is_on() {
            return Err(PlanError::usage(rotates, "standard output is one stream; name a file with -o"));
        }
    }
    if args.output.output_fields.is_some() && !sinks.iter().any(SinkConfig::has_fields) {
        let what = "pcap holds frames and packed records addresses, no fields; leave this out, or choose another format";
        return Err(PlanError::usage("--output-fields", what));
    }
    #[cfg(feature = "parquet")]
    if printed().any(|sink| sink.module == Module::Parquet) {
        let what = "Parquet is written to files that have a name; give one with -o";
        return Err(PlanError::usage("--output-file", what));
    }
    Ok(())
}
