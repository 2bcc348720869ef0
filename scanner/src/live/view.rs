//! What is on the screen, as a function of what is known of the scan.

use std::collections::VecDeque;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize as _};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Gauge, Paragraph, Sparkline};

use crate::control_socket::{Answer, Details, Status};
use crate::engine::PauseCause;
use crate::governor::State;
use crate::report::canaries::WORTH_A_WARNING;
use crate::report::number::{Elapsed, Remaining, number_string};
use crate::units::grouped;

/// Most lines of the log that fit any screen.
pub(super) const LOG_MAX: usize = 100;
/// Seconds of rates that are kept for the curve. Fewer: a wide terminal is not filled.
const HISTORY_MAX: usize = 512;
/// Least height of the screen with the curve, the lists and the log. On a lower one, what is less needed is left out.
const ROWS_FOR_CURVE: u16 = 20;
const ROWS_FOR_LISTS: u16 = 15;
/// Rows of the numbers on a low screen, and on a higher one: there is what a scan may have, too, each in its own place.
const NUMBER_ROWS: u16 = 3;
const ALL_NUMBER_ROWS: u16 = 5;
/// Rows of the lists, without their frame.
const LIST_ROWS: u16 = 5;
/// The loss of canaries, in percent, that is shown in red if even its lower bound is above: that of the warning.
const LOSS_PERCENT: f64 = 100.0 * WORTH_A_WARNING;
/// Columns of a pair of a name and a number.
const NAME_LEN: usize = 11;

/// What is known of a scan, and what the user should know of the view.
#[derive(Debug, Default)]
pub(super) struct View {
    status: Status,
    details: Details,
    /// Probes per second, one number for each second.
    sent_pps: VecDeque<u64>,
    /// Whether this process has started the scan.
    pub(super) owns_scan: bool,
    /// Why the last key had no effect; empty if it had one.
    pub(super) notice: String,
    /// The last lines that the scan has logged.
    pub(super) log: Vec<String>,
}

impl View {
    pub(super) fn new(owns_scan: bool) -> Self {
        Self { owns_scan, ..Self::default() }
    }

    /// Takes what comes once per second.
    pub(super) fn take(&mut self, answer: Answer) {
        if let Some(details) = &answer.details {
            self.details = details.clone();
        }
        if let Some(status) = &answer.status {
            self.sent_pps.push_back(status.sent_pps as u64);
            if self.sent_pps.len() > HISTORY_MAX {
                self.sent_pps.pop_front();
            }
        }
        self.take_status(answer);
    }

    /// Takes the status that follows a request.
    pub(super) fn take_status(&mut self, answer: Answer) {
        if let Some(status) = answer.status {
            self.status = status;
        }
    }

    /// The last status.
    pub(super) fn status(&self) -> &Status {
        &self.status
    }

    /// Why the scan has ended or ends.
    pub(super) fn end_reason(&self) -> Option<&str> {
        self.status.end_reason.as_deref()
    }

    /// Draws it.
    pub(super) fn draw(&self, frame: &mut Frame<'_>) {
        let area = frame.area();
        let has_lists = area.height >= ROWS_FOR_LISTS;
        let curve = if area.height >= ROWS_FOR_CURVE { 5 } else { 0 };
        let lists = if has_lists { LIST_ROWS + 2 } else { 0 };
        let numbers = if has_lists { ALL_NUMBER_ROWS } else { NUMBER_ROWS };
        let rows = [
            Constraint::Length(1),
            Constraint::Length(1),
            Constraint::Length(numbers),
            Constraint::Length(curve),
            Constraint::Length(lists),
            Constraint::Min(0),
            Constraint::Length(1),
        ];
        let [head, progress, numbers, curve, lists, log, foot] = Layout::vertical(rows).areas(area);
        frame.render_widget(self.head(head.width), head);
        frame.render_widget(self.progress(), progress);
        self.numbers(frame, numbers);
        if curve.height > 0 {
            let block = titled("probes per second");
            // The newest is at the right edge.
            let skipped = self.sent_pps.len().saturating_sub(usize::from(curve.width.saturating_sub(2)));
            let data: Vec<u64> = self.sent_pps.iter().skip(skipped).copied().collect();
            frame.render_widget(Sparkline::default().block(block).data(data).fg(Color::Cyan), curve);
        }
        if has_lists {
            self.lists(frame, lists);
        }
        self.log(frame, log);
        frame.render_widget(self.foot(), foot);
    }

