//! The ledger as a flow: each account is a bar, as wide as its whole; what goes on leads to the next bar, and what does
//! not is named beside it.

use maud::{Markup, html};

use super::words::percent;
use crate::ledger::{Account, Ledger, Row, RowKind};
use crate::units::grouped;

/// An account, and the rows of it that go on to the next account of its flow.
struct Stage {
    account: &'static str,
    onward: &'static [&'static str],
}

const fn stage(account: &'static str, onward: &'static [&'static str]) -> Stage {
    Stage { account, onward }
}

/// What was sent.
const OUTWARD: [Stage; 2] = [stage("targets", &["probed"]), stage("probes", &["completed"])];
/// What became of the resets.
const RESETS: [Stage; 2] = [stage("resets", &["queued"]), stage("reset_frames", &["completed"])];
/// What came back.
const INWARD: [Stage; 5] = [
    stage("judged", &["valid_redirected"]),
    stage("sockets", &["received"]),
    stage("frames", &["syn_ack", "rst", "icmp_error", "echo", "udp"]),
    stage("replies", &["taken"]),
    stage("results", &["passed"]),
];

/// Units of a bar.
const WIDTH: f64 = 1000.0;

/// The whole ledger.
pub(super) fn section(ledger: &Ledger) -> Markup {
    html! {
        section #flow {
            h2 { "What went where" }
            p.lead {
                "Each bar is a whole, and its segments are what became of it. The sums are checked: "
                (sums(ledger)) " hold."
            }
            ul.legend {
                li { (key("on")) "goes on" }
                li { (key("off")) "stays behind" }
                li { (key("loss")) "lost" }
            }
            div.pair {
                div { h3 { "Sent" } (stages(ledger, &OUTWARD)) @if has(ledger, &RESETS) { h3 { "Resets" } (stages(ledger, &RESETS)) } }
                div { h3 { "Received" } (stages(ledger, &INWARD)) (outputs(ledger)) }
            }
        }
    }
}

fn sums(ledger: &Ledger) -> usize {
    ledger.accounts.iter().filter(|account| account.is_exact).count()
}

fn key(class: &str) -> Markup {
    html! { svg.key viewBox="0 0 10 10" aria-hidden="true" { rect.(class) width="10" height="10" {} } }
}

fn has(ledger: &Ledger, stages: &[Stage]) -> bool {
    let is_there = |stage: &Stage| account(ledger, stage.account).is_some_and(|account| account.total > 0);
    stages.iter().any(is_there)
}

fn account<'a>(ledger: &'a Ledger, name: &str) -> Option<&'a Account> {
    ledger.accounts.iter().find(|account| account.name == name)
}

/// The bars of a flow, all on one scale.
fn stages(ledger: &Ledger, stages: &[Stage]) -> Markup {
    let shown: Vec<(&Account, &Stage)> = stages
        .iter()
        .filter_map(|stage| Some((account(ledger, stage.account)?, stage)))
        .filter(|(account, _)| account.total > 0)
        .collect();
    let most = shown.iter().map(|(account, _)| account.total).max().unwrap_or(1);
    html! {
        @if shown.is_empty() { p.none { "Nothing." } }
        @for (place, (account, stage)) in shown.iter().enumerate() {
            @let next = shown.get(place + 1).map(|(next, _)| next.total);
            (bar(account, stage.onward, most, next))
        }
    }
}

/// The outputs, each of which got all results.
fn outputs(ledger: &Ledger) -> Markup {
    let is_output = |account: &&Account| account.name.starts_with("output-") && account.total > 0;
    html! {
        @for account in ledger.accounts.iter().filter(is_output) { (bar(account, &["written"], account.total, None)) }
    }
}

/// A bar of the scale on which `most` is the full width, and what leads from it to a next one of this total.
fn bar(account: &Account, onward: &[&str], most: u64, next: Option<u64>) -> Markup {
    let units = |count: u64| count as f64 / most as f64 * WIDTH;
    let goes_on = |row: &&Row| onward.contains(&row.name);
    let (on, off): (Vec<&Row>, Vec<&Row>) =
        account.parts.iter().filter(|row| row.count > 0).partition(|row| goes_on(row));
    let passed = on.iter().map(|row| row.count).sum::<u64>();
    let mut x = 0.0;
    html! {
        div.stage {
            div.name {
                span { (account.text) @if !account.is_exact { " (not exact)" } }
                strong { (grouped(account.total)) }
            }
            svg.flow viewBox="0 0 1000 20" preserveAspectRatio="none" aria-hidden="true" {
                @for row in on.iter().chain(&off) {
                    @let width = units(row.count).max(2.0);
                    rect.(class_of(row, onward)) x=(format!("{x:.1}")) width=(format!("{width:.1}")) height="20" {}
                    ({ x += width; maud::PreEscaped("") })
                }
            }
            ul.parts {
                @for row in on.iter().chain(&off) {
                    li.(class_of(row, onward)) { (row.text) ": " b { (grouped(row.count)) } " (" (percent(row.count, account.total)) ")" }
                }
                @for note in account.notes.iter().filter(|note| note.count > 0) {
                    li.aside { (note.text) ": " (grouped(note.count)) }
                }
            }
            @if let Some(next) = next {
                svg.lead viewBox="0 0 1000 14" preserveAspectRatio="none" aria-hidden="true" {
                    polygon points=(format!("0,0 {:.1},0 {:.1},14 0,14", units(passed), units(next))) {}
                }
            }
        }
    }
}

fn class_of(row: &Row, onward: &[&str]) -> &'static str {
    match row.kind {
        RowKind::Loss => "loss",
        _ if onward.contains(&row.name) => "on",
        _ => "off",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::companions::report::subject::tests::subject;
    use crate::engine::RepeatPolicy;
    use crate::ledger::StoredLedger;

    /// Every account that is declared is in a flow, and so is each row that goes on.
    #[test]
    fn nothing_is_left_out() {
        let stored = StoredLedger::default();
        assert!(stored.described(&[], RepeatPolicy::Alike).accounts.is_empty());
        let text = section(subject("").ledger.as_ref().unwrap()).into_string();
        assert!(text.contains("lost: refused for good") && text.contains("class=\"loss\""), "{text}");
        assert!(text.contains("<b>7</b> (77.8 %)"), "{text}");
    }
}
