//! Loss against rate, as SVG: a file that stands alone.

use maud::{Markup, html};

use crate::estimate::Interval;
use crate::governor::{Ladder, Outcome, Stage};

/// The size, in pixels.
const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 420.0;
/// What titles and axes take at the edges.
const LEFT: f64 = 64.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 64.0;
const BOTTOM: f64 = 56.0;
/// Colours that differ for everybody (M. Okabe, K. Ito, "Color Universal Design", 2002).
const LOST: &str = "#0072b2";
const OWN: &str = "#d55e00";
const KNEE: &str = "#009e73";

/// From rates and shares to places.
struct Scale {
    first_pps: f64,
    last_pps: f64,
    most: f64,
}

impl Scale {
    fn of(stages: &[Stage], knee_pps: Option<f64>) -> Self {
        let rates = || stages.iter().map(|stage| stage.sent_pps).chain(knee_pps).filter(|rate| *rate > 0.0);
        let first_pps = rates().fold(f64::INFINITY, f64::min).min(1e9);
        let last_pps = rates().fold(0.0, f64::max).max(first_pps * 1.1);
        let shares =
            stages.iter().flat_map(|stage| [shown(stage).map_or(0.0, |(_, to)| to.upper), stage.own]);
        // In whole tenths.
        let most = (shares.fold(0.05, f64::max) * 10.0).ceil() / 10.0;
        Self { first_pps, last_pps, most: most.min(1.0) }
    }

    fn x(&self, pps: f64) -> f64 {
        let part = (pps / self.first_pps).ln() / (self.last_pps / self.first_pps).ln();
        LEFT + part.clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, share: f64) -> f64 {
        HEIGHT - BOTTOM - (share / self.most).clamp(0.0, 1.0) * (HEIGHT - TOP - BOTTOM)
    }
}

/// The loss of a stage: by the rate, or of the first one, with which others are compared, none.
fn shown(stage: &Stage) -> Option<(f64, Interval)> {
    stage.lost.filter(|_| stage.sent_pps > 0.0)
}

/// The picture.
pub(super) fn svg(ladder: &Ladder) -> String {
    let outcome = ladder.outcome();
    let knee_pps = match outcome {
        Outcome::Knee(knee) => Some(knee.pps),
        _ => None,
    };
    let mut stages = ladder.stages().to_vec();
    stages.sort_by(|one, other| one.sent_pps.total_cmp(&other.sent_pps));
    let scale = Scale::of(&stages, knee_pps.filter(|pps| pps.is_finite()));
    let marks = [("knee", knee_pps), ("recommended", outcome.recommended_pps())];
    let picture = html! {
        svg xmlns="http://www.w3.org/2000/svg" viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) width=(WIDTH) height=(HEIGHT)
            font-family="sans-serif" font-size="13" role="img" {
            title { "Loss against rate" }
            rect width="100%" height="100%" fill="white" {}
            text x=(LEFT) y="26" font-size="16" { "Loss against rate" }
            text x=(LEFT) y="46" fill=(LOST) { "lost because of the rate, with its interval of 95 %" }
            text x=(WIDTH - RIGHT) y="46" fill=(OWN) text-anchor="end" { "lost at our own side" }
            (axes(&scale))
            @for (name, pps) in marks {
                @if let Some(pps) = pps { (mark(&scale, name, pps)) }
            }
            polyline fill="none" stroke=(OWN) stroke-width="1.5" points=(points(&scale, stages.iter().map(|stage| (stage.sent_pps, stage.own)))) {}
            polyline fill="none" stroke=(LOST) stroke-width="2" points=(points(&scale, stages.iter().filter_map(|stage| Some((stage.sent_pps, shown(stage)?.0))))) {}
            @for stage in &stages {
                @if let Some((share, interval)) = shown(stage) {
                    @let x = at(scale.x(stage.sent_pps));
                    line x1=(x) x2=(x) y1=(at(scale.y(interval.lower))) y2=(at(scale.y(interval.upper))) stroke=(LOST) {}
                    circle cx=(x) cy=(at(scale.y(share))) r="3.5" fill=(LOST) {}
                }
            }
        }
    };
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{}\n", picture.into_string())
}

