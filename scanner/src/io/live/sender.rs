//! The thread that runs the live-frame program, and what it takes to have it: program, maps, tracepoint, a first try.
//!
//! A run of the program is a call into the kernel that comes back after a number of frames; it occupies its core, so it
//! has one of its own. While nothing is in the ring no call is active: the thread sleeps until it is woken.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use aya::maps::{DevMap, Map};
use aya::programs::{BtfTracePoint, ProgramError, Xdp};
use aya::{Btf, Ebpf, EbpfError, EbpfLoader, TestRun, TestRunAttrs, TestRunOptions};
use core_affinity::CoreId;
use rustix::thread::CapabilitySet;
use tracing::{error, warn};

use super::abi::{AS_IS, Config, ENTRIES, Entry, FRAME_LEN_MAX};
use super::ring::{Feed, Mapping};
use crate::io::bpf;
use crate::nic::Interface;
use crate::packet::{ETHERNET_LEN, MacAddr, Template};
use crate::privileges;

/// Frames of a run while there is much to send. Setting a run up and tearing it down takes as long as sending some
/// hundred thousand frames.
const RUN_FRAMES: u32 = 1 << 20;
/// Entries that count as much to send.
const PLENTY: u64 = ENTRIES as u64 / 4;
/// Frames that the kernel makes and flushes together.
const BATCH_FRAMES: u32 = 64;
/// Shortest Ethernet frame, without FCS: not every driver pads what is redirected to it.
const FRAME_LEN_MIN: usize = 60;
/// EtherType of the frame that is sent first, to see whether the driver takes it: IEEE 802 local experimental 1.
const ETHERTYPE_TRIAL: [u8; 2] = [0x88, 0xb5];
/// Runs of which the driver takes nothing, before that is said.
const STUCK_RUNS: u32 = 10;
/// How long to wait after such a run.
const STUCK_NAP: Duration = Duration::from_millis(10);
/// How long a thread with nothing to do sleeps at most.
const NAP: Duration = Duration::from_millis(100);

/// Why there are no live frames.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LiveError {
    /// The program, its maps or the tracepoint are not to be had.
    #[error("live frames: the kernel refuses the program, which Linux 5.18 takes ({source})")]
    Load {
        /// What the kernel or the loader said.
        source: Box<EbpfError>,
    },
    /// The ring could not be mapped, or the thread not started.
    #[error("live frames: {what}: {source}")]
    Setup {
        /// What could not be done.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The kernel does not run programs over live frames.
    #[error("live frames: the kernel does not run them ({source}); Linux 5.18 does")]
    Run {
        /// What the kernel said.
        source: io::Error,
    },
    /// The probe does not fit.
    #[error("live frames: a probe of {len} bytes is too long for them; {FRAME_LEN_MAX} fit")]
    TooLong {
        /// Its length.
        len: usize,
    },
    /// Frames differ in more than their headers.
    #[error("live frames: they differ in their headers only, not in their payloads as this probe's do")]
    Tails,
    /// Frames differ in their Ethernet headers.
    #[error(
        "live frames: they all go to one MAC address, and here targets have others (on the own network, or by routes of their own)"
    )]
    NextHops,
    /// The driver must not be tried.
    #[error("live frames: {what}")]
    Hazard {
        /// What would happen, and what to do.
        what: String,
    },
    /// The scan has several interfaces.
    #[error("live frames: they leave by one interface only")]
    Interfaces,
    /// The frames have VLAN tags.
    #[error("live frames: they have no VLAN tags")]
    Tagged,
    /// The driver refused the first frame.
    #[error("live frames: the driver does not take redirected frames here ({source})")]
    Refused {
        /// What the driver said.
        source: io::Error,
    },
    /// The first frame did not get as far as the driver.
    #[error("live frames: the driver does not transmit redirected frames here")]
    NoTransmit,
}

impl LiveError {
    fn load(error: impl Into<EbpfError>) -> Self {
        Self::Load { source: Box::new(error.into()) }
    }
}

