//! Lists that gzip, xz and zstd themselves have compressed, read through the real binary.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use lab::tools::tool;
use support::sandbox::{Sandbox, dry};
use support::scanner::xdpmap;

/// Each program, the options of some of its forms, and the name of what comes out: it says nothing about the format.
const FORMS: &[(&str, &[&str])] = &[
    ("gzip", &["-c", "-n", "-1"]),
    ("gzip", &["-c", "-n", "-9"]),
    ("xz", &["-c", "-9e"]),
    ("xz", &["-c", "-0", "--check=sha256", "--block-size=20000"]),
    ("xz", &["-c", "--check=none", "--lzma2=dict=96MiB"]),
    ("zstd", &["-q", "-c", "-1"]),
    ("zstd", &["-q", "-c", "--ultra", "-22"]),
    ("zstd", &["-q", "-c", "-19", "--long=27", "--no-check"]),
    ("zstd", &["-q", "-c", "-T2"]),
];

/// Compresses a file by a program.
fn compressed(program: &str, options: &[&str], file: &Path) -> Vec<u8> {
    let output = tool(program).args(options).stdin(fs::File::open(file).unwrap()).output().unwrap();
    assert!(output.status.success(), "{program} {options:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn run(sandbox: &Sandbox, arguments: &str, input: Option<&Path>) -> (Option<i32>, String, String) {
    let mut command = xdpmap();
    command.args(arguments.split_whitespace()).current_dir(sandbox.path());
    match input {
        Some(file) => command.stdin(Stdio::from(fs::File::open(file).unwrap())),
        None => command.stdin(Stdio::null()),
    };
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

fn shell(sandbox: &Sandbox, text: &str) {
    let status = tool("sh").args(["-c", text]).current_dir(sandbox.path()).status().unwrap();
    assert!(status.success(), "{text}");
}

/// A list of single addresses that does not compress to nothing.
fn addresses() -> String {
    let mut state = 1u32;
    let mut line = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        format!("198.{}.{}.{}\n", 18 + (state >> 31), state >> 16 & 0xff, state >> 8 & 0xff)
    };
    (0..20_000).map(|_| line()).collect()
}

/// Lists of all kinds, in all forms, by their name and from standard input, lead to the same targets as their text.
#[test]
fn lists_are_read_as_they_are() {
    let sandbox = Sandbox::new();
    let at = |name: &str| sandbox.path().join(name);
    let texts = [
        ("hosts", addresses()),
        ("networks", "198.18.0.0/17 # half\n198.19.7.0/24\n".to_owned()),
        ("none", String::new()),
        ("pairs", "198.18.0.1,80\n198.19.0.2,443\n".to_owned()),
    ];
    let common = "iterate --allow-reserved -e 1 -n 100";
    let scans = [
        ("hosts", "-b none -I LIST"),
        ("networks", "-b none -w LIST"),
        ("networks", "-w hosts -b LIST"),
        ("none", "-w hosts -b LIST"),
        ("pairs", "-b none --pairs-file LIST"),
    ];
    for (name, text) in &texts {
        fs::write(at(name), text).unwrap();
    }
    for (name, flags) in scans {
        let (code, expected, log) = run(&sandbox, &format!("{common} {}", flags.replace("LIST", name)), None);
        assert_eq!(code, Some(0), "{log}");
        for (program, options) in FORMS {
            fs::write(at("list.txt"), compressed(program, options, &at(name))).unwrap();
            let named = run(&sandbox, &format!("{common} {}", flags.replace("LIST", "list.txt")), None);
            assert_eq!(
                (named.0, &named.1),
                (Some(0), &expected),
                "{program} {options:?} {flags}: {}",
                named.2
            );
        }
        let piped = run(&sandbox, &format!("{common} {}", flags.replace("LIST", "-")), Some(&at("list.txt")));
        assert_eq!((piped.0, &piped.1), (Some(0), &expected), "{flags}: {}", piped.2);
    }
}

/// Members, streams and frames behind each other are one list, as for the programs.
#[test]
fn archives_behind_each_other_are_one_list() {
    let sandbox = Sandbox::new();
    let at = |name: &str| sandbox.path().join(name);
    for (part, text) in [("a", "198.18.0.1\n198.18."), ("b", "0.2\n198.18.0.3\n")] {
        fs::write(at(part), text).unwrap();
    }
    for program in ["gzip", "xz", "zstd"] {
        let parts = ["a", "b"].map(|part| compressed(program, &["-c"], &at(part)));
        fs::write(at("list"), parts.concat()).unwrap();
        let (code, text, log) = run(&sandbox, "iterate --allow-reserved -e 1 -I list", None);
        let mut lines: Vec<_> = text.lines().collect();
        lines.sort_unstable();
        assert_eq!((code, &lines[..]), (Some(0), &["198.18.0.1", "198.18.0.2", "198.18.0.3"][..]), "{log}");
    }
}

/// A list that is cut off, damaged, or needs too much memory is one clear line and exit code 2. It is never a shorter
/// list: of a block list, that would be an opt-out that is probed.
#[test]
fn damaged_lists_are_refused() {
    let sandbox = Sandbox::new();
    let at = |name: &str| sandbox.path().join(name);
    fs::write(at("hosts"), addresses()).unwrap();
    let refused = |flags: &str, words: &str| {
        let (code, printed, log) = run(&sandbox, &format!("iterate --allow-reserved {flags}"), None);
        assert_eq!((code, printed.as_str()), (Some(2), ""), "{flags}: {log}");
        assert!(log.lines().count() == 1 && log.contains("list") && log.contains(words), "{flags}: {log}");
    };
    for (program, options) in FORMS {
        let whole = compressed(program, options, &at("hosts"));
        for len in [7, whole.len() / 2, whole.len() - 1] {
            fs::write(at("list"), &whole[..len]).unwrap();
            let cut = format!("its {program} data is cut off");
            refused("-b list 198.18.0.0/16", &cut);
            refused("-I list", &cut);
        }
        if options.iter().any(|option| ["--check=none", "--no-check"].contains(option)) {
            continue;
        }
        let mut damaged = whole.clone();
        damaged[whole.len() / 2] ^= 4;
        fs::write(at("list"), damaged).unwrap();
        refused("-w list", "list");
    }
    fs::write(at("text"), vec![b'\n'; 1000]).unwrap();
    for (program, option) in [("xz", "--lzma2=dict=512MiB"), ("zstd", "--long=29")] {
        // From standard input, whose length is not known: the window is not cut down to it.
        shell(&sandbox, &format!("cat text | {program} -c {option} > list"));
        refused("-w list", "more than 128 MiB");
    }
}

/// A few kilobytes that stand for many megabytes take no more memory than the window: one endless line is refused.
#[test]
fn a_bomb_takes_little_memory() {
    let sandbox = Sandbox::new();
    shell(&sandbox, "head -c 400M /dev/zero | tr '\\0' x | zstd -q -c > bomb");
    assert!(fs::metadata(sandbox.path().join("bomb")).unwrap().len() < 1 << 20);
    let limited = "ulimit -v 350000; exec \"$0\" iterate --allow-reserved -w bomb";
    let output =
        tool("sh").args(["-c", limited]).arg(support::scanner::binary()).current_dir(sandbox.path()).output();
    let output = output.unwrap();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.code() == Some(2) && log.contains("bomb:1: the line is longer than 64 MiB"),
        "{log}"
    );
}

