//! The NICs of a scan: how each is opened, which mode it got, and how it is released.
//!
//! What always holds: however a scan or its set-up ends, the ports are closed before the XDP programs, and the tables
//! that steer replies are restored after both.

mod places;

use std::io::BufWriter;
use std::net::Ipv4Addr;

use tracing::{info, warn};

use super::error::SurveyError;
use crate::cli::IoMode;
use crate::engine::{WorkerReport, cores};
use crate::io::bpf::abi::{self, COUNTERS};
use crate::io::bpf::{AttachMode, ProgramSettings, XdpProgram};
use crate::io::dryrun::DryRunPort;
use crate::io::fast_dryrun::FastDryRunPort;
use crate::io::open::{
    self, Ladder, Live, Mode, OpenRequest, OpenedNic, PacketUse, PlacedPort, Replies, ReplyListener,
};
use crate::io::xsk::BindMode;
use crate::io::{Placement, Port};
use crate::nic::{self, Interface};
use crate::plan::{NetworkPlan, Plan};
use crate::probe::Probe;
use crate::steering::{self, Steering, Wish};
use crate::units;
use places::{places, places_beside_senders, shares};

/// What XDP programs counted, by name.
pub(super) type Verdicts = Vec<(&'static str, u64)>;

/// A worker's port, before the worker is started.
pub(super) struct OpenPort {
    /// The interface, by its place in the plan.
    pub(super) interface: usize,
    pub(super) placement: Placement,
    pub(super) port: Box<dyn Port>,
}

/// The NICs in use.
#[derive(Default)]
pub(super) struct Nics {
    // Fields are dropped in this order.
    /// The ports of the workers, until the workers get them.
    pub(super) ports: Vec<OpenPort>,
    /// What was opened on each interface; empty in a dry run.
    pub(super) links: Vec<OpenedLink>,
    steering: Option<Steering>,
}

/// What was opened on an interface.
pub(super) struct OpenedLink {
    /// The attached XDP program, if there is one: kept for its counters, and attached as long as this lives.
    pub(super) program: Option<XdpProgram>,
    /// The listener for replies on another interface.
    pub(super) replies: Option<ReplyListener>,
    pub(super) mode: Mode,
    workers: u32,
    /// Why it was not opened in a better mode.
    reasons: Vec<String>,
    /// Source addresses for which this host's kernel resets connections that replies have half opened.
    kernel_resets: Vec<u32>,
}

/// What is known of the NICs after they have been released.
#[derive(Debug)]
pub(super) struct ClosedNics {
    /// The mode in one word, or one for each interface if they differ.
    pub(super) mode: String,
    /// Why none was opened in a better mode.
    pub(super) reasons: Vec<String>,
    pub(super) links: Vec<ClosedLink>,
    /// The verdicts about packets on the interface for replies.
    pub(super) reply_verdicts: Option<Verdicts>,
    /// Number of entries of each table that steered replies.
    pub(super) steered: Vec<usize>,
}

/// What is known of an interface after it has been released.
#[derive(Debug)]
pub(super) struct ClosedLink {
    pub(super) mode: Mode,
    pub(super) workers: u32,
    /// The verdicts about packets that arrived.
    pub(super) verdicts: Verdicts,
}

impl ClosedNics {
    /// The verdicts of all programs, added up.
    pub(super) fn verdicts(&self) -> Verdicts {
        let programs = self.links.iter().map(|link| &link.verdicts).chain(&self.reply_verdicts);
        // Only those that could be read.
        let mut programs = programs.filter(|verdicts| !verdicts.is_empty());
        let mut sum = programs.next().cloned().unwrap_or_default();
        for program in programs {
            sum.iter_mut().zip(program).for_each(|(sum, (_, value))| sum.1 += value);
        }
        sum
    }
}

impl Nics {
    /// Opens what the plan names. `probes` has one per interface.
    pub(super) fn open(plan: &Plan, probes: &[impl Probe]) -> Result<Self, SurveyError> {
        if plan.dryrun {
            return Ok(Self { ports: vec![dry_run(plan, &probes[0])], ..Self::default() });
        }
        let senders: Vec<u32> = plan.networks().map(|network| network.senders).collect();
        let shares = shares(&senders, plan.workers.count);
        let mut nics = Self { steering: steer(plan)?, ..Self::default() };
        for (interface, (network, share)) in plan.networks().zip(shares).enumerate() {
            let Some(device) = network.device() else { continue };
            let opening = Opening { plan, network, device, probe: &probes[interface] };
            let (link, opened) = opening.open(share, nics.ports.len())?;
            nics.links.push(link);
            let port = |PlacedPort { placement, port }| OpenPort { interface, placement, port };
            nics.ports.extend(opened.into_iter().map(port));
        }
        // A driver may have created its own table when the program was attached.
        nics.steering.as_ref().map_or(Ok(()), Steering::set)?;
        Ok(nics)
    }

    /// The programs of the interfaces, in the plan's order, and then that of the interface for replies.
    pub(super) fn programs(&self) -> impl Iterator<Item = &XdpProgram> {
        let replies = self.links.iter().filter_map(|link| link.replies.as_ref());
        let own = self.links.iter().filter_map(|link| link.program.as_ref());
        own.chain(replies.map(|listener| &listener.program))
    }

    /// Source addresses for which this host's kernel resets connections that replies have half opened.
    pub(super) fn kernel_resets(&self) -> Vec<u32> {
        self.links.iter().flat_map(|link| link.kernel_resets.iter().copied()).collect()
    }

    /// Reads the programs' counters, detaches the programs, and restores the tables.
    pub(super) fn close(self, workers: &[WorkerReport]) -> ClosedNics {
        let Self { ports, links, steering } = self;
        drop(ports);
        let listener = links.iter().find_map(|link| link.replies.as_ref());
        let reply_verdicts = listener.map(|listener| counted(&listener.program));
        let verdicts = links.iter().enumerate().map(|(interface, link)| match &link.program {
            Some(program) => counted(program),
            None => judged_by(workers.iter().filter(|worker| worker.interface == interface)),
        });
        let verdicts: Vec<Verdicts> = verdicts.collect();
        let mut modes: Vec<&str> = links.iter().map(|link| link.mode.name()).collect();
        modes.dedup();
        let mode = if links.is_empty() { "dryrun".to_owned() } else { modes.join(",") };
        let (mut reasons, mut closed) = (Vec::new(), Vec::new());
        for (link, verdicts) in links.into_iter().zip(verdicts) {
            reasons.extend(link.reasons);
            closed.push(ClosedLink { mode: link.mode, workers: link.workers, verdicts });
        }
        let steered = steering.as_ref().map(|steering| steering.entries().collect()).unwrap_or_default();
        drop(steering);
        ClosedNics { mode, reasons, links: closed, reply_verdicts, steered }
    }
}

/// The program's counters by name; empty if they cannot be read.
fn counted(program: &XdpProgram) -> Verdicts {
    program.counters().map(|counts| abi::named(&counts).collect()).unwrap_or_default()
}

/// The verdicts of the ports, if there is no program.
fn judged_by<'a>(workers: impl Iterator<Item = &'a WorkerReport>) -> Verdicts {
    let mut total = [0; COUNTERS];
    for counts in workers.filter_map(|worker| worker.statistics.verdicts.as_ref()) {
        total.iter_mut().zip(counts).for_each(|(total, count)| *total += count);
    }
    abi::named(&total).collect()
}

