//! Files that are named: lists, results, metadata.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::process::Stdio;

use lab::have_root;
use lab::tools::{path_of, tool};
use support::read;
use support::sandbox::{Sandbox, dry};
use support::scanner::shield;

/// What a test starts cannot take a device node away from the machine.
#[test]
fn tests_have_device_nodes_of_their_own() {
    if !have_root() {
        return;
    }
    let real = std::fs::metadata("/dev/null").unwrap();
    let mut command = tool("unshare");
    command.arg("--mount").args(shield(None)).arg(path_of("sh"));
    let script = "rm -f /dev/null && echo gone; stat -c '%d %i' /dev/null; chmod 600 /dev/null";
    let output = command.args(["-c", script]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.lines().count() == 1, "{output:?}");
    assert_ne!(said.trim(), format!("{} {}", real.dev(), real.ino()));
    let now = std::fs::metadata("/dev/null").unwrap();
    assert_eq!((now.ino(), now.mode()), (real.ino(), real.mode()));
}

#[test]
fn lists_that_cannot_be_used() {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.path().join("folder")).unwrap();
    for flag in ["-b", "-w"] {
        for (file, words) in [
            ("missing.conf", &["missing.conf", "No such file", "check the path"][..]),
            ("folder", &["folder", "Is a directory", "check the path"]),
            ("bad.conf", &["bad.conf:4: ", "8.8.8.0/33", "0 to 32"]),
        ] {
            let arguments = format!("{flag} {file}");
            sandbox.refuses(
                dry().args(["-p", "80", "-o", "old.csv", "-m", "old.json"]),
                &arguments,
                2,
                words,
            );
        }
    }
}

/// A bad line is left out with a warning that names it, if requested.
#[test]
fn bad_lines_may_be_skipped() {
    let sandbox = Sandbox::new();
    let arguments = "-p 80 -S 192.0.2.7 -e 1 -q --ignore-blocklist-errors -w bad.conf -b bad.conf 8.8.8.0/30";
    let output = sandbox.run(&mut dry(), arguments);
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{log}");
    let warnings: Vec<&str> = log.lines().filter(|line| line.contains("[WARN]")).collect();
    let about = |text: &str| warnings.iter().filter(|line| line.contains(text)).count();
    assert_eq!(about("bad.conf:4: \"8.8.8.0/33\""), 2, "each list: {log}");
    assert_eq!(about("bad.conf: 1 bad entr"), 2, "{log}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        text.matches("daddr: 8.8.8.").count(),
        3,
        "the good lines count, and what a bad one blocks: {text}"
    );
    assert_eq!(text.matches("daddr: ").count(), 3, "the block list's other lines are in force: {text}");
}

#[test]
fn files_that_cannot_be_written() {
    let sandbox = Sandbox::new();
    for (arguments, words) in [
        ("-o missing/new.csv", &["--output-file", "missing/new.csv", "directory you may write to"][..]),
        ("-o .", &["--output-file", "Is a directory", "directory you may write to"]),
        (
            "-o old.csv -m missing/new.json",
            &["--metadata-file", "missing/new.json", "directory you may write to"],
        ),
        ("-o new.csv -m missing/new.json", &["--metadata-file", "missing/new.json"]),
        ("-o old.csv -m .", &["--metadata-file", "directory"]),
        // One file for two things.
        ("-o new -m ./new", &["--metadata-file", "--output-file", "another file"]),
        ("-o old.csv -m ./old.csv", &["--metadata-file", "--output-file", "another file"]),
        ("-o good.conf -b good.conf", &["--output-file", "--blocklist-file", "another file"]),
        ("-o ./good.conf -w good.conf", &["--output-file", "--allowlist-file", "another file"]),
        ("-m good.conf -w good.conf", &["--metadata-file", "--allowlist-file", "another file"]),
    ] {
        sandbox.refuses(&mut dry(), &format!("-p 80 -S 192.0.2.7 -n 1 -q -v 0 {arguments}"), 2, words);
    }
}

