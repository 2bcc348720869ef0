//! `--plan`: prints what a scan would do, sends nothing and changes nothing.

use std::process::{Command, Output};

use support::sandbox::{Sandbox, refusal};
use support::scanner::xdpmap;

/// A plan for an interface that no scan can go through, from an address that this machine does not have.
pub(crate) fn plan() -> Command {
    let mut command = xdpmap();
    command.args(["--plan", "-i", "lo", "-S", "192.0.2.7"]);
    command
}

/// The text of a plan that is printed.
#[track_caller]
pub(crate) fn printed(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What a plan says about something, in one or several lines.
fn about<'a>(text: &'a str, label: &str) -> Vec<&'a str> {
    let mut found = vec![];
    let mut is_within = false;
    for line in text.lines() {
        let (head, rest) = line.split_at(line.len().min(12));
        is_within = head.trim() == label || is_within && head.trim().is_empty();
        found.extend(is_within.then_some(rest));
    }
    found
}

/// Second probes are in the plan, with the time that the last target waits for its own.
#[test]
fn second_probes() {
    let sandbox = Sandbox::new();
    for (arguments, probes, second, time) in [
        (
            "--recheck 10%",
            "1 probe to",
            "10 % of the targets get a second probe 30 s after the first, which shows what one probe misses",
            "33s",
        ),
        (
            "--recheck 0.5 -c 60",
            "1 probe to",
            "0.5 % of the targets get a second probe 60 s after the first, which shows what one probe misses",
            "1m03s",
        ),
        ("-P 2 --probe-gap 2s", "2 probes to", "each target gets its second probe 2 s after the first", "6s"),
    ] {
        let output = sandbox.run(&mut plan(), &format!("-p 80 -r 100 {arguments} 8.8.8.0/24"));
        let text = printed(&output);
        assert!(about(&text, "probe")[0].contains(probes), "{text}");
        assert_eq!(about(&text, "second"), [second], "{text}");
        let sending = about(&text, "time")[0].to_owned();
        assert!(sending.starts_with(&format!("sending takes {time} or longer")), "{text}");
    }
    let without = sandbox.run(&mut plan(), "-p 80 --recheck 0 8.8.8.0/24");
    assert!(about(&printed(&without), "second").is_empty());
}

/// Everything that decides the scan is in the plan. No file is written, opened for writing, or made.
#[test]
fn the_whole_plan_is_printed() {
    let sandbox = Sandbox::new();
    let before = sandbox.files();
    let arguments = "-p 443,80 -r 100 -n 1000 -t 1h -N 50 -e 7 --shards 2 --shard 1 -b good.conf -b empty.conf \
                     --exclude 9.9.9.9,8.8.4.0/24 -o old.csv -o new.json --probes-file probes.pcap -m new-meta.json \
                     -l new.log -u status.csv --control new.sock 8.8.0.0/16 9.9.9.0/24";
    let output = sandbox.run(&mut plan(), arguments);
    let text = printed(&output);
    for (label, expected) in [
        ("targets", vec!["1,000 of 130,558 (65,279 addresses x 2 ports)".to_owned()]),
        ("from", vec!["8.8.0.0/16 9.9.9.0/24".to_owned()]),
        ("ports", vec!["80,443".to_owned()]),
        ("order", vec!["seed 7; shard 1 of 2".to_owned()]),
        ("rate", vec!["at most 100 probes per second, not counting resets".to_owned()]),
        ("ends", vec!["after 1h00m".to_owned(), "after 50 results".to_owned()]),
        ("metadata", vec!["new-meta.json".to_owned()]),
        ("probes", vec!["copied to probes.pcap".to_owned()]),
        ("log", vec!["appended to new.log, and the system's log, level 3".to_owned()]),
        ("control", vec!["new.sock".to_owned()]),
    ] {
        assert_eq!(about(&text, label), expected, "{label}: {text}");
    }
    let excluded = about(&text, "excluded");
    assert_eq!(excluded[0], "good.conf: 2 entries, 512 addresses");
    assert_eq!(excluded[3], "empty.conf: 0 entries, 0 addresses");
    assert_eq!(excluded[4], "--exclude: 2 entries, 257 addresses");
    assert!(excluded[5].starts_with("reserved networks: 5") && excluded.len() == 6, "{excluded:?}");
    assert!(about(&text, "time")[0].starts_with("sending takes 10s or longer, at 0.07 Mbit/s"), "{text}");
    assert!(about(&text, "probe")[0].starts_with("tcp_synscan: 1 probe to each target"), "{text}");
    let results = about(&text, "results");
    assert_eq!(results[0], "old.csv as csv: saddr,sport; the file is there, and is replaced");
    assert_eq!(results[1], "new.json as json: saddr,sport");
    let checkpoint = sandbox.path().join("old.csv.xdpmap");
    assert_eq!(about(&text, "checkpoint"), [format!("{}, every 5 s", checkpoint.display())]);
    assert!(about(&text, "obstacle")[0].contains("could not start now: lo: it leads back"), "{text}");
    assert!(
        text.ends_with("\nThis is the plan alone: nothing was sent, and no file was changed.\n"),
        "{text}"
    );
    assert!(sandbox.files() == before, "files have changed: {:?}", sandbox.files().keys());
    assert!(!sandbox.path().join("new.sock").exists());
}

