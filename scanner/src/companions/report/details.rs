//! The end of the page: how the scan was done, what else it has found out about itself, and its whole metadata.

use maud::{Markup, html};
use serde_json::Value;

use super::canaries;
use super::pairs::{flat, pairs, shown};
use super::subject::Subject;

/// Keys of the metadata that say how a scan was done, with their names for people.
const MEANS: [(&str, &str); 30] = [
    ("probe_module", "probe module"),
    ("probe_args", "its arguments"),
    ("packet_streams", "probes for each target"),
    ("rate", "rate that was asked for, per second"),
    ("bandwidth", "bandwidth that was asked for, bit per second"),
    ("cooldown_secs", "wait for late replies, seconds"),
    ("max_targets", "most targets"),
    ("seed", "seed of the order"),
    ("blocklist_filename", "block list"),
    ("blocklist_total_not_allowed", "addresses left out"),
    ("deduplication_method", "repeats found by"),
    ("output_filename", "results"),
    ("output_filter", "filter"),
    ("iface", "interface"),
    ("driver", "driver"),
    ("driver_version", "driver's version"),
    ("firmware", "firmware"),
    ("io_mode", "mode"),
    ("io_mode_reason", "why no better mode"),
    ("source_ips", "source addresses"),
    ("gateway_ip", "gateway"),
    ("tx_queues", "TX queues"),
    ("rx_queues", "RX queues"),
    ("kernel_release", "kernel"),
    ("commit", "commit of xdpmap"),
    ("send_start_time", "sending began"),
    ("send_end_time", "sending ended"),
    ("recv_end_time", "receiving ended"),
    ("targets_hash", "hash of targets and order"),
    ("notes", "notes"),
];
/// The one that has a chart.
const CANARIES: &str = "canaries";
/// Objects of the metadata that have a table of their own, if they are there.
const OBJECTS: [(&str, &str); 4] = [
    ("estimates", "Estimates"),
    (CANARIES, "Canaries"),
    ("clock", "Clock"),
    ("user-metadata", "What the user said of it"),
];

/// How the scan was done.
pub(super) fn section(subject: &Subject) -> Markup {
    let value = |key: &str| subject.all.get(key).filter(|value| !is_nothing(value));
    html! {
        @for (key, name) in OBJECTS {
            @if let Some(value) = value(key) {
                @match key {
                    CANARIES => { (canaries::section(name, value)) }
                    _ => section.object { h2 { (name) } (pairs(&flat(value))) }
                }
            }
        }
        section #means {
            h2 { "How it was done" }
            p.command { code { (command_line(subject)) } }
            table.pairs {
                tbody {
                    @for (key, name) in MEANS {
                        @if let Some(value) = value(key) { tr { th scope="row" { (name) } td { (shown(value)) } } }
                    }
                }
            }
            (lists(subject))
            details.numbers {
                summary { "All metadata" }
                pre tabindex="0" { (serde_json::to_string_pretty(&subject.all).unwrap_or_default()) }
            }
        }
    }
}

/// Whether a value says that something was not used.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::Array(list) => list.is_empty(),
        Value::Object(object) => object.is_empty(),
        Value::Bool(_) => false,
    }
}

/// The command line as a shell would read it.
fn command_line(subject: &Subject) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./,:=+@%".contains(c);
    let word = |word: &&str| match !word.is_empty() && word.chars().all(is_plain) {
        true => (*word).to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    };
    subject.texts("command_line").iter().map(word).collect::<Vec<_>>().join(" ")
}

/// The lists that were read, with their hashes.
fn lists(subject: &Subject) -> Markup {
    let lists = subject.metadata.lists.as_deref().unwrap_or_default();
    html! {
        @if !lists.is_empty() {
            div.scroll tabindex="0" {
                table {
                    caption { "Lists that were read" }
                    thead { tr { th scope="col" { "flag" } th scope="col" { "file" } th.number scope="col" { "lines" } th scope="col" { "SHA-256" } } }
                    tbody {
                        @for list in lists {
                            tr {
                                td { "--" (list.flag) }
                                td { (list.file) }
                                td.number { (list.lines.map(crate::units::grouped).unwrap_or_default()) }
                                td { code { (list.sha256.as_deref().unwrap_or("unknown")) } }
                            }
                        }
                    }
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
    fn objects_and_command_lines() {
        let text = section(&subject(
            ",\"canaries\":{\"seen\":3,\"by\":{\"eth0\":2}},\"command_line\":[\"xdpmap\",\"-f\",\"it's <b>\"]",
        ))
        .into_string();
        for words in ["<h2>Canaries</h2>", ">by.eth0</th><td>2<", "xdpmap -f 'it'\\''s &lt;b&gt;'"] {
            assert!(text.contains(words), "{words}: {text}");
        }
    }
}
