//! Help section "Logging and metadata": what is reported about the scan, and where.

use std::path::PathBuf;

use clap::{ArgAction, ValueEnum};
use serde_json::value::RawValue;

use super::{TYPED_ONLY, number};

/// Help section "Logging and metadata".
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Logging and metadata")]
pub struct LoggingArgs {
    /// How much to log: 0 fatal only, 1 errors, 2 warnings, 3 information, 4 debugging, 5 everything
    #[arg(short = 'v', long, value_name = "LEVEL", default_value_t = 3, value_parser = number::<u8, 0, 5>)]
    pub verbosity: u8,

    /// Append the log to this file, instead of writing it to standard error
    #[arg(short = 'l', long, value_name = "FILE", conflicts_with = "log_directory")]
    pub log_file: Option<PathBuf>,

    /// Log to a new file in this folder, named after the time
    #[arg(short = 'L', long, value_name = "FOLDER")]
    pub log_directory: Option<PathBuf>,

    /// Do not log to the system's log
    #[arg(long)]
    pub disable_syslog: bool,

    /// Print no status line; with -qq, or quiet 2 in a config file, nor log more than warnings and errors
    #[arg(short = 'q', long, action = ArgAction::Count)]
    pub quiet: u8,

    /// Write what was scanned, how, and with which result, as JSON; - is standard output
    #[arg(short = 'm', long, value_name = "FILE")]
    pub metadata_file: Option<PathBuf>,

    /// Write the progress of the scan, once per second
    #[arg(short = 'u', long, value_name = "FILE")]
    pub status_updates_file: Option<PathBuf>,

    /// Form of the status updates [default: json if the file's name ends in .json or .jsonl, else csv]
    #[arg(long, value_name = "FORM")]
    pub status_format: Option<StatusFormat>,

    /// Write Prometheus metrics about once per second, for node_exporter's textfile collector, which reads *.prom
    #[arg(long, value_name = "FILE")]
    pub metrics_file: Option<PathBuf>,

    /// Serve Prometheus metrics at http://ADDR:PORT/metrics; a port alone is one of this host only
    #[arg(long, value_name = "ADDR:PORT")]
    pub metrics_listen: Option<String>,

    /// Socket through which the scan can be controlled while it runs (xdpmap ctl), or none for no socket [default:
    /// PID.sock in /run/xdpmap, for other users than root in $XDG_RUNTIME_DIR/xdpmap]
    #[arg(long, value_name = "PATH")]
    pub control: Option<PathBuf>,

    /// Show a progress bar before the status line, if standard error is a terminal
    #[arg(long)]
    pub progress: bool,

    /// Show the scan on the whole terminal: rates, hit rate, losses, queues, ports, log; with keys for pause, rate and
    /// end. For a scan that runs already: xdpmap ctl watch --live
    #[arg(long, group = TYPED_ONLY, conflicts_with = "progress")]
    pub live: bool,

    /// At the end, print what became of every target, probe, frame and reply, in a table that adds up; status updates
    /// in JSON have it as well
    #[arg(long)]
    pub ledger: bool,

    /// Text for the metadata
    #[arg(long, value_name = "TEXT")]
    pub notes: Option<String>,

    /// JSON for the metadata
    #[arg(long, value_name = "JSON", value_parser = json)]
    pub user_metadata: Option<Box<RawValue>>,
}

impl LoggingArgs {
    /// How much is logged: 0 to 5. A flag that asks for less takes precedence.
    pub fn level(&self) -> u8 {
        /// The level of warnings.
        const WARNINGS: u8 = 2;
        if self.quiet > 1 { self.verbosity.min(WARNINGS) } else { self.verbosity }
    }
}

/// Forms of the status updates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StatusFormat {
    /// ZMap's columns
    Csv,
    /// One JSON object per line
    Json,
}

/// JSON as it was given, without the blanks between its parts: numbers keep all of their digits, and metadata is one
/// line.
fn json(text: &str) -> Result<Box<RawValue>, String> {
    let given: &RawValue = serde_json::from_str(text)
        .map_err(|error| format!("not JSON ({error}); give for example '{{\"purpose\": \"test\"}}'"))?;
    let (mut compact, mut in_string, mut escaped) = (String::new(), false, false);
    for c in given.get().chars() {
        if in_string || !c.is_ascii_whitespace() {
            compact.push(c);
        }
        in_string ^= c == '"' && !escaped;
        escaped = in_string && c == '\\' && !escaped;
    }
    RawValue::from_string(compact).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn levels() {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            logging: LoggingArgs,
        }
        let level = |line: &str| Line::try_parse_from(line.split(' ')).unwrap().logging.level();
        for (line, expected) in [
            ("x", 3),
            ("x -q", 3),
            ("x -qq", 2),
            ("x -q -q", 2),
            ("x -qqq", 2),
            ("x -qq -v 5", 2),
            ("x -qq -v 0", 0),
        ] {
            assert_eq!(level(line), expected, "{line}");
        }
    }

    #[test]
    fn user_metadata_is_kept_as_given() {
        for (text, kept) in [
            ("{\"big\": 123456789012345678901234567890}", "{\"big\":123456789012345678901234567890}"),
            ("[ 0.10000000000000000000001, 1e400,\n-0.0 ]", "[0.10000000000000000000001,1e400,-0.0]"),
            (
                " {\"a b\\\" c\\\\\": \" \\\" { \", \"a\":1 ,\"a\":2}",
                "{\"a b\\\" c\\\\\":\" \\\" { \",\"a\":1,\"a\":2}",
            ),
            ("null", "null"),
        ] {
            assert_eq!(json(text).unwrap().get(), kept);
        }
        for bad in ["", "{", "{\"a\": 01}", "{} {}", "{'a': 1}", "NaN"] {
            assert!(json(bad).unwrap_err().starts_with("not JSON ("), "{bad}");
        }
    }
}