/// A coordinate with a tenth of a pixel.
fn at(coordinate: f64) -> String {
    format!("{coordinate:.1}")
}

fn points(scale: &Scale, points: impl Iterator<Item = (f64, f64)>) -> String {
    let points = points.map(|(pps, share)| format!("{},{}", at(scale.x(pps)), at(scale.y(share))));
    points.collect::<Vec<_>>().join(" ")
}

fn axes(scale: &Scale) -> Markup {
    let base = HEIGHT - BOTTOM;
    html! {
        @for tick in 0..=5 {
            @let share = scale.most * f64::from(tick) / 5.0;
            @let y = at(scale.y(share));
            line x1=(LEFT) x2=(WIDTH - RIGHT) y1=(y) y2=(y) stroke="#dddddd" {}
            text x=(LEFT - 8.0) y=(at(scale.y(share) + 4.0)) text-anchor="end" { (format!("{:.0} %", 100.0 * share)) }
        }
        @for pps in rates(scale) {
            @let x = at(scale.x(pps));
            line x1=(x) x2=(x) y1=(base) y2=(base + 5.0) stroke="black" {}
            text x=(x) y=(base + 20.0) text-anchor="middle" { (short(pps)) }
        }
        text x=(at((LEFT + WIDTH - RIGHT) / 2.0)) y=(HEIGHT - 12.0) text-anchor="middle" { "probes per second" }
    }
}

/// Rates at which the axis has ticks: 1, 2 and 5 times a power of ten.
fn rates(scale: &Scale) -> Vec<f64> {
    let decades = (2..8).flat_map(|power| [1.0, 2.0, 5.0].map(|factor| factor * 10f64.powi(power)));
    decades.filter(|pps| (scale.first_pps..=scale.last_pps).contains(pps)).collect()
}

/// A round rate, such as `20K`.
fn short(pps: f64) -> String {
    match pps {
        pps if pps >= 1e6 => format!("{}M", pps / 1e6),
        pps if pps >= 1e3 => format!("{}K", pps / 1e3),
        pps => format!("{pps}"),
    }
}

fn mark(scale: &Scale, name: &str, pps: f64) -> Markup {
    let x = scale.x(pps);
    // The recommended rate is just below the knee: their names are on two sides.
    let (place, anchor) = if name == "knee" { (x + 5.0, "start") } else { (x - 5.0, "end") };
    html! {
        line x1=(at(x)) x2=(at(x)) y1=(TOP) y2=(HEIGHT - BOTTOM) stroke=(KNEE) stroke-dasharray="5 4" {}
        text x=(at(place)) y=(TOP + 14.0) text-anchor=(anchor) fill=(KNEE) { (format!("{name} {pps:.0}")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::governor::Steps;

    #[test]
    fn ticks_and_places() {
        let scale = Scale { first_pps: 2_500.0, last_pps: 30_000.0, most: 0.4 };
        assert_eq!(rates(&scale), [5_000.0, 10_000.0, 20_000.0]);
        assert_eq!([short(20_000.0), short(2e6), short(500.0)], ["20K", "2M", "500"]);
        assert!((scale.x(2_500.0) - LEFT).abs() < 1e-9 && (scale.x(30_000.0) - (WIDTH - RIGHT)).abs() < 1e-9);
        assert!((scale.y(0.4) - TOP).abs() < 1e-9 && (scale.y(0.0) - (HEIGHT - BOTTOM)).abs() < 1e-9);
    }

    #[test]
    fn nothing_is_a_picture_as_well() {
        let picture = svg(&Ladder::new(Steps::up_to(10_000.0)));
        assert!(
            picture.starts_with("<?xml") && !picture.contains("NaN") && !picture.contains("inf"),
            "{picture}"
        );
    }
}
