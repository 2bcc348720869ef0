//! What a scan was asked for, as its checkpoint keeps it.
//!
//! What always holds: secrets are in it by reference only, except for the cookie key.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use targets::RangeSet;

use crate::cli::SetOption;

/// What was asked for, and what was random.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The options in force, as a config file.
    pub options: String,
    /// Where those of them were set that do not have their defaults, in the order of their lines.
    pub origins: Vec<SetOption>,
    /// The targets of the command line.
    pub targets: Vec<String>,
    /// The folder that relative paths start from.
    pub folder: PathBuf,
    /// The lists that were read.
    pub inputs: Vec<InputFile>,
    /// Networks of the block list as read at the start, in a file of their own. Indices of targets are counted without
    /// them.
    #[serde(skip)]
    pub blocked: RangeSet,
    /// SHA-256 of that file in hexadecimal digits; none if nothing is blocked.
    pub blocked_sha256: Option<String>,
    /// Hash of the targets and their order.
    pub targets_hash: String,
    /// Hash of these, and of what else a scan that goes on keeps.
    pub plan_hash: String,
    /// What else it keeps: the decisions that `plan_hash` is over, so that one that would differ can be named.
    pub plan: Vec<Decision>,
    /// The seed of the order.
    pub seed: u64,
    /// The cookie key in hexadecimal digits; none once the scan is finished.
    pub key: Option<String>,
    /// Seconds since the Unix epoch, as sent in timestamps.
    pub timestamp: u32,
}

impl Request {
    /// Whether a flag without a value is among the options.
    pub fn is_set(&self, flag: &str) -> bool {
        self.options.lines().any(|line| line == flag)
    }
}

/// A decision of a plan that says what is asked of whom, and what is kept of the answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// The flag that it follows from, without dashes.
    pub flag: String,
    /// What was decided.
    pub value: String,
}

/// A list that was read, as it was then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputFile {
    /// The flag that names it, without dashes; also of the block list that is read if none is named.
    pub flag: String,
    /// Its path.
    pub file: PathBuf,
    /// SHA-256 of its content in hexadecimal digits; none if it is no regular file.
    pub sha256: Option<String>,
    /// Its length; none if it is no regular file.
    pub bytes: Option<u64>,
}
