//! What real scans have written, read back: one scan and seven shards of it, checked, merged and compared.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Output;

use lab::{HOSTS, Lab, have_root};
use support::scanner::xdpmap;
use support::{Scans as _, read};

const FIELDS: &str = "-f saddr,sport,classification,success,repeat,timestamp_ts,timestamp_us";

/// Runs a command that reads files in this folder. It needs no network, and has that of the machine.
fn run(folder: &Path, arguments: &str) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } =
        xdpmap().args(arguments.split_whitespace()).current_dir(folder).output().unwrap();
    (status.code(), String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr))
}

/// A scan whose files are in a folder of the lab's folder.
fn scan(lab: &Lab, name: &str, arguments: &str) {
    let folder = lab.folder().join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let mut command = lab.xdpmap(&format!("-p 80 -e 7 -r 20000 -c 1 -q {FIELDS} {arguments} 198.18.0.0/19"));
    command.arg("-o").arg(folder.join("r.csv")).arg("-m").arg(folder.join("m.json"));
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The rows without their times.
fn rows(text: &str) -> BTreeSet<String> {
    text.lines().map(|line| line.rsplitn(3, ',').nth(2).unwrap().to_owned()).collect()
}

#[test]
fn seven_shards_are_the_one_scan() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(2);
    lab.start_nginx(&HOSTS.servers());
    scan(&lab, "whole", "");
    for shard in 0..7 {
        let workers = 1 + shard % 2;
        scan(&lab, &format!("shards/{shard}"), &format!("--shards 7 --shard {shard} -T {workers}"));
    }
    let folder = lab.folder();
    for arguments in ["verify whole/m.json", "verify shards"] {
        let (code, said) = run(folder, arguments);
        assert!(code == Some(0) && said.starts_with("all is well: "), "{arguments}: {said}");
    }
    let (code, said) = run(folder, "merge shards -o all.csv -m all.json");
    assert_eq!(code, Some(0), "{said}");
    let (all, whole) = (read(&folder.join("all.csv")), read(&folder.join("whole/r.csv")));
    assert_eq!(all.lines().count(), whole.lines().count());
    assert_eq!(rows(&all), rows(&whole));
    assert_eq!(run(folder, "verify all.json").0, Some(0));
    let [one, sum] = ["whole/m.json", "all.json"].map(|name| support::ledger::metadata(&folder.join(name)));
    for account in ["targets", "probes", "resets", "sockets", "replies", "results", "output-1"] {
        let [one, sum] = [&one, &sum].map(|metadata| &metadata["ledger"]["accounts"][account]["total"]);
        assert_eq!(one, sum, "{account}");
    }
    assert_eq!(sum["ledger"]["interfaces"].as_array().unwrap().len(), 7);
    for key in ["targets", "found", "covered"] {
        let [one, sum] = [&one, &sum].map(|metadata| &metadata["estimates"]["evidence"][key]);
        assert!(one == sum && one.is_number(), "{key}: {one} and {sum}");
    }
    assert_eq!(one["estimates"]["hit_rate_percent"], sum["estimates"]["hit_rate_percent"]);
    let (code, said) = run(folder, "diff whole/r.csv all.csv");
    assert_eq!((code, said.lines().count()), (Some(0), 1), "{said}");
    // What a shard lacks is found, and the command that scans it is printed.
    std::fs::remove_dir_all(folder.join("shards/3")).unwrap();
    let (code, said) = run(folder, "merge shards -o all.csv");
    assert!(code == Some(1) && said.contains("missing-shard: 1 ") && said.contains("--shard 3 "), "{said}");
    let shown = said.lines().find(|line| line.contains("--shard 3 ")).unwrap();
    assert!(shown.contains("shards/3/r.csv"), "{shown}");
}

