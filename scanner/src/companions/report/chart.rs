//! Charts as SVG inside the page: lines over time, a histogram, bars; each with its numbers as a table.
//!
//! What always holds: a chart has no colour and no size of its own that a style would have to set on an element, since
//! the page's policy forbids those; colours are classes. Each chart has a name for readers that do not see it.

use maud::{Markup, html};

use super::words::{microseconds, percent, tick};
use crate::report::number::Elapsed;
use crate::units::grouped;

/// The size of a chart, in units of which the letters have 12.
const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 230.0;
/// What axes take at the edges.
const LEFT: f64 = 46.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 28.0;
/// Steps of a time axis in seconds.
const TIME_STEPS: [f64; 15] =
    [1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1_800.0, 3_600.0, 7_200.0, 21_600.0];

/// A line of a chart.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// Its name in the legend.
    pub(super) name: &'static str,
    /// The class of its colour.
    pub(super) class: &'static str,
    /// Times in seconds, and values; the line is interrupted where there is none.
    pub(super) points: Vec<(f64, Option<f64>)>,
}

/// Lines over time. `average` is a value to compare with.
pub(super) fn over_time(name: &str, lines: &[Line], average: Option<f64>) -> Markup {
    let points = || lines.iter().flat_map(|line| &line.points);
    let end_s = points().map(|(at, _)| *at).fold(1.0, f64::max);
    let most = points().filter_map(|(_, value)| *value).chain(average).fold(0.0, f64::max);
    let step = step_of(most, 4.0);
    let top = (most / step).ceil().max(1.0) * step;
    let x = |at: f64| LEFT + at / end_s * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM);
    html! {
        (legend(lines, average.is_some()))
        svg.chart role="img" aria-label=(name) viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) {
            (values_axis(top, step, &y))
            (time_axis(end_s, &x))
            @if let Some(average) = average {
                line.average x1=(LEFT) x2=(WIDTH - RIGHT) y1=(at(y(average))) y2=(at(y(average))) {}
            }
            @for line in lines {
                path.line.(line.class) d=(path(&line.points, &x, &y)) {}
                @if let [(time, Some(value))] = line.points[..] {
                    circle.dot.(line.class) cx=(at(x(time))) cy=(at(y(value))) r="3" {}
                }
            }
        }
    }
}

/// The names of lines with their colours.
fn legend(lines: &[Line], has_average: bool) -> Markup {
    html! {
        ul.legend {
            @for line in lines {
                li {
                    svg.key viewBox="0 0 18 10" aria-hidden="true" { path.line.(line.class) d="M1 5H17" {} }
                    (line.name)
                }
            }
            @if has_average {
                li {
                    svg.key viewBox="0 0 18 10" aria-hidden="true" { line.average x1="1" x2="17" y1="5" y2="5" {} }
                    "average"
                }
            }
        }
    }
}

/// A coordinate with a tenth of a unit.
fn at(coordinate: f64) -> String {
    format!("{coordinate:.1}")
}

fn path(points: &[(f64, Option<f64>)], x: &dyn Fn(f64) -> f64, y: &dyn Fn(f64) -> f64) -> String {
    let mut path = String::new();
    let mut is_down = false;
    for (time, value) in points {
        if let Some(value) = value {
            path.push_str(&format!("{}{} {}", if is_down { 'L' } else { 'M' }, at(x(*time)), at(y(*value))));
        }
        is_down = value.is_some();
    }
    path
}

/// A step of 1, 2 or 5 times a power of ten, so that `most` has at most about `ticks` of them.
fn step_of(most: f64, ticks: f64) -> f64 {
    let raw = (most / ticks).max(1e-9);
    let power = 10f64.powf(raw.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= raw * 0.999);
    factor.unwrap_or(10.0) * power
}

fn values_axis(top: f64, step: f64, y: &dyn Fn(f64) -> f64) -> Markup {
    let ticks = (top / step).round() as u32;
    html! {
        @for number in 0..=ticks {
            @let value = f64::from(number) * step;
            line.grid x1=(LEFT) x2=(WIDTH - RIGHT) y1=(at(y(value))) y2=(at(y(value))) {}
            text.tick x=(LEFT - 6.0) y=(at(y(value) + 4.0)) text-anchor="end" { (tick(value)) }
        }
    }
}

fn time_axis(end_s: f64, x: &dyn Fn(f64) -> f64) -> Markup {
    let step = TIME_STEPS.into_iter().find(|step| end_s / step <= 7.0).unwrap_or_else(|| step_of(end_s, 6.0));
    let ticks = (end_s / step).floor() as u32;
    html! {
        @for number in 0..=ticks {
            @let time = f64::from(number) * step;
            text.tick x=(at(x(time))) y=(HEIGHT - 8.0) text-anchor="middle" {
                (Elapsed { seconds: time as u64 })
            }
        }
    }
}

