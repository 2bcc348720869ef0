//! `xdpmap verify` finds each kind of fault, and nothing where there is none.

use std::fs;

use super::{Answer, FIELDS, Folder, gzip, open, some};

const OPTIONS: &str = "-p 80,443 -e 7 -b b.conf 8.8.8.0/26";

/// A scan of 48 hosts and two ports, all of whose answers are written.
fn scanned() -> Folder {
    let folder = Folder::new();
    folder.scan("m.json", &format!("-o r.csv -f {FIELDS} {OPTIONS}"), some);
    folder
}

/// Checks that there are these kinds of faults, and no others; returns the report.
#[track_caller]
fn faults(folder: &Folder, arguments: &str, kinds: &[&str]) -> String {
    let (code, text) = folder.said(&format!("verify {arguments}"));
    let found: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(kind, _)| kind)
        .filter(|kind| !["not checked", "all is well"].contains(kind) && !kind.contains(' '))
        .collect();
    assert_eq!(found, kinds, "{text}");
    assert_eq!(code, i32::from(!kinds.is_empty()), "{text}");
    text
}

#[test]
fn nothing_is_wrong_with_what_is_right() {
    let folder = scanned();
    for arguments in ["m.json", "m.json r.csv", "."] {
        let text = faults(&folder, arguments, &[]);
        assert_eq!(text, "all is well: 96 results in 1 file, 1 scan\n");
    }
    gzip(&folder.at("r.csv"));
    fs::rename(folder.at("r.csv"), folder.at("other.csv")).unwrap();
    faults(&folder, "m.json r.csv.gz", &[]);
    faults(&folder, "m.json other.csv", &[]);
    let (_, json) = folder.said("verify --json m.json other.csv");
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        value,
        serde_json::json!({"ok": true, "scans": 1, "files": 1, "results": 96, "faults": [], "unchecked": []})
    );
}

/// Sums of the ledger that are wrong are found, and metadata of an older version has none.
#[test]
fn a_ledger_that_does_not_add_up() {
    let folder = scanned();
    folder.change("m.json", |value| {
        let probed = &mut value["ledger"]["accounts"]["targets"]["parts"]["probed"];
        assert_eq!(*probed, 96);
        *probed = 95.into();
    });
    let text = faults(&folder, "m.json", &["unbalanced-ledger"]);
    assert!(text.contains("first: targets: the parts make 95, and the whole is 96 (m.json)"), "{text}");
    folder.change("m.json", |value| value["ledger"]["accounts"]["targets"]["exact"] = false.into());
    faults(&folder, "m.json", &[]);
    folder.change("m.json", |value| drop(value.as_object_mut().unwrap().remove("ledger")));
    faults(&folder, "m.json", &[]);
}

/// A row that is one too many, and the kind of fault that it is.
#[test]
fn rows_that_do_not_belong_there() {
    for (row, kind) in [
        // A host, a port, and a host of the block list.
        ("9.9.9.9,80,synack,1,0,", "foreign-address"),
        ("8.8.8.20,81,synack,1,0,", "foreign-address"),
        ("8.8.8.1,80,synack,1,0,", "foreign-address"),
        // The same target's first success again.
        ("8.8.8.20,443,synack,1,0,", "repeat"),
        ("8.8.8.x,443,synack,1,0,", "bad-row"),
        ("8.8.8.20,443,synack", "bad-row"),
    ] {
        let folder = scanned();
        let results = folder.read("r.csv");
        let times = results.lines().last().unwrap().rsplitn(3, ',').collect::<Vec<_>>();
        assert!(results.contains("8.8.8.20,443,synack,1,0,"));
        let row =
            if row.ends_with(',') { format!("{row}{},{}\n", times[1], times[0]) } else { format!("{row}\n") };
        folder.append("r.csv", &row);
        folder.count("m.json", 1);
        let text = faults(&folder, "m.json", &[kind]);
        assert!(text.contains(&format!("{kind}: 1 ")) && text.contains("(r.csv:98)"), "{text}");
    }
    // A repeat that says so is none, and a reset is none either.
    let folder = scanned();
    let results = folder.read("r.csv");
    let open = results.lines().find(|line| line.contains("synack,1,0")).unwrap();
    folder.append("r.csv", &format!("{}\n", open.replace("synack,1,0", "synack,1,1")));
    folder.append("r.csv", &format!("{}\n", open.replace("synack,1,0", "rst,0,0")));
    folder.count("m.json", 2);
    faults(&folder, "m.json", &[]);
}

