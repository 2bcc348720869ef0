//! Reaching a NIC: the XDP program attached, a socket on every RX queue, and what was got and why not better.
//!
//! The ladder is: program run by the driver before program run by the network stack, and zero-copy before copy; where
//! there is no zero-copy, probes may leave as live frames; AF_PACKET, without XDP, comes last. Every rung that was tried
//! and not had leaves its reason. Somebody else's program is no reason to go down: that is for the user to decide. The
//! program is attached before the first socket is bound (some drivers need it so) and goes when [`Opened`] is dropped or
//! the process dies.

mod error;
mod mode;

use std::time::Duration;

use core_affinity::CoreId;
use nix::sched::{sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

pub use error::OpenError;
pub use mode::{Mode, XdpMode};

use super::Port;
use super::bpf::{AttachError, Mode as AttachMode, Program, Settings};
use super::live::{self, LiveError, LivePort, Sender};
use super::packet;
use super::xsk::{BindMode, Bound, QueueSet, XskPort, open_port, open_receiver};
use crate::nic::wait_for_carrier;
use crate::packet::{MacAddr, Template};
use crate::probe::Check;

/// How long the link may stay down once the program is attached or a socket bound: some drivers reset the NIC for it, and
/// copper takes seconds to agree on a speed.
const LINK_PATIENCE: Duration = Duration::from_secs(15);

/// The rungs that may be tried, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ladder {
    /// Who may run the program.
    pub attach: &'static [AttachMode],
    /// Who may copy frames.
    pub bind: &'static [BindMode],
}

/// A NIC in use.
pub struct Opened {
    /// The attached program, where there is one. Dropping it detaches.
    pub program: Option<Program>,
    /// What hears replies on another interface.
    pub replies: Option<Heard>,
    /// One port a worker.
    pub ports: Vec<Box<dyn Port>>,
    /// What was got.
    pub mode: Mode,
    /// Why not better: one reason for each rung that was tried and not had.
    pub reasons: Vec<String>,
    /// How long the link was waited for.
    pub link_wait: Duration,
}

/// Another interface, on which replies are taken.
pub struct Heard {
    /// Its program. Dropping it detaches.
    pub program: Program,
    /// What was got of it.
    pub mode: Mode,
}

/// Another interface on which replies may arrive.
#[derive(Clone, Copy, Debug)]
pub struct Replies<'a> {
    /// Its name.
    pub interface: &'a str,
    /// Its index.
    pub ifindex: u32,
    /// Its RX queues, each of which gets a socket.
    pub queues: u32,
    /// What its program has to know.
    pub settings: &'a Settings<'a>,
}

/// What is to be opened, and how.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Name of the interface.
    pub interface: &'a str,
    /// Its index.
    pub ifindex: u32,
    /// The rungs that may be tried.
    pub ladder: Ladder,
    /// Whether AF_PACKET may be used.
    pub packet: PacketUse,
    /// What tells answers from other packets.
    pub check: &'a Check,
    /// Bytes of a reply that are wanted.
    pub capture_len: usize,
    /// What the XDP program has to know.
    pub settings: &'a Settings<'a>,
    /// The queues of each worker.
    pub sets: &'a [QueueSet],
    /// The core of each worker, on whose node its memory shall be.
    pub cores: &'a [usize],
    /// Another interface on which replies may arrive.
    pub replies: Option<Replies<'a>>,
    /// How to send live frames, if they are wanted.
    pub live: Option<Live<'a>>,
    /// Packets that a call polls the driver for, if the sockets are to be polled.
    pub busy_poll: Option<u16>,
    /// The probe.
    pub probe: &'a Template,
    /// The reset, if there is one.
    pub reset: Option<&'a Template>,
}

impl Request<'_> {
    /// Whether AF_PACKET may be used where XDP is not to be had. It hears one interface; a VLAN's tag, which these
    /// templates have, is the kernel's business there; and it polls no driver.
    fn may_use_packet(&self) -> bool {
        self.packet == PacketUse::AsLastResort
            && self.replies.is_none()
            && self.busy_poll.is_none()
            && self.settings.tags.is_empty()
    }
}

/// Whether AF_PACKET may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketUse {
    /// It may not.
    Never,
    /// Where XDP is not to be had.
    AsLastResort,
    /// Nothing else may.
    Only {
        /// Why, if that was not asked for.
        why: Option<&'static str>,
    },
}

/// How to send live frames.
#[derive(Clone, Copy, Debug)]
pub struct Live<'a> {
    /// The queues of each worker: there may be fewer workers, for each has a sender beside it.
    pub sets: &'a [QueueSet],
    /// The core of each worker.
    pub worker_cores: &'a [usize],
    /// The core of each worker's sender.
    pub cores: &'a [usize],
    /// Our MAC address.
    pub mac: MacAddr,
    /// Whether all probes go to one MAC address, as they must.
    pub one_hop: bool,
    /// Why they must not even be tried.
    pub hazard: Option<&'a str>,
    /// Whether the scan has one interface only, as it must.
    pub one_interface: bool,
    /// Whether live frames must be had. Otherwise they are used where there is no zero-copy, if they can be.
    pub must: bool,
}

