//! Carrying a plan out: opens what it names, starts the threads, and writes down how it went.
//!
//! What always holds: an output or interface that is not to be had is found out before the first packet, and has
//! changed no file then; once the first packet has left, the metadata is written whatever ends the scan.

mod collecting;
mod ending;
mod gateways;
mod losses;
mod metadata;
mod monitor;
mod neighbors;
mod repeats;
mod rights;
mod signals;
mod tap;
mod watch;
mod wire;

use std::cell::Cell;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tracing::{info, warn};

use crate::engine::counters::{Counts, Published};
use crate::engine::{Control, EndReason, Pacer, Scan, ScanEnd, Tick, Way};
use crate::io::open::OpenError;
use crate::io::{Port, files};
use crate::nic::{Gateways, Hop};
use crate::packet::Link;
use crate::plan::{Draw, EXIT_INTERFACE, EXIT_PRIVILEGES, EXIT_USAGE, NetworkPlan, Plan};
use crate::probe::{Probe, Visitor};
use crate::report::metadata::{MetadataError, MetadataFile};
use crate::report::status::Snapshot;
use crate::report::updates::UpdatesError;
use crate::results::collector::Collected;
use crate::results::counts::Published as ResultCounts;
use crate::results::output::{OutputError, Patience};
use crate::results::record;
use crate::results::sink::SinkConfig;
use crate::steering::{self, SteerError, Steering, Wish};
use crate::targets::lines::name;
use crate::targets::{Leases, lease_len};
use gateways::GatewayWatch;
use losses::Losses;
use monitor::Monitor;
use neighbors::Neighbors;
use watch::{Outage, Watch, Watched};
use wire::Wire;

/// How often the status line is printed.
const STATUS_EVERY: Duration = Duration::from_secs(1);

