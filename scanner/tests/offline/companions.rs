//! The companions through the real binary: under all their names, in pipes, compared with ZMap's own if installed.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::Ipv4Addr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use lab::tools::path_of;
use support::scanner::{binary, xdpmap, xdpmap_as};

/// Runs `command` in `folder` with `input` on its standard input.
fn pipe(command: &str, folder: &Path, input: &str) -> Output {
    let mut words = command.split_whitespace();
    let program = words.next().unwrap();
    let program = if program == "xdpmap" { binary() } else { program };
    let mut child = xdpmap_as(program)
        .args(words)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let feeding = std::thread::spawn(move || {
        // A program that refuses its flags reads nothing.
        let _ = stdin.write_all(input.as_bytes());
    });
    let output = child.wait_with_output().unwrap();
    feeding.join().unwrap();
    output
}

/// The output of a command that must succeed.
fn text(command: &str, folder: &Path, input: &str) -> String {
    let output = pipe(command, folder, input);
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

#[test]
fn every_name_is_the_same_program() {
    let folder = folder(&[("none.conf", "")]);
    let iterate = "-b none.conf -e 3 -p 80,443 1.2.3.0/28";
    let expected = text(&format!("xdpmap iterate {iterate}"), folder.path(), "");
    assert_eq!(expected.lines().count(), 32);
    for name in ["ziterate", "xdpmap-iterate"] {
        symlink(binary(), folder.path().join(name)).unwrap();
        assert_eq!(
            text(&format!("{}/{name} {iterate}", folder.path().display()), folder.path(), ""),
            expected
        );
    }
    for name in ["zblocklist", "zblacklist", "xdpmap-blocklist", "ztee", "xdpmap-tee"] {
        symlink(binary(), folder.path().join(name)).unwrap();
        let help = text(&format!("{}/{name} --help", folder.path().display()), folder.path(), "");
        let own = if name.contains("tee") { "OUTPUT_FILE" } else { "--no-duplicate-checking" };
        assert!(help.contains(own) && help.contains(&format!("Usage: {name}")), "{help}");
    }
    // In other places than the first, the words are targets or values.
    let scan = "-d -i lo -G 02:00:00:00:00:02 --source-mac 02:00:00:00:00:01 -S 192.0.2.7 -p 80 -q";
    let output = pipe(&format!("xdpmap {scan} -o tee 1.2.3.4"), folder.path(), "");
    assert!(String::from_utf8(output.stdout).unwrap().contains("daddr: 1.2.3.4"));
}

#[test]
fn usage_errors_are_one_line_and_exit_2() {
    let folder = folder(&[("bad.conf", "1.2.3.4/99\n"), ("in.csv", "")]);
    for (command, words) in [
        ("xdpmap iterate --no-such-flag", &["iterate", "--no-such-flag", "xdpmap iterate --help"][..]),
        ("xdpmap iterate -p htp", &["--target-ports"]),
        ("xdpmap iterate --shards 3 --shard 1", &["--seed"]),
        ("xdpmap iterate -b bad.conf", &["bad.conf:1", "0 to 32"]),
        ("xdpmap iterate -I missing.txt", &["missing.txt"]),
        ("xdpmap iterate --pairs-file in.csv -p 80", &["--pairs-file", "--target-ports"]),
        ("xdpmap blocklist", &["--blocklist-file"]),
        ("xdpmap blocklist -w bad.conf", &["bad.conf:1"]),
        ("xdpmap blocklist -b bad.conf -l no/such/folder", &["--log-file"]),
        ("xdpmap tee", &["OUTPUT_FILE"]),
        ("xdpmap tee no/such/folder", &["no/such/folder", "directory you may write to"]),
        ("xdpmap tee out.csv -u no/such/folder", &["--status-updates-file"]),
        ("xdpmap tee out.csv -v 9", &["--verbosity"]),
    ] {
        let output = pipe(command, folder.path(), "");
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{command}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{command}: {stderr}");
        assert!(stderr.contains("[FATAL]") && output.stdout.is_empty(), "{command}: {stderr}");
        for word in words {
            assert!(stderr.contains(word), "{command}: no {word} in {stderr}");
        }
    }
}

/// The same flags, the same targets in the same order as a scan.
#[test]
fn iterate_prints_what_a_scan_probes() {
    let pairs = "9.9.9.9:53\n1.2.3.4,80\n1.2.3.4:80\n8.8.8.8,443\n";
    let folder = folder(&[
        ("b.conf", "1.2.3.4\n1.2.3.128/26\n"),
        ("pairs", pairs),
        ("ips", "1.2.3.4\n1.2.3.9\n1.2.3.5\n"),
    ]);
    for flags in [
        "-p 80,443 -e 11 1.2.3.0/24",
        "-p 443 -e 11 --shards 4 --shard 2 1.2.3.0/24",
        "-p 80-82 -e 11 -n 10% 1.2.3.0/24",
        "-p 80 -e 5 -I ips 1.2.3.0/29",
        "-p 7,8 -e 5 -I ips",
        "-e 5 --pairs-file pairs",
    ] {
        let printed = text(&format!("xdpmap iterate -b b.conf {flags}"), folder.path(), "");
        let scan = "-d -i lo -G 02:00:00:00:00:02 --source-mac 02:00:00:00:00:01 -S 192.0.2.7 -q -v 0";
        let probed = text(&format!("xdpmap {scan} -b b.conf {flags}"), folder.path(), "");
        let value = |line: &str, key: &str| {
            line.split_once(key).map(|(_, rest)| rest.split(' ').next().unwrap().to_owned())
        };
        let ports = probed.lines().filter_map(|line| value(line, "dest: "));
        let addresses = probed.lines().filter_map(|line| value(line, "daddr: "));
        let expected: String =
            addresses.zip(ports).map(|(address, port)| format!("{address},{port}\n")).collect();
        assert!(!printed.is_empty() && printed == expected, "{flags}: {printed} {expected}");
    }
    let lines = text("xdpmap iterate -b b.conf -e 5 --pairs-file pairs", folder.path(), "");
    let set: BTreeSet<&str> = lines.lines().collect();
    assert_eq!(set, BTreeSet::from(["8.8.8.8,443", "9.9.9.9,53"]));
}

/// A reader that has read enough ends all of it silently.
#[test]
fn iterate_ends_with_its_reader() {
    let mut child =
        xdpmap().args(["iterate", "-e", "1"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..3 {
        lines.next().unwrap().unwrap().parse::<Ipv4Addr>().unwrap();
    }
    drop(lines);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap()), (Some(0), String::new()));
}

/// An address stream with repeats, comments, columns and lines that are not addresses.
fn stream() -> String {
    let mut text = String::from("example.org\n10.0.0.1,80\n10.0.0.1 # again\n0.0.0.0\n");
    for i in 0..5_000u32 {
        let address = Ipv4Addr::from_bits(0x0a00_0000 + i.wrapping_mul(2_654_435_761) % 3_000);
        text.push_str(&format!("{address}\n"));
    }
    text
}

#[test]
fn blocklist_agrees_with_the_original() {
    let zblacklist = path_of("zblacklist");
    let folder = folder(&[
        ("b.conf", "10.0.0.16/28 # some\n10.0.4.0/23\n10.0.11.7\n"),
        ("w.conf", "10.0.0.0/21\n10.0.9.0/24\n"),
    ]);
    let input = stream();
    for flags in ["-b b.conf", "-w w.conf", "-b b.conf -w w.conf", "-b b.conf --no-duplicate-checking"] {
        let ours = text(&format!("xdpmap blocklist {flags}"), folder.path(), &input);
        // Lines that are not addresses: the new version passes them on, as ours does on request; the old one drops
        // them.
        let strict = text(&format!("xdpmap blocklist {flags} --ignore-input-errors"), folder.path(), &input);
        assert_eq!(ours, strict);
        let all = text(&format!("xdpmap blocklist {flags} --pass-input-errors"), folder.path(), &input);
        assert_eq!(all, format!("example.org\n{strict}"));
        let theirs = text(&format!("{} {flags}", zblacklist.display()), folder.path(), &input);
        let addresses = |text: &str| -> Vec<String> {
            let address = |line: &str| line.split([',', ' ']).next().unwrap().to_owned();
            text.lines().map(address).filter(|address| address != "example.org").collect()
        };
        assert_eq!(addresses(&strict), addresses(&theirs), "{flags}");
        assert!(strict.lines().count() > 500);
    }
}

/// No blocked address passes in a line that is not understood, or in another column; and every dropped line is
/// reported.
#[test]
fn blocklist_passes_nothing_that_it_does_not_understand() {
    let folder = folder(&[("b.conf", "198.18.0.0/15\n")]);
    for line in [
        "198.18.1.*",
        "198.18.1/24",
        "198.18/16",
        "0xc6120101",
        "0198.18.1.1",
        "9.9.9.9,198.18.1.1",
        "9.9.9.9,web,\"198.18.1.1\"",
        "9.9.9.9#198.18.1.1",
        "64:ff9b::198.18.1.1",
        "example.org",
        "2001:db8::1",
    ] {
        let output =
            pipe("xdpmap blocklist -b b.conf", folder.path(), &format!("saddr,x\n{line}\n9.9.9.8,5\n"));
        let log = String::from_utf8(output.stderr).unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "saddr,x\n9.9.9.8,5\n", "{line}: {log}");
        assert!(log.contains("[WARN] blocklist: line 2: '") && log.contains("dropped"), "{line}: {log}");
        assert_eq!((output.status.code(), log.lines().count()), (Some(0), 1), "{line}: {log}");
    }
    // What is said of a line that passes otherwise.
    let columns = "9.9.9.9,198.18.1.1\n9.9.9.8 #198.18.1.1\n";
    assert_eq!(text("xdpmap blocklist -b b.conf --first-column", folder.path(), columns), columns);
    let unknown = "host\n198.18.1.*\n";
    assert_eq!(text("xdpmap blocklist -b b.conf --pass-input-errors", folder.path(), unknown), "host\n");
    let both =
        pipe("xdpmap blocklist -b b.conf --pass-input-errors --ignore-input-errors", folder.path(), "");
    assert_eq!(both.status.code(), Some(2));
}

