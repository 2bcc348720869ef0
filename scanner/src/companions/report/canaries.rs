//! What became of canaries: their figures, and how many got no answer over time.

use maud::{Markup, html};
use serde_json::Value;

use super::chart::{self, Line};
use super::pairs::{flat, pairs};
use super::words::three_digits;
use crate::units::grouped;

/// The key of the series, which is drawn.
const SLOTS: &str = "slots";
/// Most points of the chart. Fewer hide short losses; with more each has too few canaries to tell one.
const POINTS: usize = 60;

/// Slots that are shown as one point.
#[derive(Clone, Copy, Debug, Default)]
struct Point {
    start_s: f64,
    end_s: f64,
    probes: u64,
    sent: u64,
    unanswered: u64,
    own_losses: u64,
}

impl Point {
    /// These slots, the first of which is the earliest; `None` if one is not understood.
    fn of(slots: &[Value]) -> Option<Self> {
        let mut point = Self { start_s: slots.first()?.get("start_seconds")?.as_f64()?, ..Self::default() };
        for slot in slots {
            let count = |key: &str| slot.get(key).and_then(Value::as_u64);
            point.end_s = slot.get("start_seconds")?.as_f64()? + slot.get("seconds")?.as_f64()?;
            point.probes = point.probes.saturating_add(count("probes")?);
            point.sent = point.sent.saturating_add(count("sent")?);
            point.unanswered = point.unanswered.saturating_add(count("unanswered")?);
            point.own_losses = point.own_losses.saturating_add(count("own_losses")?);
        }
        Some(point)
    }

    fn middle_s(&self) -> f64 {
        f64::midpoint(self.start_s, self.end_s)
    }

    /// The share without an answer; none without canaries.
    fn percent(&self) -> Option<f64> {
        (self.sent > 0).then(|| self.unanswered as f64 / self.sent as f64 * 100.0)
    }

    fn row(&self) -> Vec<String> {
        vec![
            three_digits(self.start_s),
            three_digits(self.end_s),
            grouped(self.probes),
            grouped(self.sent),
            grouped(self.unanswered),
            self.percent().map(three_digits).unwrap_or_default(),
            grouped(self.own_losses),
        ]
    }
}

/// What became of them, if the metadata have it under this name.
pub(super) fn section(name: &str, value: &Value) -> Markup {
    let series = value.get(SLOTS);
    let points = series.and_then(Value::as_array).and_then(|slots| points(slots));
    let mut figures = flat(value);
    if series.is_some_and(Value::is_array) {
        figures.retain(|(path, _)| path != SLOTS);
    }
    html! {
        section.object {
            h2 { (name) }
            (pairs(&figures))
            @if let Some(points) = points { (over_time(&points)) }
        }
    }
}

/// The points of a series; `None` if there is nothing to draw.
fn points(slots: &[Value]) -> Option<Vec<Point>> {
    let together = slots.len().div_ceil(POINTS).max(1);
    let points = slots.chunks(together).map(Point::of).collect::<Option<Vec<_>>>()?;
    points.iter().any(|point| point.sent > 0).then_some(points)
}

fn over_time(points: &[Point]) -> Markup {
    let line = Line {
        name: "canaries without an answer",
        class: "c",
        points: points.iter().map(|point| (point.middle_s(), point.percent())).collect(),
    };
    let heads = ["from, s", "to, s", "probes", "canaries", "without an answer", "in %", "lost by this host"];
    html! {
        figure {
            figcaption { "Canaries without an answer, percent of those of the same time" }
            (chart::over_time("Canaries without an answer in percent, over time", &[line], None))
        }
        (chart::numbers(&heads, points.iter().map(Point::row)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn slot(number: u32, sent: u64, unanswered: u64) -> Value {
        json!({
            "start_seconds": f64::from(number) * 0.2, "seconds": 0.2, "probes": 1_000, "sent": sent,
            "unanswered": unanswered, "own_losses": 1,
        })
    }

    #[test]
    fn slots_are_drawn() {
        let slots: Vec<Value> = (0..120).map(|number| slot(number, 10, u64::from(number >= 60))).collect();
        let value = json!({"sent": 1_200, "loss": {"percent": 5.0}, "slots": slots});
        let text = section("Canaries", &value).into_string();
        assert!(
            text.contains(">loss.percent</th><td>5.0<") && text.contains("<path class=\"line c\""),
            "{text}"
        );
        assert!(!text.contains("start_seconds") && !text.contains('{'), "no JSON: {text}");
        // Two slots are one point.
        assert_eq!(text.matches("<tr><td>").count(), 60, "{text}");
        let last = "<td>23.6</td><td>24.0</td><td>2,000</td><td>20</td><td>2</td><td>10.0</td><td>2</td>";
        assert!(text.contains(last), "{text}");
    }

    /// Without canaries there is a gap, and metadata that somebody has edited break nothing.
    #[test]
    fn what_cannot_be_drawn() {
        let drawn = points(&[slot(0, 10, 5), slot(1, 0, 0)]).unwrap();
        assert_eq!(drawn.iter().map(Point::percent).collect::<Vec<_>>(), [Some(50.0), None]);
        for slots in [json!([]), json!([slot(0, 0, 0)]), json!([1, "x"]), json!([{"start_seconds": 1}])] {
            let text = section("Canaries", &json!({"sent": 1, "slots": slots})).into_string();
            assert!(text.contains(">sent</th><td>1<") && !text.contains("<svg"), "{text}");
        }
        // What is no series is shown as any other value.
        assert!(section("Canaries", &json!({"slots": 7})).into_string().contains(">slots</th><td>7<"));
    }
}
