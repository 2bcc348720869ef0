//! Carrying a plan out: opens what it names, starts the threads, and writes down how it went.
//!
//! What always holds: an output or interface that is not to be had is found out before the first packet, and has
//! changed no file then; once the first packet has left, the metadata is written whatever ends the scan.

mod collecting;
mod ending;
mod error;
mod gateways;
mod losses;
mod metadata;
mod monitor;
mod neighbors;
mod repeats;
mod rights;
mod said;
mod signals;
mod tap;
mod watch;
mod wire;

use std::cell::Cell;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tracing::{info, warn};

use crate::engine::counters::{Counts, Published};
use crate::engine::{Control, EndReason, Pacer, Scan, ScanEnd, Way};
use crate::io::{Port, files};
use crate::nic::Gateways;
use crate::plan::{Draw, NetworkPlan, Plan};
use crate::probe::{Probe, Visitor};
use crate::report::metadata::MetadataFile;
use crate::results::collector::Collected;
use crate::results::output::{OutputError, Patience};
use crate::results::record;
use crate::results::sink::SinkConfig;
use crate::steering::{self, Steering, Wish};
use crate::targets::{Leases, lease_len};
pub use error::SurveyError;
use gateways::GatewayWatch;
use losses::Losses;
use monitor::Monitor;
use neighbors::Neighbors;
use watch::{Outage, Watch, Watched};
use wire::Wire;

/// How often the status line is printed.
const STATUS_EVERY: Duration = Duration::from_secs(1);

/// Everything that the metadata is written from.
struct Record<'a> {
    plan: &'a Plan,
    wire: &'a Wire,
    end: &'a ScanEnd,
    collected: &'a Collected,
    /// Probes that are not in the file of probes; `None` if there is no such file.
    probes_missed: Option<u64>,
    /// The verdicts of each interface's program, and of that on the interface for replies.
    xdp: Vec<Vec<(&'static str, u64)>>,
    outages: Vec<Outage>,
    started: Timestamp,
    losses: Losses,
    /// Who is on the own link of each interface, where that was asked.
    neighbors: &'a [Option<Neighbors>],
    /// The tables that replies are steered by.
    steering: Option<&'a Steering>,
    exit_code: u8,
}

/// Carries `plan` out. Returns the process's exit code.
///
/// # Errors
/// What kept the scan from starting, or what was lost at its end.
pub fn run(plan: &Plan, draw: &Draw) -> Result<u8, SurveyError> {
    struct Run<'a>(&'a Plan);
    impl Visitor for Run<'_> {
        type Output = Result<u8, SurveyError>;
        fn visit<P: Probe>(self, probes: &[P]) -> Self::Output {
            run_with(self.0, probes)
        }
    }
    plan.probe.module.visit(&plan.settings(draw), Run(plan))
}

