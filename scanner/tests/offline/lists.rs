//! What lists may contain, and which of them apply: through the real binary, in every way to give a list.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};

use lab::have_root;
use lab::tools::tool;
use support::sandbox::{Sandbox, dry};
use support::scanner::program_for_nobody;
use support::scanner::{binary, shield, xdpmap, xdpmap_where};

/// Runs a command in the sandbox with `input` on its standard input.
fn fed(sandbox: &Sandbox, command: &mut Command, arguments: &str, input: &str) -> Output {
    command.args(arguments.split_whitespace()).current_dir(sandbox.path());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    // A program that refuses its flags reads nothing.
    let feeding = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let output = child.wait_with_output().unwrap();
    feeding.join().unwrap();
    output
}

fn text_of(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// The lines of an `iterate` that must succeed.
fn iterated(sandbox: &Sandbox, arguments: &str, input: &str) -> BTreeSet<String> {
    let output = fed(sandbox, &mut xdpmap(), &format!("iterate --allow-reserved -e 1 {arguments}"), input);
    let (printed, log) = text_of(&output);
    assert_eq!(output.status.code(), Some(0), "{arguments}: {log}");
    printed.lines().map(str::to_owned).collect()
}

fn set<const N: usize>(lines: [&str; N]) -> BTreeSet<String> {
    lines.map(str::to_owned).into()
}

/// A line of which only a part could be understood is refused, with a correction, in every way to give a list.
#[test]
fn lines_are_understood_whole_or_refused() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path().join("none.conf"), "").unwrap();
    for (line, words) in [
        ("198.18.1.1 198.18.1.2", "more than one entry: write each on a separate line"),
        ("198.18.1.1, 198.18.1.2", "more than one entry"),
        ("198.18.1.1 - 198.18.1.3", "write it as 198.18.1.1-198.18.1.3"),
        ("198.18.1.1 to 198.18.1.3", "write it as 198.18.1.1-198.18.1.3"),
        ("198.18.1.0 255.255.255.252", "netmask: write it as 198.18.1.0/30"),
        ("198.18.1.0/255.255.255.252", "netmask: write it as 198.18.1.0/30"),
        ("198.18.1.0 /30", "write it as 198.18.1.0/30"),
        ("198.18.1.1 a printer", "write a # before a comment"),
    ] {
        fs::write(sandbox.path().join("list.conf"), format!("# ours\n{line} # here\n")).unwrap();
        let place = format!("list.conf:2: \"{line}\"");
        for arguments in [
            "iterate -b list.conf 8.8.8.8",
            "iterate -b none.conf -w list.conf",
            "iterate -b none.conf -I list.conf",
            "blocklist -b list.conf",
            "blocklist -w list.conf",
            "-d -i lo -G 02:00:00:00:00:02 --source-mac 02:00:00:00:00:01 -p 80 -b list.conf",
        ] {
            sandbox.refuses(&mut xdpmap(), arguments, 2, &[&place, words]);
        }
        let output = xdpmap().args(["iterate", "-b", "/dev/null", "8.8.8.8", line]).output().unwrap();
        let words =
            words.replace("entry: write each on a separate line", "target: give each as a separate argument");
        let words = words.replace("more than one entry", "more than one target");
        let (printed, log) = text_of(&output);
        assert_eq!((output.status.code(), printed.as_str()), (Some(2), ""), "{log}");
        assert!(
            log.contains(&format!("command line, target 2: \"{line}\"")) && log.contains(&words),
            "{log}"
        );
    }
    fs::write(sandbox.path().join("pairs"), "198.18.1.1:80 198.18.1.2:80\n").unwrap();
    sandbox.refuses(
        &mut xdpmap(),
        "iterate -b none.conf --pairs-file pairs",
        2,
        &["pairs:1", "more than one entry"],
    );
    // What a shell makes of a variable that is empty, or that holds the lines of a file.
    for (argument, words) in [("", "names no target"), ("8.8.8.8\n8.8.4.4\n", "more than one target")] {
        let output = xdpmap().args(["iterate", "-b", "/dev/null", argument]).output().unwrap();
        let (printed, log) = text_of(&output);
        assert!(printed.is_empty() && log.contains("target 1: ") && log.contains(words), "{log}");
    }
}