/// What `--reasons` prints, and nothing is read from standard input.
#[test]
fn blocklist_says_for_which_reasons() {
    let folder = folder(&[
        ("b.conf", "10.0.0.0/8 # 2026-03-01 mail from a\n10.1.0.1 ; phone\n10.2.0.1\n"),
        ("c", "1.1.1.1\n"),
    ]);
    let expected = "\
b.conf
  networks      addresses  date        reason
         1     16,777,216  2026-03-01  mail from a
         1              1  -           phone
         1              1  -           (no reason)
c
  networks      addresses  date        reason
         1              1  -           (no reason)
";
    assert_eq!(text("xdpmap blocklist -b b.conf -b c --reasons", folder.path(), "10.0.0.1\n"), expected);
    for line in ["xdpmap blocklist --reasons", "xdpmap blocklist --reasons -b b.conf -w c"] {
        assert_eq!(pipe(line, folder.path(), "").status.code(), Some(2), "{line}");
    }
}

/// A file that says who sends probes: what is given is in it, an older one is replaced only when it is whole, and what
/// is wrong is named.
#[test]
fn probing_txt_describes_the_probes() {
    let folder = folder(&[("probing.txt", "old\n")]);
    let line = "xdpmap probing-txt --contact mailto:scan@example.org --contact tel:+1-201-555-0123 --expires 90d \
                --canonical https://example.org/.well-known/probing.txt --languages en,fr --description Ports -o probing.txt";
    assert_eq!(text(line, folder.path(), ""), "");
    let written = fs::read_to_string(folder.path().join("probing.txt")).unwrap();
    let fields: Vec<(&str, &str)> = written
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split_once(": ").unwrap())
        .collect();
    let names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["Canonical", "Contact", "Contact", "Expires", "Preferred-Languages", "Description"]);
    assert_eq!((fields[1].1, fields[4].1), ("mailto:scan@example.org", "en, fr"));
    let expires: jiff::Timestamp = fields[3].1.parse().unwrap();
    let days = expires.duration_since(jiff::Timestamp::now()).as_hours() / 24;
    assert!((89..=90).contains(&days), "{written}");
    for (line, words) in [
        ("", "--contact"),
        ("--contact scan@example.org", "mailto:"),
        ("--contact mailto:a@b --expires 2020-01-01", "is over"),
        ("--contact mailto:a@b --canonical mailto:a@b", "--canonical"),
        ("--contact mailto:a@b -o none/probing.txt", "none/probing.txt"),
    ] {
        let output = pipe(&format!("xdpmap probing-txt {line}"), folder.path(), "");
        let log = String::from_utf8(output.stderr).unwrap();
        assert!(
            output.status.code() == Some(2) && log.contains(words) && log.lines().count() == 1,
            "{line}: {log}"
        );
    }
    let late = pipe("xdpmap probing-txt --contact mailto:a@b --expires 800d", folder.path(), "");
    assert_eq!(late.status.code(), Some(0));
    assert!(String::from_utf8(late.stderr).unwrap().contains("[WARN] probing-txt: --expires: RFC 9116"));
}

