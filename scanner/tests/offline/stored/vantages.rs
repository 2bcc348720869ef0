//! `xdpmap merge --vantages` says what two scans of the same targets have missed, and refuses others.

use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;

use serde_json::Value;

use super::{Answer, Folder};

const OPTIONS: &str = "-p 80 -b b.conf 8.8.8.0/21";

/// Whether a host is there, and which of the two places sees it.
fn sees(place: u32, host: Ipv4Addr) -> bool {
    let number = host.to_bits().wrapping_mul(2_654_435_761) >> 16;
    host.to_bits().is_multiple_of(2) && number % 11 != 3 * place && (place == 0 || number % 5 != 1)
}

fn answer(place: u32) -> impl Fn(Ipv4Addr, u16) -> Vec<Answer> {
    move |host, port| if sees(place, host) { vec![Answer::syn_ack(host, port)] } else { vec![] }
}

/// Two scans with other seeds, in other formats.
fn two() -> Folder {
    let folder = Folder::new();
    folder.scan("one/m.json", &format!("-e 7 -o one/r.csv -f saddr,sport,success {OPTIONS}"), answer(0));
    folder.scan("two/m.json", &format!("-e 8 -o two/r.json -f saddr,sport,success {OPTIONS}"), answer(1));
    folder
}

#[test]
fn what_two_places_have_missed() {
    let folder = two();
    let (code, text) = folder.said("merge --vantages one/m.json two -m v.json");
    assert_eq!(code, 0, "{text}");
    let of = |place: u32| -> BTreeSet<String> {
        let text = folder.read(["one/r.csv", "two/r.json"][place as usize]);
        text.split(['\n', '"', ',']).filter(|word| word.starts_with("8.8.")).map(str::to_owned).collect()
    };
    let (one, other) = (of(0), of(1));
    let both = one.intersection(&other).count() as u64;
    let found = one.union(&other).count() as u64;
    assert!(both > 500 && found > both + 200, "{both} of {found}");
    assert!(text.starts_with(&format!("{found} hosts found, {both} of them by both scans\n")), "{text}");
    assert_eq!(text.lines().count(), 4, "{text}");
    let value: Value = serde_json::from_str(&folder.read("v.json")).unwrap();
    assert_eq!((&value["found"], &value["found_by_both"]), (&found.into(), &both.into()));
    assert_eq!(value["vantages"][1]["found"], other.len());
    let missed = &value["missed_by_both"];
    let number = |key: &str| missed[key].as_f64().unwrap();
    let (one, other) = (one.len() as f64 - both as f64, other.len() as f64 - both as f64);
    assert!((number("value") - one * other / both as f64).abs() < 1e-6, "{missed}");
    assert!(0.0 < number("lower") && number("lower") < number("value") && number("value") < number("upper"));
    // The other way round it is the same.
    folder.said("merge --vantages two/m.json one/m.json -m w.json");
    let turned: Value = serde_json::from_str(&folder.read("w.json")).unwrap();
    assert_eq!(turned["found_by_both"], value["found_by_both"]);
    assert!((turned["missed_by_both"]["value"].as_f64().unwrap() - number("value")).abs() < 1e-6);
}

#[test]
fn scans_that_cannot_be_compared() {
    let folder = two();
    let scan = |name: &str, options: &str| {
        folder.scan(&format!("{name}.json"), &format!("-o {name}.csv -f saddr,success {options}"), answer(0));
    };
    scan("networks", "-e 7 -p 80 -b b.conf 8.8.8.0/22");
    scan("ports", "-e 7 -p 81 -b b.conf 8.8.8.0/21");
    scan("part", &format!("-e 7 -n 100 {OPTIONS}"));
    scan("shard", &format!("-e 8 --shards 2 --shard 1 {OPTIONS}"));
    scan("module", "-e 7 -M icmp_echoscan -b b.conf 8.8.8.0/21");
    scan("stopped", &format!("-e 7 {OPTIONS}"));
    folder.change("stopped.json", |value| value["end_reason"] = "interrupted".into());
    folder.scan(
        "blind.json",
        &format!("-e 7 -o blind.csv -f saddr,sport --output-filter= {OPTIONS}"),
        answer(0),
    );
    folder.scan("moved.json", &format!("-e 7 -o moved.csv -f saddr,success {OPTIONS}"), answer(0));
    fs::remove_file(folder.at("moved.csv")).unwrap();
    for (other, words) in [
        ("", "these are 1"),
        ("two/m.json networks.json", "these are 3"),
        ("one/m.json", "one/m.json is a file of both scans"),
        ("networks.json", "have other targets"),
        ("ports.json", "have other targets"),
        ("part.json", "other parts of the order"),
        ("shard.json", "a part of the targets each"),
        ("module.json", "sent other probes"),
        ("stopped.json", "not complete (interrupted)"),
        ("blind.json", "no column success"),
        ("two/m.json -o all.csv", "cannot be used with"),
        ("two/m.json -m two/m.json", "is one of the files that are read"),
    ] {
        let output = folder.run(&format!("merge --vantages one/m.json {other}"));
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1), "{other}: {said}");
        assert!(said.contains(words), "{other}: {said}");
    }
    // Something is wrong with the results themselves.
    let (code, text) = folder.said("merge --vantages one/m.json moved.json");
    assert!(code == 1 && text.contains("missing-file: 1"), "{text}");
    folder.append("one/r.csv", "9.9.9.9,80,1\n");
    let (code, text) = folder.said("merge --vantages one/m.json two/m.json");
    assert!(code == 1 && text.contains("foreign-address: 1"), "{text}");
}