/// Bytes that end a line, start a comment or disguise an address as IPv6 never cause a blocked address to be probed.
#[test]
fn lists_of_other_systems_block() {
    let sandbox = Sandbox::new();
    for list in [
        "198.18.1.1\r198.18.1.2\r",
        "198.18.1.1\r\n198.18.1.2\r\n",
        "# page 1\r198.18.1.1\x0c198.18.1.2",
        "\u{feff}; Spamhaus DROP List\n198.18.1.1 ; SBL1\n198.18.1.2/32 ; SBL2\n; EOF\n",
        "::ffff:198.18.1.1\n::ffff:c612:102/128\n",
        "saddr\n198.18.1.1\n198.18.1.2\n",
    ] {
        fs::write(sandbox.path().join("list.conf"), list).unwrap();
        let left = iterated(&sandbox, "-b list.conf 198.18.1.0/30", "");
        assert_eq!(left, set(["198.18.1.0", "198.18.1.3"]), "{list:?}");
        let passed =
            fed(&sandbox, &mut xdpmap(), "blocklist -b list.conf", "198.18.1.0\n198.18.1.1\n198.18.1.2\n");
        assert_eq!(text_of(&passed), ("198.18.1.0\n".to_owned(), String::new()), "{list:?}");
        assert_eq!(iterated(&sandbox, "-b /dev/null -w list.conf", "").len(), 2);
        assert_eq!(iterated(&sandbox, "-b /dev/null -I list.conf", "").len(), 2, "{list:?}");
    }
    fs::write(sandbox.path().join("list.conf"), b"\xff\xfe1\0.\x001\0.\x001\0.\x001\0\n\0").unwrap();
    sandbox.refuses(
        &mut xdpmap(),
        "iterate --ignore-blocklist-errors -b list.conf",
        2,
        &["list.conf is UTF-16"],
    );
}

/// With bad lines skipped, no address that can be read in one is probed; and no more than that is excluded.
#[test]
fn ignored_lines_still_block() {
    let sandbox = Sandbox::new();
    let list = "198.18.1.1 198.18.1.2\n198.18.1.4 255.255.255.254\n198.18.1.8 - 198.18.1.9\n198.18.1.12/33\nnobody\0\n";
    fs::write(sandbox.path().join("list.conf"), list).unwrap();
    let flags = "--ignore-blocklist-errors -b list.conf 198.18.1.0/28";
    let left = iterated(&sandbox, flags, "");
    let last = |line: &String| line.rsplit('.').next().unwrap().parse::<u8>().unwrap();
    assert_eq!(
        left.iter().map(last).collect::<BTreeSet<_>>(),
        BTreeSet::from([0, 3, 6, 7, 10, 11, 13, 14, 15])
    );
    let output = sandbox.run(&mut dry(), &format!("-p 80 -S 192.0.2.7 --allow-reserved {flags}"));
    let (printed, log) = text_of(&output);
    assert_eq!(printed.matches("daddr: ").count(), 9, "{log}");
    for words in [
        "list.conf: 5 bad entries",
        "that can be read in them are blocked; nothing can be read in 1 of them, so their hosts are not blocked",
        "list.conf:1: \"198.18.1.1 198",
    ] {
        assert!(log.contains(words), "{words}: {log}");
    }
    let input = "198.18.1.0\n198.18.1.2\n198.18.1.5\n198.18.1.9\n";
    let passed = fed(&sandbox, &mut xdpmap(), "blocklist --ignore-blocklist-errors -b list.conf", input);
    assert_eq!(text_of(&passed).0, "198.18.1.0\n");
    // The reverse: what is not understood is not probed.
    fs::write(sandbox.path().join("allow.conf"), format!("{list}198.18.1.15\n")).unwrap();
    let named = iterated(&sandbox, "--ignore-blocklist-errors -b /dev/null -w allow.conf", "");
    assert_eq!(named, set(["198.18.1.15"]));
}

