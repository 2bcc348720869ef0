//! The journeys of docs/guide, each block as it stands there.

use lab::have_root;

use crate::blocks::{Reader, blocks, each, lines};
use crate::servers::{start_chronyd, start_unbound};

/// Runs the blocks of a page one after the other, which must have these headings; `check` gets the number of each block
/// under its heading, and what it printed.
fn follow(page: &str, reader: &mut Reader, headings: &[&str], check: impl Fn(&Reader, &str, usize, &str)) {
    let blocks = blocks(page);
    let found: Vec<&str> = blocks.iter().map(|(heading, _)| heading.as_str()).collect();
    assert_eq!(found, headings);
    for (at, (heading, block)) in blocks.iter().enumerate() {
        let before = found[..at].iter().filter(|other| *other == heading).count();
        let out = reader.run(heading, block);
        check(reader, heading, before, &out);
    }
}

#[test]
fn a_survey_of_the_internet() {
    if !have_root() {
        return;
    }
    let page = include_str!("../../../docs/guide/internet.md");
    let first = "Before the first packet";
    let headings = [first, first, "A sample", "After an interruption", "The result"];
    follow(page, &mut Reader::new(), &headings, |reader, heading, number, out| match (heading, number) {
        ("Before the first packet", 0) => assert!(out.contains("veth") && out.contains("XDP"), "{out}"),
        ("Before the first packet", _) => {
            assert!(out.contains("3,702,258,432") && out.contains("results.csv"), "{out}");
            assert!(!reader.folder().join("results.csv").exists());
        }
        ("A sample", _) => {
            assert!(out.contains("\"targets_scanned\": 4000") && out.contains("\"max-targets\""), "{out}");
        }
        ("After an interruption", _) => {
            assert!(out.contains("exit code 124") && out.contains("left"), "{out}");
            let found = reader.file("part.csv");
            assert_eq!(lines(&found), each(str::to_owned));
        }
        _ => assert_eq!(out.lines().last(), Some("5"), "{out}"),
    });
}

#[test]
fn own_networks_every_night() {
    if !have_root() {
        return;
    }
    let page = include_str!("../../../docs/guide/nightly.md");
    let mut reader = Reader::new();
    follow(page, &mut reader, &["The list", "A night"], |reader, heading, _, out| match heading {
        "The list" => assert!(out.starts_with("targets     512 "), "{out}"),
        _ => {
            assert_eq!(out, "", "there is no night before");
            let found = each(|address| format!("{address},80"));
            assert_eq!(
                lines(&reader.file("yesterday.csv")),
                found.into_iter().chain(["saddr,sport".into()]).collect()
            );
        }
    });
    // The same again on a night like the one before, and on one after which a host is gone.
    let (heading, night) = &blocks(page)[1];
    assert_eq!(reader.run(heading, night), "");
    let before = reader.file("yesterday.csv") + "192.0.2.77,443\n";
    std::fs::write(reader.folder().join("yesterday.csv"), before).unwrap();
    let out = reader.run(heading, night);
    assert!(out.contains("192.0.2.77") && out.ends_with("something has changed\n"), "{out}");
}

#[test]
fn dns_and_ntp() {
    if !have_root() {
        return;
    }
    let page = include_str!("../../../docs/guide/dns-ntp.md");
    let mut reader = Reader::new();
    start_unbound(&mut reader.lab);
    start_chronyd(&mut reader.lab);
    let network = crate::blocks::shown(page, "```\nexport NET=").to_owned();
    reader.variables = vec![("NET", network)];
    let dns = "Which hosts resolve names for anybody?";
    let headings = [dns, dns, "Which hosts tell the time?"];
    follow(page, &mut reader, &headings, |reader, heading, number, out| match (heading, number) {
        ("Which hosts tell the time?", _) => {
            assert_eq!(out.trim(), r#"[{"stratum":8,"servers":32}]"#);
        }
        (_, 0) => assert_eq!(reader.file("dns.jsonl").lines().count(), 2),
        _ => {
            let said: Vec<&str> = out.lines().collect();
            assert_eq!(said[..2], ["198.18.0.18", "198.18.0.28"], "{out}");
            assert!(said[2].starts_with("\"198.18.0.18\",") && said[2].ends_with(",2"), "{out}");
        }
    });
}

#[test]
fn many_machines() {
    if !have_root() {
        return;
    }
    let page = include_str!("../../../docs/guide/machines.md");
    let mut reader = Reader::new();
    reader.keeps_metadata = false;
    follow(page, &mut reader, &["By hand"; 3], |reader, _, number, out| match number {
        0 => assert!(reader.folder().join("scan/shard-00002/metadata.json").exists()),
        1 => {
            assert_eq!(out.lines().last().map(str::trim), Some("5"), "{out}");
            assert_eq!(lines(&reader.file("all.csv")), each(str::to_owned));
        }
        _ => assert!(out.contains("--shard 1") && out.ends_with("exit code 1\n"), "{out}"),
    });
}

#[test]
fn a_card() {
    if !have_root() {
        return;
    }
    let page = include_str!("../../../docs/guide/card.md");
    let mut reader = Reader::new();
    reader.variables.push(("IFACE", "scan0".to_owned()));
    let state = reader.lab.folder().join("state").display().to_string();
    reader.variables.push(("XDPMAP_TUNE_STATE", state));
    let headings = ["Look", "Look", "Change", "Measure", "Measure"];
    follow(page, &mut reader, &headings, |reader, heading, number, out| match (heading, number) {
        ("Look", 0) => assert!(out.contains("driver       veth"), "{out}"),
        ("Look", _) => assert!(out.contains("channels"), "{out}"),
        ("Change", _) => assert!(out.contains("undo") || out.contains("channels"), "{out}"),
        (_, 0) => assert_eq!(out.trim(), "6"),
        _ => {
            assert!(out.contains("\"packets_sent\": 51200"), "{out}");
            assert_eq!(lines(&reader.file("found.csv")), each(|address| format!("{address},80")));
        }
    });
}
