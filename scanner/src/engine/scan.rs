//! One scan from its first probe to its last late reply: starts the workers, watches the clock, ends them.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rtrb::Producer;

use super::control::{Control, EndReason, Phase};
use super::cores;
use super::counters::{Counts, Published};
use super::pace::Pacer;
use super::repeats::RepeatPolicy;
use super::resets::ResetBudget;
use super::worker::{Shared, Worker};
use crate::io::Port;
use crate::io::bpf::abi::Counts as Verdicts;
use crate::io::xsk::SocketStatistics;
use crate::nic::{Gateways, Neighborhood};
use crate::probe::Probe;
use crate::targets::{BATCH_MAX, Interval, Leases, Permutation, TargetSpace, merged};

/// How often the scan's thread looks at the clock and at the phase.
const TICK: Duration = Duration::from_millis(20);

/// Longest time that a scan may send: the workers' clocks, which count picoseconds in 64 bits, last 213 days.
pub const SCAN_MAX: Duration = Duration::from_secs(200 * 24 * 3600);

/// Lets the workers go when it is dropped, also by a panic: whoever waits for them would wait for ever.
struct Dismissal<'a>(&'a Control);

impl Drop for Dismissal<'_> {
    fn drop(&mut self) {
        self.0.enter(Phase::Done);
    }
}

/// What a worker sends, and where to: the same for all workers of an interface.
#[derive(Debug)]
pub struct Way<'a, P> {
    /// Name of the interface, for what is said of it.
    pub interface: &'a str,
    /// The probe.
    pub probe: &'a P,
    /// Where targets go that are not all behind one gateway; `None` if they are.
    pub neighborhood: Option<&'a Neighborhood>,
    /// Where gateways are now; the probe's template has where the first was at the start.
    pub gateways: &'a Gateways,
}

impl<P> Clone for Way<'_, P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P> Copy for Way<'_, P> {}

/// Everything a scan needs, ready to start. One way, one port, one record ring, one core a worker.
pub struct Scan<'a, P> {
    /// What each worker sends, and where to.
    pub ways: Vec<Way<'a, P>>,
    /// The targets.
    pub space: &'a TargetSpace,
    /// Their order.
    pub permutation: &'a Permutation,
    /// The shard's arc, as the workers lease it.
    pub leases: &'a Leases,
    /// The rate of all workers together.
    pub pacer: &'a Pacer,
    /// Most probes that a worker hands over at a time, from the probe's copies on.
    pub batch: usize,
    /// How the scan is stopped.
    pub control: &'a Control,
    /// What each worker sends and receives through.
    pub ports: Vec<Box<dyn Port>>,
    /// Where each worker puts its records.
    pub records: Vec<Producer<u8>>,
    /// Where each worker publishes its counters.
    pub published: Vec<Arc<Published>>,
    /// Cores for the workers, in order, used in turn.
    pub cores: Vec<usize>,
    /// Source addresses for which the host's kernel resets by itself, because it sees the replies, too.
    pub kernel_resets: &'a [u32],
    /// What becomes of repeats while the collector does not keep up.
    pub repeats: RepeatPolicy,
    /// Called when nothing more is to come in, before the workers leave.
    pub closing: Box<dyn FnOnce() + 'a>,
    /// Stop sending after this (`--max-runtime`).
    pub max_runtime: Option<Duration>,
    /// How long late replies are waited for.
    pub cooldown: Duration,
}

/// How a scan stands at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Tick {
    /// Time since the scan started.
    pub elapsed: Duration,
    /// Time since the scan started at which the last worker had sent its last probe.
    pub send_elapsed: Option<Duration>,
    /// The counters of all workers, added up.
    pub counts: Counts,
}

/// How a scan ended.
#[derive(Clone, Debug)]
pub struct ScanEnd {
    /// Why.
    pub reason: EndReason,
    /// How long it took to send.
    pub send_elapsed: Duration,
    /// The counters of each worker.
    pub workers: Vec<Counts>,
    /// What the kernel counted of each socket: its worker, its queue.
    pub sockets: Vec<(usize, u32, SocketStatistics)>,
    /// What was not probed of the shard's arc. Where a limit ended the scan, that is no loss.
    pub left: Vec<Interval>,
    /// What was probed when the link may have been down already, and not again.
    pub in_doubt: Vec<Interval>,
    /// What each worker's port made of the packets that it was given, where it judges and not the XDP program.
    pub verdicts: Vec<Option<Verdicts>>,
}

