//! `docs/reference/counters.md`: the counters of workers and of the XDP program.

use xdpmap::engine::Counts;
use xdpmap::io::bpf::abi::Counter;

use super::commented::{commented, fields_of, source};
use super::{cell, page_has, table};

/// The counters of a worker, with what the source says of each.
fn of_workers() -> Vec<[String; 2]> {
    let text = source("engine/counters.rs");
    let (_, list) = text.split_once("Published\n    }\n").expect("the list of counters");
    let (list, _) = list.split_once("\n}").expect("its end");
    let own = commented(list);
    let of_ports = fields_of(&source("io/counts.rs"), "PortCounts");
    let rows = Counts::default().named().into_iter().map(|(name, _)| {
        let field = list.lines().find_map(|line| {
            let (counter, field) = line.trim().trim_end_matches(',').split_once(" = port.")?;
            (counter == name).then_some(field)
        });
        let (fields, field) = match field {
            Some(field) => (&of_ports, field),
            None => (&own, name),
        };
        let found = fields.iter().find(|other| other.name == field);
        [format!("`{name}`"), cell(&found.unwrap_or_else(|| panic!("{name} has no comment")).text)]
    });
    rows.collect()
}

/// Those of the XDP program.
fn of_the_program() -> Vec<[String; 2]> {
    let text = source("io/bpf/abi.rs");
    let text_of = |name: &str| {
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let at = lines.iter().position(|line| line.ends_with(&format!("\"{name}\",")));
        let at = at.unwrap_or_else(|| panic!("{name} is not there"));
        let above = lines[..at].iter().rev().map_while(|line| line.strip_prefix("/// "));
        let mut comment: Vec<&str> = above.collect();
        comment.reverse();
        comment.join(" ")
    };
    Counter::ALL
        .iter()
        .map(|counter| [format!("`{}`", counter.name()), cell(&text_of(counter.name()))])
        .collect()
}

#[test]
fn counters_are_those_of_the_source() {
    let headings = ["counter", "meaning"];
    let (workers, program) = (of_workers(), of_the_program());
    for [name, text] in workers.iter().chain(&program) {
        assert!(text.ends_with('.'), "{name}: {text}");
    }
    let text = format!(
        "## Of workers\n\n{}\n## Of the XDP program\n\n{}",
        table(headings, workers),
        table(headings, program)
    );
    page_has("counters.md", &text);
}