/// A network as other programs write it, and an IPv6 address that leads to an IPv4 host, are blocked as well.
#[test]
fn other_ways_to_write_a_network_block() {
    let sandbox = Sandbox::new();
    for (line, is_bad) in [
        ("198.18/16", true),
        ("198.18.1/24", true),
        ("198.18.1.*", true),
        ("198.18.1.x", true),
        ("198.18.1.", true),
        ("0198.18.1.1", true),
        ("198.18.1.1/031", true),
        ("64:ff9b::198.18.1.1", false),
        ("::198.18.1.1", false),
        ("::ffff:0:198.18.1.1", false),
        ("2002:c612:0101::/48", false),
        ("64:ff9b::198.18.1.0/120", false),
    ] {
        fs::write(sandbox.path().join("list.conf"), format!("{line}\n")).unwrap();
        let flags = if is_bad { "--ignore-blocklist-errors" } else { "" };
        let named = iterated(&sandbox, &format!("{flags} -b list.conf 198.18.1.1 198.19.0.1"), "");
        assert_eq!(named, set(["198.19.0.1"]), "{line}");
        let input = "198.18.1.1\n198.19.0.1\n";
        let passed = fed(&sandbox, &mut xdpmap(), &format!("blocklist {flags} -b list.conf"), input);
        assert_eq!(text_of(&passed).0, "198.19.0.1\n", "{line}");
        if is_bad {
            sandbox.refuses(&mut xdpmap(), "iterate -b list.conf 8.8.8.8", 2, &["list.conf:1: ", line]);
        }
        // Such a line names no target.
        let flags = format!("{flags} -b /dev/null -w list.conf 198.19.0.1");
        assert_eq!(iterated(&sandbox, &flags, ""), set(["198.19.0.1"]), "{line}");
    }
}

/// `-` is standard input, for one list.
#[test]
fn lists_from_standard_input() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path().join("none.conf"), "").unwrap();
    assert_eq!(iterated(&sandbox, "-b none.conf -w -", "198.18.0.3\n"), set(["198.18.0.3"]));
    assert_eq!(iterated(&sandbox, "-b none.conf -I -", "198.18.0.3\n"), set(["198.18.0.3"]));
    assert_eq!(iterated(&sandbox, "-b - 198.18.0.2/31", "198.18.0.3\n"), set(["198.18.0.2"]));
    assert_eq!(iterated(&sandbox, "-b none.conf --pairs-file -", "198.18.0.3:80\n"), set(["198.18.0.3,80"]));
    let scan = "-p 80 -S 192.0.2.7 --allow-reserved -q -m meta.json -b none.conf -w -";
    let output = fed(&sandbox, &mut dry(), scan, "198.18.0.3\n");
    assert!(text_of(&output).0.contains("daddr: 198.18.0.3 "), "{output:?}");
    let metadata: serde_json::Value = serde_json::from_str(&sandbox.files()["meta.json"]).unwrap();
    assert_eq!(metadata["allowlist_filename"], "-");
    for (arguments, words) in [
        ("iterate -w - -b -", &["--blocklist-file", "--allowlist-file", "can be read only once"][..]),
        ("iterate -I - -w -", &["--list-of-ips-file", "--allowlist-file", "can be read only once"]),
        ("iterate --pairs-file - -b -", &["--pairs-file", "--blocklist-file", "can be read only once"]),
        ("iterate -b none.conf -w -", &["standard input", "names no IPv4 address"]),
        ("blocklist -b -", &["--blocklist-file", "standard input holds the addresses"]),
        ("blocklist -b none.conf -w -", &["--allowlist-file", "standard input holds the addresses"]),
    ] {
        sandbox.refuses(&mut xdpmap(), arguments, 2, words);
    }
    let output = fed(&sandbox, &mut xdpmap(), "iterate -b - 8.8.8.8", "8.8.8.8 8.8.4.4\n");
    assert!(text_of(&output).1.contains("standard input:1: \"8.8.8.8 8.8.4.4\""), "{output:?}");
}

