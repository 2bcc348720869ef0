//! The way to the wire: which back end a plan asks for, and what was got.

use std::io::BufWriter;

use tracing::{info, warn};

use super::SurveyError;
use crate::cli::IoMode;
use crate::engine::cores;
use crate::io::Port;
use crate::io::bpf::abi::{self, COUNTERS, Counts};
use crate::io::bpf::{Mode as AttachMode, Program, Settings};
use crate::io::dryrun::DryRunPort;
use crate::io::fast_dryrun::FastDryRunPort;
use crate::io::open::{self, Heard, Ladder, Live, Mode, Opened, PacketUse, Replies, Request};
use crate::io::xsk::{BindMode, QueueSet, share_out};
use crate::nic;
use crate::plan::{NetworkPlan, Plan, WorkerPlan};
use crate::probe::Probe;

/// Packets a second that one worker sends in copy mode without effort: a scan that asks for no more has no use for live
/// frames, which occupy a second core.
const COPY_PPS: u64 = 500_000;

/// What a plan's ports are and what stands behind them.
pub(super) struct Wire {
    pub(super) ports: Vec<Box<dyn Port>>,
    /// Cores for the workers, used in turn.
    pub(super) cores: Vec<usize>,
    /// Cores of the senders of live frames, one beside each worker; empty where there are none.
    pub(super) sender_cores: Vec<usize>,
    /// The queues of each worker; empty where there are none.
    pub(super) sets: Vec<QueueSet>,
    /// The interface of each worker, by its place in the plan.
    pub(super) interfaces: Vec<usize>,
    /// What was got of each interface; empty in a dry run.
    pub(super) links: Vec<Link>,
    /// What hears replies on another interface.
    pub(super) replies: Option<Heard>,
    /// Source addresses for which this host's kernel resets what replies half open.
    pub(super) kernel_resets: Vec<u32>,
    /// What was got, in one word, or one for each interface if they differ.
    pub(super) mode: String,
    pub(super) reasons: Vec<String>,
}

impl Wire {
    /// The programs of the interfaces, in the plan's order, and that of the interface for replies.
    pub(super) fn programs(&self) -> impl Iterator<Item = &Program> {
        let replies = self.replies.iter().map(|heard| &heard.program);
        self.links.iter().filter_map(|link| link.program.as_ref()).chain(replies)
    }

    /// Takes the programs off the interfaces. Their counters are read.
    pub(super) fn close(&mut self) {
        self.links.iter_mut().for_each(|link| link.program = None);
        self.replies = None;
    }

    /// What became of the packets that arrived, by name: for each interface, and for that for replies. Where there is no
    /// program, its workers' ports have judged.
    pub(super) fn verdicts(&self, judged: &[Option<Counts>]) -> Vec<Vec<(&'static str, u64)>> {
        let by_workers = |interface: usize| {
            let mut total = [0; COUNTERS];
            let own = self.interfaces.iter().zip(judged).filter(|(own, _)| **own == interface);
            for counts in own.filter_map(|(_, counts)| counts.as_ref()) {
                total.iter_mut().zip(counts).for_each(|(total, count)| *total += count);
            }
            abi::named(&total).collect()
        };
        let of_link =
            |(i, link): (usize, &Link)| link.program.as_ref().map_or_else(|| by_workers(i), counted);
        let replies = self.replies.iter().map(|heard| counted(&heard.program));
        self.links.iter().enumerate().map(of_link).chain(replies).collect()
    }
}

/// What was got of an interface.
pub(super) struct Link {
    /// The attached XDP program, where there is one: kept for its counters, and attached for as long as this lives.
    pub(super) program: Option<Program>,
    pub(super) mode: Mode,
    pub(super) workers: u32,
}

