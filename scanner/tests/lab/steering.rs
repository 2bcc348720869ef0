//! Journals that scans with `--steer` have left, on a veth pair, which has no table: how the doctor and the next scan
//! handle them before they would touch a table. That real tables are restored is tested in `zerocopy`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Output;

use lab::{Lab, have_root, run};
use support::scanner::binary;
use support::{Scans as _, read};

/// A lab with its own `/run`.
struct Host {
    lab: Lab,
    run: PathBuf,
    mac: String,
}

impl Host {
    fn new() -> Self {
        let lab = Lab::new(1);
        let run_folder = lab.folder().join("run");
        std::fs::create_dir_all(run_folder.join("xdpmap")).unwrap();
        let link = run("ip", ["-n", &lab.scan, "-br", "link", "show", "dev", "scan0"]);
        let mac = link.split_whitespace().nth(2).unwrap().to_owned();
        Self { lab, run: run_folder, mac }
    }

    /// Runs xdpmap there.
    fn xdpmap(&self, arguments: &str) -> Output {
        let mut command = self.lab.shielded();
        // In the mount namespace that it has.
        let script = "mount --bind \"$0\" /run && exec \"$@\"";
        command.args(["sh", "-c", script]).arg(&self.run);
        command.arg(binary()).args(arguments.split(' ')).output().unwrap()
    }

    /// A journal of this host's interface, with these fields changed.
    fn journal(&self, changed: &[(&str, &str)]) -> PathBuf {
        let boot = read(Path::new("/proc/sys/kernel/random/boot_id"));
        let namespace = self.lab.in_ns(&self.lab.scan, "stat", ["-Lc", "%i", "/proc/self/ns/net"]);
        let index = self.lab.in_ns(&self.lab.scan, "cat", ["/sys/class/net/scan0/ifindex"]);
        let [namespace, index] = [namespace, index].map(|number| number.trim().parse::<u64>().unwrap());
        let mut journal = serde_json::json!({
            "version": 1, "interface": "scan0", "ifindex": index, "mac": self.mac, "namespace": namespace,
            "boot_id": boot.trim(), "pid": 4242, "before": [0, 1, 0, 1], "set": [1, 1, 1, 1],
        });
        for (field, value) in changed {
            journal[*field] = serde_json::from_str(value).unwrap();
        }
        let name = format!("{}@{}.rss.json", journal["interface"].as_str().unwrap(), self.mac);
        let path = self.run.join("xdpmap").join(name);
        std::fs::write(&path, journal.to_string()).unwrap();
        path
    }

    /// The output of `doctor --repair`, and its exit code.
    fn repair(&self, arguments: &str) -> (String, Option<i32>) {
        let output = self.xdpmap(&format!("doctor --repair{arguments}"));
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        (String::from_utf8(output.stdout).unwrap(), output.status.code())
    }

    /// The log of a scan that must run to its end.
    fn scan(&self) -> String {
        let output = self.xdpmap("-i scan0 -p 80 -n 5 -c 0 -q --allow-reserved -o /dev/null 198.18.128.0/24");
        let log = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && log.contains("5 probes sent"), "{log}");
        log
    }

    /// The doctor's finding, on one line.
    fn finding(&self) -> String {
        let text = String::from_utf8(self.xdpmap("doctor -i scan0").stdout).unwrap();
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let start = words.find("steering scan0: ").unwrap_or_else(|| panic!("{text}"));
        words[start..words.find(" interface scan0 ").unwrap()].to_owned()
    }
}