/// The port of a dry run, which has no NIC.
fn dry_run(plan: &Plan, probe: &impl Probe) -> OpenPort {
    let (out, template) = (BufWriter::new(std::io::stdout()), probe.template());
    let port: Box<dyn Port> = match plan.fast_dryrun {
        true => Box::new(FastDryRunPort::new(out, template)),
        false => Box::new(DryRunPort::new(out, template)),
    };
    let placement = Placement { core: plan.workers.cores[0], ..Placement::default() };
    OpenPort { interface: 0, placement, port }
}

/// Restores what killed scans have left set on the interfaces, and steers replies if requested.
fn steer(plan: &Plan) -> Result<Option<Steering>, SurveyError> {
    let wish = |network| Some(Wish { interface: NetworkPlan::device(network)?, queues: &network.queues });
    let wishes: Vec<Wish<'_>> = plan.networks().filter_map(wish).collect();
    let names: Vec<&str> = wishes.iter().map(|wish| wish.interface.name.as_str()).collect();
    for line in steering::recover(&names) {
        match line {
            Ok(line) => info!(target: "steer", "{line}"),
            Err(line) => warn!(target: "steer", "{line}"),
        }
    }
    Ok(plan.steer.then(|| Steering::begin(&wishes)).transpose()?)
}

/// One interface to be opened.
struct Opening<'a, P> {
    plan: &'a Plan,
    network: &'a NetworkPlan,
    /// The interface that frames go through.
    device: &'a Interface,
    probe: &'a P,
}