/// Opens what the plan names. `probes` are those of its interfaces.
pub(super) fn open(plan: &Plan, probes: &[impl Probe]) -> Result<Wire, SurveyError> {
    let mut wire = Wire {
        ports: Vec::new(),
        cores: plan.workers.cores.clone(),
        sender_cores: Vec::new(),
        sets: Vec::new(),
        interfaces: Vec::new(),
        links: Vec::new(),
        replies: None,
        kernel_resets: Vec::new(),
        mode: String::new(),
        reasons: Vec::new(),
    };
    if plan.dryrun {
        let (out, template) = (BufWriter::new(std::io::stdout()), probes[0].template());
        wire.ports.push(match plan.fast_dryrun {
            true => Box::new(FastDryRunPort::new(out, template)),
            false => Box::new(DryRunPort::new(out, template)),
        });
        wire.interfaces.push(0);
        "dryrun".clone_into(&mut wire.mode);
        return Ok(wire);
    }
    let senders: Vec<u32> = plan.networks().map(|network| network.senders).collect();
    let shares = shares(&senders, plan.workers.count);
    for (i, (network, workers)) in plan.networks().zip(shares).enumerate() {
        open_link(plan, network, &probes[i], workers, &mut wire)?;
        wire.interfaces.resize(wire.ports.len(), i);
    }
    let mut modes: Vec<&str> = wire.links.iter().map(|link| link.mode.name()).collect();
    modes.dedup();
    wire.mode = modes.join(",");
    Ok(wire)
}

/// How many of `workers` workers each interface gets, which have so many queues: one at least, and the others in turn.
fn shares(queues: &[u32], workers: u32) -> Vec<u32> {
    let mut shares = vec![0; queues.len()];
    let mut left = workers.max(queues.len() as u32);
    while left > 0 && shares.iter().zip(queues).any(|(share, queues)| share < queues) {
        for (share, &queues) in shares.iter_mut().zip(queues) {
            let one = u32::from(left > 0 && *share < queues);
            (*share, left) = (*share + one, left - one);
        }
    }
    shares
}

/// Opens one interface for so many workers, and adds them to `wire`.
fn open_link(
    plan: &Plan,
    network: &NetworkPlan,
    probe: &impl Probe,
    workers: u32,
    wire: &mut Wire,
) -> Result<(), SurveyError> {
    let Some(interface) = network.device() else { return Ok(()) };
    let several = !plan.other_networks.is_empty();
    let sources = plan.sources();
    let settings = Settings {
        key: plan.probe.key,
        ports: plan.probe.source_ports,
        probes: plan.probe.copies,
        form: probe.check().form,
        port_in_cookie: probe.check().port_in_cookie,
        echo: probe.check().echo,
        drop_invalid: plan.workers.drop_invalid,
        own_sockets: sources.iter().any(|source| nic::is_local(*source)),
        // Replies may arrive on another interface than their probes have left by.
        sources: &sources,
        tags: network.tags,
    };
    let sets = share_out(&network.queues, workers, interface.tx_queues);
    // As the workers are counted over all interfaces.
    let core_of = |worker: usize| plan.workers.cores[(wire.ports.len() + worker) % plan.workers.cores.len()];
    let cores: Vec<usize> = (0..sets.len()).map(core_of).collect();
    let pairs = Pairs::wanted(&plan.workers, &network.queues, interface.tx_queues, plan.limits.rate_pps);
    let hazard = interface.redirect_hazard();
    let live = pairs.as_ref().map(|pairs| Live {
        sets: &pairs.sets,
        worker_cores: &pairs.worker_cores,
        cores: &pairs.sender_cores,
        mac: network.source_mac,
        one_hop: network.networks.is_empty(),
        one_interface: !several,
        hazard: hazard.as_deref(),
        must: plan.workers.io_mode == IoMode::Live,
    });
    let reply_settings = plan.replies.as_ref().map(|replies| Settings { tags: replies.tags, ..settings });
    let replies = plan.replies.as_ref().zip(reply_settings.as_ref());
    let replies = replies.map(|(replies, settings)| Replies {
        interface: &replies.device.name,
        ifindex: replies.device.index,
        queues: replies.device.rx_queues,
        settings,
    });
    let opened = open::open(&Request {
        interface: &interface.name,
        ifindex: interface.index,
        ladder: ladder(plan.workers.io_mode),
        packet: packet_use(plan, network),
        check: probe.check(),
        capture_len: probe.capture_len(),
        settings: &settings,
        sets: &sets,
        cores: &cores,
        replies,
        live,
        busy_poll: plan.workers.busy_poll,
        probe: probe.template(),
        reset: probe.reset_template(),
    });
    let opened = opened.map_err(|source| SurveyError::Open { interface: interface.name.clone(), source })?;
    let Opened { program, replies, ports, mode, reasons, link_wait } = opened;
    let name = if several { format!("{}: ", interface.name) } else { String::new() };
    match mode {
        Mode::Packet => info!(target: "io", "{name}{mode}, {} workers", ports.len()),
        Mode::Xdp(_) => {
            info!(target: "io", "{name}{mode}, {} RX queues, {} workers", network.queues.len(), ports.len());
        }
    }
    if let (Some(heard), Some(asked)) = (&replies, &plan.replies) {
        info!(target: "io", "replies also on {}: {}, {} RX queues", asked.name, heard.mode, asked.device.rx_queues);
    }
    if let Some(budget) = plan.workers.busy_poll {
        tell_busy_polling(budget, &interface.name);
        if let (Some(_), Some(asked)) = (&replies, &plan.replies) {
            tell_busy_polling(budget, &asked.device.name);
        }
    }
    wire.replies = replies;
    for reason in &reasons {
        info!(target: "io", "{name}not better because: {reason}");
    }
    if !link_wait.is_zero() {
        info!(target: "io", "{name}the driver reset the NIC; its link was back after {:.1} s", link_wait.as_secs_f64());
    }
    wire.reasons.extend(reasons.iter().map(|reason| format!("{name}{reason}")));
    let sets = match pairs {
        Some(pairs) if mode.is_live() => {
            (wire.cores, wire.sender_cores) = (pairs.worker_cores, pairs.sender_cores);
            pairs.sets
        }
        // A packet socket belongs to no queue.
        _ if mode == Mode::Packet => vec![QueueSet { queues: Vec::new() }; ports.len()],
        _ => sets,
    };
    let used = wire.cores.iter().cycle().skip(wire.ports.len()).take(ports.len());
    let used: Vec<String> = used.map(|core| core_and_node(*core)).collect();
    info!(target: "io", "{name}workers on cores {}", used.join(", "));
    if program.is_none() {
        without_program(plan, network, wire);
    }
    wire.links.push(Link { program, mode, workers: ports.len() as u32 });
    wire.ports.extend(ports);
    wire.sets.extend(sets);
    Ok(())
}

