//! What a calibration has found, as text and as JSON.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use crate::estimate::Interval;
use crate::governor::{Bound, Cause, Ladder, Outcome, Stage};

/// The heads of the columns.
const HEADS: [&str; 8] = [
    "probes/s",
    "sent/s",
    "canaries",
    "unanswered %",
    "lost by the rate %",
    "own side %",
    "RTT ms",
    "finding",
];

/// The table, and what follows from it.
pub(super) fn text(ladder: &Ladder) -> String {
    let mut rows = vec![HEADS.map(str::to_owned)];
    rows.extend(ladder.stages().iter().map(row));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; HEADS.len()] = std::array::from_fn(width);
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:>width$}")).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}", cells.join("  "));
    }
    let _ = writeln!(text, "\n{}", conclusion(&ladder.outcome()));
    text
}

fn row(stage: &Stage) -> [String; HEADS.len()] {
    let share = |found: Option<(f64, Interval)>| {
        found.map_or_else(
            || "-".to_owned(),
            |(share, Interval { lower, upper })| {
                let [share, lower, upper] = [share, lower, upper].map(|share| 100.0 * share);
                format!("{share:.1} ({lower:.1} to {upper:.1})")
            },
        )
    };
    [
        format!("{:.0}", stage.rate_pps),
        format!("{:.0}", stage.sent_pps),
        stage.canaries.to_string(),
        share(stage.unanswered),
        share(stage.lost),
        format!("{:.1}", 100.0 * stage.own),
        stage.rtt.map_or_else(|| "-".to_owned(), |rtt| format!("{:.1}", milliseconds(rtt))),
        stage.finding.name().to_owned(),
    ]
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// What follows, in one or two sentences.
fn conclusion(outcome: &Outcome) -> String {
    let recommended = outcome.recommended_pps().map(|pps| format!("Recommended: --rate {:.0}", pps.floor()));
    let recommended = recommended.unwrap_or_default();
    match *outcome {
        Outcome::Knee(knee) => {
            let whose = match knee.cause {
                Cause::Path => "The path carries",
                Cause::Receiver => "This host receives the replies to",
            };
            let (pps, error) = (knee.pps, 200.0 * knee.error);
            format!("{whose} {pps:.0} probes per second (+-{error:.1} %). {recommended}")
        }
        Outcome::Clean(_, Bound::Cap | Bound::Knee) => {
            format!("Nothing is lost because of the rate. {recommended}, or more: --max-rate goes further")
        }
        Outcome::Clean(_, Bound::Sender) => {
            format!("This host sends no faster, and nothing is lost because of the rate. {recommended}")
        }
        Outcome::Clean(_, Bound::Blind) => {
            format!("Beyond this rate too few answers came to see a loss. {recommended}")
        }
        Outcome::TooFew => {
            "Nothing can be said: too few targets answer. Take targets of which more do (-w, -p)".to_owned()
        }
        Outcome::Unfinished(Some(pps)) => format!(
            "It ended before a loss was seen, and nothing is lost up to {pps:.0} probes per second. {recommended}, or more: \
             take more targets"
        ),
        Outcome::Unfinished(None) => {
            "Nothing can be said: it ended before a loss was seen. Take more targets, or a lower --max-rate"
                .to_owned()
        }
    }
}

#[derive(Serialize)]
struct StoredOutcome {
    version: &'static str,
    max_pps: f64,
    /// `knee`, `cap`, `sender`, `few-replies` or `unfinished`.
    outcome: &'static str,
    recommended_pps: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    knee_pps: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    knee_error: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bottleneck: Option<&'static str>,
    begins_with_loss: bool,
    text: String,
    stages: Vec<StoredStage>,
}

#[derive(Serialize)]
struct StoredStage {
    rate_pps: f64,
    sent_pps: f64,
    seconds: f64,
    probes: u64,
    replies: u64,
    canaries: u64,
    answered: u64,
    unanswered_percent: Option<StoredShare>,
    lost_percent: Option<StoredShare>,
    own_percent: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    rtt_ms: Option<f64>,
    finding: &'static str,
}

#[derive(Serialize)]
struct StoredShare {
    value: f64,
    lower: f64,
    upper: f64,
}

impl StoredShare {
    fn of((share, interval): (f64, Interval)) -> Self {
        let Interval { lower, upper } = interval.percent();
        Self { value: 100.0 * share, lower, upper }
    }
}

/// One line of JSON.
pub(super) fn json(max_pps: f64, ladder: &Ladder) -> String {
    let outcome = ladder.outcome();
    let (name, knee) = match outcome {
        Outcome::Knee(knee) => ("knee", Some(knee)),
        Outcome::Clean(_, bound) => (bound.name(), None),
        Outcome::TooFew => (Bound::Blind.name(), None),
        Outcome::Unfinished(_) => ("unfinished", None),
    };
    let stage = |stage: &Stage| StoredStage {
        rate_pps: stage.rate_pps,
        sent_pps: stage.sent_pps,
        seconds: stage.seconds,
        probes: stage.probes,
        replies: stage.replies,
        canaries: stage.canaries,
        answered: stage.answered,
        unanswered_percent: stage.unanswered.map(StoredShare::of),
        lost_percent: stage.lost.map(StoredShare::of),
        own_percent: 100.0 * stage.own,
        rtt_ms: stage.rtt.map(milliseconds),
        finding: stage.finding.name(),
    };
    let stored = StoredOutcome {
        version: env!("CARGO_PKG_VERSION"),
        max_pps,
        outcome: name,
        recommended_pps: outcome.recommended_pps().map(f64::floor),
        knee_pps: knee.map(|knee| knee.pps),
        knee_error: knee.map(|knee| knee.error),
        bottleneck: knee.map(|knee| knee.cause.name()),
        begins_with_loss: ladder.begins_with_loss(),
        text: conclusion(&outcome),
        stages: ladder.stages().iter().map(stage).collect(),
    };
    // Numbers and texts can always be written.
    serde_json::to_string(&stored).unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::governor::{Knee, Steps};

    #[test]
    fn conclusions() {
        let knee = Knee { pps: 20_000.0, error: 0.01, cause: Cause::Path };
        for (outcome, words) in [
            (Outcome::Knee(knee), "carries 20000 probes per second (+-2.0 %). Recommended: --rate 19000"),
            (Outcome::Clean(50_000.0, Bound::Cap), "Recommended: --rate 50000, or more"),
            (Outcome::Clean(7_000.5, Bound::Sender), "sends no faster"),
            (Outcome::TooFew, "too few targets answer"),
        ] {
            let text = conclusion(&outcome);
            assert!(text.contains(words), "{text}");
        }
    }

    #[test]
    fn nothing_is_a_table_as_well() {
        let ladder = Ladder::new(Steps::up_to(10_000.0));
        let table = text(&ladder);
        assert!(table.contains("probes/s") && table.contains("it ended before"), "{table}");
        let value: serde_json::Value = serde_json::from_str(&json(10_000.0, &ladder)).unwrap();
        assert_eq!(
            (&value["outcome"], &value["recommended_pps"]),
            (&"unfinished".into(), &serde_json::Value::Null)
        );
    }
}
