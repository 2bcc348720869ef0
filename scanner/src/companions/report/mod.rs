//! `xdpmap report META [RESULT...]`: what a scan did and found, as one page with pictures.
//!
//! Reads files, and nothing else. Data flows one way: the metadata (`subject`), the results (`findings`) and the status
//! updates (`progress`) are read, and each section of the page is a function of them. The page loads nothing, neither
//! when it is made nor when it is read.

mod canaries;
mod chart;
mod details;
mod figures;
mod findings;
mod flow;
mod map;
mod page;
mod pairs;
mod progress;
mod sections;
mod subject;
mod words;

use std::io::{self, Write as _};
use std::path::PathBuf;

use super::Failure;
use super::metadata::{gather, no_metadata, outputs};
use super::verify::with_results;
use super::written::{Destination, refuse_to_overwrite};
use crate::exit::Exit;
use findings::Findings;
use map::Area;
use page::{Parts, page};
use subject::Subject;

const NAME: &str = "report";

const EXAMPLES: &str = "\
Examples:
  xdpmap report meta.json -o report.html                 the results where the metadata say they are
  xdpmap report meta.json results.csv -o report.html     the same for results that were renamed or moved
  xdpmap report meta.json -u status.csv -o report.html   with rates and hit rate over time
  xdpmap merge shards/ -o all.csv -m all.json && xdpmap report all.json -o report.html";

/// What the help ends with.
fn after_help() -> String {
    let codes = crate::exit::section(&[
        (Exit::Done, "the page is written"),
        (Exit::Failed, "it is written, but results are missing or damaged, which it says"),
        (Exit::Usage, "an argument is wrong, or a file cannot be read or written"),
    ]);
    format!("{EXAMPLES}\n\n{codes}")
}

/// Make one page of a scan: what it did, what it found, what was lost, and a map.
///
/// META is the file that a scan has written with -m. The page has everything inside: it opens without a network, in any
/// browser, and can be sent by mail. What servers have said is shown as text and never run. Which sections it has
/// depends on what is known: rates over time need the file of -u, round-trip times and kinds of answers need their
/// fields (rtt_us, classification) in the results, and the map needs the results.
#[derive(Clone, Debug, clap::Parser)]
#[command(
    name = "xdpmap report",
    version,
    override_usage = "xdpmap report [OPTIONS] -o FILE META [RESULT...]",
    after_help = after_help(),
    max_term_width = 110
)]
pub(super) struct ReportOptions {
    /// Metadata; then results, if they are not where the metadata say
    #[arg(value_name = "META|RESULT", required = true)]
    paths: Vec<PathBuf>,

    /// Where the page goes; - is standard output
    #[arg(short = 'o', long, value_name = "FILE")]
    output_file: PathBuf,

    /// The file of status updates that the scan has written with -u
    #[arg(short = 'u', long, value_name = "FILE")]
    status_updates_file: Option<PathBuf>,

    /// The title of the page [default: the probe module and the ports]
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
}

pub(super) fn run(options: ReportOptions) -> Result<Exit, Failure> {
    let usage = |what: String| Failure::usage(NAME, what);
    let (metadata, files) = gather(&options.paths).map_err(usage)?;
    let count = metadata.len();
    let scans = with_results(metadata, &files).map_err(usage)?;
    let Ok([scan]) = <[_; 1]>::try_from(scans) else {
        return Err(usage(match (count, files.first()) {
            (0, Some(file)) => no_metadata(file),
            (0, None) => "give the metadata of the scan (-m FILE writes it)".to_owned(),
            _ => format!(
                "there are {count} scans; a report is about one, and xdpmap merge makes one of shards"
            ),
        }));
    };
    let updates = options.status_updates_file.as_deref();
    refuse_to_overwrite(&[("--output-file", Some(&options.output_file))], scan.paths().chain(updates))
        .map_err(usage)?;
    let intervals = options.status_updates_file.as_deref().map(progress::read).transpose().map_err(usage)?;
    let subject = Subject::read(scan.metadata).map_err(usage)?;
    let area =
        Area::of(&subject.metadata).map_err(|what| usage(format!("{}: {what}", subject.metadata.name())))?;
    let (findings, faults) = match Findings::read(&subject, &scan.stored, area.view) {
        Ok(Some(findings)) => {
            let faults = findings.faults.clone();
            (Some(findings), faults)
        }
        Ok(None) => (None, without_results(&subject)),
        // Results that were named have to be there.
        Err(what) if !files.is_empty() => return Err(usage(what)),
        Err(what) => (None, vec![what]),
    };
    let parts = Parts {
        title: options.title.as_deref(),
        area: Some(&area),
        findings: findings.as_ref(),
        intervals: intervals.as_deref().unwrap_or_default(),
        faults: &faults,
    };
    let text = page(&subject, &parts).into_string();
    let mut out = Destination::open(Some(&options.output_file)).map_err(usage)?;
    out.write_all(text.as_bytes()).map_err(|error| out.failure(NAME, &error))?;
    out.finish().map_err(usage)?;
    for fault in &faults {
        let _ = writeln!(io::stderr(), "{fault}");
    }
    Ok(if faults.is_empty() { Exit::Done } else { Exit::Failed })
}

/// Why there is no map, if there should be one: what went to a pipe or to a server is not missing.
fn without_results(subject: &Subject) -> Vec<String> {
    let name = subject.metadata.name();
    let has_files = outputs::outputs(&subject.metadata).iter().any(outputs::is_file);
    let is_missing = has_files && subject.metadata.dryrun == 0;
    let text = format!(
        "{name}: its results are not where it says, so there is no map; name them behind the metadata"
    );
    is_missing.then_some(text).into_iter().collect()
}
