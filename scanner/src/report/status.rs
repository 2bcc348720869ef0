//! The status line, once per second on stderr, byte for byte in ZMap's form, and the warnings that accompany it.
//!
//! Everything is a pure function of two [`Snapshot`]s: the current one and the one from a second before. There are two
//! deliberate differences from ZMap. The percentage is that of the work done (ZMap's is elapsed time over expected
//! time, so its cooldown counts as work and a slow start shows as progress). And `drops` counts every reply that is
//! known to be lost, on the NIC, in the kernel or in our own rings (ZMap's: what pcap and the interface report).

use std::fmt::{self, Write as _};
use std::time::Duration;

use super::canaries::Loss;
use super::number::{Elapsed, Remaining, number_string};
use crate::engine::Counts;
use crate::engine::canaries::Slot;
use crate::estimate::Estimates;
use crate::governor::State;
use crate::ledger::Ledger;

/// For this long the remaining time is not shown. Lower: an estimate from so little data jumps about. Higher: it is
/// shown later.
const WARM_UP: Duration = Duration::from_secs(5);

/// A warning is issued if drops exceed this fraction of the receive rate. Lower: warnings about harmless losses.
/// Higher: real losses are not noticed. The value is ZMap's.
const DROP_WARNING: f64 = 0.05;

/// A warning is issued if send failures exceed this fraction of the send rate. Lower and higher: as above. The value is
/// ZMap's.
const SEND_FAILURE_WARNING: f64 = 0.01;

/// The state of the scan at one moment. All counts are totals since the start and only grow.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Time since the first probe.
    pub elapsed: Duration,
    /// `elapsed` when the last probe had been sent; `None` while sending.
    pub send_end: Option<Duration>,
    /// How much of the time of sending was a pause or a hold, or lost to a process that did not run.
    pub still: Duration,
    /// How long replies are awaited after the last probe.
    pub cooldown: Duration,
    /// Probes sent.
    pub sent: u64,
    /// Targets whose probes were all sent.
    pub targets_done: u64,
    /// Targets that this scan will probe, with `--max-targets` and the shard taken into account.
    pub targets_total: u64,
    /// Probes for each target.
    pub probes: u32,
    /// Results written.
    pub results: u64,
    /// The scan ends after this many results, if there is a limit.
    pub max_results: Option<u64>,
    /// Sending ends after this time, if there is a limit.
    pub max_runtime: Option<Duration>,
    /// Targets with a success; without deduplication, successes.
    pub recv_success_unique: u64,
    /// Replies with a right cookie.
    pub recv_total: u64,
    /// Whether repeats are recognised.
    pub dedup: bool,
    /// Targets with a success of the application, such as a correct DNS answer; `None` if the probe module does not
    /// distinguish it from a success of the network. With it the status line has ZMap's second form.
    pub app_success_unique: Option<u64>,
    /// Workers that are sending.
    pub senders: u64,
    /// Replies that are known to be lost, anywhere.
    pub drops: u64,
    /// Wake-ups that the kernel refused. The probes stay in the ring, or are put there again.
    pub send_failures: u64,
    /// What became of canaries so far, as far as their answers have had the time to come.
    pub canaries: Slot,
    /// All canaries that were sent. They are in `sent`.
    pub canaries_sent: u64,
    /// Second probes that were sent. They are in `sent`.
    pub seconds_sent: u64,
    /// Targets that have got their second probes.
    pub seconds_done: u64,
    /// Targets that will get second probes, about; 0 if there are none.
    pub seconds_total: u64,
    /// How long after its first probe a target gets its second one.
    pub probe_gap: Duration,
    /// What is estimated so far; `None` if nothing can be.
    pub estimates: Option<Estimates>,
    /// How the rate is found, if it is.
    pub rate_auto: Option<State>,
    /// The ledger so far, if a reader of the snapshots wants it.
    pub ledger: Option<Ledger>,
    /// The counters of each worker, if a reader wants them.
    pub workers: Vec<Counts>,
}

