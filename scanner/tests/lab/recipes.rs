//! The recipes of docs/recipes.md, each block as it stands there: in a lab where nginx answers for some addresses.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::support::scanner::BINARY;
use crate::support::tools::{PATH, tool};
use crate::support::{Lab, have_root, read};

const RECIPES: &str = include_str!("../../../docs/recipes.md");

/// Who listens on port 80.
const SERVERS: [[u8; 4]; 5] =
    [[192, 0, 2, 7], [192, 0, 2, 9], [192, 0, 2, 130], [192, 0, 2, 200], [192, 0, 2, 254]];

/// The blocks that are to be run, each under its heading.
fn blocks() -> Vec<(String, String)> {
    let mut blocks = vec![];
    let (mut heading, mut block) = (String::new(), None::<String>);
    for line in RECIPES.lines() {
        match &mut block {
            Some(text) if line == "```" => {
                blocks.push((heading.clone(), std::mem::take(text)));
                block = None;
            }
            Some(text) => text.extend([line, "\n"]),
            None if line == "```sh" => block = Some(String::new()),
            None => heading = line.strip_prefix("### ").map_or(heading, str::to_owned),
        }
    }
    blocks
}

/// The lines of a text, each once.
fn lines(text: &str) -> BTreeSet<String> {
    text.lines().map(str::to_owned).collect()
}

/// A line for each server.
fn each(line: impl Fn(&str) -> String) -> BTreeSet<String> {
    SERVERS.iter().map(|&address| line(&Ipv4Addr::from(address).to_string())).collect()
}

/// What a recipe must have printed and written. There are as many checks as blocks.
fn check(heading: &str, block: &str, out: &str, folder: &Path) {
    let file = |name: &str| read(&folder.join(name));
    match heading {
        "Results through jq" if block.contains("group_by") => {
            assert_eq!(out.trim(), r#"{"rst":251,"synack":5}"#);
        }
        "Results through jq" => assert_eq!(lines(out), each(|address| format!("\"{address}\",64"))),
        "Only some of the replies" => {
            assert_eq!(lines(out), lines("saddr,ttl\n192.0.2.7,64\n192.0.2.9,64\n192.0.2.200,64\n"));
        }
        "Speak to each host" => {
            assert_eq!(lines(out), each(|address| format!("{address} 200")));
            assert!(folder.join("page-192.0.2.200").exists());
        }
        "Ask nmap what it is" => {
            let found = out.lines().filter(|line| line.contains("80/open/tcp//http//nginx"));
            let hosts: BTreeSet<_> = found.map(|line| line.split(' ').nth(1).unwrap().to_owned()).collect();
            assert_eq!(hosts, each(str::to_owned), "{out}");
        }
        "Hand results on while the scan runs" => {
            assert_eq!(lines(out), each(|address| format!("{address} 200")));
            assert_eq!(file("all.jsonl").lines().count(), 256);
        }
        "Look at packets" => {
            let (count, hosts) = out.split_once('\n').unwrap();
            assert_eq!((count, lines(hosts)), ("256", each(str::to_owned)));
        }
        "Probe again what answered" => {
            let found = each(|address| format!("{address},80"));
            assert_eq!((lines(&file("found.csv")), lines(&file("still-there.csv"))), (found.clone(), found));
        }
        "What would be probed" => {
            let targets: Vec<_> = out.lines().collect();
            assert_eq!(targets.len(), 10);
            assert!(targets[..5].iter().all(|target| target.parse::<Ipv4Addr>().is_ok()), "{out}");
            assert!(targets[5..].iter().all(|target| target.contains(',')), "{out}");
        }
        "Clean a list" => assert_eq!(file("hosts.txt"), "192.0.2.7\n192.0.2.9 # second\n"),
        "A long list" => assert_eq!(file("results.csv"), "192.0.2.9\n"),
        other => panic!("no check of the recipe \"{other}\""),
    }
}

/// The metadata of every scan, shown if the test fails.
struct Kept(PathBuf);

impl Drop for Kept {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        for entry in std::fs::read_dir(&self.0).into_iter().flatten().flatten() {
            eprintln!("{}: {}", entry.path().display(), read(&entry.path()));
        }
    }
}

#[test]
fn recipes_work() {
    if !have_root() {
        return;
    }
    let mut lab = Lab::new(2);
    crate::support::run("ip", ["-n", &lab.net, "route", "add", "local", "192.0.2.0/24", "dev", "lo"]);
    lab.start_nginx(&SERVERS.map(Ipv4Addr::from));
    let folder = lab.folder.path().join("recipes");
    let programs = lab.folder.path().join("programs");
    let kept = Kept(lab.folder.path().join("metadata"));
    [&folder, &programs, &kept.0].iter().for_each(|path| std::fs::create_dir(path).unwrap());
    // What the recipes leave to defaults is not so in a lab.
    let wrapper = programs.join("xdpmap");
    let binary = BINARY;
    let script = format!(
        "#!/bin/sh\ncase $1 in iterate | blocklist | tee) exec '{binary}' \"$@\" ;; esac\n\
         exec '{binary}' -i scan0 --allow-reserved -q -v 1 -c 1 -r 20000 -m '{}'/$$.json \"$@\"\n",
        kept.0.display()
    );
    std::fs::write(&wrapper, script).unwrap();
    std::fs::set_permissions(&wrapper, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(folder.join("opted-out.conf"), "192.0.2.128/25 # asked us to\n").unwrap();
    let candidates = "192.0.2.7\n192.0.2.9 # second\n192.0.2.200\n192.0.2.7,80\n";
    std::fs::write(folder.join("candidates.txt"), candidates).unwrap();
    let made = tool("sh")
        .args(["-c", "printf '192.0.2.8\\n192.0.2.9\\n' | gzip > hosts.txt.gz"])
        .current_dir(&folder)
        .status();
    assert!(made.unwrap().success());
    let path = format!("{}:{}", programs.display(), PATH);
    let blocks = blocks();
    assert!(blocks.len() >= 11, "{blocks:?}");
    for (heading, block) in &blocks {
        let output = lab
            .shielded()
            .args(["bash", "-euo", "pipefail", "-c", block])
            .env("PATH", &path)
            .current_dir(&folder)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let [out, complaints] =
            [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        assert!(output.status.success(), "{heading}: {complaints}{out}");
        check(heading, block, &out, &folder);
    }
}