#[test]
fn results_of_another_time() {
    let folder = scanned();
    folder.append("r.csv", "8.8.8.20,80,rst,0,0,1000000000,0\n");
    folder.count("m.json", 1);
    let text = faults(&folder, "m.json", &["outside-the-run"]);
    assert!(text.contains("first: 2001-09-09T01:46:40Z (r.csv:98)"), "{text}");
}

#[test]
fn files_that_are_not_whole() {
    let folder = scanned();
    let results = folder.read("r.csv");
    let path = folder.at("r.csv");
    // In the middle of a row, and behind one.
    fs::write(&path, &results[..results.len() - 5]).unwrap();
    let text = faults(&folder, "m.json", &["cut-file", "wrong-count"]);
    assert!(text.contains("line 97"), "{text}");
    let last = results.trim_end().rfind('\n').unwrap();
    fs::write(&path, &results[..=last]).unwrap();
    let text = faults(&folder, "m.json", &["wrong-count"]);
    assert!(text.contains("95 results, and 96 were written"), "{text}");
    fs::write(&path, &results).unwrap();
    gzip(&path);
    let packed = fs::read(folder.at("r.csv.gz")).unwrap();
    fs::write(folder.at("r.csv.gz"), &packed[..packed.len() - 9]).unwrap();
    let (code, text) = folder.said("verify m.json r.csv.gz");
    assert!(code == 1 && text.contains("cut-file: 1"), "{text}");
    fs::remove_file(&path).unwrap();
    faults(&folder, "m.json", &["missing-file"]);
}

#[test]
fn lists_that_have_changed() {
    let folder = scanned();
    folder.append("b.conf", "8.8.8.63\n");
    let text = faults(&folder, "m.json", &["changed-list"]);
    assert!(text.contains("b.conf had 1 lines"), "{text}");
    fs::remove_file(folder.at("b.conf")).unwrap();
    let text = faults(&folder, "m.json", &[]);
    assert!(text.contains("not checked: --blocklist-file: ") && text.contains("cannot be read"), "{text}");
}

/// A list of single hosts decides which results belong to the scan, as long as it is what it was.
#[test]
fn lists_of_hosts() {
    for (flags, list) in
        [("-p 80 -I hosts", "8.8.8.20\n8.8.8.24\n"), ("--pairs-file hosts", "8.8.8.20:80\n8.8.8.24:80\n")]
    {
        let folder = Folder::new();
        folder.write("hosts", list);
        let options = format!("-o r.csv -f saddr,sport,success,repeat -e 7 -b b.conf {flags}");
        folder.scan("m.json", &options, |host, port| vec![Answer::syn_ack(host, port)]);
        let text = faults(&folder, "m.json", &[]);
        assert!(
            text.contains("all is well: 2 results") && text.contains("not checked: r.csv: the times"),
            "{text}"
        );
        folder.append("r.csv", "8.8.8.25,80,1,0\n");
        folder.count("m.json", 1);
        faults(&folder, "m.json", &["foreign-address"]);
        // A list that has changed says nothing of that any more.
        folder.append("hosts", "8.8.8.28\n");
        let text = faults(&folder, "m.json", &["changed-list"]);
        assert!(text.contains("not checked: m.json: whether results are of hosts of its list"), "{text}");
    }
}

#[test]
fn metadata_that_contradict_themselves() {
    let folder = scanned();
    folder.change("m.json", |value| value["seed"] = 8.into());
    faults(&folder, "m.json", &["other-targets"]);
    folder.change("m.json", |value| {
        value["seed"] = 7.into();
        value["end_reason"] = "interrupted".into();
        value["exit_code"] = 130.into();
    });
    let text = faults(&folder, "m.json", &["incomplete-scan"]);
    assert!(text.contains("ended by interrupted with exit code 130"), "{text}");
}

/// Networks that were left out while the scan ran: older results of theirs are no fault, and the hash is still right.
#[test]
fn networks_excluded_late() {
    let folder = scanned();
    folder.change("m.json", |value| {
        let all = value["blocklisted_networks"].as_array_mut().unwrap();
        all.push("8.8.8.48/28".into());
        value["networks_excluded_late"] = ["8.8.8.48/28"].into();
    });
    let text = faults(&folder, "m.json", &[]);
    assert!(text.contains("32 results are older than the exclusion"), "{text}");
}

/// A scan that went on after an interruption: the results of all runs count, and the time from the first start on.
#[test]
fn results_of_several_runs() {
    let folder = scanned();
    folder.append("r.csv", "8.8.8.20,80,rst,0,0,1769857200,0\n");
    faults(&folder, "m.json", &["wrong-count", "outside-the-run"]);
    folder.change("m.json", |value| {
        value["earlier_runs"] =
            serde_json::json!({"started": ["2026-01-31T10:00:00Z"], "targets": 1, "probes_sent": 1, "results": 1});
    });
    faults(&folder, "m.json", &[]);
}

