//! What is said about the scan, and where.

use super::number;

/// Help section "Logging and metadata".
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Logging and metadata")]
pub struct LoggingArgs {
    /// How much to log: 0 fatal only, 1 errors, 2 warnings, 3 information, 4 debugging, 5 everything
    #[arg(short = 'v', long, value_name = "LEVEL", default_value_t = 3, value_parser = number::<u8, 0, 5>)]
    pub verbosity: u8,

    /// No status line
    #[arg(short = 'q', long)]
    pub quiet: bool,

    /// Write what the scan was and how it went, as JSON; - is standard output
    #[arg(short = 'm', long, value_name = "FILE")]
    pub metadata_file: Option<String>,
}
