//! One scan from its first probe to its last late reply: starts the workers, watches the time, ends the workers.

use std::sync::Arc;
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use targets::{Interval, Leases, Permutation, TargetSpace, merged};
use wire::packet::BATCH_MAX;

use super::assignment::{WorkerConfig, WorkerReport};
use super::canaries::{Cells, Load, Series, Tally};
use super::control::{Control, EndReason, Phase};
use super::cores;
use super::counters::{Counts, Published};
use super::exclusions::Exclusions;
use super::lowwater::Progress;
use super::pace::Pacer;
use super::phases::{Phases, Situation};
use super::repeats::RepeatPolicy;
use super::resets::ResetBudget;
use super::sampling::Sampler;
use super::second::SecondWalk;
use super::standing::{Standing, Teller};
use super::stillness::Stillness;
use super::worker::{LATEST_NS, Outlets, Shared, Worker, WorkerEnd};
use crate::distribution::Distribution;
use crate::io::{Placement, SocketStatistics};
use crate::probe::Probe;
use crate::sandbox::{self, Class};

/// How often the scan's thread checks time and phase. Lower: more CPU time. Higher: limits and stop requests take
/// effect later.
const TICK: Duration = Duration::from_millis(20);

/// Longest time that a scan may send. The workers' clocks count picoseconds in 64 bits, which last 213 days.
pub const SCAN_MAX: Duration = Duration::from_secs(200 * 24 * 3600);

/// Lets the workers end when it is dropped, also by a panic. Otherwise waiting for them would never end.
struct Dismissal<'a>(&'a Control);

impl Drop for Dismissal<'_> {
    fn drop(&mut self) {
        self.0.enter(Phase::Done);
    }
}

/// Everything a scan needs, ready to start.
pub struct Scan<'a, P> {
    /// The workers.
    pub workers: Vec<WorkerConfig<'a, P>>,
    /// The targets.
    pub space: &'a TargetSpace,
    /// Their order.
    pub permutation: &'a Permutation,
    /// The shard's arc, as the workers lease it.
    pub leases: &'a Leases,
    /// The walk of second probes, if there are any. The probes have a number for them then.
    pub second: Option<&'a SecondWalk>,
    /// Targets that must not be probed, although they are in the order, for as many workers.
    pub exclusions: &'a Exclusions,
    /// The pacer of all workers together.
    pub pacer: &'a Pacer,
    /// Most probes that a worker hands over at a time; at least the probe's copies.
    pub batch: usize,
    /// Through which the scan is stopped.
    pub control: &'a Control,
    /// Source addresses for which the host's kernel sends resets, because it receives the replies as well.
    pub kernel_resets: &'a [u32],
    /// How repeats are handled while the collector does not keep up.
    pub repeats: RepeatPolicy,
    /// Called when nothing more is to be received, before the workers end.
    pub closing: Box<dyn FnOnce() + 'a>,
    /// Stop sending after this (`--max-runtime`).
    pub max_runtime: Option<Duration>,
    /// How long to wait for late replies.
    pub cooldown: Duration,
    /// Whether the probes have numbers for canaries.
    pub has_canaries: bool,
    /// Where to keep which targets are done, for checkpoints.
    pub progress: Option<Progress<'a>>,
    /// What is called each time that the scan's thread looks at the time, some 50 times per second.
    pub pulse: Option<Pulse<'a>>,
}

/// What is called at short intervals while a scan runs, by its own thread.
pub type Pulse<'a> = Box<dyn FnMut(&Tick<'_>) + 'a>;

/// The state of a scan at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Tick<'a> {
    /// Time since the scan started.
    pub elapsed: Duration,
    /// Time since the scan's start at which the last worker had sent its last probe.
    pub send_elapsed: Option<Duration>,
    /// How much of the time of sending was a pause or a hold, or lost to a process that did not run.
    pub still: Duration,
    /// The counters of all workers, added up.
    pub counts: Counts,
    /// Those of each worker.
    pub workers: &'a [Counts],
    /// What became of canaries, over time.
    pub canaries: &'a Series,
}

