//! `xdpmap merge`: makes one scan of its shards, if all are there, each once, and nothing is wrong with them; and says
//! how to scan what is missing. With `--vantages` it says how many hosts two scans have both missed.

mod again;
mod object;
mod sums;
mod vantages;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::metadata::outputs::{Stored, outputs};
use super::metadata::{OutputFile, gather, no_metadata};
use super::stored::{Item, StoredFile};
use super::verify::{Report, Scan, check, check_shards, missing, with_results};
use super::written::{Destination, refuse_to_overwrite};
use super::{Failure, tell};
use crate::exit::Exit;
use crate::input;
use crate::report::metadata_file::MetadataFile;
use crate::units::counted;
use object::Object;

const NAME: &str = "merge";

/// The formats whose files can be put together: rows of text.
const MERGED: [&str; 3] = ["csv", "json", "hostport"];

const EXAMPLES: &str = "\
Examples:
  xdpmap merge shards/ -o all.csv -m all.json       what is below this folder
  xdpmap merge m0.json m1.json m2.json -o all.csv   what these metadata describe
  xdpmap merge --vantages here.json there.json      how many hosts two scans of the same targets have both missed";

/// What the help ends with.
fn after_help() -> String {
    let codes = crate::exit::section(&[
        (Exit::Done, "the shards are merged; or, with --vantages, the estimates are printed"),
        (Exit::Failed, "something is wrong or missing; nothing is written"),
        (Exit::Usage, "an argument is wrong, or a file cannot be read or written"),
    ]);
    format!("{EXAMPLES}\n\n{codes}")
}

/// Make one scan of its shards: their results in one file, their metadata in another.
///
/// META is the file that a shard has written with -m, or a folder with such files. The results are looked for beside
/// it, and where it says that they are. The shards are checked as by xdpmap verify: all of them have to be there, each
/// once, and complete. For each one that is missing or incomplete, the command is printed that scans just that.
#[derive(Clone, Debug, clap::Parser)]
#[command(
    name = "xdpmap merge",
    version,
    override_usage = "xdpmap merge [OPTIONS] META...",
    after_help = after_help(),
    max_term_width = 110
)]
pub(super) struct MergeOptions {
    /// Metadata of the shards, or folders with them
    #[arg(value_name = "META", required = true)]
    paths: Vec<PathBuf>,

    /// Where the results go, instead of standard output
    #[arg(short = 'o', long, value_name = "FILE")]
    output_file: Option<PathBuf>,

    /// The two META are scans of the same targets from two places: print how many hosts each and both have missed, with
    /// their intervals, and merge nothing
    #[arg(long, conflicts_with = "output_file")]
    vantages: bool,

    /// Where the metadata of the whole go; with --vantages, where the estimates go as a JSON object
    #[arg(short = 'm', long, value_name = "FILE")]
    metadata_file: Option<PathBuf>,
}

pub(super) fn run(options: MergeOptions) -> Result<Exit, Failure> {
    let usage = |what: String| Failure::usage(NAME, what);
    let (metadata, others) = gather(&options.paths).map_err(usage)?;
    if let Some(other) = others.first() {
        return Err(usage(no_metadata(other)));
    }
    let mut scans = with_results(metadata, &[]).map_err(usage)?;
    if options.vantages {
        return compare(&options, &scans);
    }
    scans.sort_by_key(|scan| scan.metadata.shard_num);
    let output = common_output(&scans).map_err(usage)?;
    let mut report = Report::default();
    check_shards(&scans, true, &mut report);
    check(&scans, &mut report).map_err(usage)?;
    let files = files_of(&scans, output);
    if !report.is_well() || files.is_none() {
        let text = report.for_people() + &commands(&scans);
        let is_free = options.output_file.as_deref().is_some_and(|path| path != Path::new("-"));
        // Standard output is for results, unless they go elsewhere.
        if is_free {
            tell(NAME, text.as_bytes())?;
        } else {
            let _ = io::stderr().write_all(text.as_bytes());
        }
        return Ok(Exit::Failed);
    }
    let files = files.unwrap_or_default();
    keep_shards(&options, &scans).map_err(usage)?;
    let opened = files.iter().map(|(output, path)| StoredFile::open(path, output.fields.as_deref()));
    let opened = opened.collect::<Result<Vec<_>, _>>().map_err(usage)?;
    let metadata_file = options.metadata_file.as_deref().map(MetadataFile::open).transpose();
    let metadata_file = metadata_file.map_err(|error| usage(error.to_string()))?;
    let shape = refuse_unlike(&opened, &outputs(&scans[0].metadata)[output]).map_err(usage)?;
    let mut out = Destination::open(options.output_file.as_deref()).map_err(usage)?;
    let results = copy(&opened, &mut out).map_err(|error| out.failure(NAME, &error))?;
    out.finish().map_err(usage)?;
    if let Some(file) = metadata_file {
        let read = |scan: &Scan| {
            let bytes = input::read(&scan.metadata.path).map_err(|error| error.to_string())?;
            serde_json::from_slice::<Object>(&bytes).map_err(|error| error.to_string())
        };
        let shards = scans.iter().map(read).collect::<Result<Vec<_>, _>>().map_err(usage)?;
        let whole = sums::merged(&shards, &shape, options.output_file.as_deref());
        file.write(&whole).map_err(|error| usage(error.to_string()))?;
    }
    let (shards, files) = (counted(scans.len() as u64, "shard"), counted(opened.len() as u64, "file"));
    let _ = writeln!(io::stderr(), "{} of {shards} written, from {files}", counted(results, "result"));
    Ok(Exit::Done)
}