/// Four tasks of a job share a folder, and one command line. One of them is killed and started again.
#[test]
fn tasks_of_a_job_share_a_folder() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(2);
    lab.start_nginx(&HOSTS.servers());
    scan(&lab, "whole", "");
    let folder = lab.folder().join("all");
    let task = |index: u32| {
        let mut command = lab.xdpmap(&format!(
            "-p 80 -e 7 --shards 4 --shard auto --total-rate 8K -c 1 -q --checkpoint-interval 0.2 --resume-or-start {FIELDS} \
             198.18.0.0/19"
        ));
        command.arg("--output-dir").arg(&folder).env("JOB_COMPLETION_INDEX", index.to_string());
        command
    };
    let done = |index: u32| {
        let output = task(index).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{said}");
        said + &String::from_utf8_lossy(&output.stdout)
    };
    let said = done(0);
    assert!(said.contains("shard 0 of 4 by Kubernetes: JOB_COMPLETION_INDEX is 0"), "{said}");
    let mut killed = task(1).stderr(std::process::Stdio::null()).spawn().unwrap();
    crate::checkpoint::into_sending(&folder.join("shard-00001/results.csv.xdpmap"), 300);
    killed.kill().unwrap();
    killed.wait().unwrap();
    // What is left to do is known without the others.
    let (code, said) = run(lab.folder(), "merge all -o all.csv");
    assert_eq!(code, Some(1), "{said}");
    for words in ["shard-00001/results.csv.xdpmap\n", " --shard 2 ", " --shard 3 ", "missing-shard: 3 "] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let said = done(1);
    assert!(said.contains("shard 1 of 4 by Kubernetes: "), "{said}");
    for index in [2, 3, 0] {
        done(index);
    }
    assert!(done(3).contains("the scan is finished"));
    let (code, said) = run(lab.folder(), "merge all -o all/all.csv -m all/all.json");
    assert_eq!(code, Some(0), "{said}");
    let (all, whole) = (read(&folder.join("all.csv")), read(&lab.folder().join("whole/r.csv")));
    // Resets of targets that were probed again are there twice, and `verify` finds every repeated success.
    assert_eq!(rows(&all), rows(&whole));
    // What was made of the shards is not taken for one of them.
    for arguments in ["merge all -o all/all.csv -m all/all.json", "verify all", "verify all/all.json"] {
        assert_eq!(run(lab.folder(), arguments).0, Some(0), "{arguments}");
    }
    let metadata = support::ledger::metadata(&folder.join("shard-00001/metadata.json"));
    assert_eq!((&metadata["batch_engine"], &metadata["rate"]), (&"Kubernetes".into(), &2_000.into()));
    assert_eq!(metadata["earlier_runs"]["started"].as_array().unwrap().len(), 1, "it went on");
}

/// A scan that was killed and went on is as whole as one that was not, and its metadata count all runs.
#[test]
fn a_resumed_scan_is_whole() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(2);
    let [results, metadata] = ["r.csv", "m.json"].map(|name| lab.folder().join(name));
    let mut command =
        lab.xdpmap(&format!("-p 80 -r 2000 -c 1 -q --checkpoint-interval 0.2 {FIELDS} 198.18.0.0/19"));
    command.arg("-o").arg(&results).arg("-m").arg(&metadata);
    let mut child = command.stderr(std::process::Stdio::null()).spawn().unwrap();
    let checkpoint = lab.folder().join("r.csv.xdpmap");
    crate::checkpoint::into_sending(&checkpoint, 700);
    child.kill().unwrap();
    child.wait().unwrap();
    let output = crate::checkpoint::resume(&lab, &checkpoint, "-r 20000").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let value = support::ledger::metadata(&metadata);
    assert!(value["earlier_runs"]["results"].as_u64().unwrap() > 0, "{}", value["earlier_runs"]);
    let (code, said) = run(lab.folder(), "verify m.json");
    // Resets of targets that were probed again may be there twice, and are no repeats.
    assert!(code == Some(0) && said.contains("all is well: "), "{said}");
}
