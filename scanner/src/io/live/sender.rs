//! The thread that runs the live-frame program, and its set-up: program, maps, tracepoint, a trial frame.
//!
//! A run of the program is a call into the kernel that returns after a number of frames. It occupies its core, so the
//! thread has a core that it does not share. While the ring is empty no call is active: the thread sleeps until it is
//! woken.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use aya::maps::{DevMap, Map};
use aya::programs::{BtfTracePoint, ProgramError, Xdp};
use aya::{Btf, Ebpf, EbpfError, EbpfLoader, TestRun, TestRunAttrs, TestRunOptions};
use rustix::thread::CapabilitySet;
use tracing::{error, warn};
use wire::packet::{ETHERNET_LEN, MacAddr, Template};

use super::abi::{AS_IS, Config, ENTRIES, FRAME_LEN_MAX, LiveEntry};
use super::doze::Doze;
use super::ring::{Feed, Mapping};
use crate::io::{affinity, bpf};
use crate::nic::Interface;
use crate::privileges;
use crate::sandbox::{self, Class, Paths};

/// Frames per run while the ring is well filled. Setting a run up and tearing it down takes as long as sending some
/// hundred thousand frames: a lower number wastes that time more often, a higher one makes an early end take longer.
const RUN_FRAMES: u32 = 1 << 20;
/// Entries in the ring from which on a run is a long one. Lower starts long runs for few frames; higher makes more
/// short runs.
const PLENTY: u64 = ENTRIES as u64 / 4;
/// Frames that the kernel makes and flushes together. Lower costs more flushes; higher keeps the first frame of a batch
/// waiting.
const BATCH_FRAMES: u32 = 64;
/// Shortest Ethernet frame, without FCS: some drivers do not pad redirected frames.
const FRAME_LEN_MIN: usize = 60;
/// EtherType of the trial frame, which shows whether the driver transmits redirected frames: IEEE 802 local
/// experimental 1.
const ETHERTYPE_TRIAL: [u8; 2] = [0x88, 0xb5];
/// Runs in a row without any frame accepted by the driver before the log says so. Lower warns of every full queue;
/// higher delays the warning.
const STUCK_RUNS: u32 = 10;
/// How long to wait after such a run. Shorter uses the core for nothing; longer loses time after the driver recovers.
const STUCK_NAP: Duration = Duration::from_millis(10);
/// How long an idle thread sleeps at most. Longer delays its end; shorter costs wake-ups.
const NAP: Duration = Duration::from_millis(100);

/// Why live frames are unavailable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LiveError {
    /// The program, its maps or the tracepoint are unavailable.
    #[error("live frames: the kernel refuses the program, which needs Linux 5.18 or later ({source})")]
    Load {
        /// The error of the kernel or the loader.
        source: Box<EbpfError>,
    },
    /// The ring could not be mapped, or the thread not started.
    #[error("live frames: {what}: {source}")]
    Setup {
        /// The step that failed.
        what: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// The kernel cannot run programs over live frames.
    #[error("live frames: the kernel does not support them ({source}); they need Linux 5.18 or later")]
    Run {
        /// The kernel's error.
        source: io::Error,
    },
    /// The probe is too long.
    #[error("live frames: a probe of {len} bytes is too long; the limit is {FRAME_LEN_MAX}")]
    TooLong {
        /// Its length.
        len: usize,
    },
    /// Frames differ in more than their headers.
    #[error("live frames: they can differ only in their headers, but the payloads of this probe differ")]
    Tails,
    /// Frames differ in their Ethernet headers.
    #[error(
        "live frames: they all go to one MAC address, but some targets have another next hop (on the local network, or \
         by a route)"
    )]
    NextHops,
    /// The driver must not be tried.
    #[error("live frames: {what}")]
    Hazard {
        /// The hazard and the remedy.
        what: String,
    },
    /// The scan has several interfaces.
    #[error("live frames: they can use only one interface")]
    Interfaces,
    /// The frames have VLAN tags.
    #[error("live frames: they cannot have VLAN tags")]
    Tagged,
    /// The driver refused the first frame.
    #[error("live frames: the driver refuses redirected frames here ({source})")]
    Refused {
        /// The driver's error.
        source: io::Error,
    },
    /// The first frame did not reach the driver.
    #[error("live frames: the driver does not transmit redirected frames here")]
    NoTransmit,
}

impl LiveError {
    fn load(error: impl Into<EbpfError>) -> Self {
        Self::Load { source: Box::new(error.into()) }
    }
}

/// Which frames a sender sends, and from where.
#[derive(Clone, Copy, Debug)]
pub struct SenderSettings<'a> {
    /// Name of the interface.
    pub interface: &'a str,
    /// Its index.
    pub ifindex: u32,
    /// Our MAC address on it, which the trial frame is sent to.
    pub mac: MacAddr,
    /// Core of the thread. Some drivers choose the transmit queue by the core.
    pub core: usize,
    /// The probe.
    pub probe: &'a Template,
}

/// The state that a worker shares with its sender's thread.
#[derive(Debug)]
struct SenderState {
    mapping: Arc<Mapping>,
    stop: AtomicBool,
    doze: Doze,
    failed: AtomicBool,
}

/// A running sender. Dropping it ends its thread and unloads the programs.
#[derive(Debug)]
pub struct Sender {
    state: Arc<SenderState>,
    thread: Option<JoinHandle<()>>,
}