/// Several block lists add up, and what is typed adds to them, for a scan and for the companions.
#[test]
fn block_lists_add_up() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path().join("one.conf"), "198.18.0.0\n").unwrap();
    fs::write(sandbox.path().join("two.conf"), "198.18.0.1 # two\n198.18.0.2\n").unwrap();
    let network = "198.18.0.0/29";
    let lists = "-b one.conf -b two.conf --exclude 198.18.0.4,198.18.0.6 --exclude 198.18.0.7";
    let expected = set(["198.18.0.3", "198.18.0.5"]);
    assert_eq!(iterated(&sandbox, &format!("{lists} {network}"), ""), expected);
    let output =
        sandbox.run(&mut dry(), &format!("-p 80 -S 192.0.2.7 --allow-reserved -q {lists} {network}"));
    let (printed, log) = text_of(&output);
    let addresses = printed.lines().filter_map(|line| Some(line.split_once("daddr: ")?.1.split_once(' ')?.0));
    assert_eq!(addresses.map(str::to_owned).collect::<BTreeSet<_>>(), expected, "{log}");
    for list in [
        "one.conf: 1 entry, 1 address",
        "two.conf: 2 entries, 2 addresses",
        "--exclude: 3 entries, 3 addresses",
    ] {
        assert!(log.contains(&format!("[INFO] plan: block list {list}")), "{log}");
    }
    let all: String = (0..8).map(|number| format!("198.18.0.{number}\n")).collect();
    let output = fed(&sandbox, &mut xdpmap(), "blocklist -b one.conf -b two.conf", &all);
    assert_eq!(text_of(&output).0.lines().count(), 5, "{output:?}");
}

/// The rows of a scan's results are pairs, whatever row stands above them.
#[test]
fn results_are_lists() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path().join("results.csv"), "saddr,sport\n198.18.0.3,80\n198.18.0.3,443\n").unwrap();
    let pairs = iterated(&sandbox, "-b /dev/null --pairs-file results.csv", "");
    assert_eq!(pairs, set(["198.18.0.3,443", "198.18.0.3,80"]));
    fs::write(sandbox.path().join("more.csv"), "saddr,sport,ttl\n198.18.0.3,80,64\n").unwrap();
    sandbox.refuses(
        &mut xdpmap(),
        "iterate -b /dev/null --pairs-file more.csv",
        2,
        &["more.csv:1: \"saddr,sport,ttl\""],
    );
}

/// The log says which list is in force, or that there is none.
#[test]
fn the_list_in_force_is_named() {
    let sandbox = Sandbox::new();
    let log = |arguments: &str| {
        text_of(&sandbox.run(&mut dry(), &format!("-p 80 -S 192.0.2.7 -n 1 -q {arguments}"))).1
    };
    let named = log("-b good.conf");
    assert!(named.contains("[INFO] plan: block list good.conf: 2 entries, 512 addresses"), "{named}");
    assert!(!named.contains("without a block list"), "{named}");
    for (arguments, words) in [
        ("", "without a block list: there is no /etc/xdpmap/blocklist.conf and no -b"),
        ("-b empty.conf", "without a block list: empty.conf contains no addresses"),
        ("-b empty.conf -b empty.conf", "without a block list: empty.conf, empty.conf contain no addresses"),
    ] {
        let log = log(arguments);
        assert!(log.contains("[WARN] plan: the whole Internet is scanned") && log.contains(words), "{log}");
    }
    let some = log("8.8.8.0/24");
    assert!(!some.contains("block list"), "{some}");
}

fn fifo(path: &Path) {
    mkfifo(path, Mode::from_bits_truncate(0o600)).unwrap();
}

