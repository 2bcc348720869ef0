//! The top of the page: what scan it is, how it ended, its key figures, and what a reader has to know.

use jiff::Timestamp;
use maud::{Markup, html};

use super::subject::{Estimate, Subject};
use super::words::{duration, percent, short, three_digits};
use crate::companions::metadata::time;
use crate::ledger::{Level, RowKind};
use crate::units::{are, grouped, several};

/// Networks that are named at the top; there may be thousands.
const NAMED: usize = 4;

/// What scan it is.
pub(super) fn header(subject: &Subject, title: &str) -> Markup {
    let metadata = &subject.metadata;
    let (is_whole, state) = match (metadata.is_whole(), metadata.dryrun == 1) {
        (_, true) => (true, "dry run"),
        (true, _) => (true, "complete"),
        (false, _) => (false, "not complete"),
    };
    html! {
        header {
            p.kind { "xdpmap scan report" }
            h1 { (title) }
            p.targets { (targets(subject)) }
            p.facts {
                span.state.good[is_whole].bad[!is_whole] { (state) @if !is_whole { ": " (metadata.end_reason) } }
                @for fact in facts(subject) { span { (fact) } }
            }
        }
    }
}

/// A title, if the user gives none: what was asked of which port.
pub(super) fn title(subject: &Subject) -> String {
    let metadata = &subject.metadata;
    let ports: Vec<String> =
        metadata.target_ports.iter().filter(|port| **port > 0).map(ToString::to_string).collect();
    let module = match metadata.probe_module.as_str() {
        "" => "Scan",
        module => module,
    };
    match &ports[..] {
        [] => module.to_owned(),
        [port] => format!("{module}, port {port}"),
        few if few.len() <= 6 => format!("{module}, ports {}", few.join(", ")),
        many => format!("{module}, {} ports", many.len()),
    }
}

/// The networks that were asked for.
fn targets(subject: &Subject) -> String {
    let named = subject.texts("cli_cidr_destinations");
    let mut words: Vec<String> = named.iter().take(NAMED).map(ToString::to_string).collect();
    if named.len() > NAMED {
        words.push(format!("{} more networks", named.len() - NAMED));
    }
    let lists = [("allowlist_filename", "the networks in"), ("list_of_ips_filename", "the hosts in")];
    words.extend(lists.iter().filter_map(|(key, what)| Some(format!("{what} {}", subject.text(key)?))));
    match words.is_empty() {
        true => "all of IPv4 that is neither reserved nor left out".to_owned(),
        false => words.join(", "),
    }
}