impl ScanEnd {
    /// The counters of all workers, added up.
    pub fn total(&self) -> Counts {
        let mut total = Counts::default();
        self.workers.iter().for_each(|worker| total.add(worker));
        total
    }
}

impl<P: Probe> Scan<'_, P> {
    /// Runs the scan on threads of its own; `observe` is called every `every`, and once more at the end.
    pub fn run(self, every: Duration, mut observe: impl FnMut(&Tick)) -> ScanEnd {
        let started = Instant::now();
        let reset_budget = ResetBudget::default();
        let shared = Shared {
            space: self.space,
            permutation: self.permutation,
            leases: self.leases,
            pacer: self.pacer,
            batch: self.batch.min(BATCH_MAX),
            control: self.control,
            reset_budget: &reset_budget,
            kernel_resets: self.kernel_resets,
            repeats: self.repeats,
            started,
        };
        let total = || {
            let mut total = Counts::default();
            self.published.iter().for_each(|worker| total.add(&worker.read()));
            total
        };
        thread::scope(|scope| {
            let _dismissal = Dismissal(self.control);
            let mut workers = Vec::with_capacity(self.ports.len());
            let ends = self.ports.into_iter().zip(self.records).zip(self.ways);
            for (i, ((port, records), way)) in ends.enumerate() {
                let core = self.cores[i % self.cores.len()];
                let published = Arc::clone(&self.published[i]);
                let run = move || {
                    cores::pin(core);
                    Worker::new(shared, way, port, records, published).run()
                };
                match thread::Builder::new().name(format!("worker-{i}")).spawn_scoped(scope, run) {
                    Ok(worker) => workers.push(worker),
                    Err(_) => {
                        self.control.stop(EndReason::SendFailed);
                        self.control.sender_finished(Duration::ZERO);
                    }
                }
            }
            let max_runtime = self.max_runtime.map_or(SCAN_MAX, |limit| limit.min(SCAN_MAX));
            let mut send_elapsed = None;
            let mut next_tick = every;
            let reason = loop {
                thread::sleep(TICK);
                let elapsed = started.elapsed();
                if send_elapsed.is_none() && elapsed >= max_runtime {
                    self.control.stop(EndReason::MaxRuntime);
                }
                if workers.iter().any(thread::ScopedJoinHandle::is_finished) {
                    self.control.stop(EndReason::SendFailed); // a worker leaves before the end only by a panic
                    break EndReason::SendFailed;
                }
                // Before the number of senders: a worker that resumes adds itself to it first.
                let settled = self.control.is_settled();
                if send_elapsed.is_none() && self.control.senders() == 0 {
                    send_elapsed = self.control.sent_after();
                    self.control.enter(Phase::Cooldown);
                } else if send_elapsed.is_some() && self.control.senders() > 0 {
                    send_elapsed = None;
                    self.control.enter(Phase::Sending);
                }
                let reason = self.control.stop_reason();
                if elapsed >= next_tick {
                    next_tick += every;
                    observe(&Tick { elapsed, send_elapsed, counts: total() });
                }
                if let Some(sent) = send_elapsed {
                    let skip = self.control.is_hurried() || reason.is_some_and(|reason| !reason.cools_down());
                    let may_end = settled || reason.is_some();
                    if skip || may_end && elapsed.saturating_sub(sent) >= self.cooldown {
                        break reason.unwrap_or(EndReason::Complete);
                    }
                }
            };
            (self.closing)();
            self.control.enter(Phase::Done);
            let (mut sockets, mut left, mut in_doubt) =
                (Vec::new(), vec![self.leases.unleased()], Vec::new());
            let mut verdicts = vec![None; workers.len()];
            for (i, worker) in workers.into_iter().enumerate() {
                if let Ok(remains) = worker.join() {
                    let statistics = remains.port.socket_statistics();
                    sockets.extend(statistics.into_iter().map(|(queue, counts)| (i, queue, counts)));
                    verdicts[i] = remains.port.verdicts();
                    left.push(remains.left);
                    in_doubt.extend(remains.in_doubt);
                }
            }
            let (left, in_doubt) = (merged(left), merged(in_doubt));
            let elapsed = started.elapsed();
            let send_elapsed = send_elapsed.unwrap_or(elapsed);
            observe(&Tick { elapsed, send_elapsed: Some(send_elapsed), counts: total() });
            let workers = self.published.iter().map(|worker| worker.read()).collect();
            ScanEnd { reason, send_elapsed, workers, sockets, left, in_doubt, verdicts }
        })
    }
}