/// A file that the user names may not have been written yet. A program that waits for it says so, and can be
/// interrupted.
#[test]
fn what_is_waited_for_is_named() {
    let sandbox = Sandbox::new();
    fifo(&sandbox.path().join("late"));
    for arguments in [
        "iterate -b late 8.8.8.8",
        "iterate -b /dev/null -w late",
        "iterate -b /dev/null -I late",
        "iterate -b /dev/null --pairs-file late",
        "blocklist -b late",
        "DRY -C late",
        "DRY -M udp -b /dev/null --probe-args file:late",
        "DRY -b /dev/null -O redis --output-args password-file=late",
    ] {
        let mut command = xdpmap();
        command.args(arguments.replace("DRY", DRY).split_whitespace()).current_dir(sandbox.path());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let said = log.next().unwrap();
        assert!(said.ends_with("[WARN] input: waiting for input to be written: late"), "{arguments}: {said}");
        kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
        let status = child.wait().unwrap();
        assert_eq!(status.signal(), Some(Signal::SIGINT as i32), "{arguments}: {status}");
    }
    // Once it is written, all goes on.
    let writer = sandbox.path().join("late");
    let writing = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        fs::write(writer, "8.8.8.9\n").unwrap();
    });
    assert_eq!(iterated(&sandbox, "-b late 8.8.8.8/31", ""), set(["8.8.8.8"]));
    writing.join().unwrap();
    let shell = format!("'{}' iterate -b <(sleep 0.2; echo 8.8.8.9) -w <(echo 8.8.8.8/31)", binary());
    let output = tool("bash").args(["-c", &shell]).output().unwrap();
    assert_eq!(text_of(&output), ("8.8.8.8\n".to_owned(), String::new()));
}

/// A folder that replaces `/etc/xdpmap`.
struct Etc(tempfile::TempDir);

impl Etc {
    fn new(make: impl FnOnce(&Path)) -> Self {
        let place = tempfile::tempdir().unwrap();
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
        make(&place.path().join("etc"));
        Self(place)
    }

    fn with_files(make: impl FnOnce(&Path)) -> Self {
        Self::new(|etc| {
            fs::create_dir(etc).unwrap();
            make(etc);
        })
    }

    fn path(&self) -> std::path::PathBuf {
        self.0.path().join("etc")
    }
}

const DRY: &str = "-d -i lo -G 02:00:00:00:00:02 --source-mac 02:00:00:00:00:01 -S 192.0.2.7 -p 80 -n 1 -q";

/// An optional list or config file that exists but cannot be read ends the scan, because it may exclude addresses.
#[test]
fn what_cannot_be_looked_at_is_not_absent() {
    if !have_root() {
        return;
    }
    let sandbox = Sandbox::new();
    let list = |to: &'static str| Etc::with_files(|etc| symlink(to, etc.join("blocklist.conf")).unwrap());
    let config = |to: &'static str| Etc::with_files(|etc| symlink(to, etc.join("xdpmap.conf")).unwrap());
    for (etc, words) in [
        (list("nowhere"), &["--blocklist-file", "blocklist.conf is a broken link", "-b /dev/null"][..]),
        (list("blocklist.conf"), &["--blocklist-file", "symbolic links", "-b /dev/null"]),
        (
            Etc::with_files(|etc| fs::create_dir(etc.join("blocklist.conf")).unwrap()),
            &["--blocklist-file", "blocklist.conf is not a regular file", "-b /dev/null"],
        ),
        // A wait for a writer would never end.
        (
            Etc::with_files(|etc| fifo(&etc.join("blocklist.conf"))),
            &["--blocklist-file", "blocklist.conf is not a regular file", "-b /dev/null"],
        ),
        (
            Etc::with_files(|etc| fifo(&etc.join("xdpmap.conf"))),
            &["--config", "xdpmap.conf is not a regular file", "-C /dev/null"],
        ),
        (
            Etc::with_files(|etc| fs::write(etc.join("blocklist.conf"), "8.8.8.8 8.8.4.4").unwrap()),
            &["/etc/xdpmap/blocklist.conf:1: ", "more than one entry"],
        ),
        (config("nowhere"), &["--config", "xdpmap.conf is a broken link", "-C /dev/null"]),
        (config("xdpmap.conf"), &["--config", "symbolic links", "-C /dev/null"]),
        (Etc::new(|etc| symlink("nowhere", etc).unwrap()), &["/etc/xdpmap is a broken link"]),
        (Etc::new(|etc| fs::write(etc, "8.8.8.0/24\n").unwrap()), &["/etc/xdpmap/", "Not a directory"]),
    ] {
        sandbox.refuses(&mut xdpmap_where(&etc.path()), DRY, 2, words);
        let output = sandbox.run(&mut xdpmap_where(&etc.path()), &format!("{DRY} -C /dev/null -b /dev/null"));
        assert_eq!(output.status.code(), Some(0), "named otherwise: {output:?}");
        let output = sandbox.run(&mut xdpmap_where(&etc.path()), "iterate -n 1");
        let is_list = words[0] != "--config";
        assert_eq!(output.status.code(), Some(if is_list { 2 } else { 0 }), "{output:?}");
    }
    let etc = Etc::with_files(|_| {});
    assert_eq!(sandbox.run(&mut xdpmap_where(&etc.path()), DRY).status.code(), Some(0), "an empty folder");
}

