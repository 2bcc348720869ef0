//! Tuning by the doctor: what it has written down outlives its process and the interface, and what cannot be set does
//! not stop the rest. `doctor.rs` has the script that calls it.

use std::path::PathBuf;
use std::process::Command;

use lab::{Lab, have_root, run};
use support::Scans as _;
use support::scanner::binary;

fn state(lab: &Lab) -> PathBuf {
    lab.folder().join("state")
}

/// What a doctor says, all of it, and its exit code. `command` is what runs it.
fn said(lab: &Lab, command: &mut Command, arguments: &str) -> (Option<i32>, String) {
    command.args([binary(), "doctor"]).args(arguments.split(' '));
    let output = command.env("XDPMAP_TUNE_STATE", state(lab)).output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    (output.status.code(), text)
}

fn doctor(lab: &Lab, arguments: &str) -> (Option<i32>, String) {
    said(lab, &mut lab.shielded(), arguments)
}

/// The number of channels that receive.
fn rx(lab: &Lab) -> String {
    let text = lab.in_ns(&lab.scan, "ethtool", ["-l", "scan0"]);
    let line = text.lines().rfind(|line| line.starts_with("RX:"));
    line.unwrap_or_else(|| panic!("{text}")).trim_start_matches("RX:").trim().to_owned()
}

/// A lab with one channel to receive, and with three once the doctor has applied that.
fn applied() -> Lab {
    let lab = Lab::new(4);
    lab.in_ns(&lab.scan, "ethtool", ["-L", "scan0", "rx", "1", "tx", "4"]);
    let (code, text) = doctor(&lab, "--apply -i scan0 --workers 3 --only channels");
    assert_eq!((code, rx(&lab).as_str()), (Some(0), "3"), "{text}");
    lab
}

/// Removes the interface and makes one of its name, with 4 channels of each kind.
fn make_again(lab: &Lab, mac: &str) {
    run("ip", ["-n", &lab.scan, "link", "del", "scan0"]);
    let link = format!("-n {} link add scan0 address {mac} numrxqueues 4 numtxqueues 4 type veth", lab.scan);
    run("ip", link.split(' ').chain(["peer", "name", "peer0", "numrxqueues", "4", "numtxqueues", "4"]));
    run("ip", ["-n", &lab.scan, "link", "set", "scan0", "up"]);
    lab.in_ns(&lab.scan, "ethtool", ["-L", "scan0", "rx", "4", "tx", "4"]);
}

fn files(lab: &Lab) -> usize {
    std::fs::read_dir(state(lab)).unwrap().count()
}

/// An interface with the same name and MAC address gets its former settings, another one does not; both are said.
#[test]
fn interfaces_that_were_made_again() {
    if !have_root() {
        return;
    }
    let lab = applied();
    let mac = lab.in_ns(&lab.scan, "cat", ["/sys/class/net/scan0/address"]);
    make_again(&lab, mac.trim());
    let (code, text) = doctor(&lab, "--undo -i scan0");
    assert_eq!((code, rx(&lab).as_str(), files(&lab)), (Some(0), "1", 0), "{text}");
    assert!(text.starts_with("scan0: the interface was removed and made again since"), "{text}");
    assert!(text.contains("undo  channels.rx") && text.contains("changed since"), "{text}");

    let lab = applied();
    make_again(&lab, "02:00:5e:10:00:09");
    let (code, text) = doctor(&lab, "--undo");
    assert_eq!((code, rx(&lab).as_str(), files(&lab)), (Some(0), "4", 0), "{text}");
    assert!(text.starts_with("scan0: the interface is gone, or has another MAC address"), "{text}");

    // Made again between two times: the second remembers what the new one had.
    let lab = applied();
    let mac = lab.in_ns(&lab.scan, "cat", ["/sys/class/net/scan0/address"]);
    make_again(&lab, mac.trim());
    let (code, text) = doctor(&lab, "--apply -i scan0 --workers 2 --only channels");
    assert_eq!((code, rx(&lab).as_str()), (Some(0), "2"), "{text}");
    let (code, text) = doctor(&lab, "--undo -i scan0");
    assert_eq!((code, rx(&lab).as_str(), files(&lab)), (Some(0), "4", 0), "{text}");
}

/// A file that is no journal is named, and does not stop what the others say.
#[test]
fn bad_journals() {
    if !have_root() {
        return;
    }
    let lab = applied();
    let bad = state(&lab).join("eth7@02:00:5e:10:00:01.tune.json");
    std::fs::write(&bad, "{}").unwrap();
    let named = format!("{}: not a journal of xdpmap", bad.display());
    // Somebody else's is not read.
    let foreign = state(&lab).join("eth8@02:00:5e:10:00:02.tune.json");
    std::fs::write(&foreign, "{}").unwrap();
    std::os::unix::fs::chown(&foreign, Some(65534), None).unwrap();
    let (code, text) = doctor(&lab, "--undo");
    assert_eq!((code, rx(&lab).as_str(), files(&lab)), (Some(1), "1", 2), "{text}");
    assert!(text.contains(&named) && text.contains("it belongs to user 65534"), "{text}");
    let (code, text) = doctor(&lab, "--undo -i scan0");
    assert_eq!((code, text.as_str()), (Some(0), "nothing to undo: no --apply has changed scan0\n"));
    let (code, text) = doctor(&lab, "--undo -i eth7");
    assert_eq!((code, text.lines().count(), text.contains(&named)), (Some(1), 1, true), "{text}");
    let (code, text) = doctor(&lab, "--undo -i eth9");
    assert_eq!((code, text.lines().count()), (Some(4), 1), "{text}");
}

/// A setting that the kernel refuses is named with its reason; the others are set, and undone.
#[test]
fn refused_settings() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(4);
    lab.in_ns(&lab.scan, "ethtool", ["-L", "scan0", "rx", "1", "tx", "4"]);
    let mut command = lab.command_in_ns(&lab.scan, "sh");
    command.args(["-c", "mount -o remount,bind,ro /sys && exec \"$@\"", "sh"]);
    let arguments = "--apply -i scan0 --workers 3 --only busy-poll,channels";
    let (code, text) = said(&lab, &mut command, arguments);
    assert_eq!((code, rx(&lab).as_str()), (Some(1), "3"), "{text}");
    let refused = text.lines().filter(|line| line.starts_with("FAIL  busy-poll."));
    assert_eq!(refused.filter(|line| line.contains("Read-only file system")).count(), 2, "{text}");
    let (code, text) = doctor(&lab, "--undo -i scan0");
    assert_eq!((code, rx(&lab).as_str(), files(&lab)), (Some(0), "1", 0), "{text}");
}

/// Without root nothing is tried, whatever the program's file may do.
#[test]
fn without_root() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    for flag in ["--apply", "--undo"] {
        let (code, text) = said(&lab, &mut lab.as_nobody(&[]), &format!("{flag} -i scan0"));
        assert_eq!((code, text.lines().count()), (Some(3), 1), "{text}");
        assert!(text.ends_with(&format!("doctor: {flag} needs root\n")), "{text}");
    }
    let (code, text) = said(&lab, &mut lab.as_nobody(&[]), "--check -i scan0 --only channels");
    assert!(code == Some(0) && text.contains("kernel isolcpus"), "{text}");
    for both in ["--check --apply", "--apply --undo", "--undo --only irq", "--vlan", "--check --json"] {
        let (code, text) = doctor(&lab, both);
        assert_eq!((code, text.lines().count()), (Some(2), 1), "{text}");
    }
}
