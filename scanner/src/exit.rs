//! The exit codes: what the end of the process says to scripts.
//!
//! The help and the reference page (`docs/reference/signals-and-exit-codes.md`) list them with the same numbers and
//! meanings.

use std::process::ExitCode;

use serde::Serialize;

/// How a process ends: a scan, a companion, the doctor or a guardian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize)]
#[serde(into = "u8")]
#[repr(u8)]
pub enum Exit {
    /// Everything was done, or a limit was reached that is no trouble.
    #[default]
    Done = 0,
    /// Something failed that was right when the process started.
    Failed = 1,
    /// The user has to correct what was given.
    Usage = 2,
    /// The process may not do what it has to.
    Privilege = 3,
    /// The interface cannot carry the scan, from the start or any longer.
    Interface = 4,
    /// A limit was reached that signals trouble.
    Limit = 5,
    /// 128 and the number of SIGINT, as in shells.
    Interrupted = 130,
    /// 128 and the number of SIGPIPE, as in shells.
    ReaderGone = 141,
}

impl Exit {
    /// All of them, by their numbers.
    pub const ALL: [Self; 8] = [
        Self::Done,
        Self::Failed,
        Self::Usage,
        Self::Privilege,
        Self::Interface,
        Self::Limit,
        Self::Interrupted,
        Self::ReaderGone,
    ];

    /// What the system gets.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The one with this number.
    pub fn of_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|exit| i32::from(exit.number()) == number)
    }

    /// What it means, in a few words.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed while running, or writing the results",
            Self::Usage => "a flag or an input file is wrong",
            Self::Privilege => "a privilege is missing",
            Self::Interface => "the interface or mode is unavailable, was lost, or stopped sending",
            Self::Limit => "ended by --min-hitrate, --max-sendto-failures or --max-link-down",
            Self::Interrupted => "interrupted; everything up to then is written",
            Self::ReaderGone => "the reader of the output went away before it had all results",
        }
    }
}

/// The section of a help text that lists these exit codes and what they mean there.
pub fn section(meanings: &[(Exit, &str)]) -> String {
    let digits = |exit: Exit| exit.number().to_string().len();
    let width = meanings.iter().map(|&(exit, _)| digits(exit)).max().unwrap_or_default();
    let lines = meanings.iter().map(|&(exit, meaning)| format!("  {:<width$}  {meaning}", exit.number()));
    ["Exit codes:".to_owned()].into_iter().chain(lines).collect::<Vec<_>>().join("\n")
}

impl From<Exit> for u8 {
    fn from(exit: Exit) -> Self {
        exit.number()
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.number())
    }
}