/// Why a plan could not be carried out, or not to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SurveyError {
    /// The results cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The status updates cannot be written.
    #[error(transparent)]
    Updates(#[from] UpdatesError),
    /// There is no place for the metadata.
    #[error(transparent)]
    NoMetadata(MetadataError),
    /// The metadata cannot be written.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// The NIC cannot be reached.
    #[error("{interface}: {source}")]
    Open {
        /// The interface.
        interface: String,
        /// Why.
        source: OpenError,
    },
    /// Replies cannot be steered.
    #[error(transparent)]
    Steer(#[from] SteerError),
    /// The neighbours could not be asked for.
    #[error("{interface}: asking for neighbours by ARP: {source}{hint}", hint = neighbors::remedy(.source))]
    Arp {
        /// The interface.
        interface: String,
        /// Why.
        source: std::io::Error,
    },
    /// The process may not open as many files as the scan needs.
    #[error("a scan of {queues} queues may need {needed} open files: {}", files::remedy())]
    Files {
        /// Queues of all its interfaces.
        queues: usize,
        /// What they take.
        needed: u64,
    },
    /// The process could not be set up.
    #[error("{what}: {source}")]
    Setup {
        /// What could not be done.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

impl SurveyError {
    /// The exit code of the design's table.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Open { source, .. } if source.is_privilege() => EXIT_PRIVILEGES,
            Self::Arp { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
                EXIT_PRIVILEGES
            }
            Self::Open { .. } | Self::Arp { .. } => EXIT_INTERFACE,
            Self::Steer(error) => error.exit_code(),
            // A name that was given and is no good; what fails later is the disk's fault.
            Self::Output(OutputError::Open { .. } | OutputError::Refused { .. })
            | Self::NoMetadata(_)
            | Self::Updates(_) => EXIT_USAGE,
            Self::Output(_) | Self::Metadata(_) | Self::Files { .. } | Self::Setup { .. } => 1,
        }
    }
}

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
    announce(plan, probes.iter().any(|probe| probe.reset_template().is_some()));
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
    ending::Waiting {
        control: &control,
        limit: collecting::wait_limit(plan),
        moved: &|| {
            let counts = results.read();
            [patience.moves(), counts.total_valid, counts.output_pending]
        },
        is_done: &|| collecting.is_finished() && tap.as_ref().is_none_or(tap::Tap::is_finished),
        give_up: &|| patience.end(),
        names: &names,
    }
    .wait();
    let mut total = Counts::default();
    end.workers.iter().for_each(|worker| total.add(worker));
    let collected = collecting.finish(&total, names);
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
    conclude(&record);
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

fn announce(plan: &Plan, may_reset: bool) {
    for warning in &plan.warnings {
        warn!(target: "plan", "{warning}");
    }
    let targets = &plan.targets;
    if let Some(list) = &targets.blocklist {
        let (file, entries, addresses) = (name(Path::new(&list.file)), list.entries, list.addresses);
        info!(target: "plan", "block list {file}: {entries} entries, {addresses} addresses");
    }
    if let Some(hosts) = &targets.hosts {
        info!(
            target: "plan",
            "{}: {} different targets and {} duplicates; {} are left out by other lists or reserved",
            name(Path::new(&hosts.file)),
            hosts.distinct,
            hosts.duplicates,
            hosts.left_out,
        );
    }
    info!(
        target: "plan",
        "{} targets of {} addresses {} {} ports, shard {} of {}, seed {}",
        targets.expected(),
        targets.space.addresses().len(),
        if targets.space.is_list_of_pairs() { "with" } else { "x" },
        targets.space.ports().len(),
        targets.shard,
        targets.shards,
        targets.permutation.seed(),
    );
    if let Some(rate) = plan.limits.rate_told(may_reset) {
        info!(target: "plan", "{rate}");
    }
    info!(target: "plan", "a reply proves itself by {}", plan.probe.proof());
    if let Some(what) = plan.output.included() {
        info!(target: "output", "what is written: {what}");
    }
    if !plan.dryrun {
        plan.networks().for_each(announce_network);
    }
}

fn announce_network(network: &NetworkPlan) {
    let Some(interface) = &network.interface else { return };
    let way = match (network.link, network.gateway_ip, &network.on_link) {
        (Link::Bare, ..) => "as bare IP packets".to_owned(),
        (_, Some(ip), _) => format!("to gateway {} ({ip})", network.gateway_mac),
        (_, None, None) => format!("to gateway {} (a given address)", network.gateway_mac),
        (_, None, Some(_)) => "to its own network".to_owned(),
    };
    if let Some(parent) = &network.parent {
        info!(target: "network", "{} is VLAN {} of {}", interface.name, network.tags, parent.name);
    }
    if !interface.other_names.is_empty() {
        info!(target: "network", "{} is also called {}", interface.name, interface.other_names.join(", "));
    }
    let sources: Vec<String> = network.sources.iter().take(4).map(ToString::to_string).collect();
    info!(target: "network", "{} from {} {way}", interface.name, sources.join(","));
    const TOLD: usize = 8;
    let by_own_route = network.networks.iter().filter_map(|(range, hop)| match hop {
        Hop::Gateway(number) => Some((range, network.other_gateways.get(number - 1)?)),
        _ => None,
    });
    for (range, (ip, mac)) in by_own_route.clone().take(TOLD) {
        info!(target: "network", "targets in {range} have a route of their own, to gateway {mac} ({ip})");
    }
    let more = by_own_route.count().saturating_sub(TOLD);
    if more > 0 {
        info!(target: "network", "targets in {more} more networks have routes of their own");
    }
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

fn snapshot(plan: &Plan, tick: &Tick, results: &ResultCounts) -> Snapshot {
    let collected = results.read();
    let counts = &tick.counts;
    Snapshot {
        elapsed: tick.elapsed,
        send_end: tick.send_elapsed,
        cooldown: plan.limits.cooldown,
        sent: counts.tx_sent,
        targets_done: counts.targets_done(),
        targets_total: plan.targets.expected(),
        probes: plan.probe.copies,
        results: collected.written,
        max_results: plan.limits.max_results.map(Into::into),
        max_runtime: plan.limits.max_runtime,
        recv_success_unique: collected.success_unique,
        app_success_unique: plan.probe.module.info().has_app_success.then_some(collected.app_success_unique),
        recv_total: counts.replies(),
        dedup: plan.output.dedup != crate::plan::DedupPlan::None,
        drops: counts.rx_record_drops + counts.rx_socket_drops,
        send_failures: failures(counts),
        ..Snapshot::default()
    }
}

/// Wake-ups that the kernel refused.
fn failures(counts: &Counts) -> u64 {
    counts.wakeup_ebusy + counts.wakeup_enobufs + counts.wakeup_enetdown + counts.wakeup_other
}

/// The warning about replies on queues without a socket.
fn unheard(replies: u64) -> String {
    format!(
        "{replies} valid replies so far came in on RX queues that nobody listens to, and stay with the host; name those \
         queues with --queues, or have the NIC steer replies to the others (--steer)"
    )
}

/// What all programs counted under this name.
fn verdicts_of(record: &Record<'_>, name: &str) -> u64 {
    record.xdp.iter().flatten().filter(|(known, _)| *known == name).map(|(_, count)| count).sum()
}

/// Says in the log how the scan went.
fn conclude(record: &Record<'_>) {
    let mut total = Counts::default();
    record.end.workers.iter().for_each(|worker| total.add(worker));
    let results = &record.collected.counts;
    info!(
        target: "summary",
        "{}: {} targets, {} probes sent in {:.2} s; {} replies, {} distinct successes, {} results written",
        record.end.reason.name(),
        total.targets,
        total.tx_sent,
        record.end.send_elapsed.as_secs_f64(),
        total.replies(),
        results.success_unique,
        results.written,
    );
    if total.targets_unreachable > 0 {
        let count = total.targets_unreachable;
        info!(target: "summary", "{count} targets were not probed: no route leads to them, or nobody on the own network has their addresses");
    }
    let own = verdicts_of(record, "pass_own_socket");
    if own > 0 {
        warn!(
            target: "summary",
            "{own} datagrams with a right cookie, or errors about such, came to ports of this host's own sockets and were left \
             to those"
        );
    }
    let unheard: u64 = verdicts_of(record, "valid_no_socket");
    if unheard > 0 {
        warn!(target: "summary", "{unheard} valid replies came in on RX queues that nobody listens to, and were lost");
    }
    let polls = record.plan.workers.busy_poll.is_some();
    let unpolled = record.end.sockets.iter().filter(|(_, _, socket)| socket.received > 0 && !socket.has_napi);
    let unpolled = unpolled.filter(|_| polls).count();
    if unpolled > 0 {
        warn!(target: "summary", "--busy-poll: the kernel did not know what to poll for {unpolled} sockets, so it did not");
    }
    if total.tx_lost > 0 {
        let count = total.tx_lost;
        warn!(target: "summary", "{count} probes were lost: refused for good, or on the way to the driver");
    }
    let unconfirmed = total.tx_submitted - total.tx_sent - total.tx_lost;
    if unconfirmed > 0 {
        warn!(target: "summary", "{unconfirmed} probes were handed over and never reported sent");
    }
    if total.targets_again > 0 {
        info!(target: "summary", "{} targets were probed again, as the link had been down or a gateway had moved", total.targets_again);
    }
    record.losses.tell(&total);
    if total.rx_repeats > 0 && total.rx_record_drops == 0 {
        let count = total.rx_repeats;
        info!(target: "summary", "{count} repeats were left out early, as the output was slow; they are counted");
    }
    if total.rx_record_drops > 0 {
        warn!(target: "summary", "{} replies were lost because the output was too slow", total.rx_record_drops);
    }
    ending::tell_lost(record.collected);
    if total.rx_unasked > 0 {
        let count = total.rx_unasked;
        warn!(
            target: "summary",
            "{count} replies were about no target of the scan, so they are no results: forged, or another program's"
        );
    }
    if total.rx_socket_drops > 0 {
        let lost = total.rx_socket_drops;
        warn!(
            target: "summary",
            "{lost} replies were lost in the kernel because a ring was full, no frame was free, or they were longer than a frame \
             (some 1,790 bytes)"
        );
    }
}
