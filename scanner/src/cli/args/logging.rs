//! What is said about the scan, and where.

use std::path::PathBuf;

use clap::ValueEnum;
use serde_json::value::RawValue;

use super::number;

/// Help section "Logging and metadata".
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Logging and metadata")]
pub struct LoggingArgs {
    /// How much to log: 0 fatal only, 1 errors, 2 warnings, 3 information, 4 debugging, 5 everything
    #[arg(short = 'v', long, value_name = "LEVEL", default_value_t = 3, value_parser = number::<u8, 0, 5>)]
    pub verbosity: u8,

    /// Log to this file, at its end, instead of to standard error
    #[arg(short = 'l', long, value_name = "FILE", conflicts_with = "log_directory")]
    pub log_file: Option<PathBuf>,

    /// Log to a new file in this folder, named after the time
    #[arg(short = 'L', long, value_name = "FOLDER")]
    pub log_directory: Option<PathBuf>,

    /// Do not log to the system's log
    #[arg(long)]
    pub disable_syslog: bool,

    /// No status line
    #[arg(short = 'q', long)]
    pub quiet: bool,

    /// Write what the scan was and how it went, as JSON; - is standard output
    #[arg(short = 'm', long, value_name = "FILE")]
    pub metadata_file: Option<PathBuf>,

    /// Write how the scan stands, once a second
    #[arg(short = 'u', long, value_name = "FILE")]
    pub status_updates_file: Option<PathBuf>,

    /// Form of the status updates [default: json if the file's name ends in .json or .jsonl, else csv]
    #[arg(long, value_name = "FORM")]
    pub status_format: Option<StatusFormat>,

    /// A progress bar instead of the status line, if standard error is a terminal
    #[arg(long)]
    pub progress: bool,

    /// Text for the metadata
    #[arg(long, value_name = "TEXT")]
    pub notes: Option<String>,

    /// JSON for the metadata
    #[arg(long, value_name = "JSON", value_parser = json)]
    pub user_metadata: Option<Box<RawValue>>,
}

/// Forms of the status updates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StatusFormat {
    /// ZMap's columns
    Csv,
    /// One JSON object a line
    Json,
}

/// JSON as it was given, less the blanks between its parts: numbers keep all of their digits, and metadata is one line.
fn json(text: &str) -> Result<Box<RawValue>, String> {
    let given: &RawValue = serde_json::from_str(text)
        .map_err(|error| format!("no JSON ({error}); give such as '{{\"purpose\": \"test\"}}'"))?;
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
    use super::*;

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
            assert!(json(bad).unwrap_err().starts_with("no JSON ("), "{bad}");
        }
    }
}