/// The outcome of a scan.
#[derive(Clone, Debug)]
pub struct ScanEnd {
    /// Why.
    pub reason: EndReason,
    /// How long it took to send.
    pub send_elapsed: Duration,
    /// How much of that was a pause or a hold, or lost to a process that did not run.
    pub still: Duration,
    /// How long after they were due probes have left, in nanoseconds; empty without a limit on the rate.
    pub lateness: Distribution,
    /// The workers.
    pub workers: Vec<WorkerReport>,
    /// The part of the shard's arc that was not probed. If a limit ended the scan, it is not a loss.
    pub left: Vec<Interval>,
    /// Intervals whose probes may have been lost and were not repeated: the link may already have been down, or the
    /// probes were never completed.
    pub in_doubt: Vec<Interval>,
    /// What the second walk has not come to. What the first walk has left is among it.
    pub second_left: Vec<Interval>,
    /// Intervals of the second walk, as in `in_doubt`.
    pub second_in_doubt: Vec<Interval>,
    /// Probes that were handed over but never completed. They are in `tx_lost`.
    pub unconfirmed: u64,
    /// Frames that were in the ports at the end: those probes, and resets.
    pub outstanding: u64,
    /// How long late replies were waited for after the last probe.
    pub waited: Duration,
    /// What became of canaries, over time.
    pub canaries: Series,
    /// Whether a worker has panicked, or never began: what was left of its lease is not in `left`.
    pub has_lost_worker: bool,
}

impl ScanEnd {
    /// The counters of all workers, added up.
    pub fn total(&self) -> Counts {
        sum(&self.counts())
    }

    /// The counters of each worker.
    pub fn counts(&self) -> Vec<Counts> {
        self.workers.iter().map(|worker| worker.counts).collect()
    }

    /// Each socket with its worker and its queue.
    pub fn sockets(&self) -> impl Iterator<Item = (&WorkerReport, u32, &SocketStatistics)> {
        self.workers.iter().flat_map(|worker| {
            worker.statistics.sockets.iter().map(move |(queue, socket)| (worker, *queue, socket))
        })
    }
}

/// The sum of counters.
fn sum(counts: &[Counts]) -> Counts {
    let mut total = Counts::default();
    counts.iter().for_each(|counts| total.add(counts));
    total
}

/// A running worker.
struct Running<'scope> {
    interface: usize,
    placement: Placement,
    published: Arc<Published>,
    canary_cells: Arc<Cells>,
    standing: Arc<Standing>,
    /// `None` if no thread could be started.
    thread: Option<ScopedJoinHandle<'scope, WorkerEnd>>,
}

impl<'scope> Running<'scope> {
    /// Starts worker `number`.
    fn start<'env, P: Probe>(
        scope: &'scope Scope<'scope, 'env>,
        number: usize,
        worker: WorkerConfig<'env, P>,
        shared: Shared<'env>,
    ) -> Self {
        let WorkerConfig { interface, assignment, placement, port, records } = worker;
        let core = placement.core;
        let (published, canary_cells) = (Arc::<Published>::default(), Arc::<Cells>::default());
        let teller = Teller::default();
        let standing = teller.standing();
        let outlets =
            Outlets { published: Arc::clone(&published), canaries: Arc::clone(&canary_cells), teller };
        let run = move || {
            cores::pin(core);
            sandbox::enter(Class::Worker);
            Worker::new(shared, number, assignment, port, records, outlets).run()
        };
        let thread = thread::Builder::new().name(format!("worker-{number}")).spawn_scoped(scope, run);
        if thread.is_err() {
            shared.control.stop(EndReason::SendFailed);
            shared.control.sender_finished(Duration::ZERO);
        }
        Self { interface, placement, published, canary_cells, standing, thread: thread.ok() }
    }

    /// Whether it has ended.
    fn is_gone(&self) -> bool {
        self.thread.as_ref().is_some_and(ScopedJoinHandle::is_finished)
    }

    /// Waits for its end. If it panicked, there is only the report.
    fn join(self) -> (WorkerReport, Option<WorkerEnd>) {
        let end = self.thread.and_then(|thread| thread.join().ok());
        let report = WorkerReport {
            interface: self.interface,
            placement: self.placement,
            counts: self.published.read(),
            statistics: end.as_ref().map(|end| end.port.statistics()).unwrap_or_default(),
        };
        (report, end)
    }
}

/// What the workers have counted that a slot of time has as well.
fn load(counts: &[Counts]) -> Load {
    let total = sum(counts);
    Load { probes: total.port.probes_sent, received: total.port.rx_frames, own_losses: total.rx_socket_drops }
}