/// What a sender sends, and from where.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    /// Name of the interface.
    pub interface: &'a str,
    /// Its index.
    pub ifindex: u32,
    /// Our MAC address on it, to which the trial frame goes.
    pub mac: MacAddr,
    /// Core of the thread. Some drivers choose the transmit queue by it.
    pub core: usize,
    /// The probe.
    pub probe: &'a Template,
}

/// What a worker and its sender's thread share.
#[derive(Debug)]
struct State {
    mapping: Arc<Mapping>,
    stop: AtomicBool,
    idle: AtomicBool,
    failed: AtomicBool,
}

/// A running sender. Dropped, it ends its thread, and with it the programs leave the kernel.
#[derive(Debug)]
pub struct Sender {
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

impl Sender {
    /// Loads the program, sees with one frame whether the driver takes what it redirects, and waits for entries.
    ///
    /// # Errors
    /// Why the kernel or the driver cannot do it.
    pub fn start(settings: &Settings<'_>) -> Result<Self, LiveError> {
        let runner = Runner::load(settings)?;
        let state = Arc::clone(&runner.state);
        let (core, mac) = (settings.core, settings.mac);
        let (report, verdict) = mpsc::sync_channel(1);
        let run = move || {
            let trial = if core_affinity::set_for_current(CoreId { id: core }) {
                runner.try_out_unprivileged(mac)
            } else {
                let source = io::Error::other(format!("core {core} is not to be had"));
                Err(LiveError::Setup { what: "pinning its thread", source })
            };
            let go_on = trial.is_ok();
            if report.send(trial).is_ok() && go_on {
                runner.run();
            }
        };
        let thread = thread::Builder::new().name("live-sender".to_owned()).spawn(run);
        let thread = thread.map_err(|source| LiveError::Setup { what: "starting its thread", source })?;
        let sender = Self { state, thread: Some(thread) };
        let ended = || LiveError::Setup { what: "its thread", source: io::Error::other("ended by a panic") };
        verdict.recv().map_err(|_| ended())??;
        Ok(sender)
    }

    /// The worker's end of the ring. Ask once.
    pub(super) fn feed(&self) -> Feed {
        Feed::new(Arc::clone(&self.state.mapping))
    }

    /// Wakes the thread if it sleeps. Call it after entries were published.
    #[inline]
    pub(super) fn wake(&self) {
        // Orders the publication before the look at `idle`, as the thread orders them the other way round.
        fence(Ordering::SeqCst);
        if self.state.idle.load(Ordering::Relaxed)
            && let Some(thread) = &self.thread
        {
            thread.thread().unpark();
        }
    }

    /// Whether the thread still runs.
    ///
    /// # Errors
    /// It does not, and has said why in the log.
    pub(super) fn check(&self) -> io::Result<()> {
        match self.state.failed.load(Ordering::Relaxed) {
            true => Err(io::Error::other("the sender of live frames has failed")),
            false => Ok(()),
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic has been reported where it happened.
            let _ = thread.join();
        }
    }
}

/// What the thread owns.
struct Runner {
    ebpf: Ebpf,
    state: Arc<State>,
    /// The probe, as long as an Ethernet frame has to be.
    frame: Vec<u8>,
    interface: String,
}

impl Drop for Runner {
    /// A thread that has ended by a panic has failed: the worker would wait for its frames for ever.
    fn drop(&mut self) {
        if thread::panicking() {
            self.state.failed.store(true, Ordering::Relaxed);
        }
    }
}

const PROGRAM: &str = "xdpmap_live";
const TRACE_PROGRAM: &str = "xdpmap_live_bulk";
const TRACEPOINT: &str = "xdp_devmap_xmit";
const RING: &str = "live_ring";
const DEVICE: &str = "live_device";

impl Runner {
    fn load(settings: &Settings<'_>) -> Result<Self, LiveError> {
        let frame = padded(settings.probe)?;
        let mut template = [0; FRAME_LEN_MAX];
        template[..frame.len()].copy_from_slice(&frame);
        let config = Config {
            ifindex: settings.ifindex,
            frame_len: frame.len() as u32,
            l4_checksum: settings.probe.layout().l4_checksum as u32,
            template,
        };
        let mut ebpf = EbpfLoader::new()
            .override_global("config", &config, true)
            .load(bpf::live_object())
            .map_err(LiveError::load)?;
        xdp_mut(&mut ebpf).and_then(Xdp::load).map_err(LiveError::load)?;
        let btf = Btf::from_sys_fs().map_err(LiveError::load)?;
        let trace = ebpf.program_mut(TRACE_PROGRAM).ok_or(ProgramError::NotLoaded);
        let trace: &mut BtfTracePoint = trace.and_then(TryInto::try_into).map_err(LiveError::load)?;
        trace.load(TRACEPOINT, &btf).map_err(LiveError::load)?;
        trace.attach().map_err(LiveError::load)?;
        let device = ebpf.map_mut(DEVICE).ok_or_else(|| missing(DEVICE));
        let mut device = device.and_then(DevMap::try_from).map_err(LiveError::load)?;
        device.set(0, settings.ifindex, None, 0).map_err(|source| LiveError::Setup {
            what: "naming the interface",
            source: io::Error::other(source),
        })?;
        let mapping = match ebpf.map(RING) {
            Some(Map::Array(map)) => Mapping::new(map.fd().as_fd()),
            _ => Err(io::Error::other("no such map")),
        };
        let mapping = mapping.map_err(|source| LiveError::Setup { what: "mapping its ring", source })?;
        let state = State {
            mapping: Arc::new(mapping),
            stop: AtomicBool::new(false),
            idle: AtomicBool::new(false),
            failed: AtomicBool::new(false),
        };
        Ok(Self { ebpf, state: Arc::new(state), frame, interface: settings.interface.to_owned() })
    }

