//! Opens a NIC for a scan: attaches the XDP program, binds a socket to every RX queue, and reports which mode it got
//! and why no faster one.
//!
//! The order of modes is: a program run by the driver before one run by the network stack, and zero-copy before copy.
//! Where zero-copy is unavailable, probes may leave as live frames. AF_PACKET, without XDP, comes last. Every mode that
//! failed leaves its reason. Another program on the interface is not a reason to fall back: the user has to decide
//! that. The program is attached before the first socket is bound, because some drivers need this order. It is detached
//! when [`OpenedNic`] is dropped or the process dies.

mod error;
mod mode;

use std::time::Duration;

pub use error::{Alternative, OpenError};
use error::{reason, refusal};
pub use mode::{Mode, XdpMode};
use wire::packet::{MacAddr, Template};
use wire::proof::Check;

use super::affinity::on_core;
use super::bpf::{AttachError, AttachMode, ProgramSettings, XdpProgram};
use super::live::{self, LiveError, LivePort, Sender};
use super::xsk::{BindMode, Bound, QueueSet, SocketOptions, XskPort, open_port, open_receiver, rx_frames};
use super::{Placement, Port, packet};
use crate::nic::wait_for_carrier;

/// How long the link may stay down after the program was attached or a socket was bound. Some drivers reset the NIC for
/// it, and copper takes seconds to negotiate a speed. Shorter fails on such NICs; longer delays the error when the
/// cable is out.
const LINK_PATIENCE: Duration = Duration::from_secs(15);

/// The modes that may be tried, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ladder {
    /// How the program may be attached.
    pub attach: &'static [AttachMode],
    /// How sockets may be bound.
    pub bind: &'static [BindMode],
}

/// An opened NIC.
pub struct OpenedNic {
    /// The attached program, where there is one. Dropping it detaches.
    pub program: Option<XdpProgram>,
    /// The interface that receives replies, if it is another one.
    pub replies: Option<ReplyListener>,
    /// The workers.
    pub workers: Vec<PlacedPort>,
    /// The mode that was reached.
    pub mode: Mode,
    /// Why no better mode: one reason for each mode that was tried and failed.
    pub reasons: Vec<String>,
    /// How long the scan waited for the link.
    pub link_wait: Duration,
}

/// A worker's share of the NIC.
pub struct PlacedPort {
    /// Its queues, as they were opened, and its cores.
    pub placement: Placement,
    /// The port that it sends and receives through.
    pub port: Box<dyn Port>,
}

impl PlacedPort {
    fn new(placement: &Placement, port: impl Port + 'static) -> Self {
        Self { placement: placement.clone(), port: Box::new(port) }
    }
}

/// Another interface, which receives replies.
pub struct ReplyListener {
    /// Its program. Dropping it detaches.
    pub program: XdpProgram,
    /// The mode that it reached.
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
    /// The facts about the scan that its program needs.
    pub settings: &'a ProgramSettings<'a>,
}

/// The NIC to open, and how.
#[derive(Clone, Copy, Debug)]
pub struct OpenRequest<'a> {
    /// Name of the interface.
    pub interface: &'a str,
    /// Its index.
    pub ifindex: u32,
    /// The modes that may be tried.
    pub ladder: Ladder,
    /// Whether AF_PACKET may be used.
    pub packet: PacketUse,
    /// Distinguishes answers from other packets.
    pub check: &'a Check,
    /// Bytes to capture of a reply.
    pub capture_len: usize,
    /// The facts about the scan that the XDP program needs.
    pub settings: &'a ProgramSettings<'a>,
    /// The place of each worker.
    pub workers: &'a [Placement],
    /// Another interface on which replies may arrive.
    pub replies: Option<Replies<'a>>,
    /// How to send live frames, if they are requested.
    pub live: Option<Live<'a>>,
    /// Packets that one call polls the driver for, if the sockets are to be polled.
    pub busy_poll: Option<u16>,
    /// The probe.
    pub probe: &'a Template,
    /// The reset, if there is one.
    pub reset: Option<&'a Template>,
}

impl OpenRequest<'_> {
    /// Whether AF_PACKET may be used where XDP is unavailable. It receives on one interface; it leaves VLAN tags, which
    /// these templates have, to the kernel; and it cannot poll a driver.
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
    /// If XDP is unavailable.
    AsLastResort,
    /// No other mode may be used.
    Only {
        /// Why, if the user did not request it.
        why: Option<&'static str>,
    },
}

/// How to send live frames.
#[derive(Clone, Copy, Debug)]
pub struct Live<'a> {
    /// The place of each worker. There may be fewer workers, because each needs a second core for its sender.
    pub workers: &'a [Placement],
    /// Our MAC address.
    pub mac: MacAddr,
    /// Whether all probes go to one MAC address, as they must.
    pub one_hop: bool,
    /// The reason why they must not be tried at all, if there is one.
    pub hazard: Option<&'a str>,
    /// Whether the scan has one interface only, as it must.
    pub one_interface: bool,
    /// Whether live frames are required. Otherwise they are used if zero-copy is unavailable and they work.
    pub must: bool,
}