impl Snapshot {
    /// The fraction of the work that is done, 0 to 1. Of the targets, the results and the sending time, the one nearest
    /// to its limit counts. 1 in the cooldown.
    pub fn work_done(&self) -> f64 {
        if self.send_end.is_some() {
            return 1.0;
        }
        let runtime = self.max_runtime.map_or(0.0, |max| part(self.elapsed.as_secs_f64(), max.as_secs_f64()));
        self.targets_part().max(self.results_part()).max(runtime)
    }

    fn targets_part(&self) -> f64 {
        let probes = u64::from(self.probes.max(1));
        let work = |targets: u64, seconds: u64| (probes * targets + seconds) as f64;
        part(work(self.targets_done, self.seconds_done), work(self.targets_total, self.seconds_total))
    }

    fn results_part(&self) -> f64 {
        self.max_results.map_or(0.0, |max| part(self.results as f64, max as f64))
    }

    /// The time until the end if the scan continues at its average rate; the smallest over all limits. `None` if no
    /// target is done yet.
    pub fn remaining(&self) -> Option<Duration> {
        if let Some(send_end) = self.send_end {
            return Some(self.cooldown.saturating_sub(self.elapsed.saturating_sub(send_end)));
        }
        let age = self.sending().as_secs_f64();
        let left = |done: f64| if done > 0.0 { (1.0 - done) * (age / done) } else { f64::INFINITY };
        let cooldown = self.cooldown.as_secs_f64();
        let ran = self.elapsed.as_secs_f64();
        let runtime = self.max_runtime.map_or(f64::INFINITY, |max| (max.as_secs_f64() - ran).max(0.0));
        // The last target waits for its second probe.
        let is_first_pass = self.seconds_total > 0 && self.targets_done < self.targets_total;
        let gap = if is_first_pass { self.probe_gap.as_secs_f64() } else { 0.0 };
        let sending = left(self.targets_part()).max(gap).min(runtime) + cooldown;
        Duration::try_from_secs_f64(sending.min(left(self.results_part()))).ok()
    }

    /// Successes in percent of the targets probed. If repeats are not recognised, in percent of the probes.
    pub fn hitrate(&self) -> f64 {
        self.percent_of_probed(self.recv_success_unique)
    }

    /// The loss that canaries show so far; `None` without canaries.
    pub fn canary_loss(&self) -> Option<Loss> {
        Loss::of(&self.canaries, self.canaries.own_loss())
    }

    fn percent_of_probed(&self, successes: u64) -> f64 {
        let probes = if self.dedup { u64::from(self.probes.max(1)) } else { 1 };
        match self.sent.saturating_sub(self.canaries_sent + self.seconds_sent).div_ceil(probes) {
            0 => 0.0,
            probed => successes as f64 * 100.0 / probed as f64,
        }
    }

    /// How much a count has grown since `previous`, per second.
    pub fn rate(&self, previous: Option<&Self>, count: impl Fn(&Self) -> u64) -> f64 {
        let (before, since) = previous.map_or((0, Duration::ZERO), |p| (count(p), p.elapsed));
        per_second(count(self).saturating_sub(before), self.elapsed.saturating_sub(since))
    }

    pub(super) fn average(&self, count: u64) -> f64 {
        per_second(count, self.elapsed)
    }

    /// How long the scan has been sending, without pauses.
    fn sending(&self) -> Duration {
        self.send_end.unwrap_or(self.elapsed).saturating_sub(self.still)
    }

    /// Probes sent per second while it was sending.
    pub(super) fn average_sent(&self) -> f64 {
        per_second(self.sent, self.sending())
    }

    /// ZMap's status line without its line feed. `previous` is the snapshot of the previous line, if there was one.
    pub fn status_line(&self, previous: Option<&Self>) -> String {
        let mut line = String::with_capacity(192);
        // Writing to a string cannot fail.
        let _ = self.write_status_line(&mut line, previous);
        line
    }

