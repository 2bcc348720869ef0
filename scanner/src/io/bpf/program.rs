//! The loaded XDP program of one scan and its maps.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use aya::maps::{HashMap, MapData, PerCpuArray, XskMap};
use aya::programs::{ProgramError, TestRun, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfError, EbpfLoader};
use nix::net::if_::if_indextoname;

use super::abi::{COUNTERS, Config, Counter, Counts, QUEUES_MAX, SOURCES_MAX};
use super::{AttachError, AttachMode, LoadError, MapError, ProgramSettings, link, object};
use crate::reply::record::mapped;

const PROGRAM: &str = "xdpmap";
const XSKS: &str = "xsks";
const SOURCES: &str = "sources";
const COUNTERS_MAP: &str = "counters";

/// The result of a run of the program over a given frame; see [`XdpProgram::test_run`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TestVerdict {
    /// The `enum xdp_action` that the program returned: 1 drop, 2 pass, 4 redirect.
    pub action: u32,
    /// Mean time of a run in ns, as the kernel measured it.
    pub mean_ns: u64,
}

/// The XDP program in the kernel, with the configuration of one scan. Dropping it detaches it.
#[derive(Debug)]
pub struct XdpProgram {
    // Before `ebpf`: the program leaves the interface while its maps are still whole.
    link: Option<OwnedFd>,
    ebpf: Ebpf,
}

impl XdpProgram {
    /// Loads the program with these settings. It is not attached, and has no sockets.
    ///
    /// # Errors
    /// Settings that the program does not support, or the kernel's refusal (missing privileges, too old).
    pub fn load(settings: &ProgramSettings<'_>) -> Result<Self, LoadError> {
        let ProgramSettings { ports, copies, sources, .. } = *settings;
        let probes = copies.all();
        if !(1..=SOURCES_MAX).contains(&sources.len()) {
            return Err(LoadError::SourceCount { given: sources.len() });
        }
        let past_last = u64::from(ports.first) + u64::from(ports.count);
        if ports.count == 0 || past_last > 65_536 || !(1..=ports.count).contains(&probes) {
            return Err(LoadError::Ports { first: ports.first, count: ports.count, probes });
        }

        let config = Config::new(settings);
        let mut ebpf = EbpfLoader::new()
            .override_global("config", &config, true)
            .load(object())
            .map_err(LoadError::refused)?;
        xdp_mut(&mut ebpf).and_then(Xdp::load).map_err(LoadError::refused)?;
        fill_sources(&mut ebpf, sources).map_err(LoadError::refused)?;
        Ok(Self { link: None, ebpf })
    }

    /// Attaches the program to an interface. It stays there until [`Self::detach`], drop, or the end of the process.
    ///
    /// # Errors
    /// The kernel's or the driver's refusal, with its errno. [`AttachError::generic_may_help`] says whether a lower
    /// mode is worth a try.
    pub fn attach(&mut self, ifindex: u32, mode: AttachMode) -> Result<(), AttachError> {
        if self.link.is_some() {
            return Err(AttachError::AlreadyAttached);
        }
        let interface = name_of(ifindex).ok_or(AttachError::NoInterface { ifindex })?;
        let link = xdp(&self.ebpf)
            .and_then(|xdp| xdp.fd())
            .map_err(io::Error::other)
            .and_then(|program| link::create(program.as_fd(), ifindex, mode));
        self.link = Some(link.map_err(|source| AttachError::refused(interface, mode, source))?);
        Ok(())
    }

    /// The program's id in the kernel.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn id(&self) -> io::Result<u32> {
        xdp(&self.ebpf).and_then(Xdp::info).map(|info| info.id()).map_err(io::Error::other)
    }

    /// Detaches the program; does nothing if it is not attached.
    pub fn detach(&mut self) {
        self.link = None;
    }

    /// Valid replies that arrive on RX queue `queue` now go to this AF_XDP socket, which must be bound to that queue.
    /// The kernel takes the socket out again when it is closed.
    ///
    /// # Errors
    /// A queue beyond [`QUEUES_MAX`], or a descriptor that is not an AF_XDP socket with an RX ring.
    pub fn set_socket(&mut self, queue: u32, socket: BorrowedFd<'_>) -> Result<(), MapError> {
        if queue >= QUEUES_MAX {
            return Err(MapError::Queue { queue });
        }
        let refused = |source| MapError::Refused { map: XSKS, source };
        let map = self.ebpf.map_mut(XSKS).ok_or_else(|| refused(missing(XSKS)))?;
        XskMap::try_from(map).and_then(|mut xsks| xsks.set(queue, socket, 0)).map_err(refused)
    }

    /// The counters, added up over all CPUs. Each is exact at some moment during the call.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn counters(&self) -> Result<Counts, MapError> {
        self.read_counters().map_err(|source| MapError::Refused { map: COUNTERS_MAP, source })
    }

    fn read_counters(&self) -> Result<Counts, aya::maps::MapError> {
        let map = self.ebpf.map(COUNTERS_MAP).ok_or_else(|| missing(COUNTERS_MAP))?;
        let map: PerCpuArray<&MapData, u64> = map.try_into()?;
        let mut counts = [0; COUNTERS];
        for counter in Counter::ALL {
            counts[*counter as usize] = map.get(&(*counter as u32), 0)?.iter().sum();
        }
        Ok(counts)
    }

    /// Runs the program `repeat` times over a frame of at least 14 bytes, without any interface
    /// (`BPF_PROG_TEST_RUN`). The counters count these runs too. For tests and benchmarks.
    ///
    /// # Errors
    /// The kernel's refusal: a frame too short or longer than a page.
    pub fn test_run(&self, frame: &[u8], repeat: u32) -> Result<TestVerdict, MapError> {
        let mut options = TestRunOptions::new();
        options.data_in = Some(frame);
        options.repeat = repeat;
        let run = xdp(&self.ebpf).and_then(|xdp| xdp.test_run(options));
        let run = run.map_err(|source| MapError::TestRun { source: Box::new(source) })?;
        Ok(TestVerdict { action: run.return_value, mean_ns: run.duration.as_nanos() as u64 })
    }
}

/// The name of the interface with this index, if there is one.
fn name_of(ifindex: u32) -> Option<String> {
    let name = if_indextoname(ifindex).ok()?.to_string_lossy().into_owned();
    // For a missing interface, nix 0.31 returns an empty name.
    (!name.is_empty()).then_some(name)
}

fn xdp(ebpf: &Ebpf) -> Result<&Xdp, ProgramError> {
    ebpf.program(PROGRAM).ok_or(ProgramError::NotLoaded)?.try_into()
}

fn xdp_mut(ebpf: &mut Ebpf) -> Result<&mut Xdp, ProgramError> {
    ebpf.program_mut(PROGRAM).ok_or(ProgramError::NotLoaded)?.try_into()
}

fn fill_sources(ebpf: &mut Ebpf, sources: &[Ipv4Addr]) -> Result<(), EbpfError> {
    let map = ebpf.map_mut(SOURCES).ok_or_else(|| missing(SOURCES))?;
    let mut map: HashMap<&mut MapData, [u8; 16], u8> = map.try_into()?;
    for address in sources {
        map.insert(mapped(*address), 1, 0)?;
    }
    Ok(())
}

/// Cannot happen with the embedded object, whose maps a test knows by name.
fn missing(map: &str) -> aya::maps::MapError {
    aya::maps::MapError::InvalidName { name: map.into() }
}
