//! What happens once per second while a scan runs: the status line or bar, the status updates, the warnings, and the
//! limits that end a scan in trouble.

use std::io::Write;
use std::os::fd::AsFd as _;
use std::time::Duration;

use tracing::{error, warn};

use super::accounting;
use super::board::Board;
use super::error::SurveyError;
use super::evidence;
use crate::cli::StatusFormat;
use crate::engine::{Control, Counts, EndReason, ScanEnd, Tick};
use crate::estimate::{Dispersion, Estimates, Reading, Stretches};
use crate::io::bpf::XdpProgram;
use crate::io::bpf::abi::{self, COUNTERS, Counter};
use crate::ledger::Ledger;
use crate::live;
use crate::local_time;
use crate::plan::{DedupPlan, LimitPlan, Plan};
use crate::report::progress::Progress;
use crate::report::status::Snapshot;
use crate::report::updates::{UpdateFormat, Updates};
use crate::results::counts::{Counts as Collected, Published as ResultCounts};
use crate::results::output::has_room;
use crate::results::twice::AnsweredTwice;

/// How long after the start the hit rate is ignored. Lower: scans end although the first replies are still on their
/// way. Higher: scans with a hit rate that is too low go on for longer.
const WARM_UP: Duration = Duration::from_secs(5);
/// How long the hit rate may be too low. Lower: a short gap in the replies ends the scan. Higher: more useless probes.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is needed to watch a scan.
pub(super) struct Monitor<'a> {
    plan: &'a Plan,
    control: &'a Control,
    board: &'a Board,
    results: &'a ResultCounts,
    /// What second probes find, if there are any.
    twice: Option<&'a AnsweredTwice>,
    /// Whether there is a status line, or a bar.
    has_status: bool,
    progress: Option<Progress>,
    updates: Option<Updates>,
    trouble: Trouble,
    previous: Option<Snapshot>,
    /// What the hits so far were like in each part of the scan.
    stretches: Stretches,
    programs: Vec<&'a XdpProgram>,
    /// Whether SYN-ACKs are reset.
    has_resets: bool,
    /// Replies on queues without a socket, as of the last warning about them.
    unheard: u64,
    /// Whether the loss that canaries show was told.
    has_told_loss: bool,
}

/// The file of the status updates, if requested. A dry run has none, because it has no status.
pub(super) fn open_updates(plan: &Plan) -> Result<Option<Updates>, SurveyError> {
    let Some((path, format)) = plan.report.status_file.as_ref().filter(|_| !plan.dryrun) else {
        return Ok(None);
    };
    let form = match format {
        StatusFormat::Csv => UpdateFormat::Csv,
        StatusFormat::Json => UpdateFormat::Json,
    };
    Ok(Some(Updates::open(path, form, plan.report.ledger)?))
}

impl<'a> Monitor<'a> {
    pub(super) fn new(
        plan: &'a Plan,
        board: &'a Board,
        results: &'a ResultCounts,
        twice: Option<&'a AnsweredTwice>,
        updates: Option<Updates>,
        programs: Vec<&'a XdpProgram>,
        has_resets: bool,
    ) -> Self {
        let has_status = plan.output.status_line && !plan.dryrun && !live::is_viewed();
        let updates = updates.and_then(|updates| {
            let begun = updates.begin();
            begun
                .inspect_err(|error| warn!(target: "monitor", "--status-updates-file: no updates: {error}"))
                .ok()
        });
        let progress = (has_status && plan.report.progress).then(Progress::start).flatten();
        // A dry run gets no replies.
        let trouble = if plan.dryrun { Trouble::default() } else { Trouble::new(&plan.limits) };
        let control = &*board.control;
        Self {
            plan,
            control,
            board,
            results,
            twice,
            has_status,
            progress,
            updates,
            trouble,
            previous: None,
            stretches: Stretches::default(),
            programs,
            has_resets,
            unheard: 0,
            has_told_loss: false,
        }
    }

    /// Reports the status of the scan, and ends the scan if it is in trouble.
    pub(super) fn observe(&mut self, tick: &Tick<'_>) {
        let collected = self.results.read();
        let probed = evidence::probed(self.plan, &tick.counts);
        self.stretches.note(Reading { at: tick.elapsed, probed, found: collected.success_unique });
        let stretches = self.dispersion();
        let now = Snapshot {
            estimates: evidence::estimates(self.plan, &tick.counts, &collected, stretches, self.twice),
            senders: self.control.senders() as u64,
            ledger: self.ledger(tick, &collected),
            rate_auto: self.board.rate_auto(),
            workers: if self.has_details() { tick.workers.to_vec() } else { Vec::new() },
            ..snapshot(self.plan, tick, &collected)
        };
        // The last tick comes when the scan ends. If it falls in the same second as the one before, it has nothing new.
        let second = |snapshot: &Snapshot| snapshot.elapsed.as_secs();
        let previous = self.previous.as_ref();
        let is_news = previous.is_none_or(|previous| second(previous) != second(&now));
        // First, so that whoever has read the status line finds the same here.
        self.board.show(&now);
        if is_news {
            self.tell(&now);
        }
        for warning in now.warnings(self.previous.as_ref()) {
            warn!(target: "monitor", "{warning}");
        }
        self.tell_unheard();
        self.tell_loss(&now);
        if let Some((reason, why)) = self.trouble.check(&now).filter(|_| !self.control.is_stopping()) {
            error!(target: "monitor", "{why}; no more probes");
            self.control.stop(reason);
        }
        self.previous = Some(now);
    }

