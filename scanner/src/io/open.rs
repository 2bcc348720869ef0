//! Reaching a NIC: the XDP program attached, a socket on every RX queue, and what was got and why not better.
//!
//! The ladder is: program run by the driver before program run by the network stack, and zero-copy before copy.
//! Every rung that was tried and not had leaves its reason. The program is attached before the first socket is bound
//! (some drivers need it so) and goes when [`Opened`] is dropped or the process dies.

use std::fmt;

use super::bpf::{AttachError, AttachMode, LoadError, Program, ProgramSettings};
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
    /// The XDP program could not be attached, or a socket not be put into its map.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// A socket could not be opened.
    #[error(transparent)]
    Socket(#[from] SocketError),
}

impl OpenError {
    /// What the kernel said, if it was the kernel.
    pub fn os_error(&self) -> Option<i32> {
        match self {
            Self::Load(error) => error.os_error(),
            Self::Attach(error) => error.os_error(),
            Self::Socket(error) => error.os_error(),
        }
    }

    /// Whether a privilege was missing.
    pub fn is_privilege(&self) -> bool {
        matches!(self.os_error(), Some(libc::EPERM | libc::EACCES))
    }

    /// What to do about it, as the end of a sentence; empty where there is nothing to say.
    pub fn remedy(&self) -> &'static str {
        match self.os_error() {
            Some(libc::EPERM | libc::EACCES) => {
                "run as root, or with the capabilities NET_RAW, NET_ADMIN, BPF, PERFMON and IPC_LOCK"
            }
            Some(libc::EBUSY) => {
                "another scan or another XDP program holds this interface or queue; `ip link show` names the program, \
                 `ip link set dev IFACE xdp off` removes it"
            }
            Some(libc::ENOBUFS | libc::ENOMEM) => {
                "locked memory is short: raise it with `ulimit -l unlimited` or give the capability IPC_LOCK"
            }
            Some(libc::EOPNOTSUPP | libc::EINVAL) => {
                "this interface cannot do it; try --io-mode auto, or another interface"
            }
            _ => "",
        }
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
    settings: &ProgramSettings<'_>,
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
    for (i, &mode) in modes.iter().enumerate() {
        match program.attach(interface.index, mode) {
            Ok(()) => return Ok(mode),
            Err(error) => {
                let hopeless =
                    matches!(error.os_error(), Some(libc::EPERM | libc::EACCES | libc::EBUSY | libc::EEXIST));
                if hopeless || i + 1 == modes.len() {
                    return Err(error.into());
                }
                reasons.push(error.to_string());
            }
        }
    }
    Ok(AttachMode::Generic)
}
