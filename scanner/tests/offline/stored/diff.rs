//! `xdpmap diff` says what is new, gone or changed, whatever the formats, and by its exit code whether anything is.

use std::fs;
use std::net::Ipv4Addr;

use xdpmap::reply::record::ReplyKind;

use super::{Answer, FIELDS, Folder, gzip, some};

/// A day later: one host has gone, one is new, and one answers another way.
fn next(host: Ipv4Addr, port: u16) -> Vec<Answer> {
    let today = some(host, port);
    match (host.octets()[3], port) {
        (20, 80) => vec![],
        (21, 80) => vec![Answer { kind: ReplyKind::Rst, ..today[0] }],
        _ => today,
    }
}

/// As [`some`], but for one host.
fn first(host: Ipv4Addr, port: u16) -> Vec<Answer> {
    if (host.octets()[3], port) == (22, 443) { vec![] } else { some(host, port) }
}

/// Two scans of the same hosts, each in all formats.
fn two() -> Folder {
    let folder = Folder::new();
    let options = |name: &str| {
        format!(
            "-o {name}.csv -o {name}.json -o {name}.parquet -f {FIELDS} -p 80,443 -e 7 -b b.conf 8.8.8.0/26"
        )
    };
    folder.scan("old-meta", &options("old"), first);
    folder.scan("new-meta", &options("new"), next);
    gzip(&folder.at("new.csv"));
    folder
}

const DIFFERENCES: &str = "change,saddr,sport,field,old,new\ngone,8.8.8.20,80,,,\nchanged,8.8.8.21,80,classification,synack,rst\n\
                           changed,8.8.8.21,80,success,1,0\nnew,8.8.8.22,443,,,\n";

#[test]
fn the_same_in_all_formats() {
    let folder = two();
    assert!(folder.read("old.csv").contains("8.8.8.21,80,synack"));
    for old in ["old.csv", "old.json", "old.parquet"] {
        for new in ["new.csv", "new.csv.gz", "new.json", "new.parquet"] {
            assert_eq!(folder.said(&format!("diff {old} {new}")), (1, DIFFERENCES.to_owned()), "{old} {new}");
        }
        assert_eq!(
            folder.said(&format!("diff {old} old.csv")),
            (0, DIFFERENCES.lines().next().unwrap().to_owned() + "\n")
        );
        assert_eq!(folder.said(&format!("diff -O text {old} old.csv")), (0, String::new()));
    }
}

#[test]
fn for_people_and_for_programs() {
    let folder = two();
    let (code, text) = folder.said("diff -O text old.csv new.json");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((code, lines.len()), (1, 4), "{text}");
    assert_eq!(lines[0], "- 8.8.8.20:80 classification=rst success=0");
    assert_eq!(lines[1], "~ 8.8.8.21:80 classification: synack -> rst, success: 1 -> 0");
    assert_eq!(lines[2], "+ 8.8.8.22:443 classification=rst success=0");
    assert_eq!(lines[3], "1 new, 1 gone, 1 changed, 93 targets without a difference");
    let (code, json) = folder.said("diff -O json old.csv new.csv -o d.json");
    assert_eq!((code, json), (1, String::new()));
    let changes: Vec<serde_json::Value> =
        folder.read("d.json").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(changes.len(), 3);
    assert_eq!(
        changes[1],
        serde_json::json!({"change": "changed", "saddr": "8.8.8.21", "sport": 80,
            "old": {"classification": "synack", "success": "1"}, "new": {"classification": "rst", "success": "0"}})
    );
}

#[test]
fn chosen_fields() {
    let folder = two();
    let (code, text) = folder.said("diff -f success old.csv new.csv");
    assert!(
        code == 1 && text.contains("8.8.8.21,80,success,1,0\n") && !text.contains("classification"),
        "{text}"
    );
    let mut command = support::scanner::xdpmap();
    command.args(["diff", "-f", "", "old.csv", "new.csv"]).current_dir(folder.at(""));
    let text = String::from_utf8(command.output().unwrap().stdout).unwrap();
    assert!(text.contains("gone,8.8.8.20") && !text.contains("8.8.8.21"), "{text}");
}

/// What a scan writes by default: addresses alone, with and without ports. The columns that both have tell results
/// apart.
#[test]
fn lists_of_addresses() {
    let folder = Folder::new();
    folder.write("a", "192.0.2.1\n192.0.2.2\n");
    folder.write("b", "192.0.2.2:80\n192.0.2.3:80\n192.0.2.3:81\n");
    folder.write("c", "192.0.2.2,80\n192.0.2.3,82\n");
    folder.write("none", "");
    assert_eq!(
        folder.said("diff a b"),
        (1, "change,saddr,field,old,new\ngone,192.0.2.1,,,\nnew,192.0.2.3,,,\n".to_owned())
    );
    let (_, text) = folder.said("diff b c");
    assert_eq!(
        text.lines().skip(1).collect::<Vec<_>>(),
        ["gone,192.0.2.3,80,,,", "gone,192.0.2.3,81,,,", "new,192.0.2.3,82,,,"]
    );
    assert_eq!(folder.said("diff none a").1.lines().filter(|line| line.starts_with("new,")).count(), 2);
    assert_eq!(folder.said("diff none none").0, 0);
}

#[test]
fn trouble_is_told_from_differences() {
    let folder = two();
    let text = folder.read("new.csv");
    folder.write("cut.csv", &text[..text.len() - 3]);
    folder.write("bad.csv", "saddr,sport\n192.0.2.1,80\nhost,80\n");
    folder.write("other.csv", "daddr,ttl\n192.0.2.1,64\n");
    for (arguments, words) in [
        ("old.csv", &["NEW"][..]),
        ("old.csv missing.csv", &["missing.csv", "No such file"]),
        ("old.csv cut.csv", &["cut.csv", "in the middle of line"]),
        ("old.csv bad.csv", &["bad.csv:3", "no IPv4 address"]),
        ("old.csv other.csv", &["no column saddr or target"]),
        ("old.csv new.csv -f nonesuch", &["--fields", "nonesuch"]),
        ("old.csv new.csv --memory 5", &["--memory", "1M"]),
        ("old.csv new.csv -o no/x", &["no/x", "directory you may write to"]),
        ("old.csv new.csv -O xml", &["xml"]),
    ] {
        let output = folder.run(&format!("diff {arguments}"));
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1), "{arguments}: {said}");
        assert!(words.iter().all(|word| said.contains(word)), "{arguments}: {said}");
    }
    let help = String::from_utf8(folder.run("diff --help").stdout).unwrap();
    assert!(help.contains("1  there are differences, as with diff(1)"), "{help}");
    assert!(fs::metadata(folder.at("no")).is_err());
}

/// Files that need more memory than there is are read several times, and give the same.
#[test]
fn in_little_memory() {
    let folder = Folder::new();
    let rows = |from: u32, to: u32| -> String {
        let row = |number: u32| format!("{},80,synack\n", Ipv4Addr::from_bits(0x0808_0000 + number));
        "saddr,sport,classification\n".to_owned() + &(from..to).map(row).collect::<String>()
    };
    folder.write("old.csv", &rows(0, 30_000));
    folder.write("new.csv", &rows(1_000, 31_000));
    let sorted = |memory: &str| {
        let (code, text) = folder.said(&format!("diff --memory {memory} old.csv new.csv"));
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        (code, lines)
    };
    let (little, much) = (sorted("1M"), sorted("1G"));
    assert_eq!(little.1.len(), 2_001);
    assert_eq!(little, much);
}