/// Opens the NIC in the best available mode.
///
/// # Errors
/// The reason why the last mode failed. A missing privilege, another program or a busy queue ends the attempt at once.
pub fn open(request: &OpenRequest<'_>) -> Result<OpenedNic, OpenError> {
    let mut reasons = Vec::new();
    if let PacketUse::Only { why } = request.packet {
        reasons.extend(why.map(str::to_owned));
        return open_packet(request, reasons, Duration::ZERO);
    }
    match open_xdp(request, &mut reasons) {
        Ok(opened) => Ok(OpenedNic { reasons, ..opened }),
        Err(error) if request.may_use_packet() && error.packet_may_help() => {
            reasons.push(reason(&error));
            let link_wait = carrier(request.ifindex, "the XDP program was taken off")?;
            open_packet(request, reasons, link_wait)
        }
        Err(error) => Err(error),
    }
}

fn open_packet(
    request: &OpenRequest<'_>,
    reasons: Vec<String>,
    link_wait: Duration,
) -> Result<OpenedNic, OpenError> {
    let ports = packet::open_ports(&packet::PacketRequest {
        ifindex: request.ifindex,
        workers: request.workers.len(),
        check: request.check,
        capture_len: request.capture_len,
        ring_len: packet::RING_LEN,
        probe: request.probe,
        reset: request.reset,
    })?;
    // A packet socket does not belong to a queue.
    let place = |worker: &Placement| Placement { queues: Vec::new(), ..worker.clone() };
    let places = request.workers.iter().map(place);
    let workers = places.zip(ports).map(|(place, port)| PlacedPort::new(&place, port)).collect();
    Ok(OpenedNic { program: None, replies: None, workers, mode: Mode::Packet, reasons, link_wait })
}

/// Tries the modes above AF_PACKET. The reasons go to `reasons`, where the caller finds them also after an error.
fn open_xdp(request: &OpenRequest<'_>, reasons: &mut Vec<String>) -> Result<OpenedNic, OpenError> {
    let mut program = XdpProgram::load(request.settings)?;
    let attach = attach(&mut program, request.ifindex, request.ladder, request.busy_poll.is_some(), reasons)?;
    // Send no probe before the link is back: it would count as sent, and be lost.
    let mut link_wait = carrier(request.ifindex, "the XDP program was attached")?;
    let mut ladder = request.ladder.bind;
    if attach == AttachMode::Generic && ladder.len() > 1 {
        // Zero-copy needs the driver to run the program.
        ladder = &[BindMode::Copy];
    }
    let (mut ports, bind) = match open_ports(&mut program, request, request.workers, ladder, reasons) {
        // A later queue has not the mode that the first one got.
        Err(OpenError::Socket(error)) if ladder.len() > 1 && error.copy_may_help() => {
            reasons.push(reason(&error));
            open_ports(&mut program, request, request.workers, BindMode::Copy.alone(), reasons)?
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
            reasons.push(reason(&error));
            None
        }
    };
    let mode = Mode::Xdp(XdpMode { attach, bind, live: senders.is_some() });
    let workers = match &senders {
        Some((live, _)) if !same_queues(live.workers, request.workers) => {
            drop(ports);
            (ports, _) = open_ports(&mut program, request, live.workers, bind.alone(), reasons)?;
            link_wait += carrier(request.ifindex, "the sockets were bound")?;
            live.workers
        }
        Some((live, _)) => live.workers,
        None => request.workers,
    };
    let replies = listen(request, &mut ports, reasons)?;
    let ports = workers.iter().zip(ports);
    let workers = match senders {
        Some((_, senders)) => ports
            .zip(senders)
            .map(|((place, port), sender)| PlacedPort::new(place, LivePort::new(port, sender)))
            .collect(),
        None => ports.map(|(place, port)| PlacedPort::new(place, port)).collect(),
    };
    Ok(OpenedNic { program: Some(program), replies, workers, mode, reasons: Vec::new(), link_wait })
}

fn same_queues(some: &[Placement], others: &[Placement]) -> bool {
    some.iter().map(|worker| &worker.queues).eq(others.iter().map(|worker| &worker.queues))
}

/// Waits until the link is up, after a step that may have taken it down.
fn carrier(ifindex: u32, when: &'static str) -> Result<Duration, OpenError> {
    wait_for_carrier(ifindex, LINK_PATIENCE)?.ok_or(OpenError::NoCarrier { when })
}

