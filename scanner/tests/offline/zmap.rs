//! ZMap's flags beyond the everyday ones: old spellings, short cuts, dry runs, logs, notes.

use std::time::{Duration, Instant};

use support::sandbox::{Sandbox, dry, refusal};
use support::scanner::xdpmap;

const QUIET: &str = "-S 192.0.2.7 -q -v 0";

/// ZMap 1 and 2 spelled some flags differently, and all take a long name cut short.
#[test]
fn old_and_short_spellings() {
    let sandbox = Sandbox::new();
    let probes = |arguments: &str| {
        let output = sandbox.run(&mut dry(), &format!("{QUIET} -e 7 -n 3 {arguments}"));
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        // Everything except what depends on the secret key.
        let targets = text.lines().filter_map(|line| line.split("daddr: ").nth(1)?.split(' ').next());
        targets.map(str::to_owned).collect::<Vec<_>>()
    };
    let now = probes("-p 80 -b good.conf --allow-reserved -w bad.conf --ignore-blocklist-errors");
    assert_eq!(now.len(), 3);
    for old in [
        "--target-port=80 --blacklist-file=good.conf --whitelist-file=bad.conf --ignore-invalid-hosts --allow-reserved",
        "--target-port 80 --blacklist-f good.conf --whitelist bad.conf --ignore-blacklist-errors --allow-r",
        "--target-po 80 --block good.conf --allowl bad.conf --ignore --allow-reserved --output-module=csv -g",
    ] {
        assert_eq!(probes(old), now, "{old}");
    }
    sandbox.refuses(&mut dry(), "-p 80 --probe 2", 2, &["--probe", "see xdpmap --help"]);
}

