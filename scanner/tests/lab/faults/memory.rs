//! A scan whose memory the kernel takes away.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use lab::have_root;
use lab::tools::tool;
use support::truth::FIELDS;
use support::{Scans as _, read};

use super::{COMMON, NETWORK, lab_with_servers};
use crate::checkpoint::{assert_whole, into_sending, resume};

/// A control group with a limit on memory, which is removed with its processes.
struct Group {
    /// Where the hierarchy of groups is mounted: a machine need not have mounted it anywhere.
    root: PathBuf,
    folder: PathBuf,
    /// The file of the limit.
    limit: &'static str,
}

impl Group {
    /// A new one, whose hierarchy is mounted in `folder`. The kernel has one hierarchy for all controllers (version 2),
    /// or one for memory (version 1).
    fn new(folder: &Path) -> Self {
        let root = folder.join("cgroup");
        fs::create_dir(&root).unwrap();
        let limit = if mounts(&["-t", "cgroup2"], &root)
            && read(&root.join("cgroup.controllers")).contains("memory")
        {
            fs::write(root.join("cgroup.subtree_control"), "+memory").unwrap();
            "memory.max"
        } else {
            unmount(&root);
            assert!(
                mounts(&["-t", "cgroup", "-o", "memory"], &root),
                "the kernel has control groups of memory"
            );
            "memory.limit_in_bytes"
        };
        let folder = root.join(format!("xdpmap-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        Self { root, folder, limit }
    }

    /// How often the kernel has killed a process of it for want of memory.
    fn kills(&self) -> u64 {
        let text = ["memory.events", "memory.oom_control"].map(|name| read(&self.folder.join(name))).concat();
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count.and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("no count of kills: {text}"))
    }

    /// Takes memory away until the kernel kills what is in it.
    fn squeeze(&self) {
        // Where there is swap.
        let _ = fs::write(self.folder.join("memory.swap.max"), "0");
        // The older interface refuses a limit below what is in use and cannot be reclaimed.
        for mib in (1..=512).rev() {
            let _ = fs::write(self.folder.join(self.limit), (mib << 20).to_string());
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(5);
        while fs::remove_dir(&self.folder).is_err() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        unmount(&self.root);
    }
}

fn mounts(kind: &[&str], root: &Path) -> bool {
    let mount = tool("mount").args(kind).arg("none").arg(root).stderr(Stdio::null()).status();
    mount.unwrap().success()
}

/// Nothing may be mounted there.
fn unmount(root: &Path) {
    let _ = tool("umount").arg(root).stderr(Stdio::null()).status();
}

/// The kernel kills the process, which can write nothing more. Its checkpoint is whole, and the scan goes on from it.
#[test]
fn a_scan_out_of_memory_goes_on() {
    if !have_root() {
        return;
    }
    let (lab, truth) = lab_with_servers();
    let group = Group::new(lab.folder());
    let results = lab.folder().join("r.csv");
    // In another namespace the groups cannot be seen.
    let script = "echo $$ >\"$0/cgroup.procs\" && exec \"$@\"";
    let scan = lab.xdpmap(&format!("{COMMON} -r 10000 -q {FIELDS} {NETWORK}"));
    let mut command = tool("sh");
    command.args(["-c", script]).arg(&group.folder).arg(scan.get_program()).args(scan.get_args());
    let mut scan = command.arg("-o").arg(&results).stderr(Stdio::null()).spawn().unwrap();
    let checkpoint = results.with_extension("csv.xdpmap");
    into_sending(&checkpoint, 1_000);
    group.squeeze();
    let status = scan.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(libc::SIGKILL), "{status}");
    assert_eq!(group.kills(), 1);
    let rest = resume(&lab, &checkpoint, "-q").output().unwrap();
    assert_eq!(rest.status.code(), Some(0), "{}", String::from_utf8_lossy(&rest.stderr));
    assert_whole("out of memory", &read(&results), &truth, truth.len() as u64 / 2);
}