/// The administrator's list also applies to users who may not read it.
#[test]
fn what_may_not_be_looked_at_is_not_absent() {
    if !have_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let program = program_for_nobody(folder.path());
    let run = |etc: &Etc, arguments: &str| {
        let mut command = tool("unshare");
        command.arg("--mount").args(shield(Some(&etc.path())));
        command.args(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program);
        text_of(&command.args(arguments.split_whitespace()).output().unwrap())
    };
    let closed = |file: &str| {
        Etc::with_files(|etc| {
            fs::write(etc.join(file), "# 8.8.8.0/24\n").unwrap();
            fs::set_permissions(etc, fs::Permissions::from_mode(0o700)).unwrap();
        })
    };
    let (printed, log) = run(&closed("blocklist.conf"), &format!("{DRY} -C /dev/null"));
    assert!(
        printed.is_empty() && log.contains("blocklist.conf cannot be looked at (Permission denied"),
        "{log}"
    );
    let (printed, log) = run(&closed("xdpmap.conf"), DRY);
    assert!(
        printed.is_empty() && log.contains("xdpmap.conf cannot be looked at (Permission denied"),
        "{log}"
    );
    let (printed, log) = run(&closed("xdpmap.conf"), &format!("{DRY} -C /dev/null -b /dev/null"));
    assert!(printed.contains("daddr: "), "{log}");
}

/// A home folder of another user is ignored: it does not hold this user's config file.
#[test]
fn homes_of_others_are_passed_over() {
    if !have_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let program = program_for_nobody(folder.path());
    let home = folder.path().join("home");
    fs::create_dir_all(home.join(".config/xdpmap")).unwrap();
    fs::write(home.join(".config/xdpmap/xdpmap.conf"), "rate 77\n").unwrap();
    fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
    let run = |home: &Path, as_whom: &[&str], program: &Path| {
        let mut command = tool("unshare");
        command.arg("--mount").args(shield(None)).args(as_whom).arg(program).env("HOME", home);
        let output = command.args(["-p", "80", "--print-config"]).output().unwrap();
        text_of(&output)
    };
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let (printed, log) = run(&home, &nobody, &program);
    assert!(printed.contains("rate 10000\n"), "{log}");
    assert!(run(&home, &[], Path::new(binary())).0.contains("rate 77 "));
    assert!(run(Path::new("/dev/null"), &[], Path::new(binary())).0.contains("rate 10000\n"));
    fs::remove_dir_all(home.join(".config")).unwrap();
    symlink("nowhere", home.join(".config")).unwrap();
    let (printed, log) = run(&home, &[], Path::new(binary()));
    assert!(printed.is_empty() && log.contains("is a broken link"), "{log}");
}

/// A variable that sets nothing is reported, except those that the build, the scripts and the tests use.
#[test]
fn variables_that_set_nothing_are_told() {
    let sandbox = Sandbox::new();
    let log = |variables: &[(&str, &str)]| {
        let mut command = dry();
        command.envs(variables.iter().copied());
        text_of(&sandbox.run(&mut command, "-p 80 -S 192.0.2.7 -q 8.8.8.8")).1
    };
    let slip = log(&[("XDPMAP_BLOKLIST_FILE", "good.conf")]);
    assert!(slip.contains("[WARN] config: the environment's XDPMAP_BLOKLIST_FILE sets nothing"), "{slip}");
    assert!(slip.contains("is XDPMAP_BLOCKLIST_FILE meant?"), "{slip}");
    let known = log(&[("XDPMAP_REQUIRE_ROOT", "1"), ("XDPMAP_PYTHON", "/x"), ("XDPMAP_CLANG", "clang")]);
    assert!(!known.contains("[WARN] config"), "{known}");
}