    fn head(&self, width: u16) -> Paragraph<'_> {
        let status = &self.status;
        let state = match (status.paused, status.held, &status.end_reason) {
            (_, _, Some(reason)) => Span::from(format!("{} - ends: {reason}", status.phase)).yellow(),
            (true, ..) => {
                Span::from(format!("{} - paused ({})", status.phase, status.paused_by.join(", "))).yellow()
            }
            (_, true, _) => Span::from(format!("{} - held: link or gateway", status.phase)).red(),
            _ if status.phase.is_empty() => Span::from("starting").yellow(),
            _ => Span::from(status.phase.clone()).green(),
        };
        let elapsed = Elapsed { seconds: status.elapsed_s as u64 }.to_string();
        let left = format!(" xdpmap  {}", state.content);
        let gap = usize::from(width).saturating_sub(left.chars().count() + elapsed.chars().count() + 1);
        Paragraph::new(Line::from(vec![
            Span::from(" xdpmap  ").bold(),
            state,
            Span::from(" ".repeat(gap)),
            Span::from(elapsed).dim(),
        ]))
    }

    fn progress(&self) -> Gauge<'_> {
        let status = &self.status;
        let left = status.remaining_s.map_or_else(String::new, |seconds| {
            format!(", {} left", Remaining { seconds: seconds.ceil() as u64 })
        });
        let label = format!(
            "{:.0}%  {} of {} targets{left}",
            status.done_percent,
            grouped(status.targets_done),
            grouped(status.targets_total)
        );
        let ratio = (status.done_percent / 100.0).clamp(0.0, 1.0);
        Gauge::default()
            .ratio(ratio)
            .label(label)
            .gauge_style(Style::new().fg(Color::Blue).bg(Color::DarkGray))
    }

    fn numbers(&self, frame: &mut Frame<'_>, area: Rect) {
        let status = &self.status;
        let limit = match status.rate_pps {
            0.0 => "no limit".to_owned(),
            pps => format!("limit {} p/s", short(pps)),
        };
        let drops = Span::from(grouped(status.drops));
        let mut sending = vec![
            row("sent", vec![grouped(status.sent).into()]),
            row("rate", vec![format!("{}p/s", number_string(status.sent_pps as u64)).into()]),
            row("", vec![limit.into()]),
        ];
        let mut receiving = vec![
            row("replies", vec![grouped(status.replies).into()]),
            row("successes", vec![grouped(status.successes).into()]),
            row("results", vec![grouped(status.results).into()]),
        ];
        let mut quality = vec![
            row("hit rate", vec![format!("{:.2} %", status.hitrate_percent).into()]),
            row("lost", vec![if status.drops > 0 { drops.red() } else { drops.green() }]),
            row(
                "rate set",
                vec![match status.rate_changes {
                    1 => "once".into(),
                    times => format!("{times} times").into(),
                }],
            ),
        ];
        if area.height >= ALL_NUMBER_ROWS {
            sending.extend(status.rate_auto.iter().flat_map(found_rate));
            receiving.extend(status.canary_loss_percent.map(canary_loss));
            if let Some([lower, upper]) = status.hitrate_interval_percent {
                quality.insert(1, row("", vec![format!("{lower:.2} to {upper:.2}").into()]));
            }
        }
        let columns = Layout::horizontal([Constraint::Ratio(1, 3); 3]).areas::<3>(area);
        for (lines, column) in [sending, receiving, quality].into_iter().zip(columns) {
            frame.render_widget(Paragraph::new(lines), column);
        }
    }

    fn lists(&self, frame: &mut Frame<'_>, area: Rect) {
        let columns = Layout::horizontal([Constraint::Ratio(1, 3); 3]).areas::<3>(area);
        let [queues, losses, ports] = columns;
        let most = usize::from(LIST_ROWS);
        let of_queues = self.details.workers.iter().map(|worker| {
            let queue = worker.queue.map_or_else(|| "-".to_owned(), |queue| queue.to_string());
            format!(
                "{:7} {queue:>2} {:>8} {:>8}",
                cut(&worker.interface, 7),
                number_string(worker.sent_pps as u64).trim_end(),
                number_string(worker.received_pps as u64).trim_end()
            )
        });
        let of_losses =
            self.details.losses.iter().map(|loss| format!("{:>8}  {}", grouped(loss.count), loss.name));
        let of_ports = self
            .details
            .ports
            .iter()
            .map(|port| format!("{:>8}  port {}", grouped(port.successes), port.port));
        list(frame, queues, "queues: sent, received p/s", most, of_queues.collect(), "not known yet");
        list(frame, losses, "losses", most, of_losses.collect(), "none");
        list(frame, ports, "successes by port", most, of_ports.collect(), "none yet");
    }

    fn log(&self, frame: &mut Frame<'_>, area: Rect) {
        if area.height < 2 || !self.owns_scan {
            return;
        }
        let rows = usize::from(area.height) - 1;
        let lines = self.log.iter().skip(self.log.len().saturating_sub(rows));
        let lines: Vec<Line<'_>> = lines.map(|line| coloured(line)).collect();
        frame.render_widget(
            Paragraph::new(lines)
                .block(Block::new().borders(Borders::TOP).title(" log ").border_style(Style::new().dim())),
            area,
        );
    }

    fn foot(&self) -> Paragraph<'_> {
        if !self.notice.is_empty() {
            return Paragraph::new(Line::from(format!(" {}", self.notice)).yellow());
        }
        // What else pauses it, no key ends.
        let pause = if self.status.is_paused_by(PauseCause::Command) { "go on" } else { "pause" };
        let end = if self.owns_scan { "q end the scan" } else { "s end the scan  q leave" };
        Paragraph::new(Line::from(format!(" space {pause}  + faster  - slower  {end}")).dim())
    }
}

