//! What is said about a scan, and where.

use std::path::{Path, PathBuf};

use serde_json::value::RawValue;

use super::PlanError;
use crate::cli::{Args, StatusFormat};
use crate::printable::printable;
use crate::results::sink::Module;

/// What is said about the scan, and where.
#[derive(Clone, Debug)]
pub struct ReportPlan {
    /// Where the status is written once a second, and in which form.
    pub status_file: Option<(PathBuf, StatusFormat)>,
    /// Whether a progress bar takes the place of the status line.
    pub progress: bool,
    /// Where the log goes instead of standard error (`--log-file`).
    pub log_file: Option<String>,
    /// The folder that a log file was made in (`--log-directory`).
    pub log_directory: Option<String>,
    /// Whether the system's log is written to.
    pub syslog: bool,
    /// The user's notes.
    pub notes: Option<String>,
    /// The user's own metadata.
    pub user_metadata: Option<Box<RawValue>>,
    /// Arguments that came from the environment and from config files.
    pub config_arguments: Vec<String>,
    /// Arguments of the output module.
    pub output_args: Option<String>,
}

impl ReportPlan {
    pub(super) fn new(args: &Args) -> Result<Self, PlanError> {
        let logging = &args.logging;
        let text = |path: &PathBuf| printable(path);
        let status_file = logging.status_updates_file.as_ref().map(|path| {
            if path == Path::new("-") {
                return Err(PlanError::usage("--status-updates-file", "name a file, such as status.csv"));
            }
            let json = path.extension().is_some_and(|extension| extension == "json" || extension == "jsonl");
            let by_name = if json { StatusFormat::Json } else { StatusFormat::Csv };
            Ok((path.clone(), logging.status_format.unwrap_or(by_name)))
        });
        Ok(Self {
            status_file: status_file.transpose()?,
            progress: logging.progress,
            log_file: logging.log_file.as_ref().map(text),
            log_directory: logging.log_directory.as_ref().map(text),
            syslog: !logging.disable_syslog,
            config_arguments: args.inherited.clone(),
            notes: logging.notes.clone(),
            user_metadata: logging.user_metadata.clone(),
            output_args: args.output.output_args.clone(),
        })
    }
}

/// What the user should know of flags that do less than they say.
pub(super) fn remarks(args: &Args) -> Vec<String> {
    let mut remarks = Vec::new();
    if args.scan.retries.is_some() {
        let what =
            "--retries has no effect: a probe that the kernel does not take stays in its ring until it does";
        remarks.push(what.to_owned());
    }
    let takes_args = args.output.output_module.iter().any(|module| module.module() == Module::Redis);
    if args.output.output_args.is_some() && !takes_args {
        remarks.push("--output-args has no effect: no output module but redis takes arguments".to_owned());
    }
    remarks
}
