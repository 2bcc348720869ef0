//! Privileges: which capabilities a scan needs, what each is for, and which of them this thread has.
//!
//! Capabilities belong to a thread, and its children start with a copy. See `capabilities(7)`.

use std::io;

use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};

/// A capability that a scan needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// The capability.
    pub capability: CapabilitySet,
    /// Its name.
    pub name: &'static str,
    /// What needs it.
    pub what_for: &'static str,
}

/// The capabilities that a scan needs to start.
pub const NEEDS: [Need; 5] = [
    Need { capability: CapabilitySet::NET_RAW, name: "CAP_NET_RAW", what_for: "opens AF_XDP sockets" },
    Need {
        capability: CapabilitySet::NET_ADMIN,
        name: "CAP_NET_ADMIN",
        what_for: "attaches the XDP program and resolves the gateway's MAC address",
    },
    Need { capability: CapabilitySet::BPF, name: "CAP_BPF", what_for: "loads the XDP program and its maps" },
    Need {
        capability: CapabilitySet::PERFMON,
        name: "CAP_PERFMON",
        what_for: "lets the XDP program pass the verifier",
    },
    Need {
        capability: CapabilitySet::IPC_LOCK,
        name: "CAP_IPC_LOCK",
        what_for: "lifts the limit on locked memory, which holds the frames",
    },
];

/// All of them, in the syntax of `setcap`.
pub const SETCAP: &str = "cap_net_raw,cap_net_admin,cap_bpf,cap_perfmon,cap_ipc_lock+ep";

/// The needs that this thread does not meet.
///
/// # Errors
/// The kernel does not report the capabilities.
pub fn missing() -> io::Result<Vec<&'static Need>> {
    let has = capabilities(None)?.effective;
    Ok(NEEDS
        .iter()
        .filter(|need| !has.contains(need.capability) && !stands_in(has, need.capability))
        .collect())
}

/// Runs `work` without any capability, and then takes them back.
///
/// # Errors
/// The kernel refuses, which is unexpected.
pub fn without_any<T>(work: impl FnOnce() -> T) -> io::Result<T> {
    let sets = capabilities(None)?;
    set_capabilities(None, CapabilitySets { effective: CapabilitySet::empty(), ..sets })?;
    let done = work();
    set_capabilities(None, sets)?;
    Ok(done)
}

/// Drops all capabilities except `keep`, and all ways to gain new ones, for good: for this thread and the threads that
/// it starts.
///
/// # Errors
/// The kernel refuses, which is unexpected.
pub fn keep_only(keep: CapabilitySet) -> io::Result<()> {
    set_no_new_privs(true)?;
    let has = capabilities(None)?.permitted;
    if has.contains(CapabilitySet::SETPCAP) {
        for bit in 0..u64::BITS {
            let capability = CapabilitySet::from_bits_retain(1 << bit);
            // Fails after the last capability that the kernel knows.
            let Ok(is_in) = capability_is_in_bounding_set(capability) else { break };
            if is_in && !keep.contains(capability) {
                remove_capability_from_bounding_set(capability)?;
            }
        }
    }
    clear_ambient_capability_set()?;
    let kept = has & keep;
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    Ok(set_capabilities(None, sets)?)
}

/// Whether this thread may open packet sockets and has nothing that XDP needs: then the user means AF_PACKET.
pub fn has_net_raw_alone() -> bool {
    let for_xdp =
        CapabilitySet::NET_ADMIN | CapabilitySet::BPF | CapabilitySet::PERFMON | CapabilitySet::SYS_ADMIN;
    capabilities(None)
        .is_ok_and(|has| (has.effective & (for_xdp | CapabilitySet::NET_RAW)) == CapabilitySet::NET_RAW)
}

/// Whether the limit on locked memory applies to this thread.
pub fn memory_is_limited() -> bool {
    missing().is_ok_and(|missing| missing.iter().any(|need| need.capability == CapabilitySet::IPC_LOCK))
}

/// Which mechanism refuses when the kernel returns EPERM or EACCES, and how to let the call pass, as the end of a
/// sentence.
pub fn why_refused() -> String {
    let missing = missing().unwrap_or_default();
    // If it is missing, the error is ENOBUFS.
    let missing = missing.iter().filter(|need| need.capability != CapabilitySet::IPC_LOCK);
    let missing: Vec<String> = missing.map(|need| format!("{} ({})", need.name, need.what_for)).collect();
    why(&Gates {
        missing,
        user_namespace: in_user_namespace(),
        seccomp: is_filtered(),
        profile: profile(),
        lockdown: lockdown(),
    })
}

/// Whether a seccomp filter is active.
pub fn is_filtered() -> bool {
    status("Seccomp").as_deref() == Some("2")
}

/// What may refuse a privileged call.
#[derive(Debug, Default)]
struct Gates {
    /// Capabilities that are missing, and what needs them.
    missing: Vec<String>,
    /// Whether the capabilities belong to a user namespace.
    user_namespace: bool,
    /// Whether a seccomp filter is active.
    seccomp: bool,
    /// The profile of a security module that confines the process.
    profile: Option<String>,
    /// The lockdown level.
    lockdown: Option<String>,
}