impl Sender {
    /// Loads the program, checks with one frame whether the driver transmits redirected frames, and waits for entries.
    ///
    /// # Errors
    /// The reason why the kernel or the driver does not support live frames.
    pub fn start(settings: &SenderSettings<'_>) -> Result<Self, LiveError> {
        let runner = Runner::load(settings)?;
        let state = Arc::clone(&runner.state);
        let (core, mac) = (settings.core, settings.mac);
        let (report, verdict) = mpsc::sync_channel(1);
        let run = move || {
            let trial = if affinity::pin(core) {
                runner.try_out_unprivileged(mac)
            } else {
                let source = io::Error::other(format!("core {core} is not available"));
                Err(LiveError::Setup { what: "pinning its thread", source })
            };
            let go_on = trial.is_ok();
            if go_on {
                sandbox::enter_apart(
                    Class::LiveSender,
                    &Paths { read: sandbox::system_files(), ..Paths::default() },
                );
            }
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

    /// The worker's end of the ring. Call it once.
    pub(super) fn feed(&self) -> Feed {
        Feed::new(Arc::clone(&self.state.mapping))
    }

    /// Wakes the thread if it sleeps. Call it after publishing entries.
    #[inline]
    pub(super) fn wake(&self) {
        if let Some(thread) = &self.thread {
            self.state.doze.wake(thread.thread());
        }
    }

    /// Whether the thread is still running.
    ///
    /// # Errors
    /// The thread has ended; the reason is in the log.
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

/// The state that the thread owns.
struct Runner {
    ebpf: Ebpf,
    state: Arc<SenderState>,
    /// The probe, padded to the shortest Ethernet frame.
    frame: Vec<u8>,
    interface: String,
}

impl Drop for Runner {
    /// A thread that panicked counts as failed: the worker would wait for its frames for ever.
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
    fn load(settings: &SenderSettings<'_>) -> Result<Self, LiveError> {
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
        let state = SenderState {
            mapping: Arc::new(mapping),
            stop: AtomicBool::new(false),
            doze: Doze::default(),
            failed: AtomicBool::new(false),
        };
        Ok(Self { ebpf, state: Arc::new(state), frame, interface: settings.interface.to_owned() })
    }

    /// Runs the program over `frames` frames that initially hold `frame`. A signal may end the run early.
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

    /// [`Self::try_out`] without privileges. This thread drops them for good, because it only runs the loaded program.
    /// A kernel before 5.19 needs CAP_BPF for that; there the thread keeps this one capability and tries again.
    fn try_out_unprivileged(&self, mac: MacAddr) -> Result<(), LiveError> {
        let given_up = |source| LiveError::Setup { what: "giving privileges up", source };
        match privileges::without_any(|| self.try_out(mac)).map_err(given_up)? {
            Err(LiveError::Run { source }) if source.raw_os_error() == Some(libc::EPERM) => {
                privileges::keep_only(CapabilitySet::BPF).map_err(given_up)?;
                // Clear the entry of the first try.
                self.state.mapping.ring().reset();
                self.try_out(mac)
            }
            outcome => privileges::keep_only(CapabilitySet::empty()).map_err(given_up).and(outcome),
        }
    }

    /// Sends one frame from us to us, which no station answers, and checks its outcome.
    fn try_out(&self, mac: MacAddr) -> Result<(), LiveError> {
        let mut frame = [0; FRAME_LEN_MIN];
        frame[..6].copy_from_slice(&mac.0);
        frame[6..12].copy_from_slice(&mac.0);
        frame[12..14].copy_from_slice(&ETHERTYPE_TRIAL);
        let mut feed = Feed::new(Arc::clone(&self.state.mapping));
        feed.push(LiveEntry { flags: AS_IS, ..LiveEntry::default() });
        feed.publish();
        self.call(&frame, 1).map_err(|source| LiveError::Run { source })?;
        self.settle();
        let ring = self.state.mapping.ring();
        let verdict = match feed.account() {
            totals if totals.sent == 1 => Ok(()),
            totals if totals.refused > 0 => Err(LiveError::Refused { source: feed.last_error() }),
            _ => Err(LiveError::NoTransmit),
        };
        ring.reset();
        verdict
    }

    /// Sends the entries in the ring and sleeps while it is empty, until it is stopped.
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
                return self.fail(&format!("the kernel ended the run: {source}"));
            }
            let lost = self.settle();
            if ring.sent.load(Ordering::Relaxed) != sent_before {
                stuck = 0;
                continue;
            }
            stuck += 1;
            if stuck == STUCK_RUNS {
                warn!(target: "io", "live frames: the driver accepts none at present; is the link up at the far end?");
            }
            if lost > 0 && stuck > STUCK_RUNS {
                return self.fail("frames are lost before they reach the driver");
            }
            // Without a link the driver refuses all frames as fast as they are offered.
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

    /// Entries in the ring. Call it only between two runs.
    fn pending(&self) -> u64 {
        let ring = self.state.mapping.ring();
        ring.head.load(Ordering::Acquire) - ring.tail.load(Ordering::Relaxed)
    }

    fn sleep(&self) {
        self.state.doze.sleep(NAP, || self.pending() > 0 || self.state.stop.load(Ordering::Relaxed));
    }

    /// Closes the accounting of a run: an entry that was taken but is in no bulk is lost. Returns how many.
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

    /// Waits until the interface is up and has a carrier: frames sent before that are lost.
    fn wait_for_link(&self) {
        while !self.state.stop.load(Ordering::Relaxed) {
            match Interface::by_name(&self.interface) {
                Ok(link) if link.is_up && link.has_carrier => return,
                // If the interface is gone, another part of the program ends the scan.
                Ok(_) | Err(_) => thread::sleep(NAP),
            }
        }
    }
}

/// The probe, padded to the shortest Ethernet frame and to an even length, which the program's copy needs.
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