/// A plan says for which reasons networks are left out, and where the URI of the sender is.
#[test]
fn reasons_and_attribution() {
    let sandbox = Sandbox::new();
    let arguments = "-M icmp_echo_time --attribution mailto:a@example.org -b good.conf 8.8.0.0/16";
    let text = printed(&sandbox.run(&mut plan(), arguments));
    let excluded = about(&text, "excluded");
    assert_eq!(
        excluded[..3],
        [
            "good.conf: 2 entries, 512 addresses",
            "  ours: 1 network, 256 addresses",
            "  without a reason: 1 network, 256 addresses"
        ]
    );
    assert_eq!(about(&text, "attribution")[0], "mailto:a@example.org in each probe and in the metadata");
    let text = printed(
        &sandbox.run(&mut plan(), "-p 80 --attribution mailto:a@example.org -b good.conf 8.8.0.0/16"),
    );
    assert_eq!(about(&text, "replies")[1], "a SYN-ACK is answered by a RST", "{text}");
    assert_eq!(about(&text, "attribution"), ["mailto:a@example.org in the metadata only"]);
}

/// What would be refused is refused, and what would cause a warning causes it.
#[test]
fn a_plan_that_cannot_be_made() {
    let sandbox = Sandbox::new();
    for (arguments, words) in [
        ("-p htp 8.8.8.8", &["--target-ports", "htp"][..]),
        ("-p 80 -b missing.conf", &["missing.conf", "No such file"]),
        ("-p 80 10.1.2.3", &["10.1.2.3", "--allow-reserved"]),
        ("-p 80 -d", &["--plan", "--dryrun", "cannot be used with"]),
        ("-p 80 -i none77", &["none77"]),
        ("-p 80 -r 100", &["--rate: at 100 packets/s the scan would take 428 days"]),
    ] {
        let output = match arguments.contains("none77") {
            true => sandbox.run(xdpmap().arg("--plan"), arguments),
            false => sandbox.run(&mut plan(), arguments),
        };
        let line = refusal(&output);
        assert!(words.iter().all(|word| line.contains(word)), "{arguments}: {line}");
        assert!(matches!(output.status.code(), Some(2 | 4)), "{arguments}");
    }
    let output = sandbox.run(&mut plan(), "-p 80 --retries 5 -n 10");
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        log.contains("[WARN] plan: --retries has no effect") && log.contains("without a block list"),
        "{log}"
    );
    assert_eq!(about(&printed(&output), "from"), ["all of IPv4"]);
    assert!(about(&printed(&output), "excluded")[0].starts_with("no block list: "));
    let quiet = sandbox.run(&mut plan(), "-p 80 --retries 5 -n 10 -v 0");
    assert!(quiet.stderr.is_empty() && !printed(&quiet).is_empty());
}