/// Six bytes per probe: the same targets in the same order as the text of a dry run.
#[test]
fn fast_dry_run() {
    let sandbox = Sandbox::new();
    let arguments = "-p 80,443,65535 -e 5 -q -v 0 8.8.8.0/24 1.2.3.4";
    let text = sandbox.run(&mut dry(), &format!("{arguments} -S 192.0.2.7"));
    let text = String::from_utf8(text.stdout).unwrap();
    let number = |line: &str, name: &str| -> Option<String> {
        Some(line.split(name).nth(1)?.split(' ').next()?.to_owned())
    };
    let ports = text.lines().filter_map(|line| number(line, "dest: "));
    let addresses = text.lines().filter_map(|line| number(line, "daddr: "));
    let expected: Vec<u8> = addresses
        .zip(ports)
        .flat_map(|(address, port)| {
            let address: std::net::Ipv4Addr = address.parse().unwrap();
            let port: u16 = port.parse().unwrap();
            address.octets().into_iter().chain(port.to_be_bytes()).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(expected.len(), 257 * 3 * 6);
    let fast = |more: &str| sandbox.run(&mut xdpmap(), &format!("--fast-dryrun {arguments} {more}"));
    let once = fast("-i lo");
    assert_eq!((once.status.code(), once.stderr.len()), (Some(0), 0));
    assert!(once.stdout == expected);
    let twice: Vec<u8> = expected.chunks(6).flat_map(|target| target.repeat(2)).collect();
    assert!(fast("-i lo -P 2 -S 192.0.2.7 --batch 1").stdout == twice);
    assert_eq!(fast("-i lo -n 5 --batch 3").stdout.len(), 30);
}

/// The log is appended to a log file, and standard error gets only fatal errors.
#[test]
fn log_files() {
    let sandbox = Sandbox::new();
    std::fs::write(sandbox.path().join("log"), "yesterday\n").unwrap();
    let run = |arguments: &str| {
        let output = sandbox.run(&mut dry(), &format!("-p 80 -S 192.0.2.7 -n 1 -q {arguments}"));
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(run("-l log"), (Some(0), String::new()));
    let log = sandbox.files().remove("log").unwrap();
    assert!(
        log.starts_with("yesterday\n") && log.contains(" [INFO] summary: max-targets: 1 target, 1 probe "),
        "{log}"
    );
    assert!(!log.contains('\u{1b}'), "{log:?}");
    let (code, stderr) = run("-l log 127.0.0.1");
    assert!(code == Some(2) && stderr.contains("[FATAL]"), "{stderr}");
    assert!(sandbox.files()["log"].ends_with(&stderr), "the last words are in both");

    std::fs::create_dir(sandbox.path().join("logs")).unwrap();
    assert_eq!(run("-L logs -m new.json"), (Some(0), String::new()));
    let names: Vec<_> =
        std::fs::read_dir(sandbox.path().join("logs")).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(names.len(), 1);
    let name = names[0].file_name().unwrap().to_str().unwrap();
    let shape: String = name.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape.replace('-', "+"), "xdpmap+0000+00+00T000000+0000.log", "{name}");
    assert!(support::read(&names[0]).contains("[INFO]"));
    let metadata: serde_json::Value = serde_json::from_str(&sandbox.files()["new.json"]).unwrap();
    assert_eq!((&metadata["log_directory"], &metadata["syslog"]), (&"logs".into(), &1.into()));
}

#[test]
fn logs_that_cannot_be_written() {
    let sandbox = Sandbox::new();
    for (arguments, words) in [
        ("-l missing/log", &["--log-file", "missing/log", "may write to"][..]),
        ("-L missing", &["--log-directory", "missing", "folder"]),
        ("-l log -L .", &["--log-file", "--log-directory", "cannot be used with"]),
        ("-l old.csv", &["--log-file", "--output-file", "another file"]),
        ("-l ./old.json", &["--log-file", "--metadata-file", "another file"]),
        ("-u old.json", &["--status-updates-file", "--metadata-file", "another file"]),
        ("-u -", &["--status-updates-file", "name a file"]),
        ("-I good.conf -l good.conf", &["--log-file", "--list-of-ips-file", "another file"]),
    ] {
        let mut command = dry();
        command.args(["-p", "80", "-S", "192.0.2.7", "-n", "1", "-o", "old.csv", "-m", "old.json"]);
        sandbox.refuses(&mut command, arguments, 2, words);
    }
}

/// Rates below one probe per second, as a rate or a bandwidth, are kept: in what is sent, in the log and in the
/// metadata.
#[test]
fn rates_below_one_probe_a_second() {
    let sandbox = Sandbox::new();
    // A ping has 62 bytes, and 24 more on the wire.
    for (rate, said, expected) in [
        ("-r 0.8", "at most 0.8 probes per second", 0.8),
        ("-B 500", "at most 500 bits per second on the wire: 0.7267 probes per second", 500.0 / 688.0),
    ] {
        let started = Instant::now();
        let arguments =
            format!("-M icmp_echoscan -S 192.0.2.7 -n 3 -m new.json --allow-reserved {rate} 198.18.0.0/24");
        let output = sandbox.run(&mut dry(), &arguments);
        let log = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{log}");
        assert!(log.contains(said), "{log}");
        // The first leaves at once.
        let least = Duration::from_secs_f64(2.0 / expected);
        assert!((least..3 * least).contains(&started.elapsed()), "{rate}: {:?}", started.elapsed());
        let metadata: serde_json::Value = serde_json::from_str(&sandbox.files()["new.json"]).unwrap();
        assert_eq!(metadata["rate"], serde_json::json!(expected), "{rate}");
    }
    let output = sandbox.run(&mut dry(), "-p 80 -S 192.0.2.7 -n 1 -r 0 -m none.json");
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!log.contains("probes per second"), "{log}");
    let metadata: serde_json::Value = serde_json::from_str(&sandbox.files()["none.json"]).unwrap();
    assert_eq!(metadata["rate"].as_u64(), Some(0), "a whole number as such");
}

/// The user's notes go into the metadata; flags without effect are reported.
#[test]
fn notes_and_limits_are_recorded() {
    let sandbox = Sandbox::new();
    let mut command = dry();
    command.args(["--notes", "a \"test\"", "--user-metadata", r#"{"who": ["me", 1]}"#]);
    let output = sandbox.run(
        &mut command,
        "-p 80 -S 192.0.2.7 -n 1 -q -m new.json --min-hitrate 0.5 --max-sendto-failures 9 --retries 3 \
         --disable-syslog --output-args x --validate-source-port enable",
    );
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{log}");
    assert!(log.contains("--retries has no effect") && log.contains("--output-args has no effect"), "{log}");
    let metadata: serde_json::Value = serde_json::from_str(&sandbox.files()["new.json"]).unwrap();
    for (key, value) in [
        ("notes", serde_json::json!("a \"test\"")),
        ("user-metadata", serde_json::json!({"who": ["me", 1]})),
        ("min_hitrate", serde_json::json!(0.5)),
        ("max_sendto_failures", serde_json::json!(9)),
        ("syslog", serde_json::json!(0)),
        ("output_args", serde_json::json!("x")),
        ("config_arguments", serde_json::json!([])),
        ("ip_fragments", serde_json::json!(0)),
    ] {
        assert_eq!(metadata[key], value, "{key}");
    }
    let order = "-p 80 -S 192.0.2.7 -q -v 0 -e 3 -m new.json 8.8.8.8/31";
    let text = String::from_utf8(sandbox.run(&mut dry(), order).stdout).unwrap();
    let first = text.split("daddr: ").nth(1).unwrap().split(' ').next().unwrap();
    let metadata: serde_json::Value = serde_json::from_str(&sandbox.files()["new.json"]).unwrap();
    let scanned = u32::try_from(metadata["first_scanned"].as_u64().unwrap()).unwrap();
    assert_eq!(std::net::Ipv4Addr::from(scanned.to_le_bytes()).to_string(), first);
}

/// The help ends with that of the chosen modules.
#[test]
fn help_of_modules() {
    let help = |arguments: &str| {
        let output = xdpmap().args(arguments.split_whitespace()).output().unwrap();
        assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
        String::from_utf8(output.stdout).unwrap()
    };
    for flag in ["--help", "-h"] {
        let text = help(flag);
        assert!(
            text.contains("\nProbe module tcp_synscan:\n") && text.contains("\nOutput module csv:\n"),
            "{text}"
        );
        let json = help(&format!("-p 80 -O json {flag}"));
        assert!(
            json.contains("\nOutput module json:\n") && !json.contains("\nOutput module csv:\n"),
            "{json}"
        );
    }
    assert!(!help("--version").contains("module"));
}

/// Each limit and each new value is checked as typed.
#[test]
fn values_are_checked() {
    let sandbox = Sandbox::new();
    for (arguments, words) in [
        ("--batch 0", &["--batch", "1 to 65535"][..]),
        ("--batch 65536", &["--batch", "1 to 65535"]),
        ("--retries -1", &["--retries", "whole number"]),
        ("--max-sendto-failures -2", &["--max-sendto-failures", "-1 for no limit"]),
        ("--max-sendto-failures few", &["--max-sendto-failures", "whole number"]),
        ("--min-hitrate 101", &["--min-hitrate", "0 to 100"]),
        ("--min-hitrate nan", &["--min-hitrate", "0 to 100"]),
        ("--user-metadata {who:me}", &["--user-metadata", "not JSON"]),
        ("--status-format xml", &["--status-format", "'xml'", "csv, json"]),
        ("--validate-source-port maybe", &["--validate-source-port", "'maybe'"]),
        ("--netmap-wait-ping 8.8.8.8", &["--netmap-wait-ping", "ping 8.8.8.8"]),
    ] {
        sandbox.refuses(dry().args(["-p", "80", "-o", "old.csv", "-m", "old.json"]), arguments, 2, words);
    }
    let output = dry().args(["-p", "80", "--user-metadata", "{\u{1b}[2J"]).output().unwrap();
    assert!(!refusal(&output).contains('\u{1b}'));
}

/// `-X` leaves the Ethernet header out, by ZMap's older name too; the packet is the same.
#[test]
fn bare_packets() {
    let print = |flag: &str| {
        let mut command = dry();
        let arguments = "-p 80 -e 7 -n 2 -q -v 0 -S 192.0.2.1 --allow-reserved 198.18.0.0/24";
        let output = command.args(arguments.split(' ')).args(flag.split_whitespace()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{flag}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let targets = |text: &str| -> Vec<String> {
        text.lines().filter(|line| line.starts_with("ip ")).map(|line| line[..50].to_owned()).collect()
    };
    let ethernet = print("");
    assert_eq!(ethernet.matches("eth { shost").count(), 2, "{ethernet}");
    for flag in ["-X", "--iplayer", "--vpn"] {
        let bare = print(flag);
        assert_eq!(bare.matches("eth {").count(), 0, "{bare}");
        assert_eq!(targets(&bare), targets(&ethernet));
        assert_eq!(targets(&bare).len(), 2, "{bare}");
    }
}
