//! `xdpmap diff OLD NEW`: which targets are new, gone or changed between two scans.

mod columns;
mod print;
mod table;

use std::io::IsTerminal as _;
use std::path::PathBuf;

use super::Failure;
use super::stored::StoredFile;
use super::written::{Destination, refuse_to_overwrite};
use crate::exit::Exit;
use crate::units;
use columns::Columns;
use print::{Form, Printer};
use table::Comparison;

const NAME: &str = "diff";

/// Least memory. Less would hold only a few hundred results, which is surely a typing error.
const MEMORY_MIN: u64 = 1_000_000;

const EXAMPLES: &str = "\
Examples:
  xdpmap diff yesterday.csv today.csv              what has changed since yesterday
  xdpmap diff -f classification old.json new.csv   by what kind of answer it is, and nothing else
  xdpmap diff a.csv b.csv > changes.csv || mail -s 'networks have changed' me < changes.csv";

/// What the help ends with.
fn after_help() -> String {
    let codes = crate::exit::section(&[
        (Exit::Done, "there is no difference"),
        (Exit::Failed, "there are differences, as with diff(1)"),
        (Exit::Usage, "an argument is wrong, or a file cannot be read, is cut, or is not understood"),
    ]);
    format!("{EXAMPLES}\n\n{codes}")
}

/// Print which targets are new, gone or changed between two files of results.
///
/// OLD and NEW are CSV, JSON lines, address:port or Parquet, text also if it is compressed by gzip, xz or zstd, and
/// may be of different formats. Results are of the same target if address and port are the same, by the columns that
/// both files have. Of several results of a target, the first success counts. Without --fields, all columns that both
/// files have are compared, except those that differ in any two scans, such as seqnum, ttl and timestamp_str.
#[derive(Clone, Debug, clap::Parser)]
#[command(
    name = "xdpmap diff",
    version,
    override_usage = "xdpmap diff [OPTIONS] OLD NEW",
    after_help = after_help(),
    max_term_width = 110
)]
pub(super) struct DiffOptions {
    /// The results of the older scan
    #[arg(value_name = "OLD")]
    old: PathBuf,

    /// The results of the newer scan
    #[arg(value_name = "NEW")]
    new: PathBuf,

    /// Fields whose values are compared, comma separated; '' compares none, so that only new and gone targets count
    #[arg(short = 'f', long, value_name = "FIELDS")]
    fields: Option<String>,

    /// How differences are written [default: text on a terminal, or else csv]
    #[arg(short = 'O', long, value_name = "NAME")]
    output_module: Option<Form>,

    /// Where they go, instead of standard output
    #[arg(short = 'o', long, value_name = "FILE")]
    output_file: Option<PathBuf>,

    /// Most memory for results, in bytes, with suffix K, M or G; files that need more are read several times
    #[arg(long, value_name = "BYTES", default_value = "1G")]
    memory: String,
}

pub(super) fn run(options: DiffOptions) -> Result<Exit, Failure> {
    let usage = |what: String| Failure::usage(NAME, what);
    let memory = units::count(&options.memory).filter(|bytes| *bytes >= MEMORY_MIN);
    let memory = memory
        .ok_or_else(|| usage(format!("--memory: '{}': give 1M or more, such as 500M", options.memory)))?;
    let written = [("--output-file", options.output_file.as_deref())];
    refuse_to_overwrite(&written, [options.old.as_path(), &options.new]).map_err(usage)?;
    let open = |path: &PathBuf| StoredFile::open(path, None).map_err(usage);
    let (old, new) = (open(&options.old)?, open(&options.new)?);
    let columns_of = |file: &StoredFile| file.columns().map_err(|error| usage(error.to_string()));
    let (of_old, of_new) = (columns_of(&old)?, columns_of(&new)?);
    let chosen = options.fields.as_deref().map(|fields| {
        let names = fields.split([',', ' ']).filter(|name| !name.is_empty());
        names.map(str::to_owned).collect::<Vec<_>>()
    });
    // A file without any result may not name its columns: then it has those of the other.
    let (of_old, of_new) = match (of_old.is_empty(), of_new.is_empty()) {
        (true, true) => (vec!["saddr".to_owned()], vec!["saddr".to_owned()]),
        (true, false) => (of_new.clone(), of_new),
        (false, true) => (of_old.clone(), of_old),
        (false, false) => (of_old, of_new),
    };
    let columns = Columns::of(&of_old, &of_new, chosen.as_deref()).map_err(usage)?;
    let is_for_terminal = options.output_file.is_none() && std::io::stdout().is_terminal();
    let form = options.output_module.unwrap_or(if is_for_terminal { Form::Text } else { Form::Csv });
    let printer = Printer { form, columns: &columns, is_for_terminal };
    let mut out = Destination::open(options.output_file.as_deref()).map_err(usage)?;
    let comparison = Comparison { old: &old, new: &new, columns: &columns, memory };
    let done = printer.begin(&mut out).and_then(|()| {
        let tally = comparison.run(&mut |change| printer.change(&mut out, change))?;
        printer.end(&mut out, tally)?;
        Ok(tally)
    });
    match done {
        // A reader that has read enough has seen a difference.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(Exit::Failed),
        Err(error) => Err(usage(error.to_string())),
        Ok(tally) => {
            out.finish().map_err(usage)?;
            Ok(if tally.is_same() { Exit::Done } else { Exit::Failed })
        }
    }
}
