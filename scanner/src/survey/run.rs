//! A scan from its first thread to the end of its last: starts the threads next to the workers, runs the workers, and
//! ends all of them in order.

use std::cell::Cell;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rtrb::Producer;
use signal_hook::iterator::Handle;
use targets::{Interval, Leases, lease_len};

use super::accounting::{self, Readings};
use super::blocklist::{Keeper, Scene};
use super::board::Board;
use super::checkpointing::{Checkpointing, Telling, saved};
use super::commands::Commands;
use super::cpu::{CpuClock, CpuTime};
use super::error::SurveyError;
use super::finder::Finder;
use super::finished::{Finished, RateEnd};
use super::gateways::GatewayWatch;
use super::governing::Governing;
use super::metrics::Metrics;
use super::monitor::{self, Monitor};
use super::neighbors::{self, Neighbors};
use super::nics::{Nics, OpenPort, OpenedLink};
use super::outputs::Outputs;
use super::prepare::{Needs, Prepared};
use super::service::Service;
use super::watch::{Watch, Watched};
use super::{ending, evidence, repeats, signals};
use crate::engine::{
    Assignment, Control, EndReason, Exclusions, Gateways, Pacer, Scan, ScanEnd, SecondWalk, Tick,
    WorkerConfig,
};
use crate::estimate::Dispersion;
use crate::metrics::WorkerPlace;
use crate::nic::InterfaceCounts;
use crate::plan::{NetworkPlan, Plan};
use crate::probe::Probe;
use crate::report::metadata_file::MetadataFile;
use crate::report::updates::Updates;
use crate::results::ports::SuccessesByPort;
use crate::results::twice::AnsweredTwice;
use crate::wall_clock::WallClock;

/// How often the status is reported and the limits are checked. A status file has one row per second.
const STATUS_EVERY: Duration = Duration::from_secs(1);

/// A scan whose threads have started, except for the workers.
pub(super) struct Running<'a, P> {
    plan: &'a Plan,
    probes: &'a [P],
    control: Arc<Control>,
    board: Arc<Board>,
    signals: Handle,
    keeper: Keeper,
    exclusions: Arc<Exclusions>,
    commands: Option<Commands>,
    service: Option<Service>,
    metrics: Metrics,
    // Dropped before the NICs that it belongs to.
    workers: Vec<(OpenPort, Producer<u8>)>,
    nics: Nics,
    watch: Option<Watch>,
    gateways: Vec<Arc<Gateways>>,
    neighbors: Vec<Option<Neighbors>>,
    outputs: Outputs,
    /// What second probes find, if there are any.
    twice: Option<Arc<AnsweredTwice>>,
    checkpointing: Option<Checkpointing>,
    updates: Option<Updates>,
    metadata_file: Option<MetadataFile>,
    started: Timestamp,
    /// What the interfaces had counted before the first probe.
    interfaces_before: Vec<InterfaceCounts>,
    /// What finds the rate, if the user has not set one.
    governing: Option<Governing>,
    cpu: CpuClock,
    clock: Option<WallClock>,
    /// The CPU time that was used before the first probe.
    cpu_before: CpuTime,
}