    /// How much the hits differ between parts of the scan.
    pub(super) fn dispersion(&self) -> Dispersion {
        Dispersion::between(self.stretches.groups())
    }

    /// Whether metrics or somebody who looks want more than the status has.
    fn has_details(&self) -> bool {
        self.plan.report.metrics.is_wanted() || self.board.is_detailed()
    }

    /// The ledger so far, if status updates, metrics or somebody who looks are to have it.
    fn ledger(&self, tick: &Tick<'_>, results: &Collected) -> Option<Ledger> {
        let is_wanted = self.updates.as_ref().is_some_and(Updates::has_ledger);
        (is_wanted || self.has_details()).then_some(())?;
        let counts = self.programs.iter().filter_map(|program| program.counters().ok());
        let mut verdicts: Vec<(&str, u64)> = abi::named(&[0; COUNTERS]).collect();
        for counts in counts {
            verdicts.iter_mut().zip(counts).for_each(|((_, sum), count)| *sum += count);
        }
        Some(accounting::running(self.plan, self.has_resets, &tick.counts, results, &verdicts))
    }

    /// Warns of replies on queues that are not read: when there are any, and again when there are twice as many.
    fn tell_unheard(&mut self) {
        let counts = self.programs.iter().filter_map(|program| program.counters().ok());
        let unheard: u64 = counts.map(|counts| counts[Counter::ValidNoSocket as usize]).sum();
        if unheard > 2 * self.unheard {
            self.unheard = unheard;
            warn!(target: "monitor", "{}", self::unheard(unheard));
        }
    }

    /// Warns once, as soon as canaries show a loss. At the end of the scan the summary has it.
    fn tell_loss(&mut self, now: &Snapshot) {
        let loss = now.canary_loss().filter(|loss| loss.is_significant() && now.send_end.is_none());
        if let Some(loss) = loss.filter(|_| !std::mem::replace(&mut self.has_told_loss, true)) {
            warn!(target: "monitor", "{}", loss.told());
        }
    }

    fn tell(&mut self, now: &Snapshot) {
        let previous = self.previous.as_ref();
        // A terminal or pager that is paused misses lines: the scan does not wait for it.
        let is_heard = has_room(std::io::stderr().as_fd());
        match self.progress {
            Some(progress) if is_heard => progress.show(now, previous),
            // Standard error may be closed, which is not a reason to end a scan.
            None if is_heard && self.has_status => {
                let _ = writeln!(std::io::stderr(), "{}", now.status_line(previous));
            }
            _ => {}
        }
        let updates = self.updates.as_mut().filter(|updates| updates.has_room());
        let written = updates.map(|updates| updates.write(&local_time::now(), now, previous));
        if let Some(Err(error)) = written {
            warn!(target: "monitor", "--status-updates-file: no more updates: {error}");
            self.updates = None;
        }
    }
}

impl Drop for Monitor<'_> {
    fn drop(&mut self) {
        if let Some(progress) = self.progress {
            progress.end();
        }
        if let Some(Err(error)) = self.updates.as_mut().map(Updates::finish) {
            warn!(target: "monitor", "--status-updates-file: {error}");
        }
    }
}

/// The limits that end a scan in trouble. By default there are none.
#[derive(Debug, Default)]
struct Trouble {
    max_send_failures: Option<u64>,
    min_hitrate_percent: f64,
    /// Since when the hit rate has been too low.
    low_since: Option<Duration>,
}

impl Trouble {
    fn new(limits: &LimitPlan) -> Self {
        Self {
            max_send_failures: limits.max_send_failures,
            min_hitrate_percent: limits.min_hitrate_percent,
            low_since: None,
        }
    }

    /// Whether to end the scan, and what to log then.
    fn check(&mut self, now: &Snapshot) -> Option<(EndReason, String)> {
        if now.send_end.is_some() {
            return None;
        }
        if let Some(most) = self.max_send_failures.filter(|&most| now.send_failures > most) {
            let why = format!(
                "the kernel refused to send {} times, and --max-sendto-failures allows {most}",
                now.send_failures
            );
            return Some((EndReason::SendFailures, why));
        }
        let is_low = now.elapsed > WARM_UP && now.sent > 0 && now.hitrate() < self.min_hitrate_percent;
        if !is_low {
            self.low_since = None;
            return None;
        }
        let low_for = now.elapsed - *self.low_since.get_or_insert(now.elapsed);
        (low_for >= PATIENCE).then(|| {
            let why = format!(
                "the hit rate, now {:.2} %, has been below --min-hitrate {} % for {} s",
                now.hitrate(),
                self.min_hitrate_percent,
                low_for.as_secs()
            );
            (EndReason::LowHitrate, why)
        })
    }
}