    fn write_status_line(&self, line: &mut String, previous: Option<&Self>) -> fmt::Result {
        let elapsed = Elapsed { seconds: self.elapsed.as_secs() };
        write!(line, "{elapsed:>5} {:.0}%", self.work_done() * 100.0)?;
        if let Some(remaining) = self.remaining().filter(|_| self.elapsed >= WARM_UP) {
            write!(line, " ({} left)", Remaining { seconds: remaining.as_secs_f64().ceil() as u64 })?;
        }
        let send = if self.app_success_unique.is_some() { "sent" } else { "send" };
        match self.send_end {
            None => {
                let rate = self.rate(previous, |s| s.sent).ceil();
                let average = self.average_sent();
                write!(line, "; {send}: {} {}p/s ({}p/s avg)", self.sent, text(rate), slow_text(average))?;
            }
            Some(_) => {
                let average = slow_text(self.average_sent());
                write!(line, "; {send}: {} done ({average}p/s avg)", self.sent)?;
            }
        }
        let rate = self.rate(previous, |s| s.recv_success_unique).ceil();
        let average = self.average(self.recv_success_unique);
        write!(line, "; recv: {} {}p/s ({}p/s avg)", self.recv_success_unique, text(rate), text(average))?;
        if let Some(successes) = self.app_success_unique {
            let rate = self.rate(previous, |s| s.app_success_unique.unwrap_or(0));
            let average = self.average(successes);
            write!(line, "; app success: {successes} {}p/s ({}p/s avg)", text(rate), text(average))?;
        }
        let (rate, average) = (self.rate(previous, |s| s.drops), self.average(self.drops));
        write!(line, "; drops: {}p/s ({}p/s avg)", text(rate), text(average))?;
        write!(line, "; hitrate: {:.2}%", self.hitrate())?;
        if let Some(successes) = self.app_success_unique {
            write!(line, " app hitrate: {:.2}%", self.percent_of_probed(successes))?;
        }
        match self.canary_loss().filter(Loss::is_significant) {
            Some(loss) => write!(line, "; {}", loss.short()),
            None => Ok(()),
        }
    }

    /// Warnings about the time since `previous`, with ZMap's limits: drops above 5 % of the rate of successes, failures
    /// above 1 % of the send rate.
    pub fn warnings(&self, previous: Option<&Self>) -> Vec<Warning> {
        let mut warnings = vec![];
        let drops_pps = self.rate(previous, |s| s.drops);
        if drops_pps > DROP_WARNING * self.rate(previous, |s| s.recv_success_unique).ceil() {
            warnings.push(Warning::Drops { rate_pps: drops_pps, total: self.drops });
        }
        let failures_pps = self.rate(previous, |s| s.send_failures);
        if failures_pps > SEND_FAILURE_WARNING * self.rate(previous, |s| s.sent).ceil() {
            warnings.push(Warning::SendFailures { rate_pps: failures_pps, total: self.send_failures });
        }
        warnings
    }
}

/// A warning for the reader of the status line.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Warning {
    /// Many replies are being lost.
    Drops {
        /// Lost replies per second.
        rate_pps: f64,
        /// Lost replies since the start.
        total: u64,
    },
    /// The kernel refuses to send.
    SendFailures {
        /// Failures per second.
        rate_pps: f64,
        /// Failures since the start.
        total: u64,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drops { rate_pps, total } => {
                write!(f, "Dropped {rate_pps:.0} packets in the last second ({total} total dropped)")
            }
            Self::SendFailures { rate_pps, total } => {
                write!(
                    f,
                    "The kernel refused to send {rate_pps:.0} times in the last second ({total} in total); is the link up?"
                )
            }
        }
    }
}