/// A histogram over a logarithmic axis of times. Its first column begins at the power `first` / `per_decade` of ten of
/// a microsecond.
pub(super) fn of_times(name: &str, first: usize, per_decade: usize, columns: &[u64]) -> Markup {
    let most = columns.iter().copied().max().unwrap_or_default() as f64;
    let step = step_of(most, 4.0);
    let top = (most / step).ceil().max(1.0) * step;
    // One column of air on both sides.
    let width = (WIDTH - LEFT - RIGHT) / (columns.len() + 2) as f64;
    let x = |column: f64| LEFT + (column - first as f64 + 1.0) * width;
    let y = |value: f64| HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM);
    let ticks = time_ticks(first, per_decade, columns.len());
    html! {
        svg.chart role="img" aria-label=(name) viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) {
            (values_axis(top, step, &y))
            @for (column, count) in columns.iter().enumerate().filter(|(_, count)| **count > 0) {
                @let column = (first + column) as f64;
                rect.column x=(at(x(column) + 0.5)) y=(at(y(*count as f64))) width=(at((width - 1.0).min(60.0)))
                    height=(at((HEIGHT - BOTTOM - y(*count as f64)).max(1.0))) {
                    title { (column_name(column, per_decade)) ": " (grouped(*count)) }
                }
            }
            @for time_us in &ticks {
                text.tick x=(at(x(time_us.log10() * per_decade as f64))) y=(HEIGHT - 8.0) text-anchor="middle" {
                    (tick_of_time(*time_us))
                }
            }
        }
    }
}

/// The time in which a column begins, and that in which it ends.
pub(super) fn column_name(column: f64, per_decade: usize) -> String {
    let time = |column: f64| microseconds(10f64.powf(column / per_decade as f64));
    format!("{} to {}", time(column), time(column + 1.0))
}

/// Times at which the axis has ticks: 1, 2 and 5 times a power of ten if it is short, or else powers of ten.
fn time_ticks(first: usize, per_decade: usize, columns: usize) -> Vec<f64> {
    let factors: &[f64] = if columns <= 2 * per_decade { &[1.0, 2.0, 5.0] } else { &[1.0] };
    let decades = first / per_decade..=(first + columns) / per_decade;
    let times =
        decades.flat_map(|decade| factors.iter().map(move |factor| factor * 10f64.powi(decade as i32)));
    let bounds = [first as f64 - 0.5, (first + columns) as f64 + 0.5];
    times
        .filter(|time| {
            let column = time.log10() * per_decade as f64;
            column >= bounds[0] && column <= bounds[1]
        })
        .collect()
}

/// A round time, such as `20 ms`.
fn tick_of_time(time_us: f64) -> String {
    match time_us {
        long if long >= 1e6 => format!("{} s", tick(long / 1e6)),
        long if long >= 1e3 => format!("{} ms", tick(long / 1e3)),
        short => format!("{} us", tick(short)),
    }
}

/// Counts with their names, as bars in a table.
pub(super) fn bars(caption: &str, heads: [&str; 2], rows: &[(String, u64)], whole: u64) -> Markup {
    let most = rows.iter().map(|(_, count)| *count).max().unwrap_or_default().max(1);
    html! {
        table.bars {
            caption.unseen { (caption) }
            thead.unseen { tr { th scope="col" { (heads[0]) } th scope="col" { "share" } th scope="col" { (heads[1]) } th scope="col" { "percent" } } }
            tbody {
                @for (name, count) in rows {
                    tr {
                        th scope="row" { (name) }
                        td.space {
                            svg.bar viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true" {
                                rect.on width=(at((*count as f64 / most as f64 * 1000.0).max(2.0))) height="10" {}
                            }
                        }
                        td.number { (grouped(*count)) }
                        td.number.share { (percent(*count, whole)) }
                    }
                }
            }
        }
    }
}

/// Numbers behind a chart, which are shown on request.
pub(super) fn numbers(heads: &[&str], rows: impl Iterator<Item = Vec<String>>) -> Markup {
    html! {
        details.numbers {
            summary { "Numbers" }
            div.scroll tabindex="0" {
                table {
                    thead { tr { @for head in heads { th scope="col" { (head) } } } }
                    tbody { @for row in rows { tr { @for cell in row { td { (cell) } } } } }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps() {
        let steps = [1.0, 3.9, 4.1, 5_239.0, 0.458, 0.0].map(|most| step_of(most, 4.0));
        assert_eq!(steps[..3], [0.5, 1.0, 2.0]);
        assert_eq!((steps[3], steps[4]), (2_000.0, 0.2));
        assert!(steps[5] > 0.0);
    }

    #[test]
    fn lines_are_interrupted() {
        let points = [(0.0, Some(1.0)), (1.0, Some(2.0)), (2.0, None), (3.0, Some(1.0)), (4.0, Some(0.0))];
        let drawn = path(&points, &|x| x, &|y| y);
        assert_eq!(drawn, "M0.0 1.0L1.0 2.0M3.0 1.0L4.0 0.0");
    }

    #[test]
    fn times() {
        assert_eq!(time_ticks(20, 10, 11), [100.0, 200.0, 500.0, 1_000.0]);
        assert_eq!(time_ticks(0, 10, 50), [1.0, 10.0, 100.0, 1e3, 1e4, 1e5]);
        assert_eq!(
            [tick_of_time(20_000.0), tick_of_time(5e6), tick_of_time(50.0)],
            ["20 ms", "5 s", "50 us"]
        );
        assert_eq!(column_name(20.0, 10), "100 us to 126 us");
    }
}