/// Reaches the NIC by the best rung of the ladder that it has.
///
/// # Errors
/// The reason why the last rung was not to be had; a missing privilege, another program or a busy queue ends the attempt
/// at once.
pub fn open(request: &Request<'_>) -> Result<Opened, OpenError> {
    let mut reasons = Vec::new();
    if let PacketUse::Only { why } = request.packet {
        reasons.extend(why.map(str::to_owned));
        return open_packet(request, reasons, Duration::ZERO);
    }
    match open_xdp(request, &mut reasons) {
        Ok(opened) => Ok(Opened { reasons, ..opened }),
        Err(error) if request.may_use_packet() && error.packet_may_help() => {
            reasons.push(error.to_string());
            let link_wait = carrier(request.ifindex, "the XDP program was taken off")?;
            open_packet(request, reasons, link_wait)
        }
        Err(error) => Err(error),
    }
}

fn open_packet(
    request: &Request<'_>,
    reasons: Vec<String>,
    link_wait: Duration,
) -> Result<Opened, OpenError> {
    let ports = packet::open_ports(&packet::Request {
        ifindex: request.ifindex,
        workers: request.sets.len(),
        check: request.check,
        capture_len: request.capture_len,
        ring_len: packet::RING_LEN,
        probe: request.probe,
        reset: request.reset,
    })?;
    let ports = ports.into_iter().map(|port| Box::new(port) as Box<dyn Port>).collect();
    Ok(Opened { program: None, replies: None, ports, mode: Mode::Packet, reasons, link_wait })
}

/// The rungs above AF_PACKET. The reasons are left to the caller, who has them also if there is no such rung.
fn open_xdp(request: &Request<'_>, reasons: &mut Vec<String>) -> Result<Opened, OpenError> {
    let mut program = Program::load(request.settings)?;
    let attach = attach(&mut program, request.ifindex, request.ladder, request.busy_poll.is_some(), reasons)?;
    // No probe may be sent before the link is back: it would count as sent, and be lost.
    let mut link_wait = carrier(request.ifindex, "the XDP program was attached")?;
    let mut ladder = request.ladder.bind;
    if attach == AttachMode::Generic && ladder.len() > 1 {
        // Zero-copy needs the driver to run the program.
        ladder = &[BindMode::Copy];
    }
    let workers = Workers::of(request);
    let (mut ports, bind) = match open_ports(&mut program, request, workers, ladder, reasons) {
        // A later queue has not the mode that the first one got.
        Err(OpenError::Socket(error)) if ladder.len() > 1 && error.lower_may_help() => {
            reasons.push(error.to_string());
            open_ports(&mut program, request, workers, BindMode::Copy.alone(), reasons)?
        }
        outcome => outcome?,
    };
    link_wait += carrier(request.ifindex, "the sockets were bound")?;
    let wanted = request.live.filter(|live| live.must || bind == BindMode::Copy);
    let senders = match wanted.map(|live| (live, senders(request, &live))) {
        None => None,
        Some((live, Ok(senders))) => Some((live, senders)),
        Some((live, Err(error))) if live.must => return Err(error.into()),
        Some((_, Err(error))) => {
            reasons.push(error.to_string());
            None
        }
    };
    let mode = Mode::Xdp(XdpMode { attach, bind, live: senders.is_some() });
    let Some((live, senders)) = senders else {
        let replies = hear(request, &mut ports, reasons)?;
        let ports = ports.into_iter().map(|port| Box::new(port) as Box<dyn Port>).collect();
        return Ok(Opened { program: Some(program), replies, ports, mode, reasons: Vec::new(), link_wait });
    };
    if live.sets != request.sets {
        drop(ports);
        let workers = Workers { sets: live.sets, cores: live.worker_cores };
        (ports, _) = open_ports(&mut program, request, workers, bind.alone(), reasons)?;
        link_wait += carrier(request.ifindex, "the sockets were bound")?;
    }
    let replies = hear(request, &mut ports, reasons)?;
    let pairs = ports.into_iter().zip(senders);
    let ports = pairs.map(|(port, sender)| Box::new(LivePort::new(port, sender)) as Box<dyn Port>).collect();
    Ok(Opened { program: Some(program), replies, ports, mode, reasons: Vec::new(), link_wait })
}

/// Waits until the link is up, after what may have taken it down.
fn carrier(ifindex: u32, when: &'static str) -> Result<Duration, OpenError> {
    wait_for_carrier(ifindex, LINK_PATIENCE)?.ok_or(OpenError::NoCarrier { when })
}

/// A program and sockets on the interface for replies, if there is one, its queues shared out to the ports.
fn hear(
    request: &Request<'_>,
    ports: &mut [XskPort],
    reasons: &mut Vec<String>,
) -> Result<Option<Heard>, OpenError> {
    let Some(replies) = &request.replies else { return Ok(None) };
    let mut own_reasons = Vec::new();
    let heard = hear_replies(replies, request.ladder, ports, request.busy_poll, &mut own_reasons);
    reasons.extend(own_reasons.iter().map(|reason| format!("{}: {reason}", replies.interface)));
    let interface = || replies.interface.to_owned();
    heard.map(Some).map_err(|source| OpenError::Replies { interface: interface(), source: Box::new(source) })
}