/// Lines are passed on before the program waits for more.
#[test]
fn blocklist_does_not_sit_on_lines() {
    let folder = folder(&[("b.conf", "10.0.0.0/8\n")]);
    let mut child = xdpmap()
        .args(["blocklist", "-b", "b.conf"])
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for address in ["1.1.1.1", "2.2.2.2"] {
        writeln!(stdin, "10.0.0.1\n{address}").unwrap();
        assert_eq!(lines.next().unwrap().unwrap(), address);
    }
    drop(stdin);
    assert!(lines.next().is_none() && child.wait().unwrap().success());
}

const RESULTS: &str =
    "saddr,ttl,classification,success\n1.1.1.1,64,synack,1\n2.2.2.2,64,rst,0\n3.3.3.3,5,synack,1\n";

#[test]
fn tee_keeps_all_and_hands_addresses_on() {
    let folder = folder(&[]);
    let json: String = RESULTS
        .lines()
        .skip(1)
        .map(|line| {
            let fields: Vec<&str> = line.split(',').collect();
            format!("{{\"saddr\":\"{}\",\"success\":{}}}\n", fields[0], fields[3] == "1")
        })
        .collect();
    let all = "1.1.1.1\n2.2.2.2\n3.3.3.3\n";
    let successes = "1.1.1.1\n3.3.3.3\n";
    for (flags, input, expected) in [
        ("", RESULTS, all),
        ("--success-only", RESULTS, successes),
        ("-r", RESULTS, RESULTS),
        ("", &json, all),
        ("--success-only", &json, successes),
        ("", all, all),
        ("", "1.1.1.1,80\n2.2.2.2,443\n", "1.1.1.1,80\n2.2.2.2,443\n"),
        ("", "", ""),
        ("", "saddr,success\n1.1.1.1,1", "1.1.1.1\n"),
    ] {
        let output = pipe(&format!("xdpmap tee {flags} out"), folder.path(), input);
        assert!(output.status.success() && output.stderr.is_empty(), "{flags}: {output:?}");
        assert_eq!(String::from_utf8(output.stdout).unwrap(), expected, "{flags}");
        assert_eq!(fs::read_to_string(folder.path().join("out")).unwrap(), input, "{flags}");
    }
    let output = pipe("xdpmap tee out", folder.path(), "daddr,ttl\n1.1.1.1,5\n");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("no column saddr or ip") && stderr.contains("--raw"), "{stderr}");
}