/// Opens the interface for replies, if there is one: attaches its program, and shares its queues out to the ports.
fn listen(
    request: &OpenRequest<'_>,
    ports: &mut [XskPort],
    reasons: &mut Vec<String>,
) -> Result<Option<ReplyListener>, OpenError> {
    let Some(replies) = &request.replies else { return Ok(None) };
    let mut own_reasons = Vec::new();
    let listener = listen_on(replies, request.ladder, ports, request.busy_poll, &mut own_reasons);
    reasons.extend(own_reasons.iter().map(|reason| format!("{}: {reason}", replies.interface)));
    let interface = || replies.interface.to_owned();
    listener
        .map(Some)
        .map_err(|source| OpenError::Replies { interface: interface(), source: Box::new(source) })
}

fn listen_on(
    replies: &Replies<'_>,
    ladder: Ladder,
    ports: &mut [XskPort],
    busy_poll: Option<u16>,
    reasons: &mut Vec<String>,
) -> Result<ReplyListener, OpenError> {
    let mut program = XdpProgram::load(replies.settings)?;
    let attach = attach(&mut program, replies.ifindex, ladder, busy_poll.is_some(), reasons)?;
    carrier(replies.ifindex, "the XDP program was attached")?;
    let mut modes = match attach {
        AttachMode::Generic => BindMode::Copy.alone(),
        AttachMode::Native => ladder.bind,
    };
    let options = SocketOptions { rx_frames: rx_frames(replies.queues), busy_poll };
    let count = ports.len();
    for queue in 0..replies.queues {
        let port = &mut ports[queue as usize % count];
        let mut got = BindMode::Copy;
        open_receiver(port, replies.interface, queue, modes, options, |bound| {
            if queue == 0 {
                reasons.extend(bound.refusals.iter().map(refusal));
            }
            got = bound.mode;
            program.set_socket(bound.queue, bound.fd).map_err(OpenError::from)
        })?;
        modes = got.alone();
    }
    carrier(replies.ifindex, "the sockets were bound")?;
    let bind = modes.first().copied().unwrap_or(BindMode::Copy);
    Ok(ReplyListener { program, mode: Mode::Xdp(XdpMode { attach, bind, live: false }) })
}

/// Opens a socket on every queue of every set, all in the mode that the first one gets.
fn open_ports(
    program: &mut XdpProgram,
    request: &OpenRequest<'_>,
    workers: &[Placement],
    ladder: &'static [BindMode],
    reasons: &mut Vec<String>,
) -> Result<(Vec<XskPort>, BindMode), OpenError> {
    let mut modes = ladder;
    let mut ports = Vec::with_capacity(workers.len());
    let queues = workers.iter().map(|worker| worker.queues.len() as u32).sum();
    let options = SocketOptions { rx_frames: rx_frames(queues), busy_poll: request.busy_poll };
    let mut got = None;
    for worker in workers {
        let set = QueueSet { queues: worker.queues.clone() };
        let mut register = |bound: Bound<'_>| {
            if got.is_none() {
                reasons.extend(bound.refusals.iter().map(refusal));
            }
            got = Some(bound.mode);
            program.set_socket(bound.queue, bound.fd).map_err(OpenError::from)
        };
        let open = || {
            let OpenRequest { interface, probe, reset, .. } = *request;
            open_port(interface, &set, modes, options, probe, reset, &mut register)
        };
        let port = on_core(worker.core, open)?;
        modes = match got {
            Some(mode) => mode.alone(),
            None => modes,
        };
        ports.push(port);
    }
    Ok((ports, got.unwrap_or(BindMode::Copy)))
}

/// Starts a sender of live frames for each worker. It does so after the program was attached, because some drivers have
/// the queues for live frames only then.
fn senders(request: &OpenRequest<'_>, live: &Live<'_>) -> Result<Vec<Sender>, LiveError> {
    if !live.one_hop {
        return Err(LiveError::NextHops);
    }
    if let Some(hazard) = live.hazard {
        return Err(LiveError::Hazard { what: hazard.to_owned() });
    }
    if !live.one_interface {
        return Err(LiveError::Interfaces);
    }
    let start = |worker: &Placement| {
        Sender::start(&live::SenderSettings {
            interface: request.interface,
            ifindex: request.ifindex,
            mac: live.mac,
            core: worker.sender_core.unwrap_or(worker.core),
            probe: request.probe,
        })
    };
    live.workers.iter().map(start).collect()
}

fn attach(
    program: &mut XdpProgram,
    ifindex: u32,
    ladder: Ladder,
    polls: bool,
    reasons: &mut Vec<String>,
) -> Result<AttachMode, OpenError> {
    let (last, better) = ladder.attach.split_last().ok_or(AttachError::NoInterface { ifindex })?;
    for &mode in better {
        match program.attach(ifindex, mode) {
            Ok(()) => return Ok(mode),
            Err(error) if error.generic_may_help() => reasons.push(reason(&error)),
            Err(error) => return Err(error.into()),
        }
    }
    program.attach(ifindex, *last)?;
    match (*last, polls) {
        (AttachMode::Generic, true) => Err(OpenError::NothingToPoll { why: reasons.join("; ") }),
        (mode, _) => Ok(mode),
    }
}
