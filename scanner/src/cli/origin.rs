//! Where an option was set.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where an option was set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// It was typed.
    CommandLine,
    /// This variable has it.
    Environment(String),
    /// This line of this file has it, as `FILE:LINE`.
    ConfigFile(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommandLine => f.write_str("the command line"),
            Self::Environment(variable) => write!(f, "the environment's {variable}"),
            Self::ConfigFile(line) => f.write_str(line),
        }
    }
}

/// An option that was set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetOption {
    /// Its long name, without dashes.
    pub flag: String,
    /// Where it was set.
    pub origin: Origin,
}
