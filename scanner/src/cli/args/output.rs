//! What is written of the replies, and how.

use clap::ValueEnum;

/// Help section "Output".
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Fields to write, comma separated, * for all; failures and repeats are then written too [default: saddr, or
    /// saddr,sport for several ports]
    #[arg(short = 'f', long, value_name = "FIELDS")]
    pub output_fields: Option<String>,

    /// Format of the results; failures and repeats are then written too [default: csv]
    #[arg(short = 'O', long, value_name = "NAME")]
    pub output_module: Option<OutputModule>,

    /// Arguments of the output module; csv and json have none
    #[arg(long, value_name = "ARGS")]
    pub output_args: Option<String>,

    /// Write only what passes this filter, such as 'success = 1 && repeat = 0'
    #[arg(long, value_name = "FILTER")]
    pub output_filter: Option<String>,

    /// Write only successes, each once: what is written anyway unless -f or -O is given
    #[arg(long)]
    pub successes_only: bool,

    /// Write no header row
    #[arg(long)]
    pub no_header_row: bool,

    /// List the fields of the probe module's results and exit
    #[arg(long)]
    pub list_output_fields: bool,

    /// List the output modules and exit
    #[arg(long)]
    pub list_output_modules: bool,
}

/// Formats of the results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OutputModule {
    /// Comma separated values, RFC 4180
    Csv,
    /// One JSON object a line
    Json,
}