/// An ICMP error may come from a router, whose address is no target. Of a success that cannot be.
#[test]
fn answers_of_routers() {
    let folder = Folder::new();
    folder.scan("m.json", "-M icmp_echoscan -o r.csv -f saddr,success,repeat -e 7 8.8.8.16/28", open);
    folder.append("r.csv", "8.8.8.17,1,0\n9.9.9.9,0,0\n");
    folder.count("m.json", 2);
    let text = faults(&folder, "m.json", &[]);
    assert!(text.contains("not checked: the targets of 1 result,") && !text.contains("ports"), "{text}");
    folder.append("r.csv", "9.9.9.9,1,0\n");
    folder.count("m.json", 1);
    faults(&folder, "m.json", &["foreign-address"]);
}

/// The formats that a scan writes by default, without a header row, and in several outputs at once.
#[test]
fn every_format() {
    for (options, count) in [("-p 80", 16), ("-p 80,443", 25), ("-p 80,443 -O hostport", 25)] {
        let folder = Folder::new();
        folder.scan("m.json", &format!("-o r.txt -e 7 -b b.conf {options} 8.8.8.0/26"), open);
        let text = faults(&folder, "m.json", &[]);
        assert!(text.contains(&format!("all is well: {count} results")), "{options}: {text}");
        let first = folder.read("r.txt").lines().next().unwrap().to_owned();
        folder.append("r.txt", &format!("{first}\n"));
        folder.count("m.json", 1);
        faults(&folder, "m.json", &["repeat"]);
    }
    let folder = Folder::new();
    let outputs = "-o r.csv -O csv -o r.json -O json -o r.parquet -O parquet -o r.pcap -O pcap";
    folder.scan("m.json", &format!("{outputs} -f {FIELDS} {OPTIONS}"), some);
    let text = faults(&folder, "m.json", &[]);
    assert!(
        text.contains("all is well: 288 results in 3 files") && text.contains("(pcap): frames are not read"),
        "{text}"
    );
    let parquet = fs::read(folder.at("r.parquet")).unwrap();
    fs::write(folder.at("r.parquet"), &parquet[..parquet.len() / 2]).unwrap();
    folder.append("r.json", "{\"saddr\":\"8.8.8.20\"\n");
    let text = faults(&folder, "m.json", &["cut-file", "bad-row", "wrong-count"]);
    assert!(text.contains("wrong-count: 2") && text.contains("r.json:97"), "{text}");
}

/// Times in the form of the field `timestamp`, as text and as a column of Parquet.
#[test]
fn times_in_one_column() {
    let folder = Folder::new();
    let fields = "-f saddr,sport,classification,success,repeat,timestamp";
    folder.scan("m.json", &format!("-o r.csv -o r.parquet {fields} {OPTIONS}"), some);
    let text = faults(&folder, "m.json", &[]);
    assert!(text.contains("all is well") && !text.contains("the times"), "{text}");
    let csv = folder.read("r.csv");
    folder.write("r.csv", &csv.replacen(",20", ",19", 1));
    faults(&folder, "m.json", &["outside-the-run"]);
}

#[test]
fn shards() {
    let folder = Folder::new();
    for shard in 0..3 {
        let options = format!("--shards 3 --shard {shard} -o {shard}/r.csv -f {FIELDS} {OPTIONS}");
        fs::create_dir(folder.at(&shard.to_string())).unwrap();
        folder.scan(&format!("{shard}/m.json"), &options, some);
    }
    let text = faults(&folder, ".", &[]);
    assert!(text.contains("all is well: 96 results in 3 files, 3 scans"), "{text}");
    faults(&folder, "0/m.json", &[]);
    faults(&folder, "0/m.json 1/m.json 2/m.json 0/r.csv 2/r.csv 1/r.csv", &[]);
    let text = faults(&folder, "0/m.json 2/m.json", &["missing-shard"]);
    assert!(text.contains("first: shard 1 of 3"), "{text}");
    // A shard twice, by its metadata and so by its results.
    fs::create_dir(folder.at("4")).unwrap();
    for name in ["m.json", "r.csv"] {
        fs::copy(folder.at("2").join(name), folder.at("4").join(name)).unwrap();
    }
    let text = faults(&folder, ".", &["shard-twice", "repeat"]);
    assert!(text.contains("first: shard 2 of 3, also in ./2/m.json (./4/m.json)"), "{text}");
    // Another shard under the metadata of this one: its results are of the plan, but are there twice.
    fs::remove_dir_all(folder.at("4")).unwrap();
    fs::copy(folder.at("2/r.csv"), folder.at("1/r.csv")).unwrap();
    let (code, text) = folder.said("verify .");
    assert!(code == 1 && text.contains("repeat: "), "{text}");
    // A shard of another plan.
    folder.scan("1/m.json", "--shards 3 --shard 1 -o 1/r.csv -p 80,443 -e 8 -b b.conf 8.8.8.0/26", open);
    let text = faults(&folder, ".", &["other-plan", "repeat"]);
    assert!(text.contains("seed 8 is not that of ./0/m.json (7); give all shards the same --seed"), "{text}");
}