impl<P: Probe> Scan<'_, P> {
    /// Runs the scan on its own threads. `observe` is called every `every`, and once more at the end.
    pub fn run(self, every: Duration, mut observe: impl FnMut(&Tick<'_>)) -> ScanEnd {
        let started = Instant::now();
        let reset_budget = ResetBudget::default();
        let shared = Shared {
            space: self.space,
            permutation: self.permutation,
            leases: self.leases,
            second: self.second,
            exclusions: self.exclusions,
            pacer: self.pacer,
            batch: self.batch.min(BATCH_MAX),
            control: self.control,
            reset_budget: &reset_budget,
            kernel_resets: self.kernel_resets,
            repeats: self.repeats,
            started,
        };
        thread::scope(|scope| {
            let _dismissal = Dismissal(self.control);
            let workers = self.workers.into_iter().enumerate();
            let workers: Vec<Running<'_>> =
                workers.map(|(number, worker)| Running::start(scope, number, worker, shared)).collect();
            // From here on this thread starts no other.
            sandbox::enter(Class::Monitor);
            let counts = || workers.iter().map(|worker| worker.published.read()).collect::<Vec<Counts>>();
            let max_runtime = self.max_runtime.map_or(SCAN_MAX, |limit| limit.min(SCAN_MAX));
            let mut phases = Phases::new(max_runtime, self.cooldown);
            let standings = workers.iter().map(|worker| Arc::clone(&worker.standing)).collect();
            let mut sampler =
                Sampler::new(self.leases, self.control, standings, started, self.progress, self.second);
            let cells: Vec<Arc<Cells>> =
                workers.iter().map(|worker| Arc::clone(&worker.canary_cells)).collect();
            let tally = |slot: u64| {
                let mut tally = Tally::default();
                cells.iter().for_each(|cells| tally.add(&cells.read(slot)));
                tally
            };
            let mut canaries = Series::default();
            let mut next_tick = every;
            let mut pulse = self.pulse;
            let mut stillness = Stillness::default();
            let reason = loop {
                thread::sleep(TICK);
                let elapsed = started.elapsed();
                let is_still = self.control.orders().is_still() || sampler.is_between_walks();
                stillness.look(elapsed, is_still, phases.sent_after());
                let situation = Situation::of(self.control, elapsed, workers.iter().any(Running::is_gone));
                let step = phases.step(&situation);
                if let Some(reason) = step.stop {
                    self.control.stop(reason);
                }
                if let Some(phase) = step.enter {
                    self.control.enter(phase);
                }
                sampler.look(elapsed);
                if self.has_canaries {
                    canaries.look(elapsed, load(&counts()), tally);
                }
                let is_tick = elapsed >= next_tick;
                if is_tick || pulse.is_some() {
                    let (still, workers) = (stillness.lasted, counts());
                    let tick = Tick {
                        elapsed,
                        send_elapsed: phases.sent_after(),
                        still,
                        counts: sum(&workers),
                        workers: &workers,
                        canaries: &canaries,
                    };
                    if let Some(pulse) = &mut pulse {
                        pulse(&tick);
                    }
                    if is_tick {
                        next_tick += every;
                        observe(&tick);
                    }
                }
                if let Some(reason) = step.end {
                    break reason;
                }
            };
            (self.closing)();
            self.control.enter(Phase::Done);
            let (mut left, mut in_doubt) = (self.leases.unleased(), Vec::new());
            let mut second_left = self.second.map(|second| second.leases.unleased()).unwrap_or_default();
            let mut second_in_doubt = Vec::new();
            let (mut unconfirmed, mut outstanding) = (0, 0);
            let (mut is_stalled, mut has_lost_worker) = (false, false);
            let mut lateness = Distribution::new(LATEST_NS);
            let mut reports = Vec::with_capacity(workers.len());
            for (report, end) in workers.into_iter().map(Running::join) {
                reports.push(report);
                has_lost_worker |= end.is_none();
                if let Some(end) = end {
                    left.push(end.left);
                    in_doubt.extend(end.in_doubt);
                    second_left.push(end.second_left);
                    second_in_doubt.extend(end.second_in_doubt);
                    unconfirmed += end.unconfirmed;
                    outstanding += end.outstanding;
                    lateness.add(&end.lateness);
                    is_stalled |= end.is_stalled;
                }
            }
            // A queue that stops after the last target was handed over does not end the scan earlier, but its probes
            // are lost.
            let reason =
                if is_stalled && reason == EndReason::Complete { EndReason::TxStalled } else { reason };
            let (left, in_doubt) = (merged(left), merged(in_doubt));
            let elapsed = started.elapsed();
            let send_elapsed = phases.sent_after().unwrap_or(elapsed);
            let waited = elapsed - send_elapsed;
            if self.has_canaries {
                let counts: Vec<Counts> = reports.iter().map(|report| report.counts).collect();
                canaries.finish(elapsed, load(&counts), tally);
            }
            let end = ScanEnd {
                reason,
                send_elapsed,
                still: stillness.lasted,
                lateness,
                workers: reports,
                left,
                in_doubt,
                second_left: merged(second_left),
                second_in_doubt: merged(second_in_doubt),
                unconfirmed,
                outstanding,
                waited,
                canaries,
                has_lost_worker,
            };
            observe(&Tick {
                elapsed,
                send_elapsed: Some(send_elapsed),
                still: end.still,
                counts: end.total(),
                workers: &end.counts(),
                canaries: &end.canaries,
            });
            end
        })
    }
}