/// A device or a closed pipe is not a file to protect.
#[test]
fn devices_may_be_named_twice() {
    let sandbox = Sandbox::new();
    let output = sandbox.run(&mut dry(), "-p 80 -S 192.0.2.7 -n 1 -q -v 0 -o /dev/null -m /dev/null");
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
}

/// A dry run has no results, so it leaves their file alone; its metadata says what it was.
#[test]
fn a_dry_run_writes_metadata_only() {
    let sandbox = Sandbox::new();
    let before = sandbox.files();
    for file in ["old.csv", "new.csv"] {
        let arguments = format!("-p 80 -S 192.0.2.7 -n 1 -q -v 0 -o {file} -m new.json");
        assert_eq!(sandbox.run(&mut dry(), &arguments).status.code(), Some(0));
        let mut after = sandbox.files();
        let metadata: serde_json::Value = serde_json::from_str(&after.remove("new.json").unwrap()).unwrap();
        assert_eq!((&metadata["dryrun"], &metadata["io_mode"]), (&1.into(), &"dryrun".into()));
        support::ledger::check(&metadata);
        assert!(after == before);
    }
}

/// The metadata says why networks are on a block list: the hundred most frequent reasons, and the sums of the others.
#[test]
fn metadata_counts_reasons() {
    let sandbox = Sandbox::new();
    let many: String = (0..120).map(|i| format!("9.0.{i}.0/24 # 2026-01-02 mail no. {i}\n")).collect();
    let text = format!(
        "{many}8.8.8.0/24 # 2026-03-01 mail from a@example.org\n8.8.4.0/25 # 2026-03-01 mail from a@example.org\n9.1.0.1\n"
    );
    std::fs::write(sandbox.path().join("out.conf"), text).unwrap();
    let arguments = "-p 80 -S 192.0.2.7 -n 1 -q -m new.json -b out.conf --exclude 9.9.9.9 8.8.0.0/16";
    let output = sandbox.run(&mut dry(), arguments);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_str(&sandbox.files()["new.json"]).unwrap();
    let [list, typed] = &metadata["blocklists"].as_array().unwrap()[..] else { panic!("{metadata}") };
    assert_eq!(
        (&list["list"], &list["entries"], &list["addresses"]),
        (&"out.conf".into(), &123.into(), &31_105.into())
    );
    let reasons = list["reasons"].as_array().unwrap();
    let first = serde_json::json!({
        "date": "2026-03-01", "reason": "mail from a@example.org", "networks": 2, "addresses": 384
    });
    assert_eq!((reasons.len(), &reasons[0]), (100, &first));
    assert_eq!(list["other_reasons"], serde_json::json!({"networks": 21, "addresses": 21 * 256}));
    assert_eq!(list["without_reason"], serde_json::json!({"networks": 1, "addresses": 1}));
    assert_eq!(typed["list"], "--exclude");
    assert_eq!(typed["without_reason"], serde_json::json!({"networks": 1, "addresses": 1}));
}

/// The URI of the sender is in the metadata, and in what is sent if its protocol lets any bytes be there.
#[test]
fn attribution_of_probes() {
    const URI: &str = "https://example.org/.well-known/probing.txt";
    let sandbox = Sandbox::new();
    for (arguments, carried, warns) in [
        ("-M icmp_echoscan", "all", false),
        ("-M udp -p 9", "all", false),
        ("-M udp -p 9,53 --probe-args auto", "some", false),
        ("-M udp -p 9 --probe-args text:x", "none", true),
        ("-p 80", "none", true),
    ] {
        let arguments = format!("{arguments} -S 192.0.2.7 -n 1 -q -m new.json --attribution {URI} 8.8.8.8");
        let output = sandbox.run(&mut dry(), &arguments);
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{log}");
        let metadata: serde_json::Value = serde_json::from_str(&sandbox.files()["new.json"]).unwrap();
        assert_eq!(
            (&metadata["attribution"], &metadata["attribution_in_probes"]),
            (&URI.into(), &carried.into())
        );
        assert_eq!(log.contains("[WARN] plan: --attribution: it is only in the metadata"), warns, "{log}");
        std::fs::remove_file(sandbox.path().join("new.json")).unwrap();
    }
    for (arguments, words) in [
        ("-p 80 --attribution http://example.org/", "--attribution"),
        ("-p 80 --attribution example.org", "mailto:"),
        // What names the remedy looks like no password.
        (
            "-p 80 --attribution ftp://example.org/",
            "https://example.org/.well-known/probing.txt, mailto:ADDRESS or tel:",
        ),
        ("-p 80 --attribution mailto:a@b --probe-args smallest-probes", "smallest-probes leaves no room"),
    ] {
        sandbox.refuses(dry().args(["-S", "192.0.2.7", "-n", "1", "-o", "old.csv"]), arguments, 2, &[words]);
    }
}

