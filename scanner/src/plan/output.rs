//! What becomes of the replies: which of them are written, where to, and in which form.

use std::num::NonZeroUsize;

use super::PlanError;
use crate::cli::{Args, DedupMethod, OutputModule};
use crate::results::collector::Filter;
use crate::results::dedup::Dedup;
use crate::results::fields::{FieldSet, Table};
use crate::results::format::Format;

/// Most answers that deduplication by a window remembers: some 10 GB of them.
const WINDOW_MAX: usize = 100_000_000;

/// What becomes of the replies.
#[derive(Clone, Debug)]
pub struct OutputPlan {
    /// Where results go; `-` is standard output.
    pub file: String,
    /// In which format.
    pub format: Format,
    /// Which fields.
    pub fields: FieldSet,
    /// Whether the names of the fields come first.
    pub header_row: bool,
    /// Which replies.
    pub filter: Filter,
    /// Whether this is ZMap's default mode: neither fields nor format were asked for.
    pub default_mode: bool,
    /// How repeats are recognised.
    pub dedup: DedupPlan,
    /// Where the metadata goes.
    pub metadata_file: Option<String>,
    /// Whether there is a status line.
    pub status_line: bool,
    /// How much is logged, 0 to 5.
    pub verbosity: u8,
}

/// How repeats are recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DedupPlan {
    /// Exactly, by address.
    Full,
    /// Among the last so many.
    Window(NonZeroUsize),
    /// Not at all.
    None,
}

impl DedupPlan {
    /// ZMap's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Window(_) => "window",
            Self::None => "none",
        }
    }

    /// The memory that it needs.
    pub fn start(self) -> Dedup {
        match self {
            Self::Full => Dedup::full(),
            Self::Window(size) => Dedup::window(size),
            Self::None => Dedup::None,
        }
    }
}

impl OutputPlan {
    /// ZMap's rule: giving fields or a format turns the implicit filter off and the header row on.
    pub(super) fn new(args: &Args, fields: &Table, ports: u32) -> Result<Self, PlanError> {
        let default_mode = args.output_fields.is_none() && args.output_module.is_none();
        let fields = match &args.output_fields {
            Some(text) => FieldSet::parse(text, fields)?,
            None => FieldSet::default_for(fields, ports > 1),
        };
        let window = NonZeroUsize::new(args.dedup_window_size).filter(|size| size.get() <= WINDOW_MAX);
        let window = window.ok_or_else(|| {
            let what = format!("give a number from 1 to {WINDOW_MAX}, or --dedup-method none");
            PlanError::usage("--dedup-window-size", what)
        })?;
        let dedup = match args.dedup_method {
            DedupMethod::None => DedupPlan::None,
            DedupMethod::Window => DedupPlan::Window(window),
            DedupMethod::Full if ports > 1 => {
                let what = "full knows addresses, not ports; use window or none for several ports";
                return Err(PlanError::usage("--dedup-method", what));
            }
            DedupMethod::Default if ports > 1 => DedupPlan::Window(window),
            DedupMethod::Default | DedupMethod::Full => DedupPlan::Full,
        };
        Ok(Self {
            file: args.output_file.clone(),
            format: match args.output_module {
                Some(OutputModule::Json) => Format::Json,
                Some(OutputModule::Csv) | None => Format::Csv,
            },
            fields,
            header_row: !default_mode && !args.no_header_row,
            filter: if default_mode || args.successes_only { Filter::Default } else { Filter::All },
            default_mode,
            dedup,
            metadata_file: args.metadata_file.clone(),
            status_line: !args.quiet,
            verbosity: args.verbosity,
        })
    }
}