/// Says that an interface is polled, and whether its interrupts let it be.
fn tell_busy_polling(budget: u16, interface: &str) {
    if nic::defers_interrupts(interface) {
        info!(target: "io", "{interface} is polled by the workers, {budget} packets at a time; its interrupts wait");
    } else {
        warn!(
            target: "io",
            "--busy-poll: {interface} has napi_defer_hard_irqs or gro_flush_timeout at 0, so interrupts go on beside the \
             polling, and it gains little; `scripts/tune-nic.sh {interface} apply --only busy-poll` sets them"
        );
    }
}

/// Without an XDP program that takes the replies, the host's kernel has them, too, and resets what they half open, where
/// they are for an address of its own.
fn without_program(plan: &Plan, network: &NetworkPlan, wire: &mut Wire) {
    if plan.workers.drop_invalid {
        warn!(target: "io", "--drop-invalid has no effect: with AF_PACKET the host sees everything that arrives");
    }
    if plan.workers.queues_given {
        warn!(target: "io", "--queues has no effect: AF_PACKET hears what arrives on all queues");
    }
    let local = network.sources.iter().copied().filter(|source| nic::is_local(*source));
    let known = wire.kernel_resets.len();
    wire.kernel_resets.extend(local.map(u32::from));
    if plan.probe.reset && wire.kernel_resets.len() > known {
        info!(target: "io", "this host's kernel sees the replies, too, and resets what they half open");
    }
}

/// The program's counters by name; empty if they cannot be read.
fn counted(program: &Program) -> Vec<(&'static str, u64)> {
    program.counters().map(|counts| abi::named(&counts).collect()).unwrap_or_default()
}

/// A core, with its node where the machine has such.
fn core_and_node(core: usize) -> String {
    cores::node_of(core).map_or_else(|| core.to_string(), |node| format!("{core} (node {node})"))
}

/// Workers with a sender of live frames beside each.
struct Pairs {
    sets: Vec<QueueSet>,
    worker_cores: Vec<usize>,
    sender_cores: Vec<usize>,
}

