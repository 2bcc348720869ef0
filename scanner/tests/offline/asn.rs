//! AS numbers as targets and in lists, by a table that pyasn made: what pyasn says of an address is what is probed.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Output};

use lab::tools::tool;
use support::sandbox::Sandbox;
use support::scanner::xdpmap;

/// Makes a table of some prefixes in 8.8.0.0/20 by pyasn, and prints for each system the addresses there that pyasn
/// finds it for, and those of all its prefixes.
const PYASN: &str = r#"
import ipaddress, random, sys, pyasn, pyasn.mrtx
random.seed(7)
prefixes = {"8.8.0.0/16": 64500}
for _ in range(60):
    bits = random.randint(24, 31)
    first = (0x08080000 | random.getrandbits(12)) >> (32 - bits) << (32 - bits)
    prefixes[f"{ipaddress.ip_address(first)}/{bits}"] = random.randint(64501, 64506)
pyasn.mrtx.dump_prefixes_to_file(prefixes, sys.argv[1], "of a test")
table = pyasn.pyasn(sys.argv[1])
hosts = [str(ipaddress.ip_address(0x08080000 + number)) for number in range(1 << 12)]
for system in range(64500, 64507):
    networks = [ipaddress.ip_network(prefix) for prefix in table.get_as_prefixes(system) or []]
    print(system, "routed", *(host for host in hosts if table.lookup(host)[0] == system))
    print(system, "announced", *(host for host in hosts if any(ipaddress.ip_address(host) in net for net in networks)))
"#;

fn run(sandbox: &Sandbox, words: &str) -> Output {
    xdpmap().args(words.split_whitespace()).current_dir(sandbox.path()).output().unwrap()
}

/// The addresses that a command prints.
#[track_caller]
fn addresses(sandbox: &Sandbox, words: &str) -> BTreeSet<String> {
    let output = run(sandbox, words);
    assert_eq!(output.status.code(), Some(0), "{words}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// The one line with which a command is refused.
#[track_caller]
fn refused(sandbox: &Sandbox, words: &str) -> String {
    let Output { status, stderr, .. } = run(sandbox, words);
    let text = String::from_utf8(stderr).unwrap();
    assert_eq!((status.code(), text.lines().count()), (Some(2), 1), "{words}: {text}");
    text
}

#[test]
fn pyasn_agrees() {
    let sandbox = Sandbox::new();
    let at = |name: &str| sandbox.path().join(name);
    let mut python: Command = tool("python3");
    let output = python.args(["-c", PYASN]).arg(at("table.dat")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    let packed = tool("gzip").arg("-c").arg(at("table.dat")).output().unwrap().stdout;
    fs::write(at("table.gz"), packed).unwrap();
    fs::write(at("net"), "8.8.0.0/20\n").unwrap();
    let everything = addresses(&sandbox, "iterate -b /dev/null 8.8.0.0/20");
    let mut systems = 0;
    for line in said.lines() {
        let mut words = line.split(' ');
        let (system, kind) = (words.next().unwrap(), words.next().unwrap());
        let expected: BTreeSet<String> = words.map(str::to_owned).collect();
        assert!(!expected.is_empty(), "{system}");
        // The first system has more than this network.
        let outside = if system == "64500" { "--exclude 8.8.16.0-8.8.255.255" } else { "" };
        fs::write(at("list"), format!("as{system} # and a comment\n")).unwrap();
        if kind == "routed" {
            systems += 1;
            for table in ["table.dat", "table.gz"] {
                for targets in [&format!("AS{system}"), "-w list"] {
                    let words = format!("iterate -b /dev/null --asn-file {table} {outside} {targets}");
                    assert_eq!(addresses(&sandbox, &words), expected, "{words}");
                }
            }
        } else {
            let left: BTreeSet<String> = everything.difference(&expected).cloned().collect();
            let rest = "8.9.0.0/32";
            for lists in ["-b list".to_owned(), format!("-b /dev/null --exclude AS{system}")] {
                // One more target, so that something is left.
                let words = format!("iterate --asn-file table.dat {lists} 8.8.0.0/20 {rest}");
                let mut found = addresses(&sandbox, &words);
                assert!(found.remove("8.9.0.0"));
                assert_eq!(found, left, "{words}");
            }
        }
    }
    assert_eq!(systems, 7);
}

/// What cannot be meant is one line with the remedy.
#[test]
fn refused_in_one_line() {
    let sandbox = Sandbox::new();
    for (name, text) in [
        ("table", "8.8.8.0/24 64500\n"),
        ("ipv6", "2001:db8::/32 64500\n"),
        ("bad", "8.8.8.0/24 64500\n8.8.8.0/24\n"),
        ("hosts", "8.8.8.8\nAS64500\n"),
        ("list", "8.8.8.8\nAS64501\n"),
    ] {
        fs::write(sandbox.path().join(name), text).unwrap();
    }
    for (words, expected) in [
        ("AS64500", &["target 1: \"AS64500\"", "--asn-file"][..]),
        ("8.8.8.8 --asn-file table as64501", &["target 2: \"as64501\"", "without a prefix in the table"]),
        ("--asn-file table AS4294967296", &["above the highest AS number"]),
        ("-w list", &["list:2: ", "\"AS64501\"", "--asn-file"]),
        ("-w list --asn-file table", &["list:2: ", "prefix in the table"]),
        ("-b list 8.8.8.0/24", &["list:2: ", "--asn-file"]),
        ("--exclude AS64500 8.8.8.0/24", &["--exclude: ", "\"AS64500\"", "--asn-file"]),
        ("-I hosts --asn-file table", &["hosts:2: ", "single hosts", "as a target"]),
        ("--asn-file bad AS64500", &["bad:2: ", "192.0.2.0/24 64500"]),
        ("--asn-file ipv6 AS64500", &["--asn-file: ipv6", "no IPv4 prefix"]),
        ("--asn-file none AS64500", &["none", "No such file"]),
        ("--asn-file - -w - AS64500", &["--asn-file: standard input", "read only once"]),
    ] {
        let blocked = if words.contains("-b ") { "" } else { "-b /dev/null" };
        for command in ["iterate", "--plan -p 80 -i lo -S 192.0.2.7"] {
            let text = refused(&sandbox, &format!("{command} {blocked} {words}"));
            assert!(expected.iter().all(|part| text.contains(part)), "{words}: {text}");
        }
    }
}

/// `xdpmap blocklist` has the flag as well, and reads in block lists all that a system announces.
#[test]
fn the_companion_reads_them() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path().join("table"), "8.8.8.0 24 64500\n8.8.8.128 25 64501\n").unwrap();
    fs::write(sandbox.path().join("list"), "AS64500\n").unwrap();
    fs::write(sandbox.path().join("hosts"), "8.8.8.1\n8.8.8.200\n8.8.9.1\n").unwrap();
    let passed = |flags: &str| {
        let mut command = xdpmap();
        command.args(["blocklist", "--asn-file", "table"]).args(flags.split(' ')).current_dir(sandbox.path());
        let hosts = fs::File::open(sandbox.path().join("hosts")).unwrap();
        String::from_utf8(command.stdin(hosts).output().unwrap().stdout).unwrap()
    };
    assert_eq!(passed("-b list"), "8.8.9.1\n");
    assert_eq!(passed("-w list"), "8.8.8.1\n");
    let text = refused(&sandbox, "blocklist -b list");
    assert!(text.contains("list:1: ") && text.contains("--asn-file"), "{text}");
}
