//! What is printed on request: help, version, lists, the probes of a dry run.

use std::collections::BTreeMap;

use clap::CommandFactory;
use support::sandbox::{Sandbox, dry};
use support::scanner::xdpmap;
use xdpmap::cli::Args;

/// The output of the program, which must be on standard output only, and succeed.
fn asked(arguments: &[&str]) -> String {
    let output = xdpmap().args(arguments).env_remove("COLUMNS").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn version() {
    for flag in ["--version", "-V"] {
        assert_eq!(asked(&[flag]), format!("xdpmap {}\n", env!("CARGO_PKG_VERSION")));
    }
}

/// The help has every group, in order, and a text for each flag, and fits a terminal.
#[test]
fn help() {
    let flags = |text: &str| {
        let mut groups: Vec<(String, Vec<String>)> = vec![];
        for line in text.lines() {
            match line.strip_suffix(':').filter(|heading| !heading.starts_with(' ')) {
                Some(heading) => groups.push((heading.to_owned(), vec![])),
                None if line.trim_start().starts_with('-') => {
                    let flag = line.split_whitespace().find(|word| word.starts_with("--"));
                    groups.last_mut().unwrap().1.extend(flag.map(str::to_owned));
                }
                None => {}
            }
        }
        groups
    };
    for (text, width) in [(asked(&["--help"]), 110), (asked(&["-h"]), 110)] {
        let groups = flags(&text);
        let names: Vec<&str> = groups.iter().map(|(name, _)| name.as_str()).collect();
        let expected = [
            "Arguments",
            "Options",
            "Basic",
            "Scan",
            "Sharding",
            "Network",
            "Probe module",
            "Output",
            "Checkpoint",
            "Response deduplication",
            "Logging and metadata",
            "Engine",
            "Examples",
            "Other commands",
            "Exit codes",
            "Probe module tcp_synscan",
            "Output module csv",
        ];
        assert_eq!(names, expected);
        for line in text.lines() {
            assert!(line.chars().count() <= width, "{line}");
        }
        let of: BTreeMap<&str, &Vec<String>> =
            groups.iter().map(|(name, flags)| (name.as_str(), flags)).collect();
        assert!(of["Basic"].contains(&"--target-ports".to_owned()));
        assert!(of["Sharding"] == &["--shards", "--shard"]);
        assert!(of["Options"] == &["--help", "--version"]);
        assert!(text.contains("3    a privilege is missing"));
    }
    for argument in Args::command().get_arguments() {
        let name = argument.get_id();
        let text = argument.get_help().unwrap_or_else(|| panic!("{name} has no help")).to_string();
        assert!(
            text.len() > 10 && text.starts_with(char::is_uppercase) && !text.ends_with('.'),
            "{name}: {text}"
        );
        assert!(argument.is_positional() || argument.get_help_heading().is_some(), "{name} is in no group");
    }
}

#[test]
fn lists() {
    let modules: Vec<&str> = xdpmap::probe::MODULES.iter().map(|module| module.name).collect();
    assert_eq!(asked(&["--list-probe-modules"]), modules.join("\n") + "\n");
    let fields = asked(&["-M", "udp", "--probe-args", "template-fields"]);
    assert!(fields.contains("SADDR_N: ") && fields.contains("RAND_ALPHANUM: "), "{fields}");
    assert_eq!(
        asked(&["--list-output-modules"]),
        "csv\njson\nhostport\nredis\nparquet\npcap\nxml\ngrepable\nlist\nmasscan-json\nzgrab2\n"
    );
    let fields = asked(&["--list-output-fields"]);
    for line in fields.lines() {
        let (name, rest) = line.split_once(' ').unwrap();
        let (kind, text) = rest.split_once(':').unwrap();
        assert!(["string", "int", "bool", "binary", "u64"].contains(&kind.trim()), "{line}");
        assert!(!name.is_empty() && text.len() > 4, "{line}");
    }
    assert!(fields.starts_with("saddr "), "{fields}");
    // Each can be requested, even all at once.
    let names: Vec<&str> = fields.lines().filter_map(|line| line.split(' ').next()).collect();
    for list in [names.join(","), "*".to_owned()] {
        let output = dry().args(["-p", "80", "-S", "192.0.2.7", "-n", "1", "-f", &list]).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// A dry run prints ZMap's text, for the same targets in the same order each time, and needs no privileges.
#[test]
fn dry_run() {
    let sandbox = Sandbox::new();
    let arguments = "-p 80,443 -S 192.0.2.7 -s 40000-40001 -e 7 -n 4 -q -v 0 8.8.8.0/29";
    let print = |more: &str| {
        let output = sandbox.run(&mut dry(), &format!("{arguments} {more}"));
        assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
        String::from_utf8(output.stdout).unwrap()
    };
    let text = print("");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 16);
    let mut targets = vec![];
    for probe in lines.chunks(4) {
        // `| name: value |` pairs; values that depend on the secret key are checked by their form.
        let tcp = values(probe[0], "tcp", &["source", "dest", "seq", "checksum"]);
        let ip = values(probe[1], "ip", &["saddr", "daddr", "checksum"]);
        assert!(tcp[0] == "40000" || tcp[0] == "40001", "{text}");
        tcp[2].parse::<u32>().unwrap();
        for checksum in [tcp[3], ip[2]] {
            assert!(
                checksum == "0000" || u16::from_str_radix(checksum.strip_prefix("0X").unwrap(), 16).is_ok()
            );
        }
        assert_eq!(ip[0], "192.0.2.7");
        assert_eq!(probe[2], "eth { shost: 02:00:00:00:00:01 | dhost: 02:00:00:00:00:02 }");
        assert_eq!(probe[3], "-".repeat(54));
        targets.push(format!("{}:{}", ip[1], tcp[1]));
    }
    assert_eq!(targets, GOLDEN, "the order of a seed is frozen");
    for again in ["", "-T 1 -r 1000000", "-f saddr -O json", "-o old.csv"] {
        let again = print(again);
        let order = |text: &str| -> Vec<String> {
            text.lines()
                .filter_map(|line| Some(line.split("daddr: ").nth(1)?.split(' ').next()?.to_owned()))
                .collect()
        };
        assert_eq!(order(&again), order(&text));
        assert_eq!(again.lines().count(), 16, "nothing but probes: {again}");
    }
}

/// The targets that seed 7 gives for ports 80 and 443 of 8.8.8.0/29.
const GOLDEN: [&str; 4] = ["8.8.8.7:443", "8.8.8.5:80", "8.8.8.7:80", "8.8.8.2:80"];

/// The values of `head { name: value | name: value }`.
fn values<'a>(line: &'a str, head: &str, names: &[&str]) -> Vec<&'a str> {
    let inside = line.strip_prefix(head).and_then(|rest| rest.strip_prefix(" { "));
    let inside = inside.and_then(|rest| rest.strip_suffix(" }")).unwrap_or_else(|| panic!("{line}"));
    let pairs: Vec<(&str, &str)> = inside.split(" | ").filter_map(|pair| pair.split_once(": ")).collect();
    assert_eq!(pairs.iter().map(|pair| pair.0).collect::<Vec<_>>(), names, "{line}");
    pairs.into_iter().map(|pair| pair.1).collect()
}
