//! Reaching a NIC: the XDP program attached, a socket on every RX queue, and what was got and why not better.
//!
//! The ladder is: program run by the driver before program run by the network stack, and zero-copy before copy.
//! Every rung that was tried and not had leaves its reason. The program is attached before the first socket is bound
//! (some drivers need it so) and goes when [`Opened`] is dropped or the process dies.

use std::fmt;

use super::bpf::{AttachError, LoadError, MapError, Mode as AttachMode, Program, Settings};
use super::xsk::{BindMode, QueueSet, SocketError, XskPort, open_port};
use crate::packet::Template;

/// How frames get to and from the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode {
    /// Who runs the XDP program.
    pub attach: AttachMode,
    /// Who copies frames.
    pub bind: BindMode,
}

impl Mode {
    /// The word for it in `--io-mode`, the metadata and the log.
    pub fn name(self) -> &'static str {
        match (self.attach, self.bind) {
            (AttachMode::Generic, _) => "generic",
            (AttachMode::Native, BindMode::Copy) => "copy",
            (AttachMode::Native, BindMode::ZeroCopy) => "zerocopy",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.name() {
            "generic" => "AF_XDP, generic (the kernel copies; program run by the network stack)",
            "copy" => "AF_XDP, copy (the kernel copies; program run by the driver)",
            _ => "AF_XDP, zero-copy",
        })
    }
}

/// The rungs that may be tried, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ladder {
    /// Who may run the program.
    pub attach: &'static [AttachMode],
    /// Who may copy frames.
    pub bind: &'static [BindMode],
}

/// Why a NIC could not be reached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The XDP program could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The XDP program could not be attached.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// A socket could not be handed to the XDP program.
    #[error(transparent)]
    Map(#[from] MapError),
    /// A socket could not be opened.
    #[error("{0}{hint}", hint = remedy(.0))]
    Socket(#[from] SocketError),
}

impl OpenError {
    /// Whether a privilege was missing.
    pub fn is_privilege(&self) -> bool {
        let errno = match self {
            Self::Load(error) => error.errno(),
            Self::Attach(error) => error.errno(),
            Self::Socket(error) => error.os_error(),
            Self::Map(_) => None,
        };
        matches!(errno, Some(libc::EPERM | libc::EACCES))
    }
}

/// What to do about a socket that could not be opened, as the end of the sentence.
fn remedy(error: &SocketError) -> &'static str {
    match error.os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            ": run as root, or with the capabilities CAP_NET_RAW, CAP_NET_ADMIN, CAP_BPF, CAP_PERFMON and CAP_IPC_LOCK"
        }
        Some(libc::EBUSY) => ": another AF_XDP socket holds this queue, perhaps of another scan: end it",
        Some(libc::ENOBUFS | libc::ENOMEM) => {
            ": locked memory is short: raise the limit with `ulimit -l unlimited`, or give the capability CAP_IPC_LOCK"
        }
        Some(libc::EOPNOTSUPP | libc::EINVAL) => ": this interface cannot do it: use --io-mode auto",
        _ => "",
    }
}

/// A NIC in use.
#[derive(Debug)]
pub struct Opened {
    /// The attached program. Dropping it detaches.
    pub program: Program,
    /// One port a worker.
    pub ports: Vec<XskPort>,
    /// What was got.
    pub mode: Mode,
    /// Why not better: one reason for each rung that was tried and not had.
    pub reasons: Vec<String>,
}

/// The interface to open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its index.
    pub index: u32,
}

/// Reaches the NIC by the best rung of `ladder` that it has.
///
/// # Errors
/// The reason why the last rung was not to be had; a missing privilege or a busy queue ends the attempt at once, for no
/// lower rung would help.
pub fn open(
    interface: Target<'_>,
    ladder: Ladder,
    settings: &Settings<'_>,
    sets: &[QueueSet],
    probe: &Template,
    reset: Option<&Template>,
) -> Result<Opened, OpenError> {
    let mut reasons = Vec::new();
    let mut program = Program::load(settings)?;
    let attach = attach(&mut program, interface, ladder.attach, &mut reasons)?;
    let mut modes = ladder.bind;
    if attach == AttachMode::Generic && modes.len() > 1 {
        // Zero-copy needs the driver to run the program.
        modes = &[BindMode::Copy];
    }
    let mut ports = Vec::with_capacity(sets.len());
    let mut got = None;
    for set in sets {
        let port = open_port(interface.name, set, modes, probe, reset, |bound| {
            if got.is_none() {
                reasons.extend(bound.refusals.iter().cloned());
            }
            got = Some(bound.mode);
            program.set_socket(bound.queue, bound.fd).map_err(OpenError::from)
        })?;
        // All queues in the mode that the first one got.
        modes = match got {
            Some(BindMode::Copy) => &[BindMode::Copy],
            Some(BindMode::ZeroCopy) => &[BindMode::ZeroCopy],
            None => modes,
        };
        ports.push(port);
    }
    let mode = Mode { attach, bind: got.unwrap_or(BindMode::Copy) };
    Ok(Opened { program, ports, mode, reasons })
}

fn attach(
    program: &mut Program,
    interface: Target<'_>,
    modes: &[AttachMode],
    reasons: &mut Vec<String>,
) -> Result<AttachMode, OpenError> {
    let (last, better) = modes.split_last().ok_or(AttachError::NoInterface { ifindex: interface.index })?;
    for &mode in better {
        match program.attach(interface.index, mode) {
            Ok(()) => return Ok(mode),
            Err(error) if error.generic_may_help() => reasons.push(error.to_string()),
            Err(error) => return Err(error.into()),
        }
    }
    program.attach(interface.index, *last)?;
    Ok(*last)
}
