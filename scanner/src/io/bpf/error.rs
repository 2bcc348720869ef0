//! Errors of loading, attaching and using the XDP program, with the remedy.

use std::error::Error;
use std::io;

use aya::EbpfError;

use super::abi::{QUEUES_MAX, SOURCES_MAX};
use super::{AttachMode, holder};
use crate::io::files;
use crate::nic::Interface;
use crate::privileges;

/// Why the program could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// A scan needs at least one source address, and the program's map has room for [`SOURCES_MAX`].
    #[error("the XDP program accepts 1 to {SOURCES_MAX} source addresses, not {given}: give fewer")]
    SourceCount {
        /// How many were given.
        given: usize,
    },
    /// The source ports do not fit 16 bits, there are none, or there are fewer of them than copies of a probe.
    #[error(
        "{count} source ports from {first} on cannot carry {probes} copies of a probe: \
         give a range within 1-65535 that has a port for each copy"
    )]
    Ports {
        /// First source port.
        first: u16,
        /// Number of ports.
        count: u32,
        /// Copies of each probe.
        probes: u32,
    },
    /// The kernel, or the loader, refused the object. The verifier's log is in the source.
    #[error("the kernel refuses the XDP program{}: {remedy}", named(*errno))]
    Refused {
        /// The kernel's errno, where there was one.
        errno: Option<i32>,
        /// The remedy.
        remedy: String,
        /// The full error.
        source: Box<EbpfError>,
    },
}

impl LoadError {
    pub(super) fn refused(error: impl Into<EbpfError>) -> Self {
        let source = Box::new(error.into());
        let errno = errno(&*source);
        Self::Refused { errno, remedy: load_remedy(errno), source }
    }

    /// The kernel's errno, where there was one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused { errno, .. } => *errno,
            Self::SourceCount { .. } | Self::Ports { .. } => None,
        }
    }
}

/// Why the program could not be attached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttachError {
    /// This program is on an interface already.
    #[error("the XDP program is already attached: detach it first")]
    AlreadyAttached,
    /// There is no interface with this index, or no longer.
    #[error("there is no interface with index {ifindex}: list them with `ip link`")]
    NoInterface {
        /// The index.
        ifindex: u32,
    },
    /// The kernel or the driver refused.
    #[error("cannot attach the XDP program to {interface} in {mode} mode: {source}: {remedy}")]
    Refused {
        /// Name of the interface.
        interface: String,
        /// The mode that was tried.
        mode: AttachMode,
        /// The remedy.
        remedy: String,
        /// The errno.
        source: io::Error,
    },
}

impl AttachError {
    pub(super) fn refused(interface: String, mode: AttachMode, source: io::Error) -> Self {
        let remedy = attach_remedy(source.raw_os_error(), mode, &interface);
        Self::Refused { interface, mode, remedy, source }
    }

    /// The kernel's errno, where there was one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused { source, .. } => source.raw_os_error(),
            Self::NoInterface { .. } => Some(libc::ENODEV),
            Self::AlreadyAttached => None,
        }
    }

    /// Whether another program has the interface's place for one.
    pub fn is_taken(&self) -> bool {
        matches!(self.errno(), Some(libc::EBUSY | libc::EEXIST))
    }

    /// Whether generic mode may succeed where this attempt failed, because the driver refused and not the kernel.
    pub fn generic_may_help(&self) -> bool {
        let Self::Refused { mode: AttachMode::Native, source, .. } = self else { return false };
        !matches!(
            source.raw_os_error(),
            Some(libc::EBUSY | libc::EEXIST | libc::EPERM | libc::EACCES | libc::ENODEV | libc::EMFILE)
        )
    }
}

/// Why a map of the loaded program could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MapError {
    /// The XDP program supports only queues below [`QUEUES_MAX`].
    #[error(
        "RX queue {queue}: the XDP program can steer only {QUEUES_MAX} queues: use fewer with `ethtool -L`"
    )]
    Queue {
        /// The queue.
        queue: u32,
    },
    /// The kernel refused.
    #[error("cannot access the map `{map}` of the XDP program: {source}")]
    Refused {
        /// Name of the map.
        map: &'static str,
        /// The full error.
        source: aya::maps::MapError,
    },
    /// The kernel refused to run the program over a given frame.
    #[error("cannot run the XDP program over a given frame: {source}")]
    TestRun {
        /// The full error.
        source: Box<aya::programs::ProgramError>,
    },
}

/// The first errno in the chain of causes.
fn errno(error: &(dyn Error + 'static)) -> Option<i32> {
    std::iter::successors(Some(error), |&error| error.source())
        .find_map(|error| error.downcast_ref::<io::Error>()?.raw_os_error())
}

fn named(errno: Option<i32>) -> String {
    errno.map_or_else(String::new, |errno| format!(" ({})", io::Error::from_raw_os_error(errno)))
}

fn load_remedy(errno: Option<i32>) -> String {
    let remedy = match errno {
        Some(libc::EPERM | libc::EACCES) => return privileges::why_refused(),
        Some(libc::ENOMEM) => "free memory, or raise the limit on locked memory with `ulimit -l unlimited`",
        // Containers return this for system calls that their filter does not know.
        Some(libc::ENOSYS) if privileges::is_filtered() => {
            "this kernel was built without BPF, or a seccomp filter blocks bpf(2)"
        }
        Some(libc::ENOSYS) => "this kernel was built without BPF",
        Some(libc::EMFILE) => return files::remedy(),
        _ => "Linux 5.15 or later is needed",
    };
    remedy.to_owned()
}

fn attach_remedy(errno: Option<i32>, mode: AttachMode, interface: &str) -> String {
    match (errno, mode) {
        (Some(libc::EBUSY | libc::EEXIST), _) => {
            let holder = Interface::by_name(interface).ok().and_then(|interface| interface.xdp);
            holder::describe(holder.as_ref(), interface)
        }
        (Some(libc::EPERM | libc::EACCES), _) => privileges::why_refused(),
        (Some(libc::EMFILE), _) => files::remedy(),
        (Some(libc::EOPNOTSUPP), AttachMode::Native) => {
            "its driver has no native XDP: use generic mode".into()
        }
        (Some(libc::ENOSPC), AttachMode::Native) => format!(
            "its driver has too few queues for XDP: change their number with `ethtool -L {interface}`, \
             or use generic mode"
        ),
        (Some(libc::ERANGE | libc::EINVAL), AttachMode::Native) => format!(
            "its driver needs a smaller MTU or other offloads for XDP (see `dmesg`): \
             `ip link set dev {interface} mtu 1500`, or use generic mode"
        ),
        (_, AttachMode::Native) => "see `dmesg` for the driver's reason, or use generic mode".into(),
        (_, AttachMode::Generic) => "see `dmesg` for the kernel's reason".into(),
    }
}
