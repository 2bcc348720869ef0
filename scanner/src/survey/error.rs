//! Why a plan could not be carried out, as a text and an exit code.

use std::io::ErrorKind;

use crate::exit::Exit;
use crate::io::files;
use crate::io::open::{Alternative, OpenError};
use crate::plan::PACKET_MAY_HELP;
use crate::report::metadata_file::MetadataError;
use crate::report::updates::UpdatesError;
use crate::results::output::{OutputError, OutputPart};
use crate::steering::SteerError;

/// Why a plan could not be carried out completely.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SurveyError {
    /// The results cannot be written.
    #[error("{}", output_text(.0))]
    Output(#[from] OutputError),
    /// What a flag asks for is not possible.
    #[error("{flag}: {what}")]
    Refused {
        /// The flag.
        flag: &'static str,
        /// The reason and the remedy.
        what: String,
    },
    /// The status updates cannot be written.
    #[error(transparent)]
    Updates(#[from] UpdatesError),
    /// The metadata file cannot be opened.
    #[error(transparent)]
    NoMetadata(MetadataError),
    /// The metadata cannot be written.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// The NIC cannot be opened.
    #[error("{interface}: {}", open_text(.source))]
    Open {
        /// The interface.
        interface: String,
        /// Why.
        source: OpenError,
    },
    /// Replies cannot be steered.
    #[error(transparent)]
    Steer(#[from] SteerError),
    /// ARP requests could not be sent.
    #[error("{interface}: looking up neighbours by ARP: {source}{hint}", hint = arp_remedy(.source))]
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
        /// How many files they need.
        needed: u64,
    },
    /// The process could not be set up.
    #[error("{what}: {source}")]
    Setup {
        /// What could not be done.
        what: &'static str,
        /// The system's error.
        source: std::io::Error,
    },
}

impl SurveyError {
    /// The exit code of a scan that ends by it.
    pub fn exit_code(&self) -> Exit {
        match self {
            Self::Open { source, .. } if source.is_privilege() => Exit::Privilege,
            Self::Arp { source, .. } if source.kind() == ErrorKind::PermissionDenied => Exit::Privilege,
            Self::Open { .. } | Self::Arp { .. } => Exit::Interface,
            Self::Steer(error) => error.exit_code(),
            // A name that was given and cannot be used. Errors that occur later are the disk's.
            Self::Output(
                OutputError::Open { .. } | OutputError::Exists { .. } | OutputError::Refused { .. },
            )
            | Self::Refused { .. }
            | Self::NoMetadata(_)
            | Self::Updates(_) => Exit::Usage,
            Self::Output(_) | Self::Metadata(_) | Self::Files { .. } | Self::Setup { .. } => Exit::Failed,
        }
    }
}

/// An output's error, with the flag that it is about and the flag that may help.
pub(super) fn output_text(error: &OutputError) -> String {
    let flag = match error {
        OutputError::Open { .. }
        | OutputError::Write { .. }
        | OutputError::Stuck { .. }
        | OutputError::Exists { .. } => "--output-file: ",
        OutputError::Refused { part, .. } => match part {
            OutputPart::File => "--output-file: ",
            OutputPart::Append => "--append: ",
            OutputPart::RotateBytes => "--rotate-bytes: ",
            OutputPart::RotateTime => "--rotate-seconds: ",
            OutputPart::Module => "--output-module: ",
            OutputPart::Arguments => "--output-args: ",
        },
        OutputError::BrokenPipe { .. } | OutputError::Panic | OutputError::Server { .. } => "",
    };
    let hint = match error {
        OutputError::Stuck { .. } => " (--output-wait sets how long it is)",
        OutputError::Exists { .. } => ", or give --append to continue after it",
        _ => "",
    };
    format!("{flag}{error}{hint}")
}

/// Why a NIC could not be opened, with the flag that it is about and the flag that may help.
fn open_text(error: &OpenError) -> String {
    if let OpenError::Replies { interface, source } = error {
        return format!("--reply-interface {interface}: {}", open_text(source));
    }
    let (flag, hint) = match error.alternative() {
        Some(Alternative::AnyMode) => ("", ": use --io-mode auto"),
        Some(Alternative::Generic) => ("", ", or use --io-mode generic, which leaves the driver alone"),
        Some(Alternative::Packet) => ("", PACKET_MAY_HELP),
        Some(Alternative::NoBusyPoll) => ("--busy-poll: ", "; leave the flag out"),
        None => ("", ""),
    };
    format!("{flag}{error}{hint}")
}

/// The remedy if ARP fails, as the end of the sentence.
fn arp_remedy(source: &std::io::Error) -> &'static str {
    match source.kind() {
        ErrorKind::PermissionDenied => {
            ": run as root, or with the capability CAP_NET_RAW, or name the next hop of all probes with --gateway-mac"
        }
        _ => "",
    }
}