/// The metadata says what was requested and what was left out.
#[test]
fn metadata_names_lists_and_networks() {
    let sandbox = Sandbox::new();
    std::fs::write(sandbox.path().join("block.conf"), "8.8.8.8-8.8.8.10\n100.64.0.0/10\n").unwrap();
    let metadata = |arguments: &str| -> serde_json::Value {
        let arguments = format!("-p 80 -S 192.0.2.7 -n 1 -q -m new.json {arguments}");
        let output = sandbox.run(&mut dry(), &arguments);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_str(&sandbox.files()["new.json"]).unwrap()
    };
    let named = metadata(
        "-v 4 --allow-reserved --output-filter success=1 -w good.conf -b block.conf 8.8.8.5 9.0.0.0-9.0.1.127",
    );
    assert_eq!((&named["log_level"], &named["quiet"]), (&4.into(), &1.into()));
    assert_eq!(named["output_filter"], "success=1");
    assert_eq!(named["blocklist_filename"], "block.conf");
    assert_eq!(named["allowlist_filename"], "good.conf");
    assert_eq!(named["cli_cidr_destinations"], serde_json::json!(["8.8.8.5", "9.0.0.0-9.0.1.127"]));
    assert_eq!(
        named["allowlisted_networks"],
        serde_json::json!(["8.8.8.0/24", "9.0.0.0/24", "9.0.1.0/25", "198.51.100.0/24"]),
        "both lists together, as the fewest prefixes"
    );
    assert_eq!(
        named["blocklisted_networks"],
        serde_json::json!([
            "0.0.0.0/8",
            "8.8.8.8/31",
            "8.8.8.10/32",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "224.0.0.0/3"
        ]),
        "the block list, and what is reserved for good"
    );
    assert_eq!(named["blocklist_total_allowed"], 256 + 256 + 128 + 256 - 3);

    let everything = metadata("-v 0");
    assert_eq!(everything["log_level"], 0);
    assert_eq!(everything.get("allowlist_filename"), None);
    assert_eq!(everything.get("allowlisted_networks"), None);
    assert_eq!(everything.get("cli_cidr_destinations"), None);
    let blocked = everything["blocklisted_networks"].as_array().unwrap();
    assert!(blocked.contains(&"198.18.0.0/15".into()), "without a flag, the soft floor counts: {blocked:?}");
}

/// The reader of the probes may close the pipe.
#[test]
fn a_closed_pipe_is_no_panic() {
    for arguments in ["--help", "--list-output-fields", "-d -p 80 -i lo -S 192.0.2.7 -q -v 0"] {
        let mut child = support::scanner::xdpmap()
            .args(arguments.split(' '))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments}");
        assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"), "{arguments}");
    }
}