fn run_with(plan: &Plan, probes: &[impl Probe]) -> Result<u8, SurveyError> {
    check_files(plan)?;
    let sinks = collecting::open(plan)?;
    let metadata_file = plan.output.metadata_file.as_deref().map(MetadataFile::open).transpose();
    let metadata_file = metadata_file.map_err(SurveyError::NoMetadata)?;
    let updates = monitor::open_updates(plan)?;
    let (askers, gateways) = (neighbors::open(plan)?, neighbors::gateways(plan));
    let probes_file = plan.output.probes_file.as_deref().map(tap::open).transpose()?;
    // Put back after the ports are closed and the program is gone.
    let mut steering = steer(plan)?;
    let mut wire = wire::open(plan, probes)?;
    steering.as_ref().map(Steering::set).transpose()?;
    said::announce(plan, probes.iter().any(|probe| probe.reset_template().is_some()));
    rights::give_up(plan, &wire, metadata_file.as_ref())
        .map_err(|source| SurveyError::Setup { what: "giving privileges up", source })?;
    let workers = wire.ports.len();
    let control = Arc::new(Control::new(workers));
    let pacer = {
        let limits = &plan.limits;
        Arc::new(Pacer::new(limits.rate_pps, workers).capping_all(limits.bandwidth_bps.is_some()))
    };
    let signals = signals::watch(Arc::clone(&control), Arc::clone(&pacer))
        .map_err(|source| SurveyError::Setup { what: "watching for signals", source })?;
    let neighbors = neighbors::ask(askers, &gateways, &control)?;
    let capacity = record::ring_capacity(workers);
    let (records, rings) = wire.ports.iter().map(|_| rtrb::RingBuffer::new(capacity)).unzip();
    let finished = Arc::new(AtomicBool::new(false));
    let patience = Arc::<Patience>::default();
    let collector = collecting::collector(plan, sinks, rings, &finished, &control, &patience)?;
    let templates = wire.interfaces.iter().map(|&interface| probes[interface].template());
    let start_tap = |file| tap::start(file, &mut wire.ports, templates, plan.dryrun, &patience);
    let tap = probes_file.map(start_tap).transpose()?;
    let collecting = collecting::Collecting::start(collector, &control)
        .map_err(|source| SurveyError::Setup { what: "starting the collector", source })?;
    let results = collecting.results();
    let dropped_before = losses::dropped(plan);
    let started = Timestamp::now();
    let watch = watch(plan, &wire, &gateways, &control)?;
    let (cores, kernel_resets) = (wire.cores.clone(), wire.kernel_resets.clone());
    let hands = Hands { ports: std::mem::take(&mut wire.ports), cores, records, kernel_resets };
    let monitor = Monitor::new(plan, &control, &results, updates, wire.programs().collect());
    let way = |&interface: &usize| Way {
        interface: plan
            .networks()
            .nth(interface)
            .and_then(NetworkPlan::device)
            .map_or("", |device| &device.name),
        probe: &probes[interface],
        neighborhood: neighbors[interface].as_ref().map(|found| &found.neighborhood),
        gateways: &gateways[interface],
    };
    let ways = wire.interfaces.iter().map(way).collect();
    // Asked before the sockets are: what is redirected later may find them gone.
    let redirected = Cell::new(0);
    let closing = Box::new(|| redirected.set(losses::redirected_by(&wire)));
    let mut end = scan(plan, ways, hands, &control, &pacer, monitor, closing);
    let outages = watch.map(Watch::stop).unwrap_or_default();
    let xdp = wire.verdicts(&end.verdicts);
    let losses = Losses::new(plan, dropped_before, redirected.get(), &end);
    // The host has its interface back before anybody waits for an output.
    wire.close();
    steering.iter_mut().for_each(Steering::put_back);
    finished.store(true, Ordering::Release);
    tap.iter().for_each(tap::Tap::complete);
    let names: Vec<String> = plan.output.sinks.iter().map(SinkConfig::place).collect();
    let names = names.join(", ");
    wait_for_outputs(plan, &control, &collecting, tap.as_ref(), &patience, &names);
    let collected = collecting.finish(&end.total(), names);
    let tapped = tap.map(tap::Tap::finish);
    let exit_code = ending::settle(&mut end, &collected, tapped.as_ref(), plan.output.sinks.len());
    let record = Record {
        plan,
        wire: &wire,
        end: &end,
        collected: &collected,
        probes_missed: tapped.as_ref().map(|tapped| tapped.missed),
        xdp,
        outages,
        started,
        losses,
        neighbors: &neighbors,
        steering: steering.as_ref(),
        exit_code,
    };
    said::conclude(&record);
    let written = metadata_file.map_or(Ok(()), |file| file.write(&metadata::describe(&record)));
    signals.close();
    written?;
    match (collected.output, tapped.and_then(|tapped| tapped.failure)) {
        (Ok(()) | Err(OutputError::BrokenPipe { .. }), None) => Ok(exit_code),
        (Ok(()) | Err(OutputError::BrokenPipe { .. }), Some(source)) => {
            Err(SurveyError::Setup { what: "--probes-file: writing the probes", source })
        }
        (Err(error), _) => Err(error.into()),
    }
}

/// Waits for the outputs, called `names`, as long as they take something.
fn wait_for_outputs(
    plan: &Plan,
    control: &Control,
    collecting: &collecting::Collecting,
    tap: Option<&tap::Tap>,
    patience: &Patience,
    names: &str,
) {
    let results = collecting.results();
    ending::Waiting {
        control,
        limit: collecting::wait_limit(plan),
        moved: &|| {
            let counts = results.read();
            [patience.moves(), counts.total_valid, counts.output_pending]
        },
        is_done: &|| collecting.is_finished() && tap.is_none_or(tap::Tap::is_finished),
        give_up: &|| patience.end(),
        names,
    }
    .wait();
}