/// `done / total`, at most 1; also 1 if there is nothing to do.
fn part(done: f64, total: f64) -> f64 {
    if total > 0.0 { (done / total).min(1.0) } else { 1.0 }
}

fn per_second(count: u64, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { count as f64 / time.as_secs_f64() }
}

/// A rate as ZMap prints it: truncated to a whole number first.
fn text(rate: f64) -> String {
    number_string(rate as u64)
}

/// A rate that may be below one per second, which is then printed with its fraction.
fn slow_text(rate: f64) -> String {
    if rate > 0.0 && rate < 1.0 { format!("{rate:.2} ") } else { text(rate) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Snapshot {
        Snapshot {
            elapsed: Duration::from_secs(seconds),
            cooldown: Duration::from_secs(8),
            targets_total: 1_000_000,
            probes: 1,
            dedup: true,
            ..Snapshot::default()
        }
    }

    #[test]
    fn first_line() {
        assert_eq!(
            at(0).status_line(None),
            " 0:00 0%; send: 0 0 p/s (0 p/s avg); recv: 0 0 p/s (0 p/s avg); drops: 0 p/s (0 p/s avg); hitrate: 0.00%"
        );
    }

    #[test]
    fn lines_of_a_scan() {
        let before = Snapshot { sent: 40_000, targets_done: 40_000, recv_success_unique: 500, ..at(4) };
        let now = Snapshot {
            sent: 52_500,
            targets_done: 52_500,
            recv_success_unique: 1_100,
            recv_total: 2_000,
            drops: 3,
            ..at(5)
        };
        assert_eq!(
            before.status_line(None),
            " 0:04 4%; send: 40000 10.0 Kp/s (10.0 Kp/s avg); recv: 500 125 p/s (125 p/s avg); \
             drops: 0 p/s (0 p/s avg); hitrate: 1.25%"
        );
        assert_eq!(
            now.status_line(Some(&before)),
            " 0:05 5% (1m39s left); send: 52500 12.5 Kp/s (10.5 Kp/s avg); recv: 1100 600 p/s (220 p/s avg); \
             drops: 3 p/s (0 p/s avg); hitrate: 2.10%"
        );
        let done = Snapshot {
            send_end: Some(Duration::from_secs(100)),
            sent: 2_000_000,
            targets_done: 1_000_000,
            probes: 2,
            recv_success_unique: 12_345,
            ..at(103)
        };
        assert_eq!(
            done.status_line(Some(&Snapshot { elapsed: Duration::from_secs(102), ..done.clone() })),
            " 1:43 100% (5s left); send: 2000000 done (20.0 Kp/s avg); recv: 12345 0 p/s (119 p/s avg); \
             drops: 0 p/s (0 p/s avg); hitrate: 1.23%"
        );
    }

    /// Second probes are work, and no part of the hit rate. The last of them comes the gap after the last first one.
    #[test]
    fn second_probes_are_work() {
        let now = Snapshot {
            sent: 600_000,
            seconds_sent: 100_000,
            targets_done: 500_000,
            seconds_done: 100_000,
            seconds_total: 1_000_000,
            recv_success_unique: 5_000,
            ..at(10)
        };
        assert!((now.work_done() - 0.3).abs() < 1e-9 && (now.hitrate() - 1.0).abs() < 1e-9, "{now:?}");
        let left_s = |gap_s| {
            let remaining = Snapshot { probe_gap: Duration::from_secs(gap_s), ..now.clone() }.remaining();
            remaining.unwrap().as_secs_f64()
        };
        assert!((left_s(5) - (70.0 / 3.0 + 8.0)).abs() < 1e-6 && (left_s(60) - 68.0).abs() < 1e-6);
    }

    /// Pauses count for no average of what was sent, and what is left takes as long as it would without them.
    #[test]
    fn pauses_are_left_out() {
        let now = Snapshot { sent: 40_000, targets_done: 40_000, still: Duration::from_secs(6), ..at(10) };
        assert!(now.status_line(None).contains("; send: 40000 4.00 Kp/s (10.0 Kp/s avg); "));
        assert_eq!(now.remaining(), Some(Duration::from_secs(96 + 8)));
        let done = Snapshot { send_end: Some(Duration::from_secs(8)), ..now };
        assert!(done.status_line(None).contains("; send: 40000 done (20.0 Kp/s avg); "));
    }

    #[test]
    fn a_rate_below_one_a_second() {
        let now = Snapshot { sent: 4, targets_done: 4, ..at(8) };
        assert!(
            now.status_line(None).contains("; send: 4 1 p/s (0.50 p/s avg); recv: 0 0 p/s (0 p/s avg); ")
        );
        let done = Snapshot { send_end: Some(Duration::from_secs(8)), ..now };
        assert!(done.status_line(None).contains("; send: 4 done (0.50 p/s avg); "));
    }

    #[test]
    fn lines_of_a_module_with_application_successes() {
        let before = Snapshot { sent: 1_000, app_success_unique: Some(10), ..at(1) };
        let now = Snapshot {
            sent: 2_000,
            targets_done: 2_000,
            recv_success_unique: 100,
            app_success_unique: Some(50),
            ..at(2)
        };
        assert_eq!(
            now.status_line(Some(&before)),
            " 0:02 0%; sent: 2000 1.00 Kp/s (1.00 Kp/s avg); recv: 100 100 p/s (50 p/s avg); \
             app success: 50 40 p/s (25 p/s avg); drops: 0 p/s (0 p/s avg); hitrate: 5.00% app hitrate: 2.50%"
        );
        let done = Snapshot { send_end: Some(Duration::from_secs(2)), ..now };
        assert!(done.status_line(None).contains("; sent: 2000 done (1.00 Kp/s avg); recv: "));
    }

    #[test]
    fn work_and_time_left() {
        let scan = Snapshot { targets_done: 100_000, ..at(10) };
        assert_eq!(scan.work_done(), 0.1);
        assert_eq!(scan.remaining(), Some(Duration::from_secs(98)));
        let by_time = Snapshot { max_runtime: Some(Duration::from_secs(20)), ..scan.clone() };
        assert_eq!(by_time.work_done(), 0.5);
        assert_eq!(by_time.remaining(), Some(Duration::from_secs(18)));
        let by_results = Snapshot { max_results: Some(100), results: 80, ..scan };
        assert_eq!(by_results.work_done(), 0.8);
        assert!(by_results.remaining().unwrap() < Duration::from_secs(3));
        assert_eq!(at(10).remaining(), None);
        assert!(!at(10).status_line(None).contains("left"));
        let cooled = Snapshot { send_end: Some(Duration::from_secs(1)), ..at(100) };
        assert_eq!(cooled.remaining(), Some(Duration::ZERO));
    }

    #[test]
    fn hitrate_by_targets_or_probes() {
        let scan = Snapshot { sent: 5, probes: 2, recv_success_unique: 3, ..at(1) };
        assert_eq!(scan.hitrate(), 100.0);
        assert_eq!(Snapshot { dedup: false, ..scan }.hitrate(), 60.0);
    }

    #[test]
    fn warnings() {
        let before = Snapshot { sent: 1_000, recv_success_unique: 100, ..at(1) };
        let fine = Snapshot { sent: 2_000, recv_success_unique: 200, drops: 5, send_failures: 10, ..at(2) };
        assert_eq!(fine.warnings(Some(&before)), []);
        assert_eq!(at(2).warnings(Some(&at(1))), []);
        let bad = Snapshot { drops: 6, send_failures: 11, ..fine };
        let texts: Vec<String> = bad.warnings(Some(&before)).iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "Dropped 6 packets in the last second (6 total dropped)",
                "The kernel refused to send 11 times in the last second (11 in total); is the link up?"
            ]
        );
    }
}