/// Journals that are stale, each with the change that makes it so, the message, and whether it has to stay.
#[test]
fn journals_of_others() {
    if !have_root() {
        return;
    }
    let host = Host::new();
    let boot = ("boot_id", "\"00000000-0000-4000-8000-000000000000\"");
    let mac = ("mac", "\"02:00:5e:10:00:01\"");
    let namespace = ("namespace", "4026530000");
    for (changed, why, stays) in [
        (&[boot][..], "the host has been booted since", false),
        (&[boot, mac, namespace], "the host has been booted since", false),
        (&[mac], "its interface is gone, or has another MAC address", false),
        (&[mac, namespace], "another network namespace", true),
    ] {
        let path = host.journal(changed);
        assert!(host.finding().contains(why), "{}", host.finding());
        let (said, code) = host.repair(" -i scan1");
        assert_eq!((said.as_str(), code), ("nothing to restore\n", Some(0)), "{why}");
        let (said, code) = host.repair("");
        assert!(said.contains(why) && said.lines().count() == 1, "{said}");
        assert_eq!((code, path.exists()), (Some(i32::from(stays)), stays), "{said}");
        host.journal(changed);
        let log = host.scan();
        let is_told = log.contains(&format!("steer: scan0: nothing to restore after process 4242: {why}"));
        assert_eq!((is_told, path.exists()), (!stays, stays), "{log}");
        let _ = std::fs::remove_file(&path);
    }
}

/// A journal of this interface and boot: if a process holds it, it is left to that process; if none does and the table
/// cannot be restored, that is reported, and the journal stays. So does a file that is not a journal.
#[test]
fn journals_of_this_interface() {
    if !have_root() {
        return;
    }
    let host = Host::new();
    let path = host.journal(&[]);
    let owner = File::open(&path).unwrap();
    owner.lock_shared().unwrap();
    assert!(
        host.finding().contains("by process 4242, which restores the table at its end"),
        "{}",
        host.finding()
    );
    let (said, code) = host.repair(" -i scan0");
    assert!(said.contains("scan0: a running scan steers replies there") && code == Some(0), "{said}");
    assert!(!host.scan().contains("steer: scan0"));
    drop(owner);
    assert!(host.finding().contains("by process 4242, which was killed"), "{}", host.finding());
    std::fs::remove_file(&path).unwrap();
    // A NIC that has another name now, and was in another namespace, is still recognised.
    let renamed = host.journal(&[("namespace", "4026530000"), ("interface", "\"before0\"")]);
    let why = "scan0: its RSS indirection table could not be restored: Operation not supported";
    let (said, code) = host.repair(" -i scan0");
    assert!(said.starts_with(why) && code == Some(1), "{said}");
    assert!(said.contains("; `xdpmap doctor --repair` tries again"), "{said}");
    assert!(host.scan().contains(&format!("WARN] steer: {why}")) && renamed.exists());
    std::fs::remove_file(&renamed).unwrap();
    std::fs::write(&path, "{").unwrap();
    let (said, code) = host.repair("");
    assert!(said.contains("not a journal of xdpmap (EOF while parsing") && code == Some(1), "{said}");
    assert!(host.scan().contains("not a journal of xdpmap") && path.exists());
}

/// A file that somebody else has put there is reported and ignored, and does not delay the others.
#[test]
fn bad_journals_among_good_ones() {
    if !have_root() {
        return;
    }
    let host = Host::new();
    let folder = host.run.join("xdpmap");
    let foreign = host.journal(&[]);
    let planted = folder.join("scan0@02:00:00:00:00:09.rss.json");
    std::fs::rename(foreign, &planted).unwrap();
    std::os::unix::fs::chown(&planted, Some(65_534), Some(65_534)).unwrap();
    std::fs::create_dir(folder.join("a@b.rss.json")).unwrap();
    std::os::unix::fs::symlink(&planted, folder.join("c@d.rss.json")).unwrap();
    let stale = host.journal(&[("boot_id", "\"00000000-0000-4000-8000-000000000000\"")]);
    let log = host.scan();
    assert!(log.contains("it belongs to user 65534") && planted.exists(), "{log}");
    assert!(log.contains("the host has been booted since") && !stale.exists(), "{log}");
    let (said, code) = host.repair("");
    assert!(said.contains("a@b.rss.json: not a journal of xdpmap (Is a directory"), "{said}");
    assert!(said.contains("c@d.rss.json: not a journal of xdpmap (Too many levels"), "{said}");
    assert_eq!(code, Some(1));
}
