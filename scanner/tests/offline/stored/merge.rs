//! `xdpmap merge` makes one scan of its shards, and says how to scan what is missing.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;
use xdpmap::checkpoint::{Checkpoint, Request, SavedOutput};

use super::{FIELDS, Folder, open, some};

const OPTIONS: &str = "-p 80,443 -e 7 -b b.conf 8.8.8.0/24";

/// Seven shards, each in its folder, with these options for the outputs; and the same as one scan.
fn seven(outputs: &str) -> Folder {
    let folder = Folder::new();
    for shard in 0..7 {
        let name = format!("shards/{shard:05}");
        fs::create_dir_all(folder.at(&name)).unwrap();
        let outputs = outputs.replace("DIR", &name);
        folder.scan(
            &format!("{name}/m.json"),
            &format!("--shards 7 --shard {shard} {outputs} {OPTIONS}"),
            some,
        );
    }
    fs::create_dir(folder.at("whole")).unwrap();
    folder.scan("whole/m.json", &format!("{} {OPTIONS}", outputs.replace("DIR", "whole")), some);
    folder
}

fn rows(text: &str) -> BTreeSet<String> {
    text.lines().map(str::to_owned).collect()
}

#[track_caller]
fn merged(folder: &Folder, arguments: &str) -> String {
    let output = folder.run(&format!("merge {arguments}"));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}{}", String::from_utf8_lossy(&output.stdout));
    assert!(said.contains("of 7 shards written, from 7 files"), "{said}");
    String::from_utf8(output.stdout).unwrap()
}

/// The results of the shards together are those of the one scan, and so are the sums of their counters.
#[test]
fn seven_shards_are_the_one_scan() {
    // Without the times, which differ.
    let fields = "saddr,sport,classification,success,repeat";
    for (outputs, name) in
        [(format!("-o DIR/r.csv -f {fields}"), "r.csv"), (format!("-o DIR/r.json -f {fields}"), "r.json")]
    {
        let folder = seven(&outputs);
        assert_eq!(merged(&folder, "shards -o all -m all.json"), "");
        let (all, whole) = (folder.read("all"), folder.read(&format!("whole/{name}")));
        assert_eq!(all.lines().count(), whole.lines().count());
        assert_eq!(rows(&all), rows(&whole), "{outputs}");
        assert!(name == "r.json" || all.starts_with("saddr,sport") && all.matches("saddr").count() == 1);
        let metadata = |name: &str| -> Value { serde_json::from_str(&folder.read(name)).unwrap() };
        let (merged, one) = (metadata("all.json"), metadata("whole/m.json"));
        for key in [
            "targets_hash",
            "seed",
            "target_ports",
            "total_shards",
            "shard_num",
            "output_results",
            "targets_scanned",
            "packets_sent",
            "blocklisted_networks",
            "end_reason",
        ] {
            assert_eq!(merged[key], one[key], "{key}");
        }
        assert_eq!(merged["counters"]["targets"], one["counters"]["targets"]);
        assert_eq!(one["counters"]["targets"], 480);
        assert_eq!(merged["shards"].as_array().unwrap().len(), 7);
        assert_eq!(merged["shards"][3]["shard_num"], 3);
        // It stands every test that the one scan stands.
        let (code, text) = folder.said("verify all.json");
        assert!(code == 0 && text.contains("all is well"), "{text}");
        // To standard output as well, from metadata that are named.
        let names: Vec<String> = (0..7).rev().map(|shard| format!("shards/{shard:05}/m.json")).collect();
        assert_eq!(self::merged(&folder, &names.join(" ")), all);
    }
}

#[test]
fn results_without_a_header_row() {
    let folder = seven("-o DIR/r.txt -O hostport");
    let all = merged(&folder, "shards");
    assert_eq!(rows(&all), rows(&folder.read("whole/r.txt")));
    assert!(all.lines().all(|line| line.starts_with("8.8.8.")));
}

#[test]
fn what_is_missing_has_its_command() {
    let folder = seven(&format!("-o DIR/r.csv -f {FIELDS}"));
    fs::remove_dir_all(folder.at("shards/00004")).unwrap();
    folder.change("shards/00002/m.json", |value| {
        value["end_reason"] = "interrupted".into();
        value["exit_code"] = 130.into();
    });
    let (code, text) = folder.said("merge shards -o all.csv -m all.json");
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("missing-shard: 1 ") && text.contains("incomplete-scan: 1 "), "{text}");
    assert!(!folder.at("all.csv").exists() && !folder.at("all.json").exists(), "nothing is written");
    let commands: Vec<&str> = text.lines().filter(|line| line.contains("xdpmap --")).collect();
    assert_eq!(commands.len(), 2, "{text}");
    for (command, shard) in commands.iter().zip(["2", "4"]) {
        for words in [
            format!("--shard {shard} "),
            format!("--output-file shards/0000{shard}/r.csv"),
            format!("--metadata-file shards/0000{shard}/m.json"),
            "--shards 7".to_owned(),
            "--seed 7".to_owned(),
            "--target-ports 80,443".to_owned(),
            "--blocklist-file b.conf".to_owned(),
        ] {
            assert!(command.contains(&words), "no {words} in {command}");
        }
        assert!(command.ends_with(" 8.8.8.0/24"), "{command}");
    }
    // Without -o, standard output is for results, and there is none.
    let output = folder.run("merge shards");
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    assert!(String::from_utf8(output.stderr).unwrap().contains("--shard 4 "));
    // Where a checkpoint is left, the scan goes on from it: also of a shard that has left nothing else.
    let hash =
        serde_json::from_str::<Value>(&folder.read("shards/00000/m.json")).unwrap()["targets_hash"].clone();
    fs::create_dir_all(folder.at("shards/00004")).unwrap();
    folder.write("shards/00004/r.csv.xdpmap", &checkpoint(hash.as_str().unwrap()));
    folder.write("shards/00002/r.csv.xdpmap", &checkpoint("of another scan"));
    let (_, text) = folder.said("merge shards -o all.csv");
    assert!(text.contains("xdpmap resume ") && text.contains("shards/00004/r.csv.xdpmap\n"), "{text}");
    assert!(!text.contains("00002/r.csv.xdpmap"), "{text}");
}