    /// Runs the program over `frames` frames that hold `frame` to begin with. A signal may end the run early.
    fn call(&self, frame: &[u8], frames: u32) -> io::Result<()> {
        let mut options = TestRunOptions::new();
        options.data_in = Some(frame);
        options.repeat = frames;
        options.attrs = TestRunAttrs::new().xdp_live_frames(BATCH_FRAMES.min(frames));
        let program = self.ebpf.program(PROGRAM).ok_or(ProgramError::NotLoaded);
        let program: Result<&Xdp, _> = program.and_then(TryInto::try_into);
        match program.and_then(|program| program.test_run(options)) {
            Err(ProgramError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::EINTR) => {
                Ok(())
            }
            Err(ProgramError::SyscallError(error)) => Err(error.io_error),
            Err(error) => Err(io::Error::other(error)),
            Ok(_) => Ok(()),
        }
    }

    /// [`Self::try_out`] without privileges, which this thread gives up for good: it only runs what is loaded. A kernel
    /// before 5.19 wants CAP_BPF for that, too.
    fn try_out_unprivileged(&self, mac: MacAddr) -> Result<(), LiveError> {
        let given_up = |source| LiveError::Setup { what: "giving privileges up", source };
        match privileges::without_any(|| self.try_out(mac)).map_err(given_up)? {
            Err(LiveError::Run { source }) if source.raw_os_error() == Some(libc::EPERM) => {
                privileges::keep_only(CapabilitySet::BPF).map_err(given_up)?;
                // Without the entry of the first try.
                self.state.mapping.ring().reset();
                self.try_out(mac)
            }
            outcome => privileges::keep_only(CapabilitySet::empty()).map_err(given_up).and(outcome),
        }
    }

    /// Sends one frame from us to us, which no station answers, and looks at what became of it.
    fn try_out(&self, mac: MacAddr) -> Result<(), LiveError> {
        let mut frame = [0; FRAME_LEN_MIN];
        frame[..6].copy_from_slice(&mac.0);
        frame[6..12].copy_from_slice(&mac.0);
        frame[12..14].copy_from_slice(&ETHERTYPE_TRIAL);
        let mut feed = Feed::new(Arc::clone(&self.state.mapping));
        feed.push(Entry { flags: AS_IS, ..Entry::default() });
        feed.publish();
        self.call(&frame, 1).map_err(|source| LiveError::Run { source })?;
        self.settle();
        let ring = self.state.mapping.ring();
        let verdict = match feed.account() {
            fate if fate.sent == 1 => Ok(()),
            fate if fate.refused > 0 => Err(LiveError::Refused { source: feed.last_error() }),
            _ => Err(LiveError::NoTransmit),
        };
        ring.reset();
        verdict
    }