#[test]
fn what_cannot_be_checked_is_refused() {
    let folder = scanned();
    folder.write("notes.txt", "one two three\n");
    folder.write("half.json", "{\"local_hostname\":\"h\",");
    folder.write("zmap.json", "{\"local_hostname\":\"h\",\"seed\":1}");
    for (arguments, words) in [
        ("verify", &["META|RESULT", "xdpmap verify --help"][..]),
        ("verify r.csv", &["metadata of the scan"]),
        ("verify m.json notes.txt", &["notes.txt", "no header row"]),
        ("verify m.json missing.csv", &["missing.csv", "No such file"]),
        ("verify half.json", &["half.json", "not the whole metadata"]),
        ("verify zmap.json", &["zmap.json", "no targets_hash"]),
        ("verify --exclude missing.conf r.csv", &["--exclude", "missing.conf"]),
        ("verify --exclude b.conf --json r.csv", &["--json"]),
        ("verify -o x r.csv", &["--exclude"]),
        ("verify --exclude b.conf -o no/x r.csv", &["no/x", "directory you may write to"]),
    ] {
        let output = folder.run(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{arguments}: {said}");
        assert!(said.lines().count() == 1 && said.contains("[FATAL] verify: "), "{arguments}: {said}");
        for word in words {
            assert!(said.contains(word), "{arguments}: no {word} in {said}");
        }
    }
}

/// Results of networks that have opted out since.
#[test]
fn late_exclusions() {
    let folder = scanned();
    folder.write("late.conf", "8.8.8.32/28 # 2026-05-01 asked by mail\n");
    let before = folder.read("r.csv");
    let kept: String = before
        .split_inclusive('\n')
        .filter(|line| !(32..48).any(|host| line.starts_with(&format!("8.8.8.{host},"))))
        .collect();
    let output = folder.run("verify --exclude late.conf r.csv");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), kept);
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "32 results taken out, 64 results written\n");
    // Into the file itself.
    let output = folder.run("verify --exclude late.conf m.json -o r.csv");
    assert_eq!((output.status.code(), folder.read("r.csv")), (Some(0), kept));
    // Without a header row, the metadata say which columns there are.
    folder.scan("n.json", "-o n.csv -f sport,saddr --no-header-row -p 80 -e 7 -b b.conf 8.8.8.0/26", open);
    let output = folder.run("verify --exclude late.conf n.json n.csv");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.starts_with("80,8.8.8.") && text.lines().count() < folder.read("n.csv").lines().count(),
        "{text}"
    );
    // What is not understood does not pass, and is no success.
    folder.append("n.csv", "80,8.8.8\n");
    let output = folder.run("verify --exclude late.conf n.json n.csv");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && said.contains("1 row left out"), "{said}");
}

/// No command writes over a file that it reads, nor two things to one file.
#[test]
fn what_is_read_is_kept() {
    let folder = scanned();
    let read = || ["m.json", "r.csv", "b.conf"].map(|name| fs::read(folder.at(name)).unwrap());
    let before = read();
    for (arguments, words) in [
        ("report m.json -o m.json", "--output-file: m.json is one of the files that are read"),
        ("report m.json -o ./r.csv", "./r.csv is one of the files that are read"),
        ("report m.json -u b.conf -o b.conf", "b.conf is one of the files that are read"),
        ("map r.csv -O png -o r.csv", "r.csv is one of the files that are read"),
        ("diff r.csv r.csv -o r.csv", "r.csv is one of the files that are read"),
        ("merge m.json -o r.csv", "r.csv is one of the files that are read"),
        ("merge m.json -o new -m new", "--metadata-file: new is also another output"),
        ("verify --exclude b.conf -o b.conf r.csv", "b.conf is one of the files that are read"),
    ] {
        let output = folder.run(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1), "{arguments}: {said}");
        assert!(said.contains(words) && said.ends_with("name another file\n"), "{arguments}: {said}");
    }
    assert!(read() == before && !folder.at("new").exists());
    assert_eq!(folder.run("verify --exclude b.conf -o r.csv r.csv").status.code(), Some(0));
}
