//! Host names as targets and in lists, looked up by the system: in a namespace with its own `/etc/hosts` and without a
//! network, so that no server is queried.

use std::collections::BTreeSet;
use std::fs;
use std::process::Output;

use lab::have_root;
use lab::tools::tool;
use support::scanner::{binary, shield};

const HOSTS: &str =
    "127.0.0.1 localhost\n1.2.3.4 two.test\n1.2.3.9 two.test\n5.6.7.8 one.test\n2001:db8::1 six.test\n";

/// A folder with lists and with a replacement for `/etc/hosts`.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        for (name, text) in [
            ("hosts", HOSTS),
            ("none.conf", ""),
            ("names.conf", "8.8.8.8\none.test # a name\n"),
            ("unknown.conf", "one.test\n\nnobody.test\n"),
            ("ips.conf", "1.2.3.4\none.test\n"),
        ] {
            fs::write(place.0.path().join(name), text).unwrap();
        }
        place
    }

    /// Runs the binary with these arguments.
    fn run(&self, arguments: &str) -> Output {
        let script = "mount --bind hosts /etc/hosts && exec \"$0\" \"$@\"";
        tool("unshare")
            .args(["--mount", "--net"])
            .args(shield(None))
            .args(["sh", "-c", script, binary()])
            .args(arguments.split_whitespace())
            .current_dir(self.0.path())
            .output()
            .unwrap()
    }

    /// The lines of a run that must succeed.
    fn lines(&self, arguments: &str) -> BTreeSet<String> {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }
}

#[test]
fn names_stand_for_all_their_addresses() {
    if !have_root() {
        return;
    }
    let place = Place::new();
    let set = |lines: &[&str]| lines.iter().map(|&line| line.to_owned()).collect::<BTreeSet<String>>();
    for (arguments, expected) in [
        ("two.test", &["1.2.3.4", "1.2.3.9"][..]),
        ("one.test/30 two.test", &["5.6.7.8", "5.6.7.9", "5.6.7.10", "5.6.7.11", "1.2.3.4", "1.2.3.9"]),
        ("-w names.conf", &["8.8.8.8", "5.6.7.8"]),
        ("two.test one.test -b names.conf", &["1.2.3.4", "1.2.3.9"]),
        ("-w unknown.conf --ignore-blocklist-errors", &["5.6.7.8"]),
    ] {
        let block = if arguments.contains("-b ") { "" } else { "-b none.conf" };
        assert_eq!(place.lines(&format!("iterate {block} {arguments}")), set(expected), "{arguments}");
    }
    let dry =
        "-d -i lo -G 02:00:00:00:00:02 --source-mac 02:00:00:00:00:01 -S 192.0.2.7 -p 80 -q -b none.conf";
    let output = place.run(&format!("{dry} two.test one.test/30 -n 1 -m meta.json"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata = fs::read_to_string(place.0.path().join("meta.json")).unwrap();
    let metadata: serde_json::Value = serde_json::from_str(&metadata).unwrap();
    assert_eq!(
        metadata["resolved_names"],
        serde_json::json!([
            {"name": "two.test", "addresses": ["1.2.3.4", "1.2.3.9"]},
            {"name": "one.test/30", "addresses": ["5.6.7.8"]},
        ])
    );
}

#[test]
fn names_without_an_address_are_errors() {
    if !have_root() {
        return;
    }
    let place = Place::new();
    for (arguments, words) in [
        ("nobody.test", &["command line, target 1: \"nobody.test\"", "could not be looked up"][..]),
        ("1.1.1.1 six.test", &["target 2: \"six.test\"", "no IPv4 address"]),
        ("-b unknown.conf", &["unknown.conf:3: \"nobody.test\""]),
        ("-w unknown.conf", &["unknown.conf:3: \"nobody.test\""]),
        ("-I ips.conf", &["ips.conf:2: \"one.test\" is a host name"]),
        ("localhost", &["127.0.0.1 is loopback"]),
    ] {
        let output = place.run(&format!("iterate {arguments}"));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), stderr.lines().count()), (Some(2), 1), "{arguments}: {stderr}");
        for word in words {
            assert!(stderr.contains(word), "{arguments}: no {word} in {stderr}");
        }
    }
}