/// The metadata have the hash of a list as it is on the disk, which `sha256sum` and `xdpmap verify` find again, and the
/// number of its lines.
#[test]
fn the_hash_is_that_of_the_file() {
    let sandbox = Sandbox::new();
    let at = |name: &str| sandbox.path().join(name);
    fs::write(at("text"), "198.18.0.0/24\n198.18.1.0/24\n").unwrap();
    for program in ["gzip", "xz", "zstd"] {
        let packed = compressed(program, &["-c"], &at("text"));
        fs::write(at("list"), &packed).unwrap();
        let flags = "-p 80 --allow-reserved -w list -m m.json -o r.csv --no-checkpoint -c 0 -r 0";
        let output = sandbox.run(&mut dry(), flags);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let metadata: serde_json::Value = serde_json::from_slice(&fs::read(at("m.json")).unwrap()).unwrap();
        let lists = metadata["lists"].as_array().unwrap();
        let list = lists.iter().find(|list| list["flag"] == "allowlist-file").unwrap();
        let sum = tool("sha256sum").arg(at("list")).output().unwrap();
        let sum = String::from_utf8(sum.stdout).unwrap();
        assert_eq!(list["sha256"].as_str(), sum.split(' ').next());
        assert_eq!((list["bytes"].as_u64(), list["lines"].as_u64()), (Some(packed.len() as u64), Some(2)));
    }
}

/// Results that were compressed are read back by `verify`, as they are.
#[test]
fn tables_and_results_too() {
    let sandbox = Sandbox::new();
    let at = |name: &str| -> PathBuf { sandbox.path().join(name) };
    fs::write(at("table"), "http 80/tcp 0.5\nhttps 443/tcp 0.4\n").unwrap();
    fs::write(at("old.csv"), "saddr,sport\n192.0.2.1,80\n").unwrap();
    fs::write(at("new.csv"), "saddr,sport\n192.0.2.1,80\n192.0.2.2,80\n").unwrap();
    for program in ["gzip", "xz", "zstd"] {
        fs::write(at("table.x"), compressed(program, &["-c"], &at("table"))).unwrap();
        let flags = "--allow-reserved --top-ports 1:table.x 198.18.0.1 -o r.csv --no-checkpoint -c 0 -r 0";
        let output = sandbox.run(&mut dry(), flags);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        fs::write(at("new.x"), compressed(program, &["-c"], &at("new.csv"))).unwrap();
        let (code, text, log) = run(&sandbox, "diff old.csv new.x", None);
        assert!(code == Some(1) && text.contains("192.0.2.2"), "{text} {log}");
    }
}
