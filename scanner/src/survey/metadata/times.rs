//! How fast the scan was, how late its probes left and its replies came, and what that cost.

use std::time::Duration;

use serde::Serialize;

use super::facts::Facts;
use crate::distribution::Percentiles;
use crate::survey::cpu::CpuTime;
use crate::wall_clock::WallClock;

/// Rates and times.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Times {
    /// Seconds of `send_seconds` in which nothing could be sent: pauses, outages, and stops of the process.
    pub(super) pause_seconds: f64,
    /// Probes that were completed per second, pauses left out.
    pub(super) sending_rate: f64,
    /// How long after they were due probes left, in nanoseconds; absent without a limit on the rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) probes_late_ns: Option<Percentiles>,
    /// Round-trip times of first answers in microseconds; absent if the probe module does not tell any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rtt_us: Option<Percentiles>,
    /// CPU time.
    pub(super) cpu: Cpu,
    /// The clock of all times here, before the first probe; absent if the kernel does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) clock: Option<WallClock>,
}

/// CPU time from the first probe to the last late reply, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Cpu {
    /// Of the process.
    pub(super) process_seconds: f64,
    /// The same for a million probes; absent if none was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) process_seconds_per_million: Option<f64>,
    /// Of all processors, for all programs and interrupts; absent if the kernel does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) machine_seconds: Option<f64>,
    /// The same for a million probes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) machine_seconds_per_million: Option<f64>,
    /// Of `machine_seconds`, those in soft interrupts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) softirq_seconds: Option<f64>,
}

impl Cpu {
    fn of(time: CpuTime, probes: u64) -> Self {
        let process = time.process.as_secs_f64();
        let machine = time.machine.map(|machine| machine.total.as_secs_f64());
        let per_million = |seconds: f64| (probes > 0).then(|| seconds * 1e6 / probes as f64);
        Self {
            process_seconds: process,
            process_seconds_per_million: per_million(process),
            machine_seconds: machine,
            machine_seconds_per_million: machine.and_then(per_million),
            softirq_seconds: time.machine.map(|machine| machine.softirq.as_secs_f64()),
        }
    }
}

impl Times {
    pub(super) fn of(facts: &Facts<'_>) -> Self {
        let (finished, end) = (facts.finished, &facts.finished.end);
        let sending = end.send_elapsed.saturating_sub(end.still);
        let sent = facts.total.port.probes_sent;
        Self {
            pause_seconds: end.still.as_secs_f64(),
            sending_rate: if sending > Duration::ZERO { sent as f64 / sending.as_secs_f64() } else { 0.0 },
            probes_late_ns: end.lateness.percentiles(),
            rtt_us: finished.outputs.collected.rtt.percentiles(),
            cpu: Cpu::of(finished.cpu, sent),
            clock: finished.clock.clone(),
        }
    }
}
