//! Why a scan cannot be planned or started, and the exit code that says so.

use crate::engine::cores::CoresError;
use crate::nic::NicError;
use crate::probe::ModuleError;
use crate::results::fields::FieldSetError;
use crate::results::filter::FilterError;
use crate::targets::list::ListError;
use crate::targets::permutation::PermutationError;
use crate::targets::ports::PortError;
use crate::targets::reserved::ReservedError;

/// Exit code of a usage error or a bad input file.
pub const EXIT_USAGE: u8 = 2;
/// Exit code of missing privileges.
pub const EXIT_PRIVILEGES: u8 = 3;
/// Exit code of an interface or mode that is not to be had.
pub const EXIT_INTERFACE: u8 = 4;

/// Why no plan could be made. Every text is one line that names the flag and the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// A flag's value, or its combination with others, makes no sense.
    #[error("{flag}: {what}")]
    Usage {
        /// The flag.
        flag: &'static str,
        /// What is wrong with it, and what to do.
        what: String,
    },
    /// A list of targets cannot be used.
    #[error(transparent)]
    List(#[from] ListError),
    /// A target may never be probed, or not without a flag.
    #[error(transparent)]
    Reserved(#[from] ReservedError),
    /// `--target-ports` is wrong.
    #[error(transparent)]
    Ports(#[from] PortError),
    /// There are no targets, or too many.
    #[error(transparent)]
    Permutation(#[from] PermutationError),
    /// `--output-fields` is wrong.
    #[error(transparent)]
    Fields(#[from] FieldSetError),
    /// `--output-filter` is wrong.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// `--probe-module` or `--probe-args` is wrong.
    #[error(transparent)]
    Module(#[from] ModuleError),
    /// `--cores` is wrong.
    #[error(transparent)]
    Cores(#[from] CoresError),
    /// The interface or its route cannot be used.
    #[error(transparent)]
    Nic(#[from] NicError),
    /// The interface exists but cannot carry the scan.
    #[error("{interface}: {what}")]
    Interface {
        /// Its name.
        interface: String,
        /// Why, and what to do.
        what: String,
    },
}

impl PlanError {
    pub(super) fn usage(flag: &'static str, what: impl Into<String>) -> Self {
        Self::Usage { flag, what: what.into() }
    }

    /// The exit code of the design's table.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Nic(error) => error.exit_code(),
            Self::Interface { .. } => EXIT_INTERFACE,
            _ => EXIT_USAGE,
        }
    }
}
