//! The recipes of docs/recipes.md, each block as it stands there: in a lab where nginx answers for some addresses.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use lab::tools::tool;
use lab::{Lab, have_root};
use support::read;
use support::scanner::{path, shield};

const RECIPES: &str = include_str!("../../../docs/recipes.md");

/// The addresses that listen on port 80.
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

/// The block of the page that begins with this line.
fn shown(begin: &str) -> &'static str {
    let (_, rest) = RECIPES.split_once(begin).expect(begin);
    rest.split_once("\n```\n").expect("the end of a block").0
}

/// The lines of a text, each once.
fn lines(text: &str) -> BTreeSet<String> {
    text.lines().map(str::to_owned).collect()
}

/// A line for each server.
fn each(line: impl Fn(&str) -> String) -> BTreeSet<String> {
    SERVERS.iter().map(|&address| line(&Ipv4Addr::from(address).to_string())).collect()
}

/// The expected output and files of a recipe. There are as many checks as blocks.
fn check(heading: &str, block: &str, out: &str, folder: &Path) {
    let file = |name: &str| read(&folder.join(name));
    match heading {
        "What it would do" => {
            assert!(out.starts_with("targets     512 (256 addresses x 2 ports)\n"), "{out}");
            assert!(out.contains("\ntime        sending takes 6s or longer, "), "{out}");
            assert!(out.contains("\nresults     results.csv as csv: saddr,sport\n"), "{out}");
            assert!(!folder.join("results.csv").exists());
        }
        "Watch it with Prometheus" => {
            let targets = out.lines().find(|line| line.starts_with("xdpmap_targets ")).map(str::to_owned);
            assert_eq!(targets.as_deref(), Some("xdpmap_targets 256"), "{out}");
        }
        "Let node_exporter hand the metrics out" => assert_eq!(
            lines(out),
            lines("xdpmap_end_info{reason=\"complete\"} 1\nxdpmap_done_ratio 1\nxdpmap_successes_total 5\n")
        ),
        "The most frequent ports" => assert_eq!(lines(out), each(|address| format!("{address},80"))),
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
        "Ask nmap what it is" if block.contains("8080") => {
            let open = out.lines().filter(|line| line.contains("80/open/tcp"));
            let hosts: BTreeSet<_> = open.map(|line| line.split(' ').nth(1).unwrap().to_owned()).collect();
            assert_eq!(hosts, each(str::to_owned), "{out}");
            assert!(out.contains("5 IP addresses"), "no other host is probed: {out}");
        }
        "Hand on addresses with their ports" => {
            assert_eq!(lines(out), each(|address| format!("{address}:80 200")));
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
    let lab = Lab::new(2);
    lab::run("ip", ["-n", &lab.net, "route", "add", "local", "192.0.2.0/24", "dev", "lo"]);
    lab.start_nginx(&SERVERS.map(Ipv4Addr::from));
    let folder = lab.folder().join("recipes");
    let etc = lab.folder().join("etc");
    let kept = Kept(lab.folder().join("metadata"));
    [&folder, &etc, &kept.0].iter().for_each(|path| std::fs::create_dir(path).unwrap());
    // The page's own. Its ports are not those of curl and nmap: a server that still knows a connection from the port of
    // a probe answers with an ACK, which is no answer to a SYN.
    std::fs::write(etc.join("xdpmap.conf"), shown("```conf\n")).unwrap();
    let network = shown("```\nexport NET=");
    std::fs::write(folder.join("opted-out.conf"), "192.0.2.128/25 # asked us to\n").unwrap();
    let candidates = "192.0.2.7\n192.0.2.9 # second\n192.0.2.200\n192.0.2.7,80\n";
    std::fs::write(folder.join("candidates.txt"), candidates).unwrap();
    let made = tool("sh")
        .args(["-c", "printf '192.0.2.8\\n192.0.2.9\\n' | gzip > hosts.txt.gz"])
        .current_dir(&folder)
        .status();
    assert!(made.unwrap().success());
    let blocks = blocks();
    assert!(blocks.len() >= 13, "{blocks:?}");
    for (number, (heading, block)) in blocks.iter().enumerate() {
        let mut command = tool("ip");
        command.args(["netns", "exec", &lab.scan]).args(shield(Some(&etc)));
        let output = command
            .args(["bash", "-euo", "pipefail", "-c", block])
            .env("PATH", path())
            .env("NET", network)
            .env("XDPMAP_METADATA_FILE", kept.0.join(format!("{number}.json")))
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