/// A name and its value.
fn row(name: &str, mut value: Vec<Span<'static>>) -> Line<'static> {
    let mut spans = vec![Span::from(format!(" {name:NAME_LEN$}")).dim()];
    spans.append(&mut value);
    Line::from(spans)
}

/// How the rate is found: what is done for it, and the knee, once that is known.
fn found_rate(state: &State) -> Vec<Line<'static>> {
    let stage = match state.held_for.as_deref().filter(|cause| *cause != "knee") {
        Some(cause) => format!("{} ({cause})", state.stage),
        None => state.stage.clone(),
    };
    let knee =
        state.knee_pps.map(|pps| row("knee", vec![format!("{}p/s", number_string(pps as u64)).into()]));
    std::iter::once(row("rate auto", vec![stage.into()])).chain(knee).collect()
}

/// The loss that canaries show, with its interval. Red, if it is beyond doubt.
fn canary_loss([loss, low, high]: [f64; 3]) -> Line<'static> {
    let text = Span::from(format!("{loss:.1}% ({low:.1}-{high:.1})"));
    row("unanswered", vec![if low > LOSS_PERCENT { text.red() } else { text }])
}

fn titled(title: &str) -> Block<'_> {
    Block::bordered().title(format!(" {title} ")).border_style(Style::new().dim())
}

/// A list in a frame, with its first `most` lines and how many more there are.
fn list(frame: &mut Frame<'_>, area: Rect, title: &str, most: usize, mut lines: Vec<String>, none: &str) {
    if lines.is_empty() {
        lines.push(none.to_owned());
    }
    if lines.len() > most {
        let more = lines.len() - most + 1;
        lines.truncate(most - 1);
        lines.push(format!("and {more} more"));
    }
    let lines: Vec<Line<'_>> = lines.into_iter().map(Line::from).collect();
    frame.render_widget(Paragraph::new(lines).block(titled(title)), area);
}

/// A line of the log in the colour of its level.
fn coloured(line: &str) -> Line<'_> {
    let colour = if line.contains(" [WARN] ") {
        Color::Yellow
    } else if line.contains(" [ERROR] ") || line.contains(" [FATAL] ") {
        Color::Red
    } else {
        Color::Reset
    };
    Line::from(format!(" {line}")).fg(colour)
}

/// A rate with no more digits than it needs.
fn short(pps: f64) -> String {
    if pps.fract() == 0.0 && pps < 1e15 { grouped(pps as u64) } else { format!("{pps}") }
}