fn hear_replies(
    replies: &Replies<'_>,
    ladder: Ladder,
    ports: &mut [XskPort],
    busy_poll: Option<u16>,
    reasons: &mut Vec<String>,
) -> Result<Heard, OpenError> {
    let mut program = Program::load(replies.settings)?;
    let attach = attach(&mut program, replies.ifindex, ladder, busy_poll.is_some(), reasons)?;
    carrier(replies.ifindex, "the XDP program was attached")?;
    let mut modes = match attach {
        AttachMode::Generic => BindMode::Copy.alone(),
        AttachMode::Native => ladder.bind,
    };
    let count = ports.len();
    for queue in 0..replies.queues {
        let port = &mut ports[queue as usize % count];
        let mut got = BindMode::Copy;
        open_receiver(port, replies.interface, queue, modes, busy_poll, |bound| {
            if queue == 0 {
                reasons.extend(bound.refusals.iter().cloned());
            }
            got = bound.mode;
            program.set_socket(bound.queue, bound.fd).map_err(OpenError::from)
        })?;
        modes = got.alone();
    }
    carrier(replies.ifindex, "the sockets were bound")?;
    let bind = modes.first().copied().unwrap_or(BindMode::Copy);
    Ok(Heard { program, mode: Mode::Xdp(XdpMode { attach, bind, live: false }) })
}

/// Workers to open ports for.
#[derive(Clone, Copy)]
struct Workers<'a> {
    sets: &'a [QueueSet],
    cores: &'a [usize],
}

impl<'a> Workers<'a> {
    fn of(request: &Request<'a>) -> Self {
        Self { sets: request.sets, cores: request.cores }
    }
}

/// Does some work on a core: what memory the kernel sets aside for it is on that core's node. Where the core is not to be
/// had, it is done where the thread runs.
fn on_core<T>(core: Option<usize>, work: impl FnOnce() -> T) -> T {
    let this = Pid::from_raw(0);
    let before = sched_getaffinity(this);
    if let (Some(id), Ok(_)) = (core, &before) {
        core_affinity::set_for_current(CoreId { id });
    }
    let done = work();
    if let Ok(before) = before {
        // Nothing depends on it but speed.
        let _ = sched_setaffinity(this, &before);
    }
    done
}

/// A socket on every queue of every set, all in the mode that the first one gets.
fn open_ports(
    program: &mut Program,
    request: &Request<'_>,
    workers: Workers<'_>,
    ladder: &'static [BindMode],
    reasons: &mut Vec<String>,
) -> Result<(Vec<XskPort>, BindMode), OpenError> {
    let mut modes = ladder;
    let mut ports = Vec::with_capacity(workers.sets.len());
    let mut got = None;
    for (i, set) in workers.sets.iter().enumerate() {
        let mut register = |bound: Bound<'_>| {
            if got.is_none() {
                reasons.extend(bound.refusals.iter().cloned());
            }
            got = Some(bound.mode);
            program.set_socket(bound.queue, bound.fd).map_err(OpenError::from)
        };
        let open = || {
            let Request { interface, busy_poll, probe, reset, .. } = *request;
            open_port(interface, set, modes, busy_poll, probe, reset, &mut register)
        };
        let port = on_core(workers.cores.get(i).copied(), open)?;
        modes = match got {
            Some(mode) => mode.alone(),
            None => modes,
        };
        ports.push(port);
    }
    Ok((ports, got.unwrap_or(BindMode::Copy)))
}

/// A sender of live frames for each worker. Started after the program was attached: some drivers have the queues for it
/// only then.
fn senders(request: &Request<'_>, live: &Live<'_>) -> Result<Vec<Sender>, LiveError> {
    if !live.one_hop {
        return Err(LiveError::NextHops);
    }
    if let Some(hazard) = live.hazard {
        return Err(LiveError::Hazard { what: hazard.to_owned() });
    }
    if !live.one_interface {
        return Err(LiveError::Interfaces);
    }
    let start = |&core: &usize| {
        Sender::start(&live::Settings {
            interface: request.interface,
            ifindex: request.ifindex,
            mac: live.mac,
            core,
            probe: request.probe,
        })
    };
    live.cores.iter().take(live.sets.len()).map(start).collect()
}

fn attach(
    program: &mut Program,
    ifindex: u32,
    ladder: Ladder,
    polls: bool,
    reasons: &mut Vec<String>,
) -> Result<AttachMode, OpenError> {
    let (last, better) = ladder.attach.split_last().ok_or(AttachError::NoInterface { ifindex })?;
    for &mode in better {
        match program.attach(ifindex, mode) {
            Ok(()) => return Ok(mode),
            Err(error) if error.generic_may_help() => reasons.push(error.to_string()),
            Err(error) => return Err(error.into()),
        }
    }
    program.attach(ifindex, *last)?;
    match (*last, polls) {
        (AttachMode::Generic, true) => Err(OpenError::NothingToPoll { why: reasons.join("; ") }),
        (mode, _) => Ok(mode),
    }
}