fn why(gates: &Gates) -> String {
    if !gates.missing.is_empty() {
        let missing = gates.missing.join(", ");
        return format!(
            "missing: {missing}; run as root, or give the file its capabilities: `setcap {SETCAP} FILE`"
        );
    }
    if gates.user_namespace {
        return "the capabilities are those of a user namespace, which do not count for BPF: run it outside of one, as \
                root of the host"
            .to_owned();
    }
    if gates.seccomp {
        return "no capability is missing, but a seccomp filter is active (Seccomp: 2 in /proc/self/status): let it \
                allow bpf(2) and AF_XDP sockets"
            .to_owned();
    }
    if let Some(profile) = &gates.profile {
        return format!(
            "no capability is missing, but a security module confines the process ({profile}): let it allow bpf(2)"
        );
    }
    match &gates.lockdown {
        Some(level) => {
            format!("no capability is missing, but the kernel is locked down ({level}): see lockdown(7)")
        }
        None => {
            "no capability is missing, and no seccomp filter is active: see `dmesg` for what refused the call"
                .to_owned()
        }
    }
}

/// The security module's profile that confines this process, if there is one.
fn profile() -> Option<String> {
    let text = std::fs::read_to_string("/proc/self/attr/current").ok()?;
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    let free = text.is_empty() || text == "unconfined" || text == "_" || text.contains("unconfined_t");
    (!free).then(|| text.to_owned())
}

/// The lockdown level, unless it is none.
pub fn lockdown() -> Option<String> {
    let text = std::fs::read_to_string("/sys/kernel/security/lockdown").ok()?;
    let level = text.split_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']'))?;
    (level != "none").then(|| level.to_owned())
}

/// A line of /proc/self/status.
pub fn status(name: &str) -> Option<String> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(line.trim().to_owned())
}

/// Whether CAP_SYS_ADMIN includes `needed`: before Linux 5.8 the two were one capability.
fn stands_in(has: CapabilitySet, needed: CapabilitySet) -> bool {
    has.contains(CapabilitySet::SYS_ADMIN) && (CapabilitySet::BPF | CapabilitySet::PERFMON).contains(needed)
}

/// Whether this process is in a user namespace other than the host's, as in a rootless container: its capabilities do
/// not count for BPF.
pub fn in_user_namespace() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let mut words = map.split_whitespace();
    !map.is_empty()
        && (words.next(), words.next(), words.next()) != (Some("0"), Some("0"), Some("4294967295"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Capabilities that one thread drops are kept by the others. Without privileges there is nothing to drop.
    #[test]
    fn given_up_for_good() {
        let before = capabilities(None).unwrap();
        let gone = std::thread::spawn(move || {
            assert_eq!(
                without_any(|| capabilities(None).unwrap().effective).unwrap(),
                CapabilitySet::empty()
            );
            assert_eq!(capabilities(None).unwrap(), before);
            keep_only(CapabilitySet::DAC_OVERRIDE).unwrap();
            let child = std::thread::spawn(|| capabilities(None).unwrap()).join().unwrap();
            assert_eq!(capabilities(None).unwrap(), child);
            assert!(set_capabilities(None, before).is_err() || before == child);
            child.permitted
        });
        assert_eq!(gone.join().unwrap(), before.permitted & CapabilitySet::DAC_OVERRIDE);
        assert_eq!(capabilities(None).unwrap(), before);
    }

    #[test]
    fn what_sys_admin_stands_in_for() {
        let admin = CapabilitySet::SYS_ADMIN | CapabilitySet::NET_RAW;
        for (needed, given) in [
            (CapabilitySet::BPF, true),
            (CapabilitySet::PERFMON, true),
            (CapabilitySet::NET_ADMIN, false),
            (CapabilitySet::IPC_LOCK, false),
        ] {
            assert_eq!(stands_in(admin, needed), given, "{needed:?}");
            assert!(!stands_in(CapabilitySet::NET_RAW, needed));
        }
    }

    /// The remedy names every capability that is needed.
    #[test]
    fn the_remedy_is_complete() {
        for need in NEEDS {
            assert!(SETCAP.contains(&need.name.to_lowercase()), "{}", need.name);
        }
    }

    /// The first mechanism that refuses is named, in the order of how easily each can be changed.
    #[test]
    fn the_closed_gate() {
        let all = || Gates {
            missing: vec!["CAP_BPF (loads it)".to_owned()],
            user_namespace: true,
            seccomp: true,
            profile: Some("docker-default (enforce)".to_owned()),
            lockdown: Some("confidentiality".to_owned()),
        };
        for (gates, words) in [
            (
                all(),
                "missing: CAP_BPF (loads it); run as root, or give the file its capabilities: `setcap cap_net_raw",
            ),
            (Gates { missing: vec![], ..all() }, "user namespace"),
            (Gates { missing: vec![], user_namespace: false, ..all() }, "a seccomp filter is active"),
            (
                Gates { profile: all().profile, lockdown: all().lockdown, ..Gates::default() },
                "docker-default",
            ),
            (Gates { lockdown: all().lockdown, ..Gates::default() }, "locked down (confidentiality)"),
            (Gates::default(), "dmesg"),
        ] {
            let text = why(&gates);
            assert!(text.contains(words), "{text}");
        }
    }

    #[test]
    fn lines_of_the_status() {
        assert_eq!(status("NoSuchLine"), None);
        assert!(status("CapEff").is_some_and(|text| text.len() == 16));
    }
}
