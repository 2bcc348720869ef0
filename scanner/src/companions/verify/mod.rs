//! `xdpmap verify`: whether stored results are what the metadata of their scan say, and whether shards make up a whole.
//! With a list, takes the results of networks that have opted out since out of stored ones.
//!
//! Reads files, and nothing else: no host name is looked up, and no socket is opened.

mod check;
mod exclude;
mod faults;
mod shards;

use std::io::Write;
use std::path::{Path, PathBuf};

use super::metadata::outputs::{Stored, assign, find};
use super::metadata::{Metadata, gather};
use super::stored::StoredFile;
use super::written::{Destination, refuse_to_overwrite};
use super::{Failure, tell};
use crate::exit::Exit;
use crate::units::counted;

pub(super) use check::{Scan, check};
pub(super) use faults::Report;
pub(super) use shards::{check as check_shards, missing};

const NAME: &str = "verify";

const EXAMPLES: &str = "\
Examples:
  xdpmap verify meta.json                          the results where the metadata say they are
  xdpmap verify meta.json results.csv              the same for results that were renamed or moved
  xdpmap verify shard-*/meta.json                  shards: whether all are there, each once
  xdpmap verify --exclude optout.conf results.csv  results without networks that have opted out";

/// What the help ends with.
fn after_help() -> String {
    let codes = crate::exit::section(&[
        (
            Exit::Done,
            "all is well, as far as it could be checked; or, with --exclude, all rows were understood",
        ),
        (Exit::Failed, "something is wrong; there is one line for each kind of fault"),
        (Exit::Usage, "an argument is wrong, or a file cannot be read"),
    ]);
    format!("{EXAMPLES}\n\n{codes}")
}

/// Check stored results against the metadata of their scan. Reads files only.
///
/// META is the file that a scan has written with -m, or a folder with such files. A result has to be about a target of
/// the scan that has no other result, and to have come while the scan ran. There have to be as many as were written, no
/// file may be cut, the lists have to be what they were, and the scan must have done its work. Several META have to be
/// the shards of one scan, all of them, and each once. The report also lists what could not be checked.
#[derive(Clone, Debug, clap::Parser)]
#[command(
    name = "xdpmap verify",
    version,
    override_usage = "xdpmap verify [OPTIONS] META... [RESULT...]\n       xdpmap verify --exclude LIST [-o FILE] RESULT...",
    after_help = after_help(),
    max_term_width = 110
)]
pub(super) struct VerifyOptions {
    /// Metadata, or folders with metadata; then results, if they are not where the metadata say
    #[arg(value_name = "META|RESULT", required = true)]
    paths: Vec<PathBuf>,

    /// Print the report as one JSON object
    #[arg(long, conflicts_with = "exclude")]
    json: bool,

    /// Do not check, but write the results without those of the networks in this list, which has the form of a block
    /// list
    #[arg(long, value_name = "LIST")]
    exclude: Option<PathBuf>,

    /// Where these results go, instead of standard output; may be the file itself
    #[arg(short = 'o', long, value_name = "FILE", requires = "exclude")]
    output_file: Option<PathBuf>,
}

pub(super) fn run(options: VerifyOptions) -> Result<Exit, Failure> {
    let usage = |what: String| Failure::usage(NAME, what);
    let (metadata, files) = gather(&options.paths).map_err(usage)?;
    if let Some(list) = &options.exclude {
        return exclude(&options, list, &metadata, &files);
    }
    let scans = with_results(metadata, &files).map_err(usage)?;
    if scans.is_empty() {
        return Err(usage("give the metadata of the scan as well (-m FILE writes it)".to_owned()));
    }
    let mut report = Report::default();
    shards::check(&scans, scans.len() > 1, &mut report);
    check(&scans, &mut report).map_err(usage)?;
    let text = if options.json { report.for_programs() } else { report.for_people() };
    tell(NAME, text.as_bytes())?;
    Ok(if report.is_well() { Exit::Done } else { Exit::Failed })
}

/// Scans with their results: with `files` those, or else what is found where the metadata say.
///
/// # Errors
/// It is not clear what a file belongs to.
pub(super) fn with_results(metadata: Vec<Metadata>, files: &[PathBuf]) -> Result<Vec<Scan>, String> {
    if metadata.is_empty() {
        return Ok(Vec::new());
    }
    let stored: Vec<Vec<Stored>> = match files {
        [] => metadata.iter().map(find).collect(),
        files => assign(&metadata, files)?,
    };
    Ok(metadata.into_iter().zip(stored).map(|(metadata, stored)| Scan { metadata, stored }).collect())
}

/// Writes results without those of a list.
fn exclude(
    options: &VerifyOptions,
    list: &Path,
    metadata: &[Metadata],
    files: &[PathBuf],
) -> Result<Exit, Failure> {
    let usage = |what: String| Failure::usage(NAME, what);
    // Results may be replaced by what is left of them, but the list not.
    let written = [("--output-file", options.output_file.as_deref())];
    refuse_to_overwrite(&written, [list]).map_err(usage)?;
    let networks = exclude::networks(list).map_err(|what| usage(format!("--exclude: {what}")))?;
    // The metadata say which columns there are if no header row does.
    let fields = metadata.iter().flat_map(|metadata| metadata.outputs.iter().flatten());
    let fields = fields.filter_map(|output| output.fields.as_deref()).next();
    let found: Vec<PathBuf> = metadata.iter().flat_map(find).flat_map(|stored| stored.files).collect();
    let files = if files.is_empty() { &found } else { files };
    if files.is_empty() {
        return Err(usage("--exclude: name the file with the results".to_owned()));
    }
    let opened = files.iter().map(|file| StoredFile::open(file, fields));
    let opened = opened.collect::<Result<Vec<_>, _>>().map_err(usage)?;
    exclude::refuse_unfit(&opened).map_err(usage)?;
    let mut out = Destination::open(options.output_file.as_deref()).map_err(usage)?;
    let done =
        exclude::copy_without(&opened, &networks, &mut out).map_err(|error| out.failure(NAME, &error))?;
    out.finish().map_err(|error| Failure::usage(NAME, error))?;
    let kept = counted(done.kept, "result");
    let mut text = format!("{} taken out, {kept} written", counted(done.taken_out, "result"));
    if done.not_understood > 0 {
        text += &format!(
            "; {} left out, because no address in it is understood",
            counted(done.not_understood, "row")
        );
    }
    // The results may be on standard output.
    let _ = writeln!(std::io::stderr(), "{text}");
    Ok(if done.not_understood == 0 { Exit::Done } else { Exit::Failed })
}