impl<P: Probe> Opening<'_, P> {
    /// Opens it for this many workers, after `before` others.
    fn open(&self, workers: u32, before: usize) -> Result<(OpenedLink, Vec<PlacedPort>), SurveyError> {
        let opened = self.reach(workers, before);
        let interface = || self.device.name.clone();
        let opened = opened.map_err(|source| SurveyError::Open { interface: interface(), source })?;
        self.tell(&opened);
        let OpenedNic { program, replies, workers, mode, reasons, .. } = opened;
        let kernel_resets = if program.is_none() { self.kernel_resets() } else { Vec::new() };
        let name = self.name();
        let link = OpenedLink {
            program,
            replies,
            mode,
            workers: workers.len() as u32,
            reasons: reasons.iter().map(|reason| format!("{name}{reason}")).collect(),
            kernel_resets,
        };
        Ok((link, workers))
    }

    fn reach(&self, workers: u32, before: usize) -> Result<OpenedNic, open::OpenError> {
        let Self { plan, network, device, probe } = *self;
        let sources = plan.sources();
        let settings = self.settings(&sources);
        let reply_settings =
            plan.replies.as_ref().map(|replies| ProgramSettings { tags: replies.tags, ..settings });
        let replies = plan.replies.as_ref().zip(reply_settings.as_ref());
        let replies = replies.map(|(replies, settings)| Replies {
            interface: &replies.device.name,
            ifindex: replies.device.index,
            queues: replies.device.rx_queues,
            settings,
        });
        let (queues, rate_pps) = (&network.queues, plan.limits.rate_pps);
        let hazard = device.redirect_hazard();
        let live = places_beside_senders(&plan.workers, queues, device.tx_queues, rate_pps);
        let live = live.as_ref().map(|workers| Live {
            workers,
            mac: network.source_mac,
            one_hop: network.networks.is_empty(),
            one_interface: plan.other_networks.is_empty(),
            hazard: hazard.as_deref(),
            must: plan.workers.io_mode == IoMode::Live,
        });
        open::open(&OpenRequest {
            interface: &device.name,
            ifindex: device.index,
            ladder: ladder(plan.workers.io_mode),
            packet: packet_use(plan, network),
            check: probe.check(),
            capture_len: probe.capture_len(),
            settings: &settings,
            workers: &places(&plan.workers.cores, queues, device.tx_queues, workers, before),
            replies,
            live,
            busy_poll: plan.workers.busy_poll,
            probe: probe.template(),
            reset: probe.reset_template(),
        })
    }

    /// The settings of the XDP program.
    fn settings<'s>(&self, sources: &'s [Ipv4Addr]) -> ProgramSettings<'s> {
        let (plan, check) = (self.plan, self.probe.check());
        ProgramSettings {
            key: plan.probe.key,
            ports: plan.probe.source_ports,
            copies: plan.probe.copies,
            form: check.form,
            port_in_cookie: check.port_in_cookie,
            echo: check.echo,
            drop_invalid: plan.workers.drop_invalid,
            own_sockets: sources.iter().any(|source| nic::is_local(*source)),
            // Replies may arrive on another interface than the one that their probes left by.
            sources,
            tags: self.network.tags,
        }
    }

    /// The beginning of its log lines, if there are several interfaces.
    fn name(&self) -> String {
        match self.plan.other_networks.is_empty() {
            true => String::new(),
            false => format!("{}: ", self.device.name),
        }
    }

    /// Logs what was opened.
    fn tell(&self, opened: &OpenedNic) {
        let OpenedNic { replies, workers, mode, reasons, link_wait, .. } = opened;
        let (name, count) = (self.name(), units::counted(workers.len() as u64, "worker"));
        match mode {
            Mode::Packet => info!(target: "io", "{name}{mode}, {count}"),
            Mode::Xdp(_) => {
                info!(target: "io", "{name}{mode}, {}, {count}", units::counted(self.network.queues.len() as u64, "RX queue"));
            }
        }
        let replies = replies.as_ref().zip(self.plan.replies.as_ref());
        if let Some((listener, asked)) = replies {
            info!(
                target: "io",
                "replies also on {}: {}, {} RX queues", asked.name, listener.mode, asked.device.rx_queues
            );
        }
        if let Some(budget) = self.plan.workers.busy_poll {
            tell_busy_polling(budget, &self.device.name);
            if let Some((_, asked)) = replies {
                tell_busy_polling(budget, &asked.device.name);
            }
        }
        for reason in reasons {
            info!(target: "io", "{name}better mode unavailable: {reason}");
        }
        if !link_wait.is_zero() {
            let seconds = link_wait.as_secs_f64();
            info!(target: "io", "{name}the driver reset the NIC; its link was back after {seconds:.1} s");
        }
        let cores: Vec<String> = workers.iter().map(|worker| core_and_node(worker.placement.core)).collect();
        info!(target: "io", "{name}workers on cores {}", cores.join(", "));
    }

    /// Source addresses for which the host's kernel resets connections that replies have half opened. Without an XDP
    /// program that takes the replies, the kernel receives them as well, and it resets those to its own addresses.
    fn kernel_resets(&self) -> Vec<u32> {
        let plan = self.plan;
        if plan.workers.drop_invalid {
            warn!(target: "io", "--drop-invalid has no effect: with AF_PACKET the host receives all packets as well");
        }
        if plan.workers.queues_given {
            warn!(target: "io", "--queues has no effect: AF_PACKET receives from all queues");
        }
        let local = self.network.sources.iter().copied().filter(|source| nic::is_local(*source));
        let local: Vec<u32> = local.map(u32::from).collect();
        if plan.probe.reset && !local.is_empty() {
            info!(
                target: "io",
                "this host's kernel also receives the replies, and resets the connections that they half open"
            );
        }
        local
    }
}