impl Pairs {
    /// The pairs of a scan that is to use live frames if it can: one that asks for them, or for more than copy mode
    /// gives and has the cores.
    fn wanted(workers: &WorkerPlan, queues: &[u32], tx_queues: u32, rate_pps: f64) -> Option<Self> {
        let cores = &workers.cores;
        let senders = queues.iter().filter(|&&queue| queue < tx_queues).count() as u32;
        let half = (cores.len() as u32 / 2).clamp(1, senders.max(1));
        let count = if workers.count_given { workers.count } else { half };
        let enough_cores = cores.len() >= 2 * count as usize;
        let fast = rate_pps == 0.0 || rate_pps > COPY_PPS as f64 * f64::from(workers.count);
        let wanted = match workers.io_mode {
            IoMode::Live => true,
            IoMode::Auto => fast && enough_cores,
            IoMode::Zerocopy | IoMode::Copy | IoMode::Generic | IoMode::Packet => false,
        };
        let core = |i: usize| cores[i % cores.len()];
        wanted.then(|| Self {
            sets: share_out(queues, count, tx_queues),
            worker_cores: (0..count as usize).map(|i| core(2 * i)).collect(),
            sender_cores: (0..count as usize).map(|i| core(2 * i + 1)).collect(),
        })
    }
}

/// Whether AF_PACKET is to be used. Some interfaces have nothing else; the plan has seen to it that no other mode is
/// insisted on there, and that nothing is to be steered.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn workers(io_mode: IoMode, cores: usize, queues: u32, given: Option<u32>) -> WorkerPlan {
        let count = given.unwrap_or(cores as u32).clamp(1, queues);
        let cores = (0..cores).collect();
        WorkerPlan {
            count,
            count_given: given.is_some(),
            queues,
            queues_given: false,
            cores,
            io_mode,
            busy_poll: None,
            drop_invalid: false,
        }
    }

    #[test]
    fn every_interface_has_a_worker() {
        assert_eq!(shares(&[4], 2), [2]);
        assert_eq!(shares(&[4, 4], 1), [1, 1]);
        assert_eq!(shares(&[4, 4], 5), [3, 2]);
        assert_eq!(shares(&[1, 8, 2], 8), [1, 5, 2]);
        assert_eq!(shares(&[1, 1], 64), [1, 1]);
    }

    /// Two cores a worker, no more workers than were asked for, and live frames only where they are of use.
    #[test]
    fn pairs() {
        let pairs = |workers: &WorkerPlan, rate: u32| {
            let queues: Vec<u32> = (0..workers.queues).collect();
            Pairs::wanted(workers, &queues, 99, f64::from(rate))
                .map(|pairs| (pairs.worker_cores, pairs.sender_cores))
        };
        let auto = |cores, queues, given| workers(IoMode::Auto, cores, queues, given);
        assert_eq!(pairs(&auto(8, 4, None), 0), Some((vec![0, 2, 4, 6], vec![1, 3, 5, 7])));
        assert_eq!(pairs(&auto(8, 4, Some(1)), 0), Some((vec![0], vec![1])));
        assert_eq!(pairs(&auto(2, 4, None), 0), Some((vec![0], vec![1])));
        assert_eq!(pairs(&auto(2, 4, Some(2)), 0), None);
        assert_eq!(pairs(&auto(1, 4, None), 0), None);
        assert_eq!(pairs(&auto(8, 4, None), 2_000_000), None);
        assert!(pairs(&auto(8, 4, None), 2_000_001).is_some());
        assert_eq!(pairs(&workers(IoMode::Copy, 8, 4, None), 0), None);
        assert_eq!(pairs(&workers(IoMode::Live, 1, 1, None), 10), Some((vec![0], vec![0])));
        let three =
            Pairs::wanted(&workers(IoMode::Auto, 6, 8, None), &[0, 1, 2, 3, 4, 5, 6, 7], 8, 0.0).unwrap();
        assert_eq!(three.sets, share_out(&[0, 1, 2, 3, 4, 5, 6, 7], 3, 8));
        let one = Pairs::wanted(&workers(IoMode::Auto, 8, 4, None), &[0, 1, 2, 3], 1, 0.0).unwrap();
        assert_eq!(one.sets, [QueueSet { queues: vec![0, 1, 2, 3] }], "one queue sends");
    }
}