/// A checkpoint of a scan of these targets that is not finished.
fn checkpoint(targets_hash: &str) -> String {
    let request = Request {
        options: String::new(),
        origins: vec![],
        targets: vec![],
        folder: "/".into(),
        inputs: vec![],
        blocked: targets::RangeSet::default(),
        blocked_sha256: None,
        plan_hash: String::new(),
        plan: vec![],
        targets_hash: targets_hash.to_owned(),
        seed: 7,
        key: Some("a5".repeat(16)),
        timestamp: 0,
    };
    let open = [targets::Interval { start: 0, end: 7 }];
    let output = SavedOutput::empty("r.csv".into(), false);
    let checkpoint = Checkpoint::new(request, &open, vec![output], "2026-01-31T12:00:00Z".to_owned());
    String::from_utf8(checkpoint.to_text().unwrap()).unwrap()
}

#[test]
fn a_shared_folder() {
    let folder = Folder::new();
    for shard in 0..3 {
        let name = format!("all/shard-{shard:05}/metadata.json");
        folder.scan(
            &name,
            &format!("--shards 3 --shard {shard} --output-dir all {OPTIONS} -f {FIELDS}"),
            some,
        );
        assert!(folder.at(&format!("all/shard-{shard:05}/results.csv")).is_file());
    }
    // Twice: what the first one makes is beside the folders of the shards, and not one of them.
    for _ in 0..2 {
        let output = folder.run("merge all -o all/all.csv -m all/all.json");
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    }
    folder.scan("whole.json", &format!("-o whole.csv {OPTIONS} -f {FIELDS}"), some);
    let saddr = |text: &str| -> BTreeSet<String> {
        text.lines().map(|line| line.split(',').take(4).collect::<Vec<_>>().join(",")).collect()
    };
    assert_eq!(saddr(&folder.read("all/all.csv")), saddr(&folder.read("whole.csv")));
    fs::remove_dir_all(folder.at("all/shard-00001")).unwrap();
    let (code, text) = folder.said("merge all -o all.csv");
    assert!(code == 1 && text.contains(" --output-dir all ") && text.contains(" --shard 1 "), "{text}");
}

#[test]
fn a_fault_in_a_shard_ends_it() {
    let folder = seven("-o DIR/r.csv -f saddr,sport,success,repeat");
    folder.append("shards/00003/r.csv", "9.9.9.9,80,1,0\n");
    let (code, text) = folder.said("merge shards -o all.csv");
    assert!(code == 1 && text.contains("foreign-address: 1") && text.contains("wrong-count: 1"), "{text}");
    assert!(!folder.at("all.csv").exists());
}

#[test]
fn no_file_of_a_shard_is_written_over() {
    let folder = seven("-o DIR/r.csv -f saddr,sport,success,repeat");
    let (results, metadata) = (folder.read("shards/00003/r.csv"), folder.read("shards/00003/m.json"));
    for arguments in ["-o shards/00003/r.csv", "-o all.csv -m shards/../shards/00003/m.json"] {
        let output = folder.run(&format!("merge shards {arguments}"));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            output.status.code() == Some(2) && said.contains("is one of the files that are read"),
            "{said}"
        );
    }
    assert_eq!((folder.read("shards/00003/r.csv"), folder.read("shards/00003/m.json")), (results, metadata));
    assert!(!folder.at("all.csv").exists());
}

#[test]
fn what_cannot_be_merged_is_refused_by_its_name() {
    let folder = Folder::new();
    for shard in 0..2 {
        let options = format!("--shards 2 --shard {shard} -o {shard}.parquet -o {shard}.pcap -f saddr,sport");
        folder.scan(&format!("{shard}.json"), &format!("{options} {OPTIONS}"), open);
    }
    folder.write("r.csv", "saddr\n");
    for (arguments, words) in [
        ("0.json 1.json -o all", &["parquet, pcap", "csv, json and hostport"][..]),
        ("0.json r.csv", &["r.csv is not the metadata"]),
        ("missing.json", &["missing.json"]),
        ("", &["META"]),
    ] {
        let output = folder.run(&format!("merge {arguments}"));
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1), "{arguments}: {said}");
        assert!(words.iter().all(|word| said.contains(word)), "{arguments}: {said}");
    }
}