impl<'a, P: Probe> Running<'a, P> {
    /// Starts the threads next to the workers. `finder` finds the rate, if the user has not set one.
    ///
    /// # Errors
    /// The first thread that cannot be started.
    pub(super) fn start(prepared: Prepared<'a, P>, finder: Option<Finder>) -> Result<Self, SurveyError> {
        let (needs, keeper) = prepared.into_needs();
        let Needs {
            plan,
            probes,
            mut nics,
            gateways,
            askers,
            outputs,
            updates,
            metadata_file,
            checkpoint,
            listener,
            notifier,
            metrics,
            cpu,
            clock,
        } = needs;
        let count = nics.ports.len();
        let control = Arc::new(Control::new(count));
        control.set_canary_share_ppm(plan.canaries.share_ppm);
        let limits = &plan.limits;
        let start_pps = finder.as_ref().map_or(limits.rate_pps, |finder| finder.wish().rate_pps);
        let pacer = Pacer::new(start_pps, count).capping_all(limits.bandwidth_bps.is_some());
        let pacer = Arc::new(pacer);
        let places = nics.ports.iter().map(|port| place(plan, port)).collect();
        let board = Board::new(Arc::clone(&control), Arc::clone(&pacer), places, monitor::start(plan));
        let space = &plan.targets.space;
        let has_ports = space.is_list_of_pairs() || space.ports().len() > 1;
        let successes = has_ports.then(Arc::<SuccessesByPort>::default);
        let board = Arc::new(board.with_ports(successes.clone()));
        let governing = finder.map(|finder| Governing::start(finder, &board, plan.canaries.share_ppm));
        let signals = signals::watch(Arc::clone(&control), Arc::clone(&pacer), keeper.desk())
            .map_err(|source| SurveyError::Setup { what: "watching for signals", source })?;
        let serve =
            |listener| Commands::start(listener, Arc::clone(&board), keeper.desk(), plan.probe_wire_len());
        let commands = listener.map(serve).transpose();
        let commands =
            commands.map_err(|source| SurveyError::Setup { what: "serving the control socket", source })?;
        let service = notifier.map(|notifier| Service::start(notifier, Arc::clone(&board))).transpose();
        let service = service
            .map_err(|source| SurveyError::Setup { what: "reporting to the service manager", source })?;
        let metrics = Metrics::start(metrics, &board)
            .map_err(|source| SurveyError::Setup { what: "handing out the metrics", source })?;
        let neighbors = neighbors::ask(askers, &gateways, &control)?;
        let template = |interface: usize| probes[interface].template();
        let twice = plan.second.map(|_| Arc::<AnsweredTwice>::default());
        let ports = &mut nics.ports;
        let (outputs, records) =
            Outputs::start(outputs, plan, ports, template, &control, successes.as_ref(), twice.as_ref())?;
        let checkpointing =
            checkpoint.map(|open| Checkpointing::start(open, plan, outputs.barrier())).transpose()?.flatten();
        let exclusions = Arc::new(Exclusions::new(plan.targets.withdrawn.clone(), count));
        keeper.begin(Scene {
            space: Arc::clone(&plan.targets.space),
            blocked: plan.targets.blocked.clone(),
            exclusions: Arc::clone(&exclusions),
            control: Arc::clone(&control),
            recorder: checkpointing.as_ref().map(Checkpointing::recorder),
        });
        let interfaces_before = accounting::interfaces(plan);
        let started = Timestamp::now();
        let cpu_before = cpu.now();
        let watch = watch(plan, &nics, &gateways, &control)?;
        let workers = std::mem::take(&mut nics.ports).into_iter().zip(records).collect();
        Ok(Self {
            plan,
            probes,
            control,
            board,
            signals,
            keeper,
            exclusions,
            commands,
            service,
            metrics,
            workers,
            nics,
            watch,
            gateways,
            neighbors,
            outputs,
            twice,
            checkpointing,
            updates,
            metadata_file,
            started,
            interfaces_before,
            governing,
            cpu,
            clock,
            cpu_before,
        })
    }