/// Whether the process may open the files that the scan needs.
fn check_files(plan: &Plan) -> Result<(), SurveyError> {
    let queues = plan.networks().map(|network| network.queues.len()).sum::<usize>()
        + plan.replies.as_ref().map_or(0, |replies| replies.device.rx_queues as usize);
    match files::short_of(queues) {
        Some(needed) if !plan.dryrun => Err(SurveyError::Files { queues, needed }),
        _ => Ok(()),
    }
}

/// Puts back what killed scans have left of the interfaces, and steers replies, if that is asked for.
fn steer(plan: &Plan) -> Result<Option<Steering>, SurveyError> {
    if plan.dryrun {
        return Ok(None);
    }
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

/// The watch on the interfaces, where there are any.
fn watch(
    plan: &Plan,
    wire: &Wire,
    gateways: &[Arc<Gateways>],
    control: &Arc<Control>,
) -> Result<Option<Watch>, SurveyError> {
    let watched = |((network, link), macs): ((&NetworkPlan, &wire::Link), &Arc<Gateways>)| {
        let addresses: Vec<IpAddr> = network.gateways().map(|(address, _)| address).collect();
        let interface = network.interface.clone().filter(|_| !addresses.is_empty());
        Some(Watched {
            device: network.device()?.clone(),
            gateways: interface.map(|interface| GatewayWatch::new(interface, addresses, Arc::clone(macs))),
            follows_gateways: !link.mode.is_live(),
            program: link.program.as_ref().and_then(|program| program.id().ok()),
        })
    };
    let replies = plan.replies.as_ref().zip(wire.replies.as_ref()).map(|(replies, heard)| Watched {
        device: replies.device.clone(),
        gateways: None,
        follows_gateways: true,
        program: heard.program.id().ok(),
    });
    let links = plan.networks().zip(&wire.links).zip(gateways).filter_map(watched);
    let watched: Vec<Watched> = links.chain(replies).collect();
    if watched.is_empty() {
        return Ok(None);
    }
    let watch = Watch::start(watched, plan.limits.max_link_down, control);
    watch.map(Some).map_err(|source| SurveyError::Setup { what: "watching the interface", source })
}

/// What the workers work with.
struct Hands {
    ports: Vec<Box<dyn Port>>,
    cores: Vec<usize>,
    records: Vec<rtrb::Producer<u8>>,
    /// Source addresses whose half-open connections the host's kernel resets.
    kernel_resets: Vec<u32>,
}

fn scan(
    plan: &Plan,
    ways: Vec<Way<'_, impl Probe>>,
    hands: Hands,
    control: &Control,
    pacer: &Pacer,
    mut monitor: Monitor<'_>,
    closing: Box<dyn FnOnce() + '_>,
) -> ScanEnd {
    let Hands { ports, cores, records, kernel_resets } = hands;
    let (arc, max_targets) = (plan.targets.arc, plan.targets.max_targets);
    let lease_len = lease_len(max_targets.map_or(arc.len(), |max| max.min(arc.len())), ports.len());
    let leases = Leases::new(arc, max_targets, lease_len);
    let published: Vec<Arc<Published>> = ports.iter().map(|_| Arc::default()).collect();
    let scan = Scan {
        ways,
        space: &plan.targets.space,
        permutation: &plan.targets.permutation,
        leases: &leases,
        pacer,
        batch: plan.limits.batch,
        control,
        ports,
        records,
        published,
        cores,
        kernel_resets: &kernel_resets,
        repeats: repeats::policy(&plan.output),
        closing,
        max_runtime: plan.limits.max_runtime,
        cooldown: if plan.dryrun { Duration::ZERO } else { plan.limits.cooldown },
    };
    let mut is_sound = true;
    let mut end = scan.run(STATUS_EVERY, |tick| {
        // What is said about a scan must not take it away.
        if is_sound && catch_unwind(AssertUnwindSafe(|| monitor.observe(tick))).is_err() {
            is_sound = false;
            control.stop(EndReason::SendFailed);
        }
    });
    drop(monitor);
    if end.reason == EndReason::Complete && plan.targets.max_targets.is_some() {
        let probed: u64 = end.workers.iter().map(Counts::targets_done).sum();
        if Some(probed) == plan.targets.max_targets {
            end.reason = EndReason::MaxTargets;
        }
    }
    if end.reason.is_whole() {
        end.left.clear();
    }
    end
}
