//! `docs/reference/metadata.md`: the keys of the metadata.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use serde_json::Value;
use support::sandbox::{Sandbox, dry};

use super::commented::{Commented, fields_of, source};
use super::{cell, page_has, table};

/// The structs whose fields are the keys, in their order, and where they are.
const SECTIONS: [(&str, &str); 7] = [
    ("Setup", "survey/metadata/setup.rs"),
    ("Totals", "survey/metadata/totals.rs"),
    ("Settings", "survey/metadata/settings.rs"),
    ("Means", "survey/metadata/means.rs"),
    ("Times", "survey/metadata/times.rs"),
    ("Evidence", "survey/metadata/evidence.rs"),
    ("Books", "survey/metadata/books.rs"),
];
/// Structs that are values of keys, each with the name under which the page has it.
const OBJECTS: [(&str, &str, &str); 21] = [
    ("Worker", "survey/metadata/parts.rs", "worker"),
    ("Socket", "survey/metadata/parts.rs", "socket"),
    ("Interface", "survey/metadata/parts.rs", "interface"),
    ("Neighbors", "survey/metadata/parts.rs", "neighbors"),
    ("ResolvedName", "survey/metadata/parts.rs", "resolved name"),
    ("Steered", "survey/metadata/parts.rs", "steered table"),
    ("ListChange", "survey/metadata/parts.rs", "change of the block list"),
    ("LinkOutage", "survey/metadata/parts.rs", "outage"),
    ("Cpu", "survey/metadata/times.rs", "CPU time"),
    ("WallClock", "wall_clock.rs", "clock"),
    ("Percentiles", "distribution.rs", "percentiles"),
    ("List", "survey/metadata/evidence.rs", "list"),
    ("OptOuts", "survey/metadata/evidence.rs", "block list"),
    ("ForReason", "survey/metadata/evidence.rs", "reason"),
    ("Amount", "survey/metadata/evidence.rs", "amount"),
    ("OutputFile", "survey/metadata/evidence.rs", "output"),
    ("EarlierRuns", "survey/metadata/evidence.rs", "earlier runs"),
    ("Report", "sandbox/mod.rs", "sandbox"),
    ("RateAuto", "survey/metadata/rate.rs", "found rate"),
    ("State", "governor/state.rs", "governor"),
    ("RateDecision", "survey/metadata/rate.rs", "decision"),
];

/// Structs that have pages of their own beside this one.
const PAGES: [(&str, &str); 4] = [
    ("NamedCounts", "counters"),
    ("StoredLedger", "ledger"),
    ("StoredCanaries", "canaries"),
    ("Estimates", "estimates"),
];

/// The words for a type of the source, as JSON has it.
fn kind(field: &Commented) -> String {
    let kind =
        field.kind.strip_prefix("Option<").and_then(|kind| kind.strip_suffix('>')).unwrap_or(&field.kind);
    let item = kind.strip_prefix("Vec<").and_then(|kind| kind.strip_suffix('>'));
    let words = match item.unwrap_or(kind) {
        "bool" if field.serde.contains("as_number") => "0 or 1".to_owned(),
        "bool" => "true or false".to_owned(),
        "String" | "&'static str" | "ChangeKind" => "text".to_owned(),
        "Time" => "time".to_owned(),
        "f64" | "u8" | "u16" | "u32" | "u64" | "i64" | "usize" | "ShortNumber" | "Exit" => {
            "number".to_owned()
        }
        "[u64; 2]" => "pair of numbers".to_owned(),
        "Box<RawValue>" => "any".to_owned(),
        "BTreeMap<&'static str, String>" => "object of texts".to_owned(),
        other => {
            let name = other.rsplit("::").next().unwrap();
            let page = PAGES.iter().find(|(other, _)| *other == name);
            let object = OBJECTS.iter().find(|(other, _, _)| *other == name);
            match (page, object) {
                (Some((_, page)), _) => format!("[{page}]({page}.md)"),
                (_, Some((_, _, title))) => format!("[{title}](#{})", title.to_lowercase().replace(' ', "-")),
                _ => panic!("{}: {other} is neither in OBJECTS nor in PAGES", field.name),
            }
        }
    };
    if item.is_some() { format!("list of {words}") } else { words }
}

fn row(field: &Commented) -> [String; 4] {
    let is_optional = field.serde.contains("skip_serializing_if");
    let there = if is_optional { "if there is one" } else { "always" };
    [format!("`{}`", field.name), kind(field), cell(&field.text), there.to_owned()]
}

/// The fields of all sections, and those of each object by its title.
fn all() -> (Vec<Commented>, BTreeMap<&'static str, Vec<Commented>>) {
    let sections = SECTIONS.iter().flat_map(|(name, path)| fields_of(&source(path), name)).collect();
    let objects = OBJECTS.iter().map(|(name, path, title)| (*title, fields_of(&source(path), name)));
    (sections, objects.collect())
}

#[test]
fn keys_are_those_of_the_source() {
    let headings = ["key", "value", "meaning", "there"];
    let (keys, objects) = all();
    let mut text = format!("## Keys\n\n{}\n", table(headings, keys.iter().map(row)));
    for (_, _, title) in OBJECTS {
        text.push_str(&format!("### {title}\n\n{}\n", table(headings, objects[title].iter().map(row))));
    }
    page_has("metadata.md", &text);
}

/// What a scan really writes has these keys in this order, and each key that is always there.
#[test]
fn scans_write_these_keys() {
    let sandbox = Sandbox::new();
    let output = sandbox.run(&mut dry(), "-p 80 -S 192.0.2.7 -n 3 -q -v 0 --notes x -m scan.json 8.8.8.0/29");
    assert!(output.status.success(), "{output:?}");
    let written: IndexMap<String, Value> = serde_json::from_str(&sandbox.files()["scan.json"]).unwrap();
    let (keys, _) = all();
    let mut known = keys.iter();
    for key in written.keys() {
        assert!(known.any(|field| field.name == *key), "{key} is not described, or at another place");
    }
    for field in keys.iter().filter(|field| !field.serde.contains("skip_serializing_if")) {
        assert!(written.contains_key(&field.name), "{} is not always there", field.name);
    }
    // The commit is that of this tree, if it is a repository: the last one that its log of moves names.
    let git = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(".git");
    let folder = match fs::read_to_string(&git) {
        Ok(text) => PathBuf::from(text.strip_prefix("gitdir: ").unwrap().trim()),
        Err(_) => git,
    };
    let moves = fs::read_to_string(folder.join("logs/HEAD")).unwrap_or_default();
    let head = moves.lines().last().and_then(|line| line.split_whitespace().nth(1));
    assert_eq!(written.get("commit").map(|commit| commit.as_str().unwrap()), head);
}