fn cut(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::control_socket::{LossLine, PortLine, WorkerLine};

    fn status() -> Status {
        Status {
            phase: "sending".to_owned(),
            elapsed_s: 83.2,
            done_percent: 61.2,
            targets_done: 40_000,
            targets_total: 65_536,
            remaining_s: Some(9.4),
            sent: 40_000,
            sent_pps: 9_990.0,
            rate_pps: 10_000.0,
            replies: 180,
            successes: 171,
            results: 171,
            hitrate_percent: 0.4275,
            ..Status::default()
        }
    }

    fn details() -> Details {
        let worker = |queue| WorkerLine {
            interface: "eth0".to_owned(),
            queue: Some(queue),
            sent_pps: 5_000.0,
            received_pps: 21.0,
        };
        Details {
            workers: (0..7).map(worker).collect(),
            losses: vec![LossLine { name: "ring to the collector full".to_owned(), count: 12 }],
            ports: vec![PortLine { port: 443, successes: 1_234 }],
        }
    }

    /// The screen of this view, in lines.
    fn screen(view: &View, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| view.draw(frame)).unwrap();
        let buffer = terminal.backend().buffer();
        (0..height).map(|y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>()).collect()
    }

    fn view(owns_scan: bool) -> View {
        let mut view = View::new(owns_scan);
        view.take(Answer { details: Some(details()), ..Answer::done(status()) });
        view.log = (0..50).map(|i| format!("Jan 01 00:00:00.000 [INFO] plan: line {i}")).collect();
        view
    }

    #[test]
    fn what_is_on_the_screen() {
        let lines = screen(&view(true), 100, 30);
        let text = lines.join("\n");
        for words in [
            "61%  40,000 of 65,536 targets, 10s left",
            "9.99 Kp/s",
            "limit 10,000 p/s",
            "successes  171",
            "0.43 %",
            "eth0     0   5.00 K       21",
            "and 3 more",
            "12  ring to the",
            "1,234  port 443",
            "[INFO] plan: line 49",
            "space pause  + faster  - slower  q end the scan",
        ] {
            assert!(text.contains(words), "{words}:\n{text}");
        }
        assert!(lines[0].starts_with(" xdpmap  sending") && lines[0].trim_end().ends_with("1:23"), "{text}");
        let of_other = screen(&view(false), 100, 30).join("\n");
        assert!(of_other.contains("s end the scan  q leave") && !of_other.contains("line 49"), "{of_other}");
    }

    /// What canaries, estimates and a search for the rate have to say, where there is room.
    #[test]
    fn what_a_scan_knows_of_its_losses() {
        let state = State {
            stage: "holding".to_owned(),
            held_for: Some("knee".to_owned()),
            knee_pps: Some(14_870.0),
            ..State::default()
        };
        let known = Status {
            hitrate_interval_percent: Some([0.41, 0.45]),
            canary_loss_percent: Some([5.0, 3.8, 6.5]),
            rate_auto: Some(state.clone()),
            ..status()
        };
        let mut view = View::new(true);
        view.take(Answer { details: Some(details()), ..Answer::done(known.clone()) });
        for (width, height) in [(80, 24), (100, 15)] {
            let text = screen(&view, width, height).join("\n");
            for words in
                ["rate auto  holding", "knee       14.9 Kp/s", "unanswered 5.0% (3.8-6.5)", "0.41 to 0.45"]
            {
                assert!(text.contains(words), "{words}:\n{text}");
            }
        }
        let low = screen(&view, 80, 12).join("\n");
        assert!(!low.contains("unanswered") && low.contains("hit rate"), "{low}");
        let capped = State { held_for: Some("cap".to_owned()), knee_pps: None, ..state };
        view.take(Answer::done(Status { rate_auto: Some(capped), ..known }));
        let text = screen(&view, 80, 24).join("\n");
        assert!(text.contains("rate auto  holding (cap)") && !text.contains("knee"), "{text}");
    }

    /// Nothing is drawn outside of any terminal, and what matters most is on a small one.
    #[test]
    fn every_size() {
        let mut view = view(true);
        for (width, height) in
            (0..120).step_by(7).flat_map(|width| (0..40).map(move |height| (width, height)))
        {
            screen(&view, width, height);
        }
        let text = screen(&view, 80, 10).join("\n");
        assert!(text.contains("61%") && text.contains("hit rate") && text.contains("q end"), "{text}");
        view.notice = "nothing is sent any more".to_owned();
        assert!(screen(&view, 80, 10)[9].contains("nothing is sent any more"));
    }

    #[test]
    fn pauses_and_ends() {
        let mut view = View::new(true);
        assert!(screen(&view, 80, 24)[0].contains("starting"));
        view.take_status(Answer::done(Status {
            paused: true,
            paused_by: vec!["command".to_owned()],
            ..status()
        }));
        let lines = screen(&view, 80, 24);
        assert!(lines[0].contains("sending - paused (command)") && lines[23].contains("space go on"));
        view.take_status(Answer::done(Status {
            paused: true,
            paused_by: vec!["output".to_owned()],
            ..status()
        }));
        let lines = screen(&view, 80, 24);
        assert!(lines[0].contains("sending - paused (output)") && lines[23].contains("space pause"));
        view.take_status(Answer::done(Status { end_reason: Some("interrupted".to_owned()), ..status() }));
        assert!(screen(&view, 80, 24)[0].contains("ends: interrupted"));
    }
}
