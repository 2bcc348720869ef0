//! The units for systemd in `conf/`: systemd accepts them, and they give what a scan needs and little else.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use lab::tools::tool;
use support::read;
use support::scanner::{binary, xdpmap};
use xdpmap::privileges::NEEDS;

fn unit() -> String {
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../conf/xdpmap@.service"))
}

/// The words of a setting, from all of its lines.
fn setting<'a>(unit: &'a str, name: &str) -> BTreeSet<&'a str> {
    let lines = unit.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    lines.flat_map(str::split_whitespace).collect()
}

/// The unit and its timer, in files with the names of an instance.
fn files(folder: &Path) -> [PathBuf; 2] {
    let service = unit().replace("/usr/local/bin/xdpmap", binary());
    let timer = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../conf/xdpmap@.timer"));
    [("xdpmap@test.service", service), ("xdpmap@test.timer", timer)].map(|(name, text)| {
        assert!(!text.is_empty(), "{name}");
        std::fs::write(folder.join(name), text).unwrap();
        folder.join(name)
    })
}

/// Without a word about them.
#[test]
fn systemd_accepts_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut verify = tool("systemd-analyze");
    verify.args(["verify", "--man=no", "--recursive-errors=no"]).args(files(folder.path()));
    let output = verify.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

/// On systemd's scale from 0 to 10, what a scan could do to the machine is at most 3.
#[test]
fn it_is_confined() {
    let folder = tempfile::tempdir().unwrap();
    let [service, _] = files(folder.path());
    for (threshold, is_below) in [("30", true), ("10", false)] {
        let mut judge = tool("systemd-analyze");
        judge.args(["security", "--offline=true", "--no-pager", "--threshold", threshold]).arg(&service);
        let output = judge.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("Overall exposure level"), "{output:?}");
        assert_eq!(output.status.success(), is_below, "{said}");
    }
}

/// The capabilities are those of the set-up, and no others; the calls include those by which a scan confines itself.
#[test]
fn it_gives_what_a_scan_needs() {
    let unit = unit();
    let needed: BTreeSet<&str> = NEEDS.iter().map(|need| need.name).collect();
    assert_eq!(setting(&unit, "CapabilityBoundingSet"), needed);
    let calls = setting(&unit, "SystemCallFilter");
    for call in ["bpf", "seccomp", "landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"] {
        assert!(calls.contains(call), "{call} is not in {calls:?}");
    }
    for family in ["AF_XDP", "AF_PACKET", "AF_NETLINK"] {
        assert!(setting(&unit, "RestrictAddressFamilies").contains(family), "{family}");
    }
}

/// A reload goes to the socket that a scan of root makes, and asks for what exists.
#[test]
fn it_reloads_the_block_list() {
    let unit = unit();
    let [reload] = &unit.lines().filter_map(|line| line.strip_prefix("ExecReload=")).collect::<Vec<_>>()[..]
    else {
        panic!("one line: {unit}")
    };
    let words: Vec<&str> = reload.split(' ').collect();
    assert_eq!(words, ["/usr/local/bin/xdpmap", "ctl", "/run/xdpmap/${MAINPID}.sock", "reload"]);
    // Nobody listens there.
    let asked = xdpmap().args(&words[1..]).output().unwrap();
    let said = String::from_utf8_lossy(&asked.stderr);
    assert!(asked.status.code() == Some(1) && said.contains("name the socket of a running scan"), "{said}");
}
