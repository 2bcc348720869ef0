//! Why a plan could not be carried out, in words and as an exit code.

use super::neighbors;
use crate::io::files;
use crate::io::open::OpenError;
use crate::plan::{EXIT_INTERFACE, EXIT_PRIVILEGES, EXIT_USAGE};
use crate::report::metadata::MetadataError;
use crate::report::updates::UpdatesError;
use crate::results::output::OutputError;
use crate::steering::SteerError;

/// Why a plan could not be carried out, or not to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SurveyError {
    /// The results cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The status updates cannot be written.
    #[error(transparent)]
    Updates(#[from] UpdatesError),
    /// There is no place for the metadata.
    #[error(transparent)]
    NoMetadata(MetadataError),
    /// The metadata cannot be written.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// The NIC cannot be reached.
    #[error("{interface}: {source}")]
    Open {
        /// The interface.
        interface: String,
        /// Why.
        source: OpenError,
    },
    /// Replies cannot be steered.
    #[error(transparent)]
    Steer(#[from] SteerError),
    /// The neighbours could not be asked for.
    #[error("{interface}: asking for neighbours by ARP: {source}{hint}", hint = neighbors::remedy(.source))]
    Arp {
        /// The interface.
        interface: String,
        /// Why.
        source: std::io::Error,
    },
    /// The process may not open as many files as the scan needs.
    #[error("a scan of {queues} queues may need {needed} open files: {}", files::remedy())]
    Files {
        /// Queues of all its interfaces.
        queues: usize,
        /// What they take.
        needed: u64,
    },
    /// The process could not be set up.
    #[error("{what}: {source}")]
    Setup {
        /// What could not be done.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

impl SurveyError {
    /// The exit code of the design's table.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Open { source, .. } if source.is_privilege() => EXIT_PRIVILEGES,
            Self::Arp { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
                EXIT_PRIVILEGES
            }
            Self::Open { .. } | Self::Arp { .. } => EXIT_INTERFACE,
            Self::Steer(error) => error.exit_code(),
            // A name that was given and is no good; what fails later is the disk's fault.
            Self::Output(OutputError::Open { .. } | OutputError::Refused { .. })
            | Self::NoMetadata(_)
            | Self::Updates(_) => EXIT_USAGE,
            Self::Output(_) | Self::Metadata(_) | Self::Files { .. } | Self::Setup { .. } => 1,
        }
    }
}