/// Says what two scans of the same targets have missed.
fn compare(options: &MergeOptions, scans: &[Scan]) -> Result<Exit, Failure> {
    let usage = |what: String| Failure::usage(NAME, what);
    keep_shards(options, scans).map_err(usage)?;
    let mut report = Report::default();
    let Some(vantages) = vantages::compared(scans, &mut report).map_err(usage)? else {
        tell(NAME, report.for_people().as_bytes())?;
        return Ok(Exit::Failed);
    };
    if let Some(path) = options.metadata_file.as_deref() {
        let written = MetadataFile::open(path).and_then(|file| file.write(&vantages));
        written.map_err(|error| usage(error.to_string()))?;
    }
    tell(NAME, vantages.for_people().as_bytes())?;
    Ok(Exit::Done)
}

/// Which of their outputs is merged: the first that all have, in the same format that can be.
///
/// # Errors
/// There is none; then the formats are named.
fn common_output(scans: &[Scan]) -> Result<usize, String> {
    let module =
        |scan: &Scan, place: usize| outputs(&scan.metadata).get(place).map(|output| output.module.clone());
    let Some(first) = scans.first() else { return Err("give the metadata of the shards".to_owned()) };
    let is_common = |place: &usize| {
        let of_first = module(first, *place);
        of_first.as_deref().is_some_and(|module| MERGED.contains(&module))
            && scans.iter().all(|scan| module(scan, *place) == of_first)
    };
    (0..outputs(&first.metadata).len()).find(is_common).ok_or_else(|| {
        let all = scans.iter().flat_map(|scan| outputs(&scan.metadata).into_owned());
        let modules: BTreeSet<String> = all.map(|output| output.module).collect();
        format!(
            "the shards have no output in common that can be merged: they wrote {}, and csv, json and hostport can be put \
             together; read the others as several files",
            modules.into_iter().collect::<Vec<_>>().join(", ")
        )
    })
}

/// The files of this output of all scans, in their order; `None` if those of a scan are not there.
fn files_of(scans: &[Scan], output: usize) -> Option<Vec<(OutputFile, PathBuf)>> {
    let mut files = Vec::new();
    for scan in scans {
        let of_output = |stored: &&Stored| stored.output == output;
        let described = outputs(&scan.metadata)[output].clone();
        match scan.stored.iter().find(of_output) {
            Some(stored) => files.extend(stored.files.iter().map(|file| (described.clone(), file.clone()))),
            // Nothing was written, so nothing has to be there.
            None if scan.metadata.results() == 0 && !described.header_row => {}
            None => return None,
        }
    }
    Some(files)
}

/// Refuses to write over what a shard has written: the shard could not be merged again.
fn keep_shards(options: &MergeOptions, scans: &[Scan]) -> Result<(), String> {
    let written = [
        ("--output-file", options.output_file.as_deref()),
        ("--metadata-file", options.metadata_file.as_deref()),
    ];
    refuse_to_overwrite(&written, scans.iter().flat_map(Scan::paths))
}

/// Refuses files whose rows differ in their columns. Returns what all of them are like.
fn refuse_unlike(files: &[StoredFile], first: &OutputFile) -> Result<OutputFile, String> {
    let mut shape: Option<&StoredFile> = None;
    let mut columns = Vec::new();
    for file in files {
        // A file without a row has no columns of its own.
        let own = match file.format.name() {
            "json" => Vec::new(),
            _ => file.columns().map_err(|error| error.to_string())?,
        };
        match shape {
            _ if own.is_empty() && file.format.name() != "json" => {}
            None => (shape, columns) = (Some(file), own),
            Some(known)
                if known.format == file.format && known.has_header == file.has_header && columns == own => {}
            Some(known) => {
                let (one, other) = (&known.name, &file.name);
                return Err(format!(
                    "{one} and {other} have other columns: the shards were scanned with other options"
                ));
            }
        }
    }
    Ok(OutputFile { header_row: shape.is_some_and(|file| file.has_header), ..first.clone() })
}

/// Copies the rows of all files, with one header row if there is any. Returns how many there are.
fn copy(files: &[StoredFile], out: &mut dyn Write) -> io::Result<u64> {
    let (mut results, mut has_header) = (0, false);
    for file in files {
        file.read(&[], &mut |item| match item {
            Item::Header(row) if !has_header => {
                has_header = true;
                out.write_all(row)
            }
            Item::Row(row) => {
                results += 1;
                out.write_all(row.raw)?;
                if row.raw.ends_with(b"\n") { Ok(()) } else { out.write_all(b"\n") }
            }
            // They were found by the check before.
            Item::Header(_) | Item::Bad { .. } => Ok(()),
        })?;
    }
    Ok(results)
}

/// The commands that scan what is missing, one per line.
fn commands(scans: &[Scan]) -> String {
    let incomplete = scans.iter().filter(|scan| !scan.metadata.is_whole() || scan.metadata.exit_code != 0);
    let incomplete = incomplete.map(|scan| scan.metadata.shard_num);
    let plan = |scan: &Scan| (scan.metadata.targets_hash.clone(), scan.metadata.total_shards);
    let is_one_plan = scans.iter().all(|scan| plan(scan) == plan(&scans[0]));
    let numbers: BTreeSet<u32> = match is_one_plan {
        true => incomplete.chain(missing(scans)).collect(),
        false => BTreeSet::new(),
    };
    let mut text = String::new();
    for number in numbers {
        let command = again::command(scans, number);
        let command =
            command.unwrap_or_else(|| format!("# shard {number}: as the others, with --shard {number}"));
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{command}");
    }
    text
}