/// What is known of a scan before its first probe.
pub(super) fn start(plan: &Plan) -> Snapshot {
    Snapshot {
        cooldown: plan.limits.cooldown,
        targets_total: plan.targets.expected(),
        probes: plan.probe.copies.probes(),
        seconds_total: plan.expected_seconds(),
        probe_gap: plan.second.map_or(Duration::ZERO, |second| second.gap),
        max_results: plan.limits.max_results.map(Into::into),
        max_runtime: plan.limits.max_runtime,
        dedup: plan.output.dedup != DedupPlan::None,
        ..Snapshot::default()
    }
}

/// What is known of a scan after its end.
pub(super) fn last(
    plan: &Plan,
    end: &ScanEnd,
    collected: &Collected,
    ledger: Ledger,
    estimates: Option<Estimates>,
) -> Snapshot {
    let tick = Tick {
        elapsed: end.send_elapsed + end.waited,
        send_elapsed: Some(end.send_elapsed),
        still: end.still,
        counts: end.total(),
        workers: &end.counts(),
        canaries: &end.canaries,
    };
    Snapshot { ledger: Some(ledger), estimates, ..snapshot(plan, &tick, collected) }
}

fn snapshot(plan: &Plan, tick: &Tick<'_>, collected: &Collected) -> Snapshot {
    let counts = &tick.counts;
    Snapshot {
        elapsed: tick.elapsed,
        send_end: tick.send_elapsed,
        still: tick.still,
        sent: counts.port.probes_sent,
        canaries: *tick.canaries.total(),
        canaries_sent: counts.canaries,
        seconds_sent: counts.second_probed + counts.second_again,
        seconds_done: counts.seconds_done(),
        targets_done: counts.targets_done(),
        results: collected.written,
        recv_success_unique: collected.success_unique,
        app_success_unique: plan.probe.module.info().has_app_success.then_some(collected.app_success_unique),
        recv_total: counts.replies(),
        drops: counts.rx_record_drops + counts.rx_socket_drops,
        send_failures: failures(counts),
        workers: tick.workers.to_vec(),
        ..start(plan)
    }
}

/// Wake-ups that the kernel refused.
pub(super) fn failures(counts: &Counts) -> u64 {
    counts.port.wakeup_ebusy
        + counts.port.wakeup_enobufs
        + counts.port.wakeup_enetdown
        + counts.port.wakeup_other
}

/// The warning about replies on queues without a socket.
fn unheard(replies: u64) -> String {
    format!(
        "{replies} valid replies so far came in on RX queues that are not read, and stay with the host; name those \
         queues with --queues, or have the NIC steer replies to the others (--steer)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    fn at(seconds: u64, hits: u64) -> Snapshot {
        Snapshot {
            elapsed: Duration::from_secs(seconds),
            sent: 10_000,
            probes: 1,
            dedup: true,
            recv_success_unique: hits,
            ..Snapshot::default()
        }
    }

    fn trouble(max_send_failures: Option<u64>, min_hitrate_percent: f64) -> Trouble {
        Trouble { max_send_failures, min_hitrate_percent, low_since: None }
    }

    /// The second of the first minute at which the scan ends, if it does. `hits` gives the hit rate at each second, in
    /// targets of 10,000.
    fn ends(min_hitrate_percent: f64, hits: impl Fn(u64) -> u64) -> Option<u64> {
        let mut trouble = trouble(None, min_hitrate_percent);
        (1..60).find(|&second| trouble.check(&at(second, hits(second))).is_some())
    }

    #[test]
    fn a_low_hit_rate_ends_a_scan_after_a_while() {
        assert_eq!(ends(1.0, |_| 99), Some(11), "5 s of warm-up, and 5 s of patience from the next on");
        assert_eq!(ends(1.0, |_| 100), None);
        assert_eq!(ends(0.0, |_| 0), None);
        assert_eq!(ends(1.0, |second| if second % 4 == 0 { 100 } else { 0 }), None, "never for long");
        assert_eq!(ends(1.0, |second| if second < 20 { 100 } else { 0 }), Some(25));
        let mut trouble = trouble(None, 1.0);
        let cooling = |second| Snapshot { send_end: Some(Duration::from_secs(2)), ..at(second, 0) };
        assert!((1..60).all(|second| trouble.check(&cooling(second)).is_none()));
    }

    #[test]
    fn failures_end_a_scan() {
        let failed = |failures| Snapshot { send_failures: failures, ..at(1, 0) };
        assert!(trouble(Some(5), 0.0).check(&failed(5)).is_none());
        let (reason, why) = trouble(Some(5), 0.0).check(&failed(6)).unwrap();
        assert_eq!((reason, reason.exit_code()), (EndReason::SendFailures, Exit::Limit));
        assert!(why.contains("6 times") && why.contains("allows 5"), "{why}");
        assert!(trouble(Some(0), 0.0).check(&failed(1)).is_some());
        assert!(trouble(None, 0.0).check(&failed(1_000_000)).is_none());
    }
}
