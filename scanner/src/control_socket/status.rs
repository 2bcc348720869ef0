//! The status of a scan, as an object for programs and in words for people.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::engine::PauseCause;
use crate::governor::State;
use crate::report::number::{Remaining, number_string};

/// How a scan stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// `sending`, `cooldown` or `done`.
    pub phase: String,
    /// Whether sending is paused.
    pub paused: bool,
    /// What pauses it: `command`, `suspension` (Ctrl-Z) or `output` (one that cannot be written). Absent while nothing
    /// does.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paused_by: Vec<String>,
    /// Whether sending is held because the link is down or a gateway has moved.
    pub held: bool,
    /// Time since the start.
    pub elapsed_s: f64,
    /// How much of the work is done.
    pub done_percent: f64,
    /// Time until the end at the average rate; absent while it is unknown, and while sending is paused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remaining_s: Option<f64>,
    /// Probes sent.
    pub sent: u64,
    /// Probes sent per second in the last second.
    pub sent_pps: f64,
    /// The limit on the rate in probes per second; 0: none.
    pub rate_pps: f64,
    /// Whether resets count towards that limit, as with a bandwidth.
    pub rate_counts_resets: bool,
    /// How often the rate was changed.
    pub rate_changes: u64,
    /// How the rate is found, with `--rate auto`; absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_auto: Option<State>,
    /// Targets whose probes were all sent.
    pub targets_done: u64,
    /// Targets that this scan will probe.
    pub targets_total: u64,
    /// Replies with a right cookie.
    pub replies: u64,
    /// Targets with a success; without deduplication, successes.
    pub successes: u64,
    /// Results written.
    pub results: u64,
    /// Successes in percent of the targets probed.
    pub hitrate_percent: f64,
    /// Between which percentages the hit rate of all targets is, with a confidence of 95 %; absent while nothing can be
    /// said of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hitrate_interval_percent: Option<[f64; 2]>,
    /// Which percentage of the canaries got no answer, and between which percentages that is, with a confidence of 95
    /// %; absent without canaries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary_loss_percent: Option<[f64; 3]>,
    /// Between which percentages the hosts are that one probe misses, with a confidence of 95 %; absent without second
    /// probes, and before a host has answered both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missed_interval_percent: Option<[f64; 2]>,
    /// Replies that are known to be lost.
    pub drops: u64,
    /// Why the scan ends or has ended, as in the metadata; absent while it goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_reason: Option<String>,
}

impl Status {
    /// Whether this pauses it.
    pub fn is_paused_by(&self, cause: PauseCause) -> bool {
        self.paused_by.iter().any(|name| name == cause.name())
    }
}

/// In one line.
impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.phase)?;
        match (self.paused, self.held) {
            (true, _) if self.is_paused_by(PauseCause::Output) => {
                f.write_str(" (paused: an output cannot be written)")?;
            }
            (true, _) => f.write_str(" (paused)")?,
            (false, true) => f.write_str(" (held: the link is down, or a gateway has moved)")?,
            (false, false) => {}
        }
        write!(
            f,
            " {:.0}%: {} of {} targets; {} sent, {}p/s",
            self.done_percent,
            self.targets_done,
            self.targets_total,
            self.sent,
            number_string(self.sent_pps as u64),
        )?;
        match self.rate_pps {
            0.0 => f.write_str(" (no limit)")?,
            rate_pps => write!(f, " (limit {rate_pps} p/s)")?,
        }
        write!(
            f,
            "; {} replies, {} successes, hitrate {:.2}%; {} drops",
            self.replies, self.successes, self.hitrate_percent, self.drops
        )?;
        if let Some(seconds) = self.remaining_s {
            write!(f, "; {} left", Remaining { seconds: seconds.ceil() as u64 })?;
        }
        self.end_reason.as_ref().map_or(Ok(()), |reason| write!(f, "; ends: {reason}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_words() {
        let status = Status {
            phase: "sending".to_owned(),
            done_percent: 61.2,
            targets_done: 40_000,
            targets_total: 65_536,
            sent: 40_000,
            sent_pps: 9_990.0,
            rate_pps: 10_000.0,
            replies: 180,
            successes: 171,
            hitrate_percent: 0.4275,
            remaining_s: Some(9.4),
            ..Status::default()
        };
        assert_eq!(
            status.to_string(),
            "sending 61%: 40000 of 65536 targets; 40000 sent, 9.99 Kp/s (limit 10000 p/s); 180 replies, 171 successes, \
             hitrate 0.43%; 0 drops; 10s left"
        );
        let stuck = Status { paused: true, paused_by: vec!["output".to_owned()], ..status.clone() };
        assert!(
            stuck.to_string().starts_with("sending (paused: an output cannot be written) 61%"),
            "{stuck}"
        );
        let ended = Status {
            paused: true,
            rate_pps: 0.0,
            remaining_s: None,
            end_reason: Some("interrupted".to_owned()),
            ..status
        };
        let text = ended.to_string();
        assert!(text.starts_with("sending (paused) 61%"), "{text}");
        assert!(text.contains("(no limit)") && text.ends_with("; ends: interrupted"), "{text}");
    }
}