    /// Runs the scan, releases the interfaces, and waits for the outputs.
    pub(super) fn finish(mut self) -> Finished<'a> {
        let (workers, updates) = (std::mem::take(&mut self.workers), self.updates.take());
        let has_resets = self.has_resets();
        // Read before the sockets' counters: a reply that is redirected later may find its socket closed.
        let redirected = Cell::new(0);
        let closing = || redirected.set(accounting::redirected_by(&self.nics));
        let (mut end, stretches) = self.scan(workers, updates, closing);
        let plan = self.plan;
        let cpu = self.cpu.now() - self.cpu_before;
        let outages = self.watch.map(Watch::stop).unwrap_or_default();
        let interfaces = accounting::interfaces_since(plan, &self.interfaces_before);
        // The interfaces are released before anything waits for an output.
        let nics = self.nics.close(&end.workers);
        if let Some(service) = &self.service {
            service.stopping();
        }
        let is_whole = ending::is_whole(&end);
        let mut outputs = self.outputs.finish(plan, &self.control, &end.total(), is_whole);
        if let Some(checkpointing) = self.checkpointing {
            checkpointing.finish(&end, &mut outputs.collected);
        }
        let readings = Readings { redirected: redirected.get(), interfaces };
        let ledger = accounting::ledger(plan, has_resets, &end, &nics, &outputs.collected, readings);
        let exit_code =
            ending::settle(&mut end, &outputs.collected, outputs.tapped.as_ref(), plan.output.sinks.len());
        let results = &outputs.collected.counts;
        let estimates = evidence::estimates(plan, &end.total(), results, stretches, self.twice.as_deref());
        let last = monitor::last(plan, &end, results, ledger.clone(), estimates);
        self.board.conclude(&last, end.reason);
        Finished {
            plan,
            signals: self.signals,
            rate: RateEnd {
                pps: self.board.pacer.rate_pps(),
                changes: self.board.pacer.changes(),
                governed: self.governing.map(Governing::end),
            },
            keeper: self.keeper,
            excluded: self.exclusions.excluded(),
            commands: self.commands,
            service: self.service,
            metrics: self.metrics,
            metadata_file: self.metadata_file,
            started: self.started,
            end,
            nics,
            outages,
            ledger,
            estimates,
            cpu,
            clock: self.clock,
            neighbors: self.neighbors,
            outputs,
            exit_code,
        }
    }

    /// Whether SYN-ACKs are reset.
    fn has_resets(&self) -> bool {
        self.probes.iter().any(|probe| probe.reset_template().is_some())
    }

    /// Runs the workers. `closing` is called when nothing more is to be received, before they end. The second is how
    /// much the hits differed between parts of the scan.
    fn scan(
        &self,
        workers: Vec<(OpenPort, Producer<u8>)>,
        updates: Option<Updates>,
        closing: impl FnOnce(),
    ) -> (ScanEnd, Dispersion) {
        let (plan, control) = (self.plan, &*self.control);
        let results = self.outputs.results();
        let programs = self.nics.programs().collect();
        let telling = self.checkpointing.as_ref().map(Checkpointing::telling);
        let has_resets = self.has_resets();
        let twice = self.twice.as_deref();
        let mut monitor = Monitor::new(plan, &self.board, &results, twice, updates, programs, has_resets);
        let mut is_sound = true;
        let observe = |tick: &Tick<'_>| {
            if let Some(telling) = telling {
                telling.count(saved(&tick.counts, results.read().written));
                telling.know(self.board.rate_auto().and_then(|state| state.knee_pps));
            }
            // A failure of the monitor must not end the scan.
            if is_sound && catch_unwind(AssertUnwindSafe(|| monitor.observe(tick))).is_err() {
                is_sound = false;
                control.stop(EndReason::SendFailed);
            }
        };
        let targets = &plan.targets;
        let open = targets.open.iter().map(Interval::len).sum();
        let most = targets.max_targets.map_or(open, |max| max.min(open));
        let len = lease_len(most, workers.len());
        let second =
            plan.second.map(|second| SecondWalk::new(&targets.second_open, len, second.sample, second.gap));
        let scan = Scan {
            space: &targets.space,
            permutation: &targets.permutation,
            leases: &Leases::over(&targets.open, targets.max_targets, len),
            second: second.as_ref(),
            exclusions: &self.exclusions,
            has_canaries: plan.probe.copies.has_canaries(),
            progress: telling.map(Telling::progress),
            pulse: self.governing.as_ref().map(Governing::pulse),
            pacer: &self.board.pacer,
            batch: plan.limits.batch,
            control,
            workers: workers.into_iter().map(|(port, records)| self.worker(port, records)).collect(),
            kernel_resets: &self.nics.kernel_resets(),
            repeats: repeats::policy(&plan.output),
            closing: Box::new(closing),
            max_runtime: plan.limits.max_runtime,
            cooldown: if plan.dryrun { Duration::ZERO } else { plan.limits.cooldown },
        };
        if let Some(service) = &self.service {
            service.ready();
        }
        let mut end = scan.run(STATUS_EVERY, observe);
        let has_all = targets.max_targets == Some(end.total().targets_done());
        if end.reason == EndReason::Complete && has_all {
            end.reason = EndReason::MaxTargets;
        }
        if end.reason.is_whole() {
            end.left.clear();
            end.second_left.clear();
        }
        (end, monitor.dispersion())
    }

    fn worker(&self, port: OpenPort, records: Producer<u8>) -> WorkerConfig<'_, P> {
        let OpenPort { interface, placement, port } = port;
        let device = self.plan.networks().nth(interface).and_then(NetworkPlan::device);
        let assignment = Assignment {
            interface: device.map_or("", |device| &device.name),
            probe: &self.probes[interface],
            neighborhood: self.neighbors[interface].as_ref().map(|found| &found.neighborhood),
            gateways: &self.gateways[interface],
        };
        WorkerConfig { interface, assignment, placement, port, records }
    }
}

/// Where a worker is, for the metrics.
fn place(plan: &Plan, port: &OpenPort) -> WorkerPlace {
    let device = plan.networks().nth(port.interface).and_then(NetworkPlan::device);
    WorkerPlace {
        interface: device.map(|device| device.name.clone()).unwrap_or_default(),
        queue: port.placement.queues.first().copied(),
    }
}

/// The watch on the interfaces, if there are any.
fn watch(
    plan: &Plan,
    nics: &Nics,
    gateways: &[Arc<Gateways>],
    control: &Arc<Control>,
) -> Result<Option<Watch>, SurveyError> {
    let watched = |((network, link), macs): ((&NetworkPlan, &OpenedLink), &Arc<Gateways>)| {
        let addresses: Vec<IpAddr> = network.gateways().map(|(address, _)| address).collect();
        let interface = network.interface.clone().filter(|_| !addresses.is_empty());
        Some(Watched {
            device: network.device()?.clone(),
            gateways: interface.map(|interface| GatewayWatch::new(interface, addresses, Arc::clone(macs))),
            follows_gateways: !link.mode.is_live(),
            program: link.program.as_ref().and_then(|program| program.id().ok()),
        })
    };
    let listener = nics.links.iter().find_map(|link| link.replies.as_ref());
    let replies = plan.replies.as_ref().zip(listener).map(|(replies, listener)| Watched {
        device: replies.device.clone(),
        gateways: None,
        follows_gateways: true,
        program: listener.program.id().ok(),
    });
    let links = plan.networks().zip(&nics.links).zip(gateways).filter_map(watched);
    let watched: Vec<Watched> = links.chain(replies).collect();
    if watched.is_empty() {
        return Ok(None);
    }
    let watch = Watch::start(watched, plan.limits.max_link_down, control);
    watch.map(Some).map_err(|source| SurveyError::Setup { what: "watching the interface", source })
}