    /// Until it is told to stop: sends what is in the ring, sleeps while there is nothing.
    fn run(&self) {
        let ring = self.state.mapping.ring();
        let mut stuck = 0;
        while !self.state.stop.load(Ordering::Relaxed) && !self.state.failed.load(Ordering::Relaxed) {
            let sent_before = ring.sent.load(Ordering::Relaxed);
            let pending = self.pending();
            if pending == 0 {
                self.sleep();
                continue;
            }
            let frames =
                if pending >= PLENTY { RUN_FRAMES } else { (pending as u32).next_multiple_of(BATCH_FRAMES) };
            if let Err(source) = self.call(&self.frame, frames) {
                return self.fail(&format!("the kernel ended their run: {source}"));
            }
            let lost = self.settle();
            if ring.sent.load(Ordering::Relaxed) != sent_before {
                stuck = 0;
                continue;
            }
            stuck += 1;
            if stuck == STUCK_RUNS {
                warn!(target: "io", "live frames: the driver takes none at present; is the link up at the far end?");
            }
            if lost > 0 && stuck > STUCK_RUNS {
                return self.fail("frames get lost on the way to the driver");
            }
            // Without a link the driver refuses all there is, as fast as it is offered.
            self.wait_for_link();
            if lost == 0 {
                thread::sleep(STUCK_NAP);
            }
        }
    }

    fn fail(&self, why: &str) {
        error!(target: "io", "live frames: {why}");
        self.state.failed.store(true, Ordering::Relaxed);
    }

    /// Entries in the ring. Between two runs only.
    fn pending(&self) -> u64 {
        let ring = self.state.mapping.ring();
        ring.head.load(Ordering::Acquire) - ring.tail.load(Ordering::Relaxed)
    }

    fn sleep(&self) {
        self.state.idle.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if self.pending() == 0 && !self.state.stop.load(Ordering::Relaxed) {
            thread::park_timeout(NAP);
        }
        self.state.idle.store(false, Ordering::Relaxed);
    }

    /// Settles the books after a run: an entry that was taken and that no bulk accounted for is lost. Returns how many.
    fn settle(&self) -> u64 {
        let ring = self.state.mapping.ring();
        let tail = ring.tail.load(Ordering::Relaxed);
        let lost = tail - ring.accounted.load(Ordering::Relaxed);
        if lost > 0 {
            ring.lost.fetch_add(lost, Ordering::Relaxed);
            ring.accounted.store(tail, Ordering::Release);
        }
        ring.halted.store(0, Ordering::Relaxed);
        lost
    }

    /// Waits until the interface is up and has a carrier: what is sent before that is lost.
    fn wait_for_link(&self) {
        while !self.state.stop.load(Ordering::Relaxed) {
            match Interface::by_name(&self.interface) {
                Ok(link) if link.is_up && link.has_carrier => return,
                // If the interface is gone, others end the scan.
                Ok(_) | Err(_) => thread::sleep(NAP),
            }
        }
    }
}

/// The probe, as long as an Ethernet frame has to be, and of even length, as the program copies it.
fn padded(probe: &Template) -> Result<Vec<u8>, LiveError> {
    if probe.layout().tail.is_some() {
        return Err(LiveError::Tails);
    }
    if probe.layout().ip != ETHERNET_LEN {
        return Err(LiveError::Tagged);
    }
    let mut frame = probe.bytes().to_vec();
    frame.resize(frame.len().max(FRAME_LEN_MIN).next_multiple_of(2), 0);
    if frame.len() > FRAME_LEN_MAX {
        return Err(LiveError::TooLong { len: frame.len() });
    }
    Ok(frame)
}

fn xdp_mut(ebpf: &mut Ebpf) -> Result<&mut Xdp, ProgramError> {
    ebpf.program_mut(PROGRAM).ok_or(ProgramError::NotLoaded)?.try_into()
}

/// Cannot happen with the embedded object, whose maps a test knows by name.
fn missing(map: &str) -> aya::maps::MapError {
    aya::maps::MapError::InvalidName { name: map.into() }
}