/// Logs that an interface is polled, and whether its interrupts are deferred as polling needs it.
fn tell_busy_polling(budget: u16, interface: &str) {
    if nic::defers_interrupts(interface) {
        info!(target: "io", "{interface} is polled by the workers, {budget} packets at a time; its interrupts are deferred");
    } else {
        warn!(
            target: "io",
            "--busy-poll: {interface} has napi_defer_hard_irqs or gro_flush_timeout at 0, so interrupts continue in \
             addition to polling, which then gains little; `scripts/tune-nic.sh {interface} apply --only busy-poll` \
             sets them"
        );
    }
}

/// A core, with its NUMA node if the machine has nodes.
fn core_and_node(core: usize) -> String {
    cores::node_of(core).map_or_else(|| core.to_string(), |node| format!("{core} (node {node})"))
}

/// Whether AF_PACKET is used. Some interfaces support nothing else; the plan has ensured that no other mode and no
/// steering is requested there.
fn packet_use(plan: &Plan, network: &NetworkPlan) -> PacketUse {
    match (plan.workers.io_mode, network.no_xdp) {
        (IoMode::Packet, _) => PacketUse::Only { why: None },
        (_, Some(why)) => PacketUse::Only { why: Some(why) },
        (IoMode::Auto, None) if !plan.steer => PacketUse::AsLastResort,
        _ => PacketUse::Never,
    }
}

fn ladder(mode: IoMode) -> Ladder {
    use AttachMode::{Generic, Native};
    use BindMode::{Copy, ZeroCopy};
    match mode {
        IoMode::Auto | IoMode::Packet => Ladder { attach: &[Native, Generic], bind: &[ZeroCopy, Copy] },
        IoMode::Live => Ladder { attach: &[Native], bind: &[ZeroCopy, Copy] },
        IoMode::Zerocopy => Ladder { attach: &[Native], bind: &[ZeroCopy] },
        IoMode::Copy => Ladder { attach: &[Native], bind: &[Copy] },
        IoMode::Generic => Ladder { attach: &[Generic], bind: &[Copy] },
    }
}