/// Neither an interface nor a route is needed, nor privileges.
#[test]
fn a_plan_without_a_network() {
    let sandbox = Sandbox::new();
    let mut command = lab::tools::tool("unshare");
    // Without a network, and where this is root, as nobody.
    let is_root = nix::unistd::geteuid().is_root();
    let drop = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let folder = tempfile::tempdir().unwrap();
    let program = support::scanner::program_for_nobody(folder.path());
    command.args(if is_root { &["--net", "--mount"][..] } else { &["--user", "--net"] });
    command.args(support::scanner::shield(None).into_iter().filter(|_| is_root));
    command.args(drop.iter().filter(|_| is_root)).arg(program);
    let output = sandbox.run(&mut command, "--plan -p 443 -B 10M");
    let text = printed(&output);
    assert_eq!(about(&text, "interface"), ["not known: there is no default route, and no -i"]);
    assert!(about(&text, "obstacle")[0].contains("default route"), "{text}");
    assert!(about(&text, "privileges")[0].starts_with("missing: CAP_NET_RAW, CAP_NET_ADMIN"), "{text}");
    assert!(about(&text, "rate")[0].starts_with("at most 10000000 bits per second"), "{text}");
    assert!(about(&text, "time")[0].contains("at 10.00 Mbit/s"), "{text}");
}

/// A rate that is found has a start, and a cap in probes or in bits if one is given.
#[test]
fn a_rate_that_is_found() {
    let sandbox = Sandbox::new();
    for (rate, words) in [
        ("auto", "the fastest rate that loses nothing, from 10000 probes per second on"),
        ("auto:1K", "the fastest rate that loses nothing, at most 1000 probes per second"),
        ("AUTO:50K", "from 10000 probes per second on, and at most 50000 probes per second"),
        ("auto:672K", "and at most 672000 probes per second"),
        ("auto:720Kbit", "nothing, at most 720000 bits per second on the wire: 1000 probes per second"),
    ] {
        let output = sandbox.run(&mut plan(), &format!("-p 80 -b good.conf -r {rate} 8.8.0.0/16"));
        let text = printed(&output);
        let told = about(&text, "rate");
        assert!(told[0].starts_with("the fastest rate") && told[0].ends_with(words), "{rate}: {text}");
    }
}

/// A file whose name ends with another format than it gets is warned of; several formats share an ending.
#[test]
fn names_of_other_formats() {
    let sandbox = Sandbox::new();
    for (options, warns) in [
        ("-O csv -o new.xml", "new.xml is written as csv, and its name ends with another format"),
        ("-O xml -o new.csv", "new.csv is written as xml, and its name ends with another format"),
        ("--for nuclei -o new.jsonl", "new.jsonl is written as hostport"),
        ("-o new.csv.gz", "new.csv.gz is written as csv and not compressed"),
        ("-O masscan-json -o new.json", ""),
        ("--for zgrab2 -o new.csv", ""),
        ("-O list -o new.txt", ""),
        ("-O json -o new.ndjson", ""),
        ("-o new.gnmap -o new.csv --successes-only", ""),
    ] {
        let output = sandbox.run(&mut plan(), &format!("-p 80 -b good.conf {options} 8.8.0.0/16"));
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{options}: {log}");
        let line = log.lines().find(|line| line.contains("[WARN] plan: --output-file"));
        match warns {
            "" => assert_eq!(line, None, "{options}"),
            words => assert!(line.is_some_and(|line| line.contains(words)), "{options}: {log}"),
        }
    }
}
