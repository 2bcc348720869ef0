//! The way to the wire: which back end a plan asks for, and what was got.

use std::io::BufWriter;

use tracing::info;

use super::SurveyError;
use crate::cli::IoMode;
use crate::io::Port;
use crate::io::bpf::{Mode as AttachMode, Program, Settings};
use crate::io::dryrun::DryRunPort;
use crate::io::fast_dryrun::FastDryRunPort;
use crate::io::open::{self, Ladder, Live, Opened, Request};
use crate::io::xsk::{BindMode, QueueSet, share_out};
use crate::plan::{Plan, WorkerPlan};
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
    /// The attached XDP program: kept for its counters, and attached for as long as this lives.
    pub(super) program: Option<Program>,
    pub(super) mode: String,
    pub(super) reasons: Vec<String>,
}

/// Opens what the plan names.
pub(super) fn open(plan: &Plan, probe: &impl Probe) -> Result<Wire, SurveyError> {
    let cores = plan.workers.cores.clone();
    let Some(interface) = plan.network.device().filter(|_| !plan.dryrun) else {
        let out = BufWriter::new(std::io::stdout());
        let port: Box<dyn Port> = match plan.fast_dryrun {
            true => Box::new(FastDryRunPort::new(out, probe.template())),
            false => Box::new(DryRunPort::new(out, probe.template())),
        };
        let ports = vec![port];
        let (sender_cores, sets, mode) = (Vec::new(), Vec::new(), "dryrun".to_owned());
        return Ok(Wire { ports, cores, sender_cores, sets, program: None, mode, reasons: Vec::new() });
    };
    let settings = Settings {
        key: plan.probe.key,
        ports: plan.probe.source_ports,
        probes: plan.probe.copies,
        form: probe.check().form,
        port_in_cookie: probe.check().port_in_cookie,
        drop_invalid: plan.workers.drop_invalid,
        sources: &plan.network.sources,
        tags: plan.network.tags,
    };
    let sets = share_out(plan.workers.queues, plan.workers.count);
    let pairs = Pairs::wanted(&plan.workers, plan.limits.rate_pps);
    let hazard = interface.redirect_hazard();
    let live = pairs.as_ref().map(|pairs| Live {
        sets: &pairs.sets,
        cores: &pairs.sender_cores,
        mac: plan.network.source_mac,
        one_hop: plan.network.on_link.is_none(),
        hazard: hazard.as_deref(),
        must: plan.workers.io_mode == IoMode::Live,
    });
    let opened = open::open(&Request {
        interface: &interface.name,
        ifindex: interface.index,
        ladder: ladder(plan.workers.io_mode),
        settings: &settings,
        sets: &sets,
        live,
        probe: probe.template(),
        reset: probe.reset_template(),
    });
    let opened = opened.map_err(|source| SurveyError::Open { interface: interface.name.clone(), source })?;
    let Opened { program, ports, mode, reasons, link_wait } = opened;
    info!(target: "io", "{mode}, {} RX queues, {} workers", plan.workers.queues, ports.len());
    for reason in &reasons {
        info!(target: "io", "not better because: {reason}");
    }
    if !link_wait.is_zero() {
        info!(target: "io", "the driver reset the NIC; its link was back after {:.1} s", link_wait.as_secs_f64());
    }
    let (cores, sender_cores, sets) = match pairs {
        Some(pairs) if mode.live => (pairs.worker_cores, pairs.sender_cores, pairs.sets),
        _ => (cores, Vec::new(), sets),
    };
    let mode = mode.name().to_owned();
    Ok(Wire { ports, cores, sender_cores, sets, program: Some(program), mode, reasons })
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
    fn wanted(workers: &WorkerPlan, rate_pps: u64) -> Option<Self> {
        let cores = &workers.cores;
        let half = (cores.len() as u32 / 2).clamp(1, workers.queues);
        let count = if workers.count_given { workers.count } else { half };
        let enough_cores = cores.len() >= 2 * count as usize;
        let fast = rate_pps == 0 || rate_pps > COPY_PPS * u64::from(workers.count);
        let wanted = match workers.io_mode {
            IoMode::Live => true,
            IoMode::Auto => fast && enough_cores,
            IoMode::Zerocopy | IoMode::Copy | IoMode::Generic => false,
        };
        let core = |i: usize| cores[i % cores.len()];
        wanted.then(|| Self {
            sets: share_out(workers.queues, count),
            worker_cores: (0..count as usize).map(|i| core(2 * i)).collect(),
            sender_cores: (0..count as usize).map(|i| core(2 * i + 1)).collect(),
        })
    }
}

fn ladder(mode: IoMode) -> Ladder {
    use AttachMode::{Generic, Native};
    use BindMode::{Copy, ZeroCopy};
    match mode {
        IoMode::Auto => Ladder { attach: &[Native, Generic], bind: &[ZeroCopy, Copy] },
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
        WorkerPlan { count, count_given: given.is_some(), queues, cores, io_mode, drop_invalid: false }
    }

    /// Two cores a worker, no more workers than were asked for, and live frames only where they are of use.
    #[test]
    fn pairs() {
        let pairs = |workers: &WorkerPlan, rate| {
            Pairs::wanted(workers, rate).map(|pairs| (pairs.worker_cores, pairs.sender_cores))
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
        let three = Pairs::wanted(&workers(IoMode::Auto, 6, 8, None), 0).unwrap();
        assert_eq!(three.sets, share_out(8, 3));
    }
}