/// When and by what.
fn facts(subject: &Subject) -> Vec<String> {
    let minute = |at: Timestamp| at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
    let began = subject.text("send_start_time").or(subject.text("recv_start_time")).and_then(time);
    let ended = subject.text("recv_end_time").and_then(time);
    let took = began.zip(ended).map(|(began, ended)| (ended - began).get_seconds());
    let shards = subject.metadata.total_shards;
    [
        began.map(minute),
        took.map(|seconds| format!("took {}", duration(seconds as f64))),
        subject.text("local_hostname").map(|host| format!("by {host}")),
        (shards > 1).then(|| format!("shard {} of {shards}", subject.metadata.shard_num)),
        subject.text("version").map(|version| format!("xdpmap {version}")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A key figure.
struct Figure {
    name: &'static str,
    value: String,
    note: String,
    is_bad: bool,
    bar: Option<Markup>,
}

fn figure(name: &'static str, value: String, note: String) -> Figure {
    Figure { name, value, note, is_bad: false, bar: None }
}

/// The key figures.
pub(super) fn figures(subject: &Subject) -> Markup {
    let figures = [
        hit_rate(subject),
        successes(subject),
        targets_probed(subject),
        probes(subject),
        replies(subject),
        lost(subject),
    ];
    html! {
        dl.figures {
            @for figure in figures.into_iter().flatten() {
                div.bad[figure.is_bad] {
                    dt { (figure.name) }
                    dd.value { (figure.value) }
                    @if let Some(bar) = figure.bar { dd.bar { (bar) } }
                    dd.note { (figure.note) }
                }
            }
        }
    }
}

fn hit_rate(subject: &Subject) -> Option<Figure> {
    let measured = subject.number("hitrate");
    let estimate = subject.estimate("hit_rate_percent");
    let value = format!("{} %", three_digits(estimate.map(|estimate| estimate.value).or(measured)?));
    Some(match estimate.filter(|estimate| estimate.lower < estimate.upper) {
        Some(estimate) => {
            let bounds =
                format!("between {} and {} %", three_digits(estimate.lower), three_digits(estimate.upper));
            Figure { bar: Some(error_bar(estimate)), ..figure("hit rate", value, bounds) }
        }
        None => figure("hit rate", value, "successes per target probed".to_owned()),
    })
}

/// The bounds of an estimate, on an axis that has three times their width.
fn error_bar(estimate: Estimate) -> Markup {
    let width = (estimate.upper - estimate.lower).max(1e-12);
    let x = |value: f64| {
        format!("{:.1}", 60.0 + (value - (estimate.lower + estimate.upper) / 2.0) / width * 80.0)
    };
    html! {
        svg.error viewBox="0 0 120 12" role="img" aria-label="bounds of the estimate" {
            line x1=(x(estimate.lower)) x2=(x(estimate.upper)) y1="6" y2="6" {}
            @for end in [estimate.lower, estimate.upper] { line x1=(x(end)) x2=(x(end)) y1="1" y2="11" {} }
            circle cx=(x(estimate.value)) cy="6" r="3.5" {}
        }
    }
}

fn successes(subject: &Subject) -> Option<Figure> {
    let successes = subject.count("success_unique")?;
    let total = subject.count("success_total").unwrap_or(successes);
    let note = match total - successes.min(total) {
        0 => "targets, each counted once".to_owned(),
        repeats => format!("targets, each counted once; {} repeats", grouped(repeats)),
    };
    let note =
        if subject.metadata.earlier_runs.is_some() { format!("{note}; in the last run") } else { note };
    Some(figure("successes", grouped(successes), note))
}

fn targets_probed(subject: &Subject) -> Option<Figure> {
    let scanned = subject.count("targets_scanned")?;
    let of_last_run = subject.metadata.earlier_runs.is_some();
    let allowed = subject.count("blocklist_total_allowed").filter(|allowed| *allowed > 0);
    let note = allowed.map(|allowed| {
        let ports = subject.metadata.target_ports.len().max(1);
        match ports {
            1 => format!("of {}", several(allowed, "address")),
            ports => format!("of {} with {ports} ports each", several(allowed, "address")),
        }
    });
    let last_run = of_last_run.then(|| format!("{} in the last run", short_or_whole(scanned)));
    let note = note.into_iter().chain(last_run).collect::<Vec<_>>().join("; ");
    Some(figure("targets probed", short_or_whole(subject.metadata.targets()), note))
}

fn probes(subject: &Subject) -> Option<Figure> {
    let sent = subject.count("packets_sent")?;
    let rate = subject.number("sending_rate").zip(subject.number("send_seconds"));
    let note = rate.map(|(rate, seconds)| format!("{} per second for {}", short(rate), duration(seconds)));
    Some(figure("probes sent", short_or_whole(sent), note.unwrap_or_default()))
}

fn replies(subject: &Subject) -> Option<Figure> {
    let replies = subject.count("validation_passed")?;
    let failures = subject.count("failure_total").unwrap_or_default();
    let note = format!("with a right cookie; {} {} no success", grouped(failures), are(failures));
    Some(figure("replies", short_or_whole(replies), note))
}

fn lost(subject: &Subject) -> Option<Figure> {
    let ledger = subject.ledger.as_ref()?;
    let rows = ledger.accounts.iter().flat_map(|account| &account.parts);
    let lost = rows.filter(|row| row.kind == RowKind::Loss).map(|row| row.count).sum::<u64>();
    let probes = subject.row("probes", "lost") + subject.row("probes", "unconfirmed");
    let sent =
        ledger.accounts.iter().find(|account| account.name == "probes").map_or(0, |account| account.total);
    let note = match lost {
        0 => "the ledger has no loss".to_owned(),
        _ => format!(
            "{} ({}), {} and others",
            several(probes, "probe"),
            percent(probes, sent),
            several(lost - probes, "reply")
        ),
    };
    Some(Figure { is_bad: lost > 0, ..figure("lost", grouped(lost), note) })
}

/// A count as it is, if it is short.
fn short_or_whole(count: u64) -> String {
    if count < 10_000_000 { grouped(count) } else { short(count as f64) }
}

/// What a reader has to know: losses, with their causes and remedies, and how the scan ended. `further` is about the
/// files.
pub(super) fn remarks(subject: &Subject, further: &[String]) -> Markup {
    let remarks = subject.remarks();
    html! {
        section #remarks {
            h2 { "Losses and warnings" }
            @if remarks.is_empty() && further.is_empty() {
                p.none { "None: every target was probed, and no packet is known to be lost." }
            } @else {
                ul.remarks {
                    @for remark in &remarks {
                        @let (class, word) = match remark.level {
                            Level::Error => ("bad", "Error"),
                            Level::Warning => ("warn", "Warning"),
                            Level::Info => ("info", "Note"),
                        };
                        li.(class) { b { (word) } " " (remark.text) }
                    }
                    @for text in further { li.warn { b { "Warning" } " " (text) } }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::companions::report::subject::tests::subject;

    #[test]
    fn key_figures() {
        let text = figures(&subject(
            ",\"hitrate\":0.5,\"success_unique\":1300,\"success_total\":1302,\"targets_scanned\":5,\
             \"estimates\":{\"hit_rate_percent\":{\"value\":0.5,\"lower\":0.4,\"upper\":0.7}}",
        ))
        .into_string();
        for words in [
            "0.500 %",
            "between 0.400 and 0.700 %",
            "1,300",
            "2 repeats",
            "class=\"bad\"",
            "<svg class=\"error\"",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
    }

    /// A scan that was resumed has probed what all of its runs have, and the rest is said to be of the last one.
    #[test]
    fn figures_of_several_runs() {
        let text = figures(&subject(
            ",\"success_unique\":161,\"targets_scanned\":161,\"blocklist_total_allowed\":300,\
             \"earlier_runs\":{\"targets\":139,\"results\":139,\"probes_sent\":144,\"started\":[]}",
        ))
        .into_string();
        for words in [">300<", "of 300 addresses; 161 in the last run", "each counted once; in the last run"]
        {
            assert!(text.contains(words), "{words}: {text}");
        }
    }

    #[test]
    fn titles() {
        assert_eq!(
            title(&subject(",\"probe_module\":\"udp\",\"target_ports\":[53,123]")),
            "udp, ports 53, 123"
        );
        assert_eq!(
            title(&subject(",\"probe_module\":\"icmp_echoscan\",\"target_ports\":[0]")),
            "icmp_echoscan"
        );
    }
}
