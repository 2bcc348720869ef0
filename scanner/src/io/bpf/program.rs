//! Loading, attaching and reading the XDP program.

use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd};

use aya::maps::{HashMap, MapData, MapError, PerCpuArray, XskMap};
use aya::programs::links::FdLink;
use aya::programs::{ProgramError, Xdp, XdpMode};
use aya::{Ebpf, EbpfError, EbpfLoader};

use super::abi::{COUNTERS, Config};
use crate::cookie::{Key, PortRange};
use crate::results::record::mapped;

/// Who runs the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachMode {
    /// The driver, before a packet has any other memory than the NIC's.
    Native,
    /// The network stack, after it has made a packet of its own.
    Generic,
}

impl fmt::Display for AttachMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Native => "native",
            Self::Generic => "generic",
        })
    }
}

/// What the program is loaded with.
#[derive(Clone, Copy, Debug)]
pub struct ProgramSettings<'a> {
    /// The scan's cookie key.
    pub key: Key,
    /// Source ports of the scan.
    pub source_ports: PortRange,
    /// Copies of each probe.
    pub probes: u32,
    /// Drop rather than pass what is aimed at us and is not valid.
    pub drop_invalid: bool,
    /// Source addresses of the scan, at most [`super::abi::SOURCES_MAX`].
    pub sources: &'a [Ipv4Addr],
}

/// Why the program could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The object was refused by the loader.
    #[error("loading the XDP program: {0}")]
    Object(#[source] Box<EbpfError>),
    /// The program was refused by the kernel.
    #[error("loading the XDP program: {}", innermost(.0))]
    Program(#[source] Box<ProgramError>),
    /// A map could not be filled.
    #[error("setting up the XDP program's maps: {}", innermost(.0))]
    Map(#[source] Box<MapError>),
    /// The object lacks what the scanner needs.
    #[error("the XDP program's object has no {0}")]
    Missing(&'static str),
}

/// Why the program could not be attached, or not be given a socket.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttachError {
    /// The kernel or the driver refused the program.
    #[error("attaching the XDP program in {mode} mode: {}", innermost(.source))]
    Attach {
        /// The mode tried.
        mode: AttachMode,
        /// Why not.
        source: Box<ProgramError>,
    },
    /// It could only be attached in a way that would outlive this process.
    #[error("attaching the XDP program in {mode} mode: this kernel has no XDP links (needs 5.9)")]
    NoLink {
        /// The mode tried.
        mode: AttachMode,
    },
    /// A socket could not be put into the program's map.
    #[error("handing the socket of queue {queue} to the XDP program: {}", innermost(.source))]
    Socket {
        /// The socket's queue.
        queue: u32,
        /// Why not.
        source: Box<MapError>,
    },
}

/// The text of the last error in a chain: what the kernel said, which the outer texts only announce.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

/// The operating system's error at the bottom of a chain.
fn os_error(error: &(dyn std::error::Error + 'static)) -> Option<i32> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(code) = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return Some(code);
        }
        next = error.source();
    }
    None
}

impl LoadError {
    /// What the kernel said.
    pub fn os_error(&self) -> Option<i32> {
        os_error(self)
    }
}

impl AttachError {
    /// What the kernel said.
    pub fn os_error(&self) -> Option<i32> {
        os_error(self)
    }
}

/// A loaded program, attached once [`Program::attach`] has succeeded. Dropping it detaches.
pub struct Program {
    // Before the object, so that the link goes first.
    link: Option<FdLink>,
    object: Ebpf,
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("attached", &self.link.is_some()).finish_non_exhaustive()
    }
}

impl Program {
    /// Loads the program for one scan.
    ///
    /// # Errors
    /// Without the capabilities BPF and PERFMON (or root) the kernel says EPERM or EACCES.
    pub fn load(settings: &ProgramSettings<'_>) -> Result<Self, LoadError> {
        let config = Config {
            cookie_key: [settings.key.k0, settings.key.k1],
            source_port_first: settings.source_ports.first.into(),
            source_port_count: settings.source_ports.count,
            probes: settings.probes,
            drop_invalid: settings.drop_invalid.into(),
        };
        let mut object = EbpfLoader::new()
            .override_global("config", &config, true)
            .load(super::object())
            .map_err(|error| LoadError::Object(Box::new(error)))?;
        let sources = object.map_mut("sources").ok_or(LoadError::Missing("map of sources"))?;
        let wrap = |error| LoadError::Map(Box::new(error));
        let mut sources: HashMap<&mut MapData, [u8; 16], u8> = HashMap::try_from(sources).map_err(wrap)?;
        for &source in settings.sources {
            sources.insert(mapped(source), 1, 0).map_err(wrap)?;
        }
        let wrap = |error| LoadError::Program(Box::new(error));
        let program = object.program_mut("xdpmap").ok_or(LoadError::Missing("program xdpmap"))?;
        let program: &mut Xdp = program.try_into().map_err(wrap)?;
        program.load().map_err(wrap)?;
        Ok(Self { link: None, object })
    }

    /// The loaded program, for a test run.
    ///
    /// # Errors
    /// The object has no program of that name.
    pub fn xdp(&self) -> Result<&Xdp, LoadError> {
        let program = self.object.program("xdpmap").ok_or(LoadError::Missing("program xdpmap"))?;
        program.try_into().map_err(|error| LoadError::Program(Box::new(error)))
    }

    /// Attaches the program to an interface, by a link that goes with this process.
    ///
    /// # Errors
    /// EBUSY or EEXIST when another program is attached; EOPNOTSUPP, EINVAL, ENOSPC or ERANGE when the driver cannot
    /// run it as the interface is set up.
    pub fn attach(&mut self, interface: u32, mode: AttachMode) -> Result<(), AttachError> {
        let wrap = |source| AttachError::Attach { mode, source: Box::new(source) };
        let program = self.object.program_mut("xdpmap").ok_or_else(|| wrap(ProgramError::NotLoaded))?;
        let program: &mut Xdp = program.try_into().map_err(wrap)?;
        let xdp_mode = match mode {
            AttachMode::Native => XdpMode::Driver,
            AttachMode::Generic => XdpMode::Skb,
        };
        let id = program.attach_to_if_index(interface, xdp_mode).map_err(wrap)?;
        let link = program.take_link(id).map_err(wrap)?;
        let link = FdLink::try_from(link).map_err(|_| AttachError::NoLink { mode })?;
        self.link = Some(link);
        Ok(())
    }

    /// Steers valid replies on `queue` to a socket.
    ///
    /// # Errors
    /// The queue is beyond the map, or the descriptor is no AF_XDP socket.
    pub fn set_socket(&mut self, queue: u32, socket: BorrowedFd<'_>) -> Result<(), AttachError> {
        let wrap = |source| AttachError::Socket { queue, source: Box::new(source) };
        let Some(map) = self.object.map_mut("xsks") else {
            return Err(wrap(MapError::ElementNotFound));
        };
        let mut map: XskMap<&mut MapData> = XskMap::try_from(map).map_err(wrap)?;
        map.set(queue, socket.as_raw_fd(), 0).map_err(wrap)
    }

    /// The counters, added up over all processors, by number.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn counters(&self) -> Result<[u64; COUNTERS], MapError> {
        let map = self.object.map("counters").ok_or(MapError::ElementNotFound)?;
        let map: PerCpuArray<&MapData, u64> = PerCpuArray::try_from(map)?;
        let mut totals = [0; COUNTERS];
        for (number, total) in (0..).zip(&mut totals) {
            *total = map.get(&number, 0)?.iter().sum();
        }
        Ok(totals)
    }
}
