//! Options that the companions share.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;

use super::Failure;
use crate::cli::complaint;
use crate::report::log::{self, Verbosity};

/// Where a companion's log goes.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Logging")]
pub(super) struct LogOptions {
    /// File to log to, instead of standard error
    #[arg(short = 'l', long, value_name = "FILE")]
    pub(super) log_file: Option<PathBuf>,

    /// How much to log: 0 fatal only, 1 errors, 2 warnings, 3 information, 4 debugging, 5 everything
    #[arg(short = 'v', long, value_name = "LEVEL", default_value_t = 3, value_parser = clap::value_parser!(u8).range(0..=5))]
    pub(super) verbosity: u8,

    /// Ignored: companions do not log to syslog
    #[arg(long, hide = true)]
    pub(super) disable_syslog: bool,
}

/// Parses a companion's command line, its name first; `None` if it requests help, which has then been printed.
pub(super) fn parse<P: clap::Parser>(
    component: &'static str,
    line: &[OsString],
) -> Result<Option<P>, Failure> {
    match P::try_parse_from(line) {
        Ok(options) => Ok(Some(options)),
        Err(asked) if matches!(asked.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            // A reader that has closed the pipe is not an error.
            let _ = asked.print();
            Ok(None)
        }
        Err(error) => {
            let name = line.first().map(|name| name.to_string_lossy()).unwrap_or_default();
            let complaint = complaint(&error);
            let what = complaint.strip_suffix("xdpmap --help").unwrap_or(&complaint);
            Err(Failure::usage(component, format!("{what}{name} --help")))
        }
    }
}

/// Starts the log.
pub(super) fn start_log(component: &'static str, options: &LogOptions) -> Result<(), Failure> {
    let settings = log::LogSettings {
        verbosity: Verbosity::new(options.verbosity).unwrap_or_default(),
        file: options.log_file.as_deref(),
        directory: None,
        syslog: false,
    };
    log::init(&settings).map_err(|error| Failure::usage(component, error.to_string()))
}