#[test]
fn tee_agrees_with_the_original() {
    let ztee = path_of("ztee");
    let folder = folder(&[]);
    for (flags, input) in
        [("", RESULTS), ("--success-only", RESULTS), ("-r", RESULTS), ("", "1.1.1.1\n2.2.2.2\n")]
    {
        let ours = text(&format!("xdpmap tee {flags} ours"), folder.path(), input);
        let theirs = text(&format!("{} {flags} theirs", ztee.display()), folder.path(), input);
        assert_eq!(ours, theirs, "{flags}");
        let read = |name| fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(read("ours"), read("theirs"), "{flags}");
    }
}

/// The next program does not read at all for a while: the input is read and kept nevertheless.
#[test]
fn tee_does_not_wait_for_the_next_program() {
    let folder = folder(&[]);
    let mut child = xdpmap()
        .args(["tee", "-u", "status.csv", "out"])
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut input = String::from("saddr,success\n");
    // Far more than a pipe holds.
    (0..200_000u32).for_each(|i| input.push_str(&format!("{},1\n", Ipv4Addr::from_bits(0x0100_0000 + i))));
    stdin.write_all(input.as_bytes()).unwrap();
    while fs::read_to_string(folder.path().join("out")).unwrap().len() < input.len() {
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::sleep(Duration::from_millis(1_200));
    let mut passed = String::new();
    drop(stdin);
    child.stdout.take().unwrap().read_to_string(&mut passed).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(passed.lines().count(), 200_000);
    assert!(passed.starts_with("1.0.0.0\n1.0.0.1\n"));
    let status = fs::read_to_string(folder.path().join("status.csv")).unwrap();
    let mut rows = status.lines();
    let columns =
        "time_past,total_read_in,read_in_last_sec,read_per_sec_avg,buffer_current_size,buffer_avg_size";
    assert_eq!(rows.next(), Some(columns));
    let rows: Vec<Vec<u64>> =
        rows.map(|row| row.split(',').map(|number| number.parse().unwrap()).collect()).collect();
    assert!(rows.iter().all(|row| row.len() == 6) && rows.last().unwrap()[1] == 200_000, "{status}");
    assert!(rows.iter().any(|row| row[4] > 100_000), "rows wait: {status}");
}

/// Ctrl-C goes to the whole pipe; the scan's last results must still find a reader.
#[test]
fn tee_outlives_one_interrupt() {
    let folder = folder(&[]);
    let mut child = xdpmap()
        .args(["tee", "out"])
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    stdin.write_all(b"saddr,success\n1.1.1.1,1\n").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "1.1.1.1");
    let pid = nix::unistd::Pid::from_raw(child.id() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    stdin.write_all(b"2.2.2.2,1\n").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "2.2.2.2");
    drop(stdin);
    assert!(child.wait().unwrap().success());
    assert_eq!(
        fs::read_to_string(folder.path().join("out")).unwrap(),
        "saddr,success\n1.1.1.1,1\n2.2.2.2,1\n"
    );
}

/// A scan's targets by iterate, blocklist and tee in a row.
#[test]
fn companions_in_a_pipe() {
    let folder = folder(&[("b.conf", "1.2.3.0/25\n"), ("none.conf", "")]);
    let xdpmap = binary();
    let script = format!(
        "set -e; '{xdpmap}' iterate -b none.conf -e 4 1.2.3.0/24 | '{xdpmap}' blocklist -b b.conf \
         | '{xdpmap}' tee all.txt | sort -u | wc -l"
    );
    let output =
        xdpmap_as(path_of("bash")).args(["-c", &script]).current_dir(folder.path()).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), "128");
    assert_eq!(fs::read_to_string(folder.path().join("all.txt")).unwrap().lines().count(), 128);
}
