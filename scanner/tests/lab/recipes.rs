//! The recipes of docs/recipes.md, each block as it stands there: in a lab where nginx answers for some addresses.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::Path;

use lab::have_root;
use lab::tools::tool;
use support::read;

use crate::blocks::{Reader, blocks, each, lines};

const RECIPES: &str = include_str!("../../../docs/recipes.md");

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
        "Hand on to a program by its name" => {
            let forms = [
                |host: &str| format!("{host}:80"),
                |host: &str| format!("{host},,,80"),
                |host: &str| format!("[\"{host}\",80,\"number\"]"),
            ];
            assert_eq!(lines(out), forms.into_iter().flat_map(each).collect());
            assert_eq!(lines(&file("include.txt")), each(str::to_owned));
        }
        "Make a set for a firewall" => assert_eq!(lines(out), each(str::to_owned)),
        "Import results elsewhere" => {
            assert_eq!(out, "[\"open\"]\n");
            assert_eq!(file("scan.xml").matches("<host ").count(), each(str::to_owned).len());
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
        "A page for a colleague" => {
            let page = file("report.html");
            assert!(page.contains(">1.95 %<"), "{page}");
            for part in ["id=\"time\"", "id=\"flow\"", "id=\"map\"", ">synack<", "192.0.2.0/24"] {
                assert!(page.contains(part), "{part}: {page}");
            }
        }
        "A map of the hits" => {
            assert!(std::fs::read(folder.join("map.png")).unwrap().starts_with(b"\x89PNG"));
            assert!(file("part.svg").contains(">5 hits</text>"), "{}", file("part.svg"));
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

#[test]
fn recipes_work() {
    if !have_root() {
        return;
    }
    let mut reader = Reader::new();
    let folder = reader.folder().to_owned();
    std::fs::write(folder.join("opted-out.conf"), "192.0.2.128/25 # asked us to\n").unwrap();
    let candidates = "192.0.2.7\n192.0.2.9 # second\n192.0.2.200\n192.0.2.7,80\n";
    std::fs::write(folder.join("candidates.txt"), candidates).unwrap();
    let made = tool("sh")
        .args(["-c", "printf '192.0.2.8\\n192.0.2.9\\n' | gzip > hosts.txt.gz"])
        .current_dir(&folder)
        .status();
    assert!(made.unwrap().success());
    let blocks = blocks(RECIPES);
    assert!(blocks.len() >= 13, "{blocks:?}");
    for (heading, block) in &blocks {
        let out = reader.run(heading, block);
        check(heading, block, &out, &folder);
    }
}