/// A name is bytes, for every option that takes one, and messages escape what is not UTF-8. The metadata is written
/// whatever the names.
#[test]
fn names_need_not_be_utf_8() {
    let sandbox = Sandbox::new();
    let name = |text: &str| OsString::from_vec([text.as_bytes(), b"\xe9"].concat());
    let named = |text: &str| sandbox.path().join(name(text));
    std::fs::write(named("block"), "8.8.8.8\n").unwrap();
    std::fs::write(named("allow"), "8.8.8.8/31\n").unwrap();
    std::fs::write(named("conf"), "notes here\n").unwrap();
    let mut command = dry();
    for (flag, text) in [
        ("-b", "block"),
        ("-w", "allow"),
        ("-C", "conf"),
        ("-o", "out"),
        ("-m", "meta"),
        ("-u", "status"),
        ("-l", "log"),
        ("--probes-file", "probes"),
    ] {
        command.arg(flag).arg(name(text));
    }
    let output = sandbox.run(&mut command, "-p 80 -S 192.0.2.7 -q -O pcap");
    let log = read(&named("log"));
    assert_eq!(output.status.code(), Some(0), "{}{log}", String::from_utf8_lossy(&output.stderr));
    assert!(log.contains("block list block\\xe9: 1 entry, 1 address"), "{log}");
    let metadata: serde_json::Value = serde_json::from_str(&read(&named("meta"))).unwrap();
    for (key, value) in [
        ("blocklist_filename", "block\\xe9"),
        ("allowlist_filename", "allow\\xe9"),
        ("output_filename", "out\\xe9"),
        ("log_file", "log\\xe9"),
        ("probes_file", "probes\\xe9"),
    ] {
        assert_eq!(metadata[key], value, "{key}");
    }
    assert_eq!(metadata["notes"], "here");
    assert!(metadata["command_line"].as_array().unwrap().contains(&"meta\\xe9".into()), "{metadata}");
    assert!(named("probes").exists());

    // By the environment, too; of an older scan's file; and where it is refused.
    let mut command = dry();
    command.env("XDPMAP_BLOCKLIST_FILE", name("block")).env("XDPMAP_METADATA_FILE", name("meta"));
    let output = sandbox.run(
        &mut command,
        "-p 80 -S 192.0.2.7 -q 8.8.8.8/31 --user-metadata [1e400,12345678901234567890123]",
    );
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let text = read(&named("meta"));
    assert!(text.contains("\"user-metadata\":[1e400,12345678901234567890123]"), "{text}");
    assert!(text.contains("--blocklist-file=block\\\\xe9"), "{text}");
    for flag in ["-b", "-w", "-I", "--pairs-file", "-C"] {
        let mut command = dry();
        command.arg(flag).arg(name("none"));
        sandbox.refuses(&mut command, if flag == "--pairs-file" { "" } else { "-p 80" }, 2, &["none\\xe9"]);
    }
    for flag in ["-o", "-m", "--probes-file", "-l"] {
        let mut command = dry();
        command.arg(flag).arg(name("none/none"));
        let output = sandbox.run(&mut command, "-p 80 -S 192.0.2.7 -n 1 -q -v 0 -b good.conf");
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{flag}: {stderr}");
        assert!(stderr.contains("none/none\\xe9") && !stderr.contains("panicked"), "{flag}: {stderr}");
    }
    let results = support::scanner::xdpmap()
        .arg("iterate")
        .args(["-e", "1", "-b"])
        .arg(name("block"))
        .arg("-w")
        .arg(name("allow"))
        .current_dir(sandbox.path())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&results.stdout), "8.8.8.9\n");

    // In a config file, and in the arguments of a probe module.
    std::fs::write(named("payload"), "here").unwrap();
    let options = [b"blocklist-file \"block\xe9\"\nprobe-args file:payload\xe9\n".as_slice()].concat();
    std::fs::write(sandbox.path().join("names.conf"), options).unwrap();
    let output =
        sandbox.run(&mut dry(), "-C names.conf -M udp -p 53 -S 192.0.2.7 -q -m meta.json 8.8.8.8/31");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout).matches("daddr: ").count(), 1);
    let metadata: serde_json::Value = serde_json::from_str(&read(&sandbox.path().join("meta.json"))).unwrap();
    assert_eq!(metadata["probe_args"], "file:payload\\xe9");
    // If text is needed, the word that is not text is named.
    for (flag, words) in
        [("--notes", "'--notes caf\\xe9' is not UTF-8"), ("--output-args", "'--output-args caf\\xe9'")]
    {
        let mut command = dry();
        command.arg(flag).arg(name("caf"));
        sandbox.refuses(&mut command, "-p 80 -b good.conf", 2, &[words, "give a link to it (ln -s)"]);
    }
}
